//! Marks and samples: what prices and the passing of time do to positions and ledgers.

use std::sync::Arc;

use proctor_types::{Quote, TradePair, UtcMs};

use super::settlement::Fills;
use super::{Engine, Step};
use crate::account::Account;
use crate::event::{Event, PricedBy};
use crate::ledgers::{Bundle, MarketStatus, Outcome, PairSample};
use crate::positions::book::{Mark, PairBook};
use crate::positions::position::{ForcedFlatPrice, Marked, Position};
use crate::prices::conversion::Rates;
use crate::prices::mark_price;
use crate::rejection::Rejection;
use crate::rulebook::{ClosedMarketValue, Rulebook};
use crate::state::{Adopted, State, place};

impl Engine {
    /// Takes new prices, values the open positions of their pairs, and judges the accounts.
    ///
    /// # Errors
    /// [`Rejection::NoRulebook`] when there are no rules to go by. A single bad record is not an
    /// error of the batch: it is left out and reported.
    pub(super) fn price(&mut self, step: &mut Step, quotes: &[Quote]) -> Result<(), Rejection> {
        let adopted = Arc::clone(self.rules_in_force(step.stamp.at)?.1);
        let prices = Arc::make_mut(&mut self.state.prices);
        let mut pairs: Vec<TradePair> = Vec::with_capacity(quotes.len());
        for quote in quotes {
            match prices.update(&adopted.rules.prices, step.stamp.at, quote) {
                Ok(()) => pairs.push(quote.pair),
                Err(refusal) => step.events.push(Event::QuoteRefused {
                    pair: quote.pair,
                    source: quote.source.clone(),
                    code: refusal.code().into(),
                }),
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        for pair in &pairs {
            prices.settle(&adopted.rules.prices, *pair, step.stamp.at);
        }
        let claimed = prices.has_claims();
        let mut touched: Vec<usize> = Vec::new();
        for &pair in &pairs {
            self.mark(step, pair, &mut touched);
        }
        touched.sort_unstable();
        touched.dedup();
        for &place in &touched {
            self.retire_liquidated(step, place);
        }
        for place in touched {
            self.sample_if_due(step, place);
            if claimed || self.state.accounts[place].frozen.is_some() {
                self.review_verdict(step, place);
            }
        }
        // After the verdicts: what ends an account must not find it trading on (L-13).
        for pair in pairs {
            self.trigger(step, pair);
        }
        Ok(())
    }

    /// Values every open position in `pair` at its best current price.
    fn mark(&mut self, step: &mut Step, pair: TradePair, touched: &mut Vec<usize>) {
        let at = step.stamp.at;
        // A closed market has no price: what an order was filled at, or the last mark, stands.
        if !step.is_open(pair) {
            return;
        }
        let Some(holders) = self.index.holders.get(pair.index()) else { return };
        touched.extend_from_slice(holders);
        let State { rulebooks, prices, accounts, .. } = &mut self.state;
        // Nearly always all holders go by one rulebook, and one rulebook finds one price.
        let mut found: Option<(u32, Option<&Quote>)> = None;
        for &holder in holders {
            let number = accounts[holder].rulebook;
            let rules = &rulebooks[place(number)].rules;
            let quote = match found {
                Some((same, quote)) if same == number => quote,
                _ => prices.best(rules, pair, at),
            };
            found = Some((number, quote));
            let Some(quote) = quote else { continue };
            if let Some(book) = accounts.change(holder).book.pair_mut(pair) {
                let price = mark_price(quote).get();
                let mark = Mark {
                    price,
                    bid: quote.bid,
                    ask: quote.ask,
                    source: Some(quote.source.clone()),
                    at: quote.end(),
                };
                value(rules, book, mark, at);
            }
        }
    }

    /// Moves positions that a mark has liquidated to the closed ones.
    fn retire_liquidated(&mut self, step: &mut Step, place: usize) {
        let ended = |book: &PairBook| book.open.as_ref().is_some_and(Position::is_closed);
        if !self.state.accounts[place].book.pairs().iter().any(ended) {
            return;
        }
        let at = step.stamp.at;
        let adopted = Arc::clone(self.rulebook_of(&self.state.accounts[place]));
        let mut closed = Vec::new();
        let account = self.state.accounts.change(place);
        for book in account.book.pairs_mut() {
            let Some(open) = book.open.as_ref().filter(|open| open.is_closed()) else { continue };
            // The mark that liquidated it went by the same record, which no one has replaced since.
            let record = self.state.prices.best(&adopted.rules, book.pair, at);
            let priced_by = record.map_or(PricedBy::LastMark, |quote| PricedBy::record(quote, at));
            // A liquidation adds one order, the flat.
            let first_new_order = open.orders().len() - 1;
            let fills = Fills { first_new_order, clamped: false, priced_by };
            step.report_fills(&account.trader, open, &fills);
            book.retire();
            self.index.set_holding(book.pair, place, false);
            closed.push(book.pair);
        }
        for pair in closed {
            self.cancel_orphans(step, place, pair);
        }
    }

    /// Renews fees and samples the accounts whose last sample is old enough; drops the claimed
    /// prices that nobody repeats, and the verdicts that wait for them.
    ///
    /// # Errors
    /// None so far; a tick is always accepted.
    pub(super) fn tick(&mut self, step: &mut Step) -> Result<(), Rejection> {
        if let Some((_, adopted)) = self.state.rules_in_force(step.stamp.at) {
            let adopted = Arc::clone(adopted);
            let rules = &adopted.rules.prices;
            if self.state.prices.claims_expire(rules, step.stamp.at) {
                Arc::make_mut(&mut self.state.prices).expire_claims(rules, step.stamp.at);
            }
        }
        for place in 0..self.state.accounts.len() {
            if self.state.accounts[place].book.open_positions().next().is_some() {
                self.sample_if_due(step, place);
            }
            if self.state.accounts[place].frozen.is_some() {
                self.review_verdict(step, place);
            }
        }
        Ok(())
    }

    /// Samples every account once after a ledger cell has ended, so that cells close on time even
    /// where nothing happens, and forgets closed positions that are older than the window.
    pub(super) fn close_due_cells(&mut self, step: &mut Step) {
        let mut ended = |adopted: &Arc<Adopted>| step.begins_cell(adopted.rules.ledger.cell.value);
        // Nearly always no cell of any rulebook has ended, and no account need be looked at.
        if !self.state.rulebooks.iter().any(&mut ended) {
            return;
        }
        for place in 0..self.state.accounts.len() {
            let account = &self.state.accounts[place];
            if account.ledgers.is_none() || account.elimination.is_some() {
                continue;
            }
            let ledger = &self.rulebook_of(account).rules.ledger;
            let window = ledger.window.value;
            if !step.begins_cell(ledger.cell.value) {
                continue;
            }
            let cutoff = UtcMs(step.stamp.at.0 - window.0);
            let prices = &self.rulebook_of(account).rules.prices.clone();
            let account = self.state.accounts.change(place);
            account.recent.prune(prices, step.stamp.at);
            for book in account.book.pairs_mut() {
                book.forget_before(cutoff);
            }
            self.sample_and_enforce(step, place);
        }
    }

    fn sample_if_due(&mut self, step: &mut Step, place: usize) {
        let account = &self.state.accounts[place];
        let rules = &self.rulebook_of(account).rules.ledger;
        let liquidated = account.book.pairs().iter().any(|book| book.totals.value == 0.0);
        let at = step.stamp.at;
        let due = |ledgers: &Bundle| ledgers.is_due(rules, at);
        // When a cell has just ended, a sample was taken already; without another one the marks of
        // a half-day's last moment would go unseen.
        let begins_cell = step.begins_cell(rules.cell.value);
        // A verdict that waited is spoken in the commit that believes its price.
        let waits = account.frozen.is_some();
        if liquidated || waits || begins_cell || account.ledgers.as_ref().is_some_and(due) {
            self.sample_and_enforce(step, place);
        }
    }

    /// Samples the account and ends it when the sample says so.
    pub(super) fn sample_and_enforce(&mut self, step: &mut Step, place: usize) {
        if let Some(outcome) = self.sample(step, place) {
            self.enforce(step, place, &outcome);
        }
    }

    /// Tells the account's ledgers what its pairs are worth now.
    pub(super) fn sample(&mut self, step: &mut Step, number: usize) -> Option<Outcome> {
        let State { rulebooks, accounts, .. } = &mut self.state;
        let account = accounts.change(number);
        let rules = &rulebooks[place(account.rulebook)].rules;
        sample(step, rules, account, &mut self.samples)
    }
}

/// Tells the ledgers of `account` what its pairs are worth at the step's stamp; `samples` is there
/// for its capacity.
pub(super) fn sample(
    step: &mut Step,
    rules: &Rulebook,
    account: &mut Account,
    samples: &mut Vec<PairSample>,
) -> Option<Outcome> {
    samples.clear();
    for book in account.book.pairs_mut() {
        samples.push(pair_sample(rules, book, step));
    }
    for sample in &*samples {
        step.marks.add(sample.value);
        step.marks.add(sample.carry_fee);
        step.marks.add(sample.unrealized_pnl);
    }
    let sampled = account.ledgers.as_mut()?.sample(&rules.ledger, step.stamp.at, samples);
    match sampled {
        Ok(outcome) => {
            step.marks.add(outcome.value);
            step.marks.add(outcome.drawdown);
            let trader = &account.trader;
            step.events.extend(outcome.closed.iter().map(|closed| Event::CellClosed {
                trader: trader.clone(),
                pair: closed.pair,
                cell: closed.cell,
            }));
            Some(outcome)
        }
        Err(error) => {
            let trader = account.trader.clone();
            step.events.push(Event::SampleRefused { trader, problem: error.to_string() });
            None
        }
    }
}

/// Values the open position of `book` at `mark`.
pub(super) fn value(rules: &Rulebook, book: &mut PairBook, mark: Mark, at: UtcMs) {
    let Some(open) = book.open.as_mut() else { return };
    // A position that loses everything is closed at the rates of its last order.
    let rates = open.orders().last().map_or(Rates::NONE, |order| Rates {
        quote_usd: order.quote_usd_rate,
        usd_base: order.usd_base_rate,
    });
    let flat = ForcedFlatPrice::Found { price: mark.price, rates };
    match open.mark(rules, mark.price, at, flat) {
        Marked::Valued | Marked::Liquidated => {
            let moved = book.last_mark.as_ref().is_none_or(|last| last.price != mark.price);
            book.price_changed |= moved;
            book.valued_at = at;
            book.last_mark = Some(mark);
        }
        Marked::Idle | Marked::Unusable => {}
    }
}

/// Returns what the pair of `book` is worth at the step's stamp, with the fees of that moment.
fn pair_sample(rules: &Rulebook, book: &mut PairBook, step: &mut Step) -> PairSample {
    let at = step.stamp.at;
    let price_changed = std::mem::take(&mut book.price_changed);
    let totals = book.totals;
    let mut sample = PairSample {
        pair: book.pair,
        initialized_at: book.first_order_at,
        value: totals.value,
        spread_fee: totals.spread_fee,
        carry_fee: totals.carry_fee,
        realized_pnl: totals.realized_pnl,
        unrealized_pnl: 0.0,
        status: MarketStatus::NoOpenPositions,
    };
    let Some(open) = book.open.as_mut() else { return sample };
    let market_open = step.is_open(book.pair);
    let carry_fee =
        if market_open || rules.switches.closed_market_value == ClosedMarketValue::FeesApply {
            if book.valued_at < at {
                open.refresh_fees(rules, at);
                book.valued_at = at;
            }
            open.carry_fee()
        } else {
            // The reference's way: the value stands still while the fee product goes on (P-7).
            open.fees_at(rules, at).carry
        };
    sample.value *= open.return_at_close();
    sample.spread_fee *= open.spread_fee();
    sample.carry_fee *= carry_fee;
    sample.realized_pnl += open.realized_pnl();
    sample.unrealized_pnl += open.unrealized_pnl();
    sample.status = match (market_open, price_changed) {
        (false, _) => MarketStatus::MarketNotOpen,
        (true, false) => MarketStatus::OpenNoPriceChange,
        (true, true) => MarketStatus::OpenPriceChange,
    };
    sample
}
