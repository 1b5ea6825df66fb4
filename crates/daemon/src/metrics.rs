//! What Prometheus is told: the writer's numbers, calls, watchers, restarts, the process itself.
//!
//! No label is taken from a request or from the state, so the number of series is fixed by the
//! contract, the services and the codes of the rules.

mod calls;
mod http;
mod network;
mod process;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use proctor_sequencer::Handle;
use proctor_services::watch::Gate;
use proctor_types::UtcMs;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

pub use calls::Calls;
pub use http::serve;
pub use table::Counted;

use network::Networked;
use process::Collected;
use table::ToldSoFar;

/// Where the network between nodes is, at every moment.
pub type NetworkStatus = watch::Receiver<Arc<proctor_network::Status>>;

/// Gates of watchers by service, in the order in which they came.
type Gates = Arc<Mutex<Vec<(&'static str, Gate)>>>;

/// Watchers of services that are children: how many there are, and how many were let go so far.
type ChildWatchers = Arc<Mutex<BTreeMap<&'static str, (u64, u64)>>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

/// The metrics of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<All>);

#[derive(Debug)]
struct All {
    registry: Registry,
    calls: Calls,
    restarts: Family<ServiceLabels, Gauge>,
    feed_skips: Counter,
    gates: Gates,
    child_watchers: ChildWatchers,
}

/// What a child's process has told its node of its calls.
#[derive(Debug, Default)]
pub struct Reported {
    calls: ToldSoFar,
    too_slow: u64,
}

impl Metrics {
    /// Returns the metrics of a process that began at `started`; `writer` is the way to its writer,
    /// when it has one.
    #[must_use]
    pub fn new(started: UtcMs, writer: Option<Handle>) -> Self {
        Self::begin(Registry::with_prefix("proctor"), started, writer)
    }

    fn begin(mut registry: Registry, started: UtcMs, writer: Option<Handle>) -> Self {
        let calls = Calls::new(&mut registry);
        let (restarts, feed_skips) = (Family::default(), Counter::default());
        let help = "How often the supervisor has replaced the service since the node's start";
        registry.register("service_restarts", help, restarts.clone());
        let help = "Prices that were left out because the queue was full";
        registry.register("feed_skips", help, feed_skips.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which software this is", version);
        let (gates, child_watchers) = (Gates::default(), ChildWatchers::default());
        registry.register_collector(Box::new(Collected {
            started,
            writer,
            gates: Arc::clone(&gates),
            child_watchers: Arc::clone(&child_watchers),
        }));
        Self(Arc::new(All { registry, calls, restarts, feed_skips, gates, child_watchers }))
    }

    /// Returns the metrics of a node, with those of its `network`, if it has one.
    #[must_use]
    pub fn of_node(started: UtcMs, writer: Handle, network: Option<NetworkStatus>) -> Self {
        let mut registry = Registry::with_prefix("proctor");
        if let Some(network) = network {
            registry.register_collector(Box::new(Networked(network)));
        }
        Self::begin(registry, started, Some(writer))
    }

    /// Returns the layer that observes calls.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.calls.clone()
    }

    /// Counts a price that was left out.
    pub fn feed_skipped(&self) {
        self.0.feed_skips.inc();
    }

    /// States how often `service` was replaced so far.
    pub fn set_restarts(&self, service: &'static str, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.0.restarts.get_or_create(&ServiceLabels { service }).set(count);
    }

    /// Returns a gate for at most `max` watchers of `service`, whom the metrics count.
    #[must_use]
    pub fn gate(&self, service: &'static str, max: usize) -> Gate {
        let gate = Gate::new(max);
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.push((service, gate.clone()));
        gate
    }

    /// Returns what this process has counted of its calls since it last reported.
    #[must_use]
    pub fn counted(&self, reported: &mut Reported) -> Counted {
        let gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let watchers: usize = gates.iter().map(|(_, gate)| gate.watchers()).sum();
        let too_slow = gates.iter().map(|(_, gate)| gate.too_slow()).sum();
        drop(gates);
        let before = std::mem::replace(&mut reported.too_slow, too_slow);
        let mut counted = self.0.calls.since(&mut reported.calls);
        counted.watchers = u64::try_from(watchers).unwrap_or(u64::MAX);
        counted.too_slow = too_slow.saturating_sub(before);
        counted
    }

    /// Adds what the child that is `service` has counted.
    pub fn add(&self, service: &'static str, counted: &Counted) {
        self.0.calls.add(service, counted);
        let children = &self.0.child_watchers;
        let mut children = children.lock().unwrap_or_else(PoisonError::into_inner);
        let (watchers, too_slow) = children.entry(service).or_default();
        *watchers = counted.watchers;
        *too_slow = too_slow.saturating_add(counted.too_slow);
    }

    /// Takes note that the process that was `service` has ended: nothing of it is under way.
    pub fn child_gone(&self, service: &'static str) {
        self.0.calls.gone(service);
        let children = &self.0.child_watchers;
        let mut children = children.lock().unwrap_or_else(PoisonError::into_inner);
        children.entry(service).or_default().0 = 0;
    }

    /// Returns everything in the text format of OpenMetrics.
    ///
    /// # Panics
    /// Never: writing to a text does not fail.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry).expect("writing to a text does not fail");
        out
    }
}
