//! `SignedOrder`: an order with the bytes that its trader has signed, as the log keeps it.
//!
//! The signature was verified before the order was submitted; the engine does not verify it again and
//! does not read the payload. It keeps both, so that everybody can who reads the log, and takes the
//! payload for the name of the message: who sends the same bytes again sends the same message.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{OrderRequest, UtcMs};

/// The longest payload that the log takes, in bytes.
pub const PAYLOAD_LEN_MAX: usize = 8192;

/// The bytes that a trader has signed: at most [`PAYLOAD_LEN_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Payload(Vec<u8>);

/// A payload has too many bytes; holds how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signed payload of {0} bytes: the log takes {PAYLOAD_LEN_MAX}")]
pub struct PayloadTooLong(pub usize);

impl Payload {
    /// Returns the payload `bytes`.
    ///
    /// # Errors
    /// [`PayloadTooLong`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, PayloadTooLong> {
        if bytes.len() > PAYLOAD_LEN_MAX {
            return Err(PayloadTooLong(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl BorshDeserialize for Payload {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let len = u32::deserialize_reader(reader)?;
        let len = usize::try_from(len).ok().filter(|len| *len <= PAYLOAD_LEN_MAX);
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "a payload that is too long");
        let mut bytes = vec![0; len.ok_or_else(invalid)?];
        reader.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }
}

/// When a message may be taken: from `from`, and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Validity {
    /// The first moment.
    pub from: UtcMs,
    /// The first moment that is too late.
    pub until: UtcMs,
}

/// An order or cancellation that its trader has signed.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct SignedOrder {
    /// What the payload asks for.
    pub request: OrderRequest,
    /// When the payload says that it may be taken.
    pub validity: Validity,
    /// The bytes that were signed.
    pub payload: Payload,
    /// The signature over them: sr25519, by the trader.
    pub signature: [u8; 64],
}
