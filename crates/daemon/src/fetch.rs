//! A follower that ends when it has everything: fetch, verify and judge up to the certified tip, once.

use std::sync::Arc;
use std::time::Duration;

use proctor_network::Status;
use proctor_node::data_dir::DataDir;
use tokio::time::Instant;

use crate::config::Config;
use crate::network::{self, JoinError};
use crate::node::{NodeError, sequencer};
use crate::service;

/// How often the caller is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Why not everything was fetched; what was, is on disk.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The directory, the log or the network cannot be used.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The chain cannot be followed any further.
    #[error("commit {at} is the last that was taken over: {why}")]
    Halted {
        /// The newest commit that is applied.
        at: u64,
        /// Why no more is.
        why: String,
    },
    /// Nothing has come for too long.
    #[error(
        "nothing has come for {waited} s, at commit {at} of {target}: {why}; what has come is kept, so \
         the same command goes on from there"
    )]
    Idle {
        /// For how long, in seconds.
        waited: u64,
        /// The newest commit that is applied.
        at: u64,
        /// The newest certified one that is known.
        target: u64,
        /// What is known of why.
        why: String,
    },
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The newest commit that is applied.
    pub at: u64,
    /// The newest certified one that is known.
    pub target: u64,
    /// Bytes of headers and bodies that turned out right.
    pub bytes: u64,
    /// Groups of commits that were written, each with a sync of its own.
    pub groups: u64,
    /// How long writing, syncing and judging them took, in milliseconds.
    pub storing_ms: u64,
}

impl Fetched {
    fn of(status: &Status) -> Self {
        let counters = &status.counters;
        Self {
            at: status.marks.applied,
            target: status.marks.target,
            bytes: counters.verified_bytes,
            groups: counters.stores,
            storing_ms: counters.store.sum_ms,
        }
    }
}

/// Fetches what the followed nodes of `config` have until the first of them has nothing more, and ends
/// with everything on disk. `tell` hears how far it is.
///
/// # Errors
/// [`FetchError`]; [`FetchError::Idle`] after `patience` without a commit.
pub async fn fetch(
    config: &Config,
    patience: Duration,
    tell: impl FnMut(Fetched),
) -> Result<Fetched, FetchError> {
    let dir = DataDir::create(&config.node.data).map_err(NodeError::from)?;
    let sequencer = sequencer(config, &dir).await?;
    let rules = service::rules(config).map_err(|error| NodeError::Ended(error.to_string()))?;
    let joined = network::join(config, &dir, &sequencer.handle(), rules).await;
    let joined = joined.map_err(NodeError::from)?;
    let joined = joined.ok_or(NodeError::Network(JoinError::FollowsNobody))?;
    let fetched = joined.fetch(config, patience, tell).await;
    joined.stop().await;
    let closed = tokio::task::spawn_blocking(move || sequencer.stop().close()).await;
    closed.map_err(|error| NodeError::Ended(error.to_string()))?.map_err(NodeError::Close)?;
    drop(dir);
    fetched
}

/// Waits until the status says that all is there, or that it will not be.
pub(crate) async fn wait(
    mut status: tokio::sync::watch::Receiver<Arc<Status>>,
    from: proctor_p2p::NodeId,
    patience: Duration,
    mut tell: impl FnMut(Fetched),
) -> Result<Fetched, FetchError> {
    let mut told = Fetched::of(&status.borrow_and_update());
    let mut moved = Instant::now();
    loop {
        let now = Arc::clone(&status.borrow_and_update());
        let fetched = Fetched::of(&now);
        if fetched.at > told.at {
            moved = Instant::now();
        }
        if fetched != told {
            tell(fetched);
            told = fetched;
        }
        if let Some(halt) = &now.halted {
            return Err(FetchError::Halted { at: fetched.at, why: format!("{halt:?}") });
        }
        let peer = now.peers.iter().find(|row| row.peer == from);
        if peer.is_some_and(|row| row.height <= fetched.at) && fetched.target <= fetched.at {
            return Ok(fetched);
        }
        if moved.elapsed() >= patience {
            let why = match (peer, now.reason) {
                (None, _) => "the node is not connected: does its key stand before the @, does it \
                              listen there, and has it not banned this one?"
                    .to_owned(),
                (Some(_), Some(reason)) => format!("{reason:?}"),
                (Some(_), None) => "the node has not delivered it".to_owned(),
            };
            let Fetched { at, target, .. } = fetched;
            return Err(FetchError::Idle { waited: patience.as_secs(), at, target, why });
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}
