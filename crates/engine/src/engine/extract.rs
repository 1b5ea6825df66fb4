//! What an extract cannot decide: outcomes that depend on accounts which it does not show.
//!
//! An extract holds every input that concerns one trader. Nearly all that can happen to an account
//! follows from them; three things do not, because they look at other accounts as well: a place in a
//! ranking, a command that is judged by more than the account itself (as a whole for several traders,
//! or by the room that is left for records of traders without an account), and the test whether too
//! many traders are missing at once. Where one of them may have touched the account, the extract alone
//! proves nothing, and whoever folds it has to say so, or to be told what the others decided: such
//! facts are [`Attested`], and what follows is true given them.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::TraderId;

use super::{Engine, Outcome, Step};
use crate::account::Account;
use crate::challenge_period::{self, Cause, RefreshPlan, Stage, Standing};
use crate::eliminations::plan::PassPlan;
use crate::eliminations::{EliminationRow, EliminationsCommand, Origin, Reason};
use crate::event::Event;
use crate::input::{Commit, Extract, Input, StagesCommand};
use crate::rulebook::Unscored;
use crate::scoring;

/// Why an extract may not decide what became of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// A command of several rows names the trader, and stands or falls with the accounts of all; or
    /// it bars him before he has an account, for which there must be room among all who are barred.
    #[error(
        "a command that names several traders, or one without an account, is judged by more than one account"
    )]
    Batch,
    /// The trader could be promoted or demoted.
    #[error("the trader could be promoted or demoted, and a rank is relative to others")]
    Ranked,
    /// The trader is missing from so many rosters that the account may have ended for it.
    #[error("the trader is missing from the roster, and how many others are decides what follows")]
    Missing,
}

/// Something that others decided about an account, as somebody says who has the whole log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Attested {
    /// The commit.
    pub commit: u64,
    /// The place of the input that brought it about; none when it fell due before the first. What
    /// comes about by two inputs of one commit can be the work of either.
    pub input: Option<u32>,
    /// What was decided in it.
    pub fact: Fact,
}

/// What others can decide about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Fact {
    /// The trader was promoted by rank.
    Promoted,
    /// The trader was demoted by rank.
    Demoted,
    /// The command, which is judged by others as well, was carried out.
    CarriedOut,
    /// The account ended for the trader's absence: not so many were missing that it was held.
    Absent,
}

/// Whose account an engine is about that folds an extract, and what is attested.
#[derive(Debug)]
pub(super) struct Focus {
    trader: TraderId,
    /// Absent when nothing is attested: then what others decide is not known.
    attested: Option<Facts>,
}

/// What is attested, and of each whether it has come about.
#[derive(Debug)]
struct Facts(Vec<(Attested, bool)>);

impl Facts {
    /// Tells whether `fact` is attested and has not come about yet; it has from now on.
    fn take(&mut self, fact: Attested) -> bool {
        let mut open = self.0.iter_mut().filter(|(_, came)| !came);
        let found = open.find(|(attested, _)| *attested == fact);
        found.map(|(_, came)| *came = true).is_some()
    }

    /// Takes back that `fact` has come about: it cannot have.
    fn put_back(&mut self, fact: Attested) {
        let mut all = self.0.iter_mut();
        if let Some((_, came)) = all.find(|(a, came)| *came && *a == fact) {
            *came = false;
        }
    }
}

/// Returns what others decided about `trader` in a commit of the whole log, given what came of it.
#[must_use]
pub fn attested_by(trader: &TraderId, commit: &Commit, outcome: &Outcome) -> Vec<Attested> {
    let carried_out = (0_u32..)
        .zip(&commit.inputs)
        .zip(&outcome.replies)
        .filter(|((_, input), reply)| reply.is_ok() && judged_with_others(input, trader));
    let carried_out = carried_out.map(|((place, _), _)| (Some(place), Fact::CarriedOut));
    let decided = outcome.events.iter().enumerate().filter_map(|(place, event)| {
        Some((outcome.input_of(place), decided_by_others(trader, event)?))
    });
    let facts = carried_out.chain(decided);
    facts.map(|(input, fact)| Attested { commit: commit.index, input, fact }).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "others decide on nothing else")]
fn decided_by_others(trader: &TraderId, event: &Event) -> Option<Fact> {
    match event {
        Event::StageChanged { trader: of, cause: Cause::Promoted, .. } if of == trader => {
            Some(Fact::Promoted)
        }
        Event::StageChanged { trader: of, cause: Cause::Demoted, .. } if of == trader => {
            Some(Fact::Demoted)
        }
        Event::Eliminated { trader: of, record } if of == trader => {
            let by_rule = record.reason == Reason::Zombie && record.origin == Origin::Rule;
            by_rule.then_some(Fact::Absent)
        }
        _ => None,
    }
}

impl Step {
    /// Returns the statement that `fact` came about at this point of the commit.
    fn attested(&self, fact: Fact) -> Attested {
        Attested { commit: self.stamp.commit, input: self.input, fact }
    }
}

/// The fold of an extract.
impl Engine {
    /// Returns an engine that folds an extract ([`Engine::apply_extract`]) for the account of `trader`:
    /// it does not look at other accounts. With `attested`, what others decide is taken from there, and
    /// what is not in it did not happen.
    #[must_use]
    pub fn for_extract(trader: TraderId, attested: Option<Vec<Attested>>) -> Self {
        let attested = attested.map(|facts| Facts(facts.into_iter().map(|a| (a, false)).collect()));
        Self { focus: Some(Focus { trader, attested }), ..Self::default() }
    }

    /// Tells whether everything that is attested of the commits up to `commit` has come about: what
    /// cannot have been is no fact.
    #[must_use]
    pub fn has_come_about(&self, commit: u64) -> bool {
        let facts = self.focus.as_ref().and_then(|focus| focus.attested.as_ref());
        facts.is_none_or(|facts| facts.0.iter().all(|(a, came)| *came || a.commit > commit))
    }

    fn facts(&mut self) -> Option<&mut Facts> {
        self.focus.as_mut()?.attested.as_mut()
    }

    /// Returns the places of the accounts that are looked at one by one, in the order of their traders.
    pub(super) fn places_in_view(&self) -> Vec<usize> {
        match &self.focus {
            None => self.index.by_name.clone(),
            Some(focus) => self.state.accounts.place(&focus.trader).into_iter().collect(),
        }
    }

    /// Takes promotions and demotions out of `plan` when they are to be taken from what is attested;
    /// returns the one that is attested of this moment.
    pub(super) fn rank_given(&mut self, step: &Step, plan: &mut RefreshPlan<'_>) -> Option<Cause> {
        let facts = self.facts()?;
        plan.promote.clear();
        plan.demote.clear();
        if facts.take(step.attested(Fact::Promoted)) {
            return Some(Cause::Promoted);
        }
        facts.take(step.attested(Fact::Demoted)).then_some(Cause::Demoted)
    }

    /// Moves the trader of the extract as a rank is attested to have moved him, if it can have.
    pub(super) fn move_as_given(&mut self, step: &mut Step, cause: Option<Cause>) {
        let Some((cause, focus)) = cause.zip(self.focus.as_ref()) else { return };
        let (stage, fact) = match cause == Cause::Promoted {
            true => (Stage::Funded, Fact::Promoted),
            false => (Stage::Probation, Fact::Demoted),
        };
        let to = Some(Standing::new(stage, step.stamp.at));
        let trader = focus.trader.clone();
        let from = self.account(&trader).and_then(|account| account.standing);
        if challenge_period::is_legal(cause, from, to) {
            self.move_by(step, &trader, cause, |_| to);
        } else if let Some(facts) = self.facts() {
            facts.put_back(step.attested(fact));
        }
    }

    /// Takes the end of an absent trader out of `plan`, unless it is attested that it was not held.
    pub(super) fn absence_given(&mut self, step: &Step, plan: &mut PassPlan) {
        let Some(facts) = self.facts() else { return };
        let absent = step.attested(Fact::Absent);
        plan.eliminate.retain(|end| end.reason != Reason::Zombie || facts.take(absent));
    }

    /// Answers a command that others decide as it is attested; returns whether it is such a one. Only
    /// what it means for the trader of the extract is done.
    pub(super) fn answer_given(&mut self, step: &mut Step, input: &Input) -> bool {
        let given = self.focus.as_ref().filter(|focus| focus.attested.is_some());
        let Some(trader) = given.map(|focus| focus.trader.clone()) else { return false };
        if !judged_with_others(input, &trader) {
            return false;
        }
        let fact = step.attested(Fact::CarriedOut);
        let carried_out = self.facts().is_some_and(|facts| facts.take(fact));
        if carried_out
            && !self.carry_out_given(step, input, &trader)
            && let Some(facts) = self.facts()
        {
            facts.put_back(fact);
        }
        true
    }

    /// Does what the command says of `trader`; returns whether that can be.
    #[expect(clippy::wildcard_enum_match_arm, reason = "other inputs name one trader at most")]
    fn carry_out_given(&mut self, step: &mut Step, input: &Input, trader: &TraderId) -> bool {
        let of = |rows: &[EliminationRow]| -> Vec<EliminationRow> {
            rows.iter().filter(|row| row.trader == *trader).cloned().collect()
        };
        match input {
            Input::Stages(StagesCommand::Set(settings)) => {
                let own = settings.iter().filter(|(name, _)| name == trader).cloned();
                self.command_stages(step, &StagesCommand::Set(own.collect())).is_ok()
            }
            Input::Eliminations(EliminationsCommand::Add { by, why, rows }) => {
                let (by, why, rows) = (by.clone(), why.clone(), of(rows));
                let command = EliminationsCommand::Add { by, why, rows };
                self.command_eliminations(step, &command).is_ok()
            }
            Input::Eliminations(EliminationsCommand::Remove { by, why, .. }) => {
                let (by, why, traders) = (by.clone(), why.clone(), vec![trader.clone()]);
                let command = EliminationsCommand::Remove { by, why, traders };
                self.command_eliminations(step, &command).is_ok()
            }
            Input::SyncEliminations(list) => self.sync_given(step, list, trader),
            _ => false,
        }
    }
}

/// Why what became of an account is not decided by its extract.
impl Engine {
    /// Returns why what became of the account of `trader` may depend on others, as far as `extract`,
    /// which was just applied, can have brought that about.
    #[must_use]
    pub fn undecided_by(&self, trader: &TraderId, extract: &Extract) -> Option<Undecided> {
        let mut inputs = extract.inputs.iter().map(|placed| &placed.input);
        let account = self.account(trader);
        if inputs.clone().any(|input| names(input, trader, account, extract)) {
            return Some(Undecided::Batch);
        }
        let account = account?;
        let rules = &self.rulebook_of(account).rules;
        // The pass goes by the rules in force, which need not be the account's.
        let in_force = self.rules_in_force(extract.at).map_or(rules, |(_, book)| &book.rules);
        let absent_max = u64::from(in_force.elimination.zombie_absent_rosters.value);
        let gone = self.state.roster.absent_rosters(trader) >= absent_max;
        let may_end = account.elimination.is_none();
        if gone && (may_end || inputs.any(|input| matches!(input, Input::Roster(_)))) {
            return Some(Undecided::Missing);
        }
        // With no more traders than places nobody can be displaced.
        let places = in_force.challenge.funded_per_class.value;
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        let crowded = self.state.roster.traders().is_some_and(|all| all.len() > places)
            || in_force.switches.unscored == Unscored::Demoted;
        let funded = account.standing.is_some_and(|standing| standing.stage == Stage::Funded);
        (funded && crowded).then_some(Undecided::Ranked)
    }

    /// Returns whether `trader` has been in the programme long enough to have been promoted: complete
    /// days only become more while an account lives.
    #[must_use]
    pub fn undecided_by_rank(&self, trader: &TraderId) -> Option<Undecided> {
        let account = self.account(trader)?;
        let record = account.elimination.as_ref();
        let standing = account.standing.or(record.and_then(|record| record.standing));
        if standing.is_some_and(|standing| standing.stage == Stage::Funded) {
            return None;
        }
        let rules = &self.rulebook_of(account).rules;
        let in_force =
            self.rules_in_force(self.state.stamp.at).map_or(rules, |(_, book)| &book.rules);
        let portfolio = account.ledgers.as_ref()?.portfolio();
        let least = rules.challenge.complete_days_min.value;
        scoring::has_complete_days(in_force, portfolio, least).then_some(Undecided::Ranked)
    }
}

/// Tells whether `input`, which was judged in the commit of `extract`, is judged by several accounts
/// and may concern `trader`, whose account stands as given.
fn names(input: &Input, trader: &TraderId, account: Option<&Account>, extract: &Extract) -> bool {
    if is_one_record(input) && account.is_some_and(|account| account.enrolled_at < extract.at) {
        // Whose account ends needs no room among the barred.
        return false;
    }
    let Input::SyncEliminations(list) = input else { return judged_with_others(input, trader) };
    // A list of another validator speaks also by whom it does not name any more.
    let now = account.and_then(|account| account.elimination.as_ref());
    let lifted = account.and_then(|account| account.past.last());
    let lifted = lifted.filter(|lifted| lifted.stamp.commit == extract.index).map(|l| &l.record);
    let brought = now.into_iter().chain(lifted).any(|r| r.source() == Some(&list.source));
    brought || list.rows.iter().any(|row| row.trader == *trader)
}

/// Tells whether `input` writes the record of a single trader.
fn is_one_record(input: &Input) -> bool {
    matches!(input, Input::Eliminations(EliminationsCommand::Add { rows, .. }) if rows.len() == 1)
}

/// Tells whether `input` is a command of several rows with one for `trader`, or may bar him without an
/// account, or is a list of another validator, which is taken as a whole or not at all.
fn judged_with_others(input: &Input, trader: &TraderId) -> bool {
    let row = |row: &EliminationRow| row.trader == *trader;
    match input {
        Input::Stages(StagesCommand::Set(settings)) => {
            settings.len() > 1 && settings.iter().any(|(name, _)| name == trader)
        }
        Input::Eliminations(EliminationsCommand::Add { rows, .. }) => rows.iter().any(row),
        Input::Eliminations(EliminationsCommand::Remove { traders, .. }) => {
            traders.len() > 1 && traders.contains(trader)
        }
        Input::SyncEliminations(_) => true,
        Input::Order(_)
        | Input::RecordedOrder(..)
        | Input::SignedOrder(_)
        | Input::Prices(_)
        | Input::Roster(_)
        | Input::AccountSize(..)
        | Input::AssetClass(..)
        | Input::Rulebook(_)
        | Input::Tick
        | Input::Plagiarism(_)
        | Input::Stages(StagesCommand::Remove(_) | StagesCommand::Refresh)
        | Input::Reasons(_)
        | Input::Reinstate(_)
        | Input::SlashSettled(..)
        | Input::CorrectPrice(_) => false,
    }
}
