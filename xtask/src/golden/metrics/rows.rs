//! Ledgers and positions as the cases write them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proctor_engine::Rulebook;
use proctor_engine::ledgers::{Cell, Ledger};
use proctor_engine::scoring::{Fill, Ledgers, RiskProfile, ScoredPosition};
use proctor_types::{DurationMs, Side, TradePair, UtcMs};
use serde::Deserialize;
use serde_json::{Number, Value};

/// What the reference calls the ledger of the portfolio.
const PORTFOLIO: &str = "portfolio";

#[derive(Clone, Deserialize)]
pub(crate) struct LedgerRows {
    pub(crate) cps: Vec<Vec<Number>>,
    pub(crate) tp_id: Option<String>,
}

/// The rows of one trader, by pair or portfolio, in the order of their names.
pub(crate) type BundleRows = BTreeMap<String, LedgerRows>;

/// The ledgers of one trader.
pub(crate) struct Bundle {
    portfolio: Option<Ledger>,
    pairs: Vec<(TradePair, Ledger)>,
}

impl Bundle {
    pub(crate) fn new(rulebook: &Rulebook, fields: &[String], rows: &BundleRows) -> Result<Self> {
        let mut bundle = Self { portfolio: None, pairs: Vec::new() };
        for (name, rows) in rows {
            let ledger = ledger(rulebook, fields, rows)?;
            if name == PORTFOLIO {
                bundle.portfolio = Some(ledger);
            } else {
                bundle.pairs.push((pair(name)?, ledger));
            }
        }
        Ok(bundle)
    }

    pub(crate) fn view(&self) -> Ledgers<'_> {
        Ledgers {
            portfolio: self.portfolio.as_ref(),
            pairs: self.pairs.iter().map(|(pair, ledger)| (*pair, ledger)).collect(),
        }
    }
}

pub(crate) fn pair(name: &str) -> Result<TradePair> {
    TradePair::from_id(name).with_context(|| format!("unknown pair {name}"))
}

/// Returns the ledger whose cells are `rows`, with the columns `fields`.
pub(crate) fn ledger(rulebook: &Rulebook, fields: &[String], rows: &LedgerRows) -> Result<Ledger> {
    let cells: Result<Vec<Cell>> = rows.cps.iter().map(|row| cell(fields, row)).collect();
    Ok(Ledger::from_cells(&rulebook.ledger, UtcMs(0), &cells?)?)
}

fn cell(fields: &[String], row: &[Number]) -> Result<Cell> {
    // The reference's default of the greatest value; ours is 1.
    let mut cell = Cell { peak: 0.0, ..Cell::default() };
    for (field, number) in fields.iter().zip(row) {
        let float = match field.as_str() {
            "last_update_ms" => {
                cell.last_update = UtcMs(integer(number)?);
                continue;
            }
            "accum_ms" => {
                cell.accum_ms = u32::try_from(integer(number)?)?;
                continue;
            }
            "open_ms" => {
                cell.open_ms = u32::try_from(integer(number)?)?;
                continue;
            }
            "n_updates" => {
                cell.n_updates = u32::try_from(integer(number)?)?;
                continue;
            }
            "gain" => &mut cell.gain,
            "loss" => &mut cell.loss,
            "mdd" => &mut cell.worst_drawdown,
            "mpv" => &mut cell.peak,
            "realized_pnl" => &mut cell.realized_pnl,
            "unrealized_pnl" => &mut cell.unrealized_pnl,
            "spread_fee_loss" => &mut cell.spread_fee_loss,
            "carry_fee_loss" => &mut cell.carry_fee_loss,
            "prev_portfolio_ret" => &mut cell.value,
            "prev_portfolio_realized_pnl" => &mut cell.realized_pnl_total,
            "prev_portfolio_unrealized_pnl" => &mut cell.unrealized_pnl_total,
            "prev_portfolio_spread_fee" => &mut cell.spread_fee,
            "prev_portfolio_carry_fee" => &mut cell.carry_fee,
            other => anyhow::bail!("unknown column {other}"),
        };
        *float = number.as_f64().with_context(|| format!("{number} is no float"))?;
    }
    Ok(cell)
}

fn integer(number: &Number) -> Result<i64> {
    number.as_i64().with_context(|| format!("{number} is not whole"))
}

#[derive(Clone, Deserialize)]
pub(crate) struct PositionRow {
    pub(crate) uuid: String,
    trade_pair: TradePair,
    open_ms: i64,
    close_ms: Option<i64>,
    pub(crate) return_at_close: f64,
    orders: Vec<OrderRow>,
}

#[derive(Clone, Deserialize)]
struct OrderRow {
    order_type: Side,
    leverage: f64,
    price: f64,
    processed_ms: i64,
}

impl PositionRow {
    /// Returns how long the position was open, once it is closed.
    pub(crate) fn lasted(&self) -> Option<DurationMs> {
        self.close_ms.map(|closed| DurationMs(closed - self.open_ms))
    }

    pub(crate) fn profile(&self, rulebook: &Rulebook) -> RiskProfile {
        let fill = |order: &OrderRow| Fill {
            at: UtcMs(order.processed_ms),
            leverage: order.leverage,
            price: order.price,
        };
        let fills: Vec<Fill> = self.orders.iter().map(fill).collect();
        let side = self.orders.first().map_or(Side::Flat, |order| order.order_type);
        let rules = &rulebook.scoring.risk_profile;
        RiskProfile::of(rules, self.trade_pair, side, self.close_ms.is_some(), &fills)
    }

    pub(crate) fn scored(&self, rulebook: &Rulebook) -> ScoredPosition {
        ScoredPosition {
            opened_at: UtcMs(self.open_ms),
            is_closed: self.close_ms.is_some(),
            return_at_close: self.return_at_close,
            is_flagged: self.profile(rulebook).flags(&rulebook.scoring.risk_profile).all_kinds(),
        }
    }
}

/// Returns the member `name` of a case.
pub(crate) fn member<T: for<'de> Deserialize<'de>>(input: &Value, name: &str) -> Result<T> {
    let value = input.get(name).with_context(|| format!("a case without {name}"))?;
    T::deserialize(value).with_context(|| format!("{name} of the case"))
}
