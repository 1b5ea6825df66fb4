//! A wrong byte anywhere in the log is found by `verify` and at start, and nothing is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use proctor_commit_log::storage::faulty::FaultyDisk;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Log, LogConfig, LogError, verify};

use crate::common::{whole_segments, written};

/// Several segments, batches of one and of more sectors, an empty record, a blank tail.
fn small_log(close: bool) -> BTreeMap<String, Vec<u8>> {
    let files =
        written(&whole_segments(), &[&[5, 600], &[0], &[700, 1], &[80], &[20]], close).files();
    assert_eq!(files.len(), 3, "segments");
    let last = files.values().last().unwrap();
    assert!(last[last.len() - 512..].iter().all(|byte| *byte == 0), "there is a blank tail");
    files
}

/// Checks that both ways of reading refuse, that the error names the file, and that the files stay.
fn check_found(files: &BTreeMap<String, Vec<u8>>, name: &str, what: &str) {
    let storage = Arc::new(MemoryStorage::with_files(files.clone()));
    let errors = [
        verify(storage.clone()).map(drop).unwrap_err(),
        Log::open(storage.clone(), whole_segments()).map(drop).unwrap_err(),
    ];
    for error in errors {
        let LogError::Damaged(damage) = error else { panic!("{what}: {error}") };
        // A wrong byte in a header may show as a difference to the segment before or after.
        assert_eq!(damage.file, name, "{what}: {damage}");
        assert!(damage.to_string().contains(name));
    }
    assert_eq!(storage.files(), *files, "{what}: a refused log was changed");
}

fn flip_every_bit(mut files: BTreeMap<String, Vec<u8>>) {
    let names: Vec<_> = files.keys().cloned().collect();
    for name in names {
        for bit in 0..files[&name].len() * 8 {
            files.get_mut(&name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            check_found(&files, &name, &format!("{name} bit {bit}"));
            files.get_mut(&name).unwrap()[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_log_that_was_not_closed_is_found() {
    flip_every_bit(small_log(false));
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_found() {
    flip_every_bit(small_log(true));
}

/// Not only flips: every byte set to zero, to all ones, and to its complement.
#[test]
fn every_wrong_byte_is_found() {
    let mut files = small_log(false);
    let names: Vec<_> = files.keys().cloned().collect();
    for name in names {
        for at in 0..files[&name].len() {
            let right = files[&name][at];
            for wrong in [0, 0xFF, !right] {
                if wrong != right {
                    files.get_mut(&name).unwrap()[at] = wrong;
                    check_found(&files, &name, &format!("{name} byte {at} as {wrong:#04x}"));
                }
            }
            files.get_mut(&name).unwrap()[at] = right;
        }
    }
}

/// The one byte value that the format cannot refuse: the first mark where a sector would begin in
/// the blank tail looks like a write that stopped after one byte. It is reported and cut.
#[test]
fn a_first_mark_in_the_blank_tail_is_reported() {
    let mut files = small_log(false);
    let last = files.values_mut().last().unwrap();
    let at = last.len() - 512;
    last[at] = 0x5A;
    let storage = Arc::new(MemoryStorage::with_files(files));
    let (_, recovery) = Log::open(storage, whole_segments()).unwrap();
    assert_eq!(recovery.cut.map(|cut| cut.offset as usize + cut.bytes as usize), Some(at + 512));
}

#[test]
fn a_refused_log_keeps_even_what_would_be_removed_from_a_good_one() {
    let mut files = small_log(true);
    let name = files.keys().next().unwrap().clone();
    files.insert("00000000000000000099.seg.new".to_owned(), vec![1; 10]);
    files.get_mut(&name).unwrap()[600] ^= 1;
    check_found(&files, &name, "one flipped bit");
}

#[test]
fn a_bit_that_flips_under_an_open_log_is_found_by_the_next_reading() {
    let disk = FaultyDisk::new();
    let (mut log, _) = Log::open(Arc::new(disk.clone()), whole_segments()).unwrap();
    log.append(b"first").unwrap();
    log.sync().unwrap();
    assert_eq!(log.read_from(1).unwrap().filter(Result::is_ok).count(), 1);
    assert!(disk.flip_bit("00000000000000000001.seg", 600, 3));
    let mut reader = log.read_from(1).unwrap();
    assert!(matches!(reader.next(), Some(Err(LogError::Damaged(_)))));
    assert!(reader.next().is_none(), "a reader ends after the first error");
}

#[test]
fn two_sectors_in_each_others_place_are_found() {
    let files = written(&LogConfig::default(), &[&[100], &[100], &[2_000]], false).files();
    let name = files.keys().next().unwrap().clone();
    for (one, other) in [(1, 2), (1, 3), (3, 4), (4, 5), (2, 9)] {
        let mut files = files.clone();
        let bytes = files.get_mut(&name).unwrap();
        for at in 0..512 {
            bytes.swap(one * 512 + at, other * 512 + at);
        }
        let error = verify(Arc::new(MemoryStorage::with_files(files))).unwrap_err();
        assert!(matches!(error, LogError::Damaged(_)), "{one} and {other}: {error}");
    }
}
