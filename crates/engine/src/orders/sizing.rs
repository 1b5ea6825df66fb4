//! From the size a trader stated to leverage, value and quantity.
//!
//! Exactly one of the three is stated; the other two follow from the account size and the rates.
//! The order of the multiplications is part of the rule, since results are compared bit by bit.
//! Source: trading 2.4.

use proctor_types::{Side, SizeFields, TradePair};

use crate::prices::conversion::Rates;

/// A signed size in its three forms; long is positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Account sizes.
    pub leverage: f64,
    /// Dollars.
    pub value: f64,
    /// Lots of the base.
    pub quantity: f64,
}

/// Why a stated size cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SizeRefusal {
    /// No field is filled.
    #[error("an order must state its leverage, value or quantity")]
    Missing,
    /// More than one field is filled.
    #[error("an order must state only one of leverage, value and quantity, this one states {0}")]
    Ambiguous(usize),
    /// A buy, or a bracket, of a negative size.
    #[error("the size {0} of a LONG order or of a bracket must not be negative")]
    NegativeLong(f64),
    /// The account has no size.
    #[error("the account size {0} USD is not positive")]
    NoAccount(f64),
    /// The size is too large to compute with, or the rates are unusable.
    #[error("the size cannot be computed: leverage {leverage}, value {value}, quantity {quantity}")]
    NotFinite {
        /// Account sizes.
        leverage: f64,
        /// Dollars.
        value: f64,
        /// Lots of the base.
        quantity: f64,
    },
    /// An order that is to wait has no size.
    #[error("the size of an order that waits must not be zero")]
    Zero,
}

/// Tests what can be told of stated sizes before there is a price: an order that is to wait must
/// not turn out to be meaningless when its price has come.
///
/// # Errors
/// [`SizeRefusal`] says which rule the stated size breaks.
pub fn check_stated(fields: &SizeFields, side: Side) -> Result<(), SizeRefusal> {
    match signed(Some(only(fields)?), side)? {
        Some(0.0) => Err(SizeRefusal::Zero),
        _ => Ok(()),
    }
}

/// Returns the one size that is stated.
fn only(fields: &SizeFields) -> Result<f64, SizeRefusal> {
    let SizeFields { leverage, value, quantity } = *fields;
    let stated = [leverage.map(f64::from), value.map(f64::from), quantity.map(f64::from)];
    let mut stated = stated.into_iter().flatten();
    let first = stated.next().ok_or(SizeRefusal::Missing)?;
    match stated.count() {
        0 => Ok(first),
        more => Err(SizeRefusal::Ambiguous(more + 1)),
    }
}

/// Returns the signed size that `fields` state for an order in `pair` on `side`.
///
/// `account_size` is in dollars. The sign of a SHORT size is ignored; that of a FLAT one stands.
///
/// # Errors
/// [`SizeRefusal`] says which rule the stated size breaks.
pub fn size(
    fields: &SizeFields,
    side: Side,
    pair: TradePair,
    account_size: f64,
    rates: Rates,
) -> Result<Size, SizeRefusal> {
    let SizeFields { leverage, value, quantity } = *fields;
    let (leverage, value, quantity) =
        (leverage.map(f64::from), value.map(f64::from), quantity.map(f64::from));
    only(fields)?;
    if !(account_size.is_finite() && account_size > 0.0) {
        return Err(SizeRefusal::NoAccount(account_size));
    }
    let (leverage, value, quantity) =
        (signed(leverage, side)?, signed(value, side)?, signed(quantity, side)?);
    let lot = pair.lot_size();
    let lots = |value: f64| value * rates.usd_base / lot;
    let size = if let Some(leverage) = leverage {
        let value = leverage * account_size;
        Size { leverage, value, quantity: lots(value) }
    } else if let Some(value) = value {
        Size { leverage: value / account_size, value, quantity: lots(value) }
    } else {
        // Without a price there is no value of a quantity; only forced flats get here, and theirs
        // is replaced by the size they close.
        let stated = quantity.unwrap_or(0.0);
        let worth = if rates.usd_base == 0.0 { 0.0 } else { stated * lot / rates.usd_base };
        // Value and quantity follow from the leverage once more: one rounding that the rule has.
        let leverage = worth / account_size;
        let value = leverage * account_size;
        Size { leverage, value, quantity: lots(value) }
    };
    let Size { leverage, value, quantity } = size;
    if leverage.is_finite() && value.is_finite() && quantity.is_finite() {
        Ok(size)
    } else {
        Err(SizeRefusal::NotFinite { leverage, value, quantity })
    }
}

fn signed(size: Option<f64>, side: Side) -> Result<Option<f64>, SizeRefusal> {
    let Some(size) = size else { return Ok(None) };
    match side {
        Side::Long if size < 0.0 => Err(SizeRefusal::NegativeLong(size)),
        Side::Short => Ok(Some(-size.abs())),
        Side::Long | Side::Flat => Ok(Some(size)),
    }
}

#[cfg(test)]
mod tests {
    use proctor_types::{Leverage, Quantity, Usd};
    use proptest::prelude::*;

    use super::*;

    fn pair(id: &str) -> TradePair {
        TradePair::from_id(id).expect("in the table")
    }

    fn rates(usd_base: f64) -> Rates {
        Rates { quote_usd: 1.0, usd_base }
    }

    fn by_leverage(leverage: f64) -> SizeFields {
        SizeFields { leverage: Leverage::new(leverage).ok(), ..SizeFields::default() }
    }

    fn by_value(value: f64) -> SizeFields {
        SizeFields { value: Usd::new(value).ok(), ..SizeFields::default() }
    }

    fn by_quantity(quantity: f64) -> SizeFields {
        SizeFields { quantity: Quantity::new(quantity).ok(), ..SizeFields::default() }
    }

    #[test]
    fn a_quantity_is_rounded_once_more_through_its_leverage() {
        let btc =
            size(&by_quantity(0.3), Side::Long, pair("BTCUSD"), 123_456.0, rates(1.0 / 98_765.43))
                .expect("usable");
        assert_eq!((btc.leverage, btc.value), (0.2400015309097978, 29629.628999999997));
        let eur = size(&by_quantity(1.0), Side::Long, pair("EURUSD"), 100_000.0, rates(1.0 / 1.1))
            .expect("usable");
        assert_eq!(
            (eur.leverage, eur.value, eur.quantity),
            (1.1, 110000.00000000001, 1.0000000000000002)
        );
    }

    #[test]
    fn leverage_and_value_say_the_same_thing() {
        let of = |fields| size(&fields, Side::Long, pair("BTCUSD"), 100_000.0, rates(0.01));
        let expected = Size { leverage: 0.5, value: 50_000.0, quantity: 500.0 };
        assert_eq!(of(by_leverage(0.5)), Ok(expected));
        assert_eq!(of(by_value(50_000.0)), Ok(expected));
    }

    #[test]
    fn a_short_is_negative_however_it_is_stated_and_a_flat_is_left_alone() {
        let of = |side, leverage| {
            size(&by_leverage(leverage), side, pair("BTCUSD"), 1_000.0, rates(1.0))
                .map(|size| size.leverage)
        };
        assert_eq!(of(Side::Short, 0.5), Ok(-0.5));
        assert_eq!(of(Side::Short, -0.5), Ok(-0.5));
        assert_eq!(of(Side::Flat, -0.5), Ok(-0.5));
        assert_eq!(of(Side::Flat, 0.0), Ok(0.0));
        assert_eq!(of(Side::Long, -0.5), Err(SizeRefusal::NegativeLong(-0.5)));
    }

    #[test]
    fn exactly_one_field_states_the_size() {
        let of = |fields| size(&fields, Side::Flat, pair("BTCUSD"), 1_000.0, rates(1.0));
        assert_eq!(of(SizeFields::default()), Err(SizeRefusal::Missing));
        let two = SizeFields { value: Usd::new(1.0).ok(), ..by_leverage(1.0) };
        assert_eq!(of(two), Err(SizeRefusal::Ambiguous(2)));
        let three = SizeFields { quantity: Quantity::new(1.0).ok(), ..two };
        assert_eq!(of(three), Err(SizeRefusal::Ambiguous(3)));
    }

    #[test]
    fn what_cannot_be_computed_is_refused() {
        let of = |fields, account| size(&fields, Side::Long, pair("BTCUSD"), account, rates(1e-9));
        assert_eq!(of(by_leverage(1.0), 0.0), Err(SizeRefusal::NoAccount(0.0)));
        assert!(matches!(of(by_leverage(1e308), 1e5), Err(SizeRefusal::NotFinite { .. })));
        assert!(matches!(of(by_quantity(1e308), 1e5), Err(SizeRefusal::NotFinite { .. })));
        assert!(matches!(of(by_value(1e308), 1e-5), Err(SizeRefusal::NotFinite { .. })));
    }

    proptest! {
        #[test]
        fn a_size_is_finite_and_has_the_sign_of_its_side(
            number in prop::num::f64::NORMAL | prop::num::f64::ZERO,
            account in prop::num::f64::POSITIVE | prop::num::f64::ZERO,
            usd_base in prop::num::f64::POSITIVE | prop::num::f64::ZERO,
            form in 0..3,
        ) {
            let fields = match form {
                0 => by_leverage(number),
                1 => by_value(number),
                _ => by_quantity(number),
            };
            for (side, sign) in [(Side::Long, 1.0), (Side::Short, -1.0)] {
                if let Ok(size) = size(&fields, side, pair("EURUSD"), account, rates(usd_base)) {
                    for number in [size.leverage, size.value, size.quantity] {
                        prop_assert!(number.is_finite() && number * sign >= 0.0);
                    }
                }
            }
        }
    }
}
