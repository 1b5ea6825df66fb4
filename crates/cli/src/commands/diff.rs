//! `proctor diff`: where do two logs part?

use std::path::PathBuf;

use anyhow::Result;
use proctor_node::diff::{Comparison, diff};

use crate::Verdict;

/// Arguments of `proctor diff`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data directory of one node; it may be running.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// That of the other.
    #[arg(long, value_name = "DIR")]
    with: PathBuf,
}

/// Runs the command; logs that part are a verdict, not an error of the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let (one, other) = (args.data.display(), args.with.display());
    match diff(&args.data, &args.with)? {
        Comparison::Equal { commits, first: 1 } => {
            say!("equal: both have {commits} commits");
        }
        Comparison::Equal { commits, first } => {
            say!("equal from commit {first} to {commits}; one of them has nothing before");
        }
        Comparison::Prefix { common, first, first_is_longer, longer } => {
            let has_more = if first_is_longer { one } else { other };
            let from = if first == 1 { String::new() } else { format!("from commit {first} ") };
            say!("equal {from}up to commit {common}; {has_more} goes on to commit {longer}");
        }
        Comparison::Parted { commit, field } => {
            say!("{one} and {other} part at commit {commit}: {field}");
            return Ok(Verdict::Bad);
        }
    }
    Ok(Verdict::Good)
}
