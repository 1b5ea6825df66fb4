//! The writer: stamp, append, sync, apply, publish.
//!
//! One thread owns it. A group of batches shares one fdatasync. The header of a commit carries the
//! digest of the state before it, so within a group every batch but the last is applied before the
//! sync; nothing is published or answered before it, so no reader can tell.

mod anew;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proctor_commit_log::base;
use proctor_commit_log::storage::Storage;
use proctor_commit_log::{
    IoFailure, Log, LogConfig, LogError, MAX_PAYLOAD_BYTES, Recovery, SkippedSnapshot, Snapshot,
    SnapshotError, SnapshotStore,
};
use proctor_engine::{Commit, Engine, Event, Input, Rejection};
use proctor_types::{Digest, Stamp, UtcMs};
use proctor_wire::DecodeError;
use proctor_wire::log_entry::LogEntry;

use crate::publisher::{Applied, Views};
use crate::replay::{self, Replay, ReplayError};
use crate::shelf::FileShelf;
use crate::snapshots::{Picture, Snapshots};
use crate::stats::Stats;
pub use anew::BeginError;

/// How the writer keeps its log.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    /// Segments and pre-allocation.
    pub log: LogConfig,
    /// A snapshot is taken of every commit whose number is a multiple of this, so that nodes have
    /// snapshots of the same commits; 0 takes one only at the end.
    pub snapshot_every: u64,
    /// How many snapshots are kept.
    pub snapshots_kept: usize,
    /// Whether the snapshots between are written by a thread of their own. Without one, commits wait for
    /// them, and what is written to the storage has one order: simulations want that.
    pub snapshots_beside: bool,
    /// Where the engine keeps closed positions that are seldom read; in memory without one.
    pub shelf: Option<Arc<FileShelf>>,
    /// Whether the oldest snapshot after the log's beginning is kept besides: the beginning can be
    /// moved there.
    pub keeps_oldest: bool,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            log: LogConfig::default(),
            snapshot_every: 100_000,
            snapshots_kept: 2,
            snapshots_beside: true,
            shelf: None,
            keeps_oldest: false,
        }
    }
}

/// Inputs that share a stamp: they become one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The commit's time.
    pub at: UtcMs,
    /// The inputs, in the order in which they are judged.
    pub inputs: Vec<Input>,
}

/// The answer to a batch: it is durable, applied and visible.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The commit and its time.
    pub stamp: Stamp,
    /// The state digest after it.
    pub digest: Digest,
    /// The place of the first of these inputs in the commit.
    pub first: usize,
    /// One answer per input.
    pub replies: Vec<Result<(), Rejection>>,
    /// Everything the commit changed.
    pub events: Arc<Vec<Event>>,
    /// Which of the events came of which input of the commit, as in
    /// [`proctor_engine::Outcome::ends`].
    pub ends: Arc<[usize]>,
}

impl Receipt {
    /// Returns what these inputs changed, apart from what others in the same commit did.
    #[must_use]
    pub fn own_events(&self) -> &[Event] {
        let end = |place: usize| self.ends.get(place).copied().unwrap_or(self.events.len());
        let own = end(self.first)..end(self.first + self.replies.len());
        self.events.get(own).unwrap_or_default()
    }
}

/// Why nothing was committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The batch is dated before the last commit; only it was refused.
    #[error("time would go back from {last} to {given}")]
    TimeWentBack {
        /// The batch's time.
        given: UtcMs,
        /// Time of the last commit.
        last: UtcMs,
    },
    /// The batch is dated outside the years 1970 to 9999; only it was refused.
    #[error("the time {} ms is not within the years 1970 to 9999", .0.0)]
    Calendar(UtcMs),
    /// The batch is larger than a record may be; only it was refused.
    #[error("the batch has {bytes} bytes, a commit holds at most {MAX_PAYLOAD_BYTES}")]
    TooLarge {
        /// Size of the encoded batch.
        bytes: usize,
    },
    /// The log has failed; it is read-only until the node is started again.
    #[error("the log has stopped accepting commits: {0}")]
    Stopped(String),
}

/// Why a commit of another node was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is no commit.
    #[error("commit {commit} cannot be decoded: {error}")]
    Decode {
        /// The commit.
        commit: u64,
        /// What is wrong with its bytes.
        error: DecodeError,
    },
    /// It was made on another state than the one that its predecessors give here.
    #[error(
        "the state after commit {commit} is {computed} here and {stated} where the next commit was \
         made: the two nodes judge differently"
    )]
    Diverged {
        /// The commit after which the states differ.
        commit: u64,
        /// The digest that the other node states.
        stated: Digest,
        /// The digest here.
        computed: Digest,
    },
    /// It is dated before the commit before it, or outside the years 1970 to 9999.
    #[error("commit {commit} is dated {} ms, the one before {last}", .given.0)]
    Time {
        /// The commit.
        commit: u64,
        /// Its time.
        given: UtcMs,
        /// Time of the commit before.
        last: UtcMs,
    },
    /// It is larger than a record may be.
    #[error("commit {commit} has {bytes} bytes, a record holds at most {MAX_PAYLOAD_BYTES}")]
    TooLarge {
        /// The commit.
        commit: u64,
        /// Size of its payload.
        bytes: usize,
    },
    /// The log has failed; it is read-only until the node is started again.
    #[error("the log has stopped accepting commits: {0}")]
    Stopped(String),
}

/// Why a data directory cannot be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log is damaged or cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshots cannot be listed or read.
    #[error(transparent)]
    Snapshots(#[from] IoFailure),
    /// The log cannot be folded.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The newest snapshot is of a commit that the log does not have: commits were lost.
    #[error(
        "the newest snapshot is of commit {snapshot}, but the log ends at commit {log}: commits \
         are missing, restore the log from a copy"
    )]
    SnapshotAhead {
        /// Commit of the snapshot.
        snapshot: u64,
        /// Last commit of the log.
        log: u64,
    },
    /// The log begins after a snapshot, and neither that one nor a later one can be read.
    #[error(
        "the log begins at commit {first}, and no snapshot of the state before it can be read: \
         restore the .snap file from a copy, or move the data directory away and join anew"
    )]
    NoState {
        /// The first commit of the log.
        first: u64,
    },
    /// A snapshot belongs to another history than the log.
    #[error("the snapshot of commit {0} was not made from this log")]
    SnapshotOfOtherLog(u64),
}

/// A writer and how it got to its state.
#[derive(Debug)]
pub struct Opened {
    /// The writer, ready to commit.
    pub writer: Writer,
    /// What the log's recovery found.
    pub recovery: Recovery,
    /// The commit of the snapshot that was used, if one was.
    pub snapshot: Option<u64>,
    /// Snapshots that could not be used.
    pub skipped: Vec<SkippedSnapshot>,
    /// How many commits were folded after the snapshot.
    pub replayed: u64,
}

/// The single writer of a data directory.
#[derive(Debug)]
pub struct Writer {
    /// Before the log: it is waited for while the log still holds the directory.
    snapshots: Snapshots,
    storage: Arc<dyn Storage>,
    log: Log,
    engine: Engine,
    views: Views,
    config: WriterConfig,
    snapshot_at: u64,
    stopped: Option<String>,
    /// Applied since the last publication.
    unpublished: Vec<Applied>,
    /// The bytes of the last commit: the memory is used again.
    payload: Vec<u8>,
    stats: Arc<Stats>,
}

impl Writer {
    /// Opens the log in `storage`, restores the newest snapshot and folds what follows it.
    ///
    /// # Errors
    /// [`OpenError`] says what is damaged; nothing is changed then, except that a torn tail, which
    /// holds nothing that was acknowledged, is cut.
    pub fn open(storage: Arc<dyn Storage>, config: WriterConfig) -> Result<Opened, OpenError> {
        let (log, recovery) = Log::open(Arc::clone(&storage), config.log.clone())?;
        let snapshots = SnapshotStore::new(Arc::clone(&storage));
        let base = base::base(&*storage)?.map_or(0, |base| base.head.index);
        let end = log.head().index;
        if let Some(ahead) = snapshots.list()?.into_iter().find(|index| *index > end) {
            return Err(OpenError::SnapshotAhead { snapshot: ahead, log: end });
        }
        let (newest, skipped) = snapshots.newest(end)?;
        let (mut engine, snapshot) = match newest {
            None if base == 0 => (Engine::new(), None),
            None => return Err(OpenError::NoState { first: base + 1 }),
            Some(found) if found.head.index < base => {
                return Err(OpenError::NoState { first: base + 1 });
            }
            Some(found) => {
                check_origin(&log, &found)?;
                (replay::restore(&found)?, Some(found.head.index))
            }
        };
        if let Some(shelf) = config.shelf.clone() {
            engine.set_shelf(shelf);
        }
        let first = engine.stamp().commit + 1;
        let mut fold = Replay::resume(engine, log.read_from(first)?);
        let mut replayed = 0;
        while fold.step()?.is_some() {
            replayed += 1;
        }
        let engine = fold.into_engine();
        let views = Views::new(engine.view());
        let snapshot_at = snapshot.unwrap_or(0);
        let stats = Arc::new(Stats::of(config.shelf.clone()));
        let writer = Self {
            snapshots: Snapshots::new(Arc::clone(&storage), &config, Arc::clone(&stats)),
            storage,
            log,
            engine,
            views,
            config,
            snapshot_at,
            stopped: None,
            unpublished: Vec::new(),
            payload: Vec::new(),
            stats,
        };
        Ok(Opened { writer, recovery, snapshot, skipped, replayed })
    }

    /// Commits `batches` in order under one sync; the answers stand in the order of the batches.
    ///
    /// A batch that is refused (dated back, too large) does not keep the others from being
    /// committed. After the first failed write or sync every answer is [`CommitError::Stopped`].
    pub fn commit(&mut self, batches: Vec<Batch>) -> Vec<Result<Receipt, CommitError>> {
        let mut answers = Vec::with_capacity(batches.len());
        let mut batches = batches.into_iter();
        while batches.len() > 0 {
            self.commit_group(&mut batches, &mut answers);
        }
        answers
    }

    /// Commits what comes next of `batches`, up to and including a commit of which a snapshot is due.
    fn commit_group(
        &mut self,
        batches: &mut std::vec::IntoIter<Batch>,
        answers: &mut Vec<Result<Receipt, CommitError>>,
    ) {
        let before = answers.len();
        // The batch that is appended but not applied: the sync comes between the two, unless the
        // next one's header needs the state after it.
        let mut last: Option<(usize, Commit)> = None;
        let mut appended = false;
        let mut logging = Duration::ZERO;
        for batch in batches {
            if let Some((place, commit)) = last.take() {
                answers[place] = Ok(self.apply(commit));
            }
            let place = answers.len();
            let began = Instant::now();
            let written = self.append(batch);
            logging += began.elapsed();
            let is_due = written.as_ref().is_ok_and(|commit| self.is_due(commit.index));
            answers.push(written.and_then(|commit| {
                appended = true;
                last = Some((place, commit));
                // Replaced when the batch is applied; stands only if the log fails before that.
                Err(CommitError::Stopped("not synced".into()))
            }));
            if is_due {
                break;
            }
        }
        if appended && self.stopped.is_none() {
            let began = Instant::now();
            if let Err(error) = self.log.sync() {
                self.stopped = Some(error.to_string());
            }
            self.stats.logged(logging + began.elapsed());
        }
        if let Some(cause) = &self.stopped {
            self.stats.has_stopped();
            // What was applied in this group is in memory only: it was never durable, so nobody is
            // told, and the writer does nothing more.
            for answer in answers.iter_mut().skip(before).filter(|a| !is_refusal(a)) {
                *answer = Err(CommitError::Stopped(cause.clone()));
            }
            return;
        }
        if let Some((place, commit)) = last {
            answers[place] = Ok(self.apply(commit));
        }
        if appended {
            self.publish();
            self.snapshot_if_due();
        }
    }

    fn append(&mut self, batch: Batch) -> Result<Commit, CommitError> {
        if let Some(cause) = &self.stopped {
            return Err(CommitError::Stopped(cause.clone()));
        }
        let last = self.engine.stamp();
        if !batch.at.is_in_range() {
            return Err(CommitError::Calendar(batch.at));
        }
        if batch.at < last.at {
            return Err(CommitError::TimeWentBack { given: batch.at, last: last.at });
        }
        let entry = LogEntry {
            at: batch.at,
            digest_before: self.engine.digest(),
            effects_before: self.engine.effects().clone(),
            inputs: batch.inputs,
        };
        let mut payload = std::mem::take(&mut self.payload);
        entry.encode_into(&mut payload);
        let bytes = payload.len();
        let appended = match bytes > MAX_PAYLOAD_BYTES {
            true => Err(CommitError::TooLarge { bytes }),
            false => self.append_payload(&payload).map_err(CommitError::Stopped),
        };
        self.payload = payload;
        Ok(entry.into_commit(appended?))
    }

    /// Appends a payload and returns its commit's index; otherwise why the log has stopped.
    fn append_payload(&mut self, payload: &[u8]) -> Result<u64, String> {
        let appended = match self.log.append(payload) {
            // The group is larger than the log takes at once: its first part gets its own sync.
            Err(LogError::BatchFull { .. }) => {
                self.log.sync().and_then(|_| self.log.append(payload))
            }
            other => other,
        };
        appended.map(|appended| appended.index).map_err(|error| {
            self.stopped = Some(error.to_string());
            error.to_string()
        })
    }

    /// Takes over commits that another node has made, as they stand in its log: the next ones after
    /// the last, in order, under one sync. Returns the last commit when all are durable, applied and
    /// published.
    ///
    /// # Errors
    /// [`AdoptError`]; the commits before the one that it names were taken over all the same.
    pub fn adopt(&mut self, payloads: &[Vec<u8>]) -> Result<Stamp, AdoptError> {
        let mut rest = payloads;
        loop {
            let last = self.engine.stamp().commit;
            // A group ends with a commit of which a snapshot is due.
            let left = match self.config.snapshot_every {
                0 => rest.len(),
                every => usize::try_from(every - last % every).unwrap_or(usize::MAX),
            };
            let (group, after) = rest.split_at(left.min(rest.len()));
            let stamp = self.adopt_group(group)?;
            if after.is_empty() {
                return Ok(stamp);
            }
            rest = after;
        }
    }

    fn adopt_group(&mut self, payloads: &[Vec<u8>]) -> Result<Stamp, AdoptError> {
        if let Some(cause) = &self.stopped {
            return Err(AdoptError::Stopped(cause.clone()));
        }
        let began = Instant::now();
        let mut refused = None;
        let mut last: Option<Commit> = None;
        let mut appended = false;
        for payload in payloads {
            if let Some(commit) = last.take() {
                self.apply(commit);
            }
            match self.append_adopted(payload) {
                Ok(commit) => {
                    appended = true;
                    last = Some(commit);
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if appended && self.stopped.is_none() {
            if let Err(error) = self.log.sync() {
                self.stopped = Some(error.to_string());
            }
            self.stats.logged(began.elapsed());
        }
        if let Some(cause) = &self.stopped {
            self.stats.has_stopped();
            return Err(AdoptError::Stopped(cause.clone()));
        }
        if let Some(commit) = last {
            self.apply(commit);
        }
        if appended {
            self.publish();
            self.snapshot_if_due();
        }
        refused.map_or_else(|| Ok(self.engine.stamp()), Err)
    }

    /// Appends one commit of another node, if the state that it was made on is the one here.
    fn append_adopted(&mut self, payload: &[u8]) -> Result<Commit, AdoptError> {
        let last = self.engine.stamp();
        let commit = last.commit + 1;
        let entry =
            LogEntry::decode(payload).map_err(|error| AdoptError::Decode { commit, error })?;
        if entry.digest_before != self.engine.digest()
            || entry.effects_before != *self.engine.effects()
        {
            return Err(AdoptError::Diverged {
                commit: last.commit,
                stated: entry.digest_before,
                computed: self.engine.digest(),
            });
        }
        if !entry.at.is_in_range() || entry.at < last.at {
            return Err(AdoptError::Time { commit, given: entry.at, last: last.at });
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(AdoptError::TooLarge { commit, bytes: payload.len() });
        }
        let index = self.append_payload(payload).map_err(AdoptError::Stopped)?;
        Ok(entry.into_commit(index))
    }

    fn apply(&mut self, commit: Commit) -> Receipt {
        let began = Instant::now();
        let outcome = self
            .engine
            .apply(&commit)
            .expect("the log numbers commits without gaps and append() checked the time");
        self.stats.applied(began.elapsed());
        let applied = Applied::from(outcome);
        self.unpublished.push(applied.clone());
        Receipt {
            stamp: applied.stamp,
            digest: applied.digest,
            first: 0,
            replies: applied.replies.to_vec(),
            events: applied.events,
            ends: applied.ends,
        }
    }

    fn publish(&mut self) {
        let began = Instant::now();
        let commits = std::mem::take(&mut self.unpublished);
        self.stats.publishing(&commits);
        self.views.publish(self.engine.view(), commits);
        self.stats.published(began.elapsed());
    }

    fn snapshot_if_due(&mut self) {
        if !self.is_due(self.engine.stamp().commit) {
            return;
        }
        // A snapshot only makes the next start quicker: its failure stops nothing, and the
        // next attempt comes as late as after a success.
        self.snapshot_at = self.engine.stamp().commit;
        if self.config.snapshots_beside {
            let picture = self.picture();
            self.snapshots.begin(picture);
        } else {
            let written = self.snapshot();
            self.stats.snapshot(written.is_ok());
        }
    }

    fn is_due(&self, commit: u64) -> bool {
        let every = self.config.snapshot_every;
        every > 0 && commit.is_multiple_of(every)
    }

    /// Writes a snapshot of the state as it stands and removes the oldest beyond those kept.
    ///
    /// # Errors
    /// [`SnapshotError`] when it cannot be written, or when the log has stopped: the state may then
    /// be ahead of what is durable. The log is not affected.
    pub fn snapshot(&mut self) -> Result<(), SnapshotError> {
        if let Some(cause) = &self.stopped {
            return Err(SnapshotError::Io(IoFailure {
                action: "snapshot",
                file: "the engine's state".into(),
                source: Arc::new(io::Error::other(cause.clone())),
            }));
        }
        let picture = self.picture();
        self.snapshots.write(&picture)?;
        self.snapshot_at = picture.head.index;
        Ok(())
    }

    /// Returns the state as it stands. The log has synced everything in it.
    fn picture(&self) -> Picture {
        Picture {
            head: self.log.durable(),
            digest: self.engine.digest(),
            state: self.engine.checkpoint(),
        }
    }

    /// Returns where readers find the newest view.
    #[must_use]
    pub fn views(&self) -> Views {
        self.views.clone()
    }

    /// Returns what this has done so far.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Returns the last commit and its time.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.engine.stamp()
    }

    /// Returns why the log has stopped accepting commits, if it has.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Ends the log cleanly, with a snapshot, so that the next start need not fold anything.
    ///
    /// # Errors
    /// [`LogError`] when the log has failed or cannot be sealed.
    pub fn close(mut self) -> Result<(), LogError> {
        if self.stopped.is_none() && self.snapshot_at < self.engine.stamp().commit {
            // Without it the next start folds a little more.
            drop(self.snapshot());
        }
        drop(self.snapshots);
        self.log.close().map(drop)
    }
}

fn is_refusal(answer: &Result<Receipt, CommitError>) -> bool {
    matches!(
        answer,
        Err(CommitError::TimeWentBack { .. }
            | CommitError::Calendar(_)
            | CommitError::TooLarge { .. })
    )
}

/// Tests that `snapshot` was made from `log`.
fn check_origin(log: &Log, snapshot: &Snapshot) -> Result<(), OpenError> {
    let (at, end) = (snapshot.head.index, log.head());
    let hash = if at == end.index {
        end.hash
    } else {
        match log.read_from(at + 1)?.next().transpose()? {
            Some(next) => next.parent,
            None => return Err(OpenError::SnapshotOfOtherLog(at)),
        }
    };
    if hash == snapshot.head.hash { Ok(()) } else { Err(OpenError::SnapshotOfOtherLog(at)) }
}
