//! Endings from outside the price: commands, lists of other validators, and the pass over accounts.
//!
//! Whoever decides, [`Engine::eliminate`] is how an account ends, and `lift` is how it begins anew;
//! a batch is checked whole before anything of it is done. Source: services 1.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proctor_types::{Stamp, TraderId, UtcMs, ValidatorId};

use super::settlement::breach;
use super::{Engine, Step};
use crate::account::Account;
use crate::challenge_period::Stage;
use crate::eliminations::plan::{self, Alert, Ending, PassInput, Recorded, Subject};
use crate::eliminations::{
    self, DrawdownNote, Elimination, EliminationRow, EliminationRules, EliminationsCommand, Lifted,
    LiftedBy, Origin, Reason, Reentry, Reinstatement, SyncedEliminations,
};
use crate::event::Event;
use crate::rejection::Rejection;
use crate::roster;
use crate::rulebook::Rulebook;
use crate::state::Adopted;

impl Engine {
    /// Undoes one decision (services 2.8, users 6.2).
    ///
    /// # Errors
    /// [`Rejection::NoSuchElimination`] when the trader's record is not that decision.
    pub(super) fn reinstate(
        &mut self,
        step: &mut Step,
        command: &Reinstatement,
    ) -> Result<(), Rejection> {
        let Reinstatement { trader, by, why, decided, reentry } = command;
        let kept_max = self.lifted_records_max(step)?;
        if self.known_record_of(step, trader).is_none_or(|record| record.stamp != *decided) {
            return Err(Rejection::NoSuchElimination(trader.clone()));
        }
        let by = LiftedBy::Operator { by: by.clone(), why: why.clone(), reentry: *reentry };
        self.lift(step, trader, by, kept_max);
        Ok(())
    }

    /// Records that the collateral for a decision was taken; saying it again changes nothing.
    ///
    /// # Errors
    /// [`Rejection::NoSuchElimination`], or [`Rejection::NotSlashed`] when it costs nothing.
    pub(super) fn settle_slash(
        &mut self,
        step: &mut Step,
        trader: &TraderId,
        decided: Stamp,
    ) -> Result<(), Rejection> {
        let unknown = || Rejection::NoSuchElimination(trader.clone());
        let place = self.account_place(trader).map_err(|_| unknown())?;
        let account = &self.state.accounts[place];
        let record = records(account).find(|record| record.stamp == decided).ok_or_else(unknown)?;
        let slash = record.slash.ok_or_else(|| Rejection::NotSlashed(trader.clone()))?;
        let mut settled = slash;
        if settled.settle(step.stamp) {
            let account = self.state.accounts.change(place);
            let current = account.elimination.iter_mut().filter(|r| r.stamp == decided);
            let past = account.past.iter_mut().filter(|lifted| lifted.record.stamp == decided);
            let past = past.map(|lifted| &mut Arc::make_mut(lifted).record);
            current.chain(past).for_each(|record| record.slash = Some(settled));
            step.events.push(Event::SlashSettled { trader: trader.clone(), decided });
        }
        Ok(())
    }

    /// Carries out an operator's command, all of it or nothing.
    ///
    /// # Errors
    /// [`Rejection::AlreadyEliminated`] or [`Rejection::NoSuchElimination`] names the first trader,
    /// by name, whose record is in the way or missing; [`Rejection::EliminationDate`];
    /// [`Rejection::NoRoom`].
    pub(super) fn command_eliminations(
        &mut self,
        step: &mut Step,
        command: &EliminationsCommand,
    ) -> Result<(), Rejection> {
        match command {
            EliminationsCommand::Add { by, why, rows } => {
                let rows = by_trader(rows);
                for (trader, row) in &rows {
                    check_date(row, step.stamp.at)?;
                    if self.record_of(trader).is_some() {
                        return Err(Rejection::AlreadyEliminated((*trader).clone()));
                    }
                }
                self.check_room(step, rows.keys().copied())?;
                for row in rows.into_values() {
                    let (by, why) = (by.clone(), why.clone());
                    let origin = Origin::Operator { by, why, stated_at: row.decided_at };
                    self.record(step, row, origin);
                }
            }
            EliminationsCommand::Remove { by, why, traders } => {
                let kept_max = self.lifted_records_max(step)?;
                let traders: BTreeSet<&TraderId> = traders.iter().collect();
                for trader in &traders {
                    if self.known_record_of(step, trader).is_none() {
                        return Err(Rejection::NoSuchElimination((*trader).clone()));
                    }
                }
                for trader in traders {
                    let (by, why, reentry) = (by.clone(), why.clone(), Reentry::Challenge);
                    self.lift(step, trader, LiftedBy::Operator { by, why, reentry }, kept_max);
                }
            }
        }
        Ok(())
    }

    /// Brings the records in line with another validator's list, without touching what was decided
    /// here (E-70 to E-74): a trader who has a record keeps it, a decision that an operator here
    /// has undone stays undone, and only records that this source brought earlier are taken back.
    ///
    /// # Errors
    /// [`Rejection::SyncAhead`], [`Rejection::StaleSync`], [`Rejection::EliminationDate`],
    /// [`Rejection::NoRoom`], [`Rejection::AnomalousSync`]; nothing has changed then.
    pub(super) fn sync_eliminations(
        &mut self,
        step: &mut Step,
        list: &SyncedEliminations,
    ) -> Result<(), Rejection> {
        let (source, as_of) = (&list.source, list.as_of);
        let rules = Arc::clone(self.rules_in_force(step.stamp.at)?.1);
        let rules = &rules.rules;
        self.check_source(&rules.elimination, step.stamp.at, list)?;
        let rows = by_trader(&list.rows);
        rows.values().try_for_each(|row| check_date(row, as_of))?;
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        // An empty list is a source that has lost its memory, not one that forgives everybody.
        if !rows.is_empty() {
            added = self.sync_adds(&rows);
            removed = self.sync_removes(&rules.elimination, step.stamp, source, &rows);
            self.check_room(step, added.iter().map(|row| &row.trader))?;
            self.check_scale(rules, source, &added, &removed)?;
            self.state.synced.insert(source.clone(), as_of);
        }
        for row in &added {
            let (source, stated_at) = (source.clone(), row.decided_at);
            self.record(step, row, Origin::Synced { source, as_of, stated_at });
        }
        for trader in &removed {
            let by = LiftedBy::Source { source: source.clone(), as_of };
            self.lift(step, trader, by, rules.elimination.lifted_records_max.value);
        }
        step.events.push(Event::EliminationsSynced {
            source: source.clone(),
            as_of,
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            added: added.into_iter().map(|row| row.trader.clone()).collect(),
            removed,
        });
        Ok(())
    }

    /// Does what a list that is attested to have been taken says of `trader`; returns whether that can be.
    pub(super) fn sync_given(
        &mut self,
        step: &mut Step,
        list: &SyncedEliminations,
        trader: &TraderId,
    ) -> bool {
        let (source, as_of) = (&list.source, list.as_of);
        let Ok(kept_max) = self.lifted_records_max(step) else { return false };
        let rows = by_trader(&list.rows);
        let named = rows.get_key_value(trader).map(|(name, row)| (*name, *row));
        let own: BTreeMap<&TraderId, &EliminationRow> = named.into_iter().collect();
        let added = self.sync_adds(&own);
        let Ok(rules) = self.rules_in_force(step.stamp.at) else { return false };
        let gone = self.sync_removes(&rules.1.rules.elimination, step.stamp, source, &rows);
        for row in &added {
            let (source, stated_at) = (source.clone(), row.decided_at);
            self.record(step, row, Origin::Synced { source, as_of, stated_at });
        }
        if !rows.is_empty() && gone.contains(trader) {
            let by = LiftedBy::Source { source: source.clone(), as_of };
            self.lift(step, trader, by, kept_max);
        }
        true
    }

    fn check_source(
        &self,
        rules: &EliminationRules,
        at: UtcMs,
        list: &SyncedEliminations,
    ) -> Result<(), Rejection> {
        let as_of = list.as_of;
        if !as_of.is_in_range() || as_of > at {
            return Err(Rejection::SyncAhead(as_of));
        }
        match self.state.synced.get(&list.source) {
            Some(&last) if as_of < last => Err(Rejection::StaleSync { as_of, last }),
            Some(_) => Ok(()),
            None => room(
                "sources of records",
                self.state.synced.len() + 1,
                rules.sync_sources_max.value,
            ),
        }
    }

    /// Returns the rows that bring something new.
    fn sync_adds<'a>(
        &self,
        rows: &BTreeMap<&'a TraderId, &'a EliminationRow>,
    ) -> Vec<&'a EliminationRow> {
        let news = rows.iter().filter(|(trader, row)| {
            self.record_of(trader).is_none()
                && !eliminations::is_answered(self.past_of(trader), row.decided_at)
        });
        news.map(|(_, row)| *row).collect()
    }

    /// Returns the traders whose records came from `source` and are not in `rows` any more. A
    /// record that has expired is kept: the source has dropped it for its age, as E-56 says.
    fn sync_removes(
        &self,
        rules: &EliminationRules,
        stamp: Stamp,
        source: &ValidatorId,
        rows: &BTreeMap<&TraderId, &EliminationRow>,
    ) -> Vec<TraderId> {
        let gone = self.records_from(source).filter(|(trader, record)| {
            let registered = self.state.roster.admit(trader).is_ok();
            let age = stamp.at.since(record.decided_at().min(record.stamp.at));
            let expired = record.purged.is_some() || age >= rules.purge_after.value;
            let known = record.stamp.commit < stamp.commit;
            known && !rows.contains_key(trader) && (registered || !expired)
        });
        gone.map(|(trader, _)| trader.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Refuses a list that would end, or bring back, a large part of the traders (P-14).
    fn check_scale(
        &self,
        rules: &Rulebook,
        source: &ValidatorId,
        added: &[&EliminationRow],
        removed: &[TraderId],
    ) -> Result<(), Rejection> {
        let living = self.state.accounts.iter().filter(|account| account.elimination.is_none());
        let ends = added.iter().filter(|row| self.state.accounts.place(&row.trader).is_some());
        let from_source = self.records_from(source).count();
        for (changed, known) in [(ends.count(), living.count()), (removed.len(), from_source)] {
            if roster::is_anomalous(&rules.roster, changed, known) {
                let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                let (changed, known) = (count(changed), count(known));
                return Err(Rejection::AnomalousSync { changed, known });
            }
        }
        Ok(())
    }

    /// Refuses records of traders without an account when there is no room for them.
    fn check_room<'a>(
        &self,
        step: &Step,
        traders: impl Iterator<Item = &'a TraderId>,
    ) -> Result<(), Rejection> {
        let rules = &self.rules_in_force(step.stamp.at)?.1.rules.elimination;
        let stranger = |trader: &&TraderId| {
            self.state.accounts.place(trader).is_none() && !self.state.barred.contains_key(*trader)
        };
        let all = self.state.barred.len() + traders.filter(stranger).count();
        room("records without an account", all, rules.records_without_account_max.value)
    }

    fn lifted_records_max(&self, step: &Step) -> Result<u32, Rejection> {
        let adopted = self.rules_in_force(step.stamp.at)?.1;
        Ok(adopted.rules.elimination.lifted_records_max.value)
    }

    /// Returns the record that bars `trader`, whether there is an account or not.
    fn record_of(&self, trader: &TraderId) -> Option<&Elimination> {
        match self.account(trader) {
            Some(account) => account.elimination.as_ref(),
            None => self.state.barred.get(trader)?.record.as_ref(),
        }
    }

    /// Returns the record that bars `trader` if it was made before this commit. One that is made in
    /// it cannot be what a command or a list of the same commit is about: nobody has seen it yet.
    fn known_record_of(&self, step: &Step, trader: &TraderId) -> Option<&Elimination> {
        self.record_of(trader).filter(|record| record.stamp.commit < step.stamp.commit)
    }

    /// Returns the records of `trader` that were lifted.
    fn past_of(&self, trader: &TraderId) -> &[Arc<Lifted>] {
        match (self.account(trader), self.state.barred.get(trader)) {
            (Some(account), _) => &account.past,
            (None, Some(bar)) => &bar.past,
            (None, None) => &[],
        }
    }

    /// Returns every record that came from `source`.
    fn records_from<'a>(
        &'a self,
        source: &'a ValidatorId,
    ) -> impl Iterator<Item = (&'a TraderId, &'a Elimination)> {
        let of_accounts = self
            .state
            .accounts
            .iter()
            .filter_map(|account| Some((&account.trader, account.elimination.as_ref()?)));
        let of_strangers = self
            .state
            .barred
            .iter()
            .filter_map(|(trader, bar)| Some((trader, bar.record.as_ref()?)));
        of_accounts.chain(of_strangers).filter(move |(_, record)| record.source() == Some(source))
    }

    /// Ends the account that `row` names, or bars its trader until he has one.
    fn record(&mut self, step: &mut Step, row: &EliminationRow, origin: Origin) {
        let mut record = Elimination::new(row.reason, step.stamp, row.drawdown, origin);
        if let Ok(place) = self.account_place(&row.trader) {
            let adopted = Arc::clone(self.rulebook_of(&self.state.accounts[place]));
            let account = &self.state.accounts[place];
            let (known, at) = (&self.state.prices, step.stamp.at);
            record.prices = account.price_evidence(&adopted.rules.prices, known, at);
            self.eliminate(step, &adopted.rules, place, record);
            return;
        }
        let bar = Arc::make_mut(&mut self.state.barred).entry(row.trader.clone()).or_default();
        Arc::make_mut(bar).record = Some(record.clone());
        step.events.push(Event::Eliminated { trader: row.trader.clone(), record });
    }

    /// Takes the record of `trader` back; an account begins a new epoch (users 6.2).
    fn lift(&mut self, step: &mut Step, trader: &TraderId, by: LiftedBy, kept_max: u32) {
        let stamp = step.stamp;
        let account_place = self.account_place(trader).ok();
        let mut restored = None;
        let (decided, epoch) = if let Some(place) = account_place {
            let account = self.state.accounts.change(place);
            let Some(record) = account.elimination.take() else { return };
            let decided = record.stamp;
            restored = record.standing.filter(|_| by.restores());
            eliminations::lift(&mut account.past, record, by.clone(), stamp, kept_max);
            account.begin_epoch();
            (decided, Some(account.epoch))
        } else {
            let barred = Arc::make_mut(&mut self.state.barred);
            let Some(bar) = barred.get_mut(trader).map(Arc::make_mut) else { return };
            let Some(record) = bar.record.take() else { return };
            let decided = record.stamp;
            match by {
                LiftedBy::Operator { .. } => {
                    eliminations::lift(&mut bar.past, record, by.clone(), stamp, kept_max);
                }
                // What only a source has said and taken back again needs no memory.
                LiftedBy::Source { .. } if bar.past.is_empty() => drop(barred.remove(trader)),
                LiftedBy::Source { .. } => {}
            }
            (decided, None)
        };
        step.events.push(Event::Reinstated { trader: trader.clone(), decided, by, epoch });
        if let Some(place) = account_place {
            self.reenter(step, place, restored);
        }
    }
}

/// The pass (services 1.4).
impl Engine {
    /// Plans a pass over all accounts and carries it out; `reasons` are the challenge's decisions.
    pub(super) fn pass(
        &mut self,
        step: &mut Step,
        adopted: &Adopted,
        is_first: bool,
        reasons: &BTreeMap<TraderId, (Reason, DrawdownNote)>,
    ) {
        let in_view = self.places_in_view();
        let accounts = in_view.iter().map(|place| &self.state.accounts[*place]);
        let traders = accounts.map(|account| self.subject(step.stamp.at, account));
        let input = PassInput {
            at: step.stamp.at,
            registered: self.state.roster.traders(),
            is_first,
            traders: traders.collect(),
            reasons,
        };
        let mut plan = plan::plan(&adopted.rules, &input);
        self.absence_given(step, &mut plan);
        for place in self.places(&plan.flatten) {
            let rules = Arc::clone(self.rulebook_of(&self.state.accounts[place]));
            self.flatten_open(step, &rules.rules, place);
            self.sample(step, place);
        }
        for ending in plan.eliminate {
            self.end_by_rule(step, ending);
        }
        self.report(step, plan.alerts);
        for place in self.places(&plan.purge) {
            let account = self.state.accounts.change(place);
            account.purge(step.stamp);
            self.state.seen[place] = Default::default();
            step.events.push(Event::Purged { trader: account.trader.clone() });
        }
    }

    fn subject<'a>(&'a self, at: UtcMs, account: &'a Account) -> (&'a TraderId, Subject<'a>) {
        let record = account.elimination.as_ref();
        let is_lost = account.book.pairs().iter().any(|book| book.totals.value == 0.0);
        let subject = Subject {
            rules: &self.rulebook_of(account).rules,
            has_account: true,
            record: record
                .map(|record| Recorded { at: record.stamp.at, is_purged: record.purged.is_some() }),
            has_open_position: account.book.open_positions().next().is_some(),
            // A loss ends the account when it is sampled; what a refused sample missed is found here.
            liquidated_at: is_lost.then_some(at),
            worst_ratio: account.ledgers.as_ref().and_then(|l| l.portfolio().worst_drawdown()),
            in_main_competition: account
                .standing
                .is_some_and(|standing| standing.stage == Stage::Funded),
            drawdown_reason: breach(account),
            absent_rosters: self.state.roster.absent_rosters(&account.trader),
        };
        (&account.trader, subject)
    }

    fn places(&self, traders: &[TraderId]) -> Vec<usize> {
        traders.iter().filter_map(|trader| self.account_place(trader).ok()).collect()
    }

    fn end_by_rule(&mut self, step: &mut Step, ending: Ending) {
        let Ok(place) = self.account_place(&ending.trader) else { return };
        let account = &self.state.accounts[place];
        let adopted = Arc::clone(self.rulebook_of(account));
        let record = self.verdict_on(step.stamp, place, ending.reason, ending.drawdown);
        self.eliminate(step, &adopted.rules, place, record);
    }

    fn report(&mut self, step: &mut Step, alerts: Vec<Alert>) {
        let mut held = (0, 0);
        for alert in alerts {
            match alert {
                Alert::ReasonDropped { trader, reason } => {
                    step.events.push(Event::ReasonDropped { trader, reason });
                }
                Alert::ZombiesHeld { missing, known } => held = (missing, known),
            }
        }
        if self.state.zombies_held != held {
            self.state.zombies_held = held;
            let (missing, known) = held;
            step.events.push(Event::ZombiesHeld { missing, known });
        }
    }
}

/// Returns every record of `account`, the present one first.
fn records(account: &Account) -> impl Iterator<Item = &Elimination> {
    account.elimination.iter().chain(account.past.iter().map(|lifted| &lifted.record))
}

/// Returns the rows by trader; of several for one trader the last one counts (E-6, E-70).
fn by_trader(rows: &[EliminationRow]) -> BTreeMap<&TraderId, &EliminationRow> {
    rows.iter().map(|row| (&row.trader, row)).collect()
}

/// Tests that `row` was decided when it could have been, at or before `latest`.
fn check_date(row: &EliminationRow, latest: UtcMs) -> Result<(), Rejection> {
    if row.decided_at.is_in_range() && row.decided_at <= latest {
        Ok(())
    } else {
        Err(Rejection::EliminationDate(row.trader.clone()))
    }
}

/// Tests that `number` things are not more than there may be.
fn room(what: &'static str, number: usize, max: u32) -> Result<(), Rejection> {
    if u32::try_from(number).is_ok_and(|number| number <= max) {
        Ok(())
    } else {
        Err(Rejection::NoRoom { what, max })
    }
}
