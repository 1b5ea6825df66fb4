//! Op `single`: everything the reference says of one ledger.

use std::collections::BTreeMap;

use anyhow::Result;
use proctor_engine::Rulebook;
use proctor_engine::ledgers::{Ledger, drawdown};
use proctor_engine::scoring::averages::Weights;
use proctor_engine::scoring::days::{Calendar, ForexDays};
use proctor_engine::scoring::metrics::{Terms, daily_drawdown, drawdown_factor};
use proctor_engine::scoring::penalties::drawdown_penalty;
use proctor_engine::scoring::statistics::{ReturnStatistics, Totals};
use proctor_engine::scoring::{Metric, Record, Scorer};
use proctor_types::time::DAY_MS;
use proctor_types::{AssetClass, CivilDate, UtcMs, float};
use serde_json::{Map, Value, json};

use super::float as infinite;
use super::rows::{LedgerRows, ledger, member, pair};

/// Complete days that the challenge asks for; a rule of the challenge period, which the reference
/// puts among the statistics of a ledger.
const CHALLENGE_DAYS: u32 = 61;

pub(super) fn run(rulebook: Rulebook, input: &Value) -> Result<Value> {
    let rows: LedgerRows = member(input, "ledger")?;
    let ledger = ledger(&rulebook, &member::<Vec<String>>(input, "cp_fields")?, &rows)?;
    let now = ledger.last_update().unwrap_or_default();
    let forex = ForexDays::up_to(now, rulebook.ledger.window.value);
    let calendar = match rows.tp_id.as_deref() {
        None | Some("portfolio") => Calendar::EveryDay,
        Some(id) if pair(id)?.class() == AssetClass::Forex => Calendar::Forex(&forex),
        Some(_) => Calendar::EveryDay,
    };
    let record = Record::of_ledger(&rulebook, calendar, &ledger);
    let year: f64 = member(input, "days_in_year")?;
    let minimum: Option<u32> = member(input, "min_days")?;
    let minimum = minimum.unwrap_or(rulebook.scoring.minimum_days.ceiling.value);
    let scoring = &rulebook.scoring;
    let decaying = |floor: f64| {
        Weights::decaying(scoring.decay_rate.value, floor, rulebook.ledger.window.value)
    };
    let equal = Weights::equal();
    let (returns, profits) =
        (decaying(scoring.decay_floor.value), decaying(scoring.decay_floor_pnl.value));
    let weighted = |yes: bool, minimum_days: u32| Terms {
        rulebook: &rulebook,
        returns: if yes { &returns } else { &equal },
        profits: if yes { &profits } else { &equal },
        days_per_year: year,
        minimum_days,
    };
    let mut out = days_json(&record, &ledger);
    let metrics = |terms: Terms<'_>| metrics_json(&terms, &record);
    out.insert(
        "metrics".into(),
        json!({
            "un": metrics(weighted(false, minimum)),
            "ub": metrics(weighted(false, 0)),
            "wn": metrics(weighted(true, minimum)),
            "wb": metrics(weighted(true, 0)),
        }),
    );
    out.insert("stats_u".into(), stats_json(&weighted(false, 0), &record));
    out.insert("stats_w".into(), stats_json(&weighted(true, 0), &record));
    let scorer = Scorer::new(&rulebook, now);
    for (name, value) in totals_json(&scorer, &ledger) {
        out.insert(name.into(), value);
    }
    for (name, value) in drawdown_json(&rulebook, &record, &ledger) {
        out.insert(name.into(), value);
    }
    let penalties: BTreeMap<String, Option<f64>> = rulebook
        .scoring
        .class
        .keys()
        .map(|class| (class.to_string(), scorer.risk_adjusted_penalty(*class, &record)))
        .collect();
    out.insert("risk_adjusted_performance_penalty".into(), json!(penalties));
    Ok(Value::Object(out))
}

fn days_json(record: &Record, ledger: &Ledger) -> Map<String, Value> {
    let days = &record.days;
    let by_date = |values: &[f64]| -> BTreeMap<String, f64> {
        days.dates().map(|date| date.to_string()).zip(values.iter().copied()).collect()
    };
    let percents: Vec<f64> =
        days.returns().iter().map(|value| (float::exp(*value) - 1.0) * 100.0).collect();
    let Value::Object(out) = json!({
        "daily_return_log": days.returns(),
        "daily_return_log_by_date": by_date(days.returns()),
        "daily_pnl_by_date": by_date(days.profits()),
        "daily_return_percentage": percents,
        "daily_returns_pct": percents,
        "daily_return_ratio_simple": ratios(ledger),
        "trading_days": days.count(),
        "screen_minimum_interaction": days.count() >= CHALLENGE_DAYS,
    }) else {
        return Map::new();
    };
    out
}

/// Returns the change of the value by date, from the cells that end at midnight. A chart of the
/// reference; nothing is decided by it.
fn ratios(ledger: &Ledger) -> BTreeMap<String, f64> {
    let mut before = 1.0;
    let at_midnight = ledger.cells().filter(|cell| cell.last_update.ms_of_day() == 0);
    at_midnight
        .map(|cell| {
            let date = UtcMs(cell.last_update.0 - DAY_MS).date();
            let change = cell.value / before - 1.0;
            before = cell.value;
            (CivilDate::to_string(&date), change)
        })
        .collect()
}

fn metrics_json(terms: &Terms<'_>, record: &Record) -> BTreeMap<&'static str, f64> {
    Metric::ALL.into_iter().map(|metric| (metric.name(), metric.value(terms, record))).collect()
}

fn stats_json(terms: &Terms<'_>, record: &Record) -> Value {
    let stats = ReturnStatistics::of(terms, record);
    json!({
        "average": stats.average,
        "variance": infinite(stats.variance),
        "ann_volatility": infinite(stats.volatility),
        "ann_downside_volatility": infinite(stats.downside_volatility),
        "ann_excess_return": stats.excess,
        "base_return_log": stats.yearly,
        "base_return": stats.yearly_percent(),
    })
}

fn totals_json(scorer: &Scorer<'_>, ledger: &Ledger) -> [(&'static str, Value); 5] {
    let totals = Totals::of(scorer, ledger);
    [
        ("product_gain", json!(totals.gain)),
        ("product_loss", json!(totals.loss)),
        ("total_product", json!(totals.gain * totals.loss)),
        ("total_duration_ms", json!(totals.covered)),
        ("raw_pnl", json!(totals.pnl)),
    ]
}

fn drawdown_json(
    rulebook: &Rulebook,
    record: &Record,
    ledger: &Ledger,
) -> [(&'static str, Value); 6] {
    let clamped = record.worst_ratio.map(|ratio| ratio.clamp(0.0, 1.0));
    let limit = rulebook.elimination.drawdown_max.value;
    let verdict = drawdown::test(rulebook.switches.drawdown_limit, limit, clamped);
    let percent = clamped.map_or(0.0, drawdown::percent_reported);
    let daily = daily_drawdown(record.days.returns());
    let kept = if record.days.count() == 0 { 0.0 } else { 1.0 - daily };
    [
        ("instantaneous_max_drawdown", json!(record.drawdown())),
        ("is_beyond_max_drawdown", json!([verdict.breached, percent])),
        ("max_drawdown_threshold_penalty", json!(drawdown_penalty(rulebook, Some(ledger)))),
        ("risk_normalization", json!(drawdown_factor(rulebook, record))),
        ("metrics_daily_max_drawdown", json!(daily)),
        ("daily_max_drawdown", json!(kept)),
    ]
}
