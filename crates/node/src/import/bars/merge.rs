//! `MergedBars`: the bars of several files in the order in which they become known.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::PathBuf;

use proctor_types::{Quote, SourceName, TradePair, UtcMs};

use super::{BarError, BarReader, known_at};
use crate::import::text::{FileError, Progress};

/// Why files of bars cannot be read side by side.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Two files would price one pair under one name, so that a bar's source is not unique.
    #[error(
        "{} and {}: both are source {from} of {pair}; rename one, or leave it out if it is the same file",
        .first.display(), .second.display()
    )]
    SameSource {
        /// The first file.
        first: PathBuf,
        /// The second file.
        second: PathBuf,
        /// The pair.
        pair: TradePair,
        /// The name of both.
        from: SourceName,
    },
}

/// Merges readers by the time at which bars are known; ties go by pair, then source.
///
/// Holds one bar of each file. Ends after the first error.
pub struct MergedBars {
    readers: Vec<BarReader>,
    /// The next bar of each file, and its place in the order.
    heads: Vec<Option<Quote>>,
    order: BinaryHeap<Reverse<(UtcMs, TradePair, SourceName, usize)>>,
    /// The reader whose bar was handed out last: it must read on before anything else is.
    behind: Vec<usize>,
    is_done: bool,
}

impl MergedBars {
    /// Merges `readers`; nothing is read yet.
    ///
    /// # Errors
    /// [`MergeError`] when two files go by the same pair and source.
    pub fn new(readers: Vec<BarReader>) -> Result<Self, MergeError> {
        let mut first_of = BTreeMap::new();
        for reader in &readers {
            let key = (reader.pair(), reader.source());
            if let Some(first) = first_of.insert(key, reader.path()) {
                return Err(MergeError::SameSource {
                    first: first.to_owned(),
                    second: reader.path().to_owned(),
                    pair: reader.pair(),
                    from: reader.source().clone(),
                });
            }
        }
        Ok(Self {
            heads: readers.iter().map(|_| None).collect(),
            order: BinaryHeap::new(),
            behind: (0..readers.len()).collect(),
            readers,
            is_done: false,
        })
    }

    /// Returns the readers, in the order in which they were given.
    #[must_use]
    pub fn readers(&self) -> &[BarReader] {
        &self.readers
    }

    /// Returns how much of all files was read.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.readers.iter().map(BarReader::progress).fold(Progress::default(), |sum, p| sum + p)
    }

    /// Reads the rest of all files without making bars of it, so that their hashes cover them.
    ///
    /// # Errors
    /// [`FileError`] when a file's rest cannot be read.
    pub fn drain(&mut self) -> Result<(), FileError> {
        self.is_done = true;
        self.readers.iter_mut().try_for_each(BarReader::drain)
    }

    fn advance(&mut self) -> Result<Option<Quote>, BarError> {
        while let Some(index) = self.behind.pop() {
            let Some(bar) = self.readers[index].next().transpose()? else { continue };
            self.order.push(Reverse((known_at(&bar), bar.pair, bar.source.clone(), index)));
            self.heads[index] = Some(bar);
        }
        let Some(Reverse((_, _, _, index))) = self.order.pop() else { return Ok(None) };
        self.behind.push(index);
        Ok(self.heads[index].take())
    }
}

impl Iterator for MergedBars {
    type Item = Result<Quote, BarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let bar = self.advance().transpose();
        self.is_done = !matches!(bar, Some(Ok(_)));
        bar
    }
}
