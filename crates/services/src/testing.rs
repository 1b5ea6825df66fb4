//! A node in memory for the tests of the services: a real sequencer on a log in memory.

pub(crate) mod grpc;
pub(crate) mod history;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_rpc::Problem;
use proctor_sequencer::{Clock, Sequencer, Writer, WriterConfig};
use proctor_types::{
    AssetClass, Leverage, OperatorId, OrderId, OrderRequest, PairName, Price, Quote, Side,
    SizeFields, SourceName, TradePair, TraderId, Usd, UtcMs,
};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Response, Status};

use crate::auth::{Caller, Role};
use crate::backend::Backend;
use crate::backend::direct::{AlwaysFresh, Direct};

/// Monday 2026-01-05 12:00 UTC: every market is open that day.
pub(crate) const START: UtcMs = UtcMs(1_767_614_400_000);

/// A clock that stands until it is moved.
#[derive(Clone, Debug)]
pub(crate) struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UtcMs {
        UtcMs(self.0.load(Ordering::SeqCst))
    }
}

/// A node in memory.
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) clock: ManualClock,
    storage: Arc<MemoryStorage>,
    sequencer: Sequencer,
    closing: watch::Sender<bool>,
}

impl World {
    /// Returns a node with the standard rulebook, where nobody is known yet.
    pub(crate) async fn empty() -> Self {
        let clock = ManualClock(Arc::new(AtomicI64::new(START.0)));
        let world = Self::over(Arc::new(MemoryStorage::new()), clock);
        world.put(vec![Input::Rulebook(VANTA.into())]).await;
        world
    }

    /// Returns the node whose log is in `storage`.
    fn over(storage: Arc<MemoryStorage>, clock: ManualClock) -> Self {
        let opened = Writer::open(storage.clone(), WriterConfig::default());
        let sequencer = Sequencer::start(opened.expect("a log").writer, clock.clone(), 64);
        let handle = sequencer.handle();
        let (closing, closed) = watch::channel(false);
        let backend = Backend::new(
            handle.views().clone(),
            Arc::new(Direct(handle)),
            Arc::new(AlwaysFresh),
            Arc::new(clock.clone()),
            7,
            closed,
        );
        Self { backend, clock, storage, sequencer, closing }
    }

    /// Ends the node and starts it again from its log.
    pub(crate) fn restarted(self) -> Self {
        let (storage, clock) = (Arc::clone(&self.storage), self.clock.clone());
        drop(self.stop());
        Self::over(storage, clock)
    }

    /// Returns a node with `traders`, each with 100,000 USD in crypto since yesterday, and a price of
    /// 50,000 USD for BTC.
    pub(crate) async fn with_traders(traders: &[&str]) -> Self {
        let world = Self::empty().await;
        let ids: Vec<TraderId> = traders.iter().map(|name| trader(name)).collect();
        let mut inputs = vec![Input::Roster(Roster::new(1, ids.clone()))];
        for id in ids {
            let size = Usd::new(100_000.0).expect("finite");
            inputs.push(Input::AccountSize(id.clone(), size));
            inputs.push(Input::AssetClass(id, AssetClass::Crypto));
        }
        world.put(inputs).await;
        // Account sizes hold from the next midnight on.
        world.clock.advance(86_400_000);
        world.price(50_000.0).await;
        world
    }

    /// Commits `inputs`, which must all be accepted.
    pub(crate) async fn put(&self, inputs: Vec<Input>) {
        let receipt = self.backend.submit(inputs).await.expect("a receipt");
        assert!(receipt.replies.iter().all(Result::is_ok), "{:?}", receipt.replies);
    }

    /// Tells a price of BTC now, by two sources.
    pub(crate) async fn price(&self, price: f64) {
        let pair = TradePair::from_id("BTCUSD").expect("a pair");
        let price = Price::new(price).expect("finite");
        let quote = |source: &str| {
            let source = SourceName::new(source).expect("a name");
            Quote::event(pair, source, self.clock.now(), price)
        };
        self.put(vec![Input::Prices(vec![quote("first"), quote("second")])]).await;
    }

    /// Says that the process is about to end.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Ends the sequencer; returns its writer.
    pub(crate) fn stop(self) -> Writer {
        self.sequencer.stop()
    }
}

/// Serves `routes` on a free port of this machine; returns where.
pub(crate) fn listen(routes: Routes) -> Endpoint {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let incoming = TcpIncoming::bind(any).expect("a free port");
    let address = incoming.local_addr().expect("an address");
    let server = Server::builder().add_routes(routes).serve_with_incoming(incoming);
    tokio::spawn(async move { server.await.expect("it serves") });
    Endpoint::from_shared(format!("http://{address}")).expect("an address")
}

/// Serves `routes` on a free port of this machine; returns a channel to them.
pub(crate) async fn serve(routes: Routes) -> Channel {
    listen(routes).connect().await.expect("a connection")
}

/// Returns the problem that a call ended with.
pub(crate) fn refused<M: std::fmt::Debug>(answer: Result<Response<M>, Status>) -> Problem {
    Problem::of(&answer.expect_err("refused")).expect("of this contract")
}

/// Returns a market order for `leverage` account sizes of `pair`; zero closes, whatever is held.
pub(crate) fn market(name: &str, id: &str, pair: &str, leverage: f64) -> OrderRequest {
    let (side, stated) = match leverage {
        size if size > 0.0 => (Side::Long, size),
        size if size < 0.0 => (Side::Short, size),
        _ => (Side::Flat, 1.0),
    };
    let leverage = Some(Leverage::new(stated).expect("finite"));
    let size = SizeFields { leverage, ..SizeFields::default() };
    let (id, pair) = (OrderId::new(id).expect("an id"), PairName::new(pair).expect("a name"));
    OrderRequest::market(trader(name), id, pair, side, size)
}

pub(crate) fn trader(name: &str) -> TraderId {
    TraderId::new(name).expect("a name")
}

/// Returns a call by the operator "ops", as the interceptor hands it on.
pub(crate) fn by_operator<T>(message: T) -> tonic::Request<T> {
    let name = OperatorId::new("ops").expect("a name");
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(Caller { name, role: Role::Operator });
    request
}
