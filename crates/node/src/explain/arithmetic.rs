//! The value of a portfolio written out as the product it is.

use proctor_engine::account::Account;
use proctor_engine::positions::book::{ClosedTotals, PairBook};
use proctor_engine::positions::position::{ForcedFlatPrice, Position};
use proctor_engine::rulebook::{ClosedMarketValue, Rulebook};
use proctor_types::{PositionId, TradePair, UtcMs, market_hours};

use super::observer::opening_side;
use super::story::{ClosedValue, OpenValue, PairValue, PriceUsed, Valuation};

/// Returns what `account` is worth as its positions say, beside what its ledger says.
pub(super) fn standing_value(account: &Account, at: UtcMs, ledger_value: f64) -> Valuation {
    let pairs = account.book.pairs().iter().map(|book| {
        let price = book.last_mark.as_ref().map(|mark| PriceUsed {
            pair: book.pair.to_string(),
            price: mark.price,
            source: mark.source.as_ref().map(ToString::to_string),
            at: mark.at.into(),
            age_ms: at.since(mark.at).0,
            support: None,
        });
        let open = book.open.as_ref().map(|position| open_value(position, position, price));
        pair_value(book.pair, &book.totals, open)
    });
    product(pairs.collect(), ledger_value)
}

/// Returns what the account was worth when a verdict was taken, computed anew: from the account
/// before the commit, the orders of the commit except the flats that the verdict made, and the
/// prices of the record. `ended` are the positions that those flats closed.
pub(super) fn decided_value(
    rules: &Rulebook,
    (before, after): (Option<&Account>, &Account),
    at: UtcMs,
    (prices, ended): (&[PriceUsed], &[PositionId]),
    ledger_value: f64,
) -> Valuation {
    let pairs = after.book.pairs().iter().map(|book| {
        let earlier = before.and_then(|account| account.book.pair(book.pair));
        let price = prices.iter().find(|used| used.pair == book.pair.id()).cloned();
        decided_pair(rules, earlier, book, at, (price, ended))
    });
    product(pairs.collect(), ledger_value)
}

fn decided_pair(
    rules: &Rulebook,
    before: Option<&PairBook>,
    after: &PairBook,
    at: UtcMs,
    (price, ended): (Option<PriceUsed>, &[PositionId]),
) -> PairValue {
    let mut totals = before.map_or_else(ClosedTotals::default, |book| book.totals);
    let known = usize::try_from(totals.positions).unwrap_or(usize::MAX);
    let all = usize::try_from(after.totals.positions).unwrap_or(usize::MAX);
    let new = all.saturating_sub(known);
    let mut open = None;
    for position in after.closed().last_of(new) {
        if ended.contains(position.id()) {
            let earlier = before.and_then(|book| book.open.as_ref());
            let held = before_the_flat(rules, earlier, &position);
            let valued = valued(rules, held.clone(), at, price.as_ref());
            open = Some(open_value(&held, &valued, price.clone()));
        } else {
            totals.value *= position.return_at_close();
            totals.positions += 1;
        }
    }
    pair_value(after.pair, &totals, open)
}

/// Returns `ended` as it was before its last order, the flat.
fn before_the_flat(rules: &Rulebook, before: Option<&Position>, ended: &Position) -> Position {
    let mut held = match before.filter(|position| position.id() == ended.id()) {
        Some(position) => position.clone(),
        None => fresh(ended),
    };
    let before_the_last = ended.orders().len().saturating_sub(1);
    for order in ended.orders().iter().take(before_the_last).skip(held.orders().len()) {
        // These were taken before, so they are taken again; portfolio leverage only ever cuts.
        if held.add(rules, order.clone(), 0.0, ForcedFlatPrice::Missing).is_err() {
            return ended.clone();
        }
    }
    held
}

/// Returns `position` valued at `price` with the fees of `at`.
fn valued(
    rules: &Rulebook,
    mut position: Position,
    at: UtcMs,
    price: Option<&PriceUsed>,
) -> Position {
    // Without a source the price is that of the position's own order, which has valued it.
    if let Some(price) = price.filter(|price| price.source.is_some()) {
        position.mark(rules, price.price, at, ForcedFlatPrice::Missing);
    }
    let fees_apply = rules.switches.closed_market_value == ClosedMarketValue::FeesApply;
    if fees_apply || market_hours::is_open(position.pair(), at) {
        position.refresh_fees(rules, at);
    }
    position
}

fn fresh(like: &Position) -> Position {
    let size = proctor_types::Usd::new(like.account_size()).unwrap_or_default();
    Position::new(like.id().clone(), like.pair(), size, like.opened_at())
}

fn pair_value(pair: TradePair, totals: &ClosedTotals, open: Option<OpenValue>) -> PairValue {
    let closed = ClosedValue { positions: totals.positions, value: totals.value };
    let value = totals.value * open.as_ref().map_or(1.0, |open| open.return_after_fees);
    PairValue { pair: pair.to_string(), closed, open, value }
}

/// Tells what `held` is worth; `valued` is the same position with its value. A total loss leaves
/// no size in a position, so the sizes are those from before.
fn open_value(held: &Position, valued: &Position, price: Option<PriceUsed>) -> OpenValue {
    OpenValue {
        position: held.id().to_string(),
        side: opening_side(held).to_string(),
        account_size_usd: held.account_size(),
        net_leverage: held.net_leverage(),
        average_entry_price: held.average_entry_price(),
        net_quantity: held.net_quantity(),
        lot_size: held.pair().lot_size(),
        quote_usd_rate: held.orders().last().map_or(0.0, |order| order.quote_usd_rate),
        price,
        realized_pnl_usd: valued.realized_pnl(),
        unrealized_pnl_usd: valued.unrealized_pnl(),
        return_before_fees: valued.current_return(),
        spread_fee: valued.spread_fee(),
        carry_fee: valued.carry_fee(),
        return_after_fees: valued.return_at_close(),
    }
}

fn product(pairs: Vec<PairValue>, ledger_value: f64) -> Valuation {
    let product = pairs.iter().fold(1.0, |whole, pair| whole * pair.value);
    Valuation { pairs, product, ledger_value, agrees: product == ledger_value }
}
