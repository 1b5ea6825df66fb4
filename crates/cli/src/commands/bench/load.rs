//! `proctor bench load`: signed orders at a fixed rate for a long time, to a node in processes of its own.
//!
//! Orders are sent when they are due, whether or not the ones before were answered, and their time
//! runs from when they were due: a node that stalls cannot hide it. A trader waits for the pause that
//! the rules demand between two orders on a pair, so there are as many traders as the rate needs, and
//! they open and close in turns.

mod node;
mod orders;
mod outcomes;
mod watchers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::rpc::{Directory, machine, report};
use node::LoadNode;
use outcomes::Outcomes;

/// How often memory and progress are printed, in seconds, at most sixty times in a run.
const SAMPLE_SECONDS_MIN: u64 = 10;

/// Arguments of `proctor bench load`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Orders per second.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// With the services as processes of their own.
    #[arg(long)]
    isolated: bool,
    /// Watchers of orders that never read.
    #[arg(long, default_value_t = 3)]
    stuck: usize,
    /// Watchers of orders that read a message every 200 ms.
    #[arg(long, default_value_t = 3)]
    slow: usize,
    /// The program that is the node; this one when absent.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where to write; a directory of its own is made inside and removed afterwards.
    #[arg(long, value_name = "DIR", default_value = "data/bench")]
    data: PathBuf,
}

/// What is sent.
#[derive(Clone, Copy)]
struct Plan {
    rate: u32,
    orders: usize,
    traders: usize,
}

/// Runs the benchmark; prints one JSON object per sample, and one at the end.
pub(super) fn run(args: &Args, quick: bool) -> Result<()> {
    let (rate, seconds) = if quick { (20, 2) } else { (args.rate, args.seconds) };
    if rate == 0 || seconds == 0 {
        bail!("--rate and --seconds are to be at least 1");
    }
    let plan = Plan {
        rate,
        orders: usize::try_from(u64::from(rate) * u64::from(seconds))?,
        traders: orders::traders_for(rate),
    };
    std::fs::create_dir_all(&args.data).with_context(|| args.data.display().to_string())?;
    let directory = Directory::new("load", &args.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // The runtime, and with it the node, is gone before the directory is.
    let outcome = runtime.block_on(measure(args, plan, &directory));
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

async fn measure(args: &Args, plan: Plan, directory: &Directory) -> Result<()> {
    let node = LoadNode::start(args, &directory.0).await?;
    let keys: Arc<[_]> = (0..plan.traders).map(orders::key).collect();
    node.enrol(&keys).await?;
    let feed = node.feed();
    let watchers = watchers::attach(&node, args.stuck, args.slow).await?;
    let outcomes = Arc::new(Outcomes::default());
    let sampler = tokio::spawn(sample(node.probe(), Arc::clone(&outcomes), plan));
    let seconds = orders::send(&node, plan, keys, &outcomes).await?;
    sampler.abort();
    let last = node.probe().sample().await;
    feed.abort();
    let watched = watchers.end().await;
    let sent = outcomes.summary();
    let status = node.client.status().await?;
    let commits = status.as_of.map_or(0, |as_of| as_of.commit);
    node.stop().await?;
    report(&json!({
        "bench": "load", "figure": "orders at a fixed rate", "isolated": args.isolated,
        "wanted_per_second": plan.rate, "achieved_per_second": plan.orders as f64 / seconds,
        "seconds": seconds, "orders": plan.orders, "traders": plan.traders,
        "outcomes": sent.outcomes, "latency_ms": sent.latency, "late_to_send_ms": sent.lateness,
        "commits": commits, "digest": status.digest, "watchers": watched, "last": last,
        "machine": machine(),
    }));
    Ok(())
}

/// Prints how far it is and what it takes, again and again.
async fn sample(probe: node::Probe, outcomes: Arc<Outcomes>, plan: Plan) {
    let seconds = u64::try_from(plan.orders).unwrap_or(0) / u64::from(plan.rate);
    let every = Duration::from_secs(SAMPLE_SECONDS_MIN.max(seconds / 60));
    let begun = tokio::time::Instant::now();
    let mut beat = tokio::time::interval(every);
    loop {
        beat.tick().await;
        let second = begun.elapsed().as_secs();
        let (sent, answered) = outcomes.progress();
        report(&json!({
            "bench": "load", "second": second, "sent": sent, "answered": answered,
            "now": probe.sample().await, "machine": machine(),
        }));
    }
}
