//! `OrderRequest`, `Side`, `ExecutionType`, `SizeFields`, `Cancel`: what a trader asks for.
//!
//! An order request is what was sent, parsed but not yet judged: whether its pair exists, its size
//! is allowed or its trader may trade is for the engine to say, in one fixed order of checks.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{Leverage, OrderId, PairName, Price, Quantity, TraderId, Usd};

/// The direction of an order (trading 2.1).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Side {
    /// Buy.
    Long,
    /// Sell.
    Short,
    /// Close the position, whatever its size.
    Flat,
}

/// How an order is to be executed (trading 2.1).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
pub enum ExecutionType {
    /// At once, at the current price.
    #[default]
    Market,
    /// When the price reaches a limit.
    Limit,
    /// Stop loss and take profit on an open position.
    Bracket,
    /// Cancel a limit or bracket order.
    LimitCancel,
}

/// The text names no known value of an order field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrderField {
    /// Not `LONG`, `SHORT` or `FLAT`.
    #[error("order type {0:?} is not one of LONG, SHORT, FLAT")]
    Side(String),
    /// Not `MARKET`, `LIMIT`, `BRACKET` or `LIMIT_CANCEL`.
    #[error("execution type {0:?} is not one of MARKET, LIMIT, BRACKET, LIMIT_CANCEL")]
    Execution(String),
}

impl Side {
    /// Returns the side spelt `text`; case matters (trading 2.1).
    ///
    /// # Errors
    /// [`InvalidOrderField::Side`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidOrderField> {
        match text {
            "LONG" => Ok(Self::Long),
            "SHORT" => Ok(Self::Short),
            "FLAT" => Ok(Self::Flat),
            _ => Err(InvalidOrderField::Side(text.into())),
        }
    }
}

impl ExecutionType {
    /// Returns the execution type spelt `text` in any case (trading 2.1).
    ///
    /// # Errors
    /// [`InvalidOrderField::Execution`] for any other text.
    pub fn parse(text: &str) -> Result<Self, InvalidOrderField> {
        match text.to_ascii_uppercase().as_str() {
            "MARKET" => Ok(Self::Market),
            "LIMIT" => Ok(Self::Limit),
            "BRACKET" => Ok(Self::Bracket),
            "LIMIT_CANCEL" => Ok(Self::LimitCancel),
            _ => Err(InvalidOrderField::Execution(text.into())),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Long => "LONG",
            Self::Short => "SHORT",
            Self::Flat => "FLAT",
        })
    }
}

/// The three ways to say how much, as sent; a market order fills exactly one (trading 2.4).
///
/// Sizes may come signed: the side decides the sign that is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct SizeFields {
    /// A multiple of the account size.
    pub leverage: Option<Leverage>,
    /// A notional in dollars.
    pub value: Option<Usd>,
    /// A quantity in lots.
    pub quantity: Option<Quantity>,
}

/// What a [`ExecutionType::LimitCancel`] cancels (trading 6.9).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Cancel {
    /// The one resting order with exactly this id.
    Order(OrderId),
    /// Every resting order on the pair that the request names.
    Pair,
    /// Every resting order.
    All,
}

/// An order as its trader sent it.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct OrderRequest {
    /// Whose order it is.
    pub trader: TraderId,
    /// The trader's name for it.
    pub id: OrderId,
    /// The pair as spelt by the trader; may name no pair. A cancellation looks at it only when it
    /// is for a pair.
    pub pair: PairName,
    /// Buy, sell or close; a bracket and a cancellation do not look at it.
    pub side: Side,
    /// Market, limit, bracket or cancel.
    pub execution: ExecutionType,
    /// How much. Of a bracket: how much of the position it closes, all of it when nothing is stated.
    pub size: SizeFields,
    /// The price at which, or better than which, a limit order is filled.
    pub limit_price: Option<Price>,
    /// Where a position is closed to stop its loss: of a bracket, or for one that the fill makes.
    pub stop_loss: Option<Price>,
    /// Where a position is closed to take its profit: of a bracket, or for one that the fill makes.
    pub take_profit: Option<Price>,
    /// What a cancellation cancels.
    pub cancel: Option<Cancel>,
}

impl OrderRequest {
    /// Returns a market order without stop loss and take profit.
    #[must_use]
    pub fn market(
        trader: TraderId,
        id: OrderId,
        pair: PairName,
        side: Side,
        size: SizeFields,
    ) -> Self {
        Self {
            trader,
            id,
            pair,
            side,
            execution: ExecutionType::Market,
            size,
            limit_price: None,
            stop_loss: None,
            take_profit: None,
            cancel: None,
        }
    }
}
