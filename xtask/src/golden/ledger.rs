//! Cases of kind `ledger`.
//!
//! The reference builds a ledger after the fact: it replays orders and candles up to a moment. What
//! is replayed here is its schedule ([`replay`], [`advance`]); positions, fees, market hours and the
//! ledgers themselves are the engine's, with the parity switches on.

mod advance;
mod book;
mod fees;
mod path;
mod replay;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proctor_engine::Rulebook;
use proctor_engine::ledgers::{Cell, Ledger};
use proctor_engine::positions::position::{ForcedFlatPrice, Position};
use proctor_engine::rulebook::VANTA_PARITY;
use proctor_types::{DurationMs, PositionId, TradePair, Usd, UtcMs};
use serde::Deserialize;
use serde_json::{Value, json};

use self::book::History;
use self::path::Path;
use self::replay::{LastPrice, Ledgers, Replay};
use super::position::{Fx, OrderInput, order};

#[derive(Deserialize)]
struct Input {
    positions: Vec<PositionInput>,
    paths: BTreeMap<TradePair, Path>,
    updates: Vec<UpdateInput>,
    fx: Fx,
    #[serde(default)]
    portfolio_only: bool,
    target_ledger_window_ms: Option<i64>,
}

#[derive(Deserialize)]
struct PositionInput {
    uuid: String,
    trade_pair: TradePair,
    account_size: f64,
    orders: Vec<OrderInput>,
}

#[derive(Deserialize)]
struct UpdateInput {
    now_ms: i64,
}

pub(super) const CP_FIELDS: [&str; 17] = [
    "last_update_ms",
    "prev_portfolio_ret",
    "prev_portfolio_realized_pnl",
    "prev_portfolio_unrealized_pnl",
    "prev_portfolio_spread_fee",
    "prev_portfolio_carry_fee",
    "accum_ms",
    "open_ms",
    "n_updates",
    "gain",
    "loss",
    "spread_fee_loss",
    "carry_fee_loss",
    "mdd",
    "mpv",
    "realized_pnl",
    "unrealized_pnl",
];

/// Returns what our engine says for `input`, in the shape of the reference's output.
pub(crate) fn run(input: &Value) -> Result<Value> {
    let input = Input::deserialize(input).context("not a case of kind ledger")?;
    let mut rulebook = Rulebook::parse(VANTA_PARITY)?;
    if let Some(window) = input.target_ledger_window_ms {
        rulebook.ledger.window.value = DurationMs(window);
    }
    let histories: Result<Vec<_>> =
        input.positions.iter().map(|position| history(&rulebook, position, &input.fx)).collect();
    let histories = histories?;
    let mut replay = Replay::new(&rulebook, &input.paths, input.portfolio_only);
    let updates: Vec<_> = input
        .updates
        .iter()
        .map(|update| {
            let outcome = replay.update(&histories, UtcMs(update.now_ms));
            json!({
                "now_ms": update.now_ms,
                "error": outcome.err().map(|refused| refused.0),
                "bundle": replay.ledgers().map(bundle_json),
                "eliminations": replay.liquidations().iter().map(liquidation_json).collect::<Vec<_>>(),
                "n_updates": { "second": replay.ticks().second, "minute": replay.ticks().minute },
            })
        })
        .collect();
    Ok(json!({ "cp_fields": CP_FIELDS, "updates": updates }))
}

/// Folds the orders of a position and keeps the position after each.
fn history(rulebook: &Rulebook, stated: &PositionInput, fx: &Fx) -> Result<History> {
    let first = stated.orders.first().context("a position without orders")?;
    let mut position = Position::new(
        PositionId::new(&stated.uuid)?,
        stated.trade_pair,
        Usd::new(stated.account_size)?,
        UtcMs(first.processed_ms),
    );
    let mut history = History::new(position.clone());
    for (number, stated) in stated.orders.iter().enumerate() {
        let placed = order(rulebook, &position, fx, stated, number)?;
        let accepted = placed.ok().is_some_and(|order| {
            let leverage = stated.net_portfolio_leverage;
            position.add(rulebook, order, leverage, ForcedFlatPrice::Missing).is_ok()
        });
        if accepted {
            history.push(position.clone());
        }
    }
    Ok(history)
}

fn bundle_json(ledgers: &Ledgers) -> Value {
    let portfolio = ledger_json(&ledgers.portfolio, last_prices_json(&ledgers.last_prices));
    let pairs = ledgers
        .pairs
        .iter()
        .map(|(pair, ledger)| (pair.id().to_owned(), ledger_json(ledger, json!({}))));
    Value::Object(std::iter::once(("portfolio".to_owned(), portfolio)).chain(pairs).collect())
}

fn ledger_json(ledger: &Ledger, last_known_prices: Value) -> Value {
    json!({
        "initialization_time_ms": ledger.initialized_at(),
        "max_return": ledger.peak().value,
        "cps": ledger.cells().map(cell_json).collect::<Vec<_>>(),
        "last_known_prices": last_known_prices,
    })
}

/// The fields of a cell in the order of [`CP_FIELDS`].
pub(super) fn cell_json(cell: &Cell) -> Value {
    json!([
        cell.last_update,
        cell.value,
        cell.realized_pnl_total,
        cell.unrealized_pnl_total,
        cell.spread_fee,
        cell.carry_fee,
        cell.accum_ms,
        cell.open_ms,
        cell.n_updates,
        cell.gain,
        cell.loss,
        cell.spread_fee_loss,
        cell.carry_fee_loss,
        cell.worst_drawdown,
        cell.peak,
        cell.realized_pnl,
        cell.unrealized_pnl,
    ])
}

fn last_prices_json(prices: &BTreeMap<TradePair, LastPrice>) -> Value {
    let mut fields = serde_json::Map::new();
    for (pair, last) in prices {
        fields.insert(pair.id().to_owned(), json!([last.price, last.at]));
        if let Some((price, at)) = last.previous {
            fields.insert(format!("{pair}_prev"), json!([price, at]));
        }
    }
    Value::Object(fields)
}

fn liquidation_json(at: &UtcMs) -> Value {
    json!({ "dd": 0.0, "elimination_initiated_time_ms": at, "reason": "LIQUIDATED" })
}
