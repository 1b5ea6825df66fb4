//! Compression that cannot be used against the reader: what unpacks to far more than it is, is refused.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use flate2::write::{DeflateEncoder, GzEncoder};

/// Bytes that are packed together; pieces are packed side by side.
const PIECE: usize = 1 << 20;
/// How many times its own length something packed may unpack to. What would be packed tighter is
/// written without compression, so that whoever reads needs no more memory than in proportion.
const RATIO_MAX: usize = 64;
/// Threads that pack.
const THREADS: usize = 2;
/// What every gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why nothing can be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotPacked {
    /// It is cut off, or no such stream.
    #[error("it cannot be decompressed")]
    Damaged,
    /// It would become much more than it is.
    #[error("it decompresses to more than {RATIO_MAX} times its length, which no evidence does")]
    Bomb,
}

/// Returns `bytes` compressed: pieces, each with its length before it (`u32`, least byte first).
pub(super) fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let pieces: Vec<&[u8]> = bytes.chunks(PIECE).collect();
    let share = pieces.len().div_ceil(THREADS).max(1);
    let packed: Vec<io::Result<Vec<u8>>> = std::thread::scope(|scope| {
        let run = |pieces: &[&[u8]]| -> io::Result<Vec<u8>> {
            let mut out = Vec::new();
            for piece in pieces {
                let packed = deflated(piece)?;
                let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&packed);
            }
            Ok(out)
        };
        let threads: Vec<_> =
            pieces.chunks(share).map(|pieces| scope.spawn(move || run(pieces))).collect();
        let failed = |_| Err(io::Error::other("a thread that compresses has panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
    });
    packed.into_iter().try_fold(Vec::new(), |mut all, packed| {
        all.append(&mut packed?);
        Ok(all)
    })
}

fn deflated(piece: &[u8]) -> io::Result<Vec<u8>> {
    let with = |level| -> io::Result<Vec<u8>> {
        let mut encoder = DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(piece)?;
        encoder.finish()
    };
    let packed = with(Compression::fast())?;
    if piece.len() <= room(packed.len()) { Ok(packed) } else { with(Compression::none()) }
}

/// Returns how many bytes this many packed ones may become.
fn room(packed: usize) -> usize {
    packed.saturating_mul(RATIO_MAX)
}

/// Returns what [`pack`] was given.
pub(super) fn unpack(mut packed: &[u8]) -> Result<Vec<u8>, NotPacked> {
    let mut bytes = Vec::new();
    while let Some((length, rest)) = packed.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (piece, rest) = rest.split_at_checked(length).ok_or(NotPacked::Damaged)?;
        packed = rest;
        let most = PIECE.min(room(piece.len()));
        let before = bytes.len();
        let mut decoder = DeflateDecoder::new(piece);
        read_at_most(&mut decoder, most, &mut bytes)?;
        // One piece is one stream, and nothing but the last is short.
        let whole = usize::try_from(decoder.total_in()).is_ok_and(|taken| taken == length);
        let full = bytes.len() - before == PIECE || packed.is_empty();
        if !whole || !full {
            return Err(NotPacked::Damaged);
        }
    }
    if packed.is_empty() { Ok(bytes) } else { Err(NotPacked::Damaged) }
}

/// Tells whether `bytes` are a gzip file.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP)
}

/// Returns `bytes` as a gzip file.
///
/// # Errors
/// Never for want of room: memory does not fail.
pub(super) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let with = |level| -> io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    let packed = with(Compression::fast())?;
    if bytes.len() <= room(packed.len()) { Ok(packed) } else { with(Compression::none()) }
}

/// Returns what the gzip file `bytes` holds.
pub(super) fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, NotPacked> {
    let mut text = Vec::new();
    read_at_most(&mut MultiGzDecoder::new(bytes), room(bytes.len()), &mut text)?;
    Ok(text)
}

fn read_at_most(reader: &mut impl Read, most: usize, out: &mut Vec<u8>) -> Result<(), NotPacked> {
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = reader.take(limit).read_to_end(out).map_err(|_| NotPacked::Damaged)?;
    if read > most { Err(NotPacked::Bomb) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        // Long runs compress beyond the limit; noise does not compress.
        let part =
            (any::<u8>(), 0..400_000_usize, any::<bool>()).prop_map(|(byte, many, noise)| {
                let mixed = |n: usize| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
                (0..many).map(|n| if noise { mixed(n) ^ byte } else { byte }).collect::<Vec<u8>>()
            });
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn bytes_survive_packing_and_a_cut_or_longer_stream_is_refused(
            bytes in any_bytes(),
            at: prop::sample::Index,
        ) {
            let packed = pack(&bytes).expect("memory");
            prop_assert_eq!(unpack(&packed), Ok(bytes.clone()));
            prop_assert_eq!(gunzip(&gzip(&bytes).expect("memory")), Ok(bytes.clone()));
            let mut longer = packed.clone();
            longer.push(0);
            prop_assert_eq!(unpack(&longer), Err(NotPacked::Damaged));
            if !packed.is_empty() {
                let cut = &packed[..at.index(packed.len())];
                prop_assert_ne!(unpack(cut), Ok(bytes));
            }
        }

        #[test]
        fn any_bytes_unpack_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(unpack(&bytes));
            drop(gunzip(&bytes));
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; 2 * PIECE];
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&zeros[..PIECE]).expect("memory");
        let piece = encoder.finish().expect("memory");
        let length = u32::try_from(piece.len()).expect("short").to_le_bytes();
        assert_eq!(unpack(&[&length[..], &piece].concat()), Err(NotPacked::Bomb));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&zeros).expect("memory");
        assert_eq!(gunzip(&encoder.finish().expect("memory")), Err(NotPacked::Bomb));
        // What we write ourselves never looks like one.
        assert_eq!(unpack(&pack(&zeros).expect("memory")), Ok(zeros));
    }
}
