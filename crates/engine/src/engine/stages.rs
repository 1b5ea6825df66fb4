//! Carries out what the challenge period decides: refreshes, admissions, moves, commands.
//!
//! Every move of a trader goes through [`Engine::move_to`], which holds it to the matrix of
//! services 2.2. A decision that ends an account is carried out in the commit that makes it: there
//! is no moment at which it is pending (I1, I2, C-60 to C-70).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proctor_types::{TraderId, UtcMs};

use super::{Engine, Step, parts};
use crate::account::Account;
use crate::challenge_period::plagiarism::Findings;
use crate::challenge_period::plan::{Belief, Closed, Scored, Verdict};
use crate::challenge_period::reasons::{Published, ReasonsCommand};
use crate::challenge_period::{
    self, Cause, Entry, PlagiarismReport, Ranked, RankedClass, RefreshInput, RefreshPlan, Refusal,
    Stage, Standing,
};
use crate::eliminations::{DrawdownNote, Elimination, Origin, Reason};
use crate::event::Event;
use crate::input::StagesCommand;
use crate::rejection::Rejection;
use crate::scoring::Ledgers;
use crate::state::{Adopted, State, place};

/// Why the stages are refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It is time.
    Due,
    /// An input asks for it.
    Asked,
}

impl Engine {
    /// Brings all stages up to date: makes one picture of the state, plans, and does what the plan
    /// says; a pass over all accounts then ends those whose challenge is over, and looks for
    /// whatever else only shows over time. `rulebook` is the one in force.
    pub(super) fn refresh(&mut self, step: &mut Step, rulebook: &Adopted, occasion: Occasion) {
        // The picture is of this moment and stays so while the state changes under it.
        let accounts = self.state.accounts.clone();
        let rulebooks = self.state.rulebooks.clone();
        let order = self.places_in_view();
        let entries = order.into_iter().filter_map(|place| {
            let registered = self.index.registered[place];
            entry(&accounts[place], &rulebooks, registered, step.stamp.at)
        });
        let input = RefreshInput {
            at: step.stamp.at,
            roster: belief(&self.state),
            traders: entries.collect(),
            plagiarism: self.findings(rulebook, step.stamp.at),
            scores_due: occasion == Occasion::Asked || self.scores_are_due(step, rulebook),
        };
        let mut plan = challenge_period::plan(&rulebook.rules, &input);
        let ranked = self.rank_given(step, &mut plan);
        let note = |verdict: Verdict| {
            let percent = verdict.drawdown.map(DrawdownNote::Percent);
            percent.unwrap_or_else(|| DrawdownNote::without_number(verdict.reason))
        };
        let reasons: BTreeMap<TraderId, (Reason, DrawdownNote)> =
            std::mem::take(&mut plan.eliminate)
                .into_iter()
                .map(|(trader, verdict)| (trader.clone(), (verdict.reason, note(verdict))))
                .collect();
        let is_first = self.state.challenge.refreshed_at.is_none();
        self.carry_out(step, plan);
        self.move_as_given(step, ranked);
        self.pass(step, rulebook, is_first, &reasons);
    }

    /// Tells whether a ledger cell has ended since everybody was ranked last.
    fn scores_are_due(&self, step: &Step, rulebook: &Adopted) -> bool {
        let cell = rulebook.rules.ledger.cell.value;
        let ranked = self.state.challenge.ranking.as_ref().map(|ranking| ranking.stamp.at);
        ranked.is_none_or(|ranked| parts(ranked, step.stamp.at, cell))
    }

    fn findings(&self, rulebook: &Adopted, at: UtcMs) -> Findings {
        let Some(report) = &self.state.challenge.plagiarism else { return Findings::default() };
        let accounts = self.index.by_name.iter().map(|place| &self.state.accounts[*place]);
        let is_reviewed = |account: &&Arc<Account>| {
            account.standing.is_some_and(|standing| standing.stage == Stage::UnderReview)
        };
        let reviewed: Vec<&TraderId> = accounts.filter(is_reviewed).map(|a| &a.trader).collect();
        report.findings(&reviewed, rulebook.rules.challenge.review_max.value, at)
    }

    fn carry_out(&mut self, step: &mut Step, plan: RefreshPlan<'_>) {
        let at = step.stamp.at;
        self.remember(step, &plan);
        for trader in plan.review {
            self.move_by(step, trader, Cause::Suspected, |standing| Some(standing?.reviewed(at)));
        }
        for trader in plan.restore {
            self.move_by(step, trader, Cause::Cleared, |standing| standing?.restored());
        }
        let challenge = |since| Some(Standing::new(Stage::Challenge, since));
        for (trader, since) in plan.admit {
            self.move_by(step, trader, Cause::Admitted, |_| challenge(since));
        }
        for (trader, since) in plan.restart_clock {
            self.move_by(step, trader, Cause::FirstOrder, |_| challenge(since));
        }
        let funded = Some(Standing::new(Stage::Funded, at));
        for trader in plan.promote {
            self.move_by(step, trader, Cause::Promoted, |_| funded);
        }
        let probation = Some(Standing::new(Stage::Probation, at));
        for trader in plan.demote {
            self.move_by(step, trader, Cause::Demoted, |_| probation);
        }
        for trader in plan.prune {
            self.move_by(step, trader, Cause::Departed, |_| None);
        }
    }

    /// Keeps what readers may ask about the refresh.
    fn remember(&mut self, step: &mut Step, plan: &RefreshPlan<'_>) {
        let shares = plan.scores.iter().flat_map(|scores| scores.classes.values());
        for score in shares.flat_map(|scores| scores.values()) {
            step.marks.add(*score);
        }
        let alerts_changed = self.state.challenge.alerts != plan.alerts;
        if alerts_changed {
            step.events.push(Event::ChallengeAlerts { alerts: plan.alerts.clone() });
        }
        let challenge = Arc::make_mut(&mut self.state.challenge);
        challenge.refreshed_at = Some(step.stamp.at);
        challenge.alerts.clone_from(&plan.alerts);
        if let Some(scores) = &plan.scores {
            let classes = ranked(scores);
            challenge.ranking = Some(Arc::new(Ranked { stamp: step.stamp, classes }));
        }
    }

    pub(super) fn move_by(
        &mut self,
        step: &mut Step,
        trader: &TraderId,
        cause: Cause,
        to: impl FnOnce(Option<Standing>) -> Option<Standing>,
    ) {
        if let Some(place) = self.state.accounts.place(trader) {
            let to = to(self.state.accounts[place].standing);
            self.move_to(step, place, cause, to);
        }
    }

    /// Moves the trader at `place`; the one place where a standing changes.
    fn move_to(&mut self, step: &mut Step, place: usize, cause: Cause, to: Option<Standing>) {
        let from = self.state.accounts[place].standing;
        if from == to {
            return;
        }
        assert!(
            challenge_period::is_legal(cause, from, to),
            "{cause:?} cannot lead from {from:?} to {to:?}: the plan is of this very state"
        );
        let account = self.state.accounts.change(place);
        account.standing = to;
        let trader = account.trader.clone();
        step.events.push(Event::StageChanged { trader, cause, from, to });
    }

    /// Admits the trader to the challenge when registered, not ended and in no stage: in the
    /// commit that makes it so, so that nobody is registered and nowhere (C-23, I1).
    pub(super) fn admit(&mut self, step: &mut Step, place: usize) {
        let account = &self.state.accounts[place];
        if account.standing.is_some() || account.elimination.is_some() {
            return;
        }
        let since = account.challenge_from().unwrap_or(step.stamp.at);
        let to = Some(Standing::new(Stage::Challenge, since));
        self.move_to(step, place, Cause::Admitted, to);
    }

    /// Takes the trader out of its stage for having left the roster (C-56).
    pub(super) fn depart(&mut self, step: &mut Step, place: usize) {
        self.move_to(step, place, Cause::Departed, None);
    }

    /// Has the challenge count from the first order, in the commit that fills it (C-24).
    pub(super) fn restart_clock(&mut self, step: &mut Step, place: usize) {
        let account = &self.state.accounts[place];
        let standing = account.standing.filter(|standing| standing.stage == Stage::Challenge);
        if let (Some(_), Some(first)) = (standing, account.challenge_from()) {
            let to = Some(Standing::new(Stage::Challenge, first));
            self.move_to(step, place, Cause::FirstOrder, to);
        }
    }

    /// Takes an account that ends out of its stage and registers the decision where the challenge
    /// period made it; part of [`Engine::eliminate`].
    pub(super) fn leave_programme(&mut self, step: &mut Step, place: usize, record: &Elimination) {
        self.move_to(step, place, Cause::Ended, None);
        if record.reason.is_of_challenge_period() {
            self.register(step, place, record);
        }
    }

    fn register(&mut self, step: &mut Step, place: usize, record: &Elimination) {
        let trader = self.state.accounts[place].trader.clone();
        let reasons = &mut Arc::make_mut(&mut self.state.challenge).reasons;
        let decision = reasons.add(&trader, record.reason, record.drawdown, step.stamp);
        step.events.push(Event::DecisionRegistered { decision });
    }

    /// Has a reinstated trader go on in the stage that the account ended in, or begin a challenge.
    pub(super) fn reenter(&mut self, step: &mut Step, place: usize, restored: Option<Standing>) {
        if !self.index.registered[place] {
            return;
        }
        match restored {
            Some(_) => self.move_to(step, place, Cause::Reinstated, restored),
            None => self.admit(step, place),
        }
    }

    /// Takes the detector's new list and acts on it at once.
    ///
    /// # Errors
    /// [`Rejection::NoRulebook`], or [`Rejection::ChallengePeriod`] when a time is no time.
    pub(super) fn report_plagiarism(
        &mut self,
        step: &mut Step,
        report: &PlagiarismReport,
    ) -> Result<(), Rejection> {
        let rulebook = Arc::clone(self.rules_in_force(step.stamp.at)?.1);
        if let Some((trader, at)) = report.verdicts().iter().find(|(_, at)| !at.is_in_range()) {
            return Err(refused(Refusal::Calendar { trader: trader.clone(), at: *at }));
        }
        // Bytes may hold the list in any order; from here on it is sorted.
        let report = PlagiarismReport::new(report.verdicts().to_vec());
        let suspects = u32::try_from(report.verdicts().len()).unwrap_or(u32::MAX);
        step.events.push(Event::PlagiarismReported { suspects });
        Arc::make_mut(&mut self.state.challenge).plagiarism = Some(Arc::new(report));
        self.refresh(step, &rulebook, Occasion::Asked);
        Ok(())
    }

    /// Does what an operator says about stages.
    ///
    /// # Errors
    /// [`Rejection::ChallengePeriod`] says what of the command does not fit; nothing has changed.
    pub(super) fn command_stages(
        &mut self,
        step: &mut Step,
        command: &StagesCommand,
    ) -> Result<(), Rejection> {
        match command {
            StagesCommand::Set(settings) => {
                let places = self.settable(step.stamp.at, settings)?;
                for (place, (_, standing)) in places.into_iter().zip(settings) {
                    self.move_to(step, place, Cause::Set, Some(*standing));
                }
            }
            StagesCommand::Remove(trader) => {
                let place = self.known(trader)?;
                self.move_to(step, place, Cause::Removed, None);
                if self.index.registered[place] {
                    self.admit(step, place);
                }
            }
            StagesCommand::Refresh => {
                let rulebook = Arc::clone(self.rules_in_force(step.stamp.at)?.1);
                self.refresh(step, &rulebook, Occasion::Asked);
            }
        }
        Ok(())
    }

    /// Returns the places of the accounts that `settings` names, when all of them can be set.
    fn settable(
        &self,
        now: UtcMs,
        settings: &[(TraderId, Standing)],
    ) -> Result<Vec<usize>, Rejection> {
        let mut seen = BTreeSet::new();
        let mut places = Vec::with_capacity(settings.len());
        for (trader, standing) in settings {
            let place = self.known(trader)?;
            let refuse = |refusal: fn(TraderId) -> Refusal| Err(refused(refusal(trader.clone())));
            if !self.index.registered[place] {
                return refuse(Refusal::NotRegistered);
            }
            if self.state.accounts[place].elimination.is_some() {
                return refuse(Refusal::Ended);
            }
            if !seen.insert(trader) {
                return refuse(Refusal::Repeated);
            }
            if !standing.is_sound() {
                return refuse(Refusal::Before);
            }
            let before = standing.before.map(|(_, since)| since);
            for at in [Some(standing.since), before].into_iter().flatten() {
                let trader = trader.clone();
                if !at.is_in_range() {
                    return Err(refused(Refusal::Calendar { trader, at }));
                }
                if at > now {
                    return Err(refused(Refusal::Ahead { trader, at }));
                }
            }
            places.push(place);
        }
        Ok(places)
    }

    fn known(&self, trader: &TraderId) -> Result<usize, Rejection> {
        let place = self.state.accounts.place(trader);
        place.ok_or_else(|| refused(Refusal::Unknown(trader.clone())))
    }

    /// Does what the outside asks of the register of reasons.
    ///
    /// # Errors
    /// [`Rejection::ChallengePeriod`] says what of the command does not fit; nothing has changed.
    pub(super) fn command_reasons(
        &mut self,
        step: &mut Step,
        command: &ReasonsCommand,
    ) -> Result<(), Rejection> {
        let acknowledged = |seq, decisions: usize| {
            let decisions = u32::try_from(decisions).unwrap_or(u32::MAX);
            Event::DecisionsAcknowledged { seq, decisions }
        };
        match command {
            ReasonsCommand::Update(batch) => self.publish(step, batch)?,
            ReasonsCommand::Pop(trader) => {
                let reasons = &self.state.challenge.reasons;
                if reasons.of(trader).is_some() {
                    let seq = Arc::make_mut(&mut self.state.challenge).reasons.pop(trader);
                    step.events.extend(seq.map(|seq| acknowledged(seq, 1)));
                }
            }
            ReasonsCommand::Clear { up_to } => {
                let newest = self.state.challenge.reasons.newest();
                if *up_to > newest {
                    return Err(refused(Refusal::NotDecided { up_to: *up_to, newest }));
                }
                let seen = Arc::make_mut(&mut self.state.challenge).reasons.clear(*up_to);
                if seen > 0 {
                    step.events.push(acknowledged(*up_to, seen));
                }
            }
        }
        Ok(())
    }

    /// Ends the accounts that `batch` names, all of them in this commit.
    fn publish(&mut self, step: &mut Step, batch: &[Published]) -> Result<(), Rejection> {
        let mut seen = BTreeSet::new();
        let mut places = Vec::with_capacity(batch.len());
        for published in batch {
            let trader = &published.trader;
            places.push(self.known(trader)?);
            if !seen.insert(trader) {
                return Err(refused(Refusal::Repeated(trader.clone())));
            }
            if !published.drawdown.is_in_range() {
                return Err(refused(Refusal::Percent(trader.clone())));
            }
        }
        for (place, published) in places.into_iter().zip(batch) {
            // Who has ended has ended for the first reason (E-47).
            if self.state.accounts[place].elimination.is_some() {
                continue;
            }
            let account = &self.state.accounts[place];
            let adopted = Arc::clone(self.rulebook_of(account));
            let (reason, note) = (published.reason, published.drawdown);
            let record = self.verdict_on(step.stamp, place, reason, note);
            let record = Elimination { origin: Origin::Published, ..record };
            self.eliminate(step, &adopted.rules, place, record);
            if !published.reason.is_of_challenge_period()
                && let Some(record) = self.state.accounts[place].elimination.clone()
            {
                self.register(step, place, &record);
            }
        }
        Ok(())
    }
}

fn refused(refusal: Refusal) -> Rejection {
    Rejection::ChallengePeriod(refusal)
}

/// Returns how far the roster can be believed.
fn belief(state: &State) -> Belief {
    match state.roster.traders() {
        None => Belief::Unknown,
        Some(_) if state.roster.is_held() => Belief::Held,
        Some(_) => Belief::Believed,
    }
}

/// Returns the picture of one account, or nothing when the programme has nothing to do with it.
fn entry<'a>(
    account: &'a Account,
    rulebooks: &'a [Arc<Adopted>],
    registered: bool,
    at: UtcMs,
) -> Option<Entry<'a>> {
    if !registered && account.standing.is_none() {
        return None;
    }
    let rules = &rulebooks.get(place(account.rulebook))?.rules;
    let first_order = account.first_order_at();
    let begun = account.ledgers.as_ref().map(|ledgers| ledgers.portfolio().initialized_at());
    Some(Entry {
        trader: &account.trader,
        registered,
        ended: account.elimination.is_some(),
        standing: account.standing,
        first_order: account.challenge_from(),
        ledgers: account.ledgers.as_ref().map(Ledgers::from).unwrap_or_default(),
        foreign_ledgers: begun.is_some_and(|begun| first_order.is_none_or(|first| begun < first)),
        closed: Closed::Book(&account.book, rules.challenge.position_min.value),
        account_size: Some(account.terms.size(rules, at)),
        class: account.terms.asset_class,
        rules,
    })
}

/// Returns the scores in the form that readers get.
fn ranked(scores: &Scored<'_>) -> Vec<RankedClass> {
    let class = |(class, scores_of): (&proctor_types::AssetClass, _)| RankedClass {
        class: *class,
        competitiveness: scores.competitiveness.get(class).copied().flatten(),
        scores: by_trader(scores_of),
    };
    scores.classes.iter().map(class).collect()
}

fn by_trader(scores: &BTreeMap<&TraderId, f64>) -> Vec<(TraderId, f64)> {
    scores.iter().map(|(trader, score)| ((*trader).clone(), *score)).collect()
}
