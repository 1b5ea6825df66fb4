//! `proctor explain`: the story of one account, as a page for people or as JSON.

mod page;
mod scoring;
mod verdict;

use std::path::PathBuf;

use anyhow::{Context, Result};
use proctor_node::explain::explain;
use proctor_types::TraderId;

use crate::Verdict;

/// Arguments of `proctor explain`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data directory of a run; it may still be running.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Whose account.
    #[arg(long, value_name = "TRADER")]
    trader: String,
    /// One JSON document with everything, instead of a page.
    #[arg(long)]
    json: bool,
    /// Only the last N orders, positions and ledger cells on the page.
    #[arg(long, value_name = "N", conflicts_with = "json")]
    last: Option<usize>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let trader = TraderId::new(&args.trader)
        .with_context(|| format!("--trader {:?} is not a trader's name", args.trader))?;
    let story = explain(&args.data, &trader, |_| {})?;
    let mut page = if args.json {
        serde_json::to_string_pretty(&story)?
    } else {
        page::page(&story, args.last)
    };
    if args.json {
        page.push('\n');
    }
    super::print(&page)
}
