//! Price corrections: an order gets another price, and everything since is computed anew.
//!
//! The account is taken back to where it stood before the order, and the orders and the believed
//! prices since are told to it again, in their order of time; prices of a moment come before the
//! orders of that moment. Nothing is rewritten silently: the correction is an input, and its event
//! carries the order as it was and as it is. A refused correction changes nothing. Source: trading
//! 3.11, M-7.

use std::sync::Arc;

use proctor_types::{OrderId, Price, SourceName, Stamp, TradePair, TraderId, UtcMs};

use super::settlement::Fills;
use super::valuation::{sample, value};
use super::{Engine, Step, parts};
use crate::account::Account;
use crate::event::{Event, PositionFacts, PricedBy};
use crate::input::PriceCorrection;
use crate::ledgers::{Bundle, PairSample};
use crate::positions::book::{Kept, Mark};
use crate::positions::position::{Order, Position, PositionRefusal};
use crate::prices::Prices;
use crate::prices::conversion::{self, Rates};
use crate::recent::{Before, PairBefore, Recorded};
use crate::rejection::{CorrectionRefusal, Rejection};
use crate::rulebook::{Rulebook, SpikeGuard};

impl Engine {
    /// Gives an order the price of `correction`.
    ///
    /// # Errors
    /// [`Rejection::Correction`] names the first thing that stands against it; nothing is changed.
    pub(super) fn correct(
        &mut self,
        step: &mut Step,
        correction: &PriceCorrection,
    ) -> Result<(), Rejection> {
        let number = self.account_place(&correction.trader)?;
        let account = Arc::clone(&self.state.accounts[number]);
        if let Some(elimination) = &account.elimination {
            return Err(Rejection::Eliminated(elimination.stamp.at));
        }
        let adopted = Arc::clone(self.rulebook_of(&account));
        let rules = &adopted.rules;
        let place = find(rules, &account, correction, step.stamp.at)?;
        let fills = fills(&account, place);
        let target = fills.iter().position(|fill| fill.order.id == correction.order);
        let unknown = || CorrectionRefusal::UnknownOrder(correction.order.clone());
        let target = target.ok_or_else(|| Rejection::Correction(unknown()))?;
        let before = fills[target].order.clone();
        if before.price == correction.price.get() {
            let same = CorrectionRefusal::SamePrice(correction.order.clone());
            return Err(Rejection::Correction(same));
        }
        let mut fills = fills;
        fills[target].order = corrected(fills[target].pair, &before, correction);
        let position = fills[target].position.id().clone();
        let pair = fills[target].pair;
        let start = (place, &correction.source);
        let mut replay = Replay::new(rules, &self.state.prices, &account, start, step)
            .map_err(Rejection::Correction)?;
        replay.run(&fills, step.stamp.at).map_err(Rejection::Correction)?;
        let (mut changed, scratch) = (replay.account, replay.scratch);
        keep_marks(&mut changed, &account);
        let found = position_of(&changed, pair, &correction.order);
        let (order, after) = found.ok_or_else(|| Rejection::Correction(unknown()))?;
        step.events.push(Event::OrderCorrected {
            trader: correction.trader.clone(),
            position,
            pair,
            before,
            order,
            after,
            source: correction.source.clone(),
            by: correction.by.clone(),
            why: correction.why.clone(),
        });
        step.events.extend(scratch.events);
        step.marks = scratch.marks;
        let pairs = changed.book.pairs().iter().map(|book| (book.pair, book.open.is_some()));
        let pairs: Vec<(TradePair, bool)> = pairs.collect();
        self.state.accounts.replace(number, changed);
        for (pair, holds) in pairs {
            self.index.set_holding(pair, number, holds);
            self.cancel_orphans(step, number, pair);
        }
        self.sample_and_enforce(step, number);
        Ok(())
    }
}

/// Returns the place of the correction's order among the account's recent ones.
fn find(
    rules: &Rulebook,
    account: &Account,
    correction: &PriceCorrection,
    at: UtcMs,
) -> Result<usize, Rejection> {
    let refused = |refusal| Err(Rejection::Correction(refusal));
    let prices =
        [("price", Some(correction.price)), ("bid", correction.bid), ("ask", correction.ask)];
    for (field, price) in prices {
        if let Some(value) = price.filter(|price| price.get() <= 0.0) {
            return refused(CorrectionRefusal::Number { field, value });
        }
    }
    if let (Some(bid), Some(value)) = (correction.bid, correction.ask)
        && value < bid
    {
        return refused(CorrectionRefusal::Number { field: "ask", value });
    }
    let id = &correction.order;
    let known = account.book.pairs().iter().find_map(|book| {
        let closed = book.closed().iter().map(Kept::Closed);
        let mut positions = book.open.iter().map(Kept::Open).chain(closed);
        positions.find_map(|held| held.orders().iter().find(|order| order.id == *id).cloned())
    });
    let Some(order) = known else {
        return refused(CorrectionRefusal::UnknownOrder(id.clone()));
    };
    if order.source.is_forced() {
        return refused(CorrectionRefusal::Forced(id.clone()));
    }
    let young = account.recent.fills.iter().position(|fill| {
        fill.fill.order == *id && at.since(fill.at) <= rules.prices.correction_window.value
    });
    match young {
        Some(place) => Ok(place),
        None => refused(CorrectionRefusal::TooOld { order: id.clone(), at: order.at }),
    }
}

/// One order of the time that is told anew, and the position that took it.
struct Fill<'a> {
    pair: TradePair,
    order: Order,
    position: Kept<'a>,
    /// Whether it opened the position.
    opens: bool,
    at: UtcMs,
    /// Whether it was filled together with the order before.
    joins: bool,
}

/// Returns the recent orders of `account` from where the replay must begin for the one at `place`.
fn fills(account: &Account, place: usize) -> Vec<Fill<'_>> {
    let recent = &account.recent.fills;
    recent[beginning(recent, place)..]
        .iter()
        .filter_map(|Recorded { at, joins, fill }| {
            let book = account.book.pair(fill.pair)?;
            let (position, number, order) = book.positions().find_map(|position| {
                let number = position.orders().iter().position(|order| order.id == fill.order)?;
                let order = position.orders()[number].clone();
                Some((position, number, order))
            })?;
            Some(Fill {
                pair: fill.pair,
                order,
                position,
                opens: number == 0,
                at: *at,
                joins: *joins,
            })
        })
        .collect()
}

/// Returns the place of the order at or before `place` of which it is known how the account stood.
fn beginning(recent: &[Recorded], place: usize) -> usize {
    (0..=place).rev().find(|place| !recent[*place].joins).unwrap_or(0)
}

/// Returns `order` at the corrected price.
///
/// Its leverage and value in dollars stand, for the limits were checked on them, and its slippage,
/// which is a fraction; the quantity and the rates follow from the price (M-7). A rate that comes
/// from another pair's price was not wrong and stands. A closing order has the size that it closes.
fn corrected(pair: TradePair, order: &Order, correction: &PriceCorrection) -> Order {
    let price = correction.price.get();
    let kept = Rates { quote_usd: order.quote_usd_rate, usd_base: order.usd_base_rate };
    let rates = conversion::rates(pair, price, |_| None).unwrap_or(kept);
    Order {
        price,
        bid: correction.bid.map_or(0.0, Price::get),
        ask: correction.ask.map_or(0.0, Price::get),
        quantity: order.value * rates.usd_base / pair.lot_size(),
        quote_usd_rate: rates.quote_usd,
        usd_base_rate: rates.usd_base,
        ..order.clone()
    }
}

/// An account on its way from before the corrected order to now.
struct Replay<'a> {
    rules: &'a Rulebook,
    prices: &'a Prices,
    account: Account,
    /// Stands for the sources of marks until [`keep_marks`] puts them back: that there was one tells
    /// a mark from the price of an order.
    source: SourceName,
    /// The moment that the replay has reached, with the events that it made.
    scratch: Step,
    samples: Vec<PairSample>,
    /// Place in the account's recent orders of the next one.
    next: usize,
    /// The account is worth nothing: no price and no later order of its position counts any more.
    lost: bool,
}

impl<'a> Replay<'a> {
    /// Returns the account as it stood before the recent order at `place`.
    fn new(
        rules: &'a Rulebook,
        prices: &'a Prices,
        account: &Account,
        (place, source): (usize, &SourceName),
        step: &Step,
    ) -> Result<Self, CorrectionRefusal> {
        let recent = &account.recent.fills;
        let first = beginning(recent, place);
        let start = &recent[first];
        let unknown = || CorrectionRefusal::UnknownOrder(start.fill.order.clone());
        let before = start.fill.before.as_ref().ok_or_else(unknown)?;
        let mut account = account.clone();
        account.ledgers = match (&account.ledgers, &before.ledgers) {
            (Some(ledgers), Some(point)) => Some(ledgers.rewound(point)),
            (None, _) | (_, None) => None,
        };
        for pair in account.book.pairs().iter().map(|book| book.pair).collect::<Vec<_>>() {
            match before.pair(pair) {
                None => account.book.remove(pair),
                Some(stood) => take_back(rules, &mut account, first, stood, source)?,
            }
        }
        let stamp = Stamp { commit: step.stamp.commit, at: start.at };
        let scratch = Step { marks: step.marks, ..Step::new(stamp, Stamp::default(), 0) };
        let (samples, source) = (Vec::new(), source.clone());
        Ok(Self { rules, prices, account, source, scratch, samples, next: first, lost: false })
    }

    /// Tells the account `fills` and the prices up to `now`.
    fn run(&mut self, fills: &[Fill<'_>], now: UtcMs) -> Result<(), CorrectionRefusal> {
        for (number, fill) in fills.iter().enumerate() {
            if number > 0 && !fill.joins {
                self.advance(fill.at);
            }
            self.fill(fill)?;
            if !fills.get(number + 1).is_some_and(|next| next.joins) {
                self.sample();
            }
        }
        self.advance(now);
        Ok(())
    }

    fn fill(&mut self, fill: &Fill<'_>) -> Result<(), CorrectionRefusal> {
        self.goto(fill.at);
        let before = (!fill.joins).then(|| Before::of(&self.account));
        if let Some(recent) = self.account.recent.fills.get_mut(self.next) {
            Arc::make_mut(&mut recent.fill).before = before;
        }
        self.next += 1;
        let (order, rules) = (&fill.order, self.rules);
        let refused = |refusal| {
            let order = order.id.clone();
            CorrectionRefusal::Position { order, refusal }
        };
        let opened = if fill.opens { fill.position.as_of(rules, 0).ok() } else { None };
        let book = self.account.book.entry(fill.pair, fill.at);
        if opened.is_some() {
            book.open = opened;
        }
        let Some(open) = book.open.as_mut() else {
            // The corrected orders before this one have closed its position, or lost the account.
            let refusal = PositionRefusal::Closed { at: fill.at };
            return if self.lost { Ok(()) } else { Err(refused(refusal)) };
        };
        open.add_filled(rules, order.clone()).map_err(refused)?;
        if open.is_liquidated() {
            report_close(&mut self.scratch, &self.account.trader, open);
        }
        book.last_accepted_at = fill.at;
        book.last_mark = Some(Mark::at_order(order));
        book.valued_at = fill.at;
        book.price_changed = true;
        book.retire();
        self.account.ledgers.get_or_insert_with(|| Bundle::new(fill.at));
        Ok(())
    }

    /// Tells the account the prices up to `to`, as the commits that brought them did.
    fn advance(&mut self, to: UtcMs) {
        let from = self.scratch.stamp.at;
        let mut marks: Vec<(UtcMs, TradePair, Option<Price>)> = Vec::new();
        for pair in self.account.book.open_positions().map(Position::pair) {
            for mark in self.prices.marks_since(pair, from).filter(|mark| mark.at <= to) {
                let price = match self.rules.switches.spike_guard {
                    SpikeGuard::Freeze => mark.believed,
                    SpikeGuard::Off => Some(mark.nearest),
                };
                marks.push((mark.at, pair, price));
            }
        }
        marks.sort_by_key(|(at, pair, _)| (*at, *pair));
        for moment in marks.chunk_by(|a, b| a.0 == b.0) {
            if self.lost {
                return;
            }
            let cell = self.rules.ledger.cell.value;
            let (before, at) = (self.scratch.stamp.at, moment[0].0);
            self.goto(at);
            let ended = parts(before, at, cell);
            if ended {
                self.sample();
            }
            let mut touched = false;
            for (_, pair, price) in moment {
                touched |= self.mark(*pair, *price, at);
            }
            let due = self.account.ledgers.as_ref();
            let due = due.is_some_and(|ledgers| ledgers.is_due(&self.rules.ledger, at));
            if touched && (due || ended || self.lost) {
                self.sample();
            }
        }
    }

    /// Values the open position of `pair`; returns whether its market was open.
    fn mark(&mut self, pair: TradePair, price: Option<Price>, at: UtcMs) -> bool {
        if !self.scratch.is_open(pair) {
            return false;
        }
        if let (Some(price), Some(book)) = (price, self.account.book.pair_mut(pair)) {
            let source = Some(self.source.clone());
            value(
                self.rules,
                book,
                Mark { price: price.get(), bid: None, ask: None, source, at },
                at,
            );
            if let Some(open) = book.open.as_ref().filter(|open| open.is_closed()) {
                report_close(&mut self.scratch, &self.account.trader, open);
            }
            book.retire();
            self.lost |= book.totals.value == 0.0;
        }
        true
    }

    fn sample(&mut self) {
        let outcome = sample(&mut self.scratch, self.rules, &mut self.account, &mut self.samples);
        self.lost |= outcome.is_some_and(|outcome| outcome.liquidated);
    }

    fn goto(&mut self, at: UtcMs) {
        if self.scratch.stamp.at != at {
            self.scratch.stamp.at = at;
            self.scratch.market_open = [None; TradePair::COUNT];
        }
    }
}

/// Reports the forced order that closed a position which the corrected history has lost.
fn report_close(scratch: &mut Step, trader: &TraderId, lost: &Position) {
    if lost.orders().last().is_some_and(|order| order.source.is_forced()) {
        let first_new_order = lost.orders().len() - 1;
        let priced_by = PricedBy::LastMark;
        scratch.report_fills(trader, lost, &Fills { first_new_order, clamped: false, priced_by });
    }
}

/// Takes the pair of `stood` back to how it stood before the recent order at `first`.
fn take_back(
    rules: &Rulebook,
    account: &mut Account,
    first: usize,
    stood: &PairBefore,
    source: &SourceName,
) -> Result<(), CorrectionRefusal> {
    let young = &account.recent.fills[first..];
    let Some(book) = account.book.pair_mut(stood.pair) else { return Ok(()) };
    let closed = book.reopen(stood.totals);
    let positions = closed.iter().map(Arc::as_ref).chain(book.open.as_ref());
    let mut open = None;
    for position in positions {
        let is_young = |order: &Order| {
            young.iter().any(|young| young.fill.pair == stood.pair && young.fill.order == order.id)
        };
        let orders = position.orders().iter().take_while(|order| !is_young(order)).count();
        if orders > 0 {
            let refused = |refusal| CorrectionRefusal::Position {
                order: position.orders()[orders - 1].id.clone(),
                refusal,
            };
            open = Some(position.as_of(rules, orders).map_err(refused)?);
        }
    }
    book.open = open;
    let at = stood.valued_at;
    match stood.marked {
        Some(price) => {
            let mark = Mark { price, bid: None, ask: None, source: Some(source.clone()), at };
            value(rules, book, mark, at);
        }
        // Fees fall due also where no price came; at the last order they are in the value.
        None => {
            let after_orders =
                |open: &Position| open.orders().last().is_some_and(|last| last.at < at);
            if let Some(open) = book.open.as_mut().filter(|open| after_orders(open)) {
                open.refresh_fees(rules, at);
            }
        }
    }
    book.valued_at = at;
    book.price_changed = stood.price_changed;
    Ok(())
}

/// Puts back what `live` knows of the marks of `account` that a replay does not: their sources.
fn keep_marks(account: &mut Account, live: &Account) {
    for book in account.book.pairs_mut() {
        let mark = live.book.pair(book.pair).and_then(|book| book.last_mark.as_ref());
        if let Some(mark) = mark.filter(|mark| mark.source.is_some()) {
            book.last_mark = Some(mark.clone());
        }
    }
}

/// Returns the order `id` of `account` in `pair` and what its position is worth.
fn position_of(account: &Account, pair: TradePair, id: &OrderId) -> Option<(Order, PositionFacts)> {
    account.book.pair(pair)?.positions().find_map(|position| {
        let order = position.orders().iter().find(|order| order.id == *id)?;
        Some((order.clone(), PositionFacts::of(&position)))
    })
}
