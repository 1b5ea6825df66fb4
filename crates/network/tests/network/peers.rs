//! Peers: nodes find each other through a third, and bans outlive a restart.

use crate::node::{TestNode, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_finds_all_nodes_through_the_one_that_it_knows() {
    let sequencer = TestNode::start(1, 30, &[]).await;
    let one = TestNode::start(2, 0, &[&sequencer]).await;
    one.until("the sequencer", |status| status.peers.len() == 1).await;
    let other = TestNode::start(3, 0, &[&sequencer, &one]).await;
    // Only what it has proved itself is told to others; who asks before asks again a minute later.
    other.until("tried", |status| status.book.tried >= 2).await;
    let third = TestNode::start(4, 0, &[&other]).await;
    third
        .until("all three", |status| {
            [sequencer.id, one.id, other.id]
                .iter()
                .all(|peer| status.peers.iter().any(|row| row.peer == *peer))
        })
        .await;
    third.until_applied(30).await;
    for node in [third, other, one, sequencer] {
        node.network.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bans_outlive_a_restart_and_are_lifted_by_the_operator() {
    let directory = tempfile::tempdir().unwrap();
    let sequencer = TestNode::start(1, 5, &[]).await;
    let stored = |number, follow: &[&TestNode]| {
        let mut settings = settings(number, follow);
        settings.store = Some(directory.path().join("peers"));
        settings
    };
    let follower = TestNode::start_with(2, 0, stored(2, &[&sequencer])).await;
    follower.until_applied(5).await;
    follower.network.ban(sequencer.id, 600_000, "a test".into()).await.unwrap();
    let banned = |status: &proctor_network::Status| {
        status.peers.is_empty() && status.bans.iter().any(|ban| ban.by_operator)
    };
    follower.until("cut", banned).await;
    follower.network.stop().await;
    let follower = TestNode::start_with(2, 0, stored(2, &[&sequencer])).await;
    follower.until("still banned", banned).await;
    follower.network.unban(sequencer.id).await.unwrap();
    follower.network.dial(sequencer.id, None).await.unwrap();
    follower.until_applied(5).await;
    follower.network.stop().await;
    sequencer.network.stop().await;
}
