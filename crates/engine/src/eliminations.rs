//! Reasons and the record of an account's end.
//!
//! An account ends once. The record, the flat orders that close its positions and the bar against
//! its orders are made in the same commit, so that no order can slip in between (E-64, X-9).

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{OrderId, Price, SourceName, Stamp, TradePair, UtcMs};
use serde::Serialize;

use crate::challenge_period::UnknownName;

/// Why an account ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Reason {
    /// The loss from the peak reached the limit (trading 8.9, services E-50).
    MaxTotalDrawdown,
    /// The portfolio's value reached zero (trading 8.9, services E-45).
    Liquidated,
    /// The trader stood on the list of suspected plagiarists for too long (services C-44).
    Plagiarism,
    /// The time of the challenge or of the probation is over (services C-35).
    FailedChallengePeriodTime,
    /// The loss from the peak reached the limit in the challenge or on probation (services C-37).
    FailedChallengePeriodDrawdown,
}

impl Reason {
    /// Every reason, in the order of their codes.
    pub const ALL: [Self; 5] = [
        Self::MaxTotalDrawdown,
        Self::Liquidated,
        Self::Plagiarism,
        Self::FailedChallengePeriodTime,
        Self::FailedChallengePeriodDrawdown,
    ];

    /// Returns the reason that reports and the reference's files call `code`.
    ///
    /// # Errors
    /// [`UnknownName`] lists the names there are.
    pub fn parse(code: &str) -> Result<Self, UnknownName> {
        let known = || Self::ALL.map(Self::code).join(", ");
        Self::ALL.into_iter().find(|reason| reason.code() == code).ok_or_else(|| UnknownName {
            what: "reason",
            name: code.into(),
            known: known(),
        })
    }

    /// Tells whether it is the challenge period that decides for this reason (services 2.2).
    #[must_use]
    pub fn is_of_challenge_period(self) -> bool {
        match self {
            Self::Plagiarism
            | Self::FailedChallengePeriodTime
            | Self::FailedChallengePeriodDrawdown => true,
            Self::MaxTotalDrawdown | Self::Liquidated => false,
        }
    }

    /// Tells whether the reason is a loss, which has a size.
    #[must_use]
    pub fn is_a_loss(self) -> bool {
        match self {
            Self::MaxTotalDrawdown | Self::Liquidated | Self::FailedChallengePeriodDrawdown => true,
            Self::Plagiarism | Self::FailedChallengePeriodTime => false,
        }
    }

    /// Returns the name that reports and the reference's files use (services E-2).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MaxTotalDrawdown => "MAX_TOTAL_DRAWDOWN",
            Self::Liquidated => "LIQUIDATED",
            Self::Plagiarism => "PLAGIARISM",
            Self::FailedChallengePeriodTime => "FAILED_CHALLENGE_PERIOD_TIME",
            Self::FailedChallengePeriodDrawdown => "FAILED_CHALLENGE_PERIOD_DRAWDOWN",
        }
    }

    /// Returns the id of the rule that was broken.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::MaxTotalDrawdown => "E-50",
            Self::Liquidated => "E-45",
            Self::Plagiarism => "C-44",
            Self::FailedChallengePeriodTime => "C-35",
            Self::FailedChallengePeriodDrawdown => "C-37",
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
    /// Who said so; absent when the last value came from the position's own order.
    pub source: Option<SourceName>,
    /// The record's last moment, or the order's time.
    pub at: UtcMs,
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
