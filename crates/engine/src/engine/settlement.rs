//! Fills and their effects: positions, ledgers, and the end of an account, all in one commit.

use std::sync::Arc;

use proctor_types::{OrderId, PositionId, Price, Side, TraderId, UtcMs};

use super::{Engine, Step};
use crate::account::Account;
use crate::eliminations::{Elimination, Reason};
use crate::event::{Event, PositionFacts, PricedBy};
use crate::ledgers::{self, Bundle, Drawdown, Outcome, drawdown};
use crate::orders::{Fill, Target, conversion_rates};
use crate::positions::book::{Mark, PairBook};
use crate::positions::position::{ForcedFlatPrice, OrderSource, Position};
use crate::prices::{Prices, fill_price};
use crate::rejection::Rejection;
use crate::rulebook::Rulebook;

impl Engine {
    /// Makes `fill`: the position takes the order or refuses it, and then nothing has changed.
    ///
    /// # Errors
    /// [`Rejection::Position`] when the order breaks a limit of the position.
    pub(super) fn settle_fill(
        &mut self,
        step: &mut Step,
        rules: &Rulebook,
        place: usize,
        fill: Fill,
    ) -> Result<(), Rejection> {
        let at = step.stamp.at;
        let pair = fill.pair;
        let account = Arc::make_mut(&mut self.state.accounts[place]);
        let known = |price: f64| Price::new(price).ok().filter(|price| price.get() > 0.0);
        let mark = Mark {
            price: fill.order.price,
            bid: known(fill.order.bid),
            ask: known(fill.order.ask),
            source: None,
            at,
        };
        let priced_by = fill.priced_by.clone();
        let taken = take_order(step, rules, account, fill)?;
        let book = account.book.entry(pair, at);
        book.last_accepted_at = at;
        book.last_mark = Some(mark);
        book.valued_at = at;
        book.price_changed = true;
        if let Some(open) = &book.open {
            let Taken { first_new_order, clamped } = taken;
            let fills = Fills { first_new_order, clamped, priced_by };
            step.report_fills(&account.trader, open, &fills);
        }
        book.retire();
        let holds = book.open.is_some();
        self.index.set_holding(pair, place, holds);
        account.ledgers.get_or_insert_with(|| Bundle::new(at));
        self.sample_and_enforce(step, place);
        Ok(())
    }

    /// Ends the account when its ledgers say so.
    pub(super) fn enforce(&mut self, step: &mut Step, place: usize, outcome: &Outcome) {
        let account = &self.state.accounts[place];
        let adopted = Arc::clone(self.rulebook_of(account));
        let Some(ledgers) = &account.ledgers else { return };
        let portfolio = ledgers.portfolio();
        let verdict = drawdown::test(
            adopted.rules.switches.drawdown_limit,
            adopted.rules.elimination.drawdown_max.value,
            portfolio.worst_drawdown(),
        );
        let (reason, fall) = match (outcome.liquidated, portfolio.worst()) {
            (true, _) => {
                let nothing = ledgers::Mark { at: step.stamp.at, value: 0.0 };
                (Reason::Liquidated, Drawdown { peak: outcome.peak, trough: nothing })
            }
            (false, Some(fall)) if verdict.breached => (Reason::MaxTotalDrawdown, fall),
            (false, _) => return,
        };
        let record = Elimination {
            reason,
            stamp: step.stamp,
            peak: fall.peak.value,
            peak_at: fall.peak.at,
            value: fall.trough.value,
            value_at: fall.trough.at,
            worst_ratio: fall.ratio(),
            drawdown_percent: drawdown::percent_reported(fall.ratio()),
            prices: account.price_evidence(step.stamp.at),
            flat_orders: lost_flats(account),
        };
        self.eliminate(step, &adopted.rules, place, record);
    }

    /// Flattens and bars the account in this commit and reports the record (E-60 to E-62).
    fn eliminate(
        &mut self,
        step: &mut Step,
        rules: &Rulebook,
        place: usize,
        mut record: Elimination,
    ) {
        let account = Arc::make_mut(&mut self.state.accounts[place]);
        for book in account.book.pairs_mut() {
            let Some(open) = book.open.as_mut() else { continue };
            let first_new_order = open.orders().len();
            let priced_by = flatten(step, rules, &self.state.prices, open);
            record
                .flat_orders
                .extend(open.orders().since(first_new_order).map(|order| order.id.clone()));
            let fills = Fills { first_new_order, clamped: false, priced_by };
            step.report_fills(&account.trader, open, &fills);
            book.retire();
            self.index.set_holding(book.pair, place, false);
        }
        let trader = account.trader.clone();
        account.elimination = Some(record.clone());
        step.events.push(Event::Eliminated { trader, record });
        // The last sample shows what the flat orders made of the account.
        self.sample(step, place);
    }
}

/// Returns the orders that closed positions that lost the whole account.
fn lost_flats(account: &Account) -> Vec<OrderId> {
    let lost = account.book.pairs().iter().filter_map(PairBook::lost);
    lost.filter_map(|position| position.orders().last())
        .filter(|order| order.source.is_forced())
        .map(|order| order.id.clone())
        .collect()
}

/// What [`take_order`] did.
struct Taken {
    first_new_order: usize,
    clamped: bool,
}

/// Gives the order to the position that is to take it; on refusal nothing has changed.
fn take_order(
    step: &mut Step,
    rules: &Rulebook,
    account: &mut Account,
    fill: Fill,
) -> Result<Taken, Rejection> {
    let Fill { pair, order, portfolio_leverage, flat_price, target, priced_by } = fill;
    let at = step.stamp.at;
    let size = match target {
        Target::New(size) | Target::NewAfterFull(size) => size,
        Target::Open => {
            let open = account
                .book
                .pair_mut(pair)
                .and_then(|book| book.open.as_mut())
                .expect("the gate chose the open position, and nothing changed since");
            let first_new_order = open.orders().len();
            let added = open
                .add(rules, order, portfolio_leverage, flat_price)
                .map_err(Rejection::Position)?;
            return Ok(Taken { first_new_order, clamped: added.clamped });
        }
    };
    let mut fresh = Position::new(PositionId::opened_by(&order.id), pair, size, at);
    let added =
        fresh.add(rules, order, portfolio_leverage, flat_price).map_err(Rejection::Position)?;
    if matches!(target, Target::NewAfterFull(_)) {
        close_full(step, rules, account, &fresh, (flat_price, priced_by))?;
    }
    account.book.entry(pair, at).open = Some(fresh);
    Ok(Taken { first_new_order: 0, clamped: added.clamped })
}

/// Closes the position that is full, a millisecond before the order that opens `fresh`.
fn close_full(
    step: &mut Step,
    rules: &Rulebook,
    account: &mut Account,
    fresh: &Position,
    (flat_price, priced_by): (ForcedFlatPrice, PricedBy),
) -> Result<(), Rejection> {
    let before = UtcMs(step.stamp.at.0 - 1);
    let book = account.book.pair_mut(fresh.pair()).expect("a full position has an entry");
    let full = book.open.as_mut().expect("the gate found the position open and full");
    let first_new_order = full.orders().len();
    full.force_flat(rules, before, flat_price, OrderSource::MaxOrdersClose)
        .map_err(Rejection::Position)?;
    let fills = Fills { first_new_order, clamped: false, priced_by };
    step.report_fills(&account.trader, full, &fills);
    book.retire();
    Ok(())
}

/// Closes `open` by force at the current price, or at its last mark when no price is fresh (M-3);
/// returns which it was.
fn flatten(step: &Step, rules: &Rulebook, prices: &Prices, open: &mut Position) -> PricedBy {
    let at = step.stamp.at;
    let opened = open.orders().first().map(|order| order.side);
    let found = prices.best(&rules.prices, open.pair(), at).and_then(|quote| {
        let price = fill_price(quote, at, Side::Flat, opened).get();
        let rates = conversion_rates(prices, rules, open.pair(), price, Side::Flat, at).ok()?;
        Some((ForcedFlatPrice::Found { price, rates }, PricedBy::record(quote, at)))
    });
    if let Some((flat, priced_by)) = found
        && open.force_flat(rules, at, flat, OrderSource::EliminationFlat).is_ok()
    {
        return priced_by;
    }
    // There is no price, or it is too extreme to compute with; the last mark always can be kept.
    open.force_flat(rules, at, ForcedFlatPrice::Missing, OrderSource::EliminationFlat)
        .expect("a flat at the last mark has no number that could be refused");
    PricedBy::LastMark
}

/// What is to be said of the orders that a position took in one go.
pub(super) struct Fills {
    /// Place of the first of them.
    pub(super) first_new_order: usize,
    /// Whether limits cut the trader's order.
    pub(super) clamped: bool,
    /// What they were priced by.
    pub(super) priced_by: PricedBy,
}

impl Step {
    /// Reports the orders that `position` took in this step.
    pub(super) fn report_fills(&mut self, trader: &TraderId, position: &Position, fills: &Fills) {
        let after = PositionFacts::of(position);
        let last = position.orders().len() - 1;
        let first = fills.first_new_order;
        for (place, order) in (first..).zip(position.orders().since(first)) {
            self.events.push(Event::Filled {
                trader: trader.clone(),
                position: position.id().clone(),
                pair: position.pair(),
                order: order.clone(),
                clamped: fills.clamped,
                closes: position.is_closed() && place == last,
                after,
                priced_by: fills.priced_by.clone(),
            });
        }
    }
}

impl PositionFacts {
    /// Returns what `position` says of itself.
    #[must_use]
    pub fn of(position: &Position) -> Self {
        Self {
            orders: u32::try_from(position.orders().len()).unwrap_or(u32::MAX),
            net_leverage: position.net_leverage(),
            net_quantity: position.net_quantity(),
            average_entry_price: position.average_entry_price(),
            realized_pnl: position.realized_pnl(),
            return_before_fees: position.current_return(),
            return_after_fees: position.return_at_close(),
        }
    }
}
