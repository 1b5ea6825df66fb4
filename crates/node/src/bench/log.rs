//! `bench log`: durable commits against the disk's own speed, and recovery.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proctor_commit_log::probe::{Probe, batch_bytes};
use proctor_commit_log::storage::files::FileStorage;
use proctor_commit_log::{Log, LogConfig, Storage};
use proctor_engine::Input;
use proctor_engine::state_digest::Effects;
use proctor_types::{Digest, UtcMs};
use proctor_wire::log_entry::LogEntry;
use serde_json::json;

use super::rounds::{Plan, per_second, timed};
use super::workload::{START, Workload};
use super::{Aim, BenchError, Figure, Scale, recovery};

const BENCH: &str = "log";
/// Length of the file that the bare disk is measured with.
const PROBE_BYTES: u64 = 16 << 20;

/// Measures the log in a new directory inside `parent`, which is removed afterwards, and tells
/// `report` each figure.
///
/// # Errors
/// [`BenchError`] when the directory cannot be used or the log fails.
pub fn log(scale: Scale, parent: &Path, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    let scratch = Scratch::create(parent)?;
    for inputs in [1, 16, 256] {
        commits(&scratch.0, scale, inputs, report)?;
    }
    recovery::figures(&scratch.0, scale, report)
}

/// Commits of this many market orders, each encoded, appended and synced, in turns with two files
/// of the same disk: one that was zero-filled before, which is the bare disk's rate, and one that
/// is zero-filled ahead as it goes, like the log's segments.
fn commits(
    directory: &Path,
    scale: Scale,
    inputs: usize,
    report: &mut dyn FnMut(Figure),
) -> Result<(), BenchError> {
    let (turns, syncs) = (scale.pick(41, 3), scale.pick(50, 4));
    let rounds = u32::try_from(syncs).unwrap_or(u32::MAX);
    let workload = Workload::new(inputs);
    let orders: Vec<Vec<Input>> = (0..syncs).map(|number| workload.orders(number)).collect();
    let bytes = entry(0, orders[0].clone()).encode().len();
    let layout = LogConfig::default();
    let (length, ahead) = (layout.segment_bytes, layout.preallocate_bytes);
    let mut log = Log::open(storage_in(&directory.join(format!("commits-{inputs}")))?, layout)?.0;
    let (mut bare, mut growing) = (
        probe(&directory.join(format!("bare-{inputs}")), PROBE_BYTES, PROBE_BYTES)?,
        probe(&directory.join(format!("growing-{inputs}")), length, ahead)?,
    );
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for turn in 0..turns {
        let batch: Vec<LogEntry> =
            (0..).zip(&orders).map(|(at, orders)| entry(at, orders.clone())).collect();
        // Who goes first changes, so that nobody profits from its place.
        for who in [turn % 3, (turn + 1) % 3, (turn + 2) % 3] {
            let write = batch_bytes(1, bytes);
            let elapsed = match who {
                0 => logged(&mut log, &batch)?,
                1 => bare.run(write, rounds).map_err(failed("write the probe in", directory))?,
                _ => growing.run(write, rounds).map_err(failed("write the probe in", directory))?,
            };
            rates[who].push(per_second(syncs, elapsed));
        }
    }
    log.close()?;
    let [own, bare, growing] = rates;
    let plan = Plan {
        bench: BENCH,
        figure: "durable commits",
        unit: "commits per second",
        aim: Some(Aim::RatioAtLeast(0.9)),
        params: json!({"inputs_per_commit": inputs, "bytes_per_commit": bytes, "commits": syncs}),
    };
    for (other, rates) in [
        ("fdatasync of as many bytes", bare),
        ("fdatasync of as many bytes, zero-filling ahead", growing),
    ] {
        report(plan.compared(&own, other, "per second", &rates));
    }
    Ok(())
}

/// Returns how long it takes to commit `batch`, each entry with its own sync.
fn logged(log: &mut Log, batch: &[LogEntry]) -> Result<Duration, BenchError> {
    let (elapsed, result) = timed(|| {
        batch.iter().try_for_each(|entry| {
            log.append(&entry.encode())?;
            log.sync().map(drop)
        })
    });
    result?;
    Ok(elapsed)
}

/// Returns a probe in a directory of its own.
fn probe(path: &Path, length: u64, ahead: u64) -> Result<Probe, BenchError> {
    fs::create_dir(path).map_err(failed("create", path))?;
    Probe::create(path, length, ahead).map_err(failed("create a probe in", path))
}

fn entry(at: i64, inputs: Vec<Input>) -> LogEntry {
    LogEntry {
        at: UtcMs(START.0 + at),
        digest_before: Digest::of(b"before"),
        effects_before: Effects::default(),
        inputs,
    }
}

/// Returns the storage of a log in the new directory `path`.
pub(super) fn storage_in(path: &Path) -> Result<Arc<dyn Storage>, BenchError> {
    Ok(Arc::new(FileStorage::create(path).map_err(failed("create", path))?))
}

pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl Fn(std::io::Error) -> BenchError + Copy {
    move |error| BenchError::Directory { action, path: path.to_owned(), error }
}

/// A directory of this run's own, removed with all that is in it when the run ends.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn create(parent: &Path) -> Result<Self, BenchError> {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
        let path = parent.join(format!("run-{}", std::process::id()));
        // A directory that is there already belongs to somebody else and is left alone.
        fs::create_dir(&path).map_err(failed("create", &path))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in nobody's way; it says by its name what it is.
        drop(fs::remove_dir_all(&self.0));
    }
}
