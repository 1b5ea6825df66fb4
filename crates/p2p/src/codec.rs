//! The canonical codec: fixed order, big-endian, explicit lengths, limits before allocation.
//!
//! Bytes that decode are the bytes that their value encodes to: no second spelling of a number, no
//! trailing byte. So a digest of bytes is a digest of the value, and a signature over them covers it.

use proctor_types::Digest;

use crate::node_id::{NodeId, SIGNATURE_BYTES, Signature};

/// The bytes are not a value of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end before the value does.
    #[error("the message ends within {0}")]
    Short(&'static str),
    /// Bytes are left after the value.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// A length or a count is over its limit.
    #[error("{what} has {found}, the limit is {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// The length or count that the bytes state.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A number that stands for a variant stands for none.
    #[error("{found} is no {what}")]
    Tag {
        /// What the number should name.
        what: &'static str,
        /// The number.
        found: u8,
    },
    /// Values that are valid each, but not together or not in this order.
    #[error("{0}")]
    NotCanonical(&'static str),
}

/// Reads values from the front of bytes. Never allocates.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// [`CodecError::Short`], like every other method of this type.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CodecError> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Short(what))?;
        self.rest = rest;
        Ok(*first)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn u8(&mut self, what: &'static str) -> Result<u8, CodecError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Reads a `u32`.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn u32(&mut self, what: &'static str) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// Reads a `u64`.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn u64(&mut self, what: &'static str) -> Result<u64, CodecError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// Reads an `i64`.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn i64(&mut self, what: &'static str) -> Result<i64, CodecError> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    /// Reads a yes or no: 1 or 0.
    ///
    /// # Errors
    /// [`CodecError::Short`], or [`CodecError::Tag`] for any other byte.
    pub fn flag(&mut self, what: &'static str) -> Result<bool, CodecError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(CodecError::Tag { what, found }),
        }
    }

    /// Reads a digest.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn digest(&mut self, what: &'static str) -> Result<Digest, CodecError> {
        Ok(Digest(self.array(what)?))
    }

    /// Reads the id of a node.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn node(&mut self, what: &'static str) -> Result<NodeId, CodecError> {
        Ok(NodeId(self.array(what)?))
    }

    /// Reads a signature.
    ///
    /// # Errors
    /// [`CodecError::Short`].
    pub fn signature(&mut self) -> Result<Signature, CodecError> {
        Ok(Signature(self.array::<SIGNATURE_BYTES>("a signature")?))
    }

    /// Reads a count of things that have at least `least` bytes each: never more than `limit`, nor
    /// more than the bytes that are left can hold. So it may be used to reserve memory.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] or [`CodecError::Short`].
    pub fn count(
        &mut self,
        what: &'static str,
        limit: usize,
        least: usize,
    ) -> Result<usize, CodecError> {
        let stated = self.u32(what)?;
        let too_long = CodecError::TooLong { what, found: u64::from(stated), limit: limit as u64 };
        let count = usize::try_from(stated).map_err(|_| too_long)?;
        if count > limit {
            return Err(too_long);
        }
        if count > self.rest.len() / least.max(1) {
            return Err(CodecError::Short(what));
        }
        Ok(count)
    }

    /// Reads a length of at most `limit` and as many bytes.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] or [`CodecError::Short`].
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], CodecError> {
        let length = self.count(what, limit, 1)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CodecError::Short(what))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Returns how many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Ends: nothing may be left.
    ///
    /// # Errors
    /// [`CodecError::Trailing`].
    pub fn end(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.rest.len())) }
    }
}

/// A value with canonical bytes.
pub trait Canonical: Sized {
    /// Appends the canonical bytes to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads a value from the front of what is left.
    ///
    /// # Errors
    /// [`CodecError`]: what is wrong with the bytes.
    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError>;

    /// Returns the canonical bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// Returns the value that `bytes`, all of them, encode.
    ///
    /// # Errors
    /// [`CodecError`]: what is wrong with the bytes.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let value = Self::read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

/// Appends a length or count as a `u32`.
///
/// Values are made within their limits, all far below `u32::MAX`; one that is not would be refused by
/// every reader, because the number cannot match what follows.
pub(crate) fn write_len(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

/// Appends a length and the bytes.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

impl<T: Canonical> Canonical for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(if reader.flag("mark of an optional value")? { Some(T::read(reader)?) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_not_believed_before_the_bytes_are_there() {
        let mut bytes = 1_000_u32.to_be_bytes().to_vec();
        bytes.extend([0; 999]);
        assert_eq!(Reader::new(&bytes).bytes("x", 1_000), Err(CodecError::Short("x")));
        let over = CodecError::TooLong { what: "x", found: 1_000, limit: 999 };
        assert_eq!(Reader::new(&bytes).bytes("x", 999), Err(over));
        assert_eq!(Reader::new(&bytes).count("x", 1_000, 2), Err(CodecError::Short("x")));
        assert_eq!(Reader::new(&bytes).count("x", 1_000, 0), Err(CodecError::Short("x")));
    }

    #[test]
    fn a_flag_has_two_spellings_and_an_end_is_an_end() {
        assert_eq!(Reader::new(&[1]).flag("x"), Ok(true));
        assert_eq!(Reader::new(&[2]).flag("x"), Err(CodecError::Tag { what: "x", found: 2 }));
        let mut reader = Reader::new(&[0, 0]);
        assert_eq!(reader.u8("x"), Ok(0));
        assert_eq!(reader.end(), Err(CodecError::Trailing(1)));
    }
}
