//! The carry fee as the reference computes it, for comparisons only (`carry_mode = "legacy"`).
//!
//! The reference measures the end of the first interval from the moment of the question and then
//! steps eight hours in every class, so the charge for a past interval changes with the question
//! (vectors; M-1). Everything is derived from the order list each time.

use proctor_types::time::{DAY_MS, HOUR_MS};
use proctor_types::{Side, UtcMs, float};

use super::CarryRules;

/// How far the reference moves from interval to interval, whatever the class.
const STEP_MS: i64 = 8 * HOUR_MS;

/// What the fee needs to know of an order.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When it was filled.
    pub at: UtcMs,
    /// A flat ends the walk.
    pub side: Side,
    /// Signed, in account sizes.
    pub leverage: f64,
}

/// Returns the fee factor at `at` and the moment at which the reference computes it anew.
#[must_use]
pub fn carry<I>(rules: &CarryRules, accrual_from: UtcMs, orders: I, at: UtcMs) -> (f64, UtcMs)
where
    I: Iterator<Item = Step> + Clone,
{
    let per_day = i64::try_from(rules.boundary_hours.value.len()).unwrap_or(1).max(1);
    let period = DAY_MS / per_day;
    if at < accrual_from {
        return (1.0, UtcMs(at.0 + period).min(accrual_from));
    }
    let first_hour = rules.boundary_hours.value.first().map_or(0, |hour| i64::from(*hour));
    let to_boundary = |t: UtcMs| period - (t.0 - first_hour * HOUR_MS).rem_euclid(period);
    let elapsed = at.0 - accrual_from.0;
    let crossed = elapsed.rem_euclid(period) >= to_boundary(accrual_from);
    let intervals = elapsed.div_euclid(period) + i64::from(crossed);

    let base = float::exp(float::ln(1.0 - rules.yearly.value) / rules.intervals_per_year.value);
    let mut product = 1.0;
    let (mut start, mut end) = (accrual_from, UtcMs(accrual_from.0 + to_boundary(at)));
    for number in 0..intervals {
        if number > 0 {
            (start, end) = (end, UtcMs(end.0 + STEP_MS));
        }
        let weekday = usize::try_from(end.weekday()).unwrap_or(0);
        let weight = rules.weekday_weights.value.get(weekday).copied().unwrap_or(0);
        if weight > 0 {
            let fee = float::pow(base, max_leverage(orders.clone(), start, end));
            product *= if weight == 1 { fee } else { float::pow(fee, f64::from(weight)) };
        }
    }
    (product, UtcMs(at.0 + to_boundary(at)))
}

/// Returns the greatest absolute leverage in `[start, end]`.
fn max_leverage(orders: impl Iterator<Item = Step>, start: UtcMs, end: UtcMs) -> f64 {
    let mut most: Option<f64> = None;
    let mut held = 0.0_f64;
    for order in orders {
        let before = held;
        held += order.leverage;
        let flipped = before * held < 0.0 || (before != 0.0 && held == 0.0);
        let ends = order.side == Side::Flat || flipped;
        if ends {
            held = 0.0;
        }
        if order.at > end {
            most = Some(most.unwrap_or(0.0).max(before.abs()));
            break;
        }
        if order.at >= start {
            most = Some(most.unwrap_or(0.0).max(held.abs()));
        }
        if order.at > start {
            most = Some(most.unwrap_or(0.0).max(before.abs()));
        }
        if ends {
            break;
        }
    }
    most.unwrap_or(held.abs())
}
