//! One run: dated batches through the sequencer into a data directory, from where it stopped.
//!
//! A run is a function of its batches. When the directory already holds its beginning, that part is
//! folded again and held against the batches, and the run goes on behind it; so a run that was
//! killed and resumed ends in the same digest as one that was not.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use proctor_commit_log::{Reader, SkippedSnapshot};
use proctor_sequencer::{
    Batch, Handle, OpenError, Pending, Replay, ReplayError, Sequencer, SubmitError, SystemClock,
    Writer, WriterConfig,
};
use proctor_types::{Digest, Stamp};

use crate::data_dir::{DataDir, DataDirError};
use crate::tally::Tally;

/// How many submissions may wait for the writer.
const QUEUE_MAX: usize = 1_024;

/// Why a run ended early. What was acknowledged before is in the log.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log cannot be opened for writing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The part of the run that the log already holds cannot be folded.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The log holds something else than this run.
    #[error(
        "the data directory holds another run: commit {0} differs from this run's; give an empty \
         --data directory"
    )]
    OtherRun(u64),
    /// The log holds more than this run.
    #[error(
        "the data directory holds commits up to {log}, this run has only {run}; give an empty \
         --data directory"
    )]
    LongerRun {
        /// Last commit of the log.
        log: u64,
        /// Last commit of this run.
        run: u64,
    },
    /// The sequencer refused a batch or has stopped.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The log could not be closed; everything acknowledged is durable.
    #[error("closing the log: {0}")]
    Close(proctor_commit_log::LogError),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last commit that is acknowledged: durable, applied, visible.
    pub stamp: Stamp,
    /// The state digest after it.
    pub digest: Digest,
}

impl fmt::Display for Progress {
    /// Writes the line that acknowledges a commit where there is no terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { commit, at } = self.stamp;
        write!(f, "committed {commit} {at} digest {}", self.digest.short())
    }
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// What happened, from the first commit on.
    pub tally: Tally,
    /// The state at the end.
    pub view: std::sync::Arc<proctor_engine::View>,
    /// How many commits the log held already.
    pub resumed: u64,
    /// Damaged snapshots that the start did without.
    pub skipped: Vec<SkippedSnapshot>,
}

/// Runs `batches` in the data directory at `path`; tells `progress` after each acknowledged commit.
///
/// # Errors
/// [`RunError`], or the first error that `batches` gives.
pub fn run<E: From<RunError>>(
    path: &Path,
    config: WriterConfig,
    mut batches: impl Iterator<Item = Result<Batch, E>>,
    mut progress: impl FnMut(Progress),
) -> Result<Finished, E> {
    let dir = DataDir::create(path).map_err(RunError::from)?;
    let mut tally = Tally::default();
    let resumed = catch_up(&dir, &mut batches, &mut tally, &mut progress)?;
    let opened = Writer::open(dir.storage(), config).map_err(RunError::from)?;
    let sequencer = Sequencer::start(opened.writer, SystemClock, QUEUE_MAX);
    let fed = feed(&sequencer.handle(), batches, &mut tally, &mut progress);
    let view = sequencer.handle().view();
    // Also after an error: what was committed is closed properly, so that the run can go on.
    let closed = sequencer.stop().close();
    fed?;
    closed.map_err(RunError::Close)?;
    Ok(Finished { tally, view, resumed, skipped: opened.skipped })
}

/// Folds what the log holds already, holding it against `batches`; returns how much that is.
fn catch_up<E: From<RunError>>(
    dir: &DataDir,
    batches: &mut impl Iterator<Item = Result<Batch, E>>,
    tally: &mut Tally,
    progress: &mut impl FnMut(Progress),
) -> Result<u64, E> {
    let replay_error = |error: ReplayError| E::from(RunError::from(error));
    let has_log = dir.storage().list().is_ok_and(|files| !files.is_empty());
    if !has_log {
        return Ok(0);
    }
    let reader = Reader::open(dir.storage()).map_err(|e| replay_error(e.into()))?;
    let mut replay = Replay::from_the_first(reader);
    while let Some((commit, outcome)) = replay.step().map_err(replay_error)? {
        let Some(batch) = batches.next().transpose()? else {
            let (log, run) = (commit.index, commit.index - 1);
            return Err(RunError::LongerRun { log, run }.into());
        };
        if batch.at != commit.at || batch.inputs != commit.inputs {
            return Err(RunError::OtherRun(commit.index).into());
        }
        tally.observe(outcome.stamp, &outcome.events);
        progress(Progress { stamp: outcome.stamp, digest: outcome.digest });
    }
    Ok(replay.engine().stamp().commit)
}

/// Submits the rest, as many at a time as the queue takes.
fn feed<E: From<RunError>>(
    handle: &Handle,
    batches: impl Iterator<Item = Result<Batch, E>>,
    tally: &mut Tally,
    progress: &mut impl FnMut(Progress),
) -> Result<(), E> {
    let mut waiting: VecDeque<Pending> = VecDeque::with_capacity(QUEUE_MAX);
    let mut settle = |pending: Pending| -> Result<(), E> {
        let receipt = pending.wait().map_err(RunError::from)?;
        tally.observe(receipt.stamp, &receipt.events);
        progress(Progress { stamp: receipt.stamp, digest: receipt.digest });
        Ok(())
    };
    for batch in batches {
        let Batch { at, inputs } = batch?;
        // No more are in flight than the queue holds, so it is never found busy.
        if waiting.len() == QUEUE_MAX
            && let Some(oldest) = waiting.pop_front()
        {
            settle(oldest)?;
        }
        waiting.push_back(handle.submit_at(at, inputs).map_err(RunError::from)?);
    }
    waiting.into_iter().try_for_each(settle)
}

#[cfg(test)]
mod tests;
