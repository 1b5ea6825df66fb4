//! Receipts of inputs that were committed elsewhere, out of what was folded here.

use std::sync::Arc;

use proctor_rpc::internal_v1::Place;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{Receipt, Since, Views};

/// Returns what came of the inputs at `place`, which the views have reached.
///
/// # Errors
/// [`Reason::Unavailable`] when the commit is too long ago for the views to tell.
pub(super) fn at(views: &Views, place: Place) -> Result<Receipt, Problem> {
    let Since::Commits(commits) = views.since(place.commit.saturating_sub(1), 1) else {
        return Err(committed(place.commit));
    };
    let applied = commits.first().filter(|applied| applied.stamp.commit == place.commit);
    let range = |first: usize, count: usize| first..first.saturating_add(count);
    let first = usize::try_from(place.first).unwrap_or(usize::MAX);
    let count = usize::try_from(place.count).unwrap_or(usize::MAX);
    let own =
        applied.and_then(|applied| Some((applied, applied.replies.get(range(first, count))?)));
    let (applied, replies) = own.ok_or_else(|| committed(place.commit))?;
    Ok(Receipt {
        stamp: applied.stamp,
        digest: applied.digest,
        first,
        replies: replies.to_vec(),
        events: Arc::clone(&applied.events),
        ends: Arc::clone(&applied.ends),
    })
}

/// The commit is durable, but what it did is not known here.
pub(super) fn committed(commit: u64) -> Problem {
    let text = format!(
        "committed as part of commit {commit}, but this process cannot tell the outcome any more; \
         ask GetOrder, or read the state"
    );
    Problem::new(Reason::Unavailable, text).with_code("unknown_outcome")
}
