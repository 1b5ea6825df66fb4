//! Cases of kind `position`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proctor_engine::Rulebook;
use proctor_engine::orders::sizing;
use proctor_engine::positions::fees::legacy;
use proctor_engine::positions::position::{ForcedFlatPrice, Marked, Order, OrderSource, Position};
use proctor_engine::prices::conversion::{self, Rates};
use proctor_engine::prices::slippage::{SlippageRequest, slippage};
use proctor_engine::rulebook::VANTA_PARITY;
use proctor_types::{
    Leverage, OrderId, PositionId, Quantity, Side, SizeFields, TradePair, Usd, UtcMs,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Input {
    trade_pair: TradePair,
    account_size: f64,
    fx: Fx,
    flat_price: Option<f64>,
    orders: Vec<OrderInput>,
    marks: Vec<MarkInput>,
}

/// The quotes that cross rates are taken from.
pub(super) type Fx = BTreeMap<TradePair, FxQuote>;

#[derive(Clone, Copy, Deserialize)]
pub(super) struct FxQuote {
    bid: f64,
    ask: f64,
}

/// An order as the cases state it.
#[derive(Deserialize)]
pub(super) struct OrderInput {
    pub(super) processed_ms: i64,
    order_type: Side,
    leverage: Option<Leverage>,
    value: Option<Usd>,
    quantity: Option<Quantity>,
    price: f64,
    bid: f64,
    ask: f64,
    slippage: Option<f64>,
    quote_usd_rate: Option<f64>,
    usd_base_rate: Option<f64>,
    #[serde(default)]
    pub(super) net_portfolio_leverage: f64,
    #[serde(default)]
    src: u8,
}

#[derive(Deserialize)]
struct MarkInput {
    after_order: usize,
    t_ms: i64,
    price: f64,
}

/// Returns what our engine says for `input`, in the shape of the reference's output.
pub(crate) fn run(input: &Value) -> Result<Value> {
    let input = Input::deserialize(input).context("not a case of kind position")?;
    let rulebook = Rulebook::parse(VANTA_PARITY)?;
    let opened_at = UtcMs(input.orders.first().context("a case without orders")?.processed_ms);
    let mut position = Position::new(
        PositionId::new("golden")?,
        input.trade_pair,
        Usd::new(input.account_size)?,
        opened_at,
    );
    let (mut steps, mut history) = (Vec::new(), Vec::new());
    for (number, order) in input.orders.iter().enumerate() {
        steps.push(step(&rulebook, &input, &mut position, order, number)?);
        history.push(position.clone());
    }
    let marks: Result<Vec<_>> = input
        .marks
        .iter()
        .map(|mark| {
            let before = history.get(mark.after_order).context("a mark after no order")?;
            Ok(marked(&rulebook, &input, before.clone(), mark))
        })
        .collect();
    let final_orders: Vec<_> =
        position.orders().iter().map(|order| order_json(&position, order)).collect();
    Ok(json!({ "steps": steps, "marks": marks?, "final_orders": final_orders }))
}

fn step(
    rulebook: &Rulebook,
    input: &Input,
    position: &mut Position,
    stated: &OrderInput,
    number: usize,
) -> Result<Value> {
    let placed = order(rulebook, position, &input.fx, stated, number)?;
    let (mut before, mut stored, mut error) = (Value::Null, Value::Null, Value::Null);
    match placed {
        Err(refusal) => error = json!(refusal),
        Ok(order) => {
            before = json!(order.slippage);
            let forced = forced_flat_price(position, &order, input);
            match position.add(rulebook, order, stated.net_portfolio_leverage, forced) {
                Ok(added) => stored = order_json(position, &position.orders()[added.index]),
                Err(refusal) => error = json!(refusal.to_string()),
            }
        }
    }
    Ok(json!({
        "error": error,
        "order": stored,
        "pre_slippage": before,
        "position": position_json(position),
    }))
}

/// Returns order number `number` of a case, sized and with its rates and slippage, or why the rules
/// refuse it before it reaches the position.
pub(super) fn order(
    rulebook: &Rulebook,
    position: &Position,
    fx: &Fx,
    stated: &OrderInput,
    number: usize,
) -> Result<Result<Order, String>> {
    let pair = position.pair();
    let side = stated.order_type;
    let rates = match (stated.quote_usd_rate, stated.usd_base_rate) {
        (Some(quote_usd), Some(usd_base)) => Rates { quote_usd, usd_base },
        _ => {
            let found = rates_at(pair, stated.price, side, opening_side(position), fx);
            match found {
                Some(rates) => rates,
                None => return Ok(Err("no exchange rate".into())),
            }
        }
    };
    let fields =
        SizeFields { leverage: stated.leverage, value: stated.value, quantity: stated.quantity };
    let size = match sizing::size(&fields, side, pair, position.account_size(), rates) {
        Ok(size) => size,
        Err(refusal) => return Ok(Err(refusal.to_string())),
    };
    let at = UtcMs(stated.processed_ms);
    let request = SlippageRequest {
        pair,
        leverage: size.leverage,
        value_usd: size.value,
        bid: stated.bid,
        ask: stated.ask,
        at,
        features: None,
    };
    let rate = match stated.slippage.map_or_else(|| slippage(&rulebook.slippage, &request), Ok) {
        Ok(rate) => rate,
        Err(refusal) => return Ok(Err(refusal.to_string())),
    };
    Ok(Ok(Order {
        id: OrderId::new(&format!("order-{number}"))?,
        at,
        side,
        leverage: size.leverage,
        value: size.value,
        quantity: size.quantity,
        price: stated.price,
        bid: stated.bid,
        ask: stated.ask,
        slippage: rate,
        quote_usd_rate: rates.quote_usd,
        usd_base_rate: rates.usd_base,
        source: OrderSource::from_code(stated.src).context("unknown src")?,
    }))
}

/// Returns the side of the order that opened the position; a closed one says flat of itself.
fn opening_side(position: &Position) -> Option<Side> {
    position.orders().first().map(|order| order.side)
}

/// A buyer pays the ask. A flat sells what was bought, so its side is the opposite of the first
/// order's, and without one there is no telling.
pub(super) fn rates_at(
    pair: TradePair,
    price: f64,
    side: Side,
    opened: Option<Side>,
    fx: &Fx,
) -> Option<Rates> {
    let at_bid = match side {
        Side::Long => Some(false),
        Side::Short => Some(true),
        Side::Flat => opened.map(|opened| opened == Side::Long),
    };
    conversion::rates(pair, price, |other| {
        let quote = fx.get(&other)?;
        Some(if at_bid? { quote.bid } else { quote.ask })
    })
}

fn forced_flat_price(position: &Position, order: &Order, input: &Input) -> ForcedFlatPrice {
    let opened = opening_side(position).unwrap_or(order.side);
    flat_price(input, opened)
}

fn flat_price(input: &Input, opened: Side) -> ForcedFlatPrice {
    let found = input.flat_price.and_then(|price| {
        let rates = rates_at(input.trade_pair, price, Side::Flat, Some(opened), &input.fx)?;
        Some(ForcedFlatPrice::Found { price, rates })
    });
    found.unwrap_or(ForcedFlatPrice::Missing)
}

fn marked(rulebook: &Rulebook, input: &Input, mut position: Position, mark: &MarkInput) -> Value {
    let at = UtcMs(mark.t_ms);
    let fees = position.fees_at(rulebook, at);
    if position.orders().is_empty() && charges_an_interval(rulebook, &position, at) {
        return json!({
            "after_order": mark.after_order,
            "error": "no orders in position",
            "price": mark.price,
            "spread_fee": fees.spread,
            "t_ms": mark.t_ms,
        });
    }
    let mut error = Value::Null;
    if position.is_closed() {
        position.refresh_fees(rulebook, at);
    } else if let Some(opened) = opening_side(&position) {
        let forced = flat_price(input, opened);
        if position.mark(rulebook, mark.price, at, forced) == Marked::Unusable {
            error = json!("the mark cannot be used");
        }
    }
    json!({
        "after_order": mark.after_order,
        "t_ms": mark.t_ms,
        "price": mark.price,
        "error": error,
        "spread_fee": fees.spread,
        "carry_fee": fees.carry,
        "next_carry_ms": fees.next_carry_at,
        "current_return": position.current_return(),
        "return_at_close": position.return_at_close(),
        "realized_pnl": position.realized_pnl(),
        "unrealized_pnl": position.unrealized_pnl(),
        "is_closed_position": position.is_closed(),
        "close_ms": position.closed_at(),
        "n_orders": position.orders().len(),
        "max_leverage_seen": position.max_leverage_seen(),
        "cumulative_leverage": position.cumulative_leverage(),
    })
}

/// Returns true when a carry interval with a fee has ended since the position was made.
///
/// A position without orders is valued as 1 by the reference until then, and is an error after it.
fn charges_an_interval(rulebook: &Rulebook, position: &Position, at: UtcMs) -> bool {
    let opened = position.opened_at();
    let from = rulebook.fees.carry_from.value.max(opened);
    let step = legacy::Step { at: opened, side: Side::Long, leverage: 1.0 };
    let rules = rulebook.fees.carry_of(position.pair().class());
    legacy::carry(rules, from, std::iter::once(step), at).0 < 1.0
}

fn order_json(position: &Position, order: &Order) -> Value {
    // The flat that a liquidation adds never gets a value or a quantity in the reference.
    let no_size = order.id == position.id().forced_flat_order();
    let size = |number: f64| if no_size { Value::Null } else { json!(number) };
    json!({
        "processed_ms": order.at,
        "order_type": order.side,
        "leverage": order.leverage,
        "value": size(order.value),
        "quantity": size(order.quantity),
        "price": order.price,
        "slippage": order.slippage,
        "quote_usd_rate": order.quote_usd_rate,
        "usd_base_rate": order.usd_base_rate,
        "src": order.source.code(),
    })
}

pub(super) fn position_json(position: &Position) -> Value {
    json!({
        "open_ms": position.opened_at(),
        "close_ms": position.closed_at(),
        "is_closed_position": position.is_closed(),
        "net_leverage": position.net_leverage(),
        "net_quantity": position.net_quantity(),
        "net_value": position.net_value(),
        "average_entry_price": position.average_entry_price(),
        "cumulative_entry_value": position.cumulative_entry_value(),
        "account_size": position.account_size(),
        "realized_pnl": position.realized_pnl(),
        "unrealized_pnl": position.unrealized_pnl(),
        "current_return": position.current_return(),
        "return_at_close": position.return_at_close(),
        "position_type": position.direction(),
        "initial_entry_price": position.initial_entry_price(),
        "n_orders": position.orders().len(),
    })
}
