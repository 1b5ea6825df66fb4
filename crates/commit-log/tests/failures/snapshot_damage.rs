//! Damaged snapshots are skipped and reported, never used and never deleted.

use std::sync::Arc;

use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Head, SnapshotError, SnapshotStore};
use proctor_types::Digest;

use crate::common::snapshot_of;

fn at(index: u64) -> Head {
    Head { index, hash: Digest::of(&index.to_le_bytes()) }
}

fn store_of(indices: &[u64]) -> (Arc<MemoryStorage>, SnapshotStore) {
    let storage = Arc::new(MemoryStorage::new());
    let store = SnapshotStore::new(storage.clone());
    indices.iter().for_each(|index| store.write(&snapshot_of(at(*index))).unwrap());
    (storage, store)
}

#[test]
fn every_flipped_bit_of_the_newest_is_found_and_the_one_before_is_used() {
    let (storage, _) = store_of(&[5, 9]);
    let files = storage.files();
    let name = "00000000000000000009.snap";
    for bit in 0..files[name].len() * 8 {
        let mut files = files.clone();
        files.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
        let storage = Arc::new(MemoryStorage::with_files(files.clone()));
        let (found, skipped) = SnapshotStore::new(storage.clone()).newest(u64::MAX).unwrap();
        assert_eq!(found, Some(snapshot_of(at(5))), "bit {bit}");
        assert_eq!(skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>(), [9]);
        assert_eq!(storage.files(), files, "nothing is deleted");
    }
}

#[test]
fn every_cut_length_is_found() {
    let (storage, _) = store_of(&[9]);
    let files = storage.files();
    let whole = files.values().next().unwrap().len();
    for length in 0..whole {
        let mut files = files.clone();
        files.values_mut().for_each(|bytes| bytes.truncate(length));
        let store = SnapshotStore::new(Arc::new(MemoryStorage::with_files(files)));
        let (found, skipped) = store.newest(u64::MAX).unwrap();
        assert_eq!((found, skipped.len()), (None, 1), "{length} bytes");
        assert!(matches!(skipped[0].error, SnapshotError::Damaged { .. }));
    }
}

#[test]
fn a_snapshot_under_another_name_is_found() {
    let (storage, _) = store_of(&[9]);
    let bytes = storage.files().into_values().next().unwrap();
    let files = [("00000000000000000010.snap".to_owned(), bytes)].into();
    let store = SnapshotStore::new(Arc::new(MemoryStorage::with_files(files)));
    assert!(store.load(10).unwrap_err().to_string().contains("file name"));
}

#[test]
fn the_newest_is_chosen_among_those_that_are_not_after_the_log() {
    let (_, store) = store_of(&[3, 12, 7]);
    assert_eq!(store.list().unwrap(), [12, 7, 3]);
    let index = |until| store.newest(until).unwrap().0.map(|snapshot| snapshot.head.index);
    assert_eq!([2, 3, 11, 12].map(index), [None, Some(3), Some(7), Some(12)]);
}

#[test]
fn pruning_keeps_the_newest_valid_ones_and_all_invalid_ones() {
    let (storage, _) = store_of(&[1, 2, 3, 4, 5]);
    let mut files = storage.files();
    for index in [2, 5] {
        files.get_mut(&format!("{index:020}.snap")).unwrap()[40] ^= 1;
    }
    let store = SnapshotStore::new(Arc::new(MemoryStorage::with_files(files)));
    assert_eq!(store.prune(2, &[]).unwrap(), [1]);
    assert_eq!(store.list().unwrap(), [5, 4, 3, 2]);
    assert_eq!(store.newest(u64::MAX).unwrap().0, Some(snapshot_of(at(4))));
    assert_eq!(store.prune(2, &[]).unwrap(), []);
}

#[test]
fn power_lost_while_a_snapshot_is_written_leaves_the_one_before() {
    for operation in 0..7 {
        for mask in 0..256 {
            let disk = FaultyDisk::new();
            let store = SnapshotStore::new(Arc::new(disk.clone()));
            store.write(&snapshot_of(at(1))).unwrap();
            disk.inject(disk.operations() + operation, Fault::Crash);
            let done = store.write(&snapshot_of(at(2))).is_ok();
            assert_eq!(done, operation == 7, "a snapshot takes seven operations");
            disk.power_loss(Survival::Mask(mask));
            let (found, skipped) = store.newest(u64::MAX).unwrap();
            assert!(skipped.is_empty(), "operation {operation}, {mask:08b}: {skipped:?}");
            assert!(found == Some(snapshot_of(at(1))) || found == Some(snapshot_of(at(2))));
            store.write(&snapshot_of(at(3))).unwrap();
            assert_eq!(store.newest(u64::MAX).unwrap().0, Some(snapshot_of(at(3))));
        }
    }
}
