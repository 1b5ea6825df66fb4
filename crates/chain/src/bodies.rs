//! Bodies by height: payloads of the log, read by readers that stay where the last request ended.

use std::sync::{Arc, Mutex, PoisonError};

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{LogError, Reader};

/// Readers that are kept: about one for each peer that fetches at the same time.
const READERS_MAX: usize = 16;
/// A reader this many records before the wanted one goes there; otherwise a new one is opened.
const SKIP_MAX: u64 = 1_024;

/// The bodies of a log, for any number of threads.
#[derive(Debug)]
pub(crate) struct Bodies {
    storage: Arc<dyn Storage>,
    /// Readers that rest, the one used last at the end. Each is out of the list while it is used.
    resting: Mutex<Vec<Resting>>,
}

/// A reader, and up to which record it looks.
#[derive(Debug)]
struct Resting {
    reader: Reader,
    until: u64,
}

impl Bodies {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, resting: Mutex::default() }
    }

    /// Returns the payload at `height`; records up to `durable` can be read.
    pub(crate) fn get(&self, height: u64, durable: u64) -> Result<Option<Vec<u8>>, LogError> {
        if height == 0 || height > durable {
            return Ok(None);
        }
        let mut own = match self.nearest(height) {
            Some(resting) => resting,
            None => {
                let reader = match Reader::open_at(Arc::clone(&self.storage), height) {
                    Ok(reader) => reader,
                    // The log begins later: it was deleted, or is nowhere here.
                    Err(LogError::OutOfRange { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                };
                Resting { reader: reader.until(durable), until: durable }
            }
        };
        if own.until < height {
            own.reader.extend(durable)?;
            own.until = durable;
        }
        while let Some(record) = own.reader.next().transpose()? {
            if record.index == height {
                self.rest(own);
                return Ok(Some(record.payload));
            }
        }
        Ok(None)
    }

    /// Forgets all readers: the log was begun anew.
    pub(crate) fn forget(&self) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes out the reader that is least far before `height`.
    fn nearest(&self, height: u64) -> Option<Resting> {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let far = |own: &Resting| height.checked_sub(own.reader.head().index + 1);
        let (place, _) = resting
            .iter()
            .enumerate()
            .filter_map(|(place, own)| far(own).map(|far| (place, far)))
            .filter(|(_, far)| *far <= SKIP_MAX)
            .min_by_key(|(_, far)| *far)?;
        Some(resting.remove(place))
    }

    fn rest(&self, own: Resting) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() == READERS_MAX {
            resting.remove(0);
        }
        resting.push(own);
    }
}
