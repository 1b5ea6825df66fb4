//! Pure: what a view says of stages and pending decisions, and what commits change of it.

use std::collections::BTreeMap;

use proctor_engine::challenge_period::plan::is_over;
use proctor_engine::challenge_period::reasons::Published;
use proctor_engine::challenge_period::{Decision, Stage, Standing};
use proctor_engine::{Event, View};
use proctor_rpc::Problem;
use proctor_rpc::v1::{self, AsOf, Gap};
use proctor_sequencer::Applied;
use proctor_types::{Stamp, TraderId, UtcMs};

use crate::parse;
use crate::watch::Changes;

/// Returns the stage that `trader` is in and since when.
#[must_use]
pub fn standing_of(view: &View, trader: &TraderId) -> Option<Standing> {
    view.account(trader)?.standing
}

/// Returns everybody who is in a stage, by trader.
#[must_use]
pub fn standings(view: &View) -> BTreeMap<&TraderId, Standing> {
    let accounts = view.accounts.iter();
    accounts.filter_map(|account| Some((&account.trader, account.standing?))).collect()
}

/// Returns the traders in `stage`, ascending.
#[must_use]
pub fn traders_in(view: &View, stage: Stage) -> Vec<String> {
    let mut traders: Vec<&TraderId> = view.in_stage(stage).map(|account| &account.trader).collect();
    traders.sort_unstable();
    traders.into_iter().map(ToString::to_string).collect()
}

/// Returns since when each trader in `stage` is in it, ms since 1970 UTC.
pub fn start_times(view: &View, stage: Stage) -> impl Iterator<Item = (String, i64)> {
    view.in_stage(stage).filter_map(|account| {
        let standing = account.standing?;
        Some((account.trader.to_string(), standing.since.0))
    })
}

/// Returns everybody who is in a stage for an answer, by trader, ascending.
#[must_use]
pub fn miners(view: &View) -> Vec<v1::Miner> {
    standings(view).into_iter().map(|(trader, standing)| miner(trader, standing)).collect()
}

/// Returns the standing of `trader` for an answer.
#[must_use]
pub fn miner(trader: &TraderId, standing: Standing) -> v1::Miner {
    v1::Miner {
        trader: trader.to_string(),
        bucket: standing.stage.label().into(),
        start_time_ms: standing.since.0,
        previous_bucket: standing.before.map(|(stage, _)| stage.label().into()),
        previous_time_ms: standing.before.map(|(_, since)| since.0),
    }
}

/// Returns the decisions that nobody has acknowledged, oldest first.
#[must_use]
pub fn reasons(view: &View) -> Vec<v1::PendingReason> {
    view.challenge.reasons.open().iter().map(reason).collect()
}

/// Returns how many decisions nobody has acknowledged.
#[must_use]
pub fn pending(view: &View) -> u32 {
    u32::try_from(view.challenge.reasons.open().len()).unwrap_or(u32::MAX)
}

/// Returns `decision` for an answer.
#[must_use]
pub fn reason(decision: &Decision) -> v1::PendingReason {
    v1::PendingReason {
        seq: decision.seq,
        trader: decision.trader.to_string(),
        reason: decision.reason.code().into(),
        dd: decision.drawdown.legacy(decision.reason),
        decided: Some(parse::stamp_message(decision.decided)),
    }
}

/// Returns the scores of the last ranking by asset class, and the commit that ranked.
#[must_use]
pub fn scores(view: &View) -> (Option<v1::Stamp>, Vec<v1::ClassScores>) {
    let Some(ranked) = &view.challenge.ranking else { return (None, Vec::new()) };
    let classes = ranked.classes.iter().map(|class| v1::ClassScores {
        asset_class: class.class.to_string().to_uppercase(),
        competitiveness: class.competitiveness,
        scores: class.scores.iter().map(|(trader, score)| (trader.to_string(), *score)).collect(),
    });
    (Some(parse::stamp_message(ranked.stamp)), classes.collect())
}

/// Returns whether `trader` is within the time of the stage as of the view, and when that ends
/// (C-35); nothing for who is in no stage or in one without a limit.
#[must_use]
pub fn time_criteria(view: &View, trader: &TraderId) -> (Option<bool>, Option<i64>) {
    let known = || {
        let account = view.account(trader)?;
        let standing = account.standing?;
        let rules = &view.rulebook_of(account)?.rules.challenge;
        // The stage's time is the account's, how its last moment counts is the programme's.
        let mode = view.rulebook_in_force()?.rules.switches.time_limit;
        let limit = rules.time_limit(standing.stage)?;
        let meets = !is_over(mode, rules, standing, view.stamp.at);
        Some((meets, standing.since.0.saturating_add(limit.0)))
    };
    known().unzip()
}

/// Returns the whole picture for an answer.
#[must_use]
pub fn snapshot(view: &View, as_of: AsOf) -> v1::SnapshotResponse {
    v1::SnapshotResponse {
        as_of: Some(as_of),
        miners: miners(view),
        reasons: reasons(view),
        newest_reason_seq: view.challenge.reasons.newest(),
        alerts: view.challenge.alerts.iter().map(ToString::to_string).collect(),
        refreshed_ms: view.challenge.refreshed_at.map(|at| at.0),
    }
}

/// Returns the trader and the standing in `field` of a request.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] with the part that cannot be.
pub fn setting(field: &str, miner: &v1::Miner) -> Result<(TraderId, Standing), Problem> {
    let part = |name: &str| format!("{field}.{name}");
    let trader = parse::trader(&part("trader"), &miner.trader)?;
    let stage = parse::bucket(&part("bucket"), &miner.bucket)?;
    let since = parse::moment(&part("start_time_ms"), miner.start_time_ms)?;
    let before = match (&miner.previous_bucket, miner.previous_time_ms) {
        (None, None) => None,
        (Some(bucket), Some(ms)) => Some((
            parse::bucket(&part("previous_bucket"), bucket)?,
            parse::moment(&part("previous_time_ms"), ms)?,
        )),
        (Some(_), None) => {
            return Err(Problem::invalid(part("previous_time_ms"), "is missing"));
        }
        (None, Some(_)) => {
            return Err(Problem::invalid(part("previous_bucket"), "is missing"));
        }
    };
    let standing = Standing { stage, since, before };
    if !standing.is_sound() {
        let text = "the bucket before is stated in PLAGIARISM, and only there";
        return Err(Problem::invalid(part("previous_bucket"), text));
    }
    Ok((trader, standing))
}

/// Returns the reason in `field` of a request.
///
/// # Errors
/// As [`setting`].
pub fn published(field: &str, update: &v1::ReasonUpdate) -> Result<Published, Problem> {
    let part = |name: &str| format!("{field}.{name}");
    let trader = parse::trader(&part("trader"), &update.trader)?;
    let reason = parse::end_reason(&part("reason"), &update.reason)?;
    let drawdown = parse::drawdown(&part("dd"), reason, update.dd)?;
    Ok(Published { trader, reason, drawdown })
}

/// Returns the suspect in `field` of a request.
///
/// # Errors
/// As [`setting`].
pub fn suspect(field: &str, suspect: &v1::PlagiarismSuspect) -> Result<(TraderId, UtcMs), Problem> {
    let trader = parse::trader(&format!("{field}.trader"), &suspect.trader)?;
    Ok((trader, parse::moment(&format!("{field}.time_ms"), suspect.time_ms)?))
}

/// What a watcher of the stages is told.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Number of this start of the process.
    pub generation: u64,
}

impl Watched {
    fn at(&self, stamp: Stamp) -> AsOf {
        AsOf { commit: stamp.commit, as_of_ms: stamp.at.0, generation: self.generation }
    }
}

impl Changes for Watched {
    type Message = v1::WatchChallengePeriodResponse;

    fn reset(&mut self, view: &View, gap: Option<Gap>) -> Self::Message {
        v1::WatchChallengePeriodResponse {
            as_of: Some(self.at(view.stamp)),
            reset: true,
            gap,
            changed: miners(view),
            removed: Vec::new(),
        }
    }

    fn change(&mut self, applied: &Applied, _: &View) -> Option<Self::Message> {
        // A trader may move more than once in a commit: the last word counts, one for each.
        let mut last: BTreeMap<&TraderId, Option<Standing>> = BTreeMap::new();
        for event in &*applied.events {
            if let Event::StageChanged { trader, to, .. } = event {
                last.insert(trader, *to);
            }
        }
        if last.is_empty() {
            return None;
        }
        let mut told = Self::Message { as_of: Some(self.at(applied.stamp)), ..Default::default() };
        for (trader, standing) in last {
            match standing {
                Some(standing) => told.changed.push(miner(trader, standing)),
                None => told.removed.push(trader.to_string()),
            }
        }
        Some(told)
    }

    fn heartbeat(&mut self, stamp: Stamp) -> Self::Message {
        Self::Message { as_of: Some(self.at(stamp)), ..Default::default() }
    }

    fn bytes(message: &Self::Message) -> usize {
        proctor_rpc::encoded_len(message)
    }
}
