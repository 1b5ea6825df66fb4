//! The complete cells of a ledger: immutable, shared between copies, hashed once each.

use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::Digest;

use super::cell::{Cell, Drawdown};

/// Cells per shared block. A copy of a ledger is held by readers, so a closing cell copies what it
/// is appended to: at most this many cells and the pointers to the blocks before them.
const BLOCK: usize = 16;

/// A complete cell with the fall that its `worst_drawdown` is the depth of.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(super) struct Closed {
    pub(super) cell: Cell,
    pub(super) worst: Drawdown,
}

/// Complete cells, oldest first.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// Full blocks.
    blocks: Arc<Vec<Arc<[Closed]>>>,
    /// The youngest cells, fewer than a block.
    tail: Arc<Vec<Closed>>,
    /// How many cells of the oldest full block have left the window.
    forgotten: usize,
    /// Hash chain over the cells that have left the window.
    base: Digest,
    /// Hash chain over all cells ever completed.
    digest: Digest,
}

impl History {
    pub(super) fn new() -> Self {
        let empty = Digest::of(b"proctor ledger cells");
        Self {
            blocks: Arc::default(),
            tail: Arc::default(),
            forgotten: 0,
            base: empty,
            digest: empty,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len() * BLOCK - self.forgotten + self.tail.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Closed> {
        let index = index + self.forgotten;
        match self.blocks.get(index / BLOCK) {
            Some(block) => block.get(index % BLOCK),
            None => self.tail.get(index - self.blocks.len() * BLOCK),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Closed> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Returns the hash chain over all cells ever completed.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn push(&mut self, closed: Closed) {
        self.digest = chained(self.digest, &closed);
        let tail = Arc::make_mut(&mut self.tail);
        tail.push(closed);
        if tail.len() == BLOCK {
            let block = std::mem::take(tail).into();
            Arc::make_mut(&mut self.blocks).push(block);
        }
    }

    /// Forgets the oldest cell and returns it.
    pub(super) fn pop_oldest(&mut self) -> Option<Closed> {
        let oldest = *self.get(0)?;
        self.base = chained(self.base, &oldest);
        if self.blocks.is_empty() {
            Arc::make_mut(&mut self.tail).remove(0);
        } else {
            self.forgotten += 1;
            if self.forgotten == BLOCK {
                Arc::make_mut(&mut self.blocks).remove(0);
                self.forgotten = 0;
            }
        }
        Some(oldest)
    }

    /// Keeps the oldest `len` cells, as if the others had never been completed.
    pub(super) fn truncate(&mut self, len: usize) {
        let mut kept = Self { base: self.base, digest: self.base, ..Self::new() };
        for closed in self.iter().take(len) {
            kept.push(*closed);
        }
        *self = kept;
    }
}

fn chained(before: Digest, closed: &Closed) -> Digest {
    let bytes = borsh::to_vec(&(before, closed))
        .expect("a cell's numbers are finite because updates with others are refused");
    Digest::of(&bytes)
}

impl PartialEq for History {
    /// Compares the cells; how they are cut into blocks depends on what has left the window.
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base && self.digest == other.digest && self.iter().eq(other.iter())
    }
}

impl BorshSerialize for History {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.base.serialize(writer)?;
        self.digest.serialize(writer)?;
        let len = u32::try_from(self.len()).map_err(io::Error::other)?;
        len.serialize(writer)?;
        self.iter().try_for_each(|closed| closed.serialize(writer))
    }
}

impl BorshDeserialize for History {
    /// Reads the cells and checks them against the hash chain: damage is found where it is, not
    /// months later in a verdict.
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let base = Digest::deserialize_reader(reader)?;
        let digest = Digest::deserialize_reader(reader)?;
        let len = u32::deserialize_reader(reader)?;
        let mut history = Self { base, digest: base, ..Self::new() };
        for _ in 0..len {
            history.push(Closed::deserialize_reader(reader)?);
        }
        if history.digest == digest {
            Ok(history)
        } else {
            let problem = format!("{len} ledger cells do not hash to their stored digest");
            Err(io::Error::new(io::ErrorKind::InvalidData, problem))
        }
    }
}
