//! Reading: records in order, each one checked, without changing anything on disk.
//!
//! A reader needs memory for one batch, not for the log. It may run beside the writer, also in
//! another process. Then it must not look at the batch that is being written just now, which may
//! be there but not durable, or there in part, and even look damaged: whoever follows a writer
//! reads up to an index that the writer has announced as durable ([`Reader::until`]), and goes on
//! from there when the next is announced ([`Reader::extend`]).

use std::sync::Arc;

use crate::base;
use crate::error::{DamageKind, IoFailure, LogError};
use crate::record::{Frame, Head, Record, digest_at, u64_at};
use crate::segment::{self, SECTOR_BYTES, SegmentName};
use crate::storage::{Access, Storage};

mod cursor;

use cursor::{Cursor, Step, Tear};

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The last record.
    pub head: Head,
    /// Number of segments.
    pub segments: usize,
    /// The log was closed cleanly: its end is known exactly, and nothing is missing there.
    pub sealed: bool,
    /// A batch after the last record that was not written completely, and so never acknowledged.
    pub torn: Option<TornTail>,
}

/// A batch that a crash left incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// File name of the last segment.
    pub file: String,
    /// Byte offset at which the batch begins.
    pub offset: u64,
    /// Bytes from there to the end of the last sector that holds anything.
    pub bytes: u64,
    /// Index that the first record of the batch had.
    pub index: u64,
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Number of records.
    pub records: u64,
    /// Sum of their payloads, in bytes.
    pub payload_bytes: u64,
    /// How the log ends.
    pub end: End,
}

/// Reads a whole log from the first record and checks everything that can be checked.
///
/// # Errors
///
/// [`LogError::Damaged`], [`LogError::UnsupportedVersion`] or [`LogError::Io`].
pub fn verify(storage: Arc<dyn Storage>) -> Result<Verified, LogError> {
    let mut scanner = Scanner::new(storage)?;
    let (mut records, mut payload_bytes) = (0, 0);
    let first = scanner.first;
    while let Some(record) = scanner.next_record()? {
        if record.frame.index >= first {
            records += 1;
            payload_bytes += record.frame.payload.len() as u64;
        }
    }
    Ok(Verified { records, payload_bytes, end: scanner.into_end() })
}

/// An iterator over the records of a log. Ends after the first error.
#[derive(Debug)]
pub struct Reader {
    scanner: Scanner,
    from: u64,
    until: u64,
    failed: bool,
}

impl Reader {
    /// Opens a log at its first record, which is 1 unless it has a [`crate::Base`]. An empty directory
    /// is an empty log.
    ///
    /// # Errors
    ///
    /// [`LogError::Damaged`], [`LogError::UnsupportedVersion`] or [`LogError::Io`]; those of
    /// [`crate::base::base`].
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, LogError> {
        let scanner = Scanner::new(storage)?;
        let from = scanner.first;
        Ok(Self { scanner, from, until: u64::MAX, failed: false })
    }

    /// Opens a log at record `from`, or at its end if it has fewer.
    ///
    /// Segments that end before `from` are not read, and so not checked.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`], and [`LogError::OutOfRange`] if the log begins after `from`.
    pub fn open_at(storage: Arc<dyn Storage>, from: u64) -> Result<Self, LogError> {
        let mut scanner = Scanner::new(storage)?;
        let first = scanner.first;
        if from < first {
            return Err(LogError::OutOfRange { index: from, first, last: u64::MAX });
        }
        scanner.skip_to(from)?;
        Ok(Self { scanner, from, until: u64::MAX, failed: false })
    }

    /// Stops after record `index`, and looks at nothing behind it.
    #[must_use]
    pub fn until(self, index: u64) -> Self {
        Self { until: index, ..self }
    }

    /// Goes on to record `index`, if the reader was at its end: sees what has been written since.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] if the directory cannot be listed or the file not measured. A reader that
    /// has returned an error stays at its end.
    pub fn extend(&mut self, index: u64) -> Result<(), LogError> {
        self.until = self.until.max(index);
        self.scanner.refresh()
    }

    /// Returns the record that is the first here.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.scanner.first
    }

    /// Returns the last record read so far.
    #[must_use]
    pub fn head(&self) -> Head {
        self.scanner.head
    }

    /// Returns how the log ends, once the iterator has returned `None` there.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.scanner.end.as_ref()
    }

    fn read(&mut self) -> Result<Option<Record>, LogError> {
        while self.scanner.head.index < self.until {
            let Some(CheckedFrame { frame, hash }) = self.scanner.next_record()? else {
                return Ok(None);
            };
            if frame.index >= self.from {
                let Frame { index, parent, payload, .. } = frame;
                return Ok(Some(Record { index, parent, hash, payload: payload.to_vec() }));
            }
        }
        Ok(None)
    }
}

impl Iterator for Reader {
    type Item = Result<Record, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

/// A frame that follows the one before it.
#[derive(Debug)]
pub(crate) struct CheckedFrame<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) hash: proctor_types::Digest,
}

/// Sectors `first..end` of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SectorRange {
    pub(crate) first: u32,
    pub(crate) end: u32,
}

/// Goes through the segments, batch by batch and record by record.
#[derive(Debug)]
pub(crate) struct Scanner {
    storage: Arc<dyn Storage>,
    /// The first record that counts: what a segment holds before it is only checked.
    pub(crate) first: u64,
    /// The record before it, until it was met.
    base: Option<Head>,
    segments: Vec<SegmentName>,
    /// Segments opened so far; the cursor is in the last of them.
    opened: usize,
    cursor: Option<Cursor>,
    pub(crate) head: Head,
    sealed: bool,
    /// Contents of the current batch's sectors, and how much of it has been read.
    batch: Vec<u8>,
    consumed: usize,
    /// Where the last complete batch is in the last segment.
    pub(crate) last_batch: Option<SectorRange>,
    /// What a crash left after it.
    pub(crate) tear: Option<Tear>,
    end: Option<End>,
}

impl Scanner {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Result<Self, LogError> {
        let base = base::base(&*storage)?.map(|base| base.head);
        let mut segments = segment::list(&*storage)?;
        let mut head = base.unwrap_or(Head::GENESIS);
        let first = head.index + 1;
        // The ones before are to be removed, or will be.
        segments.drain(..base::place_of_first(&segments, head.index));
        if let (Some(_), Some(name)) = (base, segments.first())
            && name.first_index < first
        {
            let (_, hash) = Cursor::open(&*storage, name.clone())?;
            head = Head { index: name.first_index - 1, hash };
        }
        let mut scanner = Self {
            storage,
            first,
            base: base.filter(|base| *base != head),
            segments,
            opened: 0,
            cursor: None,
            head,
            sealed: false,
            batch: Vec::new(),
            consumed: 0,
            last_batch: None,
            tear: None,
            end: None,
        };
        scanner.open_next()?;
        Ok(scanner)
    }

    /// Continues with the segment that holds record `index`, taking its header's word for the
    /// chain hash of what comes before.
    fn skip_to(&mut self, index: u64) -> Result<(), LogError> {
        let begun = self.segments.iter().take_while(|name| name.first_index <= index).count();
        if begun > self.opened {
            let name = &self.segments[begun - 1];
            let (_, hash) = Cursor::open(&*self.storage, name.clone())?;
            self.head = Head { index: name.first_index - 1, hash };
            self.base = self.base.filter(|base| base.index > self.head.index);
            self.opened = begun - 1;
            self.open_next()?;
        }
        Ok(())
    }

    /// Returns the segments' names, and the number of the sector after the last batch.
    pub(crate) fn tail(&self) -> Option<(&SegmentName, u32)> {
        let next = self.cursor.as_ref()?.next;
        self.segments.last().map(|name| (name, next))
    }

    pub(crate) fn into_end(self) -> End {
        let (head, segments, sealed) = (self.head, self.segments.len(), self.sealed);
        self.end.unwrap_or(End { head, segments, sealed, torn: None })
    }

    /// Forgets that the log ended here, and what was read ahead.
    fn refresh(&mut self) -> Result<(), LogError> {
        // Those before the current one may have been removed meanwhile.
        let read = self.segments.get(..self.opened).unwrap_or_default().to_vec();
        let after = read.last().map_or(0, |name| name.first_index);
        let newer = segment::list(&*self.storage)?.into_iter();
        self.segments = read.into_iter().chain(newer.filter(|n| n.first_index > after)).collect();
        (self.end, self.tear) = (None, None);
        match &mut self.cursor {
            Some(cursor) => cursor.refresh(),
            None => self.open_next().map(drop),
        }
    }

    /// Opens the next segment, which must begin where the log is.
    fn open_next(&mut self) -> Result<bool, LogError> {
        let Some(name) = self.segments.get(self.opened) else { return Ok(false) };
        let expected = self.head.index + 1;
        if name.first_index != expected {
            let kind = DamageKind::SegmentOrder { expected, found: name.first_index };
            return Err(name.damage(0, expected, kind));
        }
        let (cursor, found) = Cursor::open(&*self.storage, name.clone())?;
        if found != self.head.hash {
            let kind = DamageKind::HeaderParent { expected: self.head.hash, found };
            return Err(name.damage(0, expected, kind));
        }
        self.cursor = Some(cursor);
        self.opened += 1;
        self.last_batch = None;
        self.sealed = false;
        Ok(true)
    }

    /// Returns the next record, or `None` at the end of the log.
    pub(crate) fn next_record(&mut self) -> Result<Option<CheckedFrame<'_>>, LogError> {
        while self.consumed == self.batch.len() {
            if !self.next_batch()? {
                return Ok(None);
            }
        }
        let (bytes, expected) = (&self.batch[self.consumed..], self.head);
        let frame = Frame::decode(bytes).and_then(|frame| follow(frame, &expected));
        let checked = match frame {
            Ok(checked) => checked,
            Err(kind) => return Err(self.damage(self.consumed, kind)),
        };
        let head = Head { index: checked.frame.index, hash: checked.hash };
        match self.base {
            Some(base) if base == head => self.base = None,
            Some(base) if base.index == head.index => {
                let kind = DamageKind::Base { index: base.index };
                return Err(self.damage(self.consumed, kind));
            }
            Some(_) | None => {}
        }
        self.consumed += checked.frame.bytes();
        self.head = head;
        Ok(Some(checked))
    }

    /// Reads the next batch, in this segment or the next ones. Returns `false` at the end.
    fn next_batch(&mut self) -> Result<bool, LogError> {
        while self.end.is_none() {
            let is_last = self.opened == self.segments.len();
            let index = self.head.index + 1;
            self.batch.clear();
            self.consumed = 0;
            let Some(cursor) = &mut self.cursor else { break };
            match cursor.step(&mut self.batch, is_last, index)? {
                Step::Batch(range) => {
                    self.last_batch = Some(range);
                    self.sealed = false;
                    return Ok(true);
                }
                Step::Seal(range) => {
                    self.check_seal(&range)?;
                    self.batch.clear();
                    self.last_batch = Some(range);
                    self.sealed = true;
                }
                Step::End(tear) => {
                    self.batch.clear();
                    if !self.open_next()? {
                        self.finish(tear)?;
                    }
                }
            }
        }
        Ok(false)
    }

    fn finish(&mut self, tear: Option<Tear>) -> Result<(), LogError> {
        if let Some(base) = self.base {
            return Err(self.damage(0, DamageKind::Base { index: base.index }));
        }
        let torn = tear.as_ref().zip(self.segments.last()).map(|(tear, name)| TornTail {
            file: name.file.clone(),
            offset: u64::from(tear.first) * SECTOR_BYTES,
            bytes: u64::from(tear.end - tear.first) * SECTOR_BYTES,
            index: self.head.index + 1,
        });
        self.tear = tear;
        let (head, segments) = (self.head, self.segments.len());
        let sealed = self.sealed && torn.is_none();
        self.end = Some(End { head, segments, sealed, torn });
        Ok(())
    }

    fn check_seal(&self, range: &SectorRange) -> Result<(), LogError> {
        let fields = (self.batch.len() == 40)
            .then(|| Head { index: u64_at(&self.batch, 0), hash: digest_at(&self.batch, 8) });
        let kind = match fields {
            Some(head) if head == self.head => return Ok(()),
            Some(head) => DamageKind::Seal { expected: self.head.index, found: head.index },
            None => DamageKind::SectorFields,
        };
        let name = &self.segments[self.opened - 1];
        Err(name.damage(u64::from(range.first) * SECTOR_BYTES, self.head.index, kind))
    }

    /// Damage at a byte of the current batch's contents.
    fn damage(&self, at: usize, kind: DamageKind) -> LogError {
        let name = &self.segments[self.opened - 1];
        let first = self.last_batch.as_ref().map_or(0, |range| range.first);
        name.damage(cursor::file_offset(first, at), self.head.index + 1, kind)
    }
}

/// Checks that a frame comes next after `head`.
fn follow<'a>(frame: Frame<'a>, head: &Head) -> Result<CheckedFrame<'a>, DamageKind> {
    let expected = head.index + 1;
    if frame.index != expected {
        return Err(DamageKind::FrameIndex { expected, found: frame.index });
    }
    if frame.parent != head.hash {
        return Err(DamageKind::FrameParent { expected: head.hash, found: frame.parent });
    }
    let hash = frame.hash();
    Ok(CheckedFrame { frame, hash })
}

/// Returns the content of a seal.
pub(crate) fn seal(head: &Head) -> Vec<u8> {
    let mut content = head.index.to_le_bytes().to_vec();
    content.extend_from_slice(&head.hash.0);
    content
}

/// Opens a file of the log for reading.
fn open_file(
    storage: &dyn Storage,
    name: &SegmentName,
) -> Result<Box<dyn crate::storage::StorageFile>, IoFailure> {
    storage.open(&name.file, Access::Read).map_err(IoFailure::of("open", &name.file))
}

#[cfg(test)]
mod tests;
