//! Verdicts that wait for a second source.
//!
//! A price that is claimed and not believed ends no account. Where it would, the account is frozen:
//! its values stay at the last believed prices, it may not add exposure, and the verdict is spoken
//! or dropped as soon as the price is believed, contradicted, taken back, or not repeated.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Price, SourceName, Stamp, TradePair, UtcMs};

/// A verdict that waits.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Frozen {
    /// The commit that held it back and its time.
    pub since: Stamp,
    /// What the portfolio would be worth at the claimed prices, as a multiple of its start.
    pub value: f64,
    /// The claims that it hangs on, sorted by pair.
    pub claims: Vec<ClaimedPrice>,
}

/// A price that is claimed and not believed.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ClaimedPrice {
    /// The pair.
    pub pair: TradePair,
    /// What is claimed, quote currency per unit of base.
    pub price: Price,
    /// Who says so.
    pub source: SourceName,
    /// The record's last moment.
    pub at: UtcMs,
    /// The last price that was believed.
    pub believed: Price,
    /// How far the claim is from it, in basis points.
    pub bps: f64,
}

/// Why a verdict that waited was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize)]
pub enum Thaw {
    /// The price came back to where it was believed.
    Returned,
    /// Another source said otherwise.
    Contradicted,
    /// The price was believed, and the account can bear it.
    Bearable,
    /// Nobody repeated the price.
    NotRepeated,
}

impl Thaw {
    /// Returns the stable name for reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Contradicted => "contradicted",
            Self::Bearable => "bearable",
            Self::NotRepeated => "not_repeated",
        }
    }

    /// Returns the reason in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Returned => "the price came back",
            Self::Contradicted => "another source said otherwise",
            Self::Bearable => "the price was confirmed, and the account can bear it",
            Self::NotRepeated => "no source repeated the price",
        }
    }
}
