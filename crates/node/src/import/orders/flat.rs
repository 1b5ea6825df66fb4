//! Orders from a flat CSV: one order a line, columns found by name.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::OrderId;

use super::{
    ORDERS_MAX, OrdersError, Place, RawOrder, RecordFault, RecordedOrder, pair, position,
    refuse_repeated_orders, trader,
};
use crate::import::rows::{Column, Header, Row, excerpt};
use crate::import::text::{FileError, TextFile};

/// The most sets that are told apart; more means that the column is something else.
const SETS_MAX: usize = 64;
/// The most characters of a set's name that are shown.
const SET_CHARS_MAX: usize = 64;

struct Columns {
    trader: Column,
    order: Column,
    pair: Column,
    side: Column,
    leverage: Column,
    price: Column,
    at: Column,
    set: Option<Column>,
    position: Option<Column>,
    bid: Option<Column>,
    ask: Option<Column>,
    slippage: Option<Column>,
    source_code: Option<Column>,
    execution: Option<Column>,
    levels: [Option<Column>; 3],
    price_sources: Option<Column>,
}

impl Columns {
    fn find(header: &Header, text: &TextFile) -> Result<Self, FileError> {
        Ok(Self {
            trader: header.require(text, "hotkey")?,
            order: header.require(text, "order_uuid")?,
            pair: header.require(text, "trade_pair")?,
            side: header.require(text, "order_type")?,
            leverage: header.require(text, "leverage")?,
            price: header.require(text, "price")?,
            at: header.require(text, "processed_ms")?,
            set: header.find(text, "set")?,
            position: header.find(text, "position_uuid")?,
            bid: header.find(text, "bid")?,
            ask: header.find(text, "ask")?,
            slippage: header.find(text, "slippage")?,
            source_code: header.find(text, "src")?,
            execution: header.find(text, "execution_type")?,
            levels: [
                header.find(text, "limit_price")?,
                header.find(text, "stop_loss")?,
                header.find(text, "take_profit")?,
            ],
            price_sources: header.find(text, "n_price_sources")?,
        })
    }

    fn order(&self, row: &Row<'_>, line: u64) -> Result<RecordedOrder, RecordFault> {
        // An optional column may be missing, and its field empty: both mean zero.
        let optional = |column: Option<Column>| match column {
            Some(column) if !row.text(column).is_empty() => row.number(column),
            Some(_) | None => Ok(0.0),
        };
        let filled = |column: Option<Column>| column.filter(|c| !row.text(*c).is_empty());
        let [limit_price, stop_loss, take_profit] = self.levels;
        RawOrder {
            trader: trader("hotkey", row.filled(self.trader)?)?,
            order: row.filled(self.order)?,
            pair: pair(row.filled(self.pair)?)?,
            side: row.filled(self.side)?,
            leverage: row.number(self.leverage)?,
            price: row.number(self.price)?,
            bid: optional(self.bid)?,
            ask: optional(self.ask)?,
            slippage: optional(self.slippage)?,
            at: row.moment(self.at)?,
            source_code: filled(self.source_code).map_or(Ok(0), |c| row.whole(c))?,
            execution: filled(self.execution).map(|c| row.text(c)),
            levels: [optional(limit_price)?, optional(stop_loss)?, optional(take_profit)?],
            price_sources: filled(self.price_sources).map_or(Ok(0), |c| row.whole(c))?,
            position: filled(self.position).map(|c| position(row.text(c))).transpose()?,
            place: Place::Line(line),
        }
        .check()
    }
}

/// Reads the orders of `set`, or all when none is given and no order is in two sets.
pub(super) fn read(
    text: &mut TextFile,
    set: Option<&str>,
) -> Result<Vec<RecordedOrder>, OrdersError> {
    let file = text.path().to_owned();
    let header = Header::read(text)?;
    let columns = Columns::find(&header, text)?;
    if let (Some(set), None) = (set, columns.set) {
        return Err(OrdersError::NoSets { file, set: set.to_owned() });
    }
    let mut line = text.line();
    let (mut orders, mut order_sets, mut sets) = (Vec::new(), Vec::new(), BTreeSet::new());
    while let Some(bytes) = text.next_line()? {
        line += 1;
        let broken = |fault: RecordFault| OrdersError::Record {
            file: file.clone(),
            place: Place::Line(line),
            fault: Box::new(fault),
        };
        let Some(row) = header.row(bytes).map_err(|e| broken(e.into()))? else { continue };
        let row_set = columns.set.map_or("", |column| row.text(column));
        if !sets.contains(row_set) && sets.len() < SETS_MAX {
            sets.insert(excerpt(row_set, SET_CHARS_MAX));
        }
        // Rows of other sets are not judged: they are not part of this replay.
        if set.is_some_and(|set| set != row_set) {
            continue;
        }
        if orders.len() == ORDERS_MAX {
            return Err(OrdersError::TooMany { file });
        }
        orders.push(columns.order(&row, line).map_err(broken)?);
        order_sets.push(excerpt(row_set, SET_CHARS_MAX));
    }
    if sets.is_empty() {
        return Err(FileError::NoRows { file }.into());
    }
    let sets: Vec<_> = sets.into_iter().collect();
    match (set, order_in_two_sets(&orders, &order_sets)) {
        (Some(set), _) if orders.is_empty() => {
            Err(OrdersError::UnknownSet { file, set: set.to_owned(), sets })
        }
        (None, Some(order)) => Err(OrdersError::SeveralSets { file, sets, order }),
        (Some(_), _) | (None, None) => {
            refuse_repeated_orders(&file, &orders)?;
            Ok(orders)
        }
    }
}

/// Returns the first order that is in two sets.
fn order_in_two_sets(orders: &[RecordedOrder], sets: &[String]) -> Option<OrderId> {
    let mut set_of = BTreeMap::new();
    orders.iter().zip(sets).find_map(|(RecordedOrder { request, .. }, set)| {
        let first = set_of.entry((&request.trader, &request.id)).or_insert(set);
        (*first != set).then(|| request.id.clone())
    })
}
