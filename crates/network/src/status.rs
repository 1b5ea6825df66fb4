//! What the network shows of itself: where it is, its peers, its counters. Every value is of one moment.

use std::net::SocketAddr;

use proctor_p2p::peers::Peers;
use proctor_p2p::peers::book::BookSize;
use proctor_p2p::peers::policy::{ConnCounts, Direction};
use proctor_p2p::status::Roles;
use proctor_p2p::sync::{Halt, Held, Marks, Offence, Reason};
use proctor_p2p::{NodeId, SyncCore};
use tokio::time::Instant;

use crate::traffic::{Bytes, Times};

/// A peer that can be spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRow {
    /// Who.
    pub peer: NodeId,
    /// The other end of the connection: an address, or the name that was dialled.
    pub address: String,
    /// Who dialled.
    pub direction: Direction,
    /// What it says it does.
    pub roles: Roles,
    /// The last height that it claims; not verified.
    pub height: u64,
    /// The round trip in milliseconds; `None` before the first answer to a ping.
    pub rtt_ms: Option<u64>,
    /// From 0 to 100; at 0 it is banned.
    pub trust: u64,
    /// How well it serves, from 0 to 1.
    pub quality: f64,
    /// When it could first be spoken to, over this connection or one that it replaced.
    pub since: Instant,
    /// Whether the sync asks it for anything: it does not ask a required peer that lied, for a while.
    pub is_asked: bool,
    /// Bytes that were read from it.
    pub bytes_in: u64,
    /// Bytes that were written to it.
    pub bytes_out: u64,
    /// Bytes that wait to be written to it.
    pub bytes_waiting: u64,
}

/// A ban that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRow {
    /// Who.
    pub peer: NodeId,
    /// For how many milliseconds more.
    pub left_ms: u64,
    /// Whether an operator decided it.
    pub by_operator: bool,
    /// Why, in the operator's words.
    pub why: String,
}

/// Names of what a peer can do wrong, in the order of [`Offence`].
pub const OFFENCES: [&str; 8] = [
    "bad_range",
    "bad_body",
    "bad_chunk",
    "bad_status",
    "bad_manifest",
    "unsolicited",
    "promised",
    "flood",
];

/// Returns the place of `offence` in [`OFFENCES`].
pub(crate) fn place(offence: Offence) -> usize {
    match offence {
        Offence::BadRange => 0,
        Offence::BadBody => 1,
        Offence::BadChunk => 2,
        Offence::BadStatus => 3,
        Offence::BadManifest => 4,
        Offence::Unsolicited => 5,
        Offence::Promised => 6,
        Offence::Flood => 7,
    }
}

/// Counters since the start (5.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sockets that were accepted.
    pub accepted: u64,
    /// Of these, closed before a byte was read.
    pub refused: u64,
    /// Dials that were begun.
    pub dials: u64,
    /// Dials and handshakes that came to nothing.
    pub handshakes_failed: u64,
    /// Secure handshakes that succeeded.
    pub handshakes: u64,
    /// Frames that were read.
    pub frames_in: u64,
    /// Connections that were ended for bytes that are no frame, or a frame out of place.
    pub malformed: u64,
    /// Connections that were cut because the peer does not read.
    pub outbox_full: u64,
    /// Pushed commits that were replaced by newer ones before they were written.
    pub pushes_replaced: u64,
    /// Commits that were pushed.
    pub pushes: u64,
    /// Of these, with their bodies.
    pub pushed_bodies: u64,
    /// Requests of this node, by how they ended.
    pub answered: u64,
    /// Not answered in time.
    pub expired: u64,
    /// Not needed any more.
    pub cancelled: u64,
    /// The peer left.
    pub peer_gone: u64,
    /// Bytes of bodies, headers and chunks that turned out right.
    pub verified_bytes: u64,
    /// Verify jobs.
    pub verifies: u64,
    /// Store jobs.
    pub stores: u64,
    /// Requests of peers.
    pub served: u64,
    /// Requests for peers that were refused, most of them for coming too often.
    pub asked_too_often: u64,
    /// Inputs that were handed to the own sequencer, or passed on to another node.
    pub submitted: u64,
    /// What peers did wrong, by [`OFFENCES`].
    pub offences: [u64; OFFENCES.len()],
    /// How long answers took that came in time.
    pub fetch: Times,
    /// How long verify jobs took, with their wait for a thread.
    pub verify: Times,
    /// How long store jobs took: writing, syncing and judging a group of commits.
    pub store: Times,
    /// Bans for faults.
    pub bans: u64,
    /// Tasks that panicked; each is a bug.
    pub task_panics: u64,
    /// How often the sync core was begun anew.
    pub restarts: u64,
    /// Turns of the loop that took longer than 5 ms.
    pub slow_turns: u64,
}

/// What peers may do at a certain rate only.
pub const LIMITS: [&str; 6] = ["status", "push", "peers", "requests", "snapshots", "inputs"];

/// Where the network is.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Where it listens.
    pub listening: Option<SocketAddr>,
    /// Verified, stored, applied, target.
    pub marks: Marks,
    /// Why it is behind, if it has been for longer than half a minute.
    pub reason: Option<Reason>,
    /// Why it follows no more.
    pub halted: Option<Halt>,
    /// When the applied state last grew since the start.
    pub grew_at: Option<Instant>,
    /// When a member of the committee last said of itself that it has nothing that is not applied
    /// here by now.
    pub complete_at: Option<Instant>,
    /// Chunks of a snapshot: staged, and all.
    pub join: Option<(usize, usize)>,
    /// The peers, by key.
    pub peers: Vec<PeerRow>,
    /// The bans that hold, by key.
    pub bans: Vec<BanRow>,
    /// Connections in every state.
    pub conns: ConnCounts,
    /// Records in the book.
    pub book: BookSize,
    /// What the sync core holds.
    pub held: Held,
    /// The newest snapshot that can be served; 0 for none.
    pub snapshot: u64,
    /// How far this clock is ahead of the orderer's, by the commits that it pushed.
    pub clock_offset_ms: Option<i64>,
    /// How often peers told or asked more than they may, by [`LIMITS`].
    pub limited: [u64; LIMITS.len()],
    /// Counters.
    pub counters: Counters,
    /// Bytes of all connections, by kind of frame.
    pub bytes: Bytes,
    /// Tasks of the network.
    pub tasks: usize,
    /// Everything has ended.
    pub is_over: bool,
}

impl Status {
    /// Returns the status before the loop runs.
    pub(crate) fn first(address: Option<SocketAddr>, core: &SyncCore, peers: &Peers) -> Self {
        Self {
            listening: address,
            marks: core.marks(),
            reason: None,
            halted: None,
            grew_at: None,
            complete_at: None,
            join: None,
            peers: Vec::new(),
            bans: Vec::new(),
            conns: ConnCounts::default(),
            book: peers.book().size(),
            held: core.held(),
            snapshot: 0,
            clock_offset_ms: None,
            limited: [0; LIMITS.len()],
            counters: Counters::default(),
            bytes: Bytes::default(),
            tasks: 0,
            is_over: false,
        }
    }

    /// Returns by how many commits this node is behind the highest certified one it knows.
    #[must_use]
    pub fn gap(&self) -> u64 {
        self.marks.target.saturating_sub(self.marks.applied)
    }
}
