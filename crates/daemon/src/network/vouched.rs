//! Whether a follower's state may be answered from: for how long it can have been behind.
//!
//! Two things say how old it can be at most. The newest commit's time, which the sequencer has
//! certified, against this machine's clock; and the sequencer's own word, over its stream, that there
//! is nothing newer. The second holds whatever the clocks say; only who is connected to the sequencer
//! has it. A node that has just started knows neither and answers nothing before it has heard.

use std::sync::Arc;
use std::time::Duration;

use proctor_network::Status;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{Clock as _, SystemClock, Views};
use proctor_services::Freshness;
use tokio::sync::watch;

/// When a caller may try again.
const RETRY: Duration = Duration::from_secs(1);

/// Vouches for a follower's views.
#[derive(Clone, Debug)]
pub(super) struct AsSequencer {
    pub(super) status: watch::Receiver<Arc<Status>>,
    pub(super) views: Views,
    pub(super) stale_after: Duration,
}

impl Freshness for AsSequencer {
    fn check(&self) -> Result<(), Problem> {
        let status = Arc::clone(&self.status.borrow());
        if let Some(halt) = &status.halted {
            // What it has may be another state than the sequencer's: it does not matter how new it is.
            let text = format!(
                "this node follows the sequencer no more ({halt:?}) and answers nothing: ask another \
                 node, and tell its operator"
            );
            return Err(Problem::new(Reason::Stale, text).with_code("halted"));
        }
        let known = Known {
            since_commit_ms: SystemClock.now().0 - self.views.peek().stamp.at.0,
            since_growth: status.grew_at.map(|at| at.elapsed()),
            since_word: status.complete_at.map(|at| at.elapsed()),
        };
        match known.age() {
            Some(age) if age <= self.stale_after => Ok(()),
            age => Err(self.stale(age, &status)),
        }
    }
}

impl AsSequencer {
    fn stale(&self, age: Option<Duration>, status: &Status) -> Problem {
        let limit = self.stale_after.as_secs_f64();
        let age = match age {
            Some(age) => format!("this follower's state is {:.1} s old", age.as_secs_f64()),
            None => "this follower has not heard of the sequencer's state since its start".into(),
        };
        let (why, code) = why(status);
        let text = format!(
            "{age}, and after {limit} s it is too old to answer from: {why}; try again, or ask the \
             sequencer"
        );
        Problem::new(Reason::Stale, text).with_code(code).retry_after(RETRY)
    }
}

/// Returns why a state is old, and the stable code for it.
fn why(status: &Status) -> (String, &'static str) {
    let (at, target) = (status.marks.applied, status.marks.target);
    if status.peers.is_empty() {
        ("no peer is connected".into(), "disconnected")
    } else if target > at {
        let reason = status.reason.map(|reason| format!(", {reason:?}")).unwrap_or_default();
        (format!("it is at commit {at} of {target}{reason}"), "behind")
    } else {
        let text = format!(
            "no peer has a commit after {at}; the sequencer makes none, or cannot be reached by \
             them, or the clocks differ"
        );
        (text, "no_commits")
    }
}

/// What is known of how old a state can be.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// This machine's clock less the newest commit's time.
    since_commit_ms: i64,
    /// Since the newest commit was applied; `None` when that was before the start.
    since_growth: Option<Duration>,
    /// Since the sequencer last said that there is no more.
    since_word: Option<Duration>,
}

impl Known {
    /// Returns how old the state is at most; `None` when nothing says so.
    fn age(self) -> Option<Duration> {
        let since_commit = u64::try_from(self.since_commit_ms).unwrap_or(0);
        // A clock that is behind or stands still makes no state young: it is as old as its arrival.
        let by_commit = self.since_growth.map(|grew| grew.max(Duration::from_millis(since_commit)));
        match (by_commit, self.since_word) {
            (Some(commit), Some(word)) => Some(commit.min(word)),
            (known, other) => known.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_as_old_as_the_youngest_of_what_proves_its_age() {
        let s = Duration::from_secs;
        for (since_commit_ms, since_growth, since_word, age) in [
            // Nothing has been heard since the start, however young the newest commit is.
            (0, None, None, None),
            // It grows: the newest commit is as old as the clock says.
            (2_000, Some(s(1)), None, Some(s(2))),
            // It catches up: what comes now is of an hour ago.
            (3_600_000, Some(s(0)), None, Some(s(3_600))),
            // This clock is behind, or stands still: it is as old as its arrival.
            (-3_600_000, Some(s(20)), None, Some(s(20))),
            // This clock is an hour ahead, but the sequencer itself says that there is no more.
            (3_600_000, Some(s(1)), Some(s(4)), Some(s(4))),
            // A sequencer that rarely makes a commit has just said that there is none.
            (60_000, None, Some(s(3)), Some(s(3))),
            // Its last word is long ago, and commits come over others.
            (1_000, Some(s(1)), Some(s(90)), Some(s(1))),
        ] {
            let known = Known { since_commit_ms, since_growth, since_word };
            assert_eq!(known.age(), age, "{known:?}");
        }
    }
}
