//! How far this machine's clock is from the orderer's, by the commits that it pushed: told to people only.

use std::collections::VecDeque;

/// So many of the newest commits are looked at.
const LOOKED_AT_MAX: usize = 64;

/// What the clock here said, less the commits' times, when they came: the offset and their way here.
#[derive(Debug, Default)]
pub(crate) struct ClockOffset(VecDeque<i64>);

impl ClockOffset {
    /// A commit of `time_ms` came when the clock here said `now_ms`.
    pub(super) fn came(&mut self, now_ms: i64, time_ms: i64) {
        if self.0.len() == LOOKED_AT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now_ms.saturating_sub(time_ms));
    }

    /// Returns the offset in milliseconds: the least, since a way here only adds to it.
    pub(super) fn ms(&self) -> Option<i64> {
        self.0.iter().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_that_of_the_commit_that_was_on_its_way_for_least() {
        let mut offset = ClockOffset::default();
        assert_eq!(offset.ms(), None);
        for way_ms in [30, 5, 200] {
            offset.came(10_000 + way_ms - 700, 10_000);
        }
        assert_eq!(offset.ms(), Some(-695));
        (0..64).for_each(|_| offset.came(0, -40));
        assert_eq!(offset.ms(), Some(40), "a clock that was set right is right after a while");
    }
}
