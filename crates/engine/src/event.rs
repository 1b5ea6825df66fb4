//! `Event`: everything that did change, as facts carrying the new values.
//!
//! Events are numbered within their commit; `(commit, ordinal)` names one for good. They are hashed
//! into the state digest, so two nodes that agree on the digest agree on every event.

use borsh::BorshSerialize;
use proctor_types::{
    AssetClass, Digest, DurationMs, OperatorId, OrderId, PositionId, Price, Quote, Remark,
    SourceName, Stamp, TradePair, TraderId, Usd, UtcMs, ValidatorId,
};

use crate::challenge_period::{Alert, Cause, Decision, Standing};
use crate::eliminations::{Elimination, LiftedBy, Reason};
use crate::frozen::{Frozen, Thaw};
use crate::ledgers::Cell;
use crate::limit_orders::{Cancellation, RestingOrder};
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
    /// Collateral of a trader is to be taken for his elimination, which follows.
    SlashIntended {
        /// Whose.
        trader: TraderId,
        /// The decision that it is for.
        decided: Stamp,
        /// Value / peak of the portfolio once it was flat.
        drawdown: f64,
        /// The share of the collateral, 0 to 1.
        proportion: f64,
    },
    /// The collateral was taken.
    SlashSettled {
        /// Whose.
        trader: TraderId,
        /// The decision that it was for.
        decided: Stamp,
    },
    /// A record was taken back, and a new epoch of the account begins.
    Reinstated {
        /// Whose.
        trader: TraderId,
        /// The decision that is undone.
        decided: Stamp,
        /// Who undoes it.
        by: LiftedBy,
        /// The epoch that begins; absent when there is no account yet.
        epoch: Option<u32>,
    },
    /// Another validator's list was compared with our records.
    EliminationsSynced {
        /// Whose.
        source: ValidatorId,
        /// As of when.
        as_of: UtcMs,
        /// How many traders it names; a list that names nobody changes nothing.
        rows: u32,
        /// Those who got a record from it, ascending.
        added: Vec<TraderId>,
        /// Those who lost one that it had brought earlier, ascending.
        removed: Vec<TraderId>,
    },
    /// Accounts lack their traders, and so many that none of them ends for it.
    ZombiesHeld {
        /// How many lack him; zero once it is over.
        missing: u32,
        /// Of how many living accounts.
        known: u32,
    },
    /// A reason of the challenge met an account that had ended already.
    ReasonDropped {
        /// Whose.
        trader: TraderId,
        /// Which.
        reason: Reason,
    },
    /// Positions, ledgers and details of an ended account were dropped; its bar stands.
    Purged {
        /// Whose.
        trader: TraderId,
    },
    /// A limit or bracket order waits for its price from now on.
    OrderResting {
        /// Whose.
        trader: TraderId,
        /// The order.
        order: RestingOrder,
        /// The order whose fill made it; absent when the trader sent it.
        parent: Option<OrderId>,
    },
    /// The price of a limit or bracket order was reached; the fill is the next event.
    OrderReached {
        /// Whose.
        trader: TraderId,
        /// Which order.
        order: OrderId,
        /// The limit, stop loss or take profit.
        level: Price,
        /// The bid or ask that reached it.
        market: Price,
        /// Who said so.
        source: SourceName,
        /// The last moment that the price record covers.
        source_at: UtcMs,
    },
    /// A limit or bracket order has ended without a fill.
    OrderCancelled {
        /// Whose.
        trader: TraderId,
        /// Which order.
        order: OrderId,
        /// The pair.
        pair: TradePair,
        /// Why.
        why: Cancellation,
    },
    /// An order was filled, but the bracket that it asked for was not made (L-7).
    BracketRefused {
        /// Whose.
        trader: TraderId,
        /// The order that was filled.
        parent: OrderId,
        /// The pair.
        pair: TradePair,
        /// Why there is no bracket.
        rejection: Rejection,
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
        by: OperatorId,
        /// Why, in words.
        why: Remark,
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
            | Self::ChallengeAlerts { .. }
            | Self::EliminationsSynced { .. }
            | Self::ZombiesHeld { .. } => None,
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
            | Self::SlashIntended { trader, .. }
            | Self::SlashSettled { trader, .. }
            | Self::Reinstated { trader, .. }
            | Self::ReasonDropped { trader, .. }
            | Self::Purged { trader }
            | Self::OrderResting { trader, .. }
            | Self::OrderReached { trader, .. }
            | Self::OrderCancelled { trader, .. }
            | Self::BracketRefused { trader, .. }
            | Self::VerdictFrozen { trader, .. }
            | Self::VerdictThawed { trader, .. }
            | Self::OrderCorrected { trader, .. }
            | Self::Eliminated { trader, .. } => Some(trader),
        }
    }
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
