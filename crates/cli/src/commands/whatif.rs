//! `proctor whatif`: which verdicts change under another rulebook, or with one input corrected.

mod page;

use std::path::PathBuf;

use anyhow::{Context, Result};
use proctor_node::whatif::{Alteration, Question, whatif};
use proctor_types::TraderId;

use super::rulebook_document;
use crate::Verdict;

/// Arguments of `proctor whatif`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data directory of a run; it is only read, and may still be running.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The rulebook that takes the place of every adopted one: a file, or a built-in name (vanta,
    /// vanta-parity).
    #[arg(long, value_name = "FILE|NAME", required_unless_present_any = ["set", "drop"])]
    rulebook: Option<String>,
    /// Correct an input: PAIR@COMMIT=PRICE, SOURCE/PAIR@COMMIT=PRICE, order:TRADER/ID.price=PRICE
    /// (a recorded fill) or order:TRADER/ID.time=TIME. May be given several times.
    #[arg(long, value_name = "INPUT=VALUE")]
    set: Vec<String>,
    /// Leave out an order: ID@TRADER. May be given several times.
    #[arg(long, value_name = "ORDER")]
    drop: Vec<String>,
    /// Also tell the differences of this trader one by one.
    #[arg(long, value_name = "TRADER")]
    trader: Option<String>,
    /// How many of them.
    #[arg(long, value_name = "N", default_value = "20")]
    first: usize,
    /// One JSON document instead of a page.
    #[arg(long)]
    json: bool,
}

/// Runs the command; a difference is an answer, not a failure.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let report = whatif(&args.data, &question(args)?, |_| {})?;
    let page = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        page::page(&report)
    };
    Ok(super::print(&page))
}

fn question(args: &Args) -> Result<Question> {
    let sets = args.set.iter().map(|text| Alteration::set(text).context("--set"));
    let drops = args.drop.iter().map(|text| Alteration::drop(text).context("--drop"));
    let trader = args.trader.as_ref().map(|name| {
        TraderId::new(name).with_context(|| format!("--trader {name:?} is not a trader's name"))
    });
    Ok(Question {
        rulebook: args.rulebook.as_deref().map(rulebook_document).transpose()?,
        alterations: sets.chain(drops).collect::<Result<_>>()?,
        trader: trader.transpose()?,
        details_max: args.first,
    })
}
