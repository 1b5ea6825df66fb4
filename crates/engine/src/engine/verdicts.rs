//! Holding a verdict back while the price it hangs on is not believed, and letting it go.

use std::sync::Arc;

use proctor_types::{Price, UtcMs};

use super::{Engine, Step};
use crate::account::Account;
use crate::event::Event;
use crate::frozen::{ClaimedPrice, Frozen, Thaw};
use crate::ledgers::drawdown;
use crate::positions::position::ForcedFlatPrice;
use crate::prices::quality::{Verdict, distance_bps};
use crate::prices::{Prices, mark_price};
use crate::rulebook::{Rulebook, SpikeGuard};

impl Engine {
    /// Freezes the account at `number` when claimed prices would end it, and thaws it when they no
    /// longer would. An account that was ended meanwhile is not frozen any more.
    pub(super) fn review_verdict(&mut self, step: &mut Step, number: usize) {
        let account = &self.state.accounts[number];
        let adopted = Arc::clone(self.rulebook_of(account));
        let rules = &adopted.rules;
        let claims = claims(rules, &self.state.prices, account, step.stamp.at);
        let ending = value_at_claims(rules, account, &claims, step.stamp.at)
            .filter(|value| ends(rules, account, *value));
        let trader = &account.trader;
        match (&account.frozen, ending) {
            (None, Some(value)) => {
                let frozen = Frozen { since: step.stamp, value, claims };
                let trader = trader.clone();
                step.events.push(Event::VerdictFrozen { trader, frozen: frozen.clone() });
                self.state.accounts.change(number).frozen = Some(frozen);
            }
            (Some(frozen), None) => {
                let why = why(rules, &self.state.prices, frozen, step.stamp.at);
                let (trader, since) = (trader.clone(), frozen.since);
                step.events.push(Event::VerdictThawed { trader, since, why });
                self.state.accounts.change(number).frozen = None;
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

/// Returns the claimed prices of the pairs that `account` holds, sorted by pair.
fn claims(rules: &Rulebook, prices: &Prices, account: &Account, at: UtcMs) -> Vec<ClaimedPrice> {
    if rules.switches.spike_guard == SpikeGuard::Off {
        return Vec::new();
    }
    let held = account.book.open_positions().map(|open| open.pair());
    held.filter(|pair| prices.is_claimed(*pair))
        .filter_map(|pair| {
            let quality = prices.quality(&rules.prices, pair, at);
            let believed = prices.believed(pair)?.price;
            // A claim whose record is no longer fresh still stands until it expires.
            let standing =
                || account.frozen.as_ref()?.claims.iter().find(|claim| claim.pair == pair).cloned();
            let Some(quote) = quality.claimed else {
                return standing().filter(|_| quality.verdict == Verdict::Stale);
            };
            let price = mark_price(quote);
            let (source, bps) = (quote.source.clone(), distance_bps(price, believed));
            Some(ClaimedPrice { pair, price, source, at: quote.end(), believed, bps })
        })
        .collect()
}

/// Returns what the portfolio of `account` would be worth at `claims`, or `None` without any.
fn value_at_claims(
    rules: &Rulebook,
    account: &Account,
    claims: &[ClaimedPrice],
    at: UtcMs,
) -> Option<f64> {
    if claims.is_empty() {
        return None;
    }
    let mut value = 1.0;
    for book in account.book.pairs() {
        let open = book.open.as_ref().map_or(1.0, |open| {
            let claim = claims.iter().find(|claim| claim.pair == book.pair);
            claim.map_or(open.return_at_close(), |claim| {
                let mut tried = open.clone();
                tried.mark(rules, claim.price.get(), at, ForcedFlatPrice::Missing);
                tried.return_at_close()
            })
        });
        if book.totals.value * open == 0.0 {
            return Some(0.0);
        }
        value *= book.totals.value * open;
    }
    Some(value.min(f64::MAX))
}

/// Tells whether `account` ends when its portfolio is worth `value`.
fn ends(rules: &Rulebook, account: &Account, value: f64) -> bool {
    let Some(ledgers) = &account.ledgers else { return false };
    let peak = ledgers.portfolio().peak().value;
    let (mode, limit) = (rules.switches.drawdown_limit, rules.elimination.drawdown_max.value);
    value <= 0.0 || drawdown::test(mode, limit, Some(value / peak)).breached
}

/// Returns why the claims of `frozen` no longer end the account.
fn why(rules: &Rulebook, prices: &Prices, frozen: &Frozen, at: UtcMs) -> Thaw {
    let Some(claim) = frozen.claims.iter().find(|claim| !prices.is_claimed(claim.pair)) else {
        // All are still claimed, at prices that are less bad.
        return Thaw::Returned;
    };
    let quality = prices.quality(&rules.prices, claim.pair, at);
    match (quality.verdict, quality.quote) {
        (Verdict::Disagreement { .. }, _) => Thaw::Contradicted,
        (_, Some(quote)) if nearer(mark_price(quote), claim) => Thaw::Bearable,
        (_, Some(_)) => Thaw::Returned,
        (_, None) => Thaw::NotRepeated,
    }
}

/// Tells whether `price` is nearer to what was claimed than to what was believed.
fn nearer(price: Price, claim: &ClaimedPrice) -> bool {
    distance_bps(price, claim.price) < distance_bps(price, claim.believed)
}
