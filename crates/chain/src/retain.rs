//! Pure: from which commit on a node keeps its log.

use proctor_p2p::Manifest;
use proctor_types::UtcMs;
use proctor_types::time::DAY_MS;

/// What a node keeps at least; the greatest of these counts, and two snapshots: that with which the log
/// begins and a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// Commits, counted from the last one.
    pub commits: u64,
    /// Days.
    pub days: u32,
}

impl Retain {
    /// Returns whether a log that ends at `tip` keeps what it must when it begins after the snapshot `to`.
    pub(crate) fn leaves_enough(&self, to: &Manifest, tip: u64, now: UtcMs) -> bool {
        let old = now.0.saturating_sub(i64::from(self.days).saturating_mul(DAY_MS));
        to.height.saturating_add(self.commits) <= tip && to.next.header.facts.time.0 <= old
    }
}
