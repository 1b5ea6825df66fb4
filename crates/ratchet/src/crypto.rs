//! `Crypto`: what the ratchet needs of cryptography, and the symbolic provider of the model.
//!
//! The trait is the width of the primitives, not of the protocol: labels, transcripts and the order
//! of derivations stand in [`crate::key_schedule`], so that the model checks them too. One value
//! belongs to one session: it knows the two identities and holds the only source of randomness.

#[cfg(test)]
pub(crate) mod symbolic;

use crate::key_schedule::Secret;

/// Bytes of a public identity key.
pub const IDENTITY_BYTES: usize = 32;

/// A primitive refused its input, or randomness could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a cryptographic primitive failed")]
pub struct CryptoError;

/// What both ends of a key agreement know afterwards.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub struct Shared {
    /// From the key encapsulation.
    pub kem: Secret,
    /// From the Diffie-Hellman exchange; the provider has refused an all-zero result.
    pub dh: Secret,
}

/// The primitives, and the identities of the two ends.
///
/// The sizes are constants because they stand in the byte format. Secrets that a provider hands
/// out must not be copyable and must be wiped when they are dropped.
pub trait Crypto: Checked {
    /// Names the primitives on the wire; two ends of different suites refuse each other.
    const SUITE: u8;
    /// Bytes of the initiator's public share (both agreements).
    const SHARE_BYTES: usize;
    /// Bytes of the responder's answer to a share.
    const ANSWER_BYTES: usize;
    /// Bytes of a signature.
    const SIGNATURE_BYTES: usize;
    /// Bytes that sealing adds to a plaintext.
    const TAG_BYTES: usize;

    /// The initiator's secret half of a round, used once.
    type Ephemeral: Checked;
    /// A key that seals and opens.
    type Key: Checked;
    /// A one-way chain of keys: those to come, never those that were.
    type Chain: Checked;

    /// Returns the public identity of this end.
    fn identity(&self) -> [u8; IDENTITY_BYTES];

    /// Returns the authenticated public identity of the peer.
    fn peer_identity(&self) -> [u8; IDENTITY_BYTES];

    /// Returns the hash of the concatenated parts.
    fn digest(parts: &[&[u8]]) -> [u8; 32];

    /// Returns the keyed hash (HMAC) of the concatenated parts.
    fn mac(key: &[u8], parts: &[&[u8]]) -> Secret;

    /// Begins the chain of keys that follow from a secret.
    fn chain(secret: &Secret) -> Self::Chain;

    /// Takes the next key out of a chain. What is left there tells nothing about that key or those
    /// before it, and no key tells anything about another.
    fn step(chain: &mut Self::Chain) -> Self::Key;

    /// Makes an ephemeral secret and its public share.
    ///
    /// # Errors
    /// When randomness cannot be had.
    fn generate(&mut self) -> Result<(Self::Ephemeral, Vec<u8>), CryptoError>;

    /// Answers a share of [`Self::SHARE_BYTES`].
    ///
    /// # Errors
    /// When the share is not a valid one, or randomness cannot be had.
    fn answer(&mut self, share: &[u8]) -> Result<(Shared, Vec<u8>), CryptoError>;

    /// Completes a round from an answer of [`Self::ANSWER_BYTES`].
    ///
    /// # Errors
    /// When the answer is not a valid one. An answer to another share may go unnoticed here; the
    /// confirmation of the round finds it.
    fn complete(ephemeral: Self::Ephemeral, answer: &[u8]) -> Result<Shared, CryptoError>;

    /// Signs with this end's identity key; [`Self::SIGNATURE_BYTES`] bytes.
    ///
    /// # Errors
    /// When the key cannot sign.
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Returns whether `signature` is the peer's over `message`.
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool;

    /// Seals `buffer[from..]` in place and appends the tag.
    fn seal(key: &Self::Key, nonce: [u8; 12], header: &[u8], buffer: &mut Vec<u8>, from: usize);

    /// Opens `sealed` in place and returns the plaintext, `None` if it is not authentic.
    fn open<'a>(
        key: &Self::Key,
        nonce: [u8; 12],
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]>;
}

/// What the model checker needs of everything a session holds; outside tests, nothing.
///
/// Secrets must not be copyable, but a model checker copies states. So the requirement exists only
/// where this crate tests itself, with symbolic secrets.
#[cfg(not(test))]
pub trait Checked {}
#[cfg(not(test))]
impl<T> Checked for T {}

/// What the model checker needs of everything a session holds.
#[cfg(test)]
pub trait Checked: Clone + std::fmt::Debug + Eq + std::hash::Hash {}
#[cfg(test)]
impl<T: Clone + std::fmt::Debug + Eq + std::hash::Hash> Checked for T {}
