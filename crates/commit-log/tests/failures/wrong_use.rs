//! Asked for what cannot be: a typed error, and the log is as before.

use std::sync::Arc;

use proctor_commit_log::base::{self, Base};
use proctor_commit_log::storage::files::FileStorage;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::storage::{Access, Storage};
use proctor_commit_log::{
    DamageKind, Head, Log, LogConfig, LogError, MAX_BATCH_BYTES, MAX_PAYLOAD_BYTES, Reader, verify,
};
use proctor_types::Digest;

use crate::common::{all, payload, tiny};

fn empty() -> Log {
    Log::open(Arc::new(MemoryStorage::new()), LogConfig::default()).unwrap().0
}

#[test]
fn the_largest_payload_is_stored_and_one_byte_more_is_refused() {
    let mut log = empty();
    let largest = vec![0; MAX_PAYLOAD_BYTES];
    log.append(&largest).unwrap();
    log.sync().unwrap();
    let error = log.append(&vec![0; MAX_PAYLOAD_BYTES + 1]).unwrap_err();
    assert!(matches!(error, LogError::PayloadTooLarge { bytes, max } if bytes == max + 1));
    assert_eq!(log.head(), log.durable());
    assert_eq!(all(&log)[0].payload, largest);
}

#[test]
fn a_full_batch_is_refused_until_it_is_synced() {
    let mut log = empty();
    let half = vec![7; MAX_BATCH_BYTES / 2 - 48];
    log.append(&half).unwrap();
    log.append(&half).unwrap();
    let head = log.head();
    assert!(matches!(log.append(b""), Err(LogError::BatchFull { .. })));
    assert_eq!(log.head(), head);
    assert_eq!(log.sync().unwrap(), 2);
    assert_eq!(log.append(b"").unwrap().index, 3);
    assert_eq!(log.sync().unwrap(), 3);
    assert_eq!(all(&log).len(), 3);
}

#[test]
fn reading_outside_the_log_says_what_there_is() {
    let mut log = empty();
    log.append(b"one").unwrap();
    log.append(b"two").unwrap();
    log.sync().unwrap();
    for index in [0, 4, u64::MAX] {
        let error = log.read_from(index).unwrap_err();
        assert!(matches!(error, LogError::OutOfRange { first: 1, last: 2, .. }), "{error}");
    }
    assert_eq!(log.read_from(3).unwrap().count(), 0);
}

#[test]
fn a_log_begun_from_a_snapshot_starts_after_it_and_from_nowhere_else() {
    let storage = Arc::new(MemoryStorage::new());
    let head = Head { index: 41, hash: Digest::of(b"record 41") };
    let begin = |head| {
        let shared: Arc<dyn Storage> = storage.clone();
        base::begin_after(&shared, &Base { head, proof: b"why".to_vec() })
    };
    begin(head).unwrap();
    let (mut log, recovery) = Log::open(storage.clone(), tiny()).unwrap();
    assert_eq!(recovery.head, head);
    for index in 42..50 {
        assert_eq!(log.append(&payload(index, 100)).unwrap().index, index);
        log.sync().unwrap();
    }
    assert!(matches!(log.read_from(41), Err(LogError::OutOfRange { first: 42, .. })));
    assert_eq!(log.read_from(42).unwrap().next().unwrap().unwrap().parent, head.hash);
    drop(log);
    assert_eq!(Log::open(storage.clone(), tiny()).unwrap().1.head.index, 49);
    assert_eq!(verify(storage.clone()).unwrap().records, 8);
    assert_eq!(base::base(&*storage).unwrap().unwrap().proof, b"why");
    assert!(Reader::open_at(storage.clone(), 41).is_err());
    let kind = |base: Option<Vec<u8>>| {
        let mut files = storage.files();
        match base {
            Some(bytes) => files.insert("BASE".into(), bytes),
            None => files.remove("BASE"),
        };
        let error = verify(Arc::new(MemoryStorage::with_files(files))).unwrap_err();
        let LogError::Damaged(damage) = error else { panic!("{error}") };
        damage.kind
    };
    assert_eq!(kind(None), DamageKind::SegmentOrder { expected: 1, found: 42 });
    let base_of = |index, text: &[u8]| {
        let other: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let head = Head { index, hash: Digest::of(text) };
        base::begin_after(&other, &Base { head, proof: Vec::new() }).unwrap();
        let mut bytes = vec![0; 89];
        other.open("BASE", Access::Read).unwrap().read_at(0, &mut bytes).unwrap();
        Some(bytes)
    };
    let other = kind(base_of(41, b"another record 41"));
    assert!(matches!(other, DamageKind::HeaderParent { .. }), "{other}");
    assert_eq!(kind(base_of(43, b"not record 43")), DamageKind::Base { index: 43 });
    assert_eq!(kind(base_of(70, b"record 70")), DamageKind::Base { index: 70 });
    assert_eq!(
        kind(base_of(12, b"record 12")),
        DamageKind::SegmentOrder { expected: 13, found: 42 }
    );
}

#[test]
fn what_was_not_synced_is_forgotten_when_the_log_is_dropped() {
    let storage = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(storage.clone(), tiny()).unwrap();
    log.append(b"durable").unwrap();
    log.sync().unwrap();
    log.append(b"forgotten").unwrap();
    drop(log);
    let (log, recovery) = Log::open(storage, tiny()).unwrap();
    assert_eq!((recovery.head.index, recovery.sealed, recovery.cut), (1, false, None));
    assert_eq!(all(&log)[0].payload, b"durable");
}

#[test]
fn closing_again_and_again_adds_one_seal_only() {
    let storage = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(storage.clone(), LogConfig::default()).unwrap();
    log.append(b"one").unwrap();
    log.close().unwrap();
    let files = storage.files();
    for _ in 0..3 {
        let (log, recovery) = Log::open(storage.clone(), LogConfig::default()).unwrap();
        assert!(recovery.sealed);
        log.close().unwrap();
        assert_eq!(storage.files(), files);
    }
}

#[test]
fn a_real_directory_keeps_a_log_and_reading_it_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/log");
    let config = LogConfig { segment_bytes: 8_192, preallocate_bytes: 4_096 };
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::create(&path).unwrap());
    let (mut log, _) = Log::open(storage.clone(), config.clone()).unwrap();
    for index in 1..=40 {
        log.append(&payload(index, 700)).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    let (log, recovery) = Log::open(storage.clone(), config).unwrap();
    assert_eq!((recovery.head.index, recovery.sealed), (40, false));
    assert!(recovery.segments > 5);
    assert_eq!(all(&log)[39].payload, payload(40, 700));
    log.close().unwrap();
    let modified = || {
        let entries = std::fs::read_dir(&path).unwrap().map(Result::unwrap);
        let mut times: Vec<_> =
            entries.map(|e| (e.file_name(), e.metadata().unwrap().modified().unwrap())).collect();
        times.sort();
        times
    };
    let before = modified();
    let read_only: Arc<dyn Storage> = Arc::new(FileStorage::open(&path).unwrap());
    let verified = verify(read_only).unwrap();
    assert_eq!((verified.records, verified.payload_bytes, verified.end.sealed), (40, 28_000, true));
    assert_eq!(modified(), before);
}

#[test]
fn a_log_goes_on_after_a_seal_and_stands_still_at_a_second_one() {
    let storage = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(storage.clone(), tiny()).unwrap();
    for index in 1..=8 {
        log.append(&payload(index, 200)).unwrap();
        log.seal().unwrap();
        assert_eq!(log.durable().index, index);
        let files = storage.files();
        log.seal().unwrap();
        assert_eq!(storage.files(), files);
    }
    let verified = verify(storage).unwrap();
    assert_eq!((verified.records, verified.end.sealed), (8, true));
}
