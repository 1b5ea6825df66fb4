//! Any bytes in place of a log or a snapshot give a value or an error, never a panic.

use std::collections::BTreeMap;
use std::sync::Arc;

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Head, Log, SnapshotStore, verify};
use proptest::prelude::*;

use crate::common::{snapshot_of, tiny, written};

fn files(name: &str, bytes: Vec<u8>) -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::with_files(BTreeMap::from([(name.to_owned(), bytes)])))
}

/// Overwrites ranges of bytes.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Vec<u8>)>> {
    let edit = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..600));
    prop::collection::vec(edit, 1..6)
}

fn edit(bytes: &mut [u8], edits: Vec<(prop::sample::Index, Vec<u8>)>) {
    for (at, edit) in edits {
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + edit.len());
        bytes[at..end].copy_from_slice(&edit[..end - at]);
    }
}

proptest! {
    #[test]
    fn any_bytes_as_a_segment_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let storage = files("00000000000000000001.seg", bytes);
        prop_assert!(verify(storage.clone()).is_err());
        prop_assert!(Log::open(storage, tiny()).is_err());
    }

    #[test]
    fn a_log_with_overwritten_parts_gives_the_first_records_or_an_error(edits in edits()) {
        let good = written(&tiny(), &[&[5, 600], &[0], &[700, 1], &[80], &[20]], true);
        let records = verify(good.clone()).unwrap().records;
        let mut all = good.files();
        let last = all.values_mut().last().unwrap();
        edit(last, edits);
        if let Ok(verified) = verify(Arc::new(MemoryStorage::with_files(all))) {
            prop_assert!(verified.records <= records);
        }
    }

    #[test]
    fn any_bytes_as_a_snapshot_are_skipped(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        magic: bool,
    ) {
        let bytes = if magic { [b"PROCTSNP", &bytes[..]].concat() } else { bytes };
        let store = SnapshotStore::new(files("00000000000000000007.snap", bytes));
        let (found, skipped) = store.newest(u64::MAX).unwrap();
        prop_assert_eq!((found, skipped.len()), (None, 1));
    }

    #[test]
    fn a_snapshot_with_overwritten_parts_is_as_written_or_skipped(edits in edits()) {
        let storage = Arc::new(MemoryStorage::new());
        let snapshot = snapshot_of(Head { index: 7, ..Head::GENESIS });
        SnapshotStore::new(storage.clone()).write(&snapshot).unwrap();
        let mut all = storage.files();
        edit(all.values_mut().last().unwrap(), edits);
        let store = SnapshotStore::new(Arc::new(MemoryStorage::with_files(all)));
        if let (Some(found), _) = store.newest(u64::MAX).unwrap() {
            prop_assert_eq!(found, snapshot);
        }
    }
}

/// Cutting it would mean to write as many zeros as somebody likes.
#[test]
fn a_torn_tail_longer_than_any_batch_is_refused() {
    let files = |sectors: usize| {
        let mut files = written(&tiny(), &[&[5]], false).files();
        let bytes = files.values_mut().next().unwrap();
        bytes.resize((2 + sectors) * 512, 0);
        bytes[(1 + sectors) * 512] = 0x5A;
        Arc::new(MemoryStorage::with_files(files))
    };
    let longest = 67_244;
    assert_eq!(
        Log::open(files(longest), tiny()).unwrap().1.cut.unwrap().bytes,
        longest as u64 * 512
    );
    let error = Log::open(files(longest + 1), tiny()).unwrap_err();
    assert!(error.to_string().contains("over the limit"), "{error}");
}

/// What the fuzzer alters: the last segment of a log whose others are as they were written.
fn last_segment() -> (BTreeMap<String, Vec<u8>>, String) {
    let good = written(&tiny(), &[&[5, 600], &[0], &[700, 1], &[80], &[20]], false);
    let files = good.files();
    let name = files.keys().last().unwrap().clone();
    (files, name)
}

/// Damaged files are refused, or opened to a log that everybody reads in the same way from then on.
fn fuzz(input: &[u8]) -> String {
    let (mut all, name) = last_segment();
    let whole = verify(Arc::new(MemoryStorage::with_files(all.clone()))).unwrap();
    all.insert(name, input.to_vec());
    let storage = Arc::new(MemoryStorage::with_files(all));
    let before = verify(storage.clone()).map(|seen| seen.records);
    let opened = Log::open(storage.clone(), tiny());
    let outcome = match opened {
        Ok((log, recovery)) => {
            assert_eq!(log.head().index, recovery.head.index);
            let records = crate::common::all(&log);
            assert_eq!(records.last().map_or(0, |record| record.index), recovery.head.index);
            drop(log);
            // What was recovered stays: nothing is cut a second time, and a verifier agrees.
            let (again, second) = Log::open(storage.clone(), tiny()).unwrap();
            assert_eq!(
                (second.head.index, second.head.hash),
                (recovery.head.index, recovery.head.hash)
            );
            assert!(second.cut.is_none(), "cut twice");
            drop(again);
            let after = verify(storage).unwrap().records;
            assert_eq!(after, recovery.head.index);
            assert!(!before.is_ok_and(|before| before > after), "a record that was read is gone");
            format!("open {} {}", recovery.cut.is_some(), after.min(whole.records + 2))
        }
        Err(error) => error.to_string(),
    };
    proctor_fuzz::kind(&outcome)
}

#[test]
fn fuzz_commit_log_a_damaged_segment_is_refused_or_read_by_all_in_the_same_way() {
    let (all, name) = last_segment();
    let mut fuzzer = proctor_fuzz::Fuzz::target("commit-log").executions(2_000);
    // Also in the place of another segment: all headers and chains are then wrong.
    fuzzer = fuzzer.seed(all[&name].clone());
    for bytes in all.into_values() {
        fuzzer = fuzzer.seed(bytes);
    }
    fuzzer.run(fuzz);
}
