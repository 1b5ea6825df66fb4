//! Process mode: the service follows the node's log and submits through the node.
//!
//! It is the same fold over the same commits as in the node, up to what the node has announced as
//! durable, and a receipt is taken out of that fold: so it is the one that direct mode would give.
//! The service can vouch for its views as long as the node keeps confirming them.

mod fold;
mod line;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proctor_engine::Input;
use proctor_rpc::internal_v1::Place;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{FollowError, Follower, Receipt, Views};
use proctor_wire::log_entry;
use tokio::sync::{mpsc, oneshot, watch};

pub use fold::Confirmed;

use super::{Submitted, Submitter, receipt};
use crate::link::{INPUT_BYTES_MAX, Secret};
use line::{Line, Submission};

/// How many submissions wait for their turn on the line.
const QUEUE: usize = 1_024;
/// How long a caller should wait when the queue is full.
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// Where the node is and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address of the node's internal service.
    pub node: SocketAddr,
    /// The name of the service that follows.
    pub service: String,
    /// What the supervisor gave this process.
    pub secret: Secret,
    /// For how long views are vouched for after the node has confirmed them; 15 s is usual.
    pub stale_after: Duration,
}

/// Where the jitter comes from: each call gives any number.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// Why the node cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The node does not know this process.
    #[error("the node at {node} does not take this process for its child: {message}")]
    Refused {
        /// Where it was asked.
        node: SocketAddr,
        /// What it said.
        message: String,
    },
    /// The log cannot be followed.
    #[error("the log cannot be followed: {0}")]
    Follow(#[from] FollowError),
    /// The thread that folds the log has ended without saying why.
    #[error("the fold of the log has ended: this is a fault of this software")]
    FoldEnded,
    /// The node announces less than it did before.
    #[error(
        "the node announces commit {announced} as its last, after it had announced commit {before}: \
         its log was replaced by another one"
    )]
    WentBack {
        /// What it announces now.
        announced: u64,
        /// What it had announced.
        before: u64,
    },
}

/// What stopped a follower for good; the same for everybody who asks.
type Failure = watch::Receiver<Option<Arc<RemoteError>>>;

/// A node that is followed.
#[derive(Debug)]
pub struct Remote {
    /// Where the fold is published.
    pub views: Views,
    /// The way of writes to the node.
    pub submitter: Arc<Submissions>,
    /// When the node has last confirmed the views.
    pub confirmed: Arc<Confirmed>,
    /// Turns true while the node is about to stop.
    pub draining: watch::Receiver<bool>,
    failure: Failure,
}

impl Remote {
    /// Waits until the node can be followed no longer, and returns why. A node that cannot be
    /// reached is no reason: it is tried again for as long as it takes.
    pub async fn failed(&self) -> Arc<RemoteError> {
        let mut failure = self.failure.clone();
        let found = failure.wait_for(Option::is_some).await;
        let found = found.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| Arc::new(RemoteError::FoldEnded))
    }
}

/// Connects to the node, tries again until it answers, and folds its log with the follower that
/// `open` returns for the commit that the node announces.
///
/// # Errors
/// [`RemoteError::Refused`] and what `open` returns.
///
/// # Panics
/// When the system refuses to start a thread.
pub async fn follow(
    settings: Settings,
    random: Random,
    open: impl FnOnce(u64) -> Result<Follower, FollowError> + Send + 'static,
) -> Result<Remote, RemoteError> {
    let (queue, submissions) = mpsc::channel(QUEUE);
    let mut line = Line::new(settings.clone(), random, submissions);
    let connection = line.first_connection().await?;
    let durable = connection.durable();
    let follower = tokio::task::spawn_blocking(move || open(durable))
        .await
        .map_err(|_| RemoteError::FoldEnded)??;
    let views = follower.views();
    let (failed, failure) = watch::channel(None);
    let (draining, drains) = watch::channel(false);
    let (confirmed, announcements) =
        fold::start(follower, settings.stale_after, failed.clone(), failure.clone());
    tokio::spawn(line.run(connection, announcements, draining, failed));
    let submitter = Submissions {
        queue,
        views: views.clone(),
        draining: drains.clone(),
        failure: failure.clone(),
    };
    let submitter = Arc::new(submitter);
    Ok(Remote { views, submitter, confirmed, draining: drains, failure })
}

/// Submits through the node.
#[derive(Clone)]
pub struct Submissions {
    queue: mpsc::Sender<Submission>,
    views: Views,
    draining: watch::Receiver<bool>,
    failure: Failure,
}

impl fmt::Debug for Submissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Submissions({} waiting)", QUEUE - self.queue.capacity())
    }
}

impl Submitter for Submissions {
    fn submit(&self, inputs: Vec<Input>) -> Submitted<'_> {
        // Taken before the first await: a dropped future is a dropped answer.
        let placed = self.send(&inputs);
        Box::pin(async move {
            let place = placed?.await.unwrap_or_else(|_| Err(unknown()))?;
            self.receipt(place).await
        })
    }
}

impl Submissions {
    fn send(&self, inputs: &[Input]) -> Result<oneshot::Receiver<Result<Place, Problem>>, Problem> {
        if *self.draining.borrow() {
            return Err(stopping());
        }
        let inputs = log_entry::encode_inputs(inputs);
        if inputs.len() > INPUT_BYTES_MAX {
            let bytes = inputs.len();
            let text = format!("the inputs have {bytes} bytes, at most {INPUT_BYTES_MAX} go");
            return Err(Problem::new(Reason::InvalidArgument, text).with_code("too_large"));
        }
        let (answer, placed) = oneshot::channel();
        match self.queue.try_send(Submission { inputs, answer }) {
            Ok(()) => Ok(placed),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let text = format!("busy: {QUEUE} submissions are waiting already");
                Err(Problem::new(Reason::Busy, text).retry_after(BUSY_RETRY))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopping()),
        }
    }

    /// Waits until the own fold has reached `place`, and returns what it says of it.
    async fn receipt(&self, place: Place) -> Result<Receipt, Problem> {
        let mut failure = self.failure.clone();
        loop {
            // Taken before the look, so that nothing published after it is missed.
            let changed = self.views.changed();
            if self.views.peek().stamp.commit >= place.commit {
                break;
            }
            tokio::select! {
                () = changed => {}
                _ = failure.wait_for(Option::is_some) => return Err(receipt::committed(place.commit)),
            }
        }
        receipt::at(&self.views, place)
    }
}

/// The link broke between sending and answer.
fn unknown() -> Problem {
    let text = "the link to the node was lost before its answer: it is not known whether this was \
                committed; ask GetOrder, or try again with the same id, which is safe";
    Problem::new(Reason::Unavailable, text).with_code("unknown_outcome")
}

/// Nothing was sent.
fn disconnected() -> Problem {
    let text = "there is no link to the node at the moment; nothing was taken, try again";
    Problem::new(Reason::Unavailable, text)
        .with_code("disconnected")
        .retry_after(Duration::from_secs(1))
}

fn stopping() -> Problem {
    let text = "the node is stopping and takes no more writes; nothing was taken";
    Problem::new(Reason::Unavailable, text).with_code("stopping")
}

#[cfg(test)]
mod tests;
