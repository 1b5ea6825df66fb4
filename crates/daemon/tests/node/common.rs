//! A node on free ports with a directory of its own, and clients for it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use proctor_daemon::{Config, Layers, NodeError, Running, Stop, tokens};
use proctor_rpc::v1::node_client::NodeClient;
use proctor_rpc::v1::{self, GetStatusRequest};
use proctor_services::Role;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// How long anything may take that should take no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the configuration of a node below `data` on free ports, without a feed, and with `more`.
pub(crate) fn config(data: &Path, more: &[&str]) -> Config {
    let mut layers = Layers::default();
    for name in ["node", "prices", "positions", "orders", "eliminations", "challenge_period"] {
        layers.flag(&format!("listen.{name}=0")).expect("a field");
    }
    layers.flag(&format!("node.data={}", data.display())).expect("a field");
    for flag in ["listen.metrics=0", "listen.peers=0", "feed.kind=none", "node.tick_ms=200"]
        .iter()
        .chain(more)
    {
        layers.flag(flag).expect("a field");
    }
    Config::of(&layers).expect("it holds")
}

/// A node that runs.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) ports: Vec<(String, SocketAddr)>,
    pub(crate) metrics: proctor_daemon::metrics::Metrics,
    pub(crate) stop: Stop,
    ended: JoinHandle<Result<(), NodeError>>,
}

impl Node {
    pub(crate) async fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::start_in(dir, more).await
    }

    pub(crate) async fn start_in(dir: TempDir, more: &[&str]) -> Self {
        let stop = Stop::default();
        let running = Running::start(config(dir.path(), more), stop.clone()).await;
        let running = running.expect("it starts");
        let ports = running.addresses().into_iter().map(|(n, at)| (n.to_owned(), at)).collect();
        let metrics = running.metrics().clone();
        Self { dir, ports, metrics, stop, ended: tokio::spawn(running.until_stopped()) }
    }

    pub(crate) fn port(&self, name: &str) -> SocketAddr {
        self.ports.iter().find(|(known, _)| known == name).expect("it is served").1
    }

    pub(crate) async fn channel(&self, name: &str) -> Channel {
        connect(self.port(name)).await
    }

    /// Returns the status, which every node gives that is alive.
    pub(crate) async fn status(&self) -> v1::GetStatusResponse {
        let mut client = NodeClient::new(self.channel("node").await);
        client.get_status(GetStatusRequest {}).await.expect("the node answers").into_inner()
    }

    /// Returns the secret of `role`.
    pub(crate) fn secret(&self, role: Role) -> String {
        let file = self.dir.path().join("tokens.toml");
        tokens::secret_for(&file, role).expect("a token file").expect("a token of that role")
    }

    /// Returns `message` with the token of `role`.
    pub(crate) fn with_token<M>(&self, role: Role, message: M) -> Request<M> {
        authorized(message, &self.secret(role))
    }

    /// Ends the node in phases; returns its directory.
    pub(crate) async fn end(self) -> TempDir {
        self.stop.stop();
        let ended = tokio::time::timeout(PATIENCE, self.ended).await.expect("it ends in time");
        ended.expect("no panic").expect("a clean end");
        self.dir
    }
}

/// Returns `message` with `secret` as its token.
pub(crate) fn authorized<M>(message: M, secret: &str) -> Request<M> {
    let mut request = Request::new(message);
    let token: MetadataValue<_> = format!("Bearer {secret}").parse().expect("text");
    request.metadata_mut().insert("authorization", token);
    request
}

pub(crate) async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("the port is open")
}

/// Connects to `address` and asks for the health of all that is there.
pub(crate) async fn health(address: SocketAddr) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await.map(drop)
}

/// Waits until the port at `address` takes a connection and answers.
pub(crate) async fn room(address: SocketAddr) {
    let room = async {
        while health(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, room).await.expect("there is room in time");
}
