//! `Clock`: the only place of the shell where time is read (R15).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proctor_p2p::Moment;
use tokio::time::Instant;

/// A clock that never goes back. Under a paused runtime it is virtual.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts at 1 ms: moment 0 lies before everything.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// Returns when `moment` is, for those who have another clock.
    pub(crate) fn instant(self, moment: Moment) -> Option<Instant> {
        self.0.checked_add(Duration::from_millis(moment.0.saturating_sub(1)))
    }

    /// Waits until `moment`, if it is not past.
    pub(crate) async fn wait_until(self, moment: Moment) {
        if let Some(at) = self.instant(moment) {
            tokio::time::sleep_until(at).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for `ms` milliseconds.
    pub(crate) async fn wait(self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// Returns the time of day in milliseconds. It numbers this node's own records and decides nothing.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a seed that nobody foresees.
pub(crate) fn seed() -> Result<u64, getrandom::Error> {
    getrandom::u64()
}
