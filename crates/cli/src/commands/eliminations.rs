//! `proctor eliminations`: who is eliminated, now or from now on.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use proctor_client::replica::Limits;
use proctor_client::v1::Elimination;
use proctor_client::{EliminationReplica, Stale};
use serde_json::{Value, json};

use super::remote::{Node, Remote, as_of, as_of_line};
use crate::Verdict;

/// Arguments of `proctor eliminations`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Of this trader only; the exit code is 1 when there is no record.
    #[arg(long, value_name = "ADDRESS")]
    trader: Option<String>,
    /// Go on with what changes, over breaks and restarts of the node.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) fn run(args: &Args) -> Result<Verdict> {
    args.remote.run(|node| async move {
        match (&args.trader, args.watch) {
            (_, true) => watch(args, &node).await,
            (Some(trader), false) => one(args, &node, trader).await,
            (None, false) => all(args, &node).await,
        }
    })
}

async fn one(args: &Args, node: &Node, trader: &str) -> Result<Verdict> {
    let answer = node.client.elimination(trader).await?;
    match &answer.elimination {
        Some(record) => {
            show(args, record);
            Ok(Verdict::Good)
        }
        None if args.remote.json => {
            say!("{}", json!({ "trader": trader, "as_of": as_of(answer.as_of) }));
            Ok(Verdict::Bad)
        }
        None => {
            say!("{trader} is not eliminated, {}", as_of_line(answer.as_of));
            Ok(Verdict::Bad)
        }
    }
}

async fn all(args: &Args, node: &Node) -> Result<Verdict> {
    let answer = node.client.eliminations().await?;
    answer.eliminations.iter().for_each(|record| show(args, record));
    if !args.remote.json {
        say!("{} records, {}", answer.eliminations.len(), as_of_line(answer.as_of));
    }
    Ok(Verdict::Good)
}

fn show(args: &Args, record: &Elimination) {
    if args.remote.json { say!("{}", to_json(record)) } else { say!("{}", line(record)) }
}

/// Prints what changes until it is stopped.
async fn watch(args: &Args, node: &Node) -> Result<Verdict> {
    let connection = node.client.eliminations_connection();
    let (replica, _feed) = EliminationReplica::start(connection, Limits::default());
    let mut progress = replica.progress();
    let mut known: BTreeSet<(String, u64)> = BTreeSet::new();
    let mut was_fresh = true;
    loop {
        let changed = tokio::time::timeout(Limits::default().silence_max, progress.changed()).await;
        if let Ok(ended) = changed {
            ended?;
        }
        match replica.all() {
            Ok(records) => {
                known = difference(args, &known, &records);
                was_fresh = true;
            }
            Err(stale) => {
                tell_stale(&stale, was_fresh);
                was_fresh = false;
            }
        }
    }
}

fn tell_stale(stale: &Stale, was_fresh: bool) {
    if was_fresh {
        note!("warning: {stale}");
    }
}

/// Prints what is in `records` and was not in `known`, and the other way round; returns what is
/// known now.
fn difference(
    args: &Args,
    known: &BTreeSet<(String, u64)>,
    records: &[Arc<Elimination>],
) -> BTreeSet<(String, u64)> {
    let wanted = |trader: &str| args.trader.as_deref().is_none_or(|one| one == trader);
    let key = |record: &Elimination| {
        (record.trader.clone(), record.decided.as_ref().map_or(0, |stamp| stamp.commit))
    };
    let now: BTreeSet<(String, u64)> =
        records.iter().filter(|record| wanted(&record.trader)).map(|record| key(record)).collect();
    for (trader, decided) in known.difference(&now) {
        if args.remote.json {
            say!("{}", json!({ "trader": trader, "lifted": true, "decided": decided }));
        } else {
            say!("{trader}  lifted: the decision of commit {decided}");
        }
    }
    for record in records {
        let key = key(record);
        if now.contains(&key) && !known.contains(&key) {
            show(args, record);
        }
    }
    now
}

fn to_json(record: &Elimination) -> Value {
    json!({
        "trader": record.trader,
        "reason": record.reason,
        "dd": record.dd,
        "dd_kind": record.dd_kind,
        "decided": record.decided.as_ref().map(|at| json!({ "commit": at.commit, "at_ms": at.at_ms })),
        "elimination_initiated_time_ms": record.elimination_initiated_time_ms,
        "rule": record.rule,
        "origin": record.origin,
        "decided_by": record.decided_by,
        "why": record.why,
        "bucket": record.bucket,
    })
}

fn line(record: &Elimination) -> String {
    let dd = record.dd.map(|dd| format!(", drawdown {dd} ({})", record.dd_kind));
    let decided = record.decided.as_ref();
    let at =
        decided.map(|at| format!(" at {} by commit {}", proctor_types::UtcMs(at.at_ms), at.commit));
    format!(
        "{}  {}{}{}, rule {}",
        record.trader,
        record.reason,
        dd.unwrap_or_default(),
        at.unwrap_or_default(),
        record.rule
    )
}
