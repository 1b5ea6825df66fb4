//! The service as its callers meet it, over gRPC and in the process; and its watch.

mod races;

use std::collections::BTreeMap;

use proctor_engine::input::Roster;
use proctor_engine::{Event, Input, View};
use proctor_rpc::v1::eliminations_client::EliminationsClient;
use proctor_rpc::v1::eliminations_server::{Eliminations, EliminationsServer};
use proctor_rpc::{Reason, v1};
use proctor_types::TraderId;
use proptest::prelude::*;
use tonic::Request;
use tonic::service::interceptor::InterceptedService;

use super::{EliminationsService, view};
use crate::testing::grpc::{authenticate, connect, fault, with_token};
use crate::testing::{START, World, by_operator, history, trader};
use crate::watch::{Changes, Gate};

pub(super) fn service(world: &World) -> EliminationsService {
    EliminationsService::new(world.backend.clone(), Gate::new(9))
}

pub(super) fn row(trader: &str) -> v1::EliminationRow {
    v1::EliminationRow {
        trader: trader.into(),
        reason: "PLAGIARISM".into(),
        dd: Some(-1.0),
        elimination_initiated_time_ms: START.0,
    }
}

pub(super) fn add(trader: &str) -> v1::AddEliminationRequest {
    v1::AddEliminationRequest { row: Some(row(trader)), why: "a test".into() }
}

pub(super) fn named(trader: &str) -> Request<v1::TraderRequest> {
    by_operator(v1::TraderRequest { trader: trader.into() })
}

fn sync(at: i64, traders: &[&str]) -> v1::SyncEliminationsRequest {
    let rows = traders.iter().map(|trader| row(trader)).collect();
    v1::SyncEliminationsRequest { source: "other".into(), list_as_of_ms: at, rows }
}

#[tokio::test]
async fn a_record_is_written_read_and_watched_over_grpc_and_refusals_name_their_field() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let server = EliminationsServer::new(service(&world));
    let channel = connect(InterceptedService::new(server, authenticate())).await;
    let mut client = EliminationsClient::new(channel);
    let from = world.backend.views().latest().stamp.commit;
    let watch = client.watch_eliminations(v1::WatchEliminationsRequest { from_commit: from }).await;
    let mut watch = watch.expect("let in").into_inner();

    let refused = client.add_elimination(add("alice")).await.expect_err("a reader may not write");
    assert_eq!(fault(&refused).0, Reason::Forbidden);
    let mut odd = add("alice");
    odd.row.as_mut().expect("a row").reason = "BORED".into();
    let refused = client.add_elimination(with_token(odd)).await.expect_err("no such reason");
    assert_eq!(fault(&refused), (Reason::InvalidArgument, Some("row.reason".into())));

    let added = client.add_elimination(with_token(add("alice"))).await.expect("added").into_inner();
    let record = added.elimination.expect("the record");
    assert!(added.is_new);
    assert_eq!((record.origin.as_str(), record.decided_by.as_deref()), ("operator", Some("ops")));
    assert_eq!((record.dd, record.dd_kind.as_str()), (Some(-1.0), "absent"));
    assert_eq!(record.bucket.as_deref(), Some("CHALLENGE"));

    let found = client.get_elimination(v1::TraderRequest { trader: "alice".into() }).await;
    let found = found.expect("no token is needed to read").into_inner();
    assert_eq!(found.elimination.as_ref(), Some(&record));
    assert_eq!(found.as_of, added.as_of);
    let health = client.health_check(v1::HealthCheckRequest {}).await.expect("well").into_inner();
    assert_eq!((health.status.as_str(), health.details["num_eliminations"]), ("ok", 1));
    loop {
        let told = watch.message().await.expect("no error").expect("goes on");
        if !told.added.is_empty() {
            assert_eq!((told.added, told.as_of), (vec![record], found.as_of));
            break;
        }
    }
}

#[tokio::test]
async fn every_read_answers_from_one_commit() {
    let world = World::with_traders(&["alice", "bob", "carol"]).await;
    let service = service(&world);
    service.add_elimination(by_operator(add("stranger"))).await.expect("barred without account");
    service.add_elimination(by_operator(add("bob"))).await.expect("added");
    // Carol leaves, and comes back; alice only leaves.
    let roster = |version, names: &[&str]| {
        vec![Input::Roster(Roster::new(version, names.iter().map(|n| trader(n)).collect()))]
    };
    world.put(roster(2, &["alice", "bob"])).await;
    world.put(roster(3, &["bob", "carol"])).await;

    let all = service.get_eliminations_from_memory(by_operator(v1::GetEliminationsRequest {}));
    let all = all.await.expect("read").into_inner();
    let names: Vec<&str> = all.eliminations.iter().map(|e| e.trader.as_str()).collect();
    assert_eq!(names, ["bob", "stranger"]);
    let dict = service.get_eliminations_dict(by_operator(v1::GetEliminationsRequest {}));
    assert_eq!(dict.await.expect("read").into_inner().eliminations["bob"], all.eliminations[0]);
    let list = service.get_eliminated_hotkeys(by_operator(v1::GetEliminatedHotkeysRequest {}));
    assert_eq!(list.await.expect("read").into_inner().traders, names);
    let traders = ["stranger", "alice", "bob", "bob"].map(String::from).to_vec();
    let of = service.are_hotkeys_eliminated(by_operator(v1::TradersRequest { traders }));
    assert_eq!(of.await.expect("read").into_inner().traders, names);
    let pair = service.get_cached_elimination_data(by_operator(v1::GetEliminationsRequest {}));
    let pair = pair.await.expect("read").into_inner();
    let gone: Vec<&str> = pair.departed.iter().map(|gone| gone.trader.as_str()).collect();
    assert_eq!((pair.eliminations, gone), (all.eliminations, vec!["alice", "carol"]));

    for (who, eliminated, back, zombie, departed) in [
        ("alice", false, false, true, true),
        ("bob", true, false, false, false),
        ("carol", false, true, false, true),
        ("stranger", true, false, false, false),
        ("nobody", false, false, false, false),
    ] {
        let is = service.is_hotkey_eliminated(named(who)).await.expect("read").into_inner();
        assert_eq!(is.eliminated, eliminated, "{who}");
        let is = service.is_hotkey_re_registered(named(who)).await.expect("read").into_inner();
        assert_eq!(is.re_registered, back, "{who}");
        let is = service.is_zombie_hotkey(named(who)).await.expect("read").into_inner();
        assert_eq!(is.zombie, zombie, "{who}");
        let info = service.get_departed_hotkey_info(named(who)).await.expect("read").into_inner();
        assert_eq!(info.departed.is_some(), departed, "{who}");
        let record = service.hotkey_in_eliminations(named(who)).await.expect("read").into_inner();
        assert_eq!(record.elimination.is_some(), eliminated, "{who}");
    }
}

#[tokio::test]
async fn a_record_is_never_overwritten_and_a_batch_is_added_whole_or_not_at_all() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let service = service(&world);
    let first = service.add_elimination(by_operator(add("alice"))).await.expect("added");
    let mut other = add("alice");
    other.row.as_mut().expect("a row").reason = "ZOMBIE".into();
    let second = service.append_elimination_row(by_operator(other)).await.expect("an answer");
    let (first, second) = (first.into_inner(), second.into_inner());
    assert_eq!((second.is_new, &second.elimination), (false, &first.elimination));

    let rows = vec![row("bob"), row("alice")];
    let batch = v1::AddEliminationsRequest { rows, why: "a test".into() };
    let refused = service.add_eliminations(by_operator(batch)).await.expect_err("alice has one");
    assert_eq!(fault(&refused), (Reason::Refused, Some("rows[1]".into())));
    let view = world.backend.views().latest();
    assert!(!super::is_eliminated(&view, &trader("bob")), "nothing of it was done");

    let mut undated = add("bob");
    undated.row.as_mut().expect("a row").elimination_initiated_time_ms = 0;
    let refused = service.add_elimination(by_operator(undated.clone())).await.expect_err("no time");
    let field = Some("row.elimination_initiated_time_ms".into());
    assert_eq!(fault(&refused), (Reason::InvalidArgument, field));
    let now = service.append_elimination_row(by_operator(undated)).await.expect("means now");
    let record = now.into_inner().elimination.expect("the record");
    assert!(record.elimination_initiated_time_ms > START.0);
}

#[tokio::test]
async fn records_are_lifted_by_name_by_decision_and_up_to_a_commit() {
    let world = World::with_traders(&["alice", "bob", "carol"]).await;
    let service = service(&world);
    let why = || "a test".to_owned();
    for who in ["alice", "bob", "stranger"] {
        service.add_elimination(by_operator(add(who))).await.expect("added");
    }
    let traders = ["carol", "alice", "stranger"].map(String::from).to_vec();
    let request = v1::DeleteEliminationsRequest { traders, why: why() };
    let lifted = service.delete_eliminations(by_operator(request)).await.expect("lifted");
    assert_eq!(lifted.into_inner().traders, ["alice", "stranger"], "carol is passed over");
    let request = v1::RemoveEliminationRequest { trader: "carol".into(), why: why() };
    let lifted = service.remove_elimination(by_operator(request)).await.expect("an answer");
    assert!(!lifted.into_inner().removed);

    let found = service.get_elimination(named("bob")).await.expect("read").into_inner();
    let decided = found.elimination.expect("bob's record").decided;
    let mut request = v1::ReinstateRequest {
        trader: "bob".into(),
        decided: decided.map(|stamp| v1::Stamp { commit: stamp.commit + 1, ..stamp }),
        why: why(),
        restore_stage: true,
    };
    let refused = service.reinstate(by_operator(request.clone())).await.expect_err("another one");
    assert_eq!(fault(&refused), (Reason::NotFound, Some("decided".into())));
    request.decided = decided;
    service.reinstate(by_operator(request)).await.expect("undone");
    let slash = v1::SettleSlashRequest { trader: "bob".into(), decided };
    let refused = service.settle_slash(by_operator(slash)).await.expect_err("costs nothing");
    assert_eq!(fault(&refused), (Reason::Refused, Some("decided".into())));

    let newest = world.backend.views().latest().stamp.commit;
    let request = v1::ClearEliminationsRequest { up_to_commit: newest + 9, why: why() };
    let refused = service.clear_eliminations(by_operator(request)).await.expect_err("not made");
    assert_eq!(fault(&refused), (Reason::InvalidArgument, Some("up_to_commit".into())));
    let request = v1::ClearEliminationsRequest { up_to_commit: newest, why: String::new() };
    let refused = service.clear_eliminations(by_operator(request)).await.expect_err("why?");
    assert_eq!(fault(&refused), (Reason::InvalidArgument, Some("why".into())));
}

#[tokio::test]
async fn a_list_of_another_validator_replaces_what_it_brought_and_nothing_else() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let service = service(&world);
    service.add_elimination(by_operator(add("alice"))).await.expect("our own");
    let done = service.sync_eliminations(by_operator(sync(START.0, &["x", "bob"]))).await;
    let done = done.expect("taken").into_inner();
    assert_eq!((done.added, done.removed), (vec!["bob".into(), "x".into()], vec![]));
    let done = service.sync_eliminations(by_operator(sync(START.0, &["x"]))).await;
    let done = done.expect("taken").into_inner();
    assert_eq!((done.added, done.removed), (vec![], vec!["bob".to_owned()]));
    let refused = service.sync_eliminations(by_operator(sync(START.0 - 5, &["x"]))).await;
    let refused = refused.expect_err("older than the last");
    assert_eq!(fault(&refused), (Reason::Refused, Some("list_as_of_ms".into())));
    let view = world.backend.views().latest();
    assert!(super::is_eliminated(&view, &trader("alice")), "our decision stands");
}

#[tokio::test]
async fn bulk_reads_of_10_000_accounts_look_at_each_account_once() {
    let names: Vec<String> = (0..10_000).map(|n| format!("t{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::with_traders(&names).await;
    let service = service(&world);
    let rows = names.iter().map(|name| row(name)).collect();
    let batch = v1::AddEliminationsRequest { rows, why: "a test".into() };
    service.add_eliminations(by_operator(batch)).await.expect("added");
    let all = service.get_eliminations_from_memory(by_operator(v1::GetEliminationsRequest {}));
    assert_eq!(all.await.expect("read").into_inner().eliminations.len(), names.len());
    let traders = names.iter().map(ToString::to_string).collect();
    let of = service.are_hotkeys_eliminated(by_operator(v1::TradersRequest { traders }));
    assert_eq!(of.await.expect("read").into_inner().traders, names);
}

/// Returns the commit that decided.
pub(super) fn commit_of(record: &v1::Elimination) -> u64 {
    record.decided.expect("every record has a stamp").commit
}

/// A copy that knows nothing but what a watcher is told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Replica {
    records: BTreeMap<String, v1::Elimination>,
    departed: BTreeMap<String, i64>,
}

impl Replica {
    fn take(&mut self, told: v1::WatchEliminationsResponse) {
        if told.reset {
            *self = Self::default();
        }
        for trader in &told.removed {
            self.records.remove(trader);
        }
        self.records.extend(told.added.into_iter().map(|e| (e.trader.clone(), e)));
        let departed = told.departed.into_iter().map(|gone| (gone.trader, gone.detected_ms));
        self.departed.extend(departed);
    }

    /// Who has a record of which decision, and who has left.
    fn outline(&self) -> (BTreeMap<&String, u64>, &BTreeMap<String, i64>) {
        (self.records.iter().map(|(name, e)| (name, commit_of(e))).collect(), &self.departed)
    }

    fn of(view: &View) -> Self {
        let mut replica = Self::default();
        replica.take(view::Watched { generation: 7 }.reset(view, None));
        replica
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_copy_that_takes_every_message_equals_the_state_at_every_commit(
        history in history::histories(),
    ) {
        let told = history::run(&history);
        let last = told.last().expect("a beginning");
        for from in 0..told.len() {
            let mut watched = view::Watched { generation: 7 };
            // One watcher keeps up; one is so late that the view is always of the last commit.
            let mut prompt = Replica::of(&told[from].view);
            let mut late = prompt.clone();
            for step in &told[from + 1..] {
                let stamp = step.applied.stamp;
                let message = watched.change(&step.applied, &step.view);
                let told_late = watched.change(&step.applied, &last.view);
                prop_assert!(message.is_some() || told_late.is_none());
                for message in [&message, &told_late].into_iter().flatten() {
                    prop_assert_eq!(message.as_of.as_ref().map(|a| a.commit), Some(stamp.commit));
                }
                message.into_iter().for_each(|message| prompt.take(message));
                told_late.into_iter().for_each(|message| late.take(message));
                let state = Replica::of(&step.view);
                prop_assert_eq!(&prompt, &state, "commit {}", stamp.commit);
                prop_assert_eq!(late.outline(), state.outline(), "commit {}", stamp.commit);
            }
            prop_assert_eq!(&late, &Replica::of(&last.view), "nothing is missed in the end");
        }
    }
}

#[test]
fn the_histories_of_the_property_hold_every_change_that_a_watcher_is_told() {
    use history::Op;
    let history: Vec<Vec<Op>> = vec![
        vec![Op::Trade { falls: false }],
        vec![Op::Trade { falls: true }],
        vec![Op::Publish(1), Op::Add(7), Op::Sync(0b0100_0000)],
        vec![Op::SettleSlash(0), Op::Reinstate(1, true), Op::Sync(0b1000_0000)],
        vec![Op::Roster(0b0011_1110)],
        vec![Op::Wait(59)],
        vec![Op::Refresh],
    ];
    let told = history::run(&history);
    let events: Vec<&Event> = told.iter().flat_map(|step| step.applied.events.iter()).collect();
    let has = |wanted: fn(&Event) -> bool| events.iter().any(|event| wanted(event));
    assert!(has(|e| matches!(e, Event::Eliminated { .. })));
    assert!(has(|e| matches!(e, Event::Reinstated { .. })));
    assert!(has(|e| matches!(e, Event::TraderDeparted { .. })));
    assert!(has(|e| matches!(e, Event::SlashSettled { .. })));
    assert!(has(|e| matches!(e, Event::Purged { .. })));
    let first: &TraderId = &trader("t0");
    let record = view::record_of(&told.last().expect("a beginning").view, first).expect("fell");
    assert!(record.purged.is_some() && record.slash.is_some(), "{record:?}");
}
