//! Followers: they fetch, follow pushes, forward inputs, and stop without a trace.

use proctor_network::{Chain as _, SubmitError};
use proctor_p2p::Failure;
use proctor_p2p::message::Outcome;
use proctor_p2p::peers::policy::Direction;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::node::{PATIENCE, TestNode, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_fetches_five_thousand_commits_and_then_follows_pushes() {
    let sequencer = TestNode::start(1, 5_000, &[]).await;
    let follower = TestNode::start(2, 0, &[&sequencer]).await;
    follower.until_applied(5_000).await;
    assert_eq!(follower.chain.state(), sequencer.chain.state(), "V5");
    // From now on every commit is pushed; a status comes only every five seconds.
    for number in 0..200 {
        sequencer.chain.produce(format!("live {number}").into_bytes());
        if number % 20 == 0 {
            follower.until_applied(sequencer.chain.height()).await;
        }
    }
    follower.until_applied(5_200).await;
    assert_eq!(follower.chain.state(), sequencer.chain.state(), "V5");
    let status = follower.network.status();
    assert_eq!((status.gap(), status.halted.clone(), status.reason), (0, None, None));
    let [row] = status.peers.as_slice() else { panic!("{:?}", status.peers) };
    assert_eq!((row.peer, row.direction, row.trust), (sequencer.id, Direction::Outbound, 100));
    assert!(row.bytes_in > 5_000 * 150, "headers alone are more than {} bytes", row.bytes_in);
    let seen = sequencer.network.status();
    assert_eq!(seen.peers.len(), 1);
    assert!(seen.counters.pushes > 0, "{:?}", seen.counters);
    assert_eq!((seen.bans.len(), status.bans.len()), (0, 0), "V11");
    follower.network.stop().await;
    sequencer.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_knows_no_sequencer_fetches_from_another_follower() {
    let sequencer = TestNode::start(1, 300, &[]).await;
    let near = TestNode::start(2, 0, &[&sequencer]).await;
    near.until_applied(300).await;
    let mut settings = crate::node::settings(3, &[&near]);
    settings.rules.mode = proctor_p2p::peers::rules::Mode::CommitteeOnly;
    let far = TestNode::start_with(3, 0, settings).await;
    far.until_applied(300).await;
    let height = sequencer.chain.produce(b"news".to_vec());
    far.until_applied(height).await;
    assert_eq!(far.chain.state(), sequencer.chain.state());
    for node in [far, near, sequencer] {
        node.network.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v12_after_a_stop_no_task_is_left_and_the_port_is_free() {
    let before = Handle::current().metrics().num_alive_tasks();
    let sequencer = TestNode::start(1, 2_000, &[]).await;
    let follower = TestNode::start(2, 0, &[&sequencer]).await;
    // In the middle of the work.
    follower.until("some commits", |status| status.marks.stored > 0).await;
    let (address, chain) = (follower.address(), follower.chain.clone());
    let mut watch = follower.network.watch();
    follower.network.stop().await;
    let status = until(&mut watch, "over", |status| status.is_over).await;
    assert_eq!((status.tasks, status.listening), (0, None));
    let stored = chain.height();
    TcpListener::bind(address).await.expect("the port is free");
    // The sequencer was told, and is not left with a dead connection.
    sequencer.until("alone", |status| status.peers.is_empty()).await;
    sequencer.network.stop().await;
    assert_eq!(chain.height(), stored, "nothing is written after the stop");
    // The task that has just told its result is counted for a moment more.
    let left = async {
        while Handle::current().metrics().num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("R17: tasks are left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_restarts_goes_on_where_it_was() {
    let sequencer = TestNode::start(1, 600, &[]).await;
    let follower = TestNode::start(2, 0, &[&sequencer]).await;
    follower.until_applied(600).await;
    let chain = follower.chain.clone();
    let mut settings = crate::node::settings(2, &[&sequencer]);
    settings.listen = follower.network.address();
    follower.network.stop().await;
    let height = sequencer.chain.produce(b"while it was away".to_vec());
    assert_eq!(chain.start().applied, 600);
    let follower = TestNode::start_of(2, chain, settings).await;
    follower.until_applied(height).await;
    follower.network.stop().await;
    sequencer.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_forwards_inputs_and_each_has_one_outcome() {
    let sequencer = TestNode::start(1, 3, &[]).await;
    let lonely = TestNode::start(3, 0, &[]).await;
    let outcome = lonely.network.submit(b"x".to_vec()).await;
    assert_eq!(outcome, Err(SubmitError::NoValidator));
    let follower = TestNode::start(2, 0, &[&sequencer]).await;
    follower.until("a peer", |status| status.peers.len() == 1).await;
    let outcome = follower.network.submit(b"forwarded".to_vec()).await;
    assert_eq!(outcome, Ok(Outcome::Committed { height: 4, ordinal: 0 }));
    let outcome = sequencer.network.submit(b"own".to_vec()).await;
    assert_eq!(outcome, Ok(Outcome::Committed { height: 5, ordinal: 0 }));
    let inputs = sequencer.chain.inputs.lock().unwrap().clone();
    let expected = [(follower.id, b"forwarded".to_vec()), (sequencer.id, b"own".to_vec())];
    assert_eq!(inputs, expected);
    // An outcome that is dropped, and a sequencer that panics, are answers too (R11).
    for input in [b"lose".to_vec(), b"panic".to_vec()] {
        let outcome = follower.network.submit(input).await;
        assert!(matches!(outcome, Err(SubmitError::Failed(Failure::Busy(_)))), "{outcome:?}");
    }
    sequencer.until("a panic", |status| status.counters.task_panics == 1).await;
    let outcome = follower.network.submit(vec![0; 1 << 20]).await;
    assert_eq!(outcome, Err(SubmitError::TooLong(1 << 20)));
    follower.until_applied(5).await;
    for node in [lonely, follower, sequencer] {
        node.network.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_a_disk_that_fails_stops_the_following_and_nothing_else() {
    let sequencer = TestNode::start(1, 600, &[]).await;
    let chain = crate::chain::MemoryChain::new(&crate::chain::identity(1), false);
    *chain.breaks_after.lock().unwrap() = Some(10);
    let settings = crate::node::settings(2, &[&sequencer]);
    let follower = TestNode::start_of(2, chain, settings).await;
    let status = follower.until("halted", |status| status.halted.is_some()).await;
    assert_eq!(status.halted, Some(proctor_p2p::sync::Halt::StoreFailed));
    assert_eq!(status.peers.len(), 1);
    follower.network.stop().await;
    sequencer.network.stop().await;
}
