//! `Dice`: seeded choices, the same on every platform.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A seeded source of choices. The seed comes from the shell (entropy) or from a test.
///
/// # Security
/// Not a source of secrets. What others can see of it (which records are handed out) is drawn from
/// another source than what must not be foreseen (who is dialled, who is evicted): see [`Dice::split`].
#[derive(Clone, Debug)]
pub struct Dice(Pcg64Mcg);

impl Dice {
    /// Returns the source that `seed` names.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// Returns a new source whose numbers do not depend on how often this one is asked later.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// Returns a number below `bound`, or 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The remainder favours low numbers by less than 2^-32 for any bound below 2^32.
        self.0.next_u64() % bound.max(1)
    }

    /// Returns an index into a sequence of `length` elements, or 0 when it is empty.
    pub fn index(&mut self, length: usize) -> usize {
        let below = self.below(u64::try_from(length).unwrap_or(u64::MAX));
        usize::try_from(below).unwrap_or(0)
    }

    /// Returns true in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns a number from 0 (inclusive) to 1 (exclusive).
    pub fn unit(&mut self) -> f64 {
        // 32 bits are exact in a double, and enough for a choice.
        f64::from(self.0.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    /// Returns `count` elements of `items` in random order, or all of them if there are fewer.
    pub fn sample<T>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        let wanted = count.min(items.len());
        for place in 0..wanted {
            let other = place + self.index(items.len() - place);
            items.swap(place, other);
        }
        items.truncate(wanted);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_no_element_twice_and_reaches_every_one() {
        let mut dice = Dice::new(1);
        let mut seen = [false; 10];
        for _ in 0..200 {
            let mut sample = dice.sample((0..10).collect(), 3);
            sample.iter().for_each(|&index: &usize| seen[index] = true);
            sample.sort_unstable();
            sample.dedup();
            assert_eq!(sample.len(), 3);
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(dice.sample(vec![1, 2], 9).len(), 2);
        assert_eq!((dice.below(0), dice.index(0)), (0, 0));
    }
}
