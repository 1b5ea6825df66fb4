//! One field of each part altered in a state that was played: the part, the trader, the path, both values.

use proctor_types::{Digest, OrderId, Usd, UtcMs};

use super::*;
use crate::engine::tests::World;
use crate::state::State;

/// Two traders, an open and a closed position, a resting order, and one who has ended.
fn played() -> State {
    let mut world = World::new();
    for line in "
        -90_000_000 roster 1 alice bob
        -90_000_000 size alice 100000
        -90_000_000 class alice crypto
        -90_000_000 class bob crypto
        0      price BTCUSD 100
        0      price ETHUSD 50
        0      order bob o1 BTCUSD LONG 0.5
        0      order alice o1 BTCUSD LONG 0.1
        0      order alice o2 ETHUSD LONG 0.1
        20000  price ETHUSD 51
        20000  order alice o3 ETHUSD FLAT 0
        20000  limit alice l1 BTCUSD LONG 0.1 at=70
        40000  price BTCUSD 75
    "
    .lines()
    .map(str::trim)
    .filter(|line| !line.is_empty())
    {
        assert_eq!(world.run(line), "accepted", "{line}");
    }
    let mut bytes = Vec::new();
    world.engine.save(&mut bytes).expect("finite");
    borsh::from_slice(&bytes).expect("a state")
}

fn told(change: impl FnOnce(&mut State)) -> Option<(String, (String, String))> {
    let (state, mut other) = (played(), played());
    change(&mut other);
    first(&state, &other).map(|found| (found.to_string(), *found.values))
}

fn field(change: impl FnOnce(&mut State)) -> String {
    told(change).expect("they differ").0
}

#[test]
fn equal_states_differ_in_nothing() {
    assert_eq!(told(|_| ()), None);
}

#[test]
fn each_part_is_named_with_the_trader_and_the_path() {
    let numbers = |left: &str, right: &str| (left.to_owned(), right.to_owned());
    let (at, values) = told(|state| {
        let book = &mut state.accounts.change(0).book;
        book.pairs_mut()[0].totals.realized_pnl = 7.5;
    })
    .expect("they differ");
    assert_eq!(at, "positions of alice, BTCUSD.totals.realized_pnl");
    assert_eq!(values, numbers("0.0", "7.5"));
    let (at, values) = told(|state| {
        let standing = state.accounts.change(0).standing.as_mut().expect("a stage");
        standing.since = UtcMs(5);
    })
    .expect("they differ");
    assert_eq!(at, "challenge period of alice, standing.since");
    assert_eq!(values.1, "5");
    let ended = field(|state| {
        let record = state.accounts.change(1).elimination.as_mut().expect("bob has ended");
        record.flat_orders[0] = OrderId::new("other").expect("valid");
    });
    assert_eq!(ended, "eliminations of bob, elimination.flat_orders[0]");
    let terms = field(|state| {
        let from = UtcMs(1_900_000_000_000);
        state.accounts.change(0).terms.record_size(from, Usd::new(9.0).expect("finite"));
    });
    assert_eq!(terms, "accounts of alice, terms.sizes[1]");
    let resting = field(|state| drop(state.accounts.change(0).resting.remove(0)));
    assert_eq!(resting, "orders of alice, resting.orders");
    let seen = field(|state| state.seen[1] = Arc::default());
    assert!(seen.starts_with("orders of bob, seen"), "{seen}");
    let ledger = field(|state| state.accounts.change(0).ledgers = None);
    assert_eq!(ledger, "ledgers of alice, ledgers");
    assert_eq!(
        field(|state| state.prices = Arc::default()).split('.').next(),
        Some("prices, prices")
    );
    assert!(field(|state| state.roster = Arc::default()).starts_with("roster, roster."));
    assert_eq!(field(|state| state.rulebooks.clear()), "rulebooks, rulebooks");
    assert_eq!(field(|state| state.zombies_held.1 = 3), "eliminations, zombies_held[1]");
    let refreshed = |state: &mut State| Arc::make_mut(&mut state.challenge).refreshed_at = None;
    assert_eq!(field(refreshed), "challenge period, challenge.refreshed_at");
    assert_eq!(field(|state| state.digest = Digest([7; 32])), "digests, digest");
    assert_eq!(field(|state| state.effects.changes = Digest([7; 32])), "digests, effects.changes");
}

#[test]
fn a_closed_position_is_unpacked_and_compared() {
    let closed = |state: &mut State, pnl: f64| {
        let pair = &mut state.accounts.change(0).book.pairs_mut()[1];
        assert_eq!(pair.closed().len(), 1, "ETHUSD was closed");
        let totals = pair.totals;
        let none = crate::positions::book::ClosedTotals::default();
        let position = pair.reopen(none).remove(0);
        let mut bytes = borsh::to_vec(position.as_ref()).expect("finite");
        let at = bytes
            .windows(8)
            .position(|window| window == position.realized_pnl().to_le_bytes())
            .expect("the number stands in the bytes");
        bytes[at..at + 8].copy_from_slice(&pnl.to_le_bytes());
        pair.open = Some(borsh::from_slice(&bytes).expect("a position"));
        pair.retire().expect("closed");
        pair.totals = totals;
    };
    let (at, values) = told(|state| closed(state, 1234.5)).expect("they differ");
    assert!(at.starts_with("positions of alice, ETHUSD.closed[0]."), "{at}");
    assert_eq!(values.1, "1234.5");
}

#[test]
fn what_comes_first_in_the_order_of_cause_and_effect_is_named() {
    let both = field(|state| {
        state.digest = Digest([7; 32]);
        state.accounts.change(0).book.pairs_mut()[0].valued_at = UtcMs(1);
        state.accounts.change(1).enrolled_at = UtcMs(1);
    });
    assert_eq!(both, "accounts of bob, enrolled_at");
}
