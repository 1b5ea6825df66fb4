//! Supervisor of the services that run as child processes.
//!
//! One task keeps one child: it sees, asks the [`plan`] what to do, and does it. What is wanted is
//! kept here and outlives every process. A process is known by the handle that started it;
//! ports and process ids are never searched, and nothing outside this node is shared with
//! other nodes of the host.

mod keeper;
pub mod plan;
mod process;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proctor_services::link::Children;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::generation::Generations;
use crate::metrics::Counted;
use keeper::{Command, Keeper};
use plan::{Cause, Desired, Fault, Policy};

/// Which program a child is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The file that is executed.
    pub executable: PathBuf,
    /// Its arguments; nothing secret is among them.
    pub arguments: Vec<OsString>,
    /// What is added to the environment; nothing secret is among it.
    pub environment: Vec<(OsString, OsString)>,
}

impl Launch {
    /// Returns this very program as `service NAME`.
    ///
    /// # Errors
    /// When the system does not tell which file this program is.
    pub fn this_program(service: &str) -> io::Result<Self> {
        let executable = std::env::current_exe()?;
        let arguments = vec!["service".into(), service.into()];
        Ok(Self { executable, arguments, environment: Vec::new() })
    }
}

/// A service that runs as a child.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Which program it is.
    pub launch: Launch,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What the service itself wants to know; goes through the pipe, so secrets may be in it.
    pub settings: serde_json::Value,
}

/// What all children have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The address of the node's internal service.
    pub node: SocketAddr,
    /// The directory of the log's segments and snapshots.
    pub log: PathBuf,
    /// For how long views are vouched for without the node; default 15 s.
    pub stale_after: Duration,
    /// How often a child says that it lives and is called; default 2 s.
    pub beat_every: Duration,
    /// How long a child may take to finish what is under way; default 5 s. The policy's grace must
    /// be longer.
    pub drain: Duration,
    /// When to start, to wait and to give up.
    pub policy: Policy,
}

impl Setup {
    /// Returns the defaults for a node at `node` with its log in `log`.
    #[must_use]
    pub fn new(node: SocketAddr, log: PathBuf) -> Self {
        Self {
            node,
            log,
            stale_after: Duration::from_secs(15),
            beat_every: Duration::from_secs(2),
            drain: Duration::from_secs(5),
            policy: Policy::default(),
        }
    }
}

/// What happened to a child: facts for logs, metrics and alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A process was started.
    Started {
        /// Its process id.
        pid: u32,
        /// Its number for clients.
        generation: u64,
    },
    /// It answers.
    Ready {
        /// Where.
        address: SocketAddr,
    },
    /// It printed a line.
    Line(String),
    /// It is killed.
    Killed(Fault),
    /// It has ended.
    Ended {
        /// How, in words; with its own reason if it gave one.
        how: String,
        /// Whether nobody wanted it to.
        failure: bool,
    },
    /// It has failed too often, or cannot start as it is configured: somebody must look at it.
    Held {
        /// Why.
        cause: Cause,
        /// How it ended the last time.
        last: String,
        /// After which time it is tried again.
        retry_after: Duration,
    },
}

impl Note {
    /// Whether somebody should be told at once.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        match self {
            Self::Killed(_) | Self::Held { .. } => true,
            Self::Ended { failure, .. } => *failure,
            Self::Started { .. } | Self::Ready { .. } | Self::Line(_) => false,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { pid, generation } => {
                write!(f, "started as process {pid}, generation {generation}")
            }
            Self::Ready { address } => write!(f, "ready on {address}"),
            Self::Line(line) => f.write_str(line),
            Self::Killed(fault) => write!(f, "killed: {fault}"),
            Self::Ended { how, .. } => write!(f, "ended: {how}"),
            Self::Held { cause, last, retry_after } => {
                let seconds = retry_after.as_secs();
                match cause {
                    Cause::Misconfigured => write!(f, "cannot start: {last}")?,
                    Cause::Flapping(times) => {
                        write!(f, "failed {times} times, the last time: {last}")?;
                    }
                }
                write!(f, "; held for {seconds} s, release it when the cause is mended")
            }
        }
    }
}

/// Where notes go.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Takes note; must not block.
    fn note(&self, service: &str, note: &Note);

    /// Takes note of the calls that a child has counted; must not block.
    fn calls(&self, _service: &str, _counted: &Counted) {}
}

/// How far a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no process.
    Absent,
    /// It is on its way.
    Starting,
    /// It answers.
    Ready,
    /// It was told to end.
    Stopping,
    /// It is not started again before somebody releases it or the hold is over.
    Held,
}

/// A child as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What is wanted.
    pub desired: Desired,
    /// How far it is.
    pub phase: Phase,
    /// Its process id, if there is a process.
    pub pid: Option<u32>,
    /// The number of its last start.
    pub generation: u64,
    /// Where it listens, once it is ready.
    pub address: Option<SocketAddr>,
    /// The commit that it has folded, as it said last.
    pub commit: u64,
    /// How often a process was started.
    pub starts: u64,
    /// How many failures count at present.
    pub failures: usize,
    /// How the last process ended.
    pub last_end: Option<String>,
}

/// A child's keeper, from outside.
#[derive(Debug)]
struct Kept {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
}

/// The supervisor. Dropping it kills its children.
#[derive(Debug)]
pub struct Supervisor {
    kept: BTreeMap<String, Kept>,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Starts `services` and keeps them running. `children` are those that the node's link lets in.
    #[must_use]
    pub fn start(
        setup: Setup,
        services: Vec<Service>,
        children: &Children,
        generations: &Arc<Generations>,
        journal: &Arc<dyn Journal>,
    ) -> Self {
        let setup = Arc::new(setup);
        let (mut kept, mut tasks) = (BTreeMap::new(), JoinSet::new());
        for service in services {
            let (commands, received) = mpsc::channel(8);
            let name = service.name.clone();
            let (keeper, status) = Keeper::new(
                Arc::clone(&setup),
                service,
                children.clone(),
                Arc::clone(generations),
                Arc::clone(journal),
            );
            tasks.spawn(keeper.run(received));
            kept.insert(name, Kept { commands, status });
        }
        Self { kept, tasks }
    }

    /// Returns the names of the children and how they are.
    pub fn status(&self) -> impl Iterator<Item = (&str, Status)> {
        self.kept.iter().map(|(name, kept)| (name.as_str(), kept.status.borrow().clone()))
    }

    /// Returns where the status of `service` is told; `None` when there is no such child.
    #[must_use]
    pub fn watch(&self, service: &str) -> Option<watch::Receiver<Status>> {
        self.kept.get(service).map(|kept| kept.status.clone())
    }

    /// Says whether `service` should run; returns whether there is such a child.
    pub async fn want(&self, service: &str, desired: Desired) -> bool {
        self.command(service, Command::Want(desired)).await
    }

    /// Lets a held `service` start at once; returns whether there is such a child.
    pub async fn release(&self, service: &str) -> bool {
        self.command(service, Command::Release).await
    }

    /// Kills the process of `service`, as an operator who knows better than the plan; it is
    /// started again if it should run. Returns whether there is such a child.
    pub async fn kill(&self, service: &str) -> bool {
        self.command(service, Command::Kill).await
    }

    async fn command(&self, service: &str, command: Command) -> bool {
        match self.kept.get(service) {
            Some(kept) => kept.commands.send(command).await.is_ok(),
            None => false,
        }
    }

    /// Ends all children, each with the time it needs within its limits, and waits for them.
    pub async fn stop(mut self) {
        for kept in self.kept.values() {
            // It fails only when the keeper has ended already.
            let _ended = kept.commands.send(Command::End).await;
        }
        while self.tasks.join_next().await.is_some() {}
    }
}
