//! Cases of kind `challenge`: ranking, inspection and whole refreshes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use proctor_engine::Rulebook;
use proctor_engine::challenge_period::ranking::{self, ClassScores, Contest};
use proctor_engine::rulebook::{Switches, VANTA};
use proctor_types::{AssetClass, TraderId};
use serde::Deserialize;
use serde_json::{Value, json};

/// Thresholds that a case overrides.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "PROMOTION_THRESHOLD_RANK")]
    funded_per_class: Option<u32>,
    #[serde(rename = "DYNAMIC_MIN_DAYS_NUM_MINERS")]
    minimum_days_rank: Option<u32>,
}

/// Returns what our engine says for `input`, in the shape of the reference's output.
pub(crate) fn run(input: &Value) -> Result<Value> {
    match input.get("op").and_then(Value::as_str) {
        Some("evaluate") => evaluate(input),
        other => bail!("no such op: {other:?}"),
    }
}

fn rulebook(config: &Config) -> Result<Rulebook> {
    let mut rulebook = Rulebook::parse(VANTA)?;
    rulebook.switches = Switches::PARITY;
    if let Some(rank) = config.funded_per_class {
        rulebook.challenge.funded_per_class.value = rank;
    }
    Ok(rulebook)
}

#[derive(Deserialize)]
struct Evaluate {
    #[serde(default)]
    config: Config,
    asset_selections: BTreeMap<TraderId, AssetClass>,
    success_hotkeys: Vec<TraderId>,
    promotion_eligible_hotkeys: Vec<TraderId>,
    asset_softmaxed_scores: BTreeMap<AssetClass, BTreeMap<TraderId, f64>>,
}

fn evaluate(input: &Value) -> Result<Value> {
    let case = Evaluate::deserialize(input).context("not an evaluation")?;
    let rulebook = rulebook(&case.config)?;
    let contest = Contest {
        funded: case.success_hotkeys.iter().collect(),
        eligible: case.promotion_eligible_hotkeys.iter().collect(),
        classes: case.asset_selections.iter().map(|(trader, class)| (trader, *class)).collect(),
        ranked: case.asset_softmaxed_scores.keys().copied().collect(),
    };
    let scores: ClassScores<'_> = case
        .asset_softmaxed_scores
        .iter()
        .map(|(class, scores)| (*class, scores.iter().map(|(t, score)| (t, *score)).collect()))
        .collect();
    let verdicts = ranking::rank(&rulebook.challenge, &rulebook.switches, &contest, &scores);
    Ok(json!({ "promote": sorted(&verdicts.promote), "demote": sorted(&verdicts.demote) }))
}

fn sorted(traders: &BTreeSet<&TraderId>) -> Vec<String> {
    traders.iter().map(ToString::to_string).collect()
}
