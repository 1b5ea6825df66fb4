//! How much of an order fits: the leverage bounds of a position and of the portfolio.
//!
//! Source: trading 3.4, 3.5.

use proctor_types::{Side, TradePair};

use super::{Order, PositionRefusal};
use crate::Rulebook;

/// What the limits need to know of the position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// The pair.
    pub(super) pair: TradePair,
    /// Dollars.
    pub(super) account_size: f64,
    /// True before the first order.
    pub(super) is_empty: bool,
    /// Signed sums over the position.
    pub(super) net_leverage: f64,
    /// Signed lots.
    pub(super) net_quantity: f64,
    /// Signed dollars.
    pub(super) net_value: f64,
    /// Leverage of all of the trader's open positions, this one included, weighted.
    pub(super) portfolio_leverage: f64,
}

/// Cuts `order` to what the limits allow and returns whether it was changed.
pub(super) fn fit(
    rulebook: &Rulebook,
    held: Held,
    order: &mut Order,
) -> Result<bool, PositionRefusal> {
    let largest = rulebook.orders.order_leverage_max.value;
    if order.side != Side::Flat && order.leverage.abs() > largest {
        return Err(PositionRefusal::OrderTooLarge { leverage: order.leverage, max: largest });
    }
    let clamped = clamp(rulebook, held, order)?;
    if clamped {
        order.value = order.leverage * held.account_size;
        order.quantity = if order.price == 0.0 {
            0.0
        } else {
            order.value * order.usd_base_rate / held.pair.lot_size()
        };
    }
    let least = rulebook.orders.order_leverage_min.value;
    if order.side != Side::Flat && order.leverage.abs() < least {
        return Err(PositionRefusal::OrderTooSmall { leverage: order.leverage, min: least });
    }
    Ok(clamped)
}

fn clamp(rulebook: &Rulebook, held: Held, order: &mut Order) -> Result<bool, PositionRefusal> {
    if order.side == Side::Flat {
        return Ok(false);
    }
    // A size that cancels the position to the last bit in any form is meant to close it.
    let cancels = |size: f64, net: f64| size != 0.0 && net + size == 0.0;
    if cancels(order.quantity, held.net_quantity) || cancels(order.value, held.net_value) {
        order.leverage = -held.net_leverage;
        order.side = Side::Flat;
        return Ok(true);
    }
    let bounds = rulebook
        .leverage_bounds(held.pair, order.at)
        .ok_or(PositionRefusal::NotTradeable { pair: held.pair, at: order.at })?;
    let net = held.net_leverage;
    let proposed = net + order.leverage;
    if !(held.is_empty || net * proposed > 0.0) {
        // The order would reach zero or the other side: it closes, and opens nothing.
        order.side = Side::Flat;
        return Ok(false);
    }
    let grows = held.is_empty || proposed.abs() >= net.abs();
    let weight = rulebook.portfolio_multiplier(held.pair);
    let cap = rulebook.portfolio_cap(order.at);
    let total = held.portfolio_leverage;
    let proposed_total = total - net.abs() * weight + proposed.abs() * weight;
    let below_min = proposed.abs() < bounds.min;
    let too_small = PositionRefusal::BelowMinimum { leverage: proposed, min: bounds.min };
    if proposed.abs() <= bounds.max && proposed_total <= cap {
        // From below the minimum a position may only grow.
        let shrinks = held.is_empty || proposed.abs() < net.abs();
        return if below_min && shrinks { Err(too_small) } else { Ok(false) };
    }
    if !grows && proposed_total < total {
        // Over a limit, but on the way down.
        return if below_min { Err(too_small) } else { Ok(false) };
    }
    let room = (bounds.max - net.abs()).min((cap - total) / weight).max(0.0);
    if room == 0.0 {
        return Err(if total.abs() >= cap {
            PositionRefusal::PortfolioFull { leverage: total, cap }
        } else {
            PositionRefusal::PositionFull { leverage: net, min: bounds.min, max: bounds.max }
        });
    }
    order.leverage = if order.side == Side::Short { -room } else { room };
    Ok(true)
}
