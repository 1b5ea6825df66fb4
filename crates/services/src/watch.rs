//! Streams of changes: without gap or repeat, bounded, and honest to whoever is too slow.
//!
//! A watcher names the last commit it knows. As long as the commits after it are kept, it gets what
//! they changed, one message for each commit that changed anything; else it gets the whole state
//! and a note of the gap. A watcher that takes nothing for too long is told so and let go; what
//! waits for it meanwhile is one bounded queue.

mod outlet;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proctor_engine::View;
use proctor_rpc::v1::Gap;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{Applied, Since};
use proctor_types::Stamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub use self::outlet::Stream;
pub(crate) use self::outlet::{Gone, Outlet, Room, outlet};
use crate::backend::Backend;

/// How many messages wait for a slow watcher.
const QUEUE: usize = 64;
/// How many bytes of messages wait for one; a larger message waits alone.
const WATCHER_BYTES: usize = 1 << 20;
/// How many bytes wait for all watchers of a service together.
const SERVICE_BYTES: usize = 64 << 20;
/// How many commits are looked at before the watcher's queue is asked again.
const COMMITS_AT_ONCE: usize = 256;
/// How long a watcher may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a watcher hears something, even when nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What one kind of watcher is told.
pub trait Changes: Send + 'static {
    /// What is sent.
    type Message: Send + 'static;

    /// Returns the whole state as of `view`; `gap` says why the watcher could not go on.
    fn reset(&mut self, view: &View, gap: Option<Gap>) -> Self::Message;

    /// Returns what `applied` changed for this watcher; `None` when nothing. `view` is of that
    /// commit or a later one.
    fn change(&mut self, applied: &Applied, view: &View) -> Option<Self::Message>;

    /// Returns the message without changes that says that everything up to `stamp` was told.
    fn heartbeat(&mut self, stamp: Stamp) -> Self::Message;

    /// Returns how many bytes `message` has, about.
    fn bytes(message: &Self::Message) -> usize;
}

/// Lets in a bounded number of watchers, and counts them.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Places>);

#[derive(Debug)]
struct Places {
    max: usize,
    free: Arc<Semaphore>,
    /// Bytes that may wait for the watchers.
    bytes: Arc<Semaphore>,
    too_slow: AtomicU64,
}

impl Gate {
    /// Returns a gate for `max` watchers at a time.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let free = Arc::new(Semaphore::new(max));
        let bytes = Arc::new(Semaphore::new(SERVICE_BYTES));
        Self(Arc::new(Places { max, free, bytes, too_slow: AtomicU64::new(0) }))
    }

    /// Returns how many watchers are here now.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.0.max.saturating_sub(self.0.free.available_permits())
    }

    /// Returns how many watchers were let go so far because they took nothing for too long.
    #[must_use]
    pub fn too_slow(&self) -> u64 {
        self.0.too_slow.load(Ordering::Relaxed)
    }

    /// Counts one that was let go, and returns what it is told.
    pub(crate) fn let_go(&self, patience: Duration) -> Problem {
        self.0.too_slow.fetch_add(1, Ordering::Relaxed);
        let seconds = patience.as_secs();
        let text = format!("nothing was taken for {seconds} s; resume from the last commit");
        Problem::new(Reason::TooSlow, text)
    }

    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0.free).try_acquire_owned().map_err(|_| {
            Problem::new(Reason::Busy, "as many watchers as may be are here already; close one")
                .with_code("watchers")
                .retry_after(PATIENCE)
        })
    }
}

/// Starts a stream for a watcher that knows everything up to `from_commit`; 0 stands for nothing.
///
/// # Errors
/// [`Reason::Busy`] when there are too many watchers; as [`Backend::read`].
pub fn stream<C: Changes>(
    backend: &Backend,
    gate: &Gate,
    from_commit: u64,
    changes: C,
) -> Result<Stream<C::Message>, Problem> {
    let permit = gate.enter()?;
    backend.read()?;
    let (outlet, messages) = outlet(QUEUE);
    let gate = gate.clone();
    let bytes = Arc::new(Semaphore::new(WATCHER_BYTES));
    let due = Instant::now() + HEARTBEAT;
    let watcher =
        Watcher { backend: backend.clone(), gate, outlet, bytes, changes, known: from_commit, due };
    tokio::spawn(async move {
        watcher.run().await;
        drop(permit);
    });
    Ok(messages)
}

struct Watcher<C: Changes> {
    backend: Backend,
    gate: Gate,
    outlet: Outlet<C::Message>,
    /// Bytes that may wait for this one.
    bytes: Arc<Semaphore>,
    changes: C,
    /// The last commit that the watcher was told of.
    known: u64,
    /// When it hears something at the latest. A moment and not a wait: commits that change nothing
    /// for this watcher come more often than heartbeats, and must not put them off.
    due: Instant,
}

/// Waits until the process is about to end.
pub(crate) async fn closed(closing: &mut tokio::sync::watch::Receiver<bool>) {
    // An error says that the sender is gone, and the process with it.
    drop(closing.wait_for(|closing| *closing).await.map(drop));
}

/// Why nothing more is told.
enum Ended {
    /// The watcher is gone.
    Gone,
    /// It is told this at the end.
    Told(Problem),
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl<C: Changes> Watcher<C> {
    async fn run(mut self) {
        if let Ended::Told(problem) = self.tell().await {
            self.outlet.end(problem);
        }
    }

    /// Tells everything, until the watcher or the process ends.
    async fn tell(&mut self) -> Ended {
        let mut closing = self.backend.closing();
        loop {
            match self.round(&mut closing).await {
                Ok(()) => {}
                Err(ended) => return ended,
            }
        }
    }

    /// Tells what is new, or waits until something is.
    async fn round(
        &mut self,
        closing: &mut tokio::sync::watch::Receiver<bool>,
    ) -> Result<(), Ended> {
        if self.known == 0 {
            self.reset(None).await?;
        }
        // Taken before the look, so that nothing published after it is missed.
        let changed = self.backend.views().changed();
        self.backend.read().map_err(Ended::Told)?;
        if self.catch_up().await? {
            return Ok(());
        }
        if Instant::now() >= self.due {
            self.heartbeat().await?;
        }
        tokio::select! {
            () = changed => Ok(()),
            () = tokio::time::sleep_until(self.due) => self.heartbeat().await,
            () = self.outlet.closed() => Err(Ended::Gone),
            () = closed(closing) => {
                self.catch_up().await?;
                let problem = Problem::new(Reason::Unavailable, "the node is stopping");
                Err(Ended::Told(problem.with_code("stopping")))
            }
        }
    }

    /// Tells some of what is new; returns whether there may be more.
    async fn catch_up(&mut self) -> Result<bool, Ended> {
        match self.backend.views().since(self.known, COMMITS_AT_ONCE) {
            Since::Gap { oldest } => {
                let gap = Gap { wanted_after: self.known, oldest };
                self.reset(Some(gap)).await?;
                Ok(true)
            }
            Since::Commits(commits) => {
                for applied in &commits {
                    let view = self.backend.views().latest();
                    let message = self.changes.change(applied, &view);
                    self.known = applied.stamp.commit;
                    if let Some(message) = message {
                        self.send(message).await?;
                    }
                }
                Ok(commits.len() == COMMITS_AT_ONCE)
            }
        }
    }

    async fn reset(&mut self, gap: Option<Gap>) -> Result<(), Ended> {
        let view = self.backend.views().latest();
        let message = self.changes.reset(&view, gap);
        self.known = view.stamp.commit;
        self.send(message).await
    }

    async fn heartbeat(&mut self) -> Result<(), Ended> {
        // Everything up to the view was told, or the view was replaced since and the next round
        // tells the rest.
        let view = self.backend.views().latest();
        if view.stamp.commit != self.known {
            return Ok(());
        }
        let message = self.changes.heartbeat(view.stamp);
        self.send(message).await
    }

    /// Puts `message` into the queue once there is room for it, in number and in bytes.
    async fn queue(&mut self, message: C::Message) -> Result<(), Gone> {
        let bytes = C::bytes(&message).clamp(1, WATCHER_BYTES);
        let bytes = u32::try_from(bytes).map_err(|_| Gone)?;
        // First its own room: who takes nothing holds nothing that others wait for.
        let own = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        let all = Arc::clone(&self.gate.0.bytes).acquire_many_owned(bytes).await;
        let held = [own.map_err(|_| Gone)?, all.map_err(|_| Gone)?];
        self.outlet.send(message, Some(held)).await
    }

    async fn send(&mut self, message: C::Message) -> Result<(), Ended> {
        let queued = tokio::time::timeout(PATIENCE, self.queue(message)).await;
        queued.map_err(|_| Ended::Told(self.gate.let_go(PATIENCE)))??;
        self.due = Instant::now() + HEARTBEAT;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
