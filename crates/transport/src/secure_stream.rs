//! `SecureStream`: an ordinary `AsyncRead + AsyncWrite` whose keys are renewed while data flows.
//!
//! A [`Driver`] owns the session and the connection below it, in a task of its own with one await
//! point. The stream and its halves only put bytes into bounded buffers and take them out: nothing
//! of the protocol lives in a future of theirs, so dropping one loses nothing.
//!
//! * Reading gives what the peer wrote, in order, then end of file if the peer shut its direction
//!   down, or else an error with the reason: a cut never looks like an end.
//! * Writing waits when 256 KiB are not sealed yet. Flushing waits until all that was written is
//!   sealed and handed to the connection. Shutting down ends this direction after what was
//!   written, and the other direction goes on.
//! * A dropped half is one that is not needed: a dropped writing half shuts its direction down, and
//!   what arrives for a dropped reading half is thrown away. When both are dropped, what was written
//!   is still sent, for as long as [`Options::linger_ms`].

mod driver;
mod shared;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use driver::Driver;
use proctor_ratchet::{Freshness, Life, Limits, Reason};
use proctor_ratchet_crypto::{Hybrid, Identity};
use shared::{Published, Shared};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::PeerId;
use crate::handshake::{self, Established, HANDSHAKE_MS, HandshakeError, Terms};

/// Close codes below this one belong to the protocol.
pub const APPLICATION_CODES: u16 = 1024;
/// The peer is told this when data found no way for too long.
pub(crate) const CODE_STALLED: u16 = 256;
/// The peer is told this when a message is not one of a stream.
pub(crate) const CODE_BAD_MESSAGE: u16 = 257;

/// What an end puts up with; not agreed with the peer.
#[derive(Clone, Debug)]
pub struct Options {
    /// Limits of the session. Those of its queue have no effect, the stream has bounds of its own.
    pub limits: Limits,
    /// How long the handshake may take, in ms.
    pub handshake_ms: u64,
    /// How long data may wait without a byte of it being sealed, because the peer does not read or
    /// the connection takes nothing, in ms; and two seconds more.
    pub stall_ms: u64,
    /// How long a stream whose halves are dropped may go on sending what was written, in ms.
    pub linger_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            handshake_ms: HANDSHAKE_MS,
            stall_ms: 120_000,
            linger_ms: 30_000,
        }
    }
}

/// Why a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Both directions ended in order.
    #[error("the stream is closed")]
    Closed,
    /// This end closed it with this code.
    #[error("the stream was closed here with code {0}")]
    ClosedHere(u16),
    /// The peer closed it with this code.
    #[error("the peer closed the stream with code {0}")]
    ClosedByPeer(u16),
    /// The session died.
    #[error("{0}")]
    Session(Reason),
    /// The connection below failed.
    #[error("the connection failed: {0}")]
    Connection(io::ErrorKind),
    /// Data found no way to the peer for too long: it does not read.
    #[error("the peer takes no data")]
    Stalled,
    /// The peer sent a message that is not one of a stream.
    #[error("the peer sent a message that is not one of a stream")]
    BadMessage,
    /// The driver was dropped before the stream was over, for instance with its runtime.
    #[error("the driver of the stream is gone")]
    DriverGone,
}

impl From<Ended> for io::Error {
    fn from(ended: Ended) -> Self {
        let kind = match ended {
            Ended::Closed | Ended::ClosedHere(_) => io::ErrorKind::BrokenPipe,
            Ended::ClosedByPeer(_) => io::ErrorKind::ConnectionAborted,
            Ended::Session(Reason::Truncated) => io::ErrorKind::UnexpectedEof,
            Ended::Session(
                Reason::PeerSilent
                | Reason::CloseTimeout
                | Reason::RekeyTimeout(_)
                | Reason::KeyTooOld,
            )
            | Ended::Stalled => io::ErrorKind::TimedOut,
            Ended::Session(_) | Ended::BadMessage => io::ErrorKind::InvalidData,
            Ended::Connection(kind) => kind,
            Ended::DriverGone => io::ErrorKind::NotConnected,
        };
        Self::new(kind, ended)
    }
}

/// The state of a stream, all of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where the session is.
    pub life: Life,
    /// The epoch that both directions of this end have reached.
    pub epoch: u64,
    /// Whether a round is under way or asked for.
    pub rekeying: bool,
    /// The last epoch whose round was reported as slow; 0 if none was.
    pub slow: u64,
    /// Bytes that were written and are not sealed.
    pub unsent: usize,
    /// Bytes that arrived and were not read.
    pub unread: usize,
    /// Credit left to send data.
    pub credit: u64,
    /// Why the stream is over.
    pub ended: Option<Ended>,
}

/// A secure connection to one peer.
#[derive(Debug)]
pub struct SecureStream {
    read: ReadHalf,
    write: WriteHalf,
}

/// The half that reads.
#[derive(Debug)]
pub struct ReadHalf {
    control: Control,
}

/// The half that writes.
#[derive(Debug)]
pub struct WriteHalf {
    control: Control,
}

/// What can be asked of a stream beside its data. It keeps nothing alive and may be cloned at will.
#[derive(Clone)]
pub struct Control {
    peer: PeerId,
    shared: Arc<Shared>,
    published: watch::Receiver<Published>,
}

/// A request for a round, made when this value was made. Dropping it cancels nothing.
#[derive(Clone, Debug)]
pub struct Rekey {
    freshness: Freshness,
    number: u64,
    published: watch::Receiver<Published>,
}

/// Dials: runs the handshake with `expected` over `io`, and drives the stream in a task of its own.
///
/// # Errors
/// [`HandshakeError`].
///
/// # Panics
/// Outside a tokio runtime with time.
pub async fn connect<T>(
    mut io: T,
    identity: Arc<Identity>,
    expected: PeerId,
    terms: Terms,
    options: Options,
) -> Result<SecureStream, HandshakeError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let made = handshake::dial(&mut io, &identity, expected, terms, options.handshake_ms).await?;
    let (stream, driver) = SecureStream::new(io, identity, made, options)?;
    tokio::spawn(driver);
    Ok(stream)
}

/// Listens: runs the handshake with whoever dialled `io`, if its identity is `allowed`, and drives
/// the stream in a task of its own.
///
/// # Errors
/// [`HandshakeError`].
///
/// # Panics
/// Outside a tokio runtime with time.
pub async fn accept<T>(
    mut io: T,
    identity: Arc<Identity>,
    allowed: impl FnOnce(&PeerId) -> bool,
    terms: Terms,
    options: Options,
) -> Result<SecureStream, HandshakeError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let made = handshake::answer(&mut io, &identity, allowed, terms, options.handshake_ms).await?;
    let (stream, driver) = SecureStream::new(io, identity, made, options)?;
    tokio::spawn(driver);
    Ok(stream)
}

impl SecureStream {
    /// Begins a stream after a handshake. The driver does all the work: it must be spawned, or
    /// polled in some other way until it is ready.
    ///
    /// # Errors
    /// [`HandshakeError::Session`], when the terms make no session or leave no room for a byte in a
    /// record.
    ///
    /// # Panics
    /// Outside a tokio runtime with time.
    pub fn new<T: AsyncRead + AsyncWrite + Unpin>(
        io: T,
        identity: Arc<Identity>,
        made: Established,
        options: Options,
    ) -> Result<(Self, Driver<T>), HandshakeError> {
        let peer = made.peer;
        let crypto = Hybrid::new(identity, peer.0)?;
        let (driver, shared, published) = Driver::new(io, crypto, made.agreed, options, made.keys)?;
        let control = Control { peer, shared, published };
        let read = ReadHalf { control: control.clone() };
        Ok((Self { read, write: WriteHalf { control } }, driver))
    }

    /// Returns the two halves, to be used by two tasks.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// Returns what can be asked beside the data.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.write.control
    }

    /// Returns the node at the other end.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.control().peer
    }

    /// Returns the state of the stream.
    #[must_use]
    pub fn status(&self) -> Status {
        self.control().status()
    }

    /// Renews all keys in a round that begins after this call, and returns the epoch reached.
    ///
    /// # Errors
    /// [`Ended`], when the stream ends before.
    pub async fn rekey(&self) -> Result<u64, Ended> {
        self.control().request_rekey(Freshness::Fresh).done().await
    }
}

impl Control {
    /// Returns the node at the other end.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns the state of the stream.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Asks for a round, at once: nothing need be awaited for it to happen.
    #[must_use]
    pub fn request_rekey(&self, freshness: Freshness) -> Rekey {
        let number = self.shared.request_rekey(freshness);
        Rekey { freshness, number, published: self.published.clone() }
    }

    /// Closes both directions at once and tells the peer `code`: 0, or one from
    /// [`APPLICATION_CODES`] on. What is not sealed is not sent.
    pub fn close(&self, code: u16) {
        self.shared.close(code);
    }

    /// Returns whether the other one belongs to the same stream.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until the stream is over and returns why.
    pub async fn ended(&self) -> Ended {
        let mut published = self.published.clone();
        let seen = published.wait_for(|published| published.ended.is_some()).await;
        seen.ok().and_then(|seen| seen.ended).unwrap_or(Ended::DriverGone)
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Control").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Rekey {
    /// Returns whether the epoch is reached; once it is, it stays so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.published.borrow().served(self.freshness) >= self.number
    }

    /// Waits until the epoch is reached and returns the present one. May be asked early, late, more
    /// than once, and dropped.
    ///
    /// # Errors
    /// [`Ended`], when the stream ended before.
    pub async fn done(&self) -> Result<u64, Ended> {
        let mut published = self.published.clone();
        let seen = published
            .wait_for(|now| now.served(self.freshness) >= self.number || now.ended.is_some())
            .await
            .map_err(|_| Ended::DriverGone)?;
        match seen.ended {
            Some(ended) if seen.served(self.freshness) < self.number => Err(ended),
            Some(_) | None => Ok(seen.epoch),
        }
    }
}

impl ReadHalf {
    /// Returns what can be asked beside the data.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }
}

impl WriteHalf {
    /// Returns what can be asked beside the data.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.control.shared.drop_reader();
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.control.shared.drop_writer();
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.control.shared.poll_read(cx, buffer).map_err(Into::into)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.control.shared.poll_write(cx, bytes).map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.control.shared.poll_flush(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.control.shared.poll_shutdown(cx).map_err(Into::into)
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}
