//! The stages that a trader went through, and what the present one asks for.

use proctor_engine::account::Account;
use proctor_engine::challenge_period::{Cause, Stage, Standing};
use proctor_engine::rulebook::{Rulebook, TimeLimit};
use proctor_engine::scoring;
use proctor_types::time::DAY_MS;
use proctor_types::{Stamp, UtcMs};
use serde::Serialize;

use super::story::{Moment, Place};

/// A move from one stage to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageMove {
    /// The commit that moved the trader.
    #[serde(flatten)]
    pub place: Place,
    /// Why: `admitted`, `promoted`, ...
    pub cause: &'static str,
    /// The stage before; absent when there was none.
    pub from: Option<&'static str>,
    /// The stage after; absent when there is none.
    pub to: Option<&'static str>,
    /// From when on the stage after counts.
    pub since: Option<Moment>,
    /// The move in words.
    pub text: String,
}

/// The present stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageNow {
    /// The stage.
    pub stage: &'static str,
    /// What the reference calls it.
    pub label: &'static str,
    /// From when on it counts.
    pub since: Moment,
    /// The first moment at which its time is over; absent where it has no limit.
    pub ends: Option<Moment>,
    /// How long until then, in days; negative once it is over.
    pub ends_in_days: Option<f64>,
    /// Complete days of the portfolio's ledger.
    pub complete_days: u32,
    /// Complete days that a promotion asks for.
    pub complete_days_min: u32,
    /// While under review, the stage before it.
    pub before: Option<&'static str>,
}

/// Returns the story of a move.
pub(super) fn told(
    stamp: Stamp,
    cause: Cause,
    from: Option<Standing>,
    to: Option<Standing>,
) -> StageMove {
    let name = |standing: Option<Standing>| standing.map(|standing| standing.stage.name());
    StageMove {
        place: stamp.into(),
        cause: cause_name(cause),
        from: name(from),
        to: name(to),
        since: to.map(|to| to.since.into()),
        text: in_words(cause, from, to),
    }
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Admitted => "admitted",
        Cause::FirstOrder => "first_order",
        Cause::Promoted => "promoted",
        Cause::Demoted => "demoted",
        Cause::Suspected => "suspected",
        Cause::Cleared => "cleared",
        Cause::Ended => "ended",
        Cause::Departed => "departed",
        Cause::Set => "set",
        Cause::Removed => "removed",
        Cause::Reinstated => "reinstated",
    }
}

/// Returns a move in words.
pub(crate) fn in_words(cause: Cause, from: Option<Standing>, to: Option<Standing>) -> String {
    let stage = |standing: Option<Standing>| standing.map_or("no stage", |s| s.stage.name());
    let since = to.map_or_else(String::new, |to| format!(", counting from {}", to.since));
    match cause {
        Cause::Admitted => format!("admitted to the challenge{since}"),
        Cause::FirstOrder => format!("first order: the challenge counts from it{since}"),
        Cause::Promoted => format!("promoted from {} to funded", stage(from)),
        Cause::Demoted => "not among the first of the class any more: on probation".into(),
        Cause::Suspected => {
            format!("on the list of suspected plagiarists: under review, before it {}", stage(from))
        }
        Cause::Cleared => {
            format!("not on the list of suspects any more: back in {}{since}", stage(to))
        }
        Cause::Ended => format!("the account ended: left {}", stage(from)),
        Cause::Departed => format!("not on the roster any more: left {}", stage(from)),
        Cause::Set => format!("moved by an operator from {} to {}{since}", stage(from), stage(to)),
        Cause::Removed => format!("taken out of {} by an operator", stage(from)),
        Cause::Reinstated => format!("reinstated: back in {}{since}", stage(to)),
    }
}

/// Returns what the present stage of `account` asks for, or `None` when it is in no stage.
pub(super) fn now(rules: &Rulebook, account: &Account, as_of: Stamp) -> Option<StageNow> {
    let standing = account.standing?;
    let ends = ends(rules, standing);
    let portfolio = account.ledgers.as_ref().map(|ledgers| ledgers.portfolio());
    Some(StageNow {
        stage: standing.stage.name(),
        label: standing.stage.label(),
        since: standing.since.into(),
        ends: ends.map(Into::into),
        ends_in_days: ends.map(|ends| days(ends.0 - as_of.at.0)),
        complete_days: portfolio.map_or(0, |ledger| scoring::complete_days(rules, ledger)),
        complete_days_min: rules.challenge.complete_days_min.value,
        before: standing.before.map(|(stage, _)| Stage::name(stage)),
    })
}

/// Returns the first moment at which the time of `standing` is over, where it is limited.
fn ends(rules: &Rulebook, standing: Standing) -> Option<UtcMs> {
    let limit = rules.challenge.time_limit(standing.stage)?;
    let over = standing.since.plus(limit);
    Some(match rules.switches.time_limit {
        TimeLimit::Exclusive => over,
        TimeLimit::Inclusive => UtcMs(over.0 + 1),
    })
}

/// Returns a span of milliseconds in days.
fn days(ms: i64) -> f64 {
    let (whole, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let number = |n: i64| f64::from(i32::try_from(n).unwrap_or(i32::MAX));
    number(whole) + number(rest) / number(DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proctor_engine::rulebook::VANTA;

    #[test]
    fn c_35_the_end_of_a_stage_is_its_first_moment_too_late() {
        let mut rules = Rulebook::parse(VANTA).expect("the built-in rulebook");
        let at = |rules: &Rulebook, stage| ends(rules, Standing::new(stage, UtcMs(5))).map(|t| t.0);
        assert_eq!(at(&rules, Stage::Challenge), Some(5 + 90 * DAY_MS));
        assert_eq!(at(&rules, Stage::Probation), Some(5 + 60 * DAY_MS));
        assert_eq!(at(&rules, Stage::Funded), None);
        rules.switches.time_limit = TimeLimit::Inclusive;
        assert_eq!(at(&rules, Stage::Challenge), Some(6 + 90 * DAY_MS));
        assert_eq!((days(DAY_MS / 2), days(-DAY_MS / 4)), (0.5, -0.25));
    }
}
