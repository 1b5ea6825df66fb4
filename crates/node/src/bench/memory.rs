//! How much memory accounts with full ledgers take.

use proctor_types::UtcMs;
use proctor_types::time::DAY_MS;
use serde_json::json;

use super::rounds::Plan;
use super::workload::{START, Workload, apply};
use super::{Aim, BenchError, Figure, Scale};

const CELL_MS: i64 = DAY_MS / 2;

/// Returns by how much the process grows for an engine whose accounts have ledgers over the whole
/// window, one of the portfolio and one of a pair each.
///
/// The engine gets there by applying prices for that long, so all that it keeps is counted, and
/// what the allocator keeps beside it.
pub(super) fn accounts(scale: Scale) -> Result<Figure, BenchError> {
    let (accounts, cells) = (scale.pick(10_000, 50), scale.pick(240, 10));
    let plan = Plan {
        bench: "engine",
        figure: "memory of accounts with full ledgers",
        unit: "MiB",
        aim: Some(Aim::AtMost(1_024.0)),
        params: json!({"accounts": accounts, "ledgers_each": 2, "cells_each": cells}),
    };
    let before = resident_bytes();
    // The window of a ledger is longer than a challenge may last.
    let workload = Workload::new(accounts).without_time_limit();
    let mut engine = workload.engine()?;
    let mut inputs = vec![workload.price(0, START)];
    inputs.extend(workload.orders(0));
    apply(&mut engine, START, inputs)?;
    for cell in 1..=cells {
        let at = UtcMs(START.0 + i64::try_from(cell).unwrap_or(0) * CELL_MS);
        apply(&mut engine, at, vec![workload.price(cell, at)])?;
    }
    let at = UtcMs(engine.stamp().at.0 + 1_000);
    apply(&mut engine, at, vec![workload.price(0, at)])?;
    let after = resident_bytes();
    let full = |account: &proctor_engine::account::Account| {
        account.ledgers.as_ref().is_some_and(|ledgers| {
            let pair = ledgers.pair(workload.pair()).map_or(0, |ledger| ledger.len());
            ledgers.portfolio().len().min(pair) >= cells
        })
    };
    let short = engine.view().accounts.iter().filter(|account| !full(account)).count();
    if short > 0 {
        return Err(BenchError::Workload(format!("{short} accounts lack ledger cells")));
    }
    let grown: Vec<f64> = before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before) as f64 / f64::from(1 << 20))
        .into_iter()
        .collect();
    Ok(plan.measured(&grown))
}

/// Returns how much memory of the process is resident, where the system tells (Linux).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}
