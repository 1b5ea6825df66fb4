//! `Peers`: book, policy and scorer put together, one event in and a list of actions out.
//!
//! This is what the network loop of a node drives: it owns sockets, timers and disk, and every decision
//! about peers is made here. No action can wait, and none is answered by a call: outcomes come back as
//! events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::address::{Endpoint, Subnet};
use super::ban::BanList;
use super::book::{BookAction, BookEvent, PeerBook, Source};
use super::dice::Dice;
use super::policy::{
    Bye, ConnAction, ConnEvent, ConnId, ConnLimits, ConnPolicy, Direction, Refusal,
};
use super::record::{PeerRecord, RecordError, RecordRules, VerifiedRecord};
use super::rules::PeerRules;
use super::score::{Admission, Fault, Limit, ScoreAction, ScoreEvent, Scorer};
use crate::NodeId;
use crate::moment::{HOUR_MS, MINUTE_MS, Moment, SECOND_MS};

/// How often a random one of the peers that we chose is asked for peers.
pub const ASK_MS: u64 = MINUTE_MS;
/// A peer is not asked more often than it has to answer.
const ASK_AGAIN_MS: u64 = 30 * SECOND_MS;
/// How often our own record is signed anew, so that others see that we live.
pub const RENEW_MS: u64 = 12 * HOUR_MS;
const TICK_MS: u64 = MINUTE_MS;

/// What the peers are told.
#[derive(Clone, Debug)]
pub enum PeersEvent {
    /// Something happened to a connection. [`ConnEvent::Rules`] and [`ConnEvent::RequiredHosts`] come from
    /// here and are not passed in.
    Conn(ConnEvent),
    /// The operator, or a commit of the chain, decides anew.
    Rules(Box<PeerRules>),
    /// The configuration or a commit names records.
    Trusted(Vec<PeerRecord>),
    /// A peer answered our request for peers.
    Told {
        /// The peer.
        peer: NodeId,
        /// Its answer.
        records: Vec<PeerRecord>,
    },
    /// A peer asks for peers.
    Asked {
        /// The peer.
        peer: NodeId,
    },
    /// The answer to [`PeersAction::Verify`].
    Checked {
        /// Whose record it was.
        key: NodeId,
        /// The outcome; `None` when it was not checked for want of time.
        verdict: Option<Result<VerifiedRecord, RecordError>>,
    },
    /// Something is to be scored, or an operator bans or lifts.
    Score(ScoreEvent),
    /// An operator wants this peer dialled now.
    DialNow {
        /// The peer.
        peer: NodeId,
    },
    /// The moment of [`Peers::next_deadline`] has come.
    Timer,
}

/// What the peers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeersAction {
    /// Something is to be done with a connection.
    Conn(ConnAction),
    /// Ask the peer at the other end for peers.
    Ask {
        /// The connection.
        conn: ConnId,
    },
    /// Answer a request for peers.
    Tell {
        /// The connection.
        conn: ConnId,
        /// The answer.
        records: Vec<PeerRecord>,
    },
    /// Verify a record away from the loop and tell the verdict as [`PeersEvent::Checked`].
    Verify(PeerRecord),
    /// Sign our own record anew, with the next number, and pass it to [`Peers::set_own`].
    SignOwn,
    /// A peer, or a required peer's service of data, is shut out; to be logged. Bans are to be stored.
    Scored(ScoreAction),
    /// It is a good moment to store the book.
    StoreBook,
}

/// Everything about peers.
#[derive(Clone, Debug)]
pub struct Peers {
    book: PeerBook,
    policy: ConnPolicy,
    scorer: Scorer,
    /// Peers that can be spoken to: from where, and when they were last asked for peers.
    links: BTreeMap<NodeId, Contact>,
    /// Of the last run; each is dialled once before anybody else.
    anchors: Vec<NodeId>,
    ask_at: Moment,
    tick_at: Moment,
    renew_at: Moment,
    dice: Dice,
}

#[derive(Clone, Copy, Debug)]
struct Contact {
    ip: Option<IpAddr>,
    asked: Option<Moment>,
    /// Whether its answer is still to come; nothing else is taken from it.
    awaited: bool,
}

impl Peers {
    /// Returns the peers of node `me`: nobody is connected, the book is empty unless it is loaded by
    /// [`Peers::load_book`]. `private` nodes are never told to others.
    #[must_use]
    pub fn new(
        now: Moment,
        me: NodeId,
        records: RecordRules,
        limits: ConnLimits,
        private: BTreeSet<NodeId>,
        bans: BanList,
        seed: u64,
    ) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            book: PeerBook::new(me, records, private, dice.split()),
            policy: ConnPolicy::new(now, me, limits, dice.split()),
            scorer: Scorer::new(bans, dice.split()),
            links: BTreeMap::new(),
            anchors: Vec::new(),
            ask_at: now.after(ASK_MS),
            tick_at: now.after(TICK_MS),
            renew_at: now.after(RENEW_MS),
            dice,
        }
    }

    /// Takes in a stored book.
    ///
    /// # Errors
    /// [`super::StoredError`] if the bytes are none; the book is then empty.
    pub fn load_book(&mut self, now: Moment, bytes: &[u8]) -> Result<(), super::StoredError> {
        self.book.load(now, bytes)?;
        self.anchors = self.book.anchors().to_vec();
        Ok(())
    }

    /// Takes our own record; `None` when nobody shall dial us.
    pub fn set_own(&mut self, own: Option<VerifiedRecord>) {
        self.book.set_own(own);
    }

    /// Takes note of `event`.
    pub fn on_event(&mut self, now: Moment, event: PeersEvent, actions: &mut Vec<PeersAction>) {
        match event {
            // Frequent, and no reason to look for somebody to dial.
            PeersEvent::Conn(event @ (ConnEvent::Heard { .. } | ConnEvent::Pong { .. })) => {
                return self.drive(now, event, actions);
            }
            PeersEvent::Conn(event) => self.on_conn(now, event, actions),
            PeersEvent::Rules(rules) => self.on_rules(now, *rules, actions),
            PeersEvent::Trusted(records) => {
                self.tell(now, BookEvent::Told { source: Source::Trusted, records }, actions);
            }
            PeersEvent::Told { peer, records } => self.on_told(now, peer, records, actions),
            PeersEvent::Asked { peer } => return self.on_asked(now, peer, actions),
            PeersEvent::Checked { key, verdict } => {
                self.tell(now, BookEvent::Checked { key, verdict }, actions);
                if self.policy.rules().required().contains(&key) {
                    self.policy.forget_failures(&key);
                    self.update_required(now, actions);
                }
            }
            PeersEvent::Score(event) => self.score(now, event, actions),
            PeersEvent::DialNow { peer } => {
                self.policy.forget_failures(&peer);
                self.dial(now, peer, actions);
            }
            PeersEvent::Timer => self.on_timer(now, actions),
        }
        self.dial_all(now, actions);
    }

    fn on_conn(&mut self, now: Moment, event: ConnEvent, actions: &mut Vec<PeersAction>) {
        match &event {
            ConnEvent::Accepted { number, ip } => {
                if self.scorer.host_banned_ms(now, *ip).is_some() {
                    let conn = ConnId { direction: Direction::Inbound, number: *number };
                    let refuse = ConnAction::Refuse { conn, why: Refusal::Banned };
                    return actions.push(PeersAction::Conn(refuse));
                }
            }
            ConnEvent::Secured { conn, peer } => {
                if let Some(ms) = self.scorer.banned_ms(now, peer) {
                    let leave = ConnEvent::Leave { conn: *conn, why: Bye::Banned { ms } };
                    return self.drive(now, leave, actions);
                }
            }
            ConnEvent::Rules(_) | ConnEvent::RequiredHosts(_) => return,
            ConnEvent::Connected { .. }
            | ConnEvent::HelloOk { .. }
            | ConnEvent::HelloBad { .. }
            | ConnEvent::Ended { .. }
            | ConnEvent::Heard { .. }
            | ConnEvent::Pong { .. }
            | ConnEvent::Leave { .. }
            | ConnEvent::Part { .. }
            | ConnEvent::PartHost { .. }
            | ConnEvent::Timer => {}
        }
        self.drive(now, event, actions);
    }

    fn on_rules(&mut self, now: Moment, rules: PeerRules, actions: &mut Vec<PeersAction>) {
        self.drive(now, ConnEvent::Rules(Box::new(rules)), actions);
        let required = self.policy.rules().required();
        self.tell(now, BookEvent::Required(required), actions);
        self.update_required(now, actions);
    }

    /// Tells everybody who is required, and at which hosts they listen.
    fn update_required(&mut self, now: Moment, actions: &mut Vec<PeersAction>) {
        let peers = self.policy.rules().required();
        let endpoints = peers.iter().flat_map(|peer| self.endpoints(peer));
        let hosts: BTreeSet<_> = endpoints
            .filter_map(|endpoint| match endpoint {
                Endpoint::Ip(address) => Some(Subnet::host(address.ip)),
                Endpoint::Name { .. } => None,
            })
            .collect();
        self.drive(now, ConnEvent::RequiredHosts(hosts.clone()), actions);
        self.score(now, ScoreEvent::Required { peers, hosts }, actions);
    }

    /// Where `peer` may be dialled: what the configuration says, then what the peer says.
    fn endpoints(&self, peer: &NodeId) -> Vec<Endpoint> {
        let mut endpoints = self.policy.rules().fixed.get(peer).cloned().unwrap_or_default();
        for address in self.book.addresses(peer) {
            let endpoint = Endpoint::Ip(*address);
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        endpoints
    }

    fn on_told(
        &mut self,
        now: Moment,
        peer: NodeId,
        records: Vec<PeerRecord>,
        actions: &mut Vec<PeersAction>,
    ) {
        if let Some(contact) = self.links.get_mut(&peer).filter(|contact| contact.awaited) {
            contact.awaited = false;
            let ip = contact.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let source = Source::Peer { key: peer, provider: Subnet::provider(ip) };
            self.tell(now, BookEvent::Told { source, records }, actions);
        }
    }

    fn on_asked(&mut self, now: Moment, peer: NodeId, actions: &mut Vec<PeersAction>) {
        if self.admit(now, peer, Limit::GetPeers, actions) == Admission::Pass
            && let Some(conn) = self.policy.conn_of(&peer)
        {
            actions.push(PeersAction::Tell { conn, records: self.book.answer(now, &peer) });
        }
    }

    /// Lets a message of a limited kind pass, or says that it is to be ignored.
    pub fn admit(
        &mut self,
        now: Moment,
        peer: NodeId,
        limit: Limit,
        actions: &mut Vec<PeersAction>,
    ) -> Admission {
        let mut scored = Vec::new();
        let admission = self.scorer.admit(now, peer, limit, &mut scored);
        self.on_scored(now, scored, actions);
        admission
    }

    /// Hands an event to the policy and carries out what concerns book and scorer.
    fn drive(&mut self, now: Moment, event: ConnEvent, actions: &mut Vec<PeersAction>) {
        let mut wanted = Vec::new();
        self.policy.on_event(now, event, &mut wanted);
        self.on_wanted(now, wanted, actions);
    }

    fn on_wanted(&mut self, now: Moment, wanted: Vec<ConnAction>, actions: &mut Vec<PeersAction>) {
        for action in wanted {
            actions.push(PeersAction::Conn(action.clone()));
            match action {
                ConnAction::Up { peer, conn, ip } => {
                    self.links.insert(peer, Contact { ip, asked: None, awaited: false });
                    self.score(now, ScoreEvent::Up { peer, ip }, actions);
                    let dialled = conn.direction == Direction::Outbound;
                    self.tell(now, BookEvent::Up { peer, dialled, ip }, actions);
                    self.ask(now, peer, actions);
                }
                ConnAction::Moved { peer, conn, ip } => {
                    let dialled = conn.direction == Direction::Outbound;
                    self.tell(now, BookEvent::Up { peer, dialled, ip }, actions);
                }
                ConnAction::Down { peer } => {
                    self.links.remove(&peer);
                    self.score(now, ScoreEvent::Down { peer }, actions);
                    self.tell(now, BookEvent::Down { peer }, actions);
                }
                ConnAction::DialFailed { peer } => {
                    self.tell(now, BookEvent::DialFailed { peer }, actions);
                }
                ConnAction::OtherChain { peer } => {
                    self.tell(now, BookEvent::OtherChain { peer }, actions);
                }
                ConnAction::Refuse { .. }
                | ConnAction::Secure { .. }
                | ConnAction::Dial { .. }
                | ConnAction::Hello { .. }
                | ConnAction::Ping { .. }
                | ConnAction::Close { .. }
                | ConnAction::Abort { .. } => {}
            }
        }
    }

    fn tell(&mut self, now: Moment, event: BookEvent, actions: &mut Vec<PeersAction>) {
        let mut wanted = Vec::new();
        self.book.on_event(now, event, &mut wanted);
        for action in wanted {
            match action {
                BookAction::Verify { record, .. } => actions.push(PeersAction::Verify(record)),
                BookAction::Forged { source: Source::Peer { key: peer, .. } } => {
                    let fault = Fault::ForgedRecord;
                    self.score(now, ScoreEvent::Fault { peer, fault }, actions);
                }
                BookAction::Forged { source: Source::Trusted } => {}
            }
        }
    }

    fn score(&mut self, now: Moment, event: ScoreEvent, actions: &mut Vec<PeersAction>) {
        let mut scored = Vec::new();
        self.scorer.on_event(now, event, &mut scored);
        self.on_scored(now, scored, actions);
    }

    fn on_scored(&mut self, now: Moment, scored: Vec<ScoreAction>, actions: &mut Vec<PeersAction>) {
        for action in scored {
            actions.push(PeersAction::Scored(action));
            match action {
                ScoreAction::Ban { peer, ms } => {
                    self.drive(now, ConnEvent::Part { peer, why: Bye::Banned { ms } }, actions);
                }
                ScoreAction::BanHost { host, ms } => {
                    let why = Bye::Banned { ms };
                    self.drive(now, ConnEvent::PartHost { host, why }, actions);
                }
                ScoreAction::SyncOff { .. } => {}
            }
        }
    }

    fn ask(&mut self, now: Moment, peer: NodeId, actions: &mut Vec<PeersAction>) {
        let conn = self.policy.conn_of(&peer);
        if let Some((contact, conn)) = self.links.get_mut(&peer).zip(conn)
            && contact.asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN_MS)
        {
            (contact.asked, contact.awaited) = (Some(now), true);
            actions.push(PeersAction::Ask { conn });
        }
    }

    /// One of those we chose ourselves: who chose us may be one of many that belong together.
    fn whom_to_ask(&mut self) -> Option<NodeId> {
        let required = self.policy.rules().required();
        let chosen = |peer: &&NodeId| {
            let conn = self.policy.conn_of(peer);
            conn.is_some_and(|conn| conn.direction == Direction::Outbound)
                || required.contains(peer)
        };
        let ours: Vec<_> = self.links.keys().filter(chosen).copied().collect();
        let peers = if ours.is_empty() { self.links.keys().copied().collect() } else { ours };
        peers.get(self.dice.index(peers.len())).copied()
    }

    fn on_timer(&mut self, now: Moment, actions: &mut Vec<PeersAction>) {
        self.drive(now, ConnEvent::Timer, actions);
        if now >= self.ask_at {
            self.ask_at = now.after(ASK_MS);
            let peer = self.whom_to_ask();
            peer.into_iter().for_each(|peer| self.ask(now, peer, actions));
        }
        if now >= self.tick_at {
            self.tick_at = now.after(TICK_MS);
            self.tell(now, BookEvent::Tick, actions);
            self.score(now, ScoreEvent::Tick, actions);
            actions.push(PeersAction::StoreBook);
        }
        if now >= self.renew_at {
            self.renew_at = now.after(RENEW_MS);
            actions.push(PeersAction::SignOwn);
        }
    }

    /// Dials the required peers whose time has come, then fills the band: anchors first.
    fn dial_all(&mut self, now: Moment, actions: &mut Vec<PeersAction>) {
        for peer in self.policy.due(now) {
            self.dial(now, peer, actions);
        }
        for _ in 0..self.policy.wanted(now) {
            let Some(peer) = self.candidate(now) else {
                return;
            };
            self.dial(now, peer, actions);
        }
    }

    /// Somebody to fill the band with; of a provider that is in it already only if there is no other.
    fn candidate(&mut self, now: Moment) -> Option<NodeId> {
        while let Some(anchor) = self.anchors.pop() {
            if self.policy.may_dial(now, &anchor) && self.scorer.banned_ms(now, &anchor).is_none() {
                return Some(anchor);
            }
        }
        let (policy, scorer) = (&self.policy, &self.scorer);
        let unfit = |peer: &NodeId| {
            !policy.may_dial(now, peer)
                || scorer.banned_ms(now, peer).is_some()
                || policy.rules().fixed.contains_key(peer)
        };
        let quality = |peer: &NodeId| scorer.quality(peer);
        let spread =
            |peer: &NodeId, providers: &[Subnet]| unfit(peer) || policy.is_crowded(providers);
        let book = &mut self.book;
        book.pick(now, spread, quality).or_else(|| book.pick(now, |peer, _| unfit(peer), quality))
    }

    fn dial(&mut self, now: Moment, peer: NodeId, actions: &mut Vec<PeersAction>) {
        if self.scorer.banned_ms(now, &peer).is_some() {
            return;
        }
        let (endpoints, mut wanted) = (self.endpoints(&peer), Vec::new());
        self.policy.dial(now, peer, &endpoints, &mut wanted);
        self.on_wanted(now, wanted, actions);
    }

    /// Returns when [`PeersEvent::Timer`] is due.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Moment {
        let own = self.ask_at.min(self.tick_at).min(self.renew_at);
        self.policy.next_deadline(now).min(own).max(now)
    }

    /// Returns the book.
    #[must_use]
    pub fn book(&self) -> &PeerBook {
        &self.book
    }

    /// Returns the connections.
    #[must_use]
    pub fn policy(&self) -> &ConnPolicy {
        &self.policy
    }

    /// Returns the scores.
    #[must_use]
    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// Returns the scores, to choose whom to ask for data and to count bytes.
    pub fn scorer_mut(&mut self) -> &mut Scorer {
        &mut self.scorer
    }
}

#[cfg(test)]
mod tests;
