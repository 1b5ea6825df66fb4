//! What a refresh of the stages does: a pure function of one picture of the state.
//!
//! Everything a decision rests on stands in [`RefreshInput`], the stage and the clock among it, so
//! nothing can change between looking and deciding (X-26, C-21). The plan says what to do and
//! changes nothing; done twice at one time, the second does nothing. Source: services 2.3 to 2.6,
//! P-6.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::{AssetClass, DurationMs, Percent, TraderId, Usd, UtcMs};

use super::plagiarism::Findings;
use super::ranking::{self, Contest, ScoresByClass};
use super::{Alert, Stage, Standing};
use crate::eliminations::Reason;
use crate::ledgers::{Ledger, drawdown};
use crate::positions::book::Book;
use crate::positions::closed::Outlined;
use crate::rulebook::{Inspection as InspectionSwitch, Rulebook, TimeLimit};
use crate::scoring::{
    Contestant, Ledgers, ScoredPosition, Scorer, ScoringRules, has_complete_days,
};

/// How far the roster can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// None has arrived.
    Unknown,
    /// The last one lacks so many traders that it is held; what stands is the one before it.
    Held,
    /// The last one stands.
    Believed,
}

/// One picture of everything that a refresh looks at.
#[derive(Clone, Debug)]
pub struct RefreshInput<'a> {
    /// The time of the refresh.
    pub at: UtcMs,
    /// How far the roster can be believed.
    pub roster: Belief,
    /// Every trader who is registered or in a stage, sorted by trader.
    pub traders: Vec<Entry<'a>>,
    /// What the last report of suspected plagiarists means.
    pub plagiarism: Findings,
    /// Whether scores are wanted also when there is nobody whom they could move.
    pub scores_due: bool,
}

/// One trader in the picture.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Who.
    pub trader: &'a TraderId,
    /// Whether the trader is on the roster that stands.
    pub registered: bool,
    /// Whether the account has ended, or its end is decided.
    pub ended: bool,
    /// The stage.
    pub standing: Option<Standing>,
    /// When the first order was filled.
    pub first_order: Option<UtcMs>,
    /// The ledgers; none before the first order.
    pub ledgers: Ledgers<'a>,
    /// Whether the ledgers began before the first order that is known: then they are not of this
    /// registration, and nothing is judged by them (C-33).
    pub foreign_ledgers: bool,
    /// The closed positions that lasted long enough to be scored.
    pub closed: Closed<'a>,
    /// The account's size, where it is known.
    pub account_size: Option<Usd>,
    /// The asset class that the trader chose.
    pub class: Option<AssetClass>,
    /// The account's own rulebook: time limits and the drawdown limit.
    pub rules: &'a Rulebook,
}

/// Why the challenge period ends an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What was lost of the peak, where that is the reason.
    pub drawdown: Option<Percent>,
}

impl Verdict {
    const TIME: Self = Self { reason: Reason::FailedChallengePeriodTime, drawdown: None };
    const PLAGIARISM: Self = Self { reason: Reason::Plagiarism, drawdown: None };
}

/// The closed positions of a trader that count in scoring, in the order of closing.
#[derive(Clone, Debug)]
pub enum Closed<'a> {
    /// As scoring sees them.
    Scored(Vec<ScoredPosition>),
    /// Those of the book that were open for the span or longer, read when they are needed: most
    /// refreshes rank nobody.
    Book(&'a Book, DurationMs),
}

impl Closed<'_> {
    fn scored(&self, rules: &ScoringRules) -> Vec<ScoredPosition> {
        let (book, least) = match self {
            Self::Scored(positions) => return positions.clone(),
            Self::Book(book, least) => (*book, *least),
        };
        let mut closed: Vec<Outlined<'_>> = book
            .pairs()
            .iter()
            .flat_map(|book| book.closed().outlines())
            .filter(|position| position.outline.time_open() >= least)
            .collect();
        closed.sort_by(|a, b| {
            let by_end = a.outline.closed_at.cmp(&b.outline.closed_at);
            by_end.then_with(|| a.position().id().cmp(b.position().id()))
        });
        closed.iter().map(|position| ScoredPosition::outlined(rules, position)).collect()
    }
}

/// What a refresh does, in the order in which it is done. Each list is sorted by trader.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RefreshPlan<'a> {
    /// Come under review.
    pub review: Vec<&'a TraderId>,
    /// Return to the stage before the review.
    pub restore: Vec<&'a TraderId>,
    /// Enter the challenge, with the time it counts from.
    pub admit: Vec<(&'a TraderId, UtcMs)>,
    /// Have their challenge count from another time.
    pub restart_clock: Vec<(&'a TraderId, UtcMs)>,
    /// Are promoted.
    pub promote: Vec<&'a TraderId>,
    /// Are demoted.
    pub demote: Vec<&'a TraderId>,
    /// End.
    pub eliminate: Vec<(&'a TraderId, Verdict)>,
    /// Leave their stage: ended, or not registered any more.
    pub prune: Vec<&'a TraderId>,
    /// What stood in the way.
    pub alerts: Vec<Alert>,
    /// The scores that were ranked; absent when nobody had to be.
    pub scores: Option<Scored<'a>>,
}

/// The scores of a refresh.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored<'a> {
    /// By class and trader.
    pub classes: ScoresByClass<'a>,
    /// How unequal the scores of each class are, where that is defined.
    pub competitiveness: BTreeMap<AssetClass, Option<f64>>,
}

/// What the inspection of the stages says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection<'a> {
    /// Traders to promote.
    pub promote: BTreeSet<&'a TraderId>,
    /// Traders to demote.
    pub demote: BTreeSet<&'a TraderId>,
    /// Accounts to end.
    pub eliminate: BTreeMap<&'a TraderId, Verdict>,
    /// Why fewer are demoted than the ranks say.
    pub alert: Option<Alert>,
    /// The scores that were ranked; absent when nobody had to be.
    pub scores: Option<Scored<'a>>,
}

/// Returns what a refresh does to the traders of `input`. `rules` is the rulebook in force: it says
/// how traders are ranked against each other.
#[must_use]
pub fn plan<'a>(rules: &'a Rulebook, input: &RefreshInput<'a>) -> RefreshPlan<'a> {
    let mut plan = RefreshPlan::default();
    // Where everybody stands as the plan goes on, by place in the picture.
    let mut standings: Vec<Option<Standing>> =
        input.traders.iter().map(|entry| entry.standing.filter(|_| !entry.ended)).collect();
    match input.roster {
        Belief::Unknown => plan.alerts.push(Alert::RosterUnknown),
        Belief::Held => plan.alerts.push(Alert::RosterHeld),
        Belief::Believed => {}
    }
    let new: BTreeSet<&TraderId> = input.plagiarism.new.iter().collect();
    let cleared: BTreeSet<&TraderId> = input.plagiarism.cleared.iter().collect();
    for (entry, standing) in input.traders.iter().zip(&mut standings) {
        review(&mut plan, input.at, entry, standing, (&new, &cleared));
        admit(&mut plan, input, entry, standing);
    }
    let inspection = inspect(rules, input, &standings);
    plan.alerts.extend(inspection.alert);
    plan.scores = inspection.scores;
    let overdue: BTreeSet<&TraderId> = input.plagiarism.overdue.iter().collect();
    for (entry, standing) in input.traders.iter().zip(&standings) {
        let trader = entry.trader;
        let is_overdue = standing.is_some() && overdue.contains(trader);
        let verdict = if is_overdue {
            Some(Verdict::PLAGIARISM)
        } else {
            inspection.eliminate.get(trader).copied()
        };
        let gone = !entry.registered && input.roster == Belief::Believed;
        if let Some(verdict) = verdict {
            plan.eliminate.push((trader, verdict));
        } else if entry.standing.is_some() && (entry.ended || gone) {
            plan.prune.push(trader);
        } else if inspection.promote.contains(trader) {
            plan.promote.push(trader);
        } else if inspection.demote.contains(trader) {
            plan.demote.push(trader);
        }
    }
    plan
}

/// Plans what the list of suspected plagiarists means for one trader (C-43).
fn review<'a>(
    plan: &mut RefreshPlan<'a>,
    at: UtcMs,
    entry: &Entry<'a>,
    standing: &mut Option<Standing>,
    (new, cleared): (&BTreeSet<&TraderId>, &BTreeSet<&TraderId>),
) {
    let Some(now) = *standing else { return };
    if now.stage == Stage::UnderReview {
        if let Some(before) = now.restored().filter(|_| cleared.contains(entry.trader)) {
            plan.restore.push(entry.trader);
            *standing = Some(before);
        }
    } else if new.contains(entry.trader) {
        plan.review.push(entry.trader);
        *standing = Some(now.reviewed(at));
    }
}

/// Plans the admission of one trader, and from when the challenge counts (C-23, C-24).
fn admit<'a>(
    plan: &mut RefreshPlan<'a>,
    input: &RefreshInput<'a>,
    entry: &Entry<'a>,
    standing: &mut Option<Standing>,
) {
    match *standing {
        None if entry.registered && !entry.ended && input.roster != Belief::Unknown => {
            let since = entry.first_order.unwrap_or(input.at);
            plan.admit.push((entry.trader, since));
            *standing = Some(Standing::new(Stage::Challenge, since));
        }
        Some(Standing { stage: Stage::Challenge, since, .. }) => {
            if let Some(first) = entry.first_order.filter(|first| *first != since) {
                plan.restart_clock.push((entry.trader, first));
                *standing = Some(Standing::new(Stage::Challenge, first));
            }
        }
        None | Some(_) => {}
    }
}

/// Judges everybody who stands as `standings` says, by place in `input` (services 2.5).
#[must_use]
pub fn inspect<'a>(
    rules: &'a Rulebook,
    input: &RefreshInput<'a>,
    standings: &[Option<Standing>],
) -> Inspection<'a> {
    let mut inspection = Inspection::default();
    let mut contest = Contest::default();
    let mut contestants: Vec<&Entry<'a>> = Vec::new();
    // The funded and those on probation say how many days a score needs (C-42).
    let mut veterans: Vec<&Entry<'a>> = Vec::new();
    let mut candidates = false;
    for (entry, standing) in input.traders.iter().zip(standings) {
        let Some(standing) = standing else { continue };
        if let Some(class) = entry.class {
            contest.classes.insert(entry.trader, class);
        }
        let screened = match standing.stage {
            Stage::Funded => {
                contest.funded.insert(entry.trader);
                Screened::Ranked { may_rise: false }
            }
            Stage::Challenge | Stage::Probation => {
                candidates = true;
                screen(rules, input.at, entry, *standing)
            }
            Stage::UnderReview => continue,
        };
        let has_ledger = portfolio(entry).is_some();
        if has_ledger && matches!(standing.stage, Stage::Funded | Stage::Probation) {
            veterans.push(entry);
        }
        match screened {
            Screened::Fails(verdict) => {
                inspection.eliminate.insert(entry.trader, verdict);
            }
            Screened::Skipped => {}
            Screened::Ranked { may_rise } => {
                if may_rise {
                    contest.eligible.insert(entry.trader);
                }
                if has_ledger {
                    contestants.push(entry);
                }
            }
        }
    }
    if !candidates && rules.switches.inspection == InspectionSwitch::WithCandidates {
        return Inspection::default();
    }
    // A rank moves those who are funded or may be; for all others it is only shown.
    if !input.scores_due && contest.funded.is_empty() && contest.eligible.is_empty() {
        return inspection;
    }
    contest.ranked = rules.scoring.class.keys().copied().collect();
    let scores = scores(rules, input.at, &contestants, &veterans);
    let verdicts = ranking::rank(&rules.challenge, &rules.switches, &contest, &scores.classes);
    inspection.scores = Some(scores);
    inspection.promote = verdicts.promote;
    inspection.demote = verdicts.demote;
    inspection.alert = verdicts.alert;
    inspection
}

/// Returns the portfolio's ledger, when it says anything (C-36).
fn portfolio<'a>(entry: &Entry<'a>) -> Option<&'a Ledger> {
    entry.ledgers.portfolio.filter(|ledger| !ledger.is_empty())
}

/// What the checks say of a trader who is not funded.
enum Screened {
    /// The account ends.
    Fails(Verdict),
    /// There is nothing to judge by.
    Skipped,
    /// The trader is ranked, and may be promoted or not yet.
    Ranked { may_rise: bool },
}

/// Checks one trader of the challenge or on probation; the first check that matches wins (C-33 to
/// C-40).
fn screen(rules: &Rulebook, at: UtcMs, entry: &Entry<'_>, standing: Standing) -> Screened {
    if entry.foreign_ledgers {
        return Screened::Skipped;
    }
    if is_over(rules.switches.time_limit, &entry.rules.challenge, standing, at) {
        return Screened::Fails(Verdict::TIME);
    }
    let Some(portfolio) = portfolio(entry) else { return Screened::Skipped };
    let worst = portfolio.worst_drawdown();
    let limit = entry.rules.elimination.drawdown_max.value;
    if drawdown::test(entry.rules.switches.drawdown_limit, limit, worst).breached {
        let percent = worst.map(drawdown::percent_reported);
        return Screened::Fails(Verdict {
            reason: Reason::FailedChallengePeriodDrawdown,
            drawdown: percent.and_then(|percent| Percent::new(percent).ok()),
        });
    }
    if entry.class.is_none() && at >= rules.challenge.class_required_from.value {
        return Screened::Skipped;
    }
    let least = entry.rules.challenge.complete_days_min.value;
    Screened::Ranked { may_rise: has_complete_days(rules, portfolio, least) }
}

/// Tells whether the time of `standing` is over at `at` (C-35).
#[must_use]
pub fn is_over(
    mode: TimeLimit,
    rules: &super::ChallengeRules,
    standing: Standing,
    at: UtcMs,
) -> bool {
    let Some(limit) = rules.time_limit(standing.stage) else { return false };
    let passed = at.since(standing.since);
    match mode {
        TimeLimit::Exclusive => passed >= limit,
        TimeLimit::Inclusive => passed > limit,
    }
}

/// Returns the scores of the contestants against each other (C-42). The days that make a sample
/// are set by the veterans.
fn scores<'a>(
    rules: &'a Rulebook,
    at: UtcMs,
    contestants: &[&Entry<'a>],
    veterans: &[&Entry<'a>],
) -> Scored<'a> {
    let scorer = Scorer::new(rules, at);
    let read = |entry: &Entry<'a>| {
        let closed = entry.closed.scored(&rules.scoring);
        scorer.contestant(entry.trader, &entry.ledgers, closed, entry.account_size)
    };
    let all: BTreeMap<&TraderId, &Entry<'a>> =
        contestants.iter().chain(veterans).map(|entry| (entry.trader, *entry)).collect();
    let all: BTreeMap<&TraderId, Contestant<'a>> =
        all.into_iter().map(|(trader, entry)| (trader, read(entry))).collect();
    let those = |entries: &[&Entry<'a>]| -> Vec<&Contestant<'a>> {
        entries.iter().filter_map(|entry| all.get(entry.trader)).collect()
    };
    let minimum_days = scorer.minimum_days(&those(veterans));
    let scores = scorer.score(&those(contestants), &minimum_days);
    let mut scored = Scored::default();
    for (class, of_class) in scores.classes {
        let shares = of_class.scores.iter().map(|score| (score.trader, score.softmax)).collect();
        scored.classes.insert(class, shares);
        scored.competitiveness.insert(class, of_class.competitiveness);
    }
    scored
}
