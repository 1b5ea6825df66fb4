//! `Handle::submit(inputs) -> Receipt`: a bounded queue before the writer's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;

use proctor_commit_log::{Base, MAX_PAYLOAD_BYTES};
use proctor_engine::{Engine, Input, View};
use proctor_types::{Stamp, UtcMs};
use proctor_wire::log_entry;

use crate::clock::Clock;
use crate::publisher::Views;
use crate::stats::Stats;
use crate::writer::{AdoptError, Batch, BeginError, CommitError, Receipt, Writer};

/// How many submissions share one sync at most.
const GROUP_MAX: usize = 1_024;

/// Why a submission has no receipt.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full: nothing was taken, try again later.
    #[error("busy: {0} submissions are waiting already")]
    Busy(usize),
    /// The writer has ended; whether the submission was committed is told by the log alone.
    #[error("the sequencer has stopped")]
    Stopped,
    /// The writer refused it.
    #[error(transparent)]
    Refused(#[from] CommitError),
}

enum Message {
    Submit { at: Option<UtcMs>, inputs: Vec<Input>, answer: oneshot::Sender<Answer> },
    Adopt { payloads: Vec<Vec<u8>>, answer: oneshot::Sender<Result<Stamp, AdoptError>> },
    Begin { state: Box<(Engine, Base)>, answer: oneshot::Sender<Result<Stamp, BeginError>> },
    Close,
}

type Answer = Result<Receipt, CommitError>;

/// The way to the writer; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: SyncSender<Message>,
    queue_max: usize,
    /// How many submissions wait: a figure to look at, nothing is decided by it.
    waiting: Arc<AtomicUsize>,
    stats: Arc<Stats>,
    views: Views,
}

/// A running writer.
#[derive(Debug)]
pub struct Sequencer {
    handle: Handle,
    thread: JoinHandle<Writer>,
}

/// An answer that is on its way: a thread waits for it, a task awaits it.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Answer>);

impl Sequencer {
    /// Starts the writer's thread with a queue of at most `queue_max` submissions.
    ///
    /// # Panics
    /// When the system refuses to start a thread.
    #[must_use]
    pub fn start(writer: Writer, clock: impl Clock + 'static, queue_max: usize) -> Self {
        let (queue, messages) = sync_channel(queue_max);
        let waiting = Arc::new(AtomicUsize::new(0));
        let handle = Handle {
            queue,
            queue_max,
            waiting: Arc::clone(&waiting),
            stats: writer.stats(),
            views: writer.views(),
        };
        let thread = std::thread::Builder::new()
            .name("sequencer".into())
            .spawn(move || run(writer, &clock, &messages, &waiting))
            .expect("the system starts one more thread");
        Self { handle, thread }
    }

    /// Returns a way to submit.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the thread after everything that was submitted before; returns the writer.
    ///
    /// # Panics
    /// When the writer's thread has panicked, with its panic.
    #[must_use]
    pub fn stop(self) -> Writer {
        // A send fails only when the thread has ended already.
        drop(self.handle.queue.send(Message::Close));
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Handle {
    /// Submits `inputs` to be stamped with the writer's clock, in one commit with others.
    ///
    /// # Errors
    /// [`SubmitError::Busy`] at once when the queue is full, [`SubmitError::Stopped`].
    pub fn submit(&self, inputs: Vec<Input>) -> Result<Pending, SubmitError> {
        self.send(None, inputs)
    }

    /// Submits `inputs` as one commit of their own, dated `at`: for replays of recorded history.
    ///
    /// # Errors
    /// As [`Handle::submit`]; a date before the last commit is refused in the answer.
    pub fn submit_at(&self, at: UtcMs, inputs: Vec<Input>) -> Result<Pending, SubmitError> {
        self.send(Some(at), inputs)
    }

    fn send(&self, at: Option<UtcMs>, inputs: Vec<Input>) -> Result<Pending, SubmitError> {
        let (answer, pending) = oneshot::channel();
        match self.queue.try_send(Message::Submit { at, inputs, answer }) {
            Ok(()) => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                Ok(Pending(pending))
            }
            Err(TrySendError::Full(_)) => {
                self.stats.found_full();
                Err(SubmitError::Busy(self.queue_max))
            }
            Err(TrySendError::Disconnected(_)) => Err(SubmitError::Stopped),
        }
    }

    /// Hands over commits that another node has made, as they stand in its log; waits until they are
    /// durable, applied and published, and returns the last of them. Everything that was handed over
    /// before comes first.
    ///
    /// # Errors
    /// [`AdoptError`]; [`AdoptError::Stopped`] also when the writer has ended.
    pub fn adopt(&self, payloads: Vec<Vec<u8>>) -> Result<Stamp, AdoptError> {
        let stopped = || AdoptError::Stopped("the sequencer has stopped".into());
        let (answer, pending) = oneshot::channel();
        self.queue.send(Message::Adopt { payloads, answer }).map_err(|_| stopped())?;
        pending.recv().map_err(|_| stopped())?
    }

    /// Drops the log and begins anew after `base`, where `engine` is the state; waits until that is
    /// durable and published. See [`Writer::begin_after`].
    ///
    /// # Errors
    /// [`BeginError`]; [`BeginError::Stopped`] also when the writer has ended.
    pub fn begin_after(&self, engine: Engine, base: Base) -> Result<Stamp, BeginError> {
        let stopped = || BeginError::Stopped("the sequencer has stopped".into());
        let (answer, pending) = oneshot::channel();
        let state = Box::new((engine, base));
        self.queue.send(Message::Begin { state, answer }).map_err(|_| stopped())?;
        pending.recv().map_err(|_| stopped())?
    }

    /// Returns the newest view.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.views.latest()
    }

    /// Returns where views and the last commits are published.
    #[must_use]
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Returns what the writer has done so far.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Returns about how many submissions wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        // Counted after the send, so the writer may have counted it off before.
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting > self.queue_max { 0 } else { waiting }
    }

    /// Returns how many submissions may wait.
    #[must_use]
    pub fn queue_max(&self) -> usize {
        self.queue_max
    }
}

impl Pending {
    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// [`SubmitError::Refused`] or [`SubmitError::Stopped`].
    pub fn wait(self) -> Result<Receipt, SubmitError> {
        Ok(self.0.recv().map_err(|_| SubmitError::Stopped)??)
    }

    /// Waits for the answer in a task. Who drops the wait drops the answer, not the submission.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub async fn answered(self) -> Result<Receipt, SubmitError> {
        Ok(self.0.await.map_err(|_| SubmitError::Stopped)??)
    }
}

/// The single-writer loop: one blocking wait, then everything that has arrived meanwhile.
fn run(
    mut writer: Writer,
    clock: &impl Clock,
    messages: &Receiver<Message>,
    waiting: &AtomicUsize,
) -> Writer {
    while let Ok(first) = messages.recv() {
        let (group, then) = collect(first, messages);
        waiting.fetch_sub(group.len(), Ordering::Relaxed);
        serve(&mut writer, clock, group);
        match then {
            Then::GoOn => {}
            Then::Adopt(payloads, answer) => {
                // Whoever no longer waits does not mind.
                drop(answer.send(writer.adopt(&payloads)));
            }
            Then::Begin(state, answer) => {
                let (engine, base) = *state;
                drop(answer.send(writer.begin_after(engine, &base)));
            }
            Then::End => break,
        }
    }
    writer
}

/// What comes after a group.
enum Then {
    GoOn,
    Adopt(Vec<Vec<u8>>, oneshot::Sender<Result<Stamp, AdoptError>>),
    Begin(Box<(Engine, Base)>, oneshot::Sender<Result<Stamp, BeginError>>),
    End,
}

/// One submission of a group.
struct Submission {
    at: Option<UtcMs>,
    inputs: Vec<Input>,
    answer: oneshot::Sender<Answer>,
}

/// Returns the submissions that wait, and what comes after them.
fn collect(first: Message, messages: &Receiver<Message>) -> (Vec<Submission>, Then) {
    let mut group = Vec::new();
    let mut next = Ok(first);
    loop {
        match next {
            Ok(Message::Submit { at, inputs, answer }) => {
                group.push(Submission { at, inputs, answer });
            }
            Ok(Message::Adopt { payloads, answer }) => {
                return (group, Then::Adopt(payloads, answer));
            }
            Ok(Message::Begin { state, answer }) => return (group, Then::Begin(state, answer)),
            Ok(Message::Close) | Err(TryRecvError::Disconnected) => return (group, Then::End),
            Err(TryRecvError::Empty) => return (group, Then::GoOn),
        }
        if group.len() == GROUP_MAX {
            return (group, Then::GoOn);
        }
        next = messages.try_recv();
    }
}

/// Commits a group and answers: undated submissions share one commit, dated ones have their own.
fn serve(writer: &mut Writer, clock: &impl Clock, group: Vec<Submission>) {
    let mut plan = GroupPlan::after(writer.stamp().at);
    for submission in group {
        plan.add(clock, submission);
    }
    let stats = writer.stats();
    for (result, answers) in writer.commit(plan.batches).into_iter().zip(plan.waiting) {
        let mut first = 0;
        if result.is_ok() {
            stats.shared(answers.len());
        }
        for (answer, count) in answers {
            let own = match &result {
                Ok(receipt) => {
                    let end = (first + count).min(receipt.replies.len());
                    let replies = receipt.replies.get(first..end).unwrap_or_default().to_vec();
                    let Receipt { stamp, digest, ref events, ref ends, .. } = *receipt;
                    let (events, ends) = (Arc::clone(events), Arc::clone(ends));
                    let own = Receipt { stamp, digest, first, replies, events, ends };
                    first = end;
                    Ok(own)
                }
                Err(error) => Err(error.clone()),
            };
            // Whoever no longer waits does not mind.
            drop(answer.send(own));
        }
    }
}

/// Which submissions of a group become which commits.
struct GroupPlan {
    batches: Vec<Batch>,
    /// Who waits for each batch, and how many of its inputs are theirs.
    waiting: Vec<Vec<(oneshot::Sender<Answer>, usize)>>,
    /// Whether the last batch takes more undated submissions, and how many bytes it has so far.
    open: Option<usize>,
    /// The time of the last batch that will be committed.
    latest: UtcMs,
}

impl GroupPlan {
    fn after(latest: UtcMs) -> Self {
        Self { batches: Vec::new(), waiting: Vec::new(), open: None, latest }
    }

    fn add(&mut self, clock: &impl Clock, Submission { at, inputs, answer }: Submission) {
        let (count, bytes) = (inputs.len(), log_entry::encoded_len(&inputs));
        if at.is_none()
            && let Some(so_far) = self.open
            // A submission that is too large by itself must not spoil a commit of others.
            && so_far + bytes <= MAX_PAYLOAD_BYTES
            && let (Some(batch), Some(waiting)) = (self.batches.last_mut(), self.waiting.last_mut())
        {
            batch.inputs.extend(inputs);
            waiting.push((answer, count));
            self.open = Some(so_far + bytes);
            return;
        }
        self.open = at.is_none().then_some(bytes);
        // A wall clock may go back, stamps do not.
        let stamp = at.unwrap_or_else(|| clock.now().max(self.latest));
        // What the writer will refuse does not move the time of those that follow.
        if stamp.is_in_range() && bytes <= MAX_PAYLOAD_BYTES {
            self.latest = self.latest.max(stamp);
        }
        self.batches.push(Batch { at: stamp, inputs });
        self.waiting.push(vec![(answer, count)]);
    }
}
