//! `proctor operator`: the commands of those who run the programme, to a running node.
//!
//! Each is an input of the log, with the name of the token as who gave it. The token is that of
//! --token-file, else the one of the needed role in the node's own token file on this machine.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use proctor_client::v1;
use proctor_node::import::suspects;
use proctor_services::Role;

use super::remote::{Node, Remote};
use crate::Verdict;

/// Arguments of `proctor operator`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Task,
    /// Data directory of a node on this machine, for its token file.
    #[arg(long, value_name = "DIR", default_value = "data/node", global = true)]
    data: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Subcommand)]
enum Task {
    /// Registers a trader, and states the account's size and asset class.
    Enrol {
        /// The trader's address.
        trader: String,
        /// Account size in USD; it counts from the next midnight UTC.
        #[arg(long, value_name = "USD")]
        size: Option<f64>,
        /// crypto or forex; may be chosen once.
        #[arg(long)]
        class: Option<String>,
    },
    /// Takes a trader off the roster: departed, and barred from coming back.
    Dismiss {
        /// The trader's address.
        trader: String,
    },
    /// Ends an account.
    Eliminate {
        /// The trader's address.
        trader: String,
        /// Such as MAX_TOTAL_DRAWDOWN or PLAGIARISM.
        #[arg(long)]
        reason: String,
        /// Why, for the record.
        #[arg(long)]
        why: String,
    },
    /// Undoes the decision that ended an account.
    Reinstate {
        /// The trader's address.
        trader: String,
        /// Why, for the record.
        #[arg(long)]
        why: String,
        /// Goes on in the stage that the account ended in, instead of a new challenge.
        #[arg(long)]
        restore_stage: bool,
    },
    /// Corrects the price of a recent order; everything since is computed anew.
    Correct {
        /// The trader's address.
        trader: String,
        /// The order's id.
        order: String,
        /// The right price, quote currency per unit of base.
        #[arg(long)]
        price: f64,
        /// Whose price it is.
        #[arg(long)]
        source: String,
        /// Why, for the record.
        #[arg(long)]
        why: String,
    },
    /// Replaces the list of suspected plagiarists by the detector's file.
    Plagiarism {
        /// JSON: {"TRADER": {"time": MS}, ...}.
        file: PathBuf,
    },
    /// Puts a rulebook in force for accounts that enrol from now on.
    Adopt {
        /// A built-in name or a file.
        rulebook: String,
    },
    /// Ends the node: intake closed, queue worked off, log synced.
    Shutdown,
}

impl Task {
    fn role(&self) -> Role {
        if matches!(self, Self::Shutdown) { Role::Admin } else { Role::Operator }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let work = |node: Node| async move { carry_out(&args.task, &node).await };
    let (done, as_of) = args.remote.run_as(args.task.role(), &args.data, work)?;
    if args.remote.json {
        say!("{}", serde_json::json!({ "done": done, "as_of": super::remote::as_of(as_of) }));
    } else {
        say!("{done}, {}", super::remote::as_of_line(as_of));
    }
    Ok(Verdict::Good)
}

async fn carry_out(task: &Task, node: &Node) -> Result<(String, Option<v1::AsOf>)> {
    let client = &node.client;
    Ok(match task {
        Task::Enrol { trader, size, class } => {
            let change = v1::ChangeRosterRequest { add: vec![trader.clone()], remove: Vec::new() };
            let mut as_of = client.change_roster(change).await?.as_of;
            if let Some(size) = size {
                as_of = client.set_account_size(trader, *size).await?.as_of;
            }
            if let Some(class) = class {
                as_of = client.choose_asset_class(trader, class).await?.as_of;
            }
            (format!("{trader} is registered"), as_of)
        }
        Task::Dismiss { trader } => {
            let change = v1::ChangeRosterRequest { add: Vec::new(), remove: vec![trader.clone()] };
            (format!("{trader} is off the roster"), client.change_roster(change).await?.as_of)
        }
        Task::Eliminate { trader, reason, why } => {
            let row = v1::EliminationRow {
                trader: trader.clone(),
                reason: reason.clone(),
                dd: None,
                elimination_initiated_time_ms: node.status.as_of.unwrap_or_default().as_of_ms,
            };
            let request = v1::AddEliminationRequest { row: Some(row), why: why.clone() };
            let answer = client.add_elimination(request).await?;
            let told = if answer.is_new { "is eliminated" } else { "had ended before" };
            (format!("{trader} {told}"), answer.as_of)
        }
        Task::Reinstate { trader, why, restore_stage } => {
            let record = client.elimination(trader).await?.elimination;
            let record = record.with_context(|| format!("{trader} is not eliminated"))?;
            let request = v1::ReinstateRequest {
                trader: trader.clone(),
                decided: record.decided,
                why: why.clone(),
                restore_stage: *restore_stage,
            };
            (format!("{trader} is reinstated"), client.reinstate(request).await?.as_of)
        }
        Task::Correct { trader, order, price, source, why } => {
            let request = v1::CorrectPriceRequest {
                trader: trader.clone(),
                order_id: order.clone(),
                price: *price,
                source: source.clone(),
                why: why.clone(),
                ..v1::CorrectPriceRequest::default()
            };
            (format!("order {order} is corrected"), client.correct_price(request).await?.as_of)
        }
        Task::Plagiarism { file } => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let report = suspects(&text).with_context(|| file.display().to_string())?;
            let suspect = |(trader, at): &(proctor_types::TraderId, proctor_types::UtcMs)| {
                v1::PlagiarismSuspect { trader: trader.to_string(), time_ms: at.0 }
            };
            let list: Vec<_> = report.verdicts().iter().map(suspect).collect();
            let told = format!("{} suspects are reported", list.len());
            (told, client.report_plagiarism(list).await?.as_of)
        }
        Task::Adopt { rulebook } => {
            let document = super::rulebook_document(rulebook)?;
            (format!("{rulebook} is in force"), client.adopt_rulebook(document).await?.as_of)
        }
        Task::Shutdown => ("the node is stopping".into(), client.shutdown().await?.as_of),
    })
}
