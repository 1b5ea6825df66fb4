//! The node from start to stop: what begins in which order, and how it ends without loss.
//!
//! Start: ports are bound and the directory is locked before anything is changed; the log is
//! recovered; the sequencer starts; services answer last. Stop: intake is closed and streams end,
//! calls under way finish, the sequencer works off its queue, the log is synced and sealed. Being
//! killed instead loses nothing that was acknowledged, it only makes the next start longer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proctor_commit_log::LogError;
use proctor_engine::Input;
use proctor_keys::{ChainId, Rules};
use proctor_node::data_dir::{DataDir, DataDirError};
use proctor_node::rulebooks::Document;
use proctor_rpc::v1;
use proctor_rpc::v1::node_server::NodeServer;
use proctor_sequencer::{
    Clock as _, Handle, OpenError, Sequencer, SubmitError, SystemClock, Writer, WriterConfig,
};
use proctor_services::auth::Authenticate;
use proctor_services::backend::direct::{AlwaysFresh, Direct};
use proctor_services::node::{Facts, NodeService, Process};
use proctor_services::orders::RateLimit;
use proctor_services::{Backend, Tokens};
use proctor_types::time::DAY_MS;
use proctor_types::{DurationMs, UtcMs};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::service::Routes;

use crate::config::{Config, Mode};
use crate::feed::{self, FeedError, Source};
use crate::listener::{self, BindError, Bound, Serving};
use crate::service::{self, Service, Terms, WATCHERS_MAX};
use crate::tokens::{self, TokenError};

/// How many traders and addresses the limit of orders remembers.
const TRADERS_REMEMBERED: usize = 16_384;

/// Why a node did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The token file cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The log cannot be opened for writing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The rulebook of the configuration cannot be used.
    #[error("node.rulebook: {0}")]
    Rulebook(String),
    /// Prices cannot be had or submitted.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The sequencer takes nothing.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A part of the node has ended, and with it the node.
    #[error("the node has stopped: {0}")]
    Ended(String),
    /// The log could not be closed; everything acknowledged is durable.
    #[error("closing the log: {0}")]
    Close(LogError),
}

/// Asks a node to end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Stop {
    /// Asks the node to end, in phases.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until somebody has asked.
    async fn asked(&self) {
        // The sender lives as long as this does.
        drop(self.0.subscribe().wait_for(|asked| *asked).await.map(drop));
    }
}

/// A node that answers.
#[derive(Debug)]
pub struct Running {
    config: Config,
    backend: Backend,
    sequencer: Sequencer,
    servers: Vec<Serving>,
    tasks: JoinSet<()>,
    /// What ended though it should not.
    failures: mpsc::Receiver<String>,
    closing: watch::Sender<bool>,
    stop: Stop,
    process: Arc<NodeProcess>,
    // Held until the log is closed.
    dir: DataDir,
}

/// The ports of a node.
struct Ports {
    node: Bound,
    services: Vec<(Service, Bound)>,
}

impl Running {
    /// Starts a node; it answers when this returns.
    ///
    /// # Errors
    /// [`NodeError`] says what is in the way; then nothing of it runs.
    pub async fn start(config: Config, stop: Stop) -> Result<Self, NodeError> {
        let source = Source::of(&config.feed)?;
        let document = Document::read(&config.node.rulebook)
            .map_err(|error| NodeError::Rulebook(error.to_string()))?;
        document.check().map_err(|error| NodeError::Rulebook(error.to_string()))?;
        let dir = DataDir::create(&config.node.data)?;
        let tokens = Arc::new(tokens::load(&config.token_file(), config.auth.open_reads, secret)?);
        let ports = ports(&config).await?;
        let sequencer = sequencer(&config, &dir).await?;
        let handle = sequencer.handle();
        adopt(&handle, document.text, source.opening()).await?;
        let (closing, closed) = watch::channel(false);
        let backend = Backend::new(
            handle.views().clone(),
            Arc::new(Direct(handle.clone())),
            Arc::new(AlwaysFresh),
            Arc::new(SystemClock),
            generation(),
            closed.clone(),
        );
        let process = Arc::new(NodeProcess::new(&config, handle.clone(), stop.clone()));
        let (failed, failures) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let tick = Duration::from_millis(config.node.tick_ms);
        let tick = feed::tick(tick, handle.clone(), closed.clone());
        tasks.spawn(watched("the clock", tick, failed.clone()));
        let interval = Duration::from_millis(config.feed.interval_ms);
        let play = feed::play(source, interval, handle, closed.clone());
        tasks.spawn(watched("the feed", play, failed.clone()));
        let terms = terms(&config, tokens)?;
        let servers = serve(ports, &backend, &terms, &process, &closed, &failed);
        Ok(Self {
            config,
            backend,
            sequencer,
            servers,
            tasks,
            failures,
            closing,
            stop,
            process,
            dir,
        })
    }

    /// Returns where everything listens, by name.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&str, std::net::SocketAddr)> {
        self.servers.iter().map(|server| (server.name.as_str(), server.address)).collect()
    }

    /// Returns the backend of the services in this process.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Runs until somebody asks for the end or a part fails; then ends in phases.
    ///
    /// # Errors
    /// [`NodeError::Ended`] when a part has failed, [`NodeError::Close`].
    pub async fn until_stopped(mut self) -> Result<(), NodeError> {
        let failed = self.wait().await;
        if let Some(cause) = &failed {
            tracing::error!(cause, "a part of the node has failed");
        }
        let closed = self.end().await;
        match failed {
            Some(cause) => Err(NodeError::Ended(cause)),
            None => closed,
        }
    }

    /// Waits for the end; returns what has failed, if anything.
    async fn wait(&mut self) -> Option<String> {
        tokio::select! {
            () = self.stop.asked() => None,
            cause = self.failures.recv() => cause,
        }
    }

    async fn end(mut self) -> Result<(), NodeError> {
        let started = std::time::Instant::now();
        self.process.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping: intake is closed, calls under way may end");
        self.closing.send_replace(true);
        let grace = Duration::from_millis(self.config.stop.grace_ms);
        for server in self.servers {
            server.ended(grace.saturating_sub(started.elapsed())).await;
        }
        self.tasks.shutdown().await;
        tracing::info!("stopping: the queue is worked off, the log is closed");
        let sequencer = self.sequencer;
        let closed = tokio::task::spawn_blocking(move || {
            let writer = sequencer.stop();
            let stamp = writer.stamp();
            writer.close().map(|()| stamp)
        });
        let closed = closed.await.map_err(|error| NodeError::Ended(error.to_string()))?;
        let stamp = closed.map_err(NodeError::Close)?;
        drop(self.dir);
        tracing::info!(commit = stamp.commit, "stopped: everything is on disk");
        Ok(())
    }
}

/// Runs `task` and tells `failed` why it failed, if it did.
async fn watched(
    name: &str,
    task: impl Future<Output = Result<(), FeedError>>,
    failed: mpsc::Sender<String>,
) {
    if let Err(error) = task.await {
        // Somebody has failed before when there is no room.
        drop(failed.try_send(format!("{name}: {error}")));
    }
}

/// Takes every port, or none.
async fn ports(config: &Config) -> Result<Ports, BindError> {
    let host = config.listen.host;
    let node = listener::bind(host, config.listen.node, "node").await?;
    let mut services = Vec::new();
    if config.services.mode == Mode::Direct {
        for service in Service::ALL {
            let port = service.port(&config.listen);
            services.push((service, listener::bind(host, port, service.name()).await?));
        }
    }
    Ok(Ports { node, services })
}

/// Recovers the log and starts the sequencer.
async fn sequencer(config: &Config, dir: &DataDir) -> Result<Sequencer, NodeError> {
    let writer = WriterConfig {
        snapshot_every: config.log.snapshot_every,
        snapshots_kept: config.log.snapshots_kept,
        ..WriterConfig::default()
    };
    let storage = dir.storage();
    let opened = tokio::task::spawn_blocking(move || Writer::open(storage, writer)).await;
    let opened = opened.map_err(|error| NodeError::Ended(error.to_string()))??;
    for skipped in &opened.skipped {
        tracing::warn!(error = %skipped.error, "a damaged snapshot was left out: the log has it all");
    }
    let stamp = opened.writer.stamp();
    let (snapshot, replayed) = (opened.snapshot.unwrap_or(0), opened.replayed);
    tracing::info!(commit = stamp.commit, snapshot, replayed, "the log is recovered");
    Ok(Sequencer::start(opened.writer, SystemClock, config.node.queue_max))
}

/// Submits the rulebook when it is not the one in force; on an empty log with `opening` behind it.
///
/// An account's size counts from the midnight after it was told, so the first traders of a made-up
/// world were told of a day ago: else nobody would trade before the next day.
async fn adopt(handle: &Handle, document: String, opening: Vec<Input>) -> Result<(), NodeError> {
    let view = handle.view();
    if view.rulebooks.last().is_some_and(|adopted| adopted.text == document) {
        return Ok(());
    }
    let mut inputs = vec![Input::Rulebook(document)];
    let pending = if view.stamp.commit == 0 && !opening.is_empty() {
        inputs.extend(opening);
        handle.submit_at(UtcMs(SystemClock.now().0 - DAY_MS), inputs)?
    } else {
        handle.submit(inputs)?
    };
    match pending.answered().await?.replies.first() {
        Some(Err(rejection)) => Err(NodeError::Rulebook(rejection.to_string())),
        _ => Ok(()),
    }
}

/// Returns what the services are told besides a backend.
fn terms(config: &Config, tokens: Arc<Tokens>) -> Result<Terms, NodeError> {
    let chain_id = ChainId::new(&config.node.chain_id)
        .map_err(|error| NodeError::Ended(format!("node.chain_id: {error}")))?;
    let rules = Rules { chain_id, window_max: DurationMs(config.orders.window_max_ms) };
    let limit = (config.orders.rate_max > 0).then_some(RateLimit {
        orders: config.orders.rate_max,
        window: DurationMs(config.orders.rate_window_ms),
        remembered: TRADERS_REMEMBERED,
    });
    Ok(Terms { tokens, rules, limit })
}

/// Lets every port answer.
fn serve(
    ports: Ports,
    backend: &Backend,
    terms: &Terms,
    process: &Arc<NodeProcess>,
    closed: &watch::Receiver<bool>,
    failed: &mpsc::Sender<String>,
) -> Vec<Serving> {
    let mut servers = Vec::new();
    for (service, port) in ports.services {
        let routes = service::routes(service, backend, terms);
        process.serves(service, port.address());
        servers.push(port.serve(routes, service.contract_names(), closed.clone(), failed.clone()));
    }
    let node = NodeService::new(backend.clone(), Arc::clone(process) as _, WATCHERS_MAX);
    let node = NodeServer::with_interceptor(node, Authenticate(Arc::clone(&terms.tokens)));
    let routes = Routes::new(node);
    servers.push(ports.node.serve(routes, &["proctor.v1.Node"], closed.clone(), failed.clone()));
    servers
}

/// Returns a number that differs from every earlier start's: the time of the start in microseconds.
fn generation() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// Returns a new secret of 256 bits.
fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the process knows of itself.
#[derive(Debug)]
struct NodeProcess {
    chain_id: String,
    feed: String,
    started_ms: i64,
    handle: Handle,
    stop: Stop,
    draining: AtomicBool,
    services: Mutex<Vec<v1::ServiceStatus>>,
}

impl NodeProcess {
    fn new(config: &Config, handle: Handle, stop: Stop) -> Self {
        Self {
            chain_id: config.node.chain_id.clone(),
            feed: Source::describe(&config.feed),
            started_ms: SystemClock.now().0,
            handle,
            stop,
            draining: AtomicBool::new(false),
            services: Mutex::new(Vec::new()),
        }
    }

    /// Notes that `service` answers at `address` in this process.
    fn serves(&self, service: Service, address: std::net::SocketAddr) {
        let status = v1::ServiceStatus {
            name: service.name().into(),
            address: address.to_string(),
            state: "ready".into(),
            mode: "direct".into(),
            pid: Some(std::process::id()),
            ..v1::ServiceStatus::default()
        };
        self.services.lock().unwrap_or_else(PoisonError::into_inner).push(status);
    }
}

impl Process for NodeProcess {
    fn facts(&self) -> Facts {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let draining = self.draining.load(Ordering::Relaxed);
        Facts {
            chain_id: self.chain_id.clone(),
            started_ms: self.started_ms,
            queue_depth: count(self.handle.waiting()),
            queue_max: count(self.handle.queue_max()),
            feed: self.feed.clone(),
            phase: if draining { "draining" } else { "running" }.into(),
            services: self.services.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            alerts: Vec::new(),
        }
    }

    fn stop(&self) {
        self.stop.stop();
    }
}
