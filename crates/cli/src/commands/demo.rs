//! `proctor demo`: a simulated market and its traders through the whole node.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use proctor_node::report::{Summary, count};
use proctor_node::run::{self, RunError};
use proctor_node::simulation::{Scenario, Simulation};

use crate::Verdict;
use crate::progress::Progress;

/// Arguments of `proctor demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to keep the log; a run that was cut off there goes on.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    data: PathBuf,
    /// Decides everything that is random: the same seed gives the same digest.
    #[arg(long, default_value_t = Scenario::default().seed)]
    seed: u64,
    /// How many traders.
    #[arg(long, default_value_t = Scenario::default().traders)]
    traders: u32,
    /// How many days of trading.
    #[arg(long, default_value_t = Scenario::default().days)]
    days: u32,
    /// Writes a line for every acknowledged commit: what was written survives any crash.
    #[arg(long, hide = true)]
    acks: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let scenario = Scenario { seed: args.seed, traders: args.traders, days: args.days };
    let started = Instant::now();
    let span = u64::try_from(scenario.minutes())?;
    let mut bar =
        if args.acks { Progress::every_step(span) } else { Progress::new(span, "simulating") };
    let batches = Simulation::new(scenario).map(Ok::<_, RunError>);
    let finished = run::run(&args.data, Default::default(), batches, |done| {
        let minutes = (done.stamp.at.0 - scenario.start().0) / 60_000;
        bar.at(u64::try_from(minutes).unwrap_or(0), || done.to_string());
    })?;
    bar.finish();
    super::warn_of_skipped(&finished);
    let seconds = started.elapsed().as_secs_f64();
    say!("{}", Summary::of(&finished.tally, &finished.view));
    say!(
        "{} days of {} traders in {seconds:.1} s: {} commits, {} of them from an earlier run",
        args.days,
        args.traders,
        count(finished.tally.commits),
        count(finished.resumed),
    );
    say!("the log is in {0}; check it with: proctor verify --data {0}", args.data.display());
    Ok(Verdict::Good)
}
