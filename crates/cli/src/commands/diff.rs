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
        Comparison::Equal { commits } => println!("equal: both have {commits} commits"),
        Comparison::Prefix { common, first_is_longer, longer } => {
            let has_more = if first_is_longer { one } else { other };
            println!("equal up to commit {common}; {has_more} goes on to commit {longer}");
        }
        Comparison::Parted { commit, field } => {
            println!("{one} and {other} part at commit {commit}: {field}");
            return Ok(Verdict::Bad);
        }
    }
    Ok(Verdict::Good)
}
