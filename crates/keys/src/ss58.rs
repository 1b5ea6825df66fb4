//! SS58 addresses: a network's prefix, a public key, a checksum, in base58.
//!
//! Only addresses of 32-byte accounts are read. An address has one spelling: what parses prints as
//! the very same text. Whether the key in it is one that can sign is not asked here.

use std::fmt;
use std::str::FromStr;

use proctor_types::TraderId;

/// The longest text that can be an address: 36 bytes in base58.
pub const TEXT_LEN_MAX: usize = 50;

const ACCOUNT_LEN: usize = 32;
const CHECKSUM_LEN: usize = 2;
/// The longest address: a prefix of two bytes, an account, a checksum.
const BYTES_MAX: usize = 2 + ACCOUNT_LEN + CHECKSUM_LEN;

/// The text is not the address of an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// The text is empty or longer than [`TEXT_LEN_MAX`]; holds its length in bytes.
    #[error("an address has 1 to {TEXT_LEN_MAX} characters, this text has {0}")]
    TextLength(usize),
    /// A character that base58 does not know.
    #[error("{character:?} at place {at} is not a character of base58")]
    Character {
        /// Its place in the text, in bytes from 0.
        at: usize,
        /// The character.
        character: char,
    },
    /// The first byte is one that no prefix begins with; holds it.
    #[error("the address begins with byte {0}, which stands for no kind of prefix")]
    PrefixByte(u8),
    /// Other than a prefix, 32 bytes of account and 2 of checksum; holds the number of bytes.
    #[error("the address is {0} bytes long, which is not that of an account of 32 bytes")]
    Length(usize),
    /// The checksum does not fit the rest: mistyped, or cut and pasted wrongly.
    #[error("the checksum does not fit: a character of the address is wrong")]
    Checksum,
    /// A prefix below 64 that is spelt in two bytes; holds it.
    #[error("prefix {0} is spelt in two bytes where one is enough")]
    LongPrefix(u16),
    /// The prefix stands for no network.
    #[error(transparent)]
    Prefix(InvalidPrefix),
}

/// The number cannot be a network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the prefix of a network: 0 to 16383 are, without 46 and 47")]
pub struct InvalidPrefix(pub u16);

/// The number of a network in its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(u16);

impl Prefix {
    /// Stands for any network of the Substrate family, and for the one that Proctor's traders use.
    pub const GENERIC: Self = Self(42);

    /// Returns the prefix with this number.
    ///
    /// # Errors
    /// [`InvalidPrefix`] above 16383, and for 46 and 47, which are reserved.
    pub fn new(number: u16) -> Result<Self, InvalidPrefix> {
        if number > 0x3fff || matches!(number, 46 | 47) {
            return Err(InvalidPrefix(number));
        }
        Ok(Self(number))
    }

    /// Returns the number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// Returns the two bytes of a prefix from 64, and `None` for one that is its only byte.
    fn long_form(self) -> Option<[u8; 2]> {
        if self.0 < 64 {
            return None;
        }
        let [upper, lower] = self.0.to_be_bytes();
        // 01, the upper six bits of the lower byte; its other two bits, the upper byte.
        Some([0b0100_0000 | lower >> 2, lower << 6 | upper])
    }
}

/// An account on a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The network.
    pub prefix: Prefix,
    /// The account: the 32 bytes of a public key.
    pub account: [u8; ACCOUNT_LEN],
}

impl Address {
    /// Returns the identifier of the trader whose account this is: the address as text.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "base58 of 36 bytes is an identifier")]
    pub fn trader(&self) -> TraderId {
        TraderId::new(&self.to_string()).expect("at most 50 letters and digits are an identifier")
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        // Checked first: decoding base58 takes time that grows with the square of the length.
        if text.is_empty() || text.len() > TEXT_LEN_MAX {
            return Err(InvalidAddress::TextLength(text.len()));
        }
        let mut buffer = [0; TEXT_LEN_MAX];
        let length =
            bs58::decode(text).onto(&mut buffer).map_err(|error| not_base58(text, &error))?;
        let bytes = &buffer[..length];
        let [first, ..] = *bytes else { return Err(InvalidAddress::Length(0)) };
        let prefix_len = match first {
            0..=63 => 1,
            64..=127 => 2,
            128..=255 => return Err(InvalidAddress::PrefixByte(first)),
        };
        if length != prefix_len + ACCOUNT_LEN + CHECKSUM_LEN {
            return Err(InvalidAddress::Length(length));
        }
        let (body, sum) = bytes.split_at(length - CHECKSUM_LEN);
        if checksum(body) != *sum {
            return Err(InvalidAddress::Checksum);
        }
        let (prefix, key) = body.split_at(prefix_len);
        let number = match *prefix {
            [first, second] => u16::from_be_bytes([second & 0b0011_1111, first << 2 | second >> 6]),
            _ => u16::from(first),
        };
        if prefix_len == 2 && number < 64 {
            return Err(InvalidAddress::LongPrefix(number));
        }
        let prefix = Prefix::new(number).map_err(InvalidAddress::Prefix)?;
        let mut account = [0; ACCOUNT_LEN];
        account.copy_from_slice(key);
        Ok(Self { prefix, account })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(BYTES_MAX);
        match self.prefix.long_form() {
            Some(long) => bytes.extend_from_slice(&long),
            None => bytes.push(self.prefix.0.to_le_bytes()[0]),
        }
        bytes.extend_from_slice(&self.account);
        bytes.extend_from_slice(&checksum(&bytes));
        f.pad(&bs58::encode(bytes).into_string())
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = blake2b_simd::State::new().update(b"SS58PRE").update(body).finalize();
    let [first, second, ..] = *hash.as_array();
    [first, second]
}

fn not_base58(text: &str, error: &bs58::decode::Error) -> InvalidAddress {
    use bs58::decode::Error;
    match *error {
        Error::InvalidCharacter { character, index } => {
            InvalidAddress::Character { at: index, character }
        }
        Error::NonAsciiCharacter { index } => {
            let character = text.get(index..).and_then(|rest| rest.chars().next());
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            InvalidAddress::Character { at: index, character }
        }
        // The buffer has a byte for each character, and base58 needs less.
        Error::BufferTooSmall | _ => InvalidAddress::TextLength(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    /// Returns the base58 of `body` and its right checksum.
    fn with_checksum(body: &[u8]) -> String {
        bs58::encode([body, &checksum(body)].concat()).into_string()
    }

    #[test]
    fn an_address_is_its_prefix_and_its_account() {
        let alice: Address = ALICE.parse().expect("valid");
        assert_eq!(alice.prefix, Prefix::GENERIC);
        assert_eq!(
            crate::hex::encode(&alice.account),
            "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"
        );
        assert_eq!(alice.to_string(), ALICE);
        assert_eq!(alice.trader().as_str(), ALICE);
    }

    #[test]
    fn known_networks_spell_the_same_account_in_their_way() {
        let alice: Address = ALICE.parse().expect("valid");
        for (prefix, text) in [
            (0, "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"),
            (2, "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F"),
        ] {
            let address = Address { prefix: Prefix::new(prefix).expect("valid"), ..alice };
            assert_eq!(address.to_string(), text);
            assert_eq!(text.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let account = [7_u8; 32];
        let body = |prefix: &[u8]| [prefix, &account].concat();
        let character = |at, character| InvalidAddress::Character { at, character };
        for (text, error) in [
            (String::new(), InvalidAddress::TextLength(0)),
            ("5".repeat(51), InvalidAddress::TextLength(51)),
            ("5".repeat(1_000_000), InvalidAddress::TextLength(1_000_000)),
            (ALICE.replace('G', "0"), character(1, '0')),
            (format!("{ALICE} "), character(48, ' ')),
            ("5Gr\u{fc}".into(), character(3, '\u{fc}')),
            (with_checksum(&body(&[128])), InvalidAddress::PrefixByte(128)),
            (with_checksum(&body(&[255])), InvalidAddress::PrefixByte(255)),
            ("1".into(), InvalidAddress::Length(1)),
            (with_checksum(&[42; 32]), InvalidAddress::Length(34)),
            (with_checksum(&body(&[42, 1])), InvalidAddress::Length(36)),
            (with_checksum(&body(&[64])), InvalidAddress::Length(35)),
            (ALICE.replace("utQY", "utQZ"), InvalidAddress::Checksum),
            (ALICE.replace("5Grw", "5Grv"), InvalidAddress::Checksum),
            (with_checksum(&body(&[0b0100_1010, 0b1000_0000])), InvalidAddress::LongPrefix(42)),
            (with_checksum(&body(&[46])), InvalidAddress::Prefix(InvalidPrefix(46))),
            (with_checksum(&body(&[47])), InvalidAddress::Prefix(InvalidPrefix(47))),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{}", text.get(..60).unwrap_or(&text));
        }
    }

    #[test]
    fn prefixes_end_at_fourteen_bits() {
        assert!(Prefix::new(0x3fff).is_ok());
        assert_eq!(Prefix::new(0x4000), Err(InvalidPrefix(0x4000)));
    }

    #[test]
    fn every_prefix_is_read_as_it_was_written() {
        for prefix in (0..=0x3fff).filter_map(|number| Prefix::new(number).ok()) {
            let address = Address { prefix, account: [0xa5; 32] };
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_as_the_same_text(
            account: [u8; 32], number in 0_u16..0x4000, place in 0_usize..50, byte: u8,
        ) {
            let prefix = Prefix::new(number).unwrap_or(Prefix::GENERIC);
            let text = Address { prefix, account }.to_string();
            prop_assert_eq!(text.parse::<Address>().map(|parsed| parsed.to_string()), Ok(text.clone()));
            let mut bytes = text.into_bytes();
            let place = place % bytes.len();
            bytes[place] = byte;
            if let Ok(changed) = String::from_utf8(bytes)
                && let Ok(address) = changed.parse::<Address>()
            {
                prop_assert_eq!(address.to_string(), changed);
            }
        }

        #[test]
        fn any_text_is_an_address_or_refused(text in "\\PC*") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string(), text);
            }
        }
    }
}
