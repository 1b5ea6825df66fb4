//! The challenge period: the stage a trader is in, and what may move a trader to another.
//!
//! A registered trader whose account has not ended is in exactly one stage (I1); who has ended or
//! left is in none (I2). Both change in the commit that decides, so no view shows anything between.
//! [`plan()`] says what a refresh does as a pure function of one picture of the state; the engine
//! carries it out in the same commit. Source: services 2.

pub mod plagiarism;
pub mod plan;
pub mod ranking;
pub mod reasons;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{AssetClass, DurationMs, Stamp, TraderId, UtcMs};
use serde::Deserialize;

pub use plagiarism::PlagiarismReport;
pub use plan::{Entry, RefreshInput, RefreshPlan, plan};
pub use reasons::{Decision, ReasonRegister};

use crate::rulebook::{Constant, RulebookError, at_least, field, unit};

/// Where a trader stands in the programme.
///
/// The order of the variants is part of the state's format: new ones go at the end.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub enum Stage {
    /// Proving that the account can be funded; everybody begins here.
    Challenge,
    /// Trading for the programme.
    Funded,
    /// Fallen out of the funded ranks, with a second chance.
    Probation,
    /// Suspected of copying another trader.
    UnderReview,
}

impl Stage {
    /// Every stage, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Challenge, Self::Funded, Self::Probation, Self::UnderReview];

    /// Returns the name that the reference's files and calls use (C-1).
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Challenge => "CHALLENGE",
            Self::Funded => "MAINCOMP",
            Self::Probation => "PROBATION",
            Self::UnderReview => "PLAGIARISM",
        }
    }

    /// Returns the stage that the reference calls `label`.
    ///
    /// # Errors
    /// [`UnknownName`] lists the names there are: an unknown one must not become state (C-3).
    pub fn parse(label: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|stage| stage.label() == label);
        found.ok_or_else(|| UnknownName::new("stage", label, &Self::ALL.map(Self::label)))
    }

    /// Returns what people call the stage.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Funded => "funded",
            Self::Probation => "probation",
            Self::UnderReview => "under review",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name from outside that is in no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}, known are {known}")]
pub struct UnknownName {
    /// What it should name.
    pub what: &'static str,
    /// The beginning of the name as it was sent.
    pub name: String,
    /// The names there are.
    pub known: String,
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, name: &str, known: &[&str]) -> Self {
        Self { what, name: name.chars().take(64).collect(), known: known.join(", ") }
    }
}

/// A trader's stage and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Standing {
    /// The stage.
    pub stage: Stage,
    /// When it began; time limits count from here.
    pub since: UtcMs,
    /// The stage before the review and when that one began: there while under review, and only
    /// then.
    pub before: Option<(Stage, UtcMs)>,
}

impl Standing {
    /// Returns the standing of who is in `stage`, not under review, since `since`.
    #[must_use]
    pub fn new(stage: Stage, since: UtcMs) -> Self {
        Self { stage, since, before: None }
    }

    /// Returns the standing of who comes under review at `at`: it remembers the stage before.
    #[must_use]
    pub fn reviewed(self, at: UtcMs) -> Self {
        Self { stage: Stage::UnderReview, since: at, before: Some((self.stage, self.since)) }
    }

    /// Returns the standing before the review, with its clock as it was (C-43, C-45).
    #[must_use]
    pub fn restored(self) -> Option<Self> {
        self.before.map(|(stage, since)| Self::new(stage, since))
    }

    /// Tests that a standing remembers a stage while it is under review, and only then.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match (self.stage, self.before) {
            (Stage::UnderReview, Some((before, _))) => before != Stage::UnderReview,
            (Stage::UnderReview, None) => false,
            (_, before) => before.is_none(),
        }
    }
}

/// What moved a trader.
///
/// The order of the variants is part of the digest's definition: new ones go at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize)]
pub enum Cause {
    /// The trader is registered and was in no stage (C-23, C-24).
    Admitted,
    /// The challenge counts from the first order (C-24).
    FirstOrder,
    /// The trader is among the first of the asset class (C-50).
    Promoted,
    /// The trader is not among the first any more (C-50).
    Demoted,
    /// The trader is on the list of suspected plagiarists (C-43).
    Suspected,
    /// The trader is not on that list any more (C-43).
    Cleared,
    /// The account has ended (C-22).
    Ended,
    /// The trader is not on the roster any more (C-56).
    Departed,
    /// An operator said so (`set_miner_bucket`, `update_miners`).
    Set,
    /// An operator took the trader out of the stage (`remove_miner`).
    Removed,
    /// The account's end was undone, and with it the end of the stage.
    Reinstated,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 11] = [
        Self::Admitted,
        Self::FirstOrder,
        Self::Promoted,
        Self::Demoted,
        Self::Suspected,
        Self::Cleared,
        Self::Ended,
        Self::Departed,
        Self::Set,
        Self::Removed,
        Self::Reinstated,
    ];
}

/// Tells whether `cause` may take a trader from one standing to another: the matrix of services
/// 2.2. Whatever is not here does not happen.
#[must_use]
pub fn is_legal(cause: Cause, from: Option<Standing>, to: Option<Standing>) -> bool {
    let stage = from.map(|standing| standing.stage);
    // Only a review remembers what was before it.
    let plain = |wanted: Stage| to.is_some_and(|to| to == Standing::new(wanted, to.since));
    match cause {
        Cause::Admitted => from.is_none() && plain(Stage::Challenge),
        Cause::FirstOrder => stage == Some(Stage::Challenge) && plain(Stage::Challenge),
        Cause::Promoted => {
            matches!(stage, Some(Stage::Challenge | Stage::Probation)) && plain(Stage::Funded)
        }
        Cause::Demoted => stage == Some(Stage::Funded) && plain(Stage::Probation),
        Cause::Suspected => {
            let free = from.filter(|standing| standing.stage != Stage::UnderReview);
            free.is_some_and(|from| to.is_some_and(|to| to == from.reviewed(to.since)))
        }
        Cause::Cleared => {
            stage == Some(Stage::UnderReview)
                && to.is_some()
                && to == from.and_then(Standing::restored)
        }
        Cause::Ended | Cause::Departed | Cause::Removed => from.is_some() && to.is_none(),
        Cause::Set => to.is_some_and(|to| to.is_sound()),
        Cause::Reinstated => from.is_none() && to.is_some_and(|to| to.is_sound()),
    }
}

/// What the engine keeps of the challenge period beside the traders' standings.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ChallengePeriod {
    /// When the stages were refreshed last; the next refresh is due an interval later.
    pub refreshed_at: Option<UtcMs>,
    /// The list of suspected plagiarists as it was reported last; unknown is not empty.
    pub plagiarism: Option<Arc<PlagiarismReport>>,
    /// The decisions that end accounts, until whoever follows them has acknowledged them.
    pub reasons: ReasonRegister,
    /// What stood in the way of the last refresh.
    pub alerts: Vec<Alert>,
    /// How the traders ranked at the last refresh.
    pub ranking: Option<Arc<Ranked>>,
}

impl ChallengePeriod {
    /// Tests what must hold of any that was loaded from bytes.
    pub(crate) fn is_sound(&self) -> bool {
        self.reasons.is_sound() && self.plagiarism.as_ref().is_none_or(|report| report.is_sorted())
    }
}

/// The scores behind the last ranking (`get_miner_scores`).
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Ranked {
    /// The commit that ranked.
    pub stamp: Stamp,
    /// By asset class.
    pub classes: Vec<RankedClass>,
}

/// The scores of one asset class.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct RankedClass {
    /// Which class.
    pub class: AssetClass,
    /// How unequal the scores are (S-23), where that is defined.
    pub competitiveness: Option<f64>,
    /// The share of each trader, by trader.
    pub scores: Vec<(TraderId, f64)>,
}

/// Something that keeps a refresh from doing all of its work, and that a person should look at.
///
/// The order of the variants is part of the state's format: new ones go at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Alert {
    /// No roster has arrived: nobody is admitted and nobody leaves.
    RosterUnknown,
    /// The last roster lacks so many traders that it is held: nobody leaves until it is confirmed.
    RosterHeld,
    /// Too few of the funded traders could be scored: nobody is demoted.
    Coverage {
        /// Funded traders that could be scored.
        scored: u32,
        /// Funded traders that should be.
        funded: u32,
    },
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RosterUnknown => f.write_str("no roster has arrived: nobody is admitted"),
            Self::RosterHeld => {
                f.write_str("a roster that lacks many traders is held: nobody leaves a stage")
            }
            Self::Coverage { scored, funded } => {
                write!(f, "{scored} of {funded} funded traders could be scored: nobody is demoted")
            }
        }
    }
}

/// Why a command to the challenge period changed nothing. Commands are tested whole before any part
/// of them is carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No account of this name.
    #[error("no account of trader {0}")]
    Unknown(TraderId),
    /// Who has left the roster is in no stage.
    #[error("trader {0} is not registered")]
    NotRegistered(TraderId),
    /// Who has ended is in no stage.
    #[error("trader {0} was eliminated")]
    Ended(TraderId),
    /// The same trader twice in one command.
    #[error("trader {0} is named twice")]
    Repeated(TraderId),
    /// A moment outside the years 1970 to 9999.
    #[error("the time {} ms given for trader {trader} is not within the years 1970 to 9999", .at.0)]
    Calendar {
        /// Whose.
        trader: TraderId,
        /// The time.
        at: UtcMs,
    },
    /// A moment that has not come yet.
    #[error("the time {at} given for trader {trader} lies ahead of this commit")]
    Ahead {
        /// Whose.
        trader: TraderId,
        /// The time.
        at: UtcMs,
    },
    /// Under review without the stage before, or the stage before without a review.
    #[error("trader {0}: the stage before is stated under review, and only then")]
    Before(TraderId),
    /// An acknowledgement of decisions that have not been made.
    #[error("decision {up_to} has not been made, the newest is {newest}")]
    NotDecided {
        /// What was acknowledged.
        up_to: u64,
        /// The newest decision, 0 before the first.
        newest: u64,
    },
    /// A loss that is not a percentage.
    #[error("trader {0}: a drawdown in per cent lies between 0 and 100")]
    Percent(TraderId),
}

impl Refusal {
    /// Returns the stable code for clients and reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_trader",
            Self::NotRegistered(_) => "trader_not_registered",
            Self::Ended(_) => "trader_eliminated",
            Self::Repeated(_) => "trader_repeated",
            Self::Calendar { .. } => "time_out_of_calendar",
            Self::Ahead { .. } => "time_ahead",
            Self::Before(_) => "stage_before",
            Self::NotDecided { .. } => "not_decided",
            Self::Percent(_) => "bad_percent",
        }
    }
}

/// Constants of the challenge period (services 2).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRules {
    /// Least time between two refreshes of the stages.
    pub refresh_every: Constant<DurationMs>,
    /// How long a challenge may last.
    pub challenge_max: Constant<DurationMs>,
    /// How long a probation may last.
    pub probation_max: Constant<DurationMs>,
    /// How long a trader may stay on the list of suspected plagiarists.
    pub review_max: Constant<DurationMs>,
    /// Complete days of the portfolio's ledger that a promotion asks for.
    pub complete_days_min: Constant<u32>,
    /// How many traders of an asset class are funded.
    pub funded_per_class: Constant<u32>,
    /// Positions that were open for less are not scored.
    pub position_min: Constant<DurationMs>,
    /// From when on traders without an asset class are not ranked.
    pub class_required_from: Constant<UtcMs>,
    /// Share of the funded traders that must be scored before anybody is demoted.
    pub coverage_min: Constant<f64>,
}

impl ChallengeRules {
    /// Returns how long a trader may stay in `stage`, where that is limited.
    #[must_use]
    pub fn time_limit(&self, stage: Stage) -> Option<DurationMs> {
        match stage {
            Stage::Challenge => Some(self.challenge_max.value),
            Stage::Probation => Some(self.probation_max.value),
            Stage::Funded | Stage::UnderReview => None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        let span = |name: &str, constant: &Constant<DurationMs>, least: i64| {
            let name = format!("challenge.{name}");
            unit(&name, constant, "ms")?;
            at_least(&name, constant.value.0, least)
        };
        span("refresh_every", &self.refresh_every, 1)?;
        span("challenge_max", &self.challenge_max, 1)?;
        span("probation_max", &self.probation_max, 1)?;
        span("review_max", &self.review_max, 0)?;
        span("position_min", &self.position_min, 0)?;
        unit("challenge.complete_days_min", &self.complete_days_min, "days")?;
        unit("challenge.funded_per_class", &self.funded_per_class, "traders")?;
        unit("challenge.class_required_from", &self.class_required_from, "ms since 1970 UTC")?;
        unit("challenge.coverage_min", &self.coverage_min, "fraction of funded")?;
        if !(0.0..=1.0).contains(&self.coverage_min.value) {
            return Err(field("challenge.coverage_min", "must lie between 0 and 1"));
        }
        Ok(())
    }
}
