//! Readers and submitters at the same time as the writer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proctor_commit_log::storage::Storage;
use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_engine::Rejection;
use proctor_engine::input::{Input, Roster};
use proctor_sequencer::Sequencer;
use proctor_types::TraderId;

use crate::common::{Fixed, T0, batch, config, fold, open};

#[test]
fn x_8_x_31_x_32_a_view_is_the_whole_of_one_commit_however_much_is_written_meanwhile() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut writer = open(&storage, &config());
    writer.commit(vec![batch(0)]);
    let sequencer = Sequencer::start(writer, Fixed(T0), 1_024);
    let (handle, done) = (sequencer.handle(), AtomicBool::new(false));
    let trader = |n: u64| TraderId::new(&format!("t{n}")).expect("valid");
    let seen = std::thread::scope(|scope| {
        let reader = || {
            let mut seen = BTreeMap::new();
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let view = handle.view();
                // Roster and accounts change in the same commits: a mixture of two would differ.
                let registered = view.roster.traders().expect("known").len() as u64;
                assert_eq!(registered, view.stamp.commit, "roster and stamp");
                // The account of the first commit's trader stays when the trader has left.
                let enrolled = registered + u64::from(registered > 1);
                assert_eq!(view.accounts.len() as u64, enrolled, "accounts and roster");
                assert!(view.stamp.commit >= last, "views do not go back");
                last = view.stamp.commit;
                seen.insert(last, view.digest);
            }
            seen
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for version in 2..400 {
            // One more trader with every commit, so that each part of a view shows its commit.
            let traders = (1..=version).map(trader).collect();
            let inputs = vec![Input::Roster(Roster::new(version, traders))];
            handle.submit(inputs).expect("room").wait().expect("committed");
        }
        done.store(true, Ordering::Release);
        readers.map(|reader| reader.join().expect("no mixture was seen"))
    });
    drop(sequencer.stop());
    let commits = fold(&storage).expect("a good log");
    for (commit, digest) in seen.into_iter().flatten() {
        let place = usize::try_from(commit - 1).expect("small");
        assert_eq!(commits[place].1, digest);
    }
}

#[test]
fn x_11_the_same_order_from_many_at_once_is_executed_once() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut writer = open(&storage, &config());
    writer.commit(vec![batch(0)]);
    let sequencer = Sequencer::start(writer, Fixed(T0), 64);
    let handle = sequencer.handle();
    let order = batch(1).inputs.remove(0);
    let replies: Vec<_> = std::thread::scope(|scope| {
        let submit = || {
            let receipt = handle.submit(vec![order.clone()]).expect("room").wait();
            receipt.expect("committed").replies.remove(0)
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(submit)).collect();
        threads.into_iter().map(|thread| thread.join().expect("does not panic")).collect()
    });
    assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 1);
    let others = replies.iter().filter(|reply| **reply == Err(Rejection::DuplicateId)).count();
    assert_eq!(others, 15);
    drop(sequencer.stop());
}
