//! What happened in a run, counted from its events.

use std::collections::BTreeMap;

use proctor_engine::eliminations::Elimination;
use proctor_engine::event::PositionFacts;
use proctor_engine::positions::position::OrderSource;
use proctor_engine::{Event, Rejection};
use proctor_types::{OrderId, PositionId, Stamp, TradePair, TraderId, UtcMs};

/// Counts and records of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Commits seen.
    pub commits: u64,
    /// Orders that were accepted, those with nothing to do among them.
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
    /// What each trader did.
    pub traders: BTreeMap<TraderId, TraderTally>,
    /// The accounts that ended, in order.
    pub eliminations: Vec<(TraderId, Elimination)>,
    /// The positions that closed, in order.
    pub closed: Vec<ClosedPosition>,
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
                if order.source == OrderSource::Organic {
                    self.accepted += 1;
                    self.trader(trader).accepted += 1;
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
            Event::NothingToClose { trader, .. } => {
                self.accepted += 1;
                self.trader(trader).accepted += 1;
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
