//! `Moment`: a point on a clock that does not go back, in milliseconds since any origin.

/// A point on a clock that does not go back, in milliseconds since any origin.
///
/// No core of the peers knows the time of day: ages, back-offs and bans are differences of two
/// moments of one process, and what is stored is an age. So a wrong wall clock moves nobody in or
/// out (F7).
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

    /// Returns how many milliseconds this moment lies after `earlier`; 0 if it does not.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One second, in milliseconds.
pub const SECOND_MS: u64 = 1_000;
/// One minute, in milliseconds.
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
/// One hour, in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// One day, in milliseconds.
pub const DAY_MS: u64 = 24 * HOUR_MS;
