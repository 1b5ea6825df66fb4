//! The register of reasons: decisions that end accounts, until a follower has acknowledged them.
//!
//! A decision and the account's record are made in one commit, so the register hands nothing over:
//! it only shows what was decided. Taking a decision from it, in whatever order with new ones, can
//! therefore never lose an elimination (C-60 to C-70, X-1 to X-4). The reference's calls are all
//! here: `get` and `has` are views, `update`, `pop` and `clear` are inputs.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Stamp, TraderId};

use crate::eliminations::{DrawdownNote, Reason};

/// A decision that ended an account.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Decision {
    /// Counts from 1 without gaps over all decisions ever made.
    pub seq: u64,
    /// Whose account.
    pub trader: TraderId,
    /// Why.
    pub reason: Reason,
    /// The drawdown, as the record has it.
    pub drawdown: DrawdownNote,
    /// The commit that decided and its time.
    pub decided: Stamp,
}

/// What the outside may do to the register.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum ReasonsCommand {
    /// Reasons found elsewhere: each ends an account in the commit of the command. Who has ended
    /// already is passed over (E-47).
    Update(Vec<Published>),
    /// The decision on a trader was taken note of.
    Pop(TraderId),
    /// Every decision up to this one was taken note of; newer ones stay.
    Clear {
        /// Number of the newest decision that the caller has seen.
        up_to: u64,
    },
}

/// A reason found elsewhere.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Published {
    /// Whose account ends.
    pub trader: TraderId,
    /// Why.
    pub reason: Reason,
    /// The drawdown.
    pub drawdown: DrawdownNote,
}

/// The decisions that were not acknowledged yet, oldest first. An account ends once, so there are
/// never more of them than accounts.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ReasonRegister {
    newest: u64,
    open: Vec<Decision>,
}

impl ReasonRegister {
    /// Returns the decisions that were not acknowledged, oldest first.
    #[must_use]
    pub fn open(&self) -> &[Decision] {
        &self.open
    }

    /// Returns the number of the newest decision, 0 before the first: what to clear up to after
    /// having read the list.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Returns the decision on `trader`, if it was not acknowledged.
    #[must_use]
    pub fn of(&self, trader: &TraderId) -> Option<&Decision> {
        self.open.iter().find(|decision| decision.trader == *trader)
    }

    /// Adds a decision and returns it with its number. One on the same trader that nobody has
    /// acknowledged gives way: an account that ends again had been reinstated.
    pub(crate) fn add(
        &mut self,
        trader: &TraderId,
        reason: Reason,
        drawdown: DrawdownNote,
        decided: Stamp,
    ) -> Decision {
        self.newest += 1;
        self.open.retain(|decision| decision.trader != *trader);
        let decision =
            Decision { seq: self.newest, trader: trader.clone(), reason, drawdown, decided };
        self.open.push(decision.clone());
        decision
    }

    /// Removes the decision on `trader`; returns its number.
    pub(crate) fn pop(&mut self, trader: &TraderId) -> Option<u64> {
        let place = self.open.iter().position(|decision| decision.trader == *trader)?;
        Some(self.open.remove(place).seq)
    }

    /// Removes the decisions up to `up_to`; returns how many there were.
    pub(crate) fn clear(&mut self, up_to: u64) -> usize {
        let seen = self.open.partition_point(|decision| decision.seq <= up_to);
        self.open.drain(..seen);
        seen
    }

    /// Tests what must hold of a register that was loaded from bytes.
    pub(crate) fn is_sound(&self) -> bool {
        self.open.is_sorted_by(|a, b| a.seq < b.seq)
            && self.open.last().is_none_or(|last| last.seq <= self.newest)
    }
}
