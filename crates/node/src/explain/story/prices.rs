//! How good a price is or was, and what all sources said of it.

use serde::Serialize;

use super::Moment;

/// How good the price of a pair is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PriceQuality {
    /// The pair.
    pub pair: String,
    /// Sources with a fresh record.
    pub sources: u32,
    /// Of these, how many agree with the price in use.
    pub agreeing: u32,
    /// How far apart the sources are, in basis points of the lowest.
    pub spread_bps: f64,
    /// Age of the record in use, else of the youngest one; absent when there is none.
    pub stale_ms: Option<i64>,
    /// `solid`, `single_source`, `disagreement`, `spike` or `stale`.
    pub flag: &'static str,
}

/// A price record from the time around a verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowPrice {
    /// The pair.
    pub pair: String,
    /// Who said so.
    pub source: String,
    /// The last moment of the record.
    pub at: Moment,
    /// The time of the commit that brought it.
    pub taken_at: Moment,
    /// Quote per base.
    pub price: f64,
    /// Best bid, when it was told.
    pub bid: Option<f64>,
    /// Best ask, when it was told.
    pub ask: Option<f64>,
}

/// What the sources of a pair said of a price.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PriceSupport {
    /// Sources with a fresh record.
    pub sources: u32,
    /// Of these, how many agreed.
    pub agreeing: u32,
    /// How far apart they were, in basis points of the lowest.
    pub spread_bps: f64,
}
