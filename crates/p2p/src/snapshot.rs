//! Snapshots: the manifest that names the chunks, and what it must prove.

use proctor_types::Digest;

use crate::certificate::{CertificateError, Trust};
use crate::codec::{Canonical, CodecError, Reader, write_len};
use crate::header::Tip;
use crate::status::Certified;

/// Bytes of every chunk but the last.
pub const CHUNK_BYTES: u32 = 1 << 20;
/// The most chunks of a snapshot: 1 GiB. With all digests a manifest fits into one frame.
pub const CHUNKS_MAX: usize = 1 << 10;

/// What a snapshot consists of, with the proof of the state that it must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The state after this commit.
    pub height: u64,
    /// The encoding of the state.
    pub format: u32,
    /// Bytes of the whole.
    pub len: u64,
    /// BLAKE3 of each chunk, in order. Not certified: only the state is.
    pub chunks: Vec<Digest>,
    /// The header after `height`, which names the state, with a certificate of its own.
    pub next: Certified,
}

/// Why a manifest cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The certified header is not the one after the snapshot.
    #[error("the manifest of snapshot {height} proves it by header {found}, not the next")]
    Height {
        /// Height of the snapshot.
        height: u64,
        /// Height of the header.
        found: u64,
    },
    /// Length and number of chunks do not belong together.
    #[error("{len} bytes do not make {chunks} chunks")]
    Length {
        /// The stated length in bytes.
        len: u64,
        /// The number of chunks.
        chunks: usize,
    },
    /// The certificate of the header proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Manifest {
    /// Checks shape and proof.
    ///
    /// # Errors
    /// [`ManifestError`]: the first check that fails.
    pub fn check(&self, trust: &Trust) -> Result<(), ManifestError> {
        let found = self.next.header.height;
        if self.height.checked_add(1) != Some(found) || self.height == 0 {
            return Err(ManifestError::Height { height: self.height, found });
        }
        let chunks = self.chunks.len();
        if self.len == 0 || self.len.div_ceil(u64::from(CHUNK_BYTES)) != chunks as u64 {
            return Err(ManifestError::Length { len: self.len, chunks });
        }
        Ok(self.next.certificate.check(trust, &self.next.header.tip(&trust.chain))?)
    }

    /// Returns what the chain ends with at the snapshot: the parent of the certified header.
    #[must_use]
    pub fn base(&self) -> Tip {
        // The header of the snapshot's own commit is not here, and its time no matter: the next one
        // is certified, and times rise from there.
        Tip { height: self.height, digest: self.next.header.parent, time: Tip::GENESIS.time }
    }

    /// Returns the digest of the state that the chunks must give.
    #[must_use]
    pub fn state(&self) -> Digest {
        self.next.header.facts.state_before
    }

    /// Returns how many bytes chunk `index` has; `None` if there is no such chunk.
    #[must_use]
    pub fn chunk_len(&self, index: u32) -> Option<u32> {
        let from = u64::from(index).checked_mul(u64::from(CHUNK_BYTES))?;
        let left = self.len.checked_sub(from).filter(|left| *left > 0)?;
        u32::try_from(left.min(u64::from(CHUNK_BYTES))).ok()
    }
}

impl Canonical for Manifest {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.height.to_be_bytes());
        out.extend_from_slice(&self.format.to_be_bytes());
        out.extend_from_slice(&self.len.to_be_bytes());
        write_len(out, self.chunks.len());
        self.chunks.iter().for_each(|chunk| out.extend_from_slice(&chunk.0));
        self.next.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let height = reader.u64("a height")?;
        let format = reader.u32("a format")?;
        let len = reader.u64("a snapshot's length")?;
        let count = reader.count("a manifest", CHUNKS_MAX, 32)?;
        let chunks = (0..count).map(|_| reader.digest("a chunk")).collect::<Result<_, _>>()?;
        Ok(Self { height, format, len, chunks, next: Certified::read(reader)? })
    }
}
