//! Numbers of a payload: doubles in a form in which what is read is what is meant.

use crate::signed_order::payload::Field;
use crate::signed_order::refusal::Refusal;

/// The longest number that is read; the shortest form of a double has at most 24 characters.
const TEXT_LEN_MAX: usize = 40;

/// Returns the shortest text that means `number` and no other double, as JSON.
///
/// Not `{}`, which would write all 300 zeros of a large number.
pub(super) fn write(number: f64) -> String {
    format!("{number:?}")
}

/// Returns the double that `text` means.
///
/// `0.5`, `0.50` and `5e-1` are the same decimal and all are accepted, since languages differ in how
/// they write. What is not the very decimal of the double's shortest form is refused: the trader would
/// read one number and the order have another. So is `-0`.
///
/// # Errors
/// [`Refusal::NotANumber`], [`Refusal::NotFinite`], [`Refusal::NotShortest`], for `field`.
pub(super) fn read(field: Field, text: &str) -> Result<f64, Refusal> {
    // What the writers of several languages make of numbers that JSON does not have.
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return Err(Refusal::NotFinite(field));
    }
    if text.len() > TEXT_LEN_MAX || !is_json_number(text) {
        return Err(Refusal::NotANumber(field));
    }
    let number: f64 = text.parse().map_err(|_| Refusal::NotANumber(field))?;
    if !number.is_finite() {
        return Err(Refusal::NotFinite(field));
    }
    let is_negative_zero = number == 0.0 && text.starts_with('-');
    if is_negative_zero || decimal(text) != decimal(&write(number)) {
        let nearest = write(if is_negative_zero { 0.0 } else { number });
        return Err(Refusal::NotShortest { field, nearest });
    }
    Ok(number)
}

/// Returns whether `text` is a number by the grammar of JSON.
fn is_json_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(is_digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the digits of a number without zeros at both ends, and the power of ten of its last
/// digit; `None` for an exponent beyond all reason. Signs are left to the caller.
fn decimal(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut power: i64 = exponent.parse().ok()?;
    power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let short = digits.trim_end_matches('0');
    power = power.checked_add(i64::try_from(digits.len() - short.len()).ok()?)?;
    let short = short.trim_start_matches('0');
    // Zero is zero, whatever its exponent.
    Some((short.into(), if short.is_empty() { 0 } else { power }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELD: Field = Field::Value;

    #[test]
    fn every_spelling_of_the_shortest_decimal_is_read() {
        for (text, number) in [
            ("0", 0.0),
            ("0.0", 0.0),
            ("0e5", 0.0),
            ("5", 5.0),
            ("5.0", 5.0),
            ("50e-1", 5.0),
            ("1e-07", 1e-7),
            ("1E+2", 100.0),
            ("-0.5", -0.5),
            ("-0.500", -0.5),
            ("0.30000000000000004", 0.1 + 0.2),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
        ] {
            let read = read(FIELD, text).map(f64::to_bits);
            assert_eq!(read, Ok(number.to_bits()), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_or_another_one_is_refused() {
        let shortest =
            |nearest: &str| Refusal::NotShortest { field: FIELD, nearest: nearest.into() };
        for text in
            ["", "-", "+1", "01", "-01", ".5", "1.", "1e", "1e+", "0x1", "1_0", "nan", "inf"]
        {
            assert_eq!(read(FIELD, text), Err(Refusal::NotANumber(FIELD)), "{text}");
        }
        for text in ["true", "null", "1.0.0", "1e1e1", "1-1", &"1".repeat(41)] {
            assert_eq!(read(FIELD, text), Err(Refusal::NotANumber(FIELD)), "{text}");
        }
        for text in ["NaN", "Infinity", "-Infinity", "1e309", "-1e999999999999999999999999"] {
            assert_eq!(read(FIELD, text), Err(Refusal::NotFinite(FIELD)), "{text}");
        }
        for (text, nearest) in [
            ("0.10000000000000001", "0.1"),
            ("9007199254740993", "9007199254740992.0"),
            ("1e-400", "0.0"),
            ("1e-99999999999999999999999999", "0.0"),
            ("-0", "0.0"),
            ("-0.0e3", "0.0"),
        ] {
            assert_eq!(read(FIELD, text), Err(shortest(nearest)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_bit_by_bit_as_it_was_written(number in any::<f64>()) {
            prop_assume!(number.is_finite() && number.to_bits() != (-0.0_f64).to_bits());
            for text in [write(number), format!("{number:e}")] {
                prop_assert_eq!(read(FIELD, &text).map(f64::to_bits), Ok(number.to_bits()));
            }
        }

        #[test]
        fn two_decimals_are_never_read_as_one_number(digits in "[1-9][0-9]{16,20}", exponent in -30..30) {
            let text = format!("{digits}e{exponent}");
            if let Ok(number) = read(FIELD, &text) {
                prop_assert_eq!(decimal(&text), decimal(&write(number)));
            }
        }

        #[test]
        fn any_text_is_a_number_or_refused(text in "[-+0-9.eEx]{0,45}") {
            if let Ok(number) = read(FIELD, &text) {
                prop_assert!(number.is_finite());
            }
        }
    }
}
