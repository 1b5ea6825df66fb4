//! Recovery: a torn tail is cut, damage anywhere else is refused and left as it is.

use std::sync::Arc;

use crate::base;
use crate::error::LogError;
use crate::reader::{Scanner, SectorRange, TornTail};
use crate::record::Head;
use crate::segment::{self, SECTOR_BYTES, Segment};
use crate::storage::Storage;
use crate::writer::LogConfig;

/// What [`crate::Log::open`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The last record; it and all before it are durable.
    pub head: Head,
    /// Number of segments.
    pub segments: usize,
    /// The log had been closed cleanly.
    pub sealed: bool,
    /// The batch that a crash had left incomplete and that was cut off, if any. None of its
    /// records was ever acknowledged.
    pub cut: Option<TornTail>,
}

/// Checks the whole log, cuts a torn tail and opens the last segment for appending.
pub(crate) fn recover(
    storage: &Arc<dyn Storage>,
    config: &LogConfig,
) -> Result<(Segment, Recovery), LogError> {
    base::finish(storage)?;
    let mut scanner = Scanner::new(storage.clone())?;
    while scanner.next_record()?.is_some() {}
    // All is read and nothing is damaged: only from here on is anything changed.
    segment::remove_unfinished(&**storage)?;
    let Some((name, next)) = scanner.tail().map(|(name, next)| (name.clone(), next)) else {
        let head = scanner.head;
        let segment = Segment::create(&**storage, &head, config.first_fill())?;
        let recovery = Recovery { head, segments: 1, sealed: false, cut: None };
        return Ok((segment, recovery));
    };
    let (last_batch, tear) = (scanner.last_batch.clone(), scanner.tear.clone());
    let end = scanner.into_end();
    let segment = Segment::open(&**storage, name, next)?;
    settle(&segment, last_batch, tear)?;
    // The crash may have come between the renaming of the segment and the sync of the directory.
    storage.sync_dir().map_err(crate::IoFailure::of("sync", "."))?;
    let recovery =
        Recovery { head: end.head, segments: end.segments, sealed: end.sealed, cut: end.torn };
    Ok((segment, recovery))
}

/// Makes the end of the last segment durable as it was read.
///
/// The last batch is written once more, because that it can be read does not say that it is on
/// disk: a process may have been killed before its fsync, and after a failed fsync the kernel may
/// hold pages that it believes clean and never wrote. This goes for a seal as well: a batch
/// behind a seal that vanished would look like damage.
fn settle(
    segment: &Segment,
    last_batch: Option<SectorRange>,
    tear: Option<SectorRange>,
) -> Result<(), LogError> {
    if let Some(range) = last_batch {
        let mut bytes = vec![0; byte_count(&range)];
        let offset = u64::from(range.first) * SECTOR_BYTES;
        segment.read_at(offset, &mut bytes)?;
        segment.write_at(offset, &bytes)?;
    }
    if let Some(range) = tear {
        let zeros = vec![0; byte_count(&range)];
        segment.write_at(u64::from(range.first) * SECTOR_BYTES, &zeros)?;
    }
    Ok(segment.sync()?)
}

fn byte_count(range: &SectorRange) -> usize {
    (range.end - range.first) as usize * crate::sector::SECTOR
}
