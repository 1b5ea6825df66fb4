//! Does the log prove its results? Hash chain, fold from the first commit, every stored digest.

use std::path::Path;
use std::sync::Arc;

use proctor_commit_log::{LogError, SnapshotStore, TornTail};
use proctor_sequencer::{Replay, ReplayError, replay};
use proctor_types::{Digest, Stamp};
use proctor_wire::checkpoint;

use crate::data_dir::{self, DataDirError};

/// A log that proved what it states.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The last commit and its time.
    pub stamp: Stamp,
    /// The state digest after it.
    pub digest: Digest,
    /// The commit after which the log begins: 0, or that of the snapshot with which the node joined or
    /// up to which it has deleted its log. What was before was not folded.
    pub begins: u64,
    /// The input chain after commit 1: names the log, as evidence files do; `None` when commit 1 is
    /// not here.
    pub chain: Option<Digest>,
    /// Hash of the last commit: it stands for the whole history.
    pub head: Digest,
    /// How many inputs were folded.
    pub inputs: u64,
    /// How many stored digests were compared; each commit states the one before it.
    pub digests: u64,
    /// Commits of the snapshots whose state was compared with the fold's.
    pub snapshots: Vec<u64>,
    /// What a crash left after the last commit; it was never acknowledged.
    pub torn: Option<TornTail>,
}

/// Why a log proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The directory is not there or is not ours.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log is damaged or states another result.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A snapshot is damaged.
    #[error("snapshot of commit {commit}: {error}")]
    Snapshot {
        /// The snapshot's commit.
        commit: u64,
        /// What is wrong.
        error: proctor_commit_log::SnapshotError,
    },
    /// A snapshot's state is not the one that the log gives.
    #[error(
        "the snapshot of commit {0} holds another state than the log gives: remove it, a start \
         does without"
    )]
    SnapshotDiffers(u64),
    /// The folded state has no canonical bytes, which is a bug of this build.
    #[error("the folded state cannot be encoded: {0}")]
    Encode(std::io::Error),
    /// A snapshot is of a commit that the log does not have.
    #[error("there is a snapshot of commit {snapshot}, but the log ends at commit {log}")]
    SnapshotAhead {
        /// The snapshot's commit.
        snapshot: u64,
        /// Last commit of the log.
        log: u64,
    },
}

/// Verifies the log in the data directory at `path`; tells `progress` after each commit.
///
/// # Errors
/// [`VerifyError`] names the damage or the first commit whose result differs.
pub fn verify(path: &Path, mut progress: impl FnMut(Stamp)) -> Result<Proof, VerifyError> {
    let storage = data_dir::log_of(path)?;
    let snapshots = SnapshotStore::new(Arc::clone(&storage));
    let mut pending = snapshots.list().map_err(|e| ReplayError::from(LogError::Io(e)))?;
    // Oldest last, so that the next one to meet is popped.
    pending.sort_unstable_by(|a, b| b.cmp(a));
    let mut checked = Vec::new();
    let mut fold = Replay::from_the_beginning(&storage)?;
    let begins = fold.engine().stamp().commit;
    // Those before are not of this log any more.
    pending.retain(|index| *index > begins);
    let (mut inputs, mut digests) = (0, 0);
    let mut chain = None;
    while let Some((commit, outcome)) = fold.step()? {
        inputs += commit.inputs.len() as u64;
        digests += 1;
        if commit.index == 1 {
            chain = Some(fold.engine().input_chain());
        }
        if pending.last() == Some(&commit.index) {
            pending.pop();
            let snapshot = snapshots
                .load(commit.index)
                .map_err(|error| VerifyError::Snapshot { commit: commit.index, error })?;
            replay::agree(commit.index, snapshot.state_digest, outcome.digest)?;
            // The whole state, not only the digest it states: a start goes on from this state.
            let folded = checkpoint::encode(fold.engine()).map_err(VerifyError::Encode)?;
            if folded != snapshot.state {
                return Err(VerifyError::SnapshotDiffers(commit.index));
            }
            checked.push(commit.index);
        }
        progress(outcome.stamp);
    }
    let stamp = fold.engine().stamp();
    if let Some(&snapshot) = pending.last() {
        return Err(VerifyError::SnapshotAhead { snapshot, log: stamp.commit });
    }
    Ok(Proof {
        stamp,
        begins,
        digest: fold.engine().digest(),
        chain,
        head: fold.head().hash,
        inputs,
        digests,
        snapshots: checked,
        torn: fold.end().and_then(|end| end.torn.clone()),
    })
}
