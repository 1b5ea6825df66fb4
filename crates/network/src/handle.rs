//! `Network`: the handle that the node holds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proctor_p2p::message::{INPUT_BYTES_MAX, Outcome};
use proctor_p2p::peers::address::Endpoint;
use proctor_p2p::peers::record::RecordError;
use proctor_p2p::peers::rules::PeerRules;
use proctor_p2p::{Failure, NodeId};
use proctor_ratchet_crypto::Identity;
use tokio::sync::{mpsc, oneshot, watch};

use crate::chain::{Chain, NewsSender};
use crate::net::{Net, Tcp};
use crate::settings::Settings;
use crate::status::{PeerRow, Status};
use crate::{net_loop, start};

/// Commands that may wait for the loop; who gives more has to wait.
pub(crate) const COMMANDS_MAX: usize = 64;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}; is another node running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The directory for peers and bans cannot be used.
    #[error("cannot use the peer store {path}: {source}")]
    Store {
        /// The directory.
        path: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The own addresses cannot be told to others.
    #[error("the external addresses cannot be told to other nodes: {0}")]
    External(#[from] RecordError),
    /// No randomness.
    #[error("the operating system gives no randomness: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The chain did not say where it is.
    #[error("the node panicked when asked where it is")]
    Chain,
}

/// What became of an input that was not ordered, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Longer than any input.
    #[error("an input of {0} bytes, the limit is {INPUT_BYTES_MAX}")]
    TooLong(usize),
    /// No validator is connected, nor anybody who knows a way to one: nothing was taken.
    #[error("there is no way to a validator: try again later")]
    NoValidator,
    /// The sequencer said no, before it ordered anything.
    #[error("the sequencer did not take the input: {0:?}")]
    Failed(Failure),
    /// It was sent, and no outcome came. It may have been ordered; to send it again is safe, because
    /// an input is ordered once.
    #[error("no outcome came in time: it may or may not have been ordered")]
    Unknown,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// The network has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network has stopped")]
pub struct Stopped;

/// What the handle asks of the loop.
#[derive(Debug)]
pub(crate) enum Command {
    Submit(Vec<u8>, oneshot::Sender<Result<Outcome, SubmitError>>),
    Ban(NodeId, u64, String),
    Unban(NodeId),
    Dial(NodeId, Option<Endpoint>),
    Rules(Box<PeerRules>),
}

/// The network of a running node. Dropping it stops the network too, but waits for nothing.
#[derive(Debug)]
pub struct Network {
    address: Option<SocketAddr>,
    commands: mpsc::Sender<Command>,
    news: NewsSender,
    status: watch::Receiver<Arc<Status>>,
    stop: watch::Sender<bool>,
    /// Turns true when the loop has ended.
    over: watch::Receiver<bool>,
}

impl Network {
    /// Binds, and starts the loop.
    ///
    /// # Errors
    /// [`NetworkError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O.
    pub async fn start(
        settings: Settings,
        identity: Arc<Identity>,
        chain: Arc<dyn Chain>,
    ) -> Result<Self, NetworkError> {
        let from = settings.listen.map(|listen| listen.ip()).filter(|ip| ip.is_loopback());
        Self::start_on(Arc::new(Tcp { from }), settings, identity, chain).await
    }

    /// Likewise, on another net than TCP.
    ///
    /// # Errors
    /// [`NetworkError`].
    ///
    /// # Panics
    /// Outside a tokio runtime with time.
    pub async fn start_on(
        net: Arc<dyn Net>,
        settings: Settings,
        identity: Arc<Identity>,
        chain: Arc<dyn Chain>,
    ) -> Result<Self, NetworkError> {
        let begun = start::begin(net, settings, identity, chain).await?;
        let start::Begun { node, address, commands, news, status, stop } = begun;
        // The one task that is in no set: it owns the set, and the handle owns it.
        let (ended, over) = watch::channel(false);
        tokio::spawn(async move {
            start::end(net_loop::run(node).await).await;
            ended.send_replace(true);
        });
        Ok(Self { address, commands, news, status, stop, over })
    }

    /// Returns the address that is bound.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns what tells the network news.
    #[must_use]
    pub fn news(&self) -> NewsSender {
        self.news.clone()
    }

    /// Returns where the network is.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// Returns the status as a level to wait on: the newest value, whenever it is looked at.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Returns the peers that can be spoken to.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerRow> {
        self.status().peers.clone()
    }

    /// Has an input ordered: by this node if it is a validator, else by one that it is connected to, or
    /// over other nodes, [`HOPS_MAX`](proctor_p2p::message::HOPS_MAX) at most.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, input: Vec<u8>) -> Result<Outcome, SubmitError> {
        if input.len() > INPUT_BYTES_MAX {
            return Err(SubmitError::TooLong(input.len()));
        }
        let (reply, outcome) = oneshot::channel();
        self.tell(Command::Submit(input, reply)).await.map_err(|Stopped| SubmitError::Stopped)?;
        outcome.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Bans a peer for `ms` milliseconds, `u64::MAX` for until the ban is lifted, notes why, and cuts it.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn ban(&self, peer: NodeId, ms: u64, why: String) -> Result<(), Stopped> {
        self.tell(Command::Ban(peer, ms, why)).await
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn unban(&self, peer: NodeId) -> Result<(), Stopped> {
        self.tell(Command::Unban(peer)).await
    }

    /// Dials a peer now: at `endpoint`, where it is then dialled for ever, or where it is known to
    /// listen.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn dial(&self, peer: NodeId, endpoint: Option<Endpoint>) -> Result<(), Stopped> {
        self.tell(Command::Dial(peer, endpoint)).await
    }

    /// Sets whom this node has to do with; the committee is added.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn set_rules(&self, rules: PeerRules) -> Result<(), Stopped> {
        self.tell(Command::Rules(Box::new(rules))).await
    }

    async fn tell(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Has the network say goodbye to all peers and stop, and waits for nothing.
    pub fn leave(&self) {
        self.stop.send_replace(true);
    }

    /// Says goodbye to all peers and stops. When this returns no task of the network is left, nothing
    /// is written any more, and the port is free (V12).
    pub async fn stop(&self) {
        self.leave();
        // A level, so that any number may wait for it; without its sender the loop has panicked.
        if self.over.clone().wait_for(|over| *over).await.is_err() {
            tracing::error!("the network loop panicked: this is a bug");
        }
    }
}
