//! The handshake: two nodes prove who they are and make the first keys of a session.
//!
//! Four messages of fixed length: HELLO, REPLY, FINISH, VERDICT (`docs/ratchet.md`, section 11).
//! Nothing is negotiated. The two ends say what they hold for agreed and either it is the same, or
//! there is no connection. After [`dial`] or [`answer`] returned, the next byte of the stream is
//! the first of the session.
//!
//! Not the concern of this module: how many handshakes a node runs at once, and from where.

mod exchange;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use exchange::{
    Answered, Dialing, FINISH_BYTES, HEAD_BYTES, HELLO_BYTES, REPLY_BYTES, VERDICT_BYTES,
    check_head,
};
use proctor_ratchet::session::Unusable;
use proctor_ratchet::{Agreed, CryptoError, InitialKeys, Psk};
use proctor_ratchet_crypto::Identity;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::PeerId;

/// How long a handshake may take, in ms, if nothing else is said.
pub const HANDSHAKE_MS: u64 = 5_000;

/// What the two ends of a connection must hold for the same.
pub struct Terms {
    /// The terms of the session.
    pub agreed: Agreed,
    /// The network that the nodes belong to: any 32 bytes, for instance the hash of its name.
    pub network: [u8; 32],
    /// The pre-shared key of the two nodes, if they have one.
    pub psk: Option<Psk>,
}

impl Terms {
    /// Returns default terms within a network.
    #[must_use]
    pub fn of_network(network: [u8; 32]) -> Self {
        Self { agreed: Agreed::default(), network, psk: None }
    }

    fn psk_id(&self) -> u64 {
        self.psk.as_ref().map_or(0, Psk::id)
    }
}

/// A message of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// From the end that dials: what it holds for agreed, and its public share.
    Hello,
    /// From the end that listens: the answer to the share, and who it is.
    Reply,
    /// From the end that dials: who it is.
    Finish,
    /// From the end that listens: whether it takes the connection.
    Verdict,
}

impl std::fmt::Display for Message {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Hello => "HELLO",
            Self::Reply => "REPLY",
            Self::Finish => "FINISH",
            Self::Verdict => "VERDICT",
        })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("the handshake did not complete within {0} ms")]
    Timeout(u64),
    /// The connection failed.
    #[error("the connection failed during the handshake: {0}")]
    Io(#[source] io::Error),
    /// The peer went away while a message was due from it.
    #[error("the connection ended before {0}; the peer may be of another network or version")]
    Ended(Message),
    /// The first bytes are not those of this protocol and version.
    #[error("the peer does not speak this version of the protocol")]
    Version,
    /// Another suite of primitives.
    #[error("the peer wants another suite of primitives")]
    Suite,
    /// Other terms of the session.
    #[error("the peer holds other terms for agreed (mode, signatures, payload or credit)")]
    Terms,
    /// Another pre-shared key, or none.
    #[error("the peer names another pre-shared key")]
    Psk,
    /// Another network.
    #[error("the peer belongs to another network")]
    Network,
    /// A public share that is not valid.
    #[error("the share in {0} is not valid")]
    BadShare(Message),
    /// A message that is altered, or not made with the keys of this handshake.
    #[error("{0} is not authentic")]
    NotAuthentic(Message),
    /// A proof of identity whose signature is wrong.
    #[error("{0} did not sign this handshake")]
    BadSignature(PeerId),
    /// Another node than the one that was dialled.
    #[error("dialled {expected}, and {found} answered")]
    WrongPeer {
        /// The node that was dialled.
        expected: PeerId,
        /// The node that answered.
        found: PeerId,
    },
    /// The peer has this node's identity: a connection to oneself, or a reflection.
    #[error("the peer has this node's own identity")]
    SameIdentity,
    /// The node that dialled is not allowed to connect.
    #[error("{0} is not allowed to connect")]
    NotAllowed(PeerId),
    /// The node that was dialled does not allow this one to connect.
    #[error("the peer does not allow this node to connect")]
    Refused,
    /// This end's cryptography failed.
    #[error("local cryptography: {0}")]
    Crypto(#[from] CryptoError),
    /// What was agreed makes no session.
    #[error("no session: {0}")]
    Session(#[from] Unusable),
}

/// What a handshake comes to.
pub struct Established {
    /// The node at the other end, which has proven to be it.
    pub peer: PeerId,
    /// The first keys.
    pub keys: InitialKeys,
    /// The terms of the session.
    pub agreed: Agreed,
}

/// Runs the handshake of the end that dials `expected`, within `within_ms`.
///
/// Dropping the future before it is ready leaves a connection that is of no use.
///
/// # Errors
/// [`HandshakeError`]; the connection is of no use then.
pub async fn dial<T: AsyncRead + AsyncWrite + Unpin>(
    io: &mut T,
    identity: &Identity,
    expected: PeerId,
    terms: Terms,
    within_ms: u64,
) -> Result<Established, HandshakeError> {
    let run = async {
        let (dialing, hello) = Dialing::hello(&terms)?;
        write(io, &hello, Message::Reply).await?;
        let reply = read::<REPLY_BYTES>(io, Message::Reply).await?;
        let (proven, finish) = dialing.on_reply(&reply, identity, expected)?;
        write(io, &finish, Message::Verdict).await?;
        let verdict = read::<VERDICT_BYTES>(io, Message::Verdict).await?;
        let keys = proven.on_verdict(&verdict, terms.psk)?;
        Ok(Established { peer: expected, keys, agreed: terms.agreed })
    };
    limited(within_ms, run).await
}

/// Runs the handshake of the end that listens, within `within_ms`. `allowed` is asked about a node
/// that has proven its identity.
///
/// Dropping the future before it is ready leaves a connection that is of no use.
///
/// # Errors
/// [`HandshakeError`]; the connection is of no use then.
pub async fn answer<T: AsyncRead + AsyncWrite + Unpin>(
    io: &mut T,
    identity: &Identity,
    allowed: impl FnOnce(&PeerId) -> bool,
    terms: Terms,
    within_ms: u64,
) -> Result<Established, HandshakeError> {
    let run = async {
        // The head first: what is wrong there needs no kilobyte more to be seen.
        let head = read::<HEAD_BYTES>(io, Message::Hello).await?;
        check_head(&head, &terms)?;
        let mut hello = [0; HELLO_BYTES];
        let (start, share) = hello.split_at_mut(HEAD_BYTES);
        start.copy_from_slice(&head);
        read_into(io, share, Message::Hello).await?;
        let (answered, reply) = Answered::on_hello(&hello, &terms, identity)?;
        write(io, &reply, Message::Finish).await?;
        let finish = read::<FINISH_BYTES>(io, Message::Finish).await?;
        let (judged, peer) = answered.on_finish(&finish, identity)?;
        let welcome = allowed(&peer);
        write(io, &judged.verdict(welcome), Message::Verdict).await?;
        if !welcome {
            return Err(HandshakeError::NotAllowed(peer));
        }
        Ok(Established { peer, keys: judged.initial(terms.psk), agreed: terms.agreed })
    };
    limited(within_ms, run).await
}

async fn limited<V>(
    within_ms: u64,
    run: impl Future<Output = Result<V, HandshakeError>>,
) -> Result<V, HandshakeError> {
    let limit = Duration::from_millis(within_ms);
    tokio::time::timeout(limit, run).await.unwrap_or(Err(HandshakeError::Timeout(within_ms)))
}

/// Writes one message, after which `next` is due.
async fn write<T: AsyncWrite + Unpin>(
    io: &mut T,
    bytes: &[u8],
    next: Message,
) -> Result<(), HandshakeError> {
    io.write_all(bytes).await.map_err(|error| failed(error, next))?;
    io.flush().await.map_err(|error| failed(error, next))
}

/// Reads one message and not a byte more: what follows belongs to the session.
async fn read<const N: usize>(
    io: &mut (impl AsyncRead + Unpin),
    message: Message,
) -> Result<[u8; N], HandshakeError> {
    let mut bytes = [0; N];
    read_into(io, &mut bytes, message).await?;
    Ok(bytes)
}

async fn read_into(
    io: &mut (impl AsyncRead + Unpin),
    bytes: &mut [u8],
    message: Message,
) -> Result<(), HandshakeError> {
    io.read_exact(bytes).await.map(drop).map_err(|error| failed(error, message))
}

/// A peer that went away is one thing, however the connection tells it.
fn failed(error: io::Error, due: Message) -> HandshakeError {
    let is_gone = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    );
    if is_gone { HandshakeError::Ended(due) } else { HandshakeError::Io(error) }
}
