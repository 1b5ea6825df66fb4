//! Pure: how long to wait before the next attempt to connect.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const MAX: Duration = Duration::from_secs(5);

/// Waits that double from 50 ms to 5 s, each shortened by up to a half at random, so that those who
/// lost the same node do not all come back at the same moment (services 9, P-1).
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the wait after one more failure; `random` is any number.
    pub fn next(&mut self, random: u64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        let half_us = u64::try_from(whole.as_micros() / 2).unwrap_or(u64::MAX).max(1);
        whole - Duration::from_micros(random % half_us)
    }

    /// Takes note of a success: the next wait is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_1_waits_double_from_50_ms_to_5_s_and_chance_takes_less_than_half() {
        let whole = [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
        for random in [0, 1, 12_345, u64::MAX] {
            let mut backoff = Backoff::default();
            for ms in whole.map(Duration::from_millis) {
                let wait = backoff.next(random);
                assert!(wait <= ms && wait > ms / 2, "{wait:?} of {ms:?} with {random}");
            }
            for _ in 0..100 {
                assert!(backoff.next(random) <= MAX);
            }
            backoff.reset();
            assert!(backoff.next(random) <= FIRST);
        }
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(0), FIRST);
    }
}
