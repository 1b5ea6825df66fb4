//! A writer that begins anew after another node's state, and snapshots that are the same on every node.

use std::sync::Arc;

use proctor_commit_log::base::{self, Base};
use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Reader, SnapshotStore};
use proctor_sequencer::{BeginError, OpenError, Replay, ReplayError, Writer, WriterConfig, replay};
use proptest::prelude::*;

use crate::common::{accepted, batch, config, fold, open};

const EVERY: u64 = 4;

fn every(snapshot_every: u64) -> WriterConfig {
    WriterConfig { snapshot_every, snapshots_kept: 99, ..config() }
}

/// Takes the snapshot of commit `at` over from `theirs`, as a node does that joins.
fn join(
    theirs: &Arc<dyn Storage>,
    storage: &Arc<dyn Storage>,
    writer: &mut Writer,
    at: u64,
) -> Result<(), BeginError> {
    let found = SnapshotStore::new(Arc::clone(theirs)).load(at).expect("a snapshot");
    let staged = SnapshotStore::new(Arc::clone(storage)).stage(at);
    let io = |error: proctor_commit_log::IoFailure| BeginError::Log(error.into());
    let staged = staged.map_err(io)?;
    staged.write_at(0, &found.state).map_err(io)?;
    let finished = staged.finish(found.head.hash, found.state_digest, found.state.len() as u64);
    let head = finished.map_err(|error| BeginError::Stopped(error.to_string()))?;
    let engine = replay::restore(&found).expect("a state");
    writer.begin_after(engine, &Base { head, proof: b"because".to_vec() }).map(drop)
}

fn payloads(storage: &Arc<dyn Storage>, from: u64) -> Vec<Vec<u8>> {
    let reader = Reader::open_at(Arc::clone(storage), from).expect("opens");
    reader.map(|record| record.expect("whole").payload).collect()
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

/// A log of `commits`, written in groups of these sizes, which are used in turn.
fn source(commits: u32, groups: &[usize]) -> Arc<dyn Storage> {
    let storage = memory();
    let mut writer = open(&storage, &every(EVERY));
    let mut next = 0;
    for group in groups.iter().cycle() {
        if next == commits {
            return storage;
        }
        let until = commits.min(next + u32::try_from(*group).expect("small"));
        accepted(writer.commit((next..until).map(batch).collect()));
        next = until;
    }
    storage
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A snapshot can stand for its commit on every node only if its bytes do not depend on how a
    /// node came to its state: by its own commits, by those of another, after a restart from a
    /// snapshot, after a join by one.
    #[test]
    fn the_bytes_of_a_snapshot_do_not_depend_on_how_a_node_came_there(
        groups in prop::collection::vec(1..6_usize, 1..5),
        restart in 1..30_u64,
        joined in 1..6_u64,
    ) {
        let theirs = source(30, &groups);
        let snapshots = |storage: &Arc<dyn Storage>| {
            let store = SnapshotStore::new(Arc::clone(storage));
            let mut heights = store.list().expect("a list");
            heights.retain(|height| height % EVERY == 0);
            heights.reverse();
            let load = |height: u64| store.load(height).expect("whole");
            heights.into_iter().map(load).collect::<Vec<_>>()
        };
        let expected = snapshots(&theirs);
        prop_assert_eq!(expected.len(), 7);
        // It takes over, is closed and opened again on the way.
        let follower = memory();
        let all = payloads(&theirs, 1);
        let (before, after) = all.split_at(usize::try_from(restart).expect("small"));
        let mut writer = open(&follower, &every(EVERY));
        writer.adopt(before).expect("it follows");
        writer.close().expect("closed");
        open(&follower, &every(EVERY)).adopt(after).expect("it goes on");
        prop_assert_eq!(&snapshots(&follower), &expected);
        // It joins by a snapshot.
        let late = memory();
        let mut writer = open(&late, &every(EVERY));
        join(&theirs, &late, &mut writer, joined * EVERY).expect("joined");
        writer.adopt(&payloads(&theirs, joined * EVERY + 1)).expect("it follows");
        let from = usize::try_from(joined - 1).expect("small");
        prop_assert_eq!(&snapshots(&late)[..], &expected[from..]);
    }
}

#[test]
fn a_log_begun_after_a_snapshot_is_opened_folded_and_held_to_its_digests_from_there() {
    let theirs = source(15, &[3]);
    let whole = fold(&theirs).expect("a good log");
    let storage = memory();
    let mut writer = open(&storage, &every(EVERY));
    accepted(writer.commit(vec![batch(0), batch(1)]));
    join(&theirs, &storage, &mut writer, 8).expect("joined");
    assert_eq!(writer.views().latest().digest, whole[7].1);
    let again = join(&theirs, &storage, &mut writer, 8);
    assert!(matches!(again, Err(BeginError::NotAhead { base: 8, log: 8 })), "{again:?}");
    writer.adopt(&payloads(&theirs, 9)).expect("it follows");
    // Snapshots come and go; the one that the log begins after stays.
    writer.snapshot().expect("written");
    drop(writer);
    SnapshotStore::new(Arc::clone(&storage)).prune(1, &[8]).expect("pruned");
    let opened = Writer::open(Arc::clone(&storage), config()).expect("opens");
    assert_eq!((opened.snapshot, opened.replayed), (Some(15), 0));
    assert_eq!(opened.writer.views().latest().digest, whole[14].1);
    drop(opened);
    let mut replay = Replay::from_the_beginning(&storage).expect("it begins with a snapshot");
    for (commit, digest) in &whole[8..] {
        let (ours, outcome) = replay.step().expect("it folds").expect("one more");
        assert_eq!((&ours, outcome.digest), (commit, *digest));
    }
    assert!(replay.step().expect("it folds").is_none());
    let error = fold(&storage).expect_err("the first commits are missing");
    assert!(matches!(error, ReplayError::BeginsLater { first: 9 }), "{error}");
    // Without any snapshot there is no state to begin with.
    for commit in [8, 15] {
        storage.remove(&format!("{commit:020}.snap")).expect("removed");
    }
    let refused = Writer::open(Arc::clone(&storage), config()).map(drop);
    assert!(matches!(refused, Err(OpenError::NoState { first: 9 })), "{refused:?}");
    assert!(matches!(
        Replay::from_the_beginning(&storage),
        Err(ReplayError::Beginning { commit: 8, .. })
    ));
}

#[test]
fn f13_a_crash_at_any_step_of_a_join_leaves_a_node_that_starts() {
    let theirs = source(9, &[3]);
    let whole = fold(&theirs).expect("a good log");
    let prepared = || {
        let disk = FaultyDisk::new();
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let mut writer = open(&storage, &config());
        accepted(writer.commit(vec![batch(0), batch(1)]));
        writer.snapshot().expect("written");
        (disk, storage, writer)
    };
    let (from, to) = {
        let (disk, storage, mut writer) = prepared();
        let from = disk.operations();
        join(&theirs, &storage, &mut writer, 8).expect("joined");
        (from, disk.operations())
    };
    let mut ends = std::collections::BTreeSet::new();
    for operation in from..to {
        for survival in [Survival::Nothing, Survival::Everything, Survival::Random(operation)] {
            let (disk, storage, mut writer) = prepared();
            disk.inject(operation, Fault::Crash);
            join(&theirs, &storage, &mut writer, 8).expect_err("it crashed");
            drop(writer);
            disk.power_loss(survival);
            let mut writer = open(&storage, &config());
            let at = writer.stamp().commit;
            assert_eq!(
                writer.views().latest().digest,
                whole[usize::try_from(at).expect("small") - 1].1
            );
            writer.adopt(&payloads(&theirs, at + 1)).expect("it goes on");
            let base = base::base(&*storage).expect("settled").map(|base| base.head.index);
            assert_eq!(base, (at == 8).then_some(8));
            ends.insert(at);
        }
    }
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [2, 8]);
}
