//! A stranger: speaks the protocol by hand, and says what no node says.
//!
//! Tests of the `proctor` binary have this file too.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use proctor_network::frame::{Frame, HEAD_BYTES};
use proctor_p2p::status::{PROTOCOL, Roles};
use proctor_p2p::{Certified, ChainId, Hello, NodeId, Signature, SignedStatus, Status};
use proctor_ratchet_crypto::Identity;
use proctor_transport::handshake::{self, Established};
use proctor_transport::{Options, PeerId, SecureStream, Terms};
use proctor_types::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) struct Stranger {
    pub(crate) id: NodeId,
    identity: Arc<Identity>,
    chain: ChainId,
    binding: Digest,
    stream: SecureStream,
    sequence: u64,
    /// That of the process that it plays.
    pub(crate) instance: u64,
}

/// Connects from a host of its own.
pub(crate) async fn tcp_from(host: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((host, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Returns the status of one that has everything up to this tip, and no snapshot.
pub(crate) fn up_to(tip: Option<Certified>) -> Status {
    Status {
        tip,
        lowest_body: 1,
        lowest_header: 1,
        latest_snapshot: 0,
        sequence: 0,
        load_permille: 0,
    }
}

impl Stranger {
    /// Connects from `host` to `expected` and proves to have the key.
    pub(crate) async fn connect_as(
        identity: Arc<Identity>,
        chain: ChainId,
        host: Ipv4Addr,
        (to, expected): (SocketAddr, NodeId),
    ) -> Self {
        let mut io = tcp_from(host, to).await;
        let terms = Terms::of_network(chain.0.0);
        let made = handshake::dial(&mut io, &identity, PeerId(expected.0), terms, 5_000);
        let made = made.await.unwrap();
        Self::secured(io, identity, chain, made)
    }

    /// Speaks over a connection that is proven.
    pub(crate) fn secured(
        io: TcpStream,
        identity: Arc<Identity>,
        chain: ChainId,
        made: Established,
    ) -> Self {
        let binding = Digest::of(&[&b"proctor/session/1"[..], &made.keys.handshake_hash].concat());
        let (stream, driver) =
            SecureStream::new(io, Arc::clone(&identity), made, Options::default()).unwrap();
        tokio::spawn(driver);
        let id = NodeId(identity.public());
        Self { id, identity, chain, binding, stream, sequence: 0, instance: 1 }
    }

    /// Makes a status its own, and its newest.
    pub(crate) fn sign(&mut self, status: Status) -> SignedStatus {
        self.sequence += 1;
        let status = Status { sequence: self.sequence, ..status };
        let bytes = status.signed_bytes(&self.chain, &self.binding);
        let signature = Signature(self.identity.sign(&bytes).unwrap());
        SignedStatus { status, signature }
    }

    /// Returns a hello with what somebody says that it has.
    pub(crate) fn hello(&mut self, status: Status) -> Hello {
        Hello {
            protocol: PROTOCOL,
            chain: self.chain,
            node: self.id,
            roles: Roles::FOLLOWER,
            binding: self.binding,
            frame_bytes_max: 1 << 16,
            features: 0,
            instance: self.instance,
            status: self.sign(status),
        }
    }

    /// Says hello with this status.
    pub(crate) async fn greet(&mut self, status: Status) {
        let hello = self.hello(status);
        self.send(&Frame::Hello(Box::new(hello))).await;
    }

    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.encode()).await;
    }

    /// Whoever is cut meanwhile notices when it reads.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Reads the next frame; `None` when the connection is over.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let mut bytes = vec![0; HEAD_BYTES];
        self.stream.read_exact(&mut bytes).await.ok()?;
        let length = u32::from_be_bytes(*bytes.first_chunk::<4>().unwrap());
        let start = bytes.len();
        bytes.resize(start + usize::try_from(length).unwrap(), 0);
        self.stream.read_exact(&mut bytes[start..]).await.ok()?;
        Some(Frame::decode(&bytes).unwrap())
    }

    /// Reads until a frame is as wanted; `None` when the connection ended before.
    pub(crate) async fn read_until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.read().await?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Reads until the connection is over; returns the goodbye, if one was said.
    pub(crate) async fn read_to_end(&mut self) -> Option<Frame> {
        self.read_until(|frame| matches!(frame, Frame::Bye(_))).await
    }
}
