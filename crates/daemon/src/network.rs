//! The node among other nodes: its key, its chain, whom it follows, what it passes on.
//!
//! A sequencer certifies what it has written with the node's key; a follower takes over what the
//! sequencer has certified and judges it itself. The sequencer's key is all that a follower must be
//! told: the chain is named after it.

mod chain;
mod key;
mod peers;
mod vouched;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proctor_chain::{ChainError, ChainStore, Retain, Role, Signer};
use proctor_keys::signed_order::Rules;
use proctor_network::{Network, NetworkError, News, PeerAt, Settings, SubmitError};
use proctor_node::data_dir::DataDir;
use proctor_p2p::message::{INLINE_BODY_BYTES_MAX, Outcome};
use proctor_p2p::status::Roles;
use proctor_p2p::sync::{Config as SyncConfig, Reason as Behind};
use proctor_p2p::{Certified, NodeId, Signature};
use proctor_ratchet_crypto::Identity;
use proctor_rpc::internal_v1::Place;
use proctor_rpc::{Problem, Reason};
use proctor_sequencer::{Clock as _, Handle, SystemClock, Views};
use proctor_services::Freshness;
use proctor_services::backend::direct::AlwaysFresh;
use proctor_services::backend::forward::{Carried, Carrier};
use proctor_services::node::peers::Peers;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::fetch::{self, FetchError, Fetched};
use crate::node::NodeError;
use chain::NodeChain;
pub use key::{KeyError, NodeKey};
use peers::Administered;
use vouched::AsSequencer;

/// Directory of headers and certificates inside the data directory, and of peers and bans.
const CHAIN: &str = "chain";
const PEERS: &str = "peers";

/// Why the node cannot take part in the network.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The node's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The chain beside the log cannot be kept.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The network does not start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// There is no node to follow.
    #[error("network.follow names nobody")]
    FollowsNobody,
    /// This node is to follow itself.
    #[error("network.sequencer names this node itself: a follower needs another node's key")]
    FollowsItself,
}

/// What a node is in its network.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// It orders commits.
    Sequencer,
    /// It follows the node with this key.
    Follower(NodeId),
}

impl Part {
    pub(crate) fn of(config: &Config) -> Self {
        config.network.sequencer().map_or(Self::Sequencer, Self::Follower)
    }
}

/// The network of this node.
#[derive(Debug)]
pub(crate) struct Joined {
    network: Arc<Network>,
    store: Arc<ChainStore>,
    id: NodeId,
    part: Part,
    tasks: JoinSet<()>,
}

/// Starts the network of a node whose log is in `dir`, behind `handle`; `None` when it neither
/// listens nor follows.
pub(crate) async fn join(
    config: &Config,
    dir: &DataDir,
    handle: &Handle,
    rules: Rules,
) -> Result<Option<Joined>, JoinError> {
    let part = Part::of(config);
    let listen = match config.listen.peers {
        0 => None,
        port => Some(SocketAddr::new(config.listen.host, port)),
    };
    if listen.is_none() && matches!(part, Part::Sequencer) {
        return Ok(None);
    }
    let key = NodeKey::load_or_make(&config.node_key_file())?;
    let (identity, id) = (key.identity(), key.id());
    let (sequencer, role) = match &part {
        Part::Follower(sequencer) if *sequencer == id => return Err(JoinError::FollowsItself),
        Part::Follower(sequencer) => (*sequencer, Role::Follower),
        Part::Sequencer => (id, Role::Sequencer(signer(Arc::clone(&identity)))),
    };
    let (storage, own, path) = (dir.storage(), handle.clone(), dir.path().join(CHAIN));
    let open = move || ChainStore::open(&path, &storage, own, sequencer, role);
    let store = tokio::task::spawn_blocking(open).await.map_err(|_| NetworkError::Chain)??;
    let store = Arc::new(store);
    let news = Arc::new(std::sync::OnceLock::new());
    let every = config.log.snapshot_every;
    let told = Arc::clone(&news);
    let chain = NodeChain::new(Arc::clone(&store), handle.clone(), rules, every, told);
    let is_whole = store.available()?.lowest_body == 1;
    let settings = settings(config, &part, listen, dir, is_whole);
    let network = Arc::new(Network::start(settings, identity, Arc::new(chain)).await?);
    // Set once; who stores before that waits for it.
    drop(news.set(network.news()));
    let mut tasks = JoinSet::new();
    if matches!(part, Part::Sequencer) {
        tasks.spawn(produce(Arc::clone(&store), handle.clone(), Arc::clone(&network)));
    }
    if let Some(retain) = config.network.retain() {
        tasks.spawn(prune(Arc::clone(&store), retain));
    }
    Ok(Some(Joined { network, store, id, part, tasks }))
}

fn signer(identity: Arc<Identity>) -> Signer {
    Signer::new(move |bytes| {
        // The library fails only for lack of memory; a signature of zeros proves nothing.
        Signature(identity.sign(bytes).unwrap_or([0; 64]))
    })
}

fn settings(
    config: &Config,
    part: &Part,
    listen: Option<SocketAddr>,
    dir: &DataDir,
    is_whole: bool,
) -> Settings {
    let section = &config.network;
    let (role, joins) = match part {
        Part::Sequencer => (Roles::VALIDATOR, false),
        Part::Follower(_) => (Roles::FOLLOWER, section.snapshot_gap > 0),
    };
    // Who may lose the beginning of its log promises nothing.
    let keeps_all = is_whole && !joins && section.retain().is_none();
    let defaults = SyncConfig::default();
    let mut settings = Settings {
        listen,
        roles: if keeps_all { role.with(Roles::ARCHIVE) } else { role },
        // Who keeps everything does not give up what it has to be sooner at the tip.
        sync: SyncConfig {
            joins,
            drops_history: section.retain().is_some(),
            snapshot_gap: section.snapshot_gap,
            ..defaults
        },
        allow_private: config.listen.host.is_loopback(),
        store: Some(dir.path().join(PEERS)),
        ..Settings::default()
    };
    for PeerAt { peer, endpoint } in config.network.peers() {
        settings.rules.fixed.entry(peer).or_default().push(endpoint);
    }
    settings
}

/// How many commits the network is told of one by one; of more at once it is told the newest, and looks
/// at the chain.
const TOLD_MAX: u64 = 256;
/// The bodies of so many of the newest are told with them, if they are short.
const INLINE_TOLD: u64 = 16;

/// Tells the network of the commits that are made here, in order. When they cannot be told any more, the
/// network is left: a follower that goes on hearing from this node would take its last word for the
/// newest there is.
async fn produce(store: Arc<ChainStore>, handle: Handle, network: Arc<Network>) {
    let news = network.news();
    let mut told = store.stand().tip.height;
    loop {
        let changed = handle.views().changed();
        if handle.views().peek().stamp.commit > told {
            let own = Arc::clone(&store);
            let made = move || {
                let tip = own.follow()?.map_or(told, |newest| newest.header.height);
                let first = if tip - told <= TOLD_MAX { told + 1 } else { tip };
                let with_body = |commit: Certified| {
                    // Only the newest wait in an outbox.
                    let is_new = tip - commit.header.height < INLINE_TOLD;
                    let len = if is_new { INLINE_BODY_BYTES_MAX } else { 0 };
                    Ok((own.short_body(&commit.header, len)?, commit))
                };
                let commits = own.each(first, tip)?.into_iter().map(with_body);
                commits.collect::<Result<Vec<_>, ChainError>>().map(|commits| (tip, commits))
            };
            match tokio::task::spawn_blocking(made).await {
                Ok(Ok((tip, commits))) => {
                    told = tip;
                    for (body, commit) in commits {
                        news.send(News::Produced { commit, body });
                    }
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the network is left: followers can be told nothing");
                    return network.leave();
                }
                Err(_) => return network.leave(),
            }
            continue;
        }
        changed.await;
    }
}

impl Joined {
    /// Returns the key by which other nodes know this one.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Returns where it listens for other nodes.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.network.address()
    }

    /// Returns the way of a follower's writes.
    pub(crate) fn carrier(&self) -> Arc<dyn Carrier> {
        Arc::new(ToSequencer(Arc::clone(&self.network)))
    }

    /// Returns what vouches for the views: of a follower, that they are nearly the sequencer's.
    pub(crate) fn freshness(&self, views: &Views, stale_after: Duration) -> Arc<dyn Freshness> {
        match self.part {
            Part::Sequencer => Arc::new(AlwaysFresh),
            Part::Follower(_) => Arc::new(AsSequencer {
                status: self.network.watch(),
                views: views.clone(),
                stale_after,
            }),
        }
    }

    /// Returns what tells of the network while it runs, and takes commands for it.
    pub(crate) fn told(&self) -> Told {
        let peers = Arc::new(Administered(Arc::clone(&self.network)));
        Told {
            status: self.network.watch(),
            store: Arc::clone(&self.store),
            part: self.part.clone(),
            peers,
        }
    }

    /// Waits until there is nothing more to fetch from the first node that is followed.
    pub(crate) async fn fetch(
        &self,
        config: &Config,
        patience: Duration,
        tell: impl FnMut(Fetched),
    ) -> Result<Fetched, FetchError> {
        let first = config.network.peers().first().map(|first| first.peer);
        let first = first.ok_or(NodeError::Network(JoinError::FollowsNobody))?;
        fetch::wait(self.network.watch(), first, patience, tell).await
    }

    /// Stops: nothing is taken over or served any more.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.network.stop().await;
    }
}

/// Where the network is, for who asks the node.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    store: Arc<ChainStore>,
    status: watch::Receiver<Arc<proctor_network::Status>>,
    part: Part,
    peers: Arc<Administered>,
}

impl Told {
    /// Returns where the network is, at every moment.
    pub(crate) fn status(&self) -> watch::Receiver<Arc<proctor_network::Status>> {
        self.status.clone()
    }

    /// Returns the peers.
    pub(crate) fn peers(&self) -> Arc<dyn Peers> {
        Arc::clone(&self.peers) as _
    }

    /// Returns one line on what this node does among others.
    pub(crate) fn line(&self) -> String {
        let status = self.status.borrow();
        let peers = status.peers.len();
        match &self.part {
            Part::Sequencer => format!("sequencer, {peers} peers"),
            Part::Follower(sequencer) => {
                let (at, target) = (status.marks.applied, status.marks.target);
                let joining = status.join.filter(|(_, all)| *all > 0);
                let joining = joining.map_or_else(String::new, |(staged, all)| {
                    format!(", joining by a snapshot: {staged} of {all} MiB")
                });
                let gap = status.gap();
                let reason = match (&status.halted, status.reason) {
                    (Some(_), _) => ", halted".into(),
                    (None, Some(reason)) => format!(", {reason:?}"),
                    (None, None) => String::new(),
                };
                format!(
                    "follower of {sequencer}, at {at} of {target}, {gap} behind{joining}, {peers} peers{reason}"
                )
            }
        }
    }

    /// Returns what a person must look at.
    pub(crate) fn alerts(&self) -> Vec<String> {
        let status = self.status.borrow();
        let halted = status.halted.as_ref().map(|halt| format!("follows no more: {halt:?}"));
        let behind = status.reason.map(|reason| {
            let at = status.marks.applied + 1;
            format!("behind by {}: {}", status.gap(), because(reason, at))
        });
        let differing = self.store.differing().into_iter().map(|height| {
            format!(
                "the snapshot of commit {height} has other bytes than the sequencer's: it is not \
                 served; compare the versions of the two nodes"
            )
        });
        halted.into_iter().chain(behind).chain(differing).collect()
    }
}

/// Returns why a node stays behind that needs commit `next`.
fn because(reason: Behind, next: u64) -> String {
    match reason {
        Behind::Halted => "it follows no more".into(),
        Behind::NoPeers => "nobody is connected who could say what there is".into(),
        Behind::NoPeerHas => format!("nobody who is connected has commit {next}"),
        Behind::Pruned => format!(
            "pruned: everybody who is connected has deleted commit {next}, and this node may not \
             begin anew after a snapshot of theirs; follow an archive, or allow it: network.snapshot_gap \
             for an empty log, network.retain_commits besides for one that has commits to lose"
        ),
        Behind::AllSlow => "those who have it do not deliver in time".into(),
        Behind::VerifyFailed => "what was delivered is false".into(),
        Behind::StoreSlow => "the disk does not keep up, or has no room".into(),
        Behind::ApplySlow => "applying does not keep up".into(),
        Behind::EpochUnknown => "the committee of the newest commits is not known".into(),
    }
}

/// Time between two looks at what can be deleted: what is not served any more is deleted at the next
/// one, and in between peers have been told, which happens every five seconds.
const PRUNE_EVERY: Duration = Duration::from_secs(15);

/// Deletes what is not kept, for as long as the node runs.
async fn prune(store: Arc<ChainStore>, retain: Retain) {
    let mut first = 0;
    loop {
        tokio::time::sleep(PRUNE_EVERY).await;
        let own = Arc::clone(&store);
        let pruned = tokio::task::spawn_blocking(move || own.prune(&retain, SystemClock.now()));
        match pruned.await {
            Ok(Ok(begins)) if begins != first => {
                tracing::info!(commit = begins, "the log begins with this commit");
                first = begins;
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "nothing is deleted"),
            Err(_) => return,
        }
    }
}

/// Carries inputs over the network.
#[derive(Debug)]
struct ToSequencer(Arc<Network>);

impl Carrier for ToSequencer {
    fn carry(&self, inputs: Vec<u8>) -> Carried<'_> {
        Box::pin(async move {
            match self.0.submit(inputs).await {
                Ok(Outcome::Committed { height, ordinal }) => {
                    Ok(Place { commit: height, first: ordinal, count: 0 })
                }
                Ok(Outcome::Refused(why)) => {
                    Err(Problem::new(Reason::Refused, why).with_code("sequencer_refused"))
                }
                Err(error) => Err(problem(&error)),
            }
        })
    }
}

fn problem(error: &SubmitError) -> Problem {
    let text = error.to_string();
    let (reason, code) = match error {
        SubmitError::TooLong(_) => (Reason::InvalidArgument, "too_large"),
        SubmitError::NoValidator | SubmitError::Failed(_) => (Reason::Unavailable, "disconnected"),
        SubmitError::Unknown => (Reason::Unavailable, "unknown_outcome"),
        SubmitError::Stopped => (Reason::Unavailable, "stopping"),
    };
    Problem::new(reason, text).with_code(code)
}
