//! How long a node takes to come back or to join: a million inputs, with and without a snapshot.

use std::path::Path;
use std::sync::Arc;

use proctor_commit_log::{Base, Reader, SnapshotStore, Storage};
use proctor_engine::Input;
use proctor_sequencer::{Batch, Opened, Writer, WriterConfig, replay};
use proctor_types::{TraderId, UtcMs};
use proctor_wire::checkpoint;
use serde_json::json;

use super::rounds::{Plan, timed};
use super::workload::{ROUND, START, Workload};
use super::{Aim, BenchError, Figure, Scale, log};

/// Inputs of a commit.
const PER_COMMIT: usize = 250;
/// Commits that a follower takes over under one sync, at most.
const GROUP: usize = 64;
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
    for by_snapshot in [true, false] {
        let figure = if by_snapshot { "join by a snapshot" } else { "join by replay" };
        let mut seconds = Vec::new();
        for round in 0..scale.pick(3, 1) {
            let place = log::storage_in(&directory.join(format!("{figure} {round}")))?;
            seconds.push(join(&storage, &place, by_snapshot)?);
        }
        report(plan(figure, None, if by_snapshot { replayed } else { commits }).measured(&seconds));
    }
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

/// Brings an empty node in `place` to the end of the log in `source`, as far as the node itself does it:
/// without the network. Returns the seconds.
fn join(
    source: &Arc<dyn Storage>,
    place: &Arc<dyn Storage>,
    by_snapshot: bool,
) -> Result<f64, BenchError> {
    let found = SnapshotStore::new(Arc::clone(source)).newest(u64::MAX)?.0.filter(|_| by_snapshot);
    let from = found.as_ref().map_or(1, |found| found.head.index + 1);
    let tail: Vec<Vec<u8>> = Reader::open_at(Arc::clone(source), from)?
        .map(|record| record.map(|record| record.payload))
        .collect::<Result<_, _>>()?;
    let mut writer = Writer::open(Arc::clone(place), config())?.writer;
    let (elapsed, joined) = timed(|| -> Result<(), BenchError> {
        if let Some(found) = &found {
            let staged = SnapshotStore::new(Arc::clone(place)).stage(found.head.index)?;
            staged.write_at(0, &found.state)?;
            let engine = replay::restore(found).map_err(broken)?;
            if checkpoint::encode(&engine).map_err(broken)? != found.state {
                return Err(BenchError::Workload("a state with two encodings".into()));
            }
            let len = found.state.len() as u64;
            let head = staged.finish(found.head.hash, found.state_digest, len)?;
            let base = Base { head, proof: Vec::new() };
            writer.begin_after(engine, &base).map_err(broken)?;
        }
        for group in tail.chunks(GROUP) {
            writer.adopt(group).map_err(broken)?;
        }
        Ok(())
    });
    joined.map(|()| elapsed.as_secs_f64())
}

fn broken(error: impl ToString) -> BenchError {
    BenchError::Workload(error.to_string())
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
