//! A workload, and the promise it checks: nothing acknowledged is lost and nothing is invented.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::FaultyDisk;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{
    Head, Log, LogConfig, LogError, Reader, Record, Recovery, Snapshot, SnapshotStore, record,
};
use proctor_types::Digest;

/// One step of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Append a record of this many bytes.
    Append(usize),
    Sync,
    Snapshot,
    /// Close the log and open it again.
    Reopen,
}

/// Segments so small that a few records fill one.
pub(crate) fn tiny() -> LogConfig {
    LogConfig { segment_bytes: 4 * 512, preallocate_bytes: 2 * 512 }
}

/// Segments of four sectors, all on disk from the start.
pub(crate) fn whole_segments() -> LogConfig {
    LogConfig { segment_bytes: 4 * 512, preallocate_bytes: 4 * 512 }
}

/// The payload of record `index`: all bytes differ from those of the others, none is zero.
pub(crate) fn payload(index: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| ((index * 31 + at * 7) % 255 + 1) as u8).collect()
}

/// What the owner of a log knows after a workload that may have been cut short.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Every payload handed to `append`, accepted or not yet known.
    pub(crate) appended: Vec<Vec<u8>>,
    /// The last index that `sync` has called durable.
    pub(crate) durable: u64,
    /// The last record of which `write` of a snapshot has called the snapshot durable.
    pub(crate) snapshot: Option<u64>,
    /// The error that ended the workload.
    pub(crate) error: Option<String>,
}

impl Told {
    /// Runs `steps` from wherever the log is and stops at the first error.
    pub(crate) fn run(&mut self, disk: &FaultyDisk, config: &LogConfig, steps: &[Step]) {
        if let Err(error) = self.try_run(disk, config, steps) {
            self.error = Some(error);
        }
    }

    fn try_run(
        &mut self,
        disk: &FaultyDisk,
        config: &LogConfig,
        steps: &[Step],
    ) -> Result<(), String> {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let snapshots = SnapshotStore::new(storage.clone());
        let text = |error: LogError| error.to_string();
        let (mut log, recovery) = Log::open(storage.clone(), config.clone()).map_err(text)?;
        self.appended.truncate(recovery.head.index as usize);
        self.durable = recovery.head.index;
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    let payload = payload(self.appended.len() as u64 + 1, *bytes);
                    self.appended.push(payload.clone());
                    let appended = log.append(&payload).map_err(text)?;
                    assert_eq!(appended.index, self.appended.len() as u64);
                }
                Step::Sync => self.durable = log.sync().map_err(text)?,
                Step::Snapshot => {
                    let snapshot = snapshot_of(log.durable());
                    snapshots.write(&snapshot).map_err(|error| error.to_string())?;
                    self.snapshot = Some(snapshot.head.index);
                }
                Step::Reopen => {
                    self.durable = log.close().map_err(text)?.index;
                    log = Log::open(storage.clone(), config.clone()).map_err(text)?.0;
                }
            }
        }
        Ok(())
    }

    /// Opens the log and checks the promise; returns what recovery said.
    pub(crate) fn check(&mut self, disk: &FaultyDisk, config: &LogConfig) -> Recovery {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let seen_by_reader: Result<Vec<_>, _> = Reader::open(storage.clone()).unwrap().collect();
        let (mut log, recovery) = Log::open(storage.clone(), config.clone())
            .unwrap_or_else(|error| panic!("refused a log that only crashed: {error}"));
        let records = all(&log);
        assert_eq!(seen_by_reader.unwrap(), records, "a reader sees what recovery keeps");
        assert!(recovery.head.index >= self.durable, "an acknowledged record is gone");
        self.check_prefix(&records);
        self.check_snapshots(&SnapshotStore::new(storage), &records);
        // Life goes on, and what is appended now follows what was kept.
        let next = payload(recovery.head.index + 1, 700);
        assert_eq!(log.append(&next).unwrap().index, recovery.head.index + 1);
        assert_eq!(log.sync().unwrap(), recovery.head.index + 1);
        assert_eq!(all(&log).last().unwrap().payload, next);
        self.appended.truncate(recovery.head.index as usize);
        self.appended.push(next);
        self.durable = recovery.head.index + 1;
        recovery
    }

    /// The records are the first ones that were appended, byte for byte, and chained.
    pub(crate) fn check_prefix(&self, records: &[Record]) {
        assert!(records.len() <= self.appended.len(), "a record was invented");
        let mut head = Head::GENESIS;
        for (record, appended) in records.iter().zip(&self.appended) {
            assert_eq!(record.index, head.index + 1);
            assert_eq!(record.parent, head.hash);
            assert_eq!(record.payload, *appended);
            let hash = record::chain_hash(record.index, &record.parent, &record.payload);
            assert_eq!(record.hash, hash);
            head = Head { index: record.index, hash };
        }
    }

    fn check_snapshots(&self, snapshots: &SnapshotStore, records: &[Record]) {
        let (newest, skipped) = snapshots.newest(u64::MAX).unwrap();
        assert!(skipped.is_empty(), "a crash left a broken snapshot: {skipped:?}");
        let index = newest.as_ref().map(|snapshot| snapshot.head.index);
        assert!(index >= self.snapshot, "an acknowledged snapshot is gone");
        if let Some(snapshot) = newest {
            let at = snapshot.head.index as usize;
            let hash = at.checked_sub(1).map_or(Head::GENESIS.hash, |at| records[at].hash);
            assert_eq!(snapshot, snapshot_of(Head { index: snapshot.head.index, hash }));
        }
    }
}

/// A snapshot whose state says where it belongs.
pub(crate) fn snapshot_of(head: Head) -> Snapshot {
    let state = payload(head.index + 1, 900);
    Snapshot { head, state_digest: Digest::of(&state), state }
}

pub(crate) fn all(log: &Log) -> Vec<Record> {
    log.read_from(1).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Returns a log in memory with these batches of payload lengths.
pub(crate) fn written(config: &LogConfig, batches: &[&[usize]], close: bool) -> Arc<MemoryStorage> {
    let storage = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(storage.clone(), config.clone()).unwrap();
    for batch in batches {
        for bytes in *batch {
            log.append(&payload(log.head().index + 1, *bytes)).unwrap();
        }
        log.sync().unwrap();
    }
    if close {
        log.close().unwrap();
    }
    storage
}
