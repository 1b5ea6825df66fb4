//! What the policy is told and what it asks for; how connections end.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::ConnId;
use crate::NodeId;
use crate::peers::address::{Endpoint, Subnet};
use crate::peers::rules::PeerRules;

/// Why a connection ends; the last thing that is said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bye {
    /// Another connection between the two nodes stays.
    Duplicate,
    /// No room.
    Full {
        /// When to try again, in ms.
        retry_ms: u64,
    },
    /// For faults, or by decision of an operator.
    Banned {
        /// For how long, in ms.
        ms: u64,
    },
    /// Not in this mode.
    NotAllowed,
    /// The other end belongs to another chain.
    WrongChain,
    /// The other end speaks another version of the protocol.
    OldProto,
    /// Both ends are the same node.
    Myself,
    /// Another node answered than was dialled.
    WrongPeer,
    /// Too slow, or silent.
    Timeout,
    /// The node stops.
    Shutdown,
}

/// How a connection ended that the other end, the network or a dial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody answered the dial.
    Unreachable,
    /// It broke, or the handshake failed.
    Broken,
    /// The other end said why.
    Bye(Bye),
}

/// Why a socket is closed before a byte is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its address is denied.
    Denied,
    /// Its host is banned.
    Banned,
    /// Too many connections from its host.
    HostFull,
    /// Too many connections from its site.
    SiteFull,
    /// Too many new connections of its host, its site, or of all.
    TooFast,
    /// Too many connections.
    Full,
}

/// What the policy is told.
#[derive(Clone, Debug)]
pub enum ConnEvent {
    /// The operator, or a commit, decides anew.
    Rules(Box<PeerRules>),
    /// The hosts at which required peers listen: they are not crowded out by their neighbours.
    RequiredHosts(BTreeSet<Subnet>),
    /// A socket was accepted; nothing was read from it yet.
    Accepted {
        /// Its number.
        number: u64,
        /// Its other end.
        ip: IpAddr,
    },
    /// The socket of a dial is connected.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// The secure handshake is complete and proved who the peer is.
    Secured {
        /// The connection.
        conn: ConnId,
        /// The peer.
        peer: NodeId,
    },
    /// The Hello of the peer came and is good.
    HelloOk {
        /// The connection.
        conn: ConnId,
        /// A number that the peer drew when its process began: another one than on an older connection
        /// shows that it was restarted, and that the older one is dead. 0 if the peer does not say.
        instance: u64,
    },
    /// The Hello of the peer came and is not: [`Bye::WrongChain`] or [`Bye::OldProto`].
    HelloBad {
        /// The connection.
        conn: ConnId,
        /// Why.
        why: Bye,
    },
    /// The connection has ended. Comes once for each that was begun.
    Ended {
        /// The connection.
        conn: ConnId,
        /// How.
        how: Ended,
    },
    /// A frame arrived.
    Heard {
        /// The connection.
        conn: ConnId,
    },
    /// The answer to a ping arrived.
    Pong {
        /// The connection.
        conn: ConnId,
        /// The number of the ping.
        nonce: u64,
    },
    /// This connection is to end.
    Leave {
        /// The connection.
        conn: ConnId,
        /// Why.
        why: Bye,
    },
    /// All connections of a peer are to end.
    Part {
        /// The peer.
        peer: NodeId,
        /// Why.
        why: Bye,
    },
    /// All connections with a host are to end, but those of required peers.
    PartHost {
        /// The host.
        host: Subnet,
        /// Why.
        why: Bye,
    },
    /// The moment of [`super::ConnPolicy::next_deadline`] has come.
    Timer,
}

/// What the policy asks for. Nothing of it can wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnAction {
    /// Close the accepted socket without a word. It is not known to the policy any more.
    Refuse {
        /// The connection.
        conn: ConnId,
        /// Why.
        why: Refusal,
    },
    /// Run the secure handshake.
    Secure {
        /// The connection.
        conn: ConnId,
    },
    /// Connect to `endpoint`; a name is looked up by the task that dials (B33).
    Dial {
        /// The connection.
        conn: ConnId,
        /// Who must answer.
        peer: NodeId,
        /// Where.
        endpoint: Endpoint,
    },
    /// Send our Hello and read that of the peer.
    Hello {
        /// The connection.
        conn: ConnId,
    },
    /// Send a ping.
    Ping {
        /// The connection.
        conn: ConnId,
        /// Its number.
        nonce: u64,
    },
    /// Say why, answer what was asked, and close within [`super::DRAIN_MS`].
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        why: Bye,
    },
    /// Close at once.
    Abort {
        /// The connection.
        conn: ConnId,
    },
    /// The peer can be spoken to, over `conn`.
    Up {
        /// The peer.
        peer: NodeId,
        /// The connection.
        conn: ConnId,
        /// From where it speaks, if that is known.
        ip: Option<IpAddr>,
    },
    /// The peer is spoken to over `conn` from now on.
    Moved {
        /// The peer.
        peer: NodeId,
        /// The connection.
        conn: ConnId,
        /// From where it speaks, if that is known.
        ip: Option<IpAddr>,
    },
    /// The peer cannot be spoken to any more.
    Down {
        /// The peer.
        peer: NodeId,
    },
    /// A dial failed for a reason that lies with the address of the peer.
    DialFailed {
        /// The peer.
        peer: NodeId,
    },
    /// The peer belongs to another chain.
    OtherChain {
        /// The peer.
        peer: NodeId,
    },
}
