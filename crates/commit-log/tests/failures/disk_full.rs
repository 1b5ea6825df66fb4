//! The disk is full at the n-th byte: a typed error, and nothing acknowledged is lost.

use std::io;
use std::sync::Arc;

use proctor_commit_log::storage::faulty::{FaultyDisk, Survival};
use proctor_commit_log::{Log, LogError};

use crate::common::{Step, Told, payload, tiny};

use Step::{Append, Reopen, Snapshot, Sync};

const WORKLOAD: &[Step] =
    &[Append(10), Sync, Append(900), Sync, Snapshot, Append(3_000), Sync, Reopen, Append(40), Sync];

#[test]
fn a_disk_that_is_full_at_any_byte_loses_nothing_acknowledged() {
    let mut stopped = 0;
    for room in 0..9_000 {
        let disk = FaultyDisk::new();
        disk.limit_room(room);
        let mut told = Told::default();
        told.run(&disk, &tiny(), WORKLOAD);
        stopped += usize::from(told.error.is_some());
        if room % 3 == 0 {
            disk.power_loss(Survival::Random(room));
        }
        disk.heal();
        told.check(&disk, &tiny());
    }
    assert!(stopped > 5_000, "{stopped} of 9,000 runs met the full disk");
}

#[test]
fn the_error_says_that_the_disk_is_full() {
    let disk = FaultyDisk::new();
    disk.limit_room(2_000);
    let (mut log, _) = Log::open(Arc::new(disk), tiny()).unwrap();
    log.append(&payload(1, 2_000)).unwrap();
    let LogError::Io(failure) = log.sync().unwrap_err() else { panic!("not the storage's error") };
    assert_eq!(failure.source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(failure.file, "00000000000000000001.seg");
}
