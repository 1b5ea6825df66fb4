//! The vectors of trading, appendix A, and the rules that each of them was made for.

use proctor_types::time::{DAY_MS, HOUR_MS};

use super::*;

#[track_caller]
fn near(ours: f64, theirs: f64) {
    assert!(
        (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0),
        "expected {theirs}, ours {ours}"
    );
}

/// Adds LONG, SHORT or FLAT orders of (seconds, side, leverage, price) and returns the position.
#[track_caller]
fn run(rulebook: &Rulebook, id: &str, orders: &[(i64, Side, f64, f64)]) -> Position {
    let mut position = position(id);
    for &(seconds, side, leverage, price) in orders {
        let order = order(pair(id), seconds, side, leverage, price);
        position.add(rulebook, order, 0.0, MISSING).expect("accepted");
    }
    position
}

#[test]
fn a_1_quantity_closes_a_position_that_leverage_would_only_reduce() {
    let opened = run(&rulebook(), "BTCUSD", &[(0, Side::Long, 0.5, 100.0)]);
    assert_eq!((opened.net_quantity(), opened.net_value()), (500.0, 50_000.0));
    assert_eq!((opened.current_return(), opened.return_at_close()), (1.0, 0.9995));

    let orders = [(0, Side::Long, 0.5, 100.0), (60, Side::Short, 0.3, 50.0)];
    let closed = run(&rulebook(), "BTCUSD", &orders);
    let last = &closed.orders()[1];
    assert!(closed.is_closed());
    assert_eq!(last.side, Side::Short, "the label stays");
    assert_eq!((last.leverage, last.quantity, last.value), (-0.5, -500.0, -50_000.0));
    assert_eq!((closed.realized_pnl(), closed.current_return()), (-25_000.0, 0.75));
    near(closed.return_at_close(), 0.74925);
}

#[test]
fn a_2_after_a_favourable_move_more_quantity_than_leverage_is_left() {
    let orders =
        [(0, Side::Long, 0.5, 100.0), (60, Side::Short, 0.3, 200.0), (120, Side::Flat, 0.0, 200.0)];
    let reduced = run(&rulebook(), "BTCUSD", &orders[..2]);
    near(reduced.net_leverage(), 0.2);
    assert_eq!((reduced.net_quantity(), reduced.net_value()), (350.0, 70_000.0));
    assert_eq!((reduced.realized_pnl(), reduced.unrealized_pnl()), (15_000.0, 35_000.0));
    near(reduced.current_return(), 1.5);
    near(reduced.return_at_close(), 1.4988);

    let closed = run(&rulebook(), "BTCUSD", &orders);
    let last = &closed.orders()[2];
    near(last.leverage, -0.2);
    assert_eq!((last.quantity, last.value), (-350.0, -70_000.0));
    assert_eq!((closed.realized_pnl(), closed.current_return()), (50_000.0, 1.5));
    near(closed.return_at_close(), 1.4985);
    assert_eq!(closed.direction(), Some(Side::Flat));
}

#[test]
fn a_3_an_order_that_would_turn_the_position_over_closes_it() {
    let orders = [(0, Side::Long, 0.2, 100.0), (60, Side::Short, 0.4, 100.0)];
    let closed = run(&rulebook(), "BTCUSD", &orders);
    assert!(closed.is_closed());
    assert_eq!(closed.orders()[1].side, Side::Flat);
    near(closed.return_at_close(), 0.9996);
}

#[test]
fn a_4_a_short_is_averaged_reduced_and_closed_with_slippage() {
    let eurusd = pair("EURUSD");
    let mut position = position("EURUSD");
    let steps = [(Side::Short, 2.0, 1.10), (Side::Short, 1.0, 1.09), (Side::Long, 1.5, 1.08)];
    for (seconds, (side, leverage, price)) in (0..).zip(steps) {
        let order = Order { slippage: 0.0002, ..order(eurusd, seconds, side, leverage, price) };
        position.add(&rulebook(), order, 0.0, MISSING).expect("accepted");
    }
    near(position.average_entry_price(), 1.096427012195122);
    near(position.net_quantity(), -1.3467241219534798);
    near(position.net_value(), -145446.20517097582);
    near(position.realized_pnl(), 2251.5294715447217);
    near(position.unrealized_pnl(), 2212.265357479477);
    near(position.current_return(), 1.044637948290242);

    let flat = order(eurusd, 60, Side::Flat, 0.0, 1.07);
    position.add(&rulebook(), flat, 0.0, MISSING).expect("accepted");
    near(position.realized_pnl(), 5810.518950977679);
    near(position.current_return(), 1.0581051895097768);
    near(position.return_at_close(), 1.0581051895097768);
}

#[test]
fn a_5_a_dollar_base_is_valued_in_its_quote_and_converted_at_the_orders_rate() {
    let usdcad = pair("USDCAD");
    let mut position = position("USDCAD");
    let order = Order { slippage: 0.0005, ..order(usdcad, 0, Side::Long, 1.0, 1.40) };
    position.add(&rulebook(), order, 0.0, MISSING).expect("accepted");
    assert_eq!(position.mark(&rulebook(), 1.41, UtcMs(T0 + 60_000), MISSING), Marked::Valued);
    assert_eq!(position.net_quantity(), 1.0);
    near(position.average_entry_price(), 1.4006999999999998);
    near(position.unrealized_pnl(), 664.2857142857205);
    near(position.current_return(), 1.0066428571428572);
}

/// LONG 10 at 100, then an order at a price that ruins the account.
fn ruined(rulebook: &Rulebook) -> Position {
    let btcusd = pair("BTCUSD");
    let mut position = position("BTCUSD");
    for (at, side, leverage, price) in
        [(1_000, Side::Long, 10.0, 100.0), (2_000, Side::Short, 0.1, 50.0)]
    {
        let order = sized_order(btcusd, UtcMs(at), side, Stated::Leverage(leverage), price);
        position.add(rulebook, order, 0.0, found(btcusd, 50.0)).expect("accepted");
    }
    position
}

#[test]
fn a_6_a_position_that_lost_the_account_is_closed_by_force() {
    let position = ruined(&parity());
    let flat = &position.orders()[2];
    assert_eq!((position.orders().len(), flat.side, flat.leverage), (3, Side::Flat, -10.0));
    assert_eq!(flat.source, OrderSource::PriceFilledEliminationFlat);
    assert_eq!(flat.id.as_str(), "321cba");
    assert_eq!((position.current_return(), position.return_at_close()), (0.0, 0.0));
    assert_eq!((position.net_leverage(), position.net_quantity()), (10.0, 10_000.0));
    near(position.realized_pnl(), -10_000.0);
    near(position.unrealized_pnl(), -490_000.0);
    assert_eq!(position.closed_at(), Some(UtcMs(2_000)));
}

#[test]
fn m_6_a_liquidated_position_holds_nothing() {
    let position = ruined(&rulebook());
    assert!(position.is_liquidated() && position.is_closed());
    assert_eq!(
        (position.net_leverage(), position.net_quantity(), position.net_value()),
        (0.0, 0.0, 0.0)
    );
    assert_eq!(position.return_at_close(), 0.0);
}

/// LONG 0.5 at 100, marked at 120.
fn marked(rulebook: &Rulebook) -> Position {
    let mut position = run(rulebook, "BTCUSD", &[(0, Side::Long, 0.5, 100.0)]);
    assert_eq!(position.mark(rulebook, 120.0, UtcMs(T0 + 60_000), MISSING), Marked::Valued);
    near(position.current_return(), 1.1);
    near(position.return_at_close(), 1.09945);
    position
}

#[test]
fn a_7_the_reference_forgets_the_mark_when_a_forced_flat_has_no_price() {
    let parity = parity();
    let mut position = marked(&parity);
    let source = OrderSource::PriceFilledEliminationFlat;
    position.force_flat(&parity, UtcMs(T0 + 120_000), MISSING, source).expect("closed");
    assert_eq!(position.orders()[1].source, OrderSource::EliminationFlat);
    assert_eq!((position.current_return(), position.unrealized_pnl()), (1.0, 0.0));
    near(position.return_at_close(), 0.999);
}

#[test]
fn a_7_m_3_a_forced_flat_without_a_price_keeps_the_last_mark() {
    let rulebook = rulebook();
    let mut position = marked(&rulebook);
    let source = OrderSource::EliminationFlat;
    position.force_flat(&rulebook, UtcMs(T0 + 120_000), MISSING, source).expect("closed");
    near(position.current_return(), 1.1);
    near(position.return_at_close(), 1.1 * 0.999);
    near(position.realized_pnl(), 10_000.0);
    assert_eq!(position.net_quantity(), 0.0);
}

#[test]
fn a_7_a_forced_flat_with_a_price_takes_its_loss() {
    for rulebook in [rulebook(), parity()] {
        let mut position = marked(&rulebook);
        let price = found(pair("BTCUSD"), 50.0);
        let source = OrderSource::EliminationFlat;
        position.force_flat(&rulebook, UtcMs(T0 + 120_000), price, source).expect("closed");
        assert_eq!(position.orders()[1].source, OrderSource::PriceFilledEliminationFlat);
        assert_eq!((position.realized_pnl(), position.current_return()), (-25_000.0, 0.75));
        near(position.return_at_close(), 0.74925);
    }
}

#[test]
fn e_61_a_forced_flat_comes_after_the_last_order() {
    let rulebook = rulebook();
    let decide = |at: i64| {
        let mut position = run(&rulebook, "BTCUSD", &[(0, Side::Long, 0.5, 100.0)]);
        let price = found(pair("BTCUSD"), 100.0);
        let source = OrderSource::EliminationFlat;
        position.force_flat(&rulebook, UtcMs(at), price, source).expect("closed");
        position.closed_at()
    };
    assert_eq!(decide(T0 - 5), Some(UtcMs(T0 + 1)));
    assert_eq!(decide(T0), Some(UtcMs(T0)), "later means later");
    assert_eq!(decide(T0 + 7), Some(UtcMs(T0 + 7)));
}

#[test]
fn a_8_the_reference_charges_forex_for_intervals_that_float() {
    let rulebook = parity();
    let position = run(&rulebook, "EURUSD", &[(0, Side::Long, 1.0, 1.1)]);
    let fee = |ms: i64| position.fees_at(&rulebook, UtcMs(T0 + ms)).carry;
    for (days, factor) in [
        (1, 0.9999165535983249),
        (2, 0.9996662561707871),
        (3, 0.9994160213972797),
        (5, 0.9990824724673217),
        (7, 0.9989157397496266),
        (14, 0.9986656928441257),
        (30, 0.9970003122739942),
    ] {
        near(fee(days * DAY_MS), factor);
    }
    near(fee(5 * DAY_MS + 20 * HOUR_MS), 0.9992492330149911);
    assert!(fee(5 * DAY_MS + 20 * HOUR_MS) > fee(5 * DAY_MS), "the fee falls as time passes (M-1)");
}

#[test]
fn a_8_m_1_by_the_calendar_forex_pays_once_a_weekday_and_thrice_on_wednesday() {
    let rulebook = rulebook();
    let position = run(&rulebook, "EURUSD", &[(0, Side::Long, 1.0, 1.1)]);
    let base: f64 = 0.9999165535983249;
    for (days, units) in [(1, 1), (2, 4), (3, 5), (5, 6), (7, 7), (14, 14), (30, 32)] {
        let product = (0..units).fold(1.0, |product, _| product * base);
        near(position.fees_at(&rulebook, UtcMs(T0 + days * DAY_MS)).carry, product);
    }
}

/// LONG 0.1 at 03:30, LONG 0.4 more at 05:00; the boundary at 04:00 lies between.
fn grown_after_a_boundary(rulebook: &Rulebook) -> Position {
    run(
        rulebook,
        "BTCUSD",
        &[(5 * 3_600 + 1_800, Side::Long, 0.1, 100.0), (7 * 3_600, Side::Long, 0.4, 100.0)],
    )
}

const CRYPTO_BASE: f64 = 0.9998940949450921;

#[test]
fn a_9_the_reference_charges_the_same_interval_differently_when_asked_again() {
    let rulebook = parity();
    let position = grown_after_a_boundary(&rulebook);
    let fee = |minutes: i64| position.fees_at(&rulebook, UtcMs(T0 + minutes * 60_000)).carry;
    near(fee(2 * 60 + 5 * 60 + 30), CRYPTO_BASE.sqrt());
    near(fee(2 * 60 + 11 * 60 + 59), proctor_types::float::pow(CRYPTO_BASE, 0.1));
}

#[test]
fn a_9_m_1_by_the_calendar_an_interval_costs_what_was_held_in_it() {
    let rulebook = rulebook();
    let position = grown_after_a_boundary(&rulebook);
    let fees = |minutes: i64| position.fees_at(&rulebook, UtcMs(T0 + minutes * 60_000));
    near(fees(2 * 60 + 5 * 60 + 30).carry, proctor_types::float::pow(CRYPTO_BASE, 0.1));
    assert_eq!(fees(2 * 60 + 5 * 60 + 30).carry, fees(2 * 60 + 11 * 60 + 59).carry);
    assert_eq!(fees(2 * 60 + 5 * 60 + 30).next_carry_at, UtcMs(T0 + 14 * HOUR_MS));
    assert_eq!(
        fees(14 * 60).next_carry_at,
        UtcMs(T0 + 22 * HOUR_MS),
        "strictly after the question"
    );
}

#[test]
fn an_order_on_a_boundary_counts_for_the_intervals_on_both_sides() {
    let rulebook = rulebook();
    let units = |asked_between: bool, orders: &[(i64, Side, f64, f64)], at_hours: i64| {
        let mut position = position("BTCUSD");
        for &(seconds, side, leverage, price) in orders {
            if asked_between && !position.orders().is_empty() {
                position.refresh_fees(&rulebook, UtcMs(T0 + seconds * 1_000));
            }
            let order = order(pair("BTCUSD"), seconds, side, leverage, price);
            position.add(&rulebook, order, 0.0, MISSING).expect("accepted");
        }
        let carry = position.fees_at(&rulebook, UtcMs(T0 + at_hours * HOUR_MS)).carry;
        proctor_types::float::ln(carry) / proctor_types::float::ln(CRYPTO_BASE)
    };
    // 04:00 UTC is six hours after T0.
    let grow = [(0, Side::Long, 0.1, 100.0), (6 * 3_600, Side::Long, 0.3, 100.0)];
    let shrink = [(0, Side::Long, 0.4, 100.0), (6 * 3_600, Side::Short, 0.3, 100.0)];
    for asked_between in [false, true] {
        assert!((units(asked_between, &grow, 6) - 0.4).abs() < 1e-9);
        assert!((units(asked_between, &grow, 14) - 0.8).abs() < 1e-9);
        assert!((units(asked_between, &shrink, 6) - 0.4).abs() < 1e-9);
        assert!((units(asked_between, &shrink, 14) - 0.5).abs() < 1e-9, "only what it led to");
    }
}

#[test]
fn a_10_an_order_above_the_bounds_is_cut_to_them() {
    let mut position = position("BTCUSD");
    let added = position
        .add(&rulebook(), order(pair("BTCUSD"), 0, Side::Long, 0.9, 100.0), 0.0, MISSING)
        .expect("accepted");
    assert!(added.clamped);
    assert_eq!((position.net_leverage(), position.net_quantity()), (0.5, 500.0));
}

#[test]
fn a_11_an_order_above_the_portfolio_cap_is_cut_to_it_or_refused() {
    let add = |portfolio: f64| {
        let mut position = position("ETHUSD");
        let order = order(pair("ETHUSD"), 0, Side::Long, 0.5, 100.0);
        position.add(&rulebook(), order, portfolio, MISSING).map(|_| position.net_leverage())
    };
    assert_eq!(add(8.0), Ok(0.2));
    assert!(matches!(add(9.9995), Err(PositionRefusal::OrderTooSmall { .. })));
    assert_eq!(add(10.0), Err(PositionRefusal::PortfolioFull { leverage: 10.0, cap: 10.0 }));
}

#[test]
fn a_12_first_orders_outside_the_bounds_are_refused() {
    let refused = |id: &str, leverage: f64| {
        let mut position = position(id);
        let order = order(pair(id), 0, Side::Long, leverage, 100.0);
        position.add(&rulebook(), order, 0.0, MISSING).expect_err("refused")
    };
    let below = |leverage, min| PositionRefusal::BelowMinimum { leverage, min };
    let full = PositionRefusal::PositionFull { leverage: 0.0, min: 0.1, max: 0.0 };
    assert_eq!(refused("BTCUSD", 0.005), below(0.005, 0.01));
    assert_eq!(refused("EURUSD", 0.05), below(0.05, 0.1));
    assert_eq!(refused("XAUUSD", 1.0), full);
    assert_eq!(refused("SPX", 1.0), full);
    let too_large = PositionRefusal::OrderTooLarge { leverage: 600.0, max: 500.0 };
    assert_eq!(refused("EURUSD", 600.0), too_large);
}

#[test]
fn a_size_that_cancels_the_quantity_exactly_closes_whatever_its_leverage() {
    let btcusd = pair("BTCUSD");
    let mut position = run(&rulebook(), "BTCUSD", &[(0, Side::Long, 0.5, 100.0)]);
    let at = UtcMs(T0 + 1_000);
    let order = sized_order(btcusd, at, Side::Short, Stated::Quantity(500.0), 90.0);
    let added = position.add(&rulebook(), order, 5.0, MISSING).expect("accepted");
    assert!(added.closed && added.clamped);
    assert_eq!(position.orders()[1].side, Side::Flat);
    assert_eq!(position.orders()[1].leverage, -0.5);
}

#[test]
fn before_the_fees_of_today_the_greatest_leverage_was_charged_once() {
    let btcusd = pair("BTCUSD");
    let mut position = position("BTCUSD");
    let at = UtcMs(1_710_000_000_000);
    let order = sized_order(btcusd, at, Side::Long, Stated::Value(200_000.0), 100.0);
    position.add(&rulebook(), order, 0.0, MISSING).expect("accepted");
    near(position.return_at_close(), 0.998);
    position.mark(&rulebook(), 110.0, UtcMs(1_713_198_679_999), MISSING);
    near(position.return_at_close(), 1.2 * 0.998);
    position.mark(&rulebook(), 110.0, UtcMs(1_713_198_680_000), MISSING);
    near(position.return_at_close(), 1.2 * 0.998);
    // From then on the traded leverage counts; carry starts later.
    assert_eq!(position.fees_at(&rulebook(), UtcMs(1_720_843_707_000)).carry, 1.0);
    assert!(position.fees_at(&rulebook(), UtcMs(1_720_900_000_000)).carry < 1.0);
}

#[test]
fn what_comes_too_late_too_early_or_without_a_price_is_refused() {
    let btcusd = pair("BTCUSD");
    let mut position = run(&rulebook(), "BTCUSD", &[(0, Side::Long, 0.2, 100.0)]);
    let mut refused = |order: Order| {
        let before = position.clone();
        let refusal = position.add(&rulebook(), order, 0.0, MISSING).expect_err("refused");
        assert_eq!(position, before);
        refusal
    };
    let early = order(btcusd, -1, Side::Long, 0.1, 100.0);
    assert!(matches!(refused(early), PositionRefusal::OutOfOrder { .. }));
    let unpriced = order(btcusd, 1, Side::Flat, 0.1, 0.0);
    assert_eq!(refused(unpriced), PositionRefusal::Priceless);
    let far = Order { at: UtcMs(i64::MAX), ..order(btcusd, 1, Side::Flat, 0.1, 1.0) };
    assert_eq!(refused(far), PositionRefusal::Time(UtcMs(i64::MAX)));
    let flat = order(btcusd, 1, Side::Flat, 0.0, 100.0);
    position.add(&rulebook(), flat.clone(), 0.0, MISSING).expect("accepted");
    let again = position.add(&rulebook(), flat, 0.0, MISSING);
    assert_eq!(again, Err(PositionRefusal::Closed { at: UtcMs(T0 + 1_000) }));
}

#[test]
fn quantity_closes_a_short_just_as_well() {
    let orders = [(0, Side::Short, 0.5, 100.0), (60, Side::Long, 0.3, 50.0)];
    let closed = run(&rulebook(), "BTCUSD", &orders);
    assert!(closed.is_closed());
    assert_eq!(closed.orders()[1].quantity, 500.0);
    assert_eq!((closed.realized_pnl(), closed.current_return()), (25_000.0, 1.25));
}

#[test]
fn a_size_that_cancels_the_value_exactly_closes_whatever_its_quantity() {
    let btcusd = pair("BTCUSD");
    let mut position = run(&rulebook(), "BTCUSD", &[(0, Side::Long, 0.5, 100.0)]);
    let at = UtcMs(T0 + 1_000);
    let order = sized_order(btcusd, at, Side::Short, Stated::Value(50_000.0), 125.0);
    let added = position.add(&rulebook(), order, 5.0, MISSING).expect("accepted");
    assert!(added.closed && added.clamped);
    assert_eq!(position.orders()[1].side, Side::Flat);
    assert_eq!(position.current_return(), 1.125);
}

#[test]
fn over_a_limit_a_position_may_shrink_but_not_below_the_minimum() {
    let add = |side, leverage, portfolio| {
        let mut position = run(&rulebook(), "BTCUSD", &[(0, Side::Long, 0.5, 100.0)]);
        let order = order(pair("BTCUSD"), 60, side, leverage, 100.0);
        position.add(&rulebook(), order, portfolio, MISSING).map(|added| added.clamped)
    };
    assert_eq!(add(Side::Short, 0.3, 20.0), Ok(false));
    let tiny = add(Side::Short, 0.495, 20.0);
    assert!(matches!(tiny, Err(PositionRefusal::BelowMinimum { .. })), "{tiny:?}");
    let tiny = add(Side::Short, 0.495, 5.0);
    assert!(matches!(tiny, Err(PositionRefusal::BelowMinimum { .. })), "{tiny:?}");
    let more = add(Side::Long, 0.1, 20.0);
    assert_eq!(more, Err(PositionRefusal::PortfolioFull { leverage: 20.0, cap: 10.0 }));
    let more = add(Side::Long, 0.1, 5.0);
    assert_eq!(more, Err(PositionRefusal::PositionFull { leverage: 0.5, min: 0.01, max: 0.5 }));
}

#[test]
fn numbers_that_cannot_be_are_named() {
    let good = || order(pair("BTCUSD"), 0, Side::Long, 0.1, 100.0);
    for (field, order) in [
        ("leverage", Order { leverage: f64::NAN, ..good() }),
        ("leverage", Order { leverage: -0.1, ..good() }),
        ("quantity", Order { side: Side::Short, leverage: -0.1, value: -1.0, ..good() }),
        ("value", Order { value: f64::INFINITY, ..good() }),
        ("price", Order { price: -1.0, ..good() }),
        ("bid", Order { bid: f64::NEG_INFINITY, ..good() }),
        ("slippage", Order { slippage: 1.0, ..good() }),
        ("quote_usd_rate", Order { quote_usd_rate: -1.0, ..good() }),
    ] {
        let refusal = position("BTCUSD").add(&rulebook(), order, 0.0, MISSING);
        assert!(
            matches!(refusal, Err(PositionRefusal::Number { field: named, .. }) if named == field),
            "{field}: {refusal:?}"
        );
    }
    let refusal = position("BTCUSD").add(&rulebook(), good(), f64::NAN, MISSING);
    assert!(matches!(refusal, Err(PositionRefusal::Number { field: "portfolio_leverage", .. })));
}

#[test]
fn a_pair_that_the_day_has_no_bounds_for_is_not_traded() {
    let at = UtcMs(1_725_935_767_705);
    let order = sized_order(pair("NDX"), at, Side::Long, Stated::Leverage(1.0), 19_528.0);
    let refusal = position("NDX").add(&rulebook(), order, 0.0, MISSING);
    assert_eq!(refusal, Err(PositionRefusal::NotTradeable { pair: pair("NDX"), at }));
}

#[test]
fn a_mark_that_shows_a_total_loss_closes_the_position_then() {
    for (rulebook, net_leverage) in [(rulebook(), 0.0), (parity(), 10.0)] {
        let btcusd = pair("BTCUSD");
        let mut position = position("BTCUSD");
        let order = sized_order(btcusd, UtcMs(1_000), Side::Long, Stated::Leverage(10.0), 100.0);
        position.add(&rulebook, order, 0.0, MISSING).expect("accepted");
        assert_eq!(position.mark(&rulebook, 90.1, UtcMs(2_000), MISSING), Marked::Valued);
        assert_eq!(position.mark(&rulebook, 90.0, UtcMs(3_000), MISSING), Marked::Liquidated);
        assert_eq!(position.closed_at(), Some(UtcMs(3_000)));
        assert_eq!(position.orders()[1].source, OrderSource::EliminationFlat);
        assert_eq!((position.return_at_close(), position.net_leverage()), (0.0, net_leverage));
        assert_eq!(position.cumulative_leverage(), 20.0);
        assert_eq!(position.mark(&rulebook, 200.0, UtcMs(4_000), MISSING), Marked::Idle);
        position.refresh_fees(&rulebook, UtcMs(5_000));
        assert_eq!((position.return_at_close(), position.orders().len()), (0.0, 2));
    }
}

#[test]
fn codes_and_sources_are_inverse() {
    for code in 0..=10 {
        assert_eq!(OrderSource::from_code(code).map(OrderSource::code), Some(code));
    }
    assert_eq!(OrderSource::from_code(11), None);
}

#[test]
fn an_account_without_a_size_gets_the_floor_with_its_first_order() {
    let btcusd = pair("BTCUSD");
    let name = PositionId::new("abc123").expect("valid");
    let mut position = Position::new(name, btcusd, Usd::default(), UtcMs(T0));
    position.add(&rulebook(), order(btcusd, 0, Side::Long, 0.1, 100.0), 0.0, MISSING).expect("ok");
    assert_eq!(position.account_size(), 5_000.0);
}
