//! One update of the reference: the orders up to a moment, group by group (trading 8.6, 8.8).

use std::collections::BTreeMap;

use proctor_engine::Rulebook;
use proctor_engine::ledgers::Ledger;
use proctor_types::{TradePair, UtcMs};

use super::book::{Book, Held, History};
use super::fees::FeeCache;
use super::path::Path;

/// Why the reference gives up an update: one of its assertions. The ledgers stay as they were.
pub(super) struct Refused(pub(super) String);

/// Returns the error that `reason` states.
pub(super) fn refused<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(reason.into()))
}

/// The ledgers of one trader with the prices last seen.
#[derive(Clone)]
pub(super) struct Ledgers {
    pub(super) portfolio: Ledger,
    pub(super) pairs: BTreeMap<TradePair, Ledger>,
    pub(super) last_prices: BTreeMap<TradePair, LastPrice>,
}

/// The price of the last candle seen, and of the one before.
#[derive(Clone, Copy)]
pub(super) struct LastPrice {
    pub(super) price: f64,
    pub(super) at: UtcMs,
    pub(super) previous: Option<(f64, UtcMs)>,
}

/// How many evaluations an update made, by step.
#[derive(Clone, Copy, Default)]
pub(super) struct Ticks {
    pub(super) second: u32,
    pub(super) minute: u32,
}

/// The reference's ledger builder for one trader.
pub(super) struct Replay<'a> {
    pub(super) rulebook: &'a Rulebook,
    pub(super) paths: &'a BTreeMap<TradePair, Path>,
    pub(super) portfolio_only: bool,
    /// The moment that the update under way builds up to.
    pub(super) now: UtcMs,
    pub(super) fees: FeeCache,
    pub(super) ticks: Ticks,
    pub(super) liquidations: Vec<UtcMs>,
    ledgers: Option<Ledgers>,
}

/// A group of orders of one millisecond: the positions after it.
pub(super) type After = Vec<Held>;

impl Ledgers {
    pub(super) fn of(&self, pair: Option<TradePair>) -> Result<&Ledger, Refused> {
        match pair {
            None => Ok(&self.portfolio),
            Some(pair) => {
                self.pairs.get(&pair).ok_or_else(|| Refused(format!("no ledger of {pair}")))
            }
        }
    }

    pub(super) fn of_mut(&mut self, pair: Option<TradePair>) -> Result<&mut Ledger, Refused> {
        match pair {
            None => Ok(&mut self.portfolio),
            Some(pair) => {
                self.pairs.get_mut(&pair).ok_or_else(|| Refused(format!("no ledger of {pair}")))
            }
        }
    }

    /// Returns when the portfolio was updated last; it begins with its first order.
    fn reached(&self) -> UtcMs {
        self.portfolio.last_update().unwrap_or(self.portfolio.initialized_at())
    }
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        rulebook: &'a Rulebook,
        paths: &'a BTreeMap<TradePair, Path>,
        portfolio_only: bool,
    ) -> Self {
        Self {
            rulebook,
            paths,
            portfolio_only,
            now: UtcMs(0),
            fees: FeeCache::default(),
            ticks: Ticks::default(),
            liquidations: Vec::new(),
            ledgers: None,
        }
    }

    /// Returns the ledgers, or `None` before an update that succeeded.
    pub(super) fn ledgers(&self) -> Option<&Ledgers> {
        self.ledgers.as_ref()
    }

    /// Returns the moments at which the last update found the portfolio to be worth nothing.
    pub(super) fn liquidations(&self) -> &[UtcMs] {
        &self.liquidations
    }

    /// Returns the evaluations of the last update.
    pub(super) fn ticks(&self) -> Ticks {
        self.ticks
    }

    /// Builds the ledgers up to `now`.
    pub(super) fn update(&mut self, histories: &[History], now: UtcMs) -> Result<(), Refused> {
        self.now = now;
        self.ticks = Ticks::default();
        self.liquidations.clear();
        let positions = sorted(histories, now);
        let mut ledgers = self.begin(&positions)?;
        if now < ledgers.portfolio.last_update().unwrap_or(UtcMs(0)) {
            return refused("update in the past");
        }
        self.build(&mut ledgers, &positions)?;
        self.ledgers = Some(ledgers);
        Ok(())
    }

    /// Returns a copy of the ledgers to build on.
    fn begin(&self, positions: &[(&History, Held)]) -> Result<Ledgers, Refused> {
        let first_order = |(_, held): &(&History, Held)| held.position.opened_at();
        let mut ledgers = match (&self.ledgers, positions.iter().map(first_order).min()) {
            (Some(ledgers), _) => ledgers.clone(),
            (None, None) => return refused("no positions"),
            (None, Some(first)) => Ledgers {
                portfolio: Ledger::new(first),
                pairs: BTreeMap::new(),
                last_prices: BTreeMap::new(),
            },
        };
        ledgers.portfolio.reset_peak();
        ledgers.pairs.values_mut().for_each(Ledger::reset_peak);
        Ok(ledgers)
    }

    fn build(
        &mut self,
        ledgers: &mut Ledgers,
        positions: &[(&History, Held)],
    ) -> Result<(), Refused> {
        let newest = positions.iter().map(|(_, held)| held.last_order_at()).max();
        let has_new_orders = newest >= ledgers.portfolio.last_update();
        let mut book = Book::default();
        let mut after = After::new();
        let mut is_continuous = false;
        if has_new_orders {
            for group in groups(positions) {
                self.apply(&mut book, &after);
                after = enter(&mut book, &group)?;
                let reached = ledgers.reached();
                if group.at < reached {
                    continue;
                }
                self.keep_continuous(&mut book, ledgers, reached, &mut is_continuous);
                if self.advance(ledgers, &mut book, next(reached), group.at, &after)? {
                    break;
                }
            }
            after.iter().for_each(|held| book.replace_last(held));
        } else {
            for (_, held) in positions {
                book.of_mut(held.position.pair()).push(held.clone());
            }
        }
        if ledgers.portfolio.last_update().is_none_or(|last| self.now > last) {
            let reached = ledgers.reached();
            self.keep_continuous(&mut book, ledgers, reached, &mut is_continuous);
            // A liquidation here ends the ledgers with the evaluation before it.
            self.advance(ledgers, &mut book, next(reached), self.now, &[])?;
        }
        Ok(())
    }

    /// Puts the positions after a group into the book. One that is worth nothing is reported and
    /// ends this, but not the update (P-3).
    fn apply(&mut self, book: &mut Book, after: &[Held]) {
        for held in after {
            book.replace_last(held);
            if held.return_at_close == 0.0 {
                self.liquidations.extend(held.position.closed_at());
                break;
            }
        }
    }

    /// Values open positions at the last price seen, so that resuming makes no jump (trading 8.8).
    fn keep_continuous(
        &mut self,
        book: &mut Book,
        ledgers: &Ledgers,
        at: UtcMs,
        is_continuous: &mut bool,
    ) {
        if std::mem::replace(is_continuous, true) {
            return;
        }
        for (pair, positions) in &mut book.0 {
            let Some(last) = ledgers.last_prices.get(pair) else { continue };
            for held in positions.iter_mut().filter(|held| held.is_open() && held.has_orders()) {
                if last.at > held.last_order_at() {
                    let fees = self.fees.factors(self.rulebook, &held.position, at).product();
                    held.mark(self.rulebook, last.price, at, fees);
                }
            }
        }
    }
}

fn next(at: UtcMs) -> UtcMs {
    UtcMs(at.0 + 1)
}

/// Returns the positions that have an order by `now`: closed ones by their close, open ones last.
fn sorted(histories: &[History], now: UtcMs) -> Vec<(&History, Held)> {
    let mut positions: Vec<_> = histories
        .iter()
        .filter_map(|history| Some((history, Held::new(history.at(now)?.clone()))))
        .collect();
    positions.sort_by_key(|(_, held)| held.position.closed_at().unwrap_or(UtcMs(i64::MAX)));
    positions
}

/// Orders of one millisecond, each with the history of its position.
struct Group<'a> {
    at: UtcMs,
    orders: Vec<&'a History>,
}

/// Returns the orders of all positions by time; at the same time in the order of the positions.
fn groups<'a>(positions: &[(&'a History, Held)]) -> Vec<Group<'a>> {
    let mut timeline: Vec<(UtcMs, &'a History)> = Vec::new();
    for (history, held) in positions {
        // A closed position of one order is damaged data to the reference.
        if held.is_open() || held.position.orders().len() >= 2 {
            timeline.extend(held.position.orders().iter().map(|order| (order.at, *history)));
        }
    }
    timeline.sort_by_key(|(at, _)| *at);
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (at, history) in timeline {
        match groups.last_mut().filter(|group| group.at == at) {
            Some(group) => group.orders.push(history),
            None => groups.push(Group { at, orders: vec![history] }),
        }
    }
    groups
}

/// Puts the positions before the orders of `group` into the book and returns those after them.
fn enter(book: &mut Book, group: &Group<'_>) -> Result<After, Refused> {
    let mut after = After::new();
    for history in &group.orders {
        let (before, then) = history.around(group.at);
        let pair = then.position.pair();
        if after.iter().any(|held: &Held| held.position.pair() == pair) {
            return refused(format!("two orders in {pair} at {}", group.at));
        }
        after.push(then);
        book.put(before);
        let positions = book.of_mut(pair);
        let open = positions.iter().filter(|held| held.is_open()).count();
        let last_is_open = positions.last().is_some_and(Held::is_open);
        if open > 1 || (open == 1 && !last_is_open) {
            return refused(format!("{open} open positions in {pair}"));
        }
    }
    Ok(after)
}
