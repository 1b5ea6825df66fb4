//! A batch that a crash left incomplete is cut and reported, never anything before it.

use std::iter::once;
use std::ops::Range;
use std::sync::Arc;

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Head, Reader};
use proctor_commit_log::{Log, LogConfig, TornTail, verify};

use crate::common::{all, payload, written};

const FILE: &str = "00000000000000000001.seg";

fn config() -> LogConfig {
    LogConfig { preallocate_bytes: 16 * 512, ..LogConfig::default() }
}

/// Two batches, of 1 and of 4 sectors: sector 1 holds record 1, sectors 2 to 5 hold record 2.
fn two_batches() -> Arc<MemoryStorage> {
    written(&config(), &[&[100], &[1_800]], false)
}

/// The same, with these sectors (or parts of them) blanked.
fn with_blank(ranges: impl IntoIterator<Item = Range<usize>>) -> Arc<MemoryStorage> {
    let mut files = two_batches().files();
    let bytes = files.get_mut(FILE).unwrap();
    ranges.into_iter().for_each(|range| bytes[range].fill(0));
    Arc::new(MemoryStorage::with_files(files))
}

#[test]
fn every_incomplete_choice_of_the_last_batchs_sectors_is_cut_and_reported() {
    for lost in 1..16u32 {
        let blank = (0..4)
            .filter(|sector| lost >> sector & 1 == 1)
            .map(|sector| (2 + sector) * 512..(3 + sector) * 512);
        let storage = with_blank(blank);
        let sectors =
            (0..4).rev().find(|sector| lost >> sector & 1 == 0).map_or(0, |last| last + 1);
        let torn = (sectors > 0).then(|| TornTail {
            file: FILE.to_owned(),
            offset: 2 * 512,
            bytes: sectors * 512,
            index: 2,
        });
        assert_eq!(verify(storage.clone()).unwrap().end.torn, torn, "{lost:04b}");
        let (mut log, recovery) = Log::open(storage.clone(), config()).unwrap();
        assert_eq!(recovery.cut, torn, "{lost:04b}");
        assert_eq!(recovery.head.index, 1);
        assert!(storage.files()[FILE][2 * 512..].iter().all(|byte| *byte == 0), "{lost:04b}");
        log.append(b"next").unwrap();
        log.sync().unwrap();
        assert_eq!(all(&log)[1].payload, b"next");
    }
}

#[test]
fn a_write_that_stopped_at_any_byte_is_cut() {
    for stopped in 2 * 512 + 1..6 * 512 {
        if stopped % 512 == 511 {
            continue; // One byte short of a sector: see the next test.
        }
        let (_, recovery) = Log::open(with_blank(once(stopped..6 * 512)), config()).unwrap();
        assert_eq!(recovery.head.index, 1, "stopped at byte {stopped}");
        assert!(recovery.cut.is_some(), "stopped at byte {stopped}");
    }
}

/// These bytes are also those of a whole sector whose last byte was lost later, and then the batch
/// was acknowledged. To refuse is the safe answer, and no disk or kernel stops a byte short.
#[test]
fn a_write_that_stopped_one_byte_short_of_a_sector_is_refused_rather_than_cut() {
    for sector in 2..6 {
        let stopped = sector * 512 + 511;
        assert!(Log::open(with_blank(once(stopped..6 * 512)), config()).is_err());
    }
}

#[test]
fn a_reader_reports_a_torn_tail_and_leaves_it() {
    let storage = with_blank(once(3 * 512..4 * 512));
    let before = storage.files();
    let mut reader = Reader::open(storage.clone()).unwrap();
    assert_eq!(reader.end(), None);
    let record = reader.next().unwrap().unwrap();
    assert_eq!(record.payload, payload(1, 100));
    assert!(reader.next().is_none());
    let end = reader.end().unwrap();
    assert_eq!(end.head, Head { index: 1, hash: record.hash });
    assert_eq!(end.torn.as_ref().map(|torn| (torn.offset, torn.bytes)), Some((1_024, 2_048)));
    assert!(!end.sealed);
    assert_eq!(storage.files(), before);
}

#[test]
fn a_file_that_ends_within_a_blank_sector_is_no_damage() {
    let mut files = two_batches().files();
    files.get_mut(FILE).unwrap().resize(20 * 512 + 77, 0);
    let storage = Arc::new(MemoryStorage::with_files(files));
    let (mut log, recovery) = Log::open(storage, config()).unwrap();
    assert_eq!((recovery.head.index, recovery.cut), (2, None));
    log.append(&payload(3, 9_000)).unwrap();
    log.sync().unwrap();
    assert_eq!(all(&log).len(), 3);
}

#[test]
fn an_unfinished_segment_file_is_removed() {
    let mut files = two_batches().files();
    files.insert("00000000000000000003.seg.new".to_owned(), vec![0xEE; 100]);
    let storage = Arc::new(MemoryStorage::with_files(files));
    let (_, recovery) = Log::open(storage.clone(), config()).unwrap();
    assert_eq!(recovery.head.index, 2);
    assert_eq!(storage.files().keys().collect::<Vec<_>>(), [FILE]);
}
