//! Process mode: the same services, each as a child that follows the log.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proctor_services::Backend;
use proctor_services::link::Children;
use tonic::service::Routes;
use tonic_health::ServingStatus;

use crate::child::pipe::Start;
use crate::child::{self, EXIT_MISCONFIGURED};
use crate::config::{Config, Services};
use crate::generation::Generations;
use crate::listener;
use crate::metrics::{Counted, Metrics};
use crate::service::{self, Service};
use crate::supervisor::plan::Policy;
use crate::supervisor::{self, Journal, Launch, Note, Setup, Supervisor};
use crate::{telemetry, tokens};

/// How often a child tells those who ask for health whether it can vouch for its answers.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// Starts every service of `config` as a child of the node at `node`, whose log is in `log`.
///
/// # Errors
/// When the system does not tell which file this program is.
pub fn start(
    config: &Config,
    node: SocketAddr,
    log: PathBuf,
    children: &Children,
    generations: &Arc<Generations>,
    metrics: &Metrics,
) -> io::Result<Supervisor> {
    let mut services = Vec::new();
    for service in Service::ALL {
        services.push(supervisor::Service {
            name: service.name().into(),
            launch: Launch::this_program(service.name())?,
            listen: SocketAddr::new(config.listen.host, service.port(&config.listen)),
            settings: serde_json::to_value(config)?,
        });
    }
    let setup = Setup {
        stale_after: Duration::from_millis(config.services.stale_after_ms),
        policy: policy(&config.services),
        ..Setup::new(node, log)
    };
    let journal: Arc<dyn Journal> = Arc::new(Lines::new(metrics.clone()));
    Ok(Supervisor::start(setup, services, children, generations, &journal))
}

/// Returns when to start, to wait and to give up, as `services` has it.
fn policy(services: &Services) -> Policy {
    Policy {
        hang_limit: Duration::from_millis(services.hang_after_ms),
        back_off_first: Duration::from_millis(services.back_off_first_ms),
        restarts_max: services.restarts_max,
        window: Duration::from_millis(services.restart_window_ms),
        ..Policy::default()
    }
}

/// Runs the service called `name` as a child, until it is told to end; returns the exit code.
#[must_use]
pub fn run_child(name: &str) -> u8 {
    let Some(service) = Service::parse(name) else {
        let known = Service::ALL.map(Service::name).join(", ");
        // Its supervisor reads standard error line by line.
        let _unread = io::Write::write_all(
            &mut io::stderr(),
            format!("error: there is no service {name}, known are {known}\n").as_bytes(),
        );
        return EXIT_MISCONFIGURED;
    };
    child::run_service(name, |start, backend, metrics| routes(service, start, &backend, metrics))
}

/// Returns what the child answers with.
fn routes(
    service: Service,
    start: &Start,
    backend: &Backend,
    metrics: &Metrics,
) -> Result<Routes, String> {
    let config: Config =
        serde_json::from_value(start.settings.clone()).map_err(|error| error.to_string())?;
    telemetry::start(&config.telemetry).map_err(|error| error.to_string())?;
    // The node has made the file before it starts a child.
    let none = || Err(io::Error::other("the node makes the token file"));
    let tokens = tokens::load(&config.token_file(), config.auth.open_reads, none)
        .map_err(|error| error.to_string())?;
    let terms = service::terms(&config, Arc::new(tokens), metrics.clone());
    let terms = terms.map_err(|error| error.to_string())?;
    let (health, health_service) = tonic_health::server::health_reporter();
    let (vouching, names) = (backend.clone(), service.contract_names());
    tokio::spawn(async move {
        loop {
            let fresh = vouching.read().is_ok();
            let status = if fresh { ServingStatus::Serving } else { ServingStatus::NotServing };
            // The server as a whole serves: its supervisor need not replace it for a stale view.
            for name in names {
                health.set_service_status(*name, status).await;
            }
            tokio::time::sleep(HEALTH_EVERY).await;
        }
    });
    let routes = service::routes(service, backend, &terms).add_service(health_service);
    Ok(listener::with_reflection(routes))
}

/// Writes notes as log lines, and counts restarts.
#[derive(Debug)]
struct Lines {
    metrics: Metrics,
    starts: BTreeMap<&'static str, AtomicU64>,
}

impl Lines {
    fn new(metrics: Metrics) -> Self {
        let starts = Service::ALL.map(|service| (service.name(), AtomicU64::new(0)));
        Self { metrics, starts: BTreeMap::from(starts) }
    }
}

impl Journal for Lines {
    fn note(&self, service: &str, note: &Note) {
        if let Note::Started { .. } = note
            && let Some((name, count)) = self.starts.get_key_value(service)
        {
            self.metrics.set_restarts(name, count.fetch_add(1, Ordering::Relaxed));
        }
        if let Note::Ended { .. } = note
            && let Some((name, _)) = self.starts.get_key_value(service)
        {
            self.metrics.child_gone(name);
        }
        if note.is_alert() {
            tracing::warn!(service, "{note}");
        } else {
            tracing::info!(service, "{note}");
        }
    }

    fn calls(&self, service: &str, counted: &Counted) {
        if let Some((name, _)) = self.starts.get_key_value(service) {
            self.metrics.add(name, counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Layers;

    use super::*;

    #[test]
    fn the_documented_defaults_of_restarts_are_those_of_the_plan() {
        let config = Config::of(&Layers::default()).expect("the defaults hold");
        assert_eq!(policy(&config.services), Policy::default());
    }
}
