//! The entries of a log in order, read, checked and decoded by another thread while they are folded.
//!
//! A log of many commits is folded about as fast as it is read, so the two go on side by side. What
//! depends on the inputs alone is made by the reading thread: the decoded inputs and what they add
//! to the input chain. What depends on the state stays with the fold, as do its checks. A few commits
//! are read without a thread: a follower that is told of them one by one never starts one.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::{mem, panic};

use proctor_commit_log::{Head, Reader};
use proctor_engine::Input;
use proctor_engine::input_chain::{Leaves, Linked};
use proctor_engine::state_digest::Effects;
use proctor_types::Digest;
use proctor_wire::log_entry::LogEntry;

use crate::replay::ReplayError;

/// How many commits are read before a thread is started for those behind them.
const READ_HERE: usize = 64;
/// Memory of the entries that go over to the fold at once, in bytes, unless it is a single one.
const BATCH_BYTES: usize = 128 << 10;
/// How many batches wait for the fold at most.
const BATCHES: usize = 16;

/// What the log says of one commit.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The commit, and the log's hash up to it.
    pub(crate) head: Head,
    /// The state digest after the commit before.
    pub(crate) digest_before: Digest,
    /// What the commit before did.
    pub(crate) effects_before: Effects,
    /// The commit itself.
    pub(crate) commit: Linked,
}

impl Entry {
    fn read(
        reader: &mut Reader,
        leaves: &mut Leaves,
    ) -> Result<Option<(Self, usize)>, ReplayError> {
        let Some(record) = reader.next().transpose()? else { return Ok(None) };
        let LogEntry { at, digest_before, effects_before, inputs } =
            LogEntry::decode(&record.payload)
                .map_err(|error| ReplayError::Decode { commit: record.index, error })?;
        // What its bytes say and the room for it: one byte can make a whole input.
        let bytes = record.payload.len() + inputs.capacity() * size_of::<Input>();
        let head = Head { index: record.index, hash: record.hash };
        let commit = Linked::new(leaves, record.index, at, inputs);
        let entry = Self { head, digest_before, effects_before, commit };
        Ok(Some((entry, size_of::<Self>() + bytes)))
    }
}

/// The entries of a log from a reader on.
#[derive(Debug)]
pub(crate) struct Entries {
    /// Absent while the thread has it.
    reader: Option<Reader>,
    ahead: Option<Ahead>,
    leaves: Leaves,
    /// How many entries were read here since the last end of the log.
    here: usize,
}

impl Entries {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader: Some(reader), ahead: None, leaves: Leaves::default(), here: 0 }
    }

    /// Returns the next entry; `None` at the end of the log.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ReplayError> {
        if self.ahead.is_none() && self.here == READ_HERE {
            self.here = 0;
            (self.reader, self.ahead) = Ahead::start(self.reader.take());
        }
        if let Some(ahead) = &mut self.ahead {
            if let Some(entry) = ahead.next() {
                return Ok(Some(entry));
            }
            let (reader, read) = self.ahead.take().map(Ahead::finish).expect("it was just asked");
            self.reader = Some(reader);
            return read.map(|()| None);
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let entry = Entry::read(reader, &mut self.leaves)?;
        self.here = if entry.is_some() { self.here + 1 } else { 0 };
        Ok(entry.map(|(entry, _)| entry))
    }

    /// Returns the reader, which stands at the end of the entries; `None` before that.
    pub(crate) fn reader(&self) -> Option<&Reader> {
        self.reader.as_ref()
    }

    /// Returns the reader likewise, to go on with.
    pub(crate) fn reader_mut(&mut self) -> Option<&mut Reader> {
        self.reader.as_mut()
    }
}

/// Entries that were read together.
#[derive(Debug)]
struct Batch {
    entries: Vec<Entry>,
    /// It is more than a batch should be, so the next one is not read before this one is taken.
    heavy: bool,
}

/// The reader and how it ended.
type Ended = (Reader, Result<(), ReplayError>);

/// Where batches come in, and where it is told that a heavy one was taken.
type Intake = (Receiver<Batch>, Sender<()>);

/// A thread that reads; it ends with the log, at the first error, or when this is dropped.
#[derive(Debug)]
struct Ahead {
    intake: Option<Intake>,
    /// What is left of the batch that is being folded, in order.
    batch: std::vec::IntoIter<Entry>,
    thread: Option<JoinHandle<Ended>>,
}

impl Ahead {
    /// Starts the thread with `reader`, which comes back if there is none to be had.
    fn start(reader: Option<Reader>) -> (Option<Reader>, Option<Self>) {
        let Some(reader) = reader else { return (None, None) };
        let (lend, lent) = channel::<Reader>();
        let (taken, was_taken) = channel();
        let (send, batches) = sync_channel(BATCHES);
        let run = move || {
            let mut reader = lent.recv().expect("the reader is lent as soon as the thread runs");
            let read = read(&mut reader, &send, &was_taken);
            (reader, read)
        };
        let Ok(thread) = thread::Builder::new().name("log reader".into()).spawn(run) else {
            return (Some(reader), None);
        };
        lend.send(reader).expect("the thread waits for the reader");
        let (intake, thread) = (Some((batches, taken)), Some(thread));
        (None, Some(Self { intake, batch: Vec::new().into_iter(), thread }))
    }

    /// Returns the next entry; `None` when the thread has ended.
    fn next(&mut self) -> Option<Entry> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Some(entry);
            }
            let (batches, taken) = self.intake.as_ref()?;
            let batch = batches.recv().ok()?;
            if batch.heavy {
                taken.send(()).ok()?;
            }
            self.batch = batch.entries.into_iter();
        }
    }

    /// Waits for the thread's end and returns the reader with what stopped it.
    fn finish(mut self) -> Ended {
        let ended = self.thread.take().expect("only this and the drop take it").join();
        ended.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    }
}

impl Drop for Ahead {
    /// Stops the thread: once nobody takes its batches, it ends. The files are closed after this.
    fn drop(&mut self) {
        self.intake = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Sends what `reader` reads until its end, or until nobody wants more.
fn read(
    reader: &mut Reader,
    send: &SyncSender<Batch>,
    was_taken: &Receiver<()>,
) -> Result<(), ReplayError> {
    let mut leaves = Leaves::default();
    let (mut entries, mut bytes) = (Vec::new(), 0);
    loop {
        let next = Entry::read(reader, &mut leaves);
        let ended = !matches!(next, Ok(Some(_)));
        let adds = next.as_ref().ok().and_then(Option::as_ref).map_or(0, |(_, adds)| *adds);
        // What was read before an error or before a large entry is folded first.
        if !entries.is_empty() && (ended || bytes + adds > BATCH_BYTES) {
            let heavy = bytes > BATCH_BYTES;
            let batch = Batch { entries: mem::take(&mut entries), heavy };
            bytes = 0;
            if send.send(batch).is_err() || heavy && was_taken.recv().is_err() {
                return Ok(());
            }
        }
        let Some((entry, _)) = next? else { return Ok(()) };
        entries.push(entry);
        bytes += adds;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proctor_commit_log::storage::Storage;
    use proctor_commit_log::storage::memory::MemoryStorage;
    use proctor_commit_log::{Log, LogConfig};
    use proctor_types::UtcMs;

    use super::*;

    /// Returns a log of payloads; entry `n` holds as many ticks as `ticks` says of it.
    fn log(count: u64, ticks: impl Fn(u64) -> usize, bad: Option<u64>) -> Arc<dyn Storage> {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let (mut log, _) = Log::open(Arc::clone(&storage), LogConfig::default()).unwrap();
        for index in 1..=count {
            let entry = LogEntry {
                at: UtcMs(i64::try_from(index).unwrap()),
                digest_before: Digest::default(),
                effects_before: Effects::default(),
                inputs: vec![Input::Tick; ticks(index)],
            };
            let payload = if bad == Some(index) { Vec::new() } else { entry.encode() };
            log.append(&payload).unwrap();
            log.sync().unwrap();
        }
        storage
    }

    /// Returns the indices of all entries and how they ended.
    fn indices(entries: &mut Entries) -> (Vec<u64>, Result<(), ReplayError>) {
        let mut found = Vec::new();
        loop {
            match entries.next() {
                Ok(Some(entry)) => found.push(entry.head.index),
                Ok(None) => return (found, Ok(())),
                Err(error) => return (found, Err(error)),
            }
        }
    }

    #[test]
    fn entries_come_in_order_whatever_their_number_and_size() {
        let heavy = BATCH_BYTES / size_of::<Input>() + 1;
        for count in [0, 1, 63, 64, 65, 400] {
            for ticks in [
                |_| 1,
                |n| usize::from(n % 100 == 99) * 2_000,
                |n| usize::try_from(n % 3).unwrap_or(0),
            ] {
                let ticks = |n| if ticks(n) == 2_000 { heavy } else { ticks(n) };
                let mut entries = Entries::new(Reader::open(log(count, ticks, None)).unwrap());
                let (found, end) = indices(&mut entries);
                assert!(end.is_ok() && found == (1..=count).collect::<Vec<_>>(), "{count}");
                assert_eq!(entries.reader().unwrap().end().unwrap().head.index, count);
            }
        }
    }

    #[test]
    fn an_entry_that_cannot_be_decoded_is_told_after_all_before_it() {
        for bad in [3, 64, 65, 66, 300] {
            let mut entries = Entries::new(Reader::open(log(300, |_| 2, Some(bad))).unwrap());
            let (found, end) = indices(&mut entries);
            assert_eq!(found, (1..bad).collect::<Vec<_>>());
            assert!(matches!(end, Err(ReplayError::Decode { commit, .. }) if commit == bad));
        }
    }

    #[test]
    fn entries_go_on_behind_an_end_that_was_announced() {
        let mut entries = Entries::new(Reader::open(log(500, |_| 1, None)).unwrap().until(200));
        assert_eq!(indices(&mut entries).0, (1..=200).collect::<Vec<_>>());
        entries.reader_mut().expect("at its end").extend(450).unwrap();
        assert_eq!(indices(&mut entries).0, (201..=450).collect::<Vec<_>>());
    }

    #[test]
    fn whoever_stops_early_leaves_no_thread_behind() {
        let heavy = BATCH_BYTES / size_of::<Input>() + 1;
        for ticks in [1, heavy] {
            for taken in [READ_HERE, READ_HERE + 1, READ_HERE + 3] {
                // Small entries fill the queue, a heavy one waits to be taken.
                let count = if ticks == 1 { 20_000 } else { 80 };
                let storage = log(count, |n| if n > 64 { ticks } else { 0 }, None);
                let mut entries = Entries::new(Reader::open(Arc::clone(&storage)).unwrap());
                for _ in 0..taken {
                    entries.next().unwrap().expect("there are more");
                }
                drop(entries);
                // The reader held the storage; its thread has ended, and dropped it.
                assert_eq!(Arc::strong_count(&storage), 1);
            }
        }
    }
}
