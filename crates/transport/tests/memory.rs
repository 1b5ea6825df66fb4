//! T16 on the stream, over a pipe and over simulated TCP: flat memory, no secret in a freed block.
//!
//! The listener of the handshake is written out here by `docs/ratchet.md`, section 11, and the first
//! epoch beside it by section 6, so that the test knows every secret of them.
#![allow(unsafe_code, reason = "a global allocator cannot be written without it")]

mod by_the_docs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use by_the_docs::first_epoch;
use proctor_ratchet::crypto::Crypto;
use proctor_ratchet::{InitialKeys, Limits, Secret};
use proctor_ratchet_crypto::{Hybrid, Identity, answer};
use proctor_transport::handshake::Established;
use proctor_transport::{Options, PeerId, SecureStream, Terms, accept, connect};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};

/// What a stream is made of.
trait Pipe: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Pipe for T {}

const PORT: u16 = 9000;
const NETWORK: [u8; 32] = [7; 32];
/// How many records of each direction are watched.
const RECORDS: usize = 24;

thread_local! {
    static SECRETS: RefCell<Vec<[u8; 32]>> = RefCell::new(Vec::with_capacity(512));
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    /// Bytes that are allocated on this thread.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// Freed blocks that held a secret.
    static LEAKS: Cell<usize> = const { Cell::new(0) };
}

struct Watcher;

#[global_allocator]
static WATCHER: Watcher = Watcher;

/// Counts a block that is about to be freed if a secret stands in it.
fn inspect(block: &[u8]) {
    let _ = WATCHING.try_with(|watching| {
        // Not again from within.
        if !watching.replace(false) {
            return;
        }
        // A thread whose test failed ends with its secrets still watched for.
        let _ = SECRETS.try_with(|secrets| {
            let secrets = secrets.borrow();
            if block.windows(32).any(|window| secrets.iter().any(|secret| secret == window)) {
                LEAKS.set(LEAKS.get() + 1);
            }
        });
        watching.set(true);
    });
}

// SAFETY: every call goes to the system's allocator unchanged; blocks are only read, before they
// are freed, over the length that they were allocated with.
unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LIVE.try_with(|live| live.set(live.get() + layout.size().cast_signed()));
        // Zeroed, so that reading a block that was not written to its end is sound.
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get() - layout.size().cast_signed()));
        // SAFETY: the block has this length and is alive until the next line.
        inspect(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller's promise about `block` and `layout` is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Watches a secret from now on.
fn note(secret: &Secret) {
    SECRETS.with_borrow_mut(|secrets| {
        assert!(secrets.len() < secrets.capacity(), "the list must not be moved");
        secrets.push(*secret.expose());
    });
}

fn noted(secret: Secret) -> Secret {
    note(&secret);
    secret
}

/// The listener of a handshake, which notes every secret.
struct Listener {
    k: Secret,
    identity: Arc<Identity>,
}

impl Listener {
    fn derive(&self, label: &str, transcript: &[u8; 32]) -> Secret {
        let label = [b"pss1 ", label.as_bytes(), &[0], transcript, &[1]].concat();
        noted(Hybrid::mac(self.k.expose(), &[&label]))
    }

    fn seal(&self, label: &str, transcript: &[u8; 32], plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        let key = Hybrid::key(&self.derive(label, transcript));
        Hybrid::seal(&key, [0; 12], transcript, &mut sealed, 0);
        sealed
    }

    /// Runs the handshake and returns the exporter and the transcript.
    async fn run<T: Pipe>(io: &mut T, identity: Arc<Identity>) -> (Secret, [u8; 32]) {
        let mut hello = vec![0; 1271];
        io.read_exact(&mut hello).await.expect("HELLO");
        let (shared, answer) = answer(&hello[55..]).expect("a good share");
        let t1 = Hybrid::digest(&[b"pss1 reply", &hello, &answer]);
        let (kem, dh) = (noted(shared.kem), noted(shared.dh));
        let k = noted(Hybrid::mac(&t1, &[kem.expose(), dh.expose()]));
        let this = Self { k, identity };
        let public = this.identity.public();
        let signed = [b"proctor stream 1 responder", &t1[..], &public].concat();
        let signature = this.identity.sign(&signed).expect("a signature");
        let mac_key = this.derive("responder mac", &t1);
        let mac = Hybrid::mac(mac_key.expose(), &[&t1, &public, &signature]);
        let sealed =
            this.seal("reply", &t1, &[&public[..], &signature, &mac.expose()[..]].concat());
        io.write_all(&[&answer[..], &sealed].concat()).await.expect("REPLY");
        let t2 = Hybrid::digest(&[b"pss1 finish", &t1, &sealed]);
        let mut finish = vec![0; 144];
        io.read_exact(&mut finish).await.expect("FINISH");
        let t3 = Hybrid::digest(&[b"pss1 verdict", &t2, &finish]);
        let key = Hybrid::key(&this.derive("finish", &t2));
        assert!(Hybrid::open(&key, [0; 12], &t2, &mut finish).is_some());
        drop(this.derive("initiator mac", &t2));
        io.write_all(&this.seal("verdict", &t3, &[0])).await.expect("VERDICT");
        (this.derive("exporter", &t3), t3)
    }
}

fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]).expect("any seed makes a key pair"))
}

fn id(seed: u8) -> PeerId {
    PeerId(identity(seed).public())
}

fn terms() -> Terms {
    Terms::of_network(NETWORK)
}

async fn send(to: &mut SecureStream) {
    to.write_all(&[5; 700]).await.expect("open");
    to.flush().await.expect("open");
}

async fn receive(from: &mut SecureStream) {
    from.read_exact(&mut [0; 700]).await.expect("open");
}

/// The end that dials: data, a round, data, and the end.
async fn dialer<T: Pipe>(io: T) {
    let mut stream =
        connect(io, identity(1), id(2), terms(), Options::default()).await.expect("a stream");
    stream.write_all(b"first").await.expect("open");
    stream.flush().await.expect("open");
    for rounds in 0..2 {
        if rounds > 0 {
            assert_eq!(stream.rekey().await, Ok(1));
        }
        for _ in 0..RECORDS {
            send(&mut stream).await;
            receive(&mut stream).await;
        }
    }
    stream.control().close(0);
}

/// The end that listens, which notes all secrets.
async fn listener<T: Pipe>(mut io: T) {
    let (dialer, other) = (id(1), identity(2));
    let (exporter, t3) = Listener::run(&mut io, Arc::clone(&other)).await;
    let agreed = terms().agreed;
    let first = first_epoch((&exporter, &t3), agreed, [dialer, id(2)], RECORDS, &note);
    // The first record opens under the first key, so what is watched are the keys that are used.
    let mut record = vec![0; 8 + 2 + 1 + 5 + 16];
    io.read_exact(&mut record).await.expect("a record");
    let mut sealed = record[8..].to_vec();
    let (key, nonce) = (Hybrid::key(&first.dialer.keys[0]), first.dialer.nonce(0));
    let opened = Hybrid::open(&key, nonce, &record[..8], &mut sealed);
    assert_eq!(opened, Some(&b"\x00\x01\x00first"[..]));
    drop((first, key));
    // The listener goes on as an ordinary stream, with that record before what follows it.
    let keys = InitialKeys { exporter, handshake_hash: t3, psk: None };
    let made = Established { peer: dialer, keys, agreed };
    let (read, write) = tokio::io::split(io);
    let io = tokio::io::join(Cursor::new(record).chain(read), write);
    let (mut stream, driver) =
        SecureStream::new(io, other, made, Options::default()).expect("good terms");
    let driver = tokio::spawn(driver);
    let mut first = [0; 5];
    stream.read_exact(&mut first).await.expect("open");
    for _ in 0..2 * RECORDS {
        receive(&mut stream).await;
        send(&mut stream).await;
    }
    driver.await.expect("no panic");
}

/// Runs `play` and looks at every block that is freed meanwhile.
fn watched(play: impl FnOnce()) {
    WATCHING.set(true);
    play();
    let (secrets, leaks) = (SECRETS.with_borrow(Vec::len), LEAKS.get());
    // The watcher sees a secret that is freed as it stands.
    let careless = SECRETS.with_borrow(|secrets| secrets[secrets.len() / 2].to_vec());
    drop(careless);
    WATCHING.set(false);
    assert_eq!(LEAKS.get() - leaks, 1);
    assert_eq!(leaks, 0, "of {secrets} secrets");
    assert!(secrets > 2 * RECORDS, "{secrets} secrets were watched");
}

#[test]
fn t16_no_secret_of_a_handshake_or_its_stream_survives_a_closed_connection() {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (near, far) = duplex(64 << 10);
        runtime.block_on(async { tokio::join!(dialer(near), listener(far)) });
    });
}

/// A host that listens and one that dials, with all their tasks on this thread.
fn hosts<F: Future<Output = ()> + 'static>(
    listens: impl Fn(TcpStream) -> F + Copy + 'static,
    dials: impl AsyncFnOnce(TcpStream) + 'static,
) {
    let mut sim = turmoil::Builder::new()
        .rng_seed(16)
        .simulation_duration(Duration::from_secs(4_000))
        .max_message_latency(Duration::from_millis(12))
        .tcp_capacity(4096)
        .build();
    sim.host("far", move || async move {
        let (io, _) = TcpListener::bind(("0.0.0.0", PORT)).await?.accept().await?;
        listens(io).await;
        Ok(())
    });
    sim.client("near", async {
        dials(TcpStream::connect(("far", PORT)).await?).await;
        Ok(())
    });
    sim.run().expect("both hosts end in order");
}

#[test]
fn t16_over_tcp_no_secret_of_a_handshake_or_its_stream_survives_a_closed_connection() {
    watched(|| hosts(listener, dialer));
}

fn unhurried() -> Options {
    let limits =
        Limits { rounds_burst: u32::MAX, rounds_per_second: u32::MAX, ..Limits::default() };
    Options { limits, ..Options::default() }
}

#[test]
fn t16_over_tcp_memory_is_flat_over_rounds() {
    let echo = |io| async {
        let made = accept(io, identity(2), |_| true, terms(), unhurried()).await;
        let (mut from, mut to) = made.expect("a stream").into_split();
        drop(tokio::io::copy(&mut from, &mut to).await);
    };
    hosts(echo, async |io| {
        let made = connect(io, identity(1), id(2), terms(), unhurried()).await;
        let mut stream = made.expect("a stream");
        let mut live = Vec::with_capacity(500);
        for number in 1..=500 {
            send(&mut stream).await;
            receive(&mut stream).await;
            assert_eq!(stream.rekey().await, Ok(number));
            // Until the last frame of the round has arrived, and nothing is under way.
            sleep(Duration::from_millis(50)).await;
            live.push(LIVE.get());
        }
        let [early, late] = [&live[50..100], &live[450..]].map(|live| live.iter().max());
        assert_eq!(early, late);
    });
}
