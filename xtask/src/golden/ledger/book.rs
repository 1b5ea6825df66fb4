//! The positions of a replay: as they were at each moment, and by pair.

use proctor_engine::Rulebook;
use proctor_engine::positions::position::{ForcedFlatPrice, Marked, Position};
use proctor_types::{TradePair, UtcMs};

/// A position after each of its orders, from none to all.
pub(super) struct History {
    states: Vec<Position>,
}

impl History {
    pub(super) fn new(empty: Position) -> Self {
        Self { states: vec![empty] }
    }

    pub(super) fn push(&mut self, state: Position) {
        self.states.push(state);
    }

    /// Returns the position as of `now`, or `None` when it had no order yet.
    pub(super) fn at(&self, now: UtcMs) -> Option<&Position> {
        let reached =
            |state: &&Position| state.orders().last().is_some_and(|order| order.at <= now);
        self.states.iter().rev().find(reached)
    }

    /// Returns the position without and with the last of its orders up to `at`.
    ///
    /// The flat that a liquidation adds counts as an order of its own in the reference, which then
    /// meets two orders of one pair at one time and gives up; the positions do not matter then.
    pub(super) fn around(&self, at: UtcMs) -> (Held, Held) {
        let count = self.states.iter().skip(1).take_while(|state| last_at(state) <= at).count();
        let state = |count: usize| Held::new(self.states[count].clone());
        (state(count.saturating_sub(1)), state(count))
    }
}

fn last_at(state: &Position) -> UtcMs {
    state.orders().last().map_or(UtcMs(0), |order| order.at)
}

/// A position with the return that the ledger sees: fees from its cache, not the position's own.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) position: Position,
    pub(super) return_at_close: f64,
}

impl Held {
    pub(super) fn new(position: Position) -> Self {
        let return_at_close = position.return_at_close();
        Self { position, return_at_close }
    }

    pub(super) fn has_orders(&self) -> bool {
        !self.position.orders().is_empty()
    }

    /// Returns whether the position is open; one that is about to get its first order counts.
    pub(super) fn is_open(&self) -> bool {
        !self.position.is_closed()
    }

    pub(super) fn last_order_at(&self) -> UtcMs {
        last_at(&self.position)
    }

    /// Values the position at `price`; a total loss closes it.
    pub(super) fn mark(&mut self, rulebook: &Rulebook, price: f64, at: UtcMs, fees: f64) {
        let missing = ForcedFlatPrice::Missing;
        let marked = self.position.mark_with_fees(rulebook, price, at, fees, missing);
        if matches!(marked, Marked::Valued | Marked::Liquidated) {
            self.return_at_close = self.position.return_at_close();
        }
    }

    /// Applies other fees to the value of the last mark.
    pub(super) fn apply_fees(&mut self, fees: f64) {
        self.return_at_close = self.position.current_return() * fees;
    }
}

/// Positions by pair, in the order in which the pairs appeared; each pair's oldest first.
#[derive(Default)]
pub(super) struct Book(pub(super) Vec<(TradePair, Vec<Held>)>);

impl Book {
    pub(super) fn of_mut(&mut self, pair: TradePair) -> &mut Vec<Held> {
        let index = self.0.iter().position(|(own, _)| *own == pair).unwrap_or_else(|| {
            self.0.push((pair, Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }

    /// Puts `held` in the place of the last position of its pair.
    pub(super) fn replace_last(&mut self, held: &Held) {
        if let Some(last) = self.of_mut(held.position.pair()).last_mut() {
            *last = held.clone();
        }
    }

    /// Puts `held` in the place of its former state, or after the other positions of its pair.
    pub(super) fn put(&mut self, held: Held) {
        let positions = self.of_mut(held.position.pair());
        match positions.last_mut().filter(|last| last.position.id() == held.position.id()) {
            Some(last) => *last = held,
            None => positions.push(held),
        }
    }
}
