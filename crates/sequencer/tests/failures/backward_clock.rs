//! The wall clock goes back; stamps do not.

use std::sync::Arc;
use std::sync::Mutex;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_sequencer::{Clock, CommitError, Sequencer, SubmitError};
use proctor_types::UtcMs;

use crate::common::{Fixed, T0, config, fold, open, size};

/// A clock that says one time after another, then the last one for ever.
struct Script(Mutex<Vec<i64>>);

impl Clock for Script {
    fn now(&self) -> UtcMs {
        let mut times = self.0.lock().expect("no holder panics");
        UtcMs(if times.len() > 1 { times.remove(0) } else { times[0] })
    }
}

#[test]
fn stamps_never_go_back_though_the_clock_does() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let clock = Script(Mutex::new(vec![T0, T0 - 1, i64::MIN, 0, T0 + 5, T0 + 4, T0 + 9]));
    let sequencer = Sequencer::start(open(&storage, &config()), clock, 8);
    let handle = sequencer.handle();
    let mut stamps = Vec::new();
    for number in 0..8 {
        let pending = handle.submit(vec![size(f64::from(number))]).expect("room");
        stamps.push(pending.wait().expect("committed").stamp.at.0 - T0);
    }
    assert_eq!(stamps, [0, 0, 0, 0, 5, 5, 9, 9]);
    drop(sequencer.stop());
    // After a restart the clock is still wrong, and the log's last stamp still counts.
    let sequencer = Sequencer::start(open(&storage, &config()), Fixed(T0 - 1_000), 8);
    let receipt = sequencer.handle().submit(vec![size(1.0)]).expect("room").wait().expect("ok");
    assert_eq!((receipt.stamp.commit, receipt.stamp.at), (9, UtcMs(T0 + 9)));
    drop(sequencer.stop());
    assert_eq!(fold(&storage).expect("a good log").len(), 9);
}

#[test]
fn a_clock_or_a_date_outside_the_calendar_is_refused_and_the_log_stays_good() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let sequencer = Sequencer::start(open(&storage, &config()), Fixed(i64::MAX), 8);
    let handle = sequencer.handle();
    let refused = |answer: Result<_, SubmitError>| match answer {
        Err(SubmitError::Refused(error @ CommitError::Calendar(_))) => error.to_string(),
        other => panic!("not refused for its date: {other:?}"),
    };
    refused(handle.submit(vec![size(1.0)]).expect("room").wait());
    refused(handle.submit_at(UtcMs(-1), vec![size(1.0)]).expect("room").wait());
    refused(handle.submit_at(UtcMs(UtcMs::MAX.0 + 1), vec![size(1.0)]).expect("room").wait());
    let dated = handle.submit_at(UtcMs(T0), vec![size(1.0)]).expect("room").wait();
    assert_eq!(dated.expect("the refused ones stopped nothing").stamp.commit, 1);
    drop(sequencer.stop());
    assert_eq!(fold(&storage).expect("a good log").len(), 1);
}

#[test]
fn a_batch_dated_back_is_refused_and_the_others_of_its_group_are_not() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut writer = open(&storage, &config());
    let dated = |at| proctor_sequencer::Batch { at: UtcMs(T0 + at), inputs: vec![size(1.0)] };
    let answers = writer.commit(vec![dated(5), dated(4), dated(5), dated(6)]);
    let commits: Vec<_> =
        answers.iter().map(|a| a.as_ref().map(|receipt| receipt.stamp.commit).ok()).collect();
    assert_eq!(commits, [Some(1), None, Some(2), Some(3)]);
    assert!(matches!(answers[1], Err(CommitError::TimeWentBack { .. })));
}
