//! Closed positions against a plain list of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use proctor_types::{OrderId, PositionId, Side, TradePair, Usd};
use proptest::prelude::*;

use super::*;
use crate::positions::position::{ForcedFlatPrice, Order, OrderSource};
use crate::rulebook::{Rulebook, VANTA};

/// Monday 2025-11-03 22:00 UTC.
const T0: i64 = 1_762_207_200_000;

/// Position `number`, which was open for `span` ms and ended `end` ms after [`T0`].
fn closed(rules: &Rulebook, number: usize, end: i64, span: i64) -> Arc<Position> {
    let pair = TradePair::from_id("BTCUSD").expect("in the table");
    let id = PositionId::new(&format!("p{number}")).expect("valid");
    let end = UtcMs(T0 + end);
    let opened = UtcMs(end.0 - span);
    let mut position = Position::new(id, pair, Usd::new(100_000.0).expect("finite"), opened);
    for (at, leverage, side) in [(opened, 0.1, Side::Long), (end, 0.0, Side::Flat)] {
        let order = Order {
            id: OrderId::new(&format!("{number}-{side:?}")).expect("valid"),
            at,
            side,
            leverage,
            value: leverage * 100_000.0,
            quantity: leverage,
            price: 100_000.0,
            bid: 0.0,
            ask: 0.0,
            slippage: 0.0,
            quote_usd_rate: 1.0,
            usd_base_rate: 1e-5,
            source: OrderSource::Organic,
        };
        position.add(rules, order, 0.0, ForcedFlatPrice::Missing).expect("a sound order");
    }
    assert_eq!(position.closed_at(), Some(end));
    Arc::new(position)
}

/// A shelf with room for some pages, which counts the reads of them.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) left: AtomicUsize,
    pub(crate) reads: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct OnShelf(Vec<u8>, Arc<AtomicUsize>);

impl Shelf for Room {
    fn put(&self, bytes: &[u8]) -> Option<Arc<dyn Shelved>> {
        let left = self.left.load(Ordering::Relaxed).checked_sub(1)?;
        self.left.store(left, Ordering::Relaxed);
        Some(Arc::new(OnShelf(bytes.into(), Arc::clone(&self.reads))))
    }
}

impl Shelved for OnShelf {
    fn read(&self) -> Vec<u8> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.clone()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Close { after: i64, span: i64 },
    TakeLast(usize),
    ForgetBefore(i64),
    Shelve(usize),
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..3_i64, 0..100_i64).prop_map(|(after, span)| Step::Close { after, span }),
        1 => (0..40_usize).prop_map(Step::TakeLast),
        1 => (0..40_i64).prop_map(Step::ForgetBefore),
        1 => (0..3_usize).prop_map(Step::Shelve),
        1 => Just(Step::Reload),
    ]
}

proptest! {
    #[test]
    fn packed_or_shelved_they_are_a_plain_list(steps in prop::collection::vec(step(), 1..200)) {
        let rules = Rulebook::parse(VANTA).expect("the compiled-in rulebook is valid");
        let (mut list, mut model) = (ClosedPositions::default(), Vec::<Arc<Position>>::new());
        let (mut end, mut number) = (0, 0);
        for step in steps {
            match step {
                Step::Close { after, span } => {
                    (end, number) = (end + after, number + 1);
                    let position = closed(&rules, number, end, span);
                    list.push(Arc::clone(&position));
                    model.push(position);
                }
                Step::TakeLast(count) => {
                    let left = model.len().saturating_sub(count);
                    prop_assert_eq!(list.take_last(count), model.split_off(left));
                }
                Step::ForgetBefore(back) => {
                    let cutoff = UtcMs(T0 + end - back);
                    list.forget_before(cutoff);
                    model.retain(|position| position.closed_at() >= Some(cutoff));
                }
                Step::Shelve(pages) => {
                    list.shelve(&Room { left: pages.into(), ..Room::default() });
                }
                Step::Reload => {
                    let bytes = borsh::to_vec(&list).expect("finite");
                    prop_assert_eq!(&bytes, &borsh::to_vec(&model).expect("finite"));
                    let loaded = ClosedPositions::try_from_slice(&bytes).expect("its own bytes");
                    prop_assert_eq!(&loaded, &list);
                    list = loaded;
                }
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.is_empty(), model.is_empty());
            prop_assert_eq!(list.last(), model.last());
        }
        prop_assert_eq!(&list.iter().collect::<Vec<_>>(), &model);
        prop_assert!(list.iter().rev().eq(model.iter().rev().cloned()));
        prop_assert_eq!(list.last_of(20), model[model.len().saturating_sub(20)..].to_vec());
        prop_assert_eq!(list.outlines().count(), model.len());
        for (outlined, position) in list.outlines().zip(&model) {
            prop_assert_eq!(outlined.outline, Outline::of(position));
            prop_assert_eq!(&outlined.position(), position);
        }
    }
}

#[test]
fn what_is_on_the_shelf_is_read_only_when_it_is_asked_for() {
    let rules = Rulebook::parse(VANTA).expect("the compiled-in rulebook is valid");
    let mut list = ClosedPositions::default();
    for number in 0..100 {
        list.push(closed(&rules, number, 10 * i64::try_from(number).expect("small"), 10));
    }
    let room = Room { left: 100.into(), ..Room::default() };
    assert!(list.waits_for_shelf());
    list.shelve(&room);
    assert!(!list.waits_for_shelf());
    let reads = || room.reads.swap(0, Ordering::Relaxed);
    let before = list.clone();
    list.forget_before(UtcMs(T0 + 5 * 10));
    assert_eq!((list.len(), list.outlines().count()), (95, 95));
    assert!(list.last().is_some_and(|last| last.id().as_str() == "p99"));
    assert_eq!(reads(), 0);
    assert_eq!((list.last_of(2 * PAGE).len(), reads()), (2 * PAGE, 1));
    assert_eq!(
        list.outlines().next().map(|first| first.position().id().to_string()),
        Some("p5".into())
    );
    assert_eq!(reads(), 1);
    assert_eq!(before.len(), 100, "a reader keeps what it has");
}

#[test]
fn an_open_position_is_refused_among_the_closed_ones() {
    let pair = TradePair::from_id("BTCUSD").expect("in the table");
    let id = PositionId::new("p").expect("valid");
    let open = Position::new(id, pair, Usd::new(1.0).expect("finite"), UtcMs(T0));
    let bytes = borsh::to_vec(&vec![open]).expect("finite");
    assert!(ClosedPositions::try_from_slice(&bytes).is_err());
}
