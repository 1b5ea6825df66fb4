//! Canonical bytes of commits and checkpoints: the only place where stored bytes become inputs.
//!
//! Every format begins with a version byte and is decoded strictly: unknown versions, trailing
//! bytes, non-finite numbers and over-long names are errors, so a value has exactly one encoding
//! and can be hashed. This crate does not read files and does not judge what an input asks for.

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod log_entry;
pub mod log_path;

/// Why bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There are no bytes.
    #[error("empty")]
    Empty,
    /// The version byte is not one that this build reads.
    #[error("format version {found} is not known to this build, which reads version {known}")]
    Version {
        /// The byte that was found.
        found: u8,
        /// The version that this build reads.
        known: u8,
    },
    /// The bytes after the version are not a value of the format.
    #[error("{0}")]
    Malformed(#[from] std::io::Error),
}

/// Splits off the version byte.
fn versioned(bytes: &[u8], known: u8) -> Result<&[u8], DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&found, rest)) if found == known => Ok(rest),
        Some((&found, _)) => Err(DecodeError::Version { found, known }),
    }
}
