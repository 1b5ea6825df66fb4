//! `Rejection`: why an input was refused; the order of the variants is the order of the checks.
//!
//! The first failing check wins, so every validator gives the same answer to the same order
//! (trading 2.6, 2.7). Codes are stable: clients and reports match on them.

use std::io;

use borsh::BorshSerialize;
use proctor_types::{
    AssetClass, DurationMs, ExecutionType, OrderId, PairName, Price, Side, TradePair, TraderId,
    UtcMs,
};

use crate::challenge_period;
use crate::orders::judged::Judgement;
use crate::orders::sizing::SizeRefusal;
use crate::positions::position::PositionRefusal;
use crate::prices::slippage::SlippageError;

/// Why an input changed nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// No rulebook was adopted yet.
    #[error("no rulebook has been adopted yet")]
    NoRulebook,
    /// The document is not a rulebook; holds what is wrong with it.
    #[error("rulebook: {0}")]
    InvalidRulebook(String),
    /// No roster has arrived yet, so nobody is known to be registered: unknown is not empty.
    #[error("the roster of registered traders is not known yet")]
    RosterUnknown,
    /// A roster older than, or as old as, the current one.
    #[error("roster version {version} is not newer than {current}")]
    StaleRoster {
        /// Version of the refused roster.
        version: u64,
        /// Version in force.
        current: u64,
    },
    /// So many traders vanished at once that it is more likely an outage (E-23, P-14).
    #[error("{lost} of {known} traders are missing from the roster: held until it is confirmed")]
    AnomalousRoster {
        /// How many registered traders are missing.
        lost: u32,
        /// How many were registered.
        known: u32,
    },
    /// Gate 1: the sender is not on the roster.
    #[error("the trader is not registered")]
    NotRegistered,
    /// Gate 4: the account has ended.
    #[error("the trader was eliminated at {0}")]
    Eliminated(UtcMs),
    /// Gate 5: the trader had left; coming back is not permitted.
    #[error("the trader left at {0}; re-registration is not permitted")]
    Departed(UtcMs),
    /// The pair's name is in no table.
    #[error("unknown trade pair {0}")]
    UnknownPair(PairName),
    /// Gate 6: an order with this id was already processed.
    #[error("an order with this id was already processed")]
    DuplicateId,
    /// Gate 7: the pair is blocked and the order would not close a position (T-4).
    #[error("{0} is blocked; only an order that closes an open position is accepted")]
    Blocked(TradePair),
    /// Gate 8: the trader has not chosen an asset class.
    #[error("choose an asset class before trading")]
    AssetClassNotChosen,
    /// Gate 8: the pair is of another asset class than the trader's.
    #[error("the pair is {pair}, the trader's asset class is {chosen}")]
    WrongAssetClass {
        /// Class of the pair.
        pair: AssetClass,
        /// Class that the trader chose.
        chosen: AssetClass,
    },
    /// The trader has already chosen an asset class.
    #[error("the asset class {0} was already chosen and cannot be changed")]
    AssetClassChosen(AssetClass),
    /// Gate 9: the pair's market is closed.
    #[error("the market of {0} is closed")]
    MarketClosed(TradePair),
    /// Gate 10: no price data for the pair.
    #[error("{0} is not supported")]
    Unsupported(TradePair),
    /// A recorded order of a kind that has no fill.
    #[error("a recorded order of execution type {0:?} has no fill")]
    ExecutionUnsupported(ExecutionType),
    /// No fresh price of the pair, or of the pair that converts its currency.
    #[error("no fresh price of {0}")]
    NoPrice(TradePair),
    /// Too soon after the last accepted order of this trader on this pair.
    #[error("wait {} ms before the next order on this pair", .0.0)]
    CoolingDown(DurationMs),
    /// The order's time is not later than the position's last order (T-14).
    #[error("the position has an order at {0}, not earlier than this one")]
    NotLater(UtcMs),
    /// The size fields do not make a size.
    #[error(transparent)]
    Size(SizeRefusal),
    /// No slippage is defined for the order.
    #[error(transparent)]
    Slippage(SlippageError),
    /// The position does not take the order.
    #[error(transparent)]
    Position(PositionRefusal),
    /// An account size that is not a positive amount.
    #[error("an account size must be above 0 USD")]
    AccountSize,
    /// The command to the challenge period does not fit the state.
    #[error(transparent)]
    ChallengePeriod(challenge_period::Refusal),
    /// There is no such decision to undo or to settle.
    #[error("{0} has no such elimination")]
    NoSuchElimination(TraderId),
    /// A record is never overwritten.
    #[error("{0} has an elimination already; lift it before another is added")]
    AlreadyEliminated(TraderId),
    /// A row of a batch is dated after what it was told in, or outside the calendar.
    #[error("the elimination of {0} is dated later than the list that it is in")]
    EliminationDate(TraderId),
    /// The decision costs the trader nothing.
    #[error("the elimination of {0} is not slashed for")]
    NotSlashed(TraderId),
    /// A list of another validator that is older than one that was taken before.
    #[error("the list is as of {as_of}, one as of {last} was taken already")]
    StaleSync {
        /// As of when the refused list is.
        as_of: UtcMs,
        /// As of when the last one was.
        last: UtcMs,
    },
    /// A list of another validator that is as of a time to come: taken, it would refuse all others.
    #[error("the list is as of {0}, which is yet to come")]
    SyncAhead(UtcMs),
    /// A list would end or reinstate so many accounts that it is more likely an error (P-14).
    #[error("the list would change {changed} of {known} traders: lift or add them by command")]
    AnomalousSync {
        /// How many traders would be concerned.
        changed: u32,
        /// Of how many.
        known: u32,
    },
    /// The rulebook's number of records without an account, or of sources, would be exceeded.
    #[error("no room: the rulebook keeps {max} {what}")]
    NoRoom {
        /// What there would be too many of.
        what: &'static str,
        /// How many there may be.
        max: u32,
    },
    /// A limit order that is to close: its size would not be known until then.
    #[error("a limit order is LONG or SHORT; close at a price with a bracket")]
    LimitFlat,
    /// A limit order without a price.
    #[error("a limit order must state its limit_price")]
    LimitPriceMissing,
    /// A price of a limit or bracket order is zero or negative; holds which.
    #[error("{0} must be above 0")]
    PriceNotPositive(&'static str),
    /// A bracket without stop loss and take profit.
    #[error("a bracket must state stop_loss, take_profit or both")]
    ProtectionMissing,
    /// Stop loss or take profit on the wrong side of the price, or of each other.
    #[error(
        "stop_loss and take_profit are not on their sides of the price of a {direction} position"
    )]
    ProtectionSide {
        /// Direction of the order or position.
        direction: Side,
    },
    /// A bracket without a position to close.
    #[error("there is no open position in {0} that a bracket could close")]
    NoPosition(TradePair),
    /// As many orders rest as may; holds how many that is.
    #[error("{0} orders are resting already, cancel one first")]
    RestingFull(u32),
    /// The bracket that the fill would make could not be named.
    #[error("the id of an order with stop_loss or take_profit has at most 56 characters")]
    BracketIdTooLong,
    /// A cancellation that does not say of what.
    #[error("a cancellation must say of which order, or that it is of all")]
    CancelTargetMissing,
    /// A cancellation that meets no resting order.
    #[error("no resting order is meant by the cancellation")]
    NothingToCancel,
    /// The only prices of the pair are claims that nobody has confirmed.
    #[error("the price of {0} is not confirmed by a second source yet")]
    PriceUnconfirmed(TradePair),
    /// A verdict on the account waits for a price: it may close and reduce, not open and increase.
    #[error(
        "a verdict waits for a price since {0}: only orders that reduce a position are accepted"
    )]
    Frozen(UtcMs),
    /// The price of an order cannot be corrected so.
    #[error(transparent)]
    Correction(CorrectionRefusal),
    /// A signed message that may not be taken yet, by the commit's time.
    #[error("the message may be taken from {0} on; it was not judged")]
    WindowNotOpen(UtcMs),
    /// A signed message that may not be taken any more, by the commit's time.
    #[error("the message was valid until {0}; it was not judged")]
    WindowOver(UtcMs),
    /// A signed message that was valid before its trader was registered, and may have been refused
    /// for that already.
    #[error(
        "the message was valid before its trader was registered at {0}: sign for a time after it"
    )]
    SignedBeforeEnrolment(UtcMs),
    /// These very bytes were judged before; holds what came of it.
    #[error("this message was judged before: {0}")]
    AlreadyJudged(Judgement),
    /// So many messages of the trader were judged whose windows are open that no more can be.
    #[error("{0} messages of the trader were judged in the last moments; send this one later")]
    JudgedFull(u32),
}

/// Why the price of an order is not corrected, in the order of the checks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CorrectionRefusal {
    /// A number is not positive, or the ask is below the bid.
    #[error("{field} {value} cannot be a price")]
    Number {
        /// Which number.
        field: &'static str,
        /// What it is.
        value: Price,
    },
    /// The trader has no such order.
    #[error("there is no filled order {0}")]
    UnknownOrder(OrderId),
    /// The order was made by the rules.
    #[error("order {0} was made by the rules, not by the trader")]
    Forced(OrderId),
    /// The order is older than the window of corrections, or too many were filled since.
    #[error("order {order} was filled at {at}, which is too long ago to be corrected")]
    TooOld {
        /// Which order.
        order: OrderId,
        /// When it was filled.
        at: UtcMs,
    },
    /// Nothing would change.
    #[error("order {0} has this price already")]
    SamePrice(OrderId),
    /// The position cannot take the orders with the corrected one among them.
    #[error("order {order} does not fit the corrected position: {refusal}")]
    Position {
        /// The order that does not fit.
        order: OrderId,
        /// Why.
        refusal: PositionRefusal,
    },
}

impl Rejection {
    /// Returns the stable code for clients and reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRulebook => "no_rulebook",
            Self::InvalidRulebook(_) => "invalid_rulebook",
            Self::RosterUnknown => "roster_unknown",
            Self::StaleRoster { .. } => "stale_roster",
            Self::AnomalousRoster { .. } => "anomalous_roster",
            Self::NotRegistered => "not_registered",
            Self::Eliminated(_) => "eliminated",
            Self::Departed(_) => "departed",
            Self::UnknownPair(_) => "unknown_pair",
            Self::DuplicateId => "duplicate_id",
            Self::Blocked(_) => "blocked",
            Self::AssetClassNotChosen => "asset_class_not_chosen",
            Self::WrongAssetClass { .. } => "wrong_asset_class",
            Self::AssetClassChosen(_) => "asset_class_chosen",
            Self::MarketClosed(_) => "market_closed",
            Self::Unsupported(_) => "unsupported",
            Self::ExecutionUnsupported(_) => "execution_unsupported",
            Self::NoPrice(_) => "no_price",
            Self::CoolingDown(_) => "cooling_down",
            Self::NotLater(_) => "not_later",
            Self::Size(refusal) => size_code(refusal),
            Self::Slippage(refusal) => slippage_code(refusal),
            Self::Position(refusal) => position_code(refusal),
            Self::AccountSize => "account_size",
            Self::ChallengePeriod(refusal) => refusal.code(),
            Self::NoSuchElimination(_) => "no_such_elimination",
            Self::AlreadyEliminated(_) => "already_eliminated",
            Self::EliminationDate(_) => "elimination_date",
            Self::NotSlashed(_) => "not_slashed",
            Self::StaleSync { .. } => "stale_sync",
            Self::SyncAhead(_) => "sync_ahead",
            Self::AnomalousSync { .. } => "anomalous_sync",
            Self::NoRoom { .. } => "no_room",
            Self::LimitFlat => "limit_flat",
            Self::LimitPriceMissing => "limit_price_missing",
            Self::PriceNotPositive(_) => "price_not_positive",
            Self::ProtectionMissing => "protection_missing",
            Self::ProtectionSide { .. } => "protection_side",
            Self::NoPosition(_) => "no_position",
            Self::RestingFull(_) => "resting_full",
            Self::BracketIdTooLong => "bracket_id_too_long",
            Self::CancelTargetMissing => "cancel_target_missing",
            Self::NothingToCancel => "nothing_to_cancel",
            Self::PriceUnconfirmed(_) => "price_unconfirmed",
            Self::Frozen(_) => "frozen",
            Self::Correction(refusal) => correction_code(refusal),
            Self::WindowNotOpen(_) => "window_not_open",
            Self::WindowOver(_) => "window_over",
            Self::SignedBeforeEnrolment(_) => "signed_before_enrolment",
            Self::AlreadyJudged(_) => "already_judged",
            Self::JudgedFull(_) => "judged_full",
        }
    }
}

fn correction_code(refusal: &CorrectionRefusal) -> &'static str {
    match refusal {
        CorrectionRefusal::Number { .. } => "correction_number",
        CorrectionRefusal::UnknownOrder(_) => "correction_unknown_order",
        CorrectionRefusal::Forced(_) => "correction_forced_order",
        CorrectionRefusal::TooOld { .. } => "correction_too_old",
        CorrectionRefusal::SamePrice(_) => "correction_same_price",
        CorrectionRefusal::Position { .. } => "correction_position",
    }
}

fn size_code(refusal: &SizeRefusal) -> &'static str {
    match refusal {
        SizeRefusal::Missing => "size_missing",
        SizeRefusal::Ambiguous(_) => "size_ambiguous",
        SizeRefusal::NegativeLong(_) => "size_negative",
        SizeRefusal::NoAccount(_) => "no_account_size",
        SizeRefusal::NotFinite { .. } => "size_not_finite",
        SizeRefusal::Zero => "size_zero",
    }
}

fn slippage_code(refusal: &SlippageError) -> &'static str {
    match refusal {
        SlippageError::BadInput { .. } => "slippage_bad_input",
        SlippageError::NoModel { .. } => "slippage_no_model",
        SlippageError::UnknownPair(_) => "slippage_unknown_pair",
        SlippageError::TooLarge { .. } => "slippage_too_large",
    }
}

fn position_code(refusal: &PositionRefusal) -> &'static str {
    match refusal {
        PositionRefusal::Closed { .. } => "position_closed",
        PositionRefusal::Number { .. } => "bad_number",
        PositionRefusal::Time(_) => "time_out_of_range",
        PositionRefusal::OutOfOrder { .. } => "out_of_order",
        PositionRefusal::Priceless => "priceless",
        PositionRefusal::OrderTooLarge { .. } => "order_too_large",
        PositionRefusal::NotTradeable { .. } => "not_tradeable",
        PositionRefusal::BelowMinimum { .. } => "below_minimum",
        PositionRefusal::PortfolioFull { .. } => "portfolio_full",
        PositionRefusal::PositionFull { .. } => "position_full",
        PositionRefusal::OrderTooSmall { .. } => "order_too_small",
        PositionRefusal::NothingToOpen => "nothing_to_open",
        PositionRefusal::Overflow(_) => "overflow",
    }
}

impl BorshSerialize for Rejection {
    /// Writes the code: it is what a digest covers, so that a message can be worded better without
    /// making two versions of this software disagree.
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.code().serialize(writer)
    }
}
