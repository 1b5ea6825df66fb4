//! A path through a log: every commit's link in the input chain, and of some commits single inputs.
//!
//! This is the part of an evidence file that proves the rest. The layout is that of docs/evidence.md.
//! Times are differences and have as many bytes as they need. Hashes stand apart from everything else:
//! they cannot be compressed, and what is left can be, very well.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_engine::engine::Attested;
use proctor_engine::input_chain::{Link, Pruned};
use proctor_engine::state_digest::Effects;
use proctor_types::{AssetClass, Digest, TraderId, UtcMs};

use crate::{DecodeError, versioned};

/// The version that is written.
pub const VERSION: u8 = 3;
/// The deepest a tree of inputs can be: keys have 64 bits.
const DEPTH_MAX: u32 = 64;

/// A path through a log, from its first commit on without gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPath {
    /// Whose inputs are shown.
    pub trader: TraderId,
    /// What others decided about the account; absent when nothing of it depends on others.
    pub attested: Option<Vec<Testimony>>,
    /// The commits, from 1 on.
    pub commits: Vec<PathCommit>,
    /// Absent when the last commit is the last of the log: no header after it states its digest.
    pub stated: Option<Stated>,
}

/// Something that others decided, as whoever has the whole log says.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Testimony {
    /// What, and in which commit.
    pub attested: Attested,
    /// The ranking that decided it, if one did.
    pub ranking: Option<Ranking>,
}

/// A class as it was ranked.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Ranking {
    /// Which.
    pub class: AssetClass,
    /// Everybody who was scored, the best first.
    pub places: Vec<Placing>,
}

/// One trader in a ranking.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Placing {
    /// Who.
    pub trader: TraderId,
    /// The score.
    pub score: f64,
    /// Whether the trader was funded after the ranking.
    pub funded: bool,
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

/// The canonical bytes of a path, in two parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The hashes in the order in which they are needed, each of 32 bytes.
    pub hashes: Vec<u8>,
    /// Everything else.
    pub rest: Vec<u8>,
}

impl LogPath {
    /// Returns the canonical bytes.
    ///
    /// # Panics
    /// Never: amounts are finite by type, and writing to memory does not fail.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let (mut writer, mut scratch) = (PathWriter::default(), Encoded::default());
        for commit in &self.commits {
            scratch.hashes.clear();
            scratch.rest.clear();
            let is_shown = commit.inputs.write(&mut scratch);
            writer.push(commit.at, is_shown, &scratch.hashes, &scratch.rest);
        }
        writer.finish(self)
    }

    /// Returns the path that `hashes` and `rest` encode.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown version, trailing bytes or a malformed value.
    pub fn decode(mut hashes: &[u8], rest: &[u8]) -> Result<Self, DecodeError> {
        let rest = &mut versioned(rest, VERSION)?;
        let trader = TraderId::deserialize(rest)?;
        let attested = BorshDeserialize::deserialize(rest)?;
        let count = take_number(rest).ok_or_else(|| malformed("the number of commits"))?;
        // A commit has more than eight bytes; no more are expected than there is room for.
        let room = u64::try_from(rest.len() / 8).unwrap_or(u64::MAX);
        let mut commits = Vec::with_capacity(usize::try_from(count.min(room)).unwrap_or(0));
        let mut last = UtcMs(0);
        for _ in 0..count {
            let word = take_number(rest).ok_or_else(|| malformed("a time"))?;
            let passed = i64::try_from(word >> 1).unwrap_or(i64::MAX);
            last = UtcMs(last.0.saturating_add(passed));
            if !last.is_in_range() {
                return Err(malformed("a time").into());
            }
            let touches = u64::deserialize(rest)?;
            let inputs = if word & 1 == 0 {
                PathInputs::Hidden(Link { touches, root: take_hash(&mut hashes)? })
            } else {
                PathInputs::Shown { touches, tree: take_tree(&mut hashes, rest, 0)? }
            };
            commits.push(PathCommit { at: last, inputs });
        }
        let stated = BorshDeserialize::try_from_slice(rest)?;
        if !hashes.is_empty() {
            return Err(malformed("the list of hashes").into());
        }
        Ok(Self { trader, attested, commits, stated })
    }
}

impl PathInputs {
    /// Appends what is shown to `out`; returns whether that is more than the link.
    ///
    /// # Panics
    /// Never: amounts are finite by type, and writing to memory does not fail.
    pub fn write(&self, out: &mut Encoded) -> bool {
        match self {
            Self::Hidden(link) => {
                out.rest.extend_from_slice(&link.touches.to_le_bytes());
                out.hashes.extend_from_slice(&link.root.0);
                false
            }
            Self::Shown { touches, tree } => {
                out.rest.extend_from_slice(&touches.to_le_bytes());
                put_tree(out, tree).expect("amounts are finite and memory does not fail");
                true
            }
        }
    }
}

/// The canonical bytes of a path in the making: commits are added as they come.
#[derive(Debug, Default)]
pub struct PathWriter {
    commits: Encoded,
    count: u64,
    last: UtcMs,
}

impl PathWriter {
    /// Adds the next commit; `hashes` and `rest` are what [`PathInputs::write`] gave.
    pub fn push(&mut self, at: UtcMs, is_shown: bool, hashes: &[u8], rest: &[u8]) {
        // Times are not before 1970 and do not go back: the engine took them.
        let passed = u64::try_from(at.since(self.last).0).unwrap_or(0);
        (self.count, self.last) = (self.count + 1, at);
        put_number(&mut self.commits.rest, passed << 1 | u64::from(is_shown));
        self.commits.rest.extend_from_slice(rest);
        self.commits.hashes.extend_from_slice(hashes);
    }

    /// Returns the bytes of `path`, whose commits are those that were added.
    ///
    /// # Panics
    /// Never: scores are finite, and writing to memory does not fail.
    #[must_use]
    pub fn finish(self, path: &LogPath) -> Encoded {
        let Encoded { hashes, rest: commits } = self.commits;
        let mut rest = Vec::with_capacity(commits.len() + 1_024);
        rest.push(VERSION);
        borsh::to_writer(&mut rest, &(&path.trader, &path.attested)).expect("memory does not fail");
        put_number(&mut rest, self.count);
        rest.extend_from_slice(&commits);
        borsh::to_writer(&mut rest, &path.stated).expect("memory does not fail");
        Encoded { hashes, rest }
    }
}

fn put_tree(out: &mut Encoded, tree: &Pruned) -> io::Result<()> {
    match tree {
        Pruned::Nothing => out.rest.push(0),
        Pruned::Hidden(digest) => {
            out.rest.push(1);
            out.hashes.extend_from_slice(&digest.0);
        }
        Pruned::Other { key, contents } => {
            out.rest.push(2);
            key.serialize(&mut out.rest)?;
            out.hashes.extend_from_slice(&contents.0);
        }
        Pruned::Shown(entries) => {
            out.rest.push(3);
            entries.serialize(&mut out.rest)?;
        }
        Pruned::Branch(left, right) => {
            out.rest.push(4);
            put_tree(out, left)?;
            put_tree(out, right)?;
        }
    }
    Ok(())
}

/// Takes a tree; its depth is bounded, so that hostile bytes cannot exhaust the stack.
fn take_tree(hashes: &mut &[u8], rest: &mut &[u8], depth: u32) -> io::Result<Pruned> {
    Ok(match u8::deserialize(rest)? {
        0 => Pruned::Nothing,
        1 => Pruned::Hidden(take_hash(hashes)?),
        2 => Pruned::Other { key: u64::deserialize(rest)?, contents: take_hash(hashes)? },
        3 => Pruned::Shown(BorshDeserialize::deserialize(rest)?),
        4 if depth < DEPTH_MAX => {
            let left = Box::new(take_tree(hashes, rest, depth + 1)?);
            Pruned::Branch(left, Box::new(take_tree(hashes, rest, depth + 1)?))
        }
        4 => return Err(malformed("a tree of inputs, deeper than its keys are long,")),
        _ => return Err(malformed("a node of a tree of inputs")),
    })
}

fn take_hash(hashes: &mut &[u8]) -> io::Result<Digest> {
    let (hash, rest) = hashes.split_first_chunk().ok_or_else(|| malformed("the list of hashes"))?;
    *hashes = rest;
    Ok(Digest(*hash))
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
        fn any_bytes_give_a_path_or_an_error(
            bytes in prop::collection::vec(0..6_u8, 0..300),
            hashes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let rest = [&[VERSION][..], &bytes].concat();
            if let Ok(path) = LogPath::decode(&hashes, &rest) {
                prop_assert_eq!(path.encode(), Encoded { hashes, rest });
                for commit in &path.commits {
                    if let PathInputs::Shown { tree, .. } = &commit.inputs {
                        let _ = (tree.root(), tree.inputs(), tree.shows(7));
                    }
                }
            }
        }
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused_before_the_stack_is_full() {
        let deep = vec![4; 1 << 20];
        assert!(take_tree(&mut &[][..], &mut deep.as_slice(), 0).is_err());
    }
}
