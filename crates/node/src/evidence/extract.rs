//! From a log to a path through it: what concerns the trader is read and shown while it is folded.
//!
//! The log is read twice. The first time only commits that hold the trader's name are decoded: they say
//! which pairs the trader's orders name, and so which prices have to be shown. The second time one
//! thread reads, two hash and prune, and another one folds what is shown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use proctor_commit_log::{Record, Storage};
use proctor_engine::View;
use proctor_engine::eliminations::EliminationsCommand;
use proctor_engine::input::{Extract, Input};
use proctor_engine::input_chain::{Leaves, Link};
use proctor_engine::state_digest::Effects;
use proctor_sequencer::{ReplayError, replay};
use proctor_types::{Digest, Stamp, TradePair, TraderId};
use proctor_wire::log_entry::LogEntry;
use proctor_wire::log_path::{Encoded, LogPath, PathInputs, PathWriter, Stated, Testimony};

use super::proof::{Anchors, Wanted, pair_of_order};
use super::retell::{Retelling, Told};
use super::{EvidenceError, Which};

/// Commits that one thread hands over to the other at once, and how often it may be ahead.
const BATCH: usize = 256;
const AHEAD: usize = 8;
/// Threads that decode, hash and prune; reading and folding have one each.
const WORKERS: usize = 2;

/// A path and what it tells.
pub(super) struct Extracted {
    /// Without the commits, which are written already.
    pub(super) path: LogPath,
    pub(super) encoded: Encoded,
    pub(super) anchors: Anchors,
    pub(super) told: Told,
}

/// What a look at the trader's own inputs says.
pub(super) struct Survey {
    /// The pairs that the trader's orders name.
    pairs: BTreeSet<TradePair>,
    /// The last commit of the log.
    last: u64,
    /// The last commit with an input that may take back a verdict on the trader.
    last_lift: u64,
}

/// A commit as the path shows it.
struct Shown {
    digest_before: Digest,
    effects_before: Effects,
    link: Link,
    extract: Extract,
    is_shown: bool,
    encoded: Encoded,
}

/// Looks through the log in `storage` for what is of `trader`.
///
/// # Errors
/// [`ReplayError`] when the log cannot be read.
pub(super) fn survey(storage: &Arc<dyn Storage>, trader: &TraderId) -> Result<Survey, ReplayError> {
    let mut survey = Survey { pairs: BTreeSet::new(), last: 0, last_lift: 0 };
    // Beside the trader's name those of validators that have named him: their lists also speak by
    // whom they do not name any more.
    let mut needles = vec![memmem(trader.as_str())];
    for record in replay::whole(storage)? {
        let record = record?;
        survey.last = record.index;
        if !needles.iter().any(|needle| needle.find(&record.payload).is_some()) {
            continue;
        }
        for input in decode(record.index, &record.payload)?.inputs {
            survey.pairs.extend(pair_of_order(trader, &input));
            if let Input::SyncEliminations(list) = &input {
                needles.push(memmem(list.source.as_str()));
            }
            if may_lift(&input) {
                survey.last_lift = record.index;
            }
        }
    }
    Ok(survey)
}

fn memmem(name: &str) -> memchr::memmem::Finder<'static> {
    memchr::memmem::Finder::new(name.as_bytes()).into_owned()
}

fn decode(commit: u64, payload: &[u8]) -> Result<LogEntry, ReplayError> {
    LogEntry::decode(payload).map_err(|error| ReplayError::Decode { commit, error })
}

fn may_lift(input: &Input) -> bool {
    matches!(
        input,
        Input::Reinstate(_)
            | Input::Eliminations(EliminationsCommand::Remove { .. })
            | Input::SyncEliminations(_)
    )
}

/// Returns the path that shows what the log in `storage` holds about `trader`, and what it tells: up to
/// the verdict that is asked for, or to the last commit whose digest the log states. What others decide
/// is taken from `attested`.
///
/// # Errors
/// [`EvidenceError`] when the log cannot be read, holds no such account or verdict, or states a digest
/// that does not cover its inputs.
pub(super) fn extract(
    storage: &Arc<dyn Storage>,
    trader: &TraderId,
    survey: &Survey,
    attested: Option<&[Testimony]>,
    which: Which,
) -> Result<Extracted, EvidenceError> {
    match walk(storage, trader, survey, attested, which)? {
        Walked::Done(extracted) => Ok(*extracted),
        // It may have been taken back and was not: now it is known where the path has to end.
        Walked::EndedAt(commit) => {
            match walk(storage, trader, survey, attested, Which::Commit(commit))? {
                Walked::Done(extracted) => Ok(*extracted),
                Walked::EndedAt(commit) => {
                    Err(EvidenceError::NoSuchVerdict { asked: which, commits: vec![commit] })
                }
            }
        }
    }
}

/// How a walk through the log ended.
enum Walked {
    Done(Box<Extracted>),
    /// The account ended in this commit, and the path goes on.
    EndedAt(u64),
}

fn walk(
    storage: &Arc<dyn Storage>,
    trader: &TraderId,
    survey: &Survey,
    attested: Option<&[Testimony]>,
    which: Which,
) -> Result<Walked, EvidenceError> {
    let wanted = &Wanted::of(trader, &survey.pairs);
    std::thread::scope(|scope| {
        let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
        for _ in 0..WORKERS {
            let (raw, records) = sync_channel(AHEAD);
            let (shows, shown) = sync_channel(AHEAD);
            scope.spawn(move || show(wanted, &records, &shows));
            to_workers.push(raw);
            from_workers.push(shown);
        }
        let reader = scope.spawn(move || read(storage, &to_workers));
        // The receivers go with the walk, and with them the reason to read on.
        let shows = Shows { from_workers, turn: 0, batch: Vec::new().into_iter(), failed: None };
        let walked = Walk::new(trader, attested).run(shows, survey, which);
        match reader.join() {
            Ok(Ok(())) => walked,
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Reads the log and hands its records to the workers in turn, until nobody listens any more.
fn read(
    storage: &Arc<dyn Storage>,
    to_workers: &[SyncSender<Vec<Record>>],
) -> Result<(), ReplayError> {
    let mut records = replay::whole(storage)?;
    for worker in to_workers.iter().cycle() {
        let batch = records.by_ref().take(BATCH).collect::<Result<Vec<Record>, _>>()?;
        if batch.is_empty() || worker.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

/// Decodes, hashes and prunes what comes from `records`.
fn show(
    wanted: &Wanted,
    records: &Receiver<Vec<Record>>,
    shows: &SyncSender<Result<Vec<Shown>, EvidenceError>>,
) {
    let mut leaves = Leaves::default();
    for batch in records {
        let batch = batch.iter().map(|record| show_one(wanted, &mut leaves, record)).collect();
        if shows.send(batch).is_err() {
            break;
        }
    }
}

fn show_one(wanted: &Wanted, leaves: &mut Leaves, record: &Record) -> Result<Shown, EvidenceError> {
    let index = record.index;
    let entry = decode(index, &record.payload)?;
    let link = leaves.read(&entry.inputs);
    let mut extract = Extract { index, at: entry.at, inputs: Vec::new() };
    let mut encoded = Encoded::default();
    let inputs = if wanted.may_be_in(link.touches) {
        let tree = leaves.prune(wanted.keys()).map_err(EvidenceError::Bytes)?;
        PathInputs::Shown { touches: link.touches, tree }
    } else {
        PathInputs::Hidden(link)
    };
    let is_shown = inputs.write(&mut encoded);
    if let PathInputs::Shown { tree, .. } = inputs {
        extract.inputs =
            tree.into_inputs().map_err(|error| EvidenceError::Tree { commit: index, error })?;
    }
    let LogEntry { digest_before, effects_before, .. } = entry;
    Ok(Shown { digest_before, effects_before, link, extract, is_shown, encoded })
}

/// What the workers send, one by one, in the order of the log.
struct Shows {
    from_workers: Vec<Receiver<Result<Vec<Shown>, EvidenceError>>>,
    turn: usize,
    batch: std::vec::IntoIter<Shown>,
    /// What went wrong; nothing comes after it.
    failed: Option<EvidenceError>,
}

impl Iterator for Shows {
    type Item = Shown;

    fn next(&mut self) -> Option<Shown> {
        loop {
            if let Some(shown) = self.batch.next() {
                return Some(shown);
            }
            if self.failed.is_some() {
                return None;
            }
            // Batches were handed out in turn, and come back in turn.
            match self.from_workers[self.turn].recv().ok()? {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(error) => self.failed = Some(error),
            }
            self.turn = (self.turn + 1) % self.from_workers.len();
        }
    }
}

/// A path in the making.
struct Walk<'a> {
    attested: Option<&'a [Testimony]>,
    path: LogPath,
    writer: PathWriter,
    retelling: Retelling,
    /// Chain after the first commit, and the last commit with what its digest is made of.
    first: Option<Digest>,
    head: Stamp,
    digest_before: Digest,
    chain: Digest,
}

impl<'a> Walk<'a> {
    fn new(trader: &TraderId, attested: Option<&'a [Testimony]>) -> Self {
        let facts = attested.map(|all| all.iter().map(|testimony| testimony.attested).collect());
        let path =
            LogPath { trader: trader.clone(), attested: None, commits: Vec::new(), stated: None };
        Self {
            attested,
            path,
            writer: PathWriter::default(),
            retelling: Retelling::new(trader, facts),
            first: None,
            head: Stamp::default(),
            digest_before: Digest::default(),
            chain: Digest::default(),
        }
    }

    fn run(
        mut self,
        mut shows: Shows,
        survey: &Survey,
        which: Which,
    ) -> Result<Walked, EvidenceError> {
        while let Some(shown) = shows.next() {
            let at_end = shown.extract.index == survey.last;
            if at_end && self.retelling.has_account() && self.retelling.ended().is_none() {
                return self.at_the_last(shown, which);
            }
            let known = self.retelling.verdicts().len();
            self.take(shown)?;
            let verdicts = self.retelling.verdicts();
            let is_new = verdicts.len() > known || self.retelling.ended() == Some(self.head.commit);
            if is_new && which.is_met(self.head.commit, verdicts.len(), survey.last_lift) {
                // The header after the verdict states what came of it.
                let next = if at_end { None } else { shows.next() };
                return self.finish(next.as_ref());
            }
        }
        if let Some(error) = shows.failed {
            return Err(error);
        }
        self.without_verdict(which)?;
        match self.retelling.ended() {
            Some(commit) if commit != self.head.commit => Ok(Walked::EndedAt(commit)),
            _ => self.finish(None),
        }
    }

    /// Nothing in the log states the digest after its last commit. Where no verdict is in it, the path
    /// ends one earlier, in a state that others can know.
    fn at_the_last(mut self, shown: Shown, which: Which) -> Result<Walked, EvidenceError> {
        let (view, tale) = (self.retelling.view(), self.retelling.tale());
        self.retelling.take(&shown.extract)?;
        if self.retelling.ended().is_some() {
            if !which.is_met(shown.extract.index, self.retelling.verdicts().len(), 0) {
                self.without_verdict(which)?;
            }
            self.push(shown);
            return self.finish(None);
        }
        self.without_verdict(which)?;
        self.retelling.go_back(tale);
        self.finish_as_of(&view, Some(&shown))
    }

    fn take(&mut self, shown: Shown) -> Result<(), EvidenceError> {
        self.retelling.take(&shown.extract)?;
        self.push(shown);
        Ok(())
    }

    fn push(&mut self, shown: Shown) {
        let Extract { index, at, .. } = shown.extract;
        self.head = Stamp { commit: index, at };
        self.digest_before = shown.digest_before;
        self.chain = shown.link.after(self.chain, self.head);
        self.first.get_or_insert(self.chain);
        let Encoded { hashes, rest } = &shown.encoded;
        self.writer.push(at, shown.is_shown, hashes, rest);
    }

    /// Refuses when a verdict was asked for and the log has none like it.
    fn without_verdict(&self, which: Which) -> Result<(), EvidenceError> {
        match which {
            Which::Last => Ok(()),
            Which::Number(_) | Which::Commit(_) => Err(EvidenceError::NoSuchVerdict {
                asked: which,
                commits: self.retelling.verdicts().to_vec(),
            }),
        }
    }

    fn finish(self, next: Option<&Shown>) -> Result<Walked, EvidenceError> {
        let view = self.retelling.view();
        self.finish_as_of(&view, next)
    }

    /// Finishes the path with what `next`, the entry after its last commit, states of that commit.
    fn finish_as_of(mut self, view: &View, next: Option<&Shown>) -> Result<Walked, EvidenceError> {
        if !self.retelling.has_account() {
            return Err(EvidenceError::UnknownTrader(self.path.trader));
        }
        let (commit, digest_before) = (self.head.commit, self.digest_before);
        let mut digest = None;
        if let Some(next) = next {
            let stated = Stated { digest_before, effects: next.effects_before.clone() };
            let computed = stated.effects.digest(digest_before, self.chain);
            if computed != next.digest_before {
                let stated = next.digest_before;
                return Err(ReplayError::Diverged { commit, stated, computed }.into());
            }
            digest = Some(computed);
            self.path.stated = Some(stated);
        }
        let anchors = Anchors {
            chain: self.first.unwrap_or_default(),
            head: self.head,
            input_chain: self.chain,
            digest,
        };
        let told = self.retelling.finish(view)?;
        let upto = self.head.commit;
        self.path.attested = self.attested.map(|all| {
            all.iter().filter(|testimony| testimony.attested.commit <= upto).cloned().collect()
        });
        let encoded = self.writer.finish(&self.path);
        Ok(Walked::Done(Box::new(Extracted { path: self.path, encoded, anchors, told })))
    }
}
