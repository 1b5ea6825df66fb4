//! `[scoring]` of the rulebook: weights, floors, thresholds, per metric and asset class.

use std::collections::BTreeMap;

use proctor_types::{AssetClass, DurationMs, Usd};
use serde::Deserialize;

use super::metrics::Metric;
use crate::rulebook::{Constant, LeverageBounds, RulebookError, at_least, field, positive, unit};

/// How traders are measured and ranked (services 3).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoringRules {
    /// Whether newer days weigh more when traders are ranked.
    pub time_weighted: Constant<bool>,
    /// How fast the weight of a day falls with its age (S-14).
    pub decay_rate: Constant<f64>,
    /// What the weight of a return falls towards.
    pub decay_floor: Constant<f64>,
    /// What the weight of a day's profit falls towards.
    pub decay_floor_pnl: Constant<f64>,
    /// What money earns without risk.
    pub risk_free: Constant<f64>,
    /// Least volatility that a Sharpe ratio divides by.
    pub volatility_min: Constant<f64>,
    /// Least downside volatility that a Sortino ratio divides by.
    pub downside_min: Constant<f64>,
    /// Least loss, and least sum of weights, that an omega ratio divides by.
    pub omega_loss_min: Constant<f64>,
    /// Variance up to which returns count as constant.
    pub variance_zero: Constant<f64>,
    /// How sharply the softmax tells scores apart (S-51).
    pub softmax_temperature: Constant<f64>,
    /// Added to the sum that the softmax divides by.
    pub softmax_epsilon: Constant<f64>,
    /// How far back positions count for the risk profile (S-30).
    pub position_window: Constant<DurationMs>,
    /// Account size from which on the collateral is sufficient.
    pub collateral_min: Constant<Usd>,
    /// Factor on the score of a smaller account.
    pub collateral_penalty: Constant<f64>,
    /// Weight and default of every metric.
    pub metric: BTreeMap<Metric, MetricRules>,
    /// The classes that traders compete in.
    pub class: BTreeMap<AssetClass, ClassRules>,
    /// How many days make a sample (S-40).
    pub minimum_days: MinimumDaysRules,
    /// Which positions are flagged and what that costs (S-31, S-32).
    pub risk_profile: RiskProfileRules,
    /// The penalty on returns that are small for their risk (S-33).
    pub risk_adjusted: RiskAdjustedRules,
    /// Weights by rank (S-54).
    pub weights: WeightRules,
}

/// Weight and default of a metric.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricRules {
    /// Its part in the combined score; 0 is not computed for ranking.
    pub weight: Constant<f64>,
    /// Its value when there are too few days to say.
    pub no_confidence: Constant<f64>,
}

/// One asset class that traders compete in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassRules {
    /// Days of trading in a year.
    pub days_per_year: Constant<f64>,
    /// The class's share of the overall weight (S-53).
    pub emission: Constant<f64>,
    /// Metrics of a trader who is neither good nor bad (S-33); their mean is the target.
    pub reference_metrics: Constant<BTreeMap<Metric, f64>>,
}

/// How many days make a sample (S-40).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinimumDaysRules {
    /// Most that is asked for; also what holds without any ledger.
    pub ceiling: Constant<u32>,
    /// Least that is asked for; also what holds with fewer traders than `rank`.
    pub floor: Constant<u32>,
    /// The trader, counted by days of trading, who sets the measure.
    pub rank: Constant<u32>,
}

/// Which positions are flagged as risky, and what that costs (S-31, S-32).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskProfileRules {
    /// Orders that added to a losing position, from which on it may be flagged.
    pub steps: Constant<u32>,
    /// Such orders that also raised it beyond the largest before.
    pub monotonic_steps: Constant<u32>,
    /// Share of the range of leverage that was used.
    pub margin: Constant<f64>,
    /// Greatest by least leverage.
    pub advancement: Constant<f64>,
    /// How unevenly the orders were spaced.
    pub irregularity: Constant<f64>,
    /// Least leverage to divide by, or to begin an average with.
    pub leverage_floor: Constant<f64>,
    /// What stands for a leverage of zero in an average.
    pub leverage_zero: Constant<f64>,
    /// Exponent of a position's return in its weight.
    pub return_power: Constant<f64>,
    /// Least return to take a logarithm of.
    pub return_floor: Constant<f64>,
    /// Score at which the penalty is one half.
    pub shift: Constant<f64>,
    /// Steepness of the penalty.
    pub spread: Constant<f64>,
    /// The range that `margin` is a share of.
    pub leverage_range: LeverageRange,
}

/// Least and greatest leverage by class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeverageRange {
    /// The unit of the bounds.
    pub unit: String,
    /// The paragraph that states them.
    pub source: String,
    /// Of crypto.
    pub crypto: LeverageBounds,
    /// Of forex.
    pub forex: LeverageBounds,
    /// Of indices.
    pub indices: LeverageBounds,
    /// Of equities.
    pub equities: LeverageBounds,
}

/// The penalty on returns that are small for their risk (S-33).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RiskAdjustedRules {
    /// A greater metric counts as this.
    pub metric_max: Constant<f64>,
    /// The least penalty factor.
    pub floor: Constant<f64>,
    /// Ratio to the target at which the penalty is in the middle.
    pub shift: Constant<f64>,
    /// Steepness of the penalty; negative, as more is better.
    pub spread: Constant<f64>,
}

/// Weights by rank (S-54).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRules {
    /// Of the best trader.
    pub challenge_best: Constant<f64>,
    /// Of the last one.
    pub challenge_worst: Constant<f64>,
}

impl LeverageRange {
    /// Returns the bounds of `class`.
    #[must_use]
    pub fn of(&self, class: AssetClass) -> LeverageBounds {
        match class {
            AssetClass::Crypto => self.crypto,
            AssetClass::Forex => self.forex,
            AssetClass::Indices => self.indices,
            AssetClass::Equities => self.equities,
        }
    }
}

impl ScoringRules {
    /// Returns the rules of `metric`.
    ///
    /// # Panics
    /// Never for rules that passed their check: every metric has some.
    #[must_use]
    pub fn of(&self, metric: Metric) -> &MetricRules {
        self.metric.get(&metric).expect("check() requires rules for every metric")
    }

    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        unit("scoring.time_weighted", &self.time_weighted, "yes or no")?;
        for (name, constant, of) in [
            ("scoring.decay_rate", &self.decay_rate, "per day"),
            ("scoring.risk_free", &self.risk_free, "fraction per year"),
            ("scoring.volatility_min", &self.volatility_min, "fraction per year"),
            ("scoring.downside_min", &self.downside_min, "fraction per year"),
            ("scoring.omega_loss_min", &self.omega_loss_min, "log return"),
            ("scoring.variance_zero", &self.variance_zero, "log return squared"),
            ("scoring.softmax_temperature", &self.softmax_temperature, "score"),
            ("scoring.softmax_epsilon", &self.softmax_epsilon, "added to the sum"),
        ] {
            unit(name, constant, of)?;
            positive(name, constant.value)?;
        }
        for (name, constant, of) in [
            ("scoring.decay_floor", &self.decay_floor, "weight, newest is 1"),
            ("scoring.decay_floor_pnl", &self.decay_floor_pnl, "weight, newest is 1"),
            ("scoring.collateral_penalty", &self.collateral_penalty, "factor"),
        ] {
            unit(name, constant, of)?;
            share(name, constant.value)?;
        }
        unit("scoring.position_window", &self.position_window, "ms")?;
        at_least("scoring.position_window", self.position_window.value.0, 0)?;
        unit("scoring.collateral_min", &self.collateral_min, "USD")?;
        for metric in Metric::ALL {
            let name = format!("scoring.metric.{metric}");
            let rules = self.metric.get(&metric).ok_or_else(|| field(&name, "is missing"))?;
            rules.check(&name)?;
        }
        for (class, rules) in &self.class {
            rules.check(&format!("scoring.class.{class}"))?;
        }
        self.minimum_days.check()?;
        self.risk_profile.check()?;
        self.risk_adjusted.check()?;
        unit("scoring.weights.challenge_best", &self.weights.challenge_best, "weight")?;
        finite("scoring.weights.challenge_best", self.weights.challenge_best.value)?;
        unit("scoring.weights.challenge_worst", &self.weights.challenge_worst, "weight")?;
        finite("scoring.weights.challenge_worst", self.weights.challenge_worst.value)
    }
}

impl MetricRules {
    fn check(&self, name: &str) -> Result<(), RulebookError> {
        let weight = format!("{name}.weight");
        unit(&weight, &self.weight, "weight")?;
        share(&weight, self.weight.value)?;
        let default = format!("{name}.no_confidence");
        unit(&default, &self.no_confidence, "the metric's own")?;
        finite(&default, self.no_confidence.value)
    }
}

impl ClassRules {
    fn check(&self, name: &str) -> Result<(), RulebookError> {
        let days = format!("{name}.days_per_year");
        unit(&days, &self.days_per_year, "days")?;
        positive(&days, self.days_per_year.value)?;
        let emission = format!("{name}.emission");
        unit(&emission, &self.emission, "share")?;
        share(&emission, self.emission.value)?;
        let reference = format!("{name}.reference_metrics");
        unit(&reference, &self.reference_metrics, "the metric's own")?;
        if self.reference_metrics.value.is_empty() {
            return Err(field(&reference, "names no metric"));
        }
        self.reference_metrics
            .value
            .iter()
            .try_for_each(|(metric, value)| positive(&format!("{reference}.{metric}"), *value))
    }
}

impl MinimumDaysRules {
    fn check(&self) -> Result<(), RulebookError> {
        unit("scoring.minimum_days.ceiling", &self.ceiling, "days")?;
        unit("scoring.minimum_days.floor", &self.floor, "days")?;
        let floor = i64::from(self.floor.value);
        at_least("scoring.minimum_days.ceiling", i64::from(self.ceiling.value), floor)?;
        unit("scoring.minimum_days.rank", &self.rank, "traders")?;
        at_least("scoring.minimum_days.rank", i64::from(self.rank.value), 1)
    }
}

impl RiskProfileRules {
    fn check(&self) -> Result<(), RulebookError> {
        let name = |field: &str| format!("scoring.risk_profile.{field}");
        unit(&name("steps"), &self.steps, "orders")?;
        unit(&name("monotonic_steps"), &self.monotonic_steps, "orders")?;
        for (field, constant, of) in [
            ("margin", &self.margin, "share of the leverage range"),
            ("advancement", &self.advancement, "ratio"),
            ("irregularity", &self.irregularity, "mean relative error"),
            ("leverage_floor", &self.leverage_floor, "x account size"),
            ("leverage_zero", &self.leverage_zero, "x account size"),
            ("return_power", &self.return_power, "exponent"),
            ("return_floor", &self.return_floor, "ratio"),
            ("spread", &self.spread, "per score"),
        ] {
            unit(&name(field), constant, of)?;
            positive(&name(field), constant.value)?;
        }
        unit(&name("shift"), &self.shift, "score")?;
        finite(&name("shift"), self.shift.value)?;
        let range = &self.leverage_range;
        if range.unit != "x account size" {
            return Err(field(&name("leverage_range"), "the rule computes in \"x account size\""));
        }
        for class in AssetClass::ALL {
            let LeverageBounds { min, max } = range.of(class);
            if !(min >= 0.0 && max > min && max.is_finite()) {
                let problem = "min must be below max, both finite and zero or more";
                return Err(field(&name(&format!("leverage_range.{class}")), problem));
            }
        }
        Ok(())
    }
}

impl RiskAdjustedRules {
    fn check(&self) -> Result<(), RulebookError> {
        unit("scoring.risk_adjusted.metric_max", &self.metric_max, "the metric's own")?;
        finite("scoring.risk_adjusted.metric_max", self.metric_max.value)?;
        unit("scoring.risk_adjusted.floor", &self.floor, "factor")?;
        share("scoring.risk_adjusted.floor", self.floor.value)?;
        unit("scoring.risk_adjusted.shift", &self.shift, "ratio to the target")?;
        finite("scoring.risk_adjusted.shift", self.shift.value)?;
        unit("scoring.risk_adjusted.spread", &self.spread, "per ratio")?;
        finite("scoring.risk_adjusted.spread", self.spread.value)
    }
}

/// Tests that `value` lies between 0 and 1, both included.
fn share(name: &str, value: f64) -> Result<(), RulebookError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(field(name, &format!("{value} must lie between 0 and 1")))
    }
}

fn finite(name: &str, value: f64) -> Result<(), RulebookError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(field(name, &format!("{value} must be a finite number")))
    }
}
