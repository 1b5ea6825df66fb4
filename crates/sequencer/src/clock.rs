//! `Clock` and `SystemClock`: the only reader of the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use proctor_types::UtcMs;

/// Where stamps come from.
pub trait Clock: Send {
    /// Returns the time now. May go back, as wall clocks do; the writer's stamps do not.
    fn now(&self) -> UtcMs;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UtcMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UtcMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
