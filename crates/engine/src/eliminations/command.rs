//! Commands that write records from outside: operators' and other validators'.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{OperatorId, Remark, Stamp, TraderId, UtcMs, ValidatorId};

use super::{DrawdownNote, Reason};

/// A record as somebody else states it.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct EliminationRow {
    /// Whose account ended.
    pub trader: TraderId,
    /// Why.
    pub reason: Reason,
    /// The drawdown.
    pub drawdown: DrawdownNote,
    /// When it was decided.
    pub decided_at: UtcMs,
}

/// An operator's command on records.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum EliminationsCommand {
    /// Ends accounts, or bars traders who have none yet. All of it or nothing: a trader who has a
    /// record already refuses the batch, for a record is never overwritten.
    Add {
        /// Who says so.
        by: OperatorId,
        /// Why, in words.
        why: Remark,
        /// The records; of several for one trader the last one counts (E-6).
        rows: Vec<EliminationRow>,
    },
    /// Takes the records of traders back, as [`Reinstatement`] does. All of it or nothing: a trader
    /// without a record refuses the batch.
    Remove {
        /// Who says so.
        by: OperatorId,
        /// Why, in words.
        why: Remark,
        /// Whose.
        traders: Vec<TraderId>,
    },
}

/// Where a reinstated trader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Reentry {
    /// At the beginning: a challenge from now on.
    Challenge,
    /// In the stage, and with the time in it, that he had when the account ended.
    Restored,
}

/// The command that undoes one decision.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Reinstatement {
    /// Whose.
    pub trader: TraderId,
    /// Who says so.
    pub by: OperatorId,
    /// Why, in words.
    pub why: Remark,
    /// The decision that is undone: a later one stands.
    pub decided: Stamp,
    /// Where the trader goes on.
    pub reentry: Reentry,
}

/// The whole list of another validator's records.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct SyncedEliminations {
    /// Whose list it is.
    pub source: ValidatorId,
    /// As of when.
    pub as_of: UtcMs,
    /// Every record; of several for one trader the last one counts (E-70).
    pub rows: Vec<EliminationRow>,
}
