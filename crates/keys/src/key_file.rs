//! The key file: a seed with the address it stands for, as JSON.
//!
//! The seed is in it as it is. Whoever can read the file can sign, so it is the caller's task to
//! let only its owner read it.

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::hex::InvalidHex;
use crate::sr25519::{InvalidPublicKey, Keypair, PublicKey, Seed};
use crate::ss58::{Address, InvalidAddress, Prefix};

/// The longest text that is read as a key file, in bytes.
pub const TEXT_LEN_MAX: usize = 4 * 1024;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The text is not a key file.
///
/// No variant repeats what it found where a secret may stand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyFile {
    /// Longer than [`TEXT_LEN_MAX`]; holds the length in bytes.
    #[error("a key file has at most {TEXT_LEN_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// Not an object with exactly `version`, `ss58`, `public_hex` and `seed_hex`.
    #[error(
        "line {line}, column {column}: a key file is JSON with version, ss58, public_hex and \
         seed_hex, each once, and nothing else"
    )]
    Shape {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A version that this program does not know.
    #[error("key files of version {0} are not known, only those of version {VERSION}")]
    Version(u32),
    /// `ss58` is no address.
    #[error("ss58: {0}")]
    Address(#[from] InvalidAddress),
    /// `public_hex` is no public key.
    #[error("public_hex: {0}")]
    PublicKey(#[from] InvalidPublicKey),
    /// `seed_hex` is not 32 bytes.
    #[error("seed_hex: {0}")]
    Seed(#[from] InvalidHex),
    /// The seed is that of another key than `public_hex`.
    #[error("public_hex is not the public key of seed_hex")]
    OtherPublicKey,
    /// The seed is that of another account than `ss58`.
    #[error("ss58 is not the address of seed_hex")]
    OtherAddress,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    ss58: String,
    public_hex: String,
    #[serde(deserialize_with = "secret")]
    seed_hex: Zeroizing<String>,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// A seed and the address it stands for.
#[derive(Debug)]
pub struct KeyFile {
    seed: Seed,
    address: Address,
}

impl KeyFile {
    /// Returns the key file of a seed, for a network.
    #[must_use]
    pub fn new(seed: Seed, prefix: Prefix) -> Self {
        let address = seed.keypair().public().address(prefix);
        Self { seed, address }
    }

    /// Returns the key file that `text` is, with the seed checked against key and address.
    ///
    /// # Errors
    /// [`InvalidKeyFile`].
    pub fn parse(text: &[u8]) -> Result<Self, InvalidKeyFile> {
        if text.len() > TEXT_LEN_MAX {
            return Err(InvalidKeyFile::TooLong(text.len()));
        }
        // The parser's own message could repeat a part of the text.
        let document: Document = serde_json::from_slice(text).map_err(|error| {
            InvalidKeyFile::Shape { line: error.line(), column: error.column() }
        })?;
        if document.version != VERSION {
            return Err(InvalidKeyFile::Version(document.version));
        }
        let address: Address = document.ss58.parse()?;
        let public = PublicKey::from_hex(&document.public_hex)?;
        let file = Self::new(Seed::from_hex(&document.seed_hex)?, address.prefix);
        if file.address.account != public.to_bytes() {
            return Err(InvalidKeyFile::OtherPublicKey);
        }
        if file.address != address {
            return Err(InvalidKeyFile::OtherAddress);
        }
        Ok(file)
    }

    /// Returns the text of the file: a secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let public = crate::hex::encode(&self.address.account);
        let seed = self.seed.to_hex();
        // Addresses and digits need no escapes.
        Zeroizing::new(format!(
            "{{\n  \"version\": {VERSION},\n  \"ss58\": \"{}\",\n  \"public_hex\": \"{public}\",\n  \
             \"seed_hex\": \"{}\"\n}}\n",
            self.address,
            seed.as_str(),
        ))
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Returns the key pair.
    #[must_use]
    pub fn keypair(&self) -> Keypair {
        self.seed.keypair()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(byte: u8) -> KeyFile {
        KeyFile::new(Seed::new(Zeroizing::new([byte; 32])), Prefix::GENERIC)
    }

    #[test]
    fn a_key_file_is_read_as_it_was_written() {
        let written = file(7);
        let read = KeyFile::parse(written.to_text().as_bytes()).expect("a key file");
        assert_eq!(read.address(), written.address());
        assert_eq!(read.to_text(), written.to_text());
        assert_eq!(read.keypair().public(), written.keypair().public());
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        let (text, other) = (file(7).to_text(), file(8).address());
        let public = crate::hex::encode(&file(7).address().account);
        let checks = [
            ("\"version\": 1", "\"version\": 2".to_owned(), InvalidKeyFile::Version(2)),
            (&file(7).address().to_string(), other.to_string(), InvalidKeyFile::OtherAddress),
            (&public, crate::hex::encode(&other.account), InvalidKeyFile::OtherPublicKey),
            (&"07".repeat(32), "08".repeat(32), InvalidKeyFile::OtherPublicKey),
            (&"07".repeat(32), format!("0x{}", "08".repeat(32)), InvalidKeyFile::OtherPublicKey),
            (&"07".repeat(32), "0g".repeat(32), InvalidKeyFile::Seed(InvalidHex::Digit(1))),
            (&public, "ff".repeat(32), InvalidPublicKey::NotAPoint.into()),
            ("\"5", "\"6".to_owned(), InvalidAddress::Checksum.into()),
        ];
        for (old, new, error) in checks {
            let changed = text.replacen(old, &new, 1);
            assert_eq!(KeyFile::parse(changed.as_bytes()).err(), Some(error), "{old} -> {new}");
        }
    }

    #[test]
    fn what_is_missing_or_surplus_is_refused_without_repeating_secrets() {
        let text = file(7).to_text();
        let seed = "07".repeat(32);
        for (old, new) in [
            ("\"version\": 1", format!("\"version\": \"{seed}\"")),
            ("\"version\": 1", "\"version\": 1, \"note\": \"\"".into()),
            ("\"version\": 1", "\"version\": 1, \"version\": 1".into()),
            ("\"version\": 1,", String::new()),
            ("\"ss58\"", format!("\"{seed}\": 1, \"ss58\"")),
            ("{", "[".into()),
        ] {
            let error = KeyFile::parse(text.replacen(old, &new, 1).as_bytes()).expect_err(&new);
            assert!(matches!(error, InvalidKeyFile::Shape { .. }), "{new}: {error:?}");
            assert!(!error.to_string().contains("0707"), "{error}");
        }
        let long = InvalidKeyFile::TooLong(TEXT_LEN_MAX + 1);
        assert_eq!(KeyFile::parse(&[b' '; TEXT_LEN_MAX + 1]).err(), Some(long));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_file_or_refused(bytes: Vec<u8>) {
            prop_assert!(KeyFile::parse(&bytes).is_err());
        }
    }
}
