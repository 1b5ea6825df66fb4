//! F16, R11: a task that panics is counted, and harms what it was for and nothing else.

use crate::chain::{MemoryChain, identity};
use crate::node::{TestNode, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_reads_that_panic_cost_an_answer_and_the_follower_asks_again() {
    let sequencer = TestNode::start(1, 600, &[]).await;
    sequencer.chain.panics.lock().unwrap().reads = 2;
    let follower = TestNode::start(2, 0, &[&sequencer]).await;
    follower.until_applied(600).await;
    let status = sequencer.until("two panics", |status| status.counters.task_panics == 2).await;
    assert_eq!(status.halted, None);
    let status = follower.until("its peer", |status| status.peers.len() == 1).await;
    assert_eq!(status.counters.task_panics, 0);
    // What comes afterwards is served as before.
    let height = sequencer.chain.produce(b"after the panics".to_vec());
    follower.until_applied(height).await;
    follower.network.stop().await;
    sequencer.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_store_that_panics_stops_the_following_and_neither_the_node_nor_its_peers() {
    let sequencer = TestNode::start(1, 600, &[]).await;
    let chain = MemoryChain::new(&identity(1), false);
    chain.panics.lock().unwrap().stores = 1;
    let follower = TestNode::start_of(2, chain, settings(2, &[&sequencer])).await;
    let status = follower.until("halted", |status| status.halted.is_some()).await;
    assert_eq!(status.halted, Some(proctor_p2p::sync::Halt::StoreFailed));
    assert_eq!(status.counters.task_panics, 1);
    assert_eq!(follower.chain.height(), 0, "nothing is stored after it");
    // The sequencer goes on, and another follower is served.
    let other = TestNode::start(3, 0, &[&sequencer]).await;
    other.until_applied(600).await;
    for node in [other, follower, sequencer] {
        node.network.stop().await;
    }
}
