//! Cases of kind `elimination`: one pass of the reference's elimination service.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use proctor_engine::Rulebook;
use proctor_engine::eliminations::plan::{Alert, PassInput, PassPlan, Recorded, Subject, plan};
use proctor_engine::eliminations::{DrawdownNote, Reason};
use proctor_engine::positions::position::{ForcedFlatPrice, Order, OrderSource, Position};
use proctor_engine::roster::departures;
use proctor_engine::rulebook::{Switches, VANTA};
use proctor_types::{PositionId, Side, TradePair, TraderId, Usd, UtcMs};
use serde::Deserialize;
use serde_json::{Value, json};

use super::position::{self, Fx, OrderInput};

/// The reference's own trader for tests in production, which its zombie check passes over.
const DEVELOPMENT: &str = "DEVELOPMENT";

#[derive(Deserialize)]
struct Input {
    now_ms: i64,
    metagraph: BTreeSet<TraderId>,
    previous_metagraph: BTreeSet<TraderId>,
    eliminations: Vec<RecordInput>,
    departed_hotkeys: BTreeMap<TraderId, DepartedInput>,
    miner_dirs: BTreeSet<TraderId>,
    perf_ledger_eliminations: Vec<RecordInput>,
    challenge_reasons: BTreeMap<TraderId, (String, Option<f64>)>,
    buckets: BTreeMap<TraderId, String>,
    ledgers: BTreeMap<TraderId, LedgerInput>,
    cp_fields: Vec<String>,
    positions: Vec<PositionInput>,
    first_refresh_ran: bool,
    flat_price: Option<BTreeMap<TradePair, f64>>,
}

#[derive(Deserialize)]
struct RecordInput {
    hotkey: TraderId,
    reason: String,
    dd: Option<f64>,
    elimination_initiated_time_ms: i64,
}

#[derive(Deserialize)]
struct DepartedInput {
    detected_ms: i64,
}

#[derive(Deserialize)]
struct LedgerInput {
    cps: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct PositionInput {
    hotkey: TraderId,
    uuid: String,
    trade_pair: TradePair,
    account_size: f64,
    orders: Vec<OrderInput>,
}

/// A record as the case's output shows it.
#[derive(Clone, Copy)]
struct Record {
    reason: Reason,
    drawdown: DrawdownNote,
    decided_at: UtcMs,
}

/// Positions by trader and name.
type Positions = BTreeMap<TraderId, BTreeMap<String, Position>>;

/// Returns what our engine says for `input`, in the shape of the reference's output.
pub(crate) fn run(input: &Value) -> Result<Value> {
    let input = Input::deserialize(input).context("not a case of kind elimination")?;
    let mut rulebook = Rulebook::parse(VANTA)?;
    rulebook.switches = Switches::PARITY;
    let mut departed: BTreeMap<TraderId, i64> =
        input.departed_hotkeys.iter().map(|(t, d)| (t.clone(), d.detected_ms)).collect();
    let gone = departures(&rulebook.roster, &input.previous_metagraph, &input.metagraph);
    if !gone.is_anomalous {
        for trader in gone.lost {
            departed.entry(trader).or_insert(input.now_ms);
        }
    }
    let mut positions = positions(&rulebook, &input)?;
    let mut records: BTreeMap<TraderId, Record> = BTreeMap::new();
    for row in &input.eliminations {
        records.insert(row.hotkey.clone(), record(row)?);
    }
    let mut reasons = BTreeMap::new();
    for (trader, (name, dd)) in &input.challenge_reasons {
        let reason = Reason::parse(name)?;
        reasons.insert(trader.clone(), (reason, DrawdownNote::from_legacy(reason, *dd)?));
    }
    let traders = subjects(&rulebook, &input, &records, &positions)?;
    let pass = PassInput {
        at: UtcMs(input.now_ms),
        registered: Some(&input.metagraph),
        is_first: !input.first_refresh_ran,
        traders: traders.iter().map(|(trader, subject)| (trader, *subject)).collect(),
        reasons: &reasons,
    };
    let plan = plan(&rulebook, &pass);
    carry_out(&rulebook, &input, &plan, &mut records, &mut positions)?;
    Ok(output(&input, &plan, &records, &positions, &departed))
}

fn record(row: &RecordInput) -> Result<Record> {
    let reason = Reason::parse(&row.reason)?;
    let drawdown = DrawdownNote::from_legacy(reason, row.dd)?;
    Ok(Record { reason, drawdown, decided_at: UtcMs(row.elimination_initiated_time_ms) })
}

fn positions(rulebook: &Rulebook, input: &Input) -> Result<Positions> {
    let mut positions = Positions::new();
    for stated in &input.positions {
        let opened_at = stated.orders.first().context("a position without orders")?.processed_ms;
        let id = PositionId::new(&stated.uuid)?;
        let size = Usd::new(stated.account_size)?;
        let mut built = Position::new(id, stated.trade_pair, size, UtcMs(opened_at));
        for (number, order) in stated.orders.iter().enumerate() {
            let placed = position::order(rulebook, &built, &Fx::new(), order, number)?;
            let order = placed.map_err(anyhow::Error::msg)?;
            built.add(rulebook, order, 0.0, ForcedFlatPrice::Missing)?;
        }
        positions.entry(stated.hotkey.clone()).or_default().insert(stated.uuid.clone(), built);
    }
    Ok(positions)
}

/// Returns everybody the pass has to look at.
fn subjects<'a>(
    rulebook: &'a Rulebook,
    input: &Input,
    records: &BTreeMap<TraderId, Record>,
    positions: &Positions,
) -> Result<BTreeMap<TraderId, Subject<'a>>> {
    let mdd = input.cp_fields.iter().position(|name| name == "mdd").context("no field mdd")?;
    let names: BTreeSet<&TraderId> = (input.miner_dirs.iter())
        .chain(records.keys())
        .chain(positions.keys())
        .chain(input.ledgers.keys())
        .chain(input.challenge_reasons.keys())
        .chain(input.perf_ledger_eliminations.iter().map(|row| &row.hotkey))
        .collect();
    let subject = |trader: &TraderId| {
        let cells = input.ledgers.get(trader).map_or(&[][..], |ledger| &ledger.cps);
        let worst = cells.iter().filter_map(|cell| cell.get(mdd)).copied().reduce(f64::min);
        let lost = input.perf_ledger_eliminations.iter().find(|row| row.hotkey == *trader);
        let open = positions.get(trader).into_iter().flat_map(BTreeMap::values);
        Subject {
            rules: rulebook,
            has_account: input.miner_dirs.contains(trader) && trader.as_str() != DEVELOPMENT,
            record: records
                .get(trader)
                .map(|record| Recorded { at: record.decided_at, is_purged: false }),
            has_open_position: open.clone().any(|position| !position.is_closed()),
            liquidated_at: lost.map(|row| UtcMs(row.elimination_initiated_time_ms)),
            worst_ratio: worst.map(|worst| worst.clamp(0.0, 1.0)),
            drawdown_reason: Reason::MaxTotalDrawdown,
            in_main_competition: input.buckets.get(trader).is_some_and(|b| b == "MAINCOMP"),
            absent_rosters: u64::from(!input.metagraph.contains(trader)),
        }
    };
    Ok(names.into_iter().map(|trader| (trader.clone(), subject(trader))).collect())
}

/// Does to records and positions what the plan says.
fn carry_out(
    rulebook: &Rulebook,
    input: &Input,
    plan: &PassPlan,
    records: &mut BTreeMap<TraderId, Record>,
    positions: &mut Positions,
) -> Result<()> {
    for ending in &plan.eliminate {
        let (reason, drawdown, decided_at) = (ending.reason, ending.drawdown, ending.decided_at);
        let record = Record { reason, drawdown, decided_at };
        let before = records.insert(ending.trader.clone(), record);
        anyhow::ensure!(before.is_none(), "{} was eliminated twice", ending.trader);
    }
    let ended = plan.eliminate.iter().map(|ending| &ending.trader);
    for trader in plan.flatten.iter().chain(ended) {
        let at = records.get(trader).context("flattened without a record")?.decided_at;
        for position in positions.get_mut(trader).into_iter().flat_map(BTreeMap::values_mut) {
            if !position.is_closed() {
                flatten(rulebook, input, at, position)?;
            }
        }
    }
    for trader in &plan.purge {
        records.remove(trader).context("purged without a record")?;
        if let Some(own) = positions.get_mut(trader) {
            own.clear();
        }
    }
    Ok(())
}

fn flatten(rulebook: &Rulebook, input: &Input, at: UtcMs, position: &mut Position) -> Result<()> {
    let pair = position.pair();
    let opened = position.orders().first().map(|order| order.side);
    let found = input.flat_price.as_ref().and_then(|prices| {
        let price = *prices.get(&pair)?;
        let rates = position::rates_at(pair, price, Side::Flat, opened, &Fx::new())?;
        Some(ForcedFlatPrice::Found { price, rates })
    });
    let price = found.unwrap_or(ForcedFlatPrice::Missing);
    position.force_flat(rulebook, at, price, OrderSource::EliminationFlat)?;
    Ok(())
}

fn output(
    input: &Input,
    plan: &PassPlan,
    records: &BTreeMap<TraderId, Record>,
    positions: &Positions,
    departed: &BTreeMap<TraderId, i64>,
) -> Value {
    let row = |(trader, record): (&TraderId, &Record)| {
        let row = json!({
            "hotkey": trader,
            "reason": record.reason,
            "dd": record.drawdown.legacy(record.reason),
            "elimination_initiated_time_ms": record.decided_at,
        });
        (trader.to_string(), row)
    };
    let ended = || plan.eliminate.iter();
    let mut cancelled: Vec<&TraderId> =
        ended().map(|ending| &ending.trader).chain(&plan.purge).collect();
    cancelled.sort_unstable();
    let mut slashed: Vec<&TraderId> =
        ended().filter(|ending| ending.reason.slashes()).map(|ending| &ending.trader).collect();
    slashed.sort_unstable();
    let purged = |trader: &TraderId| plan.purge.contains(trader);
    let deleted = input.positions.iter().filter(|position| purged(&position.hotkey));
    let mut deleted: Vec<_> = deleted.map(|p| (p.hotkey.clone(), p.uuid.clone())).collect();
    deleted.sort_unstable();
    let buckets: BTreeMap<_, _> = input.buckets.iter().filter(|(t, _)| !purged(t)).collect();
    let removed: Vec<_> = input.buckets.keys().filter(|trader| purged(trader)).collect();
    let handled: BTreeSet<_> = ended().map(|ending| &ending.trader).collect();
    let dropped: BTreeSet<_> = plan.alerts.iter().filter_map(dropped).collect();
    let remaining: BTreeMap<_, _> = input
        .challenge_reasons
        .iter()
        .filter(|(trader, _)| !handled.contains(trader) && !dropped.contains(trader))
        .collect();
    let again: Vec<_> =
        departed.keys().filter(|trader| input.metagraph.contains(*trader)).collect();
    let departed: BTreeMap<_, _> =
        departed.iter().map(|(trader, at)| (trader, json!({ "detected_ms": at }))).collect();
    json!({
        "error": null,
        "eliminations": records.iter().map(row).collect::<BTreeMap<_, _>>(),
        "departed_hotkeys": departed,
        "positions": positions_json(positions),
        "buckets": buckets,
        "remaining_reasons": remaining,
        "limit_orders_deleted": cancelled,
        "slashed": slashed,
        "positions_deleted": deleted,
        "cp_removed": removed,
        "re_registered": again,
    })
}

fn dropped(alert: &Alert) -> Option<&TraderId> {
    match alert {
        Alert::ReasonDropped { trader, .. } => Some(trader),
        Alert::ZombiesHeld { .. } => None,
    }
}

fn positions_json(positions: &Positions) -> Value {
    let one = |(name, position): (&String, &Position)| {
        let mut shown = position::position_json(position);
        shown["last_order"] = position.orders().last().map_or(Value::Null, order_json);
        (name.clone(), shown)
    };
    let all = positions
        .iter()
        .map(|(trader, own)| (trader.to_string(), own.iter().map(one).collect::<BTreeMap<_, _>>()));
    json!(all.collect::<BTreeMap<_, _>>())
}

fn order_json(order: &Order) -> Value {
    json!({
        "processed_ms": order.at,
        "order_type": order.side,
        "leverage": order.leverage,
        "value": order.value,
        "quantity": order.quantity,
        "price": order.price,
        "slippage": order.slippage,
        "quote_usd_rate": order.quote_usd_rate,
        "usd_base_rate": order.usd_base_rate,
        "src": order.source.code(),
    })
}
