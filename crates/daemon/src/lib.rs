//! The long-lived node: configuration, start and stop, services as tasks or processes, feeds.
//!
//! Wiring only: what runs, in which order, in which process, and how it stops. Rules are the
//! engine's, answers the services'.

#![forbid(unsafe_code)]

pub mod child;
pub mod config;
pub mod feed;
pub mod fetch;
pub mod generation;
pub mod isolated;
pub mod listener;
pub mod metrics;
pub mod network;
pub mod node;
pub mod service;
pub mod supervisor;
pub mod telemetry;
pub mod tokens;

pub use config::{Config, Layers};
pub use node::{NodeError, Running, Stop};
