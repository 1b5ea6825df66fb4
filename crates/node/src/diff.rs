//! Two logs side by side: the first commit in which they differ, and in what.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proctor_commit_log::{LogError, Reader, Record};
use proctor_wire::DecodeError;
use proctor_wire::log_entry::LogEntry;

use crate::data_dir::{self, DataDirError};

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

/// Compares the logs in the data directories `a` and `b`, record by record.
///
/// # Errors
/// [`DiffError`] when one of them cannot be read up to where they part.
pub fn diff(a: &Path, b: &Path) -> Result<Comparison, DiffError> {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proctor_engine::Input;
    use proctor_engine::rulebook::VANTA;
    use proctor_sequencer::{Batch, Writer, WriterConfig};
    use proctor_types::UtcMs;

    use super::*;
    use crate::data_dir::DataDir;

    const T0: i64 = 1_762_178_400_000;

    /// A log of a rulebook and `ticks`, each so many seconds after the first commit.
    fn log(ticks: &[i64]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let mut writer = Writer::open(data.storage(), WriterConfig::default()).unwrap().writer;
        let first = Batch { at: UtcMs(T0), inputs: vec![Input::Rulebook(VANTA.into())] };
        let tick = |s: &i64| Batch { at: UtcMs(T0 + s * 1_000), inputs: vec![Input::Tick] };
        let batches = std::iter::once(first).chain(ticks.iter().map(tick)).collect();
        assert!(writer.commit(batches).iter().all(Result::is_ok));
        writer.close().unwrap();
        drop(Arc::new(data));
        dir
    }

    fn compare(a: &[i64], b: &[i64]) -> Comparison {
        diff(log(a).path(), log(b).path()).unwrap()
    }

    #[test]
    fn equal_logs_and_beginnings_are_told() {
        assert_eq!(compare(&[1, 2], &[1, 2]), Comparison::Equal { commits: 3, first: 1 });
        let prefix = |first_is_longer| Comparison::Prefix {
            common: 2,
            first: 1,
            first_is_longer,
            longer: 4,
        };
        assert_eq!(compare(&[1, 2, 3], &[1]), prefix(true));
        assert_eq!(compare(&[1], &[1, 2, 3]), prefix(false));
    }

    /// A log that begins after the snapshot of commit `begins` of `log(ticks)`.
    fn joined(ticks: &[i64], begins: u64) -> tempfile::TempDir {
        let whole = log(ticks);
        let storage = data_dir::log_of(whole.path()).unwrap();
        let records: Vec<Record> = Reader::open(storage).unwrap().map(Result::unwrap).collect();
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path()).unwrap();
        let storage = data.storage();
        let (before, after) = records.split_at(usize::try_from(begins).unwrap());
        let payloads = |records: &[Record]| records.iter().map(|r| r.payload.clone()).collect();
        let before: Vec<Vec<u8>> = payloads(before);
        // The state is made here again: what counts is where the log begins.
        let replayed = proctor_commit_log::storage::memory::MemoryStorage::new();
        let replayed: Arc<dyn proctor_commit_log::Storage> = Arc::new(replayed);
        let mut writer =
            Writer::open(Arc::clone(&replayed), WriterConfig::default()).unwrap().writer;
        writer.adopt(&before).unwrap();
        writer.snapshot().unwrap();
        let snapshots = proctor_commit_log::SnapshotStore::new;
        let found = snapshots(replayed).load(begins).unwrap();
        let staged = snapshots(Arc::clone(&storage)).stage(begins).unwrap();
        staged.write_at(0, &found.state).unwrap();
        let len = found.state.len() as u64;
        let head = staged.finish(found.head.hash, found.state_digest, len).unwrap();
        let mut writer =
            Writer::open(Arc::clone(&storage), WriterConfig::default()).unwrap().writer;
        let engine = proctor_sequencer::replay::restore(&found).unwrap();
        let base = proctor_commit_log::Base { head, proof: Vec::new() };
        writer.begin_after(engine, &base).unwrap();
        let after: Vec<Vec<u8>> = payloads(after);
        writer.adopt(&after).unwrap();
        dir
    }

    #[test]
    fn a_log_that_begins_later_is_compared_from_there() {
        let whole = log(&[1, 2, 3, 4]);
        let both = |a: &tempfile::TempDir, b: &tempfile::TempDir| diff(a.path(), b.path());
        let late = joined(&[1, 2, 3, 4], 3);
        let equal = Comparison::Equal { commits: 5, first: 4 };
        assert_eq!(both(&whole, &late).unwrap(), equal);
        let proof = crate::verify::verify(late.path(), |_| {}).unwrap();
        assert_eq!((proof.begins, proof.stamp.commit, proof.chain), (3, 5, None));
        let short = log(&[1, 2]);
        let longer = Comparison::Prefix { common: 3, first: 4, first_is_longer: true, longer: 5 };
        assert_eq!(both(&late, &short).unwrap(), longer);
        let parted = both(&late, &log(&[1, 2, 9])).unwrap();
        assert!(matches!(parted, Comparison::Parted { commit: 4, .. }), "{parted:?}");
        // Nothing in common, and another history before the beginning.
        for other in [log(&[1]), log(&[1, 9])] {
            let error = both(&other, &late).unwrap_err();
            assert!(matches!(error, DiffError::Apart { first: 4, .. }), "{error}");
        }
    }

    #[test]
    fn the_first_difference_is_named_by_commit_and_field() {
        let Comparison::Parted { commit, field } = compare(&[1, 2, 5], &[1, 3, 5]) else {
            panic!("they part")
        };
        assert_eq!(commit, 3);
        assert!(matches!(field, Field::Time(..)), "{field}");
        assert!(diff(log(&[]).path(), Path::new("/nowhere/at/all")).is_err());
    }
}
