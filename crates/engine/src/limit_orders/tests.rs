//! Levels and the index of levels: what the index finds is what a look at each order finds.

use std::collections::BTreeSet;

use proctor_types::{SourceName, UtcMs};
use proptest::prelude::*;

use super::trigger::{Market, Sleepers, Triggers};
use super::*;

const AT: UtcMs = UtcMs(1_762_207_200_000);

fn pair() -> TradePair {
    TradePair::from_id("BTCUSD").expect("in the table")
}

fn price(number: f64) -> Price {
    Price::new(number).expect("finite")
}

fn quote(bid: f64, ask: f64) -> proctor_types::Quote {
    let source = SourceName::new("test").expect("valid");
    proctor_types::Quote {
        bid: Some(price(bid)),
        ask: Some(price(ask)),
        ..proctor_types::Quote::event(pair(), source, AT, price(bid))
    }
}

fn limit(side: Side, at: f64) -> Terms {
    let protection = Protection::default();
    Terms::Limit { side, size: SizeFields::default(), limit: price(at), protection }
}

fn bracket(direction: Side, stop: Option<f64>, take: Option<f64>) -> Terms {
    let id = OrderId::new("o1").expect("valid");
    Terms::Bracket {
        position: PositionId::opened_by(&id),
        direction,
        size: SizeFields::default(),
        protection: Protection { stop_loss: stop.map(price), take_profit: take.map(price) },
    }
}

fn order(number: u64, terms: Terms) -> RestingOrder {
    let id = OrderId::new(&format!("o{number}")).expect("valid");
    RestingOrder { number, id, pair: pair(), submitted: Stamp::default(), terms }
}

fn terms() -> impl Strategy<Value = Terms> {
    let side = prop::sample::select(vec![Side::Long, Side::Short]);
    let level = (1..12_u8).prop_map(f64::from);
    prop_oneof![
        (side.clone(), level.clone()).prop_map(|(side, at)| limit(side, at)),
        (side, prop::option::of(level.clone()), prop::option::of(level))
            .prop_map(|(side, stop, take)| bracket(side, stop, take)),
    ]
}

proptest! {
    #[test]
    fn the_index_finds_what_a_look_at_each_order_finds(
        all in prop::collection::vec((0..3_usize, terms()), 0..40),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        bid in 1..12_u8,
        spread in 0..3_u8,
    ) {
        let mut triggers = Triggers::default();
        let mut orders: Vec<(usize, RestingOrder)> =
            (0..).zip(all).map(|(number, (place, terms))| (place, order(number, terms))).collect();
        for (place, order) in &orders {
            triggers.insert(0, *place, order);
        }
        for index in gone {
            if !orders.is_empty() {
                let (place, order) = orders.remove(index.index(orders.len()));
                triggers.remove(0, place, &order);
            }
        }
        let quote = quote(f64::from(bid), f64::from(bid + spread));
        let found: BTreeSet<(usize, u64)> =
            triggers.reached(pair(), 0, Market::of(&quote, AT)).collect();
        let looked: BTreeSet<(usize, u64)> = orders
            .iter()
            .filter(|(_, order)| order.terms.reached(&quote, AT).is_some())
            .map(|(place, order)| (*place, order.number))
            .collect();
        prop_assert_eq!(found, looked);
    }
}

#[test]
fn a_stop_is_tested_before_the_profit_and_the_level_itself_is_not_enough() {
    let reached =
        |terms: Terms, bid, ask| terms.reached(&quote(bid, ask), AT).map(|r| r.level.get());
    let long = || bracket(Side::Long, Some(90.0), Some(110.0));
    assert_eq!(reached(long(), 90.0, 91.0), None);
    assert_eq!(reached(long(), 89.0, 91.0), Some(90.0));
    // Levels the wrong way round are refused; if they were not, the stop would be the one.
    let crossed = bracket(Side::Long, Some(110.0), Some(90.0));
    assert_eq!(reached(crossed, 100.0, 100.0), Some(110.0));
}

#[test]
fn a_later_fill_moves_the_time_to_wake_and_nobody_wakes_twice() {
    let mut sleepers = Sleepers::default();
    sleepers.sleep(4, pair(), UtcMs(10));
    sleepers.sleep(4, pair(), UtcMs(20));
    assert_eq!(sleepers.wake(UtcMs(19)), None);
    assert!(sleepers.is_asleep(4, pair()));
    assert_eq!(sleepers.wake(UtcMs(20)), Some((4, pair())));
    assert!(!sleepers.is_asleep(4, pair()));
    assert_eq!(sleepers.wake(UtcMs(99)), None);
    assert_eq!(sleepers, Sleepers::default());
}

#[test]
fn a_list_whose_numbers_are_out_of_order_is_refused_when_it_is_loaded() {
    let mut resting = Resting::default();
    for number in 0..3 {
        let RestingOrder { id, pair, terms, .. } = order(number, limit(Side::Long, 5.0));
        resting.push(NewResting { id, pair, terms }, Stamp::default());
    }
    assert!(resting.check().is_ok());
    let mut swapped = resting.clone();
    Arc::make_mut(&mut swapped.orders).swap(0, 1);
    assert!(swapped.check().is_err());
    let beyond = Resting { numbered: 2, ..resting };
    assert!(beyond.check().is_err());
}
