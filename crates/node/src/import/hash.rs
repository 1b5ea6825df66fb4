//! `InputHash`: one hash over all files of a replay, in the order of the arguments.

use proctor_types::Digest;

use super::bars::BarReader;
use super::orders::RecordedOrders;

/// Collects what was read; equal hashes mean that equal inputs were fed in, file by file.
///
/// A file counts by its kind, by what the command line or its name made of it (set, pair, span,
/// source) and by its decompressed bytes: not by its path or compression.
#[derive(Clone, Default)]
pub struct InputHash {
    hasher: blake3::Hasher,
}

impl InputHash {
    /// Returns the hash of no files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file of `kind`, read as `subject`, with this hash of its decompressed bytes.
    pub fn add(&mut self, kind: &str, subject: &str, contents: &Digest) {
        for text in [kind, subject] {
            // The length goes first, so that no two lists of texts run together alike.
            self.hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            self.hasher.update(text.as_bytes());
        }
        self.hasher.update(&contents.0);
    }

    /// Adds the files of `orders`.
    pub fn add_orders(&mut self, orders: &RecordedOrders) {
        for source in &orders.sources {
            self.add("orders", source.set.as_deref().unwrap_or(""), &source.digest);
        }
    }

    /// Adds the bars that `reader` has read; meaningful once it is at its end or drained.
    pub fn add_bars(&mut self, reader: &BarReader) {
        let subject = format!("{}:{}:{}", reader.pair(), reader.span().0, reader.source());
        self.add("bars", &subject, &reader.digest());
    }

    /// Returns the hash of everything added.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }
}
