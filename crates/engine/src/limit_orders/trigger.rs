//! When a resting order is reached: its levels, and an index of all levels by price.
//!
//! The index answers "whom does this price reach?" by a range of a sorted set, so a price costs as
//! much as it reaches and not as much as waits. It is derived from the state and never stored.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::{Price, Quote, Side, SourceName, TradePair, UtcMs};

use super::{Protection, RestingOrder, Terms};
use crate::prices::fill_price;

/// What one pays when buying and gets when selling, by one price record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Market {
    pub(crate) bid: Price,
    pub(crate) ask: Price,
}

impl Market {
    /// Returns the bid and ask of `quote` at `at`; where it tells none, the price that an order at
    /// that moment would get (trading 6.5).
    pub(crate) fn of(quote: &Quote, at: UtcMs) -> Self {
        let or_fill =
            |told: Option<Price>, side| told.unwrap_or_else(|| fill_price(quote, at, side, None));
        Self { bid: or_fill(quote.bid, Side::Short), ask: or_fill(quote.ask, Side::Long) }
    }
}

/// Which side of the market a level is compared with, and from where it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    /// The ask at the level or below.
    AskFalls,
    /// The bid at the level or below.
    BidFalls,
    /// The bid at the level or above.
    BidRises,
    /// The ask at the level or above.
    AskRises,
}

/// A price that an order waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    watch: Watch,
    price: Price,
    /// Whether the level itself is enough: it is for a limit, and not for a bracket.
    inclusive: bool,
}

/// A level that was reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reached {
    /// The level.
    pub(crate) level: Price,
    /// The bid or ask that reached it.
    pub(crate) market: Price,
    /// Whose price that was.
    pub(crate) source: SourceName,
    /// The last moment that the price record covers.
    pub(crate) source_at: UtcMs,
}

impl Level {
    fn market(self, market: Market) -> Price {
        match self.watch {
            Watch::AskFalls | Watch::AskRises => market.ask,
            Watch::BidFalls | Watch::BidRises => market.bid,
        }
    }

    fn is_reached(self, market: Market) -> bool {
        let price = self.market(market);
        match self.watch {
            _ if price == self.price => self.inclusive,
            Watch::AskFalls | Watch::BidFalls => price < self.price,
            Watch::BidRises | Watch::AskRises => price > self.price,
        }
    }
}

impl Terms {
    /// Returns the levels, in the order in which they are tested.
    pub(crate) fn levels(&self) -> impl Iterator<Item = Level> {
        let levels = match self {
            Self::Limit { side, limit, .. } => [limit_level(*side, *limit), None],
            Self::Bracket { direction, protection, .. } => bracket_levels(*direction, *protection),
        };
        levels.into_iter().flatten()
    }

    /// Returns the level that `quote` reaches at `at`; a stop loss before a take profit.
    pub(crate) fn reached(&self, quote: &Quote, at: UtcMs) -> Option<Reached> {
        let market = Market::of(quote, at);
        let level = self.levels().find(|level| level.is_reached(market))?;
        Some(Reached {
            level: level.price,
            market: level.market(market),
            source: quote.source.clone(),
            source_at: quote.end(),
        })
    }
}

fn limit_level(side: Side, price: Price) -> Option<Level> {
    let watch = match side {
        Side::Long => Watch::AskFalls,
        Side::Short => Watch::BidRises,
        Side::Flat => return None,
    };
    Some(Level { watch, price, inclusive: true })
}

/// A long position is sold at the bid, a short one bought back at the ask.
fn bracket_levels(direction: Side, protection: Protection) -> [Option<Level>; 2] {
    let (stop, take) = match direction {
        Side::Long => (Watch::BidFalls, Watch::BidRises),
        Side::Short => (Watch::AskRises, Watch::AskFalls),
        Side::Flat => return [None, None],
    };
    let level = |watch| move |price| Level { watch, price, inclusive: false };
    [protection.stop_loss.map(level(stop)), protection.take_profit.map(level(take))]
}

/// An entry of a sorted set of levels: price, whether equality counts (see below), place of the
/// account, number of the order.
///
/// Prices are positive, so their bits sort like they do.
type Entry = (u64, bool, usize, u64);

/// The levels of one pair and one rulebook.
#[derive(Debug, Default, PartialEq)]
struct Levels {
    /// By [`Watch`]. In the sets that a falling price reaches, what equality reaches sorts behind
    /// what it does not; in the others before it. So what a price reaches is one range.
    watched: [BTreeSet<Entry>; 4],
}

impl Levels {
    fn entry(level: Level, place: usize, number: u64) -> Entry {
        let falls = matches!(level.watch, Watch::AskFalls | Watch::BidFalls);
        (level.price.get().to_bits(), level.inclusive == falls, place, number)
    }

    fn set(&mut self, watch: Watch) -> &mut BTreeSet<Entry> {
        &mut self.watched[watch as usize]
    }

    fn is_empty(&self) -> bool {
        self.watched.iter().all(BTreeSet::is_empty)
    }

    fn reached(&self, market: Market) -> impl Iterator<Item = (usize, u64)> {
        let from = |price: Price| (price.get().to_bits(), true, 0, 0);
        let (bid, ask) = (from(market.bid), from(market.ask));
        let set = |watch: Watch| &self.watched[watch as usize];
        let falls = set(Watch::AskFalls).range(ask..).chain(set(Watch::BidFalls).range(bid..));
        let rises = set(Watch::BidRises).range(..bid).chain(set(Watch::AskRises).range(..ask));
        falls.chain(rises).map(|(_, _, place, number)| (*place, *number))
    }
}

/// The levels of all resting orders that may be filled now.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Triggers {
    /// By pair and place of the rulebook: accounts of one rulebook see one best price.
    levels: BTreeMap<(TradePair, u32), Levels>,
}

impl Triggers {
    /// Watches the levels of `order` of the account at `place`.
    pub(crate) fn insert(&mut self, rulebook: u32, place: usize, order: &RestingOrder) {
        let levels = self.levels.entry((order.pair, rulebook)).or_default();
        for level in order.terms.levels() {
            levels.set(level.watch).insert(Levels::entry(level, place, order.number));
        }
    }

    /// Stops watching them; does nothing when they were not watched.
    pub(crate) fn remove(&mut self, rulebook: u32, place: usize, order: &RestingOrder) {
        let key = (order.pair, rulebook);
        let Some(levels) = self.levels.get_mut(&key) else { return };
        for level in order.terms.levels() {
            levels.set(level.watch).remove(&Levels::entry(level, place, order.number));
        }
        if levels.is_empty() {
            self.levels.remove(&key);
        }
    }

    /// Returns the rulebooks whose accounts have watched orders on `pair`.
    pub(crate) fn rulebooks(&self, pair: TradePair) -> impl Iterator<Item = u32> {
        self.levels.range((pair, 0)..=(pair, u32::MAX)).map(|((_, rulebook), _)| *rulebook)
    }

    /// Returns account and number of each order that `market` reaches, in no particular order.
    pub(crate) fn reached(
        &self,
        pair: TradePair,
        rulebook: u32,
        market: Market,
    ) -> impl Iterator<Item = (usize, u64)> {
        self.levels.get(&(pair, rulebook)).into_iter().flat_map(move |found| found.reached(market))
    }
}

/// The pairs of accounts that wait out the interval after a fill: their levels are not watched, so
/// that orders which the price has passed meanwhile cost nothing until their time has come.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sleepers {
    until: BTreeMap<(usize, TradePair), UtcMs>,
    by_time: BTreeSet<(UtcMs, usize, TradePair)>,
}

impl Sleepers {
    /// Lets the pair of the account at `place` sleep until `until`.
    pub(crate) fn sleep(&mut self, place: usize, pair: TradePair, until: UtcMs) {
        if let Some(before) = self.until.insert((place, pair), until) {
            self.by_time.remove(&(before, place, pair));
        }
        self.by_time.insert((until, place, pair));
    }

    /// Tells whether the pair of the account at `place` sleeps.
    pub(crate) fn is_asleep(&self, place: usize, pair: TradePair) -> bool {
        self.until.contains_key(&(place, pair))
    }

    /// Wakes and returns one whose time has come at `at`.
    pub(crate) fn wake(&mut self, at: UtcMs) -> Option<(usize, TradePair)> {
        let (until, place, pair) = *self.by_time.first()?;
        if until > at {
            return None;
        }
        self.by_time.pop_first();
        self.until.remove(&(place, pair));
        Some((place, pair))
    }
}
