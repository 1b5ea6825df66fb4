//! Laws that hold for any orders, marks and prices.

use proctor_types::float;
use proctor_types::time::{DAY_MS, HOUR_MS};
use proptest::prelude::*;

use super::*;

/// The position recomputed from its order list, written for obviousness.
#[derive(Debug, Default, PartialEq)]
struct Replayed {
    net_leverage: f64,
    net_quantity: f64,
    net_value: f64,
    average: f64,
    entry_value: f64,
    realized: f64,
    unrealized: f64,
    value: f64,
    traded: f64,
}

fn replay(rulebook: &Rulebook, position: &Position) -> Replayed {
    let lot = position.pair().lot_size();
    let slippage_from = rulebook.fees.slippage_from.value;
    let mut r = Replayed { value: 1.0, ..Replayed::default() };
    let opening = position.orders()[0].side;
    for order in position.orders().iter() {
        let slip = if order.at < slippage_from { 0.0 } else { order.slippage };
        let fill = order.price * if order.leverage > 0.0 { 1.0 + slip } else { 1.0 - slip };
        let after = r.net_quantity + order.quantity;
        let closes = position.closed_at() == Some(order.at)
            && std::ptr::eq(order, position.orders().last().expect("not empty"));
        if order.side != opening || closes {
            r.realized += -(fill - r.average) * (order.quantity * lot) * order.quote_usd_rate;
        }
        let open = if after.abs() < r.net_quantity.abs() { after } else { r.net_quantity };
        r.unrealized = (order.price - r.average) * (open * lot) * order.quote_usd_rate;
        let gain = (r.realized + r.unrealized) / position.account_size();
        r.value = if r.entry_value == 0.0 { 1.0 } else { 1.0 + gain };
        r.traded += order.leverage.abs();
        if closes {
            (r.net_leverage, r.net_quantity, r.net_value) = (0.0, 0.0, 0.0);
            continue;
        }
        if order.side == opening {
            r.average = (r.average * r.net_quantity + fill * order.quantity) / after;
            r.entry_value += order.value;
        }
        r.net_quantity = after;
        r.net_leverage += order.leverage;
        r.net_value = (order.price * order.quote_usd_rate) * (after * lot);
    }
    r
}

/// Carry at `at` as the rule reads: boundary by boundary, each for the most held up to it.
fn slow_carry(rulebook: &Rulebook, position: &Position, at: UtcMs) -> f64 {
    let rules = rulebook.fees.carry_of(position.pair().class());
    let base = float::pow(1.0 - rules.yearly.value, 1.0 / rules.intervals_per_year.value);
    let mut start = position.opened_at().max(rulebook.fees.carry_from.value);
    let at = position.closed_at().map_or(at, |closed| closed.min(at));
    let mut product = 1.0;
    let mut hour = UtcMs(start.0 - start.0.rem_euclid(HOUR_MS) + HOUR_MS);
    while hour <= at {
        let of_day = u8::try_from(hour.ms_of_day() / HOUR_MS).expect("below 24");
        if rules.boundary_hours.value.contains(&of_day) {
            let weekday = usize::try_from(hour.weekday()).expect("below 7");
            let weight = f64::from(rules.weekday_weights.value[weekday]);
            let most = most_held(position, start, hour);
            product *= float::pow(base, most * weight);
            start = hour;
        }
        hour = UtcMs(hour.0 + HOUR_MS);
    }
    product
}

fn most_held(position: &Position, start: UtcMs, end: UtcMs) -> f64 {
    let (mut held, mut most, mut any) = (0.0_f64, 0.0_f64, false);
    for order in position.orders().iter() {
        let before = held;
        held += order.leverage;
        if order.at > end {
            return if any { most.max(before.abs()) } else { before.abs() };
        }
        if order.at >= start {
            most = most.max(held.abs());
            any = true;
        }
        if order.at > start {
            most = most.max(before.abs());
        }
    }
    if any { most } else { held.abs() }
}

/// What happens to a position, in order.
#[derive(Clone, Copy, Debug)]
enum Event {
    Order { wait: i64, side: Side, stated: Stated, price: f64, slippage: f64 },
    Mark { wait: i64, price: f64 },
    Refresh { wait: i64 },
}

/// Waits that often end exactly on a boundary of crypto (T0 is 22:00) or forex.
fn wait() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(HOUR_MS),
        Just(6 * HOUR_MS),
        Just(8 * HOUR_MS),
        Just(23 * HOUR_MS),
        Just(DAY_MS),
        0..3 * DAY_MS,
        0..20 * DAY_MS,
    ]
}

fn stated() -> impl Strategy<Value = Stated> {
    prop_oneof![
        (0.01_f64..0.6).prop_map(Stated::Leverage),
        (1_000.0_f64..60_000.0).prop_map(Stated::Value),
        (10.0_f64..600.0).prop_map(Stated::Quantity),
    ]
}

fn an_order() -> impl Strategy<Value = Event> {
    let side = prop_oneof![4 => Just(Side::Long), 4 => Just(Side::Short), 1 => Just(Side::Flat)];
    (wait(), side, stated(), 60.0_f64..160.0, 0.0_f64..0.01).prop_map(
        |(wait, side, stated, price, slippage)| Event::Order {
            wait,
            side,
            stated,
            price,
            slippage,
        },
    )
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => an_order(),
        1 => (wait(), 70.0_f64..140.0).prop_map(|(wait, price)| Event::Mark { wait, price }),
        1 => wait().prop_map(|wait| Event::Refresh { wait }),
    ];
    prop::collection::vec(event, 1..14)
}

/// Runs `events`; calls `seen` after each with the position before, after, and the moment.
fn drive(
    rulebook: &Rulebook,
    id: &str,
    events: &[Event],
    with_marks: bool,
    mut seen: impl FnMut(&Position, &Position, Option<PositionRefusal>, UtcMs),
) -> Position {
    let mut position = position(id);
    let mut at = UtcMs(T0);
    for event in events {
        let before = position.clone();
        let mut refusal = None;
        match *event {
            Event::Order { wait, side, stated, price, slippage } => {
                at = UtcMs(at.0 + wait);
                let order = sized_order(pair(id), at, side, stated, price);
                let order = Order { slippage, ..order };
                refusal = position.add(rulebook, order, before.net_leverage().abs(), MISSING).err();
            }
            Event::Mark { wait, price } => {
                at = UtcMs(at.0 + wait);
                if with_marks {
                    position.mark(rulebook, price, at, MISSING);
                }
            }
            Event::Refresh { wait } => {
                at = UtcMs(at.0 + wait);
                if with_marks {
                    position.refresh_fees(rulebook, at);
                }
            }
        }
        seen(&before, &position, refusal, at);
    }
    position
}

fn some_pair() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("BTCUSD"), Just("EURUSD"), Just("USDCAD")]
}

/// Any finite number, extreme ones often.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
        prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 0.5, f64::MAX, f64::MIN, 1e308, 5e-324]),
        -600.0_f64..600.0,
    ]
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Long), Just(Side::Short), Just(Side::Flat)]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN), 0..4 * T0, T0..2 * T0]
}

prop_compose! {
    fn any_order()(
        at in any_time(), side in any_side(), source in 0_u8..11,
        (leverage, value, quantity) in (number(), number(), number()),
        (price, bid, ask, slippage) in (number(), number(), number(), number()),
        (quote_usd_rate, usd_base_rate) in (number(), number()),
        right_signs in any::<bool>(),
    ) -> Order {
        let sign = |size: f64| match side {
            Side::Long if right_signs => size.abs(),
            Side::Short if right_signs => -size.abs(),
            Side::Long | Side::Short | Side::Flat => size,
        };
        let unsigned = |size: f64| if right_signs { size.abs() } else { size };
        Order {
            id: OrderId::new("any").expect("valid"),
            at: UtcMs(at),
            side,
            leverage: sign(leverage),
            value: sign(value),
            quantity: sign(quantity),
            price: unsigned(price),
            bid: unsigned(bid),
            ask: unsigned(ask),
            slippage: if right_signs { slippage.abs() % 1.0 } else { slippage },
            quote_usd_rate: unsigned(quote_usd_rate),
            usd_base_rate: unsigned(usd_base_rate),
            source: OrderSource::from_code(source).expect("0 to 10"),
        }
    }
}

/// A snapshot can hold the position: every number is finite and comes back the same.
fn survives_a_snapshot(position: &Position) -> bool {
    let bytes = borsh::to_vec(position).expect("no number is NaN");
    let numbers = [
        position.net_leverage(),
        position.net_quantity(),
        position.net_value(),
        position.average_entry_price(),
        position.cumulative_entry_value(),
        position.realized_pnl(),
        position.unrealized_pnl(),
        position.current_return(),
        position.return_at_close(),
        position.carry_fee(),
        position.cumulative_leverage(),
    ];
    numbers.iter().all(|number| number.is_finite())
        && Position::try_from_slice(&bytes).expect("its own bytes") == *position
}

proptest! {
    #[test]
    fn the_fold_equals_the_replay_of_the_order_list(id in some_pair(), events in events()) {
        let rulebook = rulebook();
        drive(&rulebook, id, &events, false, |_, position, refusal, _| {
            if refusal.is_some() || position.orders().is_empty() || position.is_liquidated() {
                return;
            }
            let slow = replay(&rulebook, position);
            let ours = Replayed {
                net_leverage: position.net_leverage(),
                net_quantity: position.net_quantity(),
                net_value: position.net_value(),
                average: position.average_entry_price(),
                entry_value: position.cumulative_entry_value(),
                realized: position.realized_pnl(),
                unrealized: position.unrealized_pnl(),
                value: position.current_return(),
                traded: slow.traded,
            };
            assert_eq!(ours, slow);
            assert!((position.cumulative_leverage() - slow.traded).abs() < 1e-9);
        });
    }

    #[test]
    fn carry_equals_the_walk_over_the_boundaries(
        id in some_pair(), events in events(), later in 0..40 * DAY_MS,
    ) {
        let rulebook = rulebook();
        let position = drive(&rulebook, id, &events, true, |_, _, _, _| {});
        prop_assume!(!position.orders().is_empty() && !position.is_liquidated());
        let last = position.orders()[position.orders().len() - 1].at;
        let at = UtcMs(last.0 + 300 * DAY_MS + later);
        let (ours, slow) = (position.fees_at(&rulebook, at).carry, slow_carry(&rulebook, &position, at));
        prop_assert!((ours - slow).abs() < 1e-12, "ours {ours}, slow {slow}");
    }

    #[test]
    fn fees_do_not_depend_on_how_often_they_are_asked_for(
        id in some_pair(), events in events(), later in 0..40 * DAY_MS,
    ) {
        let rulebook = rulebook();
        let often = drive(&rulebook, id, &events, true, |_, _, _, _| {});
        let seldom = drive(&rulebook, id, &events, false, |_, _, _, _| {});
        // A mark may liquidate; then the histories differ.
        prop_assume!(often.orders() == seldom.orders());
        let at = UtcMs(T0 + 14 * 20 * DAY_MS + later);
        prop_assert_eq!(often.fees_at(&rulebook, at), seldom.fees_at(&rulebook, at));
    }

    #[test]
    fn fees_never_raise_a_return_and_never_fall(id in some_pair(), events in events()) {
        let rulebook = rulebook();
        let mut last = 1.0;
        drive(&rulebook, id, &events, true, |_, position, _, at| {
            let fees = position.fees_at(&rulebook, at);
            assert!(fees.carry * fees.spread <= last, "{fees:?} after {last}");
            assert!(position.return_at_close() <= position.current_return());
            last = fees.carry * fees.spread;
        });
    }

    #[test]
    fn a_closed_position_holds_nothing(id in some_pair(), events in events()) {
        drive(&rulebook(), id, &events, true, |_, position, _, _| {
            if position.is_closed() {
                assert_eq!(position.net_leverage(), 0.0);
                assert_eq!(position.net_quantity(), 0.0);
                assert_eq!(position.net_value(), 0.0);
                assert_eq!(position.direction(), Some(Side::Flat));
                let flattening = position.orders().last().expect("not empty");
                assert_eq!(position.closed_at(), Some(flattening.at));
            }
        });
    }

    #[test]
    fn m_8_a_refused_order_leaves_no_trace(id in some_pair(), events in events()) {
        for rulebook in [rulebook(), parity()] {
            drive(&rulebook, id, &events, true, |before, after, refusal, _| {
                if refusal.is_some() {
                    assert_eq!(before, after);
                }
            });
        }
    }

    #[test]
    fn any_finite_numbers_give_a_position_or_a_refusal(
        orders in prop::collection::vec(any_order(), 1..5),
        portfolio in number(),
        marks in prop::collection::vec((number(), any_time()), 0..4),
        good_start in any::<bool>(),
        account_size in number(),
        forced in (any_time(), number(), number(), number()),
    ) {
        let rulebook = rulebook();
        let name = PositionId::new("abc123").expect("valid");
        let account_size = Usd::new(account_size).expect("finite");
        let mut position = Position::new(name, pair("BTCUSD"), account_size, UtcMs(T0));
        if good_start {
            let first = order(pair("BTCUSD"), 0, Side::Long, 0.3, 100.0);
            prop_assert!(position.add(&rulebook, first, 0.0, MISSING).is_ok());
        }
        let (at, price, quote_usd, usd_base) = forced;
        let price = ForcedFlatPrice::Found { price, rates: Rates { quote_usd, usd_base } };
        for order in orders {
            let before = position.clone();
            if position.add(&rulebook, order, portfolio, price).is_err() {
                prop_assert_eq!(&before, &position);
            }
            for &(mark, at) in &marks {
                position.mark(&rulebook, mark, UtcMs(at), price);
            }
            prop_assert!(survives_a_snapshot(&position));
        }
        let flat = position.force_flat(&rulebook, UtcMs(at), price, OrderSource::EliminationFlat);
        prop_assert!(flat.is_err() || position.is_closed());
        position.refresh_fees(&rulebook, UtcMs(at));
        prop_assert!(survives_a_snapshot(&position));
    }
}
