//! The drawdown limit: when a fall from the peak ends an account.
//!
//! A drawdown is a ratio, value / peak; the limit is the part of the peak that may be lost. Which
//! of the two is rounded decides what happens at exactly the limit, hence the switch.
//! Source: services S-10 to S-12, trading 8.9, P-15.

use proctor_types::float;

use crate::rulebook::DrawdownLimit;

/// What the limit test says about an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Whether the account has lost more than it may.
    pub breached: bool,
    /// How much of the peak was lost at worst, in per cent, not rounded.
    pub percent: f64,
}

/// Tests the worst drawdown of a ledger (`worst`, as a ratio) against `limit`, the fraction of the
/// peak that may be lost. A ledger without any cell has no drawdown and passes (S-12).
#[must_use]
pub fn test(mode: DrawdownLimit, limit: f64, worst: Option<f64>) -> Verdict {
    let Some(worst) = worst else {
        return Verdict { breached: false, percent: 0.0 };
    };
    let percent = percent_lost(worst);
    let breached = match mode {
        DrawdownLimit::Ratio => worst <= ratio_at(limit),
        DrawdownLimit::Percent => percent >= nano(limit) / 1e7,
    };
    Verdict { breached, percent }
}

/// Returns the ratio at which `limit` is reached: 0.9 for a limit of 0.1.
///
/// The subtraction happens on whole billionths, so the result is the double nearest to the decimal
/// that people mean; `1.0 - 0.07` would not be `0.93`.
#[must_use]
pub fn ratio_at(limit: f64) -> f64 {
    (1e9 - nano(limit)) / 1e9
}

/// Returns how much of the peak is lost at `ratio`, in per cent (S-11, in its order of operations).
#[must_use]
pub fn percent_lost(ratio: f64) -> f64 {
    if ratio >= 1.0 {
        0.0
    } else if ratio <= 0.0 {
        100.0
    } else {
        ((1.0 - ratio) * 100.0).clamp(0.0, 100.0)
    }
}

/// Returns how much of the peak is lost at `ratio`, in per cent as records show it: two decimals,
/// halves to even (S-12).
#[must_use]
pub fn percent_reported(ratio: f64) -> f64 {
    float::round_half_even(percent_lost(ratio), 2)
}

/// Returns a fraction in whole billionths.
fn nano(fraction: f64) -> f64 {
    (fraction * 1e9).round()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breached(mode: DrawdownLimit, limit: f64, worst: f64) -> bool {
        test(mode, limit, Some(worst)).breached
    }

    #[test]
    fn exactly_the_limit_is_a_breach_by_ratio_and_none_by_percent_s_12_p_15() {
        for (worst, by_ratio, by_percent) in [
            (0.900_000_000_000_000_1, false, false),
            (0.9, true, false),
            (0.899_999_9, true, true),
            (0.0, true, true),
            (1.0, false, false),
        ] {
            assert_eq!(breached(DrawdownLimit::Ratio, 0.1, worst), by_ratio, "ratio {worst}");
            assert_eq!(breached(DrawdownLimit::Percent, 0.1, worst), by_percent, "percent {worst}");
        }
    }

    #[test]
    fn limits_are_the_decimals_that_people_write() {
        for (limit, at) in [(0.03, 0.97), (0.05, 0.95), (0.07, 0.93), (0.1, 0.9), (0.125, 0.875)] {
            assert_eq!(ratio_at(limit), at, "limit {limit}");
            assert!(breached(DrawdownLimit::Ratio, limit, at));
        }
    }

    #[test]
    fn reports_show_two_decimals_s_11_s_12() {
        let percent = percent_reported;
        assert_eq!(percent(0.89), 11.0);
        assert_eq!(percent(0.876_543_21), 12.35);
        assert_eq!((percent(1.2), percent(-0.1)), (0.0, 100.0));
    }

    #[test]
    fn a_ledger_without_cells_passes_s_12() {
        let verdict = test(DrawdownLimit::Ratio, 0.1, None);
        assert_eq!(verdict, Verdict { breached: false, percent: 0.0 });
    }
}
