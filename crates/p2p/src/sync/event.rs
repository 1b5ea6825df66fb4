//! What the sync core is told, and what it wants done.

use proctor_types::Digest;

use crate::certificate::Certificate;
use crate::header::{Header, Tip};
use crate::message::{Answer, Request};
use crate::node_id::NodeId;
use crate::snapshot::Manifest;
use crate::status::{Certified, SignedStatus};
use crate::sync::verify::{Job, Verdict};

/// A request of this node, by number; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A job that was given out. What comes back for a job that is not waited for is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId {
    /// Life of the core that gave it out: a start or a snapshot that was installed begins a new one.
    pub generation: u64,
    /// Its number.
    pub number: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer's hello was checked; its status follows.
    PeerJoined {
        /// The peer.
        peer: NodeId,
        /// Binding value of the session with it.
        binding: Digest,
    },
    /// The connection is gone, and every request on it.
    PeerLeft(NodeId),
    /// A peer says what it has. The signature is not checked yet.
    Status {
        /// The peer.
        peer: NodeId,
        /// What it says.
        status: SignedStatus,
    },
    /// A peer pushed a commit.
    Pushed {
        /// The peer.
        peer: NodeId,
        /// The header and its certificate, not checked yet.
        commit: Certified,
        /// The body, if it came along.
        body: Option<Vec<u8>>,
    },
    /// A piece of an answer.
    Answer {
        /// Who sent it.
        peer: NodeId,
        /// To which request.
        id: RequestId,
        /// The piece.
        answer: Answer,
        /// No more pieces follow.
        last: bool,
    },
    /// A verify job is done.
    Verified(JobId, Verdict),
    /// A store job is done: all of it is durable, or the store failed.
    Stored(JobId, Result<Stored, StoreFailed>),
    /// The engine has applied this commit.
    Applied {
        /// The commit.
        height: u64,
        /// The state digest after it.
        state: Digest,
    },
    /// This node ordered a commit itself; it is durable and applied.
    Produced {
        /// The header and its certificate.
        commit: Certified,
    },
    /// This node has made a snapshot of its own, and nobody has vouched for it so far.
    Kept {
        /// The commit after which the state is.
        height: u64,
    },
    /// Time has passed. To be sent every [`crate::sync::TICK_MS`].
    Tick,
}

/// What a store job was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreJob {
    /// Commits in order, after the last that is stored.
    Commits {
        /// Header and body of each.
        commits: Vec<(Header, Vec<u8>)>,
        /// Certificates that end within them.
        certificates: Vec<Certificate>,
    },
    /// Room for a snapshot: is there enough, and which chunks of it are staged already?
    Begin(Manifest),
    /// A chunk, whose digest is right.
    Chunk {
        /// Its number.
        index: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// All chunks are staged: make them the state, if they give the digest that is certified.
    Install(Manifest),
    /// Compare this node's own snapshot with a proven manifest of the same height; if it is the same,
    /// keep the manifest and serve it.
    Attest(Manifest),
}

/// What a store job gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is durable.
    Done,
    /// For [`StoreJob::Begin`]: chunks that are staged already.
    Begun(Vec<u32>),
}

/// Why a store job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreFailed {
    /// A write or sync failed: what the disk holds is unknown, and the node must stop.
    Disk,
    /// There is no room for the snapshot; nothing was written.
    NoRoom,
    /// The snapshot is of an encoding that this build does not read; nothing was written.
    OtherFormat,
    /// This node's own snapshot has other bytes than the ones that the committee vouches for: it is
    /// not served.
    Differs(Box<Manifest>),
    /// The chunks give another state than the certified one, though each is as the manifest says.
    WrongState,
}

/// What a peer did wrong; the costs stand in docs/p2p.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// A range of headers that breaks the chain, begins elsewhere, or is not certified.
    BadRange,
    /// A body that is not what its header says.
    BadBody,
    /// A chunk that is not what its manifest says.
    BadChunk,
    /// A status or push whose signature or certificate is false.
    BadStatus,
    /// A manifest that is not proven.
    BadManifest,
    /// An answer to nothing, or of another kind than was asked for.
    Unsolicited,
    /// It said that it has what it then had not.
    Promised,
    /// More messages than four times the allowed rate.
    Flood,
}

impl Offence {
    /// Whether no honest node ever does this: the peer is not asked again on this connection.
    #[must_use]
    pub fn is_a_lie(self) -> bool {
        match self {
            Self::BadRange
            | Self::BadBody
            | Self::BadChunk
            | Self::BadStatus
            | Self::BadManifest => true,
            Self::Unsolicited | Self::Promised | Self::Flood => false,
        }
    }
}

/// How a request ended; every request ends exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Answered, with whatever.
    Answered,
    /// Not answered in time.
    Expired,
    /// Not needed any more.
    Cancelled,
    /// The peer left.
    PeerGone,
}

/// Why this node stops following for good: a person must look.
#[allow(clippy::large_enum_variant, reason = "made, passed on once and dropped")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Two headers are certified at one height (V1).
    Fork {
        /// The header that was accepted here.
        ours: Tip,
        /// The other, with its certificate.
        theirs: Certified,
    },
    /// The engine's state is not the one that the chain certifies (V5).
    Diverged {
        /// The commit after which the states differ.
        height: u64,
        /// The state of this node.
        ours: Digest,
        /// The certified one.
        certified: Digest,
    },
    /// The store failed: what the disk holds is unknown.
    StoreFailed,
}

/// Why this node is behind and stays behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It has halted.
    Halted,
    /// No peer is connected that has said what it has.
    NoPeers,
    /// No peer has what comes next.
    NoPeerHas,
    /// All peers have deleted what comes next, and none offers a snapshot that can be used.
    Pruned,
    /// Peers have it and do not deliver in time.
    AllSlow,
    /// What peers deliver is false.
    VerifyFailed,
    /// The disk does not keep up, or has no room.
    StoreSlow,
    /// The engine does not keep up.
    ApplySlow,
    /// Peers are in an epoch whose committee cannot be learned.
    EpochUnknown,
}

/// What the core wants done. None of these may make its caller wait.
#[allow(clippy::large_enum_variant, reason = "made, passed on once and dropped")]
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask a peer.
    Request {
        /// Whom.
        peer: NodeId,
        /// The number of the request.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// Tell a peer that an answer is not needed any more.
    Cancel {
        /// Whom.
        peer: NodeId,
        /// Which request.
        id: RequestId,
    },
    /// A request ended, for metrics and the scorer.
    Ended {
        /// Who was asked.
        peer: NodeId,
        /// Which request.
        id: RequestId,
        /// How.
        ending: Ending,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// Run [`Job::run`] and report with [`Event::Verified`].
    Verify(JobId, Job),
    /// Make durable and report with [`Event::Stored`].
    Store(JobId, StoreJob),
    /// These commits are durable and can be applied, up to and including this height.
    Advanced(u64),
    /// A snapshot is installed: the state is the one after this commit.
    Joined(Tip),
    /// This is the newest certified commit here: to be told in the next status.
    Announce(Certified),
    /// Push a commit to a peer; a push that waits in its outbox is replaced.
    Push {
        /// To whom.
        peer: NodeId,
        /// What.
        commit: Certified,
    },
    /// A peer did wrong.
    Penalise {
        /// Who.
        peer: NodeId,
        /// What.
        offence: Offence,
    },
    /// A peer delivered bytes that turned out right.
    Credit {
        /// Who.
        peer: NodeId,
        /// How many.
        bytes: u64,
    },
    /// The reason for being behind changed; `None` when there is none.
    Behind(Option<Reason>),
    /// A snapshot was assembled as its manifest says and gave another state than the certified one,
    /// or this node's own has other bytes than those that the committee vouches for.
    Alarm(Manifest),
    /// Stop: the core does nothing any more.
    Halt(Halt),
}
