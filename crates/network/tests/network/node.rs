//! A node under test: a chain and its network, and how a test waits for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proctor_network::{Network, Settings, Status};
use proctor_p2p::NodeId;
use proctor_p2p::peers::address::{Endpoint, PeerAddress};
use proctor_p2p::status::Roles;

use crate::chain::{MemoryChain, identity, node_id};
use crate::pipes::{World, host};

/// Nothing here takes so long unless it fails; no outcome depends on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where nodes of a world listen.
const LISTEN_PORT: u16 = 9_000;

/// Returns where node `number` of a world listens.
pub(crate) fn endpoint(number: u8) -> Endpoint {
    Endpoint::Ip(PeerAddress { ip: host(number), port: LISTEN_PORT })
}

pub(crate) struct TestNode {
    pub(crate) id: NodeId,
    pub(crate) chain: Arc<MemoryChain>,
    pub(crate) network: Network,
}

/// The sequencer is node 1; node `n` listens on 127.0.0.`n`, so that each is a host of its own.
pub(crate) fn settings(number: u8, follow: &[&TestNode]) -> Settings {
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, number)), 0);
    let mut settings = Settings {
        listen: Some(listen),
        roles: if number == 1 { Roles::VALIDATOR } else { Roles::FOLLOWER },
        allow_private: true,
        seed: Some(u64::from(number)),
        ..Settings::default()
    };
    for node in follow {
        settings.rules.fixed.insert(node.id, vec![node.endpoint()]);
    }
    settings
}

impl TestNode {
    pub(crate) async fn start(number: u8, commits: u64, follow: &[&Self]) -> Self {
        Self::start_with(number, commits, settings(number, follow)).await
    }

    pub(crate) async fn start_with(number: u8, commits: u64, settings: Settings) -> Self {
        let chain = MemoryChain::new(&identity(1), number == 1);
        chain.grow(commits);
        Self::start_of(number, chain, settings).await
    }

    pub(crate) async fn start_of(number: u8, chain: Arc<MemoryChain>, settings: Settings) -> Self {
        let identity = identity(number);
        let shared = Arc::clone(&chain) as Arc<dyn proctor_network::Chain>;
        let network = Network::start(settings, Arc::clone(&identity), shared).await.unwrap();
        chain.tell(network.news());
        Self { id: node_id(&identity), chain, network }
    }

    /// Starts the node on its host in `world`, where node `n` is host `n`.
    pub(crate) async fn start_in(
        world: &World,
        number: u8,
        chain: Arc<MemoryChain>,
        mut settings: Settings,
    ) -> Self {
        settings.listen = Some(SocketAddr::new(host(number), LISTEN_PORT));
        let identity = identity(number);
        let shared = Arc::clone(&chain) as Arc<dyn proctor_network::Chain>;
        let started =
            Network::start_on(world.net(number), settings, Arc::clone(&identity), shared).await;
        let network = started.unwrap();
        chain.tell(network.news());
        Self { id: node_id(&identity), chain, network }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.network.address().unwrap()
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let address = self.address();
        Endpoint::Ip(PeerAddress { ip: address.ip(), port: address.port() })
    }

    /// Waits until the status is as wanted: a level, that cannot be missed.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Arc<Status> {
        until(&mut self.network.watch(), what, wanted).await
    }

    pub(crate) async fn until_applied(&self, height: u64) {
        self.until("applied", |status| status.marks.applied >= height).await;
    }
}

pub(crate) async fn until(
    watch: &mut tokio::sync::watch::Receiver<Arc<Status>>,
    what: &str,
    wanted: impl Fn(&Status) -> bool,
) -> Arc<Status> {
    let seen = tokio::time::timeout(PATIENCE, watch.wait_for(|status| wanted(status))).await;
    let seen = seen.map(|seen| seen.map(|status| Arc::clone(&status)));
    match seen {
        Ok(Ok(status)) => status,
        Ok(Err(_)) => panic!("the network ended before: {what}"),
        Err(_) => panic!("never: {what}; the last status: {:#?}", watch.borrow()),
    }
}
