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
