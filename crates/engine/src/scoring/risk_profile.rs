//! The risk profile: positions that were added to while they lost (services S-30 to S-32).
//!
//! A position is flagged when it was raised step by step while losing, to a large size, at
//! irregular times: doubling down, not a plan.

use proctor_types::{Side, TradePair, UtcMs, float};

use super::rules::{RiskProfileRules, ScoringRules};
use crate::positions::closed::{Outline, Outlined};
use crate::positions::position::Position;
use crate::rulebook::LeverageBounds;

/// What the profile looks at of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// When it was filled.
    pub at: UtcMs,
    /// Change of leverage, account sizes; long is positive.
    pub leverage: f64,
    /// Quote currency per unit of base.
    pub price: f64,
}

/// How a position was built up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RiskProfile {
    /// Orders that added in the position's direction while it lost.
    pub steps: u32,
    /// Orders that came while it lost and raised it beyond the largest before.
    pub monotonic_steps: u32,
    /// Share of the range of leverage that was used at most.
    pub margin: f64,
    /// Greatest leverage by least.
    pub advancement: f64,
    /// Mean relative error of the times between orders against even ones.
    pub irregularity: f64,
}

/// Which thresholds a profile reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiskFlags {
    /// By steps.
    pub steps: bool,
    /// By monotonic steps.
    pub monotonic_steps: bool,
    /// By margin.
    pub margin: bool,
    /// By advancement.
    pub advancement: bool,
    /// By irregularity.
    pub irregularity: bool,
}

impl RiskFlags {
    /// Returns whether the position is flagged: one of each kind of reason must hold (S-32).
    #[must_use]
    pub fn all_kinds(self) -> bool {
        (self.steps || self.monotonic_steps)
            && (self.margin || self.advancement)
            && self.irregularity
    }
}

impl RiskProfile {
    /// Returns the profile of a position in `pair` with these orders, oldest first.
    #[must_use]
    pub fn of(
        rules: &RiskProfileRules,
        pair: TradePair,
        side: Side,
        is_closed: bool,
        fills: &[Fill],
    ) -> Self {
        let direction = if side == Side::Long { 1.0 } else { -1.0 };
        // The order that closes a position says nothing of how it was built up.
        let active = if is_closed { fills.len().saturating_sub(1) } else { fills.len() };
        let building = fills.get(..active).unwrap_or_default();
        Self {
            steps: steps(rules, direction, building),
            monotonic_steps: monotonic_steps(rules, direction, building),
            margin: margin(rules.leverage_range.of(pair.class()), fills),
            // A single order is not left out even when it closed the position.
            advancement: advancement(rules, if fills.len() > 1 { building } else { fills }),
            irregularity: irregularity(fills),
        }
    }

    /// Returns which thresholds it reaches.
    #[must_use]
    pub fn flags(&self, rules: &RiskProfileRules) -> RiskFlags {
        RiskFlags {
            steps: self.steps >= rules.steps.value,
            monotonic_steps: self.monotonic_steps >= rules.monotonic_steps.value,
            margin: self.margin >= rules.margin.value,
            advancement: self.advancement >= rules.advancement.value,
            irregularity: self.irregularity >= rules.irregularity.value,
        }
    }
}

/// Counts orders that add in the position's direction while the price is on the wrong side of the
/// average entry, which every order moves by its absolute leverage.
fn steps(rules: &RiskProfileRules, direction: f64, fills: &[Fill]) -> u32 {
    let Some((first, rest)) = fills.split_first() else { return 0 };
    let mut size = first.leverage.abs().max(rules.leverage_floor.value);
    let mut cost = first.price * size;
    let mut count = 0;
    for fill in rest {
        let loses = (fill.price - cost / size) * direction < 0.0;
        if loses && fill.leverage * direction > 0.0 {
            count += 1;
        }
        size += fill.leverage.abs();
        cost += fill.price * fill.leverage.abs();
    }
    count
}

/// Counts orders that arrive while the position loses and make it larger than any such order did;
/// the average entry follows the signed sums.
fn monotonic_steps(rules: &RiskProfileRules, direction: f64, fills: &[Fill]) -> u32 {
    let Some((first, rest)) = fills.split_first() else { return 0 };
    let nonzero = |size: f64| if size == 0.0 { rules.leverage_zero.value } else { size };
    let mut size = nonzero(first.leverage);
    let mut largest = size.abs();
    let mut cost = first.price * size;
    let mut count = 0;
    for fill in rest {
        let loses = (fill.price - cost / size) * direction < 0.0;
        size += fill.leverage;
        if loses && size.abs() > largest {
            largest = size.abs();
            count += 1;
        }
        cost += fill.price * fill.leverage;
        size = nonzero(size);
    }
    count
}

/// Returns the absolute leverage after each order.
fn sizes(fills: &[Fill]) -> impl Iterator<Item = f64> + '_ {
    fills.iter().scan(0.0, |total, fill| {
        *total += fill.leverage;
        Some(f64::abs(*total))
    })
}

fn margin(range: LeverageBounds, fills: &[Fill]) -> f64 {
    sizes(fills)
        .reduce(f64::max)
        .map_or(0.0, |largest| (largest - range.min) / (range.max - range.min))
}

fn advancement(rules: &RiskProfileRules, fills: &[Fill]) -> f64 {
    let largest = sizes(fills).reduce(f64::max);
    let least = sizes(fills).reduce(f64::min);
    largest
        .zip(least)
        .map_or(0.0, |(largest, least)| largest / least.max(rules.leverage_floor.value))
}

/// Compares the times between the orders, up to the one that made the position largest, with even
/// ones. Fewer than three orders have no rhythm.
fn irregularity(fills: &[Fill]) -> f64 {
    let mut place = 0;
    let mut largest = f64::MIN;
    for (index, size) in sizes(fills).enumerate() {
        if size > largest {
            (place, largest) = (index, size);
        }
    }
    let building = fills.get(..=place).unwrap_or_default();
    if building.len() < 3 {
        return 0.0;
    }
    let mut times: Vec<i64> = building.iter().map(|fill| fill.at.0.max(1)).collect();
    times.sort_unstable();
    let gaps = || times.windows(2).map(|two| ms(two[1] - two[0]));
    let count = ms(i64::try_from(times.len() - 1).unwrap_or(i64::MAX));
    let ideal = ms(times[times.len() - 1] - times[0]) / count;
    if ideal == 0.0 {
        return 0.0;
    }
    gaps().map(|gap| (gap - ideal).abs() / ideal).sum::<f64>() / count
}

/// Returns a number of milliseconds as a float; exact for spans of 285,000 years.
#[allow(clippy::as_conversions, reason = "there is no From for i64, and spans are below 2^53")]
fn ms(span: i64) -> f64 {
    span as f64
}

/// A position as scoring sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredPosition {
    /// When the first order was filled.
    pub opened_at: UtcMs,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Its return after fees: 1 is unchanged.
    pub return_at_close: f64,
    /// Whether the way it was built up is a risk (S-32).
    pub is_flagged: bool,
}

impl ScoredPosition {
    /// Returns what scoring looks at of `position`.
    #[must_use]
    pub fn of(rules: &ScoringRules, position: &Position) -> Self {
        Self {
            opened_at: position.opened_at(),
            is_closed: position.is_closed(),
            return_at_close: position.return_at_close(),
            is_flagged: is_flagged(&rules.risk_profile, position),
        }
    }

    /// Returns what scoring looks at of a closed position, which is unpacked only if it has enough orders
    /// to be flagged.
    #[must_use]
    pub fn outlined(rules: &ScoringRules, closed: &Outlined<'_>) -> Self {
        let Outline { opened_at, return_at_close, orders, .. } = closed.outline;
        let rules = &rules.risk_profile;
        let is_flagged =
            can_be_flagged(rules, orders, true) && is_flagged(rules, &closed.position());
        Self { opened_at, is_closed: true, return_at_close, is_flagged }
    }

    /// Returns whether it counts for scoring at `now`: a closed one by the time of its opening, an
    /// open one only while it loses (S-30).
    #[must_use]
    pub fn counts(&self, rules: &ScoringRules, now: UtcMs) -> bool {
        if self.is_closed {
            now.since(self.opened_at) <= rules.position_window.value
        } else {
            self.return_at_close < 1.0
        }
    }
}

/// Returns whether the way `position` was built up is a risk (S-32).
fn is_flagged(rules: &RiskProfileRules, position: &Position) -> bool {
    let orders = position.orders();
    if !can_be_flagged(rules, orders.len(), position.is_closed()) {
        return false;
    }
    let fills: Vec<Fill> = orders
        .iter()
        .map(|order| Fill { at: order.at, leverage: order.leverage, price: order.price })
        .collect();
    let side = orders.first().map_or(Side::Flat, |order| order.side);
    let profile = RiskProfile::of(rules, position.pair(), side, position.is_closed(), &fills);
    profile.flags(rules).all_kinds()
}

/// Returns whether a position with so many orders can be a risk. An order is a step only when another one
/// came before it, and the close is none: most positions have too few, whatever these were.
fn can_be_flagged(rules: &RiskProfileRules, orders: usize, is_closed: bool) -> bool {
    let steps_most = orders.saturating_sub(1 + usize::from(is_closed));
    let steps_least = rules.steps.value.min(rules.monotonic_steps.value);
    u32::try_from(steps_most).map_or(true, |most| most >= steps_least)
}

/// Returns how much of what the positions earned came from flagged ones, 0 to 1 (S-31).
#[must_use]
pub fn risk_score(rules: &RiskProfileRules, positions: &[ScoredPosition]) -> f64 {
    if !positions.iter().any(|position| position.is_flagged) {
        return 0.0;
    }
    let log = |position: &ScoredPosition| {
        rules.return_power.value * float::ln(position.return_at_close.max(rules.return_floor.value))
    };
    // The greatest exponent is taken off all of them, so the greatest weight is 1 and the sum of
    // the weights is never small.
    let greatest = positions.iter().map(log).fold(f64::MIN, f64::max);
    let (mut flagged, mut all) = (0.0, 0.0);
    for position in positions {
        let weight = float::exp(log(position) - greatest);
        all += weight;
        flagged += if position.is_flagged { weight } else { 0.0 };
    }
    flagged / all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::tests::{close, rules};

    const HOUR: i64 = 3_600_000;

    /// Returns orders at these hours, counted from the second of 1970, with these changes of leverage and prices.
    fn fills(orders: &[(i64, f64, f64)]) -> Vec<Fill> {
        let fill = |(hour, leverage, price): &(i64, f64, f64)| Fill {
            at: UtcMs((hour + 1) * HOUR),
            leverage: *leverage,
            price: *price,
        };
        orders.iter().map(fill).collect()
    }

    fn profile(side: Side, is_closed: bool, orders: &[(i64, f64, f64)]) -> RiskProfile {
        let btc = TradePair::from_id("BTCUSD").unwrap();
        RiskProfile::of(&rules().scoring.risk_profile, btc, side, is_closed, &fills(orders))
    }

    fn is_flagged(side: Side, is_closed: bool, orders: &[(i64, f64, f64)]) -> bool {
        profile(side, is_closed, orders).flags(&rules().scoring.risk_profile).all_kinds()
    }

    const DOUBLING: [(i64, f64, f64); 4] =
        [(0, 0.05, 100.0), (1, 0.05, 99.0), (9, 0.1, 98.0), (10, 0.2, 97.0)];

    #[test]
    fn s_32_doubling_down_at_odd_times_is_flagged() {
        let profile = profile(Side::Long, false, &DOUBLING);
        assert_eq!((profile.steps, profile.monotonic_steps), (3, 3));
        close(profile.margin, (0.4 - 0.01) / 0.49);
        close(profile.advancement, 8.0);
        close(profile.irregularity, (7.0 + 14.0 + 7.0) / 30.0);
        assert!(is_flagged(Side::Long, false, &DOUBLING));
    }

    #[test]
    fn s_32_a_short_is_judged_as_its_mirror_image() {
        let mirrored = DOUBLING.map(|(hour, leverage, price)| (hour, -leverage, 200.0 - price));
        assert!(is_flagged(Side::Short, false, &mirrored));
        let winning = DOUBLING.map(|(hour, leverage, price)| (hour, -leverage, price));
        assert!(!is_flagged(Side::Short, false, &winning));
    }

    #[test]
    fn s_32_every_kind_of_reason_must_hold() {
        let even = [0, 1, 2, 3].into_iter().zip(DOUBLING).map(|(hour, (_, l, p))| (hour, l, p));
        assert!(!is_flagged(Side::Long, false, &even.collect::<Vec<_>>()), "evenly spaced");
        let rising = DOUBLING.map(|(hour, leverage, price)| (hour, leverage, 200.0 - price));
        assert!(!is_flagged(Side::Long, false, &rising), "added to a winner");
        let tiny = DOUBLING.map(|(hour, leverage, price)| (hour, leverage / 100.0, price));
        let small = profile(Side::Long, false, &tiny);
        assert!(small.margin < 0.5 && small.advancement < 1.5, "{small:?}");
        assert!(!is_flagged(Side::Long, false, &tiny), "never large");
    }

    #[test]
    fn s_32_the_closing_order_is_no_step_but_the_margin_and_the_times_look_at_all() {
        let orders = [(0, 0.1, 100.0), (1, 0.1, 90.0), (3, -0.2, 80.0)];
        let closed = profile(Side::Long, true, &orders);
        let open = profile(Side::Long, false, &orders);
        assert_eq!((closed.steps, open.steps), (1, 1));
        close(closed.advancement, 2.0);
        close(open.advancement, 0.2 / 0.01);
        assert_eq!(closed.margin, open.margin);
        assert_eq!(closed.irregularity, 0.0, "largest at the second order: no rhythm");
    }

    #[test]
    fn s_32_a_position_that_passes_through_zero_has_an_average_still() {
        let orders = [(0, 0.1, 100.0), (1, -0.1, 90.0), (2, 0.2, 95.0), (3, 0.1, 1.0)];
        let profile = profile(Side::Long, false, &orders);
        assert!(profile.monotonic_steps <= 2 && profile.advancement.is_finite());
    }

    #[test]
    fn s_32_a_position_of_one_order_or_none_says_nothing() {
        for orders in [&[][..], &[(0, 0.1, 100.0)]] {
            let profile = profile(Side::Long, false, orders);
            assert_eq!((profile.steps, profile.monotonic_steps), (0, 0));
            assert_eq!(profile.irregularity, 0.0);
        }
    }

    fn position(return_at_close: f64, is_flagged: bool) -> ScoredPosition {
        ScoredPosition { opened_at: UtcMs(0), is_closed: true, return_at_close, is_flagged }
    }

    #[test]
    fn s_31_flagged_positions_weigh_by_what_they_earned() {
        let rules = rules().scoring.risk_profile;
        let score = |positions: &[ScoredPosition]| risk_score(&rules, positions);
        assert_eq!(score(&[]), 0.0);
        assert_eq!(score(&[position(2.0, false)]), 0.0);
        assert_eq!(score(&[position(1.0, true), position(1.0, false)]), 0.5);
        let power = float::pow(1.02, 100.0);
        close(score(&[position(1.02, true), position(1.0, false)]), power / (power + 1.0));
        assert_eq!(score(&[position(0.0, true)]), 1.0, "a total loss has a logarithm too");
    }

    #[test]
    fn s_30_a_closed_position_counts_by_its_opening_and_an_open_one_while_it_loses() {
        let rules = rules().scoring;
        let window = rules.position_window.value.0;
        assert!(position(1.0, false).counts(&rules, UtcMs(window)));
        assert!(!position(1.0, false).counts(&rules, UtcMs(window + 1)));
        let open = |value| ScoredPosition { is_closed: false, ..position(value, false) };
        assert!(open(0.999).counts(&rules, UtcMs(10 * window)));
        assert!(!open(1.0).counts(&rules, UtcMs(0)));
    }
}
