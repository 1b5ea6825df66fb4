//! The metrics: Calmar, Sharpe, omega, Sortino, statistical confidence, profit (services 3.5).

use std::fmt;

use proctor_types::float;
use serde::Deserialize;

use super::averages::{Weights, average, variance, variance_of};
use super::days::Record;
use crate::ledgers::drawdown;
use crate::rulebook::Rulebook;

/// A measure of how good a trader was, in the order in which scores are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Return per drawdown.
    Calmar,
    /// Excess return per volatility.
    Sharpe,
    /// Gains per losses.
    Omega,
    /// Excess return per volatility of the bad days.
    Sortino,
    /// How surely the mean return differs from zero.
    StatisticalConfidence,
    /// Profit per day, USD.
    Pnl,
}

impl Metric {
    /// Every metric, in order.
    pub const ALL: [Self; 6] = [
        Self::Calmar,
        Self::Sharpe,
        Self::Omega,
        Self::Sortino,
        Self::StatisticalConfidence,
        Self::Pnl,
    ];

    /// Returns the name in rulebooks and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calmar => "calmar",
            Self::Sharpe => "sharpe",
            Self::Omega => "omega",
            Self::Sortino => "sortino",
            Self::StatisticalConfidence => "statistical_confidence",
            Self::Pnl => "pnl",
        }
    }

    /// Returns the metric's value for `record`; that of no confidence when there are fewer days
    /// than the terms ask for, or the value would not be a finite number (S-55).
    #[must_use]
    pub fn value(self, terms: &Terms<'_>, record: &Record) -> f64 {
        let computed = match self {
            Self::Pnl => pnl(terms, record),
            // Every other metric is a statement about a sample.
            Self::Calmar
            | Self::Sharpe
            | Self::Omega
            | Self::Sortino
            | Self::StatisticalConfidence
                if record.days.count() < terms.minimum_days =>
            {
                None
            }
            Self::Calmar => Some(calmar(terms, record)),
            Self::Sharpe => Some(sharpe(terms, record)),
            Self::Omega => Some(omega(terms, record)),
            Self::Sortino => Some(sortino(terms, record)),
            Self::StatisticalConfidence => statistical_confidence(terms, record),
        };
        let default = terms.rulebook.scoring.of(self).no_confidence.value;
        computed.filter(|value| value.is_finite()).unwrap_or(default)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What metrics are computed by.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Floors, defaults, the drawdown limit.
    pub rulebook: &'a Rulebook,
    /// Weights of daily returns.
    pub returns: &'a Weights,
    /// Weights of daily profits.
    pub profits: &'a Weights,
    /// Days of trading in a year.
    pub days_per_year: f64,
    /// How many complete days make a sample; 0 to do without.
    pub minimum_days: u32,
}

/// Statistics of returns that metrics are made of; per year, as fractions.
impl Terms<'_> {
    /// Returns the average log return times the days of a year.
    #[must_use]
    pub fn yearly_return(&self, record: &Record) -> f64 {
        average(record.days.returns(), self.returns) * self.days_per_year
    }

    /// Returns the yearly return above the risk-free rate, 0 without days. The one is a log return
    /// and the other a rate, as in the reference.
    #[must_use]
    pub fn excess_return(&self, record: &Record) -> f64 {
        if record.days.count() == 0 {
            return 0.0;
        }
        self.yearly_return(record) - self.rulebook.scoring.risk_free.value
    }

    /// Returns the volatility; `None`, which stands for infinite, for fewer than two days (S-17).
    #[must_use]
    pub fn volatility(&self, record: &Record) -> Option<f64> {
        let returns = record.days.returns();
        if returns.len() < 2 {
            return None;
        }
        variance(returns, self.returns).map(|variance| (variance * self.days_per_year).sqrt())
    }

    /// Returns the volatility of the days below the risk-free return, about their own average
    /// (S-17); `None` for fewer than two.
    #[must_use]
    pub fn downside_volatility(&self, record: &Record) -> Option<f64> {
        let target = self.risk_free_day();
        variance_of(record.days.returns(), self.returns, |value| value < target)
            .map(|variance| (variance * self.days_per_year).sqrt())
    }

    /// Returns the log return of a day without risk (S-18).
    #[must_use]
    pub fn risk_free_day(&self) -> f64 {
        float::ln(1.0 + self.rulebook.scoring.risk_free.value) / self.days_per_year
    }
}

/// Excess return over volatility; 0 where there is no volatility to speak of, as it is infinite.
fn ratio(excess: f64, volatility: Option<f64>, floor: f64) -> f64 {
    volatility.map_or(0.0, |volatility| excess / volatility.max(floor))
}

fn sharpe(terms: &Terms<'_>, record: &Record) -> f64 {
    let floor = terms.rulebook.scoring.volatility_min.value;
    ratio(terms.excess_return(record), terms.volatility(record), floor)
}

fn sortino(terms: &Terms<'_>, record: &Record) -> f64 {
    let floor = terms.rulebook.scoring.downside_min.value;
    ratio(terms.excess_return(record), terms.downside_volatility(record), floor)
}

/// Gains over losses. With weights each side counts by its average, so that a side is not larger
/// for having more days; without, by its sum. A day of zero is a loss.
fn omega(terms: &Terms<'_>, record: &Record) -> f64 {
    let floor = terms.rulebook.scoring.omega_loss_min.value;
    let (mut gains, mut losses) = (0.0, 0.0);
    let (mut gain_weights, mut loss_weights) = (0.0, 0.0);
    for (value, weight) in terms.returns.with(record.days.returns()) {
        if value > 0.0 {
            gains += value * weight;
            gain_weights += weight;
        } else {
            losses += value * weight;
            loss_weights += weight;
        }
    }
    if *terms.returns == Weights::equal() {
        return gains / losses.abs().max(floor);
    }
    let losses: f64 = losses * gain_weights.max(floor);
    gains * loss_weights.max(floor) / losses.abs().max(floor)
}

/// The t statistic of the mean return against zero, never weighted; `None` when it has no meaning.
fn statistical_confidence(terms: &Terms<'_>, record: &Record) -> Option<f64> {
    let returns = record.days.returns();
    let count = f64::from(record.days.count());
    if returns.len() < 2 {
        return None;
    }
    let equal = Weights::equal();
    let population = variance(returns, &equal)?;
    if population <= terms.rulebook.scoring.variance_zero.value {
        return None;
    }
    let deviation = (population * count / (count - 1.0)).sqrt();
    Some(average(returns, &equal) / (deviation / count.sqrt()))
}

fn calmar(terms: &Terms<'_>, record: &Record) -> f64 {
    terms.yearly_return(record) * 100.0 * drawdown_factor(terms.rulebook, record)
}

/// Returns one over the drawdown in per cent; 0 where there is none, or one beyond the limit (S-13).
#[must_use]
pub fn drawdown_factor(rulebook: &Rulebook, record: &Record) -> f64 {
    let drawdown = record.drawdown();
    let percent = drawdown::percent_lost(drawdown);
    if drawdown <= 0.0 || percent <= 0.0 || breaches(rulebook, drawdown) {
        return 0.0;
    }
    1.0 / percent
}

/// Returns whether a drawdown of this ratio is beyond what an account may lose (S-12).
pub(super) fn breaches(rulebook: &Rulebook, ratio: f64) -> bool {
    let (mode, limit) = (rulebook.switches.drawdown_limit, rulebook.elimination.drawdown_max.value);
    drawdown::test(mode, limit, Some(ratio)).breached
}

/// The average profit of a day. Asks for no minimum of days; without any there is none to tell.
fn pnl(terms: &Terms<'_>, record: &Record) -> Option<f64> {
    let profits = record.days.profits();
    (!profits.is_empty()).then(|| average(profits, terms.profits))
}

/// Returns the deepest fall of the value by complete days, as a fraction of the peak before it.
#[must_use]
pub fn daily_drawdown(returns: &[f64]) -> f64 {
    let (mut total, mut peak, mut deepest) = (0.0, f64::MIN, 0.0_f64);
    for value in returns {
        total += value;
        peak = f64::max(peak, total);
        deepest = deepest.max(1.0 - float::exp(total - peak));
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::tests::{Series, close, rules};

    #[test]
    fn s_17_the_table_of_steady_gains_and_losses() {
        let alternating: Vec<f64> = (0..50).flat_map(|_| [0.003, -0.002]).collect();
        for (days, weighted, sharpe, sortino) in [
            (365.0, false, 3.006_547_011_358_191, 14.36),
            (365.0, true, 2.692_256_070_938_724_7, 12.857_125_861_972_907),
            (252.0, false, 2.194_713_706_606_916, 8.71),
            (252.0, true, 1.933_525_144_600_925_8, 7.672_399_225_252_526),
        ] {
            let series = Series::of_returns(days, weighted, &alternating);
            close(series.metric(Metric::Sharpe), sharpe);
            close(series.metric(Metric::Sortino), sortino);
            close(series.metric(Metric::StatisticalConfidence), 1.989_974_874_213_242);
        }
        let series = Series::of_returns(365.0, false, &alternating);
        close(series.terms().volatility(&series.record).unwrap(), 0.047_762_432_936_356_99);
        close(series.metric(Metric::Omega), 1.5);
    }

    #[test]
    fn s_17_test_77_a_trader_without_a_bad_day_has_a_sortino_of_zero() {
        let series = Series::of_returns(365.0, false, &[0.01; 60]);
        assert_eq!(series.metric(Metric::Sortino), 0.0);
    }

    #[test]
    fn s_17_test_78_a_trader_who_never_moved_has_a_sortino_of_minus_3_89() {
        let series = Series::of_returns(365.0, false, &[0.0; 60]);
        close(series.metric(Metric::Sortino), -3.89);
    }

    #[test]
    fn s_18_the_risk_free_day_of_the_classes() {
        for (days, expected) in [(365.0, 1.0455e-4), (252.0, 1.5144e-4)] {
            let day = Series::of_returns(days, false, &[]).terms().risk_free_day();
            assert!((day - expected).abs() < 5e-9, "{day}");
        }
    }

    #[test]
    fn s_19_only_profit_is_ranked_by() {
        let scoring = rules().scoring;
        for metric in Metric::ALL {
            let weight = f64::from(u8::from(metric == Metric::Pnl));
            assert_eq!(scoring.of(metric).weight.value, weight, "{metric}");
        }
    }

    #[test]
    fn s_3_5_test_79_too_few_days_say_nothing_and_enough_do() {
        let returns: Vec<f64> = (0..60).map(|day| 0.001 + f64::from(day % 3) * 0.002).collect();
        for metric in Metric::ALL {
            let mut series = Series::of_returns(365.0, false, &returns);
            series.minimum_days = 60;
            let enough = series.metric(metric);
            series.minimum_days = 61;
            let default = rules().scoring.of(metric).no_confidence.value;
            if metric == Metric::Pnl {
                assert_eq!(series.metric(metric), enough, "profit asks for no minimum");
            } else {
                assert_eq!(series.metric(metric), default, "{metric}");
                assert_ne!(enough, default, "{metric}");
            }
        }
    }

    #[test]
    fn s_3_5_test_81_recent_losses_lower_a_weighted_omega() {
        let losses_first: Vec<f64> =
            (0..60).map(|day| if day < 30 { -0.01 } else { 0.012 }).collect();
        let losses_last: Vec<f64> = losses_first.iter().rev().copied().collect();
        let omega =
            |returns: &[f64]| Series::of_returns(365.0, true, returns).metric(Metric::Omega);
        assert!(omega(&losses_last) < omega(&losses_first));
    }

    #[test]
    fn s_3_5_constant_returns_give_no_statistical_confidence() {
        let series = Series::of_returns(365.0, false, &[0.01; 60]);
        assert_eq!(series.metric(Metric::StatisticalConfidence), -100.0);
    }

    #[test]
    fn s_3_5_one_day_has_no_volatility_so_a_sharpe_of_zero() {
        let series = Series::of_returns(365.0, true, &[0.05]);
        assert_eq!(series.metric(Metric::Sharpe), 0.0);
        assert_eq!(series.metric(Metric::StatisticalConfidence), -100.0);
    }

    #[test]
    fn s_13_calmar_is_zero_without_drawdown_and_beyond_the_limit() {
        for (ratio, factor) in [
            (Some(1.0), 0.0),
            (None, 0.0),
            (Some(-0.5), 0.0),
            (Some(1.5), 0.0),
            (Some(0.95), 0.2),
            (Some(0.89), 0.0),
            (Some(0.9), 0.0),
        ] {
            let mut series = Series::of_returns(365.0, false, &[0.001; 60]);
            series.record.worst_ratio = ratio;
            let expected = 0.001 * 365.0 * 100.0 * factor;
            let calmar = series.metric(Metric::Calmar);
            assert!((calmar - expected).abs() < 1e-9, "{ratio:?}: {calmar}");
        }
    }

    #[test]
    fn s_55_a_metric_that_would_not_be_finite_says_nothing() {
        let mut series = Series::of_returns(365.0, false, &[1e308, -1e308, 1e308]);
        series.record.worst_ratio = Some(0.95);
        for metric in Metric::ALL {
            assert!(series.metric(metric).is_finite(), "{metric}");
        }
    }

    #[test]
    fn s_3_5_the_daily_drawdown_counts_from_the_first_day_on() {
        assert_eq!(daily_drawdown(&[]), 0.0);
        assert_eq!(daily_drawdown(&[-0.1]), 0.0, "no leading zero: the first day is the peak");
        close(daily_drawdown(&[0.1, -0.2, 0.05, -0.1]), 1.0 - float::exp(-0.25));
    }
}
