//! A disk that says "synced" and has not: commits may be lost, but never silently changed.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_sequencer::{Batch, Receipt, Writer, WriterConfig};

use crate::common::{accepted, batch, config, fold};

fn often() -> WriterConfig {
    WriterConfig { snapshot_every: 3, ..config() }
}

fn run(disk: &FaultyDisk) -> (Vec<Batch>, Vec<Receipt>) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = Writer::open(storage, often()).expect("an empty disk").writer;
    let batches: Vec<_> = (0..10).map(batch).collect();
    let receipts = batches.iter().flat_map(|b| accepted(writer.commit(vec![b.clone()]))).collect();
    (batches, receipts)
}

#[test]
fn a_lost_sync_may_lose_commits_but_never_gives_a_log_that_verifies_with_a_wrong_digest() {
    let whole = FaultyDisk::new();
    run(&whole);
    let (mut opened, mut refused, mut lost) = (0, 0, 0);
    for operation in 0..whole.operations() {
        for survival in
            [Survival::Nothing, Survival::Random(operation), Survival::Random(!operation)]
        {
            let disk = FaultyDisk::new();
            disk.inject(operation, Fault::Lie);
            let (batches, receipts) = run(&disk);
            disk.power_loss(survival);
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            // Either it is refused, with nothing changed, or it is a first part of what there was.
            match Writer::open(Arc::clone(&storage), often()) {
                Ok(found) => {
                    opened += 1;
                    let commits = fold(&storage).expect("a log that opens is a log that verifies");
                    for ((commit, digest), (batch, receipt)) in
                        commits.iter().zip(batches.iter().zip(&receipts))
                    {
                        assert_eq!((&commit.inputs, *digest), (&batch.inputs, receipt.digest));
                    }
                    assert!(commits.len() <= batches.len());
                    lost += usize::from(commits.len() < batches.len());
                    let view = found.writer.views().latest();
                    let last = commits.last().map_or_else(Default::default, |(_, digest)| *digest);
                    assert_eq!(view.digest, last);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        opened > 20 && refused > 0 && lost > 0,
        "{opened} opened, {refused} refused, {lost} lost"
    );
}
