//! Pure: what a view says of records and departures, and what commits change of it.

use std::collections::BTreeMap;

use proctor_engine::eliminations::{
    DrawdownNote, Elimination, EliminationRow, Origin, PriceEvidence, Slash, SlashState,
};
use proctor_engine::{Event, View};
use proctor_rpc::Problem;
use proctor_rpc::v1::{self, AsOf, Gap};
use proctor_sequencer::Applied;
use proctor_types::{Stamp, TraderId, UtcMs};

use crate::parse;
use crate::watch::Changes;

/// Returns the record that bars `trader`, with an account or without one.
#[must_use]
pub fn record_of<'a>(view: &'a View, trader: &TraderId) -> Option<&'a Elimination> {
    match view.account(trader) {
        Some(account) => account.elimination.as_ref(),
        None => view.barred.get(trader)?.record.as_ref(),
    }
}

/// Tells whether the account of `trader` has ended, or is barred before it began.
#[must_use]
pub fn is_eliminated(view: &View, trader: &TraderId) -> bool {
    record_of(view, trader).is_some()
}

/// Returns every record by trader, of accounts and of traders without one.
#[must_use]
pub fn records(view: &View) -> BTreeMap<&TraderId, &Elimination> {
    let of_accounts = view
        .accounts
        .iter()
        .filter_map(|account| Some((&account.trader, account.elimination.as_ref()?)));
    let of_names = view.barred.iter().filter_map(|(name, bar)| Some((name, bar.record.as_ref()?)));
    of_accounts.chain(of_names).collect()
}

/// Returns those of `traders` who are eliminated, ascending and without repeats.
#[must_use]
pub fn eliminated_of(view: &View, mut traders: Vec<TraderId>) -> Vec<String> {
    traders.sort_unstable();
    traders.dedup();
    traders.retain(|trader| is_eliminated(view, trader));
    traders.iter().map(ToString::to_string).collect()
}

/// Tells whether `trader` has left the roster and stands on it again (E-27): his orders are refused
/// for good.
#[must_use]
pub fn is_re_registered(view: &View, trader: &TraderId) -> bool {
    view.roster.departed_at(trader).is_some() && view.roster.admit(trader).is_ok()
}

/// Tells whether there is an account whose trader is not registered (E-53). While no roster is
/// known that is said of nobody: unknown is not empty.
#[must_use]
pub fn is_zombie(view: &View, trader: &TraderId) -> bool {
    let missing = view.roster.traders().is_some_and(|registered| !registered.contains(trader));
    missing && view.account(trader).is_some()
}

/// Returns when `trader` was found to have left the roster for the first time.
#[must_use]
pub fn departure_of(view: &View, trader: &TraderId) -> Option<v1::DepartedHotkey> {
    view.roster.departed_at(trader).map(|at| departure(trader, at))
}

/// Returns every departure by trader, ascending.
#[must_use]
pub fn departures(view: &View) -> Vec<v1::DepartedHotkey> {
    view.roster.departed().iter().map(|(trader, at)| departure(trader, *at)).collect()
}

fn departure(trader: &TraderId, at: UtcMs) -> v1::DepartedHotkey {
    v1::DepartedHotkey { trader: trader.to_string(), detected_ms: at.0 }
}

/// Returns every record for an answer, by trader, ascending.
#[must_use]
pub fn messages(view: &View) -> Vec<v1::Elimination> {
    records(view).into_iter().map(|(trader, record)| message(trader, record)).collect()
}

/// Returns `record` for an answer.
#[must_use]
pub fn message(trader: &TraderId, record: &Elimination) -> v1::Elimination {
    let (origin, decided_by, why) = match &record.origin {
        Origin::Rule => ("rule", None, None),
        Origin::Published => ("published", None, None),
        Origin::Operator { by, why, .. } => {
            ("operator", Some(by.to_string()), Some(why.to_string()))
        }
        Origin::Synced { source, .. } => ("synced", Some(source.to_string()), None),
    };
    v1::Elimination {
        trader: trader.to_string(),
        reason: record.reason.code().into(),
        dd: record.drawdown.legacy(record.reason),
        dd_kind: dd_kind(record.drawdown).into(),
        decided: Some(parse::stamp_message(record.stamp)),
        elimination_initiated_time_ms: record.decided_at().0,
        rule: record.reason.rule().into(),
        origin: origin.into(),
        decided_by,
        why,
        prices: record.prices.iter().map(price).collect(),
        flat_orders: record.flat_orders.iter().map(ToString::to_string).collect(),
        bucket: record.standing.map(|standing| standing.stage.label().into()),
        slash: record.slash.map(slash),
        purged: record.purged.map(parse::stamp_message),
    }
}

/// Returns what kind of number the `dd` of an answer is: a loss in per cent, the rest of the
/// account as a ratio, or none that means anything (E-3).
fn dd_kind(note: DrawdownNote) -> &'static str {
    match note {
        DrawdownNote::Percent(_) => "percent",
        DrawdownNote::TotalLoss => "ratio",
        DrawdownNote::NotApplicable | DrawdownNote::AsStated(_) => "absent",
    }
}

fn price(evidence: &PriceEvidence) -> v1::PriceEvidence {
    v1::PriceEvidence {
        pair: evidence.pair.id().into(),
        price: evidence.price.get(),
        bid: evidence.bid.map(|bid| bid.get()),
        ask: evidence.ask.map(|ask| ask.get()),
        source: evidence.source.as_ref().map(ToString::to_string),
        at_ms: evidence.at.0,
        lag_ms: evidence.lag.0,
        sources: evidence.sources,
        agreeing: evidence.agreeing,
        spread_bps: evidence.spread_bps,
    }
}

fn slash(slash: Slash) -> v1::Slash {
    let settled = match slash.state {
        SlashState::Settled(_) => true,
        SlashState::Intended | SlashState::Withdrawn(_) => false,
    };
    v1::Slash { proportion: slash.proportion, settled }
}

/// Returns the record in `field` of a request.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] with the part that cannot be.
pub fn row(field: &str, row: &v1::EliminationRow) -> Result<EliminationRow, Problem> {
    let part = |name: &str| format!("{field}.{name}");
    let trader = parse::trader(&part("trader"), &row.trader)?;
    let reason = parse::end_reason(&part("reason"), &row.reason)?;
    let drawdown = parse::drawdown(&part("dd"), reason, row.dd)?;
    let decided_at =
        parse::moment(&part("elimination_initiated_time_ms"), row.elimination_initiated_time_ms)?;
    Ok(EliminationRow { trader, reason, drawdown, decided_at })
}

/// Returns the records in `field` of a request.
///
/// # Errors
/// As [`row`], with the place; also for too many.
pub fn rows(field: &str, rows: &[v1::EliminationRow]) -> Result<Vec<EliminationRow>, Problem> {
    parse::bounded(field, rows.len())?;
    let each = |(place, message)| row(&format!("{field}[{place}]"), message);
    rows.iter().enumerate().map(each).collect()
}

/// What a watcher of records and departures is told.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Number of this start of the process.
    pub generation: u64,
}

/// What a commit did to a trader's record.
enum Change {
    /// This one stands now.
    Made(Box<Elimination>),
    /// None stands any more.
    Lifted,
    /// The one that stands was changed in its details.
    Touched,
}

impl Watched {
    fn at(&self, stamp: Stamp) -> AsOf {
        AsOf { commit: stamp.commit, as_of_ms: stamp.at.0, generation: self.generation }
    }
}

impl Changes for Watched {
    type Message = v1::WatchEliminationsResponse;

    fn reset(&mut self, view: &View, gap: Option<Gap>) -> Self::Message {
        v1::WatchEliminationsResponse {
            as_of: Some(self.at(view.stamp)),
            reset: true,
            gap,
            added: messages(view),
            removed: Vec::new(),
            departed: departures(view),
        }
    }

    fn change(&mut self, applied: &Applied, view: &View) -> Option<Self::Message> {
        let mut told = Self::Message { as_of: Some(self.at(applied.stamp)), ..Default::default() };
        for event in &*applied.events {
            if let Event::TraderDeparted { trader } = event {
                // A departure is never taken back and keeps its first time, so that a later view
                // says the same of it.
                told.departed.extend(departure_of(view, trader));
            }
        }
        for (trader, change) in changes(&applied.events, applied.stamp) {
            match change {
                Change::Made(record) => told.added.push(message(trader, &record)),
                Change::Lifted => told.removed.push(trader.to_string()),
                Change::Touched => {
                    told.added.extend(details(view, trader, applied.stamp));
                }
            }
        }
        let changed =
            !(told.added.is_empty() && told.removed.is_empty() && told.departed.is_empty());
        changed.then_some(told)
    }

    fn heartbeat(&mut self, stamp: Stamp) -> Self::Message {
        Self::Message { as_of: Some(self.at(stamp)), ..Default::default() }
    }

    fn bytes(message: &Self::Message) -> usize {
        proctor_rpc::encoded_len(message)
    }
}

/// Returns what `events`, those of the commit at `stamp`, did to records, by trader. Each trader
/// has one outcome: the last word of the commit.
fn changes(events: &[Event], stamp: Stamp) -> BTreeMap<&TraderId, Change> {
    let mut changes = BTreeMap::new();
    for event in events {
        if let Event::Eliminated { trader, record } = event {
            changes.insert(trader, Change::Made(Box::new(record.clone())));
        } else if let Event::Reinstated { trader, .. } = event {
            changes.insert(trader, Change::Lifted);
        } else if let Event::SlashSettled { trader, decided } = event {
            match changes.entry(trader).or_insert(Change::Touched) {
                Change::Made(record) if record.stamp == *decided => {
                    if let Some(slash) = &mut record.slash {
                        slash.state = SlashState::Settled(stamp);
                    }
                }
                // What was settled is not the record that stands, or its details are looked up.
                Change::Made(_) | Change::Lifted | Change::Touched => {}
            }
        } else if let Event::Purged { trader } = event {
            match changes.entry(trader).or_insert(Change::Touched) {
                Change::Made(record) => {
                    record.prices.clear();
                    record.flat_orders.clear();
                    record.purged = Some(stamp);
                }
                Change::Lifted | Change::Touched => {}
            }
        }
    }
    changes
}

/// Returns the record of `trader` after a change of its details in the commit at `stamp`.
///
/// `view` may be of a later commit. Where the record has changed again since, its own stamps tell
/// how it was, but for the prices that a purge has dropped; where it was lifted since, the message of
/// that commit is on its way, and nothing is said of it here.
fn details(view: &View, trader: &TraderId, stamp: Stamp) -> Option<v1::Elimination> {
    let record = record_of(view, trader)?;
    if record.stamp.commit > stamp.commit {
        return None;
    }
    let mut told = message(trader, record);
    let later = |at: Stamp| at.commit > stamp.commit;
    if let (Some(slash), Some(told)) = (&record.slash, &mut told.slash)
        && let SlashState::Settled(at) = slash.state
    {
        told.settled = !later(at);
    }
    if record.purged.is_some_and(later) {
        told.purged = None;
    }
    Some(told)
}
