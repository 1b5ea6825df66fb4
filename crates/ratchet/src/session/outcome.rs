//! What a session answers: life, tickets, events, refusals.

use crate::credit::RECORD_COST;
use crate::reason::Reason;

/// Where a session is between its beginning and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Data flows.
    Open,
    /// A CLOSE is to be sent; no more data is.
    Closing,
    /// The CLOSE was sent; what the peer still sends is read until its own.
    CloseSent,
    /// Both directions ended in order.
    Closed,
    /// Ended without order.
    Dead(Reason),
}

impl Life {
    /// Returns whether this is the end.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Dead(_))
    }
}

/// Which round will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// One that is already under way is as good as a new one.
    Any,
    /// Only one that begins after the call.
    Fresh,
}

/// A request for a round: an epoch to be reached. It may be copied, kept and dropped at will; the
/// session stores nothing for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(super) epoch: u64,
}

/// What became of a [`Ticket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The epoch is not reached yet.
    Pending,
    /// Both directions of this end have reached it.
    Done,
    /// The session ended before.
    Failed,
}

/// What [`Session::poll_event`](super::Session::poll_event) tells. What it does not tell in time is summed up, never lost: the
/// newest epoch stands for those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both directions have reached an epoch.
    Epoch(u64),
    /// A round to this epoch is slow.
    RekeySlow(u64),
    /// Data waits because the key of this epoch is at its hard limit.
    Stalled(u64),
    /// Data from the peer.
    Data(Data),
    /// The peer has closed, with this code.
    PeerClosing(u16),
    /// Both directions ended in order.
    Closed,
    /// The session is dead.
    Dead(Reason),
}

/// Small pieces of one message are joined up to this many bytes.
const JOINED_BYTES: usize = 16 << 10;

/// A piece of a message, of one record or of several small ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    /// The bytes; never more than the agreed payload or 16 KiB.
    pub payload: Vec<u8>,
    /// Whether the message ends here.
    pub end: bool,
    records: u64,
}

impl Data {
    pub(super) fn of_record(payload: &[u8], end: bool) -> Self {
        Self { payload: payload.to_vec(), end, records: 1 }
    }

    /// Adds the payload of the record after it. Returns whether that belongs to the same message and
    /// the two are small enough: else nothing was done.
    pub(super) fn join(&mut self, payload: &[u8], end: bool) -> bool {
        let joins = !self.end && self.payload.len() + payload.len() <= JOINED_BYTES;
        if joins {
            self.payload.extend_from_slice(payload);
            self.end = end;
            self.records += 1;
        }
        joins
    }

    /// Returns what is to be given to [`Session::consume`](super::Session::consume) when the application is done with it.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.payload.len() as u64 + self.records * RECORD_COST
    }
}

/// Why a call had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full; try again when [`Status::queued_bytes`] has fallen.
    #[error("the queue is full")]
    Full,
    /// The message is longer than any that is allowed.
    #[error("a message of {found} bytes, the limit is {max}")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A message without a byte.
    #[error("an empty message")]
    Empty,
    /// The session takes no more.
    #[error("the session is closing or over")]
    Closed,
}

/// What was given to [`Session::new`](super::Session::new) makes no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Both ends have the same identity.
    #[error("both ends have the same identity")]
    SameIdentity,
    /// The payload limit is 0 or over 65,536.
    #[error("a payload limit of {0} bytes")]
    Payload(u32),
    /// The credit is less than one record costs.
    #[error("a credit of {0} bytes is less than one record costs")]
    Credit(u32),
    /// The hard limit of records is beyond what a peer accepts.
    #[error("a limit of {0} records is beyond what a key may seal")]
    Records(u64),
}

/// The state as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where the session is.
    pub life: Life,
    /// The epoch that both directions of this end have reached.
    pub epoch: u64,
    /// Whether a round is under way or asked for.
    pub rekeying: bool,
    /// Credit left to send data.
    pub credit: u64,
    /// Bytes in the queue.
    pub queued_bytes: usize,
}
