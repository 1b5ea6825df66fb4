//! Direct mode: the service is in the node's process, and a call is a function call.

use proctor_engine::Input;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{CommitError, Handle, SubmitError};
use std::time::Duration;

use super::{Freshness, Submitted, Submitter};

/// How long a caller should wait when the queue is full.
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// Submits through the sequencer's handle.
#[derive(Clone, Debug)]
pub struct Direct(pub Handle);

impl Submitter for Direct {
    fn submit(&self, inputs: Vec<Input>) -> Submitted<'_> {
        // Taken before the first await: a dropped future is a dropped answer.
        let pending = self.0.submit(inputs);
        Box::pin(async move {
            match pending {
                Ok(pending) => pending.answered().await.map_err(|error| problem(&error)),
                Err(error) => Err(problem(&error)),
            }
        })
    }
}

/// The writer is in this process: its newest view is the newest there is.
#[derive(Clone, Copy, Debug)]
pub struct AlwaysFresh;

impl Freshness for AlwaysFresh {
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// Returns what a caller is told of a submission without receipt.
#[must_use]
pub fn problem(error: &SubmitError) -> Problem {
    let text = error.to_string();
    match error {
        SubmitError::Busy(_) => Problem::new(Reason::Busy, text).retry_after(BUSY_RETRY),
        SubmitError::Refused(CommitError::TooLarge { .. }) => {
            Problem::new(Reason::InvalidArgument, text).with_code("too_large")
        }
        SubmitError::Stopped
        | SubmitError::Refused(
            CommitError::Stopped(_) | CommitError::TimeWentBack { .. } | CommitError::Calendar(_),
        ) => Problem::new(Reason::Unavailable, text).with_code("stopped"),
    }
}
