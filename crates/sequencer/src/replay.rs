//! The log folded through an engine: recovery, verification and explanation use this one loop.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{
    End, Head, LogError, Reader, Snapshot, SnapshotError, SnapshotStore, base,
};
use proctor_engine::{Commit, Engine, OutOfOrder, Outcome};
use proctor_types::Digest;
use proctor_wire::{DecodeError, checkpoint};

use crate::read_ahead::Entries;

/// Why a log cannot be folded, or does not give the results that it states.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record is not a commit that this build can read.
    #[error("commit {commit} cannot be decoded: {error}")]
    Decode {
        /// Index of the commit.
        commit: u64,
        /// What is wrong with its bytes.
        error: DecodeError,
    },
    /// A record does not follow the one before.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The state after a commit is not what the log says it was.
    #[error(
        "the state after commit {commit} differs: the log states digest {stated}, this build \
         computes {computed}"
    )]
    Diverged {
        /// The first commit whose result differs.
        commit: u64,
        /// The digest that the next commit, or a snapshot, states.
        stated: Digest,
        /// The digest that the fold gives.
        computed: Digest,
    },
    /// The hashes of what a commit did are not what the log says they were.
    #[error("the log states other effects of commit {0} than this build computes")]
    Effects(u64),
    /// The log does not begin with commit 1, and what was before is needed.
    #[error(
        "the log begins at commit {first}, and what was before is not in it: a node that keeps \
         everything has it"
    )]
    BeginsLater {
        /// The first commit of the log.
        first: u64,
    },
    /// The snapshot after which the log begins cannot be used.
    #[error("the snapshot of commit {commit}, after which the log begins, cannot be used: {error}")]
    Beginning {
        /// The snapshot's commit.
        commit: u64,
        /// What is wrong with it.
        error: SnapshotError,
    },
    /// The snapshot after which the log begins belongs to another log.
    #[error("the snapshot of commit {0}, after which the log begins, was not made from this log")]
    OtherBeginning(u64),
    /// A snapshot's bytes are not an engine state that this build can read.
    #[error("the snapshot of commit {commit} cannot be decoded: {error}")]
    Snapshot {
        /// Index of the snapshot's commit.
        commit: u64,
        /// What is wrong with its bytes.
        error: DecodeError,
    },
}

/// An engine that follows a log, commit by commit, and holds it to the digests it states.
#[derive(Debug)]
pub struct Replay {
    entries: Entries,
    head: Head,
    engine: Engine,
    /// The log's first commit, when that is later than the first one wanted.
    begins_later: Option<u64>,
}

impl Replay {
    /// Returns the fold of `reader` from the first commit on.
    #[must_use]
    pub fn from_the_first(reader: Reader) -> Self {
        let first = reader.first();
        let begins_later = (first > 1).then_some(first);
        Self { begins_later, ..Self::resume(Engine::new(), reader) }
    }

    /// Returns the fold of all that the log in `storage` has: from the first commit, or from the
    /// snapshot after which it begins.
    ///
    /// # Errors
    /// [`ReplayError`] when that snapshot cannot be used.
    pub fn from_the_beginning(storage: &Arc<dyn Storage>) -> Result<Self, ReplayError> {
        let reader = Reader::open(Arc::clone(storage))?;
        let Some(base) = base::base(&**storage)? else { return Ok(Self::from_the_first(reader)) };
        let commit = base.head.index;
        let found = SnapshotStore::new(Arc::clone(storage)).load(commit);
        let found = found.map_err(|error| ReplayError::Beginning { commit, error })?;
        if found.head != base.head {
            return Err(ReplayError::OtherBeginning(commit));
        }
        Ok(Self { head: base.head, ..Self::resume(restore(&found)?, reader) })
    }

    /// Returns the fold that goes on with `reader` after what `engine` has applied.
    #[must_use]
    pub fn resume(engine: Engine, reader: Reader) -> Self {
        Self { head: reader.head(), entries: Entries::new(reader), engine, begins_later: None }
    }

    /// Applies the next commit; `None` at the end of the log.
    ///
    /// # Errors
    /// [`ReplayError`]; the fold cannot go on after one.
    pub fn step(&mut self) -> Result<Option<(Commit, Outcome)>, ReplayError> {
        if let Some(first) = self.begins_later {
            return Err(ReplayError::BeginsLater { first });
        }
        let Some(entry) = self.entries.next()? else { return Ok(None) };
        agree(self.engine.stamp().commit, entry.digest_before, self.engine.digest())?;
        // The digest covers the effects; that the log states these very ones is worth a look of its
        // own, because evidence is made from them without folding the log.
        if entry.effects_before != *self.engine.effects() {
            return Err(ReplayError::Effects(self.engine.stamp().commit));
        }
        let outcome = self.engine.apply_linked(&entry.commit)?;
        self.head = entry.head;
        let commit = entry.commit.into_commit();
        Ok(Some((commit, outcome)))
    }

    /// Goes on to commit `index`, if the fold was at its end: sees what was written since. Does
    /// nothing before its end.
    ///
    /// # Errors
    /// [`ReplayError::Log`] when the log cannot be listed.
    pub fn extend(&mut self, index: u64) -> Result<(), ReplayError> {
        match self.entries.reader_mut() {
            Some(reader) => Ok(reader.extend(index)?),
            None => Ok(()),
        }
    }

    /// Returns the engine as it stands.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the last commit that was applied, with the log's hash up to it.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Returns how the log ends, once [`Replay::step`] has returned `None` there.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.entries.reader().and_then(Reader::end)
    }

    /// Returns the engine.
    #[must_use]
    pub fn into_engine(self) -> Engine {
        self.engine
    }
}

/// Returns a reader of the log in `storage`, which must have every commit from the first on.
///
/// # Errors
/// [`ReplayError::BeginsLater`] when it begins later, [`ReplayError::Log`].
pub fn whole(storage: &Arc<dyn Storage>) -> Result<Reader, ReplayError> {
    let reader = Reader::open(Arc::clone(storage))?;
    match reader.first() {
        1 => Ok(reader),
        first => Err(ReplayError::BeginsLater { first }),
    }
}

/// Tests that the digest stated for the state after `commit` is the computed one.
///
/// # Errors
/// [`ReplayError::Diverged`].
pub fn agree(commit: u64, stated: Digest, computed: Digest) -> Result<(), ReplayError> {
    if stated == computed {
        Ok(())
    } else {
        Err(ReplayError::Diverged { commit, stated, computed })
    }
}

/// Returns the engine whose state `snapshot` holds.
///
/// # Errors
/// [`ReplayError::Snapshot`] or, when the state is not the one the snapshot states,
/// [`ReplayError::Diverged`].
pub fn restore(snapshot: &Snapshot) -> Result<Engine, ReplayError> {
    let commit = snapshot.head.index;
    let engine = checkpoint::decode(&snapshot.state)
        .map_err(|error| ReplayError::Snapshot { commit, error })?;
    agree(commit, snapshot.state_digest, engine.digest())?;
    Ok(engine)
}
