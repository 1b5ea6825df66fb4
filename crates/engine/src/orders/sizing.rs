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
    /// A buy of a negative size.
    #[error("the size {0} of a LONG order must not be negative")]
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
    match [leverage, value, quantity].iter().flatten().count() {
        0 => return Err(SizeRefusal::Missing),
        1 => {}
        count => return Err(SizeRefusal::Ambiguous(count)),
    }
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
