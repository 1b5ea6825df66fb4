//! Wire framing: the record header and the frames inside, with every way they can be wrong.
//!
//! A record is a header in the clear, which is authenticated, and one sealed frame. Integers are
//! little-endian. Decoding is a total function: any bytes give a value or a [`FrameError`], nothing
//! is allocated, and what is not the one encoding of its meaning is refused.

use crate::crypto::Crypto;

/// Bytes of a record header.
pub const HEADER_BYTES: usize = 8;
/// The version in every header.
pub const VERSION: u8 = 1;
/// The longest reason that a close may carry.
pub const CLOSE_REASON_BYTES_MAX: usize = 64;
/// Bytes that a DATA frame adds to its payload: kind and flags.
pub const DATA_OVERHEAD_BYTES: usize = 2;

const DATA: u8 = 0;
const INIT: u8 = 1;
const RESP: u8 = 2;
const FIN: u8 = 3;
const WINDOW: u8 = 4;
const CLOSE: u8 = 5;
const PING: u8 = 6;
const PONG: u8 = 7;

const FLAG_END: u8 = 1;

/// Why bytes are not a header or a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// Another version of the format.
    #[error("version {0}")]
    Version(u8),
    /// A record too short to be sealed, or longer than agreed.
    #[error("a record of {length} bytes, allowed are {min} to {max}")]
    Length {
        /// What the header says.
        length: usize,
        /// The least that can be.
        min: usize,
        /// The most that was agreed.
        max: usize,
    },
    /// A record without a frame.
    #[error("an empty record")]
    Empty,
    /// A kind that does not exist.
    #[error("kind {0}")]
    Kind(u8),
    /// A frame that is not as long as its kind is.
    #[error("a frame of kind {kind} with {length} bytes")]
    FrameLength {
        /// The kind.
        kind: u8,
        /// Bytes after the kind.
        length: usize,
    },
    /// Flags that do not exist.
    #[error("flags {0:#04x}")]
    Flags(u8),
    /// Data that is neither a byte nor an end.
    #[error("data without content")]
    NoContent,
    /// A window of nothing.
    #[error("a window of zero bytes")]
    NoWindow,
}

/// The header of a record, which is authenticated with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the sealed frame that follows.
    pub length: usize,
    /// The low half of the epoch whose key seals it.
    pub epoch: u32,
}

impl Header {
    /// Returns the bytes of the header; `length` is below 2^24 because payloads are bounded.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX).to_le_bytes();
        let epoch = self.epoch.to_le_bytes();
        [length[0], length[1], length[2], VERSION, epoch[0], epoch[1], epoch[2], epoch[3]]
    }

    /// Reads a header of a record whose sealed frame may have `min` to `max` bytes.
    ///
    /// # Errors
    /// [`FrameError::Version`] or [`FrameError::Length`].
    pub fn decode(bytes: &[u8; HEADER_BYTES], min: usize, max: usize) -> Result<Self, FrameError> {
        let [l0, l1, l2, version, e0, e1, e2, e3] = *bytes;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let length = usize::from(l0) | usize::from(l1) << 8 | usize::from(l2) << 16;
        if length < min || length > max {
            return Err(FrameError::Length { length, min, max });
        }
        Ok(Self { length, epoch: u32::from_le_bytes([e0, e1, e2, e3]) })
    }
}

/// What is inside a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Data of the application.
    Data {
        /// Whether the message ends here.
        end: bool,
        /// The bytes.
        payload: &'a [u8],
    },
    /// The proposal of a new epoch.
    Init(Init<'a>),
    /// The answer to an INIT, the last record under the old key.
    Resp(Resp<'a>),
    /// The end of a round, the last record under the old key.
    Fin {
        /// The new epoch.
        epoch: u64,
        /// Proof that the initiator derived the same keys.
        confirm: [u8; 32],
    },
    /// More bytes of data may be sent.
    Window(u32),
    /// The last record of a direction.
    Close {
        /// 0, or [`crate::Reason::code`], or what the application means by it.
        code: u16,
        /// For people.
        reason: &'a [u8],
    },
    /// A question that only asks for an answer.
    Ping(u64),
    /// The answer.
    Pong(u64),
}

/// The body of an INIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init<'a> {
    /// The new epoch.
    pub epoch: u64,
    /// The suite of primitives.
    pub suite: u8,
    /// The pre-shared key that is mixed in; 0 is none.
    pub psk_id: u64,
    /// The initiator's public share.
    pub share: &'a [u8],
    /// Over everything before it, the session and its transcript.
    pub signature: &'a [u8],
}

/// The body of a RESP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resp<'a> {
    /// The new epoch.
    pub epoch: u64,
    /// The answer to the initiator's share.
    pub answer: &'a [u8],
    /// Proof that the responder derived the keys of this transcript.
    pub confirm: [u8; 32],
    /// Over the session and the transcript.
    pub signature: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Data { end, payload } => {
                out.extend_from_slice(&[DATA, if *end { FLAG_END } else { 0 }]);
                out.extend_from_slice(payload);
            }
            Self::Init(init) => {
                init.encode_unsigned(out);
                out.extend_from_slice(init.signature);
            }
            Self::Resp(resp) => {
                out.push(RESP);
                out.extend_from_slice(&resp.epoch.to_le_bytes());
                out.extend_from_slice(resp.answer);
                out.extend_from_slice(&resp.confirm);
                out.extend_from_slice(resp.signature);
            }
            Self::Fin { epoch, confirm } => {
                out.push(FIN);
                out.extend_from_slice(&epoch.to_le_bytes());
                out.extend_from_slice(confirm);
            }
            Self::Window(bytes) => {
                out.push(WINDOW);
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::Close { code, reason } => {
                out.push(CLOSE);
                out.extend_from_slice(&code.to_le_bytes());
                out.extend_from_slice(reason);
            }
            Self::Ping(number) => {
                out.push(PING);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Pong(number) => {
                out.push(PONG);
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// Reads the frame that is all of `bytes`.
    ///
    /// # Errors
    /// [`FrameError`], except its variants about headers.
    pub fn decode<C: Crypto>(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (&kind, body) = bytes.split_first().ok_or(FrameError::Empty)?;
        let wrong = FrameError::FrameLength { kind, length: body.len() };
        let mut rest = Rest(body);
        let frame = match kind {
            DATA => {
                let [flags] = rest.array().ok_or(wrong)?;
                if flags & !FLAG_END != 0 {
                    return Err(FrameError::Flags(flags));
                }
                let payload = rest.all();
                if payload.is_empty() && flags == 0 {
                    return Err(FrameError::NoContent);
                }
                Self::Data { end: flags == FLAG_END, payload }
            }
            INIT => Self::Init(Init::decode::<C>(&mut rest).ok_or(wrong)?),
            RESP => Self::Resp(Resp::decode::<C>(&mut rest).ok_or(wrong)?),
            FIN => {
                Self::Fin { epoch: rest.u64().ok_or(wrong)?, confirm: rest.array().ok_or(wrong)? }
            }
            WINDOW => match u32::from_le_bytes(rest.array().ok_or(wrong)?) {
                0 => return Err(FrameError::NoWindow),
                bytes => Self::Window(bytes),
            },
            CLOSE => {
                let code = u16::from_le_bytes(rest.array().ok_or(wrong)?);
                let reason = rest.all();
                if reason.len() > CLOSE_REASON_BYTES_MAX {
                    return Err(wrong);
                }
                Self::Close { code, reason }
            }
            PING => Self::Ping(rest.u64().ok_or(wrong)?),
            PONG => Self::Pong(rest.u64().ok_or(wrong)?),
            other => return Err(FrameError::Kind(other)),
        };
        if rest.0.is_empty() { Ok(frame) } else { Err(wrong) }
    }

    /// Returns the most bytes that a frame can have when payloads have at most `payload_max`.
    #[must_use]
    pub fn bytes_max<C: Crypto>(payload_max: usize) -> usize {
        let init = 1 + 8 + 1 + 8 + C::SHARE_BYTES + C::SIGNATURE_BYTES;
        let resp = 1 + 8 + C::ANSWER_BYTES + 32 + C::SIGNATURE_BYTES;
        let close = 1 + 2 + CLOSE_REASON_BYTES_MAX;
        init.max(resp).max(close).max(DATA_OVERHEAD_BYTES + payload_max)
    }
}

impl<'a> Init<'a> {
    /// Appends what the signature covers: the frame up to its signature.
    pub(crate) fn encode_unsigned(&self, out: &mut Vec<u8>) {
        out.push(INIT);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.push(self.suite);
        out.extend_from_slice(&self.psk_id.to_le_bytes());
        out.extend_from_slice(self.share);
    }

    fn decode<C: Crypto>(rest: &mut Rest<'a>) -> Option<Self> {
        let epoch = rest.u64()?;
        let [suite] = rest.array()?;
        let psk_id = rest.u64()?;
        let share = rest.take(C::SHARE_BYTES)?;
        let signature = rest.take(C::SIGNATURE_BYTES)?;
        Some(Self { epoch, suite, psk_id, share, signature })
    }
}

impl<'a> Resp<'a> {
    fn decode<C: Crypto>(rest: &mut Rest<'a>) -> Option<Self> {
        let epoch = rest.u64()?;
        let answer = rest.take(C::ANSWER_BYTES)?;
        let confirm = rest.array()?;
        let signature = rest.take(C::SIGNATURE_BYTES)?;
        Some(Self { epoch, answer, confirm, signature })
    }
}

/// What is left of a frame.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
