//! Log lines: what is written, in which form.

use std::io::IsTerminal as _;
use std::str::FromStr as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Format, Telemetry};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("telemetry.log {text:?} is no level and no list of them: {error}")]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else logs in this process already.
    #[error("logging was started twice: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts writing log lines to standard error.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(telemetry: &Telemetry) -> Result<(), TelemetryError> {
    let filter = Targets::from_str(&telemetry.log)
        .map_err(|error| TelemetryError::Filter { text: telemetry.log.clone(), error })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match telemetry.format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?)
}
