//! Penalties: factors on a trader's score in every class (services 3.7).

use proctor_types::{AssetClass, Usd, UtcMs, float};

use super::days::Record;
use super::metrics::{Metric, Terms, breaches};
use super::risk_profile::{ScoredPosition, risk_score};
use super::{Contestant, Scorer};
use crate::ledgers::Ledger;
use crate::rulebook::Rulebook;

/// The penalty factors of one trader, each 0 to 1; 1 is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalties {
    /// 0 once the drawdown has reached the limit.
    pub drawdown: f64,
    /// For flagged positions; never quite 1.
    pub risk_profile: f64,
    /// For an account that is small, or of unknown size.
    pub collateral: f64,
}

impl Penalties {
    /// Returns the factor of all of them. 0 excludes from every ranking (S-24).
    #[must_use]
    pub fn product(&self) -> f64 {
        self.drawdown * self.risk_profile * self.collateral
    }
}

pub(super) fn penalties(
    rulebook: &Rulebook,
    contestant: &Contestant<'_>,
    now: UtcMs,
) -> Option<Penalties> {
    let rules = &rulebook.scoring;
    let positions: Vec<ScoredPosition> =
        contestant.positions.iter().filter(|one| one.counts(rules, now)).copied().collect();
    if !contestant.has_ledgers && !positions.is_empty() {
        return None;
    }
    Some(Penalties {
        drawdown: drawdown_penalty(rulebook, contestant.portfolio),
        risk_profile: risk_penalty(rulebook, risk_score(&rules.risk_profile, &positions)),
        collateral: collateral_penalty(rulebook, contestant.account_size),
    })
}

/// Returns 0 for a portfolio that fell to the limit, and for one that has a ledger but no cell in
/// it (S-10); 1 otherwise.
#[must_use]
pub fn drawdown_penalty(rulebook: &Rulebook, portfolio: Option<&Ledger>) -> f64 {
    let ratio =
        |ledger: &Ledger| ledger.worst_drawdown().map_or(0.0, |ratio| ratio.clamp(0.0, 1.0));
    let breached = portfolio.is_some_and(|ledger| breaches(rulebook, ratio(ledger)));
    if breached { 0.0 } else { 1.0 }
}

/// Returns the factor for a risk score.
#[must_use]
pub fn risk_penalty(rulebook: &Rulebook, score: f64) -> f64 {
    let rules = &rulebook.scoring.risk_profile;
    sigmoid(score, rules.shift.value, rules.spread.value)
}

/// Returns the factor for an account of `size`; an unknown size is none.
#[must_use]
pub fn collateral_penalty(rulebook: &Rulebook, size: Option<Usd>) -> f64 {
    let rules = &rulebook.scoring;
    if size.is_some_and(|size| size >= rules.collateral_min.value) {
        1.0
    } else {
        rules.collateral_penalty.value
    }
}

fn sigmoid(x: f64, shift: f64, spread: f64) -> f64 {
    1.0 / (1.0 + float::exp((spread * (x - shift)).clamp(-100.0, 100.0)))
}

impl Scorer<'_> {
    /// Returns the factor for returns that are small for their risk (S-33): 1 for a ledger without
    /// cells, `None` for a class that nobody competes in. It is told, and not part of the product.
    #[must_use]
    pub fn risk_adjusted_penalty(&self, class: AssetClass, record: &Record) -> Option<f64> {
        let rules = &self.rulebook.scoring;
        let targets = &rules.class.get(&class)?.reference_metrics.value;
        let adjusted = &rules.risk_adjusted;
        if record.worst_ratio.is_none() {
            return Some(1.0);
        }
        let equal = super::averages::Weights::equal();
        let terms = Terms {
            returns: &equal,
            minimum_days: rules.minimum_days.ceiling.value,
            ..self.terms(class, None)?
        };
        let count = f64::from(u32::try_from(targets.len()).unwrap_or(u32::MAX));
        let mean = |sum: f64| sum / count;
        let value = |metric: &Metric| metric.value(&terms, record).min(adjusted.metric_max.value);
        let ratio = mean(targets.keys().map(value).sum()) / mean(targets.values().sum());
        let floor = adjusted.floor.value;
        let share = sigmoid(ratio, adjusted.shift.value, adjusted.spread.value);
        Some((floor + (1.0 - floor) * share).clamp(floor, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledgers::Cell;
    use crate::rulebook::Switches;
    use crate::scoring::Ledgers;
    use crate::scoring::tests::{Series, close, ledger, rules, trader};

    fn usd(number: f64) -> Option<Usd> {
        Some(Usd::new(number).unwrap())
    }

    fn of_ratio(ratio: f64) -> f64 {
        let fallen = ledger(&[Cell { worst_drawdown: ratio, ..Cell::default() }]);
        drawdown_penalty(&rules(), Some(&fallen))
    }

    #[test]
    fn s_3_7_a_drawdown_of_the_limit_excludes_and_no_ledger_does_not() {
        assert_eq!([1.0, 0.95, 0.900_000_1].map(of_ratio), [1.0; 3]);
        assert_eq!([0.9, 0.5, -1.0].map(of_ratio), [0.0; 3]);
        assert_eq!(drawdown_penalty(&rules(), None), 1.0);
        assert_eq!(drawdown_penalty(&rules(), Some(&ledger(&[]))), 0.0, "no cell is a total loss");
    }

    #[test]
    fn s_12_test_90_in_parity_exactly_ten_per_cent_passes() {
        let mut rulebook = rules();
        rulebook.switches = Switches::PARITY;
        let penalty = |ratio: f64| {
            let fallen = ledger(&[Cell { worst_drawdown: ratio, ..Cell::default() }]);
            drawdown_penalty(&rulebook, Some(&fallen))
        };
        assert_eq!((penalty(0.9), penalty(0.899_999_9), penalty(0.89)), (1.0, 0.0, 0.0));
    }

    #[test]
    fn s_3_7_the_risk_penalty_is_never_one() {
        for (score, expected) in [(0.0, 0.991_84), (1.0, 0.689_97)] {
            assert!((risk_penalty(&rules(), score) - expected).abs() < 5e-6);
        }
    }

    #[test]
    fn s_3_7_a_small_or_unknown_account_keeps_a_hundredth() {
        let sizes = [usd(150_000.0), usd(500_000.0), usd(149_999.99), usd(0.0), None];
        let factors = sizes.map(|size| collateral_penalty(&rules(), size));
        assert_eq!(factors, [1.0, 1.0, 0.01, 0.01, 0.01]);
    }

    #[test]
    fn s_24_test_88_who_has_positions_but_no_ledger_is_not_penalised() {
        let (rulebook, name) = (rules(), trader("alice"));
        let scorer = Scorer::new(&rulebook, UtcMs(0));
        let open = |return_at_close| ScoredPosition {
            opened_at: UtcMs(0),
            is_closed: false,
            return_at_close,
            is_flagged: false,
        };
        let penalties = |positions: Vec<ScoredPosition>| {
            let one = scorer.contestant(&name, &Ledgers::default(), positions, usd(150_000.0));
            scorer.penalties(&one).map(|penalties| penalties.product())
        };
        assert_eq!(penalties(vec![open(0.99)]), None);
        assert!(penalties(vec![open(1.01)]).is_some(), "a winning open position does not count");
        assert!(penalties(Vec::new()).is_some());
    }

    #[test]
    fn s_33_the_risk_adjusted_penalty_follows_the_ratio_to_the_target() {
        let rules = rules().scoring.risk_adjusted;
        for (ratio, expected) in
            [(0.0, 0.200_18), (0.3, 0.211_82), (0.6, 0.6), (0.9, 0.988_18), (1.0, 0.997_05)]
        {
            let share = sigmoid(ratio, rules.shift.value, rules.spread.value);
            let penalty = rules.floor.value + (1.0 - rules.floor.value) * share;
            assert!((penalty - expected).abs() < 5e-6, "{ratio}: {penalty}");
        }
    }

    #[test]
    fn s_33_a_ledger_without_cells_has_no_risk_adjusted_penalty() {
        let rulebook = rules();
        let scorer = Scorer::new(&rulebook, UtcMs(0));
        let penalty = |record: &Record| scorer.risk_adjusted_penalty(AssetClass::Crypto, record);
        assert_eq!(penalty(&Record::default()), Some(1.0));
        let poor = Series::of_returns(365.0, false, &[-0.001; 20]).record;
        close(penalty(&poor).unwrap(), 0.2);
        assert_eq!(scorer.risk_adjusted_penalty(AssetClass::Indices, &poor), None);
    }
}
