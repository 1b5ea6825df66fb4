//! One trader's account: terms, positions, ledgers, end.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Price, TraderId, UtcMs};

use crate::accounts::Terms;
use crate::eliminations::{Elimination, PriceEvidence};
use crate::ledgers::Bundle;
use crate::positions::book::Book;

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
        }
    }

    /// Returns the price behind the last valuation of each open position, and of one that lost the
    /// whole account and is closed for that, as a verdict at `now` shows them.
    #[must_use]
    pub fn price_evidence(&self, now: UtcMs) -> Vec<PriceEvidence> {
        self.book
            .pairs()
            .iter()
            .filter(|book| book.open.is_some() || book.lost().is_some())
            .filter_map(|book| {
                let mark = book.last_mark.as_ref()?;
                let price = Price::new(mark.price).ok()?;
                Some(PriceEvidence {
                    pair: book.pair,
                    price,
                    bid: mark.bid,
                    ask: mark.ask,
                    source: mark.source.clone(),
                    at: mark.at,
                    lag: now.since(mark.at),
                })
            })
            .collect()
    }
}
