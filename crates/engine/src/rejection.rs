//! `Rejection`: why an input was refused; the order of the variants is the order of the checks.
//!
//! The first failing check wins, so every validator gives the same answer to the same order
//! (trading 2.6, 2.7). Codes are stable: clients and reports match on them.

use std::io;

use borsh::BorshSerialize;
use proctor_types::{
    AssetClass, DurationMs, ExecutionType, OrderId, PairName, Price, TradePair, UtcMs,
};

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
    /// The execution type is not served by this version.
    #[error("execution type {0:?} is not supported, send MARKET")]
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
}

/// Why the price of an order is not corrected, in the order of the checks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CorrectionRefusal {
    /// A text is empty or too long.
    #[error("{field} must have 1 to {TEXT_MAX} bytes, it has {bytes}")]
    Text {
        /// Which text.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
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

/// The longest text of a correction, in bytes.
pub const TEXT_MAX: usize = 1_000;

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
            Self::PriceUnconfirmed(_) => "price_unconfirmed",
            Self::Frozen(_) => "frozen",
            Self::Correction(refusal) => correction_code(refusal),
        }
    }
}

fn correction_code(refusal: &CorrectionRefusal) -> &'static str {
    match refusal {
        CorrectionRefusal::Text { .. } => "correction_text",
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
