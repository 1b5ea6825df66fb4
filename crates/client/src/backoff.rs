//! `Backoff`: how long to wait before the next attempt; its randomness is injected.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where jitter comes from: any source of evenly spread bits. It keeps clients that lost the same
/// server from coming back in step; nothing secret depends on it.
#[derive(Clone)]
pub struct Random(Arc<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

impl Random {
    /// Returns the source that `draw` is.
    #[must_use]
    pub fn new(draw: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    /// Returns the next 64 bits.
    #[must_use]
    pub fn draw(&self) -> u64 {
        (self.0)()
    }
}

/// Waits that double from `first` to `max`; half of each is left to chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait at all.
    pub max: Duration,
}

impl Default for Backoff {
    /// 50 ms to 5 s (services P-1).
    fn default() -> Self {
        Self { first: Duration::from_millis(50), max: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// Returns the wait after `failures` failures in a row: between half of its longest and all
    /// of it, by `random`.
    #[must_use]
    pub fn delay(self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let longest = self.first.saturating_mul(1 << doublings).min(self.max);
        let half = longest / 2;
        // The upper 32 bits as a fraction: any number of them is exact in a double.
        let fraction = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / 4_294_967_296.0;
        half + half.mul_f64(fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_50_ms_to_5_s_and_stay_within_their_half_p_1() {
        let backoff = Backoff::default();
        let table =
            [(0, 50), (1, 50), (2, 100), (3, 200), (7, 3_200), (8, 5_000), (u32::MAX, 5_000)];
        for (failures, longest_ms) in table {
            let longest = Duration::from_millis(longest_ms);
            assert_eq!(backoff.delay(failures, 0), longest / 2, "{failures}");
            let late = backoff.delay(failures, u64::MAX);
            assert!(late > longest * 99 / 100 && late <= longest, "{failures}: {late:?}");
            let middle = backoff.delay(failures, 1 << 63);
            assert_eq!(middle, longest * 3 / 4, "{failures}");
        }
    }
}
