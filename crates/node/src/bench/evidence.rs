//! `bench evidence`: how long evidence takes to write and to verify, and how large it is.

use std::path::Path;

use proctor_engine::View;
use proctor_types::TraderId;
use serde_json::{Value, json};

use super::log::{Scratch, storage_in};
use super::rounds::{Plan, timed};
use super::{Aim, BenchError, Figure, Scale, recovery};
use crate::evidence::{Expected, Which, evidence, verify};
use crate::run::{self, RunError};
use crate::simulation::{Scenario, Simulation};

const BENCH: &str = "evidence";

/// Measures evidence from the log of a demo and from one of a million inputs, in a new directory
/// inside `parent`, which is removed afterwards; tells `report` each figure.
///
/// # Errors
/// [`BenchError`] when the directory cannot be used, or when evidence is not confirmed.
pub fn evidence_figures(
    scale: Scale,
    parent: &Path,
    report: &mut dyn FnMut(Figure),
) -> Result<(), BenchError> {
    let scratch = Scratch::create(parent)?;
    let rounds = scale.pick(5, 1);
    let demo = scratch.path().join("demo");
    let scenario = scale.pick(Scenario::default(), Scenario { seed: 1, traders: 5, days: 1 });
    let batches = Simulation::new(scenario).map(Ok::<_, RunError>);
    let finished = run::run(&demo, Default::default(), batches, |_| {})
        .map_err(|error| BenchError::Workload(error.to_string()))?;
    for (kind, trader) in examples(&finished.view) {
        let log = json!({ "log": "demo", "account": kind,
            "commits": finished.view.stamp.commit, "traders": scenario.traders });
        figures(&demo, &trader, &log, rounds, report)?;
    }
    let million = scratch.path().join("million");
    std::fs::create_dir_all(&million).map_err(super::log::failed("create", &million))?;
    let orders = scale.pick(1_000, 4);
    let (commits, inputs, trader) = recovery::build(&storage_in(&million.join("log"))?, orders)?;
    let log = json!({ "log": "orders", "account": "active", "commits": commits, "inputs": inputs });
    figures(&million, &trader, &log, rounds, report)
}

/// Returns an account that has ended and one that has not, with the most positions each.
fn examples(view: &View) -> Vec<(&'static str, TraderId)> {
    let most = |ended: bool| {
        let accounts = view.accounts.iter().filter(|a| a.elimination.is_some() == ended);
        let traded = |account: &proctor_engine::account::Account| -> u32 {
            account.book.pairs().iter().map(|book| book.totals.positions).sum()
        };
        accounts.max_by_key(|account| traded(account)).map(|account| account.trader.clone())
    };
    let ended = most(true).map(|trader| ("ended", trader));
    ended.into_iter().chain(most(false).map(|trader| ("active", trader))).collect()
}

fn figures(
    data: &Path,
    trader: &TraderId,
    log: &Value,
    rounds: usize,
    report: &mut dyn FnMut(Figure),
) -> Result<(), BenchError> {
    let (mut written, mut verified, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (elapsed, file) = timed(|| evidence(data, trader, Which::Last));
        let file = file.map_err(|error| BenchError::Workload(error.to_string()))?.text;
        written.push(elapsed.as_secs_f64());
        let (elapsed, confirmed) = timed(|| verify(file.as_bytes(), &Expected::default()));
        confirmed.map_err(|error| BenchError::Workload(error.to_string()))?;
        verified.push(elapsed.as_secs_f64());
        bytes.push(file.len() as f64 / 1e6);
    }
    let plan = |figure, unit, aim| Plan { bench: BENCH, figure, unit, aim, params: log.clone() };
    report(plan("evidence written", "s", Some(Aim::AtMost(1.0))).measured(&written));
    report(plan("evidence verified", "s", Some(Aim::AtMost(1.0))).measured(&verified));
    report(plan("size of the file", "MB", None).measured(&bytes));
    Ok(())
}
