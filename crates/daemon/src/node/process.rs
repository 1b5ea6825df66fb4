//! What the node's process knows of itself: phase, queue, and how its services are.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proctor_rpc::v1::ServiceStatus;
use proctor_sequencer::{Clock as _, Handle, SystemClock};
use proctor_services::node::peers::Peers;
use proctor_services::node::{Facts, Process};
use tokio::sync::watch;

use super::Stop;
use crate::config::Config;
use crate::feed::Source;
use crate::network::{Part, Told};
use crate::service::Service;
use crate::supervisor::{Phase, Status};

/// What the process knows of itself.
#[derive(Debug)]
pub(super) struct NodeProcess {
    chain_id: String,
    feed: String,
    network: Option<Told>,
    started_ms: i64,
    handle: Handle,
    stop: Stop,
    draining: AtomicBool,
    services: Mutex<Vec<Known>>,
}

/// How one service runs.
#[derive(Debug)]
enum Known {
    /// In this process.
    Direct { service: Service, address: SocketAddr, generation: u64 },
    /// As a child.
    Child { service: Service, status: watch::Receiver<Status> },
}

impl NodeProcess {
    pub(super) fn new(config: &Config, handle: Handle, stop: Stop, network: Option<Told>) -> Self {
        Self {
            chain_id: config.node.chain_id.clone(),
            feed: match Part::of(config) {
                Part::Sequencer => Source::describe(&config.feed),
                Part::Follower(_) => "the sequencer's".into(),
            },
            network,
            started_ms: SystemClock.now().0,
            handle,
            stop,
            draining: AtomicBool::new(false),
            services: Mutex::new(Vec::new()),
        }
    }

    /// Notes that the node is about to end.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Notes that `service` answers at `address` in this process.
    pub(super) fn serves(&self, service: Service, address: SocketAddr, generation: u64) {
        self.know(Known::Direct { service, address, generation });
    }

    /// Notes that `service` is a child whose state `status` tells.
    pub(super) fn keeps(&self, service: Service, status: watch::Receiver<Status>) {
        self.know(Known::Child { service, status });
    }

    fn know(&self, known: Known) {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    }
}

impl Process for NodeProcess {
    fn facts(&self) -> Facts {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let draining = self.draining.load(Ordering::Relaxed);
        let known = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let services: Vec<ServiceStatus> = known.iter().map(status_of).collect();
        let held = services.iter().filter(|service| service.state == "held");
        let alerts = held.map(|service| format!("{} is held: {}", service.name, service.note));
        let network = self.network.as_ref();
        let alerts = alerts.chain(network.map(Told::alerts).unwrap_or_default());
        Facts {
            chain_id: self.chain_id.clone(),
            started_ms: self.started_ms,
            queue_depth: count(self.handle.waiting()),
            queue_max: count(self.handle.queue_max()),
            feed: self.feed.clone(),
            network: network.map(Told::line).unwrap_or_default(),
            phase: if draining { "draining" } else { "running" }.into(),
            alerts: alerts.collect(),
            services: services.clone(),
        }
    }

    fn stop(&self) {
        self.stop.stop();
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        self.network.as_ref().map(Told::peers)
    }
}

fn status_of(known: &Known) -> ServiceStatus {
    match known {
        Known::Direct { service, address, generation } => ServiceStatus {
            name: service.name().into(),
            address: address.to_string(),
            state: "ready".into(),
            mode: "direct".into(),
            pid: Some(std::process::id()),
            generation: *generation,
            ..ServiceStatus::default()
        },
        Known::Child { service, status } => {
            let status = status.borrow();
            let state = match status.phase {
                Phase::Absent if status.starts > 0 => "restarting",
                Phase::Absent | Phase::Starting => "starting",
                Phase::Ready => "ready",
                Phase::Stopping => "stopping",
                Phase::Held => "held",
            };
            ServiceStatus {
                name: service.name().into(),
                address: status.address.map(|address| address.to_string()).unwrap_or_default(),
                state: state.into(),
                mode: "process".into(),
                restarts: u32::try_from(status.starts.saturating_sub(1)).unwrap_or(u32::MAX),
                pid: status.pid,
                generation: status.generation,
                note: status.last_end.clone().unwrap_or_default(),
            }
        }
    }
}
