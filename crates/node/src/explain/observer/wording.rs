//! What the engine says of one order or position, in the story's words.

use proctor_engine::event::{PositionFacts, PricedBy};
use proctor_engine::positions::position::{OrderSource, Position};
use proctor_types::{OrderRequest, Side};

use super::super::story::{After, Asked, Place, PositionStory, PriceSource};

pub(super) fn asked_size(request: &OrderRequest) -> Asked {
    Asked {
        leverage: request.size.leverage.map(Into::into),
        value_usd: request.size.value.map(Into::into),
        quantity: request.size.quantity.map(Into::into),
    }
}

pub(super) fn price_source(priced_by: &PricedBy) -> Option<PriceSource> {
    match priced_by {
        PricedBy::Record { source, at, span, lag, bid, ask } => Some(PriceSource {
            source: source.to_string(),
            at: (*at).into(),
            span_ms: span.0,
            age_ms: lag.0,
            bid: bid.map(Into::into),
            ask: ask.map(Into::into),
        }),
        PricedBy::Recorded | PricedBy::LastMark => None,
    }
}

pub(super) fn price_origin(priced_by: &PricedBy) -> &'static str {
    match priced_by {
        PricedBy::Record { .. } => "record",
        PricedBy::Recorded => "recorded",
        PricedBy::LastMark => "last_mark",
    }
}

pub(super) fn cause(source: OrderSource) -> &'static str {
    match source {
        OrderSource::Organic => "organic",
        OrderSource::EliminationFlat => "elimination_flat_without_price",
        OrderSource::PriceFilledEliminationFlat => "elimination_flat",
        OrderSource::DeprecationFlat => "deprecation_flat",
        OrderSource::MaxOrdersClose => "max_orders_close",
        OrderSource::LimitUnfilled => "limit_unfilled",
        OrderSource::LimitFilled => "limit_filled",
        OrderSource::LimitCancelled => "limit_cancelled",
        OrderSource::BracketUnfilled => "bracket_unfilled",
        OrderSource::BracketFilled => "bracket_filled",
        OrderSource::BracketCancelled => "bracket_cancelled",
    }
}

pub(super) fn after_story(facts: &PositionFacts) -> After {
    After {
        orders: facts.orders,
        net_leverage: facts.net_leverage,
        net_quantity: facts.net_quantity,
        average_entry_price: facts.average_entry_price,
        realized_pnl_usd: facts.realized_pnl,
        return_before_fees: facts.return_before_fees,
        return_after_fees: facts.return_after_fees,
    }
}

pub(super) fn position_story(position: &Position, opened: Place) -> PositionStory {
    PositionStory {
        id: position.id().to_string(),
        pair: position.pair().to_string(),
        side: opening_side(position).to_string(),
        opened,
        closed: None,
        closed_by: None,
        account_size_usd: position.account_size(),
        orders: position.orders().len(),
        net_leverage: position.net_leverage(),
        max_leverage: position.max_leverage_seen(),
        average_entry_price: position.average_entry_price(),
        realized_pnl_usd: position.realized_pnl(),
        unrealized_pnl_usd: position.unrealized_pnl(),
        return_before_fees: position.current_return(),
        spread_fee: position.spread_fee(),
        carry_fee: position.carry_fee(),
        return_after_fees: position.return_at_close(),
        liquidated: position.is_liquidated(),
    }
}

/// Returns the side of the order that opened `position`.
pub(in crate::explain) fn opening_side(position: &Position) -> Side {
    position.orders().first().map_or(Side::Flat, |order| order.side)
}
