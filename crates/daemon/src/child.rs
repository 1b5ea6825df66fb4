//! What `proctor service NAME` does: follow the node, serve one service, and say that it lives.
//!
//! The order is that of the race register: state first, then the listener, then a call to itself,
//! and only then "ready". It ends when it is told to, when the node cannot be followed, and
//! when its supervisor is gone, which the end of the pipe says; no flag is shared with anybody
//! and nothing is ever sent to a process or port of others.

pub mod health;
pub mod pipe;

use std::io::{BufRead, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proctor_commit_log::storage::files::FileStorage;
use proctor_sequencer::{Clock as _, FileShelf, Follower, SystemClock, Views};
use proctor_services::Backend;
use proctor_services::backend::remote::{self, Remote, RemoteError, Settings};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::service::Routes;

use crate::listener::{self, Charging, LIMITS, connections};
use crate::metrics::{Metrics, Reported};
use pipe::{LINE_BYTES_MAX, Order, Report, Start};

/// It ended because it was told to, or because its supervisor is gone.
pub const EXIT_DRAINED: u8 = 0;
/// It cannot go on; another attempt may.
pub const EXIT_FAILED: u8 = 70;
/// It cannot start as it is configured; another attempt would not help.
pub const EXIT_MISCONFIGURED: u8 = 78;

/// How long the call to itself may take.
const SELF_CALL: Duration = Duration::from_secs(10);
/// How long a process may outlive the pipe to its supervisor beyond the time for draining.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);
/// How often a port that is in use is asked for.
const PORT_EVERY: Duration = Duration::from_millis(50);

/// Why a child ends early.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// There is no usable first line on standard input.
    #[error(
        "no start message on standard input ({0}): `proctor service` is started by `proctor run \
         --isolated`, not by hand"
    )]
    NoStart(String),
    /// The log's directory cannot be opened.
    #[error("cannot open the log in {path}: {error}; is the data directory the node's?")]
    Log {
        /// Where it was looked for.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The service cannot be built as it is configured.
    #[error("cannot build the service {service}: {message}")]
    Build {
        /// Its name.
        service: String,
        /// What is wrong.
        message: String,
    },
    /// The port cannot be listened on.
    #[error(
        "cannot listen on {address} for the service {service}: {error}; stop what uses the port, \
         or configure another"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The service.
        service: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The node cannot be followed.
    #[error("{0}")]
    Remote(String),
    /// The service does not answer its own call.
    #[error(
        "the service {service} listens on {address}, but does not answer its own call: {message}"
    )]
    SelfCall {
        /// Its name.
        service: String,
        /// Where.
        address: SocketAddr,
        /// What came instead.
        message: String,
    },
    /// The server has ended.
    #[error("the server has ended: {0}")]
    Server(String),
    /// The system gives no runtime or no random numbers.
    #[error("the system refuses {what}: {message}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What it says.
        message: String,
    },
}

impl ChildError {
    /// Returns the exit code: [`EXIT_MISCONFIGURED`] where another attempt would not help.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoStart(_) | Self::Log { .. } | Self::Build { .. } | Self::Listen { .. } => {
                EXIT_MISCONFIGURED
            }
            Self::Remote(_) | Self::SelfCall { .. } | Self::Server(_) | Self::System { .. } => {
                EXIT_FAILED
            }
        }
    }
}

impl From<&RemoteError> for ChildError {
    fn from(error: &RemoteError) -> Self {
        Self::Remote(error.to_string())
    }
}

/// Runs the service that standard input names, until it is told to end; returns the exit code.
///
/// `build` makes the service's routes over the backend, the standard health service in them, with what
/// counts their calls, which the supervisor is told of. Reports
/// go to standard output; nothing else should.
#[must_use]
pub fn run_service(
    name: &str,
    build: impl FnOnce(&Start, Backend, &Metrics) -> Result<Routes, String>,
) -> u8 {
    let (orders, received) = mpsc::channel(4);
    let (first, start) = blocking::sync_channel(1);
    std::thread::spawn(move || read_orders(first, &orders));
    let outcome = begin(name, &start).and_then(|start| {
        let workers =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = workers.map_err(|error| ChildError::System {
            what: "a runtime",
            message: error.to_string(),
        })?;
        let outcome = runtime.block_on(serve(start, received, build));
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => EXIT_DRAINED,
        Err(error) => {
            say(&Report::Failed { message: error.to_string() });
            error.exit_code()
        }
    }
}

/// Returns what the supervisor said first.
fn begin(name: &str, first: &blocking::Receiver<String>) -> Result<Start, ChildError> {
    let line = first.recv().map_err(|_| ChildError::NoStart("it is empty".into()))?;
    // The line holds the secret, so an error names the place and not the text.
    let start: Start = serde_json::from_str(&line).map_err(|error| {
        ChildError::NoStart(format!("line {}, column {}", error.line(), error.column()))
    })?;
    if start.service != name {
        let other = &start.service;
        return Err(ChildError::NoStart(format!("it is for the service {other}, not {name}")));
    }
    Ok(start)
}

/// Reads standard input for as long as the supervisor lives, and sees to it that the process does
/// not outlive it, in whatever state the rest of the process is.
fn read_orders(first: blocking::SyncSender<String>, orders: &mpsc::Sender<Order>) {
    let mut input = std::io::stdin().lock();
    let mut next = || {
        let mut line = String::new();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = input.by_ref().take(limit).read_line(&mut line);
        read.is_ok_and(|bytes| bytes > 0).then_some(line)
    };
    let mut drain = ORPHAN_GRACE;
    if let Some(line) = next() {
        if let Ok(start) = serde_json::from_str::<Start>(&line) {
            drain += Duration::from_millis(start.drain_ms);
        }
        // It fails only when the process is ending already.
        drop(first.send(line));
        while let Some(line) = next() {
            if let Ok(order) = serde_json::from_str(&line) {
                let _ended = orders.blocking_send(order);
            }
        }
    } else {
        // Nobody said anything: whoever waits for it is told so.
        drop(first);
    }
    // The pipe is closed: the supervisor is gone, or wants nothing more from this process.
    let _full_or_ended = orders.try_send(Order::Drain);
    std::thread::sleep(drain);
    std::process::exit(i32::from(EXIT_FAILED));
}

/// Writes a report; a supervisor that is gone is noticed elsewhere.
fn say(report: &Report) {
    if let Ok(line) = pipe::line(report) {
        let mut output = std::io::stdout().lock();
        drop(output.write_all(line.as_bytes()).and_then(|()| output.flush()));
    }
}

/// Follows, listens, calls itself, reports, and serves until it is told to end.
async fn serve(
    start: Start,
    orders: mpsc::Receiver<Order>,
    build: impl FnOnce(&Start, Backend, &Metrics) -> Result<Routes, String>,
) -> Result<(), ChildError> {
    let mut endings = Endings::new(orders);
    let (folded, commits) = watch::channel(None);
    tokio::spawn(beat(Duration::from_millis(start.beat_every_ms.max(1)), commits));
    let followed = tokio::select! {
        followed = follow(&start) => followed?,
        () = endings.told() => return Ok(()),
    };
    folded.send_replace(Some(followed.views.clone()));
    let (closing, closed) = watch::channel(false);
    let backend = Backend::new(
        followed.views.clone(),
        followed.submitter.clone(),
        followed.confirmed.clone(),
        Arc::new(SystemClock),
        start.generation,
        closed.clone(),
    );
    let service = || start.service.clone();
    let metrics = Metrics::new(SystemClock.now(), None);
    let routes = build(&start, backend, &metrics)
        .map_err(|message| ChildError::Build { service: service(), message })?;
    // Last of all: who is let in finds everything there.
    let listen = |error| ChildError::Listen { address: start.listen, service: service(), error };
    let wait = Duration::from_millis(start.drain_ms) + ORPHAN_GRACE;
    let listener = tokio::select! {
        listener = bind(start.listen, wait) => listener.map_err(listen)?,
        () = endings.told() => return Ok(()),
    };
    let address = listener.local_addr().map_err(listen)?;
    let mut until = closed;
    let stop = async move { drop(until.wait_for(|closing| *closing).await.map(drop)) };
    let (incoming, _) = connections::accept(listener, service(), LIMITS);
    let router = listener::server(LIMITS).layer(metrics.calls()).layer(Charging).add_routes(routes);
    let mut server = tokio::spawn(router.serve_with_incoming_shutdown(incoming, stop));
    health::call(address, SELF_CALL).await.map_err(|message| ChildError::SelfCall {
        service: service(),
        address,
        message,
    })?;
    say(&Report::Ready { address });
    let reported = Arc::new(Mutex::new(Reported::default()));
    let every = Duration::from_millis(start.beat_every_ms.max(1));
    tokio::spawn(report_calls(every, metrics.clone(), Arc::clone(&reported)));
    tokio::select! {
        () = endings.told() => {}
        error = followed.failed() => return Err(error.as_ref().into()),
        ended = &mut server => return Err(ChildError::Server(format!("{ended:?}"))),
    }
    closing.send_replace(true);
    // What is still under way after that is cut off; its callers see a broken connection and ask.
    drop(tokio::time::timeout(Duration::from_millis(start.drain_ms), server).await);
    tell_calls(&metrics, &reported);
    Ok(())
}

/// Takes the port, which may be in use for up to `wait`: when a node was killed and starts again at
/// once, the children that it left behind are still finishing what is under way.
async fn bind(address: SocketAddr, wait: Duration) -> std::io::Result<TcpListener> {
    let until = tokio::time::Instant::now() + wait;
    loop {
        match TcpListener::bind(address).await {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < until =>
            {
                tokio::time::sleep(PORT_EVERY).await;
            }
            bound => return bound,
        }
    }
}

async fn follow(start: &Start) -> Result<Remote, ChildError> {
    let path = start.log.display().to_string();
    let storage = FileStorage::open(&start.log).map_err(|error| ChildError::Log { path, error })?;
    let mut entropy = [0; 8];
    getrandom::fill(&mut entropy).map_err(|error| ChildError::System {
        what: "random numbers",
        message: error.to_string(),
    })?;
    let mut state = u64::from_le_bytes(entropy);
    // SplitMix64: jitter needs to differ between processes, not to be unpredictable.
    let random = Box::new(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 31)
    });
    let settings = Settings {
        node: start.node,
        service: start.service.clone(),
        secret: start.secret.clone(),
        stale_after: Duration::from_millis(start.stale_after_ms),
    };
    let shelf = Arc::new(FileShelf::new(start.log.clone()));
    let open = move |durable| Follower::open(Arc::new(storage), durable, Some(shelf));
    remote::follow(settings, random, open).await.map_err(|error| ChildError::from(&error))
}

/// What may tell this process to end.
struct Endings {
    orders: mpsc::Receiver<Order>,
    /// Signals of the operator; without them the signal ends the process as it always does.
    terminated: Option<tokio::signal::unix::Signal>,
}

impl Endings {
    fn new(orders: mpsc::Receiver<Order>) -> Self {
        let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        Self { orders, terminated: terminated.ok() }
    }

    /// Waits until the supervisor or the operator wants this process to end, or the pipe has ended.
    async fn told(&mut self) {
        let terminated = async {
            match &mut self.terminated {
                Some(signals) => drop(signals.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.orders.recv() => {}
            () = terminated => {}
        }
    }
}

/// Says what was counted of calls since it was last said.
fn tell_calls(metrics: &Metrics, reported: &Mutex<Reported>) {
    let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
    say(&Report::Calls(metrics.counted(&mut reported)));
}

/// Tells the supervisor of calls, for as long as the process lives.
async fn report_calls(every: Duration, metrics: Metrics, reported: Arc<Mutex<Reported>>) {
    loop {
        tokio::time::sleep(every).await;
        let (metrics, reported) = (metrics.clone(), Arc::clone(&reported));
        // As with beats, a full pipe blocks only a thread of the pool, and this task.
        drop(tokio::task::spawn_blocking(move || tell_calls(&metrics, &reported)).await);
    }
}

/// Says that this process lives, for as long as it does.
async fn beat(every: Duration, folded: watch::Receiver<Option<Views>>) {
    loop {
        let commit = folded.borrow().as_ref().map_or(0, |views| views.peek().stamp.commit);
        // A full pipe blocks only one thread of the pool, and this task: the supervisor does not
        // read, so it does not wait for beats either.
        drop(tokio::task::spawn_blocking(move || say(&Report::Beat { commit })).await);
        tokio::time::sleep(every).await;
    }
}
