//! Whole shells in virtual time, on pipes: partitions, simultaneous dials, slow readers, churn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proctor_network::{Settings, Status};
use proctor_p2p::NodeId;
use proctor_p2p::peers::dice::Dice;
use proctor_p2p::peers::policy::Direction;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::chain::{MemoryChain, identity, node_id};
use crate::node::{TestNode, endpoint, settings};
use crate::pipes::World;

/// Settings of node `number`, which has to do with the nodes `fixed`.
fn following(number: u8, fixed: &[u8]) -> Settings {
    let mut settings = settings(number, &[]);
    for other in fixed {
        settings.rules.fixed.insert(node_id(&identity(*other)), vec![endpoint(*other)]);
    }
    settings
}

/// Starts the sequencer, node 1, with some history.
async fn sequencer(world: &World, commits: u64) -> TestNode {
    let chain = MemoryChain::new(&identity(1), true);
    chain.grow(commits);
    TestNode::start_in(world, 1, chain, following(1, &[])).await
}

async fn follower(world: &World, number: u8, fixed: &[u8]) -> TestNode {
    let chain = MemoryChain::new(&identity(1), false);
    TestNode::start_in(world, number, chain, following(number, fixed)).await
}

async fn stop(nodes: impl IntoIterator<Item = TestNode>) {
    for node in nodes {
        node.network.stop().await;
    }
}

/// With whom a node could speak since when: a peer that stands there twice was lost in between.
type Seen = BTreeMap<NodeId, BTreeSet<Instant>>;

/// Notes everything that the status of a node ever says of its peers, until the node stops.
fn watch(node: &TestNode) -> JoinHandle<Seen> {
    let mut watch = node.network.watch();
    tokio::spawn(async move {
        let mut seen = Seen::new();
        loop {
            for row in &watch.borrow_and_update().peers {
                seen.entry(row.peer).or_default().insert(row.since);
            }
            if watch.changed().await.is_err() {
                return seen;
            }
        }
    })
}

fn nobody_is_banned(nodes: &[TestNode]) {
    for node in nodes {
        let status = node.network.status();
        assert_eq!((status.bans.as_slice(), status.counters.bans), (&[][..], 0), "V11");
        assert_eq!(status.counters.task_panics, 0);
    }
}

fn has(status: &Status, peer: NodeId) -> bool {
    status.peers.iter().any(|row| row.peer == peer)
}

fn connections(status: &Status) -> usize {
    status.peers.len() + status.conns.pending_in + status.conns.pending_out + status.conns.draining
}

#[tokio::test(start_paused = true)]
async fn f1_a_part_that_is_cut_off_loses_nothing_and_goes_on_when_the_network_is_whole_again() {
    // Shorter than it takes to find out, and longer.
    for (seed, seconds) in [(1, 5), (2, 30), (3, 90)] {
        let world = World::new(seed, 40);
        let mut nodes = vec![sequencer(&world, 500).await];
        for number in 2..=5 {
            nodes.push(follower(&world, number, &[1]).await);
        }
        for node in &nodes {
            node.until_applied(500).await;
        }
        let watched = watch(&nodes[4]);
        world.part(&[1, 2, 3], &[4, 5]);
        let parted = Instant::now();
        while parted.elapsed() < Duration::from_secs(seconds) {
            nodes[0].chain.produce(parted.elapsed().as_millis().to_be_bytes().to_vec());
            sleep(Duration::from_millis(200)).await;
        }
        let newest = nodes[0].chain.height();
        assert!(newest > 500);
        for node in &nodes[1..3] {
            node.until_applied(newest).await;
        }
        for node in &nodes[3..] {
            assert_eq!(node.chain.height(), 500, "nothing passes, and nothing is lost");
        }
        world.heal();
        let healed = Instant::now();
        for node in &nodes {
            node.until_applied(newest).await;
            assert_eq!(node.chain.state(), nodes[0].chain.state(), "V5");
        }
        let first = nodes[0].id;
        for node in &nodes[1..] {
            node.until("the sequencer", |status| has(status, first)).await;
        }
        // The longest wait between two dials of a required peer, and a dial that hangs.
        assert!(healed.elapsed() < Duration::from_secs(70), "{seconds}: {:?}", healed.elapsed());
        let newest = nodes[0].chain.produce(b"after".to_vec());
        for node in &nodes {
            node.until_applied(newest).await;
        }
        nobody_is_banned(&nodes);
        stop(nodes).await;
        // A short silence ends no connection, a long one does so once.
        let since = watched.await.unwrap().remove(&first).unwrap();
        let ends = if seconds == 5 { 0 } else { 1 };
        assert_eq!(since.len(), 1 + ends, "after {seconds} s: {since:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f15_of_simultaneous_dials_the_one_of_the_greater_key_stays_and_nothing_flaps() {
    let greater = if node_id(&identity(2)) > node_id(&identity(3)) { 2 } else { 3 };
    let mut ties = 0;
    for seed in 0..12 {
        // From nearly none to more than a handshake needs otherwise.
        let world = World::new(seed, 2 + 25 * seed);
        let nodes = [follower(&world, 2, &[3]).await, follower(&world, 3, &[2]).await];
        let watched = nodes.each_ref().map(watch);
        for node in &nodes {
            node.until("a peer", |status| status.peers.len() == 1).await;
        }
        sleep(Duration::from_secs(120)).await;
        let made = world.made(2, 3) + world.made(3, 2);
        assert!((1..=2).contains(&made), "seed {seed}: {made} connections were made");
        for (number, node) in (2..).zip(&nodes) {
            let status = node.network.status();
            assert_eq!(connections(&status), 1, "seed {seed}: {:?}", status.conns);
            if made == 2 {
                let expected =
                    if number == greater { Direction::Outbound } else { Direction::Inbound };
                assert_eq!(status.peers[0].direction, expected, "seed {seed}, node {number}");
            }
        }
        ties += u64::from(made == 2);
        nobody_is_banned(&nodes);
        stop(nodes).await;
        for watched in watched {
            let seen = watched.await.unwrap();
            assert!(seen.values().all(|since| since.len() == 1), "seed {seed}: {seen:?}");
        }
    }
    assert!(ties >= 6, "only {ties} ties");
}

#[tokio::test(start_paused = true)]
async fn f2_what_waits_for_a_slow_reader_is_bounded_and_the_others_do_not_wait_for_it() {
    const BODY_BYTES: usize = 16 << 10;
    // A read of the store that is under way when the mark is reached, and what is small.
    const WAITING_MAX: u64 = (1 << 20) + (2 << 20) + (1 << 20);
    let world = World::new(7, 20);
    // Enough for a keep-alive, not for what it asks for.
    world.narrow(1, 4, 16 << 10);
    let mut nodes = vec![sequencer(&world, 1).await];
    for number in 2..=4 {
        // Nobody but the sequencer, so that the slow one gets nothing in another way.
        let mut settings = following(number, &[1]);
        settings.rules.mode = proctor_p2p::peers::rules::Mode::CommitteeOnly;
        let chain = MemoryChain::new(&identity(1), false);
        nodes.push(TestNode::start_in(&world, number, chain, settings).await);
    }
    nodes[0].until("everybody", |status| status.peers.len() == 3).await;
    let slow = nodes[3].id;
    let (mut most, mut slowest) = (0, Duration::ZERO);
    for number in 0..600_u64 {
        let mut body = vec![0; BODY_BYTES];
        body[..8].copy_from_slice(&number.to_be_bytes());
        let height = nodes[0].chain.produce(body);
        let begun = Instant::now();
        for node in &nodes[1..3] {
            node.until_applied(height).await;
        }
        slowest = slowest.max(begun.elapsed());
        let status = nodes[0].network.status();
        let row = status.peers.iter().find(|row| row.peer == slow);
        most = most.max(row.map_or(0, |row| row.bytes_waiting));
        sleep(Duration::from_millis(100)).await;
    }
    assert!(slowest < Duration::from_secs(2), "the others waited for {slowest:?}");
    assert!(most <= WAITING_MAX, "{most} bytes waited");
    let behind = nodes[0].chain.height() - nodes[3].chain.height();
    assert!(behind > 100, "it is a slow one: {behind}");
    assert!(nodes[3].chain.height() > 1, "it gets on all the same");
    nobody_is_banned(&nodes);
    stop(nodes).await;
}

#[tokio::test(start_paused = true)]
async fn f15_of_churn_each_restart_costs_a_peer_one_reconnect_and_nobody_is_banned() {
    const FOLLOWERS: u8 = 10;
    const MINUTES: u64 = 6;
    let world = World::new(11, 30);
    let mut dice = Dice::new(11);
    let mut nodes = vec![sequencer(&world, 300).await];
    let mut watched = Vec::new();
    for number in 2..2 + FOLLOWERS {
        nodes.push(follower(&world, number, &[1]).await);
    }
    watched.extend(nodes.iter().map(|node| (node.id, Instant::now(), watch(node))));
    let mut restarts: BTreeMap<NodeId, Vec<Instant>> = BTreeMap::new();
    for _ in 0..MINUTES {
        let minute = Instant::now();
        let chosen = dice.sample((1..=usize::from(FOLLOWERS)).collect(), 3);
        for place in chosen {
            sleep(Duration::from_millis(500 + dice.below(15_000))).await;
            let number = u8::try_from(place + 1).unwrap();
            let chain = Arc::clone(&nodes[place].chain);
            nodes[place].network.stop().await;
            restarts.entry(nodes[place].id).or_default().push(Instant::now());
            sleep(Duration::from_millis(dice.below(3_000))).await;
            nodes[0].chain.produce(restarts.len().to_be_bytes().to_vec());
            let settings = following(number, &[1]);
            nodes[place] = TestNode::start_in(&world, number, chain, settings).await;
            watched.push((nodes[place].id, Instant::now(), watch(&nodes[place])));
        }
        tokio::time::sleep_until(minute + Duration::from_secs(60)).await;
        let newest = nodes[0].chain.produce(minute.elapsed().as_millis().to_be_bytes().to_vec());
        for node in &nodes {
            node.until_applied(newest).await;
        }
    }
    nobody_is_banned(&nodes);
    let found = nodes.iter().map(|node| node.network.status().peers.len()).min().unwrap();
    assert!(found >= 4, "they know of each other: {found}");
    stop(nodes).await;
    for (who, from, watched) in watched {
        for (peer, since) in watched.await.unwrap() {
            let none = Vec::new();
            let times = restarts.get(&peer).unwrap_or(&none);
            let events = times.iter().filter(|at| **at >= from).count();
            assert!(since.len() <= 1 + events, "{who} and {peer}: {since:?} after {times:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn v11_a_sequencer_in_a_hurry_keeps_the_trust_of_its_followers() {
    let world = World::new(5, 20);
    let mut nodes = vec![sequencer(&world, 1).await];
    for number in 2..=4 {
        nodes.push(follower(&world, number, &[1]).await);
    }
    nodes[0].until("everybody", |status| status.peers.len() == 3).await;
    let mut behind = 0;
    for number in 0..4_000_u64 {
        let newest = nodes[0].chain.produce(number.to_be_bytes().to_vec());
        sleep(Duration::from_millis(5)).await;
        if number > 100 {
            behind =
                nodes[1..].iter().map(|node| newest - node.chain.height()).fold(behind, u64::max);
        }
    }
    let newest = nodes[0].chain.height();
    let last = Instant::now();
    for node in &nodes {
        node.until_applied(newest).await;
        let status = node.network.status();
        assert!(status.peers.iter().all(|row| row.trust == 100 && row.is_asked), "{status:#?}");
        assert_eq!(status.counters.offences, [0; 8]);
    }
    assert!(last.elapsed() < Duration::from_secs(1), "the last is not left to the next status");
    assert!(behind < 200, "more than a second behind: {behind}");
    nobody_is_banned(&nodes);
    stop(nodes).await;
}
