//! `proctor diff`: where do two nodes part?

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use proctor_node::diff::{Comparison, Report, diff};

use crate::Verdict;

/// Arguments of `proctor diff`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data directory of one node, and, given twice, that of the other; they may be running.
    #[arg(long, value_name = "DIR", required = true, num_args = 1)]
    data: Vec<PathBuf>,
    /// That of the other, if `--data` is given once.
    #[arg(long, value_name = "DIR")]
    with: Option<PathBuf>,
}

/// Runs the command; nodes that part are a verdict, not an error of the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let other = args.with.as_ref().or_else(|| args.data.get(1));
    let (Some(one), Some(other), 2) =
        (args.data.first(), other, args.data.len() + usize::from(args.with.is_some()))
    else {
        bail!("diff compares two nodes: --data DIR --with DIR, or --data twice")
    };
    let report = diff(one, other)?;
    let parted = tell_logs(&report.logs, one, other);
    let differ = tell_states(&report);
    Ok(if parted || differ { Verdict::Bad } else { Verdict::Good })
}

/// Says how the logs compare; tells whether they part.
fn tell_logs(logs: &Comparison, one: &Path, other: &Path) -> bool {
    let (one, other) = (one.display(), other.display());
    match logs {
        Comparison::Equal { commits, first: 1 } => {
            say!("equal: both have {commits} commits");
        }
        Comparison::Equal { commits, first } => {
            say!("equal from commit {first} to {commits}; one of them has nothing before");
        }
        Comparison::Prefix { common, first, first_is_longer, longer } => {
            let has_more = if *first_is_longer { one } else { other };
            let from = if *first == 1 { String::new() } else { format!("from commit {first} ") };
            say!("equal {from}up to commit {common}; {has_more} goes on to commit {longer}");
        }
        Comparison::Parted { commit, field } => {
            say!("{one} and {other} part at commit {commit}: {field}");
            return true;
        }
    }
    false
}

/// Says how the states compare; tells whether they differ.
fn tell_states(report: &Report) -> bool {
    let states = &report.states;
    for line in &states.judged {
        say!("{line}");
    }
    if let Some((last, before)) = states.equal.split_last() {
        let more =
            if before.is_empty() { String::new() } else { format!(" and {} before", before.len()) };
        say!("the states in snapshots are equal: commit {last}{more}");
    }
    if let Some(finding) = &states.finding {
        say!("the states after commit {} differ: {}", finding.commit, finding.difference);
        let (left, right) = &*finding.difference.values;
        say!("  {left} in {}", finding.witnesses.0);
        say!("  {right} in {}", finding.witnesses.1);
    }
    for line in &states.left_out {
        say!("not compared: {line}");
    }
    states.finding.is_some()
}
