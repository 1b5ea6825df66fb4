//! More is submitted than the writer takes.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_sequencer::{Sequencer, SubmitError};

use crate::common::{GatedClock, T0, config, fold, gate, open, size};

#[test]
fn a_full_queue_answers_busy_at_once_and_nothing_of_the_submission_happens() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (clock, keeper) = gate();
    let sequencer = Sequencer::start(open(&storage, &config()), GatedClock(clock, T0), 2);
    let handle = sequencer.handle();
    let mut pending = vec![handle.submit(vec![size(1.0)]).expect("the queue is empty")];
    keeper.wait();
    // The writer has taken the first one and stands still; two more fit, and no third.
    pending.push(handle.submit(vec![size(2.0)]).expect("room for two"));
    pending.push(handle.submit(vec![size(3.0)]).expect("room for one"));
    for _ in 0..3 {
        let refused = handle.submit(vec![size(4.0)]).map(drop);
        assert!(matches!(refused, Err(SubmitError::Busy(2))), "{refused:?}");
    }
    keeper.let_go();
    keeper.wait();
    // The second group is on its way, so there is room again.
    pending.push(handle.submit(vec![size(5.0)]).expect("room again"));
    keeper.let_go();
    keeper.wait();
    keeper.let_go();
    for answer in pending {
        answer.wait().expect("what was taken is committed");
    }
    drop(sequencer.stop());
    let commits = fold(&storage).expect("a good log");
    let inputs: Vec<_> = commits.into_iter().flat_map(|(commit, _)| commit.inputs).collect();
    assert_eq!(inputs, [size(1.0), size(2.0), size(3.0), size(5.0)]);
}

#[test]
fn whoever_comes_after_the_end_is_told_so() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (clock, keeper) = gate();
    let sequencer = Sequencer::start(open(&storage, &config()), GatedClock(clock, T0), 8);
    let handle = sequencer.handle();
    let first = handle.submit(vec![size(1.0)]).expect("room");
    keeper.wait();
    drop(keeper);
    drop(sequencer.stop());
    first.wait().expect("what was submitted before the end is committed");
    assert!(matches!(handle.submit(vec![size(2.0)]).map(drop), Err(SubmitError::Stopped)));
    assert_eq!(handle.view().stamp.commit, 1, "the last view stays readable");
}
