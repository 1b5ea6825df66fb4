//! A walk over the sectors of one segment that tells a crash from damage.
//!
//! The writer begins a batch only after everything before it is on disk. So blank or cut sectors
//! are the work of a crash only if they are in the last segment and every written sector from the
//! first of them on belongs to the batch that begins where the last complete one ends. Anything
//! else is damage.

use proctor_types::Digest;

use crate::error::{DamageKind, IoFailure, LogError};
use crate::reader::{SectorRange, open_file};
use crate::sector::{self, CONTENT, Kind, SECTOR, Sector, Written};
use crate::segment::{self, SECTOR_BYTES, SegmentName};
use crate::storage::{Storage, StorageFile};
use crate::writer::MAX_BATCH_BYTES;

/// Sectors read from the file at once (1 MiB).
const CHUNK: u32 = 2_048;
/// Sectors of the longest batch.
const BATCH_SECTORS_MAX: u32 = 67_244;
const _: () = assert!(BATCH_SECTORS_MAX as usize == MAX_BATCH_BYTES.div_ceil(CONTENT));
/// Bytes of a sector before its content.
const SECTOR_PREFIX: usize = 8;

/// Sectors `first..end`: an incomplete batch at the end of the last segment.
pub(crate) type Tear = SectorRange;

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Step {
    /// A complete batch; its content is in the buffer.
    Batch(SectorRange),
    /// A seal; its content is in the buffer.
    Seal(SectorRange),
    /// Nothing more, but perhaps an incomplete batch.
    End(Option<Tear>),
}

/// A position in a segment.
#[derive(Debug)]
pub(crate) struct Cursor {
    name: SegmentName,
    file: Box<dyn StorageFile>,
    /// Whole sectors in the file.
    sectors: u32,
    /// Number of the sector with which the next batch begins.
    pub(crate) next: u32,
    /// Sectors from `chunk_first` on.
    chunk: Vec<u8>,
    chunk_first: u32,
    /// Index of the next record, for error messages.
    index: u64,
}

impl Cursor {
    /// Opens a segment after its header; returns the chain hash in the header too.
    pub(crate) fn open(
        storage: &dyn Storage,
        name: SegmentName,
    ) -> Result<(Self, Digest), LogError> {
        let file = open_file(storage, &name)?;
        let index = name.first_index;
        let chunk = Vec::new();
        let mut cursor = Self { name, file, sectors: 0, next: 1, chunk, chunk_first: 0, index };
        cursor.refresh()?;
        let name = cursor.name.clone();
        let Some(header) = cursor.sector(0)? else {
            return Err(name.damage(0, index, DamageKind::NoHeader));
        };
        let parent = segment::decode_header(&name, header)?;
        Ok((cursor, parent))
    }

    /// Measures the file anew and forgets what was read of it.
    pub(crate) fn refresh(&mut self) -> Result<(), LogError> {
        let bytes = self.file.len().map_err(IoFailure::of("measure", &self.name.file))?;
        self.sectors = u32::try_from(bytes / SECTOR_BYTES)
            .map_err(|_| self.damage(0, DamageKind::FileTooLong { bytes }))?;
        self.chunk.clear();
        self.check_odd_end(bytes)
    }

    /// Bytes after the last whole sector are zeros of a file that was being lengthened.
    fn check_odd_end(&self, length: u64) -> Result<(), LogError> {
        let mut odd = vec![0; usize::try_from(length % SECTOR_BYTES).unwrap_or(0)];
        let offset = length - odd.len() as u64;
        self.file.read_at(offset, &mut odd).map_err(IoFailure::of("read", &self.name.file))?;
        match odd.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(self.damage(self.sectors, DamageKind::FileCut)),
        }
    }

    /// Reads the next batch into `out`, which is empty. `index` is the next record's.
    pub(crate) fn step(
        &mut self,
        out: &mut Vec<u8>,
        is_last: bool,
        index: u64,
    ) -> Result<Step, LogError> {
        self.index = index;
        let first = self.next;
        let mut number = first;
        loop {
            let written = match self.classify(number)? {
                Sector::Written(written) => written,
                Sector::Damaged(kind) => return Err(self.damage(number, kind)),
                Sector::Blank | Sector::Cut(_) => return self.finish(first, number, is_last),
            };
            if !fits(&written, first, number) {
                let later = written.batch > first;
                let kind = if later { DamageKind::SectorMissing } else { DamageKind::SectorFields };
                return Err(self.damage(number, kind));
            }
            out.extend_from_slice(written.content);
            let kind = written.kind;
            if out.len() > MAX_BATCH_BYTES {
                return Err(self.damage(number, DamageKind::BatchTooLong { max: MAX_BATCH_BYTES }));
            }
            number += 1;
            if kind != Kind::More {
                self.next = number;
                let range = SectorRange { first, end: number };
                let is_seal = kind == Kind::Seal;
                return Ok(if is_seal { Step::Seal(range) } else { Step::Batch(range) });
            }
        }
    }

    /// Sector `gap` of the batch that begins at `first` is not there: checks that a crash explains
    /// it, by looking at everything behind it.
    fn finish(&mut self, first: u32, gap: u32, is_last: bool) -> Result<Step, LogError> {
        if !is_last && gap > first {
            // A later segment exists, so this batch was acknowledged.
            return Err(self.damage(gap, DamageKind::SectorMissing));
        }
        let (mut end, mut complete) = (gap, false);
        for number in gap..self.sectors {
            let (torn, kind) = match self.classify(number)? {
                Sector::Blank => continue,
                Sector::Damaged(kind) => (false, kind),
                Sector::Cut(batch) => {
                    (batch.is_none_or(|batch| batch == first), DamageKind::SectorStray)
                }
                Sector::Written(written) if written.batch > first => {
                    return Err(self.damage(gap, DamageKind::SectorMissing));
                }
                Sector::Written(written) => {
                    let torn = !complete && fits(&written, first, number);
                    complete = written.kind != Kind::More;
                    (torn, DamageKind::SectorStray)
                }
            };
            if !torn || !is_last {
                return Err(self.damage(number, kind));
            }
            end = number + 1;
        }
        if end - first > BATCH_SECTORS_MAX {
            return Err(self.damage(first, DamageKind::BatchTooLong { max: MAX_BATCH_BYTES }));
        }
        Ok(Step::End((end > first).then_some(SectorRange { first, end })))
    }

    fn classify(&mut self, number: u32) -> Result<Sector<'_>, LogError> {
        let place = (self.name.first_index, number);
        Ok(match self.sector(number)? {
            Some(bytes) => sector::classify(bytes, place),
            None => Sector::Blank,
        })
    }

    /// Returns a sector's bytes, or `None` after the end of the file.
    fn sector(&mut self, number: u32) -> Result<Option<&[u8; SECTOR]>, LogError> {
        if number >= self.sectors {
            return Ok(None);
        }
        let held = self.chunk.len() / SECTOR;
        let within = number.checked_sub(self.chunk_first).map(|at| at as usize);
        let at = match within {
            Some(at) if at < held => at,
            _ => {
                self.load(number)?;
                0
            }
        };
        Ok(self.chunk.as_chunks::<SECTOR>().0.get(at))
    }

    fn load(&mut self, number: u32) -> Result<(), IoFailure> {
        let count = CHUNK.min(self.sectors - number) as usize;
        self.chunk.resize(count * SECTOR, 0);
        self.chunk_first = number;
        self.file
            .read_at(u64::from(number) * SECTOR_BYTES, &mut self.chunk)
            .map_err(IoFailure::of("read", &self.name.file))
    }

    fn damage(&self, number: u32, kind: DamageKind) -> LogError {
        self.name.damage(u64::from(number) * SECTOR_BYTES, self.index, kind)
    }
}

/// Returns whether a written sector can be sector `number` of the batch that begins at `first`.
fn fits(written: &Written<'_>, first: u32, number: u32) -> bool {
    let shape = match written.kind {
        Kind::Header => false,
        Kind::More => written.content.len() == CONTENT,
        Kind::Last => !written.content.is_empty(),
        Kind::Seal => number == first,
    };
    shape && written.batch == first
}

/// Returns where byte `at` of the contents of a batch is in its file.
pub(crate) fn file_offset(first: u32, at: usize) -> u64 {
    let sector = u64::from(first) + (at / CONTENT) as u64;
    sector * SECTOR_BYTES + (SECTOR_PREFIX + at % CONTENT) as u64
}
