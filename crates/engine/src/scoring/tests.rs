//! Helpers and laws of scoring.

use proctor_types::time::DAY_MS;
use proctor_types::{DurationMs, TraderId};

use super::metrics::{Metric, Terms};
use super::*;
use crate::ledgers::Cell;
use crate::rulebook::VANTA;

/// 2025-11-04, 00:00 UTC, a Tuesday.
const MIDNIGHT: i64 = 1_762_214_400_000;
const HALF_DAY: u32 = 43_200_000;

pub(super) fn rules() -> Rulebook {
    Rulebook::parse(VANTA).unwrap()
}

pub(super) fn trader(name: &str) -> TraderId {
    TraderId::new(name).unwrap()
}

pub(super) fn close(ours: f64, expected: f64) {
    assert!((ours - expected).abs() <= 1e-12 * expected.abs(), "{ours} is not {expected}");
}

/// A record with metrics computed by chosen terms.
pub(super) struct Series {
    rulebook: Rulebook,
    weights: Weights,
    days_per_year: f64,
    pub(super) minimum_days: u32,
    pub(super) record: Record,
}

impl Series {
    /// Returns a record of these daily log returns, of which each is a loss or a gain of its first
    /// half-day, with profits of a million times as many USD.
    pub(super) fn of_returns(days_per_year: f64, weighted: bool, returns: &[f64]) -> Self {
        let rulebook = rules();
        let weights = if weighted {
            let floor = rulebook.scoring.decay_floor.value;
            let rate = rulebook.scoring.decay_rate.value;
            Weights::decaying(rate, floor, DurationMs(120 * DAY_MS))
        } else {
            Weights::equal()
        };
        let record = record_of(&rulebook, returns);
        Self { rulebook, weights, days_per_year, minimum_days: 0, record }
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            rulebook: &self.rulebook,
            returns: &self.weights,
            profits: &self.weights,
            days_per_year: self.days_per_year,
            minimum_days: self.minimum_days,
        }
    }

    pub(super) fn metric(&self, metric: Metric) -> f64 {
        metric.value(&self.terms(), &self.record)
    }
}

/// Returns the two cells of each day, the first of which begins `first_day` days after the 4th of
/// November 2025: the return and the profit belong to the first.
pub(super) fn cells(first_day: i64, days: &[(f64, f64)]) -> Vec<Cell> {
    let start = MIDNIGHT + first_day * DAY_MS;
    let mut end = start;
    days.iter()
        .flat_map(|(log_return, profit)| [(*log_return, *profit), (0.0, 0.0)])
        .map(|(log_return, profit)| {
            end += i64::from(HALF_DAY);
            Cell {
                last_update: UtcMs(end),
                accum_ms: HALF_DAY,
                gain: log_return.max(0.0),
                loss: log_return.min(0.0),
                realized_pnl: profit,
                ..Cell::default()
            }
        })
        .collect()
}

pub(super) fn ledger(cells: &[Cell]) -> Ledger {
    Ledger::from_cells(&rules().ledger, UtcMs(MIDNIGHT), cells).unwrap()
}

pub(super) fn record_of(rulebook: &Rulebook, returns: &[f64]) -> Record {
    let mut reading = days::Reading::new(rulebook, Calendar::EveryDay);
    let days: Vec<(f64, f64)> = returns.iter().map(|value| (*value, *value * 1e6)).collect();
    cells(0, &days).iter().for_each(|cell| reading.take(cell));
    reading.finish()
}

/// Returns a contestant with this many complete days in crypto and nothing else.
pub(super) fn contestant_of_days(trader: &TraderId, days: u32) -> Contestant<'_> {
    let returns = vec![0.001; usize::try_from(days).unwrap()];
    let classes = [(AssetClass::Crypto, record_of(&rules(), &returns))];
    Contestant {
        trader,
        portfolio: None,
        has_ledgers: true,
        classes: classes.into(),
        positions: Vec::new(),
        account_size: Some(Usd::new(150_000.0).unwrap()),
    }
}
