//! Resting orders in the engine: they come to rest, are reached and filled, or are cancelled.
//!
//! State and index change together, in [`Engine::put`] and [`Engine::take`] only.

use std::sync::Arc;

use proctor_types::{OrderId, PositionId, SizeFields, TradePair, UtcMs};

use super::{Engine, Step};
use crate::event::Event;
use crate::limit_orders::trigger::Market;
use crate::limit_orders::{Cancellation, NewResting, Protection, RestingOrder, Terms, attach};
use crate::orders::{Desk, Fill};
use crate::rejection::Rejection;
use crate::rulebook::Rulebook;
use crate::state;

/// An order that was filled and wants a bracket.
struct Parent {
    id: OrderId,
    pair: TradePair,
    price: f64,
    protection: Protection,
}

impl Engine {
    /// Makes `fill`, says which level was reached before it, and attaches the bracket after it.
    ///
    /// # Errors
    /// [`Rejection::Position`]; nothing has changed then.
    pub(super) fn fill(
        &mut self,
        step: &mut Step,
        rules: &Rulebook,
        place: usize,
        mut fill: Box<Fill>,
    ) -> Result<(), Rejection> {
        let events_before = step.events.len();
        let parent = Parent {
            id: fill.order.id.clone(),
            pair: fill.pair,
            price: fill.order.price,
            protection: fill.protection,
        };
        if let Some(reached) = fill.reached.take() {
            step.events.push(Event::OrderReached {
                trader: self.state.accounts[place].trader.clone(),
                order: parent.id.clone(),
                level: reached.level,
                market: reached.market,
                source: reached.source,
                source_at: reached.source_at,
            });
        }
        if let Err(refusal) = self.settle_fill(step, rules, place, fill) {
            step.events.truncate(events_before);
            return Err(refusal);
        }
        if !parent.protection.is_empty() {
            self.protect(step, rules, place, parent);
        }
        Ok(())
    }

    /// Makes the bracket of `parent`. The fill stands whether or not there can be a bracket: to
    /// refuse it now would have the trader send it again (L-7).
    fn protect(&mut self, step: &mut Step, rules: &Rulebook, place: usize, parent: Parent) {
        let Parent { id, pair, price, protection } = parent;
        let account = &self.state.accounts[place];
        let open = account.book.pair(pair).and_then(|book| book.open.as_ref());
        let made = open.ok_or(Rejection::NoPosition(pair)).and_then(|open| {
            let id = id.bracket().ok_or(Rejection::BracketIdTooLong)?;
            let whole = SizeFields::default();
            attach::bracket(rules, &account.resting, open, &id, protection, whole, Some(price))
        });
        match made {
            Ok(bracket) => self.rest(step, place, bracket, Some(id)),
            Err(rejection) => step.events.push(Event::BracketRefused {
                trader: account.trader.clone(),
                parent: id,
                pair,
                rejection,
            }),
        }
    }

    /// Lets `order` wait. A bracket for a whole position takes the place of the one before it.
    pub(super) fn rest(
        &mut self,
        step: &mut Step,
        place: usize,
        order: NewResting,
        parent: Option<OrderId>,
    ) {
        let account = &self.state.accounts[place];
        let replaced = match &order.terms {
            Terms::Bracket { position, size, .. } if *size == SizeFields::default() => {
                account.resting.whole_bracket(position).map(|bracket| bracket.number)
            }
            Terms::Bracket { .. } | Terms::Limit { .. } => None,
        };
        if let Some(number) = replaced {
            self.cancel(step, place, number, Cancellation::Replaced);
        }
        let order = self.put(step, place, order);
        let trader = self.state.accounts[place].trader.clone();
        step.events.push(Event::OrderResting { trader, order, parent });
    }

    /// Cancels the order with this number, if it still waits.
    pub(super) fn cancel(&mut self, step: &mut Step, place: usize, number: u64, why: Cancellation) {
        if let Some(order) = self.take(place, number) {
            self.report_cancelled(step, place, order, why);
        }
    }

    fn report_cancelled(
        &self,
        step: &mut Step,
        place: usize,
        order: RestingOrder,
        why: Cancellation,
    ) {
        let trader = self.state.accounts[place].trader.clone();
        let RestingOrder { id: order, pair, .. } = order;
        step.events.push(Event::OrderCancelled { trader, order, pair, why });
    }

    /// Cancels every order of the account.
    pub(super) fn cancel_all(&mut self, step: &mut Step, place: usize, why: &Cancellation) {
        let resting = self.state.accounts[place].resting.orders();
        let numbers: Vec<u64> = resting.iter().map(|order| order.number).collect();
        for number in numbers {
            self.cancel(step, place, number, why.clone());
        }
    }

    /// Cancels the brackets on `pair` that are not bound to the position that is open now (L-8).
    pub(super) fn cancel_orphans(&mut self, step: &mut Step, place: usize, pair: TradePair) {
        let account = &self.state.accounts[place];
        let open: Option<&PositionId> =
            account.book.pair(pair).and_then(|book| book.open.as_ref()).map(|open| open.id());
        let is_orphan = |order: &&RestingOrder| match &order.terms {
            Terms::Bracket { position, .. } => order.pair == pair && Some(position) != open,
            Terms::Limit { .. } => false,
        };
        let orphans = account.resting.orders().iter().filter(is_orphan);
        let numbers: Vec<u64> = orphans.map(|order| order.number).collect();
        for number in numbers {
            self.cancel(step, place, number, Cancellation::PositionClosed);
        }
    }

    /// Fills the resting orders that the best price of `pair` reaches now.
    ///
    /// The one that was submitted first is first; of one commit, by trader, and of one trader in the
    /// order of submission. At most one of a trader is filled in a commit.
    pub(super) fn trigger(&mut self, step: &mut Step, pair: TradePair) {
        if !step.is_open(pair) {
            return;
        }
        for (place, number) in self.reached(step.stamp.at, pair) {
            self.fill_reached(step, pair, place, number);
        }
    }

    /// Returns account and number of the orders that may be filled, in the order of their fills.
    fn reached(&self, at: UtcMs, pair: TradePair) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        for rulebook in self.index.triggers.rulebooks(pair) {
            let rules = &self.state.rulebooks[state::place(rulebook)].rules;
            let Some(quote) = self.state.prices.best(rules, pair, at) else { continue };
            let market = Market::of(quote, at);
            for (place, number) in self.index.triggers.reached(pair, rulebook, market) {
                let account = &self.state.accounts[place];
                // A price from before the order existed is not one that it has seen come (L-2).
                let order = account.resting.get(number);
                if let Some(order) = order.filter(|order| order.submitted.at <= quote.end()) {
                    found.push((order.submitted.commit, &account.trader, place, number));
                }
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, _, place, number)| (place, number)).collect()
    }

    fn fill_reached(&mut self, step: &mut Step, pair: TradePair, place: usize, number: u64) {
        let at = step.stamp.at;
        let account = &self.state.accounts[place];
        // The fills before it in this commit may have cancelled it or used up the interval.
        let Some(order) = account.resting.get(number) else { return };
        if self.index.sleepers.is_asleep(place, pair) {
            return;
        }
        let adopted = Arc::clone(self.rulebook_of(account));
        let rules = &adopted.rules;
        let Some(quote) = self.state.prices.best(rules, pair, at) else { return };
        let Some(reached) = order.terms.reached(quote, at) else { return };
        let desk = Desk {
            rulebook: rules,
            prices: &self.state.prices,
            account,
            departed_at: self.state.roster.departed_at(&account.trader),
            seen: &self.state.seen[place],
            at,
        };
        match desk.judge_reached(order, quote, reached) {
            // The next price may find a conversion price, the verdict that waits dropped, or a later
            // time than the last order's.
            Err(
                Rejection::NoPrice(_)
                | Rejection::PriceUnconfirmed(_)
                | Rejection::Frozen(_)
                | Rejection::NotLater(_),
            ) => {}
            // A refused fill uses up nothing: the next order may still be filled (L-10).
            Err(refusal) => self.cancel(step, place, number, Cancellation::Refused(refusal)),
            Ok(fill) => {
                // It leaves its place before the fill, which may need it for a bracket.
                let Some(order) = self.take(place, number) else { return };
                if let Err(refusal) = self.fill(step, rules, place, fill) {
                    self.report_cancelled(step, place, order, Cancellation::Refused(refusal));
                }
            }
        }
    }

    /// Stops watching the orders of an account on `pair` until `until`, when that is after `at`.
    pub(super) fn sleep(&mut self, place: usize, pair: TradePair, at: UtcMs, until: UtcMs) {
        if until <= at {
            return;
        }
        let account = &self.state.accounts[place];
        for order in account.resting.orders().iter().filter(|order| order.pair == pair) {
            self.index.triggers.remove(account.rulebook, place, order);
        }
        self.index.sleepers.sleep(place, pair, until);
    }

    /// Watches the orders again whose interval has passed at `at`.
    pub(super) fn wake(&mut self, at: UtcMs) {
        while let Some((place, pair)) = self.index.sleepers.wake(at) {
            let account = &self.state.accounts[place];
            for order in account.resting.orders().iter().filter(|order| order.pair == pair) {
                self.index.watch(account, place, order);
            }
        }
    }

    /// Takes an order into the state and the index.
    fn put(&mut self, step: &Step, place: usize, order: NewResting) -> RestingOrder {
        let account = self.state.accounts.change(place);
        let order = account.resting.push(order, step.stamp);
        self.index.watch(account, place, &order);
        order
    }

    /// Takes an order out of the state and the index.
    fn take(&mut self, place: usize, number: u64) -> Option<RestingOrder> {
        let account = self.state.accounts.change(place);
        let order = account.resting.remove(number)?;
        self.index.triggers.remove(account.rulebook, place, &order);
        Some(order)
    }
}

#[cfg(test)]
mod tests;
