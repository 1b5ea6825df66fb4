//! The machine stops, or the process is killed, at every operation: all that was acknowledged is
//! there afterwards.

use proctor_commit_log::LogConfig;
use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proptest::prelude::*;

use crate::common::{Step, Told, tiny};

use Step::{Append, Reopen, Snapshot, Sync};

/// Small, but with rotation, zero-filling, a batch over several sectors, a batch longer than a
/// segment, an empty record, snapshots and a clean close.
const WORKLOAD: &[Step] = &[
    Append(10),
    Append(900),
    Sync,
    Append(0),
    Sync,
    Snapshot,
    Append(600),
    Append(3_000),
    Sync,
    Reopen,
    Append(40),
    Sync,
    Append(41),
    Append(42),
    Sync,
    Snapshot,
    Append(500),
    Sync,
];

/// All in one segment, which is on disk from the start.
fn one_segment() -> LogConfig {
    LogConfig { segment_bytes: 64 * 512, preallocate_bytes: 64 * 512 }
}

fn operations(steps: &[Step], config: &LogConfig) -> u64 {
    let disk = FaultyDisk::new();
    let mut told = Told::default();
    told.run(&disk, config, steps);
    assert_eq!(told.error, None);
    disk.operations()
}

/// Runs `steps`, stops the machine at `operation`, and returns what was acknowledged.
fn crashed(steps: &[Step], config: &LogConfig, operation: u64) -> (FaultyDisk, Told) {
    let disk = FaultyDisk::new();
    disk.inject(operation, Fault::Crash);
    let mut told = Told::default();
    told.run(&disk, config, steps);
    assert!(told.error.is_some(), "operation {operation} is part of the workload");
    (disk, told)
}

#[test]
fn power_lost_at_any_operation_with_any_sectors_kept_loses_nothing_acknowledged() {
    let config = tiny();
    let (mut states, mut cuts) = (0, 0);
    for operation in 0..operations(WORKLOAD, &config) {
        let undecided = crashed(WORKLOAD, &config, operation).0.undecided();
        assert!(undecided <= 12, "the workload is small enough to try all that can survive");
        for mask in 0..1 << undecided {
            let (disk, mut told) = crashed(WORKLOAD, &config, operation);
            disk.power_loss(Survival::Mask(mask));
            cuts += usize::from(told.check(&disk, &config).cut.is_some());
            states += 1;
        }
    }
    assert!(states > 300 && cuts > 50, "{states} states, {cuts} torn tails: too few to mean much");
}

#[test]
fn a_killed_process_loses_nothing_acknowledged_even_if_the_power_goes_later() {
    let config = tiny();
    for operation in 0..operations(WORKLOAD, &config) {
        for survival in [Survival::Nothing, Survival::Everything, Survival::Random(operation)] {
            let (disk, mut told) = crashed(WORKLOAD, &config, operation);
            disk.restart();
            // `check` appends and syncs, after which everything that was read must be durable.
            told.check(&disk, &config);
            disk.power_loss(survival);
            told.check(&disk, &config);
        }
    }
}

/// What the killed process wrote last, a seal for example, must not vanish under what the next one
/// writes behind it.
#[test]
fn power_lost_during_the_first_batch_after_a_killed_process_is_no_damage() {
    for config in [tiny(), one_segment()] {
        for operation in 0..operations(WORKLOAD, &config) {
            for later in 0..7 {
                let undecided = crashed_again(&config, operation, later).0.undecided();
                for mask in 0..1 << undecided.min(6) {
                    let (disk, mut told) = crashed_again(&config, operation, later);
                    disk.power_loss(Survival::Mask(mask));
                    disk.heal();
                    told.check(&disk, &config);
                }
            }
        }
    }
}

/// The process is killed at `operation`; the next one appends, and the machine stops then.
fn crashed_again(config: &LogConfig, operation: u64, later: u64) -> (FaultyDisk, Told) {
    let (disk, mut told) = crashed(WORKLOAD, config, operation);
    disk.restart();
    disk.inject(disk.operations() + later, Fault::Crash);
    told.run(&disk, config, &[Append(1_200), Sync]);
    (disk, told)
}

#[test]
fn power_lost_during_recovery_is_recovered_from() {
    let config = tiny();
    for operation in 0..operations(WORKLOAD, &config) {
        for seed in 0..8 {
            for later in 0..4 {
                let (disk, mut told) = crashed(WORKLOAD, &config, operation);
                disk.power_loss(Survival::Random(seed));
                disk.inject(disk.operations() + later, Fault::Crash);
                told.run(&disk, &config, &[]);
                disk.power_loss(Survival::Random(seed + 100));
                disk.heal();
                told.check(&disk, &config);
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..200usize).prop_map(Append),
        2 => (0..6_000usize).prop_map(Append),
        4 => Just(Sync),
        1 => Just(Snapshot),
        1 => Just(Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn crash_after_crash_nothing_acknowledged_is_lost(
        lives in prop::collection::vec((steps(), any::<prop::sample::Index>(), any::<u64>()), 1..5),
        segment_sectors in 1..20u64,
        ahead_sectors in 0..12u64,
    ) {
        let config = LogConfig {
            segment_bytes: segment_sectors * 512,
            preallocate_bytes: ahead_sectors * 512,
        };
        let (disk, mut told) = (FaultyDisk::new(), Told::default());
        for (steps, at, seed) in lives {
            let before = disk.operations();
            disk.inject(before + at.index(3 * steps.len()) as u64, Fault::Crash);
            told.run(&disk, &config, &steps);
            if seed % 4 == 0 {
                disk.restart();
            } else {
                disk.power_loss(Survival::Random(seed));
            }
            disk.heal();
            told.check(&disk, &config);
        }
    }
}
