//! `Chain`: what the network needs of the node, and `News`: what the node tells the network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proctor_p2p::message::Outcome;
use proctor_p2p::server::{Available, Loaded, Read};
use proctor_p2p::sync::{StoreFailed, StoreJob, Stored};
use proctor_p2p::{Certified, Failure, NodeId, Tip, Trust};
use proctor_types::Digest;
use tokio::sync::Notify;

/// Produced commits that may wait for the network. Of more none is kept: the network then looks at
/// the chain anew, which has them all.
const PRODUCED_MAX: usize = 1_024;

/// Where a node is when its network starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Chain and committee of the commit after `stored`.
    pub trust: Trust,
    /// The last stored commit.
    pub stored: Tip,
    /// The last applied height.
    pub applied: u64,
}

/// What the network needs of the node. Methods may block: the shell calls them on blocking threads,
/// `store` one at a time in order, `read` up to a few at once.
pub trait Chain: Send + Sync + 'static {
    /// Returns chain, committee, the last stored tip, the last applied height. Called again when the
    /// network has lost track, so it tells of the moment of the call.
    fn start(&self) -> Start;

    /// Reads what a peer asks for, or says that it is missing.
    fn read(&self, read: Read) -> Loaded;

    /// Makes durable. Commits are durable and, on a follower, applied when this returns.
    ///
    /// # Errors
    /// [`StoreFailed`]; after [`StoreFailed::Disk`] the network follows no more.
    fn store(&self, job: StoreJob) -> Result<Stored, StoreFailed>;

    /// Returns what can be served.
    fn available(&self) -> Available;

    /// Returns the newest own snapshot that must be compared with the committee's before it is served.
    fn unattested(&self) -> Option<u64> {
        None
    }

    /// Hands a forwarded input to the sequencer; `done` is called once, from any thread.
    fn submit(&self, from: NodeId, input: Vec<u8>, done: Done);
}

/// Takes what became of a submitted input. Dropped without a call it says that the node was busy.
pub type Done = Box<dyn FnOnce(Result<Outcome, Failure>) + Send>;

/// What the node tells the network.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made, passed on once and dropped")]
pub enum News {
    /// A commit was ordered here; it is durable and applied.
    Produced {
        /// The header and its certificate.
        commit: Certified,
        /// The body, if it is short enough to travel with a push.
        body: Option<Vec<u8>>,
    },
    /// A commit was applied.
    Applied {
        /// The commit.
        height: u64,
        /// The state digest after it.
        state: Digest,
    },
}

/// What has been told since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) produced: VecDeque<(Certified, Option<Vec<u8>>)>,
    /// More was produced than is kept.
    pub(crate) lost: bool,
    pub(crate) applied: Option<(u64, Digest)>,
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    changed: Notify,
}

/// Tells the network news. Never waits and never fails; clones tell the same network.
#[derive(Clone, Debug, Default)]
pub struct NewsSender(Arc<Shared>);

impl NewsSender {
    /// Tells `news`. Of applied commits the newest counts; too many produced ones make the network
    /// look at the chain.
    pub fn send(&self, news: News) {
        let mut told = self.told();
        match news {
            News::Produced { .. } if told.lost => {}
            News::Produced { .. } if told.produced.len() >= PRODUCED_MAX => {
                told.produced.clear();
                told.lost = true;
            }
            News::Produced { commit, body } => told.produced.push_back((commit, body)),
            News::Applied { height, state } => told.applied = Some((height, state)),
        }
        drop(told);
        self.0.changed.notify_one();
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // What is in there is whole between any two statements, so a panic elsewhere harms nothing.
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was told and takes it. Nothing is lost when the future is dropped.
    pub(crate) async fn take(&self) -> Told {
        self.0.changed.notified().await;
        std::mem::take(&mut *self.told())
    }
}
