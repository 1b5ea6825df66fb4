//! The only `ln`, `exp`, `pow` and `cos` in the tree: pure Rust, so that every platform agrees.
//!
//! The standard library documents its own as varying "by platform, Rust version, and can even
//! differ within the same execution"; a verdict must not (DESIGN 7, runtime 4).

/// Returns the natural logarithm of `x`.
#[must_use]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// Returns e to the power `x`.
#[must_use]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// Returns `base` to the power `exponent`.
#[must_use]
pub fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// Returns the cosine of `x` radians.
#[must_use]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// Returns `x` rounded to `decimals` places, halves to even.
///
/// Rounds the scaled double, so a value whose decimal form is a tie may go either way, as in any
/// arithmetic on doubles; it is for figures that are shown, never for ones that decide.
#[must_use]
pub fn round_half_even(x: f64, decimals: u32) -> f64 {
    let scale = pow(10.0, f64::from(decimals));
    (x * scale).round_ties_even() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_are_inverse_to_the_last_digits() {
        for x in [0.5, 0.9, 0.9998940949450921, 1.0, 1.02, 7.5] {
            assert!((exp(ln(x)) - x).abs() <= 2.0 * f64::EPSILON * x);
        }
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!(round_half_even(0.125, 2), 0.12);
        assert_eq!(round_half_even(0.375, 2), 0.38);
        assert_eq!(round_half_even(11.0, 2), 11.0);
    }
}
