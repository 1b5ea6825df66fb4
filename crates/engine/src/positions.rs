//! One position: average entry, net size, PnL, return, fees.

pub mod fees;
pub mod position;
