//! `Replica`: a local copy of what a service knows, fed by its stream of changes.
//!
//! Reading it takes nanoseconds and waits for nobody. The copy knows how old it is; one that is older
//! than the limit answers [`Stale`] instead (services E-82): whoever decides by it must say what
//! happens then. After a break it goes on from the last commit it has; a message that it has taken
//! already is not taken again, and a restarted server is asked for everything.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use proctor_rpc::v1::AsOf;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::connection::Connection;

pub mod eliminations;
mod feed;
mod freshness;

/// What a message of a stream says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// As of what the copy is once it has taken the message; absent when the server does not say.
    pub as_of: Option<AsOf>,
    /// Whether it is the whole state.
    pub reset: bool,
    /// Whether it changes anything.
    pub changes: bool,
}

/// What a replica holds.
pub trait ReplicaState: Clone + Default + Send + Sync + 'static {
    /// What its stream is made of.
    type Message: Send + 'static;

    /// Opens the stream of the changes after `from_commit`; 0 asks for everything.
    ///
    /// # Errors
    /// As the call fails.
    fn open(
        connection: &Connection,
        from_commit: u64,
    ) -> impl Future<Output = Result<Streaming<Self::Message>, Status>> + Send;

    /// Returns what `message` says of itself.
    fn head(message: &Self::Message) -> Head;

    /// Takes what `message` changes.
    fn take(&mut self, message: Self::Message);
}

/// How a replica behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The greatest age at which the copy is answered from.
    pub age_max: Duration,
    /// A stream that says nothing for this long is opened again. Servers say something every second.
    pub silence_max: Duration,
}

impl Default for Limits {
    /// 15 s of age (services E-82), 5 s of silence.
    fn default() -> Self {
        Self { age_max: Duration::from_secs(15), silence_max: Duration::from_secs(5) }
    }
}

/// The copy is too old to answer from, or there is none yet: it is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the copy from {address} cannot be vouched for: {}; {why}", words(.age, .age_max))]
pub struct Stale {
    /// Where the copy comes from.
    pub address: String,
    /// How old it is; absent when there is none yet.
    pub age: Option<Duration>,
    /// How old it may be.
    pub age_max: Duration,
    /// What the stream does meanwhile.
    pub why: String,
}

fn words(age: &Option<Duration>, age_max: &Duration) -> String {
    match age {
        Some(age) => format!("it is {} ms old, at most {}", age.as_millis(), age_max.as_millis()),
        None => "nothing has come yet".into(),
    }
}

/// How far a replica is; a state, so whoever looks late misses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// As of what the copy is; absent when there is none yet.
    pub as_of: Option<AsOf>,
    /// How often the whole state was taken.
    pub resets: u64,
    /// How often a stream was opened, or tried to be.
    pub streams: u64,
    /// Messages that were left out because the copy had them already.
    pub repeats: u64,
}

/// The copy as it is now.
#[derive(Clone, Debug)]
pub struct LocalCopy<S> {
    /// What it holds.
    pub state: Arc<S>,
    /// As of what.
    pub as_of: AsOf,
    /// The moment up to which the server's changes are known to be in it.
    complete_at: Instant,
}

impl<S> LocalCopy<S> {
    /// Returns how old the copy is: what changed before that is in it.
    #[must_use]
    pub fn age(&self) -> Duration {
        Instant::now().saturating_duration_since(self.complete_at)
    }
}

struct Shared<S> {
    copy: ArcSwap<Option<LocalCopy<S>>>,
    why: ArcSwap<String>,
    progress: watch::Sender<Progress>,
    limits: Limits,
    address: String,
}

/// A local copy; cheap to clone, and all clones are the same copy. It is fed until its [`Feed`] is
/// dropped.
pub struct Replica<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for Replica<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S> fmt::Debug for Replica<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replica({}, {:?})", self.shared.address, *self.shared.progress.borrow())
    }
}

/// Keeps a replica fed; dropped, it ends the stream, and the copy grows old.
#[derive(Debug)]
pub struct Feed {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: ReplicaState> Replica<S> {
    /// Starts a replica that is fed over `connection`.
    #[must_use]
    pub fn start(connection: &Connection, limits: Limits) -> (Self, Feed) {
        let shared = Arc::new(Shared {
            copy: ArcSwap::from_pointee(None),
            why: ArcSwap::from_pointee("the stream is being opened".into()),
            progress: watch::Sender::new(Progress::default()),
            limits,
            address: connection.address().to_owned(),
        });
        let feeding = feed::run(connection.clone(), Arc::clone(&shared));
        (Self { shared }, Feed { task: tokio::spawn(feeding) })
    }

    /// Answers from the copy.
    ///
    /// # Errors
    /// [`Stale`] when the copy is too old: the answer is not known.
    pub fn ask<T>(&self, question: impl FnOnce(&S) -> T) -> Result<T, Stale> {
        let copy = self.shared.copy.load();
        match copy.as_ref() {
            Some(copy) if copy.age() <= self.shared.limits.age_max => Ok(question(&copy.state)),
            Some(copy) => Err(self.stale(Some(copy.age()))),
            None => Err(self.stale(None)),
        }
    }

    /// Returns the copy, whatever its age.
    ///
    /// # Errors
    /// [`Stale`] as long as there is none.
    pub fn copy(&self) -> Result<LocalCopy<S>, Stale> {
        Option::clone(&self.shared.copy.load()).ok_or_else(|| self.stale(None))
    }

    /// Returns how far the replica is, and how to wait for more.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    /// Waits until everything up to `commit` is in the copy.
    ///
    /// # Concurrency
    /// Waits for ever when that never comes: the caller decides how long.
    pub async fn reaches(&self, commit: u64) {
        let mut progress = self.progress();
        let reached =
            |progress: &Progress| progress.as_of.is_some_and(|as_of| as_of.commit >= commit);
        // It cannot fail: this replica holds the sender.
        drop(progress.wait_for(reached).await.map(drop));
    }

    #[cold]
    fn stale(&self, age: Option<Duration>) -> Stale {
        Stale {
            address: self.shared.address.clone(),
            age,
            age_max: self.shared.limits.age_max,
            why: self.shared.why.load().as_ref().clone(),
        }
    }
}

#[cfg(test)]
mod tests;
