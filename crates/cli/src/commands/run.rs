//! `proctor run`: the long-lived node, until it is told to stop.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use proctor_daemon::{Config, Layers, Running, Stop, telemetry};
use tokio::signal::unix::{SignalKind, signal};

use super::config;
use crate::Verdict;

/// Arguments of `proctor run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: config::Source,
    /// Runs each service as a supervised process of its own; the same as --set services.mode=process.
    #[arg(long)]
    isolated: bool,
    /// Follows another node, KEY@HOST:PORT, instead of ordering commits; may be given several times.
    /// The same as --set network.follow=[..].
    #[arg(long, value_name = "PEER")]
    follow: Vec<String>,
    /// Whose commits to take over, when it is not the first that is followed; the same as
    /// --set network.sequencer=KEY.
    #[arg(long, value_name = "KEY")]
    sequencer: Option<String>,
    /// Where to keep the log; the same as --set node.data=DIR.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let mut layers = args.config.layers()?;
    if let Some(data) = &args.data {
        let data = data.to_str().context("--data: the directory's name is not UTF-8")?;
        layers.flag(&format!("node.data={data}"))?;
    }
    if args.isolated {
        layers.flag("services.mode=process")?;
    }
    if !args.follow.is_empty() {
        layers.flag(&format!("network.follow={:?}", args.follow))?;
    }
    if let Some(sequencer) = &args.sequencer {
        layers.flag(&format!("network.sequencer={sequencer}"))?;
    }
    let config = Config::of(&layers)?;
    telemetry::start(&config.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(node(config, &layers))?;
    Ok(Verdict::Good)
}

async fn node(config: Config, layers: &Layers) -> Result<()> {
    let stop = Stop::default();
    // Before anything else: a signal during a long recovery is a signal too.
    watch_signals(stop.clone())?;
    let data = config.node.data.display().to_string();
    let changed = layers
        .settings()
        .into_iter()
        .filter(|setting| setting.origin != proctor_daemon::config::Origin::Default);
    for setting in changed {
        tracing::info!(field = setting.path, value = setting.value, from = %setting.origin, "set");
    }
    let node = Running::start(config, stop).await?;
    let stamp = node.backend().views().latest().stamp;
    tracing::info!(data, commit = stamp.commit, version = env!("CARGO_PKG_VERSION"), "ready");
    if let Some(id) = node.id() {
        tracing::info!(node = %id, "other nodes know this one by its key");
    }
    for (name, address) in node.addresses() {
        tracing::info!(service = name, %address, "listening");
    }
    Ok(node.until_stopped().await?)
}

/// The first signal asks for a stop in phases, the second ends the process at once: what was
/// acknowledged is on disk either way.
fn watch_signals(stop: Stop) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    tokio::spawn(async move {
        for times in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if times > 0 {
                note!("stopped at once; everything acknowledged is on disk");
                std::process::exit(130);
            }
            tracing::info!("asked to stop; once more stops at once");
            stop.stop();
        }
    });
    Ok(())
}
