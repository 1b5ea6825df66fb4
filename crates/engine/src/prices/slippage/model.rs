//! The formulas of the slippage models and the numbers that each is made of.

use std::collections::BTreeMap;

use proctor_types::market_hours::new_york;
use proctor_types::{AssetClass, TradePair};
use serde::Deserialize;

use super::{Features, SlippageError, SlippageRequest};
use crate::rulebook::{RulebookError, field, positive};

/// One way to tell the slippage of an order; rates are fractions of the price.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "model", rename_all = "snake_case", deny_unknown_fields)]
pub enum SlippageModel {
    /// The same rate for every order of a pair; other pairs are refused (trading 4.2).
    Constant {
        /// The rate of each pair.
        rates: BTreeMap<TradePair, f64>,
    },
    /// A rate for each range of sizes, as measured on order books (trading 4.2).
    SizeSteps {
        /// What the measured rates are multiplied with.
        multiplier: f64,
        /// The rate of a pair without a table; not multiplied.
        fallback: f64,
        /// The measured rates of each pair.
        tables: BTreeMap<TradePair, SizeTable>,
    },
    /// Half a spread, roughly, plus the square root of the part that an order takes in a day's
    /// trading (trading 4.3 "BB+").
    SquareRootImpact {
        /// Weight of the spread as a fraction of the mid price.
        spread_weight: f64,
        /// Weight of the impact.
        impact_weight: f64,
        /// What the variance is divided by.
        variance_divisor: f64,
        /// Trading days of a year.
        days_per_year: f64,
        /// The part of a day's volume that is there to trade against.
        liquid_share: f64,
        /// The rate when the features are not known.
        fallback: f64,
    },
    /// A rate for one hour of the day in New York and another for the rest (trading 4.3).
    RolloverHour {
        /// The hour, 0 to 23.
        new_york_hour: u8,
        /// The rate in that hour.
        inside: f64,
        /// The rate in the others.
        outside: f64,
    },
    /// A linear model fitted per pair, side and size (trading 4.4).
    Fitted {
        /// The rate when the features are not known.
        fallback: f64,
        /// Upper ends of the sizes, inclusive, in dollars; a larger order is refused.
        to_usd: Vec<f64>,
        /// The coefficients of each pair.
        coefficients: BTreeMap<TradePair, SideCoefficients>,
    },
}

/// Measured rates of one pair by size and side.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeTable {
    /// Lower ends of the ranges, inclusive, in dollars; the last has no upper end.
    pub from_usd: Vec<f64>,
    /// The rate of a purchase in each range.
    pub long: Vec<f64>,
    /// The rate of a sale in each range.
    pub short: Vec<f64>,
}

/// Coefficients of one pair: a row for each size.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideCoefficients {
    /// Rows for purchases.
    pub buy: Vec<Coefficients>,
    /// Rows for sales.
    pub sell: Vec<Coefficients>,
}

/// One row of a fitted model, written as an array in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(from = "[f64; 4]")]
pub struct Coefficients {
    /// The constant part.
    pub intercept: f64,
    /// Weight of the spread as a fraction of the mid price.
    pub spread: f64,
    /// Weight of the annualised volatility.
    pub volatility: f64,
    /// Weight of the order's shares as a fraction of the average daily volume.
    pub volume: f64,
}

impl From<[f64; 4]> for Coefficients {
    fn from([intercept, spread, volatility, volume]: [f64; 4]) -> Self {
        Self { intercept, spread, volatility, volume }
    }
}

impl SlippageModel {
    /// Returns the rate before it is cut to what the rules allow; may be negative.
    pub(super) fn rate(&self, request: &SlippageRequest<'_>) -> Result<f64, SlippageError> {
        match self {
            Self::Constant { rates } => {
                rates.get(&request.pair).copied().ok_or(SlippageError::UnknownPair(request.pair))
            }
            Self::SizeSteps { multiplier, fallback, tables } => {
                let step = tables.get(&request.pair).and_then(|table| table.step(request));
                Ok(step.map_or(*fallback, |rate| rate * multiplier))
            }
            Self::SquareRootImpact {
                spread_weight,
                impact_weight,
                variance_divisor,
                days_per_year,
                liquid_share,
                fallback,
            } => {
                let Some(features) = known_features(request)? else { return Ok(*fallback) };
                let Some(volume) = volume(request, features)? else { return Ok(*fallback) };
                let variance = features.volatility * features.volatility;
                let daily = (variance / variance_divisor / days_per_year).sqrt();
                let share = volume / (liquid_share * features.average_daily_volume);
                let spread = request.ask - request.bid;
                Ok(spread_weight * spread / request.mid() + impact_weight * daily * share.sqrt())
            }
            Self::RolloverHour { new_york_hour, inside, outside } => {
                let hour = new_york(request.at).hour();
                Ok(if hour == i64::from(*new_york_hour) { *inside } else { *outside })
            }
            Self::Fitted { fallback, to_usd, coefficients } => {
                // The reference looks for features first, so that without them size is no matter.
                let Some(features) = known_features(request)? else { return Ok(*fallback) };
                let row = fitted_row(to_usd, coefficients, request)?;
                let mid = request.mid();
                let shares = request.size_usd() / mid;
                Ok(row.intercept
                    + row.spread * (request.ask - request.bid) / mid
                    + row.volatility * features.volatility
                    + row.volume * shares / features.average_daily_volume)
            }
        }
    }
}

impl SizeTable {
    /// Returns the measured rate of the range that the order's size lies in.
    fn step(&self, request: &SlippageRequest<'_>) -> Option<f64> {
        let rates = if request.is_buy() { &self.long } else { &self.short };
        let size = request.size_usd();
        self.from_usd
            .iter()
            .zip(rates)
            .rev()
            .find(|(from, _)| **from <= size)
            .map(|(_, rate)| *rate)
    }
}

/// Returns the features of the request if it has them and they can be computed with.
fn known_features<'a>(
    request: &SlippageRequest<'a>,
) -> Result<Option<&'a Features>, SlippageError> {
    let Some(features) = request.features else { return Ok(None) };
    let (volatility, volume) = (features.volatility, features.average_daily_volume);
    if !(volatility.is_finite() && volatility >= 0.0) {
        return Err(SlippageError::BadInput { name: "volatility", value: volatility });
    }
    if !(volume.is_finite() && volume > 0.0) {
        return Err(SlippageError::BadInput { name: "average daily volume", value: volume });
    }
    Ok(Some(features))
}

/// Returns the size of the order in the units of the average daily volume: lots of base currency,
/// else shares. `None` when the base currency's rate is not known.
fn volume(
    request: &SlippageRequest<'_>,
    features: &Features,
) -> Result<Option<f64>, SlippageError> {
    if request.pair.class() != AssetClass::Forex {
        return Ok(Some(request.size_usd() / request.mid()));
    }
    let usd_per_base = if request.pair.base() == "USD" { Some(1.0) } else { features.usd_per_base };
    match usd_per_base {
        // A rate of zero is how a price service says that it has none.
        None | Some(0.0) => Ok(None),
        Some(rate) if rate.is_finite() && rate > 0.0 => {
            Ok(Some(request.size_usd() / (request.pair.lot_size() * rate)))
        }
        Some(value) => Err(SlippageError::BadInput { name: "rate of the base currency", value }),
    }
}

fn fitted_row<'a>(
    to_usd: &[f64],
    coefficients: &'a BTreeMap<TradePair, SideCoefficients>,
    request: &SlippageRequest<'_>,
) -> Result<&'a Coefficients, SlippageError> {
    let sides = coefficients.get(&request.pair).ok_or(SlippageError::UnknownPair(request.pair))?;
    let rows = if request.is_buy() { &sides.buy } else { &sides.sell };
    let value_usd = request.size_usd();
    let row = to_usd.iter().zip(rows).find(|(to, _)| value_usd <= **to).map(|(_, row)| row);
    let max_usd = to_usd.last().copied().unwrap_or(0.0);
    row.ok_or(SlippageError::TooLarge { value_usd, max_usd })
}

impl SlippageModel {
    /// Tests the numbers of the model; `name` is the path of its era in the document.
    pub(super) fn check(&self, name: &str, class: AssetClass) -> Result<(), RulebookError> {
        match self {
            Self::Constant { rates } => rates.iter().try_for_each(|(pair, rate)| {
                belongs(name, *pair, class)?;
                not_negative(&format!("{name}, rates.{pair}"), *rate)
            }),
            Self::SizeSteps { multiplier, fallback, tables } => {
                positive(&format!("{name}, multiplier"), *multiplier)?;
                not_negative(&format!("{name}, fallback"), *fallback)?;
                tables.iter().try_for_each(|(pair, table)| {
                    belongs(name, *pair, class)?;
                    table.check(&format!("{name}, tables.{pair}"))
                })
            }
            Self::SquareRootImpact {
                spread_weight,
                impact_weight,
                variance_divisor,
                days_per_year,
                liquid_share,
                fallback,
            } => {
                not_negative(&format!("{name}, spread_weight"), *spread_weight)?;
                not_negative(&format!("{name}, impact_weight"), *impact_weight)?;
                positive(&format!("{name}, variance_divisor"), *variance_divisor)?;
                positive(&format!("{name}, days_per_year"), *days_per_year)?;
                positive(&format!("{name}, liquid_share"), *liquid_share)?;
                not_negative(&format!("{name}, fallback"), *fallback)
            }
            Self::RolloverHour { new_york_hour, inside, outside } => {
                if *new_york_hour > 23 {
                    return Err(field(&format!("{name}, new_york_hour"), "must be 0 to 23"));
                }
                not_negative(&format!("{name}, inside"), *inside)?;
                not_negative(&format!("{name}, outside"), *outside)
            }
            Self::Fitted { fallback, to_usd, coefficients } => {
                not_negative(&format!("{name}, fallback"), *fallback)?;
                increasing(&format!("{name}, to_usd"), to_usd)?;
                coefficients.iter().try_for_each(|(pair, sides)| {
                    belongs(name, *pair, class)?;
                    sides.check(&format!("{name}, coefficients.{pair}"), to_usd.len())
                })
            }
        }
    }
}

impl SizeTable {
    fn check(&self, name: &str) -> Result<(), RulebookError> {
        increasing(&format!("{name}.from_usd"), &self.from_usd)?;
        if self.from_usd.first() != Some(&0.0) {
            return Err(field(&format!("{name}.from_usd"), "must begin with 0"));
        }
        for (side, rates) in [("long", &self.long), ("short", &self.short)] {
            let name = format!("{name}.{side}");
            as_many(&name, rates.len(), self.from_usd.len())?;
            rates.iter().try_for_each(|rate| not_negative(&name, *rate))?;
        }
        Ok(())
    }
}

impl SideCoefficients {
    fn check(&self, name: &str, sizes: usize) -> Result<(), RulebookError> {
        for (side, rows) in [("buy", &self.buy), ("sell", &self.sell)] {
            let name = format!("{name}.{side}");
            as_many(&name, rows.len(), sizes)?;
            let numbers = rows.iter().flat_map(|r| [r.intercept, r.spread, r.volatility, r.volume]);
            if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
                return Err(field(&name, &format!("{number} must be a finite number")));
            }
        }
        Ok(())
    }
}

fn belongs(name: &str, pair: TradePair, class: AssetClass) -> Result<(), RulebookError> {
    if pair.class() == class {
        Ok(())
    } else {
        Err(field(name, &format!("{pair} is not a pair of class {class}")))
    }
}

fn not_negative(name: &str, value: f64) -> Result<(), RulebookError> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(field(name, &format!("{value} must be a finite number, zero or more")))
    }
}

fn increasing(name: &str, sizes: &[f64]) -> Result<(), RulebookError> {
    sizes.iter().try_for_each(|size| not_negative(name, *size))?;
    if sizes.is_empty() || sizes.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(field(name, "sizes must be listed in increasing order, one at least"));
    }
    Ok(())
}

fn as_many(name: &str, rows: usize, sizes: usize) -> Result<(), RulebookError> {
    if rows == sizes {
        Ok(())
    } else {
        Err(field(name, &format!("has {rows} rows for {sizes} sizes")))
    }
}
