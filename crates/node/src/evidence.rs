//! Evidence: one file that proves what became of an account, for readers who trust nobody.
//!
//! A file holds all that the log holds about one trader and nothing that it holds about others. It
//! can be verified without the log and without the node: the rules are run again on what the file
//! shows, and a hash path shows that this is all there is. See `docs/evidence.md`.

mod base64;
mod difference;
mod extract;
mod file;
mod proof;
mod retell;
#[cfg(test)]
mod tests;
mod verify;

use std::io;
use std::path::Path;

use proctor_engine::input_chain::BadTree;
use proctor_sequencer::ReplayError;
use proctor_types::TraderId;

use crate::data_dir::{self, DataDirError};

pub use file::FORMAT;
pub use proof::{Anchors, ProofError};
pub use retell::CannotTell;
pub use verify::{Confirmed, Expected, Refusal, Unanswerable, verify};

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The directory is not there or is not ours.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log is damaged or states another result.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Nobody of this name was ever on the roster.
    #[error("no account of trader {0} in this log; explain tells the nearest names")]
    UnknownTrader(TraderId),
    /// What was just written cannot be read, which is a bug.
    #[error("an input cannot be written in canonical bytes: {0}")]
    Bytes(io::Error),
    /// A commit's tree of inputs contradicts itself, which is a bug.
    #[error("commit {commit}: {error}")]
    Tree {
        /// The commit.
        commit: u64,
        /// How.
        error: BadTree,
    },
    /// The extract does not prove what it is to prove, which is a bug.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The extract cannot be told, which is a bug.
    #[error(transparent)]
    Retell(#[from] CannotTell),
    /// The file cannot be written as JSON.
    #[error("the evidence cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// An evidence file before it is written.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The file's contents.
    pub text: String,
    /// The verdict, or how far it is, in a sentence.
    pub verdict: String,
    /// Where the path begins and ends.
    pub anchors: Anchors,
}

/// Returns the evidence file of `trader` from the log in the data directory at `path`. Needs no lock
/// and changes nothing.
///
/// # Errors
/// [`EvidenceError`] when the log cannot be read or holds no such account.
pub fn evidence(path: &Path, trader: &TraderId) -> Result<Evidence, EvidenceError> {
    let storage = data_dir::log_of(path)?;
    let path = extract::extract(&storage, trader)?;
    let (extracts, anchors) = proof::check(&path)?;
    let told = retell::retell(trader, &extracts)?;
    let text = file::write(&path, &anchors, &told)?;
    Ok(Evidence { text, verdict: file::in_words(&told), anchors })
}
