//! `Config`: one struct, defaulted, overridden and validated once, before anything starts.
//!
//! The file `default.toml` is the one place of defaults and of their documentation. What a file, the
//! environment or a flag states must name a field that stands there.

mod layers;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use proctor_chain::Retain;
use proctor_keys::ChainId;
use proctor_network::PeerAt;
use proctor_p2p::NodeId;
use serde::{Deserialize, Serialize};

use crate::supervisor::plan::FAILURES_MAX;

pub use layers::{Layers, Origin, Setting};

/// The documented defaults.
pub const DEFAULTS: &str = include_str!("config/default.toml");

/// How many restarts of a child may be allowed; the supervisor remembers a few failures more.
pub const RESTARTS_MAX: usize = 60;
const _: () = assert!(RESTARTS_MAX < FAILURES_MAX);

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{origin}: {error}")]
    Syntax {
        /// Where it stands.
        origin: Origin,
        /// What is wrong, and at which line.
        error: String,
    },
    /// There is no such field.
    #[error("{origin}: there is no field {path}{hint}; `proctor config show` lists them all")]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// Its path.
        path: String,
        /// A field of a similar name.
        hint: String,
    },
    /// The field has another type.
    #[error("{origin}: {path} is to be {wanted}, not {given}")]
    Type {
        /// Where it stands.
        origin: Origin,
        /// Its path.
        path: String,
        /// What type it has.
        wanted: &'static str,
        /// What was given.
        given: String,
    },
    /// The value cannot be.
    #[error("{path}: {what} ({origin})")]
    Value {
        /// Its path.
        path: &'static str,
        /// What is wrong and what to do.
        what: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A value is out of the range of its type.
    #[error("the configuration: {0}")]
    Range(String),
}

/// The configuration of a node; the fields are described in [`DEFAULTS`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node itself.
    pub node: NodeConfig,
    /// The commit log.
    pub log: LogSection,
    /// Addresses.
    pub listen: Listen,
    /// Other nodes.
    pub network: NetworkSection,
    /// Tokens.
    pub auth: Auth,
    /// Order intake.
    pub orders: Orders,
    /// Where services run.
    pub services: Services,
    /// Where prices come from.
    pub feed: Feed,
    /// How the node ends.
    pub stop: Stop,
    /// Logging.
    pub telemetry: Telemetry,
}

/// Section `node`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Name of the network.
    pub chain_id: String,
    /// Data directory.
    pub data: PathBuf,
    /// Submissions that may wait.
    pub queue_max: usize,
    /// Time between ticks, ms.
    pub tick_ms: u64,
    /// Built-in name or file.
    pub rulebook: String,
}

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// Commits between snapshots.
    pub snapshot_every: u64,
    /// Snapshots kept.
    pub snapshots_kept: usize,
}

/// Section `listen`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address of all ports.
    pub host: IpAddr,
    /// Port of the node's own service.
    pub node: u16,
    /// Port.
    pub prices: u16,
    /// Port.
    pub positions: u16,
    /// Port.
    pub orders: u16,
    /// Port.
    pub eliminations: u16,
    /// Port.
    pub challenge_period: u16,
    /// Port of the metrics; 0 for none.
    pub metrics: u16,
    /// Port for other nodes; 0 for none.
    pub peers: u16,
}

/// Section `network`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// Nodes that are followed.
    pub follow: Vec<String>,
    /// Whose commits are taken over.
    pub sequencer: String,
    /// Key file.
    pub key: PathBuf,
    /// Commits behind from which a follower joins by a snapshot; 0 for never.
    pub snapshot_gap: u64,
    /// Commits that are kept; 0 for all.
    pub retain_commits: u64,
    /// Days that are kept besides.
    pub retain_days: u32,
}

impl NetworkSection {
    /// Returns the nodes that are followed. [`Config::of`] has tested that each is one.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerAt> {
        self.follow.iter().filter_map(|peer| peer.parse().ok()).collect()
    }

    /// Returns whose commits are taken over: the named one, else the first that is followed; `None`
    /// for a node that orders commits itself.
    #[must_use]
    pub fn sequencer(&self) -> Option<NodeId> {
        self.sequencer.parse().ok().or_else(|| self.peers().first().map(|first| first.peer))
    }

    /// Returns what is kept of the log; `None` for everything.
    #[must_use]
    pub fn retain(&self) -> Option<Retain> {
        let Self { retain_commits: commits, retain_days: days, .. } = *self;
        (commits > 0).then_some(Retain { commits, days })
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        for peer in &self.follow {
            let parsed = peer.parse::<PeerAt>();
            parsed.map_err(|error| ("network.follow", format!("{peer:?}: {error}")))?;
        }
        if !self.sequencer.is_empty() && self.sequencer.parse::<NodeId>().is_err() {
            let what = format!("{:?} is no key of 64 hexadecimal digits", self.sequencer);
            return Err(("network.sequencer", what));
        }
        if !self.sequencer.is_empty() && self.follow.is_empty() {
            let what = "names another node, and network.follow says of nobody where it is".into();
            return Err(("network.sequencer", what));
        }
        Ok(())
    }
}

/// Section `auth`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Whether reads need no token.
    pub open_reads: bool,
    /// Token file.
    pub tokens: PathBuf,
}

/// Section `orders`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Longest validity of a signed order, ms.
    pub window_max_ms: i64,
    /// Orders of a trader within the rate window; 0 for no limit.
    pub rate_max: u32,
    /// The rate window, ms.
    pub rate_window_ms: i64,
}

/// Section `services`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Services {
    /// Where they run.
    pub mode: Mode,
    /// Limit of the age of answers, ms.
    pub stale_after_ms: u64,
    /// Limit of the silence of a child, ms.
    pub hang_after_ms: u64,
    /// The wait after a child's first failure, ms.
    pub back_off_first_ms: u64,
    /// Restarts of a child within the window.
    pub restarts_max: usize,
    /// The window in which failures count, ms.
    pub restart_window_ms: u64,
}

/// Where services run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the node's process.
    Direct,
    /// Each as a supervised child.
    Process,
}

/// Section `feed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Where prices come from.
    pub kind: FeedKind,
    /// Decides what is simulated.
    pub seed: u64,
    /// How many traders are simulated.
    pub traders: u32,
    /// Time between prices, ms.
    pub interval_ms: u64,
    /// Bar files.
    pub bars: Vec<String>,
}

/// Where prices come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedKind {
    /// Made up.
    Simulated,
    /// From bar files.
    Recorded,
    /// From outside.
    None,
}

/// Section `stop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// How long calls under way may take, ms.
    pub grace_ms: u64,
}

/// Section `telemetry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// What is logged.
    pub log: String,
    /// In which form.
    pub format: Format,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Returns the configuration of `layers`.
    ///
    /// # Errors
    /// [`ConfigError`] for a value that its type does not hold or that makes no sense with others.
    pub fn of(layers: &Layers) -> Result<Self, ConfigError> {
        let config = layers.table().clone().try_into::<Self>();
        let config = config.map_err(|error| ConfigError::Range(one_line(&error.to_string())))?;
        config.check(layers)?;
        Ok(config)
    }

    fn check(&self, layers: &Layers) -> Result<(), ConfigError> {
        let refuse = |path: &'static str, what: String| {
            Err(ConfigError::Value { path, what, origin: layers.origin(path) })
        };
        if let Err(error) = ChainId::new(&self.node.chain_id) {
            return refuse("node.chain_id", error.to_string());
        }
        for (path, value) in [
            ("node.tick_ms", self.node.tick_ms),
            ("feed.interval_ms", self.feed.interval_ms),
            ("services.stale_after_ms", self.services.stale_after_ms),
            ("services.hang_after_ms", self.services.hang_after_ms),
            ("services.back_off_first_ms", self.services.back_off_first_ms),
            ("services.restart_window_ms", self.services.restart_window_ms),
        ] {
            if !(1..=86_400_000).contains(&value) {
                return refuse(path, format!("{value} is not within 1 to 86,400,000 ms"));
            }
        }
        if self.services.restarts_max > RESTARTS_MAX {
            let what = format!("is to be at most {RESTARTS_MAX}");
            return refuse("services.restarts_max", what);
        }
        if self.node.queue_max == 0 {
            return refuse("node.queue_max", "is to be at least 1".into());
        }
        if !(1..=86_400_000).contains(&self.orders.window_max_ms) {
            return refuse("orders.window_max_ms", "is to lie within 1 and 86,400,000 ms".into());
        }
        if self.orders.rate_window_ms < 1 {
            return refuse("orders.rate_window_ms", "is to be at least 1 ms".into());
        }
        if !self.listen.host.is_loopback() && self.auth.open_reads {
            let what = format!("{} can be reached from outside", self.listen.host);
            return refuse("listen.host", format!("{what}: set auth.open_reads = false"));
        }
        if self.network.retain().is_some() && self.log.snapshot_every == 0 {
            let what = "needs snapshots: set log.snapshot_every".into();
            return refuse("network.retain_commits", what);
        }
        if let Err((path, what)) = self.network.check() {
            return refuse(path, what);
        }
        let ports = self.listen.ports();
        for (place, (path, port)) in ports.iter().enumerate() {
            let earlier = ports[..place].iter().find(|(_, other)| other == port && *port != 0);
            if let Some((other, _)) = earlier {
                return refuse(path, format!("{port} is the port of {other} already"));
            }
        }
        if self.feed.kind == FeedKind::Recorded && self.feed.bars.is_empty() {
            return refuse("feed.bars", "names no file, and feed.kind is \"recorded\"".into());
        }
        Ok(())
    }

    /// Returns the path of the node's key.
    #[must_use]
    pub fn node_key_file(&self) -> PathBuf {
        below(&self.node.data, &self.network.key)
    }

    /// Returns the path of the token file.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        below(&self.node.data, &self.auth.tokens)
    }
}

impl Listen {
    /// Returns every port with its path.
    #[must_use]
    pub fn ports(&self) -> [(&'static str, u16); 8] {
        [
            ("listen.node", self.node),
            ("listen.prices", self.prices),
            ("listen.positions", self.positions),
            ("listen.orders", self.orders),
            ("listen.eliminations", self.eliminations),
            ("listen.challenge_period", self.challenge_period),
            ("listen.metrics", self.metrics),
            ("listen.peers", self.peers),
        ]
    }
}

/// Returns `path`, below `folder` when it is relative.
fn below(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
