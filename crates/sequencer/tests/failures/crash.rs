//! The machine stops, or the disk fails, at every single operation of a workload.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_sequencer::{Batch, Receipt, Writer, WriterConfig};

use crate::common::{accepted, batch, config, fold, open};

/// How the batches of the workload are grouped: every group is one sync.
const GROUPS: [u32; 8] = [1, 1, 3, 1, 2, 4, 1, 2];

/// Snapshots often enough that most groups are followed by one.
fn often() -> WriterConfig {
    WriterConfig { snapshot_every: 3, ..config() }
}

/// What the caller of a writer knows.
#[derive(Default)]
struct Told {
    submitted: Vec<Batch>,
    acknowledged: Vec<Receipt>,
}

impl Told {
    /// Runs the workload on an empty disk, with a restart in the middle, until it fails.
    fn run(&mut self, disk: &FaultyDisk) {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let mut number = 0;
        for groups in [&GROUPS[..4], &GROUPS[4..]] {
            let Ok(opened) = Writer::open(Arc::clone(&storage), often()) else { return };
            let mut writer = opened.writer;
            for size in groups {
                let group: Vec<_> = (number..number + size).map(batch).collect();
                number += size;
                self.submitted.extend(group.iter().cloned());
                let mut answers = writer.commit(group);
                let committed = answers.iter().take_while(|answer| answer.is_ok()).count();
                let refused = answers.split_off(committed);
                assert!(refused.iter().all(Result::is_err), "acknowledged after a failure");
                self.acknowledged.extend(accepted(answers));
                let last = self.acknowledged.last().map(|last| last.stamp).unwrap_or_default();
                assert_eq!(writer.views().latest().stamp, last);
                if !refused.is_empty() {
                    // A group is acknowledged as a whole, or up to a commit with a snapshot.
                    assert!(committed == 0 || last.commit.is_multiple_of(often().snapshot_every));
                    // Stopped: every later answer is the same, whatever the disk does.
                    assert!(writer.commit(vec![batch(number)])[0].is_err());
                    assert!(writer.stopped().is_some());
                    return;
                }
            }
            if writer.close().is_err() {
                return;
            }
        }
    }

    /// Opens what is left and holds it to what was told.
    fn check(&self, disk: &FaultyDisk) {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let opened = Writer::open(Arc::clone(&storage), often())
            .unwrap_or_else(|error| panic!("a crash must not keep a node from starting: {error}"));
        let commits = fold(&storage).expect("the fold of every log agrees with its digests");
        assert!(commits.len() >= self.acknowledged.len(), "an acknowledged commit is gone");
        assert!(commits.len() <= self.submitted.len(), "a commit was invented");
        for ((commit, _), batch) in commits.iter().zip(&self.submitted) {
            assert_eq!((commit.at, &commit.inputs), (batch.at, &batch.inputs));
        }
        for ((commit, digest), receipt) in commits.iter().zip(&self.acknowledged) {
            assert_eq!((commit.index, *digest), (receipt.stamp.commit, receipt.digest));
        }
        // Snapshot and suffix give what the whole fold gives.
        let view = opened.writer.views().latest();
        assert_eq!(view.stamp.commit, commits.len() as u64);
        assert_eq!(
            view.digest,
            commits.last().map_or_else(Default::default, |(_, digest)| *digest)
        );
        assert!(opened.skipped.is_empty(), "a crash damaged a snapshot: {:?}", opened.skipped);
        // And life goes on.
        let mut writer = opened.writer;
        let next = batch(u32::try_from(commits.len()).expect("small"));
        assert!(writer.commit(vec![next])[0].is_ok());
    }
}

#[test]
fn x_24_no_acknowledged_commit_is_lost_at_any_crash_of_the_machine() {
    let whole = FaultyDisk::new();
    let mut told = Told::default();
    told.run(&whole);
    assert_eq!(told.acknowledged.len(), 15, "the workload runs through without faults");
    let operations = whole.operations();
    assert!(operations > 60, "{operations} operations: the workload is too small to prove much");
    for operation in 0..operations {
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::Random(operation),
            Survival::Random(operation + 1_000),
            Survival::Random(operation + 2_000),
        ] {
            let disk = FaultyDisk::new();
            disk.inject(operation, Fault::Crash);
            let mut told = Told::default();
            told.run(&disk);
            disk.power_loss(survival);
            told.check(&disk);
        }
    }
}

#[test]
fn x_2_after_the_first_failed_operation_nothing_is_acknowledged_and_nothing_is_lost() {
    let whole = FaultyDisk::new();
    Told::default().run(&whole);
    for operation in 0..whole.operations() {
        for written in [0, 700] {
            for power in [None, Some(Survival::Nothing), Some(Survival::Random(operation))] {
                let disk = FaultyDisk::new();
                disk.inject(operation, Fault::Fail(written));
                let mut told = Told::default();
                told.run(&disk);
                disk.heal();
                match power {
                    None => disk.restart(),
                    Some(survival) => disk.power_loss(survival),
                }
                told.check(&disk);
            }
        }
    }
}

#[test]
fn a_full_disk_stops_the_writer_and_loses_nothing() {
    for room in (0..60_000).step_by(2_500) {
        let disk = FaultyDisk::new();
        disk.limit_room(room);
        let mut told = Told::default();
        told.run(&disk);
        disk.heal();
        told.check(&disk);
    }
}

#[test]
fn a_failed_snapshot_stops_nothing() {
    let disk = FaultyDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = open(&storage, &config());
    accepted(writer.commit(vec![batch(0), batch(1)]));
    for offset in 0..6 {
        disk.inject(disk.operations() + offset, Fault::Fail(10));
        let failed = writer.snapshot().is_err();
        disk.heal();
        assert_eq!(failed, offset < 6, "operation {offset} of a snapshot");
        let next = batch(2 + u32::try_from(offset).expect("small"));
        assert!(writer.commit(vec![next])[0].is_ok(), "the log is not affected");
    }
    drop(writer);
    assert_eq!(open(&storage, &config()).stamp().commit, 8);
}
