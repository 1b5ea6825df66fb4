//! `Report`: what differs between a recorded history and an altered one.
//!
//! As JSON its fields are stable (`schema` says which version). Ratios are multiples of the account at
//! its start, `_percent` fields are per cent, times are `{"ms", "text"}`.

use std::collections::BTreeMap;

use proctor_engine::account::Account;
use proctor_engine::{Event, Outcome, View};
use proctor_types::{Stamp, TraderId};
use serde::Serialize;

use super::difference::{self, Pair};
use super::words::words;
use crate::explain::{self, Place};
use crate::report::Summary;
use crate::report::summary::{AccountLine, EliminationLine};
use crate::tally::Tally;

/// What differs between a recorded history and an altered one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Names the layout of this document; changes when a field's meaning does.
    pub schema: &'static str,
    /// The answer in one sentence.
    pub summary: String,
    /// What was altered.
    pub changes: Vec<Change>,
    /// Up to where the log was read.
    pub as_of: Place,
    /// State digests at the end, recorded and altered.
    pub digests: [String; 2],
    /// Commits whose events differ.
    pub commits_differing: u64,
    /// The first event that differs.
    pub first: Option<Difference>,
    /// How many events differ, by name of the event.
    pub events: Vec<KindCount>,
    /// Orders that are judged differently.
    pub orders: OrderCounts,
    /// Accounts that have ended at the end, recorded and altered.
    pub eliminated: [usize; 2],
    /// Verdicts that differ, by commit of the earlier one.
    pub eliminations: Vec<EliminationChange>,
    /// How many accounts there are.
    pub accounts: usize,
    /// Accounts that end up different: those with another verdict first, then by how far the final
    /// returns are apart.
    pub traders: Vec<TraderChange>,
    /// The differences of the trader that was asked for.
    pub detail: Option<Detail>,
}

/// One alteration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Where in the log it applies.
    pub place: Place,
    /// What is altered.
    pub what: String,
    /// Whose order is altered, if it is one.
    pub trader: Option<TraderId>,
    /// What the log has.
    pub recorded: String,
    /// What stands in its place.
    pub altered: String,
}

/// An event that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The commit.
    #[serde(flatten)]
    pub place: Place,
    /// Name of the event.
    pub kind: String,
    /// Whom it is about.
    pub trader: Option<String>,
    /// What was recorded; absent when it was not.
    pub recorded: Option<String>,
    /// What happens in the altered history; absent when it does not.
    pub altered: Option<String>,
}

/// How many events of a kind differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KindCount {
    /// Name of the event.
    pub kind: String,
    /// Only in the recorded history.
    pub recorded_only: u64,
    /// Only in the altered one.
    pub altered_only: u64,
    /// In both, with different content or outcome.
    pub changed: u64,
}

/// Orders that are judged differently, by the code of the refusal.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OrderCounts {
    /// Accepted in the recorded history, refused in the altered one.
    pub now_refused: BTreeMap<String, u64>,
    /// Refused in the recorded history, accepted in the altered one.
    pub now_accepted: BTreeMap<String, u64>,
    /// Refused in both for different reasons, by the code in the altered one.
    pub refused_otherwise: BTreeMap<String, u64>,
}

/// A verdict that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EliminationChange {
    /// Whose account.
    pub trader: TraderId,
    /// `gone`, `new` or `moved` (in another commit, or for another reason).
    pub change: &'static str,
    /// As recorded.
    pub recorded: Option<EliminationLine>,
    /// As altered.
    pub altered: Option<EliminationLine>,
}

/// What an account comes to in one history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// `active`, `eliminated` or `departed`.
    pub status: &'static str,
    /// The verdict, if there is one.
    pub elimination: Option<EliminationLine>,
    /// Value of the portfolio; 1 is what it began with.
    pub value: f64,
    /// What was gained or lost of the start.
    pub return_percent: f64,
    /// The worst fall from a peak in the ledger's window; of an ended account, the fall it ended by.
    pub drawdown_percent: f64,
    /// What the account may still lose of its present value; absent once it has ended, and before
    /// its first order.
    pub distance_percent: Option<f64>,
    /// Realised profit and loss, USD.
    pub realized_pnl_usd: f64,
    /// Orders accepted.
    pub accepted: u64,
    /// Orders refused.
    pub refused: u64,
    /// Positions open at the end.
    pub open: usize,
}

/// An account that ends up different.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraderChange {
    /// Whose.
    pub trader: TraderId,
    /// As recorded; absent when the account exists only in the altered history.
    pub recorded: Option<Side>,
    /// As altered; absent when the account exists only in the recorded history.
    pub altered: Option<Side>,
    /// The first event of the account that differs.
    pub first: Option<Difference>,
}

/// The differences of one trader.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detail {
    /// Both sides of the account, equal or not.
    #[serde(flatten)]
    pub account: TraderChange,
    /// How many events of the account differ.
    pub differences: u64,
    /// The first of them.
    pub shown: Vec<Difference>,
}

/// Watches two folds and keeps what differs.
pub(super) struct Collector {
    tallies: [Tally; 2],
    commits_differing: u64,
    first: Option<Difference>,
    first_of: BTreeMap<TraderId, Difference>,
    kinds: BTreeMap<String, KindCount>,
    orders: OrderCounts,
    trader: Option<TraderId>,
    details_max: usize,
    differences: u64,
    shown: Vec<Difference>,
}

impl Collector {
    pub(super) fn new(trader: Option<TraderId>, details_max: usize) -> Self {
        Self {
            tallies: Default::default(),
            commits_differing: 0,
            first: None,
            first_of: BTreeMap::new(),
            kinds: BTreeMap::new(),
            orders: OrderCounts::default(),
            trader,
            details_max,
            differences: 0,
            shown: Vec::new(),
        }
    }

    /// Takes in what one commit did, as recorded and as altered.
    pub(super) fn observe(&mut self, recorded: &Outcome, altered: &Outcome) {
        let stamp = recorded.stamp;
        self.tallies[0].observe(stamp, &recorded.events);
        self.tallies[1].observe(stamp, &altered.events);
        let mut pairs = difference::differences(&recorded.events, &altered.events);
        // The verdict of a commit is told before the orders that carry it out.
        pairs.sort_by_key(|pair| !pair.is_verdict());
        self.commits_differing += u64::from(!pairs.is_empty());
        for pair in pairs {
            self.take(stamp, &pair);
        }
    }

    fn take(&mut self, stamp: Stamp, pair: &Pair<'_>) {
        let Some(event) = pair.event() else { return };
        let kind = difference::kind(event);
        let count = self
            .kinds
            .entry(kind.clone())
            .or_insert_with(|| KindCount { kind, ..KindCount::default() });
        match (pair.recorded, pair.altered) {
            (Some(_), None) => count.recorded_only += 1,
            (None, Some(_)) => count.altered_only += 1,
            (Some(_), Some(_)) | (None, None) => count.changed += 1,
        }
        self.count_order(pair);
        if self.first.is_none() {
            self.first = Some(told(stamp, pair, event));
        }
        let Some(trader) = event.trader() else { return };
        if !self.first_of.contains_key(trader) {
            self.first_of.insert(trader.clone(), told(stamp, pair, event));
        }
        if self.trader.as_ref() == Some(trader) {
            self.differences += 1;
            if self.shown.len() < self.details_max {
                self.shown.push(told(stamp, pair, event));
            }
        }
    }

    fn count_order(&mut self, pair: &Pair<'_>) {
        let (Some(recorded), Some(altered)) = (pair.recorded, pair.altered) else { return };
        if difference::order(recorded).is_none() {
            return;
        }
        let counted = match (refusal(recorded), refusal(altered)) {
            (None, Some(code)) => (&mut self.orders.now_refused, code),
            (Some(code), None) => (&mut self.orders.now_accepted, code),
            (Some(_), Some(code)) => (&mut self.orders.refused_otherwise, code),
            (None, None) => return,
        };
        *counted.0.entry(counted.1.to_owned()).or_default() += 1;
    }

    /// Returns the report; the views are those of the end.
    pub(super) fn finish(
        mut self,
        changes: Vec<Change>,
        recorded: &View,
        altered: &View,
    ) -> Report {
        let sides = [(recorded, &self.tallies[0]), (altered, &self.tallies[1])]
            .map(|(view, tally)| sides(view, tally));
        let [mut before, mut after] = sides;
        let names: std::collections::BTreeSet<TraderId> =
            before.keys().chain(after.keys()).cloned().collect();
        let mut report = Report {
            schema: "proctor-whatif-1",
            summary: String::new(),
            changes,
            as_of: recorded.stamp.into(),
            digests: [recorded, altered].map(|view| view.digest.to_string()),
            commits_differing: self.commits_differing,
            first: self.first.take(),
            events: self.kinds.into_values().collect(),
            orders: self.orders,
            eliminated: [&before, &after]
                .map(|sides| sides.values().filter(|side| side.elimination.is_some()).count()),
            eliminations: Vec::new(),
            accounts: names.len(),
            traders: Vec::new(),
            detail: None,
        };
        for trader in names {
            let account = TraderChange {
                recorded: before.remove(&trader),
                altered: after.remove(&trader),
                first: self.first_of.remove(&trader),
                trader,
            };
            if self.trader.as_ref() == Some(&account.trader) {
                report.detail = Some(Detail {
                    account: account.clone(),
                    differences: self.differences,
                    shown: std::mem::take(&mut self.shown),
                });
            }
            report.eliminations.extend(account.verdict_change());
            if account.recorded != account.altered {
                report.traders.push(account);
            }
        }
        report.eliminations.sort_by_key(|change| (change.commit(), change.trader.clone()));
        report.traders.sort_by(|a, b| {
            let moved = |account: &TraderChange| account.return_difference();
            let without = |account: &TraderChange| account.verdict_change().is_none();
            without(a).cmp(&without(b)).then_with(|| moved(b).total_cmp(&moved(a)))
        });
        report.summary = report.sentence();
        report
    }
}

impl Report {
    /// Returns true when the altered history is the recorded one.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.first.is_none() && self.traders.is_empty()
    }

    fn sentence(&self) -> String {
        if self.is_same() {
            return "no difference: the same verdicts, the same events, the same final values"
                .into();
        }
        let of = |change: &str| self.eliminations.iter().filter(|e| e.change == change).count();
        let recorded = self.eliminated[0];
        let mut parts = Vec::new();
        match (of("gone"), recorded) {
            (0, _) => {}
            (gone, 1) => parts.push(format!("{gone} of 1 elimination would not have happened")),
            (gone, all) => {
                parts.push(format!("{gone} of {all} eliminations would not have happened"));
            }
        }
        match of("new") {
            0 => {}
            1 => parts.push("1 more account would have ended".into()),
            more => parts.push(format!("{more} more accounts would have ended")),
        }
        match of("moved") {
            0 => {}
            moved => parts.push(format!(
                "{moved} of {recorded} would have come at another commit or for another reason"
            )),
        }
        match (parts.is_empty(), recorded) {
            (false, _) => {}
            (true, 0) => parts.push("no account ends, as recorded".into()),
            (true, 1) => parts.push("the 1 elimination stands".into()),
            (true, all) => parts.push(format!("all {all} eliminations stand")),
        }
        parts.push(match &self.first {
            Some(first) => {
                format!(
                    "the first difference is commit {} ({})",
                    first.place.commit, first.place.at.text
                )
            }
            None => format!("no event differs, but {} final values do", self.traders.len()),
        });
        parts.join("; ")
    }
}

impl TraderChange {
    /// Returns what became of the verdict, or `None` when it is the same.
    fn verdict_change(&self) -> Option<EliminationChange> {
        let of = |side: &Option<Side>| side.as_ref().and_then(|side| side.elimination.clone());
        let (recorded, altered) = (of(&self.recorded), of(&self.altered));
        let change = match (&recorded, &altered) {
            (None, None) => return None,
            (Some(_), None) => "gone",
            (None, Some(_)) => "new",
            (Some(a), Some(b)) if (a.commit, a.reason) == (b.commit, b.reason) => return None,
            (Some(_), Some(_)) => "moved",
        };
        Some(EliminationChange { trader: self.trader.clone(), change, recorded, altered })
    }
}

impl TraderChange {
    /// Returns how far the final returns are apart, in per cent of the start.
    fn return_difference(&self) -> f64 {
        let of = |side: &Option<Side>| side.as_ref().map_or(0.0, |side| side.return_percent);
        (of(&self.recorded) - of(&self.altered)).abs()
    }
}

impl EliminationChange {
    /// Returns the commit of the earlier verdict.
    fn commit(&self) -> u64 {
        let sides = [&self.recorded, &self.altered].into_iter().flatten();
        sides.map(|line| line.commit).min().unwrap_or_default()
    }
}

fn told(stamp: Stamp, pair: &Pair<'_>, event: &Event) -> Difference {
    Difference {
        place: stamp.into(),
        kind: difference::kind(event),
        trader: event.trader().map(TraderId::to_string),
        recorded: pair.recorded.map(words),
        altered: pair.altered.map(words),
    }
}

/// Returns the code when `event` is a refusal.
fn refusal(event: &Event) -> Option<&'static str> {
    if let Event::Rejected { rejection, .. } = event { Some(rejection.code()) } else { None }
}

/// Returns what every account comes to.
fn sides(view: &View, tally: &Tally) -> BTreeMap<TraderId, Side> {
    let accounts: BTreeMap<&TraderId, &Account> =
        view.accounts.iter().map(|account| (&account.trader, account.as_ref())).collect();
    let lines = Summary::of(tally, view).accounts.into_iter();
    lines
        .map(|line| {
            let account = accounts.get(&line.trader).copied();
            (line.trader.clone(), side(view, account, line))
        })
        .collect()
}

fn side(view: &View, account: Option<&Account>, line: AccountLine) -> Side {
    let rules = account.and_then(|account| view.rulebook_of(account));
    let standing = match (&line.elimination, account, rules) {
        (None, Some(account), Some(adopted)) => explain::standing(&adopted.rules, account, view),
        _ => None,
    };
    let status = match &line.elimination {
        Some(_) => "eliminated",
        None if view.roster.departed_at(&line.trader).is_some() => "departed",
        None => "active",
    };
    Side {
        status,
        value: line.value,
        return_percent: (line.value - 1.0) * 100.0,
        drawdown_percent: line.drawdown.map_or(0.0, |fall| (1.0 - fall.ratio) * 100.0),
        distance_percent: standing.map(|standing| standing.distance_percent),
        elimination: line.elimination,
        realized_pnl_usd: line.realized_pnl_usd,
        accepted: line.accepted,
        refused: line.refused,
        open: line.open,
    }
}
