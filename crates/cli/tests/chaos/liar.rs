//! A node that lies to a real follower: each kind of lie is found out and banned, and harms nobody else.
//!
//! The liar has a key of its own and speaks the protocol; what it tells is what the sequencer tells it,
//! but for one thing. As long as it lies the way from the followers to the sequencer is closed, so that
//! they have nobody else to ask.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use proctor_chain::chain_of;
use proctor_network::frame::Frame;
use proctor_p2p::message::Answer;
use proctor_p2p::peers::policy::Bye;
use proctor_p2p::{ChainId, NodeId, Push, Request, Status};
use proctor_ratchet_crypto::Identity;

use crate::node::{ChaosNode, PATIENCE, agree, equal, free_address, id_of};
use crate::proxy::{Proxy, Weather};
use crate::stranger::{Stranger, up_to};
use crate::until;

/// Commits between two snapshots.
const SNAPSHOT_EVERY: u64 = 100;

/// What is not true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// The newest commit, in the hello.
    Tip,
    /// The newest commit, later.
    LaterTip,
    Header,
    Certificate,
    Body,
    Manifest,
    Chunk,
}

/// To whom each is told: one who replays, and two who join by a snapshot.
const LIES: [&[Lie]; 3] = [
    &[Lie::Tip, Lie::LaterTip, Lie::Header, Lie::Certificate, Lie::Body],
    &[Lie::Manifest],
    &[Lie::Chunk],
];

/// A node by its address and key.
type At = (SocketAddr, NodeId);

struct Liar {
    lie: Lie,
    /// From the sequencer, where it is an honest follower.
    ear: Stranger,
    /// To its victim.
    mouth: Stranger,
}

/// Returns the host and the key of the liar with this number.
fn liar(number: u8) -> (Ipv4Addr, Arc<Identity>) {
    let identity = Identity::from_seed(&[number; 32]).expect("a key");
    (Ipv4Addr::new(127, 0, 7, number), Arc::new(identity))
}

/// Tells `victim` one lie, until it has said goodbye; returns who did, and the goodbye.
async fn tell(
    lie: Lie,
    number: u8,
    chain: ChainId,
    truth: At,
    victim: At,
) -> (NodeId, Option<Frame>) {
    let (host, identity) = liar(number);
    let mut ear = Stranger::connect_as(Arc::clone(&identity), chain, host, truth).await;
    ear.greet(up_to(None)).await;
    let mut status = newest(&mut ear).await;
    while [Lie::Manifest, Lie::Chunk].contains(&lie) && status.latest_snapshot == 0 {
        status = newest(&mut ear).await;
    }
    let mouth = Stranger::connect_as(identity, chain, host, victim).await;
    let mut liar = Liar { lie, ear, mouth };
    let mut forged = status.clone();
    let tip = forged.tip.as_mut().expect("there are commits");
    tip.header.height += 1_000;
    tip.certificate.height += 1_000;
    tip.certificate.digest = tip.header.digest(&chain);
    liar.mouth.greet(if lie == Lie::Tip { forged.clone() } else { status }).await;
    if lie == Lie::LaterTip {
        let forged = liar.mouth.sign(forged);
        liar.mouth.send(&Frame::Push(Push::Status(forged))).await;
    }
    (liar.mouth.id, liar.talk().await)
}

/// Waits until a node offers a snapshot to others, which it looks for every few seconds.
pub(crate) async fn offers_a_snapshot(number: u8, node: At) {
    let (host, identity) = liar(number);
    let mut ear = Stranger::connect_as(identity, chain_of(&node.1), host, node).await;
    ear.greet(up_to(None)).await;
    let offered = async { while newest(&mut ear).await.latest_snapshot == 0 {} };
    tokio::time::timeout(PATIENCE, offered).await.expect("it offers a snapshot");
}

/// Returns the next status that is heard.
async fn newest(ear: &mut Stranger) -> Status {
    loop {
        match ear.read().await.expect("the sequencer speaks") {
            Frame::Hello(hello) => return hello.status.status,
            Frame::Push(Push::Status(status)) => return status.status,
            Frame::Ping(nonce) => ear.send(&Frame::Pong(nonce)).await,
            _ => {}
        }
    }
}

impl Liar {
    /// Answers until the connection is over; returns the goodbye, if one was said.
    async fn talk(&mut self) -> Option<Frame> {
        loop {
            match self.mouth.read().await? {
                Frame::Request { id, request: Request::GetPeers } => {
                    let answer = Answer::Peers(Vec::new());
                    self.mouth.send(&Frame::Answer { id, answer, last: true }).await;
                }
                Frame::Request { id, request } => self.pass_on(id, request).await,
                Frame::Ping(nonce) => self.mouth.send(&Frame::Pong(nonce)).await,
                bye @ Frame::Bye(_) => return Some(bye),
                _ => {}
            }
        }
    }

    /// Asks the sequencer, and passes its answer on.
    async fn pass_on(&mut self, id: u64, request: Request) {
        self.ear.send(&Frame::Request { id, request }).await;
        loop {
            match self.ear.read().await.expect("the sequencer answers") {
                Frame::Answer { id: of, answer, last } if of == id => {
                    let answer = self.alter(answer);
                    self.mouth.send(&Frame::Answer { id, answer, last }).await;
                    if last {
                        return;
                    }
                }
                Frame::Ping(nonce) => self.ear.send(&Frame::Pong(nonce)).await,
                _ => {}
            }
        }
    }

    fn alter(&self, mut answer: Answer) -> Answer {
        match (self.lie, &mut answer) {
            (Lie::Header, Answer::Headers { headers, .. }) => {
                let middle = headers.len() / 2;
                headers[middle].facts.time.0 += 1;
            }
            (Lie::Certificate, Answer::Headers { certificate, .. }) => certificate.proof[0] ^= 1,
            (Lie::Body, Answer::Body(part)) | (Lie::Chunk, Answer::Chunk(part)) => {
                part.bytes[0] ^= 1;
            }
            (Lie::Manifest, Answer::Manifest(manifest)) => manifest.attestation.proof[0] ^= 1,
            _ => {}
        }
        answer
    }
}

/// Returns the keys that a node has banned by itself.
fn banned(node: &ChaosNode) -> BTreeSet<String> {
    let peers = node.peers();
    let bans = peers["bans"].as_array().expect("a list");
    assert!(bans.iter().all(|ban| ban["by_operator"] == false), "{peers}");
    bans.iter().map(|ban| ban["key"].as_str().expect("a key").to_owned()).collect()
}

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 8, number)
}

/// A sequencer, one who replays, two who join by a snapshot, one who comes when all is over, and what
/// lies between the first and the next three.
struct Scene {
    nodes: Vec<ChaosNode>,
    /// Where each listens for other nodes.
    at: Vec<At>,
    proxy: Proxy,
}

impl Scene {
    async fn new(directory: &Path) -> Self {
        let names = ["sequencer", "replayer", "joiner", "other-joiner", "witness"];
        let keys = names.map(|name| id_of(&directory.join(name)));
        let addresses: Vec<SocketAddr> = (1..=5).map(|number| free_address(host(number))).collect();
        let proxy = Proxy::start(IpAddr::V4(host(9)), addresses[0], Weather::default(), 1).await;
        let through = format!("network.follow=[\"{}@{}\"]", keys[0], proxy.address());
        let of = |place: usize| format!("\"{}@{}\"", keys[place], addresses[place]);
        let follow = [
            vec![],
            vec![through.clone(), "network.snapshot_gap=0".into()],
            vec![through.clone(), format!("network.snapshot_gap={SNAPSHOT_EVERY}")],
            vec![through, format!("network.snapshot_gap={SNAPSHOT_EVERY}")],
            vec![format!("network.follow=[{},{},{}]", of(0), of(1), of(2))],
        ];
        let nodes = names.iter().zip(follow).enumerate().map(|(place, (name, mut settings))| {
            let address = addresses[place];
            settings.push(format!("listen.peers={}", address.port()));
            settings.push(format!("log.snapshot_every={SNAPSHOT_EVERY}"));
            let number = u8::try_from(place + 1).expect("small");
            ChaosNode::of(name, directory, host(number), "liar", settings)
        });
        let nodes = nodes.collect();
        let key = |text: &String| text.parse().expect("a key");
        let at = addresses.iter().zip(&keys).map(|(address, text)| (*address, key(text))).collect();
        Self { nodes, at, proxy }
    }

    /// Has `victim` told each of `lies` by a liar of its own; nothing of them is taken over.
    async fn lies(&self, lies: &[Lie], victim: usize) -> BTreeSet<String> {
        let chain = chain_of(&self.at[0].1);
        let mut liars = BTreeSet::new();
        for lie in lies {
            let number = u8::try_from(10 * victim + liars.len()).expect("small");
            let told = tell(*lie, number, chain, self.at[0], self.at[victim]);
            let told = tokio::time::timeout(2 * PATIENCE, told).await;
            let (who, bye) = told.unwrap_or_else(|_| panic!("{lie:?} was never found out"));
            assert!(matches!(bye, Some(Frame::Bye(Bye::Banned { .. }))), "{lie:?}: {bye:?}");
            liars.insert(who.to_string());
            let node = &self.nodes[victim];
            until(&format!("a ban for {lie:?}"), PATIENCE, async || {
                (banned(node) == liars).then_some(())
            })
            .await;
            assert_eq!(node.stand().await.0, 0, "{lie:?} was believed");
        }
        liars
    }
}

#[test]
fn f3_f4_f5_f13_each_kind_of_lie_is_found_out_by_a_real_follower_and_harms_nobody_else() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let mut scene = Scene::new(directory.path()).await;
        // Some history, and then so little that all can have the same commit.
        scene.nodes[0].set("node.tick_ms=20");
        scene.nodes[0].start().await;
        scene.nodes[0].reach(2 * SNAPSHOT_EVERY + 20).await;
        scene.nodes[0].stop().await;
        scene.nodes[0].set("node.tick_ms=1000");
        scene.nodes[0].start().await;
        scene.proxy.part();
        let mut liars = Vec::new();
        for (lies, victim) in LIES.iter().zip(1..) {
            scene.nodes[victim].start().await;
            liars.push(scene.lies(lies, victim).await);
        }

        scene.proxy.heal();
        scene.nodes[4].start().await;
        let (commit, _) = agree(&scene.nodes).await;
        assert!(commit > 2 * SNAPSHOT_EVERY);
        // Nobody but the liars, and nobody else has a reason to.
        liars.insert(0, BTreeSet::new());
        liars.push(BTreeSet::new());
        for (node, liars) in scene.nodes.iter().zip(&liars) {
            assert_eq!(banned(node), *liars, "{}", node.name());
        }
        for node in scene.nodes.iter_mut().rev() {
            node.stop().await;
        }
        for node in &scene.nodes[1..] {
            println!("{}: {}", node.name(), equal(scene.nodes[0].data(), node.data()));
            node.verify();
        }
    });
}
