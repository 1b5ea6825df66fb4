//! Many submit at once: everybody gets their own answer, and one sync serves them all.

use std::collections::BTreeSet;
use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_engine::Input;
use proctor_sequencer::{CommitError, Handle, Receipt, Sequencer, SubmitError};
use proctor_types::UtcMs;

use crate::common::{Fixed, GatedClock, T0, batch, config, fold, gate, open, size};

const THREADS: u32 = 4;
const EACH: u32 = 40;

fn started() -> (Arc<dyn Storage>, proctor_sequencer::Writer) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut writer = open(&storage, &config());
    assert!(writer.commit(vec![batch(0)])[0].is_ok());
    (storage, writer)
}

/// Inputs whose replies show whose they are: bit n of `number` says that input n is accepted.
fn pattern(number: u32) -> Vec<Input> {
    (0..8).map(|bit| size(f64::from(number >> bit & 1))).collect()
}

fn fits(receipt: &Receipt, number: u32) -> bool {
    receipt.replies.len() == 8
        && receipt.replies.iter().enumerate().all(|(bit, r)| r.is_ok() == (number >> bit & 1 == 1))
}

/// Submits from several threads; returns each thread's receipts in the order of submission.
fn submit_all(
    handle: &Handle,
    submit: impl Fn(&Handle, u32) -> Result<proctor_sequencer::Pending, SubmitError> + Copy + Send,
) -> Vec<Vec<Receipt>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let pending: Vec<_> = (0..EACH)
                        .map(|n| submit(handle, thread * EACH + n).expect("room for all"))
                        .collect();
                    pending.into_iter().map(|p| p.wait().expect("committed")).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("does not panic")).collect()
    })
}

fn room() -> usize {
    usize::try_from(THREADS * EACH).expect("small")
}

#[test]
fn dated_batches_of_several_threads_become_commits_of_their_own_in_each_threads_order() {
    let (storage, writer) = started();
    let sequencer = Sequencer::start(writer, Fixed(T0), room());
    let receipts = submit_all(&sequencer.handle(), |handle, number| {
        handle.submit_at(UtcMs(T0), pattern(number))
    });
    let mut commits = BTreeSet::new();
    for (thread, own) in (0..).zip(&receipts) {
        for (n, receipt) in (0..).zip(own) {
            assert!(fits(receipt, thread * EACH + n), "replies of somebody else");
            assert!(commits.insert(receipt.stamp.commit), "two dated batches in one commit");
        }
        assert!(own.is_sorted_by_key(|receipt| receipt.stamp.commit));
    }
    drop(sequencer.stop());
    let digests = fold(&storage).expect("a good log");
    assert_eq!(digests.len(), 1 + room());
    for receipt in receipts.iter().flatten() {
        let place = usize::try_from(receipt.stamp.commit - 1).expect("small");
        assert_eq!(receipt.digest, digests[place].1);
    }
}

#[test]
fn undated_submissions_of_several_threads_share_commits_and_get_their_own_replies() {
    let (storage, writer) = started();
    let sequencer = Sequencer::start(writer, Fixed(T0), room());
    let receipts = submit_all(&sequencer.handle(), |handle, number| handle.submit(pattern(number)));
    for (thread, own) in (0..).zip(&receipts) {
        for (n, receipt) in (0..).zip(own) {
            assert!(fits(receipt, thread * EACH + n), "replies of somebody else");
        }
        assert!(own.is_sorted_by_key(|receipt| receipt.stamp.commit));
    }
    drop(sequencer.stop());
    let inputs: usize =
        fold(&storage).expect("a good log").iter().map(|(commit, _)| commit.inputs.len()).sum();
    assert_eq!(inputs, 3 + 8 * room());
}

#[test]
fn what_waits_while_the_writer_works_shares_one_commit_around_dated_batches() {
    let (storage, writer) = started();
    let (clock, keeper) = gate();
    let sequencer = Sequencer::start(writer, GatedClock(clock, T0), 16);
    let handle = sequencer.handle();
    let first = handle.submit(pattern(1)).expect("room");
    keeper.wait();
    let later = UtcMs(T0 + 500);
    let pending = [
        handle.submit(pattern(2)),
        handle.submit(pattern(3)),
        handle.submit_at(later, pattern(4)),
        handle.submit(pattern(5)),
        handle.submit(pattern(6)),
        handle.submit_at(UtcMs(T0 + 1), pattern(7)),
        handle.submit(pattern(8)),
    ];
    drop(keeper);
    first.wait().expect("committed");
    let answers: Vec<_> = pending.into_iter().map(|p| p.expect("room").wait()).collect();
    let told = |place: usize| {
        let receipt = answers[place].as_ref().expect("committed");
        (receipt.stamp.commit, receipt.stamp.at)
    };
    assert_eq!([told(0), told(1)], [(3, UtcMs(T0)); 2]);
    assert_eq!(told(2), (4, later));
    // The clock says an earlier time than the dated batch before: stamps do not go back.
    assert_eq!([told(3), told(4)], [(5, later); 2]);
    let refused = answers[5].as_ref().expect_err("dated back");
    assert!(matches!(refused, SubmitError::Refused(CommitError::TimeWentBack { .. })));
    assert_eq!(told(6), (6, later));
    for (place, number) in [(0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (6, 8)] {
        assert!(fits(answers[place].as_ref().expect("committed"), number));
    }
    drop(sequencer.stop());
    assert_eq!(fold(&storage).expect("a good log").len(), 6);
}

#[test]
fn a_submission_that_is_too_large_spoils_nobody_elses_commit_and_no_time() {
    let (storage, writer) = started();
    let (clock, keeper) = gate();
    let sequencer = Sequencer::start(writer, GatedClock(clock, T0), 16);
    let handle = sequencer.handle();
    let first = handle.submit(pattern(1)).expect("room");
    keeper.wait();
    let text = |bytes: usize| vec![Input::Rulebook("x".repeat(bytes))];
    let pending = [
        handle.submit(text(9 << 20)),
        handle.submit(text(9 << 20)),
        handle.submit(text(17 << 20)),
        handle.submit_at(UtcMs(T0 + 1_000_000), text(17 << 20)),
        handle.submit(pattern(2)),
    ];
    drop(keeper);
    first.wait().expect("committed");
    let answers: Vec<_> = pending.into_iter().map(|p| p.expect("room").wait()).collect();
    let stamp = |place: usize| answers[place].as_ref().map(|r| (r.stamp.commit, r.stamp.at.0 - T0));
    assert_eq!(stamp(0).expect("fits alone"), (3, 0));
    assert_eq!(stamp(1).expect("does not fit with the one before, but alone"), (4, 0));
    for place in [2, 3] {
        let refused = stamp(place).expect_err("too large");
        assert!(matches!(refused, SubmitError::Refused(CommitError::TooLarge { .. })));
    }
    assert_eq!(stamp(4).expect("the refused date moved no stamp"), (5, 0));
    drop(sequencer.stop());
    assert_eq!(fold(&storage).expect("a good log").len(), 5);
}

#[test]
fn a_group_larger_than_the_log_takes_at_once_is_synced_in_parts_and_answered_in_order() {
    let (storage, mut writer) = started();
    let large = |n: u32| proctor_sequencer::Batch {
        at: UtcMs(T0),
        inputs: vec![Input::Rulebook("x".repeat(12 << 20)), size(f64::from(n))],
    };
    let answers = writer.commit((1..=5).map(large).collect());
    let commits: Vec<u64> =
        answers.iter().map(|a| a.as_ref().expect("committed").stamp.commit).collect();
    assert_eq!(commits, [2, 3, 4, 5, 6]);
    assert_eq!(fold(&storage).expect("a good log").len(), 6);
}
