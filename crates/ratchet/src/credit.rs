//! Flow control between the two ends: reading never waits for the application.
//!
//! A sender seals data only within the credit that its peer has given, so a receiver can take every
//! record off the stream at once, however slow its application is. Control frames need no credit.

use crate::reason::Violation;

/// What a record of data costs beside its payload, so that empty ones are not free.
pub const RECORD_COST: u64 = 64;

/// Returns the credit that a record of data uses.
pub(crate) fn cost(payload: usize) -> u64 {
    payload as u64 + RECORD_COST
}

/// What this end may still send.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Sending {
    total: u64,
    pub(crate) left: u64,
}

impl Sending {
    pub(crate) fn new(total: u32) -> Self {
        Self { total: total.into(), left: total.into() }
    }

    pub(crate) fn allows(&self, cost: u64) -> bool {
        self.left >= cost
    }

    /// Uses credit that [`Self::allows`] granted.
    pub(crate) fn spend(&mut self, cost: u64) {
        self.left -= cost;
    }

    /// Takes back what the peer has returned.
    pub(crate) fn add(&mut self, bytes: u32) -> Result<(), Violation> {
        let left = self.left + u64::from(bytes);
        if left > self.total {
            return Err(Violation::Window { excess: left - self.total });
        }
        self.left = left;
        Ok(())
    }
}

/// What the peer may still send, and what came of the rest. The three parts always add up to the
/// agreed credit, which is therefore the most that is ever held in memory.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Receiving {
    /// What the peer may still send.
    left: u64,
    /// Received, and not yet consumed by the application.
    held: u64,
    /// Consumed, and not yet returned to the peer.
    freed: u64,
    /// What is worth a frame of its own.
    worthwhile: u64,
}

impl Receiving {
    pub(crate) fn new(total: u32, payload_max: u32) -> Self {
        // A sender that waits has less left than one record costs. Once all it sent is consumed,
        // more than this is free, so it cannot wait for ever for a window that is never sent. A
        // quarter, so that it need not wait at all while the receiver keeps up.
        let surely_freed = u64::from(total) - (u64::from(payload_max) + RECORD_COST) + 1;
        let worthwhile = surely_freed.min(u64::from(total) / 4).max(1);
        Self { left: total.into(), held: 0, freed: 0, worthwhile }
    }

    pub(crate) fn receive(&mut self, cost: u64) -> Result<(), Violation> {
        self.left = self
            .left
            .checked_sub(cost)
            .ok_or(Violation::Credit { excess: cost.saturating_sub(self.left) })?;
        self.held += cost;
        Ok(())
    }

    /// Notes that the application is done with data that cost this much; no more than it was given.
    pub(crate) fn consume(&mut self, cost: u64) {
        let cost = cost.min(self.held);
        self.held -= cost;
        self.freed += cost;
    }

    /// Returns whether a window should be sent.
    pub(crate) fn is_window_due(&self) -> bool {
        self.freed >= self.worthwhile
    }

    /// Gives back to the peer what was consumed.
    pub(crate) fn window(&mut self) -> u32 {
        let freed = std::mem::take(&mut self.freed);
        self.left += freed;
        u32::try_from(freed).expect("no more is free than the credit, a u32")
    }
}
