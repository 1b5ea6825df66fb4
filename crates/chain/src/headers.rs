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
use proctor_p2p::{ChainId, Facts, Header, Tip};
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
}

/// The one that makes headers of what the log gains.
#[derive(Debug)]
pub(crate) struct Maker {
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

    /// Returns how many headers there are.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }
}

impl Maker {
    /// Opens the headers at `path` of the log in `storage`, whose records up to `durable` count, and
    /// makes those that are missing.
    pub(crate) fn open(
        path: &Path,
        chain: ChainId,
        storage: &Arc<dyn Storage>,
        durable: u64,
    ) -> Result<Self, ChainError> {
        let file = ChainFile::open(path, MAGIC, &chain)?;
        let len = file.len()? / RECORD_BYTES as u64;
        let headers = Headers { file, chain, len: AtomicU64::new(len.min(durable)) };
        let (kept, tip, record) = headers.trusted(storage)?;
        headers.file.cut(offset(kept + 1))?;
        headers.len.store(kept, Ordering::Release);
        let log = Reader::open_at(Arc::clone(storage), Head::GENESIS, kept + 1)?.until(kept);
        let mut maker = Self { headers: Arc::new(headers), log, tip, record };
        maker.follow(durable)?;
        Ok(maker)
    }

    pub(crate) fn headers(&self) -> &Arc<Headers> {
        &self.headers
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
    /// Returns how many headers can be kept, with the chain's end there and the log's hash: the last
    /// ones link to each other, and the last of all is what the log says; otherwise none.
    fn trusted(&self, storage: &Arc<dyn Storage>) -> Result<(u64, Tip, Digest), ChainError> {
        let none = (0, Tip::GENESIS, Head::GENESIS.hash);
        let len = self.len();
        let last = self.range(len.saturating_sub(CHECKED).max(1), len)?;
        let Some((first, rest)) = last.split_first() else { return Ok(none) };
        let mut tip = first.tip(&self.chain);
        for header in rest {
            if header.follows(&tip).is_err() {
                return Ok(none);
            }
            tip = header.tip(&self.chain);
        }
        let newest = last.last().unwrap_or(first);
        if newest.height != len {
            return Ok(none);
        }
        let record =
            Reader::open_at(Arc::clone(storage), Head::GENESIS, len)?.next().transpose()?;
        match record {
            Some(record) if record.index == len && facts(&record)? == newest.facts => {
                Ok((len, tip, record.hash))
            }
            Some(_) | None => Ok(none),
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
