//! Latest quotes per source; freshness; the price an order is filled at.
//!
//! The latest record of each source of a pair is kept, and those of the last minutes. A price is
//! taken only from a record that is fresh at the moment that asks: a feed event for some seconds, a
//! bar for its own span after its end. There is no fall-back to an older one (F-4): no price is an
//! answer. Whether a fresh price may be believed is for [`quality`] to say.

pub mod conversion;
pub mod quality;
mod ring;
pub mod slippage;

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::quote::InvalidQuote;
use proctor_types::{AssetClass, Price, Quote, Side, SourceName, TradePair, UtcMs};

use self::quality::{Believed, Claim, Quality};
use self::ring::Ring;
use crate::rulebook::{PriceRules, Rulebook, SpikeGuard};

/// Length of the bars whose bid and ask are used as fill prices (trading 7.2).
const ONE_SECOND_MS: i64 = 1_000;

/// The prices of every pair.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Prices {
    /// One entry per row of the pair table, each shared with readers until it changes.
    pairs: Vec<Arc<PairPrices>>,
}

/// What the sources say of one pair, and what of it is believed.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
struct PairPrices {
    /// Sorted by source.
    sources: Vec<SourcePrices>,
    /// The last price that was believed, and when.
    believed: Option<Believed>,
    /// A price that is not believed yet, while one is claimed.
    claim: Option<Claim>,
    /// What positions were valued at lately.
    marks: Ring<MarkRecord>,
}

/// What one source says of one pair.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
struct SourcePrices {
    latest: Quote,
    /// Its records of the last minutes, at most one for each millisecond.
    recent: Ring<PriceRecord>,
}

/// A price record of the last minutes, condensed.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct PriceRecord {
    /// Its last moment.
    pub at: UtcMs,
    /// The commit's time that brought it.
    pub taken_at: UtcMs,
    /// The price that positions would be valued at by it.
    pub price: Price,
    /// Best bid, when it was told.
    pub bid: Option<Price>,
    /// Best ask, when it was told.
    pub ask: Option<Price>,
}

/// What the sources of a pair say of a price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Support {
    /// How many have a fresh record.
    pub sources: u32,
    /// How many of them agree with the price.
    pub agreeing: u32,
    /// How far apart they are, in basis points of the lowest.
    pub spread_bps: f64,
}

/// What the open positions of a pair were valued at by one commit.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct MarkRecord {
    /// The commit's time.
    pub(crate) at: UtcMs,
    /// The price that was believed; absent when none was.
    pub(crate) believed: Option<Price>,
    /// The price of the nearest record, believed or not.
    pub(crate) nearest: Price,
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
        if self.pairs.len() < TradePair::COUNT {
            self.pairs.resize_with(TradePair::COUNT, Arc::default);
        }
        let shared = &mut self.pairs[quote.pair.index()];
        let found = shared.sources.binary_search_by(|held| held.latest.source.cmp(&quote.source));
        if let Ok(place) = found
            && shared.sources[place].latest.end() >= quote.end()
        {
            return Err(QuoteRefusal::Old(shared.sources[place].latest.end()));
        }
        let sources = &mut Arc::make_mut(shared).sources;
        let place = match found {
            Ok(place) => {
                sources[place].latest.clone_from(quote);
                place
            }
            Err(place) => {
                let fresh = SourcePrices { latest: quote.clone(), recent: Ring::default() };
                sources.insert(place, fresh);
                place
            }
        };
        let record = PriceRecord {
            at: quote.end(),
            taken_at: at,
            price: mark_price(quote),
            bid: quote.bid,
            ask: quote.ask,
        };
        let cutoff = UtcMs(at.0 - rules.retention.value.0);
        sources[place].recent.push(record, rules.kept_max(), |old| old.taken_at < cutoff);
        Ok(())
    }

    /// Decides what is believed of `pair` now that a commit has told all that it has to tell.
    pub(crate) fn settle(&mut self, rules: &PriceRules, pair: TradePair, at: UtcMs) {
        let Some(shared) = self.pairs.get_mut(pair.index()) else { return };
        let quality = shared.quality(rules, pair, at);
        let believed = quality.quote.map(mark_price);
        let claimed = quality.claimed.map(mark_price);
        let Some(nearest) = shared.nearest(rules, at).map(mark_price) else { return };
        let prices = Arc::make_mut(shared);
        let mut record = MarkRecord { at, believed, nearest };
        match (believed, claimed) {
            (Some(price), _) => {
                prices.believed = Some(Believed { price, at });
                prices.claim = None;
            }
            (None, Some(price)) => {
                let claim = Claim::again(rules, pair.class(), prices.claim, price, at);
                if claim.has_lasted(rules, at) {
                    record.believed = Some(price);
                    prices.believed = Some(Believed { price, at });
                    prices.claim = None;
                } else {
                    prices.claim = Some(claim);
                }
            }
            (None, None) => {}
        }
        let cutoff = UtcMs(at.0 - rules.retention.value.0);
        prices.marks.push(record, rules.kept_max(), |old| old.at < cutoff);
    }

    /// Tells whether there are claims that nobody has repeated for as long as one may keep a
    /// verdict waiting.
    pub(crate) fn claims_expire(&self, rules: &PriceRules, at: UtcMs) -> bool {
        self.pairs.iter().any(|prices| prices.claim_expires(rules, at))
    }

    /// Drops those claims.
    pub(crate) fn expire_claims(&mut self, rules: &PriceRules, at: UtcMs) {
        for shared in &mut self.pairs {
            if shared.claim_expires(rules, at) {
                Arc::make_mut(shared).claim = None;
            }
        }
    }

    /// Returns the record of `pair` nearest to `at` among those that are fresh then, whether or not
    /// it is believed; of two equally near ones the first by source name.
    #[must_use]
    pub fn nearest(&self, rules: &PriceRules, pair: TradePair, at: UtcMs) -> Option<&Quote> {
        self.pairs.get(pair.index())?.nearest(rules, at)
    }

    /// Returns what the fresh records of `pair` are worth at `at`.
    #[must_use]
    pub fn quality(&self, rules: &PriceRules, pair: TradePair, at: UtcMs) -> Quality<'_> {
        self.pairs
            .get(pair.index())
            .map_or_else(Quality::stale, |prices| prices.quality(rules, pair, at))
    }

    /// Returns how many fresh records of `pair` there are at `at`, how many of them agree with
    /// `price`, and how far apart they are.
    #[must_use]
    pub fn support(&self, rules: &PriceRules, pair: TradePair, price: Price, at: UtcMs) -> Support {
        let quality = self.quality(rules, pair, at);
        let (sources, spread_bps) = (quality.sources, quality.spread_bps);
        let fresh = self.latest(pair).filter(|quote| is_fresh(rules, quote, at));
        let agreeing = fresh.filter(|quote| quality::agree(rules, quote, price)).count();
        Support { sources, agreeing: u32::try_from(agreeing).unwrap_or(u32::MAX), spread_bps }
    }

    /// Returns the record of `pair` that an account of `rulebook` goes by at `at`: the one that is
    /// believed, or, where the rulebook has no guard against spikes, the nearest.
    #[must_use]
    pub fn best(&self, rulebook: &Rulebook, pair: TradePair, at: UtcMs) -> Option<&Quote> {
        match rulebook.switches.spike_guard {
            SpikeGuard::Freeze => self.quality(&rulebook.prices, pair, at).quote,
            SpikeGuard::Off => self.nearest(&rulebook.prices, pair, at),
        }
    }

    /// Returns whether a price of `pair` is claimed that is not believed yet.
    pub(crate) fn is_claimed(&self, pair: TradePair) -> bool {
        self.pairs.get(pair.index()).is_some_and(|prices| prices.claim.is_some())
    }

    /// Returns whether a price of any pair is claimed that is not believed yet.
    pub(crate) fn has_claims(&self) -> bool {
        self.pairs.iter().any(|prices| prices.claim.is_some())
    }

    /// Returns the last believed price of `pair` and when it was.
    #[must_use]
    pub fn believed(&self, pair: TradePair) -> Option<Believed> {
        self.pairs.get(pair.index())?.believed
    }

    /// Tells whether `earlier` has the very same records of `pair`, so that what changed between
    /// two views is found without a look at the records.
    #[must_use]
    pub fn shares_records(&self, earlier: &Self, pair: TradePair) -> bool {
        match (self.pairs.get(pair.index()), earlier.pairs.get(pair.index())) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Returns the latest record of each source of `pair`, fresh or not, sorted by source.
    pub fn latest(&self, pair: TradePair) -> impl Iterator<Item = &Quote> {
        let prices = self.pairs.get(pair.index());
        prices.into_iter().flat_map(|prices| prices.sources.iter().map(|source| &source.latest))
    }

    /// Returns the records of `pair` from the last minutes by source, oldest first each.
    pub fn recent(
        &self,
        pair: TradePair,
    ) -> impl Iterator<Item = (&SourceName, impl Iterator<Item = &PriceRecord>)> {
        let prices = self.pairs.get(pair.index());
        prices.into_iter().flat_map(|prices| {
            prices.sources.iter().map(|source| (&source.latest.source, source.recent.iter()))
        })
    }

    /// Returns what positions in `pair` were valued at after `after`, oldest first.
    pub(crate) fn marks_since(
        &self,
        pair: TradePair,
        after: UtcMs,
    ) -> impl Iterator<Item = &MarkRecord> {
        let prices = self.pairs.get(pair.index());
        prices
            .into_iter()
            .flat_map(move |prices| prices.marks.iter().filter(move |mark| mark.at > after))
    }
}

impl PairPrices {
    fn nearest(&self, rules: &PriceRules, at: UtcMs) -> Option<&Quote> {
        let latest = self.sources.iter().map(|source| &source.latest);
        latest.filter(|quote| is_fresh(rules, quote, at)).min_by_key(|quote| quote.distance(at))
    }

    fn claim_expires(&self, rules: &PriceRules, at: UtcMs) -> bool {
        self.claim.is_some_and(|claim| claim.has_expired(rules, at))
            && self.nearest(rules, at).is_none()
    }

    fn quality(&self, rules: &PriceRules, pair: TradePair, at: UtcMs) -> Quality<'_> {
        let latest = self.sources.iter().map(|source| &source.latest);
        let fresh = latest.filter(|quote| is_fresh(rules, quote, at));
        quality::judge(rules, pair.class(), fresh, self.believed, at)
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
        let best = |ms: i64| prices.nearest(&rules, quote.pair, UtcMs(T0.0 + ms)).is_some();
        assert!(best(0) && best(8_000));
        assert!(!best(8_001), "F-4: no older price is used instead");
    }

    #[test]
    fn a_bar_is_fresh_for_its_own_span_after_its_end() {
        let (rules, mut prices) = (rules(), Prices::default());
        let quote = bar("BTCUSD", T0, 60_000, 100.0, 101.0);
        prices.update(&rules, UtcMs(T0.0 + 60_000), &quote).expect("taken at its end");
        let best = |ms: i64| prices.nearest(&rules, quote.pair, UtcMs(T0.0 + ms)).is_some();
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
            prices.nearest(&rules, pair, UtcMs(T0.0 + ms)).expect("fresh").source.to_string()
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
        assert_eq!(prices.latest(event("a", T0, 1.0).pair).count(), 1);
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
