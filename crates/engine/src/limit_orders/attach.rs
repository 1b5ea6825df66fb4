//! Brackets: which ones a position takes, and what one of them closes.

use proctor_types::{OrderId, Quantity, Side, SizeFields, UtcMs};

use super::{NewResting, Protection, Resting, Terms};
use crate::orders::sizing::{self, Size};
use crate::positions::position::Position;
use crate::rejection::Rejection;
use crate::rulebook::Rulebook;

/// Returns the bracket `id` for `open`, whose levels must lie around `fill_price` when it is made
/// by a fill (trading 6.4, 6.6).
///
/// # Errors
/// The first [`Rejection`] in the order of the checks.
pub(crate) fn bracket(
    rules: &Rulebook,
    resting: &Resting,
    open: &Position,
    id: &OrderId,
    protection: Protection,
    size: SizeFields,
    fill_price: Option<f64>,
) -> Result<NewResting, Rejection> {
    if protection.is_empty() {
        return Err(Rejection::ProtectionMissing);
    }
    if size != SizeFields::default() {
        sizing::check_stated(&size, Side::Long).map_err(Rejection::Size)?;
    }
    let direction = direction(open);
    match fill_price {
        Some(price) => protection.around(direction, price)?,
        None => protection.ordered(direction)?,
    }
    if resting.holds(id) {
        return Err(Rejection::DuplicateId);
    }
    // One for the whole position takes the place of the one before it.
    let replaces = size == SizeFields::default() && resting.whole_bracket(open.id()).is_some();
    if !replaces {
        room(rules, resting)?;
    }
    let position = open.id().clone();
    let terms = Terms::Bracket { position, direction, size, protection };
    Ok(NewResting { id: id.clone(), pair: open.pair(), terms })
}

/// Tests whether one more order may rest (trading 6.1).
///
/// # Errors
/// [`Rejection::RestingFull`] holds how many may.
pub(crate) fn room(rules: &Rulebook, resting: &Resting) -> Result<(), Rejection> {
    let most = rules.limit_orders.resting_max.value;
    if u32::try_from(resting.orders().len()).is_ok_and(|count| count < most) {
        Ok(())
    } else {
        Err(Rejection::RestingFull(most))
    }
}

/// Returns the side that `open` was opened on, which it keeps until it is closed.
pub(crate) fn direction(open: &Position) -> Side {
    open.orders().first().map_or(Side::Flat, |order| order.side)
}

/// How much of its position a bracket closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The stated size.
    Stated,
}

/// Returns how much of `open` an order of `size` closes.
///
/// All of it also when what remained would be smaller than a position may be, or when the position
/// has as many orders as it may have: a stop must not fail for such reasons (L-9).
pub(crate) fn part(rules: &Rulebook, open: &Position, size: Size, at: UtcMs) -> Part {
    let remains = open.net_leverage().abs() - size.leverage.abs();
    let least = rules.leverage_bounds(open.pair(), at).map_or(0.0, |bounds| bounds.min);
    let full = u32::try_from(open.orders().len())
        .is_ok_and(|count| count >= rules.orders.orders_per_position_max.value);
    let covers = size.quantity.abs() >= open.net_quantity().abs();
    if covers || remains <= 0.0 || remains < least || full { Part::Whole } else { Part::Stated }
}

/// Returns the size fields of an order that closes all of `open`.
pub(crate) fn whole(open: &Position) -> SizeFields {
    // A position's numbers are finite, so this is always a size.
    SizeFields { quantity: Quantity::new(-open.net_quantity()).ok(), ..SizeFields::default() }
}
