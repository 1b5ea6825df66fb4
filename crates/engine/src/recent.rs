//! The orders whose price can still be corrected, and how the account stood before each.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{OrderId, TradePair, UtcMs};

use crate::account::Account;
use crate::ledgers::bundle::BundlePoint;
use crate::positions::book::{ClosedTotals, PairBook};
use crate::rulebook::PriceRules;

/// The youngest orders of an account, oldest first. Shared with readers' copies.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Recent {
    pub(crate) fills: Vec<Arc<RecentFill>>,
}

/// An order that was filled lately.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct RecentFill {
    pub(crate) pair: TradePair,
    pub(crate) order: OrderId,
    /// The time of the commit that filled it.
    pub(crate) at: UtcMs,
    /// How the account stood before it; absent when it was filled together with the order before.
    pub(crate) before: Option<Before>,
}

/// How an account stood: what cannot be computed from its positions' orders.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Before {
    pub(crate) pairs: Vec<PairBefore>,
    pub(crate) ledgers: Option<BundlePoint>,
}

/// How one pair of an account stood.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct PairBefore {
    pub(crate) pair: TradePair,
    pub(crate) totals: ClosedTotals,
    pub(crate) price_changed: bool,
    /// The price of the last mark; absent when the value was that of the last order.
    pub(crate) marked: Option<f64>,
}

impl Before {
    /// Returns how `account` stands.
    pub(crate) fn of(account: &Account) -> Self {
        let pair = |book: &PairBook| PairBefore {
            pair: book.pair,
            totals: book.totals,
            price_changed: book.price_changed,
            marked: book
                .last_mark
                .as_ref()
                .filter(|mark| mark.source.is_some())
                .map(|mark| mark.price),
        };
        Self {
            pairs: account.book.pairs().iter().map(pair).collect(),
            ledgers: account.ledgers.as_ref().map(|ledgers| ledgers.point()),
        }
    }

    /// Returns how `pair` stood, if it had been traded.
    pub(crate) fn pair(&self, pair: TradePair) -> Option<&PairBefore> {
        let place = self.pairs.binary_search_by_key(&pair, |before| before.pair).ok()?;
        self.pairs.get(place)
    }
}

impl Recent {
    /// Adds the `orders` of `pair` that one commit filled together, and forgets the oldest ones.
    pub(crate) fn add(
        &mut self,
        rules: &PriceRules,
        pair: TradePair,
        at: UtcMs,
        before: Before,
        orders: impl Iterator<Item = OrderId>,
    ) {
        self.prune(rules, at);
        let mut before = Some(before);
        for order in orders {
            self.fills.push(Arc::new(RecentFill { pair, order, at, before: before.take() }));
        }
        let most = usize::try_from(rules.correctable_max.value).unwrap_or(usize::MAX);
        let surplus = self.fills.len().saturating_sub(most);
        self.forget(surplus);
    }

    /// Forgets the orders that are too old to be corrected.
    pub(crate) fn prune(&mut self, rules: &PriceRules, at: UtcMs) {
        let window = rules.correction_window.value;
        // From the oldest on, not by halves: each look at a fill is a cache miss, and mostly at most
        // one of them has become too old.
        let old = self.fills.iter().take_while(|fill| at.since(fill.at) > window).count();
        self.forget(old);
    }

    /// Forgets the oldest `count`, and with them those that cannot be replayed without them.
    fn forget(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let rest = self.fills.iter().skip(count);
        let orphans = rest.take_while(|fill| fill.before.is_none()).count();
        self.fills.drain(..count + orphans);
    }
}
