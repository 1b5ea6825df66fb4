//! Ops over several traders: `segment`, `mindays`, `risk`, `scoring`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proctor_engine::Rulebook;
use proctor_engine::scoring::penalties::risk_penalty;
use proctor_engine::scoring::risk_profile::risk_score;
use proctor_engine::scoring::segmentation::merged_cells;
use proctor_engine::scoring::{
    ClassScores, Contestant, Metric, ScoredPosition, Scorer, Scores, weights,
};
use proctor_types::{AssetClass, TraderId, Usd, UtcMs, float};
use serde_json::{Value, json};

use super::super::ledger::{CP_FIELDS, cell_json};
use super::rows::{Bundle, BundleRows, PositionRow, member};

/// The traders of a case in the order of their names, with their ledgers.
struct Field {
    bundles: BTreeMap<TraderId, Bundle>,
}

impl Field {
    fn new(rulebook: &Rulebook, input: &Value) -> Result<Self> {
        let fields: Vec<String> = member(input, "cp_fields")?;
        let rows: BTreeMap<TraderId, BundleRows> = member(input, "ledgers")?;
        let bundles: Result<_> = rows
            .into_iter()
            .map(|(trader, rows)| Ok((trader, Bundle::new(rulebook, &fields, &rows)?)))
            .collect();
        Ok(Self { bundles: bundles? })
    }

    fn contestants<'a>(
        &'a self,
        scorer: &Scorer<'a>,
        mut positions: impl FnMut(&TraderId) -> Vec<ScoredPosition>,
        mut size: impl FnMut(&TraderId) -> Option<Usd>,
    ) -> Vec<Contestant<'a>> {
        let contestant = |(trader, bundle): (&'a TraderId, &'a Bundle)| {
            scorer.contestant(trader, &bundle.view(), positions(trader), size(trader))
        };
        self.bundles.iter().map(contestant).collect()
    }
}

pub(super) fn segment(rulebook: &Rulebook, input: &Value) -> Result<Value> {
    let field = Field::new(rulebook, input)?;
    let scorer = Scorer::new(rulebook, UtcMs(0));
    let contestants = field.contestants(&scorer, |_| Vec::new(), |_| None);
    let of_class = |class: AssetClass| -> Result<Value> {
        let terms = scorer.terms(class, None).context("a class that is not scored")?;
        let segments = contestants.iter().zip(field.bundles.values()).map(|(one, bundle)| {
            let mut cells = Vec::new();
            merged_cells(rulebook.switches.merge_class_mdd, class, &bundle.view(), |cell| {
                cells.push(cell_json(cell));
            });
            let record = one.classes.get(&class).cloned().unwrap_or_default();
            let segment = json!({
                "cps": cells,
                "daily_return_log": record.days.returns(),
                "pnl_w": Metric::Pnl.value(&terms, &record),
            });
            (one.trader.to_string(), segment)
        });
        Ok(Value::Object(segments.collect()))
    };
    let classes = rulebook.scoring.class.keys();
    let segments: Result<BTreeMap<String, Value>> =
        classes.map(|class| Ok((class.to_string(), of_class(*class)?))).collect();
    Ok(json!({ "cp_fields": CP_FIELDS, "segments": segments? }))
}

pub(super) fn minimum_days(mut rulebook: Rulebook, input: &Value) -> Result<Value> {
    let config = input.get("config").and_then(Value::as_object);
    for (name, value) in config.into_iter().flatten() {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.with_context(|| format!("{name} is not a number"))?;
        let rules = &mut rulebook.scoring.minimum_days;
        match name.as_str() {
            "DYNAMIC_MIN_DAYS_NUM_MINERS" => rules.rank.value = number,
            "STATISTICAL_CONFIDENCE_MINIMUM_N_FLOOR" => rules.floor.value = number,
            "STATISTICAL_CONFIDENCE_MINIMUM_N_CEIL" => rules.ceiling.value = number,
            other => anyhow::bail!("unknown threshold {other}"),
        }
    }
    let field = Field::new(&rulebook, input)?;
    let scorer = Scorer::new(&rulebook, UtcMs(0));
    let contestants = field.contestants(&scorer, |_| Vec::new(), |_| None);
    let days = scorer.minimum_days(&contestants.iter().collect::<Vec<_>>());
    Ok(json!({ "min_days": days }))
}

pub(super) fn risk(rulebook: &Rulebook, input: &Value) -> Result<Value> {
    let positions: Vec<PositionRow> = member(input, "positions")?;
    let scored: Vec<_> = positions.iter().map(|position| position.scored(rulebook)).collect();
    let score = risk_score(&rulebook.scoring.risk_profile, &scored);
    let profiles: BTreeMap<&str, Value> = positions
        .iter()
        .map(|position| (position.uuid.as_str(), profile_json(rulebook, position)))
        .collect();
    Ok(json!({
        "full_criteria": scored.iter().map(|position| position.is_flagged).collect::<Vec<_>>(),
        "profiles": profiles,
        "score": score,
        "penalty": risk_penalty(rulebook, score),
    }))
}

fn profile_json(rulebook: &Rulebook, position: &PositionRow) -> Value {
    let rules = &rulebook.scoring.risk_profile;
    let profile = position.profile(rulebook);
    let flags = profile.flags(rules);
    let value = position.return_at_close;
    json!({
        "position_return": float::round_half_even((value - 1.0) * 100.0, 4),
        "relative_weighting_strength": float::pow(value, rules.return_power.value),
        "overall_flag": u8::from(flags.all_kinds()),
        "steps_utilization": profile.steps,
        "steps_criteria": u8::from(flags.steps),
        "monotonic_utilization": profile.monotonic_steps,
        "monotonic_criteria": u8::from(flags.monotonic_steps),
        "margin_utilization": profile.margin,
        "margin_criteria": u8::from(flags.margin),
        "leverage_advancement_utilization": profile.advancement,
        "leverage_advancement_criteria": u8::from(flags.advancement),
        "time_utilization": profile.irregularity,
        "time_criteria": u8::from(flags.irregularity),
    })
}

pub(super) fn scoring(mut rulebook: Rulebook, input: &Value) -> Result<Value> {
    rulebook.scoring.time_weighted.value = member(input, "weighting")?;
    let rulebook = rulebook;
    let positions: BTreeMap<TraderId, Vec<PositionRow>> = member(input, "positions")?;
    let sizes: BTreeMap<TraderId, Option<f64>> = member(input, "account_sizes")?;
    let minimum: BTreeMap<AssetClass, u32> = member(input, "asset_class_min_days")?;
    let field = Field::new(&rulebook, input)?;
    let scorer = Scorer::new(&rulebook, UtcMs(member(input, "now_ms")?));
    let scored = |trader: &TraderId| {
        let positions = positions.get(trader).into_iter().flatten();
        positions.map(|position| position.scored(&rulebook)).collect()
    };
    let size = |trader: &TraderId| Usd::new((*sizes.get(trader)?)?).ok();
    let contestants = field.contestants(&scorer, scored, size);
    let contestants: Vec<_> = contestants.iter().collect();
    // Scores of a single trader the reference computes and then does not use.
    let ranks = scorer.rank(&contestants, &minimum);
    let scores = scorer.score(&contestants, &minimum);
    let overall = weights::overall(&rulebook, &contestants, &scores);
    let testing = weights::by_rank(&rulebook, &contestants, &overall);
    let penalties: BTreeMap<_, _> = contestants
        .iter()
        .filter_map(|one| Some((one.trader, scorer.penalties(one)?.product())))
        .collect();
    let mut out = json!({
        "penalties": penalties,
        "results": by_trader(overall.into_iter()),
        "testing_weights": by_trader(testing.into_iter()),
        "scores": values_json(&scorer, &contestants, &ranks, &minimum),
    });
    out["combined"] = per_class(&ranks, |one| {
        by_trader(one.scores.iter().map(|score| (score.trader, score.combined)))
    });
    out["softmax"] = per_class(&scores, |one| {
        by_trader(one.scores.iter().map(|score| (score.trader, score.softmax)))
    });
    out["competitiveness"] = per_class(&scores, |one| json!(one.competitiveness));
    Ok(out)
}

fn per_class(scores: &Scores<'_>, of: impl Fn(&ClassScores<'_>) -> Value) -> Value {
    let classes = scores.classes.iter();
    Value::Object(classes.map(|(class, one)| (class.to_string(), of(one))).collect())
}

fn by_trader<'a>(rows: impl Iterator<Item = (&'a TraderId, f64)>) -> Value {
    Value::Object(rows.map(|(trader, value)| (trader.to_string(), json!(value))).collect())
}

/// Every metric of everyone who is ranked, also of those that have no weight.
fn values_json(
    scorer: &Scorer<'_>,
    contestants: &[&Contestant<'_>],
    scores: &Scores<'_>,
    minimum: &BTreeMap<AssetClass, u32>,
) -> Value {
    let mut classes = serde_json::Map::new();
    for class in scores.classes.keys() {
        let Some(terms) = scorer.terms(*class, minimum.get(class).copied()) else { continue };
        let ranked = contestants.iter().filter(|one| !scores.excluded.contains(&one.trader));
        let of_metric = |metric: Metric| {
            let rows = ranked.clone().filter_map(|one| {
                Some((one.trader, metric.value(&terms, one.classes.get(class)?)))
            });
            (metric.name().to_owned(), by_trader(rows))
        };
        classes.insert(class.to_string(), Metric::ALL.into_iter().map(of_metric).collect());
    }
    Value::Object(classes)
}
