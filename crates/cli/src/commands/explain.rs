//! `proctor explain`: the story of one account, as a page for people or as JSON.

mod page;
mod scoring;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proctor_node::evidence::{Which, evidence};
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
    /// Writes one self-contained file that proves the verdict, or the standing, to somebody who has
    /// neither this log nor trusts this node: see `proctor verify-evidence`. A FILE that ends in .gz
    /// is compressed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "last"])]
    evidence: Option<PathBuf>,
    /// Which verdict the evidence ends with, when some were taken back: N counts them from 1, and @C
    /// is the one of commit C. Without it, the one that stands, or how the account stands.
    #[arg(long, value_name = "N|@C", requires = "evidence", value_parser = which)]
    verdict: Option<Which>,
    /// Only the last N orders, positions and ledger cells on the page.
    #[arg(long, value_name = "N", conflicts_with = "json")]
    last: Option<usize>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let trader = TraderId::new(&args.trader)
        .with_context(|| format!("--trader {:?} is not a trader's name", args.trader))?;
    if let Some(file) = &args.evidence {
        return write_evidence(&args.data, &trader, file, args.verdict.unwrap_or(Which::Last));
    }
    let story = explain(&args.data, &trader, |_| {})?;
    let mut page = if args.json {
        serde_json::to_string_pretty(&story)?
    } else {
        page::page(&story, args.last)
    };
    if args.json {
        page.push('\n');
    }
    Ok(super::print(&page))
}

fn write_evidence(data: &Path, trader: &TraderId, file: &Path, which: Which) -> Result<Verdict> {
    let evidence = evidence(data, trader, which)?;
    let gzip = file.extension().is_some_and(|extension| extension == "gz");
    let packed = if gzip { Some(evidence.gzip()?) } else { None };
    let bytes = packed.as_deref().unwrap_or(evidence.text.as_bytes());
    std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
    say!("{}", evidence.verdict);
    say!("  written to {} ({} bytes)", file.display(), bytes.len());
    super::print_anchors(&evidence.anchors);
    for given in &evidence.given {
        say!("  attests    {given}");
    }
    say!("  check it   proctor verify-evidence {}", file.display());
    Ok(Verdict::Good)
}

fn which(text: &str) -> Result<Which, String> {
    let wrong = || format!("{text:?} is neither a number from 1 nor @ and a commit");
    match text.strip_prefix('@') {
        Some(commit) => commit.parse().map(Which::Commit).map_err(|_| wrong()),
        None => match text.parse() {
            Ok(0) | Err(_) => Err(wrong()),
            Ok(number) => Ok(Which::Number(number)),
        },
    }
}
