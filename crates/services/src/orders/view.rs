//! Pure: orders of a view and what became of them, as the messages of the contract.

use proctor_engine::account::Account;
use proctor_engine::event::PricedBy;
use proctor_engine::limit_orders::{Cancellation, RestingOrder, Terms};
use proctor_engine::positions::book::PairBook;
use proctor_engine::positions::position::{Order, Position};
use proctor_engine::{Event, Rejection};
use proctor_rpc::v1;
use proctor_rpc::v1::order_event::Event as Told;
use proctor_types::{
    Cancel, ExecutionType, OrderId, OrderRequest, PositionId, Price, SizeFields, TradePair,
    TraderId,
};

use crate::paging::{self, List};
use crate::parse::stamp_message;
use crate::positions::view::side;

/// Returns `event` as the contract tells it; `None` when it is not about orders. `ordinal` is its
/// index in its commit.
#[must_use]
pub fn told(ordinal: usize, event: &Event) -> Option<v1::OrderEvent> {
    let (trader, told) = match event {
        Event::Filled { trader, position, order, pair, clamped, closes, after, priced_by } => {
            let known = fill(position, *pair, order);
            let filled = v1::Fill {
                price_source: priced(priced_by),
                clamped: *clamped,
                closes: *closes,
                position_leverage: after.net_leverage,
                ..known
            };
            (trader, Told::Filled(filled))
        }
        Event::OrderResting { trader, order, .. } => {
            (trader, Told::Resting(resting(trader, order)))
        }
        Event::OrderCancelled { trader, order, pair, why } => {
            (trader, Told::Cancelled(cancelled(order, *pair, why)))
        }
        Event::Rejected { trader: Some(trader), order: Some(order), rejection, .. } => {
            (trader, Told::Refused(refused(order, rejection)))
        }
        // The order was filled; what is refused is the bracket that it asked for.
        Event::BracketRefused { trader, parent, rejection, .. } => {
            let bracket = parent.bracket().unwrap_or_else(|| parent.clone());
            (trader, Told::Refused(refused(&bracket, rejection)))
        }
        Event::NothingToClose { trader, order, pair } => {
            let (order_id, pair) = (order.to_string(), pair.to_string());
            (trader, Told::NothingToClose(v1::NothingToClose { order_id, pair }))
        }
        Event::RulebookAdopted { .. }
        | Event::TraderEnrolled { .. }
        | Event::TraderDeparted { .. }
        | Event::AccountSizeRecorded { .. }
        | Event::AssetClassChosen { .. }
        | Event::QuoteRefused { .. }
        | Event::CellClosed { .. }
        | Event::SampleRefused { .. }
        | Event::Eliminated { .. }
        | Event::StageChanged { .. }
        | Event::DecisionRegistered { .. }
        | Event::DecisionsAcknowledged { .. }
        | Event::PlagiarismReported { .. }
        | Event::ChallengeAlerts { .. }
        | Event::SlashIntended { .. }
        | Event::SlashSettled { .. }
        | Event::Reinstated { .. }
        | Event::EliminationsSynced { .. }
        | Event::ZombiesHeld { .. }
        | Event::ReasonDropped { .. }
        | Event::Purged { .. }
        | Event::OrderReached { .. }
        | Event::VerdictFrozen { .. }
        | Event::VerdictThawed { .. }
        | Event::OrderCorrected { .. }
        | Event::Rejected { .. } => return None,
    };
    let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
    Some(v1::OrderEvent { ordinal, trader: trader.to_string(), event: Some(told) })
}

/// Returns the events of a commit that are about the orders of one trader, or of all.
#[must_use]
pub fn told_to(events: &[Event], only: Option<&TraderId>) -> Vec<v1::OrderEvent> {
    let events = events.iter().enumerate();
    let wanted = events.filter(|(_, event)| only.is_none_or(|only| event.trader() == Some(only)));
    wanted.filter_map(|(ordinal, event)| told(ordinal, event)).collect()
}

/// Returns those of the commit's `events` that `request` brought about, the input at `input`.
///
/// Events do not name the input that they follow from. What names the order is its own; of the rest
/// of the trader's events only what an order of this kind brings about on its pair.
#[must_use]
pub fn of_order(
    request: &OrderRequest,
    input: usize,
    accepted: bool,
    events: &[Event],
) -> Vec<v1::OrderEvent> {
    let own = |event: &Event| {
        let theirs = event.trader().is_some_and(|trader| *trader == request.trader);
        // A refused order changes nothing: its refusal is all that it brings about.
        let can_be = accepted || matches!(event, Event::Rejected { .. });
        theirs && can_be && is_of(request, input, event)
    };
    let events = events.iter().enumerate().filter(|(_, event)| own(event));
    events.filter_map(|(ordinal, event)| told(ordinal, event)).collect()
}

fn is_of(request: &OrderRequest, input: usize, event: &Event) -> bool {
    let id = &request.id;
    let cancels = request.execution == ExecutionType::LimitCancel;
    let same_pair = |pair: TradePair| TradePair::from_id(request.pair.as_str()) == Some(pair);
    match event {
        Event::Rejected { input: place, .. } => usize::try_from(*place) == Ok(input),
        Event::NothingToClose { order, .. } => order == id,
        Event::Filled { order, pair, .. } => {
            order.id == *id || (!cancels && order.source.is_forced() && same_pair(*pair))
        }
        Event::OrderResting { order, parent, .. } => order.id == *id || parent.as_ref() == Some(id),
        Event::OrderCancelled { order, pair, why, .. } => match why {
            Cancellation::ByTrader => match &request.cancel {
                Some(Cancel::Order(meant)) => cancels && meant == order,
                Some(Cancel::Pair) => cancels && same_pair(*pair),
                Some(Cancel::All) => cancels,
                None => false,
            },
            Cancellation::PositionClosed | Cancellation::Replaced => !cancels && same_pair(*pair),
            Cancellation::Refused(_) => order == id,
            Cancellation::Eliminated | Cancellation::Departed => false,
        },
        Event::BracketRefused { parent, .. } => parent == id,
        Event::RulebookAdopted { .. }
        | Event::TraderEnrolled { .. }
        | Event::TraderDeparted { .. }
        | Event::AccountSizeRecorded { .. }
        | Event::AssetClassChosen { .. }
        | Event::QuoteRefused { .. }
        | Event::CellClosed { .. }
        | Event::SampleRefused { .. }
        | Event::Eliminated { .. }
        | Event::StageChanged { .. }
        | Event::DecisionRegistered { .. }
        | Event::DecisionsAcknowledged { .. }
        | Event::PlagiarismReported { .. }
        | Event::ChallengeAlerts { .. }
        | Event::SlashIntended { .. }
        | Event::SlashSettled { .. }
        | Event::Reinstated { .. }
        | Event::EliminationsSynced { .. }
        | Event::ZombiesHeld { .. }
        | Event::ReasonDropped { .. }
        | Event::Purged { .. }
        | Event::OrderReached { .. }
        | Event::VerdictFrozen { .. }
        | Event::VerdictThawed { .. }
        | Event::OrderCorrected { .. } => false,
    }
}

/// Returns a fill as far as a position remembers it.
fn fill(position: &PositionId, pair: TradePair, order: &Order) -> v1::Fill {
    v1::Fill {
        order_id: order.id.to_string(),
        position_id: position.to_string(),
        pair: pair.to_string(),
        side: side(order.side).into(),
        leverage: order.leverage,
        quantity: order.quantity,
        value: order.value,
        price: order.price,
        slippage: order.slippage,
        filled_ms: order.at.0,
        ..v1::Fill::default()
    }
}

fn priced(by: &PricedBy) -> String {
    match by {
        PricedBy::Record { source, .. } => source.to_string(),
        PricedBy::Recorded => "recorded".into(),
        PricedBy::LastMark => "last mark".into(),
    }
}

fn cancelled(order: &OrderId, pair: TradePair, why: &Cancellation) -> v1::Cancelled {
    v1::Cancelled {
        order_id: order.to_string(),
        pair: pair.to_string(),
        code: why.code().into(),
        why: why.to_string(),
    }
}

fn refused(order: &OrderId, rejection: &Rejection) -> v1::Refused {
    v1::Refused {
        order_id: order.to_string(),
        code: rejection.code().into(),
        message: rejection.to_string(),
    }
}

/// Returns an order that rests. The side of a bracket is that of the position which it closes.
#[must_use]
pub fn resting(trader: &TraderId, order: &RestingOrder) -> v1::RestingOrder {
    let (kind, own_side, size, protection) = match &order.terms {
        Terms::Limit { side, size, protection, .. } => ("LIMIT", *side, size, protection),
        Terms::Bracket { direction, size, protection, .. } => {
            ("BRACKET", *direction, size, protection)
        }
    };
    let (limit_price, position_id) = match &order.terms {
        Terms::Limit { limit, .. } => (Some(limit.get()), None),
        Terms::Bracket { position, .. } => (None, Some(position.to_string())),
    };
    let SizeFields { leverage, value, quantity } = size;
    v1::RestingOrder {
        trader: trader.to_string(),
        order_id: order.id.to_string(),
        pair: order.pair.to_string(),
        kind: kind.into(),
        side: side(own_side).into(),
        leverage: leverage.map(|leverage| leverage.get()),
        value: value.map(|value| value.get()),
        quantity: quantity.map(|quantity| quantity.get()),
        limit_price,
        stop_loss: protection.stop_loss.map(Price::get),
        take_profit: protection.take_profit.map(Price::get),
        position_id,
        submitted: Some(stamp_message(order.submitted)),
    }
}

/// Returns a page of the orders that rest in `accounts`, which come by trader: at most `size` behind
/// the one of `after` with that number; and the token of the next page, empty at the end.
pub fn page<'a>(
    accounts: impl Iterator<Item = &'a Account>,
    after: Option<(&TraderId, u64)>,
    size: usize,
) -> (Vec<v1::RestingOrder>, String) {
    let behind = move |account: &Account, order: &RestingOrder| {
        after.is_none_or(|(trader, number)| *trader != account.trader || order.number > number)
    };
    let all = accounts
        .flat_map(|account| account.resting.orders().iter().map(move |order| (account, order)));
    let wanted = all.filter(|(account, order)| behind(account, order));
    let rows = wanted
        .map(|(account, order)| ((&account.trader, order.number), resting(&account.trader, order)));
    let (page, last) = paging::fill(rows, size);
    let token = last.map(|(trader, number)| List::Resting.token(trader, &number.to_string()));
    (page, token.unwrap_or_default())
}

/// What is known of an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// It waits.
    Resting(v1::RestingOrder),
    /// It was filled.
    Filled(v1::Fill),
    /// It was never accepted, was cancelled, or is no longer kept.
    Unknown,
}

/// Returns what `account` knows of the order `id`.
#[must_use]
pub fn known(account: &Account, id: &OrderId) -> Known {
    if let Some(order) = account.resting.orders().iter().find(|order| order.id == *id) {
        return Known::Resting(resting(&account.trader, order));
    }
    let mut positions = account.book.pairs().iter().flat_map(PairBook::positions);
    positions.find_map(|position| filled_in(&position, id)).map_or(Known::Unknown, Known::Filled)
}

/// Returns `fill`, as its position keeps it, with what only the event of the fill says, when that is
/// among `events`. Of an order whose price was corrected since, the event says nothing any more.
pub fn with_what_was_told<'a>(
    fill: v1::Fill,
    by: &TraderId,
    mut events: impl Iterator<Item = &'a Event>,
) -> v1::Fill {
    let told = events.find_map(|event| {
        let Event::Filled { trader, order, clamped, priced_by, .. } = event else { return None };
        let is_it = trader == by && order.id.as_str() == fill.order_id && order.price == fill.price;
        is_it.then(|| (*clamped, priced(priced_by)))
    });
    match told {
        Some((clamped, price_source)) => v1::Fill { price_source, clamped, ..fill },
        None => fill,
    }
}

/// Returns the fill of the order `id` in `position`.
fn filled_in(position: &Position, id: &OrderId) -> Option<v1::Fill> {
    let orders = position.orders();
    let place = orders.iter().position(|order| order.id == *id)?;
    let order = orders.get(place)?;
    let leverage = orders.iter().take(place + 1).map(|order| order.leverage).sum();
    Some(v1::Fill {
        closes: position.is_closed() && place + 1 == orders.len(),
        position_leverage: leverage,
        ..fill(position.id(), position.pair(), order)
    })
}
