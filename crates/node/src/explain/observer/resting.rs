//! What the log says of one trader's limit and bracket orders.

use proctor_engine::input::Extract;
use proctor_engine::limit_orders::{Cancellation, RestingOrder, Terms};
use proctor_engine::{Event, Outcome};
use proctor_types::{OrderId, Price, Side, Stamp, TraderId};

use super::super::story::{OrderOutcome, ReachedLevel, Waiting};
use super::requests::accepted_input;
use super::{Entry, Observer};

impl Observer {
    /// Takes in an order that waits from now on: one that the trader sent, or a fill's bracket.
    pub(super) fn rests(
        &mut self,
        commit: &Extract,
        outcome: &Outcome,
        order: &RestingOrder,
        parent: Option<&OrderId>,
    ) {
        self.waiting.insert(order.id.clone(), order.clone());
        let waiting = OrderOutcome::Resting(Box::new(waiting(order, parent)));
        let input = accepted_input(commit, outcome, &self.trader, &order.id);
        match (parent, input) {
            (None, Some(input)) => {
                self.counts.rested += 1;
                self.asked(commit, input, waiting);
            }
            (Some(_), _) | (None, None) => {
                self.entry(outcome.stamp, entry(order, "node", waiting));
            }
        }
    }

    /// Takes in the end of an order that had waited.
    pub(super) fn cancelled(&mut self, stamp: Stamp, id: &OrderId, why: &Cancellation) {
        let Some(order) = self.waiting.remove(id) else { return };
        let code = why.code().to_owned();
        *self.counts.cancelled.entry(code.clone()).or_default() += 1;
        let outcome = OrderOutcome::Cancelled { code, message: why.to_string() };
        self.entry(stamp, entry(&order, "resting", outcome));
    }
}

/// Returns the level that was reached before the fill of `id`, if it was a limit or bracket order.
pub(super) fn reached(outcome: &Outcome, trader: &TraderId, id: &OrderId) -> Option<ReachedLevel> {
    let at = outcome.stamp.at;
    outcome.events.iter().find_map(|event| {
        let Event::OrderReached { trader: whose, order, level, market, source, source_at } = event
        else {
            return None;
        };
        (whose == trader && order == id).then(|| ReachedLevel {
            level: level.get(),
            market: market.get(),
            source: source.to_string(),
            source_at: (*source_at).into(),
            age_ms: at.since(*source_at).0,
        })
    })
}

fn entry(order: &RestingOrder, origin: &'static str, outcome: OrderOutcome) -> Entry {
    let side = match &order.terms {
        Terms::Limit { side, .. } => *side,
        // A bracket closes: its order is on the other side of the position.
        Terms::Bracket { direction: Side::Long, .. } => Side::Short,
        Terms::Bracket { .. } => Side::Long,
    };
    let (id, pair) = (order.id.to_string(), order.pair.to_string());
    Entry { id, pair, side: side.to_string(), origin, outcome }
}

fn waiting(order: &RestingOrder, parent: Option<&OrderId>) -> Waiting {
    let number = |price: Option<Price>| price.map(Price::get);
    let (kind, limit_price, protection, position) = match &order.terms {
        Terms::Limit { limit, protection, .. } => ("limit", Some(*limit), protection, None),
        Terms::Bracket { position, protection, .. } => {
            ("bracket", None, protection, Some(position))
        }
    };
    Waiting {
        kind,
        limit_price: number(limit_price),
        stop_loss: number(protection.stop_loss),
        take_profit: number(protection.take_profit),
        position: position.map(ToString::to_string),
        parent: parent.map(ToString::to_string),
    }
}
