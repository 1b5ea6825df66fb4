//! A disk that says "durable" and is not. What it lost is lost, but the log never gives out
//! records that were not appended: it has fewer, or it refuses.

use std::sync::Arc;

use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_commit_log::{Log, LogError};

use crate::common::{Step, Told, all, tiny};

use Step::{Append, Reopen, Sync};

const WORKLOAD: &[Step] = &[
    Append(10),
    Append(900),
    Sync,
    Append(600),
    Sync,
    Append(3_000),
    Sync,
    Reopen,
    Append(40),
    Sync,
    Append(50),
    Append(800),
    Sync,
];

#[test]
fn after_lost_fsyncs_the_log_is_a_prefix_or_refuses() {
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..3_000u64 {
        let disk = FaultyDisk::new();
        let from = seed % 40;
        for operation in from..from + 1 + seed % 7 {
            disk.inject(operation, Fault::Lie);
        }
        disk.inject(seed % 43 + 1, Fault::Crash);
        let mut told = Told::default();
        told.run(&disk, &tiny(), WORKLOAD);
        disk.power_loss(Survival::Random(seed));
        disk.heal();
        match Log::open(Arc::new(disk.clone()), tiny()) {
            Ok((log, _)) => {
                told.check_prefix(&all(&log));
                opened += 1;
            }
            Err(LogError::Damaged(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(opened > 1_000 && refused > 50, "{opened} opened, {refused} refused");
}

/// The lie that hurts most: the batch before was never written, the one after it was.
#[test]
fn a_batch_that_vanished_under_a_later_one_is_damage() {
    let disk = FaultyDisk::new();
    let config = proctor_commit_log::LogConfig::default();
    let (mut log, _) = Log::open(Arc::new(disk.clone()), config.clone()).unwrap();
    log.append(b"first").unwrap();
    disk.inject(disk.operations() + 1, Fault::Lie);
    log.sync().unwrap();
    log.append(b"second").unwrap();
    disk.inject(disk.operations() + 1, Fault::Crash);
    log.sync().unwrap_err();
    // Of the two sectors that are not durable, only the second survives.
    assert_eq!(disk.undecided(), 2);
    disk.power_loss(Survival::Mask(0b10));
    let error = Log::open(Arc::new(disk), config).unwrap_err();
    assert!(error.to_string().contains("although a later one was written"), "{error}");
}
