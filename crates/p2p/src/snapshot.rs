//! Snapshots: the manifest that names the chunks, and what it must prove.
//!
//! The state digest that headers certify chains inputs and effects; it does not bind the bytes of a
//! state. So the committee vouches for these too: under a domain of its own it signs the **root**
//! of a snapshot, a digest over format, length and the digests of all chunks, for one header. A
//! state has one encoding, so every node that came to it by itself can compare.

use proctor_types::Digest;

use crate::certificate::{Certificate, CertificateError, Scheme, Trust};
use crate::codec::{Canonical, CodecError, Reader, write_len};
use crate::header::{ChainId, Tip};
use crate::node_id::Signature;
use crate::status::Certified;

/// Bytes of every chunk but the last.
pub const CHUNK_BYTES: u32 = 1 << 20;
/// The most chunks of a snapshot: 1 GiB. With all digests a manifest fits into one frame.
pub const CHUNKS_MAX: usize = 1 << 10;
/// What the root of a snapshot begins with, and what the signature over it.
const ROOT_DOMAIN: &[u8] = b"proctor/snapshot-root/1";
const DOMAIN: &[u8] = b"proctor/snapshot/1";

/// The bytes of a state, in short: two states with the same contents are the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The encoding of the state.
    pub format: u32,
    /// Bytes of the whole.
    pub len: u64,
    /// BLAKE3 of each chunk, in order.
    pub chunks: Vec<Digest>,
}

impl Contents {
    /// Returns the root: BLAKE3 of the domain, format, length, number and digests of the chunks.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut bytes = ROOT_DOMAIN.to_vec();
        self.write(&mut bytes);
        Digest::of(&bytes)
    }

    /// Returns whether length and number of chunks belong together.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.len > 0 && self.len.div_ceil(u64::from(CHUNK_BYTES)) == self.chunks.len() as u64
    }

    /// Returns how many bytes chunk `index` has; `None` if there is no such chunk.
    #[must_use]
    pub fn chunk_len(&self, index: u32) -> Option<u32> {
        let from = u64::from(index).checked_mul(u64::from(CHUNK_BYTES))?;
        let left = self.len.checked_sub(from).filter(|left| *left > 0)?;
        u32::try_from(left.min(u64::from(CHUNK_BYTES))).ok()
    }
}

impl Canonical for Contents {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.format.to_be_bytes());
        out.extend_from_slice(&self.len.to_be_bytes());
        write_len(out, self.chunks.len());
        self.chunks.iter().for_each(|chunk| out.extend_from_slice(&chunk.0));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let format = reader.u32("a format")?;
        let len = reader.u64("a snapshot's length")?;
        let count = reader.count("a manifest", CHUNKS_MAX, 32)?;
        let chunks = (0..count).map(|_| reader.digest("a chunk")).collect::<Result<_, _>>()?;
        Ok(Self { format, len, chunks })
    }
}

/// What a snapshot consists of, with the proofs of its bytes and of the state that they must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The state after this commit.
    pub height: u64,
    /// The bytes of the state.
    pub contents: Contents,
    /// The header after `height`, which names the state, with a certificate of its own.
    pub next: Certified,
    /// The committee vouches for [`Contents::root`] under [`Manifest::signed_bytes`].
    pub attestation: Certificate,
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
    /// The attestation is of other bytes, or of another snapshot.
    #[error("the attestation is of another snapshot than {0}")]
    OtherSnapshot(u64),
    /// The attestation proves nothing.
    #[error("the attestation of snapshot {height}: {error}")]
    Attestation {
        /// Height of the snapshot.
        height: u64,
        /// What is wrong.
        error: CertificateError,
    },
}

impl ManifestError {
    /// Returns whether the manifest may be right, and this node is not the one to tell.
    #[must_use]
    pub fn may_be_right(&self) -> bool {
        let error = match self {
            Self::Certificate(error) | Self::Attestation { error, .. } => error,
            Self::Height { .. } | Self::Length { .. } | Self::OtherSnapshot(_) => return false,
        };
        matches!(error, CertificateError::EpochAhead { .. } | CertificateError::Reserved(_))
    }
}

impl Manifest {
    /// Makes the manifest of the snapshot before `next`; `sign` holds the key of a committee of one.
    #[must_use]
    pub fn solo(
        chain: &ChainId,
        contents: Contents,
        next: Certified,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Self {
        let (height, epoch) = (next.header.height.saturating_sub(1), next.certificate.epoch);
        let digest = contents.root();
        let bytes = Self::signed_bytes(chain, epoch, height, &next.header.parent, &digest);
        let proof = sign(&bytes).0.to_vec();
        let attestation = Certificate { scheme: Scheme::Solo, epoch, height, digest, proof };
        Self { height, contents, next, attestation }
    }

    /// Returns what a member of the committee signs for the bytes with this root: they are the state
    /// after the commit at `height`, whose header has the digest `header`.
    #[must_use]
    pub fn signed_bytes(
        chain: &ChainId,
        epoch: u64,
        height: u64,
        header: &Digest,
        root: &Digest,
    ) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&chain.0.0);
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(&height.to_be_bytes());
        bytes.extend_from_slice(&header.0);
        bytes.extend_from_slice(&root.0);
        bytes
    }

    /// Checks shape and proofs.
    ///
    /// # Errors
    /// [`ManifestError`]: the first check that fails.
    pub fn check(&self, trust: &Trust) -> Result<(), ManifestError> {
        let found = self.next.header.height;
        if self.height.checked_add(1) != Some(found) || self.height == 0 {
            return Err(ManifestError::Height { height: self.height, found });
        }
        if !self.contents.is_whole() {
            let (len, chunks) = (self.contents.len, self.contents.chunks.len());
            return Err(ManifestError::Length { len, chunks });
        }
        let Certificate { epoch, height, digest, .. } = self.attestation;
        if height != self.height || digest != self.contents.root() {
            return Err(ManifestError::OtherSnapshot(self.height));
        }
        self.next.certificate.check(trust, &self.next.header.tip(&trust.chain))?;
        let header = &self.next.header.parent;
        let bytes = Self::signed_bytes(&trust.chain, epoch, height, header, &digest);
        let attested = self.attestation.check_proof(trust, &bytes);
        attested.map_err(|error| ManifestError::Attestation { height, error })
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

    /// Returns the chain hash of the log's record at `height`: what a log begins after.
    #[must_use]
    pub fn record(&self) -> Digest {
        self.next.header.facts.record_before
    }
}

impl Canonical for Manifest {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.height.to_be_bytes());
        self.contents.write(out);
        self.next.write(out);
        self.attestation.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            height: reader.u64("a height")?,
            contents: Contents::read(reader)?,
            next: Certified::read(reader)?,
            attestation: Certificate::read(reader)?,
        })
    }
}
