//! One trader's account: terms, positions, ledgers, end.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Price, TraderId, UtcMs};

use crate::accounts::Terms;
use crate::eliminations::{Elimination, PriceEvidence};
use crate::frozen::Frozen;
use crate::ledgers::Bundle;
use crate::positions::book::Book;
use crate::prices::Prices;
use crate::recent::Recent;
use crate::rulebook::PriceRules;

/// Everything the engine knows of one trader.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Account {
    /// Whose account it is.
    pub trader: TraderId,
    /// When the trader first appeared on the roster.
    pub enrolled_at: UtcMs,
    /// Place of the account's rulebook in the list of adopted ones.
    pub rulebook: u32,
    /// Account size and asset class.
    pub terms: Terms,
    /// Positions.
    pub book: Book,
    /// Ledgers, from the first order on.
    pub ledgers: Option<Bundle>,
    /// The record of the account's end.
    pub elimination: Option<Elimination>,
    /// A verdict that waits for a price to be believed.
    pub frozen: Option<Frozen>,
    /// The orders whose price can still be corrected.
    pub recent: Recent,
}

impl Account {
    /// Returns a new account without positions.
    #[must_use]
    pub fn new(trader: TraderId, enrolled_at: UtcMs, rulebook: u32) -> Self {
        Self {
            trader,
            enrolled_at,
            rulebook,
            terms: Terms::default(),
            book: Book::default(),
            ledgers: None,
            elimination: None,
            frozen: None,
            recent: Recent::default(),
        }
    }

    /// Returns the price behind the last valuation of each open position, and of one that lost the
    /// whole account and is closed for that, with what the sources of `prices` say of it at `at`.
    #[must_use]
    pub fn price_evidence(
        &self,
        rules: &PriceRules,
        prices: &Prices,
        at: UtcMs,
    ) -> Vec<PriceEvidence> {
        self.book
            .pairs()
            .iter()
            .filter(|book| book.open.is_some() || book.lost().is_some())
            .filter_map(|book| {
                let mark = book.last_mark.as_ref()?;
                let price = Price::new(mark.price).ok()?;
                let support = prices.support(rules, book.pair, price, at);
                Some(PriceEvidence {
                    pair: book.pair,
                    price,
                    source: mark.source.clone(),
                    at: mark.at,
                    sources: support.sources,
                    agreeing: support.agreeing,
                    spread_bps: support.spread_bps,
                })
            })
            .collect()
    }
}
