//! Helpers and laws of scoring.

use std::sync::LazyLock;

use proctor_types::time::DAY_MS;
use proctor_types::{DurationMs, TraderId};
use proptest::prelude::*;

use super::metrics::{Metric, Terms};
use super::*;
use crate::ledgers::Cell;
use crate::rulebook::{Switches, VANTA};

/// 2025-11-04, 00:00 UTC, a Tuesday.
const MIDNIGHT: i64 = 1_762_214_400_000;
const HALF_DAY: u32 = 43_200_000;

pub(super) fn rules() -> Rulebook {
    // Read once: the laws make ledgers by the thousand.
    static RULES: LazyLock<Rulebook> = LazyLock::new(|| Rulebook::parse(VANTA).unwrap());
    RULES.clone()
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
    let mut reading = days::Reading::new(rulebook, Calendar::EveryDay, 0);
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

#[test]
fn s_50_fewer_than_two_contestants_are_not_scored() {
    let (rulebook, name) = (rules(), trader("alice"));
    let scorer = Scorer::new(&rulebook, UtcMs(MIDNIGHT));
    let alone = contestant_of_days(&name, 70);
    let minimum = scorer.minimum_days(&[&alone]);
    assert_eq!(scorer.score(&[&alone], &minimum), Scores::default());
    let ranked = scorer.rank(&[&alone], &minimum);
    let score = ranked.classes[&AssetClass::Crypto].scores[0];
    close(score.combined, 0.991_837_428_846_840_1);
    assert_eq!(score.softmax, 1.0);
}

#[test]
fn s_24_a_total_penalty_excludes_and_leaves_no_place_to_take() {
    let (rulebook, names) = (rules(), ["alice", "bob", "carol"].map(trader));
    let scorer = Scorer::new(&rulebook, UtcMs(MIDNIGHT));
    let fallen = ledger(&[Cell { worst_drawdown: 0.5, ..Cell::default() }]);
    let mut contestants: Vec<_> = names.iter().map(|name| contestant_of_days(name, 9)).collect();
    contestants[1].portfolio = Some(&fallen);
    let contestants: Vec<_> = contestants.iter().collect();
    let scores = scorer.score(&contestants, &BTreeMap::new());
    assert_eq!(scores.excluded, [&names[1]]);
    let ranked: Vec<_> =
        scores.classes[&AssetClass::Crypto].scores.iter().map(|score| score.trader).collect();
    assert_eq!(ranked, [&names[0], &names[2]], "in the order given");
}

#[test]
fn s_22_in_parity_an_idle_trader_ranks_above_one_who_lost() {
    let names = ["idle", "loser", "winner"].map(trader);
    for (switches, idle_above) in [(rules().switches, false), (Switches::PARITY, true)] {
        let mut rulebook = rules();
        rulebook.switches = switches;
        let scorer = Scorer::new(&rulebook, UtcMs(MIDNIGHT));
        let of = |name, returns: &[f64]| {
            let mut one = contestant_of_days(name, 0);
            one.classes.insert(AssetClass::Crypto, record_of(&rulebook, returns));
            one
        };
        let contestants =
            [of(&names[0], &[]), of(&names[1], &[-0.01; 9]), of(&names[2], &[0.01; 9])];
        let contestants: Vec<_> = contestants.iter().collect();
        let scores = scorer.score(&contestants, &BTreeMap::new());
        let combined: Vec<f64> =
            scores.classes[&AssetClass::Crypto].scores.iter().map(|one| one.combined).collect();
        assert_eq!(combined[0] > combined[1], idle_above, "{combined:?}");
        assert!(combined[2] > combined[0].max(combined[1]));
    }
}

#[test]
fn s_55_a_ledger_takes_only_cells_that_can_be_computed_with() {
    let rules = rules().ledger;
    let of = |cells: &[Cell]| Ledger::from_cells(&rules, UtcMs(0), cells);
    let good = Cell { last_update: UtcMs(10), ..Cell::default() };
    assert!(of(&[good, good]).is_ok());
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
        assert!(of(&[Cell { realized_pnl: bad, ..good }]).is_err(), "{bad}");
        assert!(of(&[Cell { worst_drawdown: bad, ..good }]).is_err(), "{bad}");
    }
    assert!(of(&[Cell { value: 0.0, ..good }]).is_err());
    assert!(of(&[good, Cell { last_update: UtcMs(9), ..good }]).is_err(), "time goes on");
}

#[test]
fn a_ledger_made_of_cells_has_those_cells_and_their_worst_drawdown() {
    let mut rows = cells(0, &[(0.01, 1.0), (-0.02, 2.0)]);
    (rows[1].worst_drawdown, rows[2].peak) = (0.94, 1.3);
    let ledger = ledger(&rows);
    assert!(ledger.cells().eq(&rows));
    assert_eq!((ledger.worst_drawdown(), ledger.peak().value), (Some(0.94), 1.3));
    assert_eq!(ledger.current(), rows.last());
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![3 => -2.0..2.0_f64, 1 => Just(0.0), 1 => Just(0.5)];
    prop::collection::vec(value, 0..40)
}

/// Days of one trader: log return and profit of each.
fn history() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((-0.05..0.05_f64, -500.0..500.0_f64), 0..30)
}

proptest! {
    #[test]
    fn s_50_percentiles_are_at_least_zero_and_below_one(values in values()) {
        let rows: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
        let percentiles = combination::percentiles(&rows);
        prop_assert_eq!(percentiles.len(), rows.len());
        if rows.len() > 1 {
            prop_assert!(percentiles.iter().all(|percentile| (0.0..1.0).contains(percentile)));
        }
        for (i, one) in values.iter().enumerate() {
            for (j, other) in values.iter().enumerate() {
                prop_assert_eq!(one < other, percentiles[i] < percentiles[j]);
            }
        }
    }

    #[test]
    fn s_51_shares_sum_to_at_most_one_and_keep_the_order(values in values()) {
        let scores: Vec<f64> = values.iter().map(|value| value.abs()).collect();
        let shares = combination::softmax(&rules().scoring, &scores);
        prop_assert!(shares.iter().sum::<f64>() <= 1.0 + 1e-12);
        for (one, share) in scores.iter().zip(&shares) {
            prop_assert!((0.0..=1.0).contains(share));
            for (other, its) in scores.iter().zip(&shares) {
                prop_assert!(one >= other || share <= its);
            }
        }
    }

    #[test]
    fn s_23_competitiveness_lies_between_zero_and_one(values in values()) {
        if let Some(gini) = combination::gini(&values) {
            prop_assert!((-1e-9..=1.0).contains(&gini), "{}", gini);
        }
    }

    #[test]
    fn s_24_penalties_lie_between_zero_and_one(
        ratio in -1.0..1.5_f64,
        size in 0.0..400_000.0_f64,
        positions in prop::collection::vec((0.0..2.0_f64, any::<bool>(), any::<bool>()), 0..9),
    ) {
        let (rulebook, name) = (rules(), trader("alice"));
        let scorer = Scorer::new(&rulebook, UtcMs(MIDNIGHT));
        let portfolio = ledger(&[Cell { worst_drawdown: ratio, ..Cell::default() }]);
        let ledgers = Ledgers { portfolio: Some(&portfolio), pairs: Vec::new() };
        let positions = positions
            .into_iter()
            .map(|(return_at_close, is_closed, is_flagged)| ScoredPosition {
                opened_at: UtcMs(MIDNIGHT),
                is_closed,
                return_at_close,
                is_flagged,
            })
            .collect();
        let one = scorer.contestant(&name, &ledgers, positions, Usd::new(size).ok());
        let Penalties { drawdown, risk_profile, collateral } = scorer.penalties(&one).unwrap();
        for penalty in [drawdown, risk_profile, collateral] {
            prop_assert!((0.0..=1.0).contains(&penalty));
        }
    }

    #[test]
    fn s_50_a_trader_scores_the_same_in_whatever_order_the_others_stand(
        histories in prop::collection::vec((history(), history()), 2..8),
        turn in 1..7_usize,
    ) {
        let rulebook = rules();
        let scorer = Scorer::new(&rulebook, UtcMs(MIDNIGHT));
        let names: Vec<TraderId> =
            (0..histories.len()).map(|number| trader(&format!("m{number}"))).collect();
        let ledgers: Vec<(Ledger, Ledger)> = histories
            .iter()
            .map(|(crypto, forex)| (ledger(&cells(0, crypto)), ledger(&cells(0, forex))))
            .collect();
        let pair = |id: &str| TradePair::from_id(id).unwrap();
        let contestants: Vec<Contestant<'_>> = names
            .iter()
            .zip(&ledgers)
            .map(|(name, (crypto, forex))| {
                let pairs = vec![(pair("BTCUSD"), crypto), (pair("EURUSD"), forex)];
                let ledgers = Ledgers { portfolio: Some(crypto), pairs };
                scorer.contestant(name, &ledgers, Vec::new(), None)
            })
            .collect();
        let straight: Vec<_> = contestants.iter().collect();
        let mut turned = straight.clone();
        turned.rotate_left(turn % straight.len());
        let minimum = scorer.minimum_days(&straight);
        prop_assert_eq!(&minimum, &scorer.minimum_days(&turned));
        let by_trader = |order: &[&Contestant<'_>]| -> BTreeMap<_, _> {
            let scores = scorer.score(order, &minimum);
            scores
                .classes
                .iter()
                .flat_map(|(class, one)| {
                    let of = |score: &Score<'_>| (score.combined, score.softmax);
                    one.scores.iter().map(move |s| ((*class, s.trader.clone()), of(s)))
                })
                .collect()
        };
        let (one, other) = (by_trader(&straight), by_trader(&turned));
        prop_assert_eq!(one.len(), other.len());
        for (key, (combined, softmax)) in one {
            prop_assert_eq!(combined, other[&key].0);
            prop_assert!((softmax - other[&key].1).abs() < 1e-12);
        }
    }
}
