//! The node that is measured: a log on the disk, the sequencer, and services on a loopback port.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use proctor_client::v1::eliminations_server::EliminationsServer;
use proctor_client::v1::orders_server::OrdersServer;
use proctor_client::{Addresses, Client, Random, Settings};
use proctor_commit_log::storage::files::FileStorage;
use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_keys::signed_order::Rules;
use proctor_keys::{ChainId, KeyFile, Prefix, Seed};
use proctor_sequencer::{Clock, Sequencer, Writer, WriterConfig};
use proctor_services::Backend;
use proctor_services::auth::{Authenticate, Caller, Role, Tokens};
use proctor_services::backend::direct::{AlwaysFresh, Direct};
use proctor_services::eliminations::EliminationsService;
use proctor_services::orders::OrdersService;
use proctor_services::watch::Gate;
use proctor_types::{
    AssetClass, DurationMs, OperatorId, Price, Quote, SourceName, TradePair, TraderId, Usd, UtcMs,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use zeroize::Zeroizing;

/// Monday 2026-01-05 12:00 UTC: every market is open that day.
const START: UtcMs = UtcMs(1_767_614_400_000);
const TOKEN: &str = "bench";
const QUEUE_MAX: usize = 4_096;

/// Time that goes on by itself and can be moved: account sizes hold from the next midnight on.
#[derive(Clone, Debug)]
pub(super) struct BenchClock {
    begun: Instant,
    moved_ms: Arc<AtomicI64>,
}

impl Clock for BenchClock {
    fn now(&self) -> UtcMs {
        let since_ms = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        UtcMs(START.0 + self.moved_ms.load(Ordering::Relaxed) + since_ms)
    }
}

/// A node that runs.
pub(super) struct BenchNode {
    pub(super) backend: Backend,
    pub(super) client: Client,
    pub(super) clock: BenchClock,
    pub(super) chain_id: ChainId,
    /// The keys of its traders.
    pub(super) keys: Vec<KeyFile>,
    sequencer: Sequencer,
    closing: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Starts a node on `runtime` with a new log in `directory`, where `traders` are funded and BTCUSD has
/// a price.
pub(super) async fn start(directory: &Path, traders: usize, runtime: &Handle) -> Result<BenchNode> {
    let storage = FileStorage::create(directory).context("cannot make the log's directory")?;
    let writer = Writer::open(Arc::new(storage), WriterConfig::default())?.writer;
    let clock = BenchClock { begun: Instant::now(), moved_ms: Arc::default() };
    let sequencer = Sequencer::start(writer, clock.clone(), QUEUE_MAX);
    let handle = sequencer.handle();
    let (closing, closed) = watch::channel(false);
    let backend = Backend::new(
        handle.views().clone(),
        Arc::new(Direct(handle)),
        Arc::new(AlwaysFresh),
        Arc::new(clock.clone()),
        1,
        closed,
    );
    let chain_id = ChainId::new("proctor-bench")?;
    let incoming = {
        let _listens_there = runtime.enter();
        TcpIncoming::bind(([127, 0, 0, 1], 0).into())?.with_nodelay(Some(true))
    };
    let address = incoming.local_addr()?.to_string();
    let mut tokens = Tokens::default();
    tokens.add(TOKEN, Caller { name: OperatorId::new("bench")?, role: Role::Operator });
    let authenticate = Authenticate(Arc::new(tokens));
    let rules = rules(&chain_id);
    let eliminations = EliminationsService::new(backend.clone(), Gate::new(16));
    let orders = OrdersService::new(backend.clone(), Gate::new(16), rules, None);
    let serving = Server::builder()
        .add_service(EliminationsServer::with_interceptor(eliminations, authenticate))
        .add_service(OrdersServer::new(orders))
        .serve_with_incoming(incoming);
    let random = Random::new(|| 1 << 63);
    let addresses = Addresses::all_at(&address);
    let client = Client::new(&addresses, Some(TOKEN), Settings::default(), &random)?;
    let keys = (0..traders).map(key).collect();
    let serving = runtime.spawn(serving);
    let node = BenchNode { backend, client, clock, chain_id, keys, sequencer, closing, serving };
    node.fund().await?;
    Ok(node)
}

/// Returns the key of trader `number`: the same in every run.
fn key(number: usize) -> KeyFile {
    let mut seed = [0x42; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    KeyFile::new(Seed::new(Zeroizing::new(seed)), Prefix::GENERIC)
}

fn rules(chain_id: &ChainId) -> Rules {
    Rules { chain_id: chain_id.clone(), window_max: DurationMs(3_600_000) }
}

impl BenchNode {
    /// Returns which orders it takes.
    pub(super) fn rules(&self) -> Rules {
        rules(&self.chain_id)
    }

    async fn fund(&self) -> Result<()> {
        self.put(vec![Input::Rulebook(VANTA.into())]).await?;
        if self.keys.is_empty() {
            return Ok(());
        }
        let ids: Vec<TraderId> = (self.keys.iter())
            .map(|key| TraderId::new(&key.address().to_string()))
            .collect::<Result<_, _>>()?;
        self.put(vec![Input::Roster(Roster::new(1, ids.clone()))]).await?;
        for some in ids.chunks(500) {
            let mut inputs = Vec::new();
            for id in some {
                inputs.push(Input::AccountSize(id.clone(), Usd::new(100_000.0)?));
                inputs.push(Input::AssetClass(id.clone(), AssetClass::Crypto));
            }
            self.put(inputs).await?;
        }
        self.clock.moved_ms.fetch_add(86_400_000, Ordering::Relaxed);
        self.price().await
    }

    /// Commits `inputs`, which must all be accepted.
    pub(super) async fn put(&self, inputs: Vec<Input>) -> Result<()> {
        let receipt = self.backend.submit(inputs).await?;
        let refused = receipt.replies.iter().find_map(|reply| reply.as_ref().err());
        ensure!(refused.is_none(), "the workload is broken: {refused:?}");
        Ok(())
    }

    /// Tells a price of BTC now, by two sources.
    pub(super) async fn price(&self) -> Result<()> {
        let pair = TradePair::from_id("BTCUSD").context("BTCUSD is a pair")?;
        let quote = |source: &str| -> Result<Quote> {
            let price = Price::new(50_000.0)?;
            Ok(Quote::event(pair, SourceName::new(source)?, self.clock.now(), price))
        };
        self.put(vec![Input::Prices(vec![quote("first")?, quote("second")?])]).await
    }

    /// Ends the node.
    pub(super) async fn stop(self) {
        self.closing.send_replace(true);
        self.serving.abort();
        let sequencer = self.sequencer;
        // Joins a thread; a panic of it has been told by its own message.
        drop(tokio::task::spawn_blocking(move || sequencer.stop()).await.map(drop));
    }
}
