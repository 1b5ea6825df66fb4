//! Streams of changes: without gap or repeat, bounded, and honest to whoever is too slow.
//!
//! A watcher names the last commit it knows. As long as the commits after it are kept, it gets what
//! they changed, one message for each commit that changed anything; else it gets the whole state
//! and a note of the gap. A watcher that takes nothing for too long is told so and let go; what
//! waits for it meanwhile is one bounded queue.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use proctor_engine::View;
use proctor_rpc::v1::Gap;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{Applied, Since};
use proctor_types::Stamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tonic::Status;

use crate::backend::Backend;

/// A stream of messages to one watcher.
#[derive(Debug)]
pub struct Stream<M>(mpsc::Receiver<Queued<M>>);

/// A message that waits, and the bytes that it holds of its watcher's and of the service's.
#[derive(Debug)]
struct Queued<M> {
    message: Result<M, Status>,
    _held: Option<[OwnedSemaphorePermit; 2]>,
}

impl<M> tokio_stream::Stream for Stream<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // What is taken is held no more: ports have bounds of their own for what they send.
        self.0.poll_recv(cx).map(|queued| queued.map(|queued| queued.message))
    }
}

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
    let (sender, messages) = mpsc::channel(QUEUE);
    let gate = gate.clone();
    let bytes = Arc::new(Semaphore::new(WATCHER_BYTES));
    let due = Instant::now() + HEARTBEAT;
    let watcher =
        Watcher { backend: backend.clone(), gate, sender, bytes, changes, known: from_commit, due };
    tokio::spawn(async move {
        watcher.run().await;
        drop(permit);
    });
    Ok(Stream(messages))
}

struct Watcher<C: Changes> {
    backend: Backend,
    gate: Gate,
    sender: mpsc::Sender<Queued<C::Message>>,
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

/// The watcher is gone, or was let go.
struct Ended;

impl<C: Changes> Watcher<C> {
    async fn run(mut self) {
        let outcome = self.tell().await;
        drop(outcome);
    }

    /// Tells everything, until the watcher or the process ends.
    async fn tell(&mut self) -> Result<(), Ended> {
        let mut closing = self.backend.closing();
        if self.known == 0 {
            self.reset(None).await?;
        }
        loop {
            // Taken before the look, so that nothing published after it is missed.
            let changed = self.backend.views().changed();
            if let Err(problem) = self.backend.read() {
                return self.end(problem).await;
            }
            if self.catch_up().await? {
                continue;
            }
            if Instant::now() >= self.due {
                self.heartbeat().await?;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(self.due) => self.heartbeat().await?,
                () = self.sender.closed() => return Err(Ended),
                () = closed(&mut closing) => {
                    self.catch_up().await?;
                    let problem = Problem::new(Reason::Unavailable, "the node is stopping");
                    return self.end(problem.with_code("stopping")).await;
                }
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
                        self.send(Ok(message)).await?;
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
        self.send(Ok(message)).await
    }

    async fn heartbeat(&mut self) -> Result<(), Ended> {
        // Everything up to the view was told, or the view was replaced since and the next round
        // tells the rest.
        let view = self.backend.views().latest();
        if view.stamp.commit != self.known {
            return Ok(());
        }
        let message = self.changes.heartbeat(view.stamp);
        self.send(Ok(message)).await
    }

    async fn end(&mut self, problem: Problem) -> Result<(), Ended> {
        self.send(Err(problem.into())).await?;
        Err(Ended)
    }

    /// Puts `message` into the queue once there is room for it, in number and in bytes.
    async fn queue(&mut self, message: Result<C::Message, Status>) -> Result<(), Ended> {
        let held = match &message {
            Err(_) => None,
            Ok(told) => {
                let bytes = C::bytes(told).clamp(1, WATCHER_BYTES);
                let bytes = u32::try_from(bytes).map_err(|_| Ended)?;
                // First its own room: who takes nothing holds nothing that others wait for.
                let own = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
                let all = Arc::clone(&self.gate.0.bytes).acquire_many_owned(bytes).await;
                Some([own.map_err(|_| Ended)?, all.map_err(|_| Ended)?])
            }
        };
        self.sender.send(Queued { message, _held: held }).await.map_err(|_| Ended)
    }

    async fn send(&mut self, message: Result<C::Message, Status>) -> Result<(), Ended> {
        match tokio::time::timeout(PATIENCE, self.queue(message)).await {
            Ok(Ok(())) => {
                self.due = Instant::now() + HEARTBEAT;
                Ok(())
            }
            Ok(Err(_)) => Err(Ended),
            // The queue is full, so this can be told only if the watcher takes something after all:
            // else the stream just ends when the task does.
            Err(_) => {
                self.gate.0.too_slow.fetch_add(1, Ordering::Relaxed);
                let seconds = PATIENCE.as_secs();
                let text =
                    format!("nothing was taken for {seconds} s; resume from the last commit");
                let problem = Problem::new(Reason::TooSlow, text);
                let end = Queued { message: Err(problem.into()), _held: None };
                let told = self.sender.try_send(end);
                drop(told);
                Err(Ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proctor_engine::Input;
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::testing::World;

    /// Tells the index of every commit: the simplest watcher there is.
    struct Commits;

    #[derive(Debug, PartialEq)]
    enum Told {
        Reset(u64, Option<u64>),
        Commit(u64),
        Heartbeat(u64),
    }

    impl Changes for Commits {
        type Message = Told;

        fn reset(&mut self, view: &View, gap: Option<Gap>) -> Told {
            Told::Reset(view.stamp.commit, gap.map(|gap| gap.oldest))
        }

        fn change(&mut self, applied: &Applied, _: &View) -> Option<Told> {
            Some(Told::Commit(applied.stamp.commit))
        }

        fn heartbeat(&mut self, stamp: Stamp) -> Told {
            Told::Heartbeat(stamp.commit)
        }

        fn bytes(_: &Told) -> usize {
            1
        }
    }

    /// Returns the next message that is no heartbeat.
    async fn next(stream: &mut Stream<Told>) -> Result<Told, Problem> {
        loop {
            let message = stream.next().await.expect("the stream goes on");
            if !matches!(message, Ok(Told::Heartbeat(_))) {
                return message.map_err(|status| Problem::of(&status).expect("a problem"));
            }
        }
    }

    #[tokio::test]
    async fn a_watcher_gets_every_commit_once_from_where_it_was() {
        let world = World::empty().await;
        let gate = Gate::new(9);
        let mut from_nothing = stream(&world.backend, &gate, 0, Commits).expect("let in");
        assert_eq!(next(&mut from_nothing).await, Ok(Told::Reset(1, None)));
        let mut resumed = stream(&world.backend, &gate, 1, Commits).expect("let in");
        for commit in 2..5 {
            world.put(vec![Input::Tick]).await;
            assert_eq!(next(&mut from_nothing).await, Ok(Told::Commit(commit)));
        }
        for commit in 2..5 {
            assert_eq!(next(&mut resumed).await, Ok(Told::Commit(commit)));
        }
        tokio::time::pause();
        let quiet = resumed.next().await.expect("the stream goes on").expect("no error");
        assert_eq!(quiet, Told::Heartbeat(4));
    }

    /// Tells nothing of any commit, like a watcher of records that nobody makes.
    struct Nothing;

    impl Changes for Nothing {
        type Message = Told;

        fn reset(&mut self, view: &View, _: Option<Gap>) -> Told {
            Told::Reset(view.stamp.commit, None)
        }

        fn change(&mut self, _: &Applied, _: &View) -> Option<Told> {
            None
        }

        fn heartbeat(&mut self, stamp: Stamp) -> Told {
            Told::Heartbeat(stamp.commit)
        }

        fn bytes(_: &Told) -> usize {
            1
        }
    }

    /// Heartbeats were once counted from the last commit: on a node that ticks every second, a
    /// watcher of something rare heard nothing at all and took the silence for a broken stream.
    #[tokio::test]
    async fn a_watcher_hears_something_though_commits_that_change_nothing_for_it_come_all_the_time()
    {
        let world = World::empty().await;
        let mut watcher = stream(&world.backend, &Gate::new(1), 1, Nothing).expect("let in");
        tokio::time::pause();
        // A runtime that is never idle does not move the time by itself.
        let awake = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        for _ in 0..4 {
            for _ in 0..5 {
                tokio::time::advance(HEARTBEAT / 4).await;
                world.put(vec![Input::Tick]).await;
            }
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            let told = tokio::time::timeout(Duration::ZERO, watcher.next()).await;
            let told = told.expect("it is there").expect("the stream goes on");
            assert!(matches!(told, Ok(Told::Heartbeat(commit)) if commit > 1), "{told:?}");
        }
        awake.abort();
    }

    #[tokio::test]
    async fn who_asks_for_commits_that_are_gone_gets_the_state_and_is_told_of_the_gap() {
        let world = World::empty().await;
        let mut last = 1;
        while matches!(world.backend.views().since(1, 1), Since::Commits(_)) {
            world.put(vec![Input::Tick]).await;
            last += 1;
        }
        let mut late = stream(&world.backend, &Gate::new(1), 1, Commits).expect("let in");
        assert_eq!(next(&mut late).await, Ok(Told::Reset(last, Some(3))));
        world.put(vec![Input::Tick]).await;
        assert_eq!(next(&mut late).await, Ok(Told::Commit(last + 1)));
    }

    #[tokio::test]
    async fn a_watcher_that_takes_nothing_is_let_go_and_its_place_is_free_again() {
        let world = World::empty().await;
        let gate = Gate::new(1);
        tokio::time::pause();
        let mut stuck = stream(&world.backend, &gate, 1, Commits).expect("let in");
        let busy = stream(&world.backend, &gate, 1, Commits).expect_err("one place only");
        assert_eq!(busy.reason, Reason::Busy);
        assert_eq!((gate.watchers(), gate.too_slow()), (1, 0));
        // Heartbeats alone fill the queue in virtual time.
        tokio::time::sleep(HEARTBEAT * 80 + PATIENCE * 2).await;
        let mut told = 0;
        while let Some(message) = stuck.next().await {
            assert!(message.is_ok(), "the queue was full: there was no room for the reason");
            told += 1;
        }
        assert_eq!(told, QUEUE);
        assert_eq!((gate.watchers(), gate.too_slow()), (0, 1));
        stream(&world.backend, &gate, 1, Commits).expect("the place is free");
    }

    /// Tells of every commit at a great length.
    struct Long;

    /// A third of what may wait for one watcher, and a little more.
    const LONG: usize = WATCHER_BYTES / 3 + 1;

    impl Changes for Long {
        type Message = Told;

        fn reset(&mut self, view: &View, _: Option<Gap>) -> Told {
            Told::Reset(view.stamp.commit, None)
        }

        fn change(&mut self, applied: &Applied, _: &View) -> Option<Told> {
            Some(Told::Commit(applied.stamp.commit))
        }

        fn heartbeat(&mut self, stamp: Stamp) -> Told {
            Told::Heartbeat(stamp.commit)
        }

        fn bytes(_: &Told) -> usize {
            LONG
        }
    }

    #[tokio::test]
    async fn bytes_that_wait_for_watchers_are_bounded_for_each_and_for_all_and_given_back() {
        let world = World::empty().await;
        let gate = Gate::new(2 * SERVICE_BYTES / LONG);
        for _ in 0..5 {
            world.put(vec![Input::Tick]).await;
        }
        tokio::time::pause();
        let let_in = || stream(&world.backend, &gate, 1, Long).expect("let in");
        let mut slow = let_in();
        // Its queue has room for 64 messages, but not for the bytes of a third one.
        tokio::time::sleep(PATIENCE + HEARTBEAT).await;
        assert_eq!(gate.too_slow(), 1);
        for commit in 2..4 {
            assert_eq!(next(&mut slow).await, Ok(Told::Commit(commit)));
        }
        let end = next(&mut slow).await.expect_err("let go");
        assert_eq!(end.reason, Reason::TooSlow, "there was room to say so");
        drop(slow);
        assert_eq!(gate.0.bytes.available_permits(), SERVICE_BYTES, "nothing is held any more");

        // So many that take nothing that the service's own bound is reached.
        let stuck: Vec<_> = (0..SERVICE_BYTES / (2 * LONG) + 2).map(|_| let_in()).collect();
        tokio::time::sleep(HEARTBEAT).await;
        assert!(gate.0.bytes.available_permits() < LONG, "{}", gate.0.bytes.available_permits());
        drop(stuck);
        let mut after = let_in();
        assert_eq!(next(&mut after).await, Ok(Told::Commit(2)), "there is room again");
    }

    #[tokio::test]
    async fn streams_end_when_the_node_stops_after_the_last_commit() {
        let world = World::empty().await;
        let mut watcher = stream(&world.backend, &Gate::new(1), 1, Commits).expect("let in");
        world.put(vec![Input::Tick]).await;
        world.close();
        assert_eq!(next(&mut watcher).await, Ok(Told::Commit(2)));
        let end = next(&mut watcher).await.expect_err("the node is stopping");
        assert_eq!((end.reason, end.code.as_deref()), (Reason::Unavailable, Some("stopping")));
        assert!(watcher.next().await.is_none());
        let refused = world.backend.submit(vec![Input::Tick]).await.expect_err("stopping");
        assert_eq!(refused.reason, Reason::Unavailable);
        assert_eq!(world.stop().stamp().commit, 2, "nothing was taken");
    }
}
