//! All positions of one trader by pair: open, closed, and what the closed ones amount to.

use std::ops::Deref;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{PositionId, Price, SourceName, TradePair, UtcMs};

use crate::positions::closed::{ClosedPositions, Shelf};
use crate::positions::position::{Order, Position};
use crate::rulebook::Rulebook;

/// The positions of one trader, one entry per pair ever traded, sorted by pair.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Book {
    pairs: Vec<PairBook>,
}

/// The positions of one trader on one pair. At most one is open.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct PairBook {
    /// The pair.
    pub pair: TradePair,
    /// When the trader's first order on the pair was filled: its ledger begins then.
    pub first_order_at: UtcMs,
    /// When the trader's last order on the pair was accepted: the cooldown counts from it (T-5).
    pub last_accepted_at: UtcMs,
    /// The open position.
    pub open: Option<Position>,
    /// What the open position, or the one that closed last, was valued at last.
    pub last_mark: Option<Mark>,
    /// When the open position was last given a price or new fees.
    pub valued_at: UtcMs,
    /// Whether a mark since the last ledger sample had another price than the one before.
    pub price_changed: bool,
    /// What all closed positions amount to.
    pub totals: ClosedTotals,
    closed: ClosedPositions,
}

/// A valuation of an open position.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Mark {
    /// Quote currency per unit of base.
    pub price: f64,
    /// Best bid of the price record or the order, when known.
    pub bid: Option<Price>,
    /// Best ask, likewise.
    pub ask: Option<Price>,
    /// The source; absent when the price is that of the position's own order.
    pub source: Option<SourceName>,
    /// The price record's last moment, or the order's time.
    pub at: UtcMs,
}

impl Mark {
    /// Returns the mark that a fill makes: the price of the order.
    pub(crate) fn at_order(order: &Order) -> Self {
        let known = |price: f64| Price::new(price).ok().filter(|price| price.get() > 0.0);
        let (bid, ask) = (known(order.bid), known(order.ask));
        Self { price: order.price, bid, ask, source: None, at: order.at }
    }
}

/// A position that is kept: the open one as it stands, or a closed one, which may have to be unpacked.
#[derive(Clone, Debug)]
pub enum Kept<'a> {
    /// It is open.
    Open(&'a Position),
    /// It is closed.
    Closed(Arc<Position>),
}

impl Deref for Kept<'_> {
    type Target = Position;

    fn deref(&self) -> &Position {
        match self {
            Self::Open(position) => position,
            Self::Closed(position) => position,
        }
    }
}

/// The closed positions of a pair, condensed: products of ratios and a sum of dollars.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct ClosedTotals {
    /// Product of the returns after fees.
    pub value: f64,
    /// Product of the spread fee factors.
    pub spread_fee: f64,
    /// Product of the carry fee factors.
    pub carry_fee: f64,
    /// Sum of realized PnL, USD.
    pub realized_pnl: f64,
    /// How many positions were closed.
    pub positions: u32,
}

impl Default for ClosedTotals {
    fn default() -> Self {
        Self { value: 1.0, spread_fee: 1.0, carry_fee: 1.0, realized_pnl: 0.0, positions: 0 }
    }
}

impl Book {
    /// Returns the entries of every pair ever traded, sorted by pair.
    #[must_use]
    pub fn pairs(&self) -> &[PairBook] {
        &self.pairs
    }

    /// Returns the entries for change; the set of pairs cannot change this way.
    pub fn pairs_mut(&mut self) -> &mut [PairBook] {
        &mut self.pairs
    }

    /// Returns the entry of `pair`, if it was ever traded.
    #[must_use]
    pub fn pair(&self, pair: TradePair) -> Option<&PairBook> {
        let place = self.pairs.binary_search_by_key(&pair, |book| book.pair).ok()?;
        self.pairs.get(place)
    }

    /// Returns the entry of `pair` for change, if it was ever traded.
    pub fn pair_mut(&mut self, pair: TradePair) -> Option<&mut PairBook> {
        let place = self.pairs.binary_search_by_key(&pair, |book| book.pair).ok()?;
        self.pairs.get_mut(place)
    }

    /// Returns the entry of `pair`, made at `at` when there was none.
    pub fn entry(&mut self, pair: TradePair, at: UtcMs) -> &mut PairBook {
        let place = match self.pairs.binary_search_by_key(&pair, |book| book.pair) {
            Ok(place) => place,
            Err(place) => {
                self.pairs.insert(place, PairBook::new(pair, at));
                place
            }
        };
        &mut self.pairs[place]
    }

    /// Removes the entry of `pair`, as if it had never been traded.
    pub(crate) fn remove(&mut self, pair: TradePair) {
        self.pairs.retain(|book| book.pair != pair);
    }

    /// Returns the open positions, sorted by pair.
    pub fn open_positions(&self) -> impl Iterator<Item = &Position> {
        self.pairs.iter().filter_map(|book| book.open.as_ref())
    }

    /// Returns what all positions are worth at their last marks: the product over the pairs, in
    /// the order of the table, as a multiple of the value at the start.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.pairs.iter().fold(1.0, |whole, pair| whole * pair.value())
    }

    /// Returns the sum of |net leverage| times the pair's multiplier over the open positions.
    #[must_use]
    pub fn portfolio_leverage(&self, rulebook: &Rulebook) -> f64 {
        self.open_positions()
            .map(|p| p.net_leverage().abs() * rulebook.portfolio_multiplier(p.pair()))
            .sum()
    }
}

impl PairBook {
    fn new(pair: TradePair, at: UtcMs) -> Self {
        Self {
            pair,
            first_order_at: at,
            last_accepted_at: at,
            open: None,
            last_mark: None,
            valued_at: at,
            price_changed: false,
            totals: ClosedTotals::default(),
            closed: ClosedPositions::default(),
        }
    }

    /// Returns what the positions of the pair are worth at the last mark, as a multiple of the value
    /// at the start.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.totals.value * self.open.as_ref().map_or(1.0, Position::return_at_close)
    }

    /// Returns the closed positions that are still kept, in the order of closing.
    #[must_use]
    pub fn closed(&self) -> &ClosedPositions {
        &self.closed
    }

    /// Returns the position that lost the whole account, if one did.
    #[must_use]
    pub fn lost(&self) -> Option<&Position> {
        self.closed.last().map(Arc::as_ref).filter(|position| position.is_liquidated())
    }

    /// Moves the open position to the closed ones when it has closed; returns it then.
    pub fn retire(&mut self) -> Option<Arc<Position>> {
        let mut position = self.open.take_if(|position| position.is_closed())?;
        position.shrink_to_fit();
        let position = Arc::new(position);
        // Infinity times the zero of a liquidation is not a number, and a state with one could not
        // be saved: the greatest number stands for everything beyond it.
        self.totals.value = (self.totals.value * position.return_at_close()).min(f64::MAX);
        self.totals.spread_fee *= position.spread_fee();
        self.totals.carry_fee *= position.carry_fee();
        self.totals.realized_pnl =
            (self.totals.realized_pnl + position.realized_pnl()).clamp(f64::MIN, f64::MAX);
        self.totals.positions += 1;
        self.closed.push(Arc::clone(&position));
        Some(position)
    }

    /// Takes back the closings since the closed positions amounted to `totals`; returns the
    /// positions that closed since, in that order.
    pub(crate) fn reopen(&mut self, totals: ClosedTotals) -> Vec<Arc<Position>> {
        let since = self.totals.positions.saturating_sub(totals.positions);
        self.totals = totals;
        self.closed.take_last(usize::try_from(since).unwrap_or(usize::MAX))
    }

    /// Forgets closed positions that ended before `cutoff`; what they amount to stays in `totals`.
    pub fn forget_before(&mut self, cutoff: UtcMs) {
        self.closed.forget_before(cutoff);
    }

    /// Returns the kept position `id`, open or closed.
    #[must_use]
    pub fn position(&self, id: &PositionId) -> Option<Kept<'_>> {
        self.positions().find(|position| position.id() == id)
    }

    /// Moves what is packed of the closed positions to `shelf`.
    pub(crate) fn shelve(&mut self, shelf: &dyn Shelf) {
        self.closed.shelve(shelf);
    }

    /// Returns every kept position: the open one, then the closed ones, that which closed last first.
    pub fn positions(&self) -> impl Iterator<Item = Kept<'_>> {
        self.open.iter().map(Kept::Open).chain(self.closed.iter().rev().map(Kept::Closed))
    }
}
