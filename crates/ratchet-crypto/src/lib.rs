//! The cryptography of the ratchet: ML-KEM-768 with X25519, Ed25519, AES-256-GCM, HKDF-SHA256.
//!
//! [`Hybrid`] is the [`Crypto`] of a real session. The primitives are those of AWS-LC, whose secrets
//! are wiped when they are freed; the chain of record keys is keyed BLAKE3. This crate, not the
//! ratchet itself, reads the system's entropy. What the primitives are used for, and in which
//! order, stands in `proctor_ratchet::key_schedule`.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use aws_lc_rs::{digest, hmac};
use proctor_ratchet::crypto::{Crypto, CryptoError, IDENTITY_BYTES, Shared};
use proctor_ratchet::key_schedule::Secret;
use zeroize::Zeroize;

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;
const X25519_BYTES: usize = 32;
const ENCAPSULATION_KEY_BYTES: usize = 1184;
const CIPHERTEXT_BYTES: usize = 1088;

/// The node's own key pair; one value serves all sessions.
pub struct Identity {
    pair: Ed25519KeyPair,
    public: [u8; IDENTITY_BYTES],
}

impl Identity {
    /// Derives the key pair of a seed.
    ///
    /// # Errors
    /// When the seed makes no key pair.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, CryptoError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| CryptoError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| CryptoError)?;
        Ok(Self { pair, public })
    }

    /// Makes a new key pair.
    ///
    /// # Errors
    /// When randomness cannot be had.
    pub fn generate() -> Result<Self, CryptoError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| CryptoError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| CryptoError)?;
        Ok(Self { pair, public })
    }

    /// Signs a message, which says itself what it is for.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], CryptoError> {
        let signature = self.pair.try_sign(message).map_err(|_| CryptoError)?;
        signature.as_ref().try_into().map_err(|_| CryptoError)
    }

    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> [u8; IDENTITY_BYTES] {
        self.public
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Returns whether `signature` is that of the owner of `identity` over `message`.
#[must_use]
pub fn is_signed_by(identity: &[u8; IDENTITY_BYTES], message: &[u8], signature: &[u8]) -> bool {
    ParsedPublicKey::new(&signature::ED25519, identity)
        .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
}

/// Real cryptography between this node and one peer.
pub struct Hybrid {
    identity: Arc<Identity>,
    peer: [u8; IDENTITY_BYTES],
    peer_key: ParsedPublicKey,
}

impl Hybrid {
    /// Prepares a session with the peer whose authenticated identity is `peer`.
    ///
    /// # Errors
    /// When `peer` is not a public key.
    pub fn new(identity: Arc<Identity>, peer: [u8; IDENTITY_BYTES]) -> Result<Self, CryptoError> {
        let peer_key = ParsedPublicKey::new(&signature::ED25519, peer).map_err(|_| CryptoError)?;
        Ok(Self { identity, peer, peer_key })
    }

    /// Prepares a key for sealing or opening.
    #[must_use]
    pub fn key(secret: &Secret) -> LessSafeKey {
        aes_256_gcm(secret.expose())
    }
}

fn aes_256_gcm(bytes: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, bytes);
    LessSafeKey::new(key.expect("these are the 32 bytes of an AES-256 key"))
}

/// How many outputs of 32 bytes the chain of record keys makes at once: its next secret and the keys
/// of fifteen records. BLAKE3 makes 512 bytes in little more than the time of one output, which
/// otherwise were as much work for each record as its AES key is.
const OUTPUTS: usize = 16;

/// The chain of record keys of a direction: the secret of the outputs to come, and those of the present
/// ones that are not used yet. A key is wiped here as it is taken, so those that were are gone; those that
/// stand here follow from the secret beside them anyway.
pub struct KeyChain {
    /// Boxed, because a move would leave a copy behind that nobody wipes.
    outputs: Box<[[u8; 32]; OUTPUTS]>,
    /// Where the next key stands.
    next: usize,
}

impl KeyChain {
    /// Replaces all outputs by those of the secret among them.
    fn refill(&mut self) {
        let [secret, ..] = &*self.outputs;
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(b"rk1 keys");
        let mut reader = hasher.finalize_xof();
        reader.fill(self.outputs.as_flattened_mut());
        reader.zeroize();
        hasher.zeroize();
        self.next = 1;
    }
}

impl Drop for KeyChain {
    fn drop(&mut self) {
        self.outputs.zeroize();
    }
}

/// The initiator's two secret halves of a round.
pub struct Ephemeral {
    dh: PrivateKey,
    kem: DecapsulationKey,
}

/// Runs X25519; an all-zero result is an error.
fn agree(ours: &PrivateKey, theirs: &[u8]) -> Result<Secret, CryptoError> {
    agreement::agree(ours, UnparsedPublicKey::new(&X25519, theirs), CryptoError, secret)
}

fn secret(bytes: &[u8]) -> Result<Secret, CryptoError> {
    let mut array: [u8; 32] = bytes.try_into().map_err(|_| CryptoError)?;
    Ok(Secret::take(&mut array))
}

fn dh_pair() -> Result<(PrivateKey, agreement::PublicKey), CryptoError> {
    let private = PrivateKey::generate(&X25519).map_err(|_| CryptoError)?;
    let public = private.compute_public_key().map_err(|_| CryptoError)?;
    Ok((private, public))
}

/// Makes an ephemeral secret of both agreements and its public share.
///
/// # Errors
/// When randomness cannot be had.
pub fn generate() -> Result<(Ephemeral, Vec<u8>), CryptoError> {
    let (dh, public) = dh_pair()?;
    let kem = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| CryptoError)?;
    let key = kem.encapsulation_key().map_err(|_| CryptoError)?;
    let key = key.key_bytes().map_err(|_| CryptoError)?;
    Ok((Ephemeral { dh, kem }, [public.as_ref(), key.as_ref()].concat()))
}

/// Answers a share of [`Hybrid`]'s `SHARE_BYTES`.
///
/// # Errors
/// When the share is not a valid one, or randomness cannot be had.
pub fn answer(share: &[u8]) -> Result<(Shared, Vec<u8>), CryptoError> {
    let (theirs, key) = share.split_at_checked(X25519_BYTES).ok_or(CryptoError)?;
    let (ours, public) = dh_pair()?;
    let dh = agree(&ours, theirs)?;
    let key = EncapsulationKey::new(&ML_KEM_768, key).map_err(|_| CryptoError)?;
    let (ciphertext, kem) = key.encapsulate().map_err(|_| CryptoError)?;
    let answer = [public.as_ref(), ciphertext.as_ref()].concat();
    Ok((Shared { kem: secret(kem.as_ref())?, dh }, answer))
}

impl Crypto for Hybrid {
    const SUITE: u8 = 1;
    const SHARE_BYTES: usize = X25519_BYTES + ENCAPSULATION_KEY_BYTES;
    const ANSWER_BYTES: usize = X25519_BYTES + CIPHERTEXT_BYTES;
    const SIGNATURE_BYTES: usize = SIGNATURE_BYTES;
    const TAG_BYTES: usize = 16;

    type Ephemeral = Ephemeral;
    type Key = LessSafeKey;
    type Chain = KeyChain;

    fn identity(&self) -> [u8; IDENTITY_BYTES] {
        self.identity.public
    }

    fn peer_identity(&self) -> [u8; IDENTITY_BYTES] {
        self.peer
    }

    fn digest(parts: &[&[u8]]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    fn mac(key: &[u8], parts: &[&[u8]]) -> Secret {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        parts.iter().for_each(|part| context.update(part));
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        Secret::take(&mut out)
    }

    fn chain(secret: &Secret) -> KeyChain {
        let mut outputs = Box::new([[0; 32]; OUTPUTS]);
        outputs[0].copy_from_slice(secret.expose());
        KeyChain { outputs, next: OUTPUTS }
    }

    fn step(chain: &mut KeyChain) -> LessSafeKey {
        if chain.next == OUTPUTS {
            chain.refill();
        }
        let bytes = &mut chain.outputs[chain.next];
        chain.next += 1;
        let key = aes_256_gcm(bytes);
        bytes.zeroize();
        key
    }

    fn generate(&mut self) -> Result<(Ephemeral, Vec<u8>), CryptoError> {
        generate()
    }

    fn answer(&mut self, share: &[u8]) -> Result<(Shared, Vec<u8>), CryptoError> {
        answer(share)
    }

    fn complete(ephemeral: Ephemeral, answer: &[u8]) -> Result<Shared, CryptoError> {
        let (theirs, ciphertext) = answer.split_at_checked(X25519_BYTES).ok_or(CryptoError)?;
        let dh = agree(&ephemeral.dh, theirs)?;
        let kem =
            ephemeral.kem.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| CryptoError)?;
        Ok(Shared { kem: secret(kem.as_ref())?, dh })
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.identity.sign(message).map(|signature| signature.to_vec())
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.peer_key.verify_sig(message, signature).is_ok()
    }

    fn seal(key: &LessSafeKey, nonce: [u8; 12], header: &[u8], buffer: &mut Vec<u8>, from: usize) {
        let plain = buffer.get_mut(from..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(header), plain)
            .expect("a record is far below the 64 GiB that AES-GCM can seal");
        buffer.extend_from_slice(tag.as_ref());
    }

    fn open<'a>(
        key: &LessSafeKey,
        nonce: [u8; 12],
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.open_in_place(nonce, Aad::from(header), sealed).ok().map(|plain| &*plain)
    }
}
