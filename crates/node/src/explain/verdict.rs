//! The end of an account, with everything that it rests on.

use proctor_engine::Input;
use proctor_engine::account::Account;
use proctor_engine::eliminations::{Elimination, Reason};
use proctor_engine::input::Extract;
use proctor_engine::ledgers::drawdown;
use proctor_engine::rulebook::{DrawdownLimit, Rulebook};
use proctor_types::{PositionId, UtcMs};

use super::arithmetic;
use super::story::{Fill, FlatOrder, MarkPoint, OrderOutcome, OrderStory, PriceUsed, Verdict};

/// What a verdict is told from.
pub(super) struct Case<'a> {
    /// The engine's record.
    pub(super) record: &'a Elimination,
    /// The commit that decided.
    pub(super) commit: &'a Extract,
    /// The account's rules.
    pub(super) rules: &'a Rulebook,
    /// The account before the commit.
    pub(super) before: Option<&'a Account>,
    /// The account after it.
    pub(super) account: &'a Account,
    /// The orders so far.
    pub(super) orders: &'a [OrderStory],
}

/// Tells the verdict of `case`; `peak` is the ledger's peak as the log showed it.
pub(super) fn verdict(case: &Case<'_>, peak: MarkPoint) -> Verdict {
    let Case { record, rules, .. } = *case;
    let limit = &rules.elimination.drawdown_max;
    let limit_ratio = drawdown::ratio_at(limit.value);
    let flats = flat_orders(case);
    let prices = prices_used(case, &flats);
    let ended: Vec<PositionId> =
        flats.iter().filter_map(|flat| PositionId::new(&flat.position).ok()).collect();
    let valuation = arithmetic::decided_value(
        rules,
        (case.before, case.account),
        record.stamp.at,
        (&prices, &ended),
        record.value,
    );
    let ledger = case.account.ledgers.as_ref().map(|ledgers| ledgers.portfolio());
    Verdict {
        decided: record.stamp.into(),
        reason: record.reason.code(),
        rule: record.reason.rule(),
        paragraph: "trading 8.9",
        rule_text: rule_text(record.reason, rules.switches.drawdown_limit, limit.value),
        limit: limit.value,
        limit_source: limit.source.clone(),
        limit_ratio,
        limit_switch: switch(rules.switches.drawdown_limit),
        peak,
        value: record.value,
        ratio: record.value / record.peak,
        worst_ratio: record.worst_ratio,
        drawdown_percent: record.drawdown_percent,
        commit_inputs: inputs(case.commit),
        prices,
        valuation,
        flat_orders: flats,
        value_after_flat: ledger
            .filter(|_| record.value > 0.0)
            .map(proctor_engine::ledgers::Ledger::value),
        barred_from_commit: record.stamp.commit,
        orders_refused_since: 0,
    }
}

/// Returns the name of the switch's setting in a rulebook.
pub(super) fn switch(limit: DrawdownLimit) -> &'static str {
    match limit {
        DrawdownLimit::Ratio => "ratio",
        DrawdownLimit::Percent => "percent",
    }
}

fn rule_text(reason: Reason, limit: DrawdownLimit, fraction: f64) -> String {
    match (reason, limit) {
        (Reason::Liquidated, _) => "an account ends when its portfolio is worth nothing".to_owned(),
        (Reason::MaxTotalDrawdown, DrawdownLimit::Ratio) => format!(
            "an account ends when its portfolio's value / peak is {} or less",
            drawdown::ratio_at(fraction)
        ),
        (Reason::MaxTotalDrawdown, DrawdownLimit::Percent) => format!(
            "an account ends when (1 - value / peak) x 100 of its portfolio is {} or more",
            (fraction * 1e9).round() / 1e7
        ),
    }
}

/// Returns what the commit holds, counted.
fn inputs(commit: &Extract) -> String {
    let (mut orders, mut batches, mut records, mut ticks, mut other) = (0, 0, 0, 0, 0);
    for placed in &commit.inputs {
        match &placed.input {
            Input::Order(_) | Input::RecordedOrder(..) => orders += 1,
            Input::Prices(quotes) => {
                batches += 1;
                records += quotes.len();
            }
            Input::Tick => ticks += 1,
            Input::Roster(_)
            | Input::AccountSize(..)
            | Input::AssetClass(..)
            | Input::Rulebook(_) => {
                other += 1;
            }
        }
    }
    let counted = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let prices = counted(batches, "price batch", "price batches")
        .zip(counted(records, "record", "records"))
        .map(|(batches, records)| format!("{batches} of {records}"));
    let parts = [
        prices,
        counted(orders, "order", "orders"),
        counted(ticks, "tick", "ticks"),
        counted(other, "other input", "other inputs"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns the orders by which the node closed what was open, in this commit.
fn flat_orders(case: &Case<'_>) -> Vec<FlatOrder> {
    let here = case.orders.iter().filter(|order| order.place.commit == case.commit.index);
    here.filter_map(|order| match &order.outcome {
        OrderOutcome::Filled(fill) if fill.cause.starts_with("elimination_flat") => {
            Some(flat_order(order, fill))
        }
        OrderOutcome::Filled(_) | OrderOutcome::Refused { .. } | OrderOutcome::NothingToClose => {
            None
        }
    })
    .collect()
}

fn flat_order(order: &OrderStory, fill: &Fill) -> FlatOrder {
    FlatOrder {
        id: order.id.clone(),
        pair: order.pair.clone(),
        position: fill.position.clone(),
        number: order.number,
        price: fill.price,
        price_source: fill.price_source.clone(),
    }
}

/// Returns the prices of the record, and those of positions that were liquidated: they closed
/// before the record was made, at the very price that liquidated them.
fn prices_used(case: &Case<'_>, flats: &[FlatOrder]) -> Vec<PriceUsed> {
    let at = case.record.stamp.at;
    let used = |pair: String, price: f64, source: Option<String>, of: UtcMs| PriceUsed {
        pair,
        price,
        source,
        at: of.into(),
        age_ms: at.since(of).0,
    };
    let mut prices: Vec<PriceUsed> = case
        .record
        .prices
        .iter()
        .map(|price| {
            let source = price.source.as_ref().map(ToString::to_string);
            used(price.pair.to_string(), price.price.get(), source, price.at)
        })
        .collect();
    for flat in flats {
        if flat.price > 0.0 && !prices.iter().any(|price| price.pair == flat.pair) {
            let source = flat.price_source.as_ref();
            let of = source.map_or(at, |source| UtcMs(source.at.ms));
            let name = source.map(|source| source.source.clone());
            prices.push(used(flat.pair.clone(), flat.price, name, of));
        }
    }
    prices
}
