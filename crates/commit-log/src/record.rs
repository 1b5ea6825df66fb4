//! Records and their frames: length, checksum, index, parent hash, payload.

use proctor_types::Digest;

use crate::error::DamageKind;

/// The longest payload of one record, in bytes (16 MiB).
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Bytes of a frame before the payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 48;
/// Where index, parent and payload begin in a frame, behind length and checksum.
const CANONICAL_AT: usize = 8;

/// A place in the log: everything up to and including the record `index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Index of the last record; 0 before the first.
    pub index: u64,
    /// Chain hash of the last record; all zero before the first.
    pub hash: Digest,
}

impl Head {
    /// The empty history before the first record.
    pub const GENESIS: Self = Self { index: 0, hash: Digest([0; 32]) };
}

/// Where [`crate::Log::append`] put a record. Not durable before the next sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Index of the record, gap-free from 1.
    pub index: u64,
    /// Chain hash of the record.
    pub hash: Digest,
}

/// A record read from the log, checked against its checksum and the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index of the record.
    pub index: u64,
    /// Chain hash of the record before.
    pub parent: Digest,
    /// Chain hash of this record.
    pub hash: Digest,
    /// The bytes that were appended.
    pub payload: Vec<u8>,
}

/// Returns the chain hash: BLAKE3 over index (little-endian), parent and payload.
#[must_use]
pub fn chain_hash(index: u64, parent: &Digest, payload: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(&parent.0);
    hasher.update(payload);
    Digest(*hasher.finalize().as_bytes())
}

/// Appends a frame to `out` and returns the record's chain hash.
///
/// The caller has checked that the payload is not over [`MAX_PAYLOAD_BYTES`].
pub(crate) fn encode_frame(
    out: &mut Vec<u8>,
    index: u64,
    parent: &Digest,
    payload: &[u8],
) -> Digest {
    let length = u32::try_from(payload.len()).expect("append() checked the length");
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&parent.0);
    out.extend_from_slice(payload);
    let crc = checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Digest::of(&out[start + CANONICAL_AT..])
}

/// A frame whose length and checksum are right; index and parent are still to be compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) index: u64,
    pub(crate) parent: Digest,
    pub(crate) payload: &'a [u8],
    /// Index, parent and payload as they stand in the frame.
    canonical: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Bytes of the frame on disk.
    pub(crate) fn bytes(&self) -> usize {
        CANONICAL_AT + self.canonical.len()
    }

    /// Returns the record's chain hash. Equal to [`chain_hash`], in one call, because a hash of
    /// something so short costs more to set up than to compute.
    pub(crate) fn hash(&self) -> Digest {
        Digest::of(self.canonical)
    }

    /// Reads the frame at the beginning of `bytes`. Never allocates.
    ///
    /// # Errors
    ///
    /// [`DamageKind::FrameLength`] or [`DamageKind::FrameChecksum`].
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DamageKind> {
        let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Err(DamageKind::FrameLength { found: 0, max: bytes.len() as u64 });
        };
        let length = u32_at(header, 0);
        let max = rest.len().min(MAX_PAYLOAD_BYTES);
        let payload = usize::try_from(length)
            .ok()
            .filter(|length| *length <= max)
            .and_then(|length| rest.get(..length))
            .ok_or(DamageKind::FrameLength { found: u64::from(length), max: max as u64 })?;
        let frame = &bytes[..FRAME_HEADER_BYTES + payload.len()];
        let (stored, computed) = (u32_at(header, 4), checksum(frame));
        if stored != computed {
            return Err(DamageKind::FrameChecksum { stored, computed });
        }
        let (index, parent) = (u64_at(header, 8), digest_at(header, 16));
        Ok(Self { index, parent, payload, canonical: &frame[CANONICAL_AT..] })
    }
}

/// Returns the CRC-32C of a frame: all of it but the checksum's own four bytes.
fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..])
}

/// Reads a little-endian `u32`; `bytes` is long enough by construction of the callers' arrays.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

/// Reads a little-endian `u64`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// Reads a hash.
pub(crate) fn digest_at(bytes: &[u8], at: usize) -> Digest {
    let mut value = [0; 32];
    value.copy_from_slice(&bytes[at..at + 32]);
    Digest(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_what_was_encoded_gives_it_back(
            index: u64,
            parent: [u8; 32],
            payload in prop::collection::vec(any::<u8>(), 0..2_000),
            more in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let (parent, mut bytes) = (Digest(parent), Vec::new());
            let hash = encode_frame(&mut bytes, index, &parent, &payload);
            let length = bytes.len();
            bytes.extend(more);
            let frame = Frame::decode(&bytes).unwrap();
            prop_assert_eq!(frame.bytes(), length);
            prop_assert_eq!((frame.index, frame.parent, frame.payload), (index, parent, &payload[..]));
            prop_assert_eq!(frame.hash(), hash);
            prop_assert_eq!(chain_hash(index, &parent, &payload), hash);
        }

        #[test]
        fn any_bytes_give_a_frame_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert!(frame.bytes() <= bytes.len());
            }
        }

        #[test]
        fn a_frame_with_one_wrong_bit_is_refused(
            payload in prop::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index,
            bit in 0..8u32,
        ) {
            let mut bytes = Vec::new();
            encode_frame(&mut bytes, 7, &Digest([3; 32]), &payload);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Frame::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_frame_that_claims_more_than_the_limit_is_refused_before_anything_is_read() {
        let mut bytes = vec![0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(
            Frame::decode(&bytes),
            Err(DamageKind::FrameLength { found: u64::from(u32::MAX), max: 0 })
        );
    }

    #[test]
    fn a_payload_over_the_limit_is_refused_even_if_all_of_it_is_there() {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, 1, &Digest([0; 32]), &vec![0; MAX_PAYLOAD_BYTES + 1]);
        let (found, max) = (MAX_PAYLOAD_BYTES as u64 + 1, MAX_PAYLOAD_BYTES as u64);
        assert_eq!(Frame::decode(&bytes), Err(DamageKind::FrameLength { found, max }));
    }
}
