//! Fills and their effects: positions, ledgers, and the end of an account, all in one commit.

use std::sync::Arc;

use proctor_types::{OrderId, PositionId, Side, Stamp, TraderId, UtcMs};

use super::{Engine, Step};
use crate::account::Account;
use crate::challenge_period::Stage;
use crate::eliminations::{DrawdownNote, Elimination, Origin, Reason, Slash};
use crate::event::{Event, PositionFacts, PricedBy};
use crate::ledgers::{Bundle, Drawdown, Mark as LedgerMark, Outcome, drawdown};
use crate::limit_orders::Cancellation;
use crate::orders::{Fill, Target, conversion_rates};
use crate::positions::book::{Mark, PairBook};
use crate::positions::position::{ForcedFlatPrice, OrderSource, Position};
use crate::prices::{Prices, fill_price};
use crate::recent::{Recent, RecentFill};
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
        fill: Box<Fill>,
    ) -> Result<(), Rejection> {
        let at = step.stamp.at;
        let pair = fill.pair;
        let account = self.state.accounts.change(place);
        let mark = Mark::at_order(&fill.order);
        let priced_by = fill.priced_by.clone();
        let is_first_order = account.ledgers.is_none();
        let waited = fill.order.source.is_resting_fill();
        let order = fill.order.id.clone();
        let full = matches!(fill.target, Target::NewAfterFull(_));
        let held = account.book.pair(pair).is_some_and(|book| book.open.is_some());
        let mut recent = RecentFill::ahead(&mut self.spare, pair, &order, account);
        let taken = match take_order(step, rules, account, fill) {
            Ok(taken) => taken,
            Err(refusal) => {
                self.spare = Some(recent);
                return Err(refusal);
            }
        };
        // The close of a full position is filled together with the order that opens the next.
        let closing =
            account.book.pair(pair).filter(|_| full).and_then(|book| book.closed().last());
        let closing = closing.and_then(|position| position.orders().last()).map(|o| o.id.clone());
        let mut second = None;
        if let Some(closing) = closing {
            Arc::make_mut(&mut recent).order = closing;
            second = Some(order);
        }
        account.recent.add(&rules.prices, at, recent, second, &mut self.spare);
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
        if holds != held {
            self.index.set_holding(pair, place, holds);
        }
        account.ledgers.get_or_insert_with(|| Bundle::new(at));
        if is_first_order {
            self.restart_clock(step, place);
        }
        self.cancel_orphans(step, place, pair);
        if waited {
            let until = UtcMs(at.0.saturating_add(rules.limit_orders.fill_interval.value.0));
            self.sleep(place, pair, at, until);
        }
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
        let reason = match (outcome.liquidated, verdict.breached) {
            (true, _) => Reason::Liquidated,
            (false, true) => breach(account),
            (false, false) => return,
        };
        let lost = portfolio.worst_drawdown().map(drawdown::percent_reported);
        let note = match lost {
            Some(lost) if !outcome.liquidated => DrawdownNote::percent(lost),
            Some(_) | None => DrawdownNote::without_number(reason),
        };
        let record = self.verdict_on(step.stamp, place, reason, note);
        self.eliminate(step, &adopted.rules, place, record);
    }

    /// Returns the record of a decision that this node takes on an account, with what it rests on.
    pub(super) fn verdict_on(
        &self,
        stamp: Stamp,
        place: usize,
        reason: Reason,
        note: DrawdownNote,
    ) -> Elimination {
        let account = &self.state.accounts[place];
        let prices = &self.rulebook_of(account).rules.prices;
        Elimination {
            fall: fall_behind(account, stamp.at, reason),
            prices: account.price_evidence(prices, &self.state.prices, stamp.at),
            flat_orders: lost_flats(account),
            ..Elimination::new(reason, stamp, note, Origin::Rule)
        }
    }

    /// Ends the account with all that follows from it, in this commit: the positions are closed,
    /// the trader leaves the stage and is barred, the slash is stated, the record is made (E-60 to
    /// E-66). The only way
    /// in which an account ends; one that has ended already stays as it is.
    pub(super) fn eliminate(
        &mut self,
        step: &mut Step,
        rules: &Rulebook,
        place: usize,
        mut record: Elimination,
    ) {
        if self.state.accounts[place].elimination.is_some() {
            return;
        }
        self.cancel_all(step, place, &Cancellation::Eliminated);
        record.flat_orders.extend(self.flatten_open(step, rules, place));
        // The last sample shows what the flat orders made of the account; the slash goes by it.
        self.sample(step, place);
        record.standing = self.state.accounts[place].standing;
        self.leave_programme(step, place, &record);
        let account = self.state.accounts.change(place);
        let trader = account.trader.clone();
        // What is decided elsewhere is slashed for elsewhere (E-65).
        let decided_here = matches!(record.origin, Origin::Rule | Origin::Published);
        if decided_here && record.reason.slashes() {
            let ratio = last_ratio(account, record.reason);
            let slash = Slash::intended(rules.elimination.drawdown_max.value, ratio);
            record.slash = Some(slash);
            step.events.push(Event::SlashIntended {
                trader: trader.clone(),
                decided: record.stamp,
                drawdown: slash.drawdown,
                proportion: slash.proportion,
            });
        }
        account.elimination = Some(record.clone());
        account.frozen = None;
        account.recent = Recent::default();
        step.events.push(Event::Eliminated { trader, record });
    }

    /// Closes every open position of the account by force; returns the orders that did it.
    pub(super) fn flatten_open(
        &mut self,
        step: &mut Step,
        rules: &Rulebook,
        place: usize,
    ) -> Vec<OrderId> {
        let account = self.state.accounts.change(place);
        let mut flats = Vec::new();
        for book in account.book.pairs_mut() {
            let Some(open) = book.open.as_mut() else { continue };
            let first_new_order = open.orders().len();
            let priced_by = flatten(step, rules, &self.state.prices, open);
            flats.extend(open.orders().since(first_new_order).map(|order| order.id.clone()));
            let fills = Fills { first_new_order, clamped: false, priced_by };
            step.report_fills(&account.trader, open, &fills);
            book.retire();
            self.index.set_holding(book.pair, place, false);
        }
        flats
    }
}

/// Returns for which reason the drawdown limit ends the account: the limit holds in every stage,
/// its name is that of the stage (E-50, C-37).
pub(super) fn breach(account: &Account) -> Reason {
    match account.standing.map(|standing| standing.stage) {
        Some(Stage::Challenge | Stage::Probation) => Reason::FailedChallengePeriodDrawdown,
        Some(Stage::Funded | Stage::UnderReview) | None => Reason::MaxTotalDrawdown,
    }
}

/// Returns the fall of the portfolio that a verdict for `reason` rests on, if it rests on one.
fn fall_behind(account: &Account, at: UtcMs, reason: Reason) -> Option<Drawdown> {
    let portfolio = account.ledgers.as_ref()?.portfolio();
    match reason {
        Reason::Liquidated => {
            Some(Drawdown { peak: portfolio.peak(), trough: LedgerMark { at, value: 0.0 } })
        }
        Reason::MaxTotalDrawdown | Reason::FailedChallengePeriodDrawdown => portfolio.worst(),
        Reason::Zombie | Reason::Plagiarism | Reason::FailedChallengePeriodTime => None,
    }
}

/// Returns value / peak of an account that was just flattened; 1 when it never had a value (E-66).
fn last_ratio(account: &Account, reason: Reason) -> f64 {
    // A ledger ends before the value of zero, which has no logarithm.
    if reason == Reason::Liquidated {
        return 0.0;
    }
    account.ledgers.as_ref().map_or(1.0, |ledgers| ledgers.portfolio().drawdown())
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
    fill: Box<Fill>,
) -> Result<Taken, Rejection> {
    let Fill { pair, order, portfolio_leverage, flat_price, target, priced_by, .. } = *fill;
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
    let found = prices.best(rules, open.pair(), at).and_then(|quote| {
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
