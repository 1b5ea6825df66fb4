//! The writer begins its log anew after a state that came from another node.

use std::sync::Arc;

use proctor_commit_log::base::{self, Base};
use proctor_commit_log::{Log, LogError};
use proctor_engine::Engine;
use proctor_types::Stamp;

use super::Writer;

/// Why a log was not begun anew.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The state is not newer than the log; nothing was changed.
    #[error("the state is that after commit {base}, and the log has commit {log} already")]
    NotAhead {
        /// The commit of the state.
        base: u64,
        /// The last commit of the log.
        log: u64,
    },
    /// The state is not the one after the record that it is said to belong to; nothing was changed.
    #[error("the state is that after commit {state}, not after commit {base}")]
    OtherCommit {
        /// The state's commit.
        state: u64,
        /// The record's index.
        base: u64,
    },
    /// The log cannot be begun; the next start tells what there is.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log has failed; it is read-only until the node is started again.
    #[error("the log has stopped accepting commits: {0}")]
    Stopped(String),
}

impl Writer {
    /// Drops the log and begins anew after `base`: `engine` is the state there, and the snapshot of
    /// it was staged and finished ([`proctor_commit_log::SnapshotStore::stage`]). Readers see the new
    /// view at once; the commits between are nowhere.
    ///
    /// # Errors
    /// [`BeginError`]; after [`BeginError::Log`] the writer takes nothing any more.
    pub fn begin_after(&mut self, engine: Engine, base: &Base) -> Result<Stamp, BeginError> {
        if let Some(cause) = &self.stopped {
            return Err(BeginError::Stopped(cause.clone()));
        }
        let (at, log, state) = (base.head.index, self.log.head().index, engine.stamp().commit);
        if at <= log {
            return Err(BeginError::NotAhead { base: at, log });
        }
        if state != at {
            return Err(BeginError::OtherCommit { state, base: at });
        }
        self.snapshots.wait();
        let begun = base::begin_after(&self.storage, base)
            .and_then(|()| Log::open(Arc::clone(&self.storage), self.config.log.clone()));
        match begun {
            Ok((log, _)) => {
                self.log = log;
                self.engine = engine;
                if let Some(shelf) = self.config.shelf.clone() {
                    self.engine.set_shelf(shelf);
                }
                self.snapshot_at = at;
                self.views.begin_anew(self.engine.view());
                Ok(self.engine.stamp())
            }
            Err(error) => {
                self.stopped = Some(error.to_string());
                self.stats.has_stopped();
                Err(error.into())
            }
        }
    }
}
