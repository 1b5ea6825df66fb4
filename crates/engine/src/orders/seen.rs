//! Which order ids of a trader were processed: a bounded memory that refuses duplicates.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use borsh::{BorshDeserialize, BorshSerialize};
use indexmap::IndexSet;
use indexmap::set::Slice;
use proctor_types::{Digest, OrderId};

/// The ids of one trader's accepted orders, newest last, at most as many as the rulebook says.
///
/// An id is kept as half of its BLAKE3 hash: ids are chosen by traders, and two that collide in 128
/// bits cannot be found.
#[derive(Clone, Debug, Default)]
pub struct SeenIds {
    /// Oldest first: an index set goes by insertion, not by hash. Each order asks for an id that is
    /// not there, which mostly takes one look at one cache line.
    keys: IndexSet<Key, BuildHasherDefault<Prefix>>,
    /// How many of the oldest are forgotten, but not yet removed: that is done for many at once.
    forgotten: usize,
}

/// What is kept of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Key([u8; 16]);

/// A key's first eight bytes as its hash: keys are hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        let mut prefix = [0; 8];
        let len = bytes.len().min(8);
        prefix[..len].copy_from_slice(&bytes[..len]);
        self.0 = u64::from_le_bytes(prefix);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl SeenIds {
    /// Tells whether an order whose id has this key was processed.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.keys.get_index_of(&key).is_some_and(|place| place >= self.forgotten)
    }

    /// Remembers an id by its key, and forgets the oldest ones beyond `remembered_max`.
    pub fn insert(&mut self, key: Key, remembered_max: u32) {
        let (place, _) = self.keys.insert_full(key);
        if place < self.forgotten {
            // It was forgotten and is new again.
            self.keys.move_index(place, self.keys.len() - 1);
            self.forgotten -= 1;
        }
        let most = usize::try_from(remembered_max).unwrap_or(usize::MAX);
        self.forgotten = self.forgotten.max(self.keys.len().saturating_sub(most));
        // Removing costs a pass over all: one for each quarter that was forgotten.
        if self.forgotten > most / 4 {
            self.keys.drain(..self.forgotten);
            self.forgotten = 0;
        }
    }

    /// Returns the keys that are remembered, oldest first.
    fn remembered(&self) -> &Slice<Key> {
        &self.keys.as_slice()[self.forgotten..]
    }
}

impl PartialEq for SeenIds {
    fn eq(&self, other: &Self) -> bool {
        self.remembered() == other.remembered()
    }
}

impl Key {
    /// Returns the key of `id`.
    #[must_use]
    pub fn of(id: &OrderId) -> Self {
        let hash = Digest::of(id.as_str().as_bytes()).0;
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        Self(key)
    }
}

impl BorshSerialize for SeenIds {
    /// Writes the keys as a plain list, oldest first.
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        let keys = self.remembered();
        u32::try_from(keys.len()).map_err(std::io::Error::other)?.serialize(writer)?;
        keys.iter().try_for_each(|key| key.serialize(writer))
    }
}

impl BorshDeserialize for SeenIds {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let mut keys = IndexSet::default();
        for _ in 0..u32::deserialize_reader(reader)? {
            keys.insert(Key::deserialize_reader(reader)?);
        }
        Ok(Self { keys, forgotten: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> Key {
        Key::of(&OrderId::new(&format!("o{number}")).expect("valid"))
    }

    #[test]
    fn the_oldest_id_is_forgotten_first() {
        let mut seen = SeenIds::default();
        for number in 0..5 {
            seen.insert(id(number), 3);
        }
        let known: Vec<bool> = (0..5).map(|number| seen.contains(id(number))).collect();
        assert_eq!(known, [false, false, true, true, true]);
    }

    #[test]
    fn an_id_seen_twice_takes_one_place() {
        let mut seen = SeenIds::default();
        for number in [0, 1, 1, 1, 2] {
            seen.insert(id(number), 3);
        }
        assert!(seen.contains(id(0)));
    }

    #[test]
    fn memory_is_that_of_a_plain_list_whatever_comes_again() {
        for most in [1_u32, 3, 8, 40] {
            let (mut seen, mut list) = (SeenIds::default(), Vec::new());
            for step in 0..400_u32 {
                let number = step * step % 97;
                seen.insert(id(number), most);
                if !list.contains(&number) {
                    list.push(number);
                }
                if list.len() > most as usize {
                    list.remove(0);
                }
                for each in 0..97 {
                    assert_eq!(seen.contains(id(each)), list.contains(&each), "{each} at {step}");
                }
                let keys: Vec<Key> = list.iter().copied().map(id).collect();
                assert_eq!(borsh::to_vec(&seen).unwrap(), borsh::to_vec(&keys).unwrap());
            }
        }
    }

    #[test]
    fn memory_survives_a_round_trip() {
        let mut seen = SeenIds::default();
        (0..10).for_each(|number| seen.insert(id(number), 4));
        let bytes = borsh::to_vec(&seen).expect("to memory");
        assert_eq!(SeenIds::try_from_slice(&bytes).expect("round trip"), seen);
    }
}
