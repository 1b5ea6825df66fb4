//! The golden runner: outputs of the reference implementation against ours.
//!
//! A file holds one case a line: `id`, `in`, `out`. A kind's module turns `in` into what our engine
//! says, in the shape of `out`, and [`compare`] lists where the two differ.

mod challenge;
mod compare;
mod elimination;
mod ledger;
mod metrics;
mod position;
mod slippage;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// How many differing cases are printed in full.
const MISMATCHES_SHOWN: usize = 5;
/// How many differing fields of one case are printed.
const FIELDS_SHOWN: usize = 8;

/// The kinds of golden cases.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// Sizing, clamping, averaging, returns and fees of one position.
    Position,
    /// Performance ledgers over simulated price paths.
    Ledger,
    /// The slippage models.
    Slippage,
    /// Promotion, demotion, inspection and refresh of the stages.
    Challenge,
    /// Scoring: metrics, segments, minimum days, risk profiles, ranks.
    Metrics,
    /// One pass over eliminated, departed and vanished traders.
    Elimination,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    #[serde(rename = "in")]
    input: Value,
    out: Value,
}

/// Runs every case of `files` and prints the tally; returns whether all matched.
///
/// # Errors
/// When a file cannot be read, a line is not a case, or a case lacks a field of its kind.
pub(crate) fn run(kind: Kind, files: &[PathBuf]) -> Result<bool> {
    let (mut matched, mut total, mut shown) = (0_usize, 0_usize, 0_usize);
    for file in files {
        for (number, line) in lines(file)?.enumerate() {
            let place = || format!("{}, line {}", file.display(), number + 1);
            let line = line.with_context(place)?;
            if line.trim().is_empty() {
                continue;
            }
            let case: Case = serde_json::from_str(&line).with_context(place)?;
            let ours = match kind {
                Kind::Position => position::run(&case.input),
                Kind::Ledger => ledger::run(&case.input),
                Kind::Slippage => slippage::run(&case.input),
                Kind::Challenge => challenge::run(&case.input),
                Kind::Metrics => metrics::run(&case.input),
                Kind::Elimination => elimination::run(&case.input),
            }
            .with_context(|| format!("case {} ({})", case.id, place()))?;
            let differences = compare::differences(&case.out, &ours);
            total += 1;
            if differences.is_empty() {
                matched += 1;
                continue;
            }
            shown += 1;
            if shown <= MISMATCHES_SHOWN {
                println!("{}: {} fields differ", case.id, differences.len());
                for difference in differences.iter().take(FIELDS_SHOWN) {
                    println!("  {difference}");
                }
            }
        }
    }
    println!("matched {matched} of {total}");
    anyhow::ensure!(total > 0, "no cases in {} file(s)", files.len());
    Ok(matched == total)
}

fn lines(file: &Path) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let open = || File::open(file).with_context(|| format!("cannot open {}", file.display()));
    let gzip = file.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> =
        if gzip { Box::new(MultiGzDecoder::new(open()?)) } else { Box::new(open()?) };
    Ok(BufReader::new(reader).lines())
}
