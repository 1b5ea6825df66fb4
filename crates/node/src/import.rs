//! Recorded orders, price bars and lists of suspects: what comes from files and feeds.
//!
//! Every file is read once, in bounded memory, and hashed over its decompressed bytes. Whatever the
//! bytes are, the answer is a value or a typed error that names the file, the line and what to do;
//! from there on the values are trusted. This module does not judge orders: that is the engine's.

mod bars;
mod hash;
mod orders;
mod rows;
mod suspects;
#[cfg(test)]
mod testing;
mod text;

pub use bars::{
    BadRow, BadRowCause, BadRows, BarArgumentError, BarError, BarFile, BarReader, MergeError,
    MergedBars, SkippedRows, known_at,
};
pub use hash::InputHash;
pub use orders::{
    OrdersError, OrdersSource, Place, RecordFault, RecordedFill, RecordedOrder, RecordedOrders,
    RecordedPosition,
};
pub use rows::FieldError;
pub use suspects::{SuspectsError, suspects};
pub use text::{FileError, LINE_BYTES_MAX, Progress};
