//! Five nodes: a sequencer under load, and followers that join late, by a snapshot, through a bad network.
//!
//! Any of them is killed and started again in an order that the seed decides, and the one behind the proxy is cut
//! off for a while. When the load is over all have the same state, and the same log as the sequencer.
//!
//! `PROCTOR_CLUSTER_SEED` makes it another run, `PROCTOR_CLUSTER_FULL=1` a long one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proctor_node::simulation::dice::Dice;
use proctor_p2p::NodeId;

use crate::liar::offers_a_snapshot;
use crate::load::{Load, Told};
use crate::node::{ChaosNode, PATIENCE, agree, equal, free_address, id_of};
use crate::proxy::{Proxy, Weather};
use crate::{log, setting, until};

const SEED: u64 = 6;
/// Commits between two snapshots.
const SNAPSHOT_EVERY: u64 = 100;
const NAMES: [&str; 5] = ["sequencer", "early", "late", "joiner", "far"];
/// The node behind the proxy.
const FAR: usize = 4;
const BAD: Weather = Weather {
    delay: Duration::from_millis(40),
    jitter: Duration::from_millis(40),
    loss: 0.005,
    resend: Duration::from_millis(250),
    cut: 0.0002,
    bytes_per_second: Some(1 << 20),
};

/// How much is done.
struct Size {
    /// Each node is killed at least once.
    kills: u32,
    partitions: Vec<Duration>,
    /// Orders answered between two events, at most.
    answers_max: u32,
}

impl Size {
    fn of_this_run() -> Self {
        if setting("PROCTOR_CLUSTER_FULL", 0) == 0 {
            return Self { kills: 6, partitions: vec![Duration::from_secs(3)], answers_max: 40 };
        }
        let partitions = [60, 5, 25].map(Duration::from_secs).to_vec();
        Self { kills: 40, partitions, answers_max: 400 }
    }
}

/// What happens to the nodes.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// A node is killed; it stays away until so many orders were answered.
    Kill(usize, u32),
    Partition(Duration),
}

/// What came of it.
#[derive(Debug, Default)]
struct Report {
    kills: [u32; 5],
    /// From a start until the node answers.
    back_max: Duration,
    /// From the end of a partition until the node has all that there was at its end.
    caught_up_max: Duration,
    /// By how many commits it was behind then.
    behind_max: u64,
    seconds: u64,
}

/// The nodes, and what lies between two of them.
struct Cluster {
    nodes: Vec<ChaosNode>,
    /// Where the sequencer listens for the others, and its key.
    sequencer: (SocketAddr, NodeId),
    proxy: Proxy,
}

#[test]
fn five_nodes_that_are_killed_cut_off_and_late_end_with_the_sequencers_state() {
    let seed = setting("PROCTOR_CLUSTER_SEED", SEED);
    println!("PROCTOR_CLUSTER_SEED={seed}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(cluster(&Size::of_this_run(), seed));
}

async fn cluster(size: &Size, seed: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut dice = Dice::new(seed);
    let mut cluster = Cluster::new(directory.path(), seed).await;
    cluster.nodes[0].start().await;
    let told = Arc::new(Told::default());
    let load = Load::start(&cluster.nodes[0], &told, seed).await;
    cluster.join(&mut dice).await;
    let report = cluster.blows(blows(size, &mut dice), &told).await;
    let verdicts = load.end().await;
    let (commit, digest) = agree(&cluster.nodes).await;
    cluster.nobody_is_banned();
    for node in cluster.nodes.iter_mut().rev() {
        node.stop().await;
    }
    let sequencer = &cluster.nodes[0];
    let found = log::check(sequencer.data(), &told, &verdicts, commit, &digest);
    for node in &cluster.nodes {
        let verified = node.verify();
        let begins = verified.contains("begins     after commit");
        assert!(begins || node.name() != "joiner", "it joined by a snapshot: {verified}");
    }
    for node in &cluster.nodes[1..] {
        println!("{}: {}", node.name(), equal(sequencer.data(), node.data()));
    }
    println!("{report:#?}\n{:#?}\n{told}\n{found:#?}", cluster.proxy.done);
}

/// Returns what happens, in order: everybody is killed once, the rest is as the dice say.
fn blows(size: &Size, dice: &mut Dice) -> Vec<Blow> {
    let mut blows: Vec<Blow> = size.partitions.iter().map(|time| Blow::Partition(*time)).collect();
    for number in 0..size.kills {
        let everybody = usize::try_from(number).expect("small");
        let other = usize::try_from(dice.below(5)).expect("small");
        let node = if everybody < NAMES.len() { everybody } else { other };
        // While the sequencer is away nobody is answered.
        let away = if node == 0 { 0 } else { dice.below(size.answers_max) };
        blows.push(Blow::Kill(node, away));
    }
    for place in (1..blows.len()).rev() {
        let other = dice.below(u32::try_from(place + 1).expect("small"));
        blows.swap(place, usize::try_from(other).expect("small"));
    }
    println!("in this order: {blows:?}");
    blows
}

impl Cluster {
    /// Each node is a host of its own. The far one believes no address of this machine but that of the
    /// proxy, or it would find the others past it.
    async fn new(directory: &Path, seed: u64) -> Self {
        let host = |number: u8| Ipv4Addr::new(127, 0, 6, number);
        let id = |name: &str| id_of(&directory.join(name));
        let peers = [1, 2].map(|number| free_address(host(number)));
        let proxy = Proxy::start(IpAddr::V4(host(9)), peers[0], BAD, seed).await;
        let sequencer = id("sequencer");
        let at = |id: &str, address: SocketAddr| format!("network.follow=[\"{id}@{address}\"]");
        let listens = |address: SocketAddr| format!("listen.peers={}", address.port());
        let key = format!("network.sequencer={sequencer}");
        let gap = |commits: u64| format!("network.snapshot_gap={commits}");
        let straight = at(&sequencer, peers[0]);
        let settings = [
            vec![listens(peers[0])],
            vec![listens(peers[1]), straight.clone(), gap(0)],
            vec!["listen.peers=0".into(), at(&id("early"), peers[1]), key, gap(0)],
            vec!["listen.peers=0".into(), straight, gap(SNAPSHOT_EVERY / 2)],
            vec![
                "listen.peers=0".into(),
                "auth.open_reads=false".into(),
                at(&sequencer, proxy.address()),
                gap(0),
            ],
        ];
        let hosts = [host(1), host(2), host(3), host(4), Ipv4Addr::UNSPECIFIED];
        let nodes = NAMES.iter().zip(hosts).zip(settings).map(|((name, host), mut settings)| {
            settings.push(format!("log.snapshot_every={SNAPSHOT_EVERY}"));
            settings.push("node.tick_ms=200".into());
            ChaosNode::of(name, directory, host, &format!("cluster-{seed}"), settings)
        });
        let sequencer = (peers[0], sequencer.parse().expect("a key"));
        Self { nodes: nodes.collect(), sequencer, proxy }
    }

    /// Lets the followers join, one after the other, each when there is more to catch up with.
    async fn join(&mut self, dice: &mut Dice) {
        let mut number = 0;
        for follower in [1, FAR, 2, 3] {
            number += 1;
            let from = SNAPSHOT_EVERY * number / 2 + u64::from(dice.below(20));
            self.nodes[0].reach(from).await;
            if NAMES[follower] == "joiner" {
                offers_a_snapshot(250, self.sequencer).await;
            }
            self.nodes[follower].start().await;
            println!("{} joins after commit {from}", NAMES[follower]);
        }
        for follower in 1..NAMES.len() {
            let newest = self.commit(0).await;
            self.nodes[follower].reach(newest).await;
        }
    }

    async fn blows(&mut self, blows: Vec<Blow>, told: &Told) -> Report {
        let mut report = Report::default();
        let begun = Instant::now();
        for blow in blows {
            answered(told, 5).await;
            match blow {
                Blow::Kill(number, away) => {
                    self.nodes[number].kill();
                    report.kills[number] += 1;
                    answered(told, u64::from(away)).await;
                    let struck = Instant::now();
                    self.nodes[number].start().await;
                    report.back_max = report.back_max.max(struck.elapsed());
                }
                Blow::Partition(time) => self.partition(time, &mut report).await,
            }
        }
        report.seconds = begun.elapsed().as_secs();
        report
    }

    async fn partition(&mut self, time: Duration, report: &mut Report) {
        self.proxy.part();
        let (before, all) = (self.commit(FAR).await, self.commit(0).await);
        tokio::time::sleep(time).await;
        let (during, newest) = (self.commit(FAR).await, self.commit(0).await);
        // What it has got was there before, and nothing that it had is lost.
        assert!((before..=all).contains(&during), "{before} to {all}, and now {during}");
        assert!(newest > during, "the others went on: {newest}");
        self.proxy.heal();
        let healed = Instant::now();
        self.nodes[FAR].reach(newest).await;
        report.caught_up_max = report.caught_up_max.max(healed.elapsed());
        report.behind_max = report.behind_max.max(newest - during);
    }

    async fn commit(&self, number: usize) -> u64 {
        self.nodes[number].stand().await.0
    }

    /// Asserts that no honest node has been taken for another (V11).
    fn nobody_is_banned(&self) {
        for (name, node) in NAMES.iter().zip(&self.nodes) {
            let peers = node.peers();
            assert_eq!(peers["bans"], serde_json::json!([]), "{name}: {peers}");
        }
    }
}

/// Waits until `more` orders were answered.
async fn answered(told: &Told, more: u64) {
    let before = told.answers();
    until("orders are answered", PATIENCE, async || {
        (told.answers() >= before + more).then_some(())
    })
    .await;
}
