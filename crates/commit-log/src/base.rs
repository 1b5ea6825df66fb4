//! Where a log begins when that is not record 1: after a snapshot, before which nothing counts.
//!
//! The file `BASE` names the record before the first, and holds the owner's proof of it. It is
//! replaced in one step, so at any moment the directory says one thing. A log that is begun anew
//! goes through a phase that every start can finish: first the snapshot is there under another
//! name, then `BASE` says that it holds, and only then is anything deleted.

use std::sync::Arc;

use crate::error::{IoFailure, LogError};
use crate::record::{Head, digest_at, u32_at, u64_at};
use crate::segment;
use crate::snapshot::{self, SnapshotStore};
use crate::storage::{Access, Storage};

/// The longest proof, in bytes.
pub const PROOF_BYTES_MAX: usize = 1 << 20;

const FILE: &str = "BASE";
const UNFINISHED: &str = "BASE.new";
const MAGIC: &[u8; 8] = b"PROCTBAS";
const FORMAT_VERSION: u32 = 1;
/// Bytes before the proof, and the checksum behind it.
const HEADER_BYTES: usize = 8 + 4 + 1 + 8 + 32 + 4;
const CHECKSUM_BYTES: usize = 32;

/// What a log begins after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The record before the first; a snapshot of the state after it is beside the log.
    pub head: Head,
    /// Why the owner believes that; stored, not interpreted.
    pub proof: Vec<u8>,
}

/// How far a base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The log begins there.
    Settled,
    /// What was there before is being removed, and holds nothing any more.
    Beginning,
}

/// Returns what the log in `storage` begins after; `None` when it begins with record 1.
///
/// # Errors
/// [`LogError::Unfinished`] while the log is being begun anew: whoever opens it for writing finishes
/// that. [`LogError::BaseDamaged`], [`LogError::UnsupportedVersion`] or [`LogError::Io`].
pub fn base(storage: &dyn Storage) -> Result<Option<Base>, LogError> {
    match load(storage)? {
        None => Ok(None),
        Some((base, Phase::Settled)) => Ok(Some(base)),
        Some((base, Phase::Beginning)) => Err(LogError::Unfinished { base: base.head.index }),
    }
}

/// Begins the log in `storage` anew after `base`, whose snapshot was staged by
/// [`SnapshotStore::stage`] and finished: all records and older snapshots are removed. Nobody may
/// have the log open for appending. A crash leaves the old log or, from the moment on at which
/// `BASE` is replaced, the new one, which the next [`crate::Log::open`] finishes.
///
/// # Errors
/// [`LogError`]; what the directory holds then is for the next open to tell.
pub fn begin_after(storage: &Arc<dyn Storage>, base: &Base) -> Result<(), LogError> {
    store(&**storage, base, Phase::Beginning)?;
    finish(storage)
}

/// Lets the log begin after `base`, which is one of its records and has a snapshot: what is before
/// counts no more, and [`prune`] removes it.
///
/// # Errors
/// [`LogError::OutOfRange`] when the log begins after that already; as [`base`].
pub fn advance(storage: &dyn Storage, to: &Base) -> Result<(), LogError> {
    let first = base(storage)?.map_or(1, |old| old.head.index + 1);
    if to.head.index < first {
        return Err(LogError::OutOfRange { index: to.head.index, first, last: u64::MAX });
    }
    store(storage, to, Phase::Settled)
}

/// Removes the segments of which no record counts any more, the oldest first, and returns how many.
/// The last one always stays.
///
/// # Errors
/// As [`base`]; some may have been removed then.
pub fn prune(storage: &dyn Storage) -> Result<usize, LogError> {
    let Some(base) = base(storage)? else { return Ok(0) };
    let segments = segment::list(storage)?;
    let needed = place_of_first(&segments, base.head.index);
    for name in segments.iter().take(needed) {
        storage.remove(&name.file).map_err(IoFailure::of("remove", &name.file))?;
        storage.sync_dir().map_err(IoFailure::of("sync", "."))?;
    }
    Ok(needed)
}

/// Returns the place of the segment in which the record after `base` is, or will be.
pub(crate) fn place_of_first(segments: &[segment::SegmentName], base: u64) -> usize {
    segments.iter().take_while(|name| name.first_index <= base + 1).count().saturating_sub(1)
}

/// Finishes the beginning of a log that was begun anew, if there is one. Every step may be repeated.
pub(crate) fn finish(storage: &Arc<dyn Storage>) -> Result<(), LogError> {
    let Some((base, Phase::Beginning)) = load(&**storage)? else { return Ok(()) };
    let at = base.head.index;
    let snapshots = SnapshotStore::new(Arc::clone(storage));
    snapshots.unstage(at)?;
    for name in segment::list(&**storage)? {
        storage.remove(&name.file).map_err(IoFailure::of("remove", &name.file))?;
    }
    for older in snapshots.list()?.into_iter().filter(|index| *index < at) {
        let name = snapshot::file_name(older);
        storage.remove(&name).map_err(IoFailure::of("remove", &name))?;
    }
    storage.sync_dir().map_err(IoFailure::of("sync", "."))?;
    store(&**storage, &base, Phase::Settled)
}

fn store(storage: &dyn Storage, base: &Base, phase: Phase) -> Result<(), LogError> {
    let (bytes, max) = (base.proof.len(), PROOF_BYTES_MAX);
    if bytes > max {
        return Err(LogError::PayloadTooLarge { bytes, max });
    }
    let file = storage.create(UNFINISHED).map_err(IoFailure::of("create", UNFINISHED))?;
    file.write_at(0, &encode(base, phase)).map_err(IoFailure::of("write", UNFINISHED))?;
    file.sync_data().map_err(IoFailure::of("sync", UNFINISHED))?;
    storage.rename(UNFINISHED, FILE).map_err(IoFailure::of("rename to", FILE))?;
    Ok(storage.sync_dir().map_err(IoFailure::of("sync", "."))?)
}

fn encode(base: &Base, phase: Phase) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.push(match phase {
        Phase::Settled => 0,
        Phase::Beginning => 1,
    });
    bytes.extend_from_slice(&base.head.index.to_le_bytes());
    bytes.extend_from_slice(&base.head.hash.0);
    bytes.extend_from_slice(&u32::try_from(base.proof.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&base.proof);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

fn load(storage: &dyn Storage) -> Result<Option<(Base, Phase)>, LogError> {
    let file = match storage.open(FILE, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IoFailure::of("open", FILE)(error).into()),
    };
    let bytes = file.len().map_err(IoFailure::of("measure", FILE))?;
    let max = HEADER_BYTES + PROOF_BYTES_MAX + CHECKSUM_BYTES;
    let length = usize::try_from(bytes).ok();
    let length = length.filter(|bytes| (HEADER_BYTES + CHECKSUM_BYTES..=max).contains(bytes));
    let mut bytes = vec![0; length.ok_or(LogError::BaseDamaged("its length is wrong"))?];
    file.read_at(0, &mut bytes).map_err(IoFailure::of("read", FILE))?;
    decode(&bytes).map(Some)
}

/// Reads a file that is long enough for header and checksum.
fn decode(bytes: &[u8]) -> Result<(Base, Phase), LogError> {
    let damaged = |what| Err(LogError::BaseDamaged(what));
    let (contents, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if contents[..8] != MAGIC[..] {
        return damaged("the magic number is wrong");
    }
    if blake3::hash(contents).as_bytes() != checksum {
        return damaged("the checksum is wrong");
    }
    let found = u32_at(contents, 8);
    if found != FORMAT_VERSION {
        let supported = FORMAT_VERSION;
        return Err(LogError::UnsupportedVersion { file: FILE.into(), found, supported });
    }
    let phase = match contents[12] {
        0 => Phase::Settled,
        1 => Phase::Beginning,
        _ => return damaged("the phase is unknown"),
    };
    let head = Head { index: u64_at(contents, 13), hash: digest_at(contents, 21) };
    let proof = contents[HEADER_BYTES..].to_vec();
    if head.index == 0 || head.index == u64::MAX || u32_at(contents, 53) as usize != proof.len() {
        return damaged("its fields make no sense");
    }
    Ok((Base { head, proof }, phase))
}
