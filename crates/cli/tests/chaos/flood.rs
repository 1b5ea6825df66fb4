//! Thousands of connections that say nothing, nonsense, or half of a handshake, while a follower fetches a log.
//!
//! `PROCTOR_FLOOD_FULL=1` makes it ten thousand of them and asks for the speed, which CI cannot.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proctor_chain::chain_of;
use proctor_node::simulation::dice::Dice;
use proctor_p2p::NodeId;
use proctor_ratchet_crypto::Identity;
use proctor_transport::{PeerId, Terms, handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::node::{ChaosNode, PATIENCE, demo, equal, free_address, id_of};
use crate::stranger::tcp_from;
use crate::{setting, until};

/// What the attacked process may need, in KiB.
const MEMORY_KIB_MAX: u64 = 256 << 10;
/// Connections before the end of their hello, and of peers that nobody has named.
const OPENING_MAX: f64 = 64.0;
const ACTIVE_IN_MAX: f64 = 256.0;
/// Connections of the attacker at the same time.
const AT_ONCE: usize = 1_000;
/// Longer than the deadlines of a handshake together.
const HOLD: Duration = Duration::from_secs(9);

/// What one connection says.
#[derive(Clone, Copy, Debug)]
enum Garbage {
    Silence,
    Noise,
    /// The first message of a handshake, and nothing after it.
    Begun,
    /// The half of it.
    Half,
}

/// The attack, and what became of it.
#[derive(Default)]
struct Flood {
    made: AtomicU64,
    /// Closed by the node at once or by its deadline.
    closed: AtomicU64,
    is_over: AtomicBool,
}

/// Returns the first message of a handshake with `peer`.
async fn first_message(peer: NodeId) -> Vec<u8> {
    let (mut near, mut far) = tokio::io::duplex(64 << 10);
    let identity = Identity::from_seed(&[9; 32]).expect("a key");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let terms = Terms::of_network(chain_of(&peer).0.0);
        // Nobody answers.
        drop(handshake::dial(&mut near, &identity, PeerId(peer.0), terms, 60_000).await);
    });
    let mut bytes = vec![0; 64 << 10];
    let count = far.read(&mut bytes).await.expect("a message");
    bytes.truncate(count);
    bytes
}

impl Flood {
    /// Attacks until at least `count` connections were made and it is said to be over.
    async fn run(self: Arc<Self>, to: SocketAddr, hello: Vec<u8>, count: u64, seed: u64) {
        let mut dice = Dice::new(seed);
        let (places, hello) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(hello));
        let mut attackers = JoinSet::new();
        while self.made.load(Ordering::Relaxed) < count || !self.is_over.load(Ordering::Relaxed) {
            while attackers.try_join_next().is_some() {}
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            // Many hosts of many sites, as far as loopback goes.
            let host = Ipv4Addr::new(127, 64 + byte(&mut dice, 128), byte(&mut dice, 255), 1);
            let kind = [Garbage::Silence, Garbage::Noise, Garbage::Begun, Garbage::Half]
                [usize::try_from(dice.below(4)).expect("small")];
            let (flood, hello, dice) = (Arc::clone(&self), Arc::clone(&hello), dice.split());
            attackers.spawn(async move {
                let stream = tcp_from(host, to).await;
                flood.made.fetch_add(1, Ordering::Relaxed);
                if attack(stream, kind, &hello, dice).await {
                    flood.closed.fetch_add(1, Ordering::Relaxed);
                }
                drop(place);
            });
        }
        while attackers.join_next().await.is_some() {}
    }
}

fn byte(dice: &mut Dice, below: u32) -> u8 {
    u8::try_from(dice.below(below)).expect("small")
}

/// Says something and waits; returns whether the node has closed the connection.
async fn attack(mut stream: TcpStream, kind: Garbage, hello: &[u8], mut dice: Dice) -> bool {
    let bytes = match kind {
        Garbage::Silence => Vec::new(),
        Garbage::Noise => (0..dice.below(8_192)).map(|_| byte(&mut dice, 256)).collect(),
        Garbage::Begun => hello.to_vec(),
        Garbage::Half => hello[..hello.len() / 2].to_vec(),
    };
    // Who is refused early may find that nobody reads any more.
    drop(stream.write_all(&bytes).await);
    let mut rest = Vec::new();
    tokio::time::timeout(HOLD, stream.read_to_end(&mut rest)).await.is_ok()
}

/// What the attacked node tells of its connections.
#[derive(Clone, Copy, Debug, Default)]
struct Most {
    opening_in: f64,
    active_in: f64,
    looks: u64,
}

impl Most {
    /// Looks; returns how many connections are opening now.
    async fn look(&mut self, metrics: SocketAddr) -> f64 {
        let mut stream = TcpStream::connect(metrics).await.expect("metrics");
        let ask = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(ask).await.expect("asked");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("a page");
        let value = |state: &str| -> f64 {
            let name = format!("proctor_peer_connections{{state=\"{state}\"}} ");
            let value = page.lines().find_map(|line| line.strip_prefix(&name));
            value.expect("a value").parse().expect("a number")
        };
        let opening_in = value("opening_in");
        self.opening_in = self.opening_in.max(opening_in);
        self.active_in = self.active_in.max(value("active_in"));
        self.looks += 1;
        opening_in
    }
}

/// A node with a long log, and those who fetch it.
struct Scene {
    node: ChaosNode,
    id: String,
    at: SocketAddr,
    metrics: SocketAddr,
    commits: u64,
}

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 9, number)
}

impl Scene {
    async fn new(directory: &Path, days: u32) -> Self {
        demo(&directory.join("attacked"), days);
        let id = id_of(&directory.join("attacked"));
        let (at, metrics) = (free_address(host(1)), free_address(host(1)));
        let settings = vec![
            format!("listen.peers={}", at.port()),
            format!("listen.metrics={}", metrics.port()),
            "node.tick_ms=60000".into(),
        ];
        let mut node = ChaosNode::of("attacked", directory, host(1), "flood", settings);
        node.start().await;
        let commits = node.stand().await.0;
        Self { node, id, at, metrics, commits }
    }

    /// Has a new node fetch everything; returns how long that took from its first commit on. `begun`
    /// is called when it has that one.
    async fn fetch(
        &self,
        directory: &Path,
        number: u8,
        begun: impl FnOnce(),
        most: &mut Most,
    ) -> Duration {
        let settings = vec![
            format!("network.follow=[\"{}@{}\"]", self.id, self.at),
            "network.snapshot_gap=0".into(),
            "listen.peers=0".into(),
        ];
        let name = format!("follower-{number}");
        let mut follower = ChaosNode::of(&name, directory, host(number), "flood", settings);
        follower.start().await;
        follower.reach(1).await;
        let first = Instant::now();
        begun();
        until("the follower has everything", 10 * PATIENCE, async || {
            most.look(self.metrics).await;
            (follower.stand().await.0 >= self.commits).then_some(())
        })
        .await;
        let took = first.elapsed();
        assert_eq!(follower.peers()["bans"], serde_json::json!([]), "V11");
        follower.stop().await;
        println!(
            "{name}: {} commits in {took:?}; {}",
            self.commits,
            equal(self.node.data(), follower.data())
        );
        took
    }
}

#[test]
fn f8_ten_thousand_connections_of_nonsense_leave_room_and_speed_for_an_honest_follower() {
    let is_full = setting("PROCTOR_FLOOD_FULL", 0) != 0;
    let seed = setting("PROCTOR_FLOOD_SEED", 8);
    println!("PROCTOR_FLOOD_SEED={seed}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(flood(is_full, seed));
}

async fn flood(is_full: bool, seed: u64) {
    let (count, days) = if is_full { (10_000, 30) } else { (400, 3) };
    let directory = tempfile::tempdir().expect("a directory");
    let mut scene = Scene::new(directory.path(), days).await;
    let quiet = scene.fetch(directory.path(), 2, || {}, &mut Most::default()).await;
    let before = scene.node.memory_kib_max();

    let flood = Arc::<Flood>::default();
    let hello = first_message(scene.id.parse().expect("a key")).await;
    let attack = Arc::clone(&flood).run(scene.at, hello, count, seed);
    let (mut tasks, mut most) = (JoinSet::new(), Most::default());
    let begin = || drop(tasks.spawn(attack));
    let flooded = scene.fetch(directory.path(), 3, begin, &mut most).await;
    let during = flood.made.load(Ordering::Relaxed);
    flood.is_over.store(true, Ordering::Relaxed);
    until("the flood is over", 10 * PATIENCE, async || {
        most.look(scene.metrics).await;
        tasks.try_join_next().map(|ended| ended.expect("no attacker fails"))
    })
    .await;
    until("the node has closed all of it", PATIENCE, async || {
        (most.look(scene.metrics).await < 1.0).then_some(())
    })
    .await;

    let (memory, made) = (scene.node.memory_kib_max(), flood.made.load(Ordering::Relaxed));
    let closed = flood.closed.load(Ordering::Relaxed);
    let ratio = quiet.as_secs_f64() / flooded.as_secs_f64();
    println!("speed under the flood: {ratio:.2} of that without; {during} connections meanwhile");
    println!(
        "{made} made, {closed} closed by the node; {most:?}; {before} KiB before, {memory} KiB"
    );
    assert!(made >= count, "{made}");
    // Some have found no place in the queue of the kernel, and wait for it without a word.
    assert!(closed > made / 2, "{closed}");
    assert!(most.opening_in <= OPENING_MAX && most.active_in <= ACTIVE_IN_MAX, "{most:?}");
    assert!(most.opening_in > 0.0, "the flood was felt: {most:?}");
    assert!(memory <= MEMORY_KIB_MAX, "{memory} KiB");
    assert_eq!(scene.node.peers()["bans"], serde_json::json!([]), "nobody proved to be anybody");
    assert!(!is_full || ratio >= 0.5, "speed: {ratio:.2}");
    // It is well, and lets in who comes.
    scene.fetch(directory.path(), 4, || {}, &mut Most::default()).await;
    scene.node.stop().await;
}
