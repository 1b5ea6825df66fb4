//! `verify-evidence`: recomputes a file's verdict from its proof, and says where the two differ.

use std::path::Path;
use std::sync::Arc;

use proctor_commit_log::{Reader, Storage};
use proctor_engine::input_chain::Leaves;
use proctor_sequencer::ReplayError;
use proctor_types::{Digest, Stamp};
use proctor_wire::log_entry::LogEntry;
use proctor_wire::log_path::LogPath;

use super::difference;
use super::file::{self, FORMAT, FORMAT_UNSIGNED};
use super::proof::{self, Anchors};
use super::retell::{Told, retell};
use super::{attest, packed, signatures};
use crate::data_dir::{self, DataDirError};

/// What a reader holds a file against.
#[derive(Clone, Debug, Default)]
pub struct Expected<'a> {
    /// The name of the log: its input chain after commit 1.
    pub chain: Option<Digest>,
    /// A commit and the state digest after it, as published.
    pub head: Option<(u64, Digest)>,
    /// A data directory with the log.
    pub data: Option<&'a Path>,
}

/// A file that proved what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmed {
    /// Whose account.
    pub trader: String,
    /// The verdict, or how far it is, in a sentence.
    pub verdict: String,
    /// Where the path begins and ends.
    pub anchors: Anchors,
    /// Samples of the ledger that were recomputed.
    pub steps: usize,
    /// Whether the verdict was shown to stand in the state digest.
    pub verdict_in_digest: bool,
    /// Orders and cancellations that the trader has signed, each with a signature of his that counts.
    pub signed: usize,
    /// What others decided, in words, which the file states and does not prove: the verdict is confirmed
    /// given this. Empty for most accounts.
    pub given: Vec<String>,
    /// Whether that was found to be what the local log says.
    pub attested_in_log: bool,
    /// What the file was held against, in words; empty when nothing was given.
    pub held_against: Vec<String>,
}

/// Why a file is not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It proves something else than it says, or nothing.
    #[error("{0}")]
    Differs(String),
    /// It is from another log.
    #[error("this file is from chain {found}, you asked for {asked}")]
    OtherChain {
        /// The file's.
        found: Digest,
        /// The one that was asked for.
        asked: Digest,
    },
    /// It ends in another state.
    #[error("after commit {commit} this file has state digest {found}, you asked for {asked}")]
    OtherHead {
        /// The commit.
        commit: u64,
        /// The file's.
        found: Digest,
        /// The one that was asked for.
        asked: Digest,
    },
    /// The question has no answer.
    #[error(transparent)]
    Unanswerable(#[from] Unanswerable),
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    /// It is not an evidence file.
    #[error("not an evidence file: it does not begin with format {FORMAT:?}")]
    NotEvidence,
    /// The head that was asked for is not where the path ends.
    #[error("the file's path ends at commit {file}, so it says nothing of the digest at {asked}")]
    OtherEnd {
        /// Where the path ends.
        file: u64,
        /// The commit that was asked for.
        asked: u64,
    },
    /// The path ends at the last commit of its log then, whose digest was not stated yet.
    #[error(
        "the file ends at the last commit of its log, {0}, whose digest the log did not state yet"
    )]
    NoDigest(u64),
    /// The local log is shorter.
    #[error("the log in the data directory ends before commit {0} is followed by another one")]
    ShortLog(u64),
    /// The local log cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The local log cannot be read.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Verifies the evidence in `bytes`, offline, and holds it against what is expected.
///
/// # Errors
/// [`Refusal`] names the first thing that differs, or why nothing can be said.
pub fn verify(bytes: &[u8], expected: &Expected<'_>) -> Result<Confirmed, Refusal> {
    let unpacked;
    let bytes = if packed::is_gzip(bytes) {
        unpacked = packed::gunzip(bytes)
            .map_err(|error| Refusal::Differs(format!("the gzip file: {error}")))?;
        unpacked.as_slice()
    } else {
        bytes
    };
    let begins =
        |format: &str| bytes.starts_with(format!("{{\n\"format\": \"{format}\",\n").as_bytes());
    if !begins(FORMAT) && !begins(FORMAT_UNSIGNED) {
        return Err(Unanswerable::NotEvidence.into());
    }
    let differs = |what: String| Refusal::Differs(what);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| differs(format!("byte {} is not text", error.valid_up_to())))?;
    let parts = file::read(text)
        .ok_or_else(|| differs("the file has no proof or no checksum: it is cut off".into()))?;
    let damaged = |what: String| {
        let why = if parts.is_whole { "" } else { " (the checksum is wrong, too)" };
        Refusal::Differs(format!("{what}{why}"))
    };
    let proof = parts
        .proof
        .as_deref()
        .ok_or_else(|| damaged("the lines of the proof are not base64 as it is written".into()))?;
    let path = file::path(proof).map_err(damaged)?;
    let (extracts, anchors) = proof::check(&path).map_err(|error| damaged(error.to_string()))?;
    // Before anything else is said of it: a file from elsewhere is not a file with a mistake.
    let held_against = hold_against(&anchors, expected)?;
    let told = retell(&path, &extracts).map_err(|error| damaged(error.to_string()))?;
    let signed = signatures::check(&told.signed).map_err(damaged)?;
    let given = given(&path, &anchors, &told).map_err(damaged)?;
    let readable = file::readable(&path, &anchors, &told)
        .map_err(|error| damaged(format!("what was recomputed cannot be written: {error}")))?;
    if let Some(what) = difference::first(parts.readable, &readable) {
        return Err(damaged(what));
    }
    let verdict_in_digest = stands_in_digest(&path, told.verdict).map_err(damaged)?;
    if !parts.is_whole {
        return Err(differs("the checksum at the end of the file is wrong".into()));
    }
    let attested_in_log = holds_in_log(&path, &anchors, expected)?;
    Ok(Confirmed {
        trader: path.trader.to_string(),
        verdict: file::in_words(&told),
        anchors,
        steps: told.steps.len(),
        verdict_in_digest,
        signed,
        given,
        attested_in_log,
        held_against,
    })
}

/// Returns what the file states that others decided, in words; empty when nothing depends on it.
///
/// # Errors
/// What of it cannot be, in words.
pub(super) fn given(path: &LogPath, anchors: &Anchors, told: &Told) -> Result<Vec<String>, String> {
    let Some(testimonies) = &path.attested else { return Ok(Vec::new()) };
    let last = anchors.head.commit;
    for testimony in testimonies {
        if testimony.attested.commit > last {
            return Err(format!("it attests something of a commit after {last}, its last"));
        }
        // Which rulebook was in force then is not told: one of them has to agree.
        let mut checked = Ok(());
        for adopted in &told.rulebooks {
            checked = attest::check(&path.trader, testimony, &adopted.rules);
            if checked.is_ok() {
                break;
            }
        }
        checked?;
    }
    Ok(attest::in_words(&path.trader, testimonies))
}

/// Tells whether what the file states of others' decisions is what the local log says, where there is
/// one: then the whole log is folded, and nothing is taken on trust.
fn holds_in_log(
    path: &LogPath,
    anchors: &Anchors,
    expected: &Expected<'_>,
) -> Result<bool, Refusal> {
    let (Some(stated), Some(data)) = (&path.attested, expected.data) else { return Ok(false) };
    let storage = data_dir::log_of(data).map_err(Unanswerable::from)?;
    let found = attest::from_log(&storage, &path.trader, anchors.head.commit)
        .map_err(Unanswerable::from)?;
    let differs = stated.iter().zip(&found).find(|(stated, found)| stated != found);
    match differs {
        None if stated.len() == found.len() => Ok(true),
        None => Err(Refusal::Differs(format!(
            "it attests {} decisions of others, the log holds {}",
            stated.len(),
            found.len()
        ))),
        Some((stated, _)) => Err(Refusal::Differs(format!(
            "what it attests of commit {} is not what the log says",
            stated.attested.commit
        ))),
    }
}

/// Tells whether the recomputed verdict is one that the state digest covers.
pub(super) fn stands_in_digest(path: &LogPath, verdict: Option<Digest>) -> Result<bool, String> {
    match (verdict, &path.stated) {
        (None, _) | (_, None) => Ok(false),
        (Some(verdict), Some(stated)) if stated.effects.verdicts.contains(&verdict) => Ok(true),
        (Some(_), Some(_)) => {
            Err("the recomputed verdict is not among those that the log's state digest covers"
                .into())
        }
    }
}

fn hold_against(anchors: &Anchors, expected: &Expected<'_>) -> Result<Vec<String>, Refusal> {
    let mut held = Vec::new();
    if let Some(asked) = expected.chain {
        if asked != anchors.chain {
            return Err(Refusal::OtherChain { found: anchors.chain, asked });
        }
        held.push(format!("chain {asked}"));
    }
    if let Some((commit, asked)) = expected.head {
        same_head(anchors, commit, asked)?;
        held.push(format!("state digest after commit {commit}"));
    }
    if let Some(path) = expected.data {
        let storage = data_dir::log_of(path).map_err(Unanswerable::from)?;
        let (chain, digest) = of_log(&storage, anchors.head.commit).map_err(Unanswerable::from)?;
        match chain {
            Some(asked) if asked != anchors.chain => {
                return Err(Refusal::OtherChain { found: anchors.chain, asked });
            }
            _ => {}
        }
        let digest = digest.ok_or(Unanswerable::ShortLog(anchors.head.commit))?;
        same_head(anchors, anchors.head.commit, digest)?;
        held.push(format!("the log in {}", path.display()));
    }
    Ok(held)
}

fn same_head(anchors: &Anchors, commit: u64, asked: Digest) -> Result<(), Refusal> {
    let file = anchors.head.commit;
    if commit != file {
        return Err(Unanswerable::OtherEnd { file, asked: commit }.into());
    }
    match anchors.digest {
        None => Err(Unanswerable::NoDigest(commit).into()),
        Some(found) if found == asked => Ok(()),
        Some(found) => Err(Refusal::OtherHead { commit, found, asked }),
    }
}

/// Returns the name of the log in `storage` and the digest that it states after `commit`.
fn of_log(
    storage: &Arc<dyn Storage>,
    commit: u64,
) -> Result<(Option<Digest>, Option<Digest>), ReplayError> {
    let entry = |index: u64| -> Result<Option<LogEntry>, ReplayError> {
        let mut reader = Reader::open(Arc::clone(storage))?;
        // The first commit only names the log; the digest stands for all before it.
        let first = reader.first();
        if index < first && index > 1 {
            return Err(ReplayError::BeginsLater { first });
        }
        let record = reader.find(|r| r.as_ref().map_or(true, |record| record.index == index));
        let Some(record) = record.transpose()? else { return Ok(None) };
        let decoded = LogEntry::decode(&record.payload);
        Ok(Some(decoded.map_err(|error| ReplayError::Decode { commit: index, error })?))
    };
    let chain = entry(1)?.map(|first| {
        let link = Leaves::default().read(&first.inputs);
        link.after(Digest::default(), Stamp { commit: 1, at: first.at })
    });
    Ok((chain, entry(commit + 1)?.map(|next| next.digest_before)))
}
