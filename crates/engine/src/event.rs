//! `Event`: everything that did change, as facts carrying the new values.
//!
//! Events are numbered within their commit; `(commit, ordinal)` names one for good. They are hashed
//! into the state digest, so two nodes that agree on the digest agree on every event.

use borsh::BorshSerialize;
use proctor_types::{
    AssetClass, Digest, OrderId, PositionId, SourceName, TradePair, TraderId, Usd, UtcMs,
};

use crate::challenge_period::{Alert, Cause, Decision, Standing};
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
    /// A trader moved to another stage, or in or out of the programme.
    StageChanged {
        /// Who.
        trader: TraderId,
        /// Why.
        cause: Cause,
        /// The standing before.
        from: Option<Standing>,
        /// The standing after.
        to: Option<Standing>,
    },
    /// A decision was added to the register of reasons.
    DecisionRegistered {
        /// The decision.
        decision: Decision,
    },
    /// Decisions were taken note of and left the register.
    DecisionsAcknowledged {
        /// Up to this one, or this one alone.
        seq: u64,
        /// How many left.
        decisions: u32,
    },
    /// A list of suspected plagiarists replaced the one before.
    PlagiarismReported {
        /// How many traders stand in it.
        suspects: u32,
    },
    /// What stands in the way of the refreshes of the stages has changed.
    ChallengeAlerts {
        /// All of it; nothing when the way is clear again.
        alerts: Vec<Alert>,
    },
}

impl Event {
    /// Returns whose account the event is about; `None` when it is about nobody's, or when an input
    /// without a trader was refused.
    #[must_use]
    pub fn trader(&self) -> Option<&TraderId> {
        match self {
            Self::RulebookAdopted { .. }
            | Self::QuoteRefused { .. }
            | Self::DecisionsAcknowledged { .. }
            | Self::PlagiarismReported { .. }
            | Self::ChallengeAlerts { .. } => None,
            Self::DecisionRegistered { decision } => Some(&decision.trader),
            Self::Rejected { trader, .. } => trader.as_ref(),
            Self::TraderEnrolled { trader, .. }
            | Self::TraderDeparted { trader }
            | Self::AccountSizeRecorded { trader, .. }
            | Self::AssetClassChosen { trader, .. }
            | Self::NothingToClose { trader, .. }
            | Self::Filled { trader, .. }
            | Self::CellClosed { trader, .. }
            | Self::SampleRefused { trader, .. }
            | Self::StageChanged { trader, .. }
            | Self::Eliminated { trader, .. } => Some(trader),
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
