//! Numbers of process starts that never repeat: a client knows by them that a service is new.
//!
//! A counter that begins at 0 with the process makes an old number current again after a restart
//! . Here a number is the hash of (boot, counter), where the boot is the time of the node's
//! start, its process id and 128 bits of the system's entropy: two starts share one only if 63 bits
//! of BLAKE3 agree by chance, whatever the clock does. Numbers have no order; commits have.

use std::sync::atomic::{AtomicU64, Ordering};

use proctor_types::UtcMs;

/// The source of a node's generations: one for itself, and one for each start of a child.
#[derive(Debug)]
pub struct Generations {
    boot: [u8; 32],
    counter: AtomicU64,
}

impl Generations {
    /// Returns the source for a node that started at `now` as process `pid`.
    #[must_use]
    pub fn new(now: UtcMs, pid: u32, entropy: [u8; 16]) -> Self {
        let mut boot = blake3::Hasher::new();
        boot.update(&now.0.to_le_bytes()).update(&pid.to_le_bytes()).update(&entropy);
        Self { boot: *boot.finalize().as_bytes(), counter: AtomicU64::new(0) }
    }

    /// Returns a number that none before had, in this node or another; 0 is never one.
    pub fn next(&self) -> u64 {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::keyed_hash(&self.boot, &count.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        // 63 bits: languages without unsigned numbers can hold it.
        (u64::from_le_bytes(first) >> 1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn x_33_no_generation_repeats_over_restarts_although_clock_and_process_id_do() {
        let mut seen = BTreeSet::new();
        let boots = [(0, 1, [0; 16]), (1, 1, [0; 16]), (0, 2, [0; 16]), (0, 1, [1; 16])];
        for (now, pid, entropy) in boots {
            let generations = Generations::new(UtcMs(now), pid, entropy);
            for start in 0..1_000 {
                let generation = generations.next();
                assert!(generation > 0 && generation <= i64::MAX.cast_unsigned());
                assert!(
                    seen.insert(generation),
                    "start {start} of boot {now}, {pid} is no other's"
                );
            }
        }
    }
}
