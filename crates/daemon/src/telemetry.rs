//! Log lines: what is written, in which form; and one line for each commit.

use std::io::IsTerminal as _;
use std::str::FromStr as _;

use proctor_sequencer::{Since, Views};
use tokio::sync::watch;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Format, Telemetry};
use crate::feed::closed;

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

/// How many commits are told before the next look.
const COMMITS_AT_ONCE: usize = 256;

/// Writes a line at debug level for each commit from now on, until `closing`: numbers and the digest
/// only, nothing of what was submitted.
pub async fn tell_commits(views: Views, mut closing: watch::Receiver<bool>) {
    let mut known = views.peek().stamp.commit;
    loop {
        // Taken before the look, so that nothing published after it is missed.
        let changed = views.changed();
        match views.since(known, COMMITS_AT_ONCE) {
            Since::Gap { oldest } => {
                tracing::debug!(after = known, oldest, "commits were too many to be told");
                known = oldest.saturating_sub(1);
                continue;
            }
            Since::Commits(commits) => {
                for applied in &commits {
                    let (commit, at_ms) = (applied.stamp.commit, applied.stamp.at.0);
                    let (inputs, events) = (applied.replies.len(), applied.events.len());
                    let refused = applied.replies.iter().filter(|reply| reply.is_err()).count();
                    let digest = applied.digest;
                    tracing::debug!(commit, at_ms, inputs, refused, events, %digest, "commit");
                    known = commit;
                }
                if commits.len() == COMMITS_AT_ONCE {
                    continue;
                }
            }
        }
        tokio::select! {
            () = changed => {}
            () = closed(&mut closing) => return,
        }
    }
}
