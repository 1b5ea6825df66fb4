//! Latest quotes per source; fill price; freshness.

pub mod slippage;
