//! The records of the last minutes, oldest first: appended to, bounded, shared with readers' copies.
//!
//! Readers hold copies of all prices, so a ring in one piece would be copied with every record that
//! is added to it. Here only its young end is.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

/// Records per shared block: how many are copied at most when one is added.
const BLOCK: usize = 16;

/// A bounded list from which the oldest leave first.
#[derive(Clone, Debug)]
pub(crate) struct Ring<T> {
    /// Full blocks.
    blocks: Arc<VecDeque<Arc<[T]>>>,
    /// The youngest records, fewer than a block.
    tail: Arc<Vec<T>>,
    /// How many records of the oldest block, or of the tail when there is no block, have left.
    left: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { blocks: Arc::default(), tail: Arc::default(), left: 0 }
    }
}

impl<T> Ring<T> {
    /// Returns how many records there are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len() * BLOCK + self.tail.len() - self.left
    }

    /// Returns the records, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let blocks = self.blocks.iter().flat_map(|block| block.iter());
        // What has left is less than a block, so walking past it costs next to nothing.
        blocks.chain(self.tail.iter()).skip(self.left)
    }

    /// Returns the oldest record.
    fn oldest(&self) -> Option<&T> {
        self.blocks.front().map_or(self.tail.as_slice(), |block| block).get(self.left)
    }
}

impl<T: Clone> Ring<T> {
    /// Appends `record`; lets go of the oldest while they are `old` or more than `most` are kept.
    pub(crate) fn push(&mut self, record: T, most: usize, old: impl Fn(&T) -> bool) {
        let tail = Arc::make_mut(&mut self.tail);
        tail.push(record);
        if tail.len() == BLOCK {
            let block = tail.drain(..).collect();
            Arc::make_mut(&mut self.blocks).push_back(block);
        }
        while self.len() > most || self.oldest().is_some_and(&old) {
            self.left += 1;
            if self.left == BLOCK {
                Arc::make_mut(&mut self.blocks).pop_front();
                self.left = 0;
            } else if self.len() == 0 {
                // Only a tail shorter than a block can be used up before a block is.
                self.tail = Arc::default();
                self.left = 0;
            }
        }
    }
}

impl<T: PartialEq> PartialEq for Ring<T> {
    /// Compares the records; how they are cut into blocks depends on what has left.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: BorshSerialize> BorshSerialize for Ring<T> {
    /// Writes the records as a plain list.
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        u32::try_from(self.len()).map_err(io::Error::other)?.serialize(writer)?;
        self.iter().try_for_each(|record| record.serialize(writer))
    }
}

impl<T: BorshDeserialize + Clone> BorshDeserialize for Ring<T> {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let mut ring = Self::default();
        for _ in 0..u32::deserialize_reader(reader)? {
            ring.push(T::deserialize_reader(reader)?, usize::MAX, |_| false);
        }
        Ok(ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_leave_by_age_and_by_number_however_they_are_cut_into_blocks() {
        for (most, keep) in [(1, 1_000), (5, 1_000), (40, 1_000), (1_000, 7), (1_000, 35), (20, 20)]
        {
            let mut ring = Ring::default();
            for number in 0..100_i64 {
                ring.push(number, most, |old| number - old > keep);
                let oldest = (number + 1 - i64::try_from(most).unwrap()).max(number - keep).max(0);
                let expected: Vec<i64> = (oldest..=number).collect();
                assert_eq!(ring.iter().copied().collect::<Vec<_>>(), expected);
                assert_eq!(ring.len(), expected.len());
                let bytes = borsh::to_vec(&ring).unwrap();
                // What was loaded is cut into other blocks, and goes on the same.
                let mut loaded: Ring<i64> = borsh::from_slice(&bytes).unwrap();
                assert_eq!(loaded, ring);
                loaded.push(number + 1, most, |old| number + 1 - old > keep);
                let mut next = ring.clone();
                next.push(number + 1, most, |old| number + 1 - old > keep);
                assert_eq!(loaded, next);
            }
        }
    }

    #[test]
    fn a_copy_shares_the_full_blocks() {
        let mut ring = Ring::default();
        (0..40).for_each(|number| ring.push(number, 1_000, |_| false));
        let copy = ring.clone();
        ring.push(40, 1_000, |_| false);
        assert!(Arc::ptr_eq(&ring.blocks, &copy.blocks));
        assert_eq!(copy.len(), 40);
    }
}
