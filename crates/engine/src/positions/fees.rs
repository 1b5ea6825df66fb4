//! Spread and carry fees of one position.
//!
//! Fees are factors on a return: 1 is no fee. The spread fee follows the leverage that was traded,
//! the carry fee the leverage that was held over interval boundaries. Source: trading 3.8, 3.9.

pub mod carry;
pub mod legacy;

use std::collections::BTreeMap;

use proctor_types::{AssetClass, UtcMs};
use serde::Deserialize;

use crate::rulebook::{Constant, RulebookError, at_least, field, unit};

/// Constants of the fees (trading 3.8, 3.9).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeRules {
    /// Spread fee per unit of traded leverage; a class that is absent pays none.
    pub spread: BTreeMap<AssetClass, Constant<f64>>,
    /// From when on spread and carry are the fee. Before it the fee was [`FeeRules::single`].
    pub spread_from: Constant<UtcMs>,
    /// The only fee of the first era, per unit of the greatest leverage held.
    pub single: BTreeMap<AssetClass, Constant<f64>>,
    /// From when on carry accrues.
    pub carry_from: Constant<UtcMs>,
    /// Carry fee per class.
    pub carry: BTreeMap<AssetClass, CarryRules>,
    /// First order time at which slippage moves entry and exit prices.
    pub slippage_from: Constant<UtcMs>,
}

/// Carry fee of one class (trading 3.9).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarryRules {
    /// What a year at leverage 1 costs.
    pub yearly: Constant<f64>,
    /// How many intervals that year has.
    pub intervals_per_year: Constant<f64>,
    /// Hours of the day at which an interval ends, increasing and evenly spaced over the day.
    pub boundary_hours: Constant<Vec<u8>>,
    /// How often an interval is charged by the day of its end, Monday first.
    pub weekday_weights: Constant<[u8; 7]>,
}

impl FeeRules {
    /// Returns the carry rules of `class`.
    ///
    /// # Panics
    /// Never for rules that passed their check: every class has some.
    #[must_use]
    pub fn carry_of(&self, class: AssetClass) -> &CarryRules {
        self.carry.get(&class).expect("check() requires carry rules for every class")
    }

    /// Returns the spread fee factor after `cumulative_leverage` was traded, at least zero.
    #[must_use]
    pub fn spread_factor(&self, class: AssetClass, cumulative_leverage: f64) -> f64 {
        let rate = self.spread.get(&class).map_or(0.0, |rate| rate.value);
        (1.0 - cumulative_leverage * rate).max(0.0)
    }

    /// Returns the fee factor of the era before [`FeeRules::spread_from`], at least zero.
    #[must_use]
    pub fn single_factor(&self, class: AssetClass, max_leverage_seen: f64) -> f64 {
        let rate = self.single.get(&class).map_or(0.0, |rate| rate.value);
        (1.0 - rate * max_leverage_seen).max(0.0)
    }

    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        for (class, rate) in &self.spread {
            let name = format!("fees.spread.{class}");
            unit(&name, rate, "fraction per unit of leverage")?;
            fraction(&name, rate.value)?;
        }
        for (class, rate) in &self.single {
            let name = format!("fees.single.{class}");
            unit(&name, rate, "fraction per unit of leverage")?;
            fraction(&name, rate.value)?;
        }
        for (name, moment) in [
            ("fees.spread_from", &self.spread_from),
            ("fees.carry_from", &self.carry_from),
            ("fees.slippage_from", &self.slippage_from),
        ] {
            unit(name, moment, "ms since 1970 UTC")?;
            at_least(name, moment.value.0, 0)?;
        }
        for class in AssetClass::ALL {
            let name = format!("fees.carry.{class}");
            self.carry.get(&class).ok_or_else(|| field(&name, "is missing"))?.check(&name)?;
        }
        Ok(())
    }
}

impl CarryRules {
    fn check(&self, name: &str) -> Result<(), RulebookError> {
        let at = |part: &str| format!("{name}.{part}");
        unit(&at("yearly"), &self.yearly, "fraction per year at leverage 1")?;
        fraction(&at("yearly"), self.yearly.value)?;
        unit(&at("intervals_per_year"), &self.intervals_per_year, "intervals")?;
        if !(1.0..=8_784.0).contains(&self.intervals_per_year.value) {
            return Err(field(&at("intervals_per_year"), "must lie between 1 and 8784"));
        }
        unit(&at("boundary_hours"), &self.boundary_hours, "hours after 00:00 UTC")?;
        unit(&at("weekday_weights"), &self.weekday_weights, "intervals, Monday first")?;
        let hours = &self.boundary_hours.value;
        let step = match hours.len() {
            len @ (1 | 2 | 3 | 4 | 6 | 8 | 12 | 24) => 24 / len,
            _ => return Err(field(&at("boundary_hours"), "must split the day evenly")),
        };
        let even = hours.windows(2).all(|pair| usize::from(pair[0]) + step == usize::from(pair[1]));
        if !even || hours.last().is_none_or(|last| *last >= 24) {
            return Err(field(&at("boundary_hours"), "must be evenly spaced hours from 0 to 23"));
        }
        if self.weekday_weights.value.iter().all(|weight| *weight == 0) {
            return Err(field(&at("weekday_weights"), "must charge on some day"));
        }
        Ok(())
    }
}

fn fraction(name: &str, value: f64) -> Result<(), RulebookError> {
    if (0.0..1.0).contains(&value) {
        Ok(())
    } else {
        Err(field(name, &format!("{value} must be 0 or more and below 1")))
    }
}

#[cfg(test)]
mod tests;
