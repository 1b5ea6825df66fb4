//! A world of nodes: virtual time, latency, restarts, black holes; one seed reproduces a run.
//!
//! Nodes are whole [`Peers`]; what carries their bytes is modelled: connecting, the secure handshake, the
//! exchange of Hello, pings, questions for peers. A *hostile* node runs no rules: it accepts everybody and
//! tells only what the test gave it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ed25519_zebra::SigningKey;
use proctor_p2p::moment::Moment;
use proctor_p2p::peers::address::{AddressRules, Endpoint, PeerAddress};
use proctor_p2p::peers::ban::BanList;
use proctor_p2p::peers::dice::Dice;
use proctor_p2p::peers::policy::{
    Bye, ConnAction, ConnEvent, ConnId, ConnLimits, Direction, Ended,
};
use proctor_p2p::peers::record::{OwnRecord, PeerRecord, RecordRules, VerifiedRecord};
use proctor_p2p::peers::rules::PeerRules;
use proctor_p2p::peers::score::ScoreAction;
use proctor_p2p::peers::{Peers, PeersAction, PeersEvent};
use proctor_p2p::status::Roles;
use proctor_p2p::{NodeId, Signature};
use proctor_types::Digest;

pub(crate) const PORT: u16 = 30303;

pub(crate) fn record_rules() -> RecordRules {
    RecordRules { chain: Digest([3; 32]), addresses: AddressRules::default() }
}

/// The key of node `index`; the order of keys has nothing to do with that of indices.
pub(crate) fn signing_key(index: usize) -> SigningKey {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&index.to_be_bytes());
    SigningKey::from_bytes(&seed)
}

pub(crate) fn node_id(index: usize) -> NodeId {
    NodeId(signing_key(index).verification_key().into())
}

pub(crate) fn record(index: usize, ip: IpAddr, seq: u64) -> VerifiedRecord {
    let key = signing_key(index);
    let own = OwnRecord {
        key: node_id(index),
        roles: Roles::FOLLOWER,
        addresses: vec![PeerAddress { ip, port: PORT }],
    };
    let sign = |bytes: &[u8]| Signature(key.sign(bytes).to_bytes());
    own.sign(seq, &record_rules(), sign).unwrap()
}

pub(crate) fn endpoint(ip: IpAddr) -> Endpoint {
    Endpoint::Ip(PeerAddress { ip, port: PORT })
}

/// An address in a provider of its own for every `per_provider` nodes.
pub(crate) fn spread_ip(index: usize, per_provider: usize) -> IpAddr {
    let provider = u32::try_from(index / per_provider).unwrap();
    let host = u32::try_from(index % per_provider).unwrap();
    IpAddr::V4(Ipv4Addr::from_bits((50 << 24) + (provider << 16) + (host << 8) + 1))
}

/// How a node behaves.
pub(crate) enum Kind {
    Honest(Box<Peers>),
    /// Accepts everybody; tells these.
    Hostile(Vec<PeerRecord>),
    Dead,
}

pub(crate) struct Node {
    pub(crate) ip: IpAddr,
    pub(crate) kind: Kind,
    /// How often it was started.
    pub(crate) starts: u64,
    /// What its clock said when it was started.
    pub(crate) origin: u64,
    pub(crate) wall_offset_ms: u64,
    pub(crate) rules: PeerRules,
    pub(crate) limits: ConnLimits,
    started: u64,
    timer: u64,
    accepted: u64,
    book: Option<Vec<u8>>,
    bans: Option<Vec<u8>>,
}

struct End {
    node: usize,
    starts: u64,
    conn: ConnId,
    secure: bool,
    hello: bool,
    open: bool,
}

enum Ev {
    Start(usize),
    Kill { node: usize, silent: bool },
    Timer(usize, u64),
    Arrive(usize),
    To { node: usize, starts: u64, event: Box<PeersEvent> },
    Knock { from: usize, at: usize, every_ms: u64 },
}

/// What is remembered of a run, to be compared and judged.
#[derive(Default)]
pub(crate) struct Seen {
    /// Time, node, its starts, peer, and whether it went up.
    pub(crate) links: Vec<(u64, usize, u64, NodeId, bool)>,
    pub(crate) scored: Vec<(u64, usize, ScoreAction)>,
    pub(crate) dials: Vec<(u64, usize, NodeId)>,
    pub(crate) most_pending_out: usize,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    /// The keys of the nodes: to compute one is the slowest thing here.
    ids: Vec<NodeId>,
    pub(crate) seen: Seen,
    pub(crate) dice: Dice,
    listening: BTreeMap<IpAddr, usize>,
    wires: Vec<[End; 2]>,
    by_conn: BTreeMap<(usize, u64, ConnId), usize>,
    queue: BTreeMap<(u64, u64), Ev>,
    sequence: u64,
    seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            nodes: Vec::new(),
            ids: Vec::new(),
            seen: Seen::default(),
            dice: Dice::new(seed),
            listening: BTreeMap::new(),
            wires: Vec::new(),
            by_conn: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            seed,
        }
    }

    /// Adds a node that is started later; its index is its key.
    pub(crate) fn add(&mut self, ip: IpAddr, rules: PeerRules) -> usize {
        self.nodes.push(Node {
            ip,
            kind: Kind::Dead,
            starts: 0,
            origin: 0,
            wall_offset_ms: 0,
            rules,
            limits: ConnLimits::default(),
            started: 0,
            timer: u64::MAX,
            accepted: 0,
            book: None,
            bans: None,
        });
        self.ids.push(node_id(self.ids.len()));
        self.listening.insert(ip, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn later(&mut self, wait: u64, event: Ev) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), event);
    }

    fn latency(&mut self) -> u64 {
        5 + self.dice.below(115)
    }

    pub(crate) fn start(&mut self, wait: u64, node: usize) {
        self.later(wait, Ev::Start(node));
    }

    /// Ends a node; a silent end is not noticed by those connected to it.
    pub(crate) fn kill(&mut self, wait: u64, node: usize, silent: bool) {
        self.later(wait, Ev::Kill { node, silent });
    }

    /// Lets a hostile node dial `at` again and again.
    pub(crate) fn knock(&mut self, wait: u64, from: usize, at: usize, every_ms: u64) {
        self.later(wait, Ev::Knock { from, at, every_ms });
    }

    pub(crate) fn peers(&self, node: usize) -> &Peers {
        match &self.nodes[node].kind {
            Kind::Honest(peers) => peers,
            Kind::Hostile(_) | Kind::Dead => panic!("node {node} runs no rules"),
        }
    }

    pub(crate) fn ids(&self) -> &[NodeId] {
        &self.ids
    }

    pub(crate) fn up(&self, node: usize) -> BTreeSet<NodeId> {
        self.peers(node).policy().up().map(|(peer, _)| *peer).collect()
    }

    /// Tells a node something from outside.
    pub(crate) fn tell(&mut self, wait: u64, node: usize, event: PeersEvent) {
        let starts = self.nodes[node].starts;
        self.later(wait, Ev::To { node, starts, event: Box::new(event) });
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some((&(at, _), _)) = self.queue.first_key_value()
            && at <= end
        {
            let (_, event) = self.queue.pop_first().unwrap();
            self.now = at;
            self.step(event);
        }
        self.now = end;
    }

    fn step(&mut self, event: Ev) {
        match event {
            Ev::Start(node) => self.on_start(node),
            Ev::Kill { node, silent } => self.on_kill(node, silent),
            Ev::Timer(node, starts) => {
                if self.nodes[node].starts == starts {
                    self.nodes[node].timer = u64::MAX;
                    self.feed(node, PeersEvent::Timer);
                }
            }
            Ev::Arrive(wire) => self.on_arrive(wire),
            Ev::To { node, starts, event } => {
                if self.nodes[node].starts == starts {
                    self.feed(node, *event);
                }
            }
            Ev::Knock { from, at, every_ms } => {
                let number = self.wires.len().try_into().unwrap();
                let conn = ConnId { direction: Direction::Outbound, number };
                self.connect(from, conn, self.nodes[at].ip);
                self.later(every_ms, Ev::Knock { from, at, every_ms });
            }
        }
    }

    fn on_start(&mut self, index: usize) {
        let (seed, now) = (self.seed, self.now);
        let node = &mut self.nodes[index];
        node.starts += 1;
        (node.started, node.timer) = (now, u64::MAX);
        let moment = Moment(node.origin);
        let bans = node.bans.take().map(|bytes| BanList::from_bytes(moment, &bytes).unwrap());
        let mut peers = Peers::new(
            moment,
            self.ids[index],
            record_rules(),
            node.limits,
            BTreeSet::new(),
            bans.unwrap_or_default(),
            seed ^ (u64::try_from(index).unwrap() << 32) ^ node.starts,
        );
        if let Some(book) = node.book.take() {
            peers.load_book(moment, &book).unwrap();
        }
        let seq = OwnRecord::next_seq(None, now + node.wall_offset_ms);
        peers.set_own(Some(record(index, node.ip, seq)));
        node.kind = Kind::Honest(Box::new(peers));
        let rules = Box::new(node.rules.clone());
        self.feed(index, PeersEvent::Rules(rules));
    }

    fn on_kill(&mut self, index: usize, silent: bool) {
        let moment = self.moment(index);
        let node = &mut self.nodes[index];
        if let Kind::Honest(peers) = &node.kind {
            node.book = Some(peers.book().to_bytes(moment));
            node.bans = Some(peers.scorer().bans().to_bytes(moment));
        }
        (node.kind, node.starts) = (Kind::Dead, node.starts + 1);
        let open = (self.wires.iter().enumerate()).flat_map(|(wire, ends)| {
            let mine = |end: &usize| ends[*end].node == index && ends[*end].open;
            [0, 1].into_iter().filter(mine).map(move |end| (wire, end)).collect::<Vec<_>>()
        });
        for (wire, end) in open.collect::<Vec<_>>() {
            self.wires[wire][end].open = false;
            if !silent {
                self.end_other(wire, end, Ended::Broken);
            }
        }
    }

    pub(crate) fn moment(&self, node: usize) -> Moment {
        let node = &self.nodes[node];
        Moment(self.now - node.started + node.origin)
    }

    fn feed(&mut self, node: usize, event: PeersEvent) {
        let moment = self.moment(node);
        let Kind::Honest(peers) = &mut self.nodes[node].kind else {
            return;
        };
        let mut actions = Vec::new();
        peers.on_event(moment, event, &mut actions);
        let dials =
            |action: &PeersAction| matches!(action, PeersAction::Conn(ConnAction::Dial { .. }));
        if actions.iter().any(dials) {
            let pending = peers.policy().counts().pending_out;
            self.seen.most_pending_out = self.seen.most_pending_out.max(pending);
        }
        let wait = peers.next_deadline(moment).since(moment);
        let due = self.now + wait;
        if due < self.nodes[node].timer {
            self.nodes[node].timer = due;
            let starts = self.nodes[node].starts;
            self.later(wait, Ev::Timer(node, starts));
        }
        for action in actions {
            self.act(node, action);
        }
    }

    fn act(&mut self, node: usize, action: PeersAction) {
        match action {
            PeersAction::Conn(action) => self.act_on_conn(node, action),
            PeersAction::Ask { conn } => {
                if let Some((other, back)) = self.other(node, conn) {
                    self.ask(node, other, back);
                }
            }
            PeersAction::Tell { conn, records } => {
                if let Some((other, _)) = self.other(node, conn) {
                    let (wait, peer) = (self.latency(), self.ids[node]);
                    self.tell(wait, other, PeersEvent::Told { peer, records });
                }
            }
            PeersAction::Verify(record) => {
                let key = record.key;
                let verdict = Some(record.verify(&record_rules()));
                self.tell(1, node, PeersEvent::Checked { key, verdict });
            }
            PeersAction::Scored(action) => self.seen.scored.push((self.now, node, action)),
            PeersAction::SignOwn | PeersAction::StoreBook => {}
        }
    }

    fn ask(&mut self, node: usize, other: usize, _back: ConnId) {
        let wait = self.latency();
        match &self.nodes[other].kind {
            Kind::Honest(_) => {
                let peer = self.ids[node];
                self.tell(wait, other, PeersEvent::Asked { peer });
            }
            Kind::Hostile(records) => {
                let records = self.dice.sample(records.clone(), 64);
                let peer = self.ids[other];
                self.tell(wait, node, PeersEvent::Told { peer, records });
            }
            Kind::Dead => {}
        }
    }

    fn act_on_conn(&mut self, node: usize, action: ConnAction) {
        let starts = self.nodes[node].starts;
        match action {
            ConnAction::Dial { conn, peer, endpoint } => {
                self.seen.dials.push((self.now, node, peer));
                let Endpoint::Ip(address) = endpoint else {
                    panic!("no names in this world");
                };
                self.connect(node, conn, address.ip);
            }
            ConnAction::Secure { conn } => self.mark(node, conn, |end| end.secure = true),
            ConnAction::Hello { conn } => self.mark(node, conn, |end| end.hello = true),
            ConnAction::Ping { conn, nonce } => {
                if let Some((other, back)) = self.other(node, conn) {
                    let (there, here) = (self.latency(), self.latency());
                    self.tell(there, other, PeersEvent::Conn(ConnEvent::Heard { conn: back }));
                    let pong = ConnEvent::Pong { conn, nonce };
                    self.tell(there + here, node, PeersEvent::Conn(pong));
                }
            }
            ConnAction::Close { conn, why } => self.end(node, conn, Ended::Bye(why)),
            ConnAction::Refuse { conn, .. } | ConnAction::Abort { conn } => {
                self.end(node, conn, Ended::Broken);
            }
            ConnAction::Up { peer, .. } => {
                self.seen.links.push((self.now, node, starts, peer, true));
            }
            ConnAction::Down { peer } => {
                self.seen.links.push((self.now, node, starts, peer, false));
            }
            ConnAction::Moved { .. }
            | ConnAction::DialFailed { .. }
            | ConnAction::OtherChain { .. } => {}
        }
    }

    fn connect(&mut self, from: usize, conn: ConnId, to: IpAddr) {
        let starts = self.nodes[from].starts;
        let Some(&target) = self.listening.get(&to) else {
            return; // A black hole: not even a refusal comes back.
        };
        let node = &mut self.nodes[target];
        node.accepted += 1;
        let accepted = ConnId { direction: Direction::Inbound, number: node.accepted };
        let end = |node, starts, conn| End {
            node,
            starts,
            conn,
            secure: false,
            hello: false,
            open: true,
        };
        let target_starts = node.starts;
        self.wires.push([end(from, starts, conn), end(target, target_starts, accepted)]);
        let wire = self.wires.len() - 1;
        self.by_conn.insert((from, starts, conn), wire);
        self.by_conn.insert((target, target_starts, accepted), wire);
        let wait = self.latency();
        self.later(wait, Ev::Arrive(wire));
    }

    fn on_arrive(&mut self, wire: usize) {
        let [dialler, acceptor] = &self.wires[wire];
        let (from, to, conn) = (dialler.node, acceptor.node, dialler.conn);
        let number = acceptor.conn.number;
        if !dialler.open {
            return;
        }
        let same = self.nodes[to].starts == acceptor.starts;
        if !same || matches!(self.nodes[to].kind, Kind::Dead) {
            self.wires[wire][1].open = false;
            return self.end_other(wire, 1, Ended::Unreachable);
        }
        let wait = self.latency();
        for end in [0, 1] {
            let node = self.wires[wire][end].node;
            if matches!(self.nodes[node].kind, Kind::Hostile(_)) {
                (self.wires[wire][end].secure, self.wires[wire][end].hello) = (true, true);
            }
        }
        self.tell(wait, from, PeersEvent::Conn(ConnEvent::Connected { conn }));
        let ip = self.nodes[from].ip;
        self.feed(to, PeersEvent::Conn(ConnEvent::Accepted { number, ip }));
    }

    /// Marks what an end has done and lets both go on when both have done it.
    fn mark(&mut self, node: usize, conn: ConnId, done: impl Fn(&mut End)) {
        let Some((wire, end)) = self.find(node, conn) else {
            return;
        };
        let before = self.progress(wire);
        done(&mut self.wires[wire][end]);
        let after = self.progress(wire);
        for end in [0, 1] {
            let other = &self.wires[wire][1 - end];
            let (peer, mine) = (self.ids[other.node], &self.wires[wire][end]);
            let (node, conn) = (mine.node, mine.conn);
            if after.0 && !before.0 {
                let wait = self.latency();
                self.tell(wait, node, PeersEvent::Conn(ConnEvent::Secured { conn, peer }));
            }
            if after.1 && !before.1 {
                let wait = self.latency();
                let instance = self.wires[wire][1 - end].starts;
                self.tell(wait, node, PeersEvent::Conn(ConnEvent::HelloOk { conn, instance }));
            }
        }
    }

    /// Whether both ends are secure, and whether both said Hello as far as they ever do: a hostile end has
    /// always said it.
    fn progress(&self, wire: usize) -> (bool, bool) {
        let [one, other] = &self.wires[wire];
        let secure = one.secure && other.secure;
        (secure, secure && one.hello && other.hello)
    }

    fn find(&self, node: usize, conn: ConnId) -> Option<(usize, usize)> {
        let wire = *self.by_conn.get(&(node, self.nodes[node].starts, conn))?;
        let end = usize::from(self.wires[wire][0].node != node || self.wires[wire][0].conn != conn);
        Some((wire, end))
    }

    /// The node at the other end of an open connection, and its name for it.
    fn other(&self, node: usize, conn: ConnId) -> Option<(usize, ConnId)> {
        let (wire, end) = self.find(node, conn)?;
        let other = &self.wires[wire][1 - end];
        let alive = other.open && self.nodes[other.node].starts == other.starts;
        alive.then_some((other.node, other.conn))
    }

    fn end(&mut self, node: usize, conn: ConnId, how: Ended) {
        let Some((wire, end)) = self.find(node, conn) else {
            return self.tell(
                1,
                node,
                PeersEvent::Conn(ConnEvent::Ended { conn, how: Ended::Broken }),
            );
        };
        if self.wires[wire][end].open {
            self.wires[wire][end].open = false;
            self.end_other(wire, end, how);
        }
        let ended = ConnEvent::Ended { conn, how: Ended::Bye(Bye::Duplicate) };
        self.tell(20, node, PeersEvent::Conn(ended));
    }

    fn end_other(&mut self, wire: usize, end: usize, how: Ended) {
        let wait = self.latency();
        let other = &mut self.wires[wire][1 - end];
        if other.open {
            other.open = false;
            let (node, starts, conn) = (other.node, other.starts, other.conn);
            let event = Box::new(PeersEvent::Conn(ConnEvent::Ended { conn, how }));
            self.later(wait, Ev::To { node, starts, event });
        }
    }
}
