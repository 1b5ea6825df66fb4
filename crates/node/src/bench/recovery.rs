//! How long a node takes to come back: a log of a million inputs, with and without a snapshot.

use std::path::Path;
use std::sync::Arc;

use proctor_commit_log::{SnapshotStore, Storage};
use proctor_engine::Input;
use proctor_sequencer::{Batch, Opened, Writer, WriterConfig};
use proctor_types::{TraderId, UtcMs};
use serde_json::json;

use super::rounds::{Plan, timed};
use super::workload::{ROUND, START, Workload};
use super::{Aim, BenchError, Figure, Scale, log};

/// Inputs of a commit.
const PER_COMMIT: usize = 250;
/// Commits of a round, in which every trader orders once; its first input is a price.
const PER_ROUND: usize = 4;

/// Measures recovery from a snapshot and a tail, and from nothing but the log.
pub(super) fn figures(
    directory: &Path,
    scale: Scale,
    report: &mut dyn FnMut(Figure),
) -> Result<(), BenchError> {
    let orders = scale.pick(1_000, 4);
    let storage = log::storage_in(&directory.join("recovery"))?;
    let (commits, inputs, _) = build(&storage, orders)?;
    let plan = |figure, aim, replayed: u64| Plan {
        bench: "log",
        figure,
        unit: "s",
        aim,
        params: json!({
            "inputs": inputs,
            "commits": commits,
            "replayed_commits": replayed,
        }),
    };
    let (replayed, seconds) = reopen(&storage, scale.pick(5, 1))?;
    let aim = Some(Aim::AtMost(2.0));
    report(plan("recovery from a snapshot", aim, replayed).measured(&seconds));
    SnapshotStore::new(Arc::clone(&storage)).prune(0, &[])?;
    let (replayed, seconds) = reopen(&storage, scale.pick(3, 1))?;
    report(plan("recovery without a snapshot", None, replayed).measured(&seconds));
    Ok(())
}

/// Writes a log in which every trader orders this often, with a snapshot when nine tenths are done,
/// and leaves it as a crash does. Returns how many commits it has, how many inputs, and a trader.
pub(super) fn build(
    storage: &Arc<dyn Storage>,
    orders: usize,
) -> Result<(u64, usize, TraderId), BenchError> {
    let mut writer = Writer::open(Arc::clone(storage), config())?.writer;
    let workload = Workload::new(PER_ROUND * PER_COMMIT - 1);
    let opening = workload.opening();
    commit(&mut writer, vec![Batch { at: opening.at, inputs: opening.inputs }])?;
    for number in 0..orders {
        let at = UtcMs(START.0 + i64::try_from(number).unwrap_or(0) * ROUND.0);
        let mut inputs = std::iter::once(workload.price(number, at)).chain(workload.orders(number));
        let mut take = || inputs.by_ref().take(PER_COMMIT).collect::<Vec<Input>>();
        let batches = (0..PER_ROUND).map(|_| Batch { at, inputs: take() }).collect();
        commit(&mut writer, batches)?;
        if number + 1 == orders * 9 / 10 {
            writer.snapshot()?;
        }
    }
    Ok((writer.stamp().commit, orders * PER_ROUND * PER_COMMIT, workload.trader(0)))
}

fn commit(writer: &mut Writer, batches: Vec<Batch>) -> Result<(), BenchError> {
    for answer in writer.commit(batches) {
        if let Some(refusal) = answer?.replies.iter().find_map(|reply| reply.as_ref().err()) {
            return Err(BenchError::Workload(refusal.to_string()));
        }
    }
    Ok(())
}

/// Opens the log this often; returns how many commits were folded each time, and the seconds.
fn reopen(storage: &Arc<dyn Storage>, rounds: usize) -> Result<(u64, Vec<f64>), BenchError> {
    let mut seconds = Vec::new();
    let mut folded = 0;
    for _ in 0..rounds {
        let (elapsed, opened) = timed(|| Writer::open(Arc::clone(storage), config()));
        let Opened { writer, replayed, .. } = opened?;
        seconds.push(elapsed.as_secs_f64());
        folded = replayed;
        // Not closed: that would write a snapshot.
        drop(writer);
    }
    Ok((folded, seconds))
}

fn config() -> WriterConfig {
    WriterConfig { snapshot_every: 0, ..WriterConfig::default() }
}
