//! Slippage models per asset class: how much worse than quoted an order is filled.
//!
//! Slippage is a fraction of the price and always against the trader: a buy pays `price * (1 + s)`,
//! a sale receives `price * (1 - s)`. Which size of an order counts (as sent, clamped, or what a
//! closing order closes, S-1 and S-2) is for the caller to say. Source: trading 4.

mod model;

pub use model::{Coefficients, SideCoefficients, SizeTable, SlippageModel};

use std::collections::BTreeMap;

use proctor_types::{AssetClass, TradePair, UtcMs};
use serde::Deserialize;

use crate::rulebook::{Constant, RulebookError, Schedule, eras, field, positive, unit};

/// The unit that every model answers in.
const FRACTION: &str = "fraction of price";

/// Constants of the slippage models (trading 4).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlippageRules {
    /// Notional up to which, inclusive, an order slips by nothing.
    pub size_free_max: Constant<f64>,
    /// The most that any order slips by.
    pub rate_max: Constant<f64>,
    /// The model of each class by order time; a class that is not listed has none.
    pub class: BTreeMap<AssetClass, Schedule<SlippageModel>>,
}

/// What the slippage of an order depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlippageRequest<'a> {
    /// What is bought or sold.
    pub pair: TradePair,
    /// Multiple of the account size. Only its sign counts, and zero is a sale: so a closing order
    /// that says no size is taken for one (trading 4.2).
    pub leverage: f64,
    /// Notional in dollars; its sign does not count.
    pub value_usd: f64,
    /// Best bid in quote currency, zero when unknown.
    pub bid: f64,
    /// Best ask in quote currency, zero when unknown.
    pub ask: f64,
    /// When the order was accepted.
    pub at: UtcMs,
    /// How the pair traded lately, as known on the UTC day of `at`; `None` when not known.
    pub features: Option<&'a Features>,
}

/// How a pair traded in the days before an order (trading 4.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features {
    /// Annualised standard deviation of daily log returns: `0.2` is 20 % a year.
    pub volatility: f64,
    /// Mean volume of the last daily bars, in units of quantity (lots or shares).
    pub average_daily_volume: f64,
    /// Dollars for one unit of the pair's base; not used where that is the dollar, or for shares.
    pub usd_per_base: Option<f64>,
}

/// Why the slippage of an order cannot be told. Variants in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SlippageError {
    /// A number of the request is NaN, infinite, or out of its domain.
    #[error("{name} is {value}")]
    BadInput {
        /// Which one.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// No model covers the pair's asset class at that time.
    #[error("there is no slippage model for {class} at {at}")]
    NoModel {
        /// The asset class.
        class: AssetClass,
        /// The order's time.
        at: UtcMs,
    },
    /// The model of the time does not know the pair.
    #[error("the slippage of {0} is not known")]
    UnknownPair(TradePair),
    /// The model of the time was not fitted for orders of this size.
    #[error("order of {value_usd} USD is above the largest of {max_usd} USD")]
    TooLarge {
        /// The order's notional.
        value_usd: f64,
        /// The largest that the model knows.
        max_usd: f64,
    },
}

/// Returns the fraction of the price by which the order of `request` is filled worse than quoted,
/// between zero and [`SlippageRules::rate_max`].
///
/// # Errors
/// [`SlippageError`] names the first thing that stands against an answer.
pub fn slippage(
    rules: &SlippageRules,
    request: &SlippageRequest<'_>,
) -> Result<f64, SlippageError> {
    request.check()?;
    let class = request.pair.class();
    // Only the models of crypto make do without a quote.
    if request.bid * request.ask == 0.0 && class != AssetClass::Crypto {
        return Ok(0.0);
    }
    if request.value_usd.abs() <= rules.size_free_max.value {
        return Ok(0.0);
    }
    let model = rules
        .class
        .get(&class)
        .and_then(|schedule| schedule.at(request.at))
        .ok_or(SlippageError::NoModel { class, at: request.at })?;
    let rate = model.rate(request)?;
    Ok(rate.clamp(0.0, rules.rate_max.value))
}

impl SlippageRequest<'_> {
    fn check(&self) -> Result<(), SlippageError> {
        let finite = |name, value: f64| {
            if value.is_finite() { Ok(()) } else { Err(SlippageError::BadInput { name, value }) }
        };
        let at_least_zero = |name, value: f64| {
            if value.is_finite() && value >= 0.0 {
                Ok(())
            } else {
                Err(SlippageError::BadInput { name, value })
            }
        };
        finite("leverage", self.leverage)?;
        finite("value", self.value_usd)?;
        at_least_zero("bid", self.bid)?;
        at_least_zero("ask", self.ask)
    }

    /// Returns the absolute notional in dollars.
    fn size_usd(&self) -> f64 {
        self.value_usd.abs()
    }

    fn is_buy(&self) -> bool {
        self.leverage > 0.0
    }

    fn mid(&self) -> f64 {
        (self.bid + self.ask) / 2.0
    }
}

impl SlippageRules {
    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        unit("slippage.size_free_max", &self.size_free_max, "USD")?;
        positive("slippage.size_free_max", self.size_free_max.value)?;
        unit("slippage.rate_max", &self.rate_max, FRACTION)?;
        let most = self.rate_max.value;
        if !(most > 0.0 && most < 1.0) {
            return Err(field("slippage.rate_max", &format!("{most} must lie between 0 and 1")));
        }
        for (class, schedule) in &self.class {
            let name = format!("slippage.class.{class}");
            if schedule.unit != FRACTION {
                let problem =
                    format!("unit is {:?}, the rule computes in {FRACTION:?}", schedule.unit);
                return Err(field(&name, &problem));
            }
            eras(&name, schedule)?;
            for era in &schedule.eras {
                era.value.check(&format!("{name}, era from {}", era.from_ms.0), *class)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
