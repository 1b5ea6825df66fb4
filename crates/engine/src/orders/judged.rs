//! Which signed messages of a trader were judged, and what came of it: so that none is judged twice.
//!
//! A message is the bytes that were signed, whatever the signature: who has it can send it again, but
//! not change it. It is remembered for as long as its window is open by the time of commits. After that
//! the window refuses it, and commits never go back, so nothing is forgotten that could still be taken.

use std::collections::BTreeMap;
use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Digest, Stamp, UtcMs};

use crate::input::Payload;

/// What came of a message: the commit that judged it, and the code of its refusal if it was refused.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Judgement {
    /// The commit that judged it.
    pub stamp: Stamp,
    /// The stable code of the refusal; absent when the message was accepted.
    pub refused: Option<Box<str>>,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refused {
            None => write!(f, "commit {} accepted it", self.stamp.commit),
            Some(code) => write!(f, "commit {} refused it, {code}", self.stamp.commit),
        }
    }
}

/// Half of the BLAKE3 hash of a payload: two payloads that collide in it cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct MessageKey([u8; 16]);

impl MessageKey {
    /// Returns the key of the message `payload`.
    #[must_use]
    pub fn of(payload: &Payload) -> Self {
        let hash = Digest::of(payload.bytes()).0;
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        Self(key)
    }
}

/// The messages of one trader that were judged and whose windows may be open.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Judged {
    /// By the end of the window: that is the order in which they are forgotten.
    by_end: BTreeMap<(UtcMs, MessageKey), Judgement>,
}

impl Judged {
    /// Forgets the messages whose windows are over at `at`.
    pub fn forget(&mut self, at: UtcMs) {
        while let Some(first) = self.by_end.first_entry()
            && first.key().0 <= at
        {
            first.remove();
        }
    }

    /// Returns what came of the message with this key, whose window ends at `until`.
    #[must_use]
    pub fn of(&self, until: UtcMs, key: MessageKey) -> Option<&Judgement> {
        self.by_end.get(&(until, key))
    }

    /// Remembers what came of a message.
    pub fn insert(&mut self, until: UtcMs, key: MessageKey, judgement: Judgement) {
        self.by_end.insert((until, key), judgement);
    }

    /// Returns how many messages are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_end.len()
    }

    /// Tells whether no message is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_end.is_empty()
    }
}
