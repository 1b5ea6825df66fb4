//! The file of headers: the one of height `h` is record `h - 1`, so any range is one read.
//!
//! Nothing here is synced: what a crash takes is made again from the log at the next start.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{Head, LogError, Reader, Record};
use proctor_p2p::codec::{Canonical as _, Reader as Decoder};
use proctor_p2p::header::{BODY_BYTES_MAX, HEADER_BYTES};
use proctor_p2p::{ChainId, Facts, Header, Manifest, Tip};
use proctor_types::Digest;
use proctor_wire::log_entry;

use crate::file::{ChainFile, FileFailure, PREFIX_BYTES};
use crate::store::ChainError;

const MAGIC: [u8; 8] = *b"PRHEADS1";
/// A header and its checksum.
const RECORD_BYTES: usize = HEADER_BYTES + 4;
/// How many of the last headers are checked against each other at a start.
const CHECKED: u64 = 256;

/// Headers that can be read by anyone while one appends.
#[derive(Debug)]
pub(crate) struct Headers {
    file: ChainFile,
    chain: ChainId,
    len: AtomicU64,
    /// The first height whose header is here.
    lowest: AtomicU64,
}

/// The one that makes headers of what the log gains.
#[derive(Debug)]
pub(crate) struct Maker {
    storage: Arc<dyn Storage>,
    headers: Arc<Headers>,
    log: Reader,
    tip: Tip,
    /// Chain hash of the log's record at the tip.
    record: Digest,
}

impl Headers {
    /// Returns the headers `from..=to`, as far as they are here and whole.
    pub(crate) fn range(&self, from: u64, to: u64) -> Result<Vec<Header>, FileFailure> {
        let to = to.min(self.len.load(Ordering::Acquire));
        if from == 0 || from > to {
            return Ok(Vec::new());
        }
        let count = usize::try_from(to - from + 1).unwrap_or(usize::MAX);
        let mut bytes = vec![0; count * RECORD_BYTES];
        if !self.file.read(&mut bytes, offset(from))? {
            return Ok(Vec::new());
        }
        Ok(bytes.chunks_exact(RECORD_BYTES).map_while(decode).collect())
    }

    /// Returns the header of `height`, if it is here and whole.
    pub(crate) fn get(&self, height: u64) -> Result<Option<Header>, FileFailure> {
        Ok(self.range(height, height)?.pop())
    }

    /// Returns the height of the last header.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Returns the height of the first header.
    pub(crate) fn lowest(&self) -> u64 {
        self.lowest.load(Ordering::Acquire)
    }

    /// Looks for the first header: those that are here go on to `end` without a gap.
    fn find_lowest(&self, end: u64) -> Result<u64, FileFailure> {
        let (mut missing, mut here) = (0, end + 1);
        while missing + 1 < here {
            let middle = missing + (here - missing) / 2;
            match self.get(middle)? {
                Some(_) => here = middle,
                None => missing = middle,
            }
        }
        Ok(here)
    }

    /// Forgets all headers: the next one is that after `height`.
    fn begin_after(&self, height: u64) -> Result<(), FileFailure> {
        self.file.cut(PREFIX_BYTES)?;
        self.lowest.store(height + 1, Ordering::Release);
        self.len.store(height, Ordering::Release);
        Ok(())
    }
}

impl Maker {
    /// Opens the headers at `path` of the log in `storage`, which begins after `base` and whose records
    /// up to `durable` count, and makes those that are missing.
    pub(crate) fn open(
        path: &Path,
        chain: ChainId,
        storage: &Arc<dyn Storage>,
        base: Option<&Manifest>,
        durable: u64,
    ) -> Result<Self, ChainError> {
        let file = ChainFile::open(path, MAGIC, &chain)?;
        let len = file.len()? / RECORD_BYTES as u64;
        let (len, lowest) = (AtomicU64::new(len.min(durable)), AtomicU64::new(1));
        let headers = Headers { file, chain, len, lowest };
        let begin = base.map_or(0, |base| base.height);
        let (kept, tip, record) = match headers.trusted(storage, begin)? {
            Some((tip, record)) => {
                let kept = tip.height;
                headers.lowest.store(headers.find_lowest(kept)?, Ordering::Release);
                headers.len.store(kept, Ordering::Release);
                headers.file.cut(offset(kept + 1))?;
                (kept, tip, record)
            }
            None => {
                headers.begin_after(begin)?;
                let none = (Tip::GENESIS, Head::GENESIS.hash);
                let (tip, record) = base.map_or(none, |base| (base.base(), base.record()));
                (begin, tip, record)
            }
        };
        let log = Reader::open_at(Arc::clone(storage), kept + 1)?.until(kept);
        let storage = Arc::clone(storage);
        let mut maker = Self { storage, headers: Arc::new(headers), log, tip, record };
        maker.follow(durable)?;
        Ok(maker)
    }

    pub(crate) fn headers(&self) -> &Arc<Headers> {
        &self.headers
    }

    /// Begins anew after the snapshot that `base` proves, as the log did.
    pub(crate) fn begin_after(&mut self, base: &Manifest) -> Result<(), ChainError> {
        self.headers.begin_after(base.height)?;
        let log = Reader::open_at(Arc::clone(&self.storage), base.height + 1)?;
        self.log = log.until(base.height);
        (self.tip, self.record) = (base.base(), base.record());
        Ok(())
    }

    pub(crate) fn tip(&self) -> Tip {
        self.tip
    }

    /// Returns the chain hash of the log's record at the tip.
    pub(crate) fn record(&self) -> Digest {
        self.record
    }

    /// Makes the headers of what the log has gained, up to record `durable`; returns the tip.
    pub(crate) fn follow(&mut self, durable: u64) -> Result<Tip, ChainError> {
        if durable <= self.tip.height {
            return Ok(self.tip);
        }
        self.log.extend(durable)?;
        for record in self.log.by_ref() {
            let record = record?;
            let header = Header::after(&self.tip, facts(&record)?)
                .ok_or(ChainError::Height(record.index))?;
            header.follows(&self.tip).map_err(|_| ChainError::Height(record.index))?;
            self.headers.file.write(&encode(&header), offset(header.height))?;
            self.tip = header.tip(&self.headers.chain);
            self.record = record.hash;
            self.headers.len.store(header.height, Ordering::Release);
        }
        Ok(self.tip)
    }
}

impl Headers {
    /// Returns the chain's end up to which headers can be kept, and the log's hash there: the last
    /// ones above `begin` link to each other, and the last of all is what the log says; otherwise none.
    fn trusted(
        &self,
        storage: &Arc<dyn Storage>,
        begin: u64,
    ) -> Result<Option<(Tip, Digest)>, ChainError> {
        let len = self.len();
        let last = self.range(len.saturating_sub(CHECKED).max(begin + 1), len)?;
        let Some((first, rest)) = last.split_first() else { return Ok(None) };
        let mut tip = first.tip(&self.chain);
        for header in rest {
            if header.follows(&tip).is_err() {
                return Ok(None);
            }
            tip = header.tip(&self.chain);
        }
        let newest = last.last().unwrap_or(first);
        if newest.height != len {
            return Ok(None);
        }
        let record = Reader::open_at(Arc::clone(storage), len)?.next().transpose()?;
        match record {
            Some(record) if record.index == len && facts(&record)? == newest.facts => {
                Ok(Some((tip, record.hash)))
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// Returns what the log says at a record.
fn facts(record: &Record) -> Result<Facts, ChainError> {
    facts_of(record.index, record.parent, &record.payload)
}

/// Returns what a payload at `height` says, after a record with chain hash `record_before`.
pub(crate) fn facts_of(
    height: u64,
    record_before: Digest,
    payload: &[u8],
) -> Result<Facts, ChainError> {
    let (time, state_before) = log_entry::place_of(payload)
        .map_err(|error| ChainError::Decode { commit: height, error })?;
    let body_len = u32::try_from(payload.len()).ok().filter(|len| *len <= BODY_BYTES_MAX);
    Ok(Facts {
        record_before,
        body: Digest(*blake3::hash(payload).as_bytes()),
        body_len: body_len.ok_or(ChainError::Height(height))?,
        time,
        state_before,
        next_committee: None,
    })
}

fn offset(height: u64) -> u64 {
    PREFIX_BYTES + (height - 1) * RECORD_BYTES as u64
}

fn encode(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_BYTES);
    header.write(&mut bytes);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(record: &[u8]) -> Option<Header> {
    let (bytes, checksum) = record.split_last_chunk::<4>()?;
    if crc32c::crc32c(bytes) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut decoder = Decoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    decoder.end().is_ok().then_some(header)
}

impl From<LogError> for ChainError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}
