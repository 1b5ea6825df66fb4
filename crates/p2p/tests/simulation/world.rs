//! The world of a run: virtual time, a network with delays and partitions, crashes; one seed.
//!
//! Events are taken in the order of time and number, so a seed gives the same run, which the trace, a
//! hash over every event, shows. Invariants are checked on a node after each of its events.

mod drive;

use std::collections::BTreeMap;

use ed25519_zebra::SigningKey;
use proctor_fuzz::Rng;
use proctor_p2p::message::FRAME_BYTES_MAX;
use proctor_p2p::server::{Read, ServerEvent, Ticket};
use proctor_p2p::status::Status;
use proctor_p2p::sync::verify::Verdict;
use proctor_p2p::sync::{Config, Event, JobId, Offence, RequestId, StoreJob, TICK_MS};
use proctor_p2p::{Canonical, Message, NodeId, Push, SignedStatus};
use proctor_types::Digest;

use crate::liar::{Lie, snapshot_height};
use crate::node::Node;
use crate::truth::{CHAIN, Truth, key, node_id, sign};

pub(crate) enum Peer {
    Honest(Box<Node>),
    Liar { id: NodeId, key: SigningKey, lie: Lie, sequence: u64, asked: u64 },
}

/// What travels.
#[derive(Clone, Debug)]
enum Wire {
    Message(u64, Message, bool),
    Cancel(u64),
}

enum Ev {
    Deliver { from: usize, to: usize, session: u64, wire: Wire },
    Tick(usize),
    Status(usize),
    Verified(usize, u64, JobId, Verdict),
    Store(usize, u64, JobId, StoreJob),
    Apply(usize, u64),
    Read(usize, u64, Ticket, Read),
    Produce,
    Crash(usize, u64),
    Restart(usize),
    Connect(usize, usize),
    Dead(usize, usize, u64),
    Spam(usize),
}

/// One direction between two nodes.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) delay_ms: u64,
    pub(crate) jitter_ms: u64,
    pub(crate) bytes_per_ms: u64,
    /// Until then nothing arrives.
    pub(crate) cut_until: u64,
    busy_until: u64,
    last: u64,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    number: u64,
    queue: BTreeMap<(u64, u64), Ev>,
    pub(crate) rng: Rng,
    pub(crate) truth: Truth,
    pub(crate) peers: Vec<Peer>,
    ids: BTreeMap<NodeId, usize>,
    sessions: BTreeMap<(usize, usize), u64>,
    pub(crate) links: BTreeMap<(usize, usize), Link>,
    sessions_made: u64,
    pub(crate) trace: u64,
    pub(crate) events: u64,
    pub(crate) produce_ms: u64,
    /// Of a thousand store jobs so many end in a crash, before or after the write.
    pub(crate) crash_permille: usize,
    /// The newest push that waits for a pipe to be free: one for each peer, newest wins (B27).
    outbox: BTreeMap<(usize, usize), Message>,
    /// Crash at this store job, counted from 1, before or after its write.
    pub(crate) crash_at: Option<(u64, bool)>,
    store_jobs: u64,
    pub(crate) store_ms: u64,
    pub(crate) wire_checked: bool,
}

const CUT_DEAD_MS: u64 = 15_000;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let truth = Truth::new(key(1));
        Self {
            seed,
            now: 0,
            number: 0,
            queue: BTreeMap::new(),
            rng: Rng::new(seed),
            truth,
            peers: Vec::new(),
            ids: BTreeMap::new(),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
            sessions_made: 0,
            trace: 0,
            events: 0,
            produce_ms: 0,
            crash_permille: 0,
            outbox: BTreeMap::new(),
            crash_at: None,
            store_jobs: 0,
            store_ms: 3,
            wire_checked: true,
        }
    }

    pub(crate) fn grow(&mut self, commits: usize) {
        for _ in 0..commits {
            self.truth.extend(&mut self.rng);
        }
    }

    pub(crate) fn grow_by_body(&mut self, body: Vec<u8>) {
        self.truth.append(body);
    }

    /// Gives a node the chain up to a height, and lets it know: as if it had ordered it.
    pub(crate) fn fill(&mut self, at: usize, height: u64) {
        let Peer::Honest(node) = &mut self.peers[at] else { return };
        node.fill(&mut self.truth, height);
        self.crash(at, 100);
    }

    /// Adds an honest node that has the chain up to `height`. The first is the sequencer.
    pub(crate) fn honest(&mut self, config: Config, height: u64) -> usize {
        let at = self.peers.len();
        let key = if at == 0 { self.truth.key } else { key(10 + at as u8) };
        let mut node = Node::new(key, Config { seed: self.rng.bits(), ..config }, &self.truth);
        node.fill(&mut self.truth, height);
        self.add(Peer::Honest(Box::new(node)))
    }

    pub(crate) fn liar(&mut self, lie: Lie) -> usize {
        let key = key(100 + self.peers.len() as u8);
        let at = self.add(Peer::Liar { id: node_id(&key), key, lie, sequence: 0, asked: 0 });
        if lie == Lie::Flood {
            self.after(200, Ev::Spam(at));
        }
        at
    }

    fn add(&mut self, peer: Peer) -> usize {
        let at = self.peers.len();
        let id = match &peer {
            Peer::Honest(node) => node.id,
            Peer::Liar { id, .. } => *id,
        };
        self.ids.insert(id, at);
        self.peers.push(peer);
        for other in 0..at {
            for pair in [(at, other), (other, at)] {
                let delay_ms = 1 + self.rng.below(60) as u64;
                let (jitter_ms, bytes_per_ms) = (1 + self.rng.below(20) as u64, 20_000);
                let link = Link {
                    delay_ms,
                    jitter_ms,
                    bytes_per_ms,
                    cut_until: 0,
                    busy_until: 0,
                    last: 0,
                };
                self.links.insert(pair, link);
            }
            self.after(1, Ev::Connect(other, at));
        }
        if let Peer::Honest(_) = self.peers[at] {
            self.restart(at);
            let phase = self.rng.below(100) as u64;
            self.after(phase, Ev::Tick(at));
        }
        let phase = 5_000 + self.rng_below(1_000);
        self.after(phase, Ev::Status(at));
        at
    }

    fn rng_below(&mut self, end: usize) -> u64 {
        self.rng.below(end) as u64
    }

    fn after(&mut self, ms: u64, ev: Ev) {
        self.number += 1;
        self.queue.insert((self.now + ms, self.number), ev);
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        match &self.peers[at] {
            Peer::Honest(node) => node,
            Peer::Liar { .. } => panic!("peer {at} is a liar"),
        }
    }

    pub(crate) fn node_mut(&mut self, at: usize) -> &mut Node {
        match &mut self.peers[at] {
            Peer::Honest(node) => node,
            Peer::Liar { .. } => panic!("peer {at} is a liar"),
        }
    }

    pub(crate) fn honest_nodes(&self) -> Vec<usize> {
        let honest = |at: &usize| matches!(self.peers[*at], Peer::Honest(_));
        (0..self.peers.len()).filter(honest).collect()
    }

    pub(crate) fn is_honest(&self, id: &NodeId) -> bool {
        matches!(self.peers[self.ids[id]], Peer::Honest(_))
    }

    pub(crate) fn id(&self, at: usize) -> NodeId {
        match &self.peers[at] {
            Peer::Honest(node) => node.id,
            Peer::Liar { id, .. } => *id,
        }
    }

    /// Starts to order commits, one every so many milliseconds; 0 stops it.
    pub(crate) fn produce(&mut self, every_ms: u64) {
        let idle = self.produce_ms == 0;
        self.produce_ms = every_ms;
        if idle && every_ms > 0 {
            self.after(every_ms, Ev::Produce);
        }
    }

    /// Lets nothing through between two nodes for a while, in one or both directions.
    pub(crate) fn cut(&mut self, a: usize, b: usize, ms: u64, both: bool) {
        let until = self.now + ms;
        let pairs = if both { vec![(a, b), (b, a)] } else { vec![(a, b)] };
        for pair in pairs {
            let link = self.links.get_mut(&pair).unwrap();
            link.cut_until = link.cut_until.max(until);
        }
        if let Some(session) = self.sessions.get(&order(a, b)).copied()
            && ms > CUT_DEAD_MS
        {
            self.after(CUT_DEAD_MS, Ev::Dead(a, b, session));
        }
        self.after(ms + 500, Ev::Connect(a, b));
    }

    pub(crate) fn crash(&mut self, at: usize, down_ms: u64) {
        self.after(0, Ev::Crash(at, down_ms));
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((time, number), ev) = entry.remove_entry();
            self.now = time;
            self.events += 1;
            self.mix(time);
            self.mix(number);
            self.on(ev);
        }
        self.now = end;
    }

    fn mix(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x0100_0000_01B3).rotate_left(23);
    }

    fn on(&mut self, ev: Ev) {
        match ev {
            Ev::Deliver { from, to, session, wire } => {
                if self.sessions.get(&order(from, to)) == Some(&session) {
                    self.deliver(from, to, wire);
                }
            }
            Ev::Tick(at) => {
                self.after(TICK_MS, Ev::Tick(at));
                self.flush(at);
                self.tell(at, Event::Tick);
            }
            Ev::Status(at) => {
                let wait = 4_000 + self.rng_below(2_000);
                self.after(wait, Ev::Status(at));
                for to in self.sessions_of(at) {
                    self.send_status(at, to);
                }
            }
            Ev::Verified(at, life, id, verdict) if self.node(at).life == life => {
                self.tell(at, Event::Verified(id, verdict));
            }
            Ev::Store(at, life, id, job) if self.node(at).life == life => self.store(at, id, job),
            Ev::Apply(at, life) if self.node(at).life == life => self.apply(at),
            Ev::Read(at, life, ticket, read) if self.node(at).life == life => {
                let Peer::Honest(node) = &self.peers[at] else { return };
                let loaded = node.load(read, &mut self.truth);
                self.serve(at, ServerEvent::Loaded(ticket, loaded));
            }
            Ev::Verified(..) | Ev::Store(..) | Ev::Apply(..) | Ev::Read(..) => {}
            Ev::Produce => self.on_produce(),
            Ev::Crash(at, down_ms) => self.on_crash(at, down_ms),
            Ev::Restart(at) => {
                self.restart(at);
                for other in 0..self.peers.len() {
                    if other != at {
                        self.after(1, Ev::Connect(at, other));
                    }
                }
            }
            Ev::Connect(a, b) => self.connect(a, b),
            Ev::Dead(a, b, session) => {
                if self.sessions.get(&order(a, b)) == Some(&session) {
                    self.disconnect(a, b);
                }
            }
            Ev::Spam(at) => self.spam(at),
        }
    }

    fn restart(&mut self, at: usize) {
        let now = self.clock(at);
        let Peer::Honest(node) = &mut self.peers[at] else { return };
        node.start(now, &self.truth);
        let available = node.available();
        self.serve(at, ServerEvent::Available(available));
    }

    fn on_crash(&mut self, at: usize, down_ms: u64) {
        if !self.node(at).up {
            return;
        }
        for other in self.sessions_of(at) {
            self.disconnect(at, other);
        }
        let node = self.node_mut(at);
        node.up = false;
        node.life += 1;
        self.after(down_ms, Ev::Restart(at));
    }

    fn on_produce(&mut self) {
        if self.produce_ms == 0 {
            return;
        }
        self.after(self.produce_ms, Ev::Produce);
        // A sequencer that is a follower for now, or down, orders nothing.
        if !self.node(0).up || self.node(0).disk.tip().height != self.truth.height() {
            return;
        }
        self.truth.extend(&mut self.rng);
        let height = self.truth.height();
        let Peer::Honest(node) = &mut self.peers[0] else { return };
        node.fill(&mut self.truth, height);
        let commit = self.truth.certified(height);
        self.tell(0, Event::Produced { commit });
    }

    fn is_up(&self, at: usize) -> bool {
        match &self.peers[at] {
            Peer::Honest(node) => node.up,
            Peer::Liar { .. } => true,
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let banned = [(a, b), (b, a)].iter().any(|(one, other)| match &self.peers[*one] {
            Peer::Honest(node) => node.banned.contains(&self.id(*other)),
            Peer::Liar { .. } => false,
        });
        let cut = [(a, b), (b, a)].iter().any(|pair| self.links[pair].cut_until > self.now);
        let there = self.sessions.contains_key(&order(a, b));
        if banned || cut || there || !self.is_up(a) || !self.is_up(b) {
            return;
        }
        self.sessions_made += 1;
        self.sessions.insert(order(a, b), self.sessions_made);
        let binding = binding(self.sessions_made);
        for (one, other) in [(a, b), (b, a)] {
            let peer = self.id(other);
            self.tell(one, Event::PeerJoined { peer, binding });
        }
        self.send_status(a, b);
        self.send_status(b, a);
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        if self.sessions.remove(&order(a, b)).is_none() {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            let peer = self.id(other);
            self.tell(one, Event::PeerLeft(peer));
            self.serve(one, ServerEvent::PeerLeft(peer));
        }
        self.after(1_000, Ev::Connect(a, b));
    }

    fn sessions_of(&self, at: usize) -> Vec<usize> {
        let pairs = self.sessions.keys().filter(|(a, b)| *a == at || *b == at);
        pairs.map(|(a, b)| if *a == at { *b } else { *a }).collect()
    }

    fn send_status(&mut self, from: usize, to: usize) {
        let Some(session) = self.sessions.get(&order(from, to)) else { return };
        let binding = binding(*session);
        let status = match &mut self.peers[from] {
            Peer::Honest(node) => node.status(&binding),
            Peer::Liar { key, lie, sequence, .. } => {
                *sequence += 1;
                let tip = lie.tip(&mut self.truth);
                let latest_snapshot = snapshot_height(self.truth.height());
                let status = Status {
                    tip,
                    lowest_body: 0,
                    lowest_header: 0,
                    latest_snapshot,
                    sequence: *sequence,
                    load_permille: 0,
                };
                let signature = sign(key, &status.signed_bytes(&CHAIN, &binding));
                SignedStatus { status, signature }
            }
        };
        self.send(from, to, 0, Message::Push(Push::Status(status)), true);
    }

    fn send(&mut self, from: usize, to: usize, id: u64, message: Message, last: bool) {
        // Half of the runs move values, which is fast; the other half bytes.
        let (mut message, mut len) = (message, 200);
        if self.wire_checked {
            let bytes = message.encode();
            assert!(bytes.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", bytes.len());
            len = bytes.len();
            match Message::decode(&bytes) {
                Ok(read) => message = read,
                // What a liar sends need not be a message; a real peer is cut off for it.
                Err(_) => return self.punish_codec(from, to),
            }
        }
        self.transmit(from, to, len as u64, Wire::Message(id, message, last));
    }

    fn punish_codec(&mut self, from: usize, to: usize) {
        assert!(
            !matches!(self.peers[from], Peer::Honest(_)),
            "an honest message has a codec error"
        );
        let peer = self.id(from);
        self.penalise(to, peer, Offence::Unsolicited);
    }

    fn transmit(&mut self, from: usize, to: usize, len: u64, wire: Wire) {
        let Some(session) = self.sessions.get(&order(from, to)).copied() else { return };
        let jitter = self.links[&(from, to)].jitter_ms as usize;
        let jitter = self.rng_below(jitter.max(1));
        let now = self.now;
        let link = self.links.get_mut(&(from, to)).unwrap();
        // Bytes leave one after the other, and arrive in the order in which they were sent.
        link.busy_until =
            now.max(link.cut_until).max(link.busy_until) + len / link.bytes_per_ms.max(1);
        let at = (link.busy_until + link.delay_ms + jitter).max(link.last);
        link.last = at;
        self.number += 1;
        self.queue.insert((at, self.number), Ev::Deliver { from, to, session, wire });
    }

    fn deliver(&mut self, from: usize, to: usize, wire: Wire) {
        let peer = self.id(from);
        if let Peer::Liar { lie, asked, .. } = &mut self.peers[to] {
            let lie = *lie;
            if let Wire::Message(id, Message::Request(request), _) = wire
                && lie != Lie::Silent
            {
                *asked += 1;
                let pieces = lie.answer(&mut self.truth, &mut self.rng, request);
                let count = pieces.len();
                for (piece, nth) in pieces.into_iter().zip(1..) {
                    self.send(to, from, id, Message::Answer(piece), nth == count);
                }
            }
            return;
        }
        match wire {
            Wire::Cancel(id) => self.serve(to, ServerEvent::Cancel { peer, id }),
            Wire::Message(id, Message::Request(request), _) => {
                self.serve(to, ServerEvent::Request { peer, id, request });
            }
            Wire::Message(id, Message::Answer(answer), last) => {
                self.tell(to, Event::Answer { peer, id: RequestId(id), answer, last });
            }
            Wire::Message(_, Message::Push(Push::Status(status)), _) => {
                self.tell(to, Event::Status { peer, status });
            }
            Wire::Message(_, Message::Push(Push::Commit { commit, body }), _) => {
                self.tell(to, Event::Pushed { peer, commit, body });
            }
            Wire::Message(_, Message::Hello(_), _) => {}
        }
    }

    /// Returns the milliseconds until a node has everything; at most `limit`.
    pub(crate) fn time_to_sync(&mut self, at: usize, limit: u64) -> u64 {
        let start = self.now;
        while self.node(at).core.marks().applied < self.truth.height() && self.now < start + limit {
            self.run_for(20);
        }
        self.now - start
    }

    /// Runs until everybody has everything. Nodes with windows of one body are slow, so what is bounded
    /// is the time without progress: longer than any partition or back-off (V10).
    pub(crate) fn settle(&mut self) {
        let done = |world: &Self| -> u64 {
            let nodes = world.honest_nodes();
            nodes.iter().map(|at| world.node(*at).core.marks()).map(|m| m.stored + m.applied).sum()
        };
        let mut before = (done(self), self.now);
        let all = 2 * self.truth.height() * self.honest_nodes().len() as u64;
        while self.now < before.1 + 45_000 && done(self) < all {
            self.run_for(1_000);
            if done(self) != before.0 {
                before = (done(self), self.now);
            }
        }
        self.assert_synced();
    }

    /// V10 and V5: everybody who is honest has the whole chain and the same state.
    pub(crate) fn assert_synced(&self) {
        for at in self.honest_nodes() {
            let node = self.node(at);
            let (marks, height) = (node.core.marks(), self.truth.height());
            assert!(
                marks.stored == height && marks.applied == height,
                "V10, seed {}: node {at} is at {marks:?} of {height}, reason {:?}, held {:?}, \
                 offences {:?}, halted {:?}",
                self.seed,
                node.core.reason(),
                node.core.held(),
                node.offences,
                node.halted,
            );
            assert_eq!(node.applied, (height, self.truth.state(height)), "V5");
        }
    }
}

fn order(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn binding(session: u64) -> Digest {
    Digest::of(&session.to_be_bytes())
}
