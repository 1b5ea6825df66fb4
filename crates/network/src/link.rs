//! The tasks of one connection: dial, secure handshake, one reader, one writer, the driver of the stream.
//!
//! None of them decides anything: they end, and the loop is told how.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proctor_p2p::peers::bucket::{Bucket, Rate};
use proctor_p2p::peers::policy::ConnId;
use proctor_p2p::status::{HelloError, PROTOCOL, Roles};
use proctor_p2p::{ChainId, Hello, NodeId, Push, Signature, SignedStatus, Status};
use proctor_ratchet_crypto::Identity;
use proctor_transport::handshake::{self, HANDSHAKE_MS};
use proctor_transport::secure_stream::{Driver, ReadHalf, WriteHalf};
use proctor_transport::{HandshakeError, Options, PeerId, SecureStream, Terms};
use proctor_types::Digest;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::frame::{Frame, KIND_AT, ReadEnd, read_frame};
use crate::net::Socket;
use crate::outbox::{Item, Outbox};
use crate::traffic::Totals;

const MIB: u64 = 1 << 20;
/// Bytes that are read from a peer (5.2); then nothing more is read until the bucket has filled.
const READ: Rate = Rate::per_second(8 * MIB, 16 * MIB);
/// Bytes that are written to a peer.
const WRITTEN: Rate = Rate::per_second(16 * MIB, 16 * MIB);
/// The least that a frame costs its sender, in bytes: short ones are work too (R13).
const FRAME_COST: u64 = 512;
/// How long data may find no way to a peer, in milliseconds.
const STALL_MS: u64 = 30_000;
/// How long a stream that is not used any more may go on sending, in milliseconds.
const LINGER_MS: u64 = 2_000;
/// What the binding value of a session begins with.
const BINDING: &[u8] = b"proctor/session/1";

/// This node, as its tasks know it.
#[derive(Clone, Debug)]
pub(crate) struct Me {
    pub(crate) identity: Arc<Identity>,
    pub(crate) id: NodeId,
    pub(crate) chain: ChainId,
    pub(crate) roles: Roles,
    /// Drawn when the process began (p2p-peers: "Two connections with one peer").
    pub(crate) instance: u64,
}

/// A connection whose other end has proved who it is.
pub(crate) struct Secure {
    pub(crate) peer: NodeId,
    /// Binding value of the session: what was signed for it holds in no other.
    pub(crate) binding: Digest,
    pub(crate) stream: SecureStream,
    pub(crate) driver: Driver<Socket>,
}

/// What was read.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "made, passed on once and dropped")]
pub(crate) enum Heard {
    /// The hello of the peer, checked.
    Hello(Box<Hello>, Result<(), HelloError>),
    /// Anything else.
    Frame(Frame),
    /// Nothing more comes. In the same queue as the frames, so that the last of them is not passed
    /// by.
    End(ReadEnd),
}

/// Bytes of a connection, frames and their heads.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
}

impl Traffic {
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }
}

/// Runs the secure handshake: as the end that dialled `expected`, or as the one that listens.
pub(crate) async fn secure(
    mut io: Socket,
    me: Me,
    expected: Option<NodeId>,
) -> Result<Box<Secure>, HandshakeError> {
    let terms = Terms::of_network(me.chain.0.0);
    let identity = &me.identity;
    let made = match expected {
        Some(peer) => {
            handshake::dial(&mut io, identity, PeerId(peer.0), terms, HANDSHAKE_MS).await?
        }
        // Who may stay is for the policy to say, once it knows the key.
        None => handshake::answer(&mut io, identity, |_| true, terms, HANDSHAKE_MS).await?,
    };
    let (peer, hash) = (NodeId(made.peer.0), made.keys.handshake_hash);
    let binding = Digest::of(&[BINDING, &hash].concat());
    let options = Options { stall_ms: STALL_MS, linger_ms: LINGER_MS, ..Options::default() };
    let (stream, driver) = SecureStream::new(io, me.identity, made, options)?;
    Ok(Box::new(Secure { peer, binding, stream, driver }))
}

/// Where a reader puts what it reads.
pub(crate) struct Reader {
    pub(crate) conn: ConnId,
    pub(crate) peer: NodeId,
    pub(crate) binding: Digest,
    pub(crate) chain: ChainId,
    pub(crate) clock: Clock,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) inbox: mpsc::Sender<(ConnId, Heard)>,
}

impl Reader {
    /// Reads frames until there are no more. While the loop is busy, or the peer has sent too much,
    /// nothing is read, and the peer has to wait.
    pub(crate) async fn run(self, mut io: ReadHalf) -> Option<()> {
        let now = || self.clock.now();
        let mut bucket = Bucket::full(READ, now());
        loop {
            let (frame, bytes) = match read_frame(&mut io).await {
                Ok(read) => read,
                Err(end) => return self.inbox.send((self.conn, Heard::End(end))).await.ok(),
            };
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.traffic.read.fetch_add(bytes, Ordering::Relaxed);
            self.totals.read(frame.kind(), bytes);
            let heard = if let Frame::Hello(hello) = frame {
                let checked = hello.check(&self.peer, &self.chain, &self.binding);
                Heard::Hello(hello, checked)
            } else {
                Heard::Frame(frame)
            };
            // The loop is gone: so is the node.
            self.inbox.send((self.conn, heard)).await.ok()?;
            let wait_ms = bucket.spend(READ, now(), bytes.max(FRAME_COST));
            if wait_ms > 0 {
                self.clock.wait(wait_ms).await;
            }
        }
    }
}

/// What a writer needs.
pub(crate) struct Writer {
    pub(crate) me: Me,
    pub(crate) binding: Digest,
    pub(crate) clock: Clock,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) outbox: Arc<Outbox>,
}

impl Writer {
    /// Writes what the outbox holds until it is closed and empty, or the stream is over.
    pub(crate) async fn run(self, mut io: WriteHalf) -> Option<()> {
        let now = || self.clock.now();
        let mut bucket = Bucket::full(WRITTEN, now());
        loop {
            let batch = self.outbox.take().await;
            let mut bytes = Vec::new();
            for item in batch.items {
                let frame = match item {
                    Item::Bytes(frame) => frame,
                    Item::Hello(status) => self.hello(*status)?.encode(),
                    Item::Status(status) => Frame::Push(Push::Status(self.sign(*status)?)).encode(),
                };
                let kind = frame.get(KIND_AT).copied().unwrap_or_default();
                self.totals.written(kind, u64::try_from(frame.len()).unwrap_or(u64::MAX));
                bytes.extend_from_slice(&frame);
            }
            io.write_all(&bytes).await.ok()?;
            let written = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.traffic.written.fetch_add(written, Ordering::Relaxed);
            if batch.is_last {
                return io.shutdown().await.ok();
            }
            let wait_ms = bucket.spend(WRITTEN, now(), written);
            if wait_ms > 0 {
                self.clock.wait(wait_ms).await;
            }
        }
    }

    fn sign(&self, status: Status) -> Option<SignedStatus> {
        let bytes = status.signed_bytes(&self.me.chain, &self.binding);
        let signature = Signature(self.me.identity.sign(&bytes).ok()?);
        Some(SignedStatus { status, signature })
    }

    fn hello(&self, status: Status) -> Option<Frame> {
        Some(Frame::Hello(Box::new(Hello {
            protocol: PROTOCOL,
            chain: self.me.chain,
            node: self.me.id,
            roles: self.me.roles,
            binding: self.binding,
            frame_bytes_max: u32::try_from(proctor_p2p::message::FRAME_BYTES_MAX).ok()?,
            features: 0,
            instance: self.me.instance,
            status: self.sign(status)?,
        })))
    }
}
