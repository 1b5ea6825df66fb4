//! Sectors, segments or the end of the log are gone: found wherever a later write proves it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{DamageKind, Log, LogError, verify};

use crate::common::{whole_segments, written};

const BATCHES: &[&[usize]] = &[&[5, 600], &[0], &[700, 1], &[80], &[20]];

fn damage(files: BTreeMap<String, Vec<u8>>) -> Option<DamageKind> {
    let storage = Arc::new(MemoryStorage::with_files(files.clone()));
    let kind = match verify(storage.clone()) {
        Ok(_) => None,
        Err(LogError::Damaged(damage)) => Some(damage.kind),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(Log::open(storage.clone(), whole_segments()).is_err(), kind.is_some());
    assert!(kind.is_none() || storage.files() == files, "a refused log was changed");
    kind
}

/// Blanks every written sector in turn; returns the (file, sector) pairs where nothing was found.
fn unnoticed(close: bool) -> Vec<(String, usize)> {
    let files = written(&whole_segments(), BATCHES, close).files();
    let mut unnoticed = Vec::new();
    for (name, bytes) in &files {
        for sector in 0..bytes.len() / 512 {
            let range = sector * 512..(sector + 1) * 512;
            if bytes[range.clone()].iter().any(|byte| *byte != 0) {
                let mut files = files.clone();
                files.get_mut(name).unwrap()[range].fill(0);
                if damage(files).is_none() {
                    unnoticed.push((name.clone(), sector));
                }
            }
        }
    }
    unnoticed
}

/// This is the limit of what can be known: a whole batch at the very end that is gone looks like
/// one that was never written.
#[test]
fn a_blanked_sector_is_found_unless_it_is_in_the_very_last_batch() {
    assert_eq!(unnoticed(false), [("00000000000000000007.seg".to_owned(), 1)]);
}

/// The seal is a batch of its own: when it goes, the records are still all there.
#[test]
fn in_a_closed_log_only_the_seal_itself_can_vanish_unnoticed() {
    assert_eq!(unnoticed(true), [("00000000000000000007.seg".to_owned(), 2)]);
}

#[test]
fn a_missing_segment_is_found_unless_it_is_the_last() {
    let files = written(&whole_segments(), BATCHES, true).files();
    let names: Vec<_> = files.keys().cloned().collect();
    for name in &names {
        let mut rest = files.clone();
        rest.remove(name);
        match damage(rest) {
            Some(kind) => assert!(matches!(kind, DamageKind::SegmentOrder { .. }), "{kind}"),
            None => assert_eq!(Some(name), names.last()),
        }
    }
}

#[test]
fn a_segment_of_another_log_is_found_by_the_hash_in_its_header() {
    let mut files = written(&whole_segments(), BATCHES, false).files();
    let other =
        written(&whole_segments(), &[&[6, 600], &[0], &[700, 1], &[80], &[20]], false).files();
    let last = files.keys().last().unwrap().clone();
    files.insert(last.clone(), other[&last].clone());
    assert!(matches!(damage(files), Some(DamageKind::HeaderParent { .. })));
}

#[test]
fn a_renamed_segment_and_a_name_that_is_none_are_found() {
    let files = written(&whole_segments(), &[&[5]], false).files();
    let bytes = files.values().next().unwrap().clone();
    let named = |name: &str| damage(BTreeMap::from([(name.to_owned(), bytes.clone())]));
    assert_eq!(named("1.seg"), Some(DamageKind::SegmentName));
    let order = DamageKind::SegmentOrder { expected: 1, found: 2 };
    assert_eq!(named("00000000000000000002.seg"), Some(order));
}

#[test]
fn a_segment_cut_short_before_its_last_batch_is_found() {
    let files = written(&whole_segments(), BATCHES, true).files();
    let (first, bytes) = files.iter().next().unwrap();
    for length in 0..bytes.len() {
        let mut files = files.clone();
        files.get_mut(first).unwrap().truncate(length);
        // Only blank bytes may go.
        let blank = bytes[length..].iter().all(|byte| *byte == 0);
        assert_eq!(damage(files).is_none(), blank, "cut to {length} bytes");
    }
}
