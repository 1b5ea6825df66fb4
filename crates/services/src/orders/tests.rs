//! Orders as traders send them: what is taken, what is refused and where, and what is told of it.

use std::sync::Arc;

use proctor_keys::signed_order::{ChainId, SignedOrder, Terms, Window};
use proctor_keys::sr25519::{Keypair, Seed};
use proctor_keys::ss58::Prefix;
use proctor_rpc::v1::orders_client::OrdersClient;
use proctor_rpc::v1::orders_server::OrdersServer;
use proctor_types::{Cancel, DurationMs, Leverage, Price, Side, SizeFields};
use proptest::prelude::*;
use tokio_stream::StreamExt as _;
use tonic::service::Routes;
use tonic::transport::Channel;

use super::*;
use crate::auth::{Authenticate, AuthenticateBut, Caller, Role, Tokens};
use crate::testing::{World, market, refused, serve};

fn chain() -> ChainId {
    ChainId::new("test-main").expect("a name")
}

fn rules() -> Rules {
    Rules { chain_id: chain(), window_max: DurationMs(60_000) }
}

fn keypair(path: &str) -> Keypair {
    Seed::development(path).expect("a path").keypair()
}

/// Returns the account of the development key `path`.
fn address(path: &str) -> String {
    keypair(path).public().address(Prefix::GENERIC).trader().to_string()
}

/// A node with the accounts of `//Alice` and `//Bob`, and their orders' service.
struct Desk {
    world: World,
    service: OrdersService,
}

impl Desk {
    async fn new(limit: Option<RateLimit>) -> Self {
        let world = World::with_traders(&[&address("//Alice"), &address("//Bob")]).await;
        Self::of(world, limit)
    }

    fn of(world: World, limit: Option<RateLimit>) -> Self {
        let gate = Gate::new(4);
        let service = OrdersService::new(world.backend.clone(), gate, rules(), limit);
        Self { world, service }
    }

    async fn client(&self) -> OrdersClient<Channel> {
        OrdersClient::new(serve(Routes::new(OrdersServer::new(self.service.clone()))).await)
    }

    /// Returns `order`, signed with the key of `path` from now on for thirty seconds.
    fn sign(&self, path: &str, order: &OrderRequest) -> v1::SignedOrder {
        let from = self.world.backend.clock().now();
        let window = Window { from, until: UtcMs(from.0 + 30_000) };
        let terms = Terms { chain_id: chain(), window };
        let signed = SignedOrder::sign(&keypair(path), &terms, order, &[7; 32]).expect("his own");
        v1::SignedOrder { payload: signed.payload, signature: signed.signature.0.to_vec() }
    }

    /// Returns a signed market order.
    fn market(&self, path: &str, id: &str, pair: &str, leverage: f64) -> v1::SignedOrder {
        self.sign(path, &market(&address(path), id, pair, leverage))
    }

    /// Returns a signed order to buy BTC at 40,000.
    fn limit(&self, path: &str, id: &str) -> v1::SignedOrder {
        let size = SizeFields { leverage: Leverage::new(0.1).ok(), ..SizeFields::default() };
        let order = OrderRequest {
            execution: ExecutionType::Limit,
            side: Side::Long,
            size,
            limit_price: Price::new(40_000.0).ok(),
            ..market(&address(path), id, "BTCUSD", 0.1)
        };
        self.sign(path, &order)
    }

    fn cancel(&self, path: &str, id: &str, cancel: Cancel) -> v1::SignedOrder {
        let order = OrderRequest {
            execution: ExecutionType::LimitCancel,
            cancel: Some(cancel),
            size: SizeFields::default(),
            ..market(&address(path), id, "BTCUSD", 0.0)
        };
        self.sign(path, &order)
    }

    fn commit(&self) -> u64 {
        self.world.backend.views().peek().stamp.commit
    }
}

/// Returns the kind of each event with the order that it names.
fn kinds(events: &[v1::OrderEvent]) -> Vec<String> {
    let kind = |event: &v1::OrderEvent| match event.event.as_ref().expect("an event") {
        v1::order_event::Event::Filled(fill) => format!("filled {}", fill.order_id),
        v1::order_event::Event::Resting(order) => format!("resting {}", order.order_id),
        v1::order_event::Event::Cancelled(order) => format!("{} {}", order.code, order.order_id),
        v1::order_event::Event::Refused(order) => format!("{} {}", order.code, order.order_id),
        v1::order_event::Event::NothingToClose(order) => format!("nothing {}", order.order_id),
    };
    events.iter().map(kind).collect()
}

#[tokio::test]
async fn an_order_is_answered_with_what_it_did_and_a_retry_with_where_to_look() {
    let desk = Desk::new(None).await;
    let mut client = desk.client().await;
    let order = desk.market("//Alice", "o1", "BTCUSD", 0.2);
    let outcome = client.submit(order.clone()).await.expect("taken").into_inner();
    assert!(outcome.accepted && outcome.code.is_empty(), "{outcome:?}");
    assert_eq!((outcome.trader, &*outcome.order_id), (address("//Alice"), "o1"));
    assert_eq!(kinds(&outcome.events), ["filled o1"]);
    assert_eq!(outcome.stamp.expect("a stamp").commit, desk.commit());

    let again = client.submit(order).await.expect("an outcome").into_inner();
    assert!(again.repeated && again.accepted && again.events.is_empty(), "{again:?}");
    assert_eq!(again.stamp, outcome.stamp, "the commit that judged it");
    assert!(!outcome.repeated);
    let other = desk.market("//Alice", "o1", "BTCUSD", 0.3);
    let other = client.submit(other).await.expect("an outcome").into_inner();
    assert_eq!((other.accepted, &*other.code, other.repeated), (false, "duplicate_id", false));
    assert_eq!(kinds(&other.events), ["duplicate_id o1"]);
    let request = v1::GetOrderRequest { trader: address("//Alice"), order_id: "o1".into() };
    let known = client.get_order(request).await.expect("known").into_inner();
    let fill = known.fill.expect("it was filled");
    assert_eq!((&*known.state, &*fill.position_id, fill.closes), ("filled", "o1", false));
    assert!((fill.position_leverage - fill.leverage).abs() < 1e-12);
    let Some(v1::order_event::Event::Filled(told)) = &outcome.events[0].event else { panic!() };
    assert_eq!((&fill.price_source, fill.clamped), (&told.price_source, told.clamped));
    assert!(!fill.price_source.is_empty(), "as the event told it");
    // Another price is that of a correction, and the event is of before.
    let kept = v1::Fill { price: fill.price + 1.0, price_source: String::new(), ..fill.clone() };
    let commits = desk.world.backend.views().at(UtcMs(fill.filled_ms));
    let events = commits.iter().flat_map(|applied| applied.events.iter());
    let trader = TraderId::new(&address("//Alice")).expect("a name");
    assert_eq!(view::with_what_was_told(kept.clone(), &trader, events), kept);
    let request = v1::GetOrderRequest { trader: address("//Alice"), order_id: "none".into() };
    let unknown = client.get_order(request).await.expect("an answer").into_inner();
    assert_eq!(unknown.state, "unknown");
    let request = v1::GetOrderRequest { trader: "nobody".into(), order_id: "o1".into() };
    assert_eq!(refused(client.get_order(request).await).reason, Reason::UnknownTrader);
}

#[tokio::test]
async fn a_signed_message_is_judged_once_whatever_came_of_it_also_after_a_restart() {
    let desk = Desk::new(None).await;
    let orders = [
        desk.market("//Alice", "o1", "BTCUSD", 0.2),
        // Refused for the cooldown, which will be over before its window is.
        desk.market("//Alice", "o2", "BTCUSD", 0.2),
        desk.limit("//Bob", "l1"),
        desk.cancel("//Bob", "c1", Cancel::All),
    ];
    let mut first = Vec::new();
    for order in &orders {
        let outcome = desk.service.submit(Request::new(order.clone())).await.expect("judged");
        first.push(outcome.into_inner());
    }
    let codes: Vec<&str> = first.iter().map(|outcome| &*outcome.code).collect();
    assert_eq!(codes, ["", "cooling_down", "", ""]);
    let as_before = async |desk: &Desk| {
        for (order, first) in orders.iter().zip(&first) {
            let again = desk.service.submit(Request::new(order.clone())).await.expect("told");
            let again = again.into_inner();
            let told = |outcome: &v1::OrderOutcome| {
                (outcome.accepted, outcome.code.clone(), outcome.stamp)
            };
            assert_eq!(told(&again), told(first));
            assert!(again.repeated, "{again:?}");
        }
    };
    desk.world.clock.advance(10_000);
    desk.world.price(50_000.0).await;
    // What Bob has placed since is not cancelled by the copy of his cancellation.
    let since = desk.service.submit(Request::new(desk.limit("//Bob", "l2"))).await.expect("judged");
    assert!(since.get_ref().accepted);
    as_before(&desk).await;
    let restarted = Desk::of(desk.world.restarted(), None);
    as_before(&restarted).await;
    let view = restarted.world.backend.views().latest();
    let account = |path: &str| view.account(&crate::testing::trader(&address(path)));
    let alice = account("//Alice").expect("an account").book.open_positions();
    assert_eq!(alice.map(|held| held.orders().len()).collect::<Vec<_>>(), [1], "one fill");
    let bob = account("//Bob").expect("an account").resting.orders();
    assert_eq!(bob.iter().map(|order| order.id.as_str()).collect::<Vec<_>>(), ["l2"]);
    // The id of a refused order is free for another message.
    let anew = restarted.market("//Alice", "o2", "BTCUSD", 0.2);
    let anew = restarted.service.submit(Request::new(anew)).await.expect("judged");
    assert!(anew.get_ref().accepted && !anew.get_ref().repeated, "{anew:?}");
    // When its window is over, not even the rules are asked.
    restarted.world.clock.advance(30_000);
    let over = refused(restarted.service.submit(Request::new(orders[0].clone())).await);
    assert_eq!((over.reason, over.code.as_deref()), (Reason::InvalidArgument, Some("window_over")));
}

#[tokio::test]
async fn x_11_of_the_same_order_sent_many_times_at_once_exactly_one_is_executed() {
    let desk = Desk::new(None).await;
    let client = desk.client().await;
    let order = desk.market("//Alice", "o1", "BTCUSD", 0.2);
    let calls = (0..32).map(|_| {
        let (mut client, order) = (client.clone(), order.clone());
        tokio::spawn(async move { client.submit(order).await.expect("judged").into_inner() })
    });
    let mut first = 0;
    for call in calls.collect::<Vec<_>>() {
        let outcome = call.await.expect("no panic");
        assert!(outcome.accepted, "all are told the same: {outcome:?}");
        first += usize::from(!outcome.repeated);
    }
    assert_eq!(first, 1, "one of them was judged");
    let view = desk.world.backend.views().latest();
    let alice = crate::testing::trader(&address("//Alice"));
    let account = view.account(&alice).expect("an account");
    let held: Vec<usize> = account.book.open_positions().map(|held| held.orders().len()).collect();
    assert_eq!(held, [1]);
}

#[tokio::test]
async fn what_is_not_signed_not_fresh_or_not_an_order_is_an_error_and_leaves_no_trace() {
    let desk = Desk::new(None).await;
    let mut client = desk.client().await;
    let good = desk.market("//Alice", "o1", "BTCUSD", 0.2);
    let before = desk.commit();
    let with = |change: &dyn Fn(&mut v1::SignedOrder)| {
        let mut order = good.clone();
        change(&mut order);
        order
    };
    let text = String::from_utf8(good.payload.clone()).expect("text");
    let edited = |from: &str, to: &str| {
        let payload = text.replace(from, to);
        assert_ne!(payload, text, "{from}");
        v1::SignedOrder { payload: payload.into_bytes(), ..good.clone() }
    };
    let (unauthenticated, invalid) = (Reason::Unauthenticated, Reason::InvalidArgument);
    for (order, reason, code, field) in [
        (with(&|order| order.signature.clear()), unauthenticated, "unsigned", "signature"),
        (with(&|order| order.signature.truncate(63)), invalid, "signature_length", "signature"),
        (
            with(&|order| order.signature[5] ^= 1),
            unauthenticated,
            "signature_invalid",
            "payload.trader",
        ),
        (edited("\"o1\"", "\"o2\""), unauthenticated, "signature_invalid", "payload.trader"),
        (
            edited(&address("//Alice"), &address("//Bob")),
            unauthenticated,
            "signature_invalid",
            "payload.trader",
        ),
        (edited("test-main", "test-other"), invalid, "chain_wrong", "payload.chain"),
        (edited("order.v1", "order.v2"), invalid, "domain_wrong", "payload.domain"),
        (edited("0.2", "1e999"), invalid, "number_not_finite", "payload.leverage"),
        (with(&|order| order.payload.clear()), invalid, "payload_syntax", "payload"),
        (with(&|order| order.payload = vec![b'x'; 9_000]), invalid, "payload_too_long", "payload"),
    ] {
        let problem = refused(client.submit(order).await);
        let found = (problem.reason, problem.code.as_deref(), problem.field.as_deref());
        assert_eq!(found, (reason, Some(code), Some(field)), "{problem}");
    }
    assert_eq!(desk.commit(), before, "nothing of them is in the log");
}

/// An order proves itself by its signature; what others may read is another question.
#[tokio::test]
async fn a_signed_message_needs_no_token_even_where_reading_does() {
    let desk = Desk::new(None).await;
    let mut tokens = Tokens::default();
    let name = proctor_types::OperatorId::new("desk").expect("a name");
    tokens.add("s3cret", Caller { name, role: Role::Reader });
    let orders = OrdersServer::new(desk.service.clone());
    let guarded = AuthenticateBut::new(orders, Authenticate(Arc::new(tokens)), SIGNED);
    let mut client = OrdersClient::new(serve(Routes::new(guarded)).await);
    let limit = desk.limit("//Alice", "l1");
    assert!(client.submit(limit.clone()).await.expect("judged").get_ref().accepted);
    let many = v1::SubmitManyRequest { orders: vec![desk.limit("//Bob", "l1")] };
    client.submit_many(many).await.expect("judged");
    client.bracket(limit.clone()).await.map(drop).map_err(|s| Problem::of(&s)).expect_err("kind");
    let cancel = desk.cancel("//Alice", "c1", Cancel::All);
    assert!(client.cancel(cancel).await.expect("judged").get_ref().accepted);
    let mut strange = Request::new(desk.limit("//Alice", "l2"));
    strange.metadata_mut().insert("authorization", "Bearer wrong".parse().expect("text"));
    client.submit(strange).await.expect("no token is looked at");

    let list = v1::ListRestingRequest::default();
    let watch = v1::WatchOrdersRequest::default();
    let get = v1::GetOrderRequest { trader: address("//Alice"), order_id: "l1".into() };
    let unauthenticated = Reason::Unauthenticated;
    assert_eq!(refused(client.list_resting(list.clone()).await).reason, unauthenticated);
    assert_eq!(refused(client.watch(watch).await).reason, unauthenticated);
    assert_eq!(refused(client.get_order(get).await).reason, unauthenticated);
    let mut list = Request::new(list);
    list.metadata_mut().insert("authorization", "Bearer s3cret".parse().expect("text"));
    client.list_resting(list).await.expect("a reader may");
    // The names are those of the contract: a wrong one would be a call that needs a token.
    let all = proctor_rpc::methods::all();
    for path in SIGNED {
        assert!(all.iter().any(|method| method.path() == *path), "{path}");
    }
}

#[tokio::test]
async fn each_call_takes_the_kind_that_it_is_named_for_and_submit_takes_all() {
    let desk = Desk::new(None).await;
    let mut client = desk.client().await;
    let limit = desk.limit("//Alice", "l1");
    for answer in [client.cancel(limit.clone()).await, client.bracket(limit.clone()).await] {
        let problem = refused(answer);
        assert_eq!(problem.field.as_deref(), Some("payload.execution"));
    }
    let rests = client.submit(limit).await.expect("taken").into_inner();
    assert_eq!(kinds(&rests.events), ["resting l1"]);
    client.submit(desk.limit("//Bob", "l1")).await.expect("taken");
    client.submit(desk.limit("//Alice", "l2")).await.expect("taken");

    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListRestingRequest { trader: None, page_size: 1, page_token };
        let page = client.list_resting(request).await.expect("a page").into_inner();
        found.extend(page.orders.into_iter().map(|order| (order.trader, order.order_id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut expected: Vec<(String, String)> =
        [("//Alice", "l1"), ("//Alice", "l2"), ("//Bob", "l1")]
            .map(|(path, id)| (address(path), id.to_owned()))
            .to_vec();
    expected.sort();
    assert_eq!(found, expected);
    let bad = v1::ListRestingRequest { page_token: "r.x.1.00".into(), ..Default::default() };
    assert_eq!(refused(client.list_resting(bad).await).field.as_deref(), Some("page_token"));

    // Alice's cancellation of all her orders is not told of Bob's, which has the same id.
    let all = client.cancel(desk.cancel("//Alice", "c1", Cancel::All)).await.expect("taken");
    assert_eq!(kinds(&all.get_ref().events), ["by_trader l1", "by_trader l2"]);
    let of_bob = v1::ListRestingRequest { trader: Some(address("//Bob")), ..Default::default() };
    assert_eq!(client.list_resting(of_bob).await.expect("a list").get_ref().orders.len(), 1);
    let none = client.cancel(desk.cancel("//Alice", "c2", Cancel::All)).await.expect("judged");
    assert_eq!(none.get_ref().code, "nothing_to_cancel");

    client.submit(desk.market("//Alice", "m1", "BTCUSD", 0.2)).await.expect("taken");
    let bracket = OrderRequest {
        execution: ExecutionType::Bracket,
        stop_loss: Price::new(45_000.0).ok(),
        size: SizeFields::default(),
        ..market(&address("//Alice"), "b1", "BTCUSD", 0.1)
    };
    let bracket = client.bracket(desk.sign("//Alice", &bracket)).await.expect("taken").into_inner();
    assert_eq!(kinds(&bracket.events), ["resting b1"]);
    desk.world.clock.advance(31_000);
    desk.world.price(50_000.0).await;
    let flat = client.submit(desk.market("//Alice", "m2", "BTCUSD", 0.0)).await.expect("taken");
    assert_eq!(kinds(&flat.get_ref().events), ["filled m2", "position_closed b1"]);
}

#[tokio::test]
async fn of_one_message_many_times_in_one_call_the_first_is_judged() {
    let desk = Desk::new(None).await;
    let cancel = desk.cancel("//Alice", "c1", Cancel::All);
    let orders = vec![cancel.clone(), desk.limit("//Alice", "l1"), cancel.clone(), cancel];
    let request = v1::SubmitManyRequest { orders };
    let many = desk.client().await.submit_many(request).await.expect("taken").into_inner();
    let outcomes = many.results.into_iter().map(|result| match result.result {
        Some(Became::Outcome(outcome)) => (outcome.code, outcome.repeated),
        other => panic!("judged: {other:?}"),
    });
    let nothing = || "nothing_to_cancel".to_owned();
    let expected =
        [(nothing(), false), (String::new(), false), (nothing(), true), (nothing(), true)];
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
}

/// Returns orders with every kind of end, a repeated id among them.
fn mixed(desk: &Desk) -> Vec<v1::SignedOrder> {
    let mut broken = desk.market("//Alice", "x", "BTCUSD", 0.2);
    broken.signature[9] ^= 4;
    vec![
        desk.market("//Alice", "o1", "BTCUSD", 0.2),
        desk.market("//Bob", "o1", "BTCUSD", -0.2),
        desk.market("//Alice", "o1", "BTCUSD", 0.3),
        broken,
        desk.market("//Alice", "o2", "BTCUSD", 0.2),
        desk.limit("//Alice", "l1"),
        desk.market("//Bob", "o2", "NOPAIR", 0.2),
        desk.cancel("//Alice", "c1", Cancel::Pair),
        desk.market("//Alice", "o3", "ETHUSD", 0.0),
    ]
}

#[tokio::test]
async fn many_at_once_come_to_the_same_as_one_after_another_in_one_commit() {
    let (batch, single) = (Desk::new(None).await, Desk::new(None).await);
    let before = batch.commit();
    let request = v1::SubmitManyRequest { orders: mixed(&batch) };
    let many = batch.client().await.submit_many(request).await.expect("taken").into_inner();
    assert_eq!(batch.commit(), before + 1, "one commit");
    let mut client = single.client().await;
    let mut codes = Vec::new();
    for (order, result) in mixed(&single).into_iter().zip(many.results) {
        match (client.submit(order).await, result.result.expect("a result")) {
            (Ok(one), Became::Outcome(of_many)) => {
                let one = one.into_inner();
                codes.push(of_many.code.clone());
                assert_eq!(of_many.as_of, many.as_of);
                assert_eq!((&one.code, &one.message), (&of_many.code, &of_many.message));
                let told = |outcome: v1::OrderOutcome| -> Vec<_> {
                    let events = outcome.events.into_iter().map(|mut event| {
                        event.ordinal = 0;
                        if let Some(v1::order_event::Event::Resting(order)) = &mut event.event {
                            order.submitted = None;
                        }
                        event
                    });
                    events.collect()
                };
                assert_eq!(told(one), told(of_many));
            }
            (Err(status), Became::NotTaken(not_taken)) => {
                let problem = Problem::of(&status).expect("a problem");
                codes.push(not_taken.reason.clone());
                assert_eq!(not_taken.code, i32::from(status.code()));
                assert_eq!(Some(&not_taken.reason), problem.code.as_ref());
                assert_eq!(not_taken.field, format!("orders[3].{}", problem.field.expect("one")));
            }
            other => panic!("one way or the other: {other:?}"),
        }
    }
    let cooling = codes[4].clone();
    assert_eq!(cooling, "cooling_down");
    assert_eq!((&*codes[0], &*codes[2], &*codes[3]), ("", "duplicate_id", "signature_invalid"));
    let digest = |desk: &Desk| {
        let view = desk.world.backend.views().latest();
        let accounts = view.accounts.iter();
        accounts.map(|account| (account.trader.clone(), account.book.clone())).collect::<Vec<_>>()
    };
    assert_eq!(digest(&batch), digest(&single), "the same positions");

    for orders in [Vec::new(), vec![v1::SignedOrder::default(); ORDERS_MAX + 1]] {
        let problem = refused(client.submit_many(v1::SubmitManyRequest { orders }).await);
        assert_eq!(problem.field.as_deref(), Some("orders"));
    }
    let before = single.commit();
    let junk = v1::SubmitManyRequest { orders: vec![v1::SignedOrder::default(); ORDERS_MAX] };
    let junk = client.submit_many(junk).await.expect("an answer").into_inner();
    let taken = |result: &v1::SubmitResult| matches!(result.result, Some(Became::Outcome(_)));
    assert!(junk.results.len() == ORDERS_MAX && !junk.results.iter().any(taken));
    assert_eq!(single.commit(), before, "nothing was taken, nothing committed");
}

#[tokio::test]
async fn x_36_the_limit_holds_from_the_first_order_on_and_before_any_signature() {
    let limit = RateLimit { orders: 2, window: DurationMs(10_000), remembered: 8 };
    let desk = Desk::new(Some(limit)).await;
    let mut client = desk.client().await;
    let mut forged = desk.market("//Alice", "o1", "BTCUSD", 0.2);
    forged.signature[1] ^= 1;
    for _ in 0..2 {
        assert_eq!(refused(client.submit(forged.clone()).await).reason, Reason::Unauthenticated);
    }
    let problem = refused(client.submit(forged).await);
    assert_eq!(problem.reason, Reason::Throttled);
    assert_eq!(problem.retry_after.map(|wait| wait.as_millis()), Some(10_000));
    // What came from one address in Alice's name takes nothing from Bob, nor from Alice elsewhere.
    assert!(client.submit(desk.market("//Bob", "o1", "BTCUSD", 0.2)).await.is_ok());
    let elsewhere = Request::new(desk.market("//Alice", "o1", "BTCUSD", 0.2));
    assert!(desk.service.submit(elsewhere).await.is_ok());
    desk.world.clock.advance(10_000);
    let later = desk.market("//Alice", "o2", "BTCUSD", 0.2);
    assert!(client.submit(later).await.is_ok(), "the next window");
}

#[tokio::test]
async fn x_37_an_order_is_not_filled_at_a_price_that_is_older_than_the_rules_allow() {
    let desk = Desk::new(None).await;
    desk.world.clock.advance(8_001);
    let order = Request::new(desk.market("//Alice", "o1", "BTCUSD", 0.2));
    let late = desk.service.submit(order).await.expect("judged").into_inner();
    assert_eq!((late.accepted, &*late.code), (false, "no_price"));
    desk.world.price(50_000.0).await;
    desk.world.clock.advance(1);
    let order = Request::new(desk.market("//Alice", "o1", "BTCUSD", 0.2));
    let fresh = desk.service.submit(order).await.expect("judged").into_inner();
    assert!(fresh.accepted, "a refused order's id is free: {fresh:?}");
}

#[tokio::test]
async fn v_21_a_refusal_tells_nothing_of_anothers_account_or_record() {
    let desk = Desk::new(None).await;
    let bob = address("//Bob");
    desk.service.submit(Request::new(desk.limit("//Bob", "l1"))).await.expect("taken");
    // Both in one commit, so that Bob's events stand beside Alice's.
    let both = vec![
        desk.market("//Bob", "m1", "BTCUSD", 0.2),
        desk.cancel("//Alice", "c1", Cancel::Order(OrderId::new("l1").expect("an id"))),
    ];
    let both = Request::new(v1::SubmitManyRequest { orders: both });
    let both = desk.service.submit_many(both).await.expect("taken").into_inner();
    let Some(Became::Outcome(alice)) = &both.results[1].result else { panic!("judged") };
    assert_eq!((alice.accepted, &*alice.code), (false, "nothing_to_cancel"));
    assert!(!format!("{alice:?}").contains(&bob), "{alice:?}");
}

#[tokio::test]
async fn a_watcher_is_told_every_event_once_from_where_it_was() {
    let desk = Desk::new(None).await;
    let from_commit = desk.commit();
    let mut client = desk.client().await;
    for order in mixed(&desk) {
        drop(client.submit(order).await);
    }
    let last = desk.commit();
    let mut told = Vec::new();
    for (from_commit, trader) in
        [(from_commit, None), (from_commit, Some(address("//Bob"))), (last - 1, None)]
    {
        let request = v1::WatchOrdersRequest { from_commit, trader };
        let mut stream = client.watch(request).await.expect("let in").into_inner();
        let mut events = Vec::new();
        loop {
            let message = stream.next().await.expect("goes on").expect("no error");
            assert!(message.gap.is_none());
            events.extend(kinds(&message.events));
            // The message without events says that everything up to its commit was told.
            if message.as_of.expect("a commit").commit == last {
                break;
            }
        }
        told.push(events);
    }
    let bob = ["filled o1", "unknown_pair o2"];
    let all = [
        "filled o1",
        "filled o1",
        "duplicate_id o1",
        "cooling_down o2",
        "resting l1",
        "unknown_pair o2",
        "by_trader l1",
        "no_price o3",
    ];
    assert_eq!(told, [&all[..], &bob[..], &all[7..]]);
    let nobody = v1::WatchOrdersRequest { from_commit: 0, trader: Some("a b".into()) };
    assert_eq!(refused(client.watch(nobody).await).field.as_deref(), Some("trader"));
}

proptest! {
    #[test]
    fn any_bytes_are_an_order_or_an_error(
        payload in prop::collection::vec(any::<u8>(), 0..400),
        signature in prop::collection::vec(any::<u8>(), 0..80),
        place in 0_usize..400,
        byte in any::<u8>(),
    ) {
        let intake = Intake::new(rules(), Some(RateLimit::GENEROUS));
        let sent = Sent { path: "", address: None, kind: None, now: crate::testing::START };
        let junk = v1::SignedOrder { payload, signature: signature.clone() };
        prop_assert!(intake.read(sent, junk).is_err());
        // A good order with one byte changed, or with a made-up signature of the right length.
        let from = crate::testing::START;
        let window = Window { from, until: UtcMs(from.0 + 30_000) };
        let terms = Terms { chain_id: chain(), window };
        let order = market(&address("//Alice"), "o1", "BTCUSD", 0.2);
        let good = SignedOrder::sign(&keypair("//Alice"), &terms, &order, &[7; 32]).expect("own");
        let mut payload = good.payload.clone();
        let place = place % payload.len();
        let changed = payload[place] != byte;
        payload[place] = byte;
        let order = v1::SignedOrder { payload, signature: good.signature.0.to_vec() };
        let judged = intake.read(sent, order).and_then(|claim| Intake::check(sent, claim));
        prop_assert_eq!(judged.is_err(), changed);
        let mut made_up = [0; 64];
        made_up.iter_mut().zip(&signature).for_each(|(to, from)| *to = *from);
        let order = v1::SignedOrder { payload: good.payload, signature: made_up.to_vec() };
        let judged = intake.read(sent, order).and_then(|claim| Intake::check(sent, claim));
        prop_assert!(judged.is_err());
    }
}
