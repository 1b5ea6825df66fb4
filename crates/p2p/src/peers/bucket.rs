//! `Bucket`, `Throttle`: how often something may happen, for one and for each of many.

use std::collections::{BTreeMap, BTreeSet};

use crate::moment::{Moment, SECOND_MS};

/// A rate: `count` in `per_ms`, and at most `burst` at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much flows in.
    pub count: u64,
    /// In how many milliseconds; above 0.
    pub per_ms: u64,
    /// How much the bucket holds.
    pub burst: u64,
}

impl Rate {
    /// Returns `count` a second with a burst.
    #[must_use]
    pub const fn per_second(count: u64, burst: u64) -> Self {
        Self { count, per_ms: SECOND_MS, burst }
    }
}

/// A token bucket. Starts full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Tokens times `per_ms`, so that parts of a token are exact.
    level: u128,
    at: Moment,
}

impl Bucket {
    /// Returns a full bucket.
    #[must_use]
    pub fn full(rate: Rate, now: Moment) -> Self {
        Self { level: brim(rate), at: now }
    }

    fn fill(&mut self, rate: Rate, now: Moment) {
        let flowed = u128::from(now.since(self.at)) * u128::from(rate.count);
        self.level = self.level.saturating_add(flowed).min(brim(rate));
        self.at = self.at.max(now);
    }

    /// Takes `count` tokens if that many are there, and returns whether it did.
    #[must_use]
    pub fn take(&mut self, rate: Rate, now: Moment, count: u64) -> bool {
        self.fill(rate, now);
        let wanted = u128::from(count) * u128::from(rate.per_ms.max(1));
        let enough = self.level >= wanted;
        if enough {
            self.level -= wanted;
        }
        enough
    }

    /// Takes `count` tokens of what is there already spent (bytes that were read), as far as the
    /// bucket goes, and returns for how many milliseconds nothing more may come.
    pub fn spend(&mut self, rate: Rate, now: Moment, count: u64) -> u64 {
        self.fill(rate, now);
        let per = u128::from(rate.per_ms.max(1));
        let wanted = u128::from(count) * per;
        let missing = wanted.saturating_sub(self.level);
        self.level = self.level.saturating_sub(wanted);
        // What is missing is waited for; the bucket then stands at zero at the end of the wait.
        let wait =
            u64::try_from(missing.div_ceil(u128::from(rate.count.max(1)))).unwrap_or(u64::MAX);
        if missing > 0 {
            self.at = self.at.after(wait);
        }
        self.at.since(now)
    }

    /// Returns whether the bucket is full, so that forgetting it changes nothing.
    #[must_use]
    pub fn is_full(mut self, rate: Rate, now: Moment) -> bool {
        self.fill(rate, now);
        self.level == brim(rate)
    }
}

fn brim(rate: Rate) -> u128 {
    u128::from(rate.burst) * u128::from(rate.per_ms.max(1))
}

/// A bucket for each key, for at most `keys_max` of them; the one used longest ago gives way.
///
/// To push a key out takes as many other keys, and whoever has those needs no old one.
#[derive(Clone, Debug)]
pub struct Throttle<K> {
    rate: Rate,
    keys_max: usize,
    buckets: BTreeMap<K, (Bucket, Moment)>,
    by_use: BTreeSet<(Moment, K)>,
}

impl<K: Copy + Ord> Throttle<K> {
    /// Returns a throttle that has seen nobody.
    #[must_use]
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        Self { rate, keys_max, buckets: BTreeMap::new(), by_use: BTreeSet::new() }
    }

    /// Takes one token for `key` and returns whether there was one.
    #[must_use]
    pub fn take(&mut self, now: Moment, key: K) -> bool {
        let (mut bucket, used) =
            self.buckets.get(&key).copied().unwrap_or((Bucket::full(self.rate, now), now));
        let passed = bucket.take(self.rate, now, 1);
        self.by_use.remove(&(used, key));
        self.by_use.insert((now, key));
        self.buckets.insert(key, (bucket, now));
        while self.buckets.len() > self.keys_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.buckets.remove(&oldest);
        }
        passed
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate::per_second(1, 8);
        let mut bucket = Bucket::full(rate, Moment(0));
        assert_eq!((0..20).filter(|_| bucket.take(rate, Moment(0), 1)).count(), 8);
        assert!(!bucket.take(rate, Moment(999), 1));
        assert!(bucket.take(rate, Moment(1_000), 1));
        assert!(!bucket.take(rate, Moment(1_001), 1));
        assert!(!bucket.is_full(rate, Moment(8_999)) && bucket.is_full(rate, Moment(9_000)));
        // A clock that jumps back gives nothing and takes nothing.
        assert!(!bucket.take(rate, Moment(0), 1));
    }

    #[test]
    fn what_was_read_beyond_the_rate_is_waited_for() {
        let rate = Rate::per_second(100, 50);
        let mut bucket = Bucket::full(rate, Moment(0));
        assert_eq!(bucket.spend(rate, Moment(0), 50), 0);
        assert_eq!(bucket.spend(rate, Moment(0), 10), 100);
        assert_eq!(bucket.spend(rate, Moment(0), 10), 200);
        assert_eq!(bucket.spend(rate, Moment(300), 10), 0);
    }

    #[test]
    fn r8_a_throttle_remembers_no_more_keys_than_it_may() {
        let mut throttle = Throttle::new(Rate::per_second(1, 1), 4);
        for key in 0..100_u32 {
            assert!(throttle.take(Moment(u64::from(key)), key));
            assert!(throttle.len() <= 4 && throttle.by_use.len() == throttle.buckets.len());
        }
        assert!(!throttle.take(Moment(100), 99), "the youngest is still known");
        assert!(throttle.take(Moment(101), 0), "the oldest was forgotten");
    }

    proptest! {
        /// In any window no more passes than the burst and what flowed in meanwhile.
        #[test]
        fn no_window_lets_more_through_than_burst_and_rate(
            steps in prop::collection::vec((0_u64..400, 1_u64..4), 1..200)
        ) {
            let rate = Rate::per_second(5, 7);
            let mut bucket = Bucket::full(rate, Moment(0));
            let (mut now, mut passed) = (Moment(0), Vec::new());
            for (wait, count) in steps {
                now = now.after(wait);
                if bucket.take(rate, now, count) {
                    passed.push((now, count));
                }
            }
            for (index, (begin, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (at, count) in passed.iter().skip(index) {
                    sum += count;
                    prop_assert!(sum * 1000 <= 7000 + 5 * at.since(*begin));
                }
            }
        }
    }
}
