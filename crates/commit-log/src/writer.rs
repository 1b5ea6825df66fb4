//! The log as its owner sees it: append, sync, read back, close.

use std::sync::Arc;

use crate::base;
use crate::error::{IoFailure, LogError};
use crate::reader::{self, Reader};
use crate::record::{Appended, FRAME_HEADER_BYTES, Head, MAX_PAYLOAD_BYTES, encode_frame};
use crate::recovery::{self, Recovery};
use crate::sector::{self, CONTENT, Kind};
use crate::segment::{SECTOR_BYTES, Segment};
use crate::storage::Storage;

/// The most bytes of frames that may wait for one sync (32 MiB): a payload and 48 bytes each.
pub const MAX_BATCH_BYTES: usize = 32 << 20;

const _: () = assert!(MAX_PAYLOAD_BYTES + FRAME_HEADER_BYTES <= MAX_BATCH_BYTES);

/// The longest segment that sector numbers allow, with room for one batch beyond it.
const SEGMENT_BYTES_MAX: u64 = 1 << 40;

/// How a log is laid out on disk. Any mix of configurations can read any log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A new segment is begun when a batch would make the current one longer than this, in bytes.
    /// A batch is never split, so a batch longer than this has a segment to itself. Default 64 MiB.
    pub segment_bytes: u64,
    /// Zeros are written this far ahead, in bytes, so that most syncs need no metadata. Each step
    /// costs one sync more. Default 4 MiB.
    pub preallocate_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, preallocate_bytes: 4 << 20 }
    }
}

impl LogConfig {
    fn segment_limit(&self) -> u64 {
        self.segment_bytes.min(SEGMENT_BYTES_MAX)
    }

    /// Bytes that a new segment has on disk.
    pub(crate) fn first_fill(&self) -> u64 {
        self.preallocate_bytes.min(self.segment_limit())
    }
}

/// A log open for appending.
///
/// Records are appended to memory and become durable, all of them at once, with [`Log::sync`].
/// A log that is dropped without one forgets what was appended since the last.
///
/// # Correctness
///
/// Two open logs on one directory destroy each other: hold a [`crate::DirLock`] before opening.
#[derive(Debug)]
pub struct Log {
    storage: Arc<dyn Storage>,
    config: LogConfig,
    segment: Segment,
    head: Head,
    durable: Head,
    sealed: bool,
    /// Frames that wait for a sync, and the sectors made of them (kept for its capacity).
    pending: Vec<u8>,
    sectors: Vec<u8>,
    failure: Option<IoFailure>,
}

impl Log {
    /// Opens a log: checks all of it, cuts a torn tail, creates it if the directory is empty.
    ///
    /// # Errors
    ///
    /// [`LogError::Damaged`] or [`LogError::UnsupportedVersion`], and then nothing was changed;
    /// [`LogError::Io`].
    pub fn open(
        storage: Arc<dyn Storage>,
        config: LogConfig,
    ) -> Result<(Self, Recovery), LogError> {
        let (segment, recovery) = recovery::recover(&storage, &config)?;
        let log = Self {
            storage,
            config,
            segment,
            head: recovery.head,
            durable: recovery.head,
            sealed: recovery.sealed,
            pending: Vec::new(),
            sectors: Vec::new(),
            failure: None,
        };
        Ok((log, recovery))
    }

    /// Appends a record. It is in memory only, and no reader sees it, until [`Log::sync`].
    ///
    /// # Errors
    ///
    /// [`LogError::PreviousIo`], [`LogError::PayloadTooLarge`] or [`LogError::BatchFull`]; the log
    /// is as before.
    pub fn append(&mut self, payload: &[u8]) -> Result<Appended, LogError> {
        self.check_healthy()?;
        let (bytes, max) = (payload.len(), MAX_PAYLOAD_BYTES);
        if bytes > max {
            return Err(LogError::PayloadTooLarge { bytes, max });
        }
        let bytes = self.pending.len() + FRAME_HEADER_BYTES + payload.len();
        if bytes > MAX_BATCH_BYTES {
            return Err(LogError::BatchFull { bytes, max: MAX_BATCH_BYTES });
        }
        let (index, parent) = (self.head.index + 1, self.head.hash);
        let hash = encode_frame(&mut self.pending, index, &parent, payload);
        self.head = Head { index, hash };
        Ok(Appended { index, hash })
    }

    /// Makes everything appended so far durable, with one write and one fdatasync, and returns the
    /// index of the last durable record.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] the first time the storage fails: what was appended since the last sync
    /// may or may not be on disk, which only the next [`Log::open`] can tell.
    /// [`LogError::PreviousIo`] ever after.
    pub fn sync(&mut self) -> Result<u64, LogError> {
        self.check_healthy()?;
        if !self.pending.is_empty() {
            self.write_batch().map_err(|failure| self.fail(failure))?;
            self.pending.clear();
            self.durable = self.head;
            self.sealed = false;
        }
        Ok(self.durable.index)
    }

    /// Returns the last record appended, durable or not.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Returns the last durable record.
    #[must_use]
    pub fn durable(&self) -> Head {
        self.durable
    }

    /// Returns the failure that made the log read-only, if there was one.
    #[must_use]
    pub fn failure(&self) -> Option<&IoFailure> {
        self.failure.as_ref()
    }

    /// Returns an iterator over the durable records from `index` on, which ends at the record that
    /// is the last durable one now.
    ///
    /// # Errors
    ///
    /// [`LogError::OutOfRange`] if `index` is before the first record or more than one after the
    /// last; [`LogError::Io`] or [`LogError::Damaged`].
    pub fn read_from(&self, index: u64) -> Result<Reader, LogError> {
        let base = base::base(&*self.storage)?.map_or(0, |base| base.head.index);
        let (first, last) = (base + 1, self.durable.index);
        if index < first || index > last + 1 {
            return Err(LogError::OutOfRange { index, first, last });
        }
        Ok(Reader::open_at(self.storage.clone(), index)?.until(last))
    }

    /// Makes everything durable and marks the end with a seal, one sector and one fdatasync, so that
    /// the next start can tell exactly whether any record is missing. Does nothing if the end is
    /// marked already. An owner without work may call this to protect the last records at rest.
    ///
    /// # Errors
    ///
    /// As [`Log::sync`].
    pub fn seal(&mut self) -> Result<(), LogError> {
        self.sync()?;
        if !self.sealed {
            self.write_seal().map_err(|failure| self.fail(failure))?;
            self.sealed = true;
        }
        Ok(())
    }

    /// Seals the log and returns its last record. A log that is dropped without this is opened all
    /// the same.
    ///
    /// # Errors
    ///
    /// As [`Log::sync`].
    pub fn close(mut self) -> Result<Head, LogError> {
        self.seal()?;
        Ok(self.durable)
    }

    fn check_healthy(&self) -> Result<(), LogError> {
        match &self.failure {
            Some(failure) => Err(LogError::PreviousIo(failure.clone())),
            None => Ok(()),
        }
    }

    /// Nobody knows what is on disk after a failed write or fsync, so there is no second try.
    fn fail(&mut self, failure: IoFailure) -> LogError {
        self.failure = Some(failure.clone());
        LogError::Io(failure)
    }

    fn write_batch(&mut self) -> Result<(), IoFailure> {
        let count = self.pending.len().div_ceil(CONTENT) as u64;
        if self.segment.next > 1 && self.segment.overflows(count, self.config.segment_limit()) {
            self.segment =
                Segment::create(&*self.storage, &self.durable, self.config.first_fill())?;
        }
        self.reserve(count)?;
        self.sectors.clear();
        let (segment, first) = (self.segment.name.first_index, self.segment.next);
        sector::encode_batch(&mut self.sectors, segment, first, &self.pending);
        assert_eq!(self.sectors.len() as u64, count * SECTOR_BYTES, "room was made for this many");
        self.segment.write(&self.sectors)?;
        self.segment.sync()
    }

    fn write_seal(&mut self) -> Result<(), IoFailure> {
        self.reserve(1)?;
        self.sectors.clear();
        let (segment, number) = (self.segment.name.first_index, self.segment.next);
        let content = reader::seal(&self.durable);
        sector::encode(&mut self.sectors, (segment, number), Kind::Seal, number, &content);
        self.segment.write(&self.sectors)?;
        self.segment.sync()
    }

    fn reserve(&mut self, sectors: u64) -> Result<(), IoFailure> {
        let ahead = self.config.preallocate_bytes;
        self.segment.reserve(sectors, ahead, self.config.segment_limit())
    }
}
