//! Exchange rates between dollars and a pair's two currencies at the moment of an order.
//!
//! Sizes are stated in dollars and profits arise in the quote currency, so an order carries two
//! rates. Which price they come from is a table; where to get a price is the caller's business.
//! Source: trading 2.4.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{AssetClass, TradePair};

/// The two rates that an order carries. Both are zero when there was no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Rates {
    /// Dollars per unit of quote currency.
    pub quote_usd: f64,
    /// Units of base per dollar.
    pub usd_base: f64,
}

impl Rates {
    /// The rates of an order without a price.
    pub const NONE: Self = Self { quote_usd: 0.0, usd_base: 0.0 };
}

/// Returns the rates of an order in `pair` at `price`.
///
/// `lookup` gives the price of another pair for the order's side, ask for a buyer and bid for a
/// seller, or `None` when there is none. The result is `None` when a cross needs such a price and
/// it is missing or unusable, or when a reciprocal is not a number: the order cannot be sized then.
/// A price of zero means that there was none and gives [`Rates::NONE`].
#[must_use]
pub fn rates(
    pair: TradePair,
    price: f64,
    mut lookup: impl FnMut(TradePair) -> Option<f64>,
) -> Option<Rates> {
    if price == 0.0 {
        return Some(Rates::NONE);
    }
    let (base, quote) = (pair.base(), pair.quote());
    let rates = if pair.class() != AssetClass::Forex || quote == "USD" {
        Rates { quote_usd: 1.0, usd_base: 1.0 / price }
    } else if base == "USD" {
        Rates { quote_usd: 1.0 / price, usd_base: 1.0 }
    } else {
        let usd_base = across(&format!("USD{base}"), &format!("{base}USD"), &mut lookup)?;
        let quote_usd = across(&format!("{quote}USD"), &format!("USD{quote}"), &mut lookup)?;
        Rates { quote_usd, usd_base }
    };
    let usable = |rate: f64| rate.is_finite() && rate > 0.0;
    (usable(rates.quote_usd) && usable(rates.usd_base)).then_some(rates)
}

/// Returns the pairs whose prices may be asked for to convert an order in `pair`.
#[must_use]
pub fn legs(pair: TradePair) -> Vec<TradePair> {
    let mut legs = Vec::new();
    // Any price will do to learn which pairs are asked for; both legs are, when the first is there.
    let _ = rates(pair, 1.0, |leg| {
        legs.push(leg);
        Some(1.0)
    });
    legs
}

/// Returns the price of pair `direct` if the table has it, else the reciprocal of `inverse`'s.
fn across(
    direct: &str,
    inverse: &str,
    lookup: &mut impl FnMut(TradePair) -> Option<f64>,
) -> Option<f64> {
    match TradePair::from_id(direct) {
        Some(pair) => lookup(pair),
        None => lookup(TradePair::from_id(inverse)?).map(|price| 1.0 / price),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every other pair costs 2, except USDCHF and NZDUSD, which nobody quotes.
    fn quoted(id: &str, price: f64) -> Option<Rates> {
        rates(TradePair::from_id(id).expect("in the table"), price, |other| {
            (!["USDCHF", "NZDUSD"].contains(&other.id())).then_some(2.0)
        })
    }

    fn is(quote_usd: f64, usd_base: f64) -> Option<Rates> {
        Some(Rates { quote_usd, usd_base })
    }

    #[test]
    fn a_dollar_quote_needs_no_other_price() {
        for id in ["BTCUSD", "EURUSD", "XAUUSD", "NVDA", "SPX"] {
            assert_eq!(quoted(id, 4.0), is(1.0, 0.25), "{id}");
        }
    }

    #[test]
    fn a_dollar_base_is_its_own_inverse() {
        assert_eq!(quoted("USDCAD", 4.0), is(0.25, 1.0));
    }

    #[test]
    fn a_cross_takes_each_leg_from_the_pair_that_exists() {
        assert_eq!(quoted("EURGBP", 0.87), is(2.0, 0.5), "EURUSD inverted, GBPUSD direct");
        assert_eq!(quoted("CADJPY", 110.0), is(0.5, 2.0), "USDCAD direct, USDJPY inverted");
    }

    #[test]
    fn a_cross_without_a_price_for_a_leg_has_no_rates() {
        assert_eq!(quoted("AUDCHF", 0.6), None);
        assert_eq!(quoted("NZDCAD", 0.8), None);
        let eurgbp = TradePair::from_id("EURGBP").expect("in the table");
        assert_eq!(rates(eurgbp, 0.87, |_| Some(0.0)), None, "a price of zero is no price");
    }

    #[test]
    fn without_a_price_the_rates_are_zero_and_extreme_prices_have_none() {
        assert_eq!(quoted("AUDCHF", 0.0), Some(Rates::NONE));
        for price in [5e-324, f64::INFINITY, f64::NAN, -1.0] {
            assert_eq!(quoted("BTCUSD", price), None, "{price}");
        }
    }
}
