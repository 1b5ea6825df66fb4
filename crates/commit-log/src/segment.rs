//! Segments: one append-only file each, zero-filled ahead of the data.
//!
//! Zeros are written ahead because a file that grows costs a write of metadata with every sync.
//! A segment gets its name only when its header and first zeros are on disk, so a file with a
//! segment's name always has a whole header.

use proctor_types::Digest;

use crate::error::{Damage, DamageKind, IoFailure, LogError};
use crate::record::{Head, digest_at, u32_at, u64_at};
use crate::sector::{self, Kind, SECTOR, Sector};
use crate::storage::{Access, Storage, StorageFile};

/// Bytes of a sector: what the disk is relied upon to write whole or not at all.
pub const SECTOR_BYTES: u64 = SECTOR as u64;
/// Version of the format that this program writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"PROCTLOG";
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;
const ENDING: &str = ".seg";
/// Ending of a segment that is being made; it holds no records.
const UNFINISHED_ENDING: &str = ".seg.new";
/// Zeros are written in pieces of this many bytes.
const ZERO_PIECE: usize = 1 << 20;

/// Name and first index of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) first_index: u64,
    pub(crate) file: String,
}

impl SegmentName {
    pub(crate) fn new(first_index: u64) -> Self {
        Self { first_index, file: format!("{first_index:020}{ENDING}") }
    }

    /// Returns `None` unless `file` is exactly the name of a segment.
    fn parse(file: &str) -> Option<Self> {
        let name = Self::new(file.strip_suffix(ENDING)?.parse().ok()?);
        (name.file == file).then_some(name)
    }

    pub(crate) fn damage(&self, offset: u64, index: u64, kind: DamageKind) -> LogError {
        LogError::Damaged(Damage { file: self.file.clone(), offset, index, kind })
    }
}

/// Lists the segments in order. Files with other endings are none of the log's business.
pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<SegmentName>, LogError> {
    let mut segments = Vec::new();
    for file in storage.list().map_err(IoFailure::of("list", "."))? {
        match SegmentName::parse(&file) {
            Some(name) => segments.push(name),
            None if file.ends_with(ENDING) => {
                let kind = DamageKind::SegmentName;
                return Err(Damage { file, offset: 0, index: 0, kind }.into());
            }
            None => {}
        }
    }
    segments.sort_by_key(|name| name.first_index);
    Ok(segments)
}

/// Removes what a crash during the creation of a segment left behind.
pub(crate) fn remove_unfinished(storage: &dyn Storage) -> Result<(), LogError> {
    for file in storage.list().map_err(IoFailure::of("list", "."))? {
        if file.ends_with(UNFINISHED_ENDING) {
            storage.remove(&file).map_err(IoFailure::of("remove", &file))?;
        }
    }
    Ok(())
}

/// Returns the content of the header of a segment that begins after `head`.
fn header(head: &Head) -> Vec<u8> {
    let mut content = Vec::with_capacity(HEADER_BYTES);
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    content.extend_from_slice(&(head.index + 1).to_le_bytes());
    content.extend_from_slice(&head.hash.0);
    content
}

/// Reads the header in `bytes` and returns the chain hash of the record before the segment.
///
/// # Errors
///
/// [`LogError::Damaged`] or [`LogError::UnsupportedVersion`].
pub(crate) fn decode_header(name: &SegmentName, bytes: &[u8; SECTOR]) -> Result<Digest, LogError> {
    let damage = |kind| name.damage(0, name.first_index, kind);
    let written = match sector::classify(bytes, (name.first_index, 0)) {
        Sector::Written(written) => written,
        Sector::Damaged(kind) => return Err(damage(kind)),
        Sector::Blank | Sector::Cut(_) => return Err(damage(DamageKind::NoHeader)),
    };
    let content = written.content;
    if written.kind != Kind::Header || written.batch != 0 || content.get(..8) != Some(&MAGIC[..]) {
        return Err(damage(DamageKind::NoHeader));
    }
    let found = content.get(8..12).map_or(0, |version| u32_at(version, 0));
    if found != FORMAT_VERSION {
        let file = name.file.clone();
        return Err(LogError::UnsupportedVersion { file, found, supported: FORMAT_VERSION });
    }
    if content.len() != HEADER_BYTES {
        return Err(damage(DamageKind::NoHeader));
    }
    let found = u64_at(content, 12);
    if found != name.first_index {
        return Err(damage(DamageKind::HeaderIndex { expected: name.first_index, found }));
    }
    Ok(digest_at(content, 20))
}

/// A segment open for appending.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: SegmentName,
    file: Box<dyn StorageFile>,
    /// Number of the sector that is written next.
    pub(crate) next: u32,
    /// Bytes of the file that are on disk, zero from `next` on.
    filled: u64,
}

impl Segment {
    /// Creates a segment that begins after `head`, with `fill` bytes on disk.
    pub(crate) fn create(storage: &dyn Storage, head: &Head, fill: u64) -> Result<Self, IoFailure> {
        let name = SegmentName::new(head.index + 1);
        let unfinished = format!("{:020}{UNFINISHED_ENDING}", name.first_index);
        let file = storage.create(&unfinished).map_err(IoFailure::of("create", &unfinished))?;
        let mut sector = Vec::new();
        sector::encode(&mut sector, (name.first_index, 0), Kind::Header, 0, &header(head));
        file.write_at(0, &sector).map_err(IoFailure::of("write", &unfinished))?;
        let mut segment = Self { name, file, next: 1, filled: SECTOR_BYTES };
        segment.fill(fill)?;
        segment.sync()?;
        let final_name = &segment.name.file;
        storage.rename(&unfinished, final_name).map_err(IoFailure::of("rename to", final_name))?;
        storage.sync_dir().map_err(IoFailure::of("sync", "."))?;
        Ok(segment)
    }

    /// Opens an existing segment to append at sector `next`, from where on it is blank.
    pub(crate) fn open(
        storage: &dyn Storage,
        name: SegmentName,
        next: u32,
    ) -> Result<Self, IoFailure> {
        let file =
            storage.open(&name.file, Access::Write).map_err(IoFailure::of("open", &name.file))?;
        let length = file.len().map_err(IoFailure::of("measure", &name.file))?;
        Ok(Self { name, file, next, filled: length / SECTOR_BYTES * SECTOR_BYTES })
    }

    /// Returns whether a batch of this many sectors goes beyond `limit` bytes.
    pub(crate) fn overflows(&self, sectors: u64, limit: u64) -> bool {
        (u64::from(self.next) + sectors) * SECTOR_BYTES > limit
    }

    /// Makes room for this many sectors: writes at least `ahead` bytes of zeros when there is not
    /// enough, but none beyond `limit` that are not needed.
    pub(crate) fn reserve(
        &mut self,
        sectors: u64,
        ahead: u64,
        limit: u64,
    ) -> Result<(), IoFailure> {
        let needed = (u64::from(self.next) + sectors) * SECTOR_BYTES;
        if needed <= self.filled {
            return Ok(());
        }
        self.fill((self.filled + ahead).min(limit).max(needed))?;
        // The new length must be on disk first: only then does a blank sector mean "not written".
        self.sync()
    }

    /// Writes zeros up to `until` bytes, rounded up to a sector. Not durable before a sync.
    fn fill(&mut self, until: u64) -> Result<(), IoFailure> {
        let until = until.div_ceil(SECTOR_BYTES) * SECTOR_BYTES;
        let zeros = vec![0; ZERO_PIECE];
        while self.filled < until {
            let left = usize::try_from(until - self.filled).unwrap_or(ZERO_PIECE);
            let piece = &zeros[..left.min(ZERO_PIECE)];
            self.write_at(self.filled, piece)?;
            self.filled += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes whole sectors at the end of the data. Not durable before [`Self::sync`].
    pub(crate) fn write(&mut self, sectors: &[u8]) -> Result<(), IoFailure> {
        let count = u32::try_from(sectors.len() / SECTOR).expect("a batch is bounded");
        self.write_at(u64::from(self.next) * SECTOR_BYTES, sectors)?;
        self.next += count;
        Ok(())
    }

    /// Writes at a byte offset; recovery uses it to blank a torn tail.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IoFailure> {
        self.file.write_at(offset, bytes).map_err(IoFailure::of("write", &self.name.file))
    }

    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), IoFailure> {
        self.file.read_at(offset, bytes).map_err(IoFailure::of("read", &self.name.file))
    }

    pub(crate) fn sync(&self) -> Result<(), IoFailure> {
        self.file.sync_data().map_err(IoFailure::of("sync", &self.name.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::faulty::FaultyDisk;
    use crate::storage::memory::MemoryStorage;

    #[test]
    fn only_the_exact_name_is_a_segments_name() {
        assert_eq!(SegmentName::parse("00000000000000000042.seg"), Some(SegmentName::new(42)));
        for name in ["42.seg", "+0000000000000000042.seg", "00000000000000000042.seg.new", ".seg"] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_of_a_later_version_is_named_as_such() {
        let name = SegmentName::new(1);
        let mut content = header(&Head::GENESIS);
        content[8] = 9;
        content.push(0);
        let mut bytes = Vec::new();
        sector::encode(&mut bytes, (1, 0), Kind::Header, 0, &content);
        let error = decode_header(&name, &bytes.try_into().unwrap()).unwrap_err();
        assert!(matches!(error, LogError::UnsupportedVersion { found: 9, supported: 1, .. }));
    }

    #[test]
    fn a_new_segment_is_blank_after_its_header_and_grows_in_steps() {
        let storage = MemoryStorage::new();
        let mut segment = Segment::create(&storage, &Head::GENESIS, 1_000).unwrap();
        let length = |storage: &MemoryStorage| storage.files()[&SegmentName::new(1).file].len();
        assert_eq!(length(&storage), 1_024);
        segment.reserve(1, 4_096, 8_192).unwrap();
        assert_eq!(length(&storage), 1_024);
        segment.reserve(2, 4_096, 8_192).unwrap();
        assert_eq!(length(&storage), 5_120);
        segment.reserve(10, 4_096, 8_192).unwrap();
        assert_eq!(length(&storage), 8_192);
        segment.reserve(20, 4_096, 8_192).unwrap();
        assert_eq!(length(&storage), 21 * 512);
        assert!(storage.files()[&segment.name.file][512..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn room_is_on_disk_before_anything_is_written_there() {
        let disk = FaultyDisk::new();
        let mut segment = Segment::create(&disk, &Head::GENESIS, 1_024).unwrap();
        assert_eq!(disk.undecided(), 0);
        segment.reserve(40, 4_096, 1 << 20).unwrap();
        assert_eq!(disk.undecided(), 0);
    }
}
