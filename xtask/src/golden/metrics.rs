//! Cases of kind `metrics`: one ledger, segments, minimum days, risk profiles, ranks.
//!
//! Each operation asks the engine's scoring, with the parity switches on.

mod field;
pub(super) mod rows;
mod single;

use anyhow::{Context, Result, bail};
use proctor_engine::Rulebook;
use proctor_engine::rulebook::{Switches, VANTA};
use serde_json::Value;

/// Returns what our engine says for `input`, in the shape of the reference's output.
pub(crate) fn run(input: &Value) -> Result<Value> {
    let mut rulebook = Rulebook::parse(VANTA)?;
    rulebook.switches = Switches::PARITY;
    let op = input.get("op").and_then(Value::as_str).context("a case without op")?;
    match op {
        "single" => single::run(rulebook, input),
        "segment" => field::segment(&rulebook, input),
        "mindays" => field::minimum_days(rulebook, input),
        "risk" => field::risk(&rulebook, input),
        "scoring" => field::scoring(rulebook, input),
        other => bail!("unknown op {other}"),
    }
}

/// Returns a float as the reference prints it: what JSON cannot say is a string.
fn float(number: Option<f64>) -> Value {
    number.map_or_else(|| Value::from("inf"), Value::from)
}
