//! Where prices come from while the node runs, and the clock that ticks when nothing else happens.

mod live;

use std::time::Duration;

use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_node::import::{BadRows, BarFile, MergedBars};
use proctor_sequencer::{Clock as _, Handle, SubmitError, SystemClock};
use proctor_types::{Quote, Usd};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::config::{Feed, FeedKind};
use crate::metrics::Metrics;
use live::LiveMarket;

/// Why a feed has ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A bar file cannot be used.
    #[error("{0}")]
    Bars(String),
    /// The sequencer takes nothing more.
    #[error("the feed cannot submit prices: {0}")]
    Submit(#[from] SubmitError),
}

/// What plays.
pub enum Source {
    /// A made-up market and its traders.
    Simulated(Box<LiveMarket>),
    /// Bars of files, one after the other.
    Recorded(Box<MergedBars>),
    /// Nothing: prices come from outside.
    None,
}

impl Source {
    /// Returns what `feed` asks for.
    ///
    /// # Errors
    /// [`FeedError::Bars`] when a file cannot be opened.
    pub fn of(feed: &Feed) -> Result<Self, FeedError> {
        Ok(match feed.kind {
            FeedKind::None => Self::None,
            FeedKind::Simulated => {
                Self::Simulated(Box::new(LiveMarket::new(feed.seed, feed.traders)))
            }
            FeedKind::Recorded => {
                let bad = |error: &dyn std::fmt::Display| FeedError::Bars(error.to_string());
                let mut readers = Vec::new();
                for argument in &feed.bars {
                    let file = BarFile::parse(argument).map_err(|error| bad(&error))?;
                    readers.push(file.open(BadRows::Refuse).map_err(|error| bad(&error))?);
                }
                Self::Recorded(Box::new(MergedBars::new(readers).map_err(|error| bad(&error))?))
            }
        })
    }

    /// Returns what status and logs say of it.
    #[must_use]
    pub fn describe(feed: &Feed) -> String {
        match feed.kind {
            FeedKind::None => "from outside".into(),
            FeedKind::Simulated => format!("simulated, seed {}", feed.seed),
            FeedKind::Recorded => format!("recorded, {} files", feed.bars.len()),
        }
    }

    /// Returns what makes the first traders known, on a log that is empty.
    #[must_use]
    pub fn opening(&self) -> Vec<Input> {
        let Self::Simulated(market) = self else { return Vec::new() };
        let traders: Vec<_> = market.traders().collect();
        if traders.is_empty() {
            return Vec::new();
        }
        let registered = traders.iter().map(|trader| trader.id().clone()).collect();
        let mut inputs = vec![Input::Roster(Roster::new(1, registered))];
        for trader in traders {
            if let Ok(size) = Usd::new(trader.account_size()) {
                inputs.push(Input::AccountSize(trader.id().clone(), size));
            }
            inputs.push(Input::AssetClass(trader.id().clone(), trader.asset_class()));
        }
        inputs
    }

    /// Returns the next prices as of `now`, and the orders that came meanwhile; `None` at the end.
    fn next(&mut self, now: proctor_types::UtcMs) -> Option<Vec<Input>> {
        match self {
            Self::Simulated(market) => Some(market.step(now)),
            Self::Recorded(bars) => {
                // A bar of the past as a price of now: its close, told at this moment.
                let bar = bars.next()?.ok()?;
                Some(vec![Input::Prices(vec![Quote::event(bar.pair, bar.source, now, bar.close)])])
            }
            Self::None => None,
        }
    }
}

/// Plays `source` into the sequencer until `closing`; a queue that is full skips a price, and the
/// next one comes in time.
///
/// # Errors
/// [`FeedError::Submit`] when the sequencer has stopped.
pub async fn play(
    mut source: Source,
    interval: Duration,
    handle: Handle,
    metrics: Metrics,
    mut closing: watch::Receiver<bool>,
) -> Result<(), FeedError> {
    if let Source::Simulated(market) = &mut source {
        market.resume(&handle.view(), SystemClock.now());
    }
    let mut beat = tokio::time::interval(interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = closed(&mut closing) => return Ok(()),
        }
        let Some(inputs) = source.next(SystemClock.now()) else {
            tracing::info!("the feed has come to its end");
            return Ok(());
        };
        match handle.submit(inputs) {
            Ok(pending) => drop(pending.answered().await?),
            Err(SubmitError::Busy(waiting)) => {
                metrics.feed_skipped();
                tracing::warn!(waiting, "the queue is full: a price was skipped");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Commits a tick whenever nothing was committed for `interval`, until `closing`.
///
/// # Errors
/// [`FeedError::Submit`] when the sequencer has stopped: with that it is also the node's canary.
pub async fn tick(
    interval: Duration,
    handle: Handle,
    mut closing: watch::Receiver<bool>,
) -> Result<(), FeedError> {
    let mut beat = tokio::time::interval(interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = closed(&mut closing) => return Ok(()),
        }
        let commit = handle.views().peek().stamp.commit;
        if commit != std::mem::replace(&mut seen, commit) {
            continue;
        }
        match handle.submit(vec![Input::Tick]) {
            Ok(pending) => seen = pending.answered().await?.stamp.commit,
            // Who fills the queue makes time pass.
            Err(SubmitError::Busy(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the node is about to stop.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, and the node with it.
    drop(closing.wait_for(|closing| *closing).await.map(drop));
}
