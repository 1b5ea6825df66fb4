//! T16: memory stays flat over many rounds, and no freed block still holds a secret.
#![allow(unsafe_code, reason = "a global allocator cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use proctor_ratchet::crypto::{Crypto, CryptoError, Shared};
use proctor_ratchet::{
    Agreed, Event, Freshness, InitialKeys, Limits, Mode, Moment, Secret, Session,
};
use proctor_ratchet_crypto::{Hybrid, Identity};

thread_local! {
    /// Bytes that are allocated on this thread.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// Secrets that were made, while the test asks for it.
    static SECRETS: RefCell<Vec<[u8; 32]>> = const { RefCell::new(Vec::new()) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    /// Freed blocks that held one.
    static LEAKS: Cell<usize> = const { Cell::new(0) };
}

struct Watcher;

#[global_allocator]
static WATCHER: Watcher = Watcher;

/// Counts a block that is about to be freed if a secret stands in it.
fn inspect(block: &[u8]) {
    if !WATCHING.get() {
        return;
    }
    // The thread may be ending, and its secrets with it.
    let _ = SECRETS.try_with(|secrets| {
        let Ok(secrets) = secrets.try_borrow() else { return };
        let holds = |window: &[u8]| secrets.iter().any(|secret| secret == window);
        if block.windows(32).any(holds) {
            LEAKS.set(LEAKS.get() + 1);
        }
    });
}

// SAFETY: every call goes to the system's allocator unchanged; blocks are only read, before they
// are freed, over the length that they were allocated with.
unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size().cast_signed());
        // Zeroed, so that reading a block that was not written to its end is sound.
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size().cast_signed());
        // SAFETY: the block has this length and is alive until the next line.
        inspect(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller's promise about `block` and `layout` is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Real cryptography that tells the watcher which secrets it makes.
struct Spied(Hybrid);

fn note(secret: &Secret) {
    if WATCHING.get() {
        WATCHING.set(false);
        SECRETS.with_borrow_mut(|secrets| secrets.push(*secret.expose()));
        WATCHING.set(true);
    }
}

impl Crypto for Spied {
    const SUITE: u8 = Hybrid::SUITE;
    const SHARE_BYTES: usize = Hybrid::SHARE_BYTES;
    const ANSWER_BYTES: usize = Hybrid::ANSWER_BYTES;
    const SIGNATURE_BYTES: usize = Hybrid::SIGNATURE_BYTES;
    const TAG_BYTES: usize = Hybrid::TAG_BYTES;
    type Ephemeral = <Hybrid as Crypto>::Ephemeral;
    type Key = <Hybrid as Crypto>::Key;
    /// Beside the chain, what it holds: its secret, and the keys that are not used yet.
    type Chain = (<Hybrid as Crypto>::Chain, Secret, Vec<Secret>);

    fn identity(&self) -> [u8; 32] {
        self.0.identity()
    }
    fn peer_identity(&self) -> [u8; 32] {
        self.0.peer_identity()
    }
    fn digest(parts: &[&[u8]]) -> [u8; 32] {
        Hybrid::digest(parts)
    }
    fn mac(key: &[u8], parts: &[&[u8]]) -> Secret {
        let secret = Hybrid::mac(key, parts);
        // Confirmations are sent, so they are no secrets; they are made of one or two hashes.
        let is_expand = matches!(parts, [_, [1]]);
        let is_extract = matches!(parts, [material] if material.len() > 32);
        if is_expand || is_extract {
            note(&secret);
        }
        secret
    }
    fn chain(secret: &Secret) -> Self::Chain {
        (Hybrid::chain(secret), Secret::take(&mut secret.expose().clone()), Vec::new())
    }
    fn step((chain, secret, to_come): &mut Self::Chain) -> Self::Key {
        if to_come.is_empty() {
            // As `docs/ratchet.md` has it, section 6.
            let mut outputs = [[0; 32]; 16];
            let mut hasher = blake3::Hasher::new_keyed(secret.expose());
            hasher.update(b"rk1 keys").finalize_xof().fill(outputs.as_flattened_mut());
            let [next, keys @ ..] = &mut outputs;
            secret.replace(next);
            note(secret);
            to_come.extend(keys.iter_mut().map(Secret::take));
            to_come.iter().for_each(note);
        }
        to_come.pop();
        Hybrid::step(chain)
    }
    fn generate(&mut self) -> Result<(Self::Ephemeral, Vec<u8>), CryptoError> {
        self.0.generate()
    }
    fn answer(&mut self, share: &[u8]) -> Result<(Shared, Vec<u8>), CryptoError> {
        let (shared, answer) = self.0.answer(share)?;
        note(&shared.kem);
        note(&shared.dh);
        Ok((shared, answer))
    }
    fn complete(ephemeral: Self::Ephemeral, answer: &[u8]) -> Result<Shared, CryptoError> {
        let shared = Hybrid::complete(ephemeral, answer)?;
        note(&shared.kem);
        note(&shared.dh);
        Ok(shared)
    }
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.0.sign(message)
    }
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature)
    }
    fn seal(key: &Self::Key, nonce: [u8; 12], header: &[u8], buffer: &mut Vec<u8>, from: usize) {
        Hybrid::seal(key, nonce, header, buffer, from);
    }
    fn open<'a>(
        key: &Self::Key,
        nonce: [u8; 12],
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        Hybrid::open(key, nonce, header, sealed)
    }
}

type Ends = Box<[Session<Spied>; 2]>;

fn ends() -> Ends {
    let identity = |seed: u8| Identity::from_seed(&[seed; 32]).expect("any seed makes a key pair");
    let end = |me, peer| {
        let crypto = Hybrid::new(Arc::new(identity(me)), identity(peer).public());
        let exporter = Secret::take(&mut [7; 32]);
        let keys = InitialKeys { exporter, handshake_hash: [9; 32], psk: None };
        // A message is more records than the chain of keys makes at once.
        let agreed = Agreed { mode: Mode::RecordFs, payload_max: 128, ..Agreed::default() };
        let limits = Limits { rounds_burst: u32::MAX, ..Limits::default() };
        let crypto = Spied(crypto.expect("a public key"));
        Session::new(crypto, agreed, limits, keys, Moment(0)).expect("good terms")
    };
    Box::new([end(1, 2), end(2, 1)])
}

/// Runs `count` rounds with messages both ways, in turns alone and at once.
fn rounds(ends: &mut Ends, count: usize) {
    for number in 0..count {
        for (side, end) in ends.iter_mut().enumerate() {
            end.send(vec![5; 3000]).expect("there is room");
            if number % 3 != side {
                end.request_rekey(Freshness::Fresh).expect("it is open");
            }
        }
        let mut quiet = 0;
        while quiet < 2 {
            for side in 0..2 {
                let mut wire = Vec::new();
                let sent = ends[side].poll_transmit(Moment(0), &mut wire, usize::MAX);
                quiet = if sent == 0 { quiet + 1 } else { 0 };
                ends[1 - side].input(Moment(0), &mut wire).expect("honest");
                while let Some(event) = ends[1 - side].poll_event() {
                    if let Event::Data(data) = event {
                        ends[1 - side].consume(data.cost());
                    }
                }
            }
        }
    }
}

#[test]
fn t16_memory_is_flat_over_rounds() {
    let mut ends = ends();
    rounds(&mut ends, 50);
    let before = LIVE.get();
    rounds(&mut ends, 500);
    assert_eq!(LIVE.get(), before);
    assert!(ends.iter().all(|end| end.status().epoch >= 550));
}

#[test]
fn t16_no_freed_block_holds_a_secret() {
    WATCHING.set(true);
    let mut ends = ends();
    rounds(&mut ends, 6);
    ends[0].request_rekey(Freshness::Fresh).expect("it is open");
    let mut wire = Vec::new();
    // Dropped in the middle of a round.
    ends[0].poll_transmit(Moment(0), &mut wire, usize::MAX);
    drop(ends);
    let secrets = SECRETS.with_borrow(Vec::len);
    let leaks = LEAKS.get();
    // The watcher sees a secret that is freed as it stands.
    let careless = SECRETS.with_borrow(|secrets| secrets[secrets.len() / 2].to_vec());
    drop(careless);
    WATCHING.set(false);
    assert_eq!(LEAKS.get() - leaks, 1);
    assert_eq!(leaks, 0, "of {secrets} secrets");
    assert!(secrets > 100, "{secrets} secrets were watched");
}
