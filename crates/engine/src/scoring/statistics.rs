//! Statistics: everything scoring can say of one trader, for people.

use std::collections::BTreeMap;

use proctor_types::{AssetClass, DurationMs, float};

use super::averages::{average, variance};
use super::days::{Calendar, Record, open_loss};
use super::metrics::{Metric, Terms, daily_drawdown};
use super::penalties::Penalties;
use super::{Contestant, Scorer};
use crate::ledgers::{Cell, Ledger};

/// What scoring says of one trader.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Of the portfolio; absent without a ledger.
    pub portfolio: Option<PortfolioStatistics>,
    /// Of each class that is competed in.
    pub classes: BTreeMap<AssetClass, ClassStatistics>,
    /// The penalties; absent for one who has positions but no ledger.
    pub penalties: Option<Penalties>,
}

/// What a portfolio's ledger says.
#[derive(Clone, Debug, PartialEq)]
pub struct PortfolioStatistics {
    /// The complete days.
    pub record: Record,
    /// Totals of all cells.
    pub totals: Totals,
    /// Deepest fall by complete days, as a fraction.
    pub daily_drawdown: f64,
}

/// Totals of all cells of a ledger, complete or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    /// Product of the gains: 1 is none.
    pub gain: f64,
    /// Product of the losses: 1 is none.
    pub loss: f64,
    /// Time covered.
    pub covered: DurationMs,
    /// What was realised, less what is lost on open positions, USD (S-6).
    pub pnl: f64,
}

/// What the ledgers of a class say.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassStatistics {
    /// Complete days.
    pub days: u32,
    /// Every metric, whether it is ranked by or not.
    pub metrics: BTreeMap<Metric, f64>,
    /// Statistics of the daily returns.
    pub returns: ReturnStatistics,
    /// The penalty for small returns at high risk (S-33); told, not applied.
    pub risk_adjusted_penalty: f64,
}

/// Statistics of daily log returns; infinite values are absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReturnStatistics {
    /// Average of a day.
    pub average: f64,
    /// Variance of a day about the average.
    pub variance: Option<f64>,
    /// Volatility of a year.
    pub volatility: Option<f64>,
    /// Volatility of the days below the risk-free return, of a year.
    pub downside_volatility: Option<f64>,
    /// Log return of a year.
    pub yearly: f64,
    /// The same above the risk-free rate.
    pub excess: f64,
}

/// Returns everything that scoring says of `contestant`, who needs this many days in each class.
#[must_use]
pub fn statistics(
    scorer: &Scorer<'_>,
    contestant: &Contestant<'_>,
    minimum_days: &BTreeMap<AssetClass, u32>,
) -> Statistics {
    let of_class = |(class, record): (&AssetClass, &Record)| {
        let minimum = minimum_days.get(class).copied();
        let terms = scorer.terms(*class, minimum)?;
        let value = |metric: Metric| (metric, metric.value(&terms, record));
        let statistics = ClassStatistics {
            days: record.days.count(),
            metrics: Metric::ALL.into_iter().map(value).collect(),
            returns: ReturnStatistics::of(&terms, record),
            risk_adjusted_penalty: scorer.risk_adjusted_penalty(*class, record)?,
        };
        Some((*class, statistics))
    };
    Statistics {
        portfolio: contestant.portfolio.map(|ledger| portfolio(scorer, ledger)),
        classes: contestant.classes.iter().filter_map(of_class).collect(),
        penalties: scorer.penalties(contestant),
    }
}

fn portfolio(scorer: &Scorer<'_>, ledger: &Ledger) -> PortfolioStatistics {
    let record = Record::of_ledger(scorer.rulebook, Calendar::EveryDay, ledger);
    PortfolioStatistics {
        daily_drawdown: daily_drawdown(record.days.returns()),
        totals: Totals::of(scorer, ledger),
        record,
    }
}

impl Totals {
    /// Returns the totals of `ledger`.
    #[must_use]
    pub fn of(scorer: &Scorer<'_>, ledger: &Ledger) -> Self {
        let sum = |of: fn(&Cell) -> f64| ledger.cells().map(of).sum::<f64>();
        let last = ledger.cells().next_back();
        let open = last.map_or(0.0, |cell| open_loss(scorer.rulebook.switches.open_loss, cell));
        Self {
            gain: float::exp(sum(|cell| cell.gain)),
            loss: float::exp(sum(|cell| cell.loss)),
            covered: DurationMs(ledger.cells().map(|cell| i64::from(cell.accum_ms)).sum()),
            pnl: sum(|cell| cell.realized_pnl) + open,
        }
    }
}

impl ReturnStatistics {
    /// Returns the statistics of the daily returns of `record`.
    #[must_use]
    pub fn of(terms: &Terms<'_>, record: &Record) -> Self {
        let returns = record.days.returns();
        Self {
            average: average(returns, terms.returns),
            variance: variance(returns, terms.returns),
            volatility: terms.volatility(record),
            downside_volatility: terms.downside_volatility(record),
            yearly: terms.yearly_return(record),
            excess: terms.excess_return(record),
        }
    }

    /// Returns the yearly return in per cent, compounded.
    #[must_use]
    pub fn yearly_percent(&self) -> f64 {
        (float::exp(self.yearly) - 1.0) * 100.0
    }
}
