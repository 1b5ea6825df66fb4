//! A stranger: speaks the protocol by hand, and says what no node says.

use std::net::SocketAddr;
use std::sync::Arc;

use proctor_network::frame::{Frame, HEAD_BYTES};
use proctor_p2p::status::{PROTOCOL, Roles};
use proctor_p2p::{Certified, Hello, NodeId, Signature, SignedStatus, Status};
use proctor_ratchet_crypto::Identity;
use proctor_transport::handshake::{self, Established};
use proctor_transport::{Options, PeerId, SecureStream, Terms};
use proctor_types::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::chain::{CHAIN, identity, node_id};

pub(crate) struct Stranger {
    pub(crate) id: NodeId,
    identity: Arc<Identity>,
    binding: Digest,
    stream: SecureStream,
    sequence: u64,
    /// That of the process that it plays.
    pub(crate) instance: u64,
}

/// Connects from 127.0.1.`number`: strangers are hosts of their own.
pub(crate) async fn tcp(number: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 1, number], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

impl Stranger {
    /// Connects and proves to be the node of this number.
    pub(crate) async fn connect(number: u8, to: SocketAddr, expected: NodeId) -> Self {
        let identity = identity(number);
        let mut io = tcp(number, to).await;
        let terms = Terms::of_network(CHAIN.0.0);
        let made = handshake::dial(&mut io, &identity, PeerId(expected.0), terms, 5_000);
        let made = made.await.unwrap();
        Self::secured(io, identity, made)
    }

    /// Waits to be dialled, and proves to be the node of this number.
    pub(crate) async fn accept(number: u8, listener: &TcpListener) -> Self {
        let identity = identity(number);
        let (mut io, _) = listener.accept().await.unwrap();
        let terms = Terms::of_network(CHAIN.0.0);
        let made = handshake::answer(&mut io, &identity, |_| true, terms, 5_000).await.unwrap();
        Self::secured(io, identity, made)
    }

    fn secured(io: TcpStream, identity: Arc<Identity>, made: Established) -> Self {
        let binding = Digest::of(&[&b"proctor/session/1"[..], &made.keys.handshake_hash].concat());
        let (stream, driver) =
            SecureStream::new(io, Arc::clone(&identity), made, Options::default()).unwrap();
        tokio::spawn(driver);
        Self { id: node_id(&identity), identity, binding, stream, sequence: 0, instance: 1 }
    }

    pub(crate) fn status(&mut self, tip: Option<Certified>) -> SignedStatus {
        self.sequence += 1;
        let status = Status {
            tip,
            lowest_body: 1,
            lowest_header: 1,
            latest_snapshot: 0,
            sequence: self.sequence,
            load_permille: 0,
        };
        let bytes = status.signed_bytes(&CHAIN, &self.binding);
        let signature = Signature(self.identity.sign(&bytes).unwrap());
        SignedStatus { status, signature }
    }

    pub(crate) fn hello(&mut self, tip: Option<Certified>) -> Hello {
        Hello {
            protocol: PROTOCOL,
            chain: CHAIN,
            node: self.id,
            roles: Roles::FOLLOWER,
            binding: self.binding,
            frame_bytes_max: 1 << 16,
            features: 0,
            instance: self.instance,
            status: self.status(tip),
        }
    }

    /// Says hello with this tip.
    pub(crate) async fn greet(&mut self, tip: Option<Certified>) {
        let hello = self.hello(tip);
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
