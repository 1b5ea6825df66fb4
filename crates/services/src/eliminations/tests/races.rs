//! The race register's entries that concern records: many callers at once, real threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proctor_engine::challenge_period::reasons::{Published, ReasonsCommand};
use proctor_engine::eliminations::{
    DrawdownNote, EliminationRow, EliminationsCommand, Reason as EndReason,
};
use proctor_engine::input::Roster;
use proctor_engine::{Event, Input};
use proctor_rpc::v1;
use proctor_rpc::v1::eliminations_server::Eliminations;
use proctor_sequencer::Since;
use proctor_types::{OperatorId, Remark, TraderId};
use tokio::task::JoinSet;

use super::{add, commit_of, named, row, service};
use crate::eliminations::{EliminationsService, record_of, view};
use crate::testing::{START, World, by_operator, trader};

/// A decision: whose, and the commit that took it.
type Decision = (String, u64);

fn decision(record: &v1::Elimination) -> Decision {
    (record.trader.clone(), commit_of(record))
}

/// Tells the reader's threads that it is over, also when the test fails.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Reads in two threads until the returned guard goes; each read must find `holds`.
fn read_all_the_time(
    world: &World,
    holds: impl Fn(&proctor_engine::View) -> bool + Clone + Send + 'static,
) -> (Over, Vec<std::thread::JoinHandle<u64>>) {
    let over = Arc::new(AtomicBool::new(false));
    let readers = (0..2).map(|_| {
        let (views, over) = (world.backend.views().clone(), Arc::clone(&over));
        let holds = holds.clone();
        std::thread::spawn(move || {
            let mut reads = 0;
            loop {
                let last = over.load(Ordering::SeqCst);
                let view = views.latest();
                assert!(holds(&view), "a reader saw something between two states: {view:?}");
                reads += 1;
                if last {
                    return reads;
                }
            }
        })
    });
    (Over(Arc::clone(&over)), readers.collect())
}

/// Ends the readers; a reader that found something wrong fails the test.
fn join((over, readers): (Over, Vec<std::thread::JoinHandle<u64>>)) {
    drop(over);
    for reader in readers {
        assert!(reader.join().expect("every read held") > 0);
    }
}

/// Seed 000: "clear, then update" showed readers an empty set. A list is one input, so there is
/// nothing between two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_8_a_reader_never_sees_an_empty_or_mixed_set_during_10_000_replacements() {
    let world = World::with_traders(&["a0", "a1", "b0", "b1"]).await;
    let service = service(&world);
    let sets = [["a0", "a1", "a2", "a3"], ["b0", "b1", "b2", "b3"]];
    let replace = |round: usize| {
        let rows = sets[round % 2].iter().map(|name| row(name)).collect();
        let list_as_of_ms = START.0;
        by_operator(v1::SyncEliminationsRequest { source: "other".into(), list_as_of_ms, rows })
    };
    service.sync_eliminations(replace(0)).await.expect("taken");
    let readers = read_all_the_time(&world, move |view| {
        let seen: Vec<&str> = view::records(view).into_keys().map(TraderId::as_str).collect();
        sets.iter().any(|set| set[..] == seen[..])
    });
    for round in 1..=10_000 {
        let done = service.sync_eliminations(replace(round)).await.expect("taken").into_inner();
        assert_eq!(done.added, sets[round % 2], "round {round}");
        assert_eq!(done.removed, sets[(round + 1) % 2], "round {round}");
        let names = v1::GetEliminatedHotkeysRequest {};
        let names = service.get_eliminated_hotkeys(by_operator(names)).await.expect("read");
        assert_eq!(names.into_inner().traders, sets[round % 2], "round {round}");
    }
    join(readers);
}

/// Adds records until `rounds` of its own were new; each goes to `made`.
async fn decide(service: EliminationsService, name: String, rounds: usize) -> Vec<Decision> {
    let mut made = Vec::new();
    while made.len() < rounds {
        let answer = match service.add_elimination(by_operator(add(&name))).await {
            Ok(answer) => answer.into_inner(),
            Err(busy) => {
                assert_eq!(busy.code(), tonic::Code::ResourceExhausted, "{busy}");
                tokio::task::yield_now().await;
                continue;
            }
        };
        if answer.is_new {
            made.push(decision(&answer.elimination.expect("the record that stands")));
        } else {
            tokio::task::yield_now().await;
        }
    }
    made
}

/// Takes what there is and clears up to what was seen, until there is nothing and `over`.
async fn consume(service: EliminationsService, over: Arc<AtomicBool>) -> Vec<Decision> {
    let mut handled = Vec::new();
    loop {
        let last = over.load(Ordering::SeqCst);
        let all = v1::GetEliminationsRequest {};
        let all = service.get_eliminations_from_memory(by_operator(all)).await.expect("read");
        let all = all.into_inner();
        if all.eliminations.is_empty() && last {
            return handled;
        }
        let up_to_commit = all.as_of.expect("every answer has one").commit;
        let seen: BTreeMap<String, Decision> =
            all.eliminations.iter().map(|e| (e.trader.clone(), decision(e))).collect();
        let clear = v1::ClearEliminationsRequest { up_to_commit, why: "handled".into() };
        let cleared = service.clear_eliminations(by_operator(clear)).await.expect("cleared");
        for trader in cleared.into_inner().traders {
            // What is cleared was seen: nothing that was decided meanwhile goes with it.
            handled.push(seen.get(&trader).expect("cleared without being seen").clone());
        }
        tokio::task::yield_now().await;
    }
}

/// The consumer of seed 002 did `get_all` and then `clear`: what came between was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_1_get_all_and_clear_up_to_lose_nothing_under_concurrent_updates() {
    let names: Vec<String> = (0..16).map(|n| format!("t{n}")).collect();
    let half: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
    let world = World::with_traders(&half).await;
    let service = service(&world);
    let over = Arc::new(AtomicBool::new(false));
    let mut producers = JoinSet::new();
    for name in &names {
        producers.spawn(decide(service.clone(), name.clone(), 15));
    }
    let mut consumers = JoinSet::new();
    for _ in 0..3 {
        consumers.spawn(consume(service.clone(), Arc::clone(&over)));
    }
    let mut made = producers.join_all().await.concat();
    over.store(true, Ordering::SeqCst);
    let mut handled = consumers.join_all().await.concat();
    made.sort_unstable();
    handled.sort_unstable();
    assert_eq!(made.len(), 16 * 15);
    assert_eq!(made, handled, "every decision is handled, and by one consumer only");
}

#[tokio::test]
async fn x_1_a_clear_lifts_no_decision_that_was_taken_after_the_list_was_read() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let service = service(&world);
    service.add_elimination(by_operator(add("alice"))).await.expect("added");
    let list = service.get_eliminations_from_memory(by_operator(v1::GetEliminationsRequest {}));
    let up_to_commit = list.await.expect("read").into_inner().as_of.expect("as of").commit;
    // Between the list and the clear: another trader, and another decision on the same one.
    service.add_elimination(by_operator(add("bob"))).await.expect("added");
    let why = || "a test".to_owned();
    let lift = v1::RemoveEliminationRequest { trader: "alice".into(), why: why() };
    service.remove_elimination(by_operator(lift)).await.expect("lifted");
    service.add_elimination(by_operator(add("alice"))).await.expect("added again");
    let clear = v1::ClearEliminationsRequest { up_to_commit, why: why() };
    let cleared = service.clear_eliminations(by_operator(clear)).await.expect("cleared");
    assert_eq!(cleared.into_inner().traders, Vec::<String>::new());
    let view = world.backend.views().latest();
    assert!(record_of(&view, &trader("alice")).is_some());
    assert!(record_of(&view, &trader("bob")).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_13_of_many_who_add_the_same_record_one_is_told_that_it_is_new_and_all_the_same_record() {
    let world = World::with_traders(&["t0"]).await;
    let service = service(&world);
    for round in 0..50 {
        let name = format!("t{round}");
        let mut callers = JoinSet::new();
        for _ in 0..8 {
            let (service, name) = (service.clone(), name.clone());
            callers.spawn(async move { service.add_elimination(by_operator(add(&name))).await });
        }
        let answers = callers.join_all().await;
        let answers: Vec<_> =
            answers.into_iter().map(|answer| answer.expect("an answer").into_inner()).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_new).count(), 1, "{name}");
        let records: BTreeSet<Decision> =
            answers.iter().filter_map(|answer| answer.elimination.as_ref()).map(decision).collect();
        assert_eq!(records.len(), 1, "{name}");
        let mut callers = JoinSet::new();
        for _ in 0..8 {
            let (service, name) = (service.clone(), name.clone());
            callers.spawn(async move {
                let lift = v1::RemoveEliminationRequest { trader: name, why: "a test".into() };
                service.remove_elimination(by_operator(lift)).await
            });
        }
        let lifted = callers.join_all().await;
        let lifted =
            lifted.into_iter().filter(|a| a.as_ref().expect("an answer").get_ref().removed);
        assert_eq!(lifted.count(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_13_however_many_passes_run_and_settlements_are_told_there_is_one_slash() {
    let world = World::with_traders(&["alice"]).await;
    let service = service(&world);
    let reason = EndReason::FailedChallengePeriodTime;
    let drawdown = DrawdownNote::NotApplicable;
    let published = Published { trader: trader("alice"), reason, drawdown };
    world.put(vec![Input::Reasons(ReasonsCommand::Update(vec![published]))]).await;
    let found = service.get_elimination(named("alice")).await.expect("read").into_inner();
    let record = found.elimination.expect("ended");
    let slash = record.slash.expect("costs collateral");
    assert!(!slash.settled);
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let (service, decided) = (service.clone(), record.decided);
        callers.spawn(async move {
            let process = v1::ProcessEliminationsRequest {};
            service.process_eliminations(by_operator(process)).await.expect("a pass");
            if caller % 2 == 0 {
                let settled = v1::SettleSlashRequest { trader: "alice".into(), decided };
                service.settle_slash(by_operator(settled)).await.expect("told");
            }
        });
    }
    callers.join_all().await;
    let Since::Commits(commits) = world.backend.views().since(0, usize::MAX) else {
        panic!("every commit is kept");
    };
    let count = |wanted: fn(&Event) -> bool| -> usize {
        commits.iter().map(|commit| commit.events.iter().filter(|e| wanted(e)).count()).sum()
    };
    assert_eq!(count(|event| matches!(event, Event::SlashIntended { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::SlashSettled { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Eliminated { .. })), 1);
    let found = service.get_elimination(named("alice")).await.expect("read").into_inner();
    assert_eq!(found.elimination.and_then(|e| e.slash).map(|s| s.settled), Some(true));
}

/// The reference's caches fetched eliminated and departed traders in two calls, and wrote
/// the live map of departures out while it changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_31_x_32_eliminated_and_departed_traders_are_always_of_one_commit() {
    let names: Vec<String> = (0..200).map(|n| format!("t{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::with_traders(&names).await;
    let service = service(&world);
    let over = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let (service, over, reads) = (service.clone(), Arc::clone(&over), Arc::clone(&reads));
        readers.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let both = v1::GetEliminationsRequest {};
                let both = service.get_cached_elimination_data(by_operator(both)).await;
                let both = both.expect("read").into_inner();
                let ended = both.eliminations.iter().map(|e| &e.trader);
                assert!(ended.eq(both.departed.iter().map(|gone| &gone.trader)));
                reads.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
    }
    // Who leaves is eliminated in the same commit: any reader must see both or neither.
    for (gone, name) in names.iter().enumerate().take(150) {
        let version = u64::try_from(gone).expect("small") + 2;
        let rest = names[gone + 1..].iter().map(|name| trader(name)).collect();
        let row = EliminationRow {
            trader: trader(name),
            reason: EndReason::Zombie,
            drawdown: DrawdownNote::NotApplicable,
            decided_at: START,
        };
        let by = OperatorId::new("ops").expect("a name");
        let why = Remark::new("a test").expect("words");
        let ended = Input::Eliminations(EliminationsCommand::Add { by, why, rows: vec![row] });
        world.put(vec![Input::Roster(Roster::new(version, rest)), ended]).await;
    }
    while reads.load(Ordering::SeqCst) < 10 {
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::SeqCst);
    readers.join_all().await;
}
