//! One position: average entry, net size, PnL, return.

pub mod fees;
