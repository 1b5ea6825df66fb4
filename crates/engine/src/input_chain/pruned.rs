//! A commit's tree of inputs with everything cut away that is not to be shown.

use std::io;

use borsh::BorshDeserialize;
use proctor_types::Digest;

use super::{Leaf, Leaves, Placed, branch, goes_right, root};
use crate::input::Input;

/// The deepest a tree can be: keys have 64 bits.
const DEPTH_MAX: u32 = 64;

/// A tree of which some leaves are shown and the rest is hashes.
#[derive(Clone, Debug, PartialEq)]
pub enum Pruned {
    /// Nothing is here.
    Nothing,
    /// Something is here that is not shown, not even whom it concerns.
    Hidden(Digest),
    /// One subject's inputs are here; not shown, but whose they are is.
    Other {
        /// The subject's key.
        key: u64,
        /// Hash of the inputs.
        contents: Digest,
    },
    /// All inputs of one subject.
    Shown(Vec<Placed>),
    /// Left and right.
    Branch(Box<Pruned>, Box<Pruned>),
}

/// A tree that no commit has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// A leaf is empty or holds inputs of several subjects.
    #[error("a shown leaf does not hold the inputs of one subject")]
    Mixed,
    /// Two inputs have the same place.
    #[error("two inputs stand at place {0} of the commit")]
    SamePlace(u32),
    /// An input cannot be written in canonical bytes.
    #[error("an input has no canonical bytes")]
    NotCanonical,
}

impl Leaves {
    /// Returns the tree of the inputs that were read last, with the leaves of `wanted` shown.
    /// `wanted` is sorted. For each of its keys the tree shows all inputs, or that there are none.
    ///
    /// # Errors
    /// When the bytes that were just written cannot be read, which is a bug.
    pub fn prune(&self, wanted: &[u64]) -> io::Result<Pruned> {
        self.pruned(&self.leaves, wanted, 0)
    }

    fn pruned(&self, leaves: &[Leaf], wanted: &[u64], depth: u32) -> io::Result<Pruned> {
        Ok(match leaves {
            [] => Pruned::Nothing,
            _ if wanted.is_empty() => Pruned::Hidden(root(leaves, depth)),
            [leaf] if wanted.binary_search(&leaf.key).is_ok() => {
                Pruned::Shown(self.entries(leaf.key)?)
            }
            [leaf] => Pruned::Other { key: leaf.key, contents: leaf.contents },
            _ => {
                let (left, right) =
                    leaves.split_at(leaves.partition_point(|leaf| !goes_right(leaf.key, depth)));
                let (first, second) =
                    wanted.split_at(wanted.partition_point(|key| !goes_right(*key, depth)));
                Pruned::Branch(
                    Box::new(self.pruned(left, first, depth + 1)?),
                    Box::new(self.pruned(right, second, depth + 1)?),
                )
            }
        })
    }

    fn entries(&self, key: u64) -> io::Result<Vec<Placed>> {
        let from = self.parts.partition_point(|part| part.key < key);
        let parts = self.parts[from..].iter().take_while(|part| part.key == key);
        parts
            .map(|part| Placed::try_from_slice(&self.bytes[part.start + super::COUNT..part.end]))
            .collect()
    }
}

impl Pruned {
    /// Returns the tree's root.
    ///
    /// # Errors
    /// [`BadTree`] when a shown leaf is not one.
    pub fn root(&self) -> Result<Digest, BadTree> {
        Ok(match self {
            Self::Nothing => Digest::default(),
            Self::Hidden(digest) => *digest,
            Self::Other { key, contents } => Leaf { key: *key, contents: *contents }.digest(),
            Self::Shown(entries) => {
                let bytes = borsh::to_vec(entries).map_err(|_| BadTree::NotCanonical)?;
                Leaf { key: leaf_key(entries)?, contents: Digest::of(&bytes) }.digest()
            }
            Self::Branch(left, right) => branch(left.root()?, right.root()?),
        })
    }

    /// Tells whether the tree shows everything of the subject with this key, be it nothing.
    #[must_use]
    pub fn shows(&self, key: u64) -> bool {
        let (mut node, mut depth) = (self, 0);
        loop {
            match node {
                Self::Branch(left, right) => {
                    node = if goes_right(key, depth) { right } else { left };
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return false;
                    }
                }
                Self::Hidden(_) => return false,
                Self::Other { key: other, .. } => return *other != key,
                Self::Nothing | Self::Shown(_) => return true,
            }
        }
    }

    /// Returns the shown inputs in the order in which they were judged; the quotes that are shown of
    /// one batch are one batch again.
    ///
    /// # Errors
    /// [`BadTree::SamePlace`] when two inputs claim one place.
    pub fn inputs(&self) -> Result<Vec<Placed>, BadTree> {
        self.clone().into_inputs()
    }

    /// Returns what [`Pruned::inputs`] does.
    ///
    /// # Errors
    /// As [`Pruned::inputs`].
    pub fn into_inputs(self) -> Result<Vec<Placed>, BadTree> {
        let mut all = Vec::new();
        self.collect(&mut all);
        // Stable: quotes of one pair stay in their order, and pairs do not mind each other.
        all.sort_by_key(|placed| placed.ordinal);
        let mut inputs: Vec<Placed> = Vec::with_capacity(all.len());
        for Placed { ordinal, input } in all {
            match (inputs.last_mut().filter(|last| last.ordinal == ordinal), input) {
                (None, input) => inputs.push(Placed { ordinal, input }),
                (Some(Placed { input: Input::Prices(batch), .. }), Input::Prices(more)) => {
                    batch.extend(more);
                }
                (Some(_), _) => return Err(BadTree::SamePlace(ordinal)),
            }
        }
        Ok(inputs)
    }

    fn collect(self, all: &mut Vec<Placed>) {
        match self {
            Self::Shown(entries) => all.extend(entries),
            Self::Branch(left, right) => {
                left.collect(all);
                right.collect(all);
            }
            Self::Nothing | Self::Hidden(_) | Self::Other { .. } => {}
        }
    }
}

/// Returns the one key of all `entries`.
fn leaf_key(entries: &[Placed]) -> Result<u64, BadTree> {
    let mut keys = entries.iter().map(|placed| placed.subject().map(super::Subject::key));
    let key = keys.next().flatten().ok_or(BadTree::Mixed)?;
    if keys.all(|other| other == Some(key)) { Ok(key) } else { Err(BadTree::Mixed) }
}
