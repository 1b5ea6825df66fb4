//! A commit's payload in the log: time, digest of the state before, inputs, with a version byte.
//!
//! Index and parent hash stand in the record's frame (docs/commit-log.md) and are hashed together
//! with these bytes. The layout is borsh's: fields in order, little-endian, lengths as u32; see
//! docs/formats.md, which a fixture test holds to these bytes.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_engine::input::{Commit, Input};
use proctor_engine::state_digest::Effects;
use proctor_types::{Digest, UtcMs};

use crate::{DecodeError, versioned};

/// The version that is written.
pub const VERSION: u8 = 1;

/// What the log stores for a commit.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct LogEntry {
    /// The commit's time.
    pub at: UtcMs,
    /// The state digest after the commit before this one: a digest is durable one commit later.
    pub digest_before: Digest,
    /// What that commit did: with it and the inputs the digest can be told to cover a verdict.
    pub effects_before: Effects,
    /// The inputs, in the order in which they are judged.
    pub inputs: Vec<Input>,
}

/// Returns how many bytes an entry with `inputs` has when the commit before reached no verdict; each
/// verdict takes 32 bytes more.
///
/// # Panics
/// Never: amounts are finite by type, and counting does not fail.
#[must_use]
pub fn encoded_len(inputs: &[Input]) -> usize {
    let inputs = borsh::object_length(inputs).expect("amounts are finite and counting cannot fail");
    let effects = size_of::<Digest>() + size_of::<u32>();
    size_of_val(&VERSION) + size_of::<UtcMs>() + size_of::<Digest>() + effects + inputs
}

/// Returns the canonical bytes of inputs that are not in the log yet: on their way to the writer.
///
/// # Panics
/// Never: amounts are finite by type, and writing to memory does not fail.
#[must_use]
pub fn encode_inputs(inputs: &[Input]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    inputs.serialize(&mut bytes).expect("amounts are finite and memory does not fail");
    bytes
}

/// Returns the inputs that `bytes` encode.
///
/// # Errors
/// [`DecodeError`] for an unknown version, trailing bytes or a malformed value.
pub fn decode_inputs(bytes: &[u8]) -> Result<Vec<Input>, DecodeError> {
    Ok(Vec::try_from_slice(versioned(bytes, VERSION)?)?)
}

/// Returns the time and the digest of the state before that the entry in `bytes` states, without
/// decoding its inputs.
///
/// # Errors
/// [`DecodeError`] for an unknown version or bytes that end before.
pub fn place_of(bytes: &[u8]) -> Result<(UtcMs, Digest), DecodeError> {
    let mut rest = versioned(bytes, VERSION)?;
    Ok(<(UtcMs, Digest)>::deserialize(&mut rest)?)
}

impl LogEntry {
    /// Returns the canonical bytes.
    ///
    /// # Panics
    /// Never: amounts are finite by type, and writing to memory does not fail.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Puts the canonical bytes in place of what `bytes` holds: whoever writes many keeps the memory.
    ///
    /// # Panics
    /// Never: amounts are finite by type, and writing to memory does not fail.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.push(VERSION);
        self.serialize(bytes).expect("amounts are finite and memory does not fail");
    }

    /// Returns the entry that `bytes` encode.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown version, trailing bytes or a malformed value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::try_from_slice(versioned(bytes, VERSION)?)?)
    }

    /// Returns the commit with this content and the given place.
    #[must_use]
    pub fn into_commit(self, index: u64) -> Commit {
        Commit { index, at: self.at, inputs: self.inputs }
    }
}
