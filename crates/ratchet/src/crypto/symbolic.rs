//! The symbolic provider: secrets are names, so that a model checker can compare them.
//!
//! Every value is a 64-bit name computed from what it was derived from. Two secrets are equal
//! exactly if they have the same history. Sealed frames stay readable; the tag alone protects them,
//! which is all that a protocol can notice.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{Crypto, CryptoError, IDENTITY_BYTES, Shared};
use crate::key_schedule::Secret;

/// Keys with the nonces they were used with.
type Used = BTreeSet<(u64, [u8; 12])>;

thread_local! {
    /// Every key and nonce that sealed something, while a test asks for it.
    static SEALED: RefCell<Option<Used>> = const { RefCell::new(None) };
}

/// Runs `test` and panics when a key and nonce seal twice in it.
pub(crate) fn with_unique_nonces<T>(test: impl FnOnce() -> T) -> T {
    SEALED.set(Some(BTreeSet::new()));
    let result = test();
    SEALED.set(None);
    result
}

/// One end with symbolic cryptography.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Symbolic {
    pub(crate) me: u8,
    pub(crate) peer: u8,
}

impl Symbolic {
    pub(crate) fn new(me: u8, peer: u8) -> Self {
        Self { me, peer }
    }
}

fn name(tag: &[u8], parts: &[&[u8]]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in tag.iter().chain(parts.iter().copied().flatten()) {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        state ^= state >> 29;
    }
    state = (state ^ state >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    state ^ state >> 32
}

fn wide(name: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&name.to_le_bytes());
    bytes
}

fn secret(name: u64) -> Secret {
    Secret::take(&mut wide(name))
}

/// What both ends compute from the two public names, whichever of them has which.
fn shared(one: &[u8], other: &[u8]) -> Shared {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    Shared { kem: secret(name(b"kem", &[low, high])), dh: secret(name(b"dh", &[low, high])) }
}

impl Crypto for Symbolic {
    const SUITE: u8 = 0xff;
    const SHARE_BYTES: usize = 8;
    const ANSWER_BYTES: usize = 8;
    const SIGNATURE_BYTES: usize = 8;
    const TAG_BYTES: usize = 8;

    type Ephemeral = u64;
    type Key = u64;
    type Chain = Secret;

    fn identity(&self) -> [u8; IDENTITY_BYTES] {
        [self.me; IDENTITY_BYTES]
    }

    fn peer_identity(&self) -> [u8; IDENTITY_BYTES] {
        [self.peer; IDENTITY_BYTES]
    }

    fn digest(parts: &[&[u8]]) -> [u8; 32] {
        wide(name(b"hash", parts))
    }

    fn mac(key: &[u8], parts: &[&[u8]]) -> Secret {
        let inner = name(b"mac", parts).to_le_bytes();
        secret(name(b"mac", &[key, &inner]))
    }

    fn chain(first: &Secret) -> Secret {
        first.clone()
    }

    fn step(chain: &mut Secret) -> u64 {
        let key = name(b"aead", &[&wide(name(b"key", &[chain.expose()]))]);
        let mut next = wide(name(b"next", &[chain.expose()]));
        chain.replace(&mut next);
        key
    }

    fn generate(&mut self) -> Result<(u64, Vec<u8>), CryptoError> {
        // Always the same: keys differ by their transcript, and a state that was reached with
        // more proposals on the way is not another state.
        let ephemeral = name(b"ephemeral", &[&[self.me]]);
        Ok((ephemeral, public(ephemeral).to_vec()))
    }

    fn answer(&mut self, share: &[u8]) -> Result<(Shared, Vec<u8>), CryptoError> {
        let answer = public(name(b"answer", &[&[self.me], share]));
        Ok((shared(share, &answer), answer.to_vec()))
    }

    fn complete(ephemeral: u64, answer: &[u8]) -> Result<Shared, CryptoError> {
        Ok(shared(&public(ephemeral), answer))
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(name(b"signed", &[&[self.me], message]).to_le_bytes().to_vec())
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        signature == name(b"signed", &[&[self.peer], message]).to_le_bytes()
    }

    fn seal(key: &u64, nonce: [u8; 12], header: &[u8], buffer: &mut Vec<u8>, from: usize) {
        SEALED.with_borrow_mut(|sealed| {
            if let Some(sealed) = sealed {
                assert!(sealed.insert((*key, nonce)), "I13: a key and nonce sealed twice");
            }
        });
        let tag = name(&key.to_le_bytes(), &[&nonce, header, &buffer[from..]]);
        buffer.extend_from_slice(&tag.to_le_bytes());
    }

    fn open<'a>(
        key: &u64,
        nonce: [u8; 12],
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let (plain, tag) = sealed.split_last_chunk::<8>()?;
        let expected = name(&key.to_le_bytes(), &[&nonce, header, plain]);
        (*tag == expected.to_le_bytes()).then_some(plain)
    }
}

fn public(secret: u64) -> [u8; 8] {
    name(b"public", &[&secret.to_le_bytes()]).to_le_bytes()
}
