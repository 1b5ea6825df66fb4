//! `TraderId`, `OrderId`, `PositionId`, `OperatorId` and the like: short checked names.

use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The longest identifier that is accepted, in bytes.
pub const ID_LEN_MAX: usize = 64;

/// The text cannot be an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("an identifier must not be empty")]
    Empty,
    /// The text is longer than [`ID_LEN_MAX`]; holds its length in bytes.
    #[error("an identifier has at most {ID_LEN_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character outside `A-Z a-z 0-9 _ -`.
    #[error("an identifier consists of A-Z a-z 0-9 _ -, this one has {0:?}")]
    Character(char),
}

fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > ID_LEN_MAX {
        return Err(InvalidId::TooLong(text.len()));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-')) {
        None => Ok(()),
        Some(c) => Err(InvalidId::Character(c)),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// One to 64 characters of `A-Z a-z 0-9 _ -`; cheap to clone.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the identifier spelt `text`.
            ///
            /// # Errors
            /// [`InvalidId`] when `text` is empty, too long or has other characters: identifiers
            /// come from outside and end up in file names and reports (pitfall T-3).
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// Returns the identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().into()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl BorshSerialize for $name {
            fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
                BorshSerialize::serialize(self.0.as_ref(), writer)
            }
        }

        impl BorshDeserialize for $name {
            fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
                let invalid = |e: InvalidId| io::Error::new(io::ErrorKind::InvalidData, e);
                let len = usize::try_from(u32::deserialize_reader(reader)?).unwrap_or(usize::MAX);
                // The length is checked before anything of that length is read.
                let mut bytes = [0; ID_LEN_MAX];
                let bytes = bytes.get_mut(..len).ok_or_else(|| invalid(InvalidId::TooLong(len)))?;
                reader.read_exact(bytes)?;
                let text = std::str::from_utf8(bytes)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                Self::new(text).map_err(invalid)
            }
        }
    };
}

identifier! {
    /// A trader's account: in this ecosystem the SS58 address of a hotkey.
    TraderId
}
identifier! {
    /// An order, named by the trader who sent it; unique per trader.
    OrderId
}
identifier! {
    /// A position, named after the order that opened it; unique per trader.
    PositionId
}
identifier! {
    /// A trade pair as a sender spelt it; see [`crate::TradePair::from_id`].
    PairName
}
identifier! {
    /// A source of prices, such as `Polygon_ws`.
    SourceName
}
identifier! {
    /// Whoever gives commands to this node: a person or a service, as access control knows it.
    OperatorId
}
identifier! {
    /// Another validator, as this node's operator names it.
    ValidatorId
}

impl OrderId {
    /// Returns the id of the bracket that this order makes when it is filled (trading 6.6), or
    /// `None` when that would be longer than an identifier may be.
    #[must_use]
    pub fn bracket(&self) -> Option<Self> {
        Self::new(&format!("{}-bracket", self.0)).ok()
    }
}

impl PositionId {
    /// Returns the id of a position opened by `order`.
    #[must_use]
    pub fn opened_by(order: &OrderId) -> Self {
        Self(Arc::clone(&order.0))
    }

    /// Returns the id of the order that closes this position by force: the position's id reversed
    /// (E-62), so that every validator names it alike.
    #[must_use]
    pub fn forced_flat_order(&self) -> OrderId {
        OrderId(self.0.chars().rev().collect::<String>().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_short_and_safe_in_a_file_name() {
        assert_eq!(OrderId::new(""), Err(InvalidId::Empty));
        assert_eq!(OrderId::new("../x"), Err(InvalidId::Character('.')));
        assert_eq!(OrderId::new(&"x".repeat(65)), Err(InvalidId::TooLong(65)));
        assert!(OrderId::new("6d6e2447-8b67-4bf9-82c1-547ddc971706").is_ok());
    }

    #[test]
    fn e_62_a_forced_flat_is_named_by_the_reversed_position_id() {
        let position = PositionId::new("abc123").expect("valid");
        assert_eq!(position.forced_flat_order().as_str(), "321cba");
    }

    #[test]
    fn a_bracket_is_named_after_its_parent_when_there_is_room_for_the_name() {
        let parent = |length: usize| OrderId::new(&"x".repeat(length)).expect("valid");
        assert_eq!(parent(1).bracket(), OrderId::new("x-bracket").ok());
        assert!(parent(56).bracket().is_some_and(|id| id.as_str().len() == ID_LEN_MAX));
        assert_eq!(parent(57).bracket(), None);
    }

    #[test]
    fn a_length_that_lies_is_refused_before_reading() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"abc");
        assert!(TraderId::try_from_slice(&bytes).is_err());
    }
}
