//! `Event`: everything that did change, as facts carrying the new values.
//!
//! Events are numbered within their commit; `(commit, ordinal)` names one for good. They are hashed
//! into the state digest, so two nodes that agree on the digest agree on every event.

use borsh::BorshSerialize;
use proctor_types::{
    AssetClass, Digest, DurationMs, OrderId, PositionId, Price, Quote, SourceName, TradePair,
    TraderId, Usd, UtcMs,
};

use crate::eliminations::Elimination;
use crate::ledgers::Cell;
use crate::positions::position::Order;
use crate::rejection::Rejection;

/// One change.
///
/// The order of the variants is part of the digest's definition: new ones go at the end.
#[derive(Clone, Debug, PartialEq, BorshSerialize)]
pub enum Event {
    /// A rulebook is in force for accounts that enrol from now on.
    RulebookAdopted {
        /// The programme's name.
        name: String,
        /// The document's version.
        version: u32,
        /// Hash of the document.
        hash: Digest,
    },
    /// A trader appeared on the roster for the first time.
    TraderEnrolled {
        /// Who.
        trader: TraderId,
        /// Hash of the rulebook that the account keeps.
        rulebook: Digest,
    },
    /// A trader is no longer on the roster, and may not return.
    TraderDeparted {
        /// Who.
        trader: TraderId,
    },
    /// An account's size was recorded.
    AccountSizeRecorded {
        /// Whose.
        trader: TraderId,
        /// How much.
        size: Usd,
        /// From when on it counts.
        valid_from: UtcMs,
    },
    /// A trader chose an asset class.
    AssetClassChosen {
        /// Who.
        trader: TraderId,
        /// Which.
        class: AssetClass,
    },
    /// A price record was not taken.
    QuoteRefused {
        /// The pair it priced.
        pair: TradePair,
        /// Who sent it.
        source: SourceName,
        /// Stable code of the cause.
        code: String,
    },
    /// An input was refused; the index is its place in the commit.
    Rejected {
        /// Place of the input in the commit.
        input: u32,
        /// Whose input it was, when it had a trader.
        trader: Option<TraderId>,
        /// Which order, when it was one.
        order: Option<OrderId>,
        /// Why.
        rejection: Rejection,
    },
    /// A FLAT order met no open position: accepted, and nothing to do.
    NothingToClose {
        /// Whose.
        trader: TraderId,
        /// Which order.
        order: OrderId,
        /// The pair.
        pair: TradePair,
    },
    /// An order was filled.
    Filled {
        /// Whose.
        trader: TraderId,
        /// The position it opened, changed or closed.
        position: PositionId,
        /// The pair.
        pair: TradePair,
        /// The order as stored: sized, clamped, priced.
        order: Order,
        /// Whether the size was reduced to the limits.
        clamped: bool,
        /// Whether this order closed the position.
        closes: bool,
        /// The position after it.
        after: PositionFacts,
        /// Where its price is from.
        priced_by: PricedBy,
    },
    /// A ledger cell is complete.
    CellClosed {
        /// Whose.
        trader: TraderId,
        /// Which ledger; the portfolio's when absent.
        pair: Option<TradePair>,
        /// The cell.
        cell: Cell,
    },
    /// The account's values cannot be put into its ledgers: they stay as they were, and whoever
    /// runs the node should look (P-10).
    SampleRefused {
        /// Whose.
        trader: TraderId,
        /// Why.
        problem: String,
    },
    /// An account ended.
    Eliminated {
        /// Whose.
        trader: TraderId,
        /// The record.
        record: Elimination,
    },
}

/// Where the price of a fill is from.
#[derive(Clone, Debug, PartialEq, BorshSerialize)]
pub enum PricedBy {
    /// A price record, the best one at the commit's time.
    Record {
        /// Who sent it.
        source: SourceName,
        /// The last moment that it covers.
        at: UtcMs,
        /// Its length; zero for an event of a feed.
        span: DurationMs,
        /// Time from that moment to the commit; negative when the record was a little ahead.
        lag: DurationMs,
        /// Its best bid.
        bid: Option<Price>,
        /// Its best ask.
        ask: Option<Price>,
    },
    /// The order brought the fill that it was given in the past.
    Recorded,
    /// No record was fresh: the position closed at its last mark.
    LastMark,
}

impl PricedBy {
    /// Returns that a fill at `at` has its price from `quote`.
    #[must_use]
    pub fn record(quote: &Quote, at: UtcMs) -> Self {
        Self::Record {
            source: quote.source.clone(),
            at: quote.end(),
            span: quote.span,
            lag: at.since(quote.end()),
            bid: quote.bid,
            ask: quote.ask,
        }
    }
}

/// What a position is worth after an order.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize)]
pub struct PositionFacts {
    /// Number of orders.
    pub orders: u32,
    /// Signed multiple of the account size.
    pub net_leverage: f64,
    /// Signed lots.
    pub net_quantity: f64,
    /// Quote currency per unit of base.
    pub average_entry_price: f64,
    /// USD.
    pub realized_pnl: f64,
    /// Ratio, before fees.
    pub return_before_fees: f64,
    /// Ratio, after fees.
    pub return_after_fees: f64,
}
