//! `Moment`: a reading of a clock that never goes back; spans are milliseconds. `Bucket`: a rate.

/// One second, in milliseconds.
pub const SECOND_MS: u64 = 1_000;
/// One minute, in milliseconds.
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
/// One hour, in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// One day, in milliseconds.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Milliseconds since some start, by a clock that never goes back.
///
/// The wall clock has no say in this crate: ages, back-offs and bans are differences of two moments of
/// one process, and what is stored is an age. A node whose clock is an hour wrong syncs as well as
/// any other, and nobody is moved in or out (F7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the moment `ms` milliseconds later.
    #[must_use]
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the moment `ms` milliseconds earlier, or the origin.
    #[must_use]
    pub fn before(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Returns the milliseconds since `earlier`; 0 if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A token bucket: how often something may happen.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_second: u64,
    burst: u64,
    /// Thousandths of a token.
    level: u64,
    at: Moment,
}

impl Bucket {
    /// Makes a full bucket that gains `per_second` tokens and holds `burst` of them.
    #[must_use]
    pub fn new(per_second: u64, burst: u64, now: Moment) -> Self {
        Self { per_second, burst, level: burst.saturating_mul(1_000), at: now }
    }

    /// Takes `tokens` if they are there, and says whether they were.
    pub fn take(&mut self, now: Moment, tokens: u64) -> bool {
        self.fill(now);
        let wanted = tokens.saturating_mul(1_000);
        let enough = wanted <= self.level;
        if enough {
            self.level -= wanted;
        }
        enough
    }

    /// Takes `tokens`, or what there is: for what has been spent already.
    pub fn spend(&mut self, now: Moment, tokens: u64) {
        self.fill(now);
        self.level = self.level.saturating_sub(tokens.saturating_mul(1_000));
    }

    fn fill(&mut self, now: Moment) {
        let gained = now.since(self.at).saturating_mul(self.per_second);
        let full = self.burst.saturating_mul(1_000);
        self.level = self.level.saturating_add(gained).min(full);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(2, 4, Moment(0));
        let taken = (0..10).filter(|_| bucket.take(Moment(0), 1)).count();
        assert_eq!(taken, 4);
        assert!(!bucket.take(Moment(499), 1));
        assert!(bucket.take(Moment(500), 1));
        assert!(!bucket.take(Moment(500), 1));
        // A clock that went back gains nothing, and breaks nothing.
        assert!(!bucket.take(Moment(0), 1));
        assert!(bucket.take(Moment(1_000_000), 4));
        assert!(!bucket.take(Moment(u64::MAX), 5), "never more than the burst");
    }
}
