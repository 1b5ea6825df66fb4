//! The node around the engine: what it reads in, what it runs and what it reports.

#![forbid(unsafe_code)]

pub mod import;
pub mod report;
