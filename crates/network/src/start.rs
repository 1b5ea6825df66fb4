//! Start and end of a network: what is bound, read and built before the loop, and what is left after it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use proctor_p2p::peers::Peers;
use proctor_p2p::peers::address::{AddressRules, PeerAddress};
use proctor_p2p::peers::ban::BanList;
use proctor_p2p::peers::dice::Dice;
use proctor_p2p::peers::record::{OwnRecord, RecordRules};
use proctor_p2p::server::{Loaded, Read, ServerEvent};
use proctor_p2p::{Moment, NodeId, Server, SyncCore};
use proctor_ratchet_crypto::Identity;
use tokio::sync::{Notify, mpsc, watch};

use crate::chain::{Chain, NewsSender, Start};
use crate::clock::{Clock, seed};
use crate::handle::{COMMANDS_MAX, Command, NetworkError};
use crate::link::Me;
use crate::net::{Listen, Net};
use crate::node::{
    BANS, BOOK, ClockOffset, Inline, Jobs, Keep, Node, Own, Vouched, load, put_aside,
};
use crate::settings::Settings;
use crate::sources::Sources;
use crate::status::{Counters, Status};
use crate::tasks::{Survey, Tasks};

/// Frames of all peers that wait for the loop; a reader waits until there is room.
const INBOX_MAX: usize = 256;

/// A network that is ready to run, and the other ends of its channels.
pub(crate) struct Begun {
    pub(crate) node: Node,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) news: NewsSender,
    pub(crate) status: watch::Receiver<Arc<Status>>,
    pub(crate) stop: watch::Sender<bool>,
}

/// What was stored by an earlier run.
#[derive(Default)]
struct Stored {
    book: Option<Vec<u8>>,
    bans: Option<Vec<u8>>,
}

/// Returns what the chain can serve, with its newest certified commit.
pub(crate) fn survey(chain: &dyn Chain) -> Survey {
    let available = chain.available();
    let mut survey = Survey { available, tip: None, unattested: chain.unattested() };
    if available.tip > 0
        && let Loaded::Commit(commit) = chain.read(Read::Commit(available.tip))
    {
        survey.tip = Some(commit);
    }
    survey
}

pub(crate) async fn begin(
    net: Arc<dyn Net>,
    settings: Settings,
    identity: Arc<Identity>,
    chain: Arc<dyn Chain>,
) -> Result<Begun, NetworkError> {
    let listener = match settings.listen {
        Some(address) => {
            let bound = net.listen(address).await;
            Some(bound.map_err(|source| NetworkError::Listen { address, source })?)
        }
        None => None,
    };
    let (asked, directory) = (Arc::clone(&chain), settings.store.clone());
    let look = tokio::task::spawn_blocking(move || {
        let stored = directory.as_deref().map(read_store).transpose();
        (asked.start(), survey(asked.as_ref()), stored)
    });
    let (start, survey, stored) = look.await.map_err(|_| NetworkError::Chain)?;
    let stored = stored.map_err(|source| {
        let path = settings.store.as_deref().unwrap_or(Path::new("")).display().to_string();
        NetworkError::Store { path, source }
    })?;
    let seed = settings.seed.map_or_else(seed, Ok)?;
    let parts = Parts { net, identity, chain, listener, start, survey, seed };
    build(settings, parts, stored.unwrap_or_default())
}

fn read_store(directory: &Path) -> io::Result<Stored> {
    std::fs::create_dir_all(directory)?;
    Ok(Stored { book: load(directory, BOOK)?, bans: load(directory, BANS)? })
}

struct Parts {
    net: Arc<dyn Net>,
    identity: Arc<Identity>,
    chain: Arc<dyn Chain>,
    listener: Option<Box<dyn Listen>>,
    start: Start,
    survey: Survey,
    seed: u64,
}

fn build(settings: Settings, parts: Parts, stored: Stored) -> Result<Begun, NetworkError> {
    let Parts { net, identity, chain, listener, start, survey, seed } = parts;
    let clock = Clock::start();
    let now = clock.now();
    let mut dice = Dice::new(seed);
    let id = NodeId(identity.public());
    let (chain_id, roles) = (start.trust.chain, settings.roles);
    let me = Me { identity, id, chain: chain_id, roles, instance: dice.below(u64::MAX) };
    let addresses = AddressRules { allow_private: settings.allow_private };
    let records = RecordRules { chain: me.chain.0, addresses };
    let address = listener.as_ref().and_then(|listener| listener.address().ok());
    let own_record = own_record(&settings, &me, address, &records)?;

    let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
    let (inbox, inbox_receiver) = mpsc::channel(INBOX_MAX);
    let (stop, stop_receiver) = watch::channel(false);
    let news = NewsSender::default();
    let sources = Sources {
        clock,
        stop: Some(stop_receiver),
        commands: Some(command_receiver),
        news: news.clone(),
        inbox: inbox_receiver,
        drained: Arc::new(Notify::new()),
        listener,
        accept_after: now,
        tasks: Tasks::default(),
    };
    let mut config = settings.sync;
    config.seed = dice.below(u64::MAX);
    let vouched = Vouched::new(start.applied);
    let core = SyncCore::new(config, start.trust, start.stored, start.applied, now);
    let peers = peers(&settings, now, id, records, stored, dice.below(u64::MAX));
    let first = Status::first(address, &core, &peers);
    let (status, status_receiver) = watch::channel(Arc::new(first));
    let mut node = Node {
        sources,
        me,
        net,
        chain,
        clock,
        now,
        inbox,
        core,
        config,
        server: Server::default(),
        peers,
        rules: settings.rules,
        epoch: None,
        records,
        own_record,
        own_seq: None,
        todo: VecDeque::new(),
        conns: BTreeMap::new(),
        accepted: 0,
        up: BTreeMap::new(),
        off: BTreeMap::new(),
        jobs: Jobs::default(),
        own: Own::default(),
        keep: Keep::new(settings.store),
        vouched,
        applied: None,
        available: survey.available,
        tip: survey.tip,
        inline: Inline::default(),
        offset: ClockOffset::default(),
        sequence: 0,
        dice,
        tick_at: now,
        status_at: now,
        peers_at: now,
        peers_timer: Moment(0),
        counters: Counters::default(),
        totals: Arc::default(),
        halted: None,
        status,
        shown: None,
        show_due: true,
        stop_at: None,
    };
    node.tell_server(None, ServerEvent::Available(survey.available));
    node.sign_own();
    node.set_rules();
    Ok(Begun { node, address, commands, news, status: status_receiver, stop })
}

/// Returns what this node tells of itself: the addresses of the settings, else the one it listens at,
/// if others may believe that.
fn own_record(
    settings: &Settings,
    me: &Me,
    bound: Option<SocketAddr>,
    records: &RecordRules,
) -> Result<Option<OwnRecord>, NetworkError> {
    if settings.private.contains(&me.id) {
        return Ok(None);
    }
    for address in &settings.external {
        records.addresses.check(*address).map_err(proctor_p2p::peers::record::RecordError::from)?;
    }
    let bound =
        bound.map(|bound| PeerAddress { ip: bound.ip().to_canonical(), port: bound.port() });
    let believed = bound.filter(|bound| records.addresses.check(*bound).is_ok());
    let addresses = if settings.external.is_empty() {
        believed.into_iter().collect()
    } else {
        settings.external.clone()
    };
    let roles = settings.roles;
    Ok((!addresses.is_empty()).then_some(OwnRecord { key: me.id, roles, addresses }))
}

/// Returns the peers, with what an earlier run stored. A file that cannot be used is put aside.
fn peers(
    settings: &Settings,
    now: Moment,
    me: NodeId,
    records: RecordRules,
    stored: Stored,
    seed: u64,
) -> Peers {
    let aside = |name, error: proctor_p2p::peers::StoredError| {
        let moved = settings.store.as_deref().map(|directory| put_aside(directory, name));
        tracing::warn!(%error, name, ?moved, "a file of the peer store is not used");
    };
    let bans = stored.bans.map(|bytes| BanList::from_bytes(now, &bytes));
    let bans = match bans {
        Some(Ok(bans)) => bans,
        Some(Err(error)) => {
            aside(BANS, error);
            BanList::default()
        }
        None => BanList::default(),
    };
    let private = settings.private.clone();
    let mut peers = Peers::new(now, me, records, settings.limits, private, bans, seed);
    if let Some(Err(error)) = stored.book.map(|bytes| peers.load_book(now, &bytes)) {
        aside(BOOK, error);
    }
    peers
}

/// Ends what is left, and says that all is over.
pub(crate) async fn end(mut node: Node) {
    node.sources.tasks.end().await;
    let over = node.picture(true);
    node.status.send_replace(Arc::new(over));
}
