//! The carry fee as published: intervals end at fixed hours of the day.
//!
//! Interval k runs from the previous boundary (or the start of accrual) to boundary b_k and is
//! charged for the greatest leverage held in it, both ends included: an order exactly on a boundary
//! counts for the interval that ends there and for the next. The fee is kept as an exact count of
//! leverage-intervals, so it does not depend on how often anybody asked. Source: trading 3.9.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::time::{DAY_MS, HOUR_MS};
use proctor_types::{UtcMs, float};

use super::CarryRules;

/// Leverage is counted in steps of 2^-40, so that sums are exact whatever their order.
const STEPS_PER_LEVERAGE: f64 = 1_099_511_627_776.0;

/// The boundaries of a class: number i is the i-th one since 1970, counted from the first of day 0.
#[derive(Clone, Copy)]
struct Boundaries<'a> {
    rules: &'a CarryRules,
    first_ms: i64,
    span_ms: i64,
    per_day: i64,
}

impl<'a> Boundaries<'a> {
    fn of(rules: &'a CarryRules) -> Self {
        let hours = &rules.boundary_hours.value;
        let per_day = i64::try_from(hours.len()).unwrap_or(1).max(1);
        let first_ms = hours.first().map_or(0, |hour| i64::from(*hour)) * HOUR_MS;
        Self { rules, first_ms, span_ms: DAY_MS / per_day, per_day }
    }

    /// The number of the last boundary at or before `at`.
    fn last_at(self, at: UtcMs) -> i64 {
        (at.0 - self.first_ms).div_euclid(self.span_ms)
    }

    fn time(self, number: i64) -> UtcMs {
        UtcMs(number * self.span_ms + self.first_ms)
    }

    fn day_weights(self) -> [i64; 7] {
        self.rules.weekday_weights.value.map(i64::from)
    }

    fn weight(self, number: i64) -> i64 {
        // 1970-01-01 was a Thursday.
        let day = (number.div_euclid(self.per_day) + 3).rem_euclid(7);
        usize::try_from(day).ok().and_then(|day| self.day_weights().get(day).copied()).unwrap_or(0)
    }

    /// The weights of all boundaries below `number`, counted from the Monday before 1970.
    fn weight_below(self, number: i64) -> i64 {
        let shifted = number.div_euclid(self.per_day) + 3;
        let weights = self.day_weights();
        let days = usize::try_from(shifted.rem_euclid(7)).unwrap_or(0);
        let week: i64 = weights.iter().sum();
        let whole = shifted.div_euclid(7) * week + weights.iter().take(days).sum::<i64>();
        let today = weights.get(days).copied().unwrap_or(0);
        whole * self.per_day + number.rem_euclid(self.per_day) * today
    }
}

/// What a position owes in carry so far, and what the interval under way has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Carry {
    /// Leverage-intervals charged, in steps of 2^-40.
    charged: u128,
    /// Leverage held now, in steps.
    held: u64,
    /// Start of the interval under way; `None` before the first order.
    start: Option<UtcMs>,
    /// Greatest leverage an order of the interval under way led to or from, in steps.
    seen: Option<u64>,
    /// Greatest leverage and weight of the interval that ended at `start`, if one did. An order at
    /// that very moment still belongs to it.
    ended: Option<(u64, u32)>,
}

/// Returns the absolute leverage in steps, saturating.
fn steps(leverage: f64) -> u64 {
    let scaled = (leverage.abs() * STEPS_PER_LEVERAGE).round();
    if scaled >= 9.0e15 {
        return 9_000_000_000_000_000;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 2^53"
    )]
    let whole = scaled as u64;
    whole
}

impl Carry {
    /// Returns the state after an order at `at` that led to `leverage` (signed, account sizes).
    ///
    /// `accrual_from` is the moment before which nothing is charged. Orders come in order of time.
    #[must_use]
    pub fn after_order(
        mut self,
        rules: &CarryRules,
        accrual_from: UtcMs,
        at: UtcMs,
        leverage: f64,
    ) -> Self {
        let start = match self.start {
            None => at.max(accrual_from),
            Some(_) => {
                self = self.until(rules, at);
                self.start.unwrap_or(at)
            }
        };
        self.start = Some(start);
        let after = steps(leverage);
        if at == start {
            // Only what the order led to counts from here on, and it counts for the interval that
            // ended at this moment too.
            self.seen = Some(self.seen.unwrap_or(0).max(after));
            if let Some((most, weight)) = self.ended.filter(|(most, _)| after > *most) {
                self.charged += u128::from(after - most) * u128::from(weight);
                self.ended = Some((after, weight));
            }
        } else if at > start {
            self.seen = Some(self.seen.unwrap_or(0).max(self.held).max(after));
        }
        self.held = after;
        self
    }

    /// Returns the state with every interval charged that ended at or before `at`.
    #[must_use]
    pub fn until(mut self, rules: &CarryRules, at: UtcMs) -> Self {
        let Some(start) = self.start else { return self };
        let boundaries = Boundaries::of(rules);
        let (before, last) = (boundaries.last_at(start), boundaries.last_at(at));
        if last <= before {
            return self;
        }
        let first_weight = boundaries.weight(before + 1);
        let first_most = self.seen.unwrap_or(self.held);
        self.charge(first_most, first_weight);
        let rest = boundaries.weight_below(last + 1) - boundaries.weight_below(before + 2);
        self.charge(self.held, rest);
        let last_most = if last == before + 1 { first_most } else { self.held };
        let last_weight = u32::try_from(boundaries.weight(last)).unwrap_or(0);
        self.ended = Some((last_most, last_weight));
        self.start = Some(boundaries.time(last));
        self.seen = None;
        self
    }

    fn charge(&mut self, most: u64, weight: i64) {
        self.charged += u128::from(most) * u128::from(u64::try_from(weight).unwrap_or(0));
    }

    /// Returns the leverage-intervals charged so far: 1.0 is one interval at leverage 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "the fee needs no more than 53 bits")]
    pub fn units(&self) -> f64 {
        self.charged as f64 / STEPS_PER_LEVERAGE
    }

    /// Returns the fee factor of what was charged so far.
    #[must_use]
    pub fn factor(&self, rules: &CarryRules) -> f64 {
        if self.charged == 0 {
            return 1.0;
        }
        let per_unit = float::ln(1.0 - rules.yearly.value) / rules.intervals_per_year.value;
        float::exp(per_unit * self.units())
    }

    /// Returns the first boundary after `at` at which something may be charged.
    #[must_use]
    pub fn next_change(&self, rules: &CarryRules, at: UtcMs) -> UtcMs {
        let boundaries = Boundaries::of(rules);
        let from = self.start.map_or(at, |start| start.max(at));
        boundaries.time(boundaries.last_at(from) + 1)
    }
}
