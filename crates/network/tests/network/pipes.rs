//! A net of pipes in virtual time: hosts with addresses, delays, narrow ways, partitions.
//!
//! Under a paused runtime a run takes no longer than its computations. Bytes keep their order.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use proctor_network::Net;
use proctor_network::net::{Listen, Pending, Socket};
use proctor_p2p::peers::address::Endpoint;
use proctor_p2p::peers::dice::Dice;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes that a pipe holds at each of its ends, as sockets do.
const PIPE_BYTES: usize = 64 << 10;
/// Pieces on their way; then nothing more is read, and the sender has to wait.
const ON_THEIR_WAY_MAX: usize = 64;
const PIECE_BYTES: usize = 4 << 10;

/// From one host to another.
type Way = (IpAddr, IpAddr);

/// All hosts.
#[derive(Clone)]
pub(crate) struct World {
    places: Arc<Mutex<Places>>,
    closed: Arc<watch::Sender<BTreeSet<Way>>>,
}

struct Places {
    listeners: BTreeMap<SocketAddr, mpsc::Sender<(Socket, SocketAddr)>>,
    next_port: u16,
    dice: Dice,
    delay_ms: u64,
    /// Bytes per second.
    narrow: BTreeMap<Way, u64>,
    /// Connections that were made, by who dialled whom.
    made: BTreeMap<Way, u64>,
}

/// Returns the host with this number. Hosts are sites of their own, as nodes of a network are.
pub(crate) fn host(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, number, 0, 1))
}

impl World {
    /// Pieces take up to `delay_ms`, at least half of it.
    pub(crate) fn new(seed: u64, delay_ms: u64) -> Self {
        let places = Places {
            listeners: BTreeMap::new(),
            next_port: 1024,
            dice: Dice::new(seed),
            delay_ms,
            narrow: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        let closed = Arc::new(watch::Sender::new(BTreeSet::new()));
        Self { places: Arc::new(Mutex::new(places)), closed }
    }

    pub(crate) fn net(&self, number: u8) -> Arc<dyn Net> {
        Arc::new(Host { world: self.clone(), ip: host(number) })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap()
    }

    /// Lets nothing pass between the hosts of `one` and of `other`, not even an end.
    pub(crate) fn part(&self, one: &[u8], other: &[u8]) {
        self.closed.send_modify(|closed| {
            for (one, other) in one.iter().flat_map(|one| other.iter().map(move |o| (one, o))) {
                let (one, other) = (host(*one), host(*other));
                closed.extend([(one, other), (other, one)]);
            }
        });
    }

    /// What was held back arrives, and all else from now on.
    pub(crate) fn heal(&self) {
        self.closed.send_modify(BTreeSet::clear);
    }

    /// So many bytes pass in a second from one host to another on connections made from now on.
    pub(crate) fn narrow(&self, from: u8, to: u8, bytes_per_second: u64) {
        self.places().narrow.insert((host(from), host(to)), bytes_per_second);
    }

    /// Returns how many connections one host has made with another.
    pub(crate) fn made(&self, from: u8, to: u8) -> u64 {
        self.places().made.get(&(host(from), host(to))).copied().unwrap_or_default()
    }

    fn delay(&self) -> Duration {
        let mut places = self.places();
        let half = places.delay_ms / 2;
        let more = places.dice.below(half + 1);
        Duration::from_millis(half + more)
    }

    async fn opened(&self, way: Way) {
        let mut closed = self.closed.subscribe();
        let _ = closed.wait_for(|closed| !closed.contains(&way)).await;
    }

    async fn dial(self, from: IpAddr, to: SocketAddr) -> io::Result<Socket> {
        // Who dials into a partition waits, until it gives up.
        self.opened((from, to.ip())).await;
        sleep(self.delay()).await;
        let door = self.places().listeners.get(&to).cloned();
        let door = door.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, there) = duplex(PIPE_BYTES);
        let (here, far) = duplex(PIPE_BYTES);
        let port = {
            let mut places = self.places();
            *places.made.entry((from, to.ip())).or_default() += 1;
            places.free_port()
        };
        let ((from_near, to_near), (from_far, to_far)) =
            (tokio::io::split(there), tokio::io::split(here));
        self.carry((from, to.ip()), from_near, to_far);
        self.carry((to.ip(), from), from_far, to_near);
        let from = SocketAddr::new(from, port);
        door.try_send((Box::new(far), from)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(near))
    }

    /// Moves bytes one way until it ends.
    fn carry(
        &self,
        way: Way,
        mut from: impl AsyncRead + Send + Unpin + 'static,
        mut to: impl AsyncWrite + Send + Unpin + 'static,
    ) {
        let (on_its_way, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY_MAX);
        let rate = self.places().narrow.get(&way).copied();
        let world = self.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; PIECE_BYTES];
            let (mut sent, mut arrived) = (Instant::now(), Instant::now());
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                sent = sent.max(Instant::now());
                if let Some(rate) = rate {
                    sent += Duration::from_secs_f64(count as f64 / rate as f64);
                }
                arrived = arrived.max(sent + world.delay());
                if on_its_way.send((arrived, buffer[..count].to_vec())).await.is_err() {
                    return;
                }
            }
        });
        let world = self.clone();
        tokio::spawn(async move {
            while let Some((at, bytes)) = arriving.recv().await {
                sleep_until(at).await;
                world.opened(way).await;
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            world.opened(way).await;
            let _ = to.shutdown().await;
        });
    }
}

impl Places {
    fn free_port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }
}

/// The net as one host sees it.
struct Host {
    world: World,
    ip: IpAddr,
}

impl Net for Host {
    fn listen(&self, listen: SocketAddr) -> Pending<Box<dyn Listen>> {
        assert_eq!(listen.ip(), self.ip);
        let world = self.world.clone();
        Box::pin(async move {
            let (door, crowd) = mpsc::channel(128);
            let mut places = world.places();
            let port = if listen.port() == 0 { places.free_port() } else { listen.port() };
            let address = SocketAddr::new(listen.ip(), port);
            if places.listeners.contains_key(&address) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            places.listeners.insert(address, door);
            drop(places);
            Ok(Box::new(Door { world, address, crowd }) as Box<dyn Listen>)
        })
    }

    fn dial(&self, endpoint: Endpoint) -> Pending<Socket> {
        let Endpoint::Ip(to) = endpoint else { panic!("there are no names here") };
        Box::pin(self.world.clone().dial(self.ip, SocketAddr::new(to.ip, to.port)))
    }
}

struct Door {
    world: World,
    address: SocketAddr,
    crowd: mpsc::Receiver<(Socket, SocketAddr)>,
}

impl Listen for Door {
    fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let accepted = ready!(Pin::new(&mut self.crowd).poll_recv(cx));
        Poll::Ready(accepted.ok_or_else(|| io::ErrorKind::BrokenPipe.into()))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.world.places().listeners.remove(&self.address);
    }
}
