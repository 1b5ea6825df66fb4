//! `PeerId`: a node, known by its Ed25519 public key.

use std::fmt;

use proctor_ratchet::crypto::IDENTITY_BYTES;

/// A node, known by its public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; IDENTITY_BYTES]);

/// Sixty-four hexadecimal digits.
impl fmt::Display for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// The first eight digits, which are enough to tell nodes apart in a log.
impl fmt::Debug for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}
