//! Prices as a feed, a reader and a slow reader see them.

use proctor_rpc::v1::prices_client::PricesClient;
use proctor_rpc::v1::prices_server::PricesServer;
use proctor_types::OperatorId;
use tokio_stream::StreamExt as _;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::*;
use crate::auth::{Authenticate, Caller, Tokens};
use crate::testing::{World, refused, serve};

/// Returns a client whose caller has `role`.
async fn client(world: &World, role: Role) -> PricesClient<Channel> {
    let name = OperatorId::new("somebody").expect("a name");
    let tokens = Tokens::default().with_anonymous(Caller { name, role });
    let server = PricesServer::new(PricesService::new(world.backend.clone(), Gate::new(2)));
    let server = InterceptedService::new(server, Authenticate(Arc::new(tokens)));
    PricesClient::new(serve(Routes::new(server)).await)
}

fn quote(pair: &str, source: &str, at: i64, price: f64) -> v1::Quote {
    v1::Quote {
        pair: pair.into(),
        source: source.into(),
        start_ms: at,
        open: price,
        high: price,
        low: price,
        close: price,
        ..Default::default()
    }
}

#[tokio::test]
async fn only_a_feed_may_publish() {
    let world = World::with_traders(&[]).await;
    let now = world.backend.clock().now().0 + 1;
    let request = v1::PublishRequest { quotes: vec![quote("BTCUSD", "a", now, 51_000.0)] };
    let mut reader = client(&world, Role::Reader).await;
    assert_eq!(refused(reader.publish(request.clone()).await).reason, Reason::Forbidden);
    let open = PricesService::new(world.backend.clone(), Gate::new(1));
    let nobody = open.publish(Request::new(request)).await;
    assert_eq!(refused(nobody).reason, Reason::Unauthenticated, "without an interceptor");
}

#[tokio::test]
async fn each_record_is_judged_by_itself_and_the_good_ones_are_seen_at_once() {
    let world = World::with_traders(&[]).await;
    let mut feed = client(&world, Role::Feed).await;
    world.clock.advance(1_000);
    let now = world.backend.clock().now().0;
    let quotes = vec![
        quote("BTCUSD", "a", now, 50_001.0),
        quote("NOPAIR", "a", now, 1.0),
        quote("BTCUSD", "b b", now, 1.0),
        quote("ETHUSD", "a", now, f64::NAN),
        quote("ETHUSD", "b", now, -3.0),
        quote("BTCUSD", "first", now - 3_000, 50_000.0),
        quote("BTCUSD", "z", now, 50_000.5),
    ];
    let answer = feed.publish(v1::PublishRequest { quotes }).await.expect("taken").into_inner();
    let refused: Vec<(&str, &str, &str)> =
        answer.refused.iter().map(|row| (&*row.pair, &*row.source, &*row.code)).collect();
    assert_eq!(
        refused,
        [
            ("NOPAIR", "a", "unknown_pair"),
            ("BTCUSD", "b b", "invalid_source"),
            ("ETHUSD", "a", "not_finite"),
            ("ETHUSD", "b", "invalid"),
            ("BTCUSD", "first", "old"),
        ]
    );
    let request = v1::GetLatestRequest { pairs: vec!["BTCUSD".into(), "EURUSD".into()] };
    let latest = feed.get_latest(request).await.expect("prices").into_inner();
    assert_eq!(latest.as_of, answer.as_of);
    let [btc, eur] = &latest.prices[..] else { panic!("two pairs: {latest:?}") };
    let sources: Vec<&str> = btc.quotes.iter().map(|quote| &*quote.source).collect();
    assert_eq!(sources, ["a", "first", "second", "z"]);
    assert!(btc.believed.is_some() && btc.quality == "solid", "{btc:?}");
    assert_eq!((eur.believed, &*eur.quality, eur.market_open), (None, "stale", true));
    let all = feed.get_latest(v1::GetLatestRequest::default()).await.expect("prices").into_inner();
    assert_eq!(all.prices.len(), TradePair::COUNT);
    let table = feed.list_pairs(v1::ListPairsRequest {}).await.expect("a table").into_inner();
    assert_eq!(table.pairs.len(), TradePair::COUNT);
}

#[tokio::test]
async fn a_batch_that_says_two_things_of_one_source_or_too_much_is_refused_whole() {
    let world = World::with_traders(&[]).await;
    let mut feed = client(&world, Role::Feed).await;
    let twice = vec![quote("BTCUSD", "a", 1, 1.0), quote("BTCUSD", "a", 2, 1.0)];
    let many = (0..=view::QUOTES_MAX).map(|n| quote("BTCUSD", &format!("s{n}"), 1, 1.0));
    for (quotes, field) in [(twice, "quotes[1]"), (many.collect(), "quotes")] {
        let problem = refused(feed.publish(v1::PublishRequest { quotes }).await);
        assert_eq!(problem.field.as_deref(), Some(field));
    }
    let before = world.backend.views().peek().stamp;
    let nothing = feed.publish(v1::PublishRequest::default()).await.expect("nothing to do");
    assert_eq!(nothing.get_ref().as_of, Some(world.backend.at(before)), "no commit for nothing");
}

#[tokio::test]
async fn the_record_nearest_to_a_moment_is_found_for_each_source() {
    let world = World::with_traders(&[]).await;
    let start = world.backend.clock().now().0;
    for price in [50_100.0, 50_200.0] {
        world.clock.advance(1_000);
        world.price(price).await;
    }
    let mut reader = client(&world, Role::Reader).await;
    for (at, price) in [
        (0, 50_000.0),
        (start + 499, 50_000.0),
        (start + 500, 50_000.0),
        (start + 501, 50_100.0),
        (start + 1_900, 50_200.0),
        (UtcMs::MAX.0, 50_200.0),
    ] {
        let request = v1::GetAtRequest { pair: "BTCUSD".into(), at_ms: at };
        let answer = reader.get_at(request).await.expect("records").into_inner();
        let found: Vec<(&str, f64)> =
            answer.records.iter().map(|record| (&*record.source, record.price)).collect();
        assert_eq!(found, [("first", price), ("second", price)], "at {at}");
    }
    for at_ms in [-1, i64::MAX] {
        let request = v1::GetAtRequest { pair: "BTCUSD".into(), at_ms };
        assert_eq!(refused(reader.get_at(request).await).field.as_deref(), Some("at_ms"));
    }
}

#[tokio::test]
async fn markets_are_open_or_closed_as_of_the_newest_commit_or_of_any_moment() {
    let world = World::with_traders(&[]).await;
    let mut reader = client(&world, Role::Reader).await;
    let saturday = 1_762_603_200_000;
    for (pair, at_ms, open) in
        [("EURUSD", 0, true), ("EURUSD", saturday, false), ("BTCUSD", saturday, true)]
    {
        let request = v1::IsMarketOpenRequest { pair: pair.into(), at_ms };
        let answer = reader.is_market_open(request).await.expect("an answer").into_inner();
        assert_eq!(answer.open, open, "{pair} at {at_ms}");
    }
    let unknown = v1::IsMarketOpenRequest { pair: "X".into(), at_ms: 0 };
    assert_eq!(refused(reader.is_market_open(unknown).await).field.as_deref(), Some("pair"));
    let names = vec!["BTCUSD".to_owned(); TradePair::COUNT + 1];
    let many = refused(reader.get_latest(v1::GetLatestRequest { pairs: names }).await);
    assert_eq!(many.field.as_deref(), Some("pairs"));
}

/// Returns the next message that has prices.
async fn next(stream: &mut Stream<v1::StreamPricesResponse>) -> v1::StreamPricesResponse {
    loop {
        let message = stream.next().await.expect("goes on").expect("no error");
        if !message.prices.is_empty() {
            return message;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_prices_and_is_told_what_it_skipped() {
    let world = World::with_traders(&[]).await;
    let service = PricesService::new(world.backend.clone(), Gate::new(1));
    let mut stream = service.start(&["BTCUSD".into()]).expect("let in");
    let busy = service.start(&[]).expect_err("one place only");
    assert_eq!(busy.reason, Reason::Busy);
    let first = next(&mut stream).await;
    let mut commit = first.as_of.expect("a commit").commit;
    assert_eq!((first.prices[0].believed, first.skipped), (Some(50_000.0), 0));
    // One message may be waiting already when the reader does not look; what it gets after that one
    // is the newest, however many were between.
    let last = 50_020.0;
    for step in 1..=20 {
        world.clock.advance(100);
        world.price(50_000.0 + f64::from(step)).await;
    }
    let mut messages = 0;
    let mut covered = 0;
    loop {
        let message = next(&mut stream).await;
        let now = message.as_of.expect("a commit").commit;
        messages += 1;
        assert_eq!(now, commit + message.skipped + 1, "what was skipped is counted");
        covered += message.skipped + 1;
        commit = now;
        if message.prices[0].believed == Some(last) {
            break;
        }
    }
    assert_eq!(covered, 20);
    assert!(messages < 20, "{messages} messages: the reader was slow");
}

#[tokio::test]
async fn a_price_that_gets_too_old_is_told_as_a_change() {
    let world = World::with_traders(&[]).await;
    let service = PricesService::new(world.backend.clone(), Gate::new(1));
    let mut stream = service.start(&["BTCUSD".into(), "ETHUSD".into()]).expect("let in");
    assert_eq!(next(&mut stream).await.prices.len(), 2, "all that was asked for");
    world.clock.advance(60_000);
    world.put(vec![Input::Tick]).await;
    let stale = next(&mut stream).await;
    let rows: Vec<_> =
        stale.prices.iter().map(|row| (&*row.pair, row.believed, &*row.quality)).collect();
    assert_eq!(rows, [("BTCUSD", None, "stale")], "and nothing of the pair that stayed as it was");
    world.close();
    let end = loop {
        if let Err(status) = stream.next().await.expect("an end") {
            break Problem::of(&status).expect("a problem");
        }
    };
    assert_eq!((end.reason, end.code.as_deref()), (Reason::Unavailable, Some("stopping")));
}
