//! Followers: they fetch, follow pushes, forward inputs, and stop without a trace.

use proctor_network::frame::Frame;
use proctor_network::{Chain as _, PeerRow, SubmitError};
use proctor_p2p::message::{INLINE_BODY_BYTES_MAX, Outcome, Submission};
use proctor_p2p::peers::address::{Endpoint, PeerAddress};
use proctor_p2p::peers::policy::{Bye, Direction};
use proctor_p2p::peers::rules::Mode;
use proctor_p2p::{Answer, Failure, Request};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::chain::{identity, node_id};
use crate::node::{PATIENCE, TestNode, until};
use crate::stranger::{Stranger, up_to};

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
    settings.rules.mode = Mode::CommitteeOnly;
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
    let chain = crate::chain::MemoryChain::new(&identity(1), false);
    *chain.breaks_after.lock().unwrap() = Some(10);
    let settings = crate::node::settings(2, &[&sequencer]);
    let follower = TestNode::start_of(2, chain, settings).await;
    let status = follower.until("halted", |status| status.halted.is_some()).await;
    assert_eq!(status.halted, Some(proctor_p2p::sync::Halt::StoreFailed));
    assert_eq!(status.peers.len(), 1);
    follower.network.stop().await;
    sequencer.network.stop().await;
}

/// Opposite dials: that of the greater key stays, unless one end has restarted in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_has_restarted_is_told_from_a_second_dial_of_the_same_process() {
    for restarts in [false, true] {
        // Numbers for whose keys the node's own dial stays.
        let node = node_id(&identity(2));
        let number = (40..80).find(|n| node_id(&identity(*n)) < node).unwrap();
        let listener =
            TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 1, number), 0)).await.unwrap();
        let mut settings = crate::node::settings(2, &[]);
        let at = listener.local_addr().unwrap();
        let endpoint = Endpoint::Ip(PeerAddress { ip: at.ip(), port: at.port() });
        settings.rules.fixed.insert(node_id(&identity(number)), vec![endpoint]);
        let follower = TestNode::start_with(2, 0, settings).await;
        let mut dialled = Stranger::accept(number, &listener).await;
        dialled.greet(up_to(None)).await;
        let outbound = |row: &PeerRow| row.direction == Direction::Outbound;
        follower.until("dialled", |status| status.peers.iter().any(outbound)).await;
        let mut dials = Stranger::connect(number, follower.address(), follower.id).await;
        dials.instance = if restarts { 2 } else { 1 };
        dials.greet(up_to(None)).await;
        let (gone, stays) =
            if restarts { (&mut dialled, &mut dials) } else { (&mut dials, &mut dialled) };
        let bye = gone.read_to_end().await;
        assert_eq!(bye, Some(Frame::Bye(Bye::Duplicate)), "restarted: {restarts}");
        stays.send(&Frame::Ping(9)).await;
        let pong = stays.read_until(|frame| matches!(frame, Frame::Pong(9))).await;
        assert!(pong.is_some(), "restarted: {restarts}");
        follower.network.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_start_of_a_node_has_an_instance_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in [1, 2, 3] {
        let settings =
            proctor_network::Settings { seed: Some(seed), ..crate::node::settings(2, &[]) };
        let node = TestNode::start_with(2, 0, settings).await;
        let mut stranger = Stranger::connect(50, node.address(), node.id).await;
        stranger.greet(up_to(None)).await;
        let hello = stranger.read_until(|frame| matches!(frame, Frame::Hello(_))).await;
        let Some(Frame::Hello(hello)) = hello else { panic!("no hello") };
        seen.insert(hello.instance);
        node.network.stop().await;
    }
    assert_eq!(seen.len(), 3);
}

/// A short body travels with its push: nothing is asked for. A long one costs one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_commit_with_a_short_body_saves_the_round_trip() {
    const COMMITS: u64 = 30;
    let asked = |status: &proctor_network::Status| {
        let counters = &status.counters;
        counters.answered + counters.expired + counters.cancelled + counters.peer_gone
    };
    let mut trips = Vec::new();
    for len in [INLINE_BODY_BYTES_MAX, INLINE_BODY_BYTES_MAX + 1] {
        let sequencer = TestNode::start(1, 3, &[]).await;
        let follower = TestNode::start(2, 0, &[&sequencer]).await;
        // Not far behind any more, so that pushes come.
        follower.until_applied(3).await;
        let before = asked(&follower.network.status());
        for number in 0..COMMITS {
            let mut body = vec![7; len];
            body[..8].copy_from_slice(&number.to_be_bytes());
            follower.until_applied(sequencer.chain.produce(body)).await;
        }
        assert_eq!(follower.chain.state(), sequencer.chain.state(), "V5");
        trips.push(asked(&follower.network.status()) - before);
        let bodies = sequencer.network.status().counters.pushed_bodies;
        assert_eq!(bodies > 0, len <= INLINE_BODY_BYTES_MAX, "{bodies}");
        follower.network.stop().await;
        sequencer.network.stop().await;
    }
    println!(
        "{COMMITS} commits: {} requests with bodies in pushes, {} without",
        trips[0], trips[1]
    );
    // A status that comes in between may ask for one that is on its way.
    assert!(trips[0] <= 3 && trips[1] >= COMMITS, "{trips:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_goes_from_follower_to_follower_to_the_sequencer_and_its_outcome_back() {
    let sequencer = TestNode::start(1, 3, &[]).await;
    let near = TestNode::start(2, 0, &[&sequencer]).await;
    near.until("the sequencer", |status| status.peers.len() == 1).await;
    // Who is denied is not met by discovery either: each knows the next one only.
    let start_far = |number: u8, follows: &TestNode, denied: &[&TestNode]| {
        let mut settings = crate::node::settings(number, &[follows]);
        denied.iter().for_each(|node| settings.rules.deny.deny_key(node.id).unwrap());
        TestNode::start_with(number, 0, settings)
    };
    let far = start_far(3, &near, &[&sequencer]).await;
    let farthest = start_far(4, &far, &[&sequencer, &near]).await;
    farthest.until("a peer", |status| status.peers.len() == 1).await;
    far.until("both", |status| status.peers.len() == 2).await;
    let outcome = farthest.network.submit(b"over two".to_vec()).await;
    assert_eq!(outcome, Ok(Outcome::Committed { height: 4, ordinal: 0 }));
    // Once, and from the node that is next to the sequencer.
    let inputs = sequencer.chain.inputs.lock().unwrap().clone();
    assert_eq!(inputs, [(near.id, b"over two".to_vec())]);
    farthest.until_applied(4).await;
    // What the sequencer says is what comes back, whatever it is.
    let outcome = farthest.network.submit(b"lose".to_vec()).await;
    assert!(matches!(outcome, Err(SubmitError::Failed(Failure::Busy(_)))), "{outcome:?}");
    // Without the sequencer nobody knows a way: each asks the others at most, and says so.
    sequencer.network.stop().await;
    near.until("alone", |status| status.peers.iter().all(|row| row.peer != sequencer.id)).await;
    let outcome = farthest.network.submit(b"nowhere".to_vec()).await;
    assert_eq!(outcome, Err(SubmitError::NoValidator));
    for node in [farthest, far, near] {
        node.network.stop().await;
    }
}

/// Nodes that know nobody but each other in a ring: an input goes round until its hops are used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_does_not_go_round_in_circles_and_keeps_its_deadline() {
    let first = TestNode::start(2, 0, &[]).await;
    let second = TestNode::start(3, 0, &[&first]).await;
    let third = TestNode::start(4, 0, &[&second, &first]).await;
    for node in [&first, &second, &third] {
        node.until("the others", |status| status.peers.len() == 2).await;
    }
    let submitted = || -> u64 {
        [&first, &second, &third].iter().map(|n| n.network.status().counters.submitted).sum()
    };
    let outcome = first.network.submit(b"round and round".to_vec()).await;
    assert_eq!(outcome, Err(SubmitError::NoValidator));
    assert!(submitted() <= 31, "two tries at each of four hops: {}", submitted());
    // A peer that takes the input and says nothing: who asked is told that it is not known.
    let mut silent = Stranger::connect(60, first.address(), first.id).await;
    silent.greet(up_to(None)).await;
    silent.read_until(|frame| matches!(frame, Frame::Hello(_))).await;
    let request = Request::SubmitInput(Submission { hops: 0, within_ms: 5_000, input: vec![1] });
    silent.send(&Frame::Request { id: 1, request }).await;
    let answer = silent.read_until(|frame| matches!(frame, Frame::Answer { id: 1, .. })).await;
    let Some(Frame::Answer { answer, last: true, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(answer, Answer::Failed(Failure::NotHere), "no hop is left");
    for node in [first, second, third] {
        node.network.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_does_not_come_in_time_is_unknown_to_all_on_the_way() {
    let listener = TcpListener::bind("127.0.1.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let mut settings = crate::node::settings(2, &[]);
    let endpoint = Endpoint::Ip(PeerAddress { ip: at.ip(), port: at.port() });
    // The sequencer, which takes inputs and never answers.
    settings.rules.fixed.insert(node_id(&identity(1)), vec![endpoint]);
    let near = TestNode::start_with(2, 0, settings).await;
    let mut sequencer = Stranger::accept(1, &listener).await;
    sequencer.greet(up_to(None)).await;
    near.until("the sequencer", |status| status.peers.len() == 1).await;
    let mut far = Stranger::connect(60, near.address(), near.id).await;
    far.greet(up_to(None)).await;
    let request = Request::SubmitInput(Submission { hops: 2, within_ms: 1_500, input: vec![1] });
    far.send(&Frame::Request { id: 1, request }).await;
    let passed = sequencer
        .read_until(|frame| {
            matches!(frame, Frame::Request { request: Request::SubmitInput(_), .. })
        })
        .await;
    let Some(Frame::Request { request: Request::SubmitInput(passed), .. }) = passed else {
        panic!("it was not passed on")
    };
    assert_eq!((passed.hops, passed.within_ms, passed.input), (2, 1_000, vec![1]));
    let answer = far.read_until(|frame| matches!(frame, Frame::Answer { id: 1, .. })).await;
    let Some(Frame::Answer { answer, .. }) = answer else { panic!("no answer") };
    assert_eq!(answer, Answer::Failed(Failure::Unknown));
    near.network.stop().await;
}
