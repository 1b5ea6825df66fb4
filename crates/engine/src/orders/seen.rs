//! Which order ids of a trader were processed: a bounded memory that refuses duplicates.

use std::collections::{BTreeSet, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Digest, OrderId};

/// The ids of one trader's accepted orders, newest last, at most as many as the rulebook says.
///
/// An id is kept as half of its BLAKE3 hash: ids are chosen by traders, and two that collide in 128
/// bits cannot be found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenIds {
    known: BTreeSet<Key>,
    oldest_first: VecDeque<Key>,
}

/// What is kept of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Key([u8; 16]);

impl SeenIds {
    /// Tells whether an order whose id has this key was processed.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.known.contains(&key)
    }

    /// Remembers an id by its key, and forgets the oldest ones beyond `remembered_max`.
    pub fn insert(&mut self, key: Key, remembered_max: u32) {
        if self.known.insert(key) {
            self.oldest_first.push_back(key);
        }
        let most = usize::try_from(remembered_max).unwrap_or(usize::MAX);
        while self.oldest_first.len() > most {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.known.remove(&oldest);
            }
        }
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
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.oldest_first.serialize(writer)
    }
}

impl BorshDeserialize for SeenIds {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let oldest_first = VecDeque::<Key>::deserialize_reader(reader)?;
        Ok(Self { known: oldest_first.iter().copied().collect(), oldest_first })
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
    fn memory_survives_a_round_trip() {
        let mut seen = SeenIds::default();
        (0..10).for_each(|number| seen.insert(id(number), 4));
        let bytes = borsh::to_vec(&seen).expect("to memory");
        assert_eq!(SeenIds::try_from_slice(&bytes).expect("round trip"), seen);
    }
}
