//! `whatif`: the same inputs under another rulebook, or with one of them corrected.
//!
//! The log is folded twice in step, once as it was recorded and once altered, without writing
//! anything. What differs is told commit by commit, verdict by verdict and trader by trader.
//!
//! What an altered history is:
//! * another **rulebook** stands in the place of every document that the log adopted, at the same
//!   commits. One that the log refused stays refused: it was no rulebook;
//! * a corrected **price** replaces all prices of the record: a bar becomes a bar of one price, bid and
//!   ask keep their relative distance to the last price;
//! * a corrected **fill** replaces the price of a recorded order, and its bid and ask where it has
//!   them; its slippage stays;
//! * a corrected **order time** moves the order to the end of the first commit at or after the new
//!   time. No commit is added, so commit numbers mean the same on both sides;
//! * a **dropped** order was never sent.
//!
//! Nothing else changes: traders and feeds do what they did. An order that a trader would not have
//! sent in the altered history is sent all the same.

mod alteration;
mod difference;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;

use proctor_engine::rulebook::RulebookError;
use proctor_engine::{Engine, OutOfOrder};
use proctor_sequencer::{Replay, ReplayError, replay};
use proctor_types::{OrderId, SourceName, Stamp, TradePair, TraderId, UtcMs};

use crate::data_dir::{self, DataDirError};
use crate::explain::UnknownTrader;
use plan::Plan;
use report::Collector;

pub use alteration::{Alteration, AlterationError};
pub use report::{
    Change, Detail, Difference, EliminationChange, KindCount, OrderCounts, Report, Side,
    TraderChange,
};

/// A question about history.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The document that takes the place of every adopted one.
    pub rulebook: Option<String>,
    /// Inputs that are corrected or left out.
    pub alterations: Vec<Alteration>,
    /// Whose differences are told one by one; nobody's when absent.
    pub trader: Option<TraderId>,
    /// How many of them are kept.
    pub details_max: usize,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhatIfError {
    /// Nothing is to be altered.
    #[error("nothing would differ: give another rulebook or an input to correct")]
    NothingAltered,
    /// The rulebook is not one.
    #[error("rulebook: {0}")]
    Rulebook(#[from] RulebookError),
    /// The directory is not there or is not ours.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log is damaged or states another result.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The altered history cannot be folded; its commits are those of the log, so this is a bug.
    #[error("the altered history: {0}")]
    OutOfOrder(#[from] OutOfOrder),
    /// An alteration is not possible in this log.
    #[error(transparent)]
    Impossible(#[from] Impossible),
    /// Nobody of this name was ever on the roster, neither as recorded nor as altered.
    #[error("{0}")]
    UnknownTrader(UnknownTrader),
}

/// Why an alteration is not possible in a log.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Impossible {
    /// The log holds no commits.
    #[error("the log holds no commits")]
    EmptyLog,
    /// The log is shorter, or commits are counted from 1.
    #[error("there is no commit {commit}: the log holds commits 1 to {last}")]
    NoSuchCommit {
        /// The commit that was asked for.
        commit: u64,
        /// The last one of the log.
        last: u64,
    },
    /// The commit prices other pairs, or none.
    #[error("{}", no_price(*pair, from.as_ref(), *commit, found, near))]
    NoPrice {
        /// The pair.
        pair: TradePair,
        /// Whose price; anybody's when absent.
        from: Option<SourceName>,
        /// The commit.
        commit: u64,
        /// What the commit does price, each as source/pair.
        found: Vec<String>,
        /// The nearest commits that price the pair, before and after.
        near: Vec<u64>,
    },
    /// No order of this trader has the id.
    #[error("no order {order} of trader {trader} stands in the log{}", sent(*orders))]
    NoSuchOrder {
        /// Whose.
        trader: TraderId,
        /// Which order.
        order: OrderId,
        /// How many orders the trader sent.
        orders: u64,
    },
    /// The order was filled at the node's own price.
    #[error(
        "order {order} of trader {trader} was not recorded with a fill, the node priced it: correct \
         the price in commit {commit} instead"
    )]
    NoFill {
        /// Whose.
        trader: TraderId,
        /// Which order.
        order: OrderId,
        /// Where it stands.
        commit: u64,
    },
    /// The log ends before the time.
    #[error("no commit at or after {at}: the log ends at {end}")]
    AfterTheEnd {
        /// The time that was asked for.
        at: UtcMs,
        /// The time of the last commit.
        end: UtcMs,
    },
    /// The first rulebook of the log would not yet be effective.
    #[error(
        "the rulebook is effective from {effective}, after {adopted}, when the log adopts its first"
    )]
    NotYetEffective {
        /// From when on accounts may enrol under it.
        effective: UtcMs,
        /// When the log adopts its first rulebook.
        adopted: UtcMs,
    },
    /// Two alterations of the same thing.
    #[error("{0} is given twice")]
    Twice(String),
}

fn no_price(
    pair: TradePair,
    source: Option<&SourceName>,
    commit: u64,
    found: &[String],
    near: &[u64],
) -> String {
    let from = source.map_or_else(String::new, |source| format!(" from {source}"));
    let mut text = format!("commit {commit} holds no price of {pair}{from}; ");
    match found {
        [] => text.push_str("it holds no prices"),
        found => text.push_str(&format!("it prices {}", found.join(", "))),
    }
    if !near.is_empty() {
        let near: Vec<String> = near.iter().map(u64::to_string).collect();
        text.push_str(&format!("; nearest commits with one: {}", near.join(", ")));
    }
    text
}

fn sent(orders: u64) -> String {
    match orders {
        0 => "; this trader sent none".into(),
        1 => "; this trader sent 1 order".into(),
        orders => format!("; this trader sent {orders} orders"),
    }
}

/// Answers `question` about the log in the data directory at `path`; tells `progress` after each
/// commit. Needs no lock and changes nothing.
///
/// # Errors
/// [`WhatIfError`] when the log cannot be folded or the question does not fit it.
pub fn whatif(
    path: &Path,
    question: &Question,
    mut progress: impl FnMut(Stamp),
) -> Result<Report, WhatIfError> {
    let storage = data_dir::log_of(path)?;
    let plan = Plan::of(question, replay::whole(&storage)?)?;
    let mut recorded = Replay::from_the_first(replay::whole(&storage)?);
    let mut altered = Engine::new();
    let mut collector = Collector::new(question.trader.clone(), question.details_max);
    while let Some((commit, outcome)) = recorded.step()? {
        // What a running node appended since the plan was made is left to the next question.
        if commit.index > plan.last() {
            break;
        }
        let other = match plan.alter(&commit) {
            Some(changed) => altered.apply(&changed)?,
            None => altered.apply(&commit)?,
        };
        collector.observe(&outcome, &other);
        progress(outcome.stamp);
        if commit.index == plan.last() {
            break;
        }
    }
    let (recorded, altered) = (recorded.engine().view(), altered.view());
    if let Some(trader) = &question.trader
        && recorded.account(trader).is_none()
        && altered.account(trader).is_none()
    {
        return Err(WhatIfError::UnknownTrader(UnknownTrader::among(trader, &recorded, 0)));
    }
    Ok(collector.finish(plan.into_changes(), &recorded, &altered))
}
