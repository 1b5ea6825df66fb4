//! Why a session ended, with the codes that the peer is told.

use crate::crypto::CryptoError;
use crate::frame::FrameError;

/// Why a session is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] Violation),
    /// Bytes that are no frame.
    #[error("not a frame: {0}")]
    Frame(#[from] FrameError),
    /// A record is not authentic, or not the one expected.
    #[error("record {seq} of epoch {epoch} does not open")]
    OpenFailed {
        /// Epoch of the receiving direction.
        epoch: u64,
        /// Number of the record that was expected.
        seq: u64,
    },
    /// The peer derived other keys: an altered exchange or another pre-shared key.
    #[error("the peer's confirmation of epoch {0} is wrong")]
    ConfirmFailed(u64),
    /// A round is not signed by the peer's identity.
    #[error("the signature over epoch {0} is wrong")]
    BadSignature(u64),
    /// The peer's public share or answer is not valid.
    #[error("the peer's share is not valid: {0}")]
    BadShare(CryptoError),
    /// This end's cryptography failed.
    #[error("local cryptography: {0}")]
    Crypto(CryptoError),
    /// The peer opened rounds faster than agreed.
    #[error("the peer asks for rounds too often")]
    RateAbuse,
    /// No round completed before the keys were too old.
    #[error("the keys are too old")]
    KeyTooOld,
    /// A round did not complete in time.
    #[error("the round to epoch {0} did not complete in time")]
    RekeyTimeout(u64),
    /// The peer did not answer pings.
    #[error("the peer is silent")]
    PeerSilent,
    /// The peer did not answer the close in time.
    #[error("the peer did not answer the close in time")]
    CloseTimeout,
    /// The epochs are used up.
    #[error("no epochs are left")]
    EpochExhausted,
    /// The stream ended without a close: it may have been cut.
    #[error("the stream ended without a close")]
    Truncated,
}

impl Reason {
    /// Returns the code of the close that the peer is told; 0 is a close without an error.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1,
            Self::Frame(_) => 2,
            Self::OpenFailed { .. } => 3,
            Self::ConfirmFailed(_) => 4,
            Self::BadSignature(_) => 5,
            Self::BadShare(_) => 6,
            Self::Crypto(_) => 7,
            Self::RateAbuse => 8,
            Self::KeyTooOld => 9,
            Self::RekeyTimeout(_) => 10,
            Self::PeerSilent => 11,
            Self::CloseTimeout => 12,
            Self::EpochExhausted => 13,
            Self::Truncated => 14,
        }
    }
}

/// What a peer can do that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// An INIT for another epoch than the next.
    #[error("INIT for epoch {found}, expected {expected}")]
    InitEpoch {
        /// The epoch it names.
        found: u64,
        /// The only one it could name.
        expected: u64,
    },
    /// An INIT while this end waits for FIN, or a second one that crosses ours.
    #[error("an INIT that cannot be under way")]
    UnexpectedInit,
    /// A RESP that answers nothing.
    #[error("RESP for epoch {0} answers no INIT")]
    UnexpectedResp(u64),
    /// A FIN that finishes nothing.
    #[error("FIN for epoch {0} finishes no round")]
    UnexpectedFin(u64),
    /// Another suite of primitives.
    #[error("suite {0} was not agreed")]
    Suite(u8),
    /// Another pre-shared key than the one agreed.
    #[error("pre-shared key {0} was not agreed")]
    Psk(u64),
    /// A record under another epoch than the direction is in.
    #[error("a record of epoch {found} (low 32 bits), expected {expected}")]
    RecordEpoch {
        /// The low half of the epoch in the header.
        found: u32,
        /// The low half of the epoch of the direction.
        expected: u32,
    },
    /// More records or bytes under one key than any end may seal.
    #[error("a key is used beyond its hard limit")]
    KeyOverused,
    /// Data beyond the credit.
    #[error("{excess} bytes of data beyond the credit")]
    Credit {
        /// How much too many.
        excess: u64,
    },
    /// A payload longer than agreed.
    #[error("a payload of {0} bytes")]
    Payload(usize),
    /// A second message's data in an epoch that allows one.
    #[error("a second message in one epoch")]
    SecondMessage,
    /// More credit returned than was used.
    #[error("{excess} bytes of credit that was never used")]
    Window {
        /// How much too many.
        excess: u64,
    },
    /// A pong without its ping.
    #[error("a pong without its ping")]
    Pong,
    /// Something after the close.
    #[error("a record after the close")]
    AfterClose,
}
