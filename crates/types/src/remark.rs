//! `Remark`: a sentence of a person, bounded, that goes into the log as it is.

use std::fmt;
use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

/// The longest remark that is accepted, in bytes.
pub const REMARK_LEN_MAX: usize = 1_000;

/// The text cannot be a remark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRemark {
    /// Nothing but spaces.
    #[error("a remark must say something")]
    Blank,
    /// The text is longer than [`REMARK_LEN_MAX`]; holds its length in bytes.
    #[error("a remark has at most {REMARK_LEN_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// A control character: remarks are shown on terminals and pages, on one line.
    #[error("a remark is one line of text, this one holds {0:?}")]
    Control(char),
}

/// Why somebody did something, in words; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark(Arc<str>);

impl Remark {
    /// Returns the remark that says `text`.
    ///
    /// # Errors
    /// [`InvalidRemark`] when `text` is blank, too long or holds control characters.
    pub fn new(text: &str) -> Result<Self, InvalidRemark> {
        if text.len() > REMARK_LEN_MAX {
            return Err(InvalidRemark::TooLong(text.len()));
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(InvalidRemark::Control(control));
        }
        if text.trim().is_empty() {
            return Err(InvalidRemark::Blank);
        }
        Ok(Self(text.into()))
    }

    /// Returns the remark as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remark({:?})", self.as_str())
    }
}

impl BorshSerialize for Remark {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        BorshSerialize::serialize(self.as_str(), writer)
    }
}

impl BorshDeserialize for Remark {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let invalid = |e: InvalidRemark| io::Error::new(io::ErrorKind::InvalidData, e);
        let len = usize::try_from(u32::deserialize_reader(reader)?).unwrap_or(usize::MAX);
        // The length is checked before anything of that length is read.
        if len > REMARK_LEN_MAX {
            return Err(invalid(InvalidRemark::TooLong(len)));
        }
        let mut bytes = vec![0; len];
        reader.read_exact(&mut bytes)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Self::new(text).map_err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_one_line_that_says_something() {
        assert_eq!(Remark::new(" "), Err(InvalidRemark::Blank));
        assert_eq!(Remark::new("a\nb"), Err(InvalidRemark::Control('\n')));
        assert_eq!(Remark::new("\u{1b}[2J"), Err(InvalidRemark::Control('\u{1b}')));
        assert_eq!(Remark::new(&"x".repeat(1_001)), Err(InvalidRemark::TooLong(1_001)));
        assert!(Remark::new("bad SPX tick of 24 October, case 42").is_ok());
    }

    #[test]
    fn a_length_that_lies_is_refused_before_reading() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"abc");
        assert!(Remark::try_from_slice(&bytes).is_err());
        let good = borsh::to_vec(&Remark::new("why").expect("valid")).expect("to memory");
        assert_eq!(Remark::try_from_slice(&good).expect("round trip").as_str(), "why");
    }
}
