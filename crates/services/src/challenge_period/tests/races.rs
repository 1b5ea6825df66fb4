//! The race register's entries that concern stages and the register of reasons.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proctor_rpc::v1;
use proctor_rpc::v1::challenge_period_server::ChallengePeriod;
use proctor_rpc::v1::eliminations_server::Eliminations;
use tokio::task::JoinSet;

use super::{miner, named, reasons, service};
use crate::challenge_period::view;
use crate::eliminations::{EliminationsService, is_eliminated};
use crate::testing::{START, World, by_operator};
use crate::watch::Gate;

/// Seed 001: the consumer read all reasons and then cleared them; what came between was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_1_c_60_every_reason_is_taken_once_whoever_pops_and_clears_at_the_same_time() {
    let names: Vec<String> = (0..120).map(|n| format!("t{n:03}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::with_traders(&all).await;
    let service = service(&world);
    let over = Arc::new(AtomicBool::new(false));

    let mut clearers = JoinSet::new();
    for _ in 0..2 {
        let (service, over) = (service.clone(), Arc::clone(&over));
        clearers.spawn(async move {
            let mut cleared = 0;
            loop {
                let last = over.load(Ordering::SeqCst);
                let list = by_operator(v1::GetReasonsRequest {});
                let list = service.get_all_elimination_reasons(list).await.expect("read");
                let up_to_seq = list.into_inner().newest_seq;
                let clear = by_operator(v1::ClearEliminationReasonsRequest { up_to_seq });
                let done = service.clear_elimination_reasons(clear).await.expect("cleared");
                cleared += done.into_inner().cleared;
                if last {
                    return cleared;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut poppers = JoinSet::new();
    for _ in 0..3 {
        let (service, over, names) = (service.clone(), Arc::clone(&over), names.clone());
        poppers.spawn(async move {
            let mut taken = Vec::new();
            while !over.load(Ordering::SeqCst) {
                for name in &names {
                    let popped = service.pop_elimination_reason(named(name)).await;
                    taken.extend(popped.expect("an answer").into_inner().reason.map(|r| r.seq));
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                }
            }
            taken
        });
    }
    let mut producers = JoinSet::new();
    for chunk in names.chunks(40) {
        let (service, chunk) = (service.clone(), chunk.to_vec());
        producers.spawn(async move {
            for name in &chunk {
                service.update_elimination_reasons(reasons(&[name])).await.expect("published");
                tokio::task::yield_now().await;
            }
        });
    }
    producers.join_all().await;
    over.store(true, Ordering::SeqCst);
    let popped = poppers.join_all().await.concat();
    let cleared: u32 = clearers.join_all().await.iter().sum();
    let once: BTreeSet<u64> = popped.iter().copied().collect();
    assert_eq!(once.len(), popped.len(), "a reason was popped twice");
    assert_eq!(popped.len() + usize::try_from(cleared).expect("small"), names.len());
    let view = world.backend.views().latest();
    assert_eq!(view::pending(&view), 0);
}

/// Whatever runs at once: in any view a registered trader is in one stage or ended, never both and
/// never neither, and stages that are set together change together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x_6_x_8_passes_lists_and_stages_at_once_leave_nobody_in_both_sets_or_in_neither() {
    let world = World::with_traders(&["a", "b", "c", "d"]).await;
    let service = service(&world);
    let eliminations = EliminationsService::new(world.backend.clone(), Gate::new(1));
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (views, over) = (world.backend.views().clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            loop {
                let last = over.load(Ordering::SeqCst);
                let view = views.latest();
                for account in view.accounts.iter() {
                    let ended = is_eliminated(&view, &account.trader);
                    assert_ne!(ended, account.standing.is_some(), "{}", account.trader);
                }
                let stage = |place: usize| {
                    let account = view.accounts.iter().nth(place).expect("four accounts");
                    account.standing.map(|standing| standing.stage)
                };
                assert_eq!(stage(2), stage(3), "c and d are always set together");
                if last {
                    return;
                }
            }
        })
    };
    let mut callers = JoinSet::new();
    {
        let eliminations = eliminations.clone();
        callers.spawn(async move {
            for round in 0..300 {
                let trader = if round % 2 == 0 { "a" } else { "b" };
                let row = v1::EliminationRow {
                    trader: trader.into(),
                    reason: "PLAGIARISM".into(),
                    dd: Some(-1.0),
                    elimination_initiated_time_ms: START.0,
                };
                let list = v1::SyncEliminationsRequest {
                    source: "other".into(),
                    list_as_of_ms: START.0,
                    rows: vec![row],
                };
                eliminations.sync_eliminations(by_operator(list)).await.expect("taken");
            }
        });
    }
    callers.spawn(async move {
        for _ in 0..300 {
            let pass = by_operator(v1::ProcessEliminationsRequest {});
            eliminations.process_eliminations(pass).await.expect("a pass");
        }
    });
    callers.spawn(async move {
        for round in 0..300 {
            let bucket = if round % 2 == 0 { "PROBATION" } else { "MAINCOMP" };
            let miners = vec![miner("c", bucket), miner("d", bucket)];
            let update = by_operator(v1::UpdateMinersRequest { miners });
            service.update_miners(update).await.expect("both");
        }
    });
    callers.join_all().await;
    over.store(true, Ordering::SeqCst);
    reader.join().expect("every view held");
}
