//! `proctor node`: the node's own key, by which other nodes know it.

use std::path::PathBuf;

use anyhow::Result;
use proctor_daemon::Config;
use proctor_daemon::network::NodeKey;

use super::config;
use crate::Verdict;

/// Arguments of `proctor node`.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Print the key by which other nodes know this one; makes it when there is none yet.
    Id(Whose),
}

/// Which node is meant.
#[derive(clap::Args)]
pub(crate) struct Whose {
    #[command(flatten)]
    config: config::Source,
    /// The node's data directory; the same as --set node.data=DIR.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let Args::Id(whose) = args;
    let mut layers = whose.config.layers()?;
    if let Some(data) = &whose.data {
        layers.flag(&format!("node.data={}", data.display()))?;
    }
    let config = Config::of(&layers)?;
    std::fs::create_dir_all(&config.node.data)?;
    println!("{}", NodeKey::load_or_make(&config.node_key_file())?.id());
    Ok(Verdict::Good)
}
