//! Rounds in which the cases of a benchmark take turns, and the medians over them.
//!
//! A machine's speed changes from one second to the next with whatever else it does. Cases that
//! take turns see the same changes, and a median leaves out the rounds that were disturbed.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Aim, BenchError, Figure, Ratio};

/// A figure before it is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The benchmark it belongs to.
    pub bench: &'static str,
    /// What is measured.
    pub figure: &'static str,
    /// The unit of the value.
    pub unit: &'static str,
    /// What the value should be.
    pub aim: Option<Aim>,
    /// The workload.
    pub params: Value,
}

impl Plan {
    /// Returns the figure whose rounds gave `samples`.
    #[must_use]
    pub fn measured(&self, samples: &[f64]) -> Figure {
        let Self { bench, figure, unit, aim, ref params } = *self;
        Figure {
            bench,
            figure,
            value: median(samples),
            unit,
            aim,
            params: params.clone(),
            range: samples
                .iter()
                .map(|sample| [*sample, *sample])
                .reduce(|[low, high], [a, b]| [low.min(a), high.max(b)]),
            rounds: samples.len(),
            ratio_to: None,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load(),
        }
    }

    /// Returns the figure whose rounds gave `samples`, beside the `others` of the same rounds.
    #[must_use]
    pub fn compared(
        &self,
        samples: &[f64],
        other: &'static str,
        unit: &'static str,
        others: &[f64],
    ) -> Figure {
        let ratios: Vec<f64> = samples.iter().zip(others).map(|(own, other)| own / other).collect();
        let ratio_to = median(others).zip(median(&ratios)).map(|(value, ratio)| Ratio {
            figure: other,
            value,
            unit,
            ratio,
        });
        Figure { ratio_to, ..self.measured(samples) }
    }
}

/// A measurement that gives several figures at once.
pub(super) struct Case<'a> {
    pub(super) plans: Vec<Plan>,
    pub(super) run: Box<dyn FnMut() -> Result<Vec<f64>, BenchError> + 'a>,
}

/// Runs every case once per round and reports the medians.
pub(super) fn take_turns(
    rounds: usize,
    mut cases: Vec<Case<'_>>,
    report: &mut dyn FnMut(Figure),
) -> Result<(), BenchError> {
    let mut samples: Vec<Vec<Vec<f64>>> =
        cases.iter().map(|case| vec![Vec::new(); case.plans.len()]).collect();
    for _ in 0..rounds {
        for (case, columns) in cases.iter_mut().zip(&mut samples) {
            for (column, value) in columns.iter_mut().zip((case.run)()?) {
                column.push(value);
            }
        }
    }
    for (case, columns) in cases.iter().zip(&samples) {
        for (plan, column) in case.plans.iter().zip(columns) {
            report(plan.measured(column));
        }
    }
    Ok(())
}

fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Returns how long `work` took, and what it returned.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// Returns how many of `count` things happened in a second.
pub(super) fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Returns the middle value, the mean of the two in the middle when there are two.
pub(super) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted.get(lower)? + sorted.get(upper)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_does_not_move_the_median() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 900.0, 1.0]), Some(3.0));
        assert_eq!(median(&[4.0, 2.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let plan = Plan {
            bench: "log",
            figure: "commits",
            unit: "per second",
            aim: Some(Aim::RatioAtLeast(0.9)),
            params: Value::Null,
        };
        // The disk was four times slower in the last two rounds, for both.
        let figure = plan.compared(&[80.0, 20.0, 20.0], "disk", "per second", &[100.0, 25.0, 25.0]);
        assert_eq!((figure.value, figure.range), (Some(20.0), Some([20.0, 80.0])));
        assert_eq!(figure.ratio_to.map(|ratio| ratio.ratio), Some(0.8));
    }
}
