//! One port: bound before anything else starts, served last, drained at the end.

mod budget;
pub mod connections;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proctor_rpc::DESCRIPTORS;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::server::HealthReporter;

use crate::metrics::Calls;
pub(crate) use budget::{Charging, Origin};
use connections::Limits;

/// How many calls one connection may have under way.
const STREAMS_MAX: u32 = 1_024;
/// A connection without a sign of life for this long is closed.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a connection may take to answer a sign of life.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// The largest header list of a request, in bytes.
const HEADERS_MAX: u32 = 16 * 1_024;
/// How many bytes of requests a connection may have under way before the services take them.
const WINDOW: u32 = 256 * 1_024;
/// The bounds of each port.
pub(crate) const LIMITS: Limits = Limits {
    connections: 1_024,
    preface: Duration::from_secs(10),
    call: Duration::from_secs(60),
    connection_bytes: 16 * 1_024 * 1_024,
    port_bytes: 256 * 1_024 * 1_024,
};
/// How long those who watch the health have to take the news of the end.
const HEALTH_NEWS: Duration = Duration::from_millis(200);

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {name}: {error}; stop what uses it, or set {field}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What should listen there.
    pub name: String,
    /// The configuration's field.
    pub field: String,
    /// What the system said.
    pub error: std::io::Error,
}

/// A port that is ours and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    name: String,
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
}

/// Takes `port` of `host` for what is called `name`.
///
/// # Errors
/// [`BindError`]; nobody else is harmed.
pub async fn bind(host: IpAddr, port: u16, name: &str) -> Result<Bound, BindError> {
    let wanted = SocketAddr::new(host, port);
    let failed = |error| BindError {
        address: wanted,
        name: name.into(),
        field: format!("listen.{name}"),
        error,
    };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().unwrap_or(wanted);
    Ok(Bound { name: name.into(), listener, address, limits: LIMITS })
}

/// A port that answers.
#[derive(Debug)]
pub struct Serving {
    /// What it serves.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Bound {
    /// Returns the address, with the port that was given where any was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port with other bounds than usual.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the name, the socket and its address, for those who serve in their own way.
    pub(crate) fn into_parts(self) -> (String, TcpListener, SocketAddr) {
        (self.name, self.listener, self.address)
    }

    /// Answers with `routes`, with health and reflection beside them, until `closing`; then calls
    /// under way may end. `services` are the contract's names of what is served; `calls` observes; who
    /// fails says so to `failures`.
    #[must_use]
    pub fn serve(
        self,
        routes: Routes,
        services: &'static [&'static str],
        calls: Calls,
        closing: watch::Receiver<bool>,
        failures: mpsc::Sender<String>,
    ) -> Serving {
        let Self { name, listener, address, limits } = self;
        let what = name.clone();
        let task = tokio::spawn(async move {
            let (health, health_service) = tonic_health::server::health_reporter();
            report(&health, services, true).await;
            let routes = with_reflection(routes.add_service(health_service));
            let server = server(limits).layer(calls).layer(Charging).add_routes(routes);
            let end = drained(closing.clone(), health, services);
            let (connections, accepting) = connections::accept(listener, what.clone(), limits);
            let served = server.serve_with_incoming_shutdown(connections, end);
            let cause = served.await.map_or_else(|e| e.to_string(), |()| "it has ended".into());
            // Whoever comes after this may have the port.
            drop(accepting.await);
            if !*closing.borrow() {
                // Somebody has failed before when there is no room.
                drop(failures.try_send(format!("{what}: {cause}")));
            }
        });
        Serving { name, address, task }
    }
}

impl Serving {
    /// Returns what `task` serves at `address`.
    pub(crate) fn new(name: String, address: SocketAddr, task: JoinHandle<()>) -> Self {
        Self { name, address, task }
    }

    /// Waits until calls under way have ended, for `grace` at most; cuts off the rest.
    pub async fn ended(mut self, grace: Duration) {
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            tracing::warn!(service = self.name, "calls under way were cut off");
            self.task.abort();
        }
    }
}

/// Returns a server with the bounds that every port has.
pub(crate) fn server(limits: Limits) -> Server {
    Server::builder()
        .timeout(limits.call)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .http2_max_header_list_size(HEADERS_MAX)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
}

/// Returns `routes` with the description of the whole contract beside them, under both names that
/// clients ask for it.
pub(crate) fn with_reflection(routes: Routes) -> Routes {
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (described().build_v1(), described().build_v1alpha()) {
        (Ok(present), Ok(older)) => routes.add_service(present).add_service(older),
        // The descriptors are part of this program; without them everything else still answers.
        (Err(_), _) | (_, Err(_)) => routes,
    }
}

async fn report(health: &HealthReporter, services: &[&'static str], serves: bool) {
    let status = if serves {
        tonic_health::ServingStatus::Serving
    } else {
        tonic_health::ServingStatus::NotServing
    };
    for service in services.iter().copied().chain([""]) {
        health.set_service_status(service, status).await;
    }
}

/// Waits for `closing` and tells those who ask for health first.
async fn drained(
    mut closing: watch::Receiver<bool>,
    mut health: HealthReporter,
    services: &'static [&'static str],
) {
    drop(closing.wait_for(|closing| *closing).await.map(drop));
    report(&health, services, false).await;
    // The streams of those who watch the health end by nothing else, and a stop would wait for them
    // until its grace is over.
    tokio::spawn(async move {
        tokio::time::sleep(HEALTH_NEWS).await;
        for service in services.iter().copied().chain([""]) {
            health.clear_service_status(service).await;
        }
    });
}
