//! Snapshots: damaged ones, foreign ones, ones that are ahead of their log.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::FaultyDisk;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Reader, Snapshot, SnapshotError, SnapshotStore};
use proctor_sequencer::{OpenError, ReplayError, Writer};
use proctor_types::Digest;

use crate::common::{accepted, batch, config, fold, open, size};

/// A disk with commits 1 to `commits` and snapshots of those in `snapshots`.
fn disk(commits: u32, snapshots: &[u32]) -> FaultyDisk {
    let disk = FaultyDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = open(&storage, &config());
    for number in 0..commits {
        accepted(writer.commit(vec![batch(number)]));
        if snapshots.contains(&(number + 1)) {
            writer.snapshot().expect("written");
        }
    }
    disk
}

fn storage(disk: &FaultyDisk) -> Arc<dyn Storage> {
    Arc::new(disk.clone())
}

fn snapshot_file(commit: u64) -> String {
    format!("{commit:020}.snap")
}

#[test]
fn snapshot_and_suffix_give_the_digest_of_the_whole_fold() {
    for snapshots in [&[][..], &[1], &[4], &[9], &[2, 5], &[3, 9]] {
        let disk = disk(9, snapshots);
        let opened = Writer::open(storage(&disk), config()).expect("opens");
        let newest = snapshots.last().map(|newest| u64::from(*newest));
        assert_eq!((opened.snapshot, opened.replayed), (newest, 9 - newest.unwrap_or(0)));
        let commits = fold(&storage(&disk)).expect("a good log");
        assert_eq!(opened.writer.views().latest().digest, commits[8].1);
    }
}

#[test]
fn x_15_a_damaged_newest_snapshot_is_reported_and_the_one_before_it_is_used() {
    let disk = disk(9, &[3, 7]);
    let whole = fold(&storage(&disk)).expect("a good log");
    let bytes = disk.files()[&snapshot_file(7)].len();
    for byte in [0, 8, 40, bytes / 2, bytes - 1] {
        assert!(disk.flip_bit(&snapshot_file(7), byte, 3));
        let opened = Writer::open(storage(&disk), config()).expect("opens");
        assert_eq!((opened.snapshot, opened.replayed), (Some(3), 6));
        let [skipped] = &opened.skipped[..] else { panic!("{:?}", opened.skipped) };
        assert_eq!(skipped.index, 7);
        assert_eq!(opened.writer.views().latest().digest, whole[8].1);
        assert!(disk.files().contains_key(&snapshot_file(7)), "it is left for a person to look at");
        disk.flip_bit(&snapshot_file(7), byte, 3);
    }
    // With every snapshot damaged the log alone is enough.
    for commit in [3, 7] {
        disk.flip_bit(&snapshot_file(commit), 200, 0);
    }
    let opened = Writer::open(storage(&disk), config()).expect("opens");
    assert_eq!((opened.snapshot, opened.replayed, opened.skipped.len()), (None, 9, 2));
    assert_eq!(opened.writer.views().latest().digest, whole[8].1);
    assert!(matches!(opened.skipped[0].error, SnapshotError::Damaged { .. }));
}

#[test]
fn a_snapshot_of_another_log_is_refused() {
    let other = FaultyDisk::new();
    let mut writer = open(&storage(&other), &config());
    for number in 0..5 {
        let mut batch = batch(number);
        batch.inputs.push(size(123.0));
        accepted(writer.commit(vec![batch]));
    }
    writer.snapshot().expect("written");
    for commits in [5, 6] {
        let mut files = disk(commits, &[]).files();
        files.insert(snapshot_file(5), other.files()[&snapshot_file(5)].clone());
        let mixed = Arc::new(MemoryStorage::with_files(files));
        let refused = Writer::open(mixed, config()).map(drop);
        assert!(matches!(refused, Err(OpenError::SnapshotOfOtherLog(5))), "{refused:?}");
    }
}

#[test]
fn x_1_a_snapshot_ahead_of_its_log_means_that_commits_are_missing() {
    let mut files = disk(3, &[]).files();
    files.insert(snapshot_file(5), disk(6, &[5]).files()[&snapshot_file(5)].clone());
    let cut = Arc::new(MemoryStorage::with_files(files.clone()));
    let refused = Writer::open(cut.clone(), config()).map(drop);
    assert!(
        matches!(refused, Err(OpenError::SnapshotAhead { snapshot: 5, log: 3 })),
        "{refused:?}"
    );
    assert_eq!(cut.files(), files, "nothing was changed");
}

/// Puts a snapshot made by hand in the place of the one of commit 2.
fn with_snapshot(change: impl FnOnce(&mut Snapshot)) -> Result<(), OpenError> {
    let disk = disk(4, &[2]);
    let store = SnapshotStore::new(storage(&disk));
    let mut snapshot = store.load(2).expect("there");
    change(&mut snapshot);
    store.write(&snapshot).expect("written");
    Writer::open(storage(&disk), config()).map(drop)
}

#[test]
fn a_whole_snapshot_with_a_wrong_state_is_refused_with_its_commit() {
    with_snapshot(|_| ()).expect("unchanged it is good");
    let undecodable = with_snapshot(|snapshot| snapshot.state.truncate(100));
    assert!(
        matches!(undecodable, Err(OpenError::Replay(ReplayError::Snapshot { commit: 2, .. }))),
        "{undecodable:?}"
    );
    let unknown = with_snapshot(|snapshot| snapshot.state[0] = 99);
    assert!(
        matches!(unknown, Err(OpenError::Replay(ReplayError::Snapshot { commit: 2, .. }))),
        "{unknown:?}"
    );
    let other_digest = with_snapshot(|snapshot| snapshot.state_digest = Digest::of(b"other"));
    assert!(
        matches!(other_digest, Err(OpenError::Replay(ReplayError::Diverged { commit: 2, .. }))),
        "{other_digest:?}"
    );
}

#[test]
fn a_clean_end_leaves_a_snapshot_and_nothing_to_fold() {
    let disk = disk(5, &[]);
    open(&storage(&disk), &config()).close().expect("closes");
    let opened = Writer::open(storage(&disk), config()).expect("opens");
    assert_eq!((opened.snapshot, opened.replayed, opened.recovery.sealed), (Some(5), 0, true));
    let reader = Reader::open(storage(&disk)).expect("opens");
    assert_eq!(reader.count(), 5, "the log is whole all the same");
}
