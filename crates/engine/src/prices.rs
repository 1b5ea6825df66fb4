//! Latest quotes per source; fill price; freshness.

pub mod conversion;
pub mod slippage;
