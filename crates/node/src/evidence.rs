//! Evidence: one file that proves what became of an account, for readers who trust nobody.
//!
//! A file holds all that the log holds about one trader and nothing that it holds about others. It
//! can be verified without the log and without the node: the rules are run again on what the file
//! shows, and a hash path shows that this is all there is. See `docs/evidence.md`.

mod attest;
mod base64;
mod difference;
mod extract;
mod file;
mod packed;
mod proof;
mod retell;
mod signatures;
#[cfg(test)]
mod tests;
mod verify;

use std::path::Path;
use std::{fmt, io};

use proctor_engine::input_chain::BadTree;
use proctor_sequencer::ReplayError;
use proctor_types::TraderId;

use crate::data_dir::{self, DataDirError};

pub use file::{FORMAT, FORMAT_UNSIGNED};
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
    /// The account has no such verdict.
    #[error("the log has no verdict {asked} on this account{}", listed(commits))]
    NoSuchVerdict {
        /// Which was asked for.
        asked: Which,
        /// The commits with a verdict on it.
        commits: Vec<u64>,
    },
    /// The extract cannot be told.
    #[error(transparent)]
    Retell(#[from] CannotTell),
    /// What the log says that others decided contradicts itself.
    #[error("{0}")]
    Attested(String),
    /// The verdict that the extract gives is not the log's, which is a bug.
    #[error("{0}; this is a bug, please report it")]
    Verdict(String),
    /// The file cannot be written as JSON.
    #[error("the evidence cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Which verdict on an account evidence is wanted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that stands, or how the account stands.
    Last,
    /// One of several, where some were taken back: counts from 1.
    Number(usize),
    /// The one that was reached in this commit.
    Commit(u64),
}

impl Which {
    /// Tells whether the path ends with a verdict in `commit`, the `count`th; the last commit that may
    /// have taken one back is `last_lift`.
    fn is_met(self, commit: u64, count: usize, last_lift: u64) -> bool {
        match self {
            Self::Last => last_lift <= commit,
            Self::Number(number) => count == number,
            Self::Commit(wanted) => commit == wanted,
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => write!(f, "at all"),
            Self::Number(number) => write!(f, "number {number}"),
            Self::Commit(commit) => write!(f, "in commit {commit}"),
        }
    }
}

fn listed(commits: &[u64]) -> String {
    let all: Vec<String> = commits.iter().map(u64::to_string).collect();
    match all.as_slice() {
        [] => ": nobody ever ended it".to_owned(),
        all => format!("; there are those of commits {}", all.join(", ")),
    }
}

/// An evidence file before it is written.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The file's contents.
    pub text: String,
    /// The verdict, or how far it is, in a sentence.
    pub verdict: String,
    /// What others decided, which the file states and does not prove; empty for most accounts.
    pub given: Vec<String>,
    /// Where the path begins and ends.
    pub anchors: Anchors,
}

impl Evidence {
    /// Returns the file as a gzip file: smaller, and verified as it is.
    ///
    /// # Errors
    /// [`EvidenceError::Bytes`] never, but for a bug of the compressor.
    pub fn gzip(&self) -> Result<Vec<u8>, EvidenceError> {
        packed::gzip(self.text.as_bytes()).map_err(EvidenceError::Bytes)
    }
}

/// Returns the evidence file of `trader` from the log in the data directory at `path`, up to the verdict
/// that is asked for. Needs no lock and changes nothing. Where other accounts have decided what became
/// of this one, the whole log is folded to find out what, which takes its time.
///
/// # Errors
/// [`EvidenceError`] when the log cannot be read or holds no such account or verdict.
pub fn evidence(path: &Path, trader: &TraderId, which: Which) -> Result<Evidence, EvidenceError> {
    let storage = data_dir::log_of(path)?;
    let survey = extract::survey(&storage, trader)?;
    let extracted = match extract::extract(&storage, trader, &survey, None, which) {
        Err(EvidenceError::Retell(CannotTell::Undecided { .. })) => {
            let testimonies = attest::from_log(&storage, trader, u64::MAX)?;
            extract::extract(&storage, trader, &survey, Some(&testimonies), which)?
        }
        extracted => extracted?,
    };
    let extract::Extracted { path, encoded, anchors, told } = extracted;
    let given = verify::given(&path, &anchors, &told).map_err(EvidenceError::Attested)?;
    verify::stands_in_digest(&path, told.verdict).map_err(EvidenceError::Verdict)?;
    let text = file::write(&path, &encoded, &anchors, &told)?;
    Ok(Evidence { text, verdict: file::in_words(&told), given, anchors })
}
