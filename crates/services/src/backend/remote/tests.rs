//! A child and its node over loopback: same receipts, lost links, other logs.

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_engine::input::Roster;
use proctor_rpc::internal_v1::sequencer_server::{Sequencer, SequencerServer};
use proctor_rpc::internal_v1::{Durable, FollowRequest, Stale, SubmitReply, SubmitRequest};
use proctor_types::TraderId;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::fold::Announcement;
use proctor_sequencer::Since;

use super::*;
use crate::backend::Freshness as _;
use crate::link::tests::{Node, listen, loopback, secret};

fn settings(node: SocketAddr) -> Settings {
    let stale_after = Duration::from_secs(15);
    Settings { node, service: "prices".into(), secret: secret(1), stale_after }
}

fn opener(
    storage: &Arc<MemoryStorage>,
) -> impl FnOnce(u64) -> Result<Follower, FollowError> + use<> {
    let storage = Arc::<MemoryStorage>::clone(storage);
    move |durable| Follower::open(storage, durable, None)
}

/// Returns a child of `node` that reads its log.
async fn child(node: &Node) -> Remote {
    node.children.admit("prices", &secret(1));
    let random = Box::new(|| 0);
    follow(settings(node.address), random, opener(&node.storage)).await.expect("a child")
}

fn roster(version: u64) -> Input {
    let traders = ["alice", "bob"].map(|name| TraderId::new(name).expect("a name"));
    Input::Roster(Roster::new(version, traders.to_vec()))
}

#[tokio::test]
async fn a_receipt_outside_the_node_is_the_one_that_direct_mode_gives() {
    let node = Node::start().await;
    node.backend.submit(vec![Input::Tick]).await.expect("a receipt");
    let child = child(&node).await;
    assert_eq!(child.views.latest().stamp.commit, 1, "it begins at what is durable");
    // Many at once, so that commits hold inputs of several submissions.
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..200 {
        let (submitter, views) = (Arc::clone(&child.submitter), child.views.clone());
        let direct = node.backend.clone();
        tasks.spawn(async move {
            // The second of two equal rosters is refused by the rules: that is an answer too.
            let inputs = vec![roster(7), Input::Tick, roster(7)];
            let receipt = if round % 3 == 0 {
                direct.submit(inputs).await.expect("a receipt")
            } else {
                let receipt = submitter.submit(inputs).await.expect("a receipt");
                let seen = views.latest().stamp.commit;
                assert!(seen >= receipt.stamp.commit, "what was written is visible");
                receipt
            };
            assert_eq!(receipt.replies.len(), 3);
            assert!(receipt.replies[2].is_err(), "{:?}", receipt.replies);
            receipt
        });
    }
    let mut shared = 0;
    while let Some(receipt) = tasks.join_next().await {
        let receipt = receipt.expect("no panic");
        let since = node.backend.views().since(receipt.stamp.commit - 1, 1);
        let Since::Commits(commits) = since else { panic!("the node forgot its last commits") };
        let applied = &commits[0];
        shared += usize::from(receipt.first > 0);
        let replies = applied.replies[receipt.first..receipt.first + 3].to_vec();
        let (stamp, digest) = (applied.stamp, applied.digest);
        let (events, ends) = (Arc::clone(&applied.events), Arc::clone(&applied.ends));
        assert_eq!(receipt, Receipt { stamp, digest, first: receipt.first, replies, events, ends });
    }
    assert!(shared > 0, "some submissions shared a commit");
    node.kill();
}

#[tokio::test]
async fn x_21_who_gives_up_leaves_nothing_behind_that_others_wait_for() {
    let node = Node::start().await;
    let child = child(&node).await;
    for _ in 0..100 {
        drop(child.submitter.submit(vec![Input::Tick]));
    }
    let receipt = child.submitter.submit(vec![Input::Tick]).await.expect("a receipt");
    assert!(receipt.stamp.commit >= 1);
    // Dropping an answer does not take the submission back.
    let committed = || {
        let Since::Commits(commits) = node.backend.views().since(0, 1_000) else {
            panic!("the node forgot its last commits")
        };
        commits.iter().map(|applied| applied.replies.len()).sum::<usize>()
    };
    loop {
        let changed = node.backend.views().changed();
        if committed() == 101 {
            break;
        }
        let soon = tokio::time::timeout(Duration::from_secs(60), changed);
        soon.await.expect("all 101 are committed");
    }
    node.kill();
}

/// A node that announces `commit` and never answers a submission.
struct Mute {
    commit: u64,
    taken: mpsc::Sender<()>,
}

#[tonic::async_trait]
impl Sequencer for Mute {
    type SubmitStream = ReceiverStream<Result<SubmitReply, Status>>;
    type FollowStream = ReceiverStream<Result<Durable, Status>>;

    async fn submit(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let (replies, stream) = mpsc::channel(1);
        let taken = self.taken.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(_)) = requests.message().await {
                taken.send(()).await.expect("the test listens");
            }
            drop(replies);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn follow(
        &self,
        _: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let (sender, stream) = mpsc::channel(1);
        let commit = self.commit;
        tokio::spawn(async move {
            let durable = Durable { commit, ..Durable::default() };
            while sender.send(Ok(durable.clone())).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tokio::test]
async fn a_lost_link_is_told_to_those_who_wait_and_comes_back_by_itself() {
    let node = Node::start().await;
    node.backend.submit(vec![Input::Tick]).await.expect("a receipt");
    let (storage, _) = node.kill();
    let (taken, mut takes) = mpsc::channel(1);
    let mute = SequencerServer::new(Mute { commit: 1, taken });
    let (runtime, address) = listen(loopback(), Server::builder().add_service(mute)).await;
    let random = Box::new(|| 0);
    let child = follow(settings(address), random, opener(&storage)).await.expect("a child");
    let waiting = child.submitter.submit(vec![Input::Tick]);
    let waiting = async {
        takes.recv().await.expect("it was taken");
        // The node is killed between taking it and answering.
        runtime.shutdown_background();
        waiting.await
    };
    let problem = waiting.await.expect_err("the node is gone");
    assert_eq!(problem.reason, Reason::Unavailable);
    assert_eq!(problem.code.as_deref(), Some("unknown_outcome"), "{problem}");
    let problem = child.submitter.submit(vec![Input::Tick]).await.expect_err("no node");
    assert_eq!(problem.code.as_deref(), Some("disconnected"), "{problem}");
    child.confirmed.check().expect("what is shown was confirmed just now");
    // The node is started again on the same log and port, and knows the child.
    let node = Node::on(storage, address).await;
    node.children.admit("prices", &secret(1));
    let receipt = loop {
        match child.submitter.submit(vec![Input::Tick]).await {
            Ok(receipt) => break receipt,
            // The node admits the child after it listens, so the first call may come too early.
            Err(problem) => assert_eq!(problem.code.as_deref(), Some("disconnected"), "{problem}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(receipt.stamp.commit, 2);
    assert_eq!(node.backend.views().latest().digest, child.views.latest().digest);
    node.kill();
}

#[tokio::test]
async fn a_node_that_stops_is_no_longer_written_to() {
    let node = Node::start().await;
    let child = child(&node).await;
    node.close();
    let mut draining = child.draining.clone();
    draining.wait_for(|draining| *draining).await.expect("the child lives");
    let problem = child.submitter.submit(vec![Input::Tick]).await.expect_err("stopping");
    assert_eq!(problem.code.as_deref(), Some("stopping"));
    node.kill();
}

#[tokio::test]
async fn a_log_that_is_another_one_or_damaged_ends_the_child_with_the_reason() {
    // Replaced by an empty one.
    let node = Node::start().await;
    node.backend.submit(vec![Input::Tick]).await.expect("a receipt");
    let followed = child(&node).await;
    let (storage, address) = node.kill();
    let other = Node::on(Arc::new(MemoryStorage::new()), address).await;
    other.children.admit("prices", &secret(1));
    let error = followed.failed().await;
    // The new node may be asked before it admits the child: it does not know it then.
    assert!(
        matches!(*error, RemoteError::WentBack { announced: 0, before: 1 })
            || matches!(*error, RemoteError::Refused { .. }),
        "{error}"
    );
    other.kill();
    // Shorter than announced, and damaged.
    let mut files = storage.files();
    let (_, bytes) = files.iter_mut().next().expect("a segment");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("a record");
    bytes[written] ^= 1;
    let damaged = Arc::new(MemoryStorage::with_files(files));
    for (storage, name) in [(Arc::new(MemoryStorage::new()), "empty"), (damaged, "damaged")] {
        let (taken, _takes) = mpsc::channel(1);
        let mute = SequencerServer::new(Mute { commit: 1, taken });
        let (runtime, address) = listen(loopback(), Server::builder().add_service(mute)).await;
        let error = follow(settings(address), Box::new(|| 0), opener(&storage)).await;
        let error = error.expect_err(name);
        assert!(matches!(error, RemoteError::Follow(_)), "{name}: {error}");
        runtime.shutdown_background();
    }
}

#[tokio::test]
async fn a_process_that_the_node_has_not_started_is_told_so() {
    let node = Node::start().await;
    node.children.admit("prices", &secret(2));
    let error = follow(settings(node.address), Box::new(|| 0), opener(&node.storage)).await;
    let error = error.expect_err("another secret");
    assert!(matches!(error, RemoteError::Refused { .. }), "{error}");
    assert!(!error.to_string().contains(secret(1).expose()));
    node.kill();
}

/// Waits until the thread of `confirmed` has confirmed within `age`.
async fn confirmed_within(confirmed: &Confirmed, age: Duration) {
    while confirmed.age() > age {
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn x_19_views_are_vouched_for_until_the_node_has_been_silent_for_too_long() {
    let node = Node::start().await;
    node.backend.submit(vec![Input::Tick]).await.expect("a receipt");
    let follower = Follower::open(node.storage.clone(), 1, None).expect("a log");
    let (failed, failure) = watch::channel(None);
    let limit = Duration::from_secs(15);
    let (confirmed, announcements) = fold::start(follower, limit, failed, failure.clone());
    confirmed.check().expect("fresh");
    tokio::time::advance(limit).await;
    confirmed.check().expect("just within the limit");
    tokio::time::advance(Duration::from_millis(1)).await;
    let problem = confirmed.check().expect_err("beyond it");
    assert_eq!(problem.reason, Reason::Stale);
    assert!(problem.message.contains("15.0 s"), "{problem}");
    // The node is heard of again.
    let heard = |commit| Announcement { commit, at: tokio::time::Instant::now() };
    announcements.tell(heard(1), None);
    confirmed_within(&confirmed, Duration::ZERO).await;
    confirmed.check().expect("fresh again");
    // A node that does not vouch for its own state lets no child vouch for it.
    let behind = Stale { code: "behind".into(), message: "at 1 of 9".into() };
    announcements.tell(heard(1), Some(behind));
    let problem = confirmed.check().expect_err("as the node");
    assert_eq!((problem.reason, problem.code.as_deref()), (Reason::Stale, Some("behind")));
    assert_eq!(problem.message, "at 1 of 9");
    announcements.tell(heard(1), None);
    confirmed.check().expect("as the node");
    // An announcement that the log does not hold confirms nothing and ends the service.
    announcements.tell(heard(9), None);
    let mut failure = failure;
    failure.wait_for(Option::is_some).await.expect("it says so");
    tokio::time::advance(limit * 2).await;
    let problem = confirmed.check().expect_err("cannot go on");
    assert!(problem.message.contains("commit 9 was announced"), "{problem}");
    node.kill();
}
