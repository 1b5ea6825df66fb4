//! The same fold fed by another process's log: what a service outside the node stands on.
//!
//! A follower opens the log for reading only, restores the newest snapshot and folds up to the last
//! commit that the writer has announced as durable; behind that it looks at nothing. It publishes
//! like the writer, so readers cannot tell the two apart.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{LogError, Reader, SnapshotStore, base};
use proctor_engine::Engine;

use crate::publisher::{Applied, Views};
use crate::replay::{self, Replay, ReplayError};
use crate::shelf::FileShelf;

/// How many commits are applied before they are published, when many are behind.
const PUBLISH_EVERY: u64 = 256;

/// Why a log cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log cannot be folded.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The log ends before the commit that was announced: another directory, or a damaged one.
    #[error("commit {announced} was announced, but the log ends at commit {end}")]
    EndsBefore {
        /// What was announced.
        announced: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The log begins later now: its owner has joined by a snapshot of another node.
    #[error(
        "the log begins after commit {after} now, since its node has joined by a snapshot, and this \
         process has only come to commit {at}: it is to begin anew"
    )]
    BegunAnew {
        /// The last commit before the log.
        after: u64,
        /// How far this is.
        at: u64,
    },
}

impl From<LogError> for FollowError {
    fn from(error: LogError) -> Self {
        Self::Replay(error.into())
    }
}

/// An engine that is kept at the durable end of a log which another process writes.
#[derive(Debug)]
pub struct Follower {
    storage: Arc<dyn Storage>,
    fold: Replay,
    views: Views,
}

impl Follower {
    /// Opens the log in `storage` for reading and folds it up to commit `durable`, from the newest
    /// usable snapshot on. Closed positions that are seldom read are kept on `shelf`.
    ///
    /// # Errors
    /// [`FollowError`]; nothing is changed in the directory in any case.
    pub fn open(
        storage: Arc<dyn Storage>,
        durable: u64,
        shelf: Option<Arc<FileShelf>>,
    ) -> Result<Self, FollowError> {
        let mut engine = newest_state(&storage, durable)?;
        if let Some(shelf) = shelf {
            engine.set_shelf(shelf);
        }
        let first = engine.stamp().commit + 1;
        let reader = Reader::open_at(Arc::clone(&storage), first)?.until(durable);
        let mut fold = Replay::resume(engine, reader);
        while fold.step()?.is_some() {}
        let views = Views::new(fold.engine().view());
        let follower = Self { storage, fold, views };
        follower.reached(durable)?;
        Ok(follower)
    }

    /// Goes on to commit `durable`, which the writer has announced, and publishes on the way.
    ///
    /// # Errors
    /// [`FollowError`]; the follower stays where it is and cannot go on.
    pub fn advance(&mut self, durable: u64) -> Result<(), FollowError> {
        if durable <= self.fold.engine().stamp().commit {
            return Ok(());
        }
        self.go_on(durable).map_err(|error| self.begun_anew().unwrap_or(error))
    }

    fn go_on(&mut self, durable: u64) -> Result<(), FollowError> {
        self.fold.extend(durable)?;
        let mut commits = Vec::new();
        while let Some((_, outcome)) = self.fold.step()? {
            let full = outcome.stamp.commit % PUBLISH_EVERY == 0;
            commits.push(Applied::from(outcome));
            if full {
                self.views.publish(self.fold.engine().view(), std::mem::take(&mut commits));
            }
        }
        if !commits.is_empty() {
            self.views.publish(self.fold.engine().view(), commits);
        }
        self.reached(durable)
    }

    /// Returns where readers find what was folded.
    #[must_use]
    pub fn views(&self) -> Views {
        self.views.clone()
    }

    /// Returns that the log begins later than this follows it, if so: what is read of it then looks
    /// like damage.
    fn begun_anew(&self) -> Option<FollowError> {
        let after = match base::base(&*self.storage) {
            Ok(base) => base?.head.index,
            Err(LogError::Unfinished { base }) => base,
            Err(_) => return None,
        };
        let at = self.fold.engine().stamp().commit;
        (after > at).then_some(FollowError::BegunAnew { after, at })
    }

    fn reached(&self, announced: u64) -> Result<(), FollowError> {
        let end = self.fold.engine().stamp().commit;
        if end < announced { Err(FollowError::EndsBefore { announced, end }) } else { Ok(()) }
    }
}

/// Returns the state of the newest snapshot up to `durable` that can be used, else an empty one.
///
/// The writer may remove a snapshot while it is read, and a snapshot only saves time: one that is
/// gone or damaged is done without.
fn newest_state(storage: &Arc<dyn Storage>, durable: u64) -> Result<Engine, FollowError> {
    let snapshots = SnapshotStore::new(Arc::clone(storage));
    let newest = snapshots.newest(durable).ok().and_then(|(newest, _)| newest);
    let Some(found) = newest else { return Ok(Engine::new()) };
    let after = found.head.index + 1;
    let mut next = Reader::open_at(Arc::clone(storage), after)?.until(durable);
    let of_this_log = next.next().transpose()?.is_none_or(|next| next.parent == found.head.hash);
    if !of_this_log {
        return Ok(Engine::new());
    }
    Ok(replay::restore(&found).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proctor_commit_log::storage::memory::MemoryStorage;
    use proctor_commit_log::{Base, Head};
    use proctor_engine::Input;
    use proctor_types::{Digest, UtcMs};

    use super::*;
    use crate::publisher::Since;
    use crate::writer::{Batch, Writer, WriterConfig};

    fn writer(storage: &Arc<MemoryStorage>, snapshot_every: u64) -> Writer {
        let config =
            WriterConfig { snapshot_every, snapshots_beside: false, ..WriterConfig::default() };
        Writer::open(Arc::<MemoryStorage>::clone(storage), config).expect("a log").writer
    }

    fn commit(writer: &mut Writer, count: usize) {
        for _ in 0..count {
            let at = UtcMs(writer.stamp().at.0 + 1_000);
            let answers = writer.commit(vec![Batch { at, inputs: vec![Input::Tick] }]);
            assert!(answers.iter().all(Result::is_ok));
        }
    }

    #[test]
    fn a_follower_stands_where_the_writer_stands_after_every_announcement() {
        for snapshot_every in [0, 3] {
            let storage = Arc::new(MemoryStorage::new());
            let mut writer = writer(&storage, snapshot_every);
            commit(&mut writer, 5);
            let log: Arc<dyn Storage> = Arc::<MemoryStorage>::clone(&storage);
            let mut follower = Follower::open(log, 4, None).expect("a log to follow");
            assert_eq!(follower.views().latest().stamp.commit, 4);
            for step in [0, 1, 300, 7] {
                commit(&mut writer, step);
                follower.advance(writer.stamp().commit).expect("the log goes on");
                let (theirs, ours) = (writer.views().latest(), follower.views().latest());
                assert_eq!((theirs.stamp, theirs.digest), (ours.stamp, ours.digest));
            }
            // Subscribers get the commits from the follower as they would from the writer.
            assert_eq!(follower.views().since(4, 1_000), writer.views().since(4, 1_000));
            assert!(
                matches!(follower.views().since(4, 1_000), Since::Commits(c) if c.len() == 309)
            );
        }
    }

    #[test]
    fn a_commit_that_is_announced_and_not_there_is_told() {
        let storage = Arc::new(MemoryStorage::new());
        let mut writer = writer(&storage, 0);
        commit(&mut writer, 2);
        let log: Arc<dyn Storage> = storage;
        let error = Follower::open(Arc::clone(&log), 9, None).expect_err("the log is shorter");
        assert!(matches!(error, FollowError::EndsBefore { announced: 9, end: 2 }), "{error}");
        let mut follower = Follower::open(log, 2, None).expect("a log to follow");
        let error = follower.advance(3).expect_err("the log is shorter");
        assert!(matches!(error, FollowError::EndsBefore { announced: 3, end: 2 }), "{error}");
    }

    #[test]
    fn a_log_that_begins_anew_behind_its_back_is_told_as_such_and_not_as_damage() {
        let storage = Arc::new(MemoryStorage::new());
        let mut first = writer(&storage, 0);
        commit(&mut first, 2);
        let log: Arc<dyn Storage> = storage;
        let mut follower = Follower::open(Arc::clone(&log), 2, None).expect("a log to follow");
        drop(first);
        let head = Head { index: 50, hash: Digest([7; 32]) };
        base::begin_after(&log, &Base { head, proof: Vec::new() }).expect("nobody writes");
        let error = follower.advance(51).expect_err("51 does not follow 2");
        assert!(matches!(error, FollowError::BegunAnew { after: 50, at: 2 }), "{error}");
    }
}
