//! Weights by age, averages, variances: the arithmetic below the metrics (services 3.4).

use proctor_types::time::DAY_MS;
use proctor_types::{DurationMs, float};

/// The weights of a series of days by their age; the newest has age 0 and weight 1.
///
/// One table serves series of every length, since a weight depends on the age alone (S-14).
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    rate: f64,
    floor: f64,
    by_age: Vec<f64>,
}

impl Weights {
    /// Returns weights that are all 1: what they average is the arithmetic mean.
    #[must_use]
    pub fn equal() -> Self {
        Self { rate: 0.0, floor: 1.0, by_age: Vec::new() }
    }

    /// Returns weights that fall from 1 towards `floor`, by `rate` per day; those of the days of
    /// `window` are computed in advance.
    #[must_use]
    pub fn decaying(rate: f64, floor: f64, window: DurationMs) -> Self {
        // The window's bound is only one of time and memory: older days are computed when met.
        let days = usize::try_from(window.0 / DAY_MS + 2).unwrap_or(0).min(4_096);
        let mut weights = Self { rate, floor, by_age: Vec::new() };
        weights.by_age = (0..days).map(|age| weights.computed(age)).collect();
        weights
    }

    /// Returns the weight of a day.
    #[must_use]
    pub fn of_age(&self, age: usize) -> f64 {
        self.by_age.get(age).copied().unwrap_or_else(|| self.computed(age))
    }

    fn computed(&self, age: usize) -> f64 {
        let age = u32::try_from(age).map_or(f64::MAX, f64::from);
        self.floor + (1.0 - self.floor) * float::exp(-self.rate * age)
    }

    /// Returns the values of a series, oldest first, with their weights.
    pub(super) fn with<'a>(&'a self, values: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
        let newest = values.len().saturating_sub(1);
        values.iter().enumerate().map(move |(index, value)| (*value, self.of_age(newest - index)))
    }
}

/// Returns the weighted average of `values`, oldest first; 0 when there are none (S-15).
#[must_use]
pub fn average(values: &[f64], weights: &Weights) -> f64 {
    mean(weights.with(values)).unwrap_or(0.0)
}

/// Returns the weighted variance of `values` about their own average: 0 for none, `None`, which
/// stands for infinite, for a single one. Divides by the sum of the weights, not by one less (S-16).
#[must_use]
pub fn variance(values: &[f64], weights: &Weights) -> Option<f64> {
    if values.is_empty() { Some(0.0) } else { variance_of(values, weights, |_| true) }
}

/// Returns the variance of those `values` that `counts` about their own average, each with the
/// weight it has in the whole series; `None` for fewer than two.
#[must_use]
pub fn variance_of(values: &[f64], weights: &Weights, counts: impl Fn(f64) -> bool) -> Option<f64> {
    let subset = || weights.with(values).filter(|(value, _)| counts(*value));
    if subset().take(2).count() < 2 {
        return None;
    }
    let center = mean(subset())?;
    mean(subset().map(|(value, weight)| ((value - center) * (value - center), weight)))
}

/// Returns Σ weight x value / Σ weight, `None` for nothing. A sum beyond the largest number counts
/// as that number, so that no infinity gets into a ranking (S-55).
fn mean(values: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let mut sums: Option<(f64, f64)> = None;
    for (value, weight) in values {
        let (sum, total) = sums.unwrap_or((0.0, 0.0));
        sums = Some((sum + value * weight, total + weight));
    }
    sums.map(|(sum, total)| sum.clamp(f64::MIN, f64::MAX) / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::tests::{close, rules};

    fn decaying(floor: f64) -> Weights {
        let days = DurationMs(120 * DAY_MS);
        Weights::decaying(rules().scoring.decay_rate.value, floor, days)
    }

    #[test]
    fn s_14_the_weights_of_five_days_are_those_of_the_table() {
        let weights = decaying(0.15);
        let table = [
            0.779_695_487_579_460_2,
            0.828_738_785_945_470_5,
            0.881_601_779_961_299_2,
            0.938_581_963_379_269_9,
            1.0,
        ];
        for (index, expected) in table.into_iter().enumerate() {
            close(weights.of_age(4 - index), expected);
        }
    }

    #[test]
    fn s_14_test_82_the_newest_weight_is_one_and_the_oldest_near_the_floor() {
        let weights = decaying(0.15);
        assert_eq!(weights.of_age(0), 1.0);
        close(weights.of_age(119), 0.150_113_068_251_105_49);
        assert_eq!(weights.of_age(5_000), 0.15, "beyond the table too");
    }

    #[test]
    fn s_14_test_80_the_newest_thirty_of_120_days_carry_half_and_of_profits_seventy_per_cent() {
        for (floor, percent) in [(0.15, 50.48), (0.045, 70.77)] {
            let weights = decaying(floor);
            let sum = |days: usize| (0..days).map(|age| weights.of_age(age)).sum::<f64>();
            let share = sum(30) / sum(120) * 100.0;
            assert!((share - percent).abs() < 0.005, "{share}");
        }
    }

    #[test]
    fn s_15_the_average_of_nothing_is_zero_and_of_equal_weights_the_mean() {
        assert_eq!(average(&[], &decaying(0.15)), 0.0);
        assert_eq!(average(&[1.0, 2.0, 6.0], &Weights::equal()), 3.0);
    }

    #[test]
    fn s_15_a_value_of_a_subset_keeps_the_weight_of_its_age() {
        let weights = decaying(0.15);
        let values = [-1.0, 5.0, -3.0];
        let (old, new) = (weights.of_age(2), weights.of_age(0));
        let center = (-old - 3.0 * new) / (old + new);
        let expected = (old * (-1.0 - center) * (-1.0 - center)
            + new * (-3.0 - center) * (-3.0 - center))
            / (old + new);
        close(variance_of(&values, &weights, |value| value < 0.0).unwrap(), expected);
    }

    #[test]
    fn s_16_a_variance_divides_by_the_number_and_needs_two_values() {
        assert_eq!(variance(&[], &Weights::equal()), Some(0.0));
        assert_eq!(variance(&[0.5], &Weights::equal()), None);
        assert_eq!(variance(&[1.0, 3.0], &Weights::equal()), Some(1.0));
    }

    #[test]
    fn s_55_sums_beyond_the_largest_number_stay_numbers() {
        assert!(average(&[f64::MAX, f64::MAX], &Weights::equal()).is_finite());
    }
}
