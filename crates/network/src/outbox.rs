//! `Outbox`: what waits to be written to one peer; bounded, filled by the loop, emptied by the writer.
//!
//! Frames keep their order. A status or a pushed commit that still waits is replaced by its
//! successor, since only the newest counts. What finds no room is refused, and the loop then cuts the
//! peer, which does not read (R7).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proctor_p2p::Status;
use proctor_p2p::peers::policy::Bye;
use tokio::sync::Notify;

use crate::frame::Frame;

/// Frames that may wait.
const FRAMES_MAX: usize = 4_096;
/// Bytes of frames that may wait: one answer with the longest body, and what may wait before it.
const BYTES_MAX: usize = 24 << 20;
/// Below this the next answer for the peer is read from the store.
pub(crate) const LOW_BYTES: usize = 1 << 20;
/// Bytes that the writer takes at once.
const BATCH_BYTES: usize = 128 << 10;

/// What the writer writes.
#[derive(Debug)]
pub(crate) enum Item {
    Bytes(Vec<u8>),
    /// The hello with this status: signed by the writer, for its session.
    Hello(Box<Status>),
    /// This status, likewise.
    Status(Box<Status>),
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Item>,
    bytes: usize,
    status: Option<Box<Status>>,
    push: Option<Vec<u8>>,
    bye: Option<Bye>,
    /// Nothing is taken any more.
    closed: bool,
}

/// The outbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
    /// Told when the outbox has fallen below [`LOW_BYTES`].
    drained: Arc<Notify>,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What is to be written next.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    /// After this batch nothing follows.
    pub(crate) is_last: bool,
}

impl Outbox {
    pub(crate) fn new(drained: Arc<Notify>) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), drained }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whole between any two statements, so a panic elsewhere harms nothing.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(&self, frame: &Frame) -> Result<(), Full> {
        self.put(Item::Bytes(frame.encode()))
    }

    pub(crate) fn hello(&self, status: Status) -> Result<(), Full> {
        self.put(Item::Hello(Box::new(status)))
    }

    fn put(&self, item: Item) -> Result<(), Full> {
        let length = match &item {
            Item::Bytes(bytes) => bytes.len(),
            Item::Hello(_) | Item::Status(_) => 0,
        };
        let mut waiting = self.lock();
        if waiting.closed {
            return Ok(());
        }
        if waiting.frames.len() >= FRAMES_MAX || waiting.bytes.saturating_add(length) > BYTES_MAX {
            return Err(Full);
        }
        waiting.bytes += length;
        waiting.frames.push_back(item);
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Sends a status, instead of one that waits.
    pub(crate) fn status(&self, status: Status) {
        let status = Box::new(status);
        self.lock().status = Some(status);
        self.filled.notify_one();
    }

    /// Sends a pushed commit, instead of one that waits. Says whether one did.
    pub(crate) fn push(&self, frame: &Frame) -> bool {
        // Before the lock: nothing is written under it (R4).
        let bytes = frame.encode();
        let replaced = self.lock().push.replace(bytes).is_some();
        self.filled.notify_one();
        replaced
    }

    /// Says goodbye after what waits, and takes nothing more.
    pub(crate) fn close(&self, why: Bye) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.bye = waiting.bye.or(Some(why));
        (waiting.status, waiting.push) = (None, None);
        drop(waiting);
        self.filled.notify_one();
    }

    /// Returns how many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits until there is something to write and takes it.
    pub(crate) async fn take(&self) -> Batch {
        loop {
            if let Some(batch) = self.try_take() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    fn try_take(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let before = waiting.bytes;
        let (mut batch, mut taken) = (Batch::default(), 0);
        while taken < BATCH_BYTES
            && let Some(item) = waiting.frames.pop_front()
        {
            if let Item::Bytes(bytes) = &item {
                taken += bytes.len();
            }
            batch.items.push(item);
        }
        waiting.bytes = before.saturating_sub(taken);
        // After the frames: the first of them may be the hello.
        batch.items.extend(waiting.status.take().map(Item::Status));
        batch.items.extend(waiting.push.take().map(Item::Bytes));
        if waiting.closed && waiting.frames.is_empty() {
            let bye = waiting.bye.take().map(|why| Item::Bytes(Frame::Bye(why).encode()));
            batch.items.extend(bye);
            batch.is_last = true;
        }
        let has_drained = before >= LOW_BYTES && waiting.bytes < LOW_BYTES;
        drop(waiting);
        if has_drained {
            self.drained.notify_one();
        }
        (!batch.items.is_empty() || batch.is_last).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(sequence: u64) -> Status {
        Status {
            tip: None,
            lowest_body: 1,
            lowest_header: 1,
            latest_snapshot: 0,
            sequence,
            load_permille: 0,
        }
    }

    #[test]
    fn what_is_new_replaces_what_waits_and_frames_keep_their_order() {
        let outbox = Outbox::new(Arc::default());
        outbox.hello(status(1)).unwrap();
        outbox.send(&Frame::Ping(7)).unwrap();
        outbox.status(status(2));
        outbox.status(status(3));
        assert!(!outbox.push(&Frame::UnknownPush));
        assert!(outbox.push(&Frame::UnknownPush));
        let batch = outbox.try_take().unwrap();
        let [Item::Hello(_), Item::Bytes(ping), Item::Status(last), Item::Bytes(_)] =
            batch.items.as_slice()
        else {
            panic!("{batch:?}");
        };
        assert_eq!(Frame::decode(ping), Ok(Frame::Ping(7)));
        assert_eq!(last.sequence, 3);
        assert!(outbox.try_take().is_none(), "all was taken");
    }

    #[test]
    fn r7_a_full_outbox_refuses_and_says_when_it_is_nearly_empty() {
        let drained = Arc::new(Notify::new());
        let outbox = Outbox::new(Arc::clone(&drained));
        let refused = (0..=FRAMES_MAX as u64).filter(|n| outbox.send(&Frame::Ping(*n)).is_err());
        assert_eq!(refused.count(), 1);
        let big = Item::Bytes(vec![0; BYTES_MAX]);
        assert_eq!(outbox.put(big), Err(Full));
        while outbox.try_take().is_some() {}
        outbox.put(Item::Bytes(vec![0; LOW_BYTES])).unwrap();
        assert_eq!(outbox.bytes(), LOW_BYTES);
        assert!(outbox.try_take().is_some());
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn a_goodbye_is_the_last_word() {
        let outbox = Outbox::new(Arc::default());
        outbox.send(&Frame::Ping(1)).unwrap();
        outbox.close(Bye::Shutdown);
        outbox.close(Bye::Timeout);
        outbox.send(&Frame::Ping(2)).unwrap();
        let batch = outbox.try_take().unwrap();
        assert!(batch.is_last);
        let frames: Vec<_> = (batch.items.iter())
            .map(|item| match item {
                Item::Bytes(bytes) => Frame::decode(bytes).unwrap(),
                Item::Hello(_) | Item::Status(_) => panic!("{item:?}"),
            })
            .collect();
        assert_eq!(frames, [Frame::Ping(1), Frame::Bye(Bye::Shutdown)]);
    }
}
