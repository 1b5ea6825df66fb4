//! The complete cells of a ledger: immutable, shared between copies, hashed once each.

use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Digest, UtcMs};

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
    /// How many cells there are: known without a look at the blocks, which every sample would have
    /// to fetch from far off in memory.
    len: usize,
    /// End of the youngest cell, likewise.
    until: Option<UtcMs>,
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
            len: 0,
            until: None,
            base: empty,
            digest: empty,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the end of the youngest cell.
    pub(super) fn until(&self) -> Option<UtcMs> {
        self.until
    }

    pub(super) fn get(&self, index: usize) -> Option<&Closed> {
        let index = index + self.forgotten;
        match self.blocks.get(index / BLOCK) {
            Some(block) => block.get(index % BLOCK),
            None => self.tail.get(index - self.blocks.len() * BLOCK),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Closed> {
        // By blocks: scoring reads every cell of every trader, and finding each by its index costs
        // as much as reading it.
        let older = self.blocks.iter().enumerate().flat_map(|(number, block)| {
            let forgotten = if number == 0 { self.forgotten } else { 0 };
            block.iter().skip(forgotten)
        });
        older.chain(self.tail.iter())
    }

    /// Returns the hash chain over the cells that have left the window, and over all cells ever
    /// completed: together they say which cells there are.
    pub(super) fn digests(&self) -> (Digest, Digest) {
        (self.base, self.digest)
    }

    pub(super) fn push(&mut self, closed: Closed) {
        self.digest = chained(self.digest, &closed);
        self.len += 1;
        self.until = Some(closed.cell.last_update);
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
        self.len -= 1;
        if self.len == 0 {
            self.until = None;
        }
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
    digest_of(&(before, closed))
}

/// Returns the hash of ledger state.
pub(super) fn digest_of(state: &impl BorshSerialize) -> Digest {
    let bytes = borsh::to_vec(state)
        .expect("a ledger has no number that is not finite: samples with others are refused");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledgers::Mark;
    use proctor_types::UtcMs;

    fn closed(number: i64) -> Closed {
        let mark = Mark { at: UtcMs(number), value: 1.0 };
        let cell = Cell { last_update: UtcMs(number), ..Cell::default() };
        Closed { cell, worst: Drawdown { peak: mark, trough: mark } }
    }

    fn filled(numbers: std::ops::Range<i64>) -> History {
        let mut history = History::new();
        numbers.for_each(|number| history.push(closed(number)));
        history
    }

    fn ends(history: &History) -> Vec<i64> {
        history.iter().map(|closed| closed.cell.last_update.0).collect()
    }

    #[test]
    fn cells_leave_in_the_order_they_came_across_blocks() {
        let mut history = filled(0..40);
        for oldest in 0..40 {
            assert_eq!(ends(&history), (oldest..40).collect::<Vec<_>>());
            let kept = usize::try_from(40 - oldest).expect("a count");
            assert_eq!((history.len(), history.until()), (kept, Some(UtcMs(39))));
            assert_eq!(history.pop_oldest().map(|closed| closed.cell.last_update.0), Some(oldest));
        }
        assert_eq!((history.len(), history.until(), history.pop_oldest()), (0, None, None));
    }

    #[test]
    fn a_copy_shares_the_cells_and_does_not_see_later_ones() {
        let mut history = filled(0..40);
        let copy = history.clone();
        assert!(
            Arc::ptr_eq(&history.blocks, &copy.blocks) && Arc::ptr_eq(&history.tail, &copy.tail)
        );
        (40..60).for_each(|number| history.push(closed(number)));
        history.pop_oldest();
        assert_eq!(ends(&copy), (0..40).collect::<Vec<_>>());
        assert_eq!(ends(&history), (1..60).collect::<Vec<_>>());
        assert!(Arc::ptr_eq(&history.blocks[1], &copy.blocks[1]), "full blocks stay shared");
    }

    #[test]
    fn truncation_undoes_what_came_after() {
        let mut history = filled(0..40);
        history.pop_oldest();
        history.truncate(20);
        let mut expected = filled(0..21);
        expected.pop_oldest();
        assert_eq!(history, expected);
    }

    #[test]
    fn a_snapshot_with_any_changed_byte_is_refused() {
        let mut history = filled(0..20);
        history.pop_oldest();
        let bytes = borsh::to_vec(&history).unwrap();
        assert_eq!(History::try_from_slice(&bytes).unwrap(), history);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(History::try_from_slice(&damaged).is_err(), "byte {place}");
        }
    }
}
