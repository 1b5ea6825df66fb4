//! The pass over all accounts as a pure function: who ends, who is flattened, what is purged.
//!
//! Nearly every verdict is taken the moment it is true, when prices and orders come; the pass finds
//! what only shows over time (zombies, expired records), takes the reasons that the challenge has
//! decided on, and repairs whatever was left undone. Source: services 1.4 to 1.11.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::{TraderId, UtcMs};
use serde::Deserialize;

use super::{DrawdownNote, Reason};
use crate::ledgers::drawdown;
use crate::roster;
use crate::rulebook::Rulebook;

/// See [`crate::rulebook::Switches::drawdown_stages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrawdownStages {
    /// Traders in every stage, those under review for plagiarism among them.
    Every,
    /// Only those in the main competition; the challenge looks after its own.
    MainCompetition,
}

/// See [`crate::rulebook::Switches::zombie_guard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZombieGuard {
    /// A zombie was absent from several rosters, and many at once are held and reported.
    Guarded,
    /// Whoever is not on the roster is one at once.
    None,
}

/// See [`crate::rulebook::Switches::reconcile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconcile {
    /// Every pass closes what an ended account still holds.
    EveryPass,
    /// Only the first pass of a process does.
    FirstPass,
}

/// Everything that a pass decides on, as of one moment.
#[derive(Clone, Debug)]
pub struct PassInput<'a> {
    /// Now.
    pub at: UtcMs,
    /// Who is registered; absent while that is not known.
    pub registered: Option<&'a BTreeSet<TraderId>>,
    /// Whether no pass was made before this one.
    pub is_first: bool,
    /// Everybody who has an account or a record.
    pub traders: BTreeMap<&'a TraderId, Subject<'a>>,
    /// Decisions of the challenge that are to be carried out.
    pub reasons: &'a BTreeMap<TraderId, (Reason, DrawdownNote)>,
}

/// One trader, as a pass sees him.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The rules of the account.
    pub rules: &'a Rulebook,
    /// Whether there is an account that could be a zombie's.
    pub has_account: bool,
    /// The record of its end.
    pub record: Option<Recorded>,
    /// Whether a position is open.
    pub has_open_position: bool,
    /// When the account was found to be worth nothing, if it was.
    pub liquidated_at: Option<UtcMs>,
    /// The least value / peak of the portfolio's ledger; absent when it has no cells.
    pub worst_ratio: Option<f64>,
    /// Whether the trader is in the main competition.
    pub in_main_competition: bool,
    /// What a fall that is too deep is called in the trader's stage.
    pub drawdown_reason: Reason,
    /// How many believed rosters in a row lacked the trader; zero when he is registered.
    pub absent_rosters: u64,
}

/// What a pass needs to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When the decision was recorded.
    pub at: UtcMs,
    /// Whether its details were dropped already.
    pub is_purged: bool,
}

/// What a pass does, in the order in which it is done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassPlan {
    /// Ended accounts whose open positions are closed (E-30, E-59).
    pub flatten: Vec<TraderId>,
    /// Accounts that end.
    pub eliminate: Vec<Ending>,
    /// Ended accounts whose details are dropped (E-56).
    pub purge: Vec<TraderId>,
    /// What whoever runs the node should know.
    pub alerts: Vec<Alert>,
}

/// An account that ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Whose.
    pub trader: TraderId,
    /// Why.
    pub reason: Reason,
    /// The drawdown.
    pub drawdown: DrawdownNote,
    /// When that was found: now, but for an account that had lost everything before (E-42, E-47).
    pub decided_at: UtcMs,
}

/// Something out of the ordinary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A reason came too late: the account had ended already (E-47).
    ReasonDropped {
        /// Whose.
        trader: TraderId,
        /// Which.
        reason: Reason,
    },
    /// So many accounts lack their trader that it is more likely an outage: none of them ends.
    ZombiesHeld {
        /// How many lack him.
        missing: u32,
        /// Of how many.
        known: u32,
    },
}

/// Plans a pass by `rules`, those in force (E-12, steps 3 to 8).
///
/// The order of the steps decides which reason wins: lost accounts, reasons of the challenge,
/// drawdowns, zombies. Departures are step 2 and are decided when the roster comes.
#[must_use]
pub fn plan(rules: &Rulebook, input: &PassInput<'_>) -> PassPlan {
    let mut pass = Pass { input, plan: PassPlan::default(), ended: BTreeMap::new() };
    pass.reconcile(rules);
    pass.lost_accounts();
    pass.reasons();
    pass.drawdowns(rules);
    pass.zombies(rules);
    pass.purge();
    pass.plan
}

struct Pass<'a> {
    input: &'a PassInput<'a>,
    plan: PassPlan,
    /// Accounts that this pass ends, with the times of their records.
    ended: BTreeMap<&'a TraderId, UtcMs>,
}

impl<'a> Pass<'a> {
    /// Closes what ended accounts still hold: every effect is a level, not an edge (E-30, E-59).
    fn reconcile(&mut self, rules: &Rulebook) {
        if rules.switches.reconcile == Reconcile::FirstPass && !self.input.is_first {
            return;
        }
        for (trader, subject) in &self.input.traders {
            if subject.record.is_some() && subject.has_open_position {
                self.plan.flatten.push((*trader).clone());
            }
        }
    }

    /// Ends accounts that are worth nothing and have no record yet (E-40 to E-42).
    fn lost_accounts(&mut self) {
        for (trader, subject) in &self.input.traders {
            if let Some(at) = subject.liquidated_at.filter(|_| self.lives(trader)) {
                self.end(trader, Reason::Liquidated, DrawdownNote::TotalLoss, at);
            }
        }
    }

    /// Carries out what the challenge has decided (E-46, E-47).
    fn reasons(&mut self) {
        for (trader, (reason, drawdown)) in self.input.reasons {
            if self.lives(trader) {
                self.end(trader, *reason, *drawdown, self.input.at);
            } else {
                let alert = Alert::ReasonDropped { trader: trader.clone(), reason: *reason };
                self.plan.alerts.push(alert);
            }
        }
    }

    /// Ends accounts that fell too far (E-50).
    fn drawdowns(&mut self, rules: &Rulebook) {
        let every = rules.switches.drawdown_stages == DrawdownStages::Every;
        for (trader, subject) in &self.input.traders {
            let Some(worst) = subject.worst_ratio else { continue };
            let (mode, limit) = (
                subject.rules.switches.drawdown_limit,
                subject.rules.elimination.drawdown_max.value,
            );
            let looked_at = every || subject.in_main_competition;
            let breached = drawdown::test(mode, limit, Some(worst)).breached;
            if looked_at && breached && self.lives(trader) {
                let lost = DrawdownNote::percent(drawdown::percent_reported(worst));
                self.end(trader, subject.drawdown_reason, lost, self.input.at);
            }
        }
    }

    /// Ends accounts whose trader is gone (E-53), but not many at once (E-54).
    fn zombies(&mut self, rules: &Rulebook) {
        let Some(registered) = self.input.registered else { return };
        let living: Vec<(&'a TraderId, &Subject<'a>)> = self
            .input
            .traders
            .iter()
            .filter(|(trader, subject)| subject.has_account && self.lives(trader))
            .map(|(trader, subject)| (*trader, subject))
            .collect();
        let missing: Vec<_> =
            living.iter().filter(|(trader, _)| !registered.contains(*trader)).copied().collect();
        let guarded = rules.switches.zombie_guard == ZombieGuard::Guarded;
        if guarded && roster::is_anomalous(&rules.roster, missing.len(), living.len()) {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (missing, known) = (count(missing.len()), count(living.len()));
            self.plan.alerts.push(Alert::ZombiesHeld { missing, known });
            return;
        }
        let needed = u64::from(rules.elimination.zombie_absent_rosters.value);
        for (trader, subject) in missing {
            if !guarded || subject.absent_rosters >= needed {
                self.end(trader, Reason::Zombie, DrawdownNote::NotApplicable, self.input.at);
            }
        }
    }

    /// Drops the details of old records whose trader is not registered (E-56).
    fn purge(&mut self) {
        let Some(registered) = self.input.registered else { return };
        for (trader, subject) in &self.input.traders {
            let fresh = self.ended.get(trader).copied();
            let kept = subject.record.filter(|record| !record.is_purged).map(|record| record.at);
            let Some(recorded_at) = kept.or(fresh) else { continue };
            let age = self.input.at.since(recorded_at);
            let expired = age >= subject.rules.elimination.purge_after.value;
            if expired && !registered.contains(*trader) {
                self.plan.purge.push((*trader).clone());
            }
        }
    }

    fn lives(&self, trader: &TraderId) -> bool {
        let recorded = self.input.traders.get(trader).is_some_and(|s| s.record.is_some());
        !recorded && !self.ended.contains_key(trader)
    }

    fn end(&mut self, of: &'a TraderId, reason: Reason, drawdown: DrawdownNote, at: UtcMs) {
        self.ended.insert(of, at);
        let trader = of.clone();
        self.plan.eliminate.push(Ending { trader, reason, drawdown, decided_at: at });
    }
}

#[cfg(test)]
mod tests;
