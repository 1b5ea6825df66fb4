//! Watchers over a real connection that read nothing for a while: what they are told when they read on.

use proctor_keys::ChainId;
use proctor_keys::signed_order::Rules;
use proctor_rpc::v1::{
    self, orders_client::OrdersClient, orders_server::OrdersServer, prices_client::PricesClient,
    prices_server::PricesServer,
};
use proctor_sequencer::Clock as _;
use proctor_types::{DurationMs, Price, Quote, SourceName, TradePair, UtcMs};
use tonic::Streaming;
use tonic::service::Routes;
use tonic::transport::Channel;

use super::*;
use crate::orders::OrdersService;
use crate::prices::PricesService;
use crate::testing::{listen, market};

/// The smallest window that HTTP/2 lets a connection have: what a reader takes without reading.
const WINDOW: u32 = 65_535;

/// Serves `routes`; returns a connection to it whose reader takes little before it reads.
async fn narrow(routes: Routes) -> Channel {
    let endpoint = listen(routes).initial_connection_window_size(WINDOW);
    endpoint.initial_stream_window_size(WINDOW).connect().await.expect("a connection")
}

/// Commits `rounds` times what `inputs` makes, more than fits between service and reader, who reads
/// nothing; returns when the service has let the only watcher of `gate` go.
async fn let_go(world: &World, gate: &Gate, rounds: usize, inputs: impl Fn(usize) -> Vec<Input>) {
    for round in 0..rounds {
        world.backend.submit(inputs(round)).await.expect("a receipt");
        world.clock.advance(1);
    }
    // Patience is over when everything else stands still.
    tokio::time::pause();
    while gate.too_slow() == 0 {
        assert_eq!(gate.watchers(), 1, "the connection is there");
        tokio::time::sleep(HEARTBEAT).await;
    }
    tokio::time::resume();
}

/// Returns orders that are refused, for a pair that does not exist: each is told.
fn refused_orders(round: usize) -> Vec<Input> {
    let order = |number| market("alice", &format!("{round:032}-{number:031}"), "NONE", 1.0);
    (0..200).map(|number| Input::Order(order(number))).collect()
}

/// Returns a price of every pair.
fn prices(at: UtcMs, round: usize) -> Vec<Input> {
    let source = SourceName::new("first").expect("a name");
    let price = Price::new(100.0 + round as f64 / 100.0).expect("finite");
    let quote = |pair| Quote::event(pair, source.clone(), at, price);
    vec![Input::Prices(TradePair::all().map(quote).collect())]
}

/// Reads to the end of `stream`; returns its messages and the reason of its end.
async fn rest<M>(mut stream: Streaming<M>) -> (Vec<M>, Problem) {
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(message) => messages.push(message.expect("it does not end without a word")),
            Err(status) => return (messages, Problem::of(&status).expect("a problem")),
        }
    }
}

#[tokio::test]
async fn a_watcher_that_stops_reading_finds_what_waited_and_then_the_reason_when_it_reads_on() {
    let world = World::with_traders(&["alice"]).await;
    let gate = Gate::new(1);
    let chain_id = ChainId::new("test").expect("a name");
    let rules = Rules { chain_id, window_max: DurationMs(60_000) };
    let service = OrdersService::new(world.backend.clone(), gate.clone(), rules, None);
    let mut client = OrdersClient::new(narrow(Routes::new(OrdersServer::new(service))).await);
    let watch = client.watch(v1::WatchOrdersRequest::default()).await.expect("let in");
    let first = world.backend.views().peek().stamp.commit;
    let_go(&world, &gate, 60, refused_orders).await;

    let (told, end) = rest(watch.into_inner()).await;
    assert_eq!(end.reason, Reason::TooSlow);
    let commits: Vec<u64> =
        told.iter().map(|told| told.as_of.as_ref().expect("as of").commit).collect();
    let known = commits.last().copied().expect("what waited");
    let expected: Vec<u64> = (first..=known).collect();
    assert_eq!(commits, expected, "every commit once, up to where it ends");
    assert!(told.iter().all(|told| told.gap.is_none()), "nothing was missed");

    // Its place is free, and it goes on where it was.
    world.backend.submit(refused_orders(2_001)).await.expect("a receipt");
    let from = v1::WatchOrdersRequest { from_commit: known, trader: None };
    let mut again = client.watch(from).await.expect("let in").into_inner();
    let told = again.message().await.expect("no error").expect("it goes on");
    assert!(told.gap.is_none(), "nothing was missed");
    assert_eq!(told.as_of.expect("as of").commit, known + 1);
}

#[tokio::test]
async fn a_reader_of_prices_that_stops_reading_is_told_why_its_stream_has_ended() {
    let world = World::with_traders(&["alice"]).await;
    let gate = Gate::new(1);
    let service = PricesService::new(world.backend.clone(), gate.clone());
    let mut client = PricesClient::new(narrow(Routes::new(PricesServer::new(service))).await);
    let stream = client.stream(v1::StreamPricesRequest::default()).await.expect("let in");
    let_go(&world, &gate, 1_000, |round| prices(world.clock.now(), round)).await;
    let (told, end) = rest(stream.into_inner()).await;
    assert_eq!(end.reason, Reason::TooSlow);
    assert!(!told.is_empty(), "all prices come first");
}
