//! One position: average entry, net size, PnL, return, fees.

pub mod book;
pub mod closed;
pub mod fees;
pub mod position;
