//! `Backend`: what every service stands on, in the node's process or outside of it.

pub mod direct;
pub mod forward;
mod receipt;
pub mod remote;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use proctor_engine::{Input, View};
use proctor_rpc::v1::AsOf;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{Clock, Receipt, Views};
use proctor_types::Stamp;
use tokio::sync::watch;

/// What a submission comes to, later.
pub type Submitted<'a> = Pin<Box<dyn Future<Output = Result<Receipt, Problem>> + Send + 'a>>;

/// The way of a write to the sequencer.
pub trait Submitter: fmt::Debug + Send + Sync {
    /// Submits `inputs` to be committed together; the answer comes once they are durable and
    /// applied, and visible in the backend's views.
    ///
    /// Who drops the future drops the answer, not the submission.
    fn submit(&self, inputs: Vec<Input>) -> Submitted<'_>;
}

/// Whether the views can be vouched for.
pub trait Freshness: fmt::Debug + Send + Sync {
    /// # Errors
    /// [`Reason::Stale`] or [`Reason::Unavailable`] when what the views show may be too old.
    fn check(&self) -> Result<(), Problem>;
}

/// What every service stands on; cheap to clone.
#[derive(Clone)]
pub struct Backend {
    views: Views,
    submitter: Arc<dyn Submitter>,
    freshness: Arc<dyn Freshness>,
    clock: Arc<dyn Clock + Sync>,
    generation: u64,
    /// Turns true when the process is about to end: streams end, writes are refused.
    closing: watch::Receiver<bool>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.views.peek().stamp.commit;
        write!(f, "Backend(commit {commit}, generation {})", self.generation)
    }
}

impl Backend {
    /// Returns a backend. `generation` changes with every start of the process; `closing` turns
    /// true when it is about to end.
    #[must_use]
    pub fn new(
        views: Views,
        submitter: Arc<dyn Submitter>,
        freshness: Arc<dyn Freshness>,
        clock: Arc<dyn Clock + Sync>,
        generation: u64,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self { views, submitter, freshness, clock, generation, closing }
    }

    /// Returns the newest view, once it can be vouched for.
    ///
    /// # Errors
    /// As [`Freshness::check`]: no answer is better than one that is silently old.
    pub fn read(&self) -> Result<Arc<View>, Problem> {
        self.freshness.check()?;
        Ok(self.views.latest())
    }

    /// Returns where views and the last commits are published.
    #[must_use]
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Returns the clock of the process.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Returns the number of this start of the process.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the signal that the process is about to end.
    #[must_use]
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.clone()
    }

    /// Submits `inputs` and waits until they are durable, applied and visible.
    ///
    /// # Errors
    /// [`Reason::Busy`] when nothing was taken; [`Reason::Unavailable`] when the process is about to
    /// end, or when it is not known whether the inputs were committed. What the rules refuse is no
    /// error here: it stands in the receipt's replies.
    pub async fn submit(&self, inputs: Vec<Input>) -> Result<Receipt, Problem> {
        if *self.closing.borrow() {
            return Err(Problem::new(
                Reason::Unavailable,
                "the node is stopping and takes no more writes; nothing was taken",
            )
            .with_code("stopping"));
        }
        self.submitter.submit(inputs).await
    }

    /// Submits one input and turns a refusal by the rules into an error.
    ///
    /// # Errors
    /// As [`Backend::submit`], and [`Reason::Refused`] with the rejection's code.
    pub async fn command(&self, input: Input) -> Result<Receipt, Problem> {
        let receipt = self.submit(vec![input]).await?;
        match receipt.replies.first() {
            Some(Err(rejection)) => {
                Err(Problem::new(Reason::Refused, rejection.to_string())
                    .with_code(rejection.code()))
            }
            Some(Ok(())) => Ok(receipt),
            None => Err(Problem::new(Reason::Internal, "the commit holds no answer to its input")),
        }
    }

    /// Returns as of what an answer from `view` is.
    #[must_use]
    pub fn as_of(&self, view: &View) -> AsOf {
        self.at(view.stamp)
    }

    /// Returns as of what an answer to a write at `stamp` is.
    #[must_use]
    pub fn at(&self, stamp: Stamp) -> AsOf {
        AsOf { commit: stamp.commit, as_of_ms: stamp.at.0, generation: self.generation }
    }
}
