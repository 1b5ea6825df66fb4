//! `explain`: everything the log can tell about one account, so that a verdict can be defended.
//!
//! The log is folded again, read-only; what is told is computed, not remembered. A [`Story`] is one
//! document for people and programs; as JSON its fields are stable (`schema` says which version):
//!
//! * `schema`, `trader`, `status` (`active`, `eliminated`, `departed`);
//! * `as_of`: last commit, its time, state digest and the log's head hash;
//! * `account`: `enrolled`, `rulebook` (name, version, hash, adopted), `asset_class`, `sizes`;
//! * `orders`: every order in the order of the log, each with `result` `filled`, `refused` or
//!   `nothing_to_close`; those with `origin` `node` were made by the rules, not by the trader;
//! * `counts`: orders by result and refusals by code;
//! * `positions`: every position ever opened, with its end when it has one;
//! * `ledger`: peak, new lows since that peak, last samples, worst drawdown, half-day cells;
//! * `verdict`: rule, who decided, limit, numbers, prices, the valuation step by step, flat orders,
//!   the bar, the slash; what rests on a fall is absent of a verdict that does not;
//! * `undone`: verdicts that were taken back, each with the ledger of the epoch it ended;
//! * `standing`: of a living account, how far the next breach is, and how good the prices are;
//! * `stage`: the stage the trader is in, its time limit and what a promotion asks for;
//! * `stages`: every move from one stage to another;
//! * `scoring`: complete days, metrics, penalties, rank in each asset class;
//! * `notes`: anything else the log says about the account.
//!
//! A moment is `{"ms", "text"}`, a place in the log adds `"commit"`. Ratios are multiples of the
//! account at its start, amounts are USD where the name says so, prices are quote per base.

mod arithmetic;
mod observer;
mod samples;
mod scoring;
pub(crate) mod stages;
mod standing;
mod story;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;
mod words;

use std::path::Path;

use proctor_engine::View;
use proctor_sequencer::{Replay, ReplayError, replay};
use proctor_types::{Stamp, TraderId};

use crate::data_dir::{self, DataDirError};
pub(crate) use observer::Observer;
pub(crate) use standing::standing;

pub use scoring::{ClassStory, PenaltyStory, PlaceStory, Scoring};
pub use stages::{StageMove, StageNow};
pub use story::{
    AccountStory, After, AsOf, Asked, BreachPrice, Cell, ClosedValue, Counts, DecidedBy, FallStory,
    Fill, FlatOrder, Ledger, MarkPoint, Moment, Note, OpenValue, OrderOutcome, OrderStory,
    PairValue, Place, PositionStory, PriceQuality, PriceSource, PriceSupport, PriceUsed,
    ReachedLevel, RulebookStory, SamplePoint, Size, SlashStory, Standing, Story, UndoneVerdict,
    Valuation, Verdict, Waiting, WindowPrice, Worst,
};

/// How many names are offered for one that is unknown.
const NEAREST: usize = 3;

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The directory is not there or is not ours.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log is damaged or states another result.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Nobody of this name was ever on the roster.
    #[error(transparent)]
    UnknownTrader(#[from] UnknownTrader),
}

/// Nobody of this name was ever on the roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", unknown(trader, *traders, nearest, *refused, barred.as_deref()))]
pub struct UnknownTrader {
    /// The name that was asked for.
    trader: TraderId,
    /// How many accounts there are.
    traders: usize,
    /// The names most like it.
    nearest: Vec<TraderId>,
    /// How many orders of this name the log holds, all of them refused.
    refused: usize,
    /// The record that bars the name, if there is one.
    barred: Option<String>,
}

impl UnknownTrader {
    /// Returns that `trader` has no account in `view`, though `refused` orders came under the name.
    pub(crate) fn among(trader: &TraderId, view: &View, refused: usize) -> Self {
        let names = view.accounts.iter().map(|account| account.trader.clone());
        let bar = view.barred.get(trader).and_then(|bar| bar.record.as_ref());
        Self {
            trader: trader.clone(),
            traders: view.accounts.len(),
            nearest: nearest(trader.as_str(), names.collect()),
            refused,
            barred: bar.map(verdict::in_short),
        }
    }
}

fn unknown(
    trader: &TraderId,
    traders: usize,
    nearest: &[TraderId],
    refused: usize,
    barred: Option<&str>,
) -> String {
    let mut text = format!("no account of trader {trader} among the {traders} of this log");
    if let Some(barred) = barred {
        text.push_str(&format!("; the name is barred: {barred}"));
    }
    if refused > 0 {
        let orders =
            if refused == 1 { "order of that name was" } else { "orders of that name were" };
        text.push_str(&format!("; {refused} {orders} refused"));
    }
    if !nearest.is_empty() {
        let names: Vec<&str> = nearest.iter().map(TraderId::as_str).collect();
        text.push_str(&format!("; nearest names: {}", names.join(", ")));
    }
    text
}

/// Tells the story of `trader` from the log in the data directory at `path`; tells `progress` after
/// each commit. Needs no lock and changes nothing.
///
/// # Errors
/// [`ExplainError`] when the log cannot be folded or has no such trader.
pub fn explain(
    path: &Path,
    trader: &TraderId,
    mut progress: impl FnMut(Stamp),
) -> Result<Story, ExplainError> {
    let storage = data_dir::log_of(path)?;
    let mut fold = Replay::from_the_first(replay::whole(&storage)?);
    let mut observer = Observer::new(trader.clone());
    loop {
        // The account before the commit: a verdict flattens in the commit that it is taken in.
        let before = fold.engine().account(trader).cloned();
        let Some((commit, outcome)) = fold.step()? else { break };
        observer.observe(&commit.into(), &outcome, before.as_ref(), fold.engine());
        progress(outcome.stamp);
    }
    let head = fold.head().hash;
    let view = fold.engine().view();
    if let Some(account) = view.account(trader) {
        return Ok(observer.finish(account, &view, head));
    }
    Err(UnknownTrader::among(trader, &view, observer.refused()).into())
}

/// Returns the names most like `asked`: first those that begin with it, then by edit distance.
fn nearest(asked: &str, mut names: Vec<TraderId>) -> Vec<TraderId> {
    let rank =
        |name: &TraderId| (!name.as_str().starts_with(asked), distance(asked, name.as_str()));
    names.sort_by_cached_key(|name| (rank(name), name.clone()));
    // A name that shares less than half of its letters is no help.
    names.retain(|name| {
        let (elsewhere, edits) = rank(name);
        !elsewhere || edits * 2 <= asked.len().max(name.as_str().len())
    });
    names.truncate(NEAREST);
    names
}

/// Returns how many letters must be added, removed or replaced to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
