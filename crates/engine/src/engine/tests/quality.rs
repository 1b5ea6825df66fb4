//! Spikes, second sources and verdicts that wait; the traps of price feeds (F-1 to F-6).

use proctor_types::DurationMs;
use proptest::prelude::*;

use super::*;
use crate::frozen::Thaw;

/// Alice is long half her account at 100; below 80 she has lost a tenth. One source so far.
const LONG: &str = "
    0      price BTCUSD 100 by a
    0      order alice o1 BTCUSD LONG 0.5
";

fn ended(world: &World) -> bool {
    world.account("alice").elimination.is_some()
}

fn frozen(world: &World) -> bool {
    world.account("alice").frozen.is_some()
}

fn thaws(world: &World) -> Vec<Thaw> {
    let events = world.events.iter();
    events
        .filter_map(|e| if let Event::VerdictThawed { why, .. } = e { Some(*why) } else { None })
        .collect()
}

fn worst(world: &World) -> f64 {
    let account = world.account("alice");
    let ledgers = account.ledgers.as_ref().expect("she has traded");
    ledgers.portfolio().worst_drawdown().expect("sampled")
}

#[test]
fn a_spike_of_one_source_freezes_the_verdict_and_its_return_leaves_no_trace() {
    let mut world = check_with_alice(&format!(
        "{LONG}
        5_000  price BTCUSD 60 by a
        6_000  price BTCUSD 61 by a
    "
    ));
    assert!(frozen(&world) && !ended(&world));
    let account = world.account("alice");
    let claims = &account.frozen.as_ref().expect("frozen").claims;
    assert_eq!((claims.len(), claims[0].price.get(), claims[0].believed.get()), (1, 60.0, 100.0));
    assert_eq!(claims[0].source.as_str(), "a");
    world.run("7000 price BTCUSD 99 by a");
    assert!(!frozen(&world) && !ended(&world));
    assert_eq!(thaws(&world), [Thaw::Returned]);
    assert!(worst(&world) > 0.99, "{}", worst(&world));
}

#[test]
fn a_liquidation_waits_like_any_other_verdict() {
    let mut world = check(
        "
        -90_000_000 roster 1 alice
        -90_000_000 size alice 100000
        -90_000_000 class alice forex
        0      price EURUSD 1.1 by a
        0      order alice o1 EURUSD LONG 5
        2_000  price EURUSD 0.5 by a
    ",
    );
    let account = world.account("alice");
    assert_eq!(account.book.open_positions().count(), 1, "no position is closed on it");
    assert_eq!(account.frozen.as_ref().expect("frozen").value, 0.0);
    assert_eq!(world.run("3000 price EURUSD 0.5 by b"), "accepted");
    let account = world.account("alice");
    let record = account.elimination.as_ref().expect("a second source says so");
    assert_eq!((record.reason, account.frozen.is_none()), (Reason::Liquidated, true));
}

#[test]
fn a_second_source_that_agrees_carries_the_verdict_out_in_its_commit() {
    let mut world = check_with_alice(&format!("{LONG} 5_000 price BTCUSD 60 by a"));
    assert!(frozen(&world));
    world.run("7000 price BTCUSD 60.2 by b");
    let account = world.account("alice");
    let record = account.elimination.as_ref().expect("ended");
    assert_eq!(record.stamp.at, UtcMs(T0 + 7_000));
    let price = &record.prices[0];
    assert_eq!((price.sources, price.agreeing), (2, 2));
    assert!(price.spread_bps > 30.0 && price.spread_bps < 40.0, "{}", price.spread_bps);
    assert_eq!(thaws(&world), [], "it was not dropped");
}

#[test]
fn a_second_source_that_disagrees_drops_the_verdict() {
    let mut world = check_with_alice(&format!(
        "{LONG}
        5_000  price BTCUSD 60 by a
        6_000  price BTCUSD 99.5 by b
    "
    ));
    assert!(!ended(&world) && !frozen(&world));
    assert_eq!(thaws(&world), [Thaw::Contradicted]);
    // The liar goes on alone among two: the other one is nearer to what was believed.
    world.run("10000 price BTCUSD 60 by a");
    world.run("11000 price BTCUSD 99 by b");
    assert!(!ended(&world) && !frozen(&world) && worst(&world) > 0.98);
}

#[test]
fn the_same_source_that_still_says_so_after_freeze_max_carries_the_verdict_out() {
    let mut world = check_with_alice(&format!("{LONG} 5_000 price BTCUSD 60 by a"));
    for second in (10..65).step_by(5) {
        world.run(&format!("{second}000 price BTCUSD 60 by a"));
        assert!(frozen(&world) && !ended(&world), "after {second} s");
    }
    world.run("65000 price BTCUSD 60 by a");
    assert!(ended(&world), "it was said for a minute");
}

#[test]
fn a_price_that_nobody_repeats_drops_the_verdict_at_a_tick() {
    let mut world = check_with_alice(&format!("{LONG} 5_000 price BTCUSD 60 by a"));
    world.run("64999 tick");
    assert!(frozen(&world), "the price is stale, its time is not over");
    world.run("65000 tick");
    assert!(!frozen(&world) && !ended(&world));
    assert_eq!(thaws(&world), [Thaw::NotRepeated]);
}

#[test]
fn a_gradual_fall_on_one_source_ends_the_account_at_once() {
    let mut world = check_with_alice(LONG);
    for step in 1..8 {
        world.run(&format!("{}000 price BTCUSD {} by a", step * 5, 100 - 3 * step));
        assert_eq!(ended(&world), step == 7, "at {}", 100 - 3 * step);
        assert!(!frozen(&world));
    }
}

#[test]
fn without_the_guard_a_spike_ends_the_account_as_it_used_to() {
    let mut world = World { engine: Engine::new(), events: Vec::new() };
    let text = VANTA.replace("spike_guard = \"freeze\"", "spike_guard = \"off\"");
    world.commit(T0 - 2 * 86_400_000, vec![Input::Rulebook(text)]);
    for line in ALICE.lines().chain(LONG.lines()).filter(|line| !line.trim().is_empty()) {
        assert_eq!(world.run(line), "accepted", "{line}");
    }
    world.run("5000 price BTCUSD 60 by a");
    assert!(ended(&world) && !frozen(&world));
}

#[test]
fn a_frozen_account_may_reduce_and_not_add_and_nothing_is_filled_at_a_claim() {
    check_with_alice(
        "
        0      price BTCUSD 100 by a
        0      price ETHUSD 10
        0      order alice o1 BTCUSD LONG 0.5
        0      order alice o2 ETHUSD LONG 0.1
        12_000 price BTCUSD 60 by a
        12_000 price ETHUSD 10
        12_000 order alice o3 BTCUSD FLAT 0       -> price_unconfirmed
        12_000 order alice o4 ETHUSD LONG 0.1     -> frozen
        12_000 order alice o5 SOLUSD LONG 0.1     -> no_price
        12_000 order alice o6 ETHUSD SHORT 0.05
        13_000 price BTCUSD 98 by a
        14_000 order alice o7 BTCUSD FLAT 0
    ",
    );
}

#[test]
fn a_cell_that_ends_during_a_freeze_closes_with_the_last_believed_value() {
    // 22:00 + 2 h is a boundary.
    let mut world = check_with_alice(
        "
        7_190_000 price BTCUSD 100 by a
        7_190_000 order alice o1 BTCUSD LONG 0.5
        7_195_000 price BTCUSD 60 by a
        7_201_000 price BTCUSD 60 by a
    ",
    );
    assert!(frozen(&world));
    let account = world.account("alice");
    let cell = *account.ledgers.as_ref().expect("traded").portfolio().closed().next().expect("one");
    assert!(cell.value > 0.99 && cell.worst_drawdown > 0.99, "{cell:?}");
    world.run("7205000 price BTCUSD 100 by a");
    assert!(!frozen(&world) && worst(&world) > 0.99);
}

#[test]
fn a_spike_up_makes_no_peak_to_fall_from() {
    let world = check_with_alice(&format!(
        "{LONG}
        5_000  price BTCUSD 150 by a
        10_000 price BTCUSD 100 by a
        15_000 price BTCUSD 99 by a
    "
    ));
    let account = world.account("alice");
    assert_eq!(account.ledgers.as_ref().expect("traded").portfolio().peak().value, 1.0);
    assert!(!ended(&world));
}

#[test]
fn of_three_sources_two_outvote_the_third() {
    let mut world = check_with_alice(&format!("{LONG} 4_000 price BTCUSD 100 by b"));
    let batch = |at: i64, prices: [&str; 3]| {
        let quotes = ["a", "b", "c"].iter().zip(prices).map(|(name, price)| Quote {
            source: source(name),
            ..quote("BTCUSD", UtcMs(T0 + at), price)
        });
        vec![Input::Prices(quotes.collect())]
    };
    world.commit(T0 + 5_000, batch(5_000, ["60", "100", "100.1"]));
    assert!(!frozen(&world) && !ended(&world), "the majority says 100");
    world.commit(T0 + 6_000, batch(6_000, ["60", "60.1", "100.1"]));
    assert!(ended(&world), "the majority says 60");
}

#[test]
fn after_a_long_silence_a_price_may_be_further_away() {
    let mut world = check_with_alice(&format!(
        "{LONG}
        1_800_000 price BTCUSD 93 by a
    "
    ));
    let marked = |world: &World| {
        let account = world.account("alice");
        account.book.pairs()[0].last_mark.as_ref().expect("marked").price
    };
    assert_eq!(marked(&world), 100.0, "seven per cent after half an hour is a spike");
    world.run("3_700_000 price BTCUSD 92 by a");
    assert_eq!(marked(&world), 92.0, "and after an hour it is not");
}

#[test]
fn f_1_a_price_beside_its_own_bid_and_ask_is_outvoted_by_the_other_sources() {
    let mut world = check_with_alice(&format!("{LONG} 1_000 price BTCUSD 100 by b"));
    let wrong = Quote { source: source("c"), ..quote("BTCUSD", UtcMs(T0 + 2_000), "95") };
    world.commit(T0 + 2_000, vec![Input::Prices(vec![wrong])]);
    let account = world.account("alice");
    let mark = account.book.pairs()[0].last_mark.as_ref().expect("marked");
    assert_eq!(mark.price, 100.0, "the nearest in time is not believed against two");
}

#[test]
fn f_2_a_source_that_repeats_an_old_price_under_a_new_time_does_not_win_against_two() {
    // c stamps the open of a minute ago with the time of its poll, and is the nearest in time.
    let mut world = check_with_alice(&format!(
        "{LONG}
        4_000  price BTCUSD 98 by a
        4_000  price BTCUSD 98.1 by b
        4_100  price BTCUSD 100 by c
    "
    ));
    assert_eq!(world.run("10000 order alice o2 BTCUSD LONG 0.1"), "position_full");
    let quality = world.engine.state.prices.quality(
        &world.engine.state.rulebooks[0].rules.prices,
        TradePair::from_id("BTCUSD").expect("a pair"),
        UtcMs(T0 + 4_100),
    );
    assert_eq!((quality.sources, quality.agreeing), (3, 2));
    assert_eq!(quality.quote.expect("believed").source.as_str(), "a");
}

#[test]
fn f_3_a_record_from_further_ahead_than_a_rounded_second_is_refused() {
    let mut world = check_with_alice(LONG);
    let ahead = |ms: i64| quote("BTCUSD", UtcMs(T0 + 1_000 + ms), "101");
    world.commit(T0 + 1_000, vec![Input::Prices(vec![ahead(1_001), ahead(500)])]);
    let refused = world.events.iter().filter(|e| matches!(e, Event::QuoteRefused { .. })).count();
    assert_eq!(refused, 1, "500 ms are what rounding makes, 1 001 ms are not");
}

#[test]
fn f_4_an_order_finds_no_price_rather_than_an_old_one() {
    check_with_alice(
        "
        0      price BTCUSD 100
        8_001  order alice o1 BTCUSD LONG 0.1    -> no_price
    ",
    );
}

#[test]
fn f_5_asking_for_a_price_changes_no_record() {
    let world = check_with_alice(LONG);
    let prices = &world.engine.state.prices;
    let before = Arc::clone(prices);
    let rules = &world.engine.state.rulebooks[0].rules;
    let pair = TradePair::from_id("BTCUSD").expect("a pair");
    for ms in [0, 4_000, 9_000] {
        let _ = prices.best(rules, pair, UtcMs(T0 + ms));
    }
    assert_eq!(before, *prices);
}

#[test]
fn f_6_a_bad_record_in_a_batch_does_not_throw_away_the_others() {
    let mut world = check_with_alice("");
    let good = quote("BTCUSD", UtcMs(T0), "100");
    let bad = Quote { span: DurationMs(-1), source: source("b"), ..good };
    world.commit(T0, vec![Input::Prices(vec![bad, good])]);
    assert_eq!(world.run("0 order alice o1 BTCUSD LONG 0.1"), "accepted");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever one source says for less than a minute, and however often: nobody ends.
    #[test]
    fn spikes_of_one_source_shorter_than_freeze_max_end_no_account(
        spikes in prop::collection::vec((1..200_u32, 1..11_i64, any::<bool>()), 1..20),
        side in prop::sample::select(vec!["LONG", "SHORT"]),
    ) {
        let mut world = check_with_alice(&format!(
            "0 price BTCUSD 100 by a
             0 order alice o1 BTCUSD {side} 0.5"
        ));
        let mut at = 0;
        for (price, times, tick) in spikes {
            // Prices within 5 % of the truth are not spikes, and end no account by themselves.
            for _ in 0..times {
                at += 5_000;
                world.run(&format!("{at} price BTCUSD {price} by a"));
                if tick {
                    world.run(&format!("{at} tick"));
                }
            }
            at += 5_000;
            world.run(&format!("{at} price BTCUSD 100 by a"));
            prop_assert!(!frozen(&world), "the price is back");
        }
        prop_assert!(!ended(&world));
        prop_assert!(worst(&world) > 0.95);
    }
}
