//! An order as a position keeps it.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{OrderId, Side, UtcMs};

use crate::prices::conversion::Rates;

/// What caused an order (trading 2.1). The codes are those of the published records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum OrderSource {
    /// A trader's market order.
    Organic,
    /// A close by force for which no price was found.
    EliminationFlat,
    /// A close because the pair was withdrawn.
    DeprecationFlat,
    /// A close by force at a real price.
    PriceFilledEliminationFlat,
    /// A close because the position had as many orders as it may have.
    MaxOrdersClose,
    /// A limit order that waits.
    LimitUnfilled,
    /// A limit order that was filled.
    LimitFilled,
    /// A limit order that was cancelled.
    LimitCancelled,
    /// A bracket order that waits.
    BracketUnfilled,
    /// A bracket order that was filled.
    BracketFilled,
    /// A bracket order that was cancelled.
    BracketCancelled,
}

impl OrderSource {
    /// Every source; its place is its code.
    pub const ALL: [Self; 11] = [
        Self::Organic,
        Self::EliminationFlat,
        Self::DeprecationFlat,
        Self::PriceFilledEliminationFlat,
        Self::MaxOrdersClose,
        Self::LimitUnfilled,
        Self::LimitFilled,
        Self::LimitCancelled,
        Self::BracketUnfilled,
        Self::BracketFilled,
        Self::BracketCancelled,
    ];

    /// Returns the code of the published records, 0 to 10.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Organic => 0,
            Self::EliminationFlat => 1,
            Self::DeprecationFlat => 2,
            Self::PriceFilledEliminationFlat => 3,
            Self::MaxOrdersClose => 4,
            Self::LimitUnfilled => 5,
            Self::LimitFilled => 6,
            Self::LimitCancelled => 7,
            Self::BracketUnfilled => 8,
            Self::BracketFilled => 9,
            Self::BracketCancelled => 10,
        }
    }

    /// Returns the source with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Returns true for fills of limit and bracket orders.
    #[must_use]
    pub fn is_resting_fill(self) -> bool {
        matches!(self, Self::LimitFilled | Self::BracketFilled)
    }

    /// Returns true for closes that the node orders, which may lack a price.
    #[must_use]
    pub fn is_forced(self) -> bool {
        matches!(
            self,
            Self::EliminationFlat
                | Self::DeprecationFlat
                | Self::PriceFilledEliminationFlat
                | Self::MaxOrdersClose
        )
    }
}

/// An order in a position: filled, sized, signed.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Order {
    /// Its name, unique per trader.
    pub id: OrderId,
    /// When it was filled.
    pub at: UtcMs,
    /// Buy, sell or close.
    pub side: Side,
    /// Account sizes; long is positive.
    pub leverage: f64,
    /// Dollars; long is positive.
    pub value: f64,
    /// Lots of the base; long is positive.
    pub quantity: f64,
    /// Quote currency per unit of base, before slippage; 0 when there was none.
    pub price: f64,
    /// Best bid at the fill, 0 when unknown.
    pub bid: f64,
    /// Best ask at the fill, 0 when unknown.
    pub ask: f64,
    /// By how much the fill is worse than the price, as a fraction of it.
    pub slippage: f64,
    /// Dollars per unit of quote currency at the fill.
    pub quote_usd_rate: f64,
    /// Units of base per dollar at the fill.
    pub usd_base_rate: f64,
    /// What caused it.
    pub source: OrderSource,
}

impl Order {
    /// Returns true when the order cannot be valued: it has no price, or a rate is missing.
    #[must_use]
    pub fn is_priceless(&self) -> bool {
        self.price == 0.0 || self.quote_usd_rate == 0.0 || self.usd_base_rate == 0.0
    }

    /// Returns the price that is paid or got: the worse side of slippage (trading 3.3, 3.7).
    #[must_use]
    pub fn fill_price(&self, slippage_from: UtcMs) -> f64 {
        if self.at < slippage_from {
            self.price
        } else if self.leverage > 0.0 {
            self.price * (1.0 + self.slippage)
        } else {
            self.price * (1.0 - self.slippage)
        }
    }

    /// Returns the first field that is not a number the rules can compute with.
    pub(super) fn bad_number(&self) -> Option<(&'static str, f64)> {
        let signed =
            [("leverage", self.leverage), ("value", self.value), ("quantity", self.quantity)];
        let unsigned = [
            ("price", self.price),
            ("bid", self.bid),
            ("ask", self.ask),
            ("slippage", self.slippage),
            ("quote_usd_rate", self.quote_usd_rate),
            ("usd_base_rate", self.usd_base_rate),
        ];
        let wrong_sign = |number: f64| match self.side {
            Side::Long => number < 0.0,
            Side::Short => number > 0.0,
            Side::Flat => false,
        };
        signed
            .into_iter()
            .find(|(_, number)| !number.is_finite() || wrong_sign(*number))
            .or_else(|| {
                unsigned.into_iter().find(|(_, number)| !(number.is_finite() && *number >= 0.0))
            })
            .or_else(|| (self.slippage >= 1.0).then_some(("slippage", self.slippage)))
    }
}

/// The price at which a position is closed by force, with the rates at that moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ForcedFlatPrice {
    /// A price was found.
    Found {
        /// Quote currency per unit of base.
        price: f64,
        /// Exchange rates at the close.
        rates: Rates,
    },
    /// No source had one.
    Missing,
}

impl ForcedFlatPrice {
    /// Returns price and rates; all zero when the price is missing or cannot be used.
    pub(super) fn numbers(self) -> (f64, Rates) {
        match self {
            Self::Found { price, rates }
                if [price, rates.quote_usd, rates.usd_base]
                    .iter()
                    .all(|number| number.is_finite() && *number > 0.0) =>
            {
                (price, rates)
            }
            Self::Found { .. } | Self::Missing => (0.0, Rates::NONE),
        }
    }
}
