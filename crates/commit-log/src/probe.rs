//! The bare disk's speed, measured the way the log writes, so that the log's can be put beside it.
//!
//! The time of an fdatasync depends on the load of the machine far more than on the log. A figure
//! for the log therefore means something only as a ratio to this one, taken in the same run and,
//! best, in turns: some syncs of the log, some of the probe, and so on.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::record::FRAME_HEADER_BYTES;
use crate::sector::{CONTENT, SECTOR};

/// Returns the bytes that the log writes for one sync of `records` payloads of this many bytes.
#[must_use]
pub fn batch_bytes(records: usize, payload_bytes: usize) -> usize {
    (records * (FRAME_HEADER_BYTES + payload_bytes)).div_ceil(CONTENT) * SECTOR
}

/// A file that is written and synced like a segment, and nothing else. Removed on drop.
#[derive(Debug)]
pub struct Probe {
    path: PathBuf,
    file: File,
    length: u64,
    ahead: u64,
    next: u64,
    filled: u64,
}

impl Probe {
    /// Creates a probe in a directory that the log uses or is beside.
    ///
    /// `length` and `ahead`, in bytes, are what [`crate::LogConfig`] calls `segment_bytes` and
    /// `preallocate_bytes`. If they are equal, all zeros are written here and none while the probe
    /// runs: that is the disk's bare rate. If `ahead` is less, the probe pays for them as it goes,
    /// as the log does.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`io::ErrorKind::AlreadyExists`] if there is a probe.
    pub fn create(directory: &Path, length: u64, ahead: u64) -> io::Result<Self> {
        let path = directory.join("fdatasync.probe");
        let file = File::options().write(true).create_new(true).open(&path)?;
        let mut probe = Self { path, file, length, ahead, next: 0, filled: 0 };
        probe.fill(ahead.min(length))?;
        Ok(probe)
    }

    /// Writes `bytes` and syncs, `rounds` times over, and returns how long that took. When the file
    /// is full it begins again, in a file as new.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`io::ErrorKind::InvalidInput`] if `bytes` is more than the
    /// probe's length.
    pub fn run(&mut self, bytes: usize, rounds: u32) -> io::Result<Duration> {
        if bytes as u64 > self.length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let piece = vec![0x5A; bytes];
        let start = Instant::now();
        for _ in 0..rounds {
            self.reserve(bytes as u64)?;
            self.file.write_all_at(&piece, self.next)?;
            self.file.sync_data()?;
            self.next += bytes as u64;
        }
        Ok(start.elapsed())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if self.next + bytes > self.length {
            self.next = 0;
            if self.ahead < self.length {
                self.file.set_len(0)?;
                self.filled = 0;
            }
        }
        let needed = self.next + bytes;
        if needed > self.filled {
            self.fill((self.filled + self.ahead).min(self.length).max(needed))?;
        }
        Ok(())
    }

    fn fill(&mut self, until: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        while self.filled < until {
            let left = usize::try_from(until - self.filled).unwrap_or(zeros.len());
            let piece = &zeros[..left.min(zeros.len())];
            self.file.write_all_at(piece, self.filled)?;
            self.filled += piece.len() as u64;
        }
        self.file.sync_data()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // A probe that cannot be removed is in nobody's way but that of the next probe, which says so.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_measures_something_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut probe = Probe::create(directory.path(), 1 << 20, 1 << 20).unwrap();
        let elapsed = probe.run(batch_bytes(16, 100), 5).unwrap();
        let rate = 5.0 / elapsed.as_secs_f64();
        assert!(rate > 0.0 && rate.is_finite());
        drop(probe);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_probe_that_fills_ahead_grows_in_steps_and_begins_again_when_full() {
        let directory = tempfile::tempdir().unwrap();
        let mut probe = Probe::create(directory.path(), 10_240, 4_096).unwrap();
        let length = |probe: &Probe| probe.file.metadata().unwrap().len();
        let mut kib = vec![length(&probe) / 1_024];
        for _ in 0..11 {
            probe.run(1_024, 1).unwrap();
            kib.push(length(&probe) / 1_024);
        }
        assert_eq!(kib, [4, 4, 4, 4, 4, 8, 8, 8, 8, 10, 10, 4]);
        assert!(probe.run(10_241, 1).is_err());
    }

    #[test]
    fn a_batch_takes_whole_sectors() {
        assert_eq!(batch_bytes(1, 100), 512);
        assert_eq!(batch_bytes(1, 451), 512);
        assert_eq!(batch_bytes(1, 452), 1_024);
        assert_eq!(batch_bytes(256, 100), 76 * 512);
    }
}
