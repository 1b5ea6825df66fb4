//! Positions: the published vectors, and the laws that hold for any orders.

mod laws;
mod vectors;

use proctor_types::{Leverage, OrderId, PositionId, Quantity, SizeFields, Usd};

use super::*;
use crate::orders::sizing;
use crate::prices::conversion::{self, Rates};
use crate::rulebook::{VANTA, VANTA_PARITY};

/// Monday 2025-11-03 22:00 UTC.
const T0: i64 = 1_762_207_200_000;

fn rulebook() -> Rulebook {
    Rulebook::parse(VANTA).expect("the compiled-in rulebook is valid")
}

fn parity() -> Rulebook {
    Rulebook::parse(VANTA_PARITY).expect("the compiled-in rulebook is valid")
}

fn pair(id: &str) -> TradePair {
    TradePair::from_id(id).expect("in the table")
}

fn position(id: &str) -> Position {
    let name = PositionId::new("abc123").expect("valid");
    Position::new(name, pair(id), Usd::new(100_000.0).expect("finite"), UtcMs(T0))
}

/// A size as a trader states it.
#[derive(Clone, Copy, Debug)]
enum Stated {
    Leverage(f64),
    Value(f64),
    Quantity(f64),
}

impl Stated {
    fn fields(self) -> SizeFields {
        let mut fields = SizeFields::default();
        match self {
            Self::Leverage(size) => fields.leverage = Leverage::new(size).ok(),
            Self::Value(size) => fields.value = Usd::new(size).ok(),
            Self::Quantity(size) => fields.quantity = Quantity::new(size).ok(),
        }
        fields
    }
}

/// An order of `stated` size in `pair` at `at`; pairs are quoted against the dollar here.
fn sized_order(pair: TradePair, at: UtcMs, side: Side, stated: Stated, price: f64) -> Order {
    let rates = conversion::rates(pair, price, |_| None).expect("not a cross");
    let size = sizing::size(&stated.fields(), side, pair, 100_000.0, rates).expect("a usable size");
    Order {
        id: OrderId::new("order").expect("valid"),
        at,
        side,
        leverage: size.leverage,
        value: size.value,
        quantity: size.quantity,
        price,
        bid: 0.0,
        ask: 0.0,
        slippage: 0.0,
        quote_usd_rate: rates.quote_usd,
        usd_base_rate: rates.usd_base,
        source: OrderSource::Organic,
    }
}

/// An order of a vector: `seconds` after T0, sized by leverage.
fn order(pair: TradePair, seconds: i64, side: Side, leverage: f64, price: f64) -> Order {
    let at = UtcMs(T0 + seconds * 1_000);
    sized_order(pair, at, side, Stated::Leverage(leverage), price)
}

fn found(pair: TradePair, price: f64) -> ForcedFlatPrice {
    let rates = conversion::rates(pair, price, |_| None).unwrap_or(Rates::NONE);
    ForcedFlatPrice::Found { price, rates }
}

const MISSING: ForcedFlatPrice = ForcedFlatPrice::Missing;
