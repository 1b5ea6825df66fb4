//! How far a living account is from its end.

use proctor_engine::View;
use proctor_engine::account::Account;
use proctor_engine::distance::Distance;
use proctor_engine::ledgers::drawdown;
use proctor_engine::rulebook::Rulebook;

use super::arithmetic;
use super::story::{BreachPrice, OpenValue, PriceQuality, Standing, Valuation};

/// Returns the standing of `account`, or `None` before its first order.
pub(crate) fn standing(rules: &Rulebook, account: &Account, view: &View) -> Option<Standing> {
    let as_of = view.stamp;
    let ledger = account.ledgers.as_ref()?.portfolio();
    let valuation = arithmetic::standing_value(account, as_of.at, ledger.value());
    let distance = Distance::of(rules, account)?;
    let Distance { value, peak, limit, limit_ratio, limit_value } = distance;
    let size = account.terms.size(rules, as_of.at).get();
    Some(Standing {
        value,
        peak,
        ratio: distance.ratio(),
        drawdown_percent: drawdown::percent_lost(distance.ratio()),
        limit,
        limit_ratio,
        limit_value,
        distance_percent: distance.room() * 100.0,
        distance_usd: (value - limit_value) * size,
        breach_prices: breach_prices(&valuation, limit_value),
        price_quality: price_quality(rules, account, view),
        frozen_since: account.frozen.as_ref().map(|frozen| frozen.since.into()),
        valuation,
    })
}

/// Returns how good the price of each open position is.
fn price_quality(rules: &Rulebook, account: &Account, view: &View) -> Vec<PriceQuality> {
    let at = view.stamp.at;
    let pairs = account.book.open_positions().map(|open| open.pair());
    pairs
        .map(|pair| {
            let quality = view.prices.quality(&rules.prices, pair, at);
            // Of a pair without a fresh record, how old the youngest one is.
            let youngest = view.prices.latest(pair).map(|quote| at.since(quote.end()).0).min();
            let used = quality.quote.or(quality.claimed);
            PriceQuality {
                pair: pair.to_string(),
                sources: quality.sources,
                agreeing: quality.agreeing,
                spread_bps: quality.spread_bps,
                stale_ms: used.map(|quote| at.since(quote.end()).0).or(youngest),
                flag: quality.verdict.code(),
            }
        })
        .collect()
}

/// Returns, for each open position, the price at which the portfolio is worth `limit_value` while
/// everything else stays as it is.
fn breach_prices(valuation: &Valuation, limit_value: f64) -> Vec<BreachPrice> {
    let open = valuation.pairs.iter().filter_map(|pair| pair.open.as_ref());
    open.filter_map(|open| {
        let price = open.price.as_ref()?;
        let others = valuation.product / open.return_after_fees;
        let breach_price = price_for(open, limit_value / others)?;
        Some(BreachPrice {
            pair: price.pair.clone(),
            price: price.price,
            breach_price,
            move_percent: (breach_price / price.price - 1.0) * 100.0,
        })
    })
    .collect()
}

/// Returns the price at which `open` returns `wanted` after its present fees, if there is one.
fn price_for(open: &OpenValue, wanted: f64) -> Option<f64> {
    let fees = open.spread_fee * open.carry_fee;
    let profit = (wanted / fees - 1.0) * open.account_size_usd - open.realized_pnl_usd;
    let per_unit = open.net_quantity * open.lot_size * open.quote_usd_rate;
    let price = open.average_entry_price + profit / per_unit;
    (price.is_finite() && price > 0.0).then_some(price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_of_a_breach_gives_the_return_that_was_wanted() {
        for (quantity, entry) in [(2.0, 50_000.0), (-0.5, 3_000.0)] {
            let open = OpenValue {
                position: "p".into(),
                side: "LONG".into(),
                account_size_usd: 100_000.0,
                net_leverage: 0.0,
                average_entry_price: entry,
                net_quantity: quantity,
                lot_size: 1.0,
                quote_usd_rate: 1.0,
                price: None,
                realized_pnl_usd: 120.0,
                unrealized_pnl_usd: 0.0,
                return_before_fees: 1.0,
                spread_fee: 0.999,
                carry_fee: 0.998,
                return_after_fees: 0.997,
            };
            let price = price_for(&open, 0.995).expect("there is one");
            let profit = 120.0 + (price - entry) * quantity;
            let value = (1.0 + profit / 100_000.0) * (0.999 * 0.998);
            assert!((value - 0.995).abs() < 1e-12, "{value}");
        }
    }
}
