//! What the administration asks of the network between nodes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use proctor_rpc::v1::ListPeersResponse;
use proctor_rpc::{Problem, Reason};

/// The longest reason for a ban, in bytes.
pub(super) const WHY_BYTES_MAX: usize = 256;

/// What a command comes to, later.
pub type Commanded<'a> = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send + 'a>>;

/// What is wanted of a peer, which is named by the text of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerCommand {
    /// Turn it away, for so many milliseconds; without, until the ban is lifted.
    Ban {
        /// For how long.
        for_ms: Option<u64>,
        /// Why.
        why: String,
    },
    /// Lift its ban.
    Unban,
    /// Dial it now: at this HOST:PORT, else where it is known to listen.
    Dial {
        /// Where.
        address: Option<String>,
    },
}

/// The network of this node.
pub trait Peers: fmt::Debug + Send + Sync {
    /// Returns who is connected and who is banned; as of what, is for the caller to add.
    fn list(&self) -> ListPeersResponse;

    /// Carries out `command` for the peer with `key`.
    fn command(&self, key: String, command: PeerCommand) -> Commanded<'_>;
}

/// Returns that this node has to do with no other.
pub(super) fn alone() -> Problem {
    let text =
        "this node has no network: it neither listens for peers nor follows; set listen.peers";
    Problem::new(Reason::Refused, text).with_code("no_network")
}
