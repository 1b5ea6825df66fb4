//! The input chain: one hash over every input of the log, of which single inputs can be shown.
//!
//! Each commit adds a link: a hash over the chain before it, its place and time, which subjects its
//! inputs may concern, and the root of a small tree in which the inputs stand by subject. So whoever
//! has the chain's hash can be shown all inputs of one subject, and that there are no others, while
//! the inputs of everybody else stay hidden (see [`Pruned`]). The chain depends on the inputs alone,
//! never on what the engine makes of them: it can be computed from a log without folding it.

mod pruned;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::id::ID_LEN_MAX;
use proctor_types::{Digest, Stamp, TradePair, TraderId, UtcMs};

use crate::challenge_period::reasons::ReasonsCommand;
use crate::input::{Commit, Input, StagesCommand};

pub use pruned::{BadTree, Pruned};

/// Whom an input concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject<'a> {
    /// Every account: rulebooks, rosters, ticks.
    Everyone,
    /// One account.
    Trader(&'a TraderId),
    /// Whoever trades a pair.
    Pair(TradePair),
}

impl<'a> Subject<'a> {
    /// Returns whom `input` concerns; what names several traders concerns everyone, and so does a
    /// batch of prices that holds none.
    fn of(input: &'a Input) -> Self {
        match input {
            Input::Order(request) | Input::RecordedOrder(request, _) => {
                Self::Trader(&request.trader)
            }
            Input::AccountSize(trader, _)
            | Input::AssetClass(trader, _)
            | Input::Stages(StagesCommand::Remove(trader))
            | Input::Reasons(ReasonsCommand::Pop(trader))
            | Input::SlashSettled(trader, _) => Self::Trader(trader),
            Input::Reinstate(command) => Self::Trader(&command.trader),
            Input::CorrectPrice(correction) => Self::Trader(&correction.trader),
            Input::SignedOrder(signed) => Self::Trader(&signed.request.trader),
            Input::Prices(quotes) => {
                quotes.first().map_or(Self::Everyone, |quote| Self::Pair(quote.pair))
            }
            Input::Roster(_)
            | Input::Rulebook(_)
            | Input::Tick
            | Input::Plagiarism(_)
            | Input::Stages(StagesCommand::Set(_) | StagesCommand::Refresh)
            | Input::Reasons(ReasonsCommand::Update(_) | ReasonsCommand::Clear { .. })
            | Input::Eliminations(_)
            | Input::SyncEliminations(_) => Self::Everyone,
        }
    }

    /// Returns the subject's place in every commit's tree: the first 64 bits of a hash.
    ///
    /// Two subjects with one key share a leaf: both are shown then, which costs secrecy, not truth.
    #[must_use]
    pub fn key(self) -> u64 {
        let (kind, name) = match self {
            Self::Everyone => (0, ""),
            Self::Trader(trader) => (1, trader.as_str()),
            Self::Pair(pair) => (2, pair.id()),
        };
        let mut bytes = [0; 1 + ID_LEN_MAX];
        bytes[0] = kind;
        bytes[1..=name.len()].copy_from_slice(name.as_bytes());
        let mut key = [0; 8];
        key.copy_from_slice(&Digest::of(&bytes[..=name.len()]).0[..8]);
        u64::from_be_bytes(key)
    }
}

/// Returns the mark of a subject's key in [`Link::touches`].
#[must_use]
pub fn mark(key: u64) -> u64 {
    1 << (key & 63)
}

/// An input, or the part of a price batch that is of one pair, with its place in the commit.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Placed {
    /// Place of the input among the commit's, from 0.
    pub ordinal: u32,
    /// The input; of a price batch one quote.
    pub input: Input,
}

impl Placed {
    /// Returns the subject of an input as it stands in a leaf; `None` for a batch of several quotes.
    #[must_use]
    pub fn subject(&self) -> Option<Subject<'_>> {
        if let Input::Prices(quotes) = &self.input
            && quotes.len() > 1
        {
            return None;
        }
        Some(Subject::of(&self.input))
    }
}

/// What one commit adds to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Link {
    /// A bit for each subject, by [`mark`]: where a subject's bit is not set, nothing concerns it.
    pub touches: u64,
    /// Root of the tree of the inputs.
    pub root: Digest,
}

impl Link {
    /// Returns the chain's hash after the commit at `stamp`, given the one before it.
    #[must_use]
    pub fn after(&self, before: Digest, stamp: Stamp) -> Digest {
        let mut bytes = [0; 88];
        bytes[..32].copy_from_slice(&before.0);
        bytes[32..40].copy_from_slice(&stamp.commit.to_le_bytes());
        bytes[40..48].copy_from_slice(&stamp.at.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.touches.to_le_bytes());
        bytes[56..].copy_from_slice(&self.root.0);
        Digest::of(&bytes)
    }
}

/// A commit with what its inputs add to the chain, which whoever decodes it can find out before it is
/// the commit's turn. The link is always that of the inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Linked {
    commit: Commit,
    link: Link,
}

impl Linked {
    /// Returns the commit `index` with its link; `leaves` lends its capacity.
    #[must_use]
    pub fn new(leaves: &mut Leaves, index: u64, at: UtcMs, inputs: Vec<Input>) -> Self {
        let link = leaves.read(&inputs);
        Self { commit: Commit { index, at, inputs }, link }
    }

    /// Returns the commit.
    #[must_use]
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// Returns what it adds to the chain.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// Returns the commit.
    #[must_use]
    pub fn into_commit(self) -> Commit {
        self.commit
    }
}

/// The inputs of one commit by subject. Kept from commit to commit for its capacity.
#[derive(Clone, Debug, Default)]
pub struct Leaves {
    /// The parts' bytes; before each there is room for a count.
    bytes: Vec<u8>,
    parts: Vec<Part>,
    leaves: Vec<Leaf>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    key: u64,
    start: usize,
    end: usize,
}

/// Everything of one commit that concerns one subject.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    key: u64,
    contents: Digest,
}

/// Bytes of a count before a list.
const COUNT: usize = 4;
/// The number of a price batch among the inputs, as in every log entry.
const PRICES: u8 = 2;

impl Leaves {
    /// Takes in the inputs of a commit instead of those before, and returns its link.
    ///
    /// # Panics
    /// Never: amounts are finite by type, and memory does not fail.
    pub fn read(&mut self, inputs: &[Input]) -> Link {
        self.bytes.clear();
        self.parts.clear();
        self.leaves.clear();
        for (ordinal, input) in (0_u32..).zip(inputs) {
            self.take(ordinal, input);
        }
        // Stable: what concerns one subject stays in the order of the inputs.
        self.parts.sort_by_key(|part| part.key);
        let mut list = Vec::new();
        for parts in self.parts.chunk_by(|a, b| a.key == b.key) {
            let contents = match parts {
                [one] => Digest::of(&self.bytes[one.start..one.end]),
                many => {
                    list.clear();
                    list.extend_from_slice(&count(many.len()));
                    for part in many {
                        list.extend_from_slice(&self.bytes[part.start + COUNT..part.end]);
                    }
                    Digest::of(&list)
                }
            };
            self.leaves.push(Leaf { key: parts[0].key, contents });
        }
        let touches = self.leaves.iter().fold(0, |all, leaf| all | mark(leaf.key));
        Link { touches, root: root(&self.leaves, 0) }
    }

    fn take(&mut self, ordinal: u32, input: &Input) {
        if let Input::Prices(quotes) = input
            && !quotes.is_empty()
        {
            for quote in quotes {
                let start = self.begin(ordinal);
                // As a batch of this one quote; written by hand, because that is no copy.
                self.bytes.push(PRICES);
                self.bytes.extend_from_slice(&count(1));
                quote
                    .serialize(&mut self.bytes)
                    .expect("prices are finite and memory does not fail");
                self.end(Subject::Pair(quote.pair), start);
            }
            return;
        }
        let start = self.begin(ordinal);
        input.serialize(&mut self.bytes).expect("amounts are finite and memory does not fail");
        self.end(Subject::of(input), start);
    }

    fn begin(&mut self, ordinal: u32) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&count(1));
        self.bytes.extend_from_slice(&ordinal.to_le_bytes());
        start
    }

    fn end(&mut self, subject: Subject<'_>, start: usize) {
        self.parts.push(Part { key: subject.key(), start, end: self.bytes.len() });
    }
}

fn count(of: usize) -> [u8; COUNT] {
    u32::try_from(of).unwrap_or(u32::MAX).to_le_bytes()
}

impl Leaf {
    fn digest(self) -> Digest {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.key.to_be_bytes());
        bytes[8..].copy_from_slice(&self.contents.0);
        Digest::of(&bytes)
    }
}

/// Returns the hash of a node. A leaf hashes 40 bytes and a node 64, so neither passes for the other.
fn branch(left: Digest, right: Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&left.0);
    bytes[32..].copy_from_slice(&right.0);
    Digest::of(&bytes)
}

/// Returns which way the path of `key` goes at `depth`: `true` is right.
fn goes_right(key: u64, depth: u32) -> bool {
    key << depth >> 63 == 1
}

/// Returns the root of `leaves`, which are sorted by key and have the first `depth` bits in common.
fn root(leaves: &[Leaf], depth: u32) -> Digest {
    match leaves {
        [] => Digest::default(),
        [leaf] => leaf.digest(),
        // Keys differ, so that two leaves part at a depth below 64.
        _ => {
            let (left, right) =
                leaves.split_at(leaves.partition_point(|leaf| !goes_right(leaf.key, depth)));
            branch(root(left, depth + 1), root(right, depth + 1))
        }
    }
}

#[cfg(test)]
mod tests;
