//! A log that begins after a snapshot: begun anew, cut at its beginning, and a crash at every step.

use std::sync::Arc;

use proctor_commit_log::base::{self, Base};
use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_commit_log::{Head, Log, LogError, Reader, Snapshot, SnapshotStore, verify};
use proctor_types::Digest;

use crate::common::{payload, tiny};

/// Records of the log that is there, and the one after which it is begun anew.
const OLD: u64 = 9;
const JOINED: u64 = 100;

fn storage(disk: &FaultyDisk) -> Arc<dyn Storage> {
    Arc::new(disk.clone())
}

/// A disk with a log of several segments and snapshots of two of its records.
fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let (mut log, _) = Log::open(storage(&disk), tiny()).unwrap();
    for index in 1..=OLD {
        log.append(&payload(index, 500)).unwrap();
        log.sync().unwrap();
        if index == 4 || index == 8 {
            let snapshot = Snapshot {
                head: log.durable(),
                state_digest: Digest::of(b"state"),
                state: vec![index as u8; 700],
            };
            SnapshotStore::new(storage(&disk)).write(&snapshot).unwrap();
        }
    }
    disk
}

fn joined() -> Head {
    Head { index: JOINED, hash: Digest::of(b"record 100") }
}

fn state() -> Vec<u8> {
    payload(JOINED, 2_000)
}

/// Stages a snapshot in two parts, and begins the log anew after it.
fn join(disk: &FaultyDisk) -> Result<(), String> {
    let storage = storage(disk);
    let snapshots = SnapshotStore::new(Arc::clone(&storage));
    let staged = snapshots.stage(JOINED).map_err(|error| error.to_string())?;
    staged.write_at(1_024, &state()[1_024..]).map_err(|error| error.to_string())?;
    staged.write_at(0, &state()[..1_024]).map_err(|error| error.to_string())?;
    let len = state().len() as u64;
    let finished = staged.finish(joined().hash, Digest::of(b"joined"), len);
    let head = finished.map_err(|error| error.to_string())?;
    let base = Base { head, proof: b"a manifest".to_vec() };
    base::begin_after(&storage, &base).map_err(|error| error.to_string())
}

/// Opens the log and returns its last record; it goes on, and is what a reader sees.
fn reopened(disk: &FaultyDisk) -> u64 {
    let storage = storage(disk);
    let (mut log, recovery) = Log::open(Arc::clone(&storage), tiny()).expect("it opens");
    let (head, first) = (recovery.head, Reader::open(Arc::clone(&storage)).unwrap().first());
    assert_eq!(log.append(b"next").unwrap().index, head.index + 1);
    log.sync().unwrap();
    let newest = SnapshotStore::new(Arc::clone(&storage)).newest(u64::MAX).unwrap().0.unwrap();
    if head.index == JOINED {
        assert_eq!((head, first), (joined(), JOINED + 1));
        assert_eq!((newest.head, &newest.state), (joined(), &state()));
        assert_eq!(base::base(&*storage).unwrap().unwrap().proof, b"a manifest");
        assert_eq!(verify(storage).unwrap().records, 1);
    } else {
        assert_eq!((head.index, first, newest.head.index), (OLD, 1, 8));
        assert_eq!(base::base(&*storage).unwrap(), None);
        assert_eq!(verify(storage).unwrap().records, OLD + 1);
    }
    head.index
}

#[test]
fn f13_power_lost_at_any_step_of_a_join_leaves_the_old_log_or_the_new_one() {
    let (from, to) = {
        let disk = disk();
        let from = disk.operations();
        join(&disk).unwrap();
        (from, disk.operations())
    };
    let (mut old, mut new) = (0, 0);
    for operation in from..to {
        let crashed = || {
            let disk = disk();
            disk.inject(operation, Fault::Crash);
            join(&disk).expect_err("it crashed");
            disk
        };
        for mask in 0..1 << crashed().undecided().min(7) {
            let disk = crashed();
            disk.power_loss(Survival::Mask(mask));
            if reopened(&disk) == JOINED { new += 1 } else { old += 1 }
        }
        let disk = crashed();
        disk.restart();
        reopened(&disk);
    }
    assert!(old > 10 && new > 10, "{old} old, {new} new");
    // And once it is said to be done, it is.
    let done = disk();
    join(&done).unwrap();
    done.power_loss(Survival::Nothing);
    assert_eq!(reopened(&done), JOINED);
}

#[test]
fn f13_power_lost_while_a_join_is_finished_is_recovered_from() {
    // The crash comes just after the old log ceased to count.
    let begun = || {
        let disk = disk();
        let mut operation = disk.operations();
        loop {
            let trial = self::disk();
            trial.inject(operation, Fault::Crash);
            join(&trial).expect_err("it crashed");
            trial.restart();
            let unfinished = base::base(&trial).is_err();
            if unfinished {
                trial.sync_dir().unwrap();
                return trial;
            }
            operation += 1;
        }
    };
    let error = Reader::open(storage(&begun())).expect_err("nobody else may read it");
    assert!(matches!(error, LogError::Unfinished { base: JOINED }), "{error}");
    for later in 0..40 {
        let disk = begun();
        disk.inject(disk.operations() + later, Fault::Crash);
        if Log::open(storage(&disk), tiny()).is_ok() {
            assert!(later > 5, "there are steps to be interrupted");
            return;
        }
        disk.power_loss(Survival::Random(later));
        assert_eq!(reopened(&disk), JOINED);
    }
    panic!("it never ends");
}

#[test]
fn f13_what_was_staged_before_a_crash_can_be_used_again() {
    let disk = disk();
    let snapshots = SnapshotStore::new(storage(&disk));
    let staged = snapshots.stage(JOINED).unwrap();
    staged.write_at(512, &state()[512..1_024]).unwrap();
    drop(staged);
    disk.restart();
    let again = snapshots.stage(JOINED).unwrap();
    let mut found = vec![0; 512];
    assert!(again.read_at(512, &mut found).unwrap());
    assert_eq!(found, state()[512..1_024]);
    assert!(!again.read_at(1_024, &mut found).unwrap(), "this was not written");
    // Another snapshot takes its place; the log itself never notices.
    snapshots.stage(JOINED + 1).unwrap();
    assert!(!snapshots.stage(JOINED).unwrap().read_at(512, &mut found).unwrap());
    snapshots.discard_staged().unwrap();
    assert_eq!(reopened(&disk), OLD);
}

/// Cuts the beginning of the log off, up to the snapshot of record 8.
fn cut(disk: &FaultyDisk) -> Result<(), LogError> {
    let storage = storage(disk);
    let head = SnapshotStore::new(Arc::clone(&storage)).open(8).unwrap().head();
    base::advance(&*storage, &Base { head, proof: b"attested".to_vec() })?;
    assert!(base::prune(&*storage)? > 1);
    Ok(())
}

#[test]
fn f10_power_lost_at_any_step_of_pruning_leaves_all_that_counts() {
    let from = disk().operations();
    let to = {
        let disk = disk();
        cut(&disk).unwrap();
        disk.operations()
    };
    for operation in from..to {
        for mask in 0..8 {
            let disk = disk();
            disk.inject(operation, Fault::Crash);
            cut(&disk).expect_err("it crashed");
            disk.power_loss(Survival::Mask(mask));
            let (_, recovery) = Log::open(storage(&disk), tiny()).expect("it opens");
            assert_eq!(recovery.head.index, OLD);
            let first = base::base(&disk).unwrap().map_or(1, |base| base.head.index + 1);
            let found = Reader::open(storage(&disk)).unwrap().map(|record| record.unwrap().index);
            assert_eq!(found.collect::<Vec<_>>(), (first..=OLD).collect::<Vec<_>>());
            base::prune(&disk).unwrap();
            assert_eq!(verify(storage(&disk)).unwrap().records, OLD + 1 - first);
        }
    }
}

#[test]
fn who_reads_while_the_beginning_is_cut_off_reads_on() {
    let disk = disk();
    let mut reader = Reader::open(storage(&disk)).unwrap().until(OLD);
    assert_eq!(reader.next().unwrap().unwrap().index, 1);
    cut(&disk).unwrap();
    assert!(base::advance(&disk, &Base { head: Head::GENESIS, proof: vec![] }).is_err());
    let mut late = Reader::open_at(storage(&disk), OLD).unwrap();
    assert_eq!(late.next().unwrap().unwrap().index, OLD);
    let (mut log, _) = Log::open(storage(&disk), tiny()).unwrap();
    log.append(&payload(OLD + 1, 3_000)).unwrap();
    log.sync().unwrap();
    late.extend(OLD + 1).unwrap();
    assert_eq!(late.next().unwrap().unwrap().index, OLD + 1);
    assert!(matches!(log.read_from(8), Err(LogError::OutOfRange { first: 9, .. })));
}

#[test]
fn a_changed_byte_of_the_base_is_found() {
    let disk = disk();
    join(&disk).unwrap();
    let bytes = disk.files()["BASE"].len();
    for byte in [0, 8, 12, 13, 30, 53, 60, bytes - 1] {
        assert!(disk.flip_bit("BASE", byte, 2));
        let error = Log::open(storage(&disk), tiny()).expect_err("it is damaged");
        assert!(matches!(error, LogError::BaseDamaged(_)), "{error}");
        disk.flip_bit("BASE", byte, 2);
    }
    assert_eq!(reopened(&disk), JOINED);
}
