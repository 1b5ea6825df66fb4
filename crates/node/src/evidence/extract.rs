//! From a log to a path through it: reads the log twice, folds nothing but the trader's own account.

use std::collections::BTreeSet;
use std::sync::Arc;

use proctor_commit_log::{Reader, Storage};
use proctor_engine::Engine;
use proctor_engine::input::Extract;
use proctor_engine::input_chain::Leaves;
use proctor_sequencer::ReplayError;
use proctor_types::{Digest, Stamp, TradePair, TraderId};
use proctor_wire::log_entry::LogEntry;
use proctor_wire::log_path::{LogPath, PathCommit, PathInputs, Stated};

use super::EvidenceError;
use super::proof::{Wanted, pair_of_order};

/// The entries of a log, one after the other.
struct Entries(Reader);

impl Entries {
    fn open(storage: &Arc<dyn Storage>) -> Result<Self, ReplayError> {
        Ok(Self(Reader::open(Arc::clone(storage))?))
    }

    fn next(&mut self) -> Result<Option<(u64, LogEntry)>, ReplayError> {
        let Some(record) = self.0.next().transpose()? else { return Ok(None) };
        let entry = LogEntry::decode(&record.payload)
            .map_err(|error| ReplayError::Decode { commit: record.index, error })?;
        Ok(Some((record.index, entry)))
    }
}

/// Returns the path that shows what the log in `storage` holds about `trader`: up to the verdict that ended
/// the account, else up to the last commit whose digest the log states.
///
/// # Errors
/// [`EvidenceError`] when the log cannot be read, holds no such account, or states a digest that
/// does not cover its inputs.
pub(super) fn extract(
    storage: &Arc<dyn Storage>,
    trader: &TraderId,
) -> Result<LogPath, EvidenceError> {
    let (pairs, last) = pairs_of(storage, trader)?;
    let wanted = Wanted::of(trader, &pairs);
    let mut entries = Entries::open(storage)?;
    let mut path = Path::new(trader.clone());
    let mut at_verdict: Option<Place> = None;
    while let Some((index, entry)) = entries.next()? {
        if let Some(place) = at_verdict {
            // The header after the verdict states what came of it.
            path.state(place, &entry)?;
            break;
        }
        let (known, before) = (path.has_account(), path.last);
        let ends = path.add(index, &entry, &wanted)?;
        at_verdict = ends.then_some(path.last);
        if index == last && !ends && known {
            // Nothing in the log states the digest after its last commit. Where no verdict is in it,
            // the path ends one earlier, in a state that others can know.
            path.path.commits.pop();
            path.state(before, &entry)?;
        }
    }
    path.finish()
}

/// Returns the pairs that the trader's orders name, and the index of the last commit.
fn pairs_of(
    storage: &Arc<dyn Storage>,
    trader: &TraderId,
) -> Result<(BTreeSet<TradePair>, u64), ReplayError> {
    let mut entries = Entries::open(storage)?;
    let (mut pairs, mut last) = (BTreeSet::new(), 0);
    while let Some((index, entry)) = entries.next()? {
        pairs.extend(entry.inputs.iter().filter_map(|input| pair_of_order(trader, input)));
        last = index;
    }
    Ok((pairs, last))
}

/// A path in the making.
struct Path {
    path: LogPath,
    engine: Engine,
    leaves: Leaves,
    last: Place,
}

/// A commit of the path: what a state digest is made of, but for what the commit did.
#[derive(Clone, Copy, Default)]
struct Place {
    commit: u64,
    digest_before: Digest,
    /// The input chain's hash after it.
    chain: Digest,
}

impl Path {
    fn new(trader: TraderId) -> Self {
        Self {
            path: LogPath { trader, commits: Vec::new(), stated: None },
            engine: Engine::new(),
            leaves: Leaves::default(),
            last: Place::default(),
        }
    }

    /// Adds a commit; returns whether the account ended in it.
    fn add(
        &mut self,
        index: u64,
        entry: &LogEntry,
        wanted: &Wanted,
    ) -> Result<bool, EvidenceError> {
        let link = self.leaves.read(&entry.inputs);
        let chain = link.after(self.last.chain, Stamp { commit: index, at: entry.at });
        self.last = Place { commit: index, digest_before: entry.digest_before, chain };
        let mut extract = Extract { index, at: entry.at, inputs: Vec::new() };
        let inputs = if wanted.may_be_in(link.touches) {
            let tree = self.leaves.prune(wanted.keys()).map_err(EvidenceError::Bytes)?;
            extract.inputs =
                tree.inputs().map_err(|error| EvidenceError::Tree { commit: index, error })?;
            PathInputs::Shown { touches: link.touches, tree }
        } else {
            PathInputs::Hidden(link)
        };
        self.path.commits.push(PathCommit { at: entry.at, inputs });
        self.engine.apply_extract(&extract).map_err(ReplayError::from)?;
        let account = self.engine.account(&self.path.trader);
        Ok(account.is_some_and(|account| account.elimination.is_some()))
    }

    fn has_account(&self) -> bool {
        self.engine.account(&self.path.trader).is_some()
    }

    /// Takes from `next`, the entry after the last commit of the path, what that commit did.
    fn state(&mut self, before: Place, next: &LogEntry) -> Result<(), EvidenceError> {
        let Place { commit, digest_before, chain } = before;
        let stated = Stated { digest_before, effects: next.effects_before.clone() };
        let computed = stated.effects.digest(digest_before, chain);
        if computed != next.digest_before {
            let stated = next.digest_before;
            return Err(ReplayError::Diverged { commit, stated, computed }.into());
        }
        self.path.stated = Some(stated);
        Ok(())
    }

    fn finish(self) -> Result<LogPath, EvidenceError> {
        if self.has_account() {
            Ok(self.path)
        } else {
            Err(EvidenceError::UnknownTrader(self.path.trader))
        }
    }
}
