//! The node's log as the network sees it: read, taken over, submitted to.

use std::sync::{Arc, OnceLock};

use proctor_chain::{ChainError, ChainStore, InstallFailed, SnapshotFailed};
use proctor_keys::signed_order::Rules;
use proctor_network::chain::Done;
use proctor_network::{Chain, News, NewsSender, Start};
use proctor_p2p::message::Outcome;
use proctor_p2p::server::{Available, Loaded, Read};
use proctor_p2p::sync::{StoreFailed, StoreJob, Stored};
use proctor_p2p::{Failure, Manifest, NodeId};
use proctor_sequencer::{AdoptError, Clock as _, Handle, Receipt, SystemClock};
use proctor_services::backend::{direct, forward};

/// When a peer should try again whose input finds the queue full, in milliseconds.
const BUSY_MS: u32 = 50;
/// The longest text of a refusal, in bytes.
const REASON_BYTES_MAX: usize = proctor_p2p::message::REASON_BYTES_MAX;

/// A log with its chain.
#[derive(Debug)]
pub(super) struct NodeChain {
    store: Arc<ChainStore>,
    handle: Handle,
    rules: Rules,
    snapshot_every: u64,
    /// There once the network runs.
    news: Arc<OnceLock<NewsSender>>,
}

impl NodeChain {
    pub(super) fn new(
        store: Arc<ChainStore>,
        handle: Handle,
        rules: Rules,
        snapshot_every: u64,
        news: Arc<OnceLock<NewsSender>>,
    ) -> Self {
        Self { store, handle, rules, snapshot_every, news }
    }

    fn tell_applied(&self) {
        let view = self.handle.view();
        let (height, state) = (view.stamp.commit, view.digest);
        self.news.wait().send(News::Applied { height, state });
    }

    fn install(&self, manifest: Manifest) -> Result<Stored, StoreFailed> {
        match self.store.install(manifest.clone()) {
            Ok(stamp) => {
                tracing::info!(commit = stamp.commit, "the log begins after a snapshot");
                Ok(Stored::Done)
            }
            Err(InstallFailed::Snapshot(error)) => Err(not_taken(error, manifest)),
            Err(InstallFailed::Chain(error)) => {
                tracing::error!(%error, "the log cannot be begun anew: start the node again");
                Err(StoreFailed::Disk)
            }
        }
    }

    fn order(&self, input: &[u8], done: Done) {
        // As at the intake: the clock may be behind the newest commit.
        let now = SystemClock.now().max(self.handle.views().peek().stamp.at);
        let refused = |text: String| Ok(Outcome::Refused(shortened(text)));
        let inputs = match forward::passed_on(&self.rules, now, input) {
            Ok(inputs) => inputs,
            Err(problem) => return done(refused(problem.message)),
        };
        let Ok(pending) = self.handle.submit(inputs) else {
            return done(Err(Failure::Busy(BUSY_MS)));
        };
        // The caller is a blocking thread of the network, of which it has a bounded number.
        let outcome = match pending.wait() {
            Ok(Receipt { stamp, first, .. }) => Ok(Outcome::Committed {
                height: stamp.commit,
                ordinal: u32::try_from(first).unwrap_or(u32::MAX),
            }),
            Err(error) => refused(direct::problem(&error).message),
        };
        done(outcome);
    }
}

impl Chain for NodeChain {
    fn start(&self) -> Start {
        let stand = self.store.stand();
        let applied = self.handle.views().peek().stamp.commit;
        Start { trust: stand.trust, stored: stand.tip, applied }
    }

    fn read(&self, read: Read) -> Loaded {
        self.store.read(read).unwrap_or_else(|error| {
            tracing::warn!(%error, "what a peer has asked for cannot be read");
            Loaded::Missing
        })
    }

    fn store(&self, job: StoreJob) -> Result<Stored, StoreFailed> {
        match job {
            StoreJob::Commits { commits, certificates } => {
                match self.store.take_over(commits, &certificates) {
                    Ok(_) => self.tell_applied(),
                    Err(error) => {
                        tracing::error!(%error, "a certified commit cannot be taken over");
                        return Err(failed(&error));
                    }
                }
                Ok(Stored::Done)
            }
            StoreJob::Begin(manifest) => {
                let (height, bytes) = (manifest.height, manifest.contents.len);
                let staged = self.store.begin(&manifest).map_err(|e| not_taken(e, manifest))?;
                tracing::info!(height, bytes, staged = staged.len(), "joining by a snapshot");
                Ok(Stored::Begun(staged))
            }
            StoreJob::Chunk { index, bytes } => match self.store.stage(index, &bytes) {
                Ok(()) => Ok(Stored::Done),
                Err(error) => {
                    tracing::warn!(%error, "a snapshot cannot be staged");
                    Err(StoreFailed::NoRoom)
                }
            },
            StoreJob::Install(manifest) => self.install(manifest),
            StoreJob::Attest(manifest) => {
                self.store.attest(&manifest).map_err(|error| not_taken(error, manifest))?;
                Ok(Stored::Done)
            }
        }
    }

    fn unattested(&self) -> Option<u64> {
        self.store.unattested(self.snapshot_every).unwrap_or_else(|error| {
            tracing::warn!(%error, "snapshots are not compared");
            None
        })
    }

    fn available(&self) -> Available {
        self.store.available().unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing is served");
            Available::default()
        })
    }

    fn submit(&self, _from: NodeId, input: Vec<u8>, done: Done) {
        self.order(&input, done);
    }
}

/// Tells why a snapshot was not taken or compared; the node is as before.
fn not_taken(error: SnapshotFailed, manifest: Manifest) -> StoreFailed {
    tracing::error!(%error, "a snapshot is not taken");
    match error {
        SnapshotFailed::OtherFormat { .. } => StoreFailed::OtherFormat,
        SnapshotFailed::WrongState { .. } => StoreFailed::WrongState,
        SnapshotFailed::Differs { .. } => StoreFailed::Differs(Box::new(manifest)),
        SnapshotFailed::NoRoom { .. } | SnapshotFailed::Io(_) | SnapshotFailed::File(_) => {
            StoreFailed::NoRoom
        }
    }
}

fn failed(error: &ChainError) -> StoreFailed {
    match error {
        ChainError::NotAsCertified(_)
        | ChainError::Decode { .. }
        | ChainError::Height(_)
        | ChainError::Adopt(AdoptError::Diverged { .. } | AdoptError::Decode { .. }) => {
            StoreFailed::WrongState
        }
        ChainError::File(_)
        | ChainError::Log(_)
        | ChainError::Snapshot(_)
        | ChainError::Begin(_)
        | ChainError::Committee(_)
        | ChainError::Adopt(
            AdoptError::Time { .. } | AdoptError::TooLarge { .. } | AdoptError::Stopped(_),
        ) => StoreFailed::Disk,
    }
}

/// Cuts `text` to what a message holds.
fn shortened(mut text: String) -> String {
    let end = (0..=REASON_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}
