//! The bytes on disk are frozen: a log written today can be read by every later version.
//!
//! When one of these hashes changes, the format has changed. Then the version number must change
//! too, and the old version must still be readable: do not simply put the new hash here.

use std::sync::Arc;

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Head, Log, LogConfig, SnapshotStore};
use proctor_types::Digest;

use crate::common::{snapshot_of, whole_segments, written};

fn hash_of(storage: &MemoryStorage) -> String {
    let mut bytes = Vec::new();
    for (name, contents) in storage.files() {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&(contents.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&contents);
    }
    Digest::of(&bytes).to_string()
}

#[test]
fn a_small_closed_log_has_the_bytes_it_always_had() {
    let storage = written(&whole_segments(), &[&[5, 600], &[0], &[700, 1], &[80], &[20]], true);
    assert_eq!(
        hash_of(&storage),
        "271c78e4afc18e37fbff4c1b496b2d67751464a6a06df414aef7adbda287cc38"
    );
}

#[test]
fn a_snapshot_has_the_bytes_it_always_had() {
    let storage = Arc::new(MemoryStorage::new());
    let head = Head { index: 7, hash: Digest::of(b"seven") };
    SnapshotStore::new(storage.clone()).write(&snapshot_of(head)).unwrap();
    assert_eq!(
        hash_of(&storage),
        "5d7b37fbaad8526c494323da4714134a87d9b53ab522e109094c7c31e287f37a"
    );
}

#[test]
fn the_chain_hash_is_what_it_always_was() {
    let hash = proctor_commit_log::record::chain_hash(1, &Digest([0; 32]), b"first");
    let bytes = [&1u64.to_le_bytes()[..], &[0; 32], b"first"].concat();
    assert_eq!(hash, Digest::of(&bytes));
}

/// The first bytes of docs/commit-log.md's example.
#[test]
fn the_documented_example_is_what_the_writer_writes() {
    let storage = Arc::new(MemoryStorage::new());
    let config = LogConfig { preallocate_bytes: 2_048, ..LogConfig::default() };
    let (mut log, _) = Log::open(storage.clone(), config).unwrap();
    log.append(b"hello").unwrap();
    log.sync().unwrap();
    let bytes = storage.files().into_values().next().unwrap();
    assert_eq!(bytes.len(), 2_048);
    assert_eq!(bytes[..8], [0x5A, 1, 52, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[8..16], *b"PROCTLOG");
    assert_eq!(bytes[16..28], [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[28..507], [0; 479]);
    assert_eq!(bytes[511], 0xA5);
    assert_eq!(bytes[512..520], [0x5A, 3, 53, 0, 1, 0, 0, 0]);
    assert_eq!(bytes[520..524], [5, 0, 0, 0]);
    assert_eq!(bytes[528..536], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[536..568], [0; 32]);
    assert_eq!(bytes[568..573], *b"hello");
    assert_eq!(bytes[573..1_019], [0; 446]);
    assert_eq!(bytes[1_023], 0xA5);
    assert_eq!(bytes[1_024..], [0; 1_024]);
}
