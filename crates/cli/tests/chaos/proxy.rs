//! A bad network between two nodes: a TCP proxy that delays, stalls, cuts, narrows and holds back.
//!
//! What it does to a piece of bytes is drawn from a seed; when a piece passes depends on the machine.
//! Bytes keep their order and are never altered, as TCP has it: what a network loses comes late.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proctor_node::simulation::dice::Dice;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Bytes that pass or are lost together.
const PIECE_BYTES: usize = 4 << 10;
/// Pieces on their way; then nothing more is read, and the sender has to wait.
const ON_THEIR_WAY_MAX: usize = 64;

/// What the network is like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// How long a piece takes at least.
    pub(crate) delay: Duration,
    /// By how much longer at most.
    pub(crate) jitter: Duration,
    /// The share of pieces that are lost and have to be sent again.
    pub(crate) loss: f64,
    /// How long that takes; everything behind the piece waits.
    pub(crate) resend: Duration,
    /// The share of pieces that end the connection.
    pub(crate) cut: f64,
    /// How many bytes pass in a second, each way of each connection.
    pub(crate) bytes_per_second: Option<u32>,
}

/// What it did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) connections: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) cuts: AtomicU64,
}

/// The proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    pub(crate) done: Arc<Done>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens at a port of `host` and passes on to `to`, where it comes from `host` as well.
    pub(crate) async fn start(host: IpAddr, to: SocketAddr, weather: Weather, seed: u64) -> Self {
        let listener = TcpListener::bind((host, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_open, open) = watch::channel(true);
        let done = Arc::<Done>::default();
        let way = Passage { host, to, weather, open, done: Arc::clone(&done) };
        let mut accepting = JoinSet::new();
        accepting.spawn(way.accept(listener, Dice::new(seed)));
        Self { address, is_open, done, _accepting: accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, not even an end. Nobody is told: to both sides it is silence.
    pub(crate) fn part(&self) {
        self.is_open.send_replace(false);
    }

    /// What was held back arrives, and all else from now on.
    pub(crate) fn heal(&self) {
        self.is_open.send_replace(true);
    }
}

/// What a connection needs to know.
#[derive(Clone)]
struct Passage {
    host: IpAddr,
    to: SocketAddr,
    weather: Weather,
    open: watch::Receiver<bool>,
    done: Arc<Done>,
}

/// Why a way is over.
#[derive(PartialEq, Eq)]
enum Over {
    /// The sender has ended it, and the receiver knows.
    Ended,
    /// The connection is cut, or an end of it is gone.
    Cut,
}

impl Passage {
    async fn accept(self, listener: TcpListener, mut dice: Dice) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok((near, _)) = listener.accept().await else { continue };
            self.done.connections.fetch_add(1, Ordering::Relaxed);
            connections.spawn(self.clone().connection(near, [dice.split(), dice.split()]));
        }
    }

    async fn connection(mut self, near: TcpStream, [there, back]: [Dice; 2]) {
        // Of a connection that is made while nothing passes the far side does not hear.
        opened(&mut self.open).await;
        let Ok(far) = self.dial().await else { return };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        let mut ways = JoinSet::new();
        ways.spawn(self.clone().way(near_in, far_out, there));
        ways.spawn(self.way(far_in, near_out, back));
        // When one way is cut so is the other; both sides find it out.
        while let Some(Ok(Over::Ended)) = ways.join_next().await {}
    }

    async fn dial(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.host, 0))?;
        socket.connect(self.to).await
    }

    async fn way(
        mut self,
        from: impl AsyncRead + Send + Unpin + 'static,
        mut to: impl AsyncWrite + Unpin,
        dice: Dice,
    ) -> Over {
        let (sender, mut pieces) = mpsc::channel(ON_THEIR_WAY_MAX);
        let mut taking = JoinSet::new();
        taking.spawn(take(from, sender, self.weather, dice, Arc::clone(&self.done)));
        while let Some((at, piece)) = pieces.recv().await {
            sleep_until(at).await;
            opened(&mut self.open).await;
            let Some(piece) = piece else {
                self.done.cuts.fetch_add(1, Ordering::Relaxed);
                return Over::Cut;
            };
            if to.write_all(&piece).await.is_err() {
                return Over::Cut;
            }
            self.done.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        opened(&mut self.open).await;
        if to.shutdown().await.is_err() { Over::Cut } else { Over::Ended }
    }
}

/// Waits until something may pass.
async fn opened(open: &mut watch::Receiver<bool>) {
    // The proxy is gone: so are its tasks, in a moment.
    drop(open.wait_for(|open| *open).await);
}

/// Takes pieces from a sender and says when each arrives; `None` is where the connection is cut.
async fn take(
    mut from: impl AsyncRead + Unpin,
    to: mpsc::Sender<(Instant, Option<Vec<u8>>)>,
    weather: Weather,
    mut dice: Dice,
    done: Arc<Done>,
) {
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut sent, mut arrived) = (Instant::now(), Instant::now());
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        sent = sent.max(Instant::now());
        if let Some(rate) = weather.bytes_per_second {
            sent += Duration::from_secs_f64(count as f64 / f64::from(rate));
        }
        let mut at = sent + weather.delay + weather.jitter.mul_f64(dice.unit());
        if dice.chance(weather.loss) {
            done.lost.fetch_add(1, Ordering::Relaxed);
            at += weather.resend;
        }
        // In order, so what is behind a lost piece waits for it.
        arrived = arrived.max(at);
        let piece = (!dice.chance(weather.cut)).then(|| buffer[..count].to_vec());
        if to.send((arrived, piece)).await.is_err() {
            return;
        }
    }
}

/// A place that sends everything back.
async fn echo() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut echoes = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            echoes.spawn(async move {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
                drop(to.shutdown().await);
            });
        }
    });
    (address, tasks)
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8 ^ (at >> 8) as u8).collect()
}

#[tokio::test]
async fn the_proxy_delays_narrows_and_loses_and_every_byte_arrives_in_order() {
    let (far, _echo) = echo().await;
    let weather = Weather {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(5),
        loss: 0.2,
        resend: Duration::from_millis(20),
        bytes_per_second: Some(2 << 20),
        ..Weather::default()
    };
    let proxy = Proxy::start(far.ip(), far, weather, 1).await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(proxy.address()).await.expect("it listens");
    let bytes = pattern(200_000);
    let (mut from, mut to) = stream.split();
    let sent = bytes.clone();
    let sending = async {
        to.write_all(&sent).await.expect("sent");
        to.shutdown().await.expect("ended");
    };
    let mut back = Vec::new();
    let (_, read) = tokio::join!(sending, from.read_to_end(&mut back));
    read.expect("an orderly end");
    assert!(back == bytes, "other bytes");
    // The least that it can take: the delays of both ways, and the narrower of them.
    assert!(begun.elapsed() >= Duration::from_millis(10 + 95), "{:?}", begun.elapsed());
    assert!(proxy.done.lost.load(Ordering::Relaxed) > 0);
    assert_eq!(proxy.done.bytes.load(Ordering::Relaxed), 2 * bytes.len() as u64);
}

#[tokio::test]
async fn what_is_sent_into_a_partition_is_neither_delivered_nor_refused_and_arrives_after_it() {
    let (far, _echo) = echo().await;
    let proxy = Proxy::start(far.ip(), far, Weather::default(), 1).await;
    let mut before = TcpStream::connect(proxy.address()).await.expect("it listens");
    let mut answer = [0; 4];
    before.write_all(b"one ").await.expect("sent");
    before.read_exact(&mut answer).await.expect("an answer");
    proxy.part();
    let mut during = TcpStream::connect(proxy.address()).await.expect("nobody refuses");
    for stream in [&mut before, &mut during] {
        stream.write_all(b"two ").await.expect("it seems to be sent");
        let silence = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut answer));
        assert!(silence.await.is_err(), "neither bytes nor an end");
    }
    assert_eq!(proxy.done.bytes.load(Ordering::Relaxed), 8, "of before alone");
    proxy.heal();
    for stream in [&mut before, &mut during] {
        stream.read_exact(&mut answer).await.expect("what was held back");
        assert_eq!(&answer, b"two ");
    }
}

#[tokio::test]
async fn a_cut_ends_the_connection_for_both_sides_and_the_next_one_is_served() {
    let (far, _echo) = echo().await;
    let weather = Weather { cut: 0.5, ..Weather::default() };
    let proxy = Proxy::start(far.ip(), far, weather, 3).await;
    let mut answered = 0;
    while answered == 0 || proxy.done.cuts.load(Ordering::Relaxed) == 0 {
        let mut stream = TcpStream::connect(proxy.address()).await.expect("it listens");
        stream.write_all(b"one ").await.expect("sent");
        let mut answer = [0; 4];
        answered += usize::from(stream.read_exact(&mut answer).await.is_ok());
    }
}
