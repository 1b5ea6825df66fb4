//! Interleavings that have nothing left to interleave, by their number in docs/races.md.

use proctor_engine::eliminations::Reason;
use proctor_engine::input::Roster;
use proctor_engine::ledgers::{Ledger, MarketStatus, Sample};
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Engine, Event, Input, Outcome, Rejection, Rulebook};
use proctor_types::{
    AssetClass, DurationMs, Leverage, OrderId, OrderRequest, PairName, Price, Quote, Side,
    SizeFields, SourceName, TradePair, TraderId, UtcMs,
};

/// Monday 2025-11-03 14:00 UTC.
const T0: i64 = 1_762_178_400_000;

fn trader(name: &str) -> TraderId {
    TraderId::new(name).expect("valid")
}

fn price(pair: &str, at: i64, number: f64) -> Quote {
    let pair = TradePair::from_id(pair).expect("in the table");
    let source = SourceName::new("test").expect("valid");
    Quote::event(pair, source, UtcMs(T0 + at), Price::new(number).expect("finite"))
}

/// Has a second source agree with every price, so that any price is believed at once.
fn confirmed(input: Input) -> Input {
    let Input::Prices(mut quotes) = input else { return input };
    let source = SourceName::new("test2").expect("valid");
    let again: Vec<Quote> =
        quotes.iter().map(|quote| Quote { source: source.clone(), ..quote.clone() }).collect();
    quotes.extend(again);
    Input::Prices(quotes)
}

fn order(who: &str, id: &str, pair: &str) -> Input {
    Input::Order(OrderRequest::market(
        trader(who),
        OrderId::new(id).expect("valid"),
        PairName::new(pair).expect("valid"),
        Side::Long,
        SizeFields { leverage: Leverage::new(0.5).ok(), ..SizeFields::default() },
    ))
}

fn commit(engine: &mut Engine, at: i64, inputs: Vec<Input>) -> Outcome {
    let index = engine.stamp().commit + 1;
    let inputs = inputs.into_iter().map(confirmed).collect();
    engine.apply(&Commit { index, at: UtcMs(T0 + at), inputs }).expect("in order")
}

/// An engine in which alice and bob may trade crypto.
fn started() -> Engine {
    let mut engine = Engine::new();
    let names = ["alice", "bob"];
    let mut inputs = vec![
        Input::Rulebook(VANTA.into()),
        Input::Roster(Roster::new(1, names.map(trader).to_vec())),
    ];
    inputs.extend(names.map(|name| Input::AssetClass(trader(name), AssetClass::Crypto)));
    commit(&mut engine, -1_000, inputs);
    engine
}

fn eliminated(outcome: &Outcome) -> Vec<&TraderId> {
    let events = outcome.events.iter();
    let ended = events.filter_map(|event| {
        if let Event::Eliminated { trader, .. } = event { Some(trader) } else { None }
    });
    ended.collect()
}

#[test]
fn x_5_x_9_an_order_behind_the_price_that_ends_the_account_is_refused_in_the_same_commit() {
    let mut engine = started();
    let opening =
        vec![Input::Prices(vec![price("BTCUSD", 0, 100.0)]), order("alice", "o1", "BTCUSD")];
    assert_eq!(commit(&mut engine, 0, opening).replies, [Ok(()), Ok(())]);
    let fall = commit(
        &mut engine,
        60_000,
        vec![
            Input::Prices(vec![price("BTCUSD", 60_000, 70.0), price("ETHUSD", 60_000, 10.0)]),
            order("alice", "o2", "ETHUSD"),
            // A recovery comes too late: the verdict was taken on the price of its moment.
            Input::Prices(vec![price("BTCUSD", 60_001, 200.0)]),
            order("alice", "o3", "BTCUSD"),
        ],
    );
    let ended = Err(Rejection::Eliminated(UtcMs(T0 + 60_000)));
    assert_eq!(fall.replies, [Ok(()), ended.clone(), Ok(()), ended.clone()]);
    let account = engine.account(&trader("alice")).expect("enrolled");
    assert_eq!(account.book.open_positions().count(), 0);
    let record = account.elimination.as_ref().expect("ended");
    assert_eq!((record.reason, record.stamp), (Reason::FailedChallengePeriodDrawdown, fall.stamp));
    assert_eq!(record.prices.len(), 1);
    assert_eq!((record.prices[0].price.get(), record.prices[0].at), (70.0, UtcMs(T0 + 60_000)));
    let later = commit(&mut engine, 90_000, vec![order("alice", "o4", "BTCUSD")]);
    assert_eq!(later.replies, [ended]);
}

#[test]
fn x_14_one_account_without_a_price_to_flatten_at_keeps_no_other_from_its_end() {
    let mut engine = started();
    let prices = |at, number| {
        Input::Prices(["BTCUSD", "ETHUSD"].map(|pair| price(pair, at, number)).to_vec())
    };
    let opening = vec![
        prices(0, 100.0),
        order("alice", "a1", "BTCUSD"),
        order("alice", "a2", "ETHUSD"),
        order("bob", "b1", "BTCUSD"),
    ];
    assert_eq!(commit(&mut engine, 0, opening).replies, [Ok(()), Ok(()), Ok(()), Ok(())]);
    // Only BTCUSD has a price now: alice's ETHUSD closes at its last mark.
    let fall =
        commit(&mut engine, 60_000, vec![Input::Prices(vec![price("BTCUSD", 60_000, 60.0)])]);
    assert_eq!(eliminated(&fall), [&trader("alice"), &trader("bob")]);
    for name in ["alice", "bob"] {
        let account = engine.account(&trader(name)).expect("enrolled");
        assert_eq!(account.book.open_positions().count(), 0, "{name} was flattened");
        assert!(account.elimination.is_some());
    }
    assert!(eliminated(&commit(&mut engine, 90_000, vec![Input::Tick])).is_empty());
}

#[test]
fn x_37_an_order_is_filled_at_the_newest_price_before_it_or_not_at_all() {
    let filled_at = |wait: i64, renewed: bool| {
        let mut engine = started();
        commit(&mut engine, 0, vec![Input::Prices(vec![price("BTCUSD", 0, 100.0)])]);
        let mut inputs = vec![order("alice", "o1", "BTCUSD")];
        if renewed {
            inputs.insert(0, Input::Prices(vec![price("BTCUSD", wait, 200.0)]));
        }
        let outcome = commit(&mut engine, wait, inputs);
        outcome.events.into_iter().find_map(|event| {
            if let Event::Filled { order, .. } = event { Some(order.price) } else { None }
        })
    };
    assert_eq!(filled_at(8_000, false), Some(100.0), "as old as a price may be");
    assert_eq!(filled_at(8_001, false), None);
    assert_eq!(filled_at(1, true), Some(200.0), "the commit's own price counts");
    assert_eq!(filled_at(8_001, true), Some(200.0));
}

#[test]
fn a_long_silence_leaves_the_same_cells_whether_it_was_stepped_through_or_not() {
    const DAY: i64 = 86_400_000;
    let rules = Rulebook::parse(VANTA).expect("the built-in rulebook").ledger;
    let sample = |at: i64, value: f64| Sample {
        at: UtcMs(T0 + at),
        value,
        status: MarketStatus::NoOpenPositions,
        spread_fee: 1.0,
        carry_fee: 1.0,
        realized_pnl: 0.0,
        unrealized_pnl: 0.0,
    };
    let run = |step: i64| {
        let mut ledger = Ledger::new(UtcMs(T0));
        for (at, value) in [(0, 1.0), (DAY, 0.9), (2 * DAY, 1.3)] {
            ledger.update(&rules, &sample(at, value)).expect("valid");
        }
        for day in (2..=1_002).filter(|day| (day - 2) % step == 0) {
            ledger.update(&rules, &sample(day * DAY + 7, 1.3)).expect("valid");
            ledger.purge(&rules);
        }
        let last = sample(1_002 * DAY + 7, 1.3).at;
        assert_eq!(ledger.last_update(), Some(last));
        assert!(last.since(UtcMs(T0)) > DurationMs(8 * rules.window.value.0));
        let cells: Vec<_> = ledger.cells().copied().collect();
        (cells, ledger.peak().value, ledger.worst_drawdown())
    };
    assert_eq!(run(1_000), run(10));
}
