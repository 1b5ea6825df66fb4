//! What the reference's own tests of limit orders assert (trading 9, tests 42 to 56), and where this
//! engine answers otherwise.

use proctor_types::{ExecutionType, Price};

use super::Story;
use crate::engine::tests::{T0, parsed};
use crate::input::{Input, RecordedFill};
use crate::rejection::Rejection;

#[test]
fn reference_42_stop_loss_and_take_profit_lie_on_their_sides_of_the_limit() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 limit alice l1 BTCUSD LONG 0.1 at=95 sl=96          -> protection_side
        0 limit alice l1 BTCUSD LONG 0.1 at=95 sl=95          -> protection_side
        0 limit alice l1 BTCUSD LONG 0.1 at=95 tp=94          -> protection_side
        0 limit alice l1 BTCUSD SHORT 0.1 at=105 sl=104       -> protection_side
        0 limit alice l1 BTCUSD SHORT 0.1 at=105 tp=106       -> protection_side
        0 limit alice l1 BTCUSD LONG 0.1 at=0                 -> price_not_positive
        0 limit alice l1 BTCUSD LONG 0.1 at=-5                -> price_not_positive
        0 limit alice l1 BTCUSD LONG 0.1                      -> limit_price_missing
        0 limit alice l1 BTCUSD LONG 0 at=95                  -> size_zero
        0 limit alice l1 BTCUSD LONG - at=95                  -> size_missing
        0 limit alice l1 BTCUSD LONG 0.1 at=95 value=5        -> size_ambiguous
        0 limit alice l1 BTCUSD LONG -0.1 at=95               -> size_negative
        0 limit alice l1 BTCUSD LONG 0.1 at=95 sl=94 tp=96
        0 limit alice l2 BTCUSD SHORT 0.1 at=105 sl=106 tp=104
        = l1 rests, l2 rests
        ",
    );
}

#[test]
fn reference_43_a_market_order_makes_a_bracket_only_on_a_position_that_is_open() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1 sl=90 tp=110
        = o1 LONG 0.1 at 100 src 0, o1-bracket rests
        20_000 price BTCUSD 100
        20_000 order alice o2 BTCUSD FLAT 0 sl=90
        = o2 FLAT -0.1 at 100 src 0 closes, o1-bracket cancelled position_closed, \
          o2 no bracket no_position
        40_000 order alice o3 BTCUSD LONG 0.1 sl=90           -> no_price
        =
        ",
    );
}

#[test]
fn a_recorded_order_makes_no_bracket_and_its_recorded_bracket_is_a_fill() {
    let mut story = Story::new();
    let recorded = |line: &str, price: f64| {
        let Input::Order(request) = parsed(line).1 else { panic!("not an order: {line}") };
        let price = Price::new(price).expect("finite");
        Input::RecordedOrder(request, RecordedFill { price, bid: None, ask: None, slippage: None })
    };
    let opening = recorded("0 limit alice l1 BTCUSD LONG 0.1 at=95 sl=90", 95.0);
    let closing = recorded("1_000 bracket alice l1-bracket BTCUSD SHORT 0.1 sl=90", 89.0);
    let cancel = recorded("2_000 cancel alice c1 BTCUSD LONG - all", 89.0);
    assert_eq!(story.world.commit(T0, vec![opening]), [Ok(())]);
    assert_eq!(story.world.commit(T0 + 1_000, vec![closing]), [Ok(())], "no cooldown either");
    let refused = Rejection::ExecutionUnsupported(ExecutionType::LimitCancel);
    assert_eq!(story.world.commit(T0 + 2_000, vec![cancel]), [Err(refused)]);
    story.play("= l1 LONG 0.1 at 95 src 6, l1-bracket FLAT -0.1 at 89 src 9 closes");
    assert_eq!(story.resting("alice"), Vec::<String>::new());
}

#[test]
fn reference_44_a_cancellations_id_is_not_remembered() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 limit alice l1 BTCUSD LONG 0.1 at=95
        0 limit alice l2 BTCUSD LONG 0.1 at=95
        0 cancel alice c1 BTCUSD LONG - of=l1
        0 cancel alice c1 BTCUSD LONG - of=l2
        0 order alice c1 BTCUSD LONG 0.1
        ",
    );
}

#[test]
fn reference_45_the_101st_resting_order_over_all_pairs_is_refused() {
    let mut story = Story::new();
    story.play("0 price BTCUSD 100");
    for number in 0..100 {
        let pair = if number % 2 == 0 { "BTCUSD" } else { "ETHUSD" };
        story.play(&format!("0 limit alice l{number} {pair} LONG 0.1 at=95"));
    }
    story.play(
        "
        0 limit alice l100 SOLUSD LONG 0.1 at=95              -> resting_full
        0 limit bob   l100 EURUSD LONG 1 at=1
        0 cancel alice c1 BTCUSD LONG - of=l7
        0 limit alice l100 SOLUSD LONG 0.1 at=95
        ",
    );
}

#[test]
fn reference_46_a_limit_order_is_never_flat() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 limit alice l1 BTCUSD FLAT 0.1 at=95                -> limit_flat
        0 order alice o1 BTCUSD LONG 0.1
        0 limit alice l1 BTCUSD FLAT 0.1 at=95                -> limit_flat
        ",
    );
}

/// Inclusive: the ask for a buy, the bid for a sale. The fill is at the market's price, not at the
/// limit (L-4).
#[test]
fn reference_47_a_limit_is_reached_by_its_side_of_the_market() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      limit alice l1 BTCUSD LONG 0.1 at=95
        0      limit alice l2 BTCUSD SHORT 0.05 at=105
        1_000  quote BTCUSD 95 bid=94.9 ask=95.01
        = l1 rests, l2 rests
        2_000  quote BTCUSD 95 bid=94.9 ask=95
        = l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6
        40_000 quote BTCUSD 105 bid=104.99 ask=105.1
        =
        50_000 quote BTCUSD 105 bid=105 ask=105.1
        = l2 reached 105 at 105, l2 SHORT -0.05 at 105 src 6
        ",
    );
}

#[test]
fn reference_48_without_bid_and_ask_the_price_itself_counts() {
    let mut story = Story::new();
    story.play(
        "
        0     price BTCUSD 100
        0     limit alice l1 BTCUSD LONG 0.1 at=95
        1_000 price BTCUSD 95.01
        = l1 rests
        2_000 price BTCUSD 95
        = l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6
        ",
    );
}

#[test]
fn reference_49_a_bracket_is_reached_beyond_its_levels_by_the_side_that_closes_it() {
    // side, levels, the bid and ask that do not reach them, the ones that do, which is reached
    for (side, stop, take, not, then, reached) in [
        ("LONG", "90", "110", "bid=90 ask=90.1", "bid=89.9 ask=90", "90 at 89.9"),
        ("LONG", "90", "110", "bid=110 ask=110.2", "bid=110.1 ask=110.2", "110 at 110.1"),
        ("SHORT", "110", "90", "bid=109.9 ask=110", "bid=110 ask=110.1", "110 at 110.1"),
        ("SHORT", "110", "90", "bid=89.9 ask=90", "bid=89.8 ask=89.9", "90 at 89.9"),
    ] {
        let price = |fields: &str| fields[4..].split(' ').next().expect("a bid").to_owned();
        let (far, near) = (price(not), price(then));
        let mut story = Story::new();
        story.play(&format!(
            "
            0      price BTCUSD 100
            0      order alice o1 BTCUSD {side} 0.1 sl={stop} tp={take}
            60_000 quote BTCUSD {far} {not}
            "
        ));
        assert_eq!(story.told().len(), 2, "{side}: not reached by {not}");
        story.play(&format!("61_000 quote BTCUSD {near} {then}"));
        assert_eq!(story.told()[0], format!("o1-bracket reached {reached}"));
    }
}

#[test]
fn reference_49_a_bracket_has_its_levels_the_right_way_round() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 bracket alice b1 BTCUSD LONG - sl=90                -> no_position
        0 order alice o1 BTCUSD LONG 0.1
        0 bracket alice b1 BTCUSD LONG -                      -> protection_missing
        0 bracket alice b1 BTCUSD LONG - sl=110 tp=90         -> protection_side
        0 bracket alice b1 BTCUSD LONG - sl=90 tp=90          -> protection_side
        0 bracket alice b1 BTCUSD LONG - sl=-1                -> price_not_positive
        0 bracket alice b1 BTCUSD LONG -0.1 sl=90             -> size_negative
        0 bracket alice b1 BTCUSD SHORT - sl=90 tp=110
        ",
    );
}

#[test]
fn reference_50_a_trader_has_one_fill_per_pair_and_interval_and_traders_do_not_wait_for_others() {
    let mut story = Story::new();
    story.play(
        "
        0      roster 2 alice bob carol
        0      class carol crypto
        0      price BTCUSD 100
        0      price ETHUSD 100
        0      limit alice l1 BTCUSD LONG 0.1 at=95
        0      limit alice l2 BTCUSD LONG 0.1 at=95
        0      limit alice l3 ETHUSD LONG 0.1 at=95
        0      limit carol l4 BTCUSD LONG 0.1 at=95
        ",
    );
    story.told();
    story.play(
        "
        1_000  price BTCUSD 95
        1_000  price ETHUSD 95
        = l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6, l4 reached 95 at 95, \
          l4 LONG 0.1 at 95 src 6, l3 reached 95 at 95, l3 LONG 0.1 at 95 src 6
        30_999 price BTCUSD 95
        =
        31_000 price BTCUSD 95
        = l2 reached 95 at 95, l2 LONG 0.1 at 95 src 6
        ",
    );
}

/// The reference takes the parent's id for the bracket, by comparing beginnings; here each order has
/// its whole id (L-11).
#[test]
fn reference_51_a_bracket_is_cancelled_by_its_own_id() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 order alice o1 BTCUSD LONG 0.1 sl=90
        0 limit alice o2 BTCUSD LONG 0.1 at=95
        0 cancel alice c1 BTCUSD LONG - of=o1                 -> nothing_to_cancel
        0 cancel alice c1 BTCUSD LONG - of=o1-bracket
        ",
    );
    assert_eq!(story.resting("alice"), ["o2"]);
}

#[test]
fn reference_52_the_levels_of_a_bracket_lie_around_the_price_of_the_fill() {
    for (side, fields, made) in [
        ("LONG", "sl=99", true),
        ("LONG", "sl=100", false),
        ("LONG", "tp=101", true),
        ("LONG", "tp=100", false),
        ("LONG", "sl=99 tp=101", true),
        ("LONG", "sl=101 tp=102", false),
        ("SHORT", "sl=101", true),
        ("SHORT", "sl=100", false),
        ("SHORT", "tp=99", true),
        ("SHORT", "tp=100", false),
        ("SHORT", "sl=101 tp=99", true),
        ("SHORT", "sl=101 tp=102", false),
    ] {
        let mut story = Story::new();
        story.play(&format!("0 price BTCUSD 100\n0 order alice o1 BTCUSD {side} 0.1 {fields}"));
        assert_eq!(story.resting("alice").len(), usize::from(made), "{side} {fields}");
    }
}

#[test]
fn reference_53_the_end_of_one_trader_leaves_the_orders_of_the_others() {
    let mut story = Story::new();
    story.play(
        "
        0      roster 2 alice bob carol
        0      class carol crypto
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.5
        0      limit alice l1 BTCUSD LONG 0.1 at=60
        0      limit carol l2 BTCUSD LONG 0.1 at=60
        60_000 price BTCUSD 70
        ",
    );
    assert!(story.world.account("alice").elimination.is_some());
    assert_eq!(story.resting("alice"), Vec::<String>::new());
    assert_eq!(story.resting("carol"), ["l2"]);
}

#[test]
fn reference_54_from_a_limit_order_to_the_stop_of_a_part_of_its_position() {
    let mut story = Story::new();
    story.play(
        "
        0       price BTCUSD 100
        0       limit alice l1 BTCUSD LONG 0.2 at=95 sl=90
        60_000  price BTCUSD 95
        60_000  bracket alice b1 BTCUSD LONG 0.05 sl=92
        = l1 rests, l1 reached 95 at 95, l1 LONG 0.2 at 95 src 6, l1-bracket rests, b1 rests
        120_000 price BTCUSD 91
        = b1 reached 92 at 91, b1 SHORT -0.05 at 91 src 9
        ",
    );
    assert_eq!(story.world.account("alice").book.open_positions().count(), 1);
    assert_eq!(story.resting("alice"), ["l1-bracket"]);
}

#[test]
fn reference_55_a_bracket_without_its_position_is_cancelled_with_the_position() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1 sl=90
        20_000 price BTCUSD 100
        20_000 order alice o2 BTCUSD SHORT 0.2
        = o1 LONG 0.1 at 100 src 0, o1-bracket rests, o2 FLAT -0.1 at 100 src 0 closes, \
          o1-bracket cancelled position_closed
        ",
    );
}

/// 2025-11-08 is a Saturday.
#[test]
fn reference_56_nothing_is_filled_while_the_market_is_closed() {
    let mut story = Story::new();
    story.play(
        "
        0           price EURUSD 1.1
        0           limit bob l1 EURUSD LONG 1 at=1.0
        0           order bob o1 EURUSD LONG 1 sl=1.05
        400_000_000 price EURUSD 0.9
        = l1 rests, o1 LONG 1 at 1.1 src 0, o1-bracket rests
        604_800_000 price EURUSD 1.04
        = o1-bracket reached 1.05 at 1.04, o1-bracket FLAT -1 at 1.04 src 9 closes
        ",
    );
}
