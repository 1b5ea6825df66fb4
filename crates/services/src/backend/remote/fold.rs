//! The thread that folds the log up to what was announced, and what that confirms.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proctor_rpc::internal_v1::Stale;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::Follower;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Failure, RemoteError};
use crate::backend::Freshness;

/// When a caller may try again.
const RETRY: Duration = Duration::from_secs(1);

/// That `commit` was the newest durable one at `at`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement {
    pub(super) commit: u64,
    pub(super) at: Instant,
}

/// Until when the views were the newest there are.
#[derive(Debug)]
pub struct Confirmed {
    base: Instant,
    /// Milliseconds after `base` at which the node said what the views show by now.
    ms: AtomicU64,
    stale_after: Duration,
    failure: Failure,
    /// Why the node itself does not answer reads, when it does not.
    refused: watch::Receiver<Option<Stale>>,
}

impl Confirmed {
    /// Returns how long ago the node has confirmed the views.
    #[must_use]
    pub fn age(&self) -> Duration {
        let confirmed = self.base + Duration::from_millis(self.ms.load(Ordering::Acquire));
        Instant::now().saturating_duration_since(confirmed)
    }

    fn confirm(&self, at: Instant) {
        let ms = at.saturating_duration_since(self.base).as_millis();
        self.ms.fetch_max(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::AcqRel);
    }
}

impl Freshness for Confirmed {
    fn check(&self) -> Result<(), Problem> {
        if let Some(Stale { code, message }) = &*self.refused.borrow() {
            let problem = Problem::new(Reason::Stale, message.clone()).with_code(code.clone());
            return Err(problem.retry_after(RETRY));
        }
        let age = self.age();
        if age <= self.stale_after {
            return Ok(());
        }
        let (age, limit) = (age.as_secs_f64(), self.stale_after.as_secs_f64());
        let text = match &*self.failure.borrow() {
            Some(error) => format!("this service cannot go on: {error}"),
            None => format!(
                "the node has not confirmed this state for {age:.1} s, and after {limit} s it is \
                 too old to answer from; try again, or ask whether the node runs"
            ),
        };
        Err(Problem::new(Reason::Stale, text).retry_after(RETRY))
    }
}

/// The way of announcements to the thread. Only the newest counts; it waits in one place.
#[derive(Debug)]
pub(super) struct Announcements {
    newest: Arc<Mutex<Announcement>>,
    wake: SyncSender<()>,
    refused: watch::Sender<Option<Stale>>,
}

impl Announcements {
    /// Passes on what the node has announced; `refused` says that it answers no reads itself.
    pub(super) fn tell(&self, announcement: Announcement, refused: Option<Stale>) {
        self.refused.send_replace(refused);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = announcement;
        // A full channel holds a wake-up that comes after this announcement. A closed one means
        // that the thread has failed, and has said so.
        let _full_or_closed = self.wake.try_send(());
    }
}

/// Starts the thread; it ends when the announcements do, or when the log cannot be followed.
pub(super) fn start(
    follower: Follower,
    stale_after: Duration,
    failed: watch::Sender<Option<Arc<RemoteError>>>,
    failure: Failure,
) -> (Arc<Confirmed>, Announcements) {
    let now = Instant::now();
    let (refuse, refused) = watch::channel(None);
    let confirmed = Confirmed { base: now, ms: AtomicU64::new(0), stale_after, failure, refused };
    let confirmed = Arc::new(confirmed);
    let commit = follower.views().latest().stamp.commit;
    let newest = Arc::new(Mutex::new(Announcement { commit, at: now }));
    let (wake, wakes) = sync_channel(1);
    let fold = Fold {
        follower,
        newest: Arc::clone(&newest),
        confirmed: Arc::clone(&confirmed),
        end: End(failed),
    };
    std::thread::Builder::new()
        .name("follower".into())
        .spawn(move || fold.run(&wakes))
        .expect("the system starts one more thread");
    (confirmed, Announcements { newest, wake, refused: refuse })
}

struct Fold {
    follower: Follower,
    newest: Arc<Mutex<Announcement>>,
    confirmed: Arc<Confirmed>,
    end: End,
}

impl Fold {
    fn run(mut self, wakes: &Receiver<()>) {
        while wakes.recv().is_ok() {
            let announced = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = self.follower.advance(announced.commit) {
                self.end.0.send_replace(Some(Arc::new(error.into())));
                return;
            }
            self.confirmed.confirm(announced.at);
        }
    }
}

/// Says that the thread has ended, even when it ends by a panic.
struct End(watch::Sender<Option<Arc<RemoteError>>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.send_if_modified(|failure| {
            let silent = failure.is_none();
            if silent {
                *failure = Some(Arc::new(RemoteError::FoldEnded));
            }
            silent
        });
    }
}
