//! What happened in a run, counted from its events.

use std::collections::{BTreeMap, BTreeSet};

use proctor_engine::eliminations::Elimination;
use proctor_engine::event::PositionFacts;
use proctor_engine::limit_orders::RestingOrder;
use proctor_engine::positions::position::OrderSource;
use proctor_engine::{Event, Rejection};
use proctor_types::{OrderId, PositionId, Stamp, TradePair, TraderId, UtcMs};
use serde::Serialize;

/// Counts and records of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Commits seen.
    pub commits: u64,
    /// Orders that were accepted, those with nothing to do among them, without cancellations.
    pub accepted: u64,
    /// Orders that were refused, by code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Which orders were refused, and why.
    pub refused_orders: BTreeMap<(TraderId, OrderId), &'static str>,
    /// Price records that were not taken, by code.
    pub quotes_refused: BTreeMap<String, u64>,
    /// Inputs other than orders that were refused, by code.
    pub inputs_refused: BTreeMap<&'static str, u64>,
    /// Fills of any cause.
    pub fills: u64,
    /// Limit and bracket orders.
    pub resting: RestingTally,
    /// What each trader did.
    pub traders: BTreeMap<TraderId, TraderTally>,
    /// The accounts that ended, in order.
    pub eliminations: Vec<(TraderId, Elimination)>,
    /// The positions that closed, in order.
    pub closed: Vec<ClosedPosition>,
    /// Limit and bracket orders that rest.
    waiting: BTreeSet<(TraderId, OrderId)>,
}

/// Counts of limit and bracket orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestingTally {
    /// Limit orders that came to rest.
    pub limits: u64,
    /// Brackets that came to rest, those that a fill made among them.
    pub brackets: u64,
    /// Limit orders that were filled, at once or later.
    pub limits_filled: u64,
    /// Brackets that were filled.
    pub brackets_filled: u64,
    /// Cancelled ones, by code.
    pub cancelled: BTreeMap<&'static str, u64>,
    /// Fills whose bracket could not be made, by code.
    pub brackets_refused: BTreeMap<&'static str, u64>,
}

/// Counts of one trader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraderTally {
    /// Orders accepted.
    pub accepted: u64,
    /// Orders refused.
    pub refused: u64,
    /// Positions closed.
    pub closed: u64,
}

/// A position that closed.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedPosition {
    /// Whose.
    pub trader: TraderId,
    /// Which.
    pub id: PositionId,
    /// The pair.
    pub pair: TradePair,
    /// The commit that closed it and its time.
    pub stamp: Stamp,
    /// Time of the closing order.
    pub closed_at: UtcMs,
    /// The order that closed it.
    pub by: OrderId,
    /// Why it closed.
    pub source: OrderSource,
    /// What it was worth.
    pub facts: PositionFacts,
}

impl Tally {
    /// Counts the events of one commit.
    pub fn observe(&mut self, stamp: Stamp, events: &[Event]) {
        self.commits += 1;
        for event in events {
            self.count(stamp, event);
        }
    }

    fn count(&mut self, stamp: Stamp, event: &Event) {
        match event {
            Event::Filled { trader, position, pair, order, closes, after, .. } => {
                self.fills += 1;
                match order.source {
                    OrderSource::Organic => self.accept(trader),
                    OrderSource::LimitFilled | OrderSource::BracketFilled => {
                        let counts = &mut self.resting;
                        if order.source == OrderSource::LimitFilled {
                            counts.limits_filled += 1;
                        } else {
                            counts.brackets_filled += 1;
                        }
                        // One that had waited was accepted when it came to rest.
                        if !self.waiting.remove(&(trader.clone(), order.id.clone())) {
                            self.accept(trader);
                        }
                    }
                    OrderSource::EliminationFlat
                    | OrderSource::DeprecationFlat
                    | OrderSource::PriceFilledEliminationFlat
                    | OrderSource::MaxOrdersClose
                    | OrderSource::LimitUnfilled
                    | OrderSource::LimitCancelled
                    | OrderSource::BracketUnfilled
                    | OrderSource::BracketCancelled => {}
                }
                if *closes {
                    self.trader(trader).closed += 1;
                    self.closed.push(ClosedPosition {
                        trader: trader.clone(),
                        id: position.clone(),
                        pair: *pair,
                        stamp,
                        closed_at: order.at,
                        by: order.id.clone(),
                        source: order.source,
                        facts: *after,
                    });
                }
            }
            Event::NothingToClose { trader, .. } => self.accept(trader),
            Event::OrderResting { trader, order, parent } => {
                self.rests(trader, order, parent.is_none());
            }
            Event::OrderCancelled { trader, order, why, .. } => {
                self.waiting.remove(&(trader.clone(), order.clone()));
                *self.resting.cancelled.entry(why.code()).or_default() += 1;
            }
            Event::BracketRefused { rejection, .. } => {
                *self.resting.brackets_refused.entry(rejection.code()).or_default() += 1;
            }
            Event::Rejected { trader, order, rejection, .. } => {
                self.refusal(trader.as_ref(), order.as_ref(), rejection);
            }
            Event::QuoteRefused { code, .. } => {
                *self.quotes_refused.entry(code.clone()).or_default() += 1;
            }
            Event::Eliminated { trader, record } => {
                self.eliminations.push((trader.clone(), record.clone()));
            }
            Event::TraderEnrolled { trader, .. } => {
                self.trader(trader);
            }
            Event::RulebookAdopted { .. }
            | Event::TraderDeparted { .. }
            | Event::AccountSizeRecorded { .. }
            | Event::AssetClassChosen { .. }
            | Event::CellClosed { .. }
            | Event::SampleRefused { .. }
            | Event::StageChanged { .. }
            | Event::DecisionRegistered { .. }
            | Event::DecisionsAcknowledged { .. }
            | Event::PlagiarismReported { .. }
            | Event::ChallengeAlerts { .. }
            | Event::SlashIntended { .. }
            | Event::SlashSettled { .. }
            | Event::Reinstated { .. }
            | Event::EliminationsSynced { .. }
            | Event::ZombiesHeld { .. }
            | Event::ReasonDropped { .. }
            | Event::Purged { .. }
            | Event::OrderReached { .. }
            | Event::VerdictFrozen { .. }
            | Event::VerdictThawed { .. } => {}
            Event::OrderCorrected { trader, position, after, .. } => {
                let mut closed = self.closed.iter_mut().rev();
                if let Some(told) = closed.find(|c| c.id == *position && c.trader == *trader) {
                    told.facts = *after;
                }
            }
        }
    }

    fn accept(&mut self, trader: &TraderId) {
        self.accepted += 1;
        self.trader(trader).accepted += 1;
    }

    fn rests(&mut self, trader: &TraderId, order: &RestingOrder, was_sent: bool) {
        if order.is_bracket() {
            self.resting.brackets += 1;
        } else {
            self.resting.limits += 1;
        }
        self.waiting.insert((trader.clone(), order.id.clone()));
        if was_sent {
            self.accept(trader);
        }
    }

    fn refusal(
        &mut self,
        trader: Option<&TraderId>,
        order: Option<&OrderId>,
        rejection: &Rejection,
    ) {
        let counts = if order.is_some() { &mut self.refused } else { &mut self.inputs_refused };
        *counts.entry(rejection.code()).or_default() += 1;
        if let (Some(trader), Some(order)) = (trader, order) {
            self.refused_orders.insert((trader.clone(), order.clone()), rejection.code());
            // Strangers are not on the roster; their orders are counted, their names are not kept.
            if let Some(tally) = self.traders.get_mut(trader) {
                tally.refused += 1;
            }
        }
    }

    fn trader(&mut self, trader: &TraderId) -> &mut TraderTally {
        self.traders.entry(trader.clone()).or_default()
    }
}
