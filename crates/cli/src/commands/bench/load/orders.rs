//! The orders: made and signed ahead by threads, sent when they are due.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use proctor_client::{Client, SignedBytes};
use proctor_keys::{ChainId, KeyFile, Prefix, Seed, Terms, Window};
use proctor_sequencer::{Clock as _, SystemClock};
use proctor_types::{OrderId, OrderRequest, PairName, Side, SizeFields, TraderId, Usd, UtcMs};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use super::Plan;
use super::node::LoadNode;
use super::outcomes::Outcomes;

/// What is traded, each at its price in USD: the coins, since their market never closes.
pub(super) const PAIRS: [(&str, f64); 6] = [
    ("BTCUSD", 50_000.0),
    ("ETHUSD", 2_500.0),
    ("SOLUSD", 150.0),
    ("XRPUSD", 0.6),
    ("DOGEUSD", 0.1),
    ("ADAUSD", 0.4),
];
/// Seconds between two orders of a trader on a pair: the rules want 10, the rest is for delays.
const TURN_SECONDS: usize = 14;
/// Signed orders that wait to be due, per signer.
const AHEAD: usize = 1_000;
const SIGNERS: usize = 2;
/// Connections over which orders are sent.
const CONNECTIONS: usize = 8;
/// Orders without an answer; beyond them sending waits, which shows in how late it is.
const IN_FLIGHT_MAX: usize = 4_096;

/// Returns how many traders it takes to send `rate` orders a second that are not refused as too soon.
pub(super) fn traders_for(rate: u32) -> usize {
    let rate = usize::try_from(rate).unwrap_or(usize::MAX);
    rate.saturating_mul(TURN_SECONDS).div_ceil(PAIRS.len())
}

/// Returns the key of trader `number`: the same in every run.
pub(super) fn key(number: usize) -> KeyFile {
    let mut seed = [0x4c; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    KeyFile::new(Seed::new(Zeroizing::new(seed)), Prefix::GENERIC)
}

/// Sends all orders of `plan` and waits for their answers; returns how long the sending took, in s.
pub(super) async fn send(
    node: &LoadNode,
    plan: Plan,
    keys: Arc<[KeyFile]>,
    outcomes: &Arc<Outcomes>,
) -> Result<f64> {
    let chain = ChainId::new(&node.chain_id)?;
    let mut signers: Vec<_> =
        (0..SIGNERS).map(|place| signer(place, plan, Arc::clone(&keys), chain.clone())).collect();
    let clients = (0..CONNECTIONS).map(|_| node.another_client()).collect::<Result<Vec<_>>>()?;
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let begun = Instant::now();
    for number in 0..plan.orders {
        let signer = &mut signers[number % SIGNERS];
        let order = signer.recv().await.context("an order cannot be signed")?;
        let due = begun + Duration::from_secs(1).mul_f64(number as f64 / f64::from(plan.rate));
        sleep_until(due).await;
        let place = Arc::clone(&places).acquire_owned().await?;
        let (client, outcomes) = (clients[number % CONNECTIONS].clone(), Arc::clone(outcomes));
        outcomes.sent(due.elapsed());
        tokio::spawn(async move {
            one(&client, &order, due, &outcomes).await;
            drop(place);
        });
    }
    let seconds = begun.elapsed().as_secs_f64();
    // All places are free when everybody has an answer.
    drop(places.acquire_many(u32::try_from(IN_FLIGHT_MAX)?).await?);
    Ok(seconds)
}

async fn one(client: &Client, order: &SignedBytes, due: Instant, outcomes: &Outcomes) {
    let answer = client.submit(order).await;
    outcomes.answered(&answer, due.elapsed());
}

/// Signs every order whose number is `place` beyond a multiple of the number of signers.
fn signer(
    place: usize,
    plan: Plan,
    keys: Arc<[KeyFile]>,
    chain: ChainId,
) -> mpsc::Receiver<SignedBytes> {
    let (sender, signed) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        for number in (place..plan.orders).step_by(SIGNERS) {
            // Whoever reads sees that the channel has ended, in either case.
            let Ok(order) = sign(number, plan, &keys, &chain) else { return };
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    });
    signed
}

fn sign(number: usize, plan: Plan, keys: &[KeyFile], chain: &ChainId) -> Result<SignedBytes> {
    let (round, turn) =
        (number / (plan.traders * PAIRS.len()), number % (plan.traders * PAIRS.len()));
    let key = &keys[turn % plan.traders];
    let (pair, _) = PAIRS[turn / plan.traders];
    let side = if round.is_multiple_of(2) { Side::Long } else { Side::Flat };
    // An order to close states a size too, of which the rules take no notice.
    let size = SizeFields { value: Some(Usd::new(500.0)?), ..SizeFields::default() };
    let trader = TraderId::new(&key.address().to_string())?;
    let id = OrderId::new(&format!("load-{number}"))?;
    let request = OrderRequest::market(trader, id, PairName::new(pair)?, side, size);
    let now = SystemClock.now();
    // As long as the node takes: it may be a while until the order is due.
    let window = Window { from: now, until: UtcMs(now.0 + 58_000) };
    let terms = Terms { chain_id: chain.clone(), window };
    // The signature's own randomness; a bench keeps no secret.
    Ok(SignedBytes::sign(&key.keypair(), &terms, &request, &[7; 32])?)
}
