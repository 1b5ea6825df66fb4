//! Performance ledgers per trader: what the portfolio and each pair were worth, by half-days.
//!
//! A [`Bundle`] is told, as prices, orders and ticks arrive, what each pair of a trader is worth; it
//! keeps one [`Ledger`] per pair and one for the portfolio, whose value is the product of the
//! pairs'. A ledger keeps [`Cell`]s of twelve hours over a window of 120 days, the running peak and
//! the worst fall from it; [`drawdown`] says whether that is a breach. Source: trading 8.
//!
//! Not concerned with where values come from: positions and fees are evaluated by the caller.

pub mod bundle;
pub mod cell;
pub mod drawdown;
mod history;
pub mod ledger;
#[cfg(test)]
mod tests;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::time::DAY_MS;
use proctor_types::{DurationMs, TradePair, UtcMs};
use serde::Deserialize;

pub use bundle::{Bundle, ClosedCell, Outcome, PairSample};
pub use cell::{Cell, Drawdown, Mark};
pub use ledger::{CellsClosed, Ledger};

use crate::rulebook::{Constant, RulebookError, at_least, field, unit};

/// Constants of the performance ledgers (trading 8).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerRules {
    /// Length of a cell; cells are aligned to midnight UTC.
    pub cell: Constant<DurationMs>,
    /// How much time the retained cells cover; peaks and falls before it are forgotten.
    pub window: Constant<DurationMs>,
    /// Least time between two samples of one trader that no order asks for.
    pub sample_every: Constant<DurationMs>,
    /// How the reference steps through time when it builds a ledger after the fact.
    pub replay: ReplayRules,
}

/// The reference's schedule of evaluations (trading 8.5-8.7), for replays that must equal its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRules {
    /// A longer span is stepped through by the minute, a shorter one by the second.
    pub minute_mode_above: Constant<DurationMs>,
    /// Step of the second mode.
    pub second_step: Constant<DurationMs>,
    /// Step of the minute mode.
    pub minute_step: Constant<DurationMs>,
    /// Longest time between two evaluations; more is an error.
    pub tick_gap_max: Constant<DurationMs>,
    /// How far behind the clock the reference keeps, for its price source to be complete.
    pub lag: Constant<DurationMs>,
}

impl LedgerRules {
    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        let span = |name: &str, constant: &Constant<DurationMs>, least: i64| {
            unit(name, constant, "ms")?;
            at_least(name, constant.value.0, least)
        };
        span("ledger.cell", &self.cell, 1)?;
        if DAY_MS % self.cell.value.0 != 0 {
            return Err(field("ledger.cell", "must divide a day: cells end at midnight UTC"));
        }
        span("ledger.window", &self.window, 2 * self.cell.value.0)?;
        span("ledger.sample_every", &self.sample_every, 0)?;
        span("ledger.replay.minute_mode_above", &self.replay.minute_mode_above, 0)?;
        span("ledger.replay.second_step", &self.replay.second_step, 1)?;
        span("ledger.replay.minute_step", &self.replay.minute_step, 1)?;
        span("ledger.replay.tick_gap_max", &self.replay.tick_gap_max, 1)?;
        span("ledger.replay.lag", &self.replay.lag, 0)
    }
}

/// What moved a value at a moment; later variants say more (trading 8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum MarketStatus {
    /// No position is open.
    NoOpenPositions,
    /// Positions are open, but none in an open market.
    MarketNotOpen,
    /// A position is open in an open market, at the price of before.
    OpenNoPriceChange,
    /// A position is open in an open market, at a new price.
    OpenPriceChange,
}

/// What the subject of a ledger is worth at a moment, and how that came about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The moment.
    pub at: UtcMs,
    /// Value after fees, as a multiple of the one at the start.
    pub value: f64,
    /// Whether markets were open and prices moved.
    pub status: MarketStatus,
    /// Product of the spread fee factors of all positions so far.
    pub spread_fee: f64,
    /// Product of the carry fee factors of all positions so far.
    pub carry_fee: f64,
    /// Realised profit and loss of all positions so far, in USD.
    pub realized_pnl: f64,
    /// Unrealised profit and loss of the open positions, in USD.
    pub unrealized_pnl: f64,
}

impl Sample {
    /// Tests that every number can be in a ledger.
    fn check(&self) -> Result<(), LedgerError> {
        positive("value", self.value)?;
        positive("spread fee product", self.spread_fee)?;
        positive("carry fee product", self.carry_fee)?;
        amount("realized pnl", self.realized_pnl)?;
        amount("unrealized pnl", self.unrealized_pnl)
    }
}

fn finite(what: &'static str, number: f64) -> Result<(), LedgerError> {
    if number.is_finite() { Ok(()) } else { Err(LedgerError::NotFinite { what, number }) }
}

/// Tests that the differences of such amounts are finite too.
fn amount(what: &'static str, number: f64) -> Result<(), LedgerError> {
    if number.abs() <= f64::MAX / 8.0 {
        Ok(())
    } else {
        Err(LedgerError::NotFinite { what, number })
    }
}

fn positive(what: &'static str, number: f64) -> Result<(), LedgerError> {
    finite(what, number)?;
    if number > 0.0 { Ok(()) } else { Err(LedgerError::NotPositive { what, number }) }
}

/// Why a sample cannot be applied; the ledger is as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LedgerError {
    /// The sample is older than the last update.
    #[error("a sample at {at} cannot follow one at {last}")]
    TimeWentBack {
        /// Time of the last update.
        last: UtcMs,
        /// Time of the sample.
        at: UtcMs,
    },
    /// A number is NaN, infinite or so large that sums of it would be.
    #[error("{what} is {number}, which is not a number to compute with")]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// Its value.
        number: f64,
    },
    /// A value or a fee product is zero or less: its logarithm does not exist.
    #[error("{what} is {number}, which is not above 0")]
    NotPositive {
        /// Which number.
        what: &'static str,
        /// Its value.
        number: f64,
    },
    /// The pairs of a sample are not in order, each once.
    #[error("{0} is out of order among the pairs of the sample")]
    PairOrder(TradePair),
    /// The sample does not say what a pair is worth that the trader has traded.
    #[error("the sample says nothing about {0}, which has a ledger")]
    PairMissing(TradePair),
}
