//! Snapshots that are written beside the commits.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use proctor_commit_log::SnapshotStore;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::storage::{Access, Storage, StorageFile};
use proctor_sequencer::{Writer, WriterConfig};

use crate::common::{accepted, batch, config, fold};

/// A directory in which the file of a snapshot is created when the test says so.
#[derive(Debug)]
struct Held {
    memory: MemoryStorage,
    asked: Sender<String>,
    go_on: Mutex<Receiver<()>>,
}

impl Storage for Held {
    fn list(&self) -> io::Result<Vec<String>> {
        self.memory.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        if name.ends_with(".snap.new") {
            self.asked.send(name.to_owned()).expect("the test goes on");
            // When the test has ended there is nobody left to say so.
            self.go_on.lock().expect("one snapshot at a time").recv().unwrap_or_default();
        }
        self.memory.create(name)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        self.memory.open(name, access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.memory.sync_dir()
    }
}

#[test]
fn commits_do_not_wait_for_a_snapshot_and_it_holds_the_state_of_its_commit() {
    let (asked, snapshots) = channel();
    let (release, go_on) = channel();
    let held = Held { memory: MemoryStorage::new(), asked, go_on: Mutex::new(go_on) };
    let storage: Arc<dyn Storage> = Arc::new(held);
    let config = WriterConfig { snapshot_every: 6, snapshots_beside: true, ..config() };
    let mut writer = Writer::open(Arc::clone(&storage), config).expect("opens").writer;
    for number in 0..6 {
        accepted(writer.commit(vec![batch(number)]));
    }
    let name = |commit: u64| format!("{commit:020}.snap.new");
    assert_eq!(snapshots.recv(), Ok(name(6)));
    // The snapshot stands still, and every commit is answered until the next one is due.
    for number in 6..11 {
        accepted(writer.commit(vec![batch(number)]));
    }
    assert!(snapshots.try_recv().is_err());
    release.send(()).expect("it waits");
    // The last one is written as the writer closes, after the one under way.
    release.send(()).expect("it will wait");
    writer.close().expect("closes");
    assert_eq!(snapshots.recv(), Ok(name(11)));

    let commits = fold(&storage).expect("a good log");
    let store = SnapshotStore::new(Arc::clone(&storage));
    assert_eq!(store.list().expect("in memory"), [11, 6]);
    for place in [6, 11] {
        let snapshot = store.load(place).expect("whole");
        let commit = usize::try_from(place).expect("small") - 1;
        assert_eq!(snapshot.state_digest, commits[commit].1);
        // It is the whole state of its commit, not a mixture with what came after it.
        let restored = proctor_sequencer::replay::restore(&snapshot).expect("a state");
        assert_eq!(restored.digest(), commits[commit].1);
        assert_eq!(proctor_wire::checkpoint::encode(&restored).expect("finite"), snapshot.state);
    }
}

#[test]
fn a_start_from_a_snapshot_written_beside_gives_the_digest_of_the_whole_fold() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let config = WriterConfig { snapshot_every: 2, snapshots_beside: true, ..config() };
    let mut writer = Writer::open(Arc::clone(&storage), config.clone()).expect("opens").writer;
    for number in 0..9 {
        accepted(writer.commit(vec![batch(number)]));
    }
    let stats = writer.stats();
    // Not closed: dropped, as by an owner that panics. The snapshot under way is finished first.
    drop(writer);
    assert!(stats.snapshots() >= 1, "the first was due after two commits");
    assert_eq!(stats.snapshots_failed(), 0);
    let opened = Writer::open(Arc::clone(&storage), config).expect("opens");
    assert!(opened.snapshot.is_some_and(|commit| commit >= 2), "{:?}", opened.snapshot);
    let commits = fold(&storage).expect("a good log");
    assert_eq!(opened.writer.views().latest().digest, commits[8].1);
}
