//! `Usd`, `Price`, `Quantity`, `Leverage`, `Fraction`, `Percent`: finite `f64` newtypes.
//!
//! A value of these types is never NaN, never infinite and never `-0.0`, so that equal values have
//! equal bytes. Arithmetic happens on plain `f64` inside the engine, in the order the rules state.

use std::fmt;
use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The number is NaN or infinite, so it cannot be an amount of anything.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a finite number")]
pub struct NotFinite(pub f64);

macro_rules! finite {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Returns the amount, with `-0.0` made `0.0`.
            ///
            /// # Errors
            /// [`NotFinite`] when `number` is NaN or infinite: remote input may say so.
            pub fn new(number: f64) -> Result<Self, NotFinite> {
                // Adding zero turns -0.0 into 0.0 and leaves every other number as it is.
                if number.is_finite() { Ok(Self(number + 0.0)) } else { Err(NotFinite(number)) }
            }

            /// Returns the plain number.
            #[must_use]
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = NotFinite;
            fn try_from(number: f64) -> Result<Self, NotFinite> {
                Self::new(number)
            }
        }

        impl From<$name> for f64 {
            fn from(amount: $name) -> Self {
                amount.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl BorshSerialize for $name {
            fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
                BorshSerialize::serialize(&self.0, writer)
            }
        }

        impl BorshDeserialize for $name {
            fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
                let number = f64::deserialize_reader(reader)?;
                // One value, one encoding: what `new` would have changed is not canonical.
                if number.to_bits() == (-0.0_f64).to_bits() {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "negative zero"));
                }
                Self::new(number).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
            }
        }
    };
}

finite! {
    /// An amount of US dollars.
    Usd
}
finite! {
    /// Quote currency per unit of base.
    Price
}
finite! {
    /// Units of base currency divided by the pair's lot size; short is negative.
    Quantity
}
finite! {
    /// A signed multiple of the account size: `1.0` is the whole account long, `-0.5` half short.
    Leverage
}

finite! {
    /// A share of something: `0.0002` is two basis points.
    Fraction
}
finite! {
    /// Hundredths of something: `10.5` is 10.5 %. Only records of the past speak in per cent.
    Percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_numbers_are_amounts_and_zero_has_one_form() {
        assert!(Price::new(f64::NAN).is_err());
        assert!(Price::new(f64::INFINITY).is_err());
        assert_eq!(Price::new(-0.0).expect("zero is finite").get().to_bits(), 0);
    }

    #[test]
    fn bytes_that_are_not_canonical_are_refused() {
        for number in [f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::NAN] {
            assert!(Usd::try_from_slice(&number.to_le_bytes()).is_err(), "{number}");
        }
        let bytes = borsh::to_vec(&Usd::new(12.5).expect("finite")).expect("to memory");
        assert_eq!(Usd::try_from_slice(&bytes).expect("round trip").get(), 12.5);
    }
}
