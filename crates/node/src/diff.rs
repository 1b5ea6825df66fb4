//! Two nodes side by side: the first commit in which logs part, the first field in which states do.

mod states;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proctor_commit_log::{LogError, Reader, Record};
use proctor_wire::DecodeError;
use proctor_wire::log_entry::LogEntry;

use crate::data_dir::{self, DataDirError};
pub use states::{Finding, States, Witness};

/// Two nodes compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Their logs.
    pub logs: Comparison,
    /// Their states: snapshots beside the logs, and the fold of what both have.
    pub states: States,
}

/// How two logs compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Each has what the other has.
    Equal {
        /// The last commit of both.
        commits: u64,
        /// The first one that was compared: a log may begin later.
        first: u64,
    },
    /// One is the beginning of the other.
    Prefix {
        /// The last commit of the shorter one.
        common: u64,
        /// The first one that was compared.
        first: u64,
        /// Whether the first of the two is the longer one.
        first_is_longer: bool,
        /// The last commit of the longer one.
        longer: u64,
    },
    /// They part.
    Parted {
        /// The first commit in which they differ.
        commit: u64,
        /// In what, with the value in each.
        field: Field,
    },
}

/// What differs first within a commit. The order is that of cause and effect: the state before it comes
/// first, because then the nodes judged the commit before it differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The state after the commit before it: the same inputs were judged differently.
    StateBefore(String, String),
    /// What the commit before it did: events and verdicts.
    EffectsBefore,
    /// The commit's time.
    Time(String, String),
    /// The number of inputs.
    Inputs(usize, usize),
    /// One input.
    Input {
        /// Its place, from 0.
        place: usize,
        /// In the first log and in the second.
        values: Box<(String, String)>,
    },
    /// The bytes differ, though they mean the same.
    Encoding,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateBefore(a, b) => write!(
                f,
                "the state before it: {a} and {b}; the same commits were judged differently"
            ),
            Self::EffectsBefore => f.write_str("what the commit before it did"),
            Self::Time(a, b) => write!(f, "its time: {a} and {b}"),
            Self::Inputs(a, b) => write!(f, "the number of its inputs: {a} and {b}"),
            Self::Input { place, values } => {
                write!(f, "input {place}:\n  {}\n  {}", values.0, values.1)
            }
            Self::Encoding => f.write_str("its encoding"),
        }
    }
}

/// Why two logs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A directory is none of a node.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// One begins after the other's end.
    #[error(
        "{later} begins at commit {first}, and {earlier} ends at commit {end}: they have no commit \
         in common"
    )]
    Apart {
        /// The log that begins later.
        later: PathBuf,
        /// Its first commit.
        first: u64,
        /// The other log.
        earlier: PathBuf,
        /// Its last commit.
        end: u64,
    },
    /// A record is no commit.
    #[error("commit {commit} cannot be decoded: {error}")]
    Decode {
        /// The commit.
        commit: u64,
        /// What is wrong with its bytes.
        error: DecodeError,
    },
}

/// Compares the nodes with the data directories `a` and `b`: their logs record by record, and the states
/// in their snapshots with each other, or with what the inputs that both have give.
///
/// # Errors
/// [`DiffError`] when one of the logs cannot be read up to where they part.
pub fn diff(a: &Path, b: &Path) -> Result<Report, DiffError> {
    let logs = logs(a, b)?;
    let states = states::compare([a, b], &logs)?;
    Ok(Report { logs, states })
}

/// Compares the logs, record by record.
fn logs(a: &Path, b: &Path) -> Result<Comparison, DiffError> {
    let logs = (data_dir::log_of(a)?, data_dir::log_of(b)?);
    let begins =
        (Reader::open(Arc::clone(&logs.0))?.first(), Reader::open(Arc::clone(&logs.1))?.first());
    let from = begins.0.max(begins.1);
    let mut first = Reader::open_at(logs.0, from)?;
    let mut second = Reader::open_at(logs.1, from)?;
    let mut common = from - 1;
    loop {
        let next = (first.next().transpose()?, second.next().transpose()?);
        if common < from && (next.0.is_none() || next.1.is_none()) {
            // Nothing was compared: they have to meet where the later one begins.
            let end = first.head().index.min(second.head().index);
            let met = |next: &Option<Record>, reader: &Reader| {
                next.as_ref().map_or(reader.head().hash, |record| record.parent)
            };
            if end + 1 < from || met(&next.0, &first) != met(&next.1, &second) {
                let (later, earlier) = if begins.0 == from { (a, b) } else { (b, a) };
                let (later, earlier) = (later.to_owned(), earlier.to_owned());
                return Err(DiffError::Apart { later, first: from, earlier, end });
            }
        }
        match next {
            (None, None) => return Ok(Comparison::Equal { commits: common, first: from }),
            (Some(ours), Some(theirs)) if ours.hash == theirs.hash => common = ours.index,
            (Some(ours), Some(theirs)) => {
                let field = first_difference(&decode(&ours)?, &decode(&theirs)?);
                return Ok(Comparison::Parted { commit: ours.index, field });
            }
            (Some(more), None) => return rest((from, common), true, more, first),
            (None, Some(more)) => return rest((from, common), false, more, second),
        }
    }
}

fn rest(
    (first, common): (u64, u64),
    first_is_longer: bool,
    more: Record,
    reader: Reader,
) -> Result<Comparison, DiffError> {
    let mut longer = more.index;
    for record in reader {
        longer = record?.index;
    }
    Ok(Comparison::Prefix { common, first, first_is_longer, longer })
}

fn decode(record: &Record) -> Result<LogEntry, DiffError> {
    LogEntry::decode(&record.payload)
        .map_err(|error| DiffError::Decode { commit: record.index, error })
}

fn first_difference(a: &LogEntry, b: &LogEntry) -> Field {
    if a.digest_before != b.digest_before {
        return Field::StateBefore(a.digest_before.to_string(), b.digest_before.to_string());
    }
    if a.effects_before != b.effects_before {
        return Field::EffectsBefore;
    }
    if a.at != b.at {
        return Field::Time(a.at.to_string(), b.at.to_string());
    }
    let pairs = a.inputs.iter().zip(&b.inputs).enumerate();
    for (place, (ours, theirs)) in pairs {
        if ours != theirs {
            let values = Box::new((format!("{ours:?}"), format!("{theirs:?}")));
            return Field::Input { place, values };
        }
    }
    if a.inputs.len() != b.inputs.len() {
        return Field::Inputs(a.inputs.len(), b.inputs.len());
    }
    Field::Encoding
}
