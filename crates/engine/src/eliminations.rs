//! Reasons and the record of an account's end.
//!
//! An account ends once. The record, the flat orders that close its positions and the bar against
//! its orders are made in the same commit, so that no order can slip in between (E-64, X-9).

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{DurationMs, OrderId, Price, SourceName, Stamp, TradePair, UtcMs};
use serde::Serialize;

/// Why an account ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Reason {
    /// The loss from the peak reached the limit (trading 8.9, services E-50).
    MaxTotalDrawdown,
    /// The portfolio's value reached zero (trading 8.9, services E-45).
    Liquidated,
}

impl Reason {
    /// Returns the name that reports and the reference's files use (services E-2).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MaxTotalDrawdown => "MAX_TOTAL_DRAWDOWN",
            Self::Liquidated => "LIQUIDATED",
        }
    }

    /// Returns the id of the rule that was broken.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::MaxTotalDrawdown => "E-50",
            Self::Liquidated => "E-45",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A price that a verdict rests on.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct PriceEvidence {
    /// The pair of an open position.
    pub pair: TradePair,
    /// The price at which it was valued last.
    pub price: Price,
    /// Best bid of that price record or order, when known.
    pub bid: Option<Price>,
    /// Best ask, likewise.
    pub ask: Option<Price>,
    /// Who said so; absent when the last value came from the position's own order.
    pub source: Option<SourceName>,
    /// The record's last moment, or the order's time.
    pub at: UtcMs,
    /// Time from then to the verdict.
    pub lag: DurationMs,
}

/// The record of an account's end.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Elimination {
    /// Why.
    pub reason: Reason,
    /// The commit that decided and its time.
    pub stamp: Stamp,
    /// The value that the fall began from, as a multiple of the account's start.
    pub peak: f64,
    /// When that value was reached.
    pub peak_at: UtcMs,
    /// The least value of the fall; zero for a liquidation.
    pub value: f64,
    /// When it was reached.
    pub value_at: UtcMs,
    /// What was left of the peak, `value / peak`: 0.9 is ten per cent down.
    pub worst_ratio: f64,
    /// What was lost of the peak in per cent, rounded to two places, as records show it (E-3).
    pub drawdown_percent: f64,
    /// The prices that the open positions were valued at.
    pub prices: Vec<PriceEvidence>,
    /// The orders that closed them.
    pub flat_orders: Vec<OrderId>,
}
