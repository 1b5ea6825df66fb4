//! Every task of the network, in one set; each ends once, and it is known what it was for (R10, R11).

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;

use proctor_p2p::message::Outcome;
use proctor_p2p::peers::policy::ConnId;
use proctor_p2p::peers::record::{RecordError, VerifiedRecord};
use proctor_p2p::server::{Available, Loaded, Ticket};
use proctor_p2p::sync::verify::Verdict;
use proctor_p2p::sync::{JobId, StoreFailed, Stored};
use proctor_p2p::{Certified, Failure, NodeId};
use proctor_transport::HandshakeError;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::chain::Start;
use crate::link::Secure;
use crate::net::Socket;

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Dial(ConnId),
    Secure(ConnId),
    Read(ConnId),
    Write(ConnId),
    Drive(ConnId),
    Verify,
    Store(JobId),
    Load(NodeId, Ticket),
    /// The chain is handed an input.
    Hand,
    /// An outcome is waited for.
    Outcome(Submitter),
    Survey,
    Start,
    Check(NodeId),
    Keep,
}

/// For whom an input was submitted to this node's own sequencer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitter {
    /// A peer.
    Peer(Ticket),
    /// This node, by number.
    Own(u64),
}

/// What came of a task.
pub(crate) enum Done {
    Dialled(io::Result<Socket>),
    Secured(Result<Box<Secure>, HandshakeError>),
    /// The reader has ended, and said why through the inbox.
    Read,
    /// The writer has ended: all was written, or the stream is over.
    Written {
        all: bool,
    },
    Driven,
    Verified(JobId, Verdict),
    Stored(JobId, Result<Stored, StoreFailed>),
    Loaded(Loaded),
    Handed,
    Outcome(Result<Outcome, Failure>),
    Surveyed(Survey),
    Started(Start),
    Checked(Box<Result<VerifiedRecord, RecordError>>),
    Kept(io::Result<()>),
}

/// What the chain can serve, and its newest certified commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    pub(crate) available: Available,
    pub(crate) tip: Option<Certified>,
    pub(crate) unattested: Option<u64>,
}

/// How a task ended.
#[allow(clippy::large_enum_variant, reason = "made, passed on once and dropped")]
pub(crate) enum Ending {
    Done(Done),
    /// It was aborted by the loop, which knows why.
    Aborted,
    Panicked,
}

/// The set.
#[derive(Default)]
pub(crate) struct Tasks {
    set: JoinSet<Done>,
    names: HashMap<Id, Name>,
}

impl Tasks {
    pub(crate) fn spawn(
        &mut self,
        name: Name,
        task: impl Future<Output = Done> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name);
        handle
    }

    /// Runs what may block on a thread of its own. It cannot be aborted.
    pub(crate) fn spawn_blocking(
        &mut self,
        name: Name,
        work: impl FnOnce() -> Done + Send + 'static,
    ) {
        let handle = self.set.spawn_blocking(work);
        self.names.insert(handle.id(), name);
    }

    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }

    /// Waits for the next task to end; for ever if there is none. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> (Name, Ending) {
        loop {
            let ended = match self.set.join_next_with_id().await {
                Some(Ok((id, done))) => (id, Ending::Done(done)),
                Some(Err(error)) => (error.id(), ending_of(&error)),
                None => std::future::pending().await,
            };
            if let Some(name) = self.names.remove(&ended.0) {
                return (name, ended.1);
            }
        }
    }

    /// Aborts what can be aborted and waits for all to end.
    pub(crate) async fn end(&mut self) {
        self.set.shutdown().await;
        self.names.clear();
    }
}

fn ending_of(error: &JoinError) -> Ending {
    if error.is_panic() { Ending::Panicked } else { Ending::Aborted }
}

/// Work of one kind: so much at once, the rest waits in order. What may wait is bounded by who gives
/// the work out, as said where a lane is made.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    limit: usize,
    running: usize,
    waiting: VecDeque<T>,
}

impl<T> Lane<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, running: 0, waiting: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, work: T) {
        self.waiting.push_back(work);
    }

    /// Returns the work that may begin now; [`Lane::done`] is due when it has ended.
    pub(crate) fn begin(&mut self) -> Option<T> {
        if self.running >= self.limit {
            return None;
        }
        let work = self.waiting.pop_front()?;
        self.running += 1;
        Some(work)
    }

    pub(crate) fn done(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Returns how much waits or runs.
    pub(crate) fn len(&self) -> usize {
        self.running + self.waiting.len()
    }

    /// Returns how much runs.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}
