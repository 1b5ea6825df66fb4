//! From one moment to the next: the reference's evaluations between two groups of orders
//! (trading 8.7).

use std::collections::{BTreeMap, BTreeSet};

use proctor_engine::ledgers::{Ledger, MarketStatus, ReplayRules, Sample};
use proctor_types::{DurationMs, TradePair, UtcMs, market_hours};

use super::book::{Book, Held};
use super::fees::Factors;
use super::replay::{LastPrice, Ledgers, Refused, Replay, refused};

/// Which ledger: of a pair, or of the portfolio.
type Key = Option<TradePair>;

const PORTFOLIO: Key = None;

/// What the positions behind a ledger amount to.
#[derive(Clone, Copy)]
struct Totals {
    value: f64,
    realized_pnl: f64,
    unrealized_pnl: f64,
    spread_fee: f64,
    carry_fee: f64,
    status: MarketStatus,
}

impl Totals {
    const NONE: Self = Self {
        value: 1.0,
        realized_pnl: 0.0,
        unrealized_pnl: 0.0,
        spread_fee: 1.0,
        carry_fee: 1.0,
        status: MarketStatus::NoOpenPositions,
    };

    /// Adds a position at its present value.
    fn take(&mut self, held: &Held, fees: Factors) {
        self.spread_fee *= fees.spread;
        self.carry_fee *= fees.carry;
        self.value *= held.return_at_close;
        self.realized_pnl += held.position.realized_pnl();
        self.unrealized_pnl += held.position.unrealized_pnl();
    }

    fn sample(self, at: UtcMs) -> Sample {
        Sample {
            at,
            value: self.value,
            status: self.status,
            spread_fee: self.spread_fee,
            carry_fee: self.carry_fee,
            realized_pnl: self.realized_pnl,
            unrealized_pnl: self.unrealized_pnl,
        }
    }
}

type AllTotals = BTreeMap<Key, Totals>;

/// What stays the same while time advances.
struct Span<'a> {
    start: UtcMs,
    end: UtcMs,
    /// Positions as they are after the orders at `end`.
    after: &'a [Held],
    /// Ledgers to build, the portfolio's first.
    keys: Vec<Key>,
}

impl Replay<'_> {
    /// Advances the ledgers from `start` to `end`; returns whether the portfolio became worthless.
    pub(super) fn advance(
        &mut self,
        ledgers: &mut Ledgers,
        book: &mut Book,
        start: UtcMs,
        end: UtcMs,
        after: &[Held],
    ) -> Result<bool, Refused> {
        let keys = self.keys(ledgers, book, start, after)?;
        if start > end || ledgers.portfolio.initialized_at() == end {
            return Ok(false);
        }
        let span = Span { start, end, after, keys };
        let (shortcut, has_open) = self.totals_at_end(book, &span);
        let replayed_from = self.now.0 + self.rulebook.ledger.replay.lag.value.0
            - self.rulebook.ledger.window.value.0;
        if has_open && end.0 >= replayed_from {
            return self.step_through(ledgers, book, &span);
        }
        // The value is the ledger's own where nothing is open, yet what is stored is "not open".
        let bypass =
            if has_open { MarketStatus::MarketNotOpen } else { MarketStatus::NoOpenPositions };
        for key in &span.keys {
            let totals = Totals { status: bypass, ..shortcut[key] };
            let status = MarketStatus::MarketNotOpen;
            self.update_ledger(ledgers, *key, &span, end, totals, status)?;
            ledgers.of_mut(*key)?.forget_before_window(&self.rulebook.ledger);
        }
        Ok(false)
    }

    /// Returns the ledgers to build and begins those of new pairs.
    fn keys(
        &self,
        ledgers: &mut Ledgers,
        book: &Book,
        start: UtcMs,
        after: &[Held],
    ) -> Result<Vec<Key>, Refused> {
        match ledgers.portfolio.last_update() {
            None => self.begin_ledger(&mut ledgers.portfolio)?,
            Some(last) if start.0 != last.0 + 1 => {
                return refused(format!("start {start} does not follow {last}"));
            }
            Some(_) => {}
        }
        let mut keys = vec![PORTFOLIO];
        if !self.portfolio_only {
            for (pair, positions) in &book.0 {
                if ledgers.pairs.contains_key(pair) {
                    keys.push(Some(*pair));
                    continue;
                }
                let opened = after.iter().find(|held| held.position.pair() == *pair);
                let (Some(opened), [before]) = (opened, positions.as_slice()) else {
                    return refused(format!("{pair} has positions and no ledger"));
                };
                if before.has_orders() {
                    return refused(format!("{pair} has orders and no ledger"));
                }
                let mut ledger = Ledger::new(opened.position.opened_at());
                self.begin_ledger(&mut ledger)?;
                ledgers.pairs.insert(*pair, ledger);
            }
        }
        for key in &keys {
            let last = ledgers.of(*key)?.last_update().unwrap_or(UtcMs(0));
            if start.0 != last.0 + 1 {
                return refused(format!("gap between {last} and {start}"));
            }
        }
        Ok(keys)
    }

    /// Gives an empty ledger its first cell, at the moment it begins with.
    fn begin_ledger(&self, ledger: &mut Ledger) -> Result<(), Refused> {
        let sample = Totals::NONE.sample(ledger.initialized_at());
        ledger
            .update(&self.rulebook.ledger, &sample)
            .map_err(|error| Refused(error.to_string()))?;
        Ok(())
    }

    /// Returns what all positions amount to with the orders at the end applied, and whether any is
    /// open before that.
    fn totals_at_end(&mut self, book: &Book, span: &Span<'_>) -> (AllTotals, bool) {
        let mut totals = AllTotals::from([(PORTFOLIO, Totals::NONE)]);
        let mut has_open = false;
        for (pair, positions) in &book.0 {
            totals.insert(Some(*pair), Totals::NONE);
            for (index, held) in positions.iter().enumerate() {
                has_open |= held.has_orders() && held.is_open();
                let then = span.after.iter().find(|after| after.position.pair() == *pair);
                let is_last = index + 1 == positions.len();
                let held = then.filter(|_| is_last).unwrap_or(held);
                let fees = self.fees.factors(self.rulebook, &held.position, span.end);
                for key in [PORTFOLIO, Some(*pair)] {
                    totals.entry(key).or_insert(Totals::NONE).take(held, fees);
                }
            }
        }
        (totals, has_open)
    }

    /// Evaluates second by second or minute by minute.
    fn step_through(
        &mut self,
        ledgers: &mut Ledgers,
        book: &mut Book,
        span: &Span<'_>,
    ) -> Result<bool, Refused> {
        let closed = self.condense(book, span);
        let open: BTreeSet<TradePair> = book
            .0
            .iter()
            .filter(|(_, positions)| positions.iter().any(is_dense))
            .map(|(pair, _)| *pair)
            .collect();
        ledgers.last_prices.retain(|pair, _| open.contains(pair));
        for key in &span.keys {
            if key.is_some_and(|pair| !open.contains(&pair)) {
                let totals = closed[key];
                let status = MarketStatus::NoOpenPositions;
                self.update_ledger(ledgers, *key, span, span.start, totals, status)?;
            }
        }
        let mut current = None;
        let mut at = span.start;
        while at < span.end {
            let rules = &self.rulebook.ledger.replay;
            let step = step_at(rules, span.start, span.end, at);
            let totals = self.evaluate(ledgers, book, &closed, at, step);
            if totals[&PORTFOLIO].value == 0.0 {
                self.liquidations.push(at);
                return Ok(true);
            }
            for key in open.iter().flat_map(|pair| self.keys_of(*pair)).collect::<BTreeSet<_>>() {
                self.check_gap(ledgers.of(key)?, at)?;
                let now = totals[&key];
                self.update_ledger(ledgers, key, span, at, now, now.status)?;
            }
            if step == rules.minute_step.value {
                self.ticks.minute += 1;
            } else {
                self.ticks.second += 1;
            }
            at = at.plus(step);
            current = Some(totals);
        }
        // Without any evaluation the reference trips over a variable that was never set.
        let Some(current) = current else { return refused("no time between two orders") };
        self.finish(ledgers, book, span, &current)?;
        Ok(false)
    }

    /// Returns what the closed positions amount to; it stays the same over the span.
    fn condense(&mut self, book: &Book, span: &Span<'_>) -> AllTotals {
        let mut totals: AllTotals = span.keys.iter().map(|key| (*key, Totals::NONE)).collect();
        for (pair, positions) in &book.0 {
            for held in positions.iter().filter(|held| !held.is_open()) {
                let at = held.last_order_at();
                let fees = self.fees.factors(self.rulebook, &held.position, at);
                for key in self.keys_of(*pair) {
                    let sum = totals.entry(key).or_insert(Totals::NONE);
                    sum.value *= held.return_at_close;
                    sum.realized_pnl += held.position.realized_pnl();
                    sum.spread_fee *= fees.spread;
                    sum.carry_fee *= fees.carry;
                }
            }
        }
        totals
    }

    /// Returns the ledgers that a position in `pair` counts in.
    fn keys_of(&self, pair: TradePair) -> Vec<Key> {
        if self.portfolio_only { vec![PORTFOLIO] } else { vec![Some(pair), PORTFOLIO] }
    }

    /// Returns what all positions amount to at `at`, by the candle that starts at its second or
    /// minute.
    fn evaluate(
        &mut self,
        ledgers: &mut Ledgers,
        book: &mut Book,
        closed: &AllTotals,
        at: UtcMs,
        step: DurationMs,
    ) -> AllTotals {
        let mut totals = closed.clone();
        let at = UtcMs(at.0 - at.0.rem_euclid(step.0));
        for (pair, positions) in &mut book.0 {
            for held in positions.iter_mut().filter(|held| is_dense(held)) {
                let fees = self.fees.factors(self.rulebook, &held.position, at);
                let status = self.value(ledgers, held, at, fees.product());
                for key in self.keys_of(*pair) {
                    let sum = totals.entry(key).or_insert(Totals::NONE);
                    sum.take(held, fees);
                    sum.status = sum.status.max(status);
                }
            }
        }
        totals
    }

    /// Values one open position at `at`.
    fn value(&self, ledgers: &mut Ledgers, held: &mut Held, at: UtcMs, fees: f64) -> MarketStatus {
        let pair = held.position.pair();
        if !market_hours::is_open(pair, at) {
            // The value stands still although the fee products move (P-7).
            return MarketStatus::MarketNotOpen;
        }
        let Some(price) = self.paths.get(&pair).and_then(|path| path.close(at.0)) else {
            held.apply_fees(fees);
            return MarketStatus::OpenNoPriceChange;
        };
        held.mark(self.rulebook, price, at, fees);
        let before = ledgers.last_prices.get(&pair).copied();
        let previous = before.map(|last| (last.price, last.at));
        ledgers.last_prices.insert(pair, LastPrice { price, at, previous });
        if before.is_some_and(|last| last.price == price) {
            MarketStatus::OpenNoPriceChange
        } else {
            MarketStatus::OpenPriceChange
        }
    }

    /// Brings all ledgers to the end of the span, with the value that its orders give.
    fn finish(
        &mut self,
        ledgers: &mut Ledgers,
        book: &Book,
        span: &Span<'_>,
        current: &AllTotals,
    ) -> Result<(), Refused> {
        for key in &span.keys {
            let totals = current[key];
            let corrected = span.after.iter().find(|after| {
                let pair = after.position.pair();
                // The portfolio is corrected by the first such pair only (P-6).
                (*key == PORTFOLIO || *key == Some(pair))
                    && span.keys.contains(&Some(pair))
                    && dense(book, pair).is_some()
            });
            let value = match corrected {
                Some(after) => {
                    let before = dense(book, after.position.pair());
                    let before = before.map_or(1.0, |held| held.return_at_close);
                    totals.value / before * after.return_at_close
                }
                None => totals.value,
            };
            let totals = Totals { value, ..totals };
            self.update_ledger(ledgers, *key, span, span.end, totals, totals.status)?;
            ledgers.of_mut(*key)?.forget_before_window(&self.rulebook.ledger);
        }
        Ok(())
    }

    /// Updates one ledger with `totals`, or with its own value where nothing can have changed; what
    /// is stored as the market's status may differ from the status that decides this.
    fn update_ledger(
        &self,
        ledgers: &mut Ledgers,
        key: Key,
        span: &Span<'_>,
        at: UtcMs,
        totals: Totals,
        status: MarketStatus,
    ) -> Result<(), Refused> {
        let just_closed = span.after.iter().any(|held| !held.is_open());
        let concerned = span.after.is_empty()
            || span.after.iter().any(|held| key == Some(held.position.pair()));
        let ledger = ledgers.of_mut(key)?;
        let still = ledger.current().filter(|cell| {
            totals.status == MarketStatus::NoOpenPositions
                && !just_closed
                && concerned
                && totals.spread_fee == cell.spread_fee
                && totals.carry_fee == cell.carry_fee
        });
        let value = still.map_or(totals.value, |cell| cell.value);
        let sample = Totals { value, status, ..totals }.sample(at);
        ledger
            .update(&self.rulebook.ledger, &sample)
            .map_err(|error| Refused(error.to_string()))?;
        Ok(())
    }

    fn check_gap(&self, ledger: &Ledger, at: UtcMs) -> Result<(), Refused> {
        let gap = ledger.last_update().map(|last| at.since(last));
        match gap.filter(|gap| *gap > self.rulebook.ledger.replay.tick_gap_max.value) {
            Some(gap) => refused(format!("{} ms between two evaluations", gap.0)),
            None => Ok(()),
        }
    }
}

/// Returns the time from the evaluation at `at` to the next: a long span goes by the minute, except
/// up to its first whole minute and in its last.
fn step_at(rules: &ReplayRules, start: UtcMs, end: UtcMs, at: UtcMs) -> DurationMs {
    let (second, minute) = (rules.second_step.value, rules.minute_step.value);
    let whole = at.0 - at.0.rem_euclid(second.0);
    let by_minute = end.since(start) > rules.minute_mode_above.value
        && whole.rem_euclid(minute.0) == 0
        && end.0 - whole > minute.0;
    if by_minute { minute } else { second }
}

/// Returns whether the position is evaluated: open, with an order.
fn is_dense(held: &Held) -> bool {
    held.is_open() && held.has_orders()
}

/// Returns the open position in `pair`.
fn dense(book: &Book, pair: TradePair) -> Option<&Held> {
    let (_, positions) = book.0.iter().find(|(own, _)| *own == pair)?;
    positions.iter().find(|held| is_dense(held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proctor_engine::Rulebook;
    use proctor_engine::rulebook::VANTA;

    /// 2025-11-04, 10:00 UTC.
    const TEN: i64 = 1_762_250_400_000;

    /// Returns the evaluations from `start` to `end`, in ms after ten, each with its step.
    fn evaluations(start: i64, end: i64) -> Vec<(i64, i64)> {
        let rules = Rulebook::parse(VANTA).unwrap().ledger.replay;
        let (mut at, mut evaluations) = (start, Vec::new());
        while at < end {
            let step = step_at(&rules, UtcMs(TEN + start), UtcMs(TEN + end), UtcMs(TEN + at)).0;
            evaluations.push((at, step));
            at += step;
        }
        evaluations
    }

    #[test]
    fn a_long_span_goes_by_the_minute_between_its_first_and_last_8_11() {
        let evaluations = evaluations(20_251, 3_600_000);
        let (first, rest) = evaluations.split_at(40);
        let (middle, last) = rest.split_at(58);
        assert_eq!((first[0], first[39]), ((20_251, 1_000), (59_251, 1_000)));
        assert_eq!((middle[0], middle[57]), ((60_251, 60_000), (3_480_251, 60_000)));
        assert_eq!((last[0], last[59]), ((3_540_251, 1_000), (3_599_251, 1_000)));
        assert_eq!(last.len(), 60);
        for (part, step) in [(first, 1_000), (middle, 60_000), (last, 1_000)] {
            assert!(part.iter().all(|(_, own)| *own == step));
        }
    }

    #[test]
    fn a_span_of_half_an_hour_goes_by_the_second_8_7() {
        assert!(evaluations(0, 1_800_000).iter().all(|(_, step)| *step == 1_000));
        assert_eq!(evaluations(0, 1_800_001)[0], (0, 60_000));
    }
}
