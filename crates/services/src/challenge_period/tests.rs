//! The service as its callers meet it, over gRPC and in the process; and its watch.

mod races;

use std::collections::BTreeMap;

use proctor_engine::View;
use proctor_rpc::v1::challenge_period_client::ChallengePeriodClient;
use proctor_rpc::v1::challenge_period_server::{ChallengePeriod, ChallengePeriodServer};
use proctor_rpc::{Reason, v1};
use proptest::prelude::*;
use tonic::Request;
use tonic::service::interceptor::InterceptedService;

use super::{ChallengePeriodService, view};
use crate::testing::grpc::{authenticate, connect, fault, with_token};
use crate::testing::{START, World, by_operator, history, trader};
use crate::watch::{Changes, Gate};

pub(super) fn service(world: &World) -> ChallengePeriodService {
    ChallengePeriodService::new(world.backend.clone(), Gate::new(9))
}

pub(super) fn named(trader: &str) -> Request<v1::TraderRequest> {
    by_operator(v1::TraderRequest { trader: trader.into() })
}

pub(super) fn reasons(traders: &[&str]) -> Request<v1::UpdateEliminationReasonsRequest> {
    let one = |trader: &&str| v1::ReasonUpdate {
        trader: (*trader).into(),
        reason: "FAILED_CHALLENGE_PERIOD_TIME".into(),
        dd: Some(-1.0),
    };
    let reasons = traders.iter().map(one).collect();
    by_operator(v1::UpdateEliminationReasonsRequest { reasons })
}

pub(super) fn miner(trader: &str, bucket: &str) -> v1::Miner {
    let start_time_ms = START.0 + 5;
    v1::Miner { trader: trader.into(), bucket: bucket.into(), start_time_ms, ..Default::default() }
}

#[tokio::test]
async fn a_bucket_is_set_read_and_watched_over_grpc_and_refusals_name_their_field() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let server = ChallengePeriodServer::new(service(&world));
    let channel = connect(InterceptedService::new(server, authenticate())).await;
    let mut client = ChallengePeriodClient::new(channel);
    let from = world.backend.views().latest().stamp.commit;
    let watch = client.watch(v1::WatchChallengePeriodRequest { from_commit: from }).await;
    let mut watch = watch.expect("let in").into_inner();

    let set = |bucket| v1::SetMinerBucketRequest { miner: Some(miner("alice", bucket)) };
    let refused = client.set_miner_bucket(set("MAINCOMP")).await.expect_err("a reader");
    assert_eq!(fault(&refused).0, Reason::Forbidden);
    let refused = client.set_miner_bucket(with_token(set("SILVER"))).await.expect_err("no such");
    assert_eq!(fault(&refused), (Reason::InvalidArgument, Some("miner.bucket".into())));
    let done = client.set_miner_bucket(with_token(set("MAINCOMP"))).await.expect("set");
    assert!(!done.get_ref().is_new, "she was in CHALLENGE before");

    let bucket = client.get_miner_bucket(v1::TraderRequest { trader: "alice".into() }).await;
    assert_eq!(bucket.expect("read").into_inner().bucket.as_deref(), Some("MAINCOMP"));
    let health = client.health_check(v1::HealthCheckRequest {}).await.expect("well").into_inner();
    assert_eq!((health.status.as_str(), health.details["active_miners_count"]), ("ok", 2));
    loop {
        let told = watch.message().await.expect("no error").expect("goes on");
        if !told.changed.is_empty() {
            assert_eq!(told.changed, [miner("alice", "MAINCOMP")]);
            assert_eq!(told.as_of, done.into_inner().as_of);
            break;
        }
    }
}

#[tokio::test]
async fn every_read_answers_from_one_commit() {
    let world = World::with_traders(&["alice", "bob", "carol", "dave"]).await;
    let service = service(&world);
    let before = v1::Miner {
        previous_bucket: Some("PROBATION".into()),
        previous_time_ms: Some(START.0 + 1),
        ..miner("carol", "PLAGIARISM")
    };
    let miners = vec![miner("alice", "MAINCOMP"), miner("bob", "PROBATION"), before.clone()];
    let update = v1::UpdateMinersRequest { miners: miners.clone() };
    let done = service.update_miners(by_operator(update)).await.expect("all of them");
    assert_eq!(done.into_inner().updated, 3);

    let all = service.snapshot(by_operator(v1::SnapshotRequest {})).await.expect("read");
    let all = all.into_inner();
    assert_eq!(all.miners[..3], miners);
    let none = || by_operator(v1::GetMinersRequest {});
    let names = service.get_all_miner_hotkeys(none()).await.expect("read").into_inner().traders;
    assert_eq!(names, ["alice", "bob", "carol", "dave"]);
    for (found, who) in [
        (service.get_success_miners(none()).await, "alice"),
        (service.get_probation_miners(none()).await, "bob"),
        (service.get_plagiarism_miners(none()).await, "carol"),
        (service.get_testing_miners(none()).await, "dave"),
    ] {
        let found = found.expect("read").into_inner().start_time_ms;
        assert_eq!(found.keys().collect::<Vec<_>>(), [who]);
    }
    let bucket = v1::GetHotkeysByBucketRequest { bucket: "PROBATION".into() };
    let of = service.get_hotkeys_by_bucket(by_operator(bucket)).await.expect("read").into_inner();
    assert_eq!(of.traders, ["bob"]);
    let bucket = v1::GetHotkeysByBucketRequest { bucket: "SILVER".into() };
    let refused = service.get_hotkeys_by_bucket(by_operator(bucket)).await.expect_err("no such");
    assert_eq!(fault(&refused), (Reason::InvalidArgument, Some("bucket".into())));

    let previous = service.get_miner_previous_bucket(named("carol")).await.expect("read");
    assert_eq!(previous.into_inner().bucket, before.previous_bucket);
    let previous = service.get_miner_previous_time(named("carol")).await.expect("read");
    assert_eq!(previous.into_inner().time_ms, before.previous_time_ms);
    let start = service.get_miner_start_time(named("carol")).await.expect("read");
    assert_eq!(start.into_inner().time_ms, Some(before.start_time_ms));
    assert!(!service.has_miner(named("nobody")).await.expect("read").into_inner().has_miner);
    for (who, meets) in [("alice", None), ("bob", Some(true)), ("dave", Some(true))] {
        let request = v1::MeetsTimeCriteriaRequest { trader: who.into() };
        let time = service.meets_time_criteria(by_operator(request)).await.expect("read");
        assert_eq!(time.into_inner().meets, meets, "{who}");
    }
    // 90 days of challenge, 60 of probation (C-35); nothing was refreshed since.
    let request = v1::MeetsTimeCriteriaRequest { trader: "bob".into() };
    let time = service.meets_time_criteria(by_operator(request)).await.expect("read").into_inner();
    assert_eq!(time.ends_ms, Some(START.0 + 5 + 60 * 86_400_000));
}

#[tokio::test]
async fn buckets_are_set_for_all_or_for_none() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let service = service(&world);
    let miners = vec![miner("alice", "MAINCOMP"), miner("nobody", "MAINCOMP")];
    let update = v1::UpdateMinersRequest { miners };
    let refused = service.update_miners(by_operator(update)).await.expect_err("no account");
    assert_eq!(fault(&refused), (Reason::UnknownTrader, Some("miners[1]".into())));
    let mut odd = miner("alice", "MAINCOMP");
    odd.previous_bucket = Some("CHALLENGE".into());
    let update = v1::UpdateMinersRequest { miners: vec![odd.clone()] };
    let refused = service.update_miners(by_operator(update)).await.expect_err("half a stage");
    assert_eq!(
        fault(&refused),
        (Reason::InvalidArgument, Some("miners[0].previous_time_ms".into()))
    );
    odd.previous_time_ms = Some(START.0);
    let update = v1::UpdateMinersRequest { miners: vec![odd] };
    let refused = service.update_miners(by_operator(update)).await.expect_err("not in review");
    let field = Some("miners[0].previous_bucket".into());
    assert_eq!(fault(&refused), (Reason::InvalidArgument, field));
    let bucket = service.get_miner_bucket(named("alice")).await.expect("read").into_inner().bucket;
    assert_eq!(bucket.as_deref(), Some("CHALLENGE"), "nothing of it was done");
    let removed = service.remove_miner(named("alice")).await.expect("begins anew").into_inner();
    assert!(removed.removed);
    assert!(service.has_miner(named("alice")).await.expect("read").into_inner().has_miner);
}

#[tokio::test]
async fn reasons_are_published_popped_and_cleared_up_to_what_was_seen() {
    let world = World::with_traders(&["alice", "bob", "carol"]).await;
    let service = service(&world);
    let refused = service.update_elimination_reasons(reasons(&["alice", "nobody"])).await;
    let refused = refused.expect_err("no account");
    assert_eq!(fault(&refused), (Reason::UnknownTrader, Some("reasons[1]".into())));
    let done = service.update_elimination_reasons(reasons(&["alice", "bob"])).await.expect("done");
    assert_eq!(done.into_inner().pending, 2);
    let all = service.get_all_elimination_reasons(by_operator(v1::GetReasonsRequest {})).await;
    let all = all.expect("read").into_inner();
    assert_eq!((all.reasons.len(), all.newest_seq), (2, 2));
    let popped = service.pop_elimination_reason(named("alice")).await.expect("popped").into_inner();
    assert_eq!(popped.reason.as_ref(), Some(&all.reasons[0]));
    let popped = service.pop_elimination_reason(named("alice")).await.expect("an answer");
    assert_eq!(popped.into_inner().reason, None);
    service.update_elimination_reasons(reasons(&["carol"])).await.expect("done");
    let clear = |up_to_seq| by_operator(v1::ClearEliminationReasonsRequest { up_to_seq });
    let done = service.clear_elimination_reasons(clear(all.newest_seq)).await.expect("cleared");
    let done = done.into_inner();
    assert_eq!((done.cleared, done.pending), (1, 1), "carol's came after the list was read");
    let has = service.has_elimination_reasons(by_operator(v1::GetReasonsRequest {})).await;
    assert!(has.expect("read").into_inner().has_reasons);
    let refused = service.clear_elimination_reasons(clear(9)).await.expect_err("not made");
    assert_eq!(fault(&refused), (Reason::Refused, Some("up_to_seq".into())));
}

#[tokio::test]
async fn suspects_are_replaced_as_a_whole_and_a_refresh_ranks() {
    let world = World::with_traders(&["alice", "bob"]).await;
    let service = service(&world);
    let list = |names: &[&str], time_ms| {
        let one = |name: &&str| v1::PlagiarismSuspect { trader: (*name).into(), time_ms };
        by_operator(v1::UpdatePlagiarismMinersRequest { suspects: names.iter().map(one).collect() })
    };
    let refused = service.update_plagiarism_miners(list(&["alice"], 0)).await.expect_err("when?");
    let field = Some("suspects[0].time_ms".into());
    assert_eq!(fault(&refused), (Reason::InvalidArgument, field));
    let bucket = async || {
        let bucket = service.get_miner_bucket(named("alice")).await.expect("read");
        bucket.into_inner().bucket.expect("in a bucket")
    };
    let recent = START.0 + 86_000_000;
    service.update_plagiarism_miners(list(&["alice"], recent)).await.expect("taken");
    assert_eq!(bucket().await, "PLAGIARISM");
    service.update_plagiarism_miners(list(&[], 0)).await.expect("taken");
    assert_eq!(bucket().await, "CHALLENGE");
    service.refresh(by_operator(v1::RefreshRequest {})).await.expect("refreshed");
    let scores = service.get_miner_scores(by_operator(v1::GetMinersRequest {})).await;
    assert!(scores.expect("read").into_inner().ranked.is_some());
    let all = service.snapshot(by_operator(v1::SnapshotRequest {})).await.expect("read");
    assert!(all.into_inner().refreshed_ms.is_some());
}

type Replica = BTreeMap<String, v1::Miner>;

fn take(replica: &mut Replica, told: v1::WatchChallengePeriodResponse) {
    if told.reset {
        replica.clear();
    }
    for trader in &told.removed {
        replica.remove(trader);
    }
    replica.extend(told.changed.into_iter().map(|miner| (miner.trader.clone(), miner)));
}

fn copy(view: &View) -> Replica {
    let mut replica = Replica::new();
    take(&mut replica, view::Watched { generation: 7 }.reset(view, None));
    replica
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_copy_that_takes_every_message_equals_the_state_at_every_commit(
        history in history::histories(),
    ) {
        let told = history::run(&history);
        let last = &told.last().expect("a beginning").view;
        for from in 0..told.len() {
            let mut watched = view::Watched { generation: 7 };
            let mut replica = copy(&told[from].view);
            for step in &told[from + 1..] {
                // What is told does not hang on how late the watcher is.
                let message = watched.change(&step.applied, last);
                prop_assert_eq!(&message, &watched.change(&step.applied, &step.view));
                message.into_iter().for_each(|message| take(&mut replica, message));
                prop_assert_eq!(&replica, &copy(&step.view), "{:?}", step.applied.stamp);
            }
        }
    }
}

#[test]
fn a_view_says_in_which_stage_a_trader_is_without_a_service() {
    let told = history::run(&[]);
    let standing = view::standing_of(&told[0].view, &trader("t0"));
    assert_eq!(standing.map(|standing| standing.stage.label()), Some("CHALLENGE"));
}
