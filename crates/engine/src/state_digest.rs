//! The state digest: what it covers, and how one verdict can be shown to be covered by it.
//!
//! The digest after a commit is a hash over the digest before it, the input chain, and the commit's
//! [`Effects`]: a hash over everything that changed, and one for each verdict by itself. So a
//! verdict can be shown to have been reached by those who know the digest, without showing what the
//! commit did to anybody else.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::Digest;

use crate::event::Event;

/// What a commit did, in hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Effects {
    /// Hash over all valuations and events.
    pub changes: Digest,
    /// Hash of each verdict ([`verdict_hash`]), in the order of the events.
    pub verdicts: Vec<Digest>,
}

impl Effects {
    /// Returns the state digest after the commit, given the one before it and the input chain's hash
    /// after it.
    #[must_use]
    pub fn digest(&self, before: Digest, input_chain: Digest) -> Digest {
        let mut bytes = Vec::with_capacity(32 * (3 + self.verdicts.len()));
        for part in [before, input_chain, self.changes].iter().chain(&self.verdicts) {
            bytes.extend_from_slice(&part.0);
        }
        Digest::of(&bytes)
    }

    /// Returns the effects of `events` and of the valuations with the checksum `marks`.
    ///
    /// The events are written to `bytes` first: one hash over all of them costs less than the many
    /// small updates that their fields would be.
    pub(crate) fn of(marks: Checksum, events: &[Event], bytes: &mut Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend_from_slice(&marks.0.to_le_bytes());
        events
            .serialize(bytes)
            .expect("events hold finite numbers, which the engine checks before it makes them");
        let verdicts = events.iter().filter_map(verdict_hash).collect();
        Self { changes: Digest::of(bytes), verdicts }
    }
}

/// Returns the hash by which `event` is shown, if it is a verdict: one that ends an account.
///
/// # Panics
/// Never: the numbers of an event are finite.
#[must_use]
pub fn verdict_hash(event: &Event) -> Option<Digest> {
    let is_verdict = matches!(event, Event::Eliminated { .. });
    let bytes = || borsh::to_vec(event).expect("events hold finite numbers");
    is_verdict.then(|| Digest::of(&bytes()))
}

/// A running checksum of changed numbers: two engines that computed any of them differently get
/// different checksums in the same commit. It finds divergence, it does not resist an attacker;
/// for that every input stands in the hash-chained log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checksum(u64);

impl Checksum {
    pub(crate) fn add(&mut self, number: f64) {
        self.add_bits(number.to_bits());
    }

    fn add_bits(&mut self, bits: u64) {
        // The multiplier is the golden ratio's fraction, as in Fibonacci hashing.
        self.0 = (self.0.rotate_left(5) ^ bits).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
