//! `Quote`: one source's price of one pair, a point event or a bar.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{DurationMs, Price, SourceName, TradePair, UtcMs};

/// A price record (trading 7.1). A feed event is a point (`span` 0); a bar covers `span`.
///
/// All prices are positive; `high >= low`. [`Quote::check`] says so for one from outside.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Quote {
    /// The pair that is priced.
    pub pair: TradePair,
    /// Who says so.
    pub source: SourceName,
    /// The event's time, or the bar's open time.
    pub start: UtcMs,
    /// The bar's length; zero for a feed event.
    pub span: DurationMs,
    /// First price, quote currency per unit of base.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Best bid, when the source tells it.
    pub bid: Option<Price>,
    /// Best ask, when the source tells it.
    pub ask: Option<Price>,
}

/// Why a price record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum InvalidQuote {
    /// A price is zero or negative.
    #[error("price {0} is not positive")]
    NotPositive(Price),
    /// The high is below the low.
    #[error("high {high} is below low {low}")]
    Inverted {
        /// The bar's high.
        high: Price,
        /// The bar's low.
        low: Price,
    },
    /// Open or close lies outside the bar.
    #[error("price {0} lies outside the bar's low and high")]
    Outside(Price),
    /// The ask is below the bid.
    #[error("ask {ask} is below bid {bid}")]
    Crossed {
        /// The bid.
        bid: Price,
        /// The ask.
        ask: Price,
    },
    /// The span is negative.
    #[error("span {} ms is negative", .0.0)]
    NegativeSpan(DurationMs),
    /// The record begins or ends outside the years 1970 to 9999.
    #[error("{} ms from {} ms on are not within the years 1970 to 9999", .span.0, .start.0)]
    Time {
        /// Where it begins.
        start: UtcMs,
        /// How long it is.
        span: DurationMs,
    },
}

impl Quote {
    /// Returns a feed event: one price at one moment.
    #[must_use]
    pub fn event(pair: TradePair, source: SourceName, at: UtcMs, price: Price) -> Self {
        Self {
            pair,
            source,
            start: at,
            span: DurationMs(0),
            open: price,
            high: price,
            low: price,
            close: price,
            bid: None,
            ask: None,
        }
    }

    /// Tests what every usable price record obeys.
    ///
    /// # Errors
    /// [`InvalidQuote`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), InvalidQuote> {
        if self.span.0 < 0 {
            return Err(InvalidQuote::NegativeSpan(self.span));
        }
        if !self.start.is_in_range() || self.span > UtcMs::MAX.since(self.start) {
            return Err(InvalidQuote::Time { start: self.start, span: self.span });
        }
        let prices = [
            Some(self.open),
            Some(self.high),
            Some(self.low),
            Some(self.close),
            self.bid,
            self.ask,
        ];
        if let Some(price) = prices.into_iter().flatten().find(|p| p.get() <= 0.0) {
            return Err(InvalidQuote::NotPositive(price));
        }
        if self.high < self.low {
            return Err(InvalidQuote::Inverted { high: self.high, low: self.low });
        }
        if let Some(price) =
            [self.open, self.close].into_iter().find(|p| *p < self.low || *p > self.high)
        {
            return Err(InvalidQuote::Outside(price));
        }
        match (self.bid, self.ask) {
            (Some(bid), Some(ask)) if ask < bid => Err(InvalidQuote::Crossed { bid, ask }),
            _ => Ok(()),
        }
    }

    /// Returns true for a point event from a feed, false for a bar.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.span.0 == 0
    }

    /// Returns the last moment that the record covers (trading 7.1).
    #[must_use]
    pub fn end(&self) -> UtcMs {
        if self.is_event() { self.start } else { UtcMs(self.start.0 + self.span.0 - 1) }
    }

    /// Returns how far `at` is from the record, in ms (trading 7.1).
    #[must_use]
    pub fn distance(&self, at: UtcMs) -> i64 {
        (at.0 - self.start.0).abs().min((at.0 - self.end().0).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_outside_the_calendar_is_refused_before_anything_is_computed_from_its_time() {
        let pair = TradePair::from_id("BTCUSD").expect("in the table");
        let source = SourceName::new("test").expect("valid");
        let price = Price::new(1.0).expect("finite");
        let spanning = |start, span| {
            let event = Quote::event(pair, source.clone(), UtcMs(start), price);
            Quote { span: DurationMs(span), ..event }.check()
        };
        let max = UtcMs::MAX.0;
        assert_eq!(spanning(max - 1_000, 1_000), Ok(()));
        for (start, span) in
            [(max - 1_000, 1_001), (max + 1, 0), (-1, 0), (i64::MIN, 0), (i64::MAX, i64::MAX)]
        {
            let refused = Err(InvalidQuote::Time { start: UtcMs(start), span: DurationMs(span) });
            assert_eq!(spanning(start, span), refused);
        }
    }
}
