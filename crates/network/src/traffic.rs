//! What is counted of time and bytes, in classes: never by peer (5.9).

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper ends of the classes of times, in milliseconds; one more class has no end.
pub const TIMES_MS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000, 20_000];
/// Names of the kinds of frames, by number from 1.
pub const FRAME_KINDS: [&str; 10] =
    ["hello", "request", "answer", "answer_end", "failed", "push", "cancel", "ping", "pong", "bye"];
/// A place for each number of a kind; that of 0 stays empty.
const PLACES: usize = FRAME_KINDS.len() + 1;

/// Times in classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many were within each end of [`TIMES_MS`] and above the one before, and above them all.
    pub counts: [u64; TIMES_MS.len() + 1],
    /// All of them together, in milliseconds.
    pub sum_ms: u64,
}

impl Times {
    pub(crate) fn add(&mut self, ms: u64) {
        let class = TIMES_MS.partition_point(|end| *end < ms);
        if let Some(count) = self.counts.get_mut(class) {
            *count = count.saturating_add(1);
        }
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

/// Bytes by kind of frame, by number; heads included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Read.
    pub read: [u64; PLACES],
    /// Written.
    pub written: [u64; PLACES],
}

/// Bytes of all connections, counted where they pass.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    read: [AtomicU64; PLACES],
    written: [AtomicU64; PLACES],
}

impl Totals {
    pub(crate) fn read(&self, kind: u8, bytes: u64) {
        add(&self.read, kind, bytes);
    }

    pub(crate) fn written(&self, kind: u8, bytes: u64) {
        add(&self.written, kind, bytes);
    }

    pub(crate) fn look(&self) -> Bytes {
        let all = |places: &[AtomicU64; PLACES]| {
            std::array::from_fn(|kind| {
                places.get(kind).map_or(0, |count| count.load(Ordering::Relaxed))
            })
        };
        Bytes { read: all(&self.read), written: all(&self.written) }
    }
}

fn add(places: &[AtomicU64; PLACES], kind: u8, bytes: u64) {
    if let Some(count) = places.get(usize::from(kind)) {
        count.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_first_class_that_holds_it() {
        let mut times = Times::default();
        [0, 1, 2, 3, 20_000, 20_001].into_iter().for_each(|ms| times.add(ms));
        assert_eq!(times.counts, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(times.sum_ms, 40_007);
    }

    #[test]
    fn bytes_count_by_kind_and_a_kind_that_is_none_counts_nowhere() {
        let totals = Totals::default();
        totals.read(6, 10);
        totals.written(10, 7);
        totals.read(11, 99);
        let seen = totals.look();
        assert_eq!((seen.read[6], seen.written[10]), (10, 7));
        assert_eq!(seen.read.iter().chain(&seen.written).sum::<u64>(), 17);
    }
}
