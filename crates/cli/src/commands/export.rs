//! `proctor export`: a node's records in the shapes of the reference's files, or compared with one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use proctor_node::legacy::{self, LegacyRow};
use proctor_node::view::view_of;
use proctor_types::{TraderId, UtcMs};

use crate::Verdict;

/// What is exported.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// `eliminations.json`: every record that bars a trader.
    Eliminations,
    /// `departed_hotkeys.json`: everybody who left the roster.
    Departed,
}

/// Arguments of `proctor export`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which file.
    what: What,
    /// The data directory of a run; it may still be running.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Compare with this file of the reference instead; ends with 1 when they differ.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let view = view_of(&args.data)?;
    match args.what {
        What::Eliminations => {
            let ours = legacy::eliminations_of(&view);
            let Some(file) = &args.against else {
                return printed(&legacy::write_eliminations(ours.values()));
            };
            let theirs = legacy::read_eliminations(&read(file)?)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(compared(&legacy::differences(&said(&ours), &said(&theirs), Clone::clone)))
        }
        What::Departed => {
            let ours = view.roster.departed();
            let Some(file) = &args.against else {
                return printed(&legacy::write_departed(ours));
            };
            let theirs = legacy::read_departed(&read(file)?)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(compared(&legacy::differences(ours, &theirs, UtcMs::to_string)))
        }
    }
}

/// Returns what two validators should agree on: reason and drawdown. When each of them got round to
/// it is its own affair.
fn said(rows: &BTreeMap<TraderId, LegacyRow>) -> BTreeMap<TraderId, String> {
    let text = |row: &LegacyRow| {
        let dd = row.row.drawdown.legacy(row.row.reason);
        format!("{} {}", row.row.reason, dd.map_or_else(|| "null".to_owned(), |dd| dd.to_string()))
    };
    rows.iter().map(|(trader, row)| (trader.clone(), text(row))).collect()
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn printed(document: &serde_json::Value) -> Result<Verdict> {
    say!("{}", serde_json::to_string_pretty(document)?);
    Ok(Verdict::Good)
}

fn compared(differences: &[String]) -> Verdict {
    for line in differences {
        say!("{line}");
    }
    if differences.is_empty() { Verdict::Good } else { Verdict::Bad }
}
