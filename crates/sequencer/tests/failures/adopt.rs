//! Commits of another node: taken over as they stand, or refused and nothing of them done.

use std::sync::Arc;

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::faulty::{Fault, FaultyDisk, Survival};
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_commit_log::{Reader, Record};
use proctor_sequencer::{AdoptError, Handle, Sequencer, SystemClock, Writer};
use proctor_wire::log_entry;

use crate::common::{accepted, batch, config, fold, open};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::default())
}

/// The log of a node that made `count` commits.
fn made(count: u32) -> Vec<Record> {
    let storage = memory();
    let mut writer = open(&storage, &config());
    accepted(writer.commit((0..count).map(batch).collect()));
    writer.close().expect("closes");
    Reader::open(storage).expect("opens").map(|record| record.expect("whole")).collect()
}

fn payloads(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.payload.clone()).collect()
}

/// Runs `act` beside a sequencer over an empty log; returns the log afterwards.
fn beside(act: impl FnOnce(&Handle)) -> Arc<dyn Storage> {
    let storage = memory();
    let sequencer = Sequencer::start(open(&storage, &config()), SystemClock, 4);
    act(&sequencer.handle());
    sequencer.stop().close().expect("closes");
    storage
}

#[test]
fn adopted_commits_give_the_same_log_and_the_same_state() {
    let records = made(20);
    let mut digest = None;
    let storage = beside(|handle| {
        for group in payloads(&records).chunks(7) {
            let stamp = handle.adopt(group.to_vec()).expect("follows");
            assert_eq!(handle.view().stamp, stamp, "published before it is answered");
        }
        digest = Some(handle.view().digest);
    });
    let copy: Vec<Record> =
        Reader::open(Arc::clone(&storage)).expect("opens").map(|r| r.expect("whole")).collect();
    assert_eq!(copy, records);
    let folded = fold(&storage).expect("agrees");
    assert_eq!(folded.last().map(|(_, digest)| *digest), digest);
}

#[test]
fn the_place_of_an_entry_is_read_without_its_inputs() {
    for record in made(5) {
        let entry = log_entry::LogEntry::decode(&record.payload).expect("an entry");
        let place = log_entry::place_of(&record.payload).expect("an entry");
        assert_eq!(place, (entry.at, entry.digest_before));
        assert!(log_entry::place_of(&record.payload[..40]).is_err());
    }
}

#[test]
fn x_6_a_commit_that_does_not_follow_is_refused_and_those_before_it_stand() {
    let records = made(6);
    let all = payloads(&records);
    let storage = beside(|handle| {
        // The third is missing.
        let gap = [all[0].clone(), all[1].clone(), all[3].clone(), all[4].clone()];
        let refused = handle.adopt(gap.to_vec()).expect_err("a gap");
        assert!(matches!(refused, AdoptError::Diverged { commit: 2, .. }), "{refused}");
        assert_eq!(handle.view().stamp.commit, 2);
        let refused = handle.adopt(vec![vec![1, 2, 3]]).expect_err("no entry");
        assert!(matches!(refused, AdoptError::Decode { commit: 3, .. }), "{refused}");
        // It goes on where it stopped.
        let stamp = handle.adopt(all[2..].to_vec()).expect("follows");
        assert_eq!(stamp.commit, 6);
    });
    assert_eq!(fold(&storage).expect("agrees").len(), 6);
}

/// Takes over what is missing of `records`, in groups; returns how many commits were acknowledged.
fn take_over(disk: &FaultyDisk, records: &[Record]) -> Option<u64> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut writer = Writer::open(storage, config()).ok()?.writer;
    let mut acknowledged = writer.stamp().commit;
    let missing = payloads(&records[usize::try_from(acknowledged).expect("small")..]);
    for group in missing.chunks(4) {
        match writer.adopt(group) {
            Ok(stamp) => acknowledged = stamp.commit,
            Err(_) => return Some(acknowledged),
        }
    }
    drop(writer.close());
    Some(acknowledged)
}

#[test]
fn x_7_x_22_a_crash_at_any_point_of_a_sync_leaves_whole_commits_and_it_goes_on_from_there() {
    let records = made(14);
    let whole = FaultyDisk::new();
    assert_eq!(take_over(&whole, &records), Some(14));
    for operation in 0..whole.operations() {
        for survival in [Survival::Nothing, Survival::Everything, Survival::Random(operation)] {
            let disk = FaultyDisk::new();
            disk.inject(operation, Fault::Crash);
            let acknowledged = take_over(&disk, &records).unwrap_or(0);
            disk.power_loss(survival);
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            let left =
                fold(&storage).expect("the state is that of the commits, and no other").len();
            assert!(left as u64 >= acknowledged, "{left} of {acknowledged} are left");
            let left: Vec<Record> =
                Reader::open(storage).expect("opens").map_while(Result::ok).collect();
            assert_eq!(left, records[..left.len()], "the beginning of the other's log");
            assert_eq!(take_over(&disk, &records), Some(14), "it goes on");
        }
    }
}

#[test]
fn after_the_end_nothing_is_adopted() {
    let all = payloads(&made(1));
    let mut left = None;
    beside(|handle| left = Some(handle.clone()));
    let refused = left.expect("kept").adopt(all).expect_err("it has ended");
    assert!(matches!(refused, AdoptError::Stopped(_)));
}
