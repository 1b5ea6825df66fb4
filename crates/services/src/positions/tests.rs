//! Positions, ledgers and accounts as a client sees them, over a connection of this machine.

use proctor_rpc::v1::positions_client::PositionsClient;
use proctor_rpc::v1::positions_server::PositionsServer;
use tokio_stream::StreamExt as _;
use tonic::service::Routes;
use tonic::transport::Channel;

use super::*;
use crate::testing::{World, market, refused, serve};
use proctor_engine::Input;

async fn client(world: &World) -> PositionsClient<Channel> {
    let service = PositionsService::new(world.backend.clone(), Gate::new(4));
    PositionsClient::new(serve(Routes::new(PositionsServer::new(service))).await)
}

/// Fills an order of `name` at `price` of BTC, after the cooldown of the order before.
async fn fill(world: &World, name: &str, id: &str, leverage: f64, price: f64) {
    world.clock.advance(31_000);
    world.price(price).await;
    world.put(vec![Input::Order(market(name, id, "BTCUSD", leverage))]).await;
}

/// Three traders, who opened and closed positions in another order than that of the list.
async fn traded() -> World {
    let world = World::with_traders(&["carol", "alice", "bob"]).await;
    for (name, id, leverage) in [
        ("carol", "z", 0.2),
        ("carol", "z-flat", 0.0),
        ("carol", "m", -0.1),
        ("alice", "b", 0.1),
        ("alice", "b-flat", 0.0),
        ("alice", "a", 0.1),
        ("bob", "q", 0.3),
    ] {
        fill(&world, name, id, leverage, 50_000.0).await;
    }
    world
}

fn list(page_size: u32, page_token: &str) -> v1::ListPositionsRequest {
    v1::ListPositionsRequest { page_size, page_token: page_token.into(), ..Default::default() }
}

fn names(positions: &[v1::Position]) -> Vec<String> {
    positions.iter().map(|row| format!("{}/{}", row.trader, row.position_id)).collect()
}

#[tokio::test]
async fn pages_follow_each_other_by_trader_and_position_whatever_their_size() {
    let world = traded().await;
    let mut client = client(&world).await;
    let whole = client.list_positions(list(0, "")).await.expect("a list").into_inner();
    assert_eq!(names(&whole.positions), ["alice/a", "alice/b", "bob/q", "carol/m", "carol/z"]);
    assert_eq!(whole.next_page_token, "");
    for size in 1..=5 {
        let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page =
                client.list_positions(list(size, &token)).await.expect("a page").into_inner();
            assert!(page.positions.len() <= usize::try_from(size).expect("small"));
            found.extend(page.positions);
            pages += 1;
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, whole.positions, "pages of {size}");
        assert_eq!(pages, 5_u32.div_ceil(size));
    }
}

#[tokio::test]
async fn a_page_token_names_a_place_so_what_comes_and_goes_before_it_shifts_nothing() {
    let world = traded().await;
    let mut client = client(&world).await;
    let first = client.list_positions(list(3, "")).await.expect("a page").into_inner();
    fill(&world, "alice", "aa", -0.1, 50_000.0).await;
    fill(&world, "alice", "a-flat", 0.0, 50_000.0).await;
    fill(&world, "alice", "c", 0.1, 50_000.0).await;
    let rest = client.list_positions(list(3, &first.next_page_token)).await.expect("a page");
    assert_eq!(names(&rest.get_ref().positions), ["carol/m", "carol/z"]);
}

#[tokio::test]
async fn positions_are_listed_by_trader_state_and_pair() {
    let world = traded().await;
    let mut client = client(&world).await;
    let open = v1::PositionState::Open;
    let closed = v1::PositionState::Closed;
    for (trader, state, pair, expected) in [
        (Some("carol"), v1::PositionState::Unspecified, None, vec!["carol/m", "carol/z"]),
        (Some("carol"), closed, None, vec!["carol/z"]),
        (None, open, None, vec!["alice/a", "bob/q", "carol/m"]),
        (None, open, Some("ETHUSD"), vec![]),
        (None, closed, Some("BTCUSD"), vec!["alice/b", "carol/z"]),
    ] {
        let request = v1::ListPositionsRequest {
            trader: trader.map(Into::into),
            state: state.into(),
            pair: pair.map(Into::into),
            ..Default::default()
        };
        let page = client.list_positions(request).await.expect("a list").into_inner();
        assert_eq!(names(&page.positions), expected, "{trader:?} {state:?} {pair:?}");
        assert!(page.positions.iter().all(|row| row.orders.is_empty()));
    }
    let one = v1::GetPositionRequest { trader: "carol".into(), position_id: "z".into() };
    let one = client.get_position(one).await.expect("it is kept").into_inner();
    let one = one.position.expect("it is there");
    let sources: Vec<(&str, &str)> =
        one.orders.iter().map(|order| (&*order.order_id, &*order.source)).collect();
    assert_eq!(sources, [("z", "trader"), ("z-flat", "trader")]);
    assert!(!one.open && one.closed_ms.is_some());
}

#[tokio::test]
async fn what_cannot_be_answered_names_the_field() {
    let world = traded().await;
    let mut client = client(&world).await;
    let base = v1::ListPositionsRequest::default();
    let token = List::Positions.token(&TraderId::new("bob").expect("a name"), "q");
    for (request, reason, field) in [
        (
            v1::ListPositionsRequest { trader: Some("nobody".into()), ..base.clone() },
            Reason::UnknownTrader,
            "trader",
        ),
        (
            v1::ListPositionsRequest { trader: Some("a b".into()), ..base.clone() },
            Reason::InvalidArgument,
            "trader",
        ),
        (v1::ListPositionsRequest { state: 9, ..base.clone() }, Reason::InvalidArgument, "state"),
        (
            v1::ListPositionsRequest { pair: Some("X".into()), ..base.clone() },
            Reason::InvalidArgument,
            "pair",
        ),
        (list(1_001, ""), Reason::InvalidArgument, "page_size"),
        (list(1, "p.bob.q.00000000"), Reason::InvalidArgument, "page_token"),
        (
            v1::ListPositionsRequest {
                trader: Some("alice".into()),
                page_token: token,
                ..base.clone()
            },
            Reason::InvalidArgument,
            "page_token",
        ),
    ] {
        let problem = refused(client.list_positions(request).await);
        assert_eq!((problem.reason, problem.field.as_deref()), (reason, Some(field)), "{problem}");
    }
    let one = v1::GetPositionRequest { trader: "bob".into(), position_id: "none".into() };
    let problem = refused(client.get_position(one).await);
    let expected = (Reason::NotFound, Some("position_id"));
    assert_eq!((problem.reason, problem.field.as_deref()), expected);
    let nobody = v1::TraderRequest { trader: "nobody".into() };
    assert_eq!(refused(client.get_account(nobody.clone()).await).reason, Reason::UnknownTrader);
    let leverage = refused(client.get_portfolio_leverage(nobody).await);
    assert_eq!(leverage.reason, Reason::UnknownTrader);
}

#[tokio::test]
async fn an_account_says_how_far_it_may_fall_and_ends_where_it_said() {
    let world = World::with_traders(&["alice"]).await;
    let mut client = client(&world).await;
    let request = v1::TraderRequest { trader: "alice".into() };
    let fresh = client.get_account(request.clone()).await.expect("known").into_inner();
    let fresh = fresh.account.expect("an account");
    assert_eq!((fresh.value, fresh.room), (None, None), "before the first order");
    assert_eq!(fresh.account_size_usd, Some(100_000.0));
    assert_eq!(fresh.bucket.as_deref(), Some("CHALLENGE"));

    fill(&world, "alice", "o", 0.5, 50_000.0).await;
    world.clock.advance(1_000);
    world.price(46_000.0).await;
    let account = client.get_account(request.clone()).await.expect("known").into_inner();
    let account = account.account.expect("an account");
    let (value, room) = (account.value.expect("traded"), account.room.expect("alive"));
    let limit = account.peak.expect("traded") * (1.0 - account.drawdown_max.expect("a limit"));
    assert!((0.95..0.97).contains(&value), "half of a fall of 8 %: {value}");
    assert!((value * (1.0 - room) - limit).abs() < 1e-12, "{account:?}");
    assert!(account.drawdown_worst >= account.drawdown, "{account:?}");
    assert!(
        (account.portfolio_leverage - 0.5 * 0.5).abs() < 1e-9 || account.portfolio_leverage > 0.0
    );

    // A little before the price that uses up the room, and a little behind it.
    let breach = 46_000.0 - room * value / 0.5 * 50_000.0;
    world.clock.advance(1_000);
    world.price(breach + 50.0).await;
    let near = client.get_account(request.clone()).await.expect("known").into_inner();
    let near = near.account.expect("an account");
    assert_eq!(near.eliminated, None);
    assert!(near.room.is_some_and(|room| room < 0.01), "{near:?}");
    world.clock.advance(60_000);
    world.price(breach - 200.0).await;
    let ended = client.get_account(request).await.expect("known").into_inner();
    let ended = ended.account.expect("an account");
    assert!(ended.eliminated.is_some(), "{ended:?}");
    assert_eq!((ended.room, ended.bucket, ended.open_positions), (None, None, 0));
}

#[tokio::test]
async fn accounts_and_cells_come_in_pages() {
    let world = traded().await;
    let mut client = client(&world).await;
    let first = v1::ListAccountsRequest { page_size: 2, ..Default::default() };
    let first = client.list_accounts(first).await.expect("a page").into_inner();
    let page_token = first.next_page_token;
    let second = v1::ListAccountsRequest { page_size: 2, page_token };
    let second = client.list_accounts(second).await.expect("a page").into_inner();
    let traders = first.accounts.iter().chain(&second.accounts).map(|account| &*account.trader);
    assert_eq!(traders.collect::<Vec<_>>(), ["alice", "bob", "carol"]);
    assert_eq!(second.next_page_token, "");

    for _ in 0..4 {
        world.clock.advance(43_200_000);
        world.put(vec![Input::Tick]).await;
    }
    let mut request =
        v1::GetLedgerRequest { trader: "bob".into(), page_size: 2, ..Default::default() };
    let mut cells = Vec::new();
    loop {
        let page = client.get_ledger(request.clone()).await.expect("a page").into_inner();
        cells.extend(page.cells);
        request.after_ms = cells.last().expect("a cell").last_update_ms;
        if !page.more {
            break;
        }
    }
    assert!(cells.len() >= 4, "{}", cells.len());
    assert!(cells.is_sorted_by(|a, b| a.last_update_ms < b.last_update_ms));
    let complete: Vec<bool> = cells.iter().map(|cell| cell.complete).collect();
    assert_eq!(complete.iter().filter(|complete| !**complete).count(), 1);
    assert_eq!(complete.last(), Some(&false), "the one that is being filled");
}

#[tokio::test]
async fn a_watcher_is_told_every_position_that_an_order_changed_and_no_other() {
    let world = traded().await;
    let mut client = client(&world).await;
    let from_commit = world.backend.views().peek().stamp.commit;
    fill(&world, "alice", "a-2", 0.1, 50_000.0).await;
    fill(&world, "bob", "q-flat", 0.0, 50_000.0).await;
    let mut told = Vec::new();
    for trader in [None, Some("bob".to_owned())] {
        let request = v1::WatchPositionsRequest { from_commit, trader };
        let mut stream = client.watch(request).await.expect("let in").into_inner();
        let mut rows = Vec::new();
        while !rows.contains(&"bob/q".to_owned()) {
            let message = stream.next().await.expect("goes on").expect("no error");
            rows.extend(names(&message.changed));
        }
        told.push(rows);
    }
    assert_eq!(told, [vec!["alice/a", "bob/q"], vec!["bob/q"]]);
}
