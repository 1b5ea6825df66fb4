//! T16 on the stream: no secret of a handshake or of its stream is left in a block that was freed.
//!
//! The listener of the handshake is written out here by `docs/ratchet.md`, sections 6 and 11, so that
//! the test knows every secret of it, of the first epoch and of its records.
#![allow(unsafe_code, reason = "a global allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::io::Cursor;
use std::sync::Arc;

use proctor_ratchet::crypto::Crypto;
use proctor_ratchet::{Agreed, InitialKeys, Mode, Secret};
use proctor_ratchet_crypto::{Hybrid, Identity, answer};
use proctor_transport::handshake::Established;
use proctor_transport::{Options, PeerId, SecureStream, Terms, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

const NETWORK: [u8; 32] = [7; 32];
/// How many records of each direction are watched.
const RECORDS: usize = 24;

thread_local! {
    static SECRETS: RefCell<Vec<[u8; 32]>> = RefCell::new(Vec::with_capacity(512));
    static WATCHING: Cell<bool> = const { Cell::new(false) };
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
        SECRETS.with_borrow(|secrets| {
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
        // Zeroed, so that reading a block that was not written to its end is sound.
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block has this length and is alive until the next line.
        inspect(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller's promise about `block` and `layout` is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Watches a secret from now on.
fn note(secret: Secret) -> Secret {
    SECRETS.with_borrow_mut(|secrets| {
        assert!(secrets.len() < secrets.capacity(), "the list must not be moved");
        secrets.push(*secret.expose());
    });
    secret
}

/// Concatenates `list` with the length before each part.
fn parts(tag: &[u8], list: &[&[u8]]) -> Vec<u8> {
    let mut out = tag.to_vec();
    for part in list {
        out.extend_from_slice(&u32::try_from(part.len()).expect("short").to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn expand(secret: &Secret, label: &str, context: &[u8]) -> Secret {
    let info = parts(&32_u16.to_le_bytes(), &[&[b"rk1 ", label.as_bytes()].concat(), context]);
    note(Hybrid::mac(secret.expose(), &[&info, &[1]]))
}

/// The keys of one direction of epoch 0: what nonces are made of, and the key of each record.
fn direction(traffic: &Secret) -> ([u8; 12], Vec<Secret>) {
    let iv = expand(traffic, "iv", &[]);
    let mut chain = expand(traffic, "chain", &[]);
    let derive = |chain: &Secret, label: &[u8]| {
        let mut bytes = *blake3::keyed_hash(chain.expose(), label).as_bytes();
        note(Secret::take(&mut bytes))
    };
    let keys = (0..RECORDS).map(|_| {
        let key = derive(&chain, b"rk1 key");
        chain = derive(&chain, b"rk1 next");
        key
    });
    let keys = keys.collect();
    (iv.expose()[..12].try_into().expect("twelve of 32"), keys)
}

/// The listener of a handshake, which notes every secret.
struct Listener {
    k: Secret,
    identity: Arc<Identity>,
}

impl Listener {
    fn derive(&self, label: &str, transcript: &[u8; 32]) -> Secret {
        let label = [b"pss1 ", label.as_bytes(), &[0], transcript, &[1]].concat();
        note(Hybrid::mac(self.k.expose(), &[&label]))
    }

    fn seal(&self, label: &str, transcript: &[u8; 32], plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        let key = Hybrid::key(&self.derive(label, transcript));
        Hybrid::seal(&key, [0; 12], transcript, &mut sealed, 0);
        sealed
    }

    /// Runs the handshake and returns the exporter and the transcript.
    async fn run(io: &mut DuplexStream, identity: Arc<Identity>) -> (Secret, [u8; 32]) {
        let mut hello = vec![0; 1271];
        io.read_exact(&mut hello).await.expect("HELLO");
        let (shared, answer) = answer(&hello[55..]).expect("a good share");
        let t1 = Hybrid::digest(&[b"pss1 reply", &hello, &answer]);
        let (kem, dh) = (note(shared.kem), note(shared.dh));
        let k = note(Hybrid::mac(&t1, &[kem.expose(), dh.expose()]));
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

/// Derives all of epoch 0; returns the keys of what the dialer sends.
fn epoch_0(
    exporter: &Secret,
    t3: &[u8; 32],
    agreed: Agreed,
    dialer: &PeerId,
    listener: &PeerId,
) -> ([u8; 12], Vec<Secret>) {
    let (low, high) = (dialer.0.min(listener.0), dialer.0.max(listener.0));
    let terms = [&agreed.encode()[..], &[0; 8]].concat();
    let list: [&[u8]; 6] = [&[1], &[1], &low, &high, t3, &terms];
    let th = Hybrid::digest(&[&parts(b"rk1 th0", &list)]);
    let es = note(Hybrid::mac(&th, &[exporter.expose()]));
    for label in ["next", "conf r", "conf i"] {
        drop(expand(&es, label, &th));
    }
    let up = direction(&expand(&es, "l2h", &th));
    let down = direction(&expand(&es, "h2l", &th));
    if dialer.0 == low { up } else { down }
}

async fn exchange(stream: &mut SecureStream, other: &mut SecureStream) {
    for _ in 0..RECORDS / 2 {
        for turn in 0..2 {
            let (from, to) =
                if turn == 0 { (&mut *stream, &mut *other) } else { (&mut *other, &mut *stream) };
            from.write_all(&[5; 700]).await.expect("open");
            from.flush().await.expect("open");
            let mut bytes = [0; 700];
            to.read_exact(&mut bytes).await.expect("open");
        }
    }
}

async fn handshake_stream_and_close() {
    let identity = |seed: u8| Arc::new(Identity::from_seed(&[seed; 32]).expect("a key pair"));
    let (one, other) = (identity(1), identity(2));
    let (dialer, listener) = (PeerId(one.public()), PeerId(other.public()));
    let agreed = Agreed { mode: Mode::RecordFs, ..Agreed::default() };
    let terms = Terms { agreed, ..Terms::of_network(NETWORK) };
    let (near, mut far) = duplex(64 << 10);
    let dial = connect(near, one, listener, terms, Options::default());
    let (stream, (exporter, t3)) = tokio::join!(dial, Listener::run(&mut far, Arc::clone(&other)));
    let mut stream = stream.expect("a stream");
    let (iv, keys) = epoch_0(&exporter, &t3, agreed, &dialer, &listener);
    // The first record opens under the first key, so what is watched are the keys that are used.
    stream.write_all(b"first").await.expect("open");
    let mut record = vec![0; 8 + 2 + 1 + 5 + 16];
    far.read_exact(&mut record).await.expect("a record");
    let mut sealed = record[8..].to_vec();
    let opened = Hybrid::open(&Hybrid::key(&keys[0]), iv, &record[..8], &mut sealed);
    assert_eq!(opened, Some(&b"\x00\x01\x00first"[..]));
    drop(keys);
    // The listener goes on as an ordinary stream, with that record before what follows it.
    let made = Established {
        peer: dialer,
        keys: InitialKeys { exporter, handshake_hash: t3, psk: None },
        agreed,
    };
    let (read, write) = tokio::io::split(far);
    let io = tokio::io::join(Cursor::new(record).chain(read), write);
    let (mut peer, driver) =
        SecureStream::new(io, other, made, Options::default()).expect("good terms");
    let driver = tokio::spawn(driver);
    let mut first = [0; 5];
    peer.read_exact(&mut first).await.expect("open");
    exchange(&mut stream, &mut peer).await;
    assert_eq!(stream.rekey().await, Ok(1));
    exchange(&mut stream, &mut peer).await;
    stream.control().close(0);
    driver.await.expect("no panic");
}

#[test]
fn t16_no_secret_of_a_handshake_or_its_stream_survives_a_closed_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    WATCHING.set(true);
    runtime.block_on(handshake_stream_and_close());
    drop(runtime);
    let (secrets, leaks) = (SECRETS.with_borrow(Vec::len), LEAKS.get());
    // The watcher sees a secret that is freed as it stands.
    let careless = SECRETS.with_borrow(|secrets| secrets[secrets.len() / 2].to_vec());
    drop(careless);
    WATCHING.set(false);
    assert_eq!(LEAKS.get() - leaks, 1);
    assert_eq!(leaks, 0, "of {secrets} secrets");
    assert!(secrets > 4 * RECORDS, "{secrets} secrets were watched");
}
