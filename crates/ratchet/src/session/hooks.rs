//! What the tests ask of a session beyond its public face.

use super::{Data, Rekey, Session, Told};
use crate::crypto::Crypto;
use crate::key_schedule::Mode;

impl<C: Crypto> Session<C> {
    /// Returns the cost of the data that waits for the application.
    pub(crate) fn unread_cost(&self) -> u64 {
        self.received.iter().map(Data::cost).sum()
    }

    pub(crate) fn is_window_due(&self) -> bool {
        self.window.is_window_due()
    }

    /// Returns whether the next message needs a round that nobody has begun.
    pub(crate) fn needs_fresh_round(&self) -> bool {
        let begun = |rekey: &Rekey<C>| rekey.target() > rekey.send.epoch;
        self.waits_for_fresh_epoch() && !self.rekey.as_ref().is_some_and(begun)
    }

    /// What was told is no part of the protocol's state.
    pub(crate) fn forget_told(&mut self) {
        self.told = Told::default();
    }

    pub(crate) fn has_last_words(&self) -> bool {
        !self.last_words.is_empty()
    }

    pub(crate) fn mode(&self) -> Mode {
        self.agreed.mode
    }
}
