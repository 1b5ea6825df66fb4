//! `Stats`: what the writer has done since its start, in plain numbers that anybody may look at.
//!
//! Nothing is decided by them. Each number is exact; a reader may see one a moment before another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::publisher::Applied;
use crate::shelf::FileShelf;

/// Upper ends of the buckets of durations, in nanoseconds: 10 µs to 5 s.
const TIMES: [u64; 13] = [
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
    5_000_000_000,
];
/// Upper ends of the buckets of counts; the last is that of the largest group.
const COUNTS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// How values are spread: how many lie at or below each bound.
#[derive(Debug)]
pub struct Spread {
    bounds: &'static [u64],
    /// One more than bounds: the last is for what lies above them all.
    buckets: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// A [`Spread`] as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadNow {
    /// The upper end of each bucket and how many values lie within it and above the one before; the
    /// last bucket has no end.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// The sum of all values.
    pub sum: u64,
}

impl SpreadNow {
    /// Returns how many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Spread {
    fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    fn add(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns it as of now.
    #[must_use]
    pub fn now(&self) -> SpreadNow {
        let ends = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        SpreadNow { buckets: ends.zip(counts).collect(), sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// What the writer has done since its start.
#[derive(Debug)]
pub struct Stats {
    commits: AtomicU64,
    inputs: AtomicU64,
    snapshots: AtomicU64,
    snapshots_failed: AtomicU64,
    shelf: Option<Arc<FileShelf>>,
    busy: AtomicU64,
    stopped: AtomicU64,
    /// Locked for a look or for adding one; the keys are the codes of the rules, so they are few.
    rejections: Mutex<BTreeMap<&'static str, u64>>,
    /// How many submissions share a commit.
    pub submissions: Spread,
    /// Time to append a group to the log and sync it, ns.
    pub log: Spread,
    /// Time to apply a commit, ns.
    pub apply: Spread,
    /// Time to publish the view after a group, ns.
    pub publish: Spread,
}

impl Default for Stats {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            commits: zero(),
            inputs: zero(),
            snapshots: zero(),
            snapshots_failed: zero(),
            shelf: None,
            busy: zero(),
            stopped: zero(),
            rejections: Mutex::default(),
            submissions: Spread::new(&COUNTS),
            log: Spread::new(&TIMES),
            apply: Spread::new(&TIMES),
            publish: Spread::new(&TIMES),
        }
    }
}

impl Stats {
    /// Returns how many commits were published.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Returns how many inputs those commits held.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.inputs.load(Ordering::Relaxed)
    }

    /// Returns how many snapshots were written.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        self.snapshots.load(Ordering::Relaxed)
    }

    /// Returns how many snapshots could not be written.
    #[must_use]
    pub fn snapshots_failed(&self) -> u64 {
        self.snapshots_failed.load(Ordering::Relaxed)
    }

    /// Returns counts of a writer whose engine keeps closed positions on `shelf`.
    pub(crate) fn of(shelf: Option<Arc<FileShelf>>) -> Self {
        Self { shelf, ..Self::default() }
    }

    /// Returns where the engine keeps closed positions that are seldom read, if not in memory.
    #[must_use]
    pub fn shelf(&self) -> Option<&FileShelf> {
        self.shelf.as_deref()
    }

    /// Returns how many submissions found the queue full.
    #[must_use]
    pub fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Returns whether the log has failed, so that nothing more is taken.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) > 0
    }

    /// Returns how many inputs the rules refused, by the code of the refusal.
    #[must_use]
    pub fn rejections(&self) -> BTreeMap<&'static str, u64> {
        self.rejections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn found_full(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn has_stopped(&self) {
        self.stopped.store(1, Ordering::Relaxed);
    }

    pub(crate) fn shared(&self, submissions: usize) {
        self.submissions.add(u64::try_from(submissions).unwrap_or(u64::MAX));
    }

    pub(crate) fn logged(&self, time: Duration) {
        self.log.add_time(time);
    }

    pub(crate) fn applied(&self, time: Duration) {
        self.apply.add_time(time);
    }

    pub(crate) fn snapshot(&self, written: bool) {
        let count = if written { &self.snapshots } else { &self.snapshots_failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `commits`, which are about to be published.
    pub(crate) fn publishing(&self, commits: &[Applied]) {
        for applied in commits {
            self.commits.fetch_add(1, Ordering::Relaxed);
            let inputs = u64::try_from(applied.replies.len()).unwrap_or(u64::MAX);
            self.inputs.fetch_add(inputs, Ordering::Relaxed);
            for rejection in applied.replies.iter().filter_map(|reply| reply.as_ref().err()) {
                let mut rejections = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
                *rejections.entry(rejection.code()).or_default() += 1;
            }
        }
    }

    pub(crate) fn published(&self, time: Duration) {
        self.publish.add_time(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_that_holds_it() {
        let spread = Spread::new(&[1, 4]);
        for value in [0, 1, 2, 4, 5, 100] {
            spread.add(value);
        }
        let now = spread.now();
        assert_eq!(now.buckets, [(Some(1), 2), (Some(4), 2), (None, 2)]);
        assert_eq!((now.sum, now.count()), (112, 6));
    }

    #[test]
    fn bounds_rise_so_that_every_value_has_one_bucket() {
        for bounds in [&TIMES[..], &COUNTS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
