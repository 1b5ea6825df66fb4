//! One file per subcommand.

pub(crate) mod account;
pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod eliminations;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod key;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod order;
pub(crate) mod positions;
pub(crate) mod replay;
pub(crate) mod rulebook;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod verify;
pub(crate) mod verify_evidence;
pub(crate) mod whatif;

mod remote;
mod text;

use anyhow::Result;
use proctor_node::evidence::Anchors;
use proctor_node::rulebooks::Document;

use crate::{Verdict, output};

/// Returns the text of the rulebook that `name` is the file or the built-in name of; it is a valid
/// one.
fn rulebook_document(name: &str) -> Result<String> {
    let document = Document::read(name)?;
    document.check()?;
    Ok(document.text)
}

/// Writes a page to the terminal's output.
fn print(page: &str) -> Verdict {
    output::write(format_args!("{page}"));
    Verdict::Good
}

/// Says which snapshots a start had to do without.
fn warn_of_skipped(finished: &proctor_node::run::Finished) {
    for snapshot in &finished.skipped {
        note!("warning: did without a damaged snapshot, the log has it all: {}", snapshot.error);
    }
}

/// Prints where the path of an evidence file begins and ends: what its reader compares with what the
/// validator has published.
fn print_anchors(anchors: &Anchors) {
    say!("  chain      {}", anchors.chain);
    say!("  up to      commit {} ({})", anchors.head.commit, anchors.head.at);
    match anchors.digest {
        Some(digest) => say!("  digest     {digest}"),
        None => {
            say!("  digest     not stated yet: the path ends at the last commit of the log");
        }
    }
}
