//! The node from start to stop: what begins in which order, and how it ends without loss.
//!
//! Start: ports are bound and the directory is locked before anything is changed; the log is
//! recovered; the sequencer starts; services answer last. Stop: intake is closed and streams end,
//! calls under way finish, the sequencer works off its queue, the log is synced and sealed. Being
//! killed instead loses nothing that was acknowledged, it only makes the next start longer.

mod process;

use std::sync::Arc;
use std::time::Duration;

use proctor_commit_log::LogError;
use proctor_engine::Input;
use proctor_node::data_dir::{DataDir, DataDirError};
use proctor_node::rulebooks::Document;
use proctor_rpc::v1::node_server::NodeServer;
use proctor_sequencer::{
    Clock as _, FileShelf, Handle, OpenError, Sequencer, SubmitError, SystemClock, Writer,
    WriterConfig,
};
use proctor_services::auth::Authenticate;
use proctor_services::backend::Submitter;
use proctor_services::backend::direct::{AlwaysFresh, Direct};
use proctor_services::backend::forward::Forward;
use proctor_services::node::NodeService;
use proctor_services::{Backend, Freshness};
use proctor_types::UtcMs;
use proctor_types::time::DAY_MS;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::service::Routes;

use crate::config::{Config, Mode};
use crate::feed::{self, FeedError, Source};
use crate::generation::Generations;
use crate::isolated;
use crate::listener::{self, BindError, Bound, Serving};
use crate::metrics::{self, Metrics};
use crate::network::{self, JoinError, Joined, Part, Told};
use crate::service::{self, Service, Terms, WATCHERS_MAX};
use crate::supervisor::Supervisor;
use crate::telemetry;
use crate::tokens::{self, TokenError};
use process::NodeProcess;
use proctor_services::link::{Children, Link};

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
    /// The node cannot take part in its network.
    #[error(transparent)]
    Network(#[from] JoinError),
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
    metrics: Metrics,
    sequencer: Sequencer,
    servers: Vec<Serving>,
    tasks: JoinSet<()>,
    /// What ended though it should not.
    failures: mpsc::Receiver<String>,
    closing: watch::Sender<bool>,
    stop: Stop,
    process: Arc<NodeProcess>,
    /// The node among others.
    network: Option<Joined>,
    /// Keeps the services that run as children.
    supervisor: Option<Supervisor>,
    // Held until the log is closed.
    dir: DataDir,
}

/// The ports of a node.
struct Ports {
    node: Bound,
    services: Vec<(Service, Bound)>,
    metrics: Option<Bound>,
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
        let ports = ports(&config).await?;
        let dir = DataDir::create(&config.node.data)?;
        let tokens = Arc::new(tokens::load(&config.token_file(), config.auth.open_reads, secret)?);
        let sequencer = sequencer(&config, &dir).await?;
        let handle = sequencer.handle();
        let rules = service::rules(&config).map_err(|error| NodeError::Ended(error.to_string()))?;
        let network = network::join(&config, &dir, &handle, rules).await?;
        let part = Part::of(&config);
        if matches!(part, Part::Sequencer) {
            adopt(&handle, document.text, source.opening()).await?;
        }
        let generations = Arc::new(generations()?);
        let (closing, closed) = watch::channel(false);
        let submitter: Arc<dyn Submitter> = match (&part, &network) {
            (Part::Follower(_), Some(network)) => {
                Arc::new(Forward::new(network.carrier(), handle.views().clone()))
            }
            _ => Arc::new(Direct(handle.clone())),
        };
        let stale_after = Duration::from_millis(config.services.stale_after_ms);
        let freshness: Arc<dyn Freshness> = match &network {
            Some(network) => network.freshness(handle.views(), stale_after),
            None => Arc::new(AlwaysFresh),
        };
        let backend = Backend::new(
            handle.views().clone(),
            submitter,
            freshness,
            Arc::new(SystemClock),
            generations.next(),
            closed.clone(),
        );
        let told = network.as_ref().map(Joined::told);
        let status = told.as_ref().map(Told::status);
        let metrics = Metrics::of_node(SystemClock.now(), handle.clone(), status);
        let process = Arc::new(NodeProcess::new(&config, handle.clone(), stop.clone(), told));
        let (failed, failures) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        if matches!(part, Part::Sequencer) {
            let inputs = Inputs { source, handle: &handle, metrics: &metrics };
            inputs.start(&config, &closed, &failed, &mut tasks);
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            tasks.spawn(telemetry::tell_commits(backend.views().clone(), closed.clone()));
        }
        let terms = service::terms(&config, tokens, metrics.clone())
            .map_err(|error| NodeError::Ended(error.to_string()))?;
        let children = Children::default();
        let node = ports.node.address();
        let servers = serve(ports, &backend, &terms, &process, &children, &closed, &failed);
        let supervisor = match config.services.mode {
            Mode::Direct => None,
            Mode::Process => {
                let log = dir.log();
                let started =
                    isolated::start(&config, node, log, &children, &generations, &metrics);
                let supervisor =
                    started.map_err(|error| NodeError::Ended(format!("this program: {error}")))?;
                for service in Service::ALL {
                    if let Some(status) = supervisor.watch(service.name()) {
                        process.keeps(service, status);
                    }
                }
                Some(supervisor)
            }
        };
        Ok(Self {
            config,
            backend,
            metrics,
            sequencer,
            servers,
            tasks,
            failures,
            closing,
            stop,
            process,
            network,
            supervisor,
            dir,
        })
    }

    /// Returns where everything listens, by name.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&str, std::net::SocketAddr)> {
        let servers = self.servers.iter().map(|server| (server.name.as_str(), server.address));
        let peers = self.network.as_ref().and_then(Joined::address);
        servers.chain(peers.map(|address| ("peers", address))).collect()
    }

    /// Returns the key by which other nodes know this one, if it has to do with any.
    #[must_use]
    pub fn id(&self) -> Option<proctor_p2p::NodeId> {
        self.network.as_ref().map(Joined::id)
    }

    /// Returns the backend of the services in this process.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Returns the metrics of this process.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
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
        self.process.drain();
        tracing::info!("stopping: intake is closed, calls under way may end");
        if let Some(supervisor) = self.supervisor {
            // Before the link to them ends: what is under way there needs it.
            supervisor.stop().await;
        }
        self.closing.send_replace(true);
        let grace = Duration::from_millis(self.config.stop.grace_ms);
        for server in self.servers {
            server.ended(grace.saturating_sub(started.elapsed())).await;
        }
        self.tasks.shutdown().await;
        if let Some(network) = self.network {
            network.stop().await;
        }
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

/// What a sequencer puts into the log by itself: prices and the passing of time.
struct Inputs<'a> {
    source: Source,
    handle: &'a Handle,
    metrics: &'a Metrics,
}

impl Inputs<'_> {
    fn start(
        self,
        config: &Config,
        closed: &watch::Receiver<bool>,
        failed: &mpsc::Sender<String>,
        tasks: &mut JoinSet<()>,
    ) {
        let Self { source, handle, metrics } = self;
        let tick = Duration::from_millis(config.node.tick_ms);
        let tick = feed::tick(tick, handle.clone(), closed.clone());
        tasks.spawn(watched("the clock", tick, failed.clone()));
        let interval = Duration::from_millis(config.feed.interval_ms);
        let play = feed::play(source, interval, handle.clone(), metrics.clone(), closed.clone());
        tasks.spawn(watched("the feed", play, failed.clone()));
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
    let metrics = match config.listen.metrics {
        0 => None,
        port => Some(listener::bind(host, port, "metrics").await?),
    };
    Ok(Ports { node, services, metrics })
}

/// Recovers the log and starts the sequencer.
pub(crate) async fn sequencer(config: &Config, dir: &DataDir) -> Result<Sequencer, NodeError> {
    let writer = WriterConfig {
        snapshot_every: config.log.snapshot_every,
        snapshots_kept: config.log.snapshots_kept,
        shelf: Some(Arc::new(FileShelf::new(dir.log()))),
        keeps_oldest: config.network.retain().is_some(),
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

/// Lets every port answer.
fn serve(
    ports: Ports,
    backend: &Backend,
    terms: &Terms,
    process: &Arc<NodeProcess>,
    children: &Children,
    closed: &watch::Receiver<bool>,
    failed: &mpsc::Sender<String>,
) -> Vec<Serving> {
    let mut servers = Vec::new();
    let calls = || terms.metrics.calls();
    for (service, port) in ports.services {
        let routes = service::routes(service, backend, terms);
        process.serves(service, port.address(), backend.generation());
        let (names, closed, failed) = (service.contract_names(), closed.clone(), failed.clone());
        servers.push(port.serve(routes, names, calls(), closed, failed));
    }
    let gate = terms.metrics.gate("node", WATCHERS_MAX);
    let node = NodeService::new(backend.clone(), Arc::clone(process) as _, gate);
    let node = NodeServer::with_interceptor(node, Authenticate(Arc::clone(&terms.tokens)));
    // Nobody is a child in direct mode, so nobody is let in there.
    let routes = Routes::new(node).add_service(Link::service(backend.clone(), children.clone()));
    let names = &["proctor.v1.Node"];
    servers.push(ports.node.serve(routes, names, calls(), closed.clone(), failed.clone()));
    if let Some(port) = ports.metrics {
        servers.push(metrics::serve(port, terms.metrics.clone(), closed.clone()));
    }
    servers
}

/// Returns the source of the numbers of this node's process starts.
fn generations() -> Result<Generations, NodeError> {
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy)
        .map_err(|error| NodeError::Ended(format!("the system gives no entropy: {error}")))?;
    Ok(Generations::new(SystemClock.now(), std::process::id(), entropy))
}

/// Returns a new secret of 256 bits.
fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
