//! Nothing is seen or answered before it is durable.

use std::io;
use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Arc, Mutex};

use proctor_commit_log::storage::faulty::{Fault, FaultyDisk};
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::storage::{Access, Storage, StorageFile};
use proctor_engine::Input;
use proctor_sequencer::{Batch, CommitError, Sequencer, SubmitError};
use proctor_types::UtcMs;

use crate::common::{Fixed, Gate, T0, batch, config, fold, gate, open, size};

type Armed = Arc<Mutex<Option<Gate>>>;

/// A directory in memory whose syncs wait at a gate while one is set.
struct Waiting {
    inner: MemoryStorage,
    gate: Armed,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

struct WaitingFile {
    inner: Box<dyn StorageFile>,
    gate: Armed,
}

impl std::fmt::Debug for WaitingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Waiting {
    fn file(&self, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(WaitingFile { inner, gate: Arc::clone(&self.gate) })
    }
}

impl Storage for Waiting {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.file(self.inner.create(name)?))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.file(self.inner.open(name, access)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
}

impl StorageFile for WaitingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, bytes)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }
    fn sync_data(&self) -> io::Result<()> {
        let gate = self.gate.lock().expect("no holder panics").take();
        if let Some(gate) = gate {
            gate.pass();
        }
        self.inner.sync_data()
    }
}

#[test]
fn x_2_while_a_sync_is_under_way_no_view_and_no_answer_shows_the_commit() {
    let armed = Armed::default();
    let disk = Waiting { inner: MemoryStorage::new(), gate: Arc::clone(&armed) };
    let storage: Arc<dyn Storage> = Arc::new(disk);
    let mut writer = open(&storage, &config());
    writer.commit(vec![batch(0)]);
    let sequencer = Sequencer::start(writer, Fixed(T0 + 10), 8);
    let handle = sequencer.handle();
    let before = handle.view();
    let (gate, keeper) = gate();
    *armed.lock().expect("no holder panics") = Some(gate);
    let pending = handle.submit(vec![size(7.0)]).expect("room");
    let (answered, answer) = channel();
    let waiter = std::thread::spawn(move || answered.send(pending.wait().map(|r| r.stamp.commit)));
    keeper.wait();
    assert_eq!(handle.view().digest, before.digest);
    assert_eq!(handle.view().stamp.commit, 1);
    assert!(matches!(answer.try_recv(), Err(TryRecvError::Empty)));
    keeper.let_go();
    assert_eq!(answer.recv().expect("an answer").expect("committed"), 2);
    // Whoever has the answer finds the commit in the view (X-31: in one piece).
    assert_eq!(handle.view().stamp.commit, 2);
    waiter.join().expect("does not panic").expect("is heard");
    drop(sequencer.stop());
}

#[test]
fn x_2_a_commit_whose_sync_fails_is_never_seen_and_the_writer_stops_for_good() {
    let disk = FaultyDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = open(&storage, &config());
    assert!(writer.commit(vec![batch(0), batch(1)]).iter().all(Result::is_ok));
    let before = writer.views().latest();
    // A write and then a sync are the next operations.
    disk.inject(disk.operations() + 1, Fault::Fail(0));
    let answers = writer.commit(vec![batch(2), batch(3), batch(4)]);
    assert!(answers.iter().all(|a| matches!(a, Err(CommitError::Stopped(_)))), "{answers:?}");
    assert_eq!(writer.views().latest().digest, before.digest);
    let cause = writer.stopped().expect("stopped").to_owned();
    assert!(cause.contains("disk has failed"), "{cause}");
    disk.heal();
    // The disk is well again, but what is on it is not known: only a new start can tell.
    for _ in 0..2 {
        match &writer.commit(vec![batch(5)])[..] {
            [Err(CommitError::Stopped(again))] => assert_eq!(*again, cause),
            other => panic!("not stopped: {other:?}"),
        }
    }
    assert_eq!(writer.views().latest().digest, before.digest);
    // The state in memory is ahead of the log, so it must not become a snapshot.
    assert!(writer.snapshot().is_err());
    assert!(disk.files().keys().all(|name| !name.contains("snap")));
    let sequencer = Sequencer::start(writer, Fixed(T0), 8);
    let refused = sequencer.handle().submit(vec![size(1.0)]).expect("room").wait();
    assert!(matches!(refused, Err(SubmitError::Refused(CommitError::Stopped(_)))), "{refused:?}");
    assert!(sequencer.stop().close().is_err());
    assert!(fold(&storage).expect("a good log").len() >= 2, "what was acknowledged is there");
}

/// A group whose last batch was refused once ended without a sync: the batches before it had been
/// applied and were answered, but were neither durable nor visible.
#[test]
fn a_group_that_ends_with_a_refused_batch_is_synced_before_it_is_answered() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut writer = open(&storage, &config());
    let back = Batch { at: UtcMs(T0 - 1), inputs: vec![Input::Tick] };
    let answers = writer.commit(vec![batch(0), batch(1), back.clone(), back]);
    let committed: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(committed, [true, true, false, false]);
    assert_eq!(writer.views().latest().stamp.commit, 2, "what is answered is visible");
    drop(writer);
    assert_eq!(fold(&storage).expect("a good log").len(), 2, "what is answered is durable");
}
