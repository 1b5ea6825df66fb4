//! How far a living account is from its end by drawdown.
//!
//! What counts is the value at the last prices: marks come more often than samples of the ledger.

use crate::account::Account;
use crate::ledgers::drawdown;
use crate::rulebook::Rulebook;

/// How an account stands between its peak and the fall from it that ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// Value after fees at the last prices, as a multiple of the one at the start.
    pub value: f64,
    /// The greatest value that counts, likewise.
    pub peak: f64,
    /// The fraction of the peak that may be lost.
    pub limit: f64,
    /// Value in relation to the peak at which the account ends.
    pub limit_ratio: f64,
    /// The value at which the account ends.
    pub limit_value: f64,
}

impl Distance {
    /// Returns how far `account` is from its end by the drawdown limit of `rules`, its own
    /// rulebook; `None` before its first order.
    #[must_use]
    pub fn of(rules: &Rulebook, account: &Account) -> Option<Self> {
        let peak = account.ledgers.as_ref()?.portfolio().peak().value;
        Some(Self::new(account.book.value(), peak, rules.elimination.drawdown_max.value))
    }

    /// Returns how far `value` is from the fall of `limit` from `peak`.
    #[must_use]
    pub fn new(value: f64, peak: f64, limit: f64) -> Self {
        let limit_ratio = drawdown::ratio_at(limit);
        Self { value, peak, limit, limit_ratio, limit_value: peak * limit_ratio }
    }

    /// Returns the value in relation to the peak: 1 is no drawdown.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.value / self.peak
    }

    /// Returns the loss from the peak as a fraction of it, 0 at the peak and above.
    #[must_use]
    pub fn drawdown(&self) -> f64 {
        (1.0 - self.ratio()).max(0.0)
    }

    /// Returns by what fraction of its present value the account may fall before it ends; below
    /// zero when it has fallen further.
    #[must_use]
    pub fn room(&self) -> f64 {
        (self.value - self.limit_value) / self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_by_the_room_ends_at_the_limit() {
        for (value, peak, drawdown, room) in [
            (1.0, 1.0, 0.0, 0.1),
            (1.2, 1.2, 0.0, 0.1),
            (1.08, 1.2, 0.1, 0.0),
            (1.0, 1.0, 0.0, 0.1),
        ] {
            let distance = Distance::new(value, peak, 0.1);
            assert!((distance.drawdown() - drawdown).abs() < 1e-12, "{distance:?}");
            assert!((distance.room() - room).abs() < 1e-12, "{distance:?}");
            let fallen = value * (1.0 - distance.room());
            assert!((fallen - peak * 0.9).abs() < 1e-12, "{distance:?}");
        }
        assert_eq!(Distance::new(1.3, 1.2, 0.1).drawdown(), 0.0, "above the peak of the ledger");
        assert!(Distance::new(1.0, 1.2, 0.1).room() < 0.0, "the verdict is due");
    }
}
