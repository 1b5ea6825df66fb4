//! The load: traders, a feed and an operator, and what each of them was told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proctor_client::replica::Limits;
use proctor_client::{CallError, Client, EliminationReplica, SignedBytes, Submitted, v1};
use proctor_keys::{ChainId, KeyFile, Prefix, Seed, Terms, Window};
use proctor_node::simulation::dice::Dice;
use proctor_sequencer::{Clock as _, SystemClock};
use proctor_services::Role;
use proctor_types::{
    Cancel, ExecutionType, OrderId, OrderRequest, PairName, Price, Side, SizeFields, TraderId, Usd,
    UtcMs,
};
use tokio::task::{JoinHandle, JoinSet};
use zeroize::Zeroizing;

use crate::node::{ChaosNode, PATIENCE};
use crate::until;

const TRADERS: usize = 8;
/// How long a client may need until it knows what became of a call: the node may be down for a while.
const RECOVERY: Duration = Duration::from_secs(50);
/// Breaths between two calls of one client, so that the machine is not the limit.
const BREATH: Duration = Duration::from_millis(20);
/// Coins, since their market never closes.
const PAIRS: [(&str, f64); 4] =
    [("BTCUSD", 50_000.0), ("ETHUSD", 2_500.0), ("SOLUSD", 150.0), ("XRPUSD", 0.6)];

/// An order by its trader and its id.
pub(crate) type Key = (String, String);

/// What was said of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Judged by this commit; the code is empty when it was accepted.
    Judged { commit: u64, code: String },
    /// Accepted; by which commit is not known, since that answer was lost.
    Taken,
    /// Not taken.
    Nothing,
}

/// Everything that anybody was told.
#[derive(Default)]
pub(crate) struct Told {
    kept: Mutex<Kept>,
    answers: AtomicU64,
    unknown: AtomicU64,
}

#[derive(Default)]
struct Kept {
    orders: BTreeMap<Key, Said>,
    /// Commit and time of the prices that were taken.
    prices: Vec<(u64, i64)>,
    verdicts: BTreeMap<String, v1::Elimination>,
}

impl Told {
    /// Returns how many orders were answered so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn orders(&self) -> BTreeMap<Key, Said> {
        self.kept().orders.clone()
    }

    pub(crate) fn prices(&self) -> Vec<(u64, i64)> {
        self.kept().prices.clone()
    }

    pub(crate) fn verdicts(&self) -> BTreeMap<String, v1::Elimination> {
        self.kept().verdicts.clone()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        let mut by_answer: BTreeMap<&str, usize> = BTreeMap::new();
        for said in kept.orders.values() {
            let answer = match said {
                Said::Judged { code, .. } if code.is_empty() => "accepted",
                Said::Judged { code, .. } => code,
                Said::Taken => "taken, answer lost",
                Said::Nothing => "not taken",
            };
            *by_answer.entry(answer).or_insert(0) += 1;
        }
        let (prices, verdicts) = (kept.prices.len(), kept.verdicts.len());
        let unknown = self.unknown.load(Ordering::Relaxed);
        write!(f, "told: orders {by_answer:?}, prices {prices}, verdicts {verdicts}, ")?;
        write!(f, "calls whose outcome had to be asked for {unknown}")
    }
}

/// Everybody who calls.
pub(crate) struct Load {
    tasks: JoinSet<()>,
    feed: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    replica: EliminationReplica,
    _feeding: proctor_client::replica::Feed,
    client: Client,
}

impl Load {
    /// Enrols everybody and lets them begin.
    pub(crate) async fn start(node: &ChaosNode, told: &Arc<Told>, seed: u64) -> Self {
        let client = node.client(Some(Role::Operator));
        let keys: Vec<KeyFile> = (0..TRADERS).map(key).collect();
        let traders = keys.iter().map(|key| key.address().to_string());
        client.set_roster(traders.clone().collect()).await.expect("a roster");
        for trader in traders {
            client.choose_asset_class(&trader, "crypto").await.expect("a class");
        }
        let refused = client.publish(prices(SystemClock.now().0)).await.expect("prices").refused;
        assert!(refused.is_empty(), "{refused:?}");
        let chain = client.status().await.expect("a status").chain_id;
        let chain = ChainId::new(&chain).expect("a chain");
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (number, key) in keys.into_iter().enumerate() {
            let dice = Dice::new(seed + u64::try_from(number).expect("small"));
            // Each with connections of its own, as traders have.
            let (client, told, stop) = (node.client(None), Arc::clone(told), Arc::clone(&stop));
            tasks.spawn(Trader { key, chain: chain.clone(), dice, client, told }.trade(stop));
        }
        let operator = node.client(Some(Role::Operator));
        tasks.spawn(operate(operator, Arc::clone(told), Arc::clone(&stop)));
        let feed = tokio::spawn(feed(node.client(Some(Role::Operator)), Arc::clone(told)));
        let (replica, _feeding) =
            EliminationReplica::start(client.eliminations_connection(), Limits::default());
        Self { tasks, feed, stop, replica, _feeding, client }
    }

    /// Lets everybody finish; returns the verdicts as the replica has them in the end.
    pub(crate) async fn end(mut self) -> Vec<v1::Elimination> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("nobody was told anything that cannot be");
        }
        self.feed.abort();
        let last = self.client.eliminations().await.expect("verdicts");
        let commit = last.as_of.expect("a commit").commit;
        let replica = &self.replica;
        until("the replica has caught up", PATIENCE, async || {
            replica.as_of().is_some_and(|as_of| as_of.commit >= commit).then_some(())
        })
        .await;
        let all = replica.all().expect("it is fresh");
        all.iter().map(|record| (**record).clone()).collect()
    }
}

fn key(number: usize) -> KeyFile {
    let mut seed = [0xca; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    KeyFile::new(Seed::new(Zeroizing::new(seed)), Prefix::GENERIC)
}

struct Trader {
    key: KeyFile,
    chain: ChainId,
    dice: Dice,
    client: Client,
    told: Arc<Told>,
}

impl Trader {
    async fn trade(mut self, stop: Arc<AtomicBool>) {
        for number in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let order = self.order(number);
            let said = self.send(&order).await;
            let key = (order.trader, order.order_id);
            self.told.kept().orders.insert(key, said);
            self.told.answers.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Sends until it is known what became of the order.
    async fn send(&self, order: &SignedBytes) -> Said {
        let begun = Instant::now();
        // Whether a copy that was sent before may have been taken.
        let mut perhaps = false;
        loop {
            let what = &order.order_id;
            assert!(begun.elapsed() < RECOVERY, "{what}: the client did not recover");
            match self.client.submit(order).await {
                Ok(Submitted::Judged { outcome, .. }) => {
                    let commit = outcome.stamp.expect("a judged order has a commit").commit;
                    return Said::Judged { commit, code: outcome.code };
                }
                Ok(Submitted::Found(_) | Submitted::TakenBefore(_)) => return Said::Taken,
                Err(CallError::OutcomeUnknown(_)) => {
                    self.told.unknown.fetch_add(1, Ordering::Relaxed);
                    perhaps = true;
                }
                Err(CallError::NotTaken { .. } | CallError::Refused(_)) if perhaps => {}
                Err(CallError::NotTaken { .. }) => return Said::Nothing,
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }

    fn order(&mut self, number: u64) -> SignedBytes {
        let trader = TraderId::new(&self.key.address().to_string()).expect("an address");
        let id = OrderId::new(&format!("chaos-{number}")).expect("an id");
        let (name, price) = PAIRS[usize::try_from(self.dice.below(4)).expect("small")];
        let pair = PairName::new(name).expect("a pair");
        let size =
            SizeFields { value: Some(Usd::new(500.0).expect("finite")), ..SizeFields::default() };
        let side = if self.dice.chance(0.5) { Side::Long } else { Side::Short };
        let mut request = OrderRequest::market(trader, id, pair, side, size);
        match self.dice.below(6) {
            0 => (request.side, request.size) = (Side::Flat, SizeFields::default()),
            1 | 2 => {
                request.execution = ExecutionType::Limit;
                // Far away: it rests.
                let away = if side == Side::Long { 0.5 } else { 2.0 };
                request.limit_price = Some(Price::new(price * away).expect("finite"));
            }
            3 => {
                request.execution = ExecutionType::LimitCancel;
                (request.side, request.size) = (Side::Flat, SizeFields::default());
                request.cancel = Some(Cancel::Pair);
            }
            _ => {}
        }
        let now = SystemClock.now();
        let window = Window { from: now, until: UtcMs(now.0 + 58_000) };
        let terms = Terms { chain_id: self.chain.clone(), window };
        SignedBytes::sign(&self.key.keypair(), &terms, &request, &[7; 32]).expect("signed")
    }
}

/// Ends one account after the other, and looks whether the verdicts of before still stand.
async fn operate(client: Client, told: Arc<Told>, stop: Arc<AtomicBool>) {
    let mut ended: Vec<String> = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let trader = key(100_000 + number).address().to_string();
        let verdict = eliminate(&client, &told, &trader).await;
        told.kept().verdicts.insert(trader.clone(), verdict);
        ended.push(trader);
        let earlier = &ended[number * 7 % ended.len()];
        let now = elimination(&client, earlier).await.expect("a verdict does not vanish");
        assert_eq!(now, told.kept().verdicts[earlier], "a verdict does not change");
        tokio::time::sleep(BREATH * 5).await;
    }
}

/// Eliminates `trader` and returns the record.
async fn eliminate(client: &Client, told: &Told, trader: &str) -> v1::Elimination {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < RECOVERY, "{trader}: the client did not recover");
        let row = v1::EliminationRow {
            trader: trader.into(),
            reason: "PLAGIARISM".into(),
            dd: None,
            elimination_initiated_time_ms: SystemClock.now().0 - 1_000,
        };
        let request = v1::AddEliminationRequest { row: Some(row), why: "a test of chaos".into() };
        match client.add_elimination(request).await {
            Ok(answer) => return answer.elimination.expect("the record that stands"),
            Err(CallError::OutcomeUnknown(_)) => {
                told.unknown.fetch_add(1, Ordering::Relaxed);
                if let Some(record) = elimination(client, trader).await {
                    return record;
                }
            }
            Err(CallError::NotTaken { .. }) => {}
            Err(error) => panic!("{trader}: {error}"),
        }
    }
}

/// Returns the record of `trader`, asking until there is an answer.
async fn elimination(client: &Client, trader: &str) -> Option<v1::Elimination> {
    let begun = Instant::now();
    loop {
        match client.elimination(trader).await {
            Ok(answer) => return answer.elimination,
            Err(CallError::NoAnswer { .. }) if begun.elapsed() < RECOVERY => {}
            Err(error) => panic!("{trader}: {error}"),
        }
    }
}

async fn feed(client: Client, told: Arc<Told>) {
    loop {
        let now = SystemClock.now().0;
        // Prices are not sent twice: the next ones are newer.
        if let Ok(answer) = client.publish(prices(now)).await
            && answer.refused.is_empty()
            && let Some(as_of) = answer.as_of
        {
            told.kept().prices.push((as_of.commit, now));
        }
        tokio::time::sleep(BREATH * 10).await;
    }
}

/// Returns prices as of `now`, by two sources, so that they are believed.
fn prices(now: i64) -> Vec<v1::Quote> {
    let quote = |(pair, price): (&str, f64), source: &str| v1::Quote {
        pair: pair.into(),
        source: source.into(),
        start_ms: now,
        open: price,
        high: price,
        low: price,
        close: price,
        ..v1::Quote::default()
    };
    PAIRS.iter().flat_map(|pair| [quote(*pair, "first"), quote(*pair, "second")]).collect()
}
