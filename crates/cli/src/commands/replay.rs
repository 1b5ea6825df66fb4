//! `proctor replay`: recorded orders and bars through the whole node.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use proctor_node::import::BadRows;
use proctor_node::recorded::{self, Recording, Replayed};
use proctor_node::report::{Align, OutputDir, Summary, Table, count};
use proctor_types::{Fraction, Usd};

use crate::Verdict;
use crate::progress::Progress;

/// Arguments of `proctor replay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recorded orders: positions as JSON, or flat CSV; plain or .gz. May be given several times.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    orders: Vec<PathBuf>,
    /// Which set of orders to take from a CSV file that holds several.
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
    /// Price bars as CSV, plain or .gz: FILE, PAIR=FILE or PAIR:SECONDS=FILE.
    #[arg(long, value_name = "BARS", num_args = 1..)]
    bars: Vec<String>,
    /// A rulebook: a file, or a built-in name (vanta, vanta-parity); vanta when absent.
    #[arg(long, value_name = "FILE|NAME")]
    rulebook: Option<String>,
    /// Size of every account in USD; recordings do not hold it.
    #[arg(long, value_name = "USD", default_value = "100000")]
    account_size: f64,
    /// Leave out bars that contradict themselves, up to this share of a file, instead of stopping.
    #[arg(long, value_name = "SHARE")]
    skip_bad_bars: Option<f64>,
    /// Where to keep the log; a run that was cut off there goes on.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to write the report as JSON and CSV.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let recording = recording(args)?;
    // A directory that cannot be written to is found before the work, not after it.
    let out = args.out.as_deref().map(OutputDir::begin).transpose()?;
    let started = Instant::now();
    let mut bar = Progress::new(1_000, "replaying");
    let replayed = recorded::replay(&recording, &args.data, Default::default(), |done, read| {
        let share = (read.read * 1_000).checked_div(read.total).unwrap_or(0);
        bar.at(share, || done.to_string());
    })?;
    bar.finish();
    super::warn_of_skipped(&replayed.finished);
    let seconds = started.elapsed().as_secs_f64();
    let summary = Summary::of(&replayed.finished.tally, &replayed.finished.view);
    say!("{summary}");
    print_comparison(&replayed);
    say!("inputs    {}", replayed.input_hash);
    say!(
        "{} orders judged in {seconds:.1} s: {} commits, {} of them from an earlier run",
        count(replayed.orders as u64),
        count(replayed.finished.tally.commits),
        count(replayed.finished.resumed),
    );
    for (file, skipped) in &replayed.skipped {
        say!("left out of {}: {} bars", file.display(), count(skipped.total()));
    }
    if let Some(mut out) = out {
        summary.write(&mut out)?;
        replayed.write(&mut out)?;
        out.finish()?;
    }
    Ok(Verdict::Good)
}

fn recording(args: &Args) -> Result<Recording> {
    let rulebook = match &args.rulebook {
        Some(name) => super::rulebook_document(name)?,
        None => recorded::built_in_rulebook().into(),
    };
    let account_size = Usd::new(args.account_size).ok().filter(|size| size.get() > 0.0);
    let bad_rows = match args.skip_bad_bars {
        None => BadRows::Refuse,
        Some(share) => {
            let share = Fraction::new(share).ok().filter(|s| (0.0..=1.0).contains(&s.get()));
            let max_share = share.context("--skip-bad-bars takes a share from 0 to 1")?.get();
            BadRows::Skip { max_share }
        }
    };
    Ok(Recording {
        orders: args.orders.clone(),
        set: args.set.clone(),
        bars: args.bars.clone(),
        rulebook,
        account_size: account_size.context("--account-size takes an amount above 0 USD")?,
        bad_rows,
    })
}

fn print_comparison(replayed: &Replayed) {
    let counts = replayed.comparison.counts();
    if counts.is_empty() {
        return;
    }
    let mut table =
        Table::new([("against the recorded positions", Align::Left), ("number", Align::Right)]);
    for (finding, number) in counts {
        table.row([finding.to_string(), count(number as u64)]);
    }
    say!("{table}");
}
