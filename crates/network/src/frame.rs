//! Frames: `length u32 | kind u8 | id u64 | payload`, big-endian; lengths are checked before allocation.
//!
//! Bytes from a peer become values here, and only here. Any bytes give a frame or an error. What a
//! newer version may say is told from what no version says: an unknown request is answered, an unknown
//! push ignored.

use std::io;

use proctor_p2p::message::FRAME_BYTES_MAX;
use proctor_p2p::peers::policy::Bye;
use proctor_p2p::{Answer, Canonical, CodecError, Failure, Hello, Message, Push, Request};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes before the payload.
pub const HEAD_BYTES: usize = 13;
/// Where in it the kind stands.
pub(crate) const KIND_AT: usize = 4;
/// The longest hello, in bytes (5.2).
pub const HELLO_BYTES_MAX: usize = 16 << 10;
/// The longest payload of a frame without a message.
const SHORT_BYTES_MAX: usize = 16;

const HELLO: u8 = 1;
const REQUEST: u8 = 2;
const ANSWER: u8 = 3;
const ANSWER_END: u8 = 4;
const FAILED: u8 = 5;
const PUSH: u8 = 6;
const CANCEL: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;
const BYE: u8 = 10;

/// What one node says to another in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first of each side.
    Hello(Box<Hello>),
    /// A question; its number is the sender's.
    Request {
        /// The number.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// A piece of an answer.
    Answer {
        /// The number of the question.
        id: u64,
        /// The piece.
        answer: Answer,
        /// No more follow.
        last: bool,
    },
    /// News.
    Push(Push),
    /// The answer with this number is not needed any more.
    Cancel(u64),
    /// Are you there?
    Ping(u64),
    /// Yes.
    Pong(u64),
    /// The last frame of a connection.
    Bye(Bye),
    /// A request that this version does not know.
    UnknownRequest(u64),
    /// A push that this version does not know.
    UnknownPush,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No kind of this protocol.
    #[error("{0} is no kind of frame")]
    Kind(u8),
    /// Longer than a frame of its kind.
    #[error("a frame of kind {kind} has {found} bytes, the limit is {limit}")]
    TooLong {
        /// The kind.
        kind: u8,
        /// The stated length.
        found: u32,
        /// The limit.
        limit: usize,
    },
    /// The payload is no message.
    #[error("the payload of a frame: {0}")]
    Payload(#[from] CodecError),
    /// The payload is a message of another kind than the frame.
    #[error("a frame of kind {0} carries a message of another kind")]
    OtherMessage(u8),
    /// A number where none belongs.
    #[error("a frame of kind {0} has no number")]
    Numbered(u8),
    /// The payload is no reason to say goodbye.
    #[error("the reason of a goodbye is unknown or has the wrong length")]
    Bye,
}

/// Why no further frame is read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadEnd {
    /// The stream ended, or failed.
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    /// What arrived is no frame.
    #[error(transparent)]
    Malformed(#[from] FrameError),
}

impl Frame {
    /// Returns the number of its kind; of one that this version does not know, that of its sort.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Request { .. } | Self::UnknownRequest(_) => REQUEST,
            Self::Answer { answer: Answer::Failed(_), .. } => FAILED,
            Self::Answer { last: false, .. } => ANSWER,
            Self::Answer { last: true, .. } => ANSWER_END,
            Self::Push(_) | Self::UnknownPush => PUSH,
            Self::Cancel(_) => CANCEL,
            Self::Ping(_) => PING,
            Self::Pong(_) => PONG,
            Self::Bye(_) => BYE,
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, id, payload) = match self {
            Self::Hello(hello) => (HELLO, 0, Message::Hello((**hello).clone()).encode()),
            Self::Request { id, request } => {
                (REQUEST, *id, Message::Request(request.clone()).encode())
            }
            Self::Answer { id, answer: Answer::Failed(failure), .. } => {
                (FAILED, *id, failure.encode())
            }
            Self::Answer { id, answer, last } => {
                let kind = if *last { ANSWER_END } else { ANSWER };
                (kind, *id, Message::Answer(answer.clone()).encode())
            }
            Self::Push(push) => (PUSH, 0, Message::Push(push.clone()).encode()),
            Self::Cancel(id) => (CANCEL, *id, Vec::new()),
            Self::Ping(nonce) => (PING, *nonce, Vec::new()),
            Self::Pong(nonce) => (PONG, *nonce, Vec::new()),
            Self::Bye(why) => (BYE, 0, encode_bye(*why)),
            // Never made here; written as the shortest thing that is read as one.
            Self::UnknownRequest(id) => (REQUEST, *id, vec![2, u8::MAX]),
            Self::UnknownPush => (PUSH, 0, vec![4, u8::MAX]),
        };
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Reads one frame from bytes that hold it and nothing else.
    ///
    /// # Errors
    /// [`FrameError`]; bytes that end too early are [`CodecError::Short`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (head, payload) = bytes
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(CodecError::Short("the head of a frame"))?;
        let head = Head::read(*head)?;
        match payload.len().checked_sub(head.length) {
            Some(0) => head.frame(payload),
            Some(more) => Err(CodecError::Trailing(more).into()),
            None => Err(CodecError::Short("the payload of a frame").into()),
        }
    }
}

/// The head of a frame, of a known kind and within its limit.
struct Head {
    length: usize,
    kind: u8,
    id: u64,
}

impl Head {
    fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, kind, id @ ..] = bytes;
        let found = u32::from_be_bytes([a, b, c, d]);
        let limit = match kind {
            HELLO => HELLO_BYTES_MAX,
            REQUEST | ANSWER | ANSWER_END | PUSH => FRAME_BYTES_MAX,
            FAILED | BYE => SHORT_BYTES_MAX,
            CANCEL | PING | PONG => 0,
            _ => return Err(FrameError::Kind(kind)),
        };
        let length = usize::try_from(found).ok().filter(|length| *length <= limit);
        let length = length.ok_or(FrameError::TooLong { kind, found, limit })?;
        let id = u64::from_be_bytes(id);
        if id != 0 && matches!(kind, HELLO | PUSH | BYE) {
            return Err(FrameError::Numbered(kind));
        }
        Ok(Self { length, kind, id })
    }

    fn frame(self, payload: &[u8]) -> Result<Frame, FrameError> {
        let Self { kind, id, .. } = self;
        match kind {
            CANCEL => return Ok(Frame::Cancel(id)),
            PING => return Ok(Frame::Ping(id)),
            PONG => return Ok(Frame::Pong(id)),
            BYE => return decode_bye(payload).map(Frame::Bye).ok_or(FrameError::Bye),
            FAILED => {
                let answer = Answer::Failed(Failure::decode(payload)?);
                return Ok(Frame::Answer { id, answer, last: true });
            }
            _ => {}
        }
        match (kind, Message::decode(payload)) {
            (HELLO, Ok(Message::Hello(hello))) => Ok(Frame::Hello(Box::new(hello))),
            (REQUEST, Ok(Message::Request(request))) => Ok(Frame::Request { id, request }),
            // A failure has a kind of its own: nothing has two spellings.
            (ANSWER | ANSWER_END, Ok(Message::Answer(Answer::Failed(_)))) => {
                Err(FrameError::OtherMessage(kind))
            }
            (ANSWER | ANSWER_END, Ok(Message::Answer(answer))) => {
                Ok(Frame::Answer { id, answer, last: kind == ANSWER_END })
            }
            (PUSH, Ok(Message::Push(push))) => Ok(Frame::Push(push)),
            (REQUEST, Err(CodecError::Tag { what: "request", .. })) => {
                Ok(Frame::UnknownRequest(id))
            }
            (PUSH, Err(CodecError::Tag { what: "push", .. })) => Ok(Frame::UnknownPush),
            (_, Ok(_)) => Err(FrameError::OtherMessage(kind)),
            (_, Err(error)) => Err(error.into()),
        }
    }
}

/// Reads the next frame; returns it and its length in bytes.
pub(crate) async fn read_frame(
    io: &mut (impl AsyncRead + Unpin),
) -> Result<(Frame, usize), ReadEnd> {
    let mut head = [0; HEAD_BYTES];
    io.read_exact(&mut head).await?;
    let head = Head::read(head)?;
    let length = head.length;
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).await?;
    Ok((head.frame(&payload)?, HEAD_BYTES + length))
}

fn encode_bye(why: Bye) -> Vec<u8> {
    let (number, value) = match why {
        Bye::Duplicate => (1, None),
        Bye::Full { retry_ms } => (2, Some(retry_ms)),
        Bye::Banned { ms } => (3, Some(ms)),
        Bye::NotAllowed => (4, None),
        Bye::WrongChain => (5, None),
        Bye::OldProto => (6, None),
        Bye::Myself => (7, None),
        Bye::WrongPeer => (8, None),
        Bye::Timeout => (9, None),
        Bye::Shutdown => (10, None),
    };
    let mut bytes = vec![number];
    bytes.extend(value.into_iter().flat_map(u64::to_be_bytes));
    bytes
}

fn decode_bye(bytes: &[u8]) -> Option<Bye> {
    let (number, value) = bytes.split_first()?;
    let value =
        if value.is_empty() { None } else { Some(u64::from_be_bytes(value.try_into().ok()?)) };
    Some(match (number, value) {
        (1, None) => Bye::Duplicate,
        (2, Some(retry_ms)) => Bye::Full { retry_ms },
        (3, Some(ms)) => Bye::Banned { ms },
        (4, None) => Bye::NotAllowed,
        (5, None) => Bye::WrongChain,
        (6, None) => Bye::OldProto,
        (7, None) => Bye::Myself,
        (8, None) => Bye::WrongPeer,
        (9, None) => Bye::Timeout,
        (10, None) => Bye::Shutdown,
        _ => return None,
    })
}
