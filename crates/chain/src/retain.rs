//! Pure: from which commit on a node keeps its log.

use proctor_p2p::Manifest;
use proctor_types::UtcMs;
use proctor_types::time::DAY_MS;

/// Snapshots that a node keeps behind the beginning of its log, whatever else may be deleted.
const SNAPSHOTS: usize = 2;

/// What a node keeps at least; the greatest of these counts, and two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// Commits, counted from the last one.
    pub commits: u64,
    /// Days.
    pub days: u32,
}

/// Returns the snapshot after which a log may begin that begins after commit `begins` now and ends
/// at `tip`: the newest of `manifests`, which ascend, that leaves what `retain` keeps.
pub(crate) fn beginning<'a>(
    retain: &Retain,
    begins: u64,
    tip: u64,
    now: UtcMs,
    manifests: &'a [Manifest],
) -> Option<&'a Manifest> {
    let spare = manifests.len().checked_sub(SNAPSHOTS)?;
    let old = now.0.saturating_sub(i64::from(retain.days).saturating_mul(DAY_MS));
    let may_begin = |manifest: &&Manifest| {
        manifest.height > begins
            && manifest.height.saturating_add(retain.commits) <= tip
            && manifest.next.header.facts.time.0 <= old
    };
    // With exactly two the older one is a beginning that leaves both.
    manifests.get(..=spare)?.iter().rev().find(may_begin)
}
