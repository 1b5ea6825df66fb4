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
