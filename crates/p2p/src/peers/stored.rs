//! The envelope of what the peers keep on disk: a kind, a version, the content, a checksum.
//!
//! The checksum finds damage, not malice: whoever may write the file may write any content. So
//! records are verified again when they are read.

/// Bytes of the checksum (BLAKE3).
const CHECKSUM_BYTES: usize = 32;

/// Why a stored file is not used. The shell decides: usually it keeps the file aside, says so, and
/// starts with an empty one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Shorter than any file of its kind, or of another kind.
    #[error("this is no {expected} file")]
    OtherKind {
        /// The kind that was asked for.
        expected: &'static str,
    },
    /// The bytes are not those that were written.
    #[error("the {kind} file is damaged: its checksum does not match its {length} bytes")]
    Damaged {
        /// The kind of file.
        kind: &'static str,
        /// Its length.
        length: usize,
    },
    /// Written by another version of this program.
    #[error("the {kind} file has version {found}; this program reads version {known}")]
    Version {
        /// The kind of file.
        kind: &'static str,
        /// The version in the file.
        found: u8,
        /// The version that is read here.
        known: u8,
    },
    /// The checksum holds but the content does not.
    #[error("entry {entry} of the {kind} file is invalid: {why}")]
    Entry {
        /// The kind of file.
        kind: &'static str,
        /// Which entry, from 0.
        entry: usize,
        /// What is wrong with it.
        why: String,
    },
    /// More follows than the file announced.
    #[error("the {kind} file has {bytes} bytes after its last entry")]
    Trailing {
        /// The kind of file.
        kind: &'static str,
        /// How many bytes.
        bytes: usize,
    },
}

/// Puts `content` into its envelope.
pub(super) fn seal(kind: &'static str, version: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = kind.as_bytes().to_vec();
    bytes.push(version);
    bytes.extend_from_slice(content);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

/// Takes the content out of its envelope.
pub(super) fn open<'a>(
    kind: &'static str,
    version: u8,
    bytes: &'a [u8],
) -> Result<&'a [u8], StoredError> {
    let rest = bytes.strip_prefix(kind.as_bytes());
    let Some((&found, rest)) = rest.and_then(<[u8]>::split_first) else {
        return Err(StoredError::OtherKind { expected: kind });
    };
    let damaged = StoredError::Damaged { kind, length: bytes.len() };
    let Some((content, checksum)) = rest.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(damaged);
    };
    let covered = bytes.get(..kind.len() + 1 + content.len()).unwrap_or_default();
    if blake3::hash(covered) != *checksum {
        return Err(damaged);
    }
    if found != version {
        return Err(StoredError::Version { kind, found, known: version });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_or_missing_byte_is_found() {
        let sealed = seal("test", 1, b"content");
        assert_eq!(open("test", 1, &sealed), Ok(&b"content"[..]));
        for index in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[index] ^= 1;
            assert!(open("test", 1, &broken).is_err(), "byte {index}");
            assert!(open("test", 1, &sealed[..index]).is_err(), "cut at {index}");
        }
        let version = StoredError::Version { kind: "test", found: 1, known: 2 };
        assert_eq!(open("test", 2, &sealed), Err(version));
        assert_eq!(open("rest", 1, &sealed), Err(StoredError::OtherKind { expected: "rest" }));
    }
}
