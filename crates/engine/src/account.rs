//! One trader's account: terms, positions, ledgers, end, resting orders.

mod list;

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{Price, Stamp, TraderId, UtcMs};

use crate::accounts::Terms;
use crate::challenge_period::{Stage, Standing};
use crate::eliminations::{Bar, Elimination, Lifted, PriceEvidence};
use crate::frozen::Frozen;
use crate::ledgers::Bundle;
use crate::limit_orders::Resting;
use crate::positions::book::Book;
use crate::prices::Prices;
use crate::recent::Recent;
use crate::rulebook::PriceRules;

pub use list::{Accounts, Iter};

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
    /// The stage; none for who has ended or is not registered.
    pub standing: Option<Standing>,
    /// How often the account was begun anew: what belongs to an earlier epoch never counts in a
    /// later one.
    pub epoch: u32,
    /// Records that were lifted, oldest first; each ended an epoch.
    pub past: Vec<Arc<Lifted>>,
    /// Limit and bracket orders that wait for a price.
    pub resting: Resting,
    /// A verdict that waits for a price to be believed.
    pub frozen: Option<Frozen>,
    /// The orders whose price can still be corrected.
    pub recent: Recent,
}

impl Account {
    /// Returns a new account without positions. What was held against the trader before he had one
    /// is in `bar`.
    #[must_use]
    pub fn new(trader: TraderId, enrolled_at: UtcMs, rulebook: u32, bar: Bar) -> Self {
        Self {
            trader,
            enrolled_at,
            rulebook,
            terms: Terms::default(),
            book: Book::default(),
            ledgers: None,
            standing: None,
            elimination: bar.record,
            epoch: 0,
            past: bar.past,
            resting: Resting::default(),
            frozen: None,
            recent: Recent::default(),
        }
    }

    /// Begins a new epoch: no positions, no ledgers, no record. Terms stay, and so does what is
    /// remembered of order ids elsewhere.
    pub(crate) fn begin_epoch(&mut self) {
        self.book = Book::default();
        self.ledgers = None;
        self.elimination = None;
        self.frozen = None;
        self.recent = Recent::default();
        self.epoch += 1;
    }

    /// Returns from when on a challenge of this account counts: from the first order (C-24), unless
    /// it goes on where an end that was undone had cut it off.
    #[must_use]
    pub fn challenge_from(&self) -> Option<UtcMs> {
        let undone_at = self.past.last().map(|lifted| lifted.stamp.at);
        let resumed = self.standing.filter(|standing| {
            standing.stage == Stage::Challenge && undone_at.is_some_and(|at| standing.since < at)
        });
        resumed.map(|standing| standing.since).or_else(|| self.first_order_at())
    }

    /// Drops everything but the terms and a compact record of the end (E-56, P-16).
    pub(crate) fn purge(&mut self, stamp: Stamp) {
        self.book = Book::default();
        self.ledgers = None;
        if let Some(record) = &mut self.elimination {
            record.prices.clear();
            record.flat_orders.clear();
            record.purged = Some(stamp);
        }
    }

    /// Returns when the trader's first order was filled: the challenge counts from it (C-24).
    #[must_use]
    pub fn first_order_at(&self) -> Option<UtcMs> {
        self.book.pairs().iter().map(|book| book.first_order_at).min()
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
                    bid: mark.bid,
                    ask: mark.ask,
                    source: mark.source.clone(),
                    at: mark.at,
                    lag: at.since(mark.at),
                    sources: support.sources,
                    agreeing: support.agreeing,
                    spread_bps: support.spread_bps,
                })
            })
            .collect()
    }
}
