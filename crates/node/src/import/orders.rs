//! Recorded orders: what traders asked for, at which price it was filled, and what was made of it.
//!
//! Two shapes of file are read, told apart by their first byte: a JSON list of positions with their
//! orders, and a flat CSV with one order a line. Either may be gzip.

mod flat;
mod nested;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use proctor_engine::positions::position::OrderSource;
use proctor_types::order::InvalidOrderField;
use proctor_types::{
    Digest, ExecutionType, InvalidId, Leverage, NotFinite, OrderId, OrderRequest, PairName,
    PositionId, Price, Side, SizeFields, TraderId, UtcMs,
};

use super::rows::FieldError;
use super::text::{FileError, Progress, TextFile};

/// The most decompressed bytes of one file of orders; they are held in memory.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most orders of one replay.
const ORDERS_MAX: usize = 2_000_000;

/// The price at which a recorded order was filled, with what the recorder saw of the market.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordedFill {
    /// Quote currency per unit of base; zero only for a flat that was forced without a price.
    pub price: Price,
    /// Best bid at the time, where one was recorded.
    pub bid: Option<Price>,
    /// Best ask at the time, where one was recorded.
    pub ask: Option<Price>,
    /// Slippage as a ratio of the price, not negative; not contained in `price`.
    pub slippage: f64,
}

/// Where in its file a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line, counted from 1.
    Line(u64),
    /// A position of a list, counted from 1.
    Position(usize),
    /// An order of a position of a list, both counted from 1.
    Order {
        /// The position.
        position: usize,
        /// The order in it.
        order: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Position(position) => write!(f, "position {position}"),
            Self::Order { position, order } => write!(f, "position {position}, order {order}"),
        }
    }
}

/// An order with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedOrder {
    /// What the trader asked for, with the recorded leverage and its sign.
    ///
    /// A flat's leverage is the size that it closed, with the sign of the closing trade.
    pub request: OrderRequest,
    /// When it was processed.
    pub at: UtcMs,
    /// How it was filled.
    pub fill: RecordedFill,
    /// Why the order exists (trading 2.1): 0 is a trader's own, others are made by the recorder.
    pub source_code: u8,
    /// How many price sources were recorded with it.
    pub price_sources: usize,
    /// The position that it was booked on, where the file tells.
    pub position: Option<PositionId>,
    /// Where it stands in its file.
    pub place: Place,
}

/// What was recorded about a position, for comparison with what a replay makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedPosition {
    /// Whose position it is.
    pub trader: TraderId,
    /// Its name: the id of the order that opened it.
    pub id: PositionId,
    /// The pair as spelt in the record.
    pub pair: PairName,
    /// How many orders it holds.
    pub orders: usize,
    /// When it was opened, where that was recorded.
    pub opened_at: Option<UtcMs>,
    /// When it was closed, where that was recorded; may be set on a position that is not closed.
    pub closed_at: Option<UtcMs>,
    /// Whether the recorder holds it to be closed.
    pub is_closed: bool,
    /// Return as a multiple of the start value, `1.0` is no gain.
    pub current_return: Option<f64>,
    /// The same after fees.
    pub return_at_close: Option<f64>,
    /// Quote currency per unit of base.
    pub average_entry_price: Option<f64>,
    /// Signed multiple of the account size that is still open.
    pub net_leverage: Option<f64>,
    /// Dollars.
    pub realized_pnl: Option<f64>,
    /// Where it stands in its file.
    pub place: Place,
}

/// A file that orders came from.
#[derive(Clone, Debug, PartialEq)]
pub struct OrdersSource {
    /// The file.
    pub path: PathBuf,
    /// The set that was chosen from it.
    pub set: Option<String>,
    /// Hash of its decompressed bytes.
    pub digest: Digest,
    /// Bytes on disk.
    pub progress: Progress,
}

/// Orders in the order in which they happened, and the positions they were booked on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedOrders {
    /// Sorted by time, then trader, then place in the file.
    pub orders: Vec<RecordedOrder>,
    /// In the order of the file; empty when the file has none.
    pub positions: Vec<RecordedPosition>,
    /// The files, in the order of the arguments.
    pub sources: Vec<OrdersSource>,
}

/// What is wrong with one record.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecordFault {
    /// A field cannot be read.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A name is not an identifier.
    #[error("{column}: {source}")]
    Id {
        /// The field.
        column: &'static str,
        /// What is wrong with it.
        source: InvalidId,
    },
    /// The side is unknown.
    #[error(transparent)]
    Side(#[from] InvalidOrderField),
    /// A number is NaN or infinite.
    #[error("{column}: {source}")]
    NotFinite {
        /// The field.
        column: &'static str,
        /// The number.
        source: NotFinite,
    },
    /// A price or slippage is negative.
    #[error("{column} {number} is negative")]
    Negative {
        /// The field.
        column: &'static str,
        /// The number.
        number: f64,
    },
    /// The order has no price, and is not one that was forced without a price.
    #[error("price is zero; only an order of src 1 or 2 may have no price")]
    NoPrice,
}

/// Why a file of orders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// The file itself cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not the JSON that is expected.
    #[error("{}: {reason}; expected a JSON list of positions, each with its list of orders", .file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What the parser says, with line and column.
        reason: String,
    },
    /// A record is broken.
    #[error("{}, {place}: {fault}; correct or remove it", .file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong.
        fault: Box<RecordFault>,
    },
    /// A set was asked for, but the file has no sets.
    #[error("{}: has no sets, so {set:?} cannot be chosen; leave the choice out", .file.display())]
    NoSets {
        /// The file.
        file: PathBuf,
        /// The set that was asked for.
        set: String,
    },
    /// A set was asked for that the file does not have.
    #[error("{}: has no set {set:?}; its sets are {sets:?}", .file.display())]
    UnknownSet {
        /// The file.
        file: PathBuf,
        /// The set that was asked for.
        set: String,
        /// The sets of the file.
        sets: Vec<String>,
    },
    /// The file holds the same order in several sets, and none was chosen.
    #[error("{}: order {order} is in several sets; choose one of {sets:?}", .file.display())]
    SeveralSets {
        /// The file.
        file: PathBuf,
        /// The sets of the file.
        sets: Vec<String>,
        /// An order that is in more than one.
        order: OrderId,
    },
    /// A trader has two orders of one id.
    #[error("{}, {place}: order {order} of {trader} was already read ({first}); remove one", .file.display())]
    RepeatedOrder {
        /// The file of the second.
        file: PathBuf,
        /// The second.
        place: Place,
        /// The first.
        first: Place,
        /// Its trader.
        trader: TraderId,
        /// Its id.
        order: OrderId,
    },
    /// A trader has two positions of one id.
    #[error("{}, {place}: position {position} of {trader} was already read; remove one", .file.display())]
    RepeatedPosition {
        /// The file of the second.
        file: PathBuf,
        /// The second.
        place: Place,
        /// Its trader.
        trader: TraderId,
        /// Its id.
        position: PositionId,
    },
    /// There are more orders than fit.
    #[error("{}: more than {ORDERS_MAX} orders; split the replay by trader", .file.display())]
    TooMany {
        /// The file in which the limit was passed.
        file: PathBuf,
    },
}

impl RecordedOrders {
    /// Reads the orders of `path`, those of `set` only where one is given.
    ///
    /// # Errors
    /// [`OrdersError`] names the file, the place in it and what to do.
    pub fn read(path: &Path, set: Option<&str>) -> Result<Self, OrdersError> {
        let mut text = TextFile::open(path, BYTES_MAX)?;
        let (mut orders, positions) = match text.first_byte()? {
            None => return Err(FileError::Empty { file: path.to_owned() }.into()),
            Some(b'[' | b'{') => match set {
                Some(set) => {
                    return Err(OrdersError::NoSets { file: path.to_owned(), set: set.to_owned() });
                }
                None => nested::read(&mut text)?,
            },
            Some(_) => (flat::read(&mut text, set)?, Vec::new()),
        };
        sort(&mut orders);
        let source = OrdersSource {
            path: path.to_owned(),
            set: set.map(str::to_owned),
            digest: text.digest(),
            progress: text.progress(),
        };
        Ok(Self { orders, positions, sources: vec![source] })
    }

    /// Adds what was read from another file.
    ///
    /// # Errors
    /// [`OrdersError`] when an order or a position is in both.
    pub fn join(&mut self, other: Self) -> Result<(), OrdersError> {
        let file = other.sources.last().map(|source| source.path.clone()).unwrap_or_default();
        if self.orders.len() + other.orders.len() > ORDERS_MAX {
            return Err(OrdersError::TooMany { file });
        }
        self.orders.extend(other.orders);
        self.positions.extend(other.positions);
        self.sources.extend(other.sources);
        refuse_repeated_orders(&file, &self.orders)?;
        refuse_repeated_positions(&file, &self.positions)?;
        sort(&mut self.orders);
        Ok(())
    }
}

fn sort(orders: &mut [RecordedOrder]) {
    // The sort is stable, so what is equal here stays in the order of the file.
    orders.sort_by(|a, b| (a.at, &a.request.trader).cmp(&(b.at, &b.request.trader)));
}

fn refuse_repeated_orders(file: &Path, orders: &[RecordedOrder]) -> Result<(), OrdersError> {
    let mut seen = BTreeMap::new();
    for RecordedOrder { request, place, .. } in orders {
        if let Some(first) = seen.insert((&request.trader, &request.id), *place) {
            return Err(OrdersError::RepeatedOrder {
                file: file.to_owned(),
                place: *place,
                first,
                trader: request.trader.clone(),
                order: request.id.clone(),
            });
        }
    }
    Ok(())
}

fn refuse_repeated_positions(
    file: &Path,
    positions: &[RecordedPosition],
) -> Result<(), OrdersError> {
    let mut seen = BTreeMap::new();
    for position in positions {
        if seen.insert((&position.trader, &position.id), ()).is_some() {
            return Err(OrdersError::RepeatedPosition {
                file: file.to_owned(),
                place: position.place,
                trader: position.trader.clone(),
                position: position.id.clone(),
            });
        }
    }
    Ok(())
}

/// The fields of an order as both shapes of file give them.
struct RawOrder<'a> {
    trader: TraderId,
    order: &'a str,
    pair: PairName,
    side: &'a str,
    leverage: f64,
    price: f64,
    bid: f64,
    ask: f64,
    slippage: f64,
    at: UtcMs,
    source_code: u8,
    /// Absent in records from before there were limit orders; the source code tells then.
    execution: Option<&'a str>,
    /// Limit price, stop loss and take profit; zero when there was none.
    levels: [f64; 3],
    price_sources: usize,
    position: Option<PositionId>,
    place: Place,
}

/// Codes of orders that the recorder makes to close a position, at times without a price.
const FORCED_WITHOUT_PRICE: [u8; 2] = [1, 2];

impl RawOrder<'_> {
    fn check(self) -> Result<RecordedOrder, RecordFault> {
        let price = not_negative("price", self.price)?;
        if price.get() == 0.0 && !FORCED_WITHOUT_PRICE.contains(&self.source_code) {
            return Err(RecordFault::NoPrice);
        }
        let fill = RecordedFill {
            price,
            bid: known(not_negative("bid", self.bid)?),
            ask: known(not_negative("ask", self.ask)?),
            slippage: not_negative("slippage", self.slippage)?.get(),
        };
        let leverage = Leverage::new(self.leverage)
            .map_err(|source| RecordFault::NotFinite { column: "leverage", source })?;
        let level = |column, number| not_negative(column, number).map(known);
        let [limit_price, stop_loss, take_profit] = self.levels;
        let market = OrderRequest::market(
            self.trader,
            OrderId::new(self.order)
                .map_err(|source| RecordFault::Id { column: "order_uuid", source })?,
            self.pair,
            Side::parse(self.side)?,
            SizeFields { leverage: Some(leverage), ..SizeFields::default() },
        );
        let request = OrderRequest {
            execution: execution(self.execution, self.source_code)?,
            limit_price: level("limit_price", limit_price)?,
            stop_loss: level("stop_loss", stop_loss)?,
            take_profit: level("take_profit", take_profit)?,
            ..market
        };
        Ok(RecordedOrder {
            request,
            at: self.at,
            fill,
            source_code: self.source_code,
            price_sources: self.price_sources,
            position: self.position,
            place: self.place,
        })
    }
}

/// Returns how a recorded order was executed. Orders of a position were filled, so a code of an
/// order that waits or was cancelled is none of them.
fn execution(text: Option<&str>, source_code: u8) -> Result<ExecutionType, RecordFault> {
    let told = text.map(ExecutionType::parse).transpose()?;
    Ok(told.unwrap_or(match OrderSource::from_code(source_code) {
        Some(OrderSource::LimitFilled) => ExecutionType::Limit,
        Some(OrderSource::BracketFilled) => ExecutionType::Bracket,
        _ => ExecutionType::Market,
    }))
}

fn not_negative(column: &'static str, number: f64) -> Result<Price, RecordFault> {
    let price = Price::new(number).map_err(|source| RecordFault::NotFinite { column, source })?;
    if price.get() < 0.0 { Err(RecordFault::Negative { column, number }) } else { Ok(price) }
}

/// Returns `None` for zero, which is how the recorder writes a price that it does not know.
fn known(price: Price) -> Option<Price> {
    (price.get() > 0.0).then_some(price)
}

fn trader(column: &'static str, text: &str) -> Result<TraderId, RecordFault> {
    TraderId::new(text).map_err(|source| RecordFault::Id { column, source })
}

fn pair(text: &str) -> Result<PairName, RecordFault> {
    PairName::new(text).map_err(|source| RecordFault::Id { column: "trade_pair", source })
}

fn position(text: &str) -> Result<PositionId, RecordFault> {
    PositionId::new(text).map_err(|source| RecordFault::Id { column: "position_uuid", source })
}
