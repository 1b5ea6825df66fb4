//! A whole node in this process: what it tells of itself, what it withstands, how it begins and ends.

mod common;
mod hostile;
mod lifecycle;
mod limits;
mod metrics;
