//! A path through a log: every commit's link in the input chain, and of some commits single inputs.
//!
//! This is the part of an evidence file that proves the rest. The layout is that of docs/evidence.md:
//! a version byte, the trader, the number of commits, the commits, and what the log states of the
//! last one. Times are differences and have as many bytes as they need.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_engine::input_chain::{Link, Pruned};
use proctor_engine::state_digest::Effects;
use proctor_types::{Digest, TraderId, UtcMs};

use crate::{DecodeError, versioned};

/// The version that is written.
pub const VERSION: u8 = 1;

/// A path through a log, from its first commit on without gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPath {
    /// Whose inputs are shown.
    pub trader: TraderId,
    /// The commits, from 1 on.
    pub commits: Vec<PathCommit>,
    /// Absent when the last commit is the last of the log: no header after it states its digest.
    pub stated: Option<Stated>,
}

/// One commit of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct PathCommit {
    /// Its time.
    pub at: UtcMs,
    /// What is shown of its inputs.
    pub inputs: PathInputs,
}

/// What is shown of a commit's inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum PathInputs {
    /// Nothing but the link.
    Hidden(Link),
    /// Some leaves of the tree.
    Shown {
        /// As in the link.
        touches: u64,
        /// The tree whose root stands in the link.
        tree: Pruned,
    },
}

/// What the log states of a commit's result.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Stated {
    /// The state digest before the commit.
    pub digest_before: Digest,
    /// What the commit did, in hashes.
    pub effects: Effects,
}

impl LogPath {
    /// Returns the canonical bytes.
    ///
    /// # Panics
    /// Never: amounts are finite by type, and writing to memory does not fail.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 * self.commits.len());
        bytes.push(VERSION);
        self.write(&mut bytes).expect("amounts are finite and memory does not fail");
        bytes
    }

    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        self.trader.serialize(out)?;
        put_number(out, u64::try_from(self.commits.len()).unwrap_or(u64::MAX));
        let mut last = UtcMs(0);
        for commit in &self.commits {
            // Times are not before 1970 and do not go back: the engine took them.
            let passed = u64::try_from(commit.at.since(last).0).unwrap_or(0);
            last = commit.at;
            match &commit.inputs {
                PathInputs::Hidden(link) => {
                    put_number(out, passed << 1);
                    link.serialize(out)?;
                }
                PathInputs::Shown { touches, tree } => {
                    put_number(out, passed << 1 | 1);
                    touches.serialize(out)?;
                    tree.serialize(out)?;
                }
            }
        }
        self.stated.serialize(out)
    }

    /// Returns the path that `bytes` encode.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown version, trailing bytes or a malformed value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = &mut versioned(bytes, VERSION)?;
        let trader = TraderId::deserialize(bytes)?;
        let count = take_number(bytes).ok_or_else(|| malformed("the number of commits"))?;
        // A commit has more than 32 bytes; no more are expected than there is room for.
        let room = u64::try_from(bytes.len() / 32).unwrap_or(u64::MAX);
        let mut commits = Vec::with_capacity(usize::try_from(count.min(room)).unwrap_or(0));
        let mut last = UtcMs(0);
        for _ in 0..count {
            let word = take_number(bytes).ok_or_else(|| malformed("a time"))?;
            let passed = i64::try_from(word >> 1).unwrap_or(i64::MAX);
            last = UtcMs(last.0.saturating_add(passed));
            if !last.is_in_range() {
                return Err(malformed("a time").into());
            }
            let inputs = if word & 1 == 0 {
                PathInputs::Hidden(Link::deserialize(bytes)?)
            } else {
                let (touches, tree) = BorshDeserialize::deserialize(bytes)?;
                PathInputs::Shown { touches, tree }
            };
            commits.push(PathCommit { at: last, inputs });
        }
        Ok(Self { trader, commits, stated: BorshDeserialize::try_from_slice(bytes)? })
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is malformed"))
}

/// Appends `number`, seven bits a byte, least first; the last byte has its high bit clear.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_byte(number) | 0x80);
        number >>= 7;
    }
    out.push(low_byte(number));
}

/// Takes a number off the front of `bytes`; `None` when there is none in its shortest form.
fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn low_byte(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_have_one_form(number: u64, bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            let mut rest = out.as_slice();
            prop_assert_eq!(take_number(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
            let mut rest = bytes.as_slice();
            if let Some(number) = take_number(&mut rest) {
                let mut again = Vec::new();
                put_number(&mut again, number);
                prop_assert_eq!(&again, &bytes[..bytes.len() - rest.len()]);
            }
        }

        #[test]
        fn any_bytes_give_a_path_or_an_error(bytes in prop::collection::vec(0..6_u8, 0..300)) {
            let bytes = [&[VERSION][..], &bytes].concat();
            if let Ok(path) = LogPath::decode(&bytes) {
                prop_assert_eq!(path.encode(), bytes);
            }
        }
    }
}
