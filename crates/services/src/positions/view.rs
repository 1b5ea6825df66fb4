//! Pure: positions, ledgers and accounts of a view, as the messages of the contract.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use proctor_engine::account::Account;
use proctor_engine::distance::Distance;
use proctor_engine::ledgers::{Cell, Ledger};
use proctor_engine::positions::book::Kept;
use proctor_engine::positions::position::{Order, OrderSource, Position};
use proctor_engine::{Event, Rulebook, View};
use proctor_rpc::v1;
use proctor_types::{PositionId, Side, TradePair, TraderId, UtcMs};

use crate::paging::{self, List, Place};

/// Which positions are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Open ones.
    pub open: bool,
    /// Closed ones.
    pub closed: bool,
    /// Those of one pair; of all when absent.
    pub pair: Option<TradePair>,
}

/// Returns the accounts from `first` on that are to be kept, by trader. What is not taken costs no
/// sorting.
pub fn accounts_from<'a>(
    view: &'a View,
    first: Option<&TraderId>,
    keep: impl Fn(&Account) -> bool,
) -> impl Iterator<Item = &'a Account> {
    let places = view.accounts.iter().enumerate().filter(|(_, account)| keep(account));
    let named = places.map(|(place, account)| Reverse((&account.trader, place)));
    let wanted = named.filter(|Reverse((trader, _))| first.is_none_or(|first| *trader >= first));
    let mut heap: BinaryHeap<_> = wanted.collect();
    std::iter::from_fn(move || heap.pop())
        .filter_map(|Reverse((_, place))| view.accounts.get(place).map(AsRef::as_ref))
}

/// Returns a page of the positions of `accounts`, which come by trader: at most `size` behind
/// `after`, by trader and position; and the token of the next page, empty at the end.
pub fn positions<'a>(
    accounts: impl Iterator<Item = &'a Account>,
    wanted: Wanted,
    after: Option<&Place>,
    size: usize,
) -> (Vec<v1::Position>, String) {
    let of_account = |account: &'a Account| {
        let behind = after.filter(|place| place.trader == account.trader).map(|place| &*place.row);
        of_account(account, wanted, behind).into_iter().map(move |held| (&account.trader, held))
    };
    let rows = accounts.flat_map(of_account);
    let rows = rows.map(|(trader, held)| ((trader, held.id().clone()), position(trader, &held)));
    let (page, last) = paging::fill(rows, size);
    let token =
        last.map(|(trader, id): (_, PositionId)| List::Positions.token(trader, id.as_str()));
    (page, token.unwrap_or_default())
}

/// Returns the wanted positions of `account` behind `after`, by id.
fn of_account<'a>(account: &'a Account, wanted: Wanted, after: Option<&str>) -> Vec<Kept<'a>> {
    let books = account.book.pairs().iter();
    let books = books.filter(|book| wanted.pair.is_none_or(|pair| pair == book.pair));
    let mut found: Vec<Kept<'_>> = books
        .flat_map(|book| {
            let open = book.open.iter().filter(|_| wanted.open).map(Kept::Open);
            // Nothing is unpacked that is not wanted.
            let closed = wanted.closed.then(|| book.closed().iter().map(Kept::Closed));
            open.chain(closed.into_iter().flatten())
        })
        .filter(|position| after.is_none_or(|after| position.id().as_str() > after))
        .collect();
    found.sort_by(|a, b| a.id().cmp(b.id()));
    found
}

/// Returns the position of `account` that is called `id`, among those that are kept.
#[must_use]
pub fn find<'a>(account: &'a Account, id: &PositionId) -> Option<Kept<'a>> {
    account.book.pairs().iter().find_map(|book| book.position(id))
}

/// Returns a position without its orders.
#[must_use]
pub fn position(trader: &TraderId, held: &Position) -> v1::Position {
    v1::Position {
        trader: trader.to_string(),
        position_id: held.id().to_string(),
        pair: held.pair().to_string(),
        side: held.direction().map_or(v1::Side::Unspecified, side).into(),
        open: !held.is_closed(),
        opened_ms: held.opened_at().0,
        closed_ms: held.closed_at().map(|at| at.0),
        net_leverage: held.net_leverage(),
        net_quantity: held.net_quantity(),
        net_value: held.net_value(),
        average_entry_price: held.average_entry_price(),
        return_before_fees: held.current_return(),
        return_after_fees: held.return_at_close(),
        realized_pnl_usd: held.realized_pnl(),
        unrealized_pnl_usd: held.unrealized_pnl(),
        account_size_usd: held.account_size(),
        order_count: count(held.orders().len()),
        orders: Vec::new(),
    }
}

/// Returns a position with its orders, oldest first.
#[must_use]
pub fn position_with_orders(trader: &TraderId, held: &Position) -> v1::Position {
    v1::Position { orders: held.orders().iter().map(order).collect(), ..position(trader, held) }
}

fn order(order: &Order) -> v1::PositionOrder {
    let known = |price: f64| Some(price).filter(|price| *price > 0.0);
    v1::PositionOrder {
        order_id: order.id.to_string(),
        side: side(order.side).into(),
        leverage: order.leverage,
        quantity: order.quantity,
        value: order.value,
        price: order.price,
        bid: known(order.bid),
        ask: known(order.ask),
        slippage: order.slippage,
        filled_ms: order.at.0,
        source: source(order.source).into(),
    }
}

/// Returns the side as the contract names it.
#[must_use]
pub fn side(side: Side) -> v1::Side {
    match side {
        Side::Long => v1::Side::Long,
        Side::Short => v1::Side::Short,
        Side::Flat => v1::Side::Flat,
    }
}

/// Returns who made an order. What only waits or was cancelled is in no position.
fn source(source: OrderSource) -> &'static str {
    match source {
        OrderSource::Organic => "trader",
        OrderSource::LimitUnfilled | OrderSource::LimitFilled | OrderSource::LimitCancelled => {
            "limit"
        }
        OrderSource::BracketUnfilled
        | OrderSource::BracketFilled
        | OrderSource::BracketCancelled => "bracket",
        OrderSource::EliminationFlat => "elimination",
        OrderSource::PriceFilledEliminationFlat => "elimination_at_price",
        OrderSource::DeprecationFlat => "pair_withdrawn",
        OrderSource::MaxOrdersClose => "position_full",
    }
}

/// Returns the cells of `ledger` that end after `after`, at most `size`, and whether there are more.
#[must_use]
pub fn cells(ledger: &Ledger, after: UtcMs, size: usize) -> (Vec<v1::LedgerCell>, bool) {
    let closed = ledger.closed().map(|closed| (closed, true));
    let all = closed.chain(ledger.current().map(|current| (current, false)));
    let mut wanted = all.filter(|(cell, _)| cell.last_update > after);
    let page =
        wanted.by_ref().take(size).map(|(closed, complete)| cell(closed, complete)).collect();
    (page, wanted.next().is_some())
}

fn cell(cell: &Cell, complete: bool) -> v1::LedgerCell {
    v1::LedgerCell {
        start_ms: cell.start().0,
        last_update_ms: cell.last_update.0,
        complete,
        value: cell.value,
        gain: cell.gain,
        loss: cell.loss,
        spread_fee_loss: cell.spread_fee_loss,
        carry_fee_loss: cell.carry_fee_loss,
        peak: cell.peak,
        worst_drawdown: cell.worst_drawdown,
        realized_pnl_usd: cell.realized_pnl,
        unrealized_pnl_usd: cell.unrealized_pnl,
        open_ms: cell.open_ms.into(),
        updates: cell.n_updates,
    }
}

/// Returns the leverage of the portfolio and the most that it may be.
#[must_use]
pub fn leverage(rules: &Rulebook, account: &Account, at: UtcMs) -> (f64, f64) {
    // Before the first era there is no cap; what is sent is always a number.
    let cap = rules.portfolio_cap(at).min(f64::MAX);
    (account.book.portfolio_leverage(rules), cap)
}

/// Returns `account` on one page; `rules` are its own rulebook.
#[must_use]
pub fn account(view: &View, rules: &Rulebook, account: &Account) -> v1::Account {
    let at = view.stamp.at;
    let distance = Distance::of(rules, account);
    let standing = account.standing;
    let lives = account.elimination.is_none();
    let (leverage, cap) = leverage(rules, account, at);
    let limit = standing.and_then(|standing| {
        let limit = rules.challenge.time_limit(standing.stage)?;
        Some(standing.since.0.saturating_add(limit.0))
    });
    let number = |of: fn(&Distance) -> f64| distance.as_ref().map(of).filter(|n| n.is_finite());
    v1::Account {
        trader: account.trader.to_string(),
        registered: view.roster.admit(&account.trader).is_ok(),
        enrolled_ms: account.enrolled_at.0,
        account_size_usd: account
            .terms
            .recorded_size(at)
            .map(|_| account.terms.size(rules, at).get()),
        asset_class: account.terms.asset_class.map(|class| class.to_string()),
        bucket: standing.map(|standing| standing.stage.label().into()),
        bucket_since_ms: standing.map(|standing| standing.since.0),
        eliminated: account.elimination.as_ref().map(|record| record.reason.code().into()),
        value: number(|distance| distance.value),
        peak: number(|distance| distance.peak),
        drawdown: number(Distance::drawdown),
        drawdown_worst: worst_drawdown(account, distance.as_ref()),
        drawdown_max: Some(rules.elimination.drawdown_max.value),
        room: number(Distance::room).filter(|_| lives),
        portfolio_leverage: leverage,
        portfolio_leverage_cap: cap,
        open_positions: count(account.book.open_positions().count()),
        resting_orders: count(account.resting.orders().len()),
        time_limit_ms: limit,
        frozen: account.frozen.is_some(),
    }
}

/// Returns the deepest fall in the window as a fraction of its peak, the one of now included.
fn worst_drawdown(account: &Account, now: Option<&Distance>) -> Option<f64> {
    let sampled = account.ledgers.as_ref()?.portfolio().worst_drawdown();
    let sampled = sampled.map_or(0.0, |ratio| (1.0 - ratio).max(0.0));
    let worst = now.map_or(sampled, |now| sampled.max(now.drawdown()));
    Some(worst).filter(|worst| worst.is_finite())
}

/// Returns the positions that `events` changed, of one trader or of all, as they are in `view`.
/// A position that is gone by then is left out.
#[must_use]
pub fn changed(view: &View, events: &[Event], only: Option<&TraderId>) -> Vec<v1::Position> {
    let mut touched: BTreeMap<&TraderId, BTreeSet<&PositionId>> = BTreeMap::new();
    for event in events {
        if let Event::Filled { trader, position, .. }
        | Event::OrderCorrected { trader, position, .. } = event
            && only.is_none_or(|only| only == trader)
        {
            touched.entry(trader).or_default().insert(position);
        }
    }
    if touched.is_empty() {
        return Vec::new();
    }
    // One walk over all accounts, since looking up each trader is one walk too.
    let accounts = view.accounts.iter();
    let held = accounts.filter_map(|account| Some((account, touched.get(&account.trader)?)));
    held.flat_map(|(account, ids)| {
        let found = ids.iter().filter_map(|id| find(account, id));
        found.map(|held| position(&account.trader, &held))
    })
    .collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
