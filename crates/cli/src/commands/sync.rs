//! `proctor sync`: a copy of another node's log, fetched, verified and judged here, once.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use proctor_daemon::fetch::{Fetched, fetch};
use proctor_daemon::{Config, telemetry};
use proctor_node::report::count;

use super::config;
use crate::Verdict;

/// How often a line of progress is written.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `proctor sync`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: config::Source,
    /// The node to fetch from, KEY@HOST:PORT; the first is asked how far there is to go.
    #[arg(long, value_name = "PEER", required = true)]
    from: Vec<String>,
    /// Whose commits they are, when it is not the first node; the same as --set network.sequencer=KEY.
    #[arg(long, value_name = "KEY")]
    sequencer: Option<String>,
    /// Where to keep the log; the same as --set node.data=DIR.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Gives up when nothing has come for so long, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience_s: u64,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let mut layers = args.config.layers()?;
    if let Some(data) = &args.data {
        let data = data.to_str().context("--data: the directory's name is not UTF-8")?;
        layers.flag(&format!("node.data={data}"))?;
    }
    // It is nobody's peer but of those it asks, and ends soon.
    layers.flag("listen.peers=0")?;
    layers.flag(&format!("network.follow={:?}", args.from))?;
    if let Some(sequencer) = &args.sequencer {
        layers.flag(&format!("network.sequencer={sequencer}"))?;
    }
    let mut config = Config::of(&layers)?;
    // Its lines would stand between those of the progress.
    if config.telemetry.log == "info" {
        "warn".clone_into(&mut config.telemetry.log);
    }
    telemetry::start(&config.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let patience = Duration::from_secs(args.patience_s.max(1));
    let (begun, mut line) = (Instant::now(), None::<Instant>);
    let tell = |fetched: Fetched| {
        if line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            line = Some(Instant::now());
            say(fetched);
        }
    };
    let fetched = runtime.block_on(fetch(&config, patience, tell))?;
    say(fetched);
    let took = super::text::age(i64::try_from(begun.elapsed().as_millis()).unwrap_or(0));
    say!("everything up to commit {} is here, after {took}", count(fetched.at));
    Ok(Verdict::Good)
}

fn say(fetched: Fetched) {
    let Fetched { at, target, bytes, .. } = fetched;
    // A closed pipe is no reason to stop.
    drop(writeln!(
        std::io::stderr().lock(),
        "commit {} of {}, {} KiB verified",
        count(at),
        count(target),
        count(bytes >> 10)
    ));
}
