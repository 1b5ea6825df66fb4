//! `NodeId` and `Signature`: a node, known by its Ed25519 public key, and what it signed.
//!
//! Signatures are checked by the rules of ZIP 215, the same for one and for many and in every
//! build, so no signature is good on one node and bad on another.

use std::fmt;
use std::str::FromStr;

use ed25519_zebra::{VerificationKey, VerificationKeyBytes};
use proctor_types::Digest;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A node, known by its Ed25519 public key.
///
/// Any 32 bytes are an id: those that are no key are found when a signature is checked, as an error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

/// An Ed25519 signature, not checked yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; SIGNATURE_BYTES]);

/// The signature is not by this key over these bytes, or the key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by node {0}")]
pub struct BadSignature(pub NodeId);

impl NodeId {
    /// Checks that the holder of this key signed `message`.
    ///
    /// # Errors
    /// [`BadSignature`] if not, or if these bytes are no key.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let signature = ed25519_zebra::Signature::from_bytes(&signature.0);
        VerificationKey::try_from(VerificationKeyBytes::from(self.0))
            .and_then(|key| key.verify(&signature, message))
            .map_err(|_| BadSignature(*self))
    }
}

impl fmt::Display for NodeId {
    /// Writes 64 hexadecimal digits.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(self.0).fmt(out)
    }
}

impl fmt::Debug for NodeId {
    /// Writes the first eight digits, which are enough to tell nodes apart.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&Digest(self.0).short())
    }
}

impl fmt::Debug for Signature {
    /// Writes the first bytes; a signature is no secret, but long.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl FromStr for NodeId {
    type Err = <Digest as FromStr>::Err;

    /// Reads 64 hexadecimal digits, small letters.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse::<Digest>()?.0))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_zebra::SigningKey;

    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let node = NodeId(key.verification_key().into());
        let signature = Signature(key.sign(b"message").to_bytes());
        assert_eq!(node.verify(b"message", &signature), Ok(()));
        assert_eq!(node.verify(b"messagf", &signature), Err(BadSignature(node)));
        let other = NodeId(SigningKey::from_bytes(&[8; 32]).verification_key().into());
        assert_eq!(other.verify(b"message", &signature), Err(BadSignature(other)));
        let mut broken = signature;
        broken.0[40] ^= 1;
        assert_eq!(node.verify(b"message", &broken), Err(BadSignature(node)));
    }

    /// B1: in the reference an id that is no point on the curve ended the process.
    #[test]
    fn b1_an_id_that_is_no_curve_point_is_an_error_and_not_a_panic() {
        let mut refused = 0;
        for byte in 0..=255 {
            let node = NodeId([byte; 32]);
            if VerificationKey::try_from(node.0).is_err() {
                refused += 1;
            }
            assert_eq!(node.verify(b"x", &Signature([1; 64])), Err(BadSignature(node)));
        }
        assert!(refused > 64, "about half of all byte strings are no key, not {refused} of 256");
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let node = NodeId([0xab; 32]);
        assert_eq!(node.to_string().parse(), Ok(node));
        assert!("ab".parse::<NodeId>().is_err());
    }
}
