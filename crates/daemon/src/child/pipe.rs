//! What a supervisor and its child say to each other: one JSON object per line.
//!
//! The child's standard input begins with [`Start`], its secret in it, and goes on with [`Order`]s;
//! its end says that the supervisor is gone. The child's standard output has [`Report`]s; a line that
//! is none is a line for the log. The secret is in no argument and in no environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use proctor_services::link::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::metrics::Counted;

/// How long a line may be, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// What a child needs to know to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The name of the service.
    pub service: String,
    /// The address of the node's internal service.
    pub node: SocketAddr,
    /// The directory of the log's segments and snapshots.
    pub log: PathBuf,
    /// Where the service listens.
    pub listen: SocketAddr,
    /// The number of this start, for clients.
    pub generation: u64,
    /// What the child proves with that it is the one.
    #[serde(serialize_with = "secret_text", deserialize_with = "text_secret")]
    pub secret: Secret,
    /// For how long views are vouched for without the node, in ms.
    pub stale_after_ms: u64,
    /// How often the child says that it lives, in ms.
    pub beat_every_ms: u64,
    /// How long the child may take to finish what is under way when it is told to end, in ms.
    pub drain_ms: u64,
    /// What the service itself wants to know: limits, tokens.
    pub settings: serde_json::Value,
}

fn secret_text<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn text_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let text = String::deserialize(deserializer)?;
    Secret::parse(&text).ok_or_else(|| serde::de::Error::custom("not 64 hexadecimal digits"))
}

/// What a supervisor tells a child that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Finish what is under way and end.
    Drain,
}

/// What a child tells its supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Report {
    /// It lives.
    Beat {
        /// The commit that it has folded.
        commit: u64,
    },
    /// What it has counted of its calls since it last told.
    Calls(Counted),
    /// It has called itself and got an answer.
    Ready {
        /// Where it listens.
        address: SocketAddr,
    },
    /// It cannot go on.
    Failed {
        /// What happened, to what, and what to do.
        message: String,
    },
}

/// Returns `message` as a line.
///
/// # Errors
/// When it cannot be written as JSON, or is longer than [`LINE_BYTES_MAX`].
pub fn line(message: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(message)?;
    if line.len() >= LINE_BYTES_MAX {
        return Err(serde::ser::Error::custom(format!(
            "the message has {} bytes, a line at most {LINE_BYTES_MAX}",
            line.len()
        )));
    }
    line.push('\n');
    Ok(line)
}

/// Returns the report that `line` is; `None` for everything else that a process may print.
#[must_use]
pub fn report(line: &str) -> Option<Report> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_anything_else_is_a_line_for_the_log() {
        let start = Start {
            service: "prices".into(),
            node: SocketAddr::from(([127, 0, 0, 1], 1)),
            log: "data/log".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 2)),
            generation: 3,
            secret: Secret::new([7; 32]),
            stale_after_ms: 15_000,
            beat_every_ms: 1_000,
            drain_ms: 5_000,
            settings: serde_json::json!({ "tokens": ["a"] }),
        };
        let text = line(&start).expect("short enough");
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1);
        let read: Start = serde_json::from_str(&text).expect("a start");
        assert_eq!((read.secret, read.settings), (start.secret.clone(), start.settings.clone()));
        assert!(!format!("{start:?}").contains(start.secret.expose()));
        let address = start.listen;
        let message = "why".to_owned();
        for said in [
            Report::Beat { commit: 9 },
            Report::Calls(Counted::default()),
            Report::Ready { address },
            Report::Failed { message },
        ] {
            assert_eq!(report(&line(&said).expect("short enough")), Some(said));
        }
        for other in ["", "{", "null", "{\"beat\":{}}", "{\"beat\":{\"commit\":-1}}", "hello\u{0}"]
        {
            assert_eq!(report(other), None, "{other:?}");
        }
        let order: Order = serde_json::from_str("\"drain\"").expect("an order");
        assert_eq!(line(&order).expect("short enough"), "\"drain\"\n");
    }
}
