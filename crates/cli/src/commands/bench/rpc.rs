//! `proctor bench rpc`: the four rows of the services, by function call, replica and gRPC, and orders.
//!
//! A real node in this process: a log on the disk, the sequencer, the services on a loopback port. With
//! `--manager` the same rows run on Python's shared dict in the same sitting, in turns with ours.

mod cpu;
mod manager;
mod orders;
mod rows;
mod server;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};

/// Arguments of `proctor bench rpc`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where to write; a directory of its own is made inside and removed afterwards.
    #[arg(long, value_name = "DIR", default_value = "data/bench")]
    data: PathBuf,
    /// The script that measures the same rows on multiprocessing.Manager; skipped without python3.
    #[arg(long, value_name = "FILE")]
    manager: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// Rounds in which the cases take turns.
    rounds: usize,
    /// Calls of a case in a round, by what one takes.
    nanoseconds: u32,
    microseconds: u32,
    milliseconds: u32,
    /// Orders one after the other.
    serial: usize,
    /// Submitters at the same time, and orders of each.
    submitters: usize,
    each: usize,
}

impl Scale {
    fn new(quick: bool) -> Self {
        if quick {
            Self {
                rounds: 2,
                nanoseconds: 200,
                microseconds: 3,
                milliseconds: 2,
                serial: 4,
                submitters: 4,
                each: 2,
            }
        } else {
            Self {
                rounds: 7,
                nanoseconds: 200_000,
                microseconds: 200,
                milliseconds: 20,
                serial: 400,
                submitters: 64,
                each: 30,
            }
        }
    }

    fn orders(self) -> usize {
        self.serial + 2 * self.submitters * self.each
    }
}

/// Runs the benchmark; prints one JSON object per figure.
pub(super) fn run(args: &Args, quick: bool) -> Result<()> {
    let scale = Scale::new(quick);
    std::fs::create_dir_all(&args.data).with_context(|| args.data.display().to_string())?;
    let directory = Directory::new("rpc", &args.data)?;
    // As two processes have them: a node has its workers, and who calls it has a thread of his own.
    let of_node = Builder::new_multi_thread().enable_all().build()?;
    let of_client = Builder::new_current_thread().enable_all().build()?;
    // The runtimes are gone before the directory is.
    let outcome = of_client.block_on(measure(args, scale, &directory.0, of_node.handle()));
    of_node.shutdown_timeout(std::time::Duration::from_secs(5));
    outcome
}

async fn measure(args: &Args, scale: Scale, directory: &Path, runtime: &Handle) -> Result<()> {
    let python = args.manager.as_deref().map(manager::Manager::new);
    let node = server::start(&directory.join("rows"), 0, runtime).await?;
    let mut rows = rows::Rows::new(&node, scale, directory).await?;
    for _ in 0..scale.rounds {
        rows.round().await?;
        if let Some(python) = &python {
            rows.compare(&python.round()?);
        }
    }
    rows.report();
    if let Some(why) = python.and_then(|python| python.skipped()) {
        report(&json!({ "bench": "rpc", "way": "manager", "skipped": why }));
    }
    drop(rows);
    node.stop().await;
    let node = server::start(&directory.join("orders"), scale.orders(), runtime).await?;
    orders::measure(&node, scale, directory).await?;
    node.stop().await;
    Ok(())
}

pub(super) fn report(line: &Value) {
    say!("{line}");
}

/// Returns the median, the least and the greatest of `samples`.
fn spread(samples: &[f64]) -> (f64, [f64; 2]) {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let ends = sorted.first().zip(sorted.last()).map_or([f64::NAN; 2], |(low, high)| [*low, *high]);
    (middle, ends)
}

/// Returns what says how busy the machine was.
pub(super) fn machine() -> Value {
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    json!({ "cores": std::thread::available_parallelism().map_or(1, usize::from), "load": load })
}

/// A directory of this run's own, removed with all that is in it when the run ends.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    /// Makes it in `parent`, named after `bench`.
    pub(super) fn new(bench: &str, parent: &Path) -> Result<Self> {
        let path = parent.join(format!("{bench}-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is in nobody's way; it says by its name what it is.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
