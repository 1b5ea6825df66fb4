//! Reasons, the record of an account's end, and what becomes of a record.
//!
//! An account ends once. The record, the flat orders that close its positions and the bar against
//! its orders are made in the same commit, so that no order can slip in between (E-64, X-9). A
//! record is never overwritten; it can be lifted, which begins a new epoch of the account, and it is
//! purged of its details when its trader is gone for good. Source: services 1.

pub mod command;
mod drawdown_note;
pub mod plan;
pub mod slash;

use std::sync::Arc;

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{
    DurationMs, OperatorId, OrderId, Price, Remark, SourceName, Stamp, TradePair, UtcMs,
    ValidatorId,
};
use serde::{Deserialize, Serialize};

use crate::challenge_period::{Standing, UnknownName};
use crate::ledgers::Drawdown;
use crate::rulebook::{Constant, RulebookError, at_least, field, unit};

pub use command::{
    EliminationRow, EliminationsCommand, Reentry, Reinstatement, SyncedEliminations,
};
pub use drawdown_note::DrawdownNote;
pub use slash::{Slash, SlashState};

/// Eliminations (trading 8.9, services 1).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EliminationRules {
    /// Loss from the peak, as a fraction of it, at which an account ends.
    pub drawdown_max: Constant<f64>,
    /// How long after its decision a record of a trader who is not registered is purged.
    pub purge_after: Constant<DurationMs>,
    /// How many believed rosters in a row must lack a trader before he is a zombie.
    pub zombie_absent_rosters: Constant<u32>,
    /// How many records of traders without an account are kept.
    pub records_without_account_max: Constant<u32>,
    /// From how many other validators records are taken.
    pub sync_sources_max: Constant<u32>,
    /// How many lifted records of a trader are kept; the oldest go first.
    pub lifted_records_max: Constant<u32>,
}

impl EliminationRules {
    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        unit("elimination.drawdown_max", &self.drawdown_max, "fraction of peak")?;
        let drawdown = self.drawdown_max.value;
        if !(drawdown > 0.0 && drawdown < 1.0) {
            return Err(field("elimination.drawdown_max", "must lie between 0 and 1"));
        }
        unit("elimination.purge_after", &self.purge_after, "ms")?;
        at_least("elimination.purge_after", self.purge_after.value.0, 0)?;
        let count = |name: &str, constant: &Constant<u32>, of: &str| {
            let name = format!("elimination.{name}");
            unit(&name, constant, of)?;
            at_least(&name, i64::from(constant.value), 1)
        };
        count("zombie_absent_rosters", &self.zombie_absent_rosters, "rosters")?;
        count("records_without_account_max", &self.records_without_account_max, "records")?;
        count("sync_sources_max", &self.sync_sources_max, "validators")?;
        count("lifted_records_max", &self.lifted_records_max, "records per trader")
    }
}

/// Why an account ended (services E-2). The order of the variants is part of the log's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Reason {
    /// The loss from the peak reached the limit (trading 8.9, services E-50).
    MaxTotalDrawdown,
    /// The portfolio's value reached zero (trading 8.9, services E-45).
    Liquidated,
    /// The account's trader is not registered any more (services E-53).
    Zombie,
    /// Orders copied from others, found in a review (services C-44).
    Plagiarism,
    /// Not promoted in time, in the challenge or in probation (services C-35).
    FailedChallengePeriodTime,
    /// The loss from the peak reached the limit in the challenge or in probation (services C-37).
    FailedChallengePeriodDrawdown,
}

impl Reason {
    /// Every reason, in the order of the format.
    pub const ALL: [Self; 6] = [
        Self::MaxTotalDrawdown,
        Self::Liquidated,
        Self::Zombie,
        Self::Plagiarism,
        Self::FailedChallengePeriodTime,
        Self::FailedChallengePeriodDrawdown,
    ];

    /// Returns the name that reports and the reference's files use (services E-2).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::MaxTotalDrawdown => "MAX_TOTAL_DRAWDOWN",
            Self::Liquidated => "LIQUIDATED",
            Self::Zombie => "ZOMBIE",
            Self::Plagiarism => "PLAGIARISM",
            Self::FailedChallengePeriodTime => "FAILED_CHALLENGE_PERIOD_TIME",
            Self::FailedChallengePeriodDrawdown => "FAILED_CHALLENGE_PERIOD_DRAWDOWN",
        }
    }

    /// Returns the reason called `name`.
    ///
    /// # Errors
    /// [`UnknownName`] lists the names that there are.
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|reason| reason.code() == name);
        found.ok_or_else(|| UnknownName::new("reason", name, &Self::ALL.map(Self::code)))
    }

    /// Tells whether it is the challenge period that decides for this reason (services 2.2).
    #[must_use]
    pub fn is_of_challenge_period(self) -> bool {
        match self {
            Self::Plagiarism
            | Self::FailedChallengePeriodTime
            | Self::FailedChallengePeriodDrawdown => true,
            Self::MaxTotalDrawdown | Self::Liquidated | Self::Zombie => false,
        }
    }

    /// Returns the id of the rule that was broken.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::MaxTotalDrawdown => "E-50",
            Self::Liquidated => "E-45",
            Self::Zombie => "E-53",
            Self::Plagiarism => "C-44",
            Self::FailedChallengePeriodTime => "C-35",
            Self::FailedChallengePeriodDrawdown => "C-37",
        }
    }

    /// Tells whether a decision of this node for this reason costs the trader collateral (E-65).
    #[must_use]
    pub fn slashes(self) -> bool {
        match self {
            Self::Zombie => false,
            Self::MaxTotalDrawdown
            | Self::Liquidated
            | Self::Plagiarism
            | Self::FailedChallengePeriodTime
            | Self::FailedChallengePeriodDrawdown => true,
        }
    }

    /// Tells whether a fall of the account's value is what the reason rests on.
    #[must_use]
    pub fn rests_on_a_fall(self) -> bool {
        match self {
            Self::MaxTotalDrawdown | Self::Liquidated | Self::FailedChallengePeriodDrawdown => true,
            Self::Zombie | Self::Plagiarism | Self::FailedChallengePeriodTime => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A price that a verdict rests on.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct PriceEvidence {
    /// The pair of an open position.
    pub pair: TradePair,
    /// The price at which it was valued last.
    pub price: Price,
    /// Best bid of that price record or order, when known.
    pub bid: Option<Price>,
    /// Best ask, likewise.
    pub ask: Option<Price>,
    /// Who said so; absent when the last value came from the position's own order.
    pub source: Option<SourceName>,
    /// The record's last moment, or the order's time.
    pub at: UtcMs,
    /// Time from then to the verdict.
    pub lag: DurationMs,
    /// How many sources had a fresh record when the verdict was taken.
    pub sources: u32,
    /// How many of them agreed with the price.
    pub agreeing: u32,
    /// How far apart they were, in basis points of the lowest.
    pub spread_bps: f64,
}

/// Who decided that an account ends.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum Origin {
    /// A rule, applied by this node: everything it rests on is in the log.
    Rule,
    /// Whoever may publish reasons for the challenge period; its grounds are not known here.
    Published,
    /// Somebody who runs this node.
    Operator {
        /// Who.
        by: OperatorId,
        /// Why, in words.
        why: Remark,
        /// When the decision was taken, by that person's account.
        stated_at: UtcMs,
    },
    /// Another validator; its grounds are not known here.
    Synced {
        /// Which.
        source: ValidatorId,
        /// As of when its list was.
        as_of: UtcMs,
        /// When it decided, as it says.
        stated_at: UtcMs,
    },
}

/// The record of an account's end.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Elimination {
    /// Why.
    pub reason: Reason,
    /// The commit that decided and its time; with the trader it names the decision.
    pub stamp: Stamp,
    /// The drawdown as records and the reference's files show it (E-3).
    pub drawdown: DrawdownNote,
    /// The fall that the verdict rests on, in multiples of the account's start; only when it rests
    /// on one and this node saw it.
    pub fall: Option<Drawdown>,
    /// The prices that the open positions were valued at.
    pub prices: Vec<PriceEvidence>,
    /// The orders that closed them.
    pub flat_orders: Vec<OrderId>,
    /// Who decided.
    pub origin: Origin,
    /// The stage that the account ended in; none for one that was in no stage.
    pub standing: Option<Standing>,
    /// What it costs the trader besides the account; absent when never anything.
    pub slash: Option<Slash>,
    /// When positions, ledgers and details were dropped (E-56); the bar stands.
    pub purged: Option<Stamp>,
}

impl Elimination {
    /// Returns a record of a decision at `stamp`, without evidence or effects yet.
    #[must_use]
    pub fn new(reason: Reason, stamp: Stamp, drawdown: DrawdownNote, origin: Origin) -> Self {
        Self {
            reason,
            stamp,
            drawdown,
            fall: None,
            prices: Vec::new(),
            flat_orders: Vec::new(),
            origin,
            standing: None,
            slash: None,
            purged: None,
        }
    }

    /// Returns when the decision was taken, by whoever took it.
    #[must_use]
    pub fn decided_at(&self) -> UtcMs {
        match &self.origin {
            Origin::Rule | Origin::Published => self.stamp.at,
            Origin::Operator { stated_at, .. } | Origin::Synced { stated_at, .. } => *stated_at,
        }
    }

    /// Returns the validator that the record was taken from.
    #[must_use]
    pub fn source(&self) -> Option<&ValidatorId> {
        match &self.origin {
            Origin::Synced { source, .. } => Some(source),
            Origin::Rule | Origin::Published | Origin::Operator { .. } => None,
        }
    }
}

/// Who took a record back.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum LiftedBy {
    /// Somebody who runs this node.
    Operator {
        /// Who.
        by: OperatorId,
        /// Why, in words.
        why: Remark,
        /// Where the trader goes on.
        reentry: Reentry,
    },
    /// The validator that it came from no longer lists it.
    Source {
        /// Which.
        source: ValidatorId,
        /// As of when its list was.
        as_of: UtcMs,
    },
}

impl LiftedBy {
    /// Tells whether the trader goes on where the account ended.
    #[must_use]
    pub fn restores(&self) -> bool {
        match self {
            Self::Operator { reentry, .. } => *reentry == Reentry::Restored,
            // What was never decided here leaves no mark on the trader's way.
            Self::Source { .. } => true,
        }
    }
}

/// A record that was taken back.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Lifted {
    /// The record as it was, with a slash withdrawn that was not made yet.
    pub record: Elimination,
    /// Who took it back.
    pub by: LiftedBy,
    /// When.
    pub stamp: Stamp,
}

impl Lifted {
    /// Tells whether an operator here has already answered a decision of `decided_at`: another
    /// validator that still lists it does not bring it back.
    fn answers(&self, decided_at: UtcMs) -> bool {
        match self.by {
            LiftedBy::Operator { .. } => decided_at <= self.stamp.at,
            LiftedBy::Source { .. } => false,
        }
    }
}

/// What is held against a trader who has no account: it waits for him to enrol.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Bar {
    /// The record that bars him; absent when it was lifted.
    pub record: Option<Elimination>,
    /// Records that were lifted, oldest first.
    pub past: Vec<Arc<Lifted>>,
}

/// Tells whether an operator's reinstatement among `past` answers a decision of `decided_at`.
#[must_use]
pub(crate) fn is_answered(past: &[Arc<Lifted>], decided_at: UtcMs) -> bool {
    past.iter().any(|lifted| lifted.answers(decided_at))
}

/// Takes `record` back: it joins `past`, and a slash that was not made yet is not made any more.
pub(crate) fn lift(
    past: &mut Vec<Arc<Lifted>>,
    mut record: Elimination,
    by: LiftedBy,
    stamp: Stamp,
    kept_max: u32,
) {
    if let Some(slash) = &mut record.slash {
        slash.withdraw(stamp);
    }
    past.push(Arc::new(Lifted { record, by, stamp }));
    let most = usize::try_from(kept_max).unwrap_or(usize::MAX);
    while past.len() > most {
        // What a source said and took back goes first: an operator's answer must be remembered.
        let oldest = past.iter().position(|lifted| matches!(lifted.by, LiftedBy::Source { .. }));
        past.remove(oldest.unwrap_or(0));
    }
}
