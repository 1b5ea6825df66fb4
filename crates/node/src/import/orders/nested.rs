//! Orders from a JSON list of positions, as validators of this ecosystem publish them.

use std::fmt;
use std::io::BufReader;
use std::path::Path;

use proctor_types::{NotFinite, UtcMs};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::{
    ORDERS_MAX, OrdersError, Place, RawOrder, RecordFault, RecordedOrder, RecordedPosition, pair,
    position, refuse_repeated_orders, refuse_repeated_positions, trader,
};
use crate::import::rows::{excerpt, moment};
use crate::import::text::TextFile;

#[derive(Deserialize)]
#[serde(expecting = "a position")]
struct PositionRecord {
    miner_hotkey: String,
    position_uuid: String,
    trade_pair: PairField,
    orders: Vec<OrderRecord>,
    open_ms: Option<i64>,
    close_ms: Option<i64>,
    #[serde(default)]
    is_closed_position: bool,
    current_return: Option<f64>,
    return_at_close: Option<f64>,
    average_entry_price: Option<f64>,
    net_leverage: Option<f64>,
    realized_pnl: Option<f64>,
}

#[derive(Deserialize)]
#[serde(expecting = "an order")]
struct OrderRecord {
    order_uuid: String,
    order_type: String,
    leverage: f64,
    price: f64,
    processed_ms: i64,
    bid: Option<f64>,
    ask: Option<f64>,
    slippage: Option<f64>,
    #[serde(default)]
    src: u8,
    execution_type: Option<String>,
    limit_price: Option<f64>,
    stop_loss: Option<f64>,
    take_profit: Option<f64>,
    price_sources: Option<Vec<IgnoredAny>>,
}

/// The pair's id: either plain, or as the first of a list that also holds its old terms.
struct PairField(String);

impl<'de> Deserialize<'de> for PairField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = PairField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a trade pair's id, or a list that begins with it")
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<PairField, E> {
                Ok(PairField(id.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PairField, A::Error> {
                let id = list.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(PairField(id))
            }
        }
        deserializer.deserialize_any(PairVisitor)
    }
}

/// Reads all positions and their orders.
pub(super) fn read(
    text: &mut TextFile,
) -> Result<(Vec<RecordedOrder>, Vec<RecordedPosition>), OrdersError> {
    let file = text.path().to_owned();
    let records: Vec<PositionRecord> = match serde_json::from_reader(BufReader::new(&mut *text)) {
        Ok(records) => records,
        Err(error) if error.is_io() => return Err(text.failure(error.into()).into()),
        Err(error) => {
            // The parser quotes what it found, of whatever length, and puts the place at the end:
            // here the place goes first and the quote is cut.
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let what = text.strip_suffix(&format!(" at line {line} column {column}"));
            let what = excerpt(what.unwrap_or(&text), 120);
            let reason = format!("line {line}, column {column}: {what}");
            return Err(OrdersError::Json { file, reason });
        }
    };
    let (mut orders, mut positions) = (Vec::new(), Vec::new());
    for (index, record) in records.iter().enumerate() {
        if orders.len() + record.orders.len() > ORDERS_MAX {
            return Err(OrdersError::TooMany { file });
        }
        let place = Place::Position(index + 1);
        positions.push(position_of(record, place).map_err(broken(&file, place))?);
        for (order_index, order) in record.orders.iter().enumerate() {
            let place = Place::Order { position: index + 1, order: order_index + 1 };
            orders.push(order_of(record, order, place).map_err(broken(&file, place))?);
        }
    }
    refuse_repeated_positions(&file, &positions)?;
    refuse_repeated_orders(&file, &orders)?;
    Ok((orders, positions))
}

fn broken(file: &Path, place: Place) -> impl FnOnce(RecordFault) -> OrdersError {
    move |fault| OrdersError::Record { file: file.to_owned(), place, fault: Box::new(fault) }
}

fn position_of(record: &PositionRecord, place: Place) -> Result<RecordedPosition, RecordFault> {
    let figures: [(&'static str, Option<f64>); 5] = [
        ("current_return", record.current_return),
        ("return_at_close", record.return_at_close),
        ("average_entry_price", record.average_entry_price),
        ("net_leverage", record.net_leverage),
        ("realized_pnl", record.realized_pnl),
    ];
    for (column, figure) in figures {
        if let Some(number) = figure.filter(|number| !number.is_finite()) {
            return Err(RecordFault::NotFinite { column, source: NotFinite(number) });
        }
    }
    Ok(RecordedPosition {
        trader: trader("miner_hotkey", &record.miner_hotkey)?,
        id: position(&record.position_uuid)?,
        pair: pair(&record.trade_pair.0)?,
        orders: record.orders.len(),
        opened_at: recorded_moment("open_ms", record.open_ms)?,
        closed_at: recorded_moment("close_ms", record.close_ms)?,
        is_closed: record.is_closed_position,
        current_return: record.current_return,
        return_at_close: record.return_at_close,
        average_entry_price: record.average_entry_price,
        net_leverage: record.net_leverage,
        realized_pnl: record.realized_pnl,
        place,
    })
}

/// Returns `None` for zero, which is how the recorder writes a moment that has not come.
fn recorded_moment(column: &'static str, ms: Option<i64>) -> Result<Option<UtcMs>, RecordFault> {
    Ok(ms.filter(|ms| *ms != 0).map(|ms| moment(column, ms)).transpose()?)
}

fn order_of(
    record: &PositionRecord,
    order: &OrderRecord,
    place: Place,
) -> Result<RecordedOrder, RecordFault> {
    RawOrder {
        trader: trader("miner_hotkey", &record.miner_hotkey)?,
        order: &order.order_uuid,
        pair: pair(&record.trade_pair.0)?,
        side: &order.order_type,
        leverage: order.leverage,
        price: order.price,
        bid: order.bid.unwrap_or(0.0),
        ask: order.ask.unwrap_or(0.0),
        slippage: order.slippage.unwrap_or(0.0),
        at: moment("processed_ms", order.processed_ms)?,
        source_code: order.src,
        execution: order.execution_type.as_deref(),
        levels: [order.limit_price, order.stop_loss, order.take_profit]
            .map(|level| level.unwrap_or(0.0)),
        price_sources: order.price_sources.as_ref().map_or(0, Vec::len),
        position: Some(position(&record.position_uuid)?),
        place,
    }
    .check()
}
