//! Cases of kind `slippage`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use proctor_engine::Rulebook;
use proctor_engine::prices::slippage::{Features, SlippageRequest, slippage};
use proctor_engine::rulebook::VANTA_PARITY;
use proctor_types::{TradePair, UtcMs};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Input {
    trade_pair: TradePair,
    leverage: f64,
    value: f64,
    bid: f64,
    ask: f64,
    processed_ms: i64,
    /// By UTC date.
    #[serde(default)]
    features: BTreeMap<String, Day>,
    /// Dollars by `<currency>USD`.
    #[serde(default)]
    conversion: BTreeMap<String, f64>,
}

/// What was known of the pairs on one day, each by pair id.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Day {
    vol: BTreeMap<String, f64>,
    adv: BTreeMap<String, f64>,
}

/// Returns what our engine says for `input`, in the shape of the reference's output.
pub(crate) fn run(input: &Value) -> Result<Value> {
    let input = Input::deserialize(input).context("not a case of kind slippage")?;
    let rulebook = Rulebook::parse(VANTA_PARITY)?;
    let features = features(&input);
    let request = SlippageRequest {
        pair: input.trade_pair,
        leverage: input.leverage,
        value_usd: input.value,
        bid: input.bid,
        ask: input.ask,
        at: UtcMs(input.processed_ms),
        features: features.as_ref(),
    };
    Ok(match slippage(&rulebook.slippage, &request) {
        Ok(rate) => json!({ "slippage": rate, "error": null }),
        Err(error) => json!({ "slippage": null, "error": error.to_string() }),
    })
}

/// Returns the features of the order's UTC day, when both of them are known.
fn features(input: &Input) -> Option<Features> {
    let day = input.features.get(&UtcMs(input.processed_ms).date().to_string())?;
    Some(Features {
        volatility: *day.vol.get(input.trade_pair.id())?,
        average_daily_volume: *day.adv.get(input.trade_pair.id())?,
        usd_per_base: input.conversion.get(&format!("{}USD", input.trade_pair.base())).copied(),
    })
}
