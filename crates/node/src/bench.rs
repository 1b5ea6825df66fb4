//! `proctor bench`: how fast the node is on this machine, measured over fixed workloads.
//!
//! Nothing here asserts a time: a figure is a median over rounds in which the cases take turns, and
//! stands beside the aim it is held to. The workloads are the same on every run, they go through
//! the same functions as a node's inputs, and a run whose orders are refused is an error, not a
//! fast run.

mod challenge;
mod engine;
mod evidence;
mod log;
mod memory;
mod network;
mod orders;
mod ratchet;
mod recovery;
mod rounds;
mod scoring;
mod views;
mod workload;

use std::io;
use std::path::PathBuf;

use proctor_commit_log::{IoFailure, LogError, SnapshotError};
use proctor_engine::OutOfOrder;
use proctor_sequencer::{CommitError, OpenError};
use serde::Serialize;

pub use challenge::challenge;
pub use engine::engine;
pub use evidence::evidence_figures as evidence;
pub use log::log;
pub use network::{BODY_BYTES, headers, price_input, price_log};
pub use orders::orders;
pub use ratchet::ratchet;
pub use rounds::Plan;
pub use scoring::scoring;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As much as the aims speak of: about a minute.
    Full,
    /// Every figure, over so little that its value says nothing: a check that all of it works.
    Quick,
}

impl Scale {
    /// Returns the number that belongs to the scale.
    #[must_use]
    pub fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// One measured number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The benchmark it belongs to.
    pub bench: &'static str,
    /// What was measured.
    pub figure: &'static str,
    /// The median over the rounds; absent where it cannot be measured on this platform.
    pub value: Option<f64>,
    /// The unit of the value.
    pub unit: &'static str,
    /// What the value should be.
    pub aim: Option<Aim>,
    /// The workload.
    pub params: serde_json::Value,
    /// The least and the greatest value of any round.
    pub range: Option<[f64; 2]>,
    /// How often it was measured.
    pub rounds: usize,
    /// What the value was compared with, in the same run and in turns.
    pub ratio_to: Option<Ratio>,
    /// How many processors the machine gives to this process.
    pub cores: usize,
    /// How many tasks wanted a processor on average over the last minute, this one included, where
    /// the system tells (Linux). More than one per core, and the figure is the worse for it.
    pub load: Option<f64>,
}

/// What a figure should reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
    /// The ratio that stands in `ratio_to`; more is better.
    RatioAtLeast(f64),
}

/// A figure in relation to another one of the same run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The other figure.
    pub figure: &'static str,
    /// Its median.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The median over the rounds of the value divided by the other one's.
    pub ratio: f64,
}

/// Why a benchmark ended early.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The workload does not do what it is meant to.
    #[error("the workload is broken: {0}")]
    Workload(String),
    /// The workload's commits do not follow each other.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The directory for the measurement cannot be used.
    #[error("cannot {action} {path}: {error}")]
    Directory {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshots cannot be listed or removed.
    #[error(transparent)]
    Storage(#[from] IoFailure),
    /// A snapshot cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log cannot be recovered.
    #[error(transparent)]
    Recovery(#[from] OpenError),
    /// A commit was not made.
    #[error(transparent)]
    Commit(#[from] CommitError),
}
