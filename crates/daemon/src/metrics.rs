//! What Prometheus is told: the writer's numbers, calls, watchers, restarts, the process itself.
//!
//! No label is taken from a request or from the state, so the number of series is fixed by the
//! contract, the services and the codes of the rules.

mod calls;
mod http;
mod process;

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

pub use calls::Calls;
pub use http::serve;

use process::Collected;

/// Gates of watchers by service, in the order in which they came.
type Gates = Arc<Mutex<Vec<(&'static str, Gate)>>>;

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
}

impl Metrics {
    /// Returns the metrics of a process that began at `started`; `writer` is the way to its writer,
    /// when it has one.
    #[must_use]
    pub fn new(started: UtcMs, writer: Option<Handle>) -> Self {
        let mut registry = Registry::with_prefix("proctor");
        let calls = Calls::new(&mut registry);
        let (restarts, feed_skips) = (Family::default(), Counter::default());
        let help = "How often the supervisor has replaced the service since the node's start";
        registry.register("service_restarts", help, restarts.clone());
        let help = "Prices that were left out because the queue was full";
        registry.register("feed_skips", help, feed_skips.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which software this is", version);
        let gates = Gates::default();
        registry.register_collector(Box::new(Collected {
            started,
            writer,
            gates: Arc::clone(&gates),
        }));
        Self(Arc::new(All { registry, calls, restarts, feed_skips, gates }))
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
