//! `Event`: everything that did change, as facts carrying the new values.
//!
//! Events are numbered within their commit; `(commit, ordinal)` names one for good. They are hashed
//! into the state digest, so two nodes that agree on the digest agree on every event.

use borsh::BorshSerialize;
use proctor_types::{
    AssetClass, Digest, OrderId, PositionId, SourceName, Stamp, TradePair, TraderId, Usd, UtcMs,
};

use crate::eliminations::Elimination;
use crate::frozen::{Frozen, Thaw};
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
    /// A verdict was held back: it hangs on a price that is not believed yet.
    VerdictFrozen {
        /// Whose.
        trader: TraderId,
        /// What it hangs on.
        frozen: Frozen,
    },
    /// A verdict that was held back is dropped.
    VerdictThawed {
        /// Whose.
        trader: TraderId,
        /// The commit that had held it back, and its time.
        since: Stamp,
        /// Why.
        why: Thaw,
    },
    /// The price of an order was corrected, and everything since was computed anew.
    OrderCorrected {
        /// Whose.
        trader: TraderId,
        /// The position of the order.
        position: PositionId,
        /// The pair.
        pair: TradePair,
        /// The order as it was.
        before: Order,
        /// The order as it is now.
        order: Order,
        /// The position as it is now.
        after: PositionFacts,
        /// Whose price it is now.
        source: SourceName,
        /// Who asked for the correction.
        by: String,
        /// Why.
        why: String,
    },
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
