//! The table of trade pairs: asset class, currencies, lot size.
//!
//! What a pair *is* stands here; what the rules *say* about it (leverage bounds, fees, blocked) is in
//! the rulebook. A pair is logged by its row number, so rows are only ever appended: a test holds
//! the table to that. Source: trading 1.1, 1.2.

use std::fmt;
use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// The category that decides fees, leverage, slippage and market hours.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum AssetClass {
    /// Coins against the dollar, traded around the clock.
    Crypto,
    /// Currencies and metals, traded from Sunday to Friday, 17:00 New York time.
    Forex,
    /// Stock indices; kept for old records only.
    Indices,
    /// Single stocks.
    Equities,
}

impl AssetClass {
    /// Every asset class, in the order of their codes.
    pub const ALL: [Self; 4] = [Self::Crypto, Self::Forex, Self::Indices, Self::Equities];
}

impl fmt::Display for AssetClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Crypto => "crypto",
            Self::Forex => "forex",
            Self::Indices => "indices",
            Self::Equities => "equities",
        })
    }
}

struct Row {
    id: &'static str,
    display: &'static str,
    class: AssetClass,
    subcategory: Option<&'static str>,
}

const fn row(
    id: &'static str,
    display: &'static str,
    class: AssetClass,
    subcategory: Option<&'static str>,
) -> Row {
    Row { id, display, class, subcategory }
}

#[rustfmt::skip]
const PAIRS: [Row; 51] = [
    row("BTCUSD", "BTC/USD", AssetClass::Crypto, Some("crypto_majors")),
    row("ETHUSD", "ETH/USD", AssetClass::Crypto, Some("crypto_majors")),
    row("SOLUSD", "SOL/USD", AssetClass::Crypto, Some("crypto_alts")),
    row("XRPUSD", "XRP/USD", AssetClass::Crypto, Some("crypto_alts")),
    row("DOGEUSD", "DOGE/USD", AssetClass::Crypto, Some("crypto_alts")),
    row("ADAUSD", "ADA/USD", AssetClass::Crypto, Some("crypto_alts")),
    row("TAOUSD", "TAO/USD", AssetClass::Crypto, Some("crypto_alts")),
    row("AUDCAD", "AUD/CAD", AssetClass::Forex, Some("forex_group5")),
    row("AUDCHF", "AUD/CHF", AssetClass::Forex, Some("forex_group5")),
    row("AUDUSD", "AUD/USD", AssetClass::Forex, Some("forex_group1")),
    row("AUDJPY", "AUD/JPY", AssetClass::Forex, Some("forex_group2")),
    row("AUDNZD", "AUD/NZD", AssetClass::Forex, Some("forex_group5")),
    row("CADCHF", "CAD/CHF", AssetClass::Forex, Some("forex_group5")),
    row("CADJPY", "CAD/JPY", AssetClass::Forex, Some("forex_group2")),
    row("CHFJPY", "CHF/JPY", AssetClass::Forex, Some("forex_group2")),
    row("EURAUD", "EUR/AUD", AssetClass::Forex, Some("forex_group3")),
    row("EURCAD", "EUR/CAD", AssetClass::Forex, Some("forex_group3")),
    row("EURUSD", "EUR/USD", AssetClass::Forex, Some("forex_group1")),
    row("EURCHF", "EUR/CHF", AssetClass::Forex, Some("forex_group3")),
    row("EURGBP", "EUR/GBP", AssetClass::Forex, Some("forex_group3")),
    row("EURJPY", "EUR/JPY", AssetClass::Forex, Some("forex_group2")),
    row("EURNZD", "EUR/NZD", AssetClass::Forex, Some("forex_group3")),
    row("NZDCAD", "NZD/CAD", AssetClass::Forex, Some("forex_group5")),
    row("NZDCHF", "NZD/CHF", AssetClass::Forex, Some("forex_group5")),
    row("NZDJPY", "NZD/JPY", AssetClass::Forex, Some("forex_group2")),
    row("NZDUSD", "NZD/USD", AssetClass::Forex, Some("forex_group1")),
    row("GBPAUD", "GBP/AUD", AssetClass::Forex, Some("forex_group4")),
    row("GBPCAD", "GBP/CAD", AssetClass::Forex, Some("forex_group4")),
    row("GBPCHF", "GBP/CHF", AssetClass::Forex, Some("forex_group4")),
    row("GBPJPY", "GBP/JPY", AssetClass::Forex, Some("forex_group2")),
    row("GBPNZD", "GBP/NZD", AssetClass::Forex, Some("forex_group4")),
    row("GBPUSD", "GBP/USD", AssetClass::Forex, Some("forex_group1")),
    row("USDCAD", "USD/CAD", AssetClass::Forex, Some("forex_group1")),
    row("USDCHF", "USD/CHF", AssetClass::Forex, Some("forex_group1")),
    row("USDJPY", "USD/JPY", AssetClass::Forex, Some("forex_group2")),
    row("USDMXN", "USD/MXN", AssetClass::Forex, Some("forex_group5")),
    row("XAUUSD", "XAU/USD", AssetClass::Forex, None),
    row("XAGUSD", "XAG/USD", AssetClass::Forex, None),
    row("NVDA", "NVDA", AssetClass::Equities, None),
    row("AAPL", "AAPL", AssetClass::Equities, None),
    row("TSLA", "TSLA", AssetClass::Equities, None),
    row("AMZN", "AMZN", AssetClass::Equities, None),
    row("MSFT", "MSFT", AssetClass::Equities, None),
    row("GOOG", "GOOG", AssetClass::Equities, None),
    row("META", "META", AssetClass::Equities, None),
    row("SPX", "SPX", AssetClass::Indices, None),
    row("DJI", "DJI", AssetClass::Indices, None),
    row("NDX", "NDX", AssetClass::Indices, None),
    row("VIX", "VIX", AssetClass::Indices, None),
    row("FTSE", "FTSE", AssetClass::Indices, None),
    row("GDAXI", "GDAXI", AssetClass::Indices, None),
];

/// A pair of the table; cheap to copy and compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TradePair(u8);

/// No pair has this id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown trade pair {0:?}")]
pub struct UnknownPair(pub String);

impl TradePair {
    /// How many pairs the table has.
    pub const COUNT: usize = PAIRS.len();

    /// Returns every pair, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).take(Self::COUNT).map(Self)
    }

    /// Returns the pair with this id, such as `BTCUSD`.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::all().find(|pair| pair.id() == id)
    }

    fn row(self) -> &'static Row {
        &PAIRS[usize::from(self.0)]
    }

    /// Returns the row number in the table, below [`TradePair::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Returns the id, such as `BTCUSD`.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.row().id
    }

    /// Returns the name for people, such as `BTC/USD`.
    #[must_use]
    pub fn display(self) -> &'static str {
        self.row().display
    }

    /// Returns the asset class. Metals count as forex.
    #[must_use]
    pub fn class(self) -> AssetClass {
        self.row().class
    }

    /// Returns the subcategory, where the pair has one.
    #[must_use]
    pub fn subcategory(self) -> Option<&'static str> {
        self.row().subcategory
    }

    /// Returns the base: what one unit of the pair is.
    #[must_use]
    pub fn base(self) -> &'static str {
        self.display().split_once('/').map_or(self.id(), |(base, _)| base)
    }

    /// Returns the quote currency; everything but forex is quoted in dollars.
    #[must_use]
    pub fn quote(self) -> &'static str {
        match self.class() {
            AssetClass::Forex => self.display().split_once('/').map_or("USD", |(_, quote)| quote),
            AssetClass::Crypto | AssetClass::Indices | AssetClass::Equities => "USD",
        }
    }

    /// Returns how many units of base one unit of quantity is.
    #[must_use]
    pub fn lot_size(self) -> f64 {
        match self.class() {
            AssetClass::Forex => 100_000.0,
            AssetClass::Crypto | AssetClass::Indices | AssetClass::Equities => 1.0,
        }
    }
}

impl fmt::Display for TradePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl fmt::Debug for TradePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl TryFrom<String> for TradePair {
    type Error = UnknownPair;
    fn try_from(id: String) -> Result<Self, UnknownPair> {
        Self::from_id(&id).ok_or(UnknownPair(id))
    }
}

impl From<TradePair> for String {
    fn from(pair: TradePair) -> Self {
        pair.id().into()
    }
}

impl BorshSerialize for TradePair {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        BorshSerialize::serialize(&self.0, writer)
    }
}

impl BorshDeserialize for TradePair {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let number = u8::deserialize_reader(reader)?;
        if usize::from(number) < Self::COUNT {
            Ok(Self(number))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("no pair has number {number}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_only_appended() {
        let ids: Vec<_> = TradePair::all().map(TradePair::id).collect();
        let frozen = blake3::hash(ids[..51].join(",").as_bytes()).to_hex();
        assert_eq!(&frozen[..16], "2ca95d5414325528");
    }

    #[test]
    fn every_id_finds_its_own_row() {
        for pair in TradePair::all() {
            assert_eq!(TradePair::from_id(pair.id()), Some(pair));
        }
        assert_eq!(TradePair::from_id("btcusd"), None, "ids are case-sensitive");
    }

    #[test]
    fn currencies_and_lots_follow_the_class() {
        let of = |id| TradePair::from_id(id).expect("in the table");
        assert_eq!((of("EURGBP").base(), of("EURGBP").quote()), ("EUR", "GBP"));
        assert_eq!((of("NVDA").base(), of("NVDA").quote()), ("NVDA", "USD"));
        assert_eq!((of("BTCUSD").lot_size(), of("XAUUSD").lot_size()), (1.0, 100_000.0));
    }
}
