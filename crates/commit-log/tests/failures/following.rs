//! A reader follows the writer without missing, repeating or seeing too early.

use std::sync::Arc;

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Log, LogConfig, Reader};

use crate::common::{payload, tiny};

#[test]
fn a_follower_sees_each_durable_record_once_through_all_segments() {
    let storage = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(storage.clone(), tiny()).unwrap();
    let mut follower = Reader::open(storage.clone()).unwrap().until(0);
    assert!(follower.next().is_none());
    let mut seen = 0;
    for index in 1..=60u64 {
        log.append(&payload(index, (index * 37 % 800) as usize)).unwrap();
        if index % 3 == 0 {
            let durable = log.sync().unwrap();
            follower.extend(durable).unwrap();
            for record in &mut follower {
                let record = record.unwrap();
                seen += 1;
                assert_eq!(record.index, seen);
                assert_eq!(record.payload, payload(seen, (seen * 37 % 800) as usize));
            }
            assert_eq!(seen, durable);
            assert_eq!(follower.head(), log.durable());
        } else {
            assert!(follower.next().is_none(), "record {index} is not durable yet");
        }
    }
    assert!(storage.files().len() > 10, "the log has many segments");
}

#[test]
fn a_follower_of_a_closed_log_goes_on_when_it_is_opened_again() {
    let storage = Arc::new(MemoryStorage::new());
    let mut follower = Reader::open(storage.clone()).unwrap();
    assert!(follower.next().is_none(), "there is no log yet");
    for life in 1..4u64 {
        let (mut log, _) = Log::open(storage.clone(), LogConfig::default()).unwrap();
        log.append(&payload(life, 50)).unwrap();
        log.close().unwrap();
        follower.extend(life).unwrap();
        assert_eq!(follower.next().unwrap().unwrap().index, life);
        assert!(follower.next().is_none());
        assert!(follower.end().unwrap().sealed);
    }
}

#[test]
fn reading_may_begin_at_any_record_and_ends_at_the_durable_one() {
    let storage = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(storage, tiny()).unwrap();
    for index in 1..=30 {
        log.append(&payload(index, 300)).unwrap();
        log.sync().unwrap();
    }
    log.append(b"not durable").unwrap();
    for from in 1..=31 {
        let records: Vec<_> = log.read_from(from).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.iter().map(|r| r.index).collect::<Vec<_>>(), Vec::from_iter(from..=30));
        assert!(records.iter().all(|record| record.payload == payload(record.index, 300)));
    }
}
