//! Latest quotes per source; freshness; the price an order is filled at.
//!
//! The latest record of each source of a pair is kept. A price is taken only from a record that is
//! fresh at the moment that asks: a feed event for some seconds, a bar for its own span after its
//! end. There is no fall-back to an older one (F-4): no price is an answer.

pub mod conversion;
pub mod slippage;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::quote::InvalidQuote;
use proctor_types::{AssetClass, Price, Quote, Side, TradePair, UtcMs};

use crate::rulebook::PriceRules;

/// Length of the bars whose bid and ask are used as fill prices (trading 7.2).
const ONE_SECOND_MS: i64 = 1_000;

/// The latest record of every source, by pair.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Prices {
    /// One list per row of the pair table, each sorted by source.
    latest: Vec<Vec<Quote>>,
}

/// Why a price record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum QuoteRefusal {
    /// Its own numbers contradict each other.
    #[error(transparent)]
    Invalid(#[from] InvalidQuote),
    /// Its time is after the commit that brings it.
    #[error("its time {0} lies in the future")]
    Future(UtcMs),
    /// The source has already told something newer.
    #[error("a record of the same source at {0} is newer")]
    Old(UtcMs),
    /// Bid and ask are too far apart to mean anything.
    #[error("bid and ask are further apart than {0} of the bid")]
    WideSpread(f64),
}

impl QuoteRefusal {
    /// Returns the stable code for events and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Future(_) => "future",
            Self::Old(_) => "old",
            Self::WideSpread(_) => "wide_spread",
        }
    }
}

impl Prices {
    /// Takes `quote` as the latest record of its source.
    ///
    /// # Errors
    /// [`QuoteRefusal`] when the record contradicts itself, is not newer than the source's last, lies
    /// in the future, or has a spread beyond the rules; nothing is changed then.
    pub fn update(
        &mut self,
        rules: &PriceRules,
        at: UtcMs,
        quote: &Quote,
    ) -> Result<(), QuoteRefusal> {
        quote.check()?;
        if quote.end().0 > at.0 + rules.future_max.value.0 {
            return Err(QuoteRefusal::Future(quote.end()));
        }
        if let (Some(bid), Some(ask)) = (quote.bid, quote.ask)
            && (ask.get() - bid.get()) / bid.get() > rules.spread_max.value
        {
            return Err(QuoteRefusal::WideSpread(rules.spread_max.value));
        }
        if self.latest.len() < TradePair::COUNT {
            self.latest.resize_with(TradePair::COUNT, Vec::new);
        }
        let records = &mut self.latest[quote.pair.index()];
        match records.binary_search_by(|held| held.source.cmp(&quote.source)) {
            Ok(place) if records[place].end() >= quote.end() => {
                Err(QuoteRefusal::Old(records[place].end()))
            }
            Ok(place) => {
                records[place].clone_from(quote);
                Ok(())
            }
            Err(place) => {
                records.insert(place, quote.clone());
                Ok(())
            }
        }
    }

    /// Returns the record of `pair` nearest to `at` among those that are fresh then; of two equally
    /// near ones the first by source name.
    #[must_use]
    pub fn best(&self, rules: &PriceRules, pair: TradePair, at: UtcMs) -> Option<&Quote> {
        self.latest
            .get(pair.index())?
            .iter()
            .filter(|quote| is_fresh(rules, quote, at))
            .min_by_key(|quote| quote.distance(at))
    }

    /// Returns every record of `pair`, fresh or not, sorted by source.
    #[must_use]
    pub fn latest(&self, pair: TradePair) -> &[Quote] {
        self.latest.get(pair.index()).map_or(&[], Vec::as_slice)
    }
}

/// Tells whether `quote` may price something at `at`.
fn is_fresh(rules: &PriceRules, quote: &Quote, at: UtcMs) -> bool {
    let valid_ms = if quote.is_event() { rules.event_fresh.value.0 } else { quote.span.0 };
    quote.distance(at) <= valid_ms
}

/// Returns the price of `quote` for an order at `at` (trading 7.2).
///
/// `opened` is the direction of the position that a FLAT closes; bid and ask count only in
/// one-second bars of forex pairs, elsewhere slippage stands for the cost of crossing the spread.
#[must_use]
pub fn fill_price(quote: &Quote, at: UtcMs, side: Side, opened: Option<Side>) -> Price {
    let one_second = quote.span.0 == ONE_SECOND_MS;
    if quote.pair.class() == AssetClass::Forex
        && one_second
        && let (Some(bid), Some(ask)) = (quote.bid, quote.ask)
    {
        return match (side, opened) {
            (Side::Long, _) | (Side::Flat, Some(Side::Short)) => ask,
            (Side::Short | Side::Flat, _) => bid,
        };
    }
    if quote.is_event() {
        return quote.open;
    }
    let (to_start, to_end) = ((at.0 - quote.start.0).abs(), (at.0 - quote.end().0).abs());
    if to_start < to_end { quote.open } else { quote.close }
}

/// Returns the price at which open positions are valued by `quote` (trading 3.11).
#[must_use]
pub fn mark_price(quote: &Quote) -> Price {
    quote.close
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulebook::{Rulebook, VANTA};
    use proctor_types::{DurationMs, SourceName};

    const T0: UtcMs = UtcMs(1_762_207_200_000);

    fn rules() -> PriceRules {
        Rulebook::parse(VANTA).expect("the built-in rulebook").prices
    }

    fn price(number: f64) -> Price {
        Price::new(number).expect("finite")
    }

    fn event(source: &str, at: UtcMs, number: f64) -> Quote {
        let pair = TradePair::from_id("BTCUSD").expect("in the table");
        Quote::event(pair, SourceName::new(source).expect("valid"), at, price(number))
    }

    fn bar(pair: &str, start: UtcMs, span_ms: i64, open: f64, close: f64) -> Quote {
        Quote {
            pair: TradePair::from_id(pair).expect("in the table"),
            span: DurationMs(span_ms),
            high: price(open.max(close)),
            low: price(open.min(close)),
            open: price(open),
            close: price(close),
            ..event("bars", start, open)
        }
    }

    #[test]
    fn an_event_is_fresh_for_eight_seconds_and_then_there_is_no_price() {
        let (rules, mut prices) = (rules(), Prices::default());
        let quote = event("a", T0, 100.0);
        prices.update(&rules, T0, &quote).expect("taken");
        let best = |ms: i64| prices.best(&rules, quote.pair, UtcMs(T0.0 + ms)).is_some();
        assert!(best(0) && best(8_000));
        assert!(!best(8_001), "F-4: no older price is used instead");
    }

    #[test]
    fn a_bar_is_fresh_for_its_own_span_after_its_end() {
        let (rules, mut prices) = (rules(), Prices::default());
        let quote = bar("BTCUSD", T0, 60_000, 100.0, 101.0);
        prices.update(&rules, UtcMs(T0.0 + 60_000), &quote).expect("taken at its end");
        let best = |ms: i64| prices.best(&rules, quote.pair, UtcMs(T0.0 + ms)).is_some();
        assert!(best(60_000) && best(119_999));
        assert!(!best(120_000));
    }

    #[test]
    fn the_nearest_source_wins_and_a_tie_goes_to_the_first_name() {
        let (rules, mut prices) = (rules(), Prices::default());
        for (source, ms) in [("b", 0), ("c", 500), ("a", 0)] {
            prices
                .update(&rules, UtcMs(T0.0 + 500), &event(source, UtcMs(T0.0 + ms), 100.0))
                .expect("taken");
        }
        let pair = TradePair::from_id("BTCUSD").expect("in the table");
        let best = |ms: i64| {
            prices.best(&rules, pair, UtcMs(T0.0 + ms)).expect("fresh").source.to_string()
        };
        assert_eq!(best(600), "c");
        assert_eq!(best(0), "a");
    }

    #[test]
    fn an_old_a_future_and_a_wide_record_are_refused() {
        let (rules, mut prices) = (rules(), Prices::default());
        prices.update(&rules, T0, &event("a", T0, 100.0)).expect("taken");
        let refused = |prices: &mut Prices, quote: Quote| {
            prices.update(&rules, T0, &quote).expect_err("refused").code()
        };
        assert_eq!(refused(&mut prices, event("a", T0, 101.0)), "old");
        assert_eq!(refused(&mut prices, event("b", UtcMs(T0.0 + 1_001), 101.0)), "future");
        let wide =
            Quote { bid: Some(price(100.0)), ask: Some(price(100.3)), ..event("b", T0, 100.0) };
        assert_eq!(refused(&mut prices, wide), "wide_spread");
        assert_eq!(refused(&mut prices, event("b", T0, -1.0)), "invalid");
        assert_eq!(prices.latest(event("a", T0, 1.0).pair).len(), 1);
    }

    #[test]
    fn appendix_a_price_choice_by_side() {
        let forex = Quote {
            bid: Some(price(1.1049)),
            ask: Some(price(1.1051)),
            ..bar("EURUSD", T0, 1_000, 1.105, 1.105)
        };
        for (side, opened, expected) in [
            (Side::Long, None, 1.1051),
            (Side::Short, None, 1.1049),
            (Side::Flat, Some(Side::Long), 1.1049),
            (Side::Flat, Some(Side::Short), 1.1051),
        ] {
            assert_eq!(fill_price(&forex, T0, side, opened).get(), expected, "{side} {opened:?}");
        }
        let crypto = bar("BTCUSD", T0, 1_000, 100.0, 101.0);
        for (ms, expected) in [(0, 100.0), (499, 100.0), (500, 101.0), (999, 101.0)] {
            assert_eq!(fill_price(&crypto, UtcMs(T0.0 + ms), Side::Long, None).get(), expected);
        }
        assert_eq!(crypto.distance(UtcMs(T0.0 + 999)), 0);
    }
}
