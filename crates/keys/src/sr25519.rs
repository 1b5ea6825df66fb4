//! sr25519: seeds, key pairs, signatures, in the signing context `substrate`.
//!
//! A signature counts over the plain message and over `<Bytes>` message `</Bytes>`, which is what
//! wallets in browsers sign.

use std::fmt;

use blake2b_simd::Params;
use rand_core::{CryptoRng, RngCore};
use schnorrkel::derive::ChainCode;
use schnorrkel::{ExpansionMode, MiniSecretKey, SignatureError, signing_context};
use zeroize::Zeroizing;

use crate::hex::{self, InvalidHex};
use crate::ss58::{Address, Prefix};

const CONTEXT: &[u8] = b"substrate";
const WRAP_START: &[u8] = b"<Bytes>";
const WRAP_END: &[u8] = b"</Bytes>";

/// The seed behind the development accounts `//Alice`, `//Bob`, ...; known to everybody.
const DEVELOPMENT: [u8; 32] = [
    0xfa, 0xc7, 0x95, 0x9d, 0xbf, 0xe7, 0x2f, 0x05, 0x2e, 0x5a, 0x0c, 0x3c, 0x8d, 0x65, 0x30, 0xf2,
    0x02, 0xb0, 0x2f, 0xd8, 0xf9, 0xf5, 0xca, 0x35, 0x80, 0xec, 0x8d, 0xeb, 0x77, 0x97, 0x47, 0x9e,
];

/// The bytes are no key that can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// Not the hexadecimal form of 32 bytes.
    #[error("the public key is not hexadecimal: {0}")]
    Hex(#[from] InvalidHex),
    /// Not a point of the group.
    #[error("the 32 bytes are no sr25519 public key")]
    NotAPoint,
    /// The neutral element, 32 zero bytes: anybody can make signatures for it.
    #[error("the public key of zeros belongs to nobody, anybody could sign for it")]
    Zero,
}

/// The signature does not prove that the key's owner signed the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// Not the hexadecimal form of 64 bytes.
    #[error("the signature is not hexadecimal: {0}")]
    Hex(#[from] InvalidHex),
    /// The mark of sr25519, the highest bit, is not set: perhaps of ed25519.
    #[error("the signature does not have the mark of sr25519, perhaps it is one of ed25519")]
    NotMarked,
    /// The second half is not a reduced number, so that the same signature had two spellings.
    #[error("the signature is malformed: its second half is not a reduced number")]
    NotReduced,
    /// Another key, another message, or another signature.
    #[error("the signature is not by this key over this message, neither plain nor in <Bytes>")]
    Mismatch,
}

/// In which form a message was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// As it is.
    Plain,
    /// Between `<Bytes>` and `</Bytes>`.
    Bytes,
}

/// A public key for which only its owner can sign.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(schnorrkel::PublicKey);

/// The 64 bytes of a signature, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl PublicKey {
    /// Returns the key with these bytes.
    ///
    /// # Errors
    /// [`InvalidPublicKey::NotAPoint`], and [`InvalidPublicKey::Zero`] for the key of zeros.
    ///
    /// # Security
    /// For the key of zeros the equation that a signature must satisfy does not depend on the
    /// message. It does occur as an account on real networks, where it means "nobody".
    pub fn new(bytes: &[u8; 32]) -> Result<Self, InvalidPublicKey> {
        if *bytes == [0; 32] {
            return Err(InvalidPublicKey::Zero);
        }
        let key = schnorrkel::PublicKey::from_bytes(bytes);
        Ok(Self(key.map_err(|_| InvalidPublicKey::NotAPoint)?))
    }

    /// Returns the key whose bytes `text` spells, with or without `0x`.
    ///
    /// # Errors
    /// [`InvalidPublicKey`].
    pub fn from_hex(text: &str) -> Result<Self, InvalidPublicKey> {
        Self::new(&hex::decode(text)?)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Returns the address of this key's account on a network.
    #[must_use]
    pub fn address(self, prefix: Prefix) -> Address {
        Address { prefix, account: self.to_bytes() }
    }

    /// Returns in which form the owner of this key signed `message`.
    ///
    /// # Errors
    /// [`InvalidSignature`] when he did not.
    pub fn verify(
        &self,
        message: &[u8],
        signature: &Signature,
    ) -> Result<Wrapping, InvalidSignature> {
        let signature = schnorrkel::Signature::from_bytes(&signature.0).map_err(|error| {
            if matches!(error, SignatureError::NotMarkedSchnorrkel) {
                InvalidSignature::NotMarked
            } else {
                InvalidSignature::NotReduced
            }
        })?;
        let is_over = |message: &[u8]| self.0.verify_simple(CONTEXT, message, &signature).is_ok();
        if is_over(message) {
            Ok(Wrapping::Plain)
        } else if is_over(&[WRAP_START, message, WRAP_END].concat()) {
            Ok(Wrapping::Bytes)
        } else {
            Err(InvalidSignature::Mismatch)
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(&self.to_bytes()))
    }
}

impl Signature {
    /// Returns the signature whose bytes `text` spells, with or without `0x`.
    ///
    /// # Errors
    /// [`InvalidSignature::Hex`] when it is not 128 digits.
    pub fn from_hex(text: &str) -> Result<Self, InvalidSignature> {
        Ok(Self(hex::decode(text)?))
    }

    /// Returns 128 lower-case digits, without `0x`.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(&self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", self.to_hex())
    }
}

/// The text is not a path of hard junctions, such as `//Alice` or `//Alice//0`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a path such as //Alice: each name follows //, and has 1 to 31 letters and digits"
)]
pub struct InvalidPath(pub String);

/// The 32 bytes that a key pair is made from (the *mini secret key*); overwritten when dropped.
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// Returns the seed with these bytes; they must be unpredictable.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Returns the seed whose bytes `text` spells, with or without `0x`.
    ///
    /// # Errors
    /// [`InvalidHex`] when it is not 64 digits.
    pub fn from_hex(text: &str) -> Result<Self, InvalidHex> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to(text, bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Returns the seed of a development account, such as `//Alice`.
    ///
    /// # Errors
    /// [`InvalidPath`].
    ///
    /// # Security
    /// Everybody can do the same: for tests and demonstrations only.
    pub fn development(path: &str) -> Result<Self, InvalidPath> {
        Self(Zeroizing::new(DEVELOPMENT)).derive(path)
    }

    /// Returns the seed that lies on a path of hard junctions from this one.
    ///
    /// # Errors
    /// [`InvalidPath`] when there is a soft junction (`/name`), a password (`///`), or a name of
    /// other than letters and digits.
    pub fn derive(&self, path: &str) -> Result<Self, InvalidPath> {
        let invalid = || InvalidPath(path.chars().take(64).collect());
        let names = path.strip_prefix("//").ok_or_else(invalid)?;
        let mut seed = self.0.clone();
        for name in names.split("//") {
            let code = ChainCode(junction(name).ok_or_else(invalid)?);
            let mini = mini_secret(&seed);
            let secret = mini.expand(ExpansionMode::Ed25519);
            let (derived, _) = secret.hard_derive_mini_secret_key(Some(code), b"");
            seed = Zeroizing::new(derived.to_bytes());
        }
        Ok(Self(seed))
    }

    /// Returns the key pair, expanded as ed25519 does.
    #[must_use]
    pub fn keypair(&self) -> Keypair {
        Keypair(mini_secret(&self.0).expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// Returns 64 lower-case digits, without `0x`: the secret, to be kept as such.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }
}

fn mini_secret(seed: &[u8; 32]) -> MiniSecretKey {
    MiniSecretKey::from_bytes(seed).expect("any 32 bytes are a mini secret key")
}

/// Returns the chain code of a junction: a number in 8 bytes, or a name after its length.
fn junction(name: &str) -> Option<[u8; 32]> {
    let length = u8::try_from(name.len()).ok().filter(|length| (1..=31).contains(length))?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let mut code = [0; 32];
    if let Ok(number) = name.parse::<u64>() {
        code[..8].copy_from_slice(&number.to_le_bytes());
    } else {
        // SCALE: a length below 64 is one byte, shifted by two.
        code[0] = length << 2;
        code[1..=name.len()].copy_from_slice(name.as_bytes());
    }
    Some(code)
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

/// A secret key with its public key; the secret is overwritten when dropped.
pub struct Keypair(schnorrkel::Keypair);

impl Keypair {
    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public)
    }

    /// Returns the signature over `message` as it is.
    ///
    /// `entropy` is mixed with the secret key and the message. It should be new for every signature;
    /// one that is not makes the signature repeatable, and does not give the key away.
    #[must_use]
    pub fn sign(&self, message: &[u8], entropy: &[u8; 32]) -> Signature {
        let transcript = signing_context(CONTEXT).bytes(message);
        let stream = EntropyStream { entropy: Zeroizing::new(*entropy), next: 0 };
        Signature(self.0.sign(schnorrkel::context::attach_rng(transcript, stream)).to_bytes())
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?}, secret)", self.public())
    }
}

/// The caller's entropy as the generator that `schnorrkel` asks for: keyed hashes of a counter.
struct EntropyStream {
    entropy: Zeroizing<[u8; 32]>,
    next: u64,
}

impl RngCore for EntropyStream {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(blake2b_simd::OUTBYTES) {
            let hash = Params::new().key(self.entropy.as_slice()).hash(&self.next.to_le_bytes());
            chunk.copy_from_slice(&hash.as_bytes()[..chunk.len()]);
            self.next += 1;
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for EntropyStream {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alice() -> Keypair {
        Seed::development("//Alice").expect("a path").keypair()
    }

    #[test]
    fn development_accounts_are_those_of_substrate() {
        for (path, public) in [
            ("//Alice", "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"),
            ("//Bob", "8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48"),
            ("//Alice//stash", "be5ddb1579b72e84524fc29e78609e3caf42e85aa118ebfe0b0ad404b5bdd25f"),
        ] {
            let key = Seed::development(path).expect("a path").keypair().public();
            assert_eq!(hex::encode(&key.to_bytes()), public, "{path}");
        }
    }

    #[test]
    fn a_path_is_hard_junctions_and_nothing_else() {
        let long = format!("//{}", "x".repeat(32));
        for path in ["", "Alice", "/Alice", "//", "//Alice/soft", "///Alice", "//a b", &long] {
            assert_eq!(Seed::development(path).err(), Some(InvalidPath(path.into())), "{path}");
        }
        assert!(Seed::development("//0//x1").is_ok());
    }

    #[test]
    fn a_signature_counts_plain_and_in_bytes() {
        let alice = alice();
        let plain = alice.sign(b"hello", &[1; 32]);
        assert_eq!(alice.public().verify(b"hello", &plain), Ok(Wrapping::Plain));
        let wrapped = alice.sign(b"<Bytes>hello</Bytes>", &[1; 32]);
        assert_eq!(alice.public().verify(b"hello", &wrapped), Ok(Wrapping::Bytes));
        for half in [&b"<Bytes>hello"[..], b"hello</Bytes>", b"<bytes>hello</bytes>"] {
            let signature = alice.sign(half, &[1; 32]);
            assert_eq!(
                alice.public().verify(b"hello", &signature),
                Err(InvalidSignature::Mismatch)
            );
        }
    }

    /// Made by this crate, checked with another implementation of sr25519, and frozen.
    #[test]
    fn a_frozen_signature_still_counts() {
        let frozen = concat!(
            "cc8c4a8e79e258ae779e0db70adf8e4130d11bbb0ac5cb7b224b31d16d303b1f",
            "70398fad835ba1efb9165c0267468b68036e1da1ea8a689aac59d9831775da8f",
        );
        let signature = Signature::from_hex(frozen).expect("hexadecimal");
        let message = b"Proctor: who signed, and what.";
        assert_eq!(alice().public().verify(message, &signature), Ok(Wrapping::Plain));
        assert_eq!(alice().sign(message, &[0; 32]), signature, "entropy is the only freedom");
        assert_ne!(alice().sign(message, &[1; 32]), signature, "entropy is used");
    }

    /// For the public key 0 the equation `R = s B - k A` is `R = s B`, whatever was signed.
    #[test]
    fn nobody_can_sign_for_the_key_of_zeros_although_the_equation_holds() {
        let mut forged = [0; 64];
        forged[63] = 128;
        let zero = schnorrkel::PublicKey::from_bytes(&[0; 32]).expect("a point");
        let signature = schnorrkel::Signature::from_bytes(&forged).expect("well-formed");
        assert!(zero.verify_simple(CONTEXT, b"anything", &signature).is_ok());
        assert_eq!(PublicKey::new(&[0; 32]), Err(InvalidPublicKey::Zero));
    }

    #[test]
    fn garbage_is_refused_with_its_reason() {
        assert_eq!(PublicKey::new(&[255; 32]), Err(InvalidPublicKey::NotAPoint));
        let length = InvalidHex::Length { expected: 64, found: 3 };
        assert_eq!(PublicKey::from_hex("0xabc"), Err(InvalidPublicKey::Hex(length)));
        let digit = InvalidSignature::Hex(InvalidHex::Digit(127));
        assert_eq!(Signature::from_hex(&format!("{}x", "0".repeat(127))), Err(digit));
        let key = alice().public();
        let verify = |bytes| key.verify(b"", &Signature(bytes));
        assert_eq!(verify([0; 64]), Err(InvalidSignature::NotMarked));
        assert_eq!(verify([255; 64]), Err(InvalidSignature::NotReduced));
        let mut marked = [0; 64];
        marked[63] = 128;
        assert_eq!(verify(marked), Err(InvalidSignature::Mismatch));
    }

    #[test]
    fn secrets_do_not_print() {
        let seed = Seed::new(Zeroizing::new([0xab; 32]));
        let printed = format!("{seed:?} {:?}", seed.keypair());
        assert!(!printed.contains("abab") && !printed.contains("171"), "{printed}");
        assert_eq!(seed.to_hex().as_str(), "ab".repeat(32));
    }

    proptest! {
        #[test]
        fn who_signs_is_verified_and_nobody_else(
            seed: [u8; 32], other: [u8; 32], message: Vec<u8>, entropy: [u8; 32],
        ) {
            prop_assume!(seed != other);
            let keypair = Seed::new(Zeroizing::new(seed)).keypair();
            let signature = keypair.sign(&message, &entropy);
            prop_assert_eq!(keypair.public().verify(&message, &signature), Ok(Wrapping::Plain));
            let other = Seed::new(Zeroizing::new(other)).keypair().public();
            prop_assert_eq!(other.verify(&message, &signature), Err(InvalidSignature::Mismatch));
        }

        #[test]
        fn any_bytes_give_an_answer(key: [u8; 32], signature: [u8; 64], message: Vec<u8>) {
            if let Ok(key) = PublicKey::new(&key) {
                prop_assert!(key.verify(&message, &Signature(signature)).is_err());
            }
        }
    }
}
