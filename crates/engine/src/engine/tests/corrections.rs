//! Corrected orders: an account is as if the order had been filled right, and an audit event says so.

use proptest::prelude::*;

use super::*;

fn corrected(world: &World) -> Vec<(f64, f64, f64, f64)> {
    let events = world.events.iter();
    events
        .filter_map(|event| {
            if let Event::OrderCorrected { before, order, .. } = event {
                Some((before.price, order.price, before.quantity, order.quantity))
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn m_7_price_quantity_and_rates_are_corrected_together_and_the_event_says_so() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.5
        5_000  price BTCUSD 101
    ",
    );
    world.run("20000 correct alice o1 101");
    let [(was, is, quantity_was, quantity_is)] = corrected(&world)[..] else { panic!("one event") };
    assert_eq!((was, is), (100.0, 101.0));
    assert!((quantity_was * 100.0 - quantity_is * 101.0).abs() < 1e-9, "the value stands");
    let account = world.account("alice");
    let open = account.book.open_positions().next().expect("open");
    let order = open.orders().first().expect("one");
    assert_eq!((order.leverage, order.value, order.usd_base_rate), (0.5, 50_000.0, 1.0 / 101.0));
    assert_eq!(open.net_quantity(), order.quantity);
    assert_eq!(open.unrealized_pnl(), (101.0 - open.average_entry_price()) * open.net_quantity());
}

#[test]
fn a_correction_is_refused_for_a_reason_that_is_named() {
    check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.5
        0      correct alice o9 100          -> correction_unknown_order
        0      correct carol o1 100          -> not_registered
        0      correct bob o1 99             -> correction_unknown_order
        0      correct alice o1 0            -> correction_number
        0      correct alice o1 100          -> correction_same_price
        300_000 correct alice o1 101         // exactly the window
        300_001 correct alice o1 102         -> correction_too_old
    ",
    );
}

#[test]
fn an_account_that_has_ended_is_not_corrected_back_to_life() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.5
        5_000  price BTCUSD 70
    ",
    );
    assert!(world.account("alice").elimination.is_some());
    assert_eq!(world.run("6000 correct alice o1 70"), "eliminated");
}

#[test]
fn a_corrected_history_that_breaches_ends_the_account_in_the_same_commit() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.5
        5_000  price BTCUSD 90
        10_000 price BTCUSD 110
    ",
    );
    assert!(world.account("alice").elimination.is_none());
    world.events.clear();
    // Bought at 113 she was down by more than a tenth at 90, though she is not now.
    world.run("15000 correct alice o1 113");
    let account = world.account("alice");
    let record = account.elimination.as_ref().expect("ended");
    let fell_at = record.fall.map(|fall| fall.trough.at);
    assert_eq!((fell_at, record.stamp.at), (Some(UtcMs(T0 + 5_000)), UtcMs(T0 + 15_000)));
    assert!(matches!(world.events[0], Event::OrderCorrected { .. }));
}

#[test]
fn a_false_fall_vanishes_with_the_wrong_price_that_caused_it() {
    // The fill at 109 was wrong: at 100 she never was down by nine tenths of the limit.
    let mut world = check_with_alice(
        "
        0      price BTCUSD 109
        0      order alice o1 BTCUSD LONG 0.5
        5_000  price BTCUSD 92
        10_000 price BTCUSD 100
    ",
    );
    let worst = |world: &World| {
        let account = world.account("alice");
        account.ledgers.as_ref().expect("traded").portfolio().worst_drawdown().expect("sampled")
    };
    assert!(worst(&world) < 0.93);
    world.run("15000 correct alice o1 100");
    assert!(worst(&world) > 0.959, "{}", worst(&world));
}

#[test]
fn a_claim_that_was_not_believed_then_is_not_believed_in_the_replay() {
    let mut world = check_with_alice(
        "
        0      price BTCUSD 100 by a
        0      order alice o1 BTCUSD LONG 0.5
        5_000  price BTCUSD 60 by a
        10_000 price BTCUSD 100 by a
        15_000 correct alice o1 101
    ",
    );
    assert!(world.account("alice").elimination.is_none());
    assert_eq!(world.run("20000 tick"), "accepted");
}

/// A correction takes back every pair of the account, also those whose fees have fallen due since
/// the last price.
#[test]
fn a_correction_keeps_the_carry_fee_of_a_pair_that_no_price_has_reached() {
    let mut world = check_with_alice(
        "
        0          price BTCUSD 100
        0          price ETHUSD 10
        0          order alice o1 ETHUSD LONG 0.4
        50_000_000 price BTCUSD 100
        50_000_000 order alice o2 BTCUSD LONG 0.1
    ",
    );
    let state = |world: &World| {
        let account = world.account("alice");
        let open = account.book.open_positions().find(|open| open.pair().to_string() == "ETHUSD");
        let open = open.expect("held");
        let ledger = account.ledgers.as_ref().expect("traded").portfolio();
        let cell = *ledger.current().expect("sampled");
        (open.carry_fee(), open.next_carry_at(), open.return_at_close(), cell)
    };
    let before = state(&world);
    assert!(before.0 < 1.0, "a boundary has passed: {}", before.0);
    assert_eq!(world.run("50_000_000 correct alice o2 99"), "accepted");
    assert_eq!(state(&world), before);
}

#[test]
fn closed_positions_and_forced_closes_are_told_anew() {
    let mut world = check_with_alice("");
    for n in 0_i64..101 {
        let at = n * 10_000;
        let side = if n % 2 == 0 { "LONG 0.02" } else { "SHORT 0.005" };
        world.run(&format!("{at} price BTCUSD 100"));
        assert_eq!(world.run(&format!("{at} order alice o{n} BTCUSD {side}")), "accepted", "{n}");
    }
    assert_eq!(world.run("1000000 correct alice 0o 99"), "correction_forced_order");
    assert_eq!(world.run("1000000 correct alice o100 99"), "accepted");
    assert_eq!(world.run("1000000 correct alice o98 101"), "accepted");
    let account = world.account("alice");
    let book = &account.book.pairs()[0];
    assert_eq!((book.closed().len(), book.closed().last().expect("one").orders().len()), (1, 101));
    assert_eq!(book.totals.positions, 1);
    assert_eq!(book.closed().last().expect("one").orders()[98].price, 101.0);
    let open = book.open.as_ref().expect("the next one");
    assert_eq!(open.orders().first().expect("one").price, 99.0);
}

/// One act of a history: a price of one of two pairs, or an order.
#[derive(Clone, Copy, Debug)]
enum Act {
    Price(usize, i32),
    Order(usize, usize, u32),
}

const PAIRS: [&str; 2] = ["BTCUSD", "ETHUSD"];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0..2_usize, -8..8_i32).prop_map(|(pair, move_)| Act::Price(pair, move_)),
        1 => (0..2_usize, 0..3_usize, 1..10_u32).prop_map(|(p, side, size)| Act::Order(p, side, size)),
    ];
    prop::collection::vec(act, 1..24)
}

/// Runs `acts`, one every ten seconds; the first is an order, filled at `first`.
fn history(first: &str, acts: &[Act]) -> World {
    // Slippage goes by steps of the size in dollars: an order of the same quantity at another price
    // may stand on another step, and a correction keeps what was charged.
    let free = "size_free_max = { value = 1_000.0";
    assert!(VANTA.contains(free));
    let rules = VANTA.replace(free, "size_free_max = { value = 1_000_000.0");
    let table = format!("{ALICE}0 price BTCUSD 100\n0 price ETHUSD 10");
    let mut world = played(World::with(&rules), &table);
    let fill = RecordedFill {
        price: Price::new(first.parse().expect("a price")).expect("finite"),
        bid: None,
        ask: None,
        slippage: proctor_types::Fraction::new(0.0001).ok(),
    };
    let opening = order("alice", "first", "BTCUSD", "LONG", "0.2");
    let replies = world.commit(T0, vec![Input::RecordedOrder(opening, fill)]);
    assert_eq!(replies, [Ok(())]);
    let mut prices = [100.0, 10.0];
    for (number, act) in acts.iter().enumerate() {
        let at = 10_000 * (number + 1);
        match *act {
            Act::Price(pair, tenths) => {
                prices[pair] *= 1.0 + f64::from(tenths) / 1_000.0;
                world.run(&format!("{at} price {} {}", PAIRS[pair], prices[pair]));
            }
            Act::Order(pair, side, size) => {
                let side = ["LONG", "SHORT", "FLAT"][side];
                let size = f64::from(size) / 100.0;
                world.run(&format!("{at} price {} {}", PAIRS[pair], prices[pair]));
                world.run(&format!("{at} order alice o{number} {} {side} {size}", PAIRS[pair]));
            }
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// The positions, the closed totals and the ledgers are those of a history in which the order
    /// had the right price from the beginning.
    #[test]
    fn a_corrected_account_is_as_if_the_order_had_been_filled_right(
        acts in acts(),
        percent in 97..104_i32,
    ) {
        let price = percent.to_string();
        let mut wrong = history("102.5", &acts);
        let mut right = history(&price, &acts);
        let end = 10_000 * (acts.len() + 1);
        let reply = wrong.run(&format!("{end} correct alice first {price}"));
        prop_assert_eq!(reply, "accepted");
        right.run(&format!("{end} tick"));
        prop_assert_eq!(&wrong.account("alice").recent, &right.account("alice").recent);
        // A cell ends at two hours: every account is sampled then, whether it holds anything or not.
        wrong.run("7_300_000 tick");
        right.run("7_300_000 tick");
        let (wrong, right) = (wrong.account("alice"), right.account("alice"));
        prop_assert_eq!(&wrong.book, &right.book);
        prop_assert_eq!(&wrong.ledgers, &right.ledgers);
        prop_assert_eq!(&wrong.elimination, &right.elimination);
    }
}
