//! Limit and bracket orders: what waits for a price, when it is reached, and how it ends.
//!
//! A resting order belongs to its account and ends in exactly one way: filled, or cancelled with a
//! reason. A bracket is bound to a position, not to a pair: it closes that position or part of it,
//! follows its size, and is cancelled in the commit in which the position closes (L-8, L-9).
//! Source: trading 6.

pub(crate) mod attach;
mod submission;
pub(crate) mod trigger;

use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{
    DurationMs, OrderId, OrderRequest, PositionId, Price, Side, SizeFields, Stamp, TradePair, UtcMs,
};
use serde::Deserialize;

use crate::positions::book::{Kept, PairBook};
use crate::rejection::Rejection;
use crate::rulebook::{Constant, RulebookError, at_least, field, unit};

/// Limit and bracket orders (trading 6.1).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitOrderRules {
    /// How many orders of one trader may rest, over all pairs.
    pub resting_max: Constant<u32>,
    /// Time between two fills of resting orders of one trader on one pair.
    pub fill_interval: Constant<DurationMs>,
}

impl LimitOrderRules {
    /// Tests units and ranges; `window` is the time for which closed positions are kept.
    pub(crate) fn check(&self, window: DurationMs) -> Result<(), RulebookError> {
        unit("limit_orders.resting_max", &self.resting_max, "orders per trader")?;
        at_least("limit_orders.resting_max", i64::from(self.resting_max.value), 1)?;
        unit("limit_orders.fill_interval", &self.fill_interval, "ms")?;
        at_least("limit_orders.fill_interval", self.fill_interval.value.0, 0)?;
        // The last fill is looked up in the positions, which are forgotten after the window.
        if self.fill_interval.value > window {
            return Err(field("limit_orders.fill_interval", "must not be above ledger.window"));
        }
        Ok(())
    }
}

/// The orders of one account that wait for a price, in the order in which they came to rest.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Resting {
    /// How many orders ever came to rest: the number of the next one.
    numbered: u64,
    /// Sorted by number. Shared with readers' copies of the account until it is changed.
    orders: Arc<Vec<RestingOrder>>,
}

/// An order that waits for a price.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct RestingOrder {
    /// Counts the orders that ever rested in the account; never used twice.
    pub number: u64,
    /// The trader's name for it; of a bracket that a fill made, the parent's with `-bracket`.
    pub id: OrderId,
    /// The pair.
    pub pair: TradePair,
    /// Since when it waits: only prices of that moment and later reach it (L-2).
    pub submitted: Stamp,
    /// What it waits for.
    pub terms: Terms,
}

/// What a resting order waits for and what it does then.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum Terms {
    /// Opens or changes a position at a price or better.
    Limit {
        /// Buy or sell.
        side: Side,
        /// How much, stated in one of the three ways.
        size: SizeFields,
        /// Buy at this price or below, sell at it or above.
        limit: Price,
        /// The bracket that the fill makes.
        protection: Protection,
    },
    /// Closes a position, or part of it, where it loses or gains enough.
    Bracket {
        /// The position it is bound to.
        position: PositionId,
        /// The position's side, which never changes.
        direction: Side,
        /// How much it closes, at most all that is held then; everything when nothing is stated.
        size: SizeFields,
        /// Where it closes.
        protection: Protection,
    },
}

/// Stop loss and take profit.
#[derive(Clone, Copy, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Protection {
    /// Where a loss is stopped.
    pub stop_loss: Option<Price>,
    /// Where a profit is taken.
    pub take_profit: Option<Price>,
}

/// Why a resting order ended without a fill.
#[derive(Clone, Debug, PartialEq, BorshSerialize)]
pub enum Cancellation {
    /// The trader cancelled it.
    ByTrader,
    /// The position that the bracket was bound to has closed.
    PositionClosed,
    /// A newer bracket for the whole position took its place.
    Replaced,
    /// The account has ended.
    Eliminated,
    /// The trader is no longer on the roster.
    Departed,
    /// Its price was reached, and the fill was refused.
    Refused(Rejection),
}

impl Cancellation {
    /// Returns the stable code for reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ByTrader => "by_trader",
            Self::PositionClosed => "position_closed",
            Self::Replaced => "replaced",
            Self::Eliminated => "eliminated",
            Self::Departed => "departed",
            Self::Refused(rejection) => rejection.code(),
        }
    }
}

impl std::fmt::Display for Cancellation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByTrader => f.write_str("the trader cancelled it"),
            Self::PositionClosed => f.write_str("its position has closed"),
            Self::Replaced => f.write_str("a newer bracket took its place"),
            Self::Eliminated => f.write_str("the account has ended"),
            Self::Departed => f.write_str("the trader has left the roster"),
            Self::Refused(rejection) => write!(f, "its fill was refused: {rejection}"),
        }
    }
}

impl Resting {
    /// Returns the orders, in the order in which they came to rest.
    #[must_use]
    pub fn orders(&self) -> &[RestingOrder] {
        &self.orders
    }

    /// Returns the order with this number, if it still waits.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&RestingOrder> {
        let place = self.orders.binary_search_by_key(&number, |order| order.number).ok()?;
        self.orders.get(place)
    }

    /// Tells whether an order of this id waits.
    #[must_use]
    pub fn holds(&self, id: &OrderId) -> bool {
        self.orders.iter().any(|order| order.id == *id)
    }

    /// Returns the bracket for the whole of `position`; there is one at most.
    #[must_use]
    pub fn whole_bracket(&self, position: &PositionId) -> Option<&RestingOrder> {
        self.orders.iter().find(|order| match &order.terms {
            Terms::Limit { .. } => false,
            Terms::Bracket { position: bound, size, .. } => {
                bound == position && *size == SizeFields::default()
            }
        })
    }

    /// Gives the order its number and takes it in.
    pub(crate) fn push(&mut self, order: NewResting, submitted: Stamp) -> RestingOrder {
        let NewResting { id, pair, terms } = order;
        let order = RestingOrder { number: self.numbered, id, pair, submitted, terms };
        // A saturated counter is out of reach: an order a nanosecond takes five hundred years.
        self.numbered = self.numbered.saturating_add(1);
        Arc::make_mut(&mut self.orders).push(order.clone());
        order
    }

    /// Removes and returns the order with this number.
    pub(crate) fn remove(&mut self, number: u64) -> Option<RestingOrder> {
        let place = self.orders.binary_search_by_key(&number, |order| order.number).ok()?;
        Some(Arc::make_mut(&mut self.orders).remove(place))
    }

    /// Tests what look-ups rely on, of a list that was read from bytes.
    pub(crate) fn check(&self) -> io::Result<()> {
        let sorted = self.orders.is_sorted_by(|a, b| a.number < b.number);
        if sorted && self.orders.last().is_none_or(|last| last.number < self.numbered) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "resting orders are not numbered"))
        }
    }
}

/// An order that may rest, before it has a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewResting {
    pub(crate) id: OrderId,
    pub(crate) pair: TradePair,
    pub(crate) terms: Terms,
}

impl RestingOrder {
    /// Tells whether this is a bracket.
    #[must_use]
    pub fn is_bracket(&self) -> bool {
        matches!(self.terms, Terms::Bracket { .. })
    }
}

impl Protection {
    /// Returns the stop loss and take profit of `request`.
    ///
    /// # Errors
    /// [`Rejection::PriceNotPositive`] names the one that is zero or less.
    pub(crate) fn of(request: &OrderRequest) -> Result<Self, Rejection> {
        Ok(Self {
            stop_loss: positive("stop_loss", request.stop_loss)?,
            take_profit: positive("take_profit", request.take_profit)?,
        })
    }

    /// Tells whether neither is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stop_loss.is_none() && self.take_profit.is_none()
    }

    /// Tests that the two lie on either side of `price`, for a position on `direction`.
    pub(crate) fn around(&self, direction: Side, price: f64) -> Result<(), Rejection> {
        let (below, above) = match direction {
            Side::Long => (self.stop_loss, self.take_profit),
            Side::Short | Side::Flat => (self.take_profit, self.stop_loss),
        };
        let good = below.is_none_or(|below| below.get() < price)
            && above.is_none_or(|above| above.get() > price);
        if good { Ok(()) } else { Err(Rejection::ProtectionSide { direction }) }
    }

    /// Tests that the two lie the right way round, wherever the price is.
    pub(crate) fn ordered(&self, direction: Side) -> Result<(), Rejection> {
        match self.stop_loss {
            Some(stop_loss) => Self { stop_loss: None, ..*self }.around(direction, stop_loss.get()),
            None => Ok(()),
        }
    }
}

/// Returns `price` when it is absent or above zero.
pub(crate) fn positive(
    name: &'static str,
    price: Option<Price>,
) -> Result<Option<Price>, Rejection> {
    match price {
        Some(price) if price.get() <= 0.0 => Err(Rejection::PriceNotPositive(name)),
        price => Ok(price),
    }
}

/// Returns when a resting order on the pair of `book` was filled last, if that was after `since`.
///
/// It is looked up in the positions, so a restart finds it again (L-14).
#[must_use]
pub fn last_fill(book: &PairBook, since: UtcMs) -> Option<UtcMs> {
    let recent =
        |position: &Kept<'_>| position.orders().last().is_some_and(|order| order.at > since);
    let fill_of = |position: Kept<'_>| {
        let orders = position.orders().iter().rev().take_while(|order| order.at > since);
        orders.into_iter().find(|order| order.source.is_resting_fill()).map(|order| order.at)
    };
    book.positions().take_while(recent).find_map(fill_of)
}

#[cfg(test)]
mod tests;
