//! The reference's memory of fees, per position (trading 3.9, last paragraph).

use std::collections::BTreeMap;

use proctor_engine::Rulebook;
use proctor_engine::positions::position::Position;
use proctor_types::time::DAY_MS;
use proctor_types::{PositionId, TradePair, UtcMs};

/// What was computed last for each position; never forgotten, also when an update fails (P-9).
#[derive(Default)]
pub(super) struct FeeCache(BTreeMap<PositionId, Kept>);

struct Kept {
    spread: f64,
    spread_of: UtcMs,
    carry: f64,
    next_carry: UtcMs,
}

/// The two fee factors of a position.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    pub(super) spread: f64,
    pub(super) carry: f64,
}

impl Factors {
    /// Returns the factor that both make together, in the reference's order of operations.
    pub(super) fn product(self) -> f64 {
        self.spread * self.carry
    }
}

impl FeeCache {
    /// Returns the factors of `position` at `at`.
    ///
    /// The spread factor is computed anew when the last order is another one, the carry factor
    /// when `at` has left the interval it was computed in. As the legacy carry fee depends on when
    /// it is asked for, keeping it changes results, and so belongs to the reference's behaviour.
    pub(super) fn factors(
        &mut self,
        rulebook: &Rulebook,
        position: &Position,
        at: UtcMs,
    ) -> Factors {
        let kept = self.0.entry(position.id().clone()).or_insert(Kept {
            spread: 1.0,
            spread_of: UtcMs(0),
            carry: 1.0,
            next_carry: UtcMs(0),
        });
        let last_order = position.orders().last().map_or(UtcMs(0), |order| order.at);
        if last_order != kept.spread_of {
            kept.spread = position.fees_at(rulebook, at).spread;
            kept.spread_of = last_order;
        }
        let at = position.closed_at().map_or(at, |closed| closed.min(at));
        let since = UtcMs(kept.next_carry.0 - interval_ms(rulebook, position.pair()));
        if !(since..kept.next_carry).contains(&at) {
            let fees = position.fees_at(rulebook, at);
            kept.carry = fees.carry;
            kept.next_carry = fees.next_carry_at;
        }
        Factors { spread: kept.spread, carry: kept.carry }
    }
}

fn interval_ms(rulebook: &Rulebook, pair: TradePair) -> i64 {
    let hours = &rulebook.fees.carry_of(pair.class()).boundary_hours.value;
    DAY_MS / i64::try_from(hours.len()).expect("a day has 24 hours")
}
