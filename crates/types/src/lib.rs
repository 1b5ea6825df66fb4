//! The vocabulary of Proctor: every other crate speaks it.
//!
//! Plain values with units in their types. Nothing here reads a clock, does I/O or keeps state;
//! bytes and text from outside become these types once, and are trusted from then on.

#![forbid(unsafe_code)]

pub mod amount;
pub mod commit;
pub mod float;
pub mod id;
pub mod market_hours;
pub mod order;
pub mod quote;
pub mod remark;
pub mod time;
pub mod trade_pair;

pub use amount::{Fraction, Leverage, NotFinite, Percent, Price, Quantity, Usd};
pub use commit::{Digest, Stamp};
pub use id::{
    InvalidId, OperatorId, OrderId, PairName, PositionId, SourceName, TraderId, ValidatorId,
};
pub use order::{Cancel, ExecutionType, OrderRequest, Side, SizeFields};
pub use quote::Quote;
pub use remark::{InvalidRemark, Remark};
pub use time::{CivilDate, DurationMs, UtcMs};
pub use trade_pair::{AssetClass, TradePair};
