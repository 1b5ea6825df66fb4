//! The laboratory: nodes, pipes with a delay, and streams between them.

use std::sync::Arc;
use std::time::Duration;

use proctor_ratchet::{Agreed, Limits, Mode, Reason};
use proctor_ratchet_crypto::Identity;
use proctor_transport::{Ended, Options, PeerId, SecureStream, Terms, accept, connect};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub(crate) fn node(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]).unwrap())
}

pub(crate) fn id(node: &Identity) -> PeerId {
    PeerId(node.public())
}

/// Small records and little credit, so that small amounts of data have many.
pub(crate) fn small(mode: Mode) -> Agreed {
    Agreed { mode, signed: true, payload_max: 1024, credit: 16 << 10 }
}

pub(crate) fn terms(agreed: Agreed) -> Terms {
    Terms { agreed, ..Terms::of_network([7; 32]) }
}

/// Options under which the ends may open rounds as fast as they like.
pub(crate) fn unhurried() -> Options {
    let limits =
        Limits { rounds_burst: u32::MAX, rounds_per_second: u32::MAX, ..Limits::default() };
    Options { limits, ..Options::default() }
}

/// Makes a stream between the ends of any pipe; the first end dials.
pub(crate) async fn over<A, B>(
    near: A,
    far: B,
    agreed: Agreed,
    options: &Options,
) -> (SecureStream, SecureStream)
where
    A: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (one, other) = (node(1), node(2));
    let dial = connect(near, Arc::clone(&one), id(&other), terms(agreed), options.clone());
    let listen = accept(far, other, |peer| *peer == id(&one), terms(agreed), options.clone());
    let (near, far) = tokio::join!(dial, listen);
    (near.unwrap(), far.unwrap())
}

/// Makes a stream over a pipe without delay.
pub(crate) async fn pair(agreed: Agreed, options: &Options) -> (SecureStream, SecureStream) {
    let (near, far) = duplex(64 << 10);
    over(near, far, agreed, options).await
}

/// Makes a stream over a pipe on which every byte takes `delay` each way.
pub(crate) async fn distant(
    delay: Duration,
    agreed: Agreed,
    options: &Options,
) -> (SecureStream, SecureStream) {
    let (near, there) = duplex(64 << 10);
    let (here, far) = duplex(64 << 10);
    delayed(there, here, delay);
    over(near, far, agreed, options).await
}

/// Moves bytes between two pipes, each way with a delay. Ends of either are handed on as they are.
pub(crate) fn delayed(one: DuplexStream, other: DuplexStream, delay: Duration) {
    let (from_one, to_one) = tokio::io::split(one);
    let (from_other, to_other) = tokio::io::split(other);
    way(from_one, to_other, delay);
    way(from_other, to_one, delay);
}

fn way(
    mut from: impl AsyncRead + Send + Unpin + 'static,
    mut to: impl AsyncWrite + Send + Unpin + 'static,
    delay: Duration,
) {
    let (on_its_way, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let at = Instant::now() + delay;
            if on_its_way.send((at, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((at, bytes)) = arriving.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The other end may be gone already.
        drop(to.shutdown().await);
    });
}

/// Bytes that tell where they are in a stream.
pub(crate) fn pattern(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}

/// Writes `count` bytes of the pattern in pieces of `piece`, and ends the direction.
pub(crate) fn write_pattern<W>(mut to: W, count: usize, piece: usize) -> JoinHandle<W>
where
    W: AsyncWrite + Send + Unpin + 'static,
{
    tokio::spawn(async move {
        let mut at = 0;
        while at < count {
            let now = piece.min(count - at);
            to.write_all(&pattern(at, now)).await.unwrap();
            at += now;
        }
        to.shutdown().await.unwrap();
        to
    })
}

/// Reads to the end of the direction, which must come after `count` bytes of the pattern.
pub(crate) async fn read_pattern(mut from: impl AsyncRead + Unpin, count: usize) {
    let (mut at, mut buffer) = (0, vec![0; 8 << 10]);
    loop {
        let read = from.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        assert!(buffer[..read] == pattern(at, read), "other bytes at {at}");
        at += read;
    }
    assert_eq!(at, count, "the direction ended elsewhere");
}

/// Hands `count` bytes on, flips a bit of the next, and hands the rest on as it is.
pub(crate) async fn flip_at(
    count: usize,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> bool {
    let (mut at, mut flipped, mut buffer) = (0, false, [0; 4096]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(byte) = count.checked_sub(at).and_then(|here| buffer[..read].get_mut(here)) {
            *byte ^= 1 << (count % 8);
            flipped = true;
        }
        at += read;
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
    flipped
}

/// A small generator of repeatable choices.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Returns a number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % sides
    }
}

/// Tells whether a stream ended as one does of which somebody on the way has altered a byte: with a
/// reason, at once or by a deadline.
pub(crate) fn found_out(ended: &Ended) -> bool {
    matches!(
        ended,
        Ended::Session(
            Reason::OpenFailed { .. }
                | Reason::Frame(_)
                | Reason::Protocol(_)
                | Reason::Truncated
                | Reason::PeerSilent
                | Reason::CloseTimeout
                | Reason::RekeyTimeout(_)
        )
    )
}
