//! One input that is corrected or left out, as it is written on the command line.

use proctor_types::{NotFinite, OrderId, Price, SourceName, TradePair, TraderId, UtcMs};

use crate::moment::{self, NotAMoment};

/// A change to one input of a log.
#[derive(Clone, Debug, PartialEq)]
pub enum Alteration {
    /// The price of a pair in a commit.
    Price {
        /// Whose price; everybody's when absent.
        source: Option<SourceName>,
        /// The pair.
        pair: TradePair,
        /// The commit.
        commit: u64,
        /// The right price, quote currency per unit of base.
        price: Price,
    },
    /// The price that a recorded order was filled at.
    Fill {
        /// Whose order.
        trader: TraderId,
        /// Which.
        order: OrderId,
        /// The right price before slippage, quote currency per unit of base.
        price: Price,
    },
    /// The time of an order.
    Time {
        /// Whose order.
        trader: TraderId,
        /// Which.
        order: OrderId,
        /// The right time.
        at: UtcMs,
    },
    /// An order that is left out.
    Drop {
        /// Whose order.
        trader: TraderId,
        /// Which.
        order: OrderId,
    },
}

/// Why a text is not an alteration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AlterationError {
    /// Not of any known form.
    #[error(
        "{0:?} is none of PAIR@COMMIT=PRICE, SOURCE/PAIR@COMMIT=PRICE, order:TRADER/ID.price=PRICE, \
         order:TRADER/ID.time=TIME"
    )]
    Form(String),
    /// Not an order of a trader.
    #[error("{0:?} is not of the form ID@TRADER")]
    DropForm(String),
    /// No such pair.
    #[error("{text:?}: unknown trade pair {pair}")]
    UnknownPair {
        /// The whole text.
        text: String,
        /// The part that names a pair.
        pair: String,
    },
    /// Not a price.
    #[error("{text:?}: {price:?} is not a price above 0")]
    Price {
        /// The whole text.
        text: String,
        /// The part that states a price.
        price: String,
    },
    /// Not a time.
    #[error("{text:?}: {error}")]
    Time {
        /// The whole text.
        text: String,
        /// What is wrong with the time.
        error: NotAMoment,
    },
}

impl Alteration {
    /// Returns the correction written in `text`: `PAIR@COMMIT=PRICE`, `SOURCE/PAIR@COMMIT=PRICE`,
    /// `order:TRADER/ID.price=PRICE` or `order:TRADER/ID.time=TIME`.
    ///
    /// # Errors
    /// [`AlterationError`] quotes the text and says what is wrong in it.
    pub fn set(text: &str) -> Result<Self, AlterationError> {
        let form = || AlterationError::Form(text.into());
        let (what, value) = text.split_once('=').ok_or_else(form)?;
        if let Some(order) = what.strip_prefix("order:") {
            let (order, field) = order.split_once('.').ok_or_else(form)?;
            let (trader, order) = order.split_once('/').ok_or_else(form)?;
            let trader = TraderId::new(trader).map_err(|_| form())?;
            let order = OrderId::new(order).map_err(|_| form())?;
            return match field {
                "price" => Ok(Self::Fill { trader, order, price: price(text, value)? }),
                "time" => {
                    let at = moment::parse(value)
                        .map_err(|error| AlterationError::Time { text: text.into(), error })?;
                    Ok(Self::Time { trader, order, at })
                }
                _ => Err(form()),
            };
        }
        let (what, commit) = what.split_once('@').ok_or_else(form)?;
        let commit = commit.parse().map_err(|_| form())?;
        let (source, name) = match what.split_once('/') {
            Some((source, pair)) => (Some(SourceName::new(source).map_err(|_| form())?), pair),
            None => (None, what),
        };
        let pair = TradePair::from_id(name)
            .ok_or_else(|| AlterationError::UnknownPair { text: text.into(), pair: name.into() })?;
        Ok(Self::Price { source, pair, commit, price: price(text, value)? })
    }

    /// Returns the order `ID@TRADER` that is left out.
    ///
    /// # Errors
    /// [`AlterationError::DropForm`].
    pub fn drop(text: &str) -> Result<Self, AlterationError> {
        let form = || AlterationError::DropForm(text.into());
        let (order, trader) = text.split_once('@').ok_or_else(form)?;
        Ok(Self::Drop {
            trader: TraderId::new(trader).map_err(|_| form())?,
            order: OrderId::new(order).map_err(|_| form())?,
        })
    }
}

fn price(text: &str, value: &str) -> Result<Price, AlterationError> {
    let refused = || AlterationError::Price { text: text.into(), price: value.into() };
    let number: f64 = value.parse().map_err(|_| refused())?;
    let price = Price::new(number).map_err(|NotFinite { .. }| refused())?;
    if price.get() > 0.0 { Ok(price) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_anything_else_is_refused_with_its_text() {
        let price = Price::new(61_000.5).expect("finite");
        let pair = TradePair::from_id("BTCUSD").expect("in the table");
        let set = Alteration::Price { source: None, pair, commit: 1234, price };
        assert_eq!(Alteration::set("BTCUSD@1234=61000.5"), Ok(set));
        let Ok(Alteration::Price { source: Some(source), .. }) =
            Alteration::set("kraken/BTCUSD@1234=61000.5")
        else {
            panic!("a source was given")
        };
        assert_eq!(source.as_str(), "kraken");
        let (trader, order) = (TraderId::new("al").expect("ok"), OrderId::new("o-1").expect("ok"));
        let fill = Alteration::Fill { trader: trader.clone(), order: order.clone(), price };
        assert_eq!(Alteration::set("order:al/o-1.price=61000.5"), Ok(fill));
        let time =
            Alteration::Time { trader: trader.clone(), order: order.clone(), at: UtcMs(60_000) };
        assert_eq!(Alteration::set("order:al/o-1.time=1970-01-01T00:01:00Z"), Ok(time));
        assert_eq!(Alteration::drop("o-1@al"), Ok(Alteration::Drop { trader, order }));
        for (text, says) in [
            ("BTCUSD@1234", "is none of PAIR@COMMIT=PRICE"),
            ("BTCUSD=1", "is none of"),
            ("BTCUSD@-1=1", "is none of"),
            ("BTCUSX@1=1", "unknown trade pair BTCUSX"),
            ("BTCUSD@1=0", "\"0\" is not a price above 0"),
            ("BTCUSD@1=-5", "\"-5\" is not a price above 0"),
            ("BTCUSD@1=NaN", "\"NaN\" is not a price above 0"),
            ("order:al.price=1", "is none of"),
            ("order:al/o-1.size=1", "is none of"),
            ("order:al/o-1.time=noon", "\"noon\" is not a time"),
        ] {
            let error = Alteration::set(text).expect_err(text).to_string();
            assert!(error.contains(says) && error.contains(text), "{text}: {error}");
        }
        assert!(Alteration::drop("o-1").is_err() && Alteration::drop("o 1@al").is_err());
    }
}
