//! From a log to a path through it: what concerns the trader is read and shown while it is folded.
//!
//! The log is read twice. The first time only commits that hold the trader's name are decoded: they say
//! which pairs the trader's orders name, and so which prices have to be shown. The second time one
//! thread reads, hashes and prunes, and another one folds what is shown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use proctor_commit_log::{Reader, Storage};
use proctor_engine::View;
use proctor_engine::eliminations::EliminationsCommand;
use proctor_engine::engine::Attested;
use proctor_engine::input::{Extract, Input};
use proctor_engine::input_chain::Leaves;
use proctor_engine::state_digest::Effects;
use proctor_sequencer::ReplayError;
use proctor_types::{Digest, Stamp, TradePair, TraderId};
use proctor_wire::log_entry::LogEntry;
use proctor_wire::log_path::{LogPath, PathCommit, PathInputs, Stated, Testimony};

use super::proof::{Anchors, Wanted, pair_of_order};
use super::retell::{Retelling, Told};
use super::{EvidenceError, Which};

/// Commits that one thread hands over to the other at once, and how often it may be ahead.
const BATCH: usize = 256;
const AHEAD: usize = 8;

/// A path and what it tells.
pub(super) struct Extracted {
    pub(super) path: LogPath,
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
    index: u64,
    digest_before: Digest,
    effects_before: Effects,
    chain: Digest,
    commit: PathCommit,
    extract: Extract,
}

/// Looks through the log in `storage` for what is of `trader`.
///
/// # Errors
/// [`ReplayError`] when the log cannot be read.
pub(super) fn survey(
    storage: &Arc<dyn Storage>,
    trader: &TraderId,
) -> Result<Survey, ReplayError> {
    let mut survey = Survey { pairs: BTreeSet::new(), last: 0, last_lift: 0 };
    // Beside the trader's name those of validators that have named him: their lists also speak by
    // whom they do not name any more.
    let mut needles = vec![memmem(trader.as_str())];
    for record in Reader::open(Arc::clone(storage))? {
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
    let wanted = Wanted::of(trader, &survey.pairs);
    let storage = Arc::clone(storage);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let reader = scope.spawn(move || read(storage, &wanted, &sender));
        let facts = attested.map(|all| all.iter().map(|testimony| testimony.attested).collect());
        let walk = Walk::new(trader, facts);
        // The receiver goes with the walk, and with it the reason to read on.
        let walked = walk.run(Shows { receiver, batch: Vec::new().into_iter() }, survey, which);
        match reader.join() {
            Ok(Ok(())) => walked,
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
    .map(|walked| match walked {
        Walked::Done(mut done) => {
            let upto = done.anchors.head.commit;
            let is_in = |testimony: &&Testimony| testimony.attested.commit <= upto;
            done.path.attested = attested.map(|all| all.iter().filter(is_in).cloned().collect());
            Walked::Done(done)
        }
        ended @ Walked::EndedAt(_) => ended,
    })
}

/// Reads the log, hashes every commit and sends what is shown of it, until nobody listens any more.
fn read(
    storage: Arc<dyn Storage>,
    wanted: &Wanted,
    sender: &SyncSender<Vec<Shown>>,
) -> Result<(), EvidenceError> {
    let (mut leaves, mut chain) = (Leaves::default(), Digest::default());
    let mut batch = Vec::with_capacity(BATCH);
    for record in Reader::open(storage).map_err(ReplayError::from)? {
        let record = record.map_err(ReplayError::from)?;
        let index = record.index;
        let entry = decode(index, &record.payload)?;
        let link = leaves.read(&entry.inputs);
        chain = link.after(chain, Stamp { commit: index, at: entry.at });
        let mut extract = Extract { index, at: entry.at, inputs: Vec::new() };
        let inputs = if wanted.may_be_in(link.touches) {
            let tree = leaves.prune(wanted.keys()).map_err(EvidenceError::Bytes)?;
            extract.inputs =
                tree.inputs().map_err(|error| EvidenceError::Tree { commit: index, error })?;
            PathInputs::Shown { touches: link.touches, tree }
        } else {
            PathInputs::Hidden(link)
        };
        let commit = PathCommit { at: entry.at, inputs };
        let LogEntry { digest_before, effects_before, .. } = entry;
        batch.push(Shown { index, digest_before, effects_before, chain, commit, extract });
        if batch.len() == BATCH && sender.send(std::mem::take(&mut batch)).is_err() {
            return Ok(());
        }
    }
    // Whether somebody still listens makes no difference at the end.
    drop(sender.send(batch));
    Ok(())
}

/// What the reading thread sends, one by one.
struct Shows {
    receiver: Receiver<Vec<Shown>>,
    batch: std::vec::IntoIter<Shown>,
}

impl Iterator for Shows {
    type Item = Shown;

    fn next(&mut self) -> Option<Shown> {
        loop {
            if let Some(shown) = self.batch.next() {
                return Some(shown);
            }
            self.batch = self.receiver.recv().ok()?.into_iter();
        }
    }
}

/// A path in the making.
struct Walk {
    path: LogPath,
    retelling: Retelling,
    /// Chain after the first commit, and the last commit with what its digest is made of.
    first: Option<Digest>,
    head: Stamp,
    digest_before: Digest,
    chain: Digest,
}

impl Walk {
    fn new(trader: &TraderId, attested: Option<Vec<Attested>>) -> Self {
        let path =
            LogPath { trader: trader.clone(), attested: None, commits: Vec::new(), stated: None };
        Self {
            path,
            retelling: Retelling::new(trader, attested),
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
            let at_end = shown.index == survey.last;
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
            if !which.is_met(shown.index, self.retelling.verdicts().len(), 0) {
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
        self.first.get_or_insert(shown.chain);
        self.head = Stamp { commit: shown.index, at: shown.commit.at };
        (self.digest_before, self.chain) = (shown.digest_before, shown.chain);
        self.path.commits.push(shown.commit);
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
        Ok(Walked::Done(Box::new(Extracted { path: self.path, anchors, told })))
    }
}
