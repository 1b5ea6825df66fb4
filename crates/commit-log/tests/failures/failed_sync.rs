//! The first failed write or fsync makes the log read-only for good.

use std::sync::Arc;

use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_commit_log::{Log, LogError};

use crate::common::{Step, Told, payload, tiny};

use Step::{Append, Reopen, Snapshot, Sync};

const WORKLOAD: &[Step] = &[
    Append(10),
    Append(900),
    Sync,
    Append(600),
    Sync,
    Snapshot,
    Append(3_000),
    Sync,
    Reopen,
    Append(40),
    Sync,
];

#[test]
fn after_a_failed_operation_every_append_and_sync_names_the_first_cause() {
    for failing in 0..6 {
        let disk = FaultyDisk::new();
        let (mut log, _) = Log::open(Arc::new(disk.clone()), tiny()).unwrap();
        log.append(&payload(1, 100)).unwrap();
        assert_eq!(log.sync().unwrap(), 1);
        disk.inject(disk.operations() + failing, Fault::Fail(300));
        let mut failure = None;
        for index in 2..6 {
            log.append(&payload(index, 400)).unwrap();
            if let Err(error) = log.sync() {
                failure = Some(error);
                break;
            }
        }
        let Some(LogError::Io(failure)) = failure else { panic!("{failure:?}") };
        assert_eq!(failure.source.to_string(), "the disk has failed");
        let durable = log.durable();
        let operations = disk.operations();
        for _ in 0..2 {
            for error in [log.append(b"x").unwrap_err(), log.sync().unwrap_err()] {
                let LogError::PreviousIo(cause) = error else { panic!("{error}") };
                assert_eq!(cause.to_string(), failure.to_string());
            }
        }
        assert_eq!(log.durable(), durable, "what was durable stays readable");
        assert_eq!(log.read_from(1).unwrap().count() as u64, durable.index);
        assert_eq!(log.failure().unwrap().to_string(), failure.to_string());
        assert!(matches!(log.close(), Err(LogError::PreviousIo(_))));
        assert_eq!(disk.operations(), operations, "nothing is tried again");
    }
}

/// Linux marks the pages of a failed fsync clean: they can be read, later syncs skip them, and the
/// next power loss takes them. So recovery must write the end of the log once more.
#[test]
fn what_is_recovered_after_a_failed_fsync_is_durable() {
    for operation in 0.. {
        let disk = FaultyDisk::new();
        disk.inject(operation, Fault::Fail(usize::MAX));
        let mut told = Told::default();
        told.run(&disk, &tiny(), WORKLOAD);
        if told.error.is_none() {
            assert!(operation > 20, "the workload has more operations than that");
            break;
        }
        let recovery = told.check(&disk, &tiny());
        disk.power_loss(Survival::Nothing);
        assert!(told.check(&disk, &tiny()).head.index > recovery.head.index);
    }
}

#[test]
fn a_write_that_failed_after_any_number_of_bytes_loses_nothing_acknowledged() {
    for operation in 0..30 {
        for written in [0, 1, 7, 8, 100, 500, 512, 513, 1_000, 1_024, 1_500] {
            for survival in [None, Some(Survival::Nothing), Some(Survival::Random(written as u64))]
            {
                let disk = FaultyDisk::new();
                disk.inject(operation, Fault::Fail(written));
                let mut told = Told::default();
                told.run(&disk, &tiny(), WORKLOAD);
                match survival {
                    Some(survival) => disk.power_loss(survival),
                    None => disk.restart(),
                }
                told.check(&disk, &tiny());
            }
        }
    }
}
