//! The gate, settlement and eliminations through one door: tables of inputs and outcomes.

mod corrections;
mod quality;
mod shelf;

use proctor_types::{
    Cancel, ExecutionType, Leverage, OperatorId, OrderId, OrderRequest, PairName, Price, Quantity,
    Quote, Remark, Side, SizeFields, SourceName, TradePair, TraderId, Usd, UtcMs,
};

use super::*;
use crate::eliminations::{DrawdownNote, Reason};
use crate::input::{PriceCorrection, Roster};
use crate::positions::position::OrderSource;
use crate::rulebook::VANTA;

/// Monday 2025-11-03 22:00 UTC, 17:00 in New York: every market but the stock exchanges is open.
pub(super) const T0: i64 = 1_762_207_200_000;

/// An engine with the built-in rulebook, driven by lines of text.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(super) events: Vec<Event>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(VANTA)
    }

    pub(super) fn with(rulebook: &str) -> Self {
        let mut world = Self { engine: Engine::new(), events: Vec::new() };
        world.commit(T0 - 2 * 86_400_000, vec![Input::Rulebook(rulebook.into())]);
        world
    }

    pub(super) fn commit(&mut self, at: i64, inputs: Vec<Input>) -> Vec<Result<(), Rejection>> {
        let index = self.engine.stamp().commit + 1;
        let outcome =
            self.engine.apply(&Commit { index, at: UtcMs(at), inputs }).expect("in order");
        self.events.extend(outcome.events);
        outcome.replies
    }

    /// Runs one line: milliseconds after [`T0`], a verb and its arguments. Returns the outcome.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let (at, input) = parsed(line);
        match self.commit(at, vec![input]).remove(0) {
            Ok(()) => "accepted".into(),
            Err(rejection) => rejection.code().into(),
        }
    }

    pub(super) fn account(&self, who: &str) -> Arc<Account> {
        let view = self.engine.view();
        let found = view.accounts.iter().find(|account| account.trader.as_str() == who);
        Arc::clone(found.expect("the trader has an account"))
    }
}

/// Returns the time and the input that a line says.
pub(super) fn parsed(line: &str) -> (i64, Input) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = T0 + words[0].replace('_', "").parse::<i64>().expect("a time in ms");
    let input = match &words[1..] {
        ["roster", version, traders @ ..] => {
            let traders = traders.iter().map(|t| trader(t)).collect();
            Input::Roster(Roster::new(version.parse().expect("a version"), traders))
        }
        ["size", who, usd] => {
            Input::AccountSize(trader(who), Usd::new(usd.parse().expect("USD")).expect("finite"))
        }
        ["class", who, class] => Input::AssetClass(
            trader(who),
            *AssetClass::ALL.iter().find(|c| c.to_string() == *class).expect("a class"),
        ),
        ["price", pair, price] => Input::Prices(confirmed(quote(pair, UtcMs(at), price))),
        ["price", pair, price, "by", name] => {
            let quote = quote(pair, UtcMs(at), price);
            Input::Prices(vec![Quote { source: source(name), ..quote }])
        }
        ["correct", who, id, price] => Input::CorrectPrice(correction(who, id, price)),
        ["tick"] => Input::Tick,
        ["quote", pair, price, fields @ ..] => {
            Input::Prices(confirmed(told(pair, at, price, fields)))
        }
        ["order" | "limit" | "bracket" | "cancel", who, id, pair, side, leverage, fields @ ..] => {
            let mut request = order(who, id, pair, side, leverage);
            request.execution = match words[1] {
                "order" => ExecutionType::Market,
                "limit" => ExecutionType::Limit,
                "bracket" => ExecutionType::Bracket,
                _ => ExecutionType::LimitCancel,
            };
            fields.iter().for_each(|field| set(&mut request, field));
            Input::Order(request)
        }
        other => panic!("no such line: {other:?}"),
    };
    (at, input)
}

/// The quote, and the same of a second source: a price that two tell is believed at once.
fn confirmed(quote: Quote) -> Vec<Quote> {
    let second = source(&format!("{}2", quote.source));
    vec![quote.clone(), Quote { source: second, ..quote }]
}

/// A quote with `bid=`, `ask=`, the time `at=` in ms after [`T0`], and its source `from=`.
fn told(pair: &str, at: i64, price: &str, fields: &[&str]) -> Quote {
    let mut quote = quote(pair, UtcMs(at), price);
    for field in fields {
        match field.split_once('=').expect("a field") {
            ("bid", number) => quote.bid = Some(amount(number)),
            ("ask", number) => quote.ask = Some(amount(number)),
            ("at", ms) => quote.start = UtcMs(T0 + ms.replace('_', "").parse::<i64>().expect("ms")),
            ("from", name) => quote.source = SourceName::new(name).expect("valid"),
            other => panic!("no such field: {other:?}"),
        }
    }
    quote
}

/// Sets what a limit order, a bracket or a cancellation has beside a market order.
fn set(request: &mut OrderRequest, field: &str) {
    match field.split_once('=').unwrap_or((field, "")) {
        ("at", number) => request.limit_price = Some(amount(number)),
        ("sl", number) => request.stop_loss = Some(amount(number)),
        ("tp", number) => request.take_profit = Some(amount(number)),
        ("of", id) => request.cancel = Some(Cancel::Order(OrderId::new(id).expect("valid"))),
        ("pair", _) => request.cancel = Some(Cancel::Pair),
        ("all", _) => request.cancel = Some(Cancel::All),
        ("value", number) => {
            request.size.value = Usd::new(number.parse().expect("a number")).ok();
        }
        ("quantity", number) => {
            request.size.quantity = Quantity::new(number.parse().expect("a number")).ok();
        }
        other => panic!("no such field: {other:?}"),
    }
}

fn amount(number: &str) -> Price {
    Price::new(number.parse().expect("a number")).expect("finite")
}

fn trader(name: &str) -> TraderId {
    TraderId::new(name).expect("a valid name")
}

fn quote(pair: &str, at: UtcMs, price: &str) -> Quote {
    let price = Price::new(price.parse().expect("a price")).expect("finite");
    let pair = TradePair::from_id(pair).expect("a pair");
    Quote::event(pair, source("test"), at, price)
}

fn source(name: &str) -> SourceName {
    SourceName::new(name).expect("a valid name")
}

fn correction(who: &str, id: &str, price: &str) -> PriceCorrection {
    PriceCorrection {
        trader: trader(who),
        order: OrderId::new(id).expect("valid"),
        price: Price::new(price.parse().expect("a price")).expect("finite"),
        bid: None,
        ask: None,
        source: source("audit"),
        by: OperatorId::new("officer").expect("valid"),
        why: Remark::new("the feed was wrong").expect("valid"),
    }
}

fn order(who: &str, id: &str, pair: &str, side: &str, leverage: &str) -> OrderRequest {
    let leverage = match leverage {
        "-" => None,
        number => Some(Leverage::new(number.parse().expect("a leverage")).expect("finite")),
    };
    OrderRequest::market(
        trader(who),
        OrderId::new(id).expect("valid"),
        PairName::new(pair).expect("valid"),
        Side::parse(side).expect("a side"),
        SizeFields { leverage, value: None, quantity: None },
    )
}

/// Runs a table whose lines end in `-> outcome`; lines without one must be accepted.
fn check(table: &str) -> World {
    played(World::new(), table)
}

fn played(mut world: World, table: &str) -> World {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.split("//").next().unwrap_or(line);
        let (input, expected) = line.split_once("->").unwrap_or((line, "accepted"));
        assert_eq!(world.run(input), expected.trim(), "{line}");
    }
    world
}

const ALICE: &str = "
    -90_000_000 roster 1 alice bob
    -90_000_000 size alice 100000
    -90_000_000 class alice crypto
";

fn check_with_alice(table: &str) -> World {
    check(&format!("{ALICE}{table}"))
}

#[test]
fn first_failing_check_wins_in_the_order_of_the_gate() {
    check(
        "
        0      order alice o1 BTCUSD LONG 0.1   -> roster_unknown
        0      roster 1 alice bob
        0      order carol o1 BTCUSD LONG 0.1   -> not_registered
        0      order alice o1 NOPAIR LONG 0.1   -> unknown_pair
        0      order alice o1 NVDA LONG 0.1     -> blocked
        0      order alice o1 TAOUSD LONG 0.1   -> asset_class_not_chosen
        0      class alice crypto
        0      class alice forex                -> asset_class_chosen
        0      order alice o1 EURUSD LONG 0.1   -> wrong_asset_class
        0      order alice o1 TAOUSD LONG 0.1   -> unsupported
        0      order alice o1 BTCUSD LONG 0.1   -> no_price
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG -     -> size_missing
        0      order alice o1 BTCUSD LONG 0.1
        5_000  order alice o1 BTCUSD LONG 0.1   -> duplicate_id  // before the cooldown
        5_000  order alice o2 BTCUSD LONG 0.1   -> cooling_down
        9_000  order alice o2 BTCUSD LONG 0.1   -> no_price      // before the cooldown
        9_999  price BTCUSD 100
        9_999  order alice o2 BTCUSD LONG 0.1   -> cooling_down
        10_000 order alice o2 BTCUSD LONG 0.1
    ",
    );
}

#[test]
fn an_order_before_any_rulebook_is_refused() {
    let mut engine = Engine::new();
    let inputs = vec![Input::Order(order("a", "o", "BTCUSD", "LONG", "0.1")), Input::Tick];
    let outcome = engine.apply(&Commit { index: 1, at: UtcMs(0), inputs }).expect("in order");
    assert_eq!(outcome.replies, [Err(Rejection::NoRulebook), Ok(())]);
}

#[test]
fn a_refused_order_leaves_no_trace_but_its_event() {
    let world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1
    ",
    );
    let mut refused = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1
        0      order alice o2 BTCUSD LONG 0.1    -> cooling_down
        0      order alice o3 ETHUSD LONG 0.1    -> no_price
        0      order alice o4 BTCUSD FLAT -      -> cooling_down
    ",
    );
    let untouched = world.engine.state;
    refused.engine.state.stamp = untouched.stamp;
    refused.engine.state.digest = untouched.digest;
    refused.engine.state.input_chain = untouched.input_chain;
    refused.engine.state.effects = untouched.effects.clone();
    assert_eq!(refused.engine.state, untouched);
    // A refused order's id is free.
    assert_eq!(refused.run("10000 price BTCUSD 100"), "accepted");
    assert_eq!(refused.run("10000 order alice o2 BTCUSD LONG 0.1"), "accepted");
}

#[test]
fn t_4_a_flat_closes_a_position_in_a_blocked_pair() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1
    ",
    );
    let blocked = VANTA.replace("blocked = [", "blocked = [\"BTCUSD\", ");
    // The account keeps the rulebook it enrolled under, so the test blocks the pair there.
    world.engine.state.rulebooks[0] = Arc::new(Adopted::parse(&blocked).expect("valid"));
    assert_eq!(world.run("20000 price BTCUSD 100"), "accepted");
    assert_eq!(world.run("20000 order alice o2 BTCUSD LONG 0.1"), "blocked");
    assert_eq!(world.run("20000 order alice o3 BTCUSD FLAT 0"), "accepted");
    assert_eq!(world.run("40000 price BTCUSD 100"), "accepted");
    assert_eq!(world.run("40000 order alice o4 BTCUSD FLAT 0"), "blocked");
}

#[test]
fn an_account_keeps_the_rulebook_it_enrolled_under() {
    let mut world = check_with_alice("0 price BTCUSD 100");
    let strict = VANTA
        .replace("version = 1", "version = 2")
        .replace("cooldown = { value = 10_000", "cooldown = { value = 60_000");
    world.commit(T0, vec![Input::Rulebook(strict)]);
    assert_eq!(world.run("0 roster 2 alice bob carol"), "accepted");
    assert_eq!(world.run("0 class carol crypto"), "accepted");
    for who in ["alice", "carol"] {
        assert_eq!(world.run(&format!("0 order {who} o1 BTCUSD LONG 0.1")), "accepted");
    }
    assert_eq!(world.run("10000 price BTCUSD 100"), "accepted");
    assert_eq!(world.run("10000 order alice o2 BTCUSD LONG 0.1"), "accepted");
    assert_eq!(world.run("10000 order carol o2 BTCUSD LONG 0.1"), "cooling_down");
}

#[test]
fn a_rulebook_waits_for_its_time() {
    let mut world = check_with_alice("0 price BTCUSD 100");
    let later = T0 + 60_000;
    let strict = VANTA
        .replace("effective_from_ms = 0", &format!("effective_from_ms = {later}"))
        .replace("cooldown = { value = 10_000", "cooldown = { value = 60_000");
    world.commit(T0, vec![Input::Rulebook(strict)]);
    world.run("59999 roster 2 alice bob before");
    world.run("60000 roster 3 alice bob before after");
    let places = |who: &str| world.account(who).rulebook;
    assert_eq!((places("alice"), places("before"), places("after")), (0, 0, 1));
}

#[test]
fn a_flat_without_a_position_is_accepted_and_does_nothing() {
    let world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD FLAT 0
        0      order alice o1 BTCUSD FLAT 0      -> duplicate_id
        0      order alice o2 BTCUSD LONG 0.1    // and starts no cooldown
    ",
    );
    assert_eq!(world.account("alice").book.pairs().len(), 1);
}

#[test]
fn x_11_the_same_order_twice_in_one_commit_is_executed_once() {
    let mut world = check_with_alice("0 price BTCUSD 100");
    let twice = vec![Input::Order(order("alice", "o1", "BTCUSD", "LONG", "0.1")); 2];
    let replies = world.commit(T0, twice);
    assert_eq!(replies, [Ok(()), Err(Rejection::DuplicateId)]);
}

#[test]
fn a_position_with_a_hundred_orders_is_closed_and_a_new_one_begun() {
    let mut world = check_with_alice("");
    for n in 0_i64..101 {
        let at = n * 10_000;
        let side = if n % 2 == 0 { "LONG 0.02" } else { "SHORT 0.005" };
        assert_eq!(world.run(&format!("{at} price BTCUSD 100")), "accepted");
        assert_eq!(world.run(&format!("{at} order alice o{n} BTCUSD {side}")), "accepted", "{n}");
        if n == 99 {
            world.run(&format!("{at} tick"));
        }
    }
    let account = world.account("alice");
    let book = account.book.pair(TradePair::from_id("BTCUSD").expect("a pair")).expect("traded");
    let full = book.closed().last().expect("one");
    assert_eq!(full.orders().len(), 101);
    let flat = full.orders().last().expect("the automatic close");
    assert_eq!((flat.source, flat.at), (OrderSource::MaxOrdersClose, UtcMs(T0 + 999_999)));
    let open = book.open.as_ref().expect("a new position");
    assert_eq!((open.orders().len(), open.id().as_str()), (1, "o100"));
}

#[test]
fn a_drawdown_beyond_the_limit_ends_the_account_in_the_same_commit() {
    // Half the account long: a fall of 20 % less the fee is a loss of a bit over 10 %.
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      price ETHUSD 50
        0      order alice o1 BTCUSD LONG 0.5
        0      order alice o2 ETHUSD LONG 0.1
        5_000  price BTCUSD 81
    ",
    );
    assert!(world.account("alice").elimination.is_none());
    world.events.clear();
    assert_eq!(world.run("10000 price BTCUSD 79"), "accepted");
    let account = world.account("alice");
    let record = account.elimination.as_ref().expect("eliminated");
    assert_eq!(record.reason, Reason::FailedChallengePeriodDrawdown);
    assert_eq!(record.stamp.at, UtcMs(T0 + 10_000));
    assert!(record.fall.expect("a fall").ratio() <= 0.9);
    assert!(record.drawdown.legacy(record.reason).is_some_and(|percent| percent >= 10.0));
    assert_eq!(account.book.open_positions().count(), 0, "flattened in the same commit");
    let flats: Vec<&str> = record.flat_orders.iter().map(OrderId::as_str).collect();
    assert_eq!(flats, ["1o", "2o"], "E-62: the reversed ids, in the order of the pairs");
    assert!(matches!(
        world.events.last(),
        Some(Event::Eliminated { .. } | Event::CellClosed { .. })
    ));
    // nothing is accepted from that commit on.
    assert_eq!(world.run("10000 order alice o9 BTCUSD LONG 0.1"), "eliminated");
}

#[test]
fn m_3_a_forced_flat_without_a_fresh_price_keeps_the_last_mark() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      price ETHUSD 50
        0      order alice o1 BTCUSD LONG 0.5
        0      order alice o2 ETHUSD LONG 0.1
        4_000  price ETHUSD 60
    ",
    );
    // 20 s later only BTC has a fresh price; ETH's last mark stands.
    assert_eq!(world.run("24000 price BTCUSD 70"), "accepted");
    let account = world.account("alice");
    assert!(account.elimination.is_some());
    let book = account.book.pair(TradePair::from_id("ETHUSD").expect("a pair")).expect("traded");
    let position = book.closed().last().expect("one");
    let flat = position.orders().last().expect("the flat");
    assert_eq!((flat.source, flat.price), (OrderSource::EliminationFlat, 0.0));
    assert!((position.current_return() - 1.02).abs() < 1e-3, "{}", position.current_return());
}

#[test]
fn a_portfolio_worth_nothing_is_liquidated() {
    let mut world = check(
        "
        -90_000_000 roster 1 bob
        -90_000_000 size bob 100000
        -90_000_000 class bob forex
        0      price EURUSD 1.1
        0      order bob o1 EURUSD LONG 5
    ",
    );
    assert_eq!(world.run("2000 price EURUSD 0.5"), "accepted");
    let account = world.account("bob");
    let record = account.elimination.as_ref().expect("eliminated");
    assert_eq!((record.reason, record.drawdown), (Reason::Liquidated, DrawdownNote::TotalLoss));
    assert_eq!(record.fall.expect("a fall").trough.value, 0.0);
    assert_eq!(record.slash.map(|slash| slash.proportion), Some(1.0), "E-66: all is lost");
    let prices: Vec<_> = record.prices.iter().map(|p| (p.pair.id(), p.price.get())).collect();
    assert_eq!(prices, [("EURUSD", 0.5)], "E-44: the record names the price that did it");
    let flats: Vec<&str> = record.flat_orders.iter().map(OrderId::as_str).collect();
    assert_eq!(flats, ["1o"]);
    assert_eq!(account.book.open_positions().count(), 0);
}

#[test]
fn cells_close_on_time_without_any_input_of_the_account() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1
        10_000 price BTCUSD 101
        10_000 order alice o2 BTCUSD FLAT 0
    ",
    );
    let cells = |world: &World| {
        world.events.iter().filter(|e| matches!(e, Event::CellClosed { .. })).count()
    };
    assert_eq!(cells(&world), 0);
    // 22:00 + 2 h is a boundary; a tick of whatever kind passes it.
    assert_eq!(world.run("7200001 tick"), "accepted");
    assert_eq!(cells(&world), 2, "the portfolio's and the pair's");
}

#[test]
fn a_breach_in_the_last_moment_of_a_cell_is_seen() {
    // 22:00 + 2 h is a boundary: the cell ends there, and so does the account.
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.5
    ",
    );
    assert_eq!(world.run("7200000 price BTCUSD 70"), "accepted");
    assert!(world.account("alice").elimination.is_some());
}

#[test]
fn a_commit_that_does_not_follow_is_refused_and_changes_nothing() {
    let mut world = check_with_alice("0 price BTCUSD 100");
    let (stamp, digest) = (world.engine.stamp(), world.engine.digest());
    let at = UtcMs(T0);
    let gap = Commit { index: stamp.commit + 2, at, inputs: vec![] };
    assert!(matches!(world.engine.apply(&gap), Err(OutOfOrder::Index { .. })));
    let back = Commit { index: stamp.commit + 1, at: UtcMs(T0 - 1), inputs: vec![] };
    assert!(matches!(world.engine.apply(&back), Err(OutOfOrder::Time { .. })));
    assert_eq!((world.engine.stamp(), world.engine.digest()), (stamp, digest));
}

#[test]
fn a_view_is_of_one_commit_and_later_commits_do_not_change_it() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1
    ",
    );
    let before = world.engine.view();
    let copy = before.accounts.iter().map(|account| Account::clone(account)).collect::<Vec<_>>();
    assert_eq!(world.run("20000 price BTCUSD 110"), "accepted");
    assert_eq!(world.run("20000 order alice o2 BTCUSD FLAT 0"), "accepted");
    assert!(before.accounts.iter().map(Arc::as_ref).eq(copy.iter()));
    assert_ne!(before.digest, world.engine.view().digest);
}

#[test]
fn state_survives_a_round_trip_and_goes_on_the_same() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1
        5_000  price BTCUSD 103
    ",
    );
    let mut bytes = Vec::new();
    world.engine.save(&mut bytes).expect("finite");
    let mut other = World { engine: Engine::load(&bytes).expect("loads"), events: Vec::new() };
    assert_eq!(other.engine.state, world.engine.state);
    for line in ["20000 price BTCUSD 90", "20000 order alice o2 BTCUSD SHORT 0.2", "90000000 tick"]
    {
        assert_eq!(world.run(line), other.run(line));
    }
    assert_eq!(world.engine.digest(), other.engine.digest());
}

#[test]
fn departed_traders_may_not_come_back() {
    check(
        "
        0      roster 1 alice bob
        0      class alice crypto
        0      price BTCUSD 100
        1_000  roster 2 bob
        1_000  order alice o1 BTCUSD LONG 0.1   -> not_registered
        2_000  roster 3 alice bob
        2_000  order alice o1 BTCUSD LONG 0.1   -> departed
    ",
    );
}

#[test]
fn t_13_a_cross_without_a_conversion_price_is_refused() {
    check(
        "
        0      roster 1 bob
        0      class bob forex
        0      price EURGBP 0.87
        0      order bob o1 EURGBP LONG 1       -> no_price
        0      price EURUSD 1.1
        0      price GBPUSD 1.3
        0      order bob o1 EURGBP LONG 1
    ",
    );
}

#[test]
fn the_market_of_a_pair_must_be_open() {
    // 2025-11-08 is a Saturday.
    check(
        "
        0           roster 1 bob
        0           class bob forex
        400_000_000 price EURUSD 1.1
        400_000_000 order bob o1 EURUSD LONG 1  -> market_closed
    ",
    );
}
