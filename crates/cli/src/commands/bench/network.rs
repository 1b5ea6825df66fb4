//! `proctor bench network`: headers, and a follower that catches up, joins, and keeps up over loopback.
//!
//! Everything goes through what a node runs: the secure stream, the network's loop, the log on the disk,
//! the engine. What bounds a figure is measured in the same run and stands beside it.

mod catch_up;
mod lag;
mod nodes;
mod stream;
mod usage;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use proctor_commit_log::probe::Probe;
use proctor_node::bench::{self, Aim, Figure, Plan, Scale};
use serde_json::Value;

use super::rpc::Directory;

/// Bytes of the file that the bare disk is measured with.
const PROBE_BYTES: u64 = 64 << 20;

/// Arguments of `proctor bench network`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Commits that a new follower catches up with; the aim speaks of 1000000.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    commits: u64,
    /// Commits a second that a follower keeps up with, one rate after the other.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_value = "10,50,200")]
    rates: Vec<u32>,
    /// For how long each rate is kept, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Where to write; a directory of its own is made inside and removed afterwards.
    #[arg(long, value_name = "DIR", default_value = "data/bench")]
    data: PathBuf,
}

/// Runs the benchmark.
pub(super) fn run(args: &Args, scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<()> {
    let commits = scale.pick(args.commits, 300);
    ensure!(commits >= 10, "--commits is to be at least 10");
    ensure!(args.seconds > 0, "--seconds is to be at least 1");
    ensure!(args.rates.iter().all(|rate| (1..=10_000).contains(rate)), "--rates: 1 to 10000");
    std::fs::create_dir_all(&args.data).with_context(|| args.data.display().to_string())?;
    let directory = Directory::new("network", &args.data)?;
    bench::headers(scale, report)?;
    catch_up::measure(&directory.0, commits, report)?;
    let (rates, seconds) = match scale {
        Scale::Full => (args.rates.as_slice(), args.seconds),
        Scale::Quick => ([20].as_slice(), 1),
    };
    lag::measure(&directory.0, rates, seconds, report)
}

/// Returns a figure before it is measured.
fn plan(figure: &'static str, unit: &'static str, aim: Option<Aim>, params: Value) -> Plan {
    Plan { bench: "network", figure, unit, aim, params }
}

/// Returns a file beside those of the nodes, for measuring the bare disk.
fn probe(directory: &Path) -> Result<Probe> {
    Probe::create(directory, PROBE_BYTES, PROBE_BYTES).context("cannot measure the bare disk")
}

/// Returns the value below which a share of `samples` lies; they are sorted.
fn percentile(samples: &[f64], share: f64) -> f64 {
    let last = samples.len().saturating_sub(1);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (last as f64 * share).ceil() as usize;
    samples.get(place).copied().unwrap_or(f64::NAN)
}
