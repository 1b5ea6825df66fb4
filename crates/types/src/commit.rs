//! `Digest` and `Stamp`: what identifies a commit and when it happened.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::UtcMs;

/// A BLAKE3 hash of canonical bytes.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the first eight hexadecimal digits, for tables.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Digest {
    /// Writes 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The place of an input in history: the commit that holds it and the commit's time.
///
/// Commits are numbered from 1 without gaps; 0 is the empty history before the first commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Stamp {
    /// Index of the commit.
    pub commit: u64,
    /// The commit's time; never earlier than that of the commit before.
    pub at: UtcMs,
}
