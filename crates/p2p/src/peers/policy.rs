//! `ConnPolicy`: who may connect, whom to dial and when, which of two connections stays, who is dead.
//!
//! ```text
//! Accepted ─► Securing ─► Hello ─► Active ─► Draining ─► gone
//! Dialling ─► Securing ─► Hello ─┘
//! ```
//!
//! Every state but `Active` has a deadline, every connection an id, and every end names the connection
//! that ended: the end of an old one cannot take its successor along (R21). Peers are `Up` and
//! `Down` once, however many connections they change between.
//!
//! Not the concern of the policy: addresses of peers (`book`), bans (`score`); [`Peers`](super::Peers)
//! puts them together.

mod admission;
mod dialling;
mod event;
mod keep_alive;
mod ties;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

pub use admission::ConnCounts;
use dialling::Memory;
pub use dialling::{MEMORY_MAX, OLD_PROTO_MS, OPTIONAL_BACKOFF_MS, REQUIRED_BACKOFF_MS};
pub use event::{Bye, ConnAction, ConnEvent, Ended, Refusal};
use keep_alive::Life;
pub use keep_alive::{DEAD_MS, PING_MS};

use super::address::Subnet;
use super::bucket::{Bucket, Rate, Throttle};
use super::dice::Dice;
use super::rules::{PeerRules, Standing};
use crate::NodeId;
use crate::moment::{HOUR_MS, MINUTE_MS, Moment, SECOND_MS};

/// How long a dial may take.
pub const DIAL_MS: u64 = 5 * SECOND_MS;
/// How long a secure handshake may take.
pub const SECURE_MS: u64 = 5 * SECOND_MS;
/// How long the exchange of Hello may take.
pub const HELLO_MS: u64 = 3 * SECOND_MS;
/// How long a connection may go on to answer what was asked, and to say goodbye.
pub const DRAIN_MS: u64 = 2 * SECOND_MS;
/// Connections that say goodbye at the same time; of more the oldest are cut.
pub const DRAINING_MAX: usize = 64;
/// A connection that was up for this long is no accident: the next back-off begins anew.
pub const STABLE_MS: u64 = MINUTE_MS;
/// A peer that dials us anew after this time has lost the connection that we still see. It is longer than
/// a dial and its handshakes can take, so simultaneous dials are always nearer to each other.
pub const SETTLED_MS: u64 = 15 * SECOND_MS;
const _: () = assert!(SETTLED_MS > DIAL_MS + SECURE_MS + HELLO_MS);

const HOSTS_MAX: usize = 4096;
const PER_HOST: Rate = Rate::per_second(1, 8);
const PER_SITE: Rate = Rate::per_second(8, 64);
/// Of all hosts together: what handshakes may cost of a core.
const OF_ALL: Rate = Rate::per_second(200, 256);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// A connection, never used for another. Numbers of inbound ones are given by the shell, in the order of
/// their acceptance, those of outbound ones by the policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Who opened it.
    pub direction: Direction,
    /// Its number among those.
    pub number: u64,
}

impl fmt::Debug for ConnId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.direction == Direction::Inbound { "in" } else { "out" };
        write!(out, "{letter}{}", self.number)
    }
}

/// Limits of connections. A configuration can lower them, never raise them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnLimits {
    /// Connections of peers that are not required, in any state but draining.
    pub total: usize,
    /// Inbound connections of peers that no configuration names.
    pub unknown_inbound: usize,
    /// Connections with one IPv4 address or /64.
    pub per_host: usize,
    /// Connections with one /24 or /48.
    pub per_site: usize,
    /// Inbound connections before their first Hello.
    pub pending_in: usize,
    /// Outbound ones, those to required peers aside.
    pub pending_out: usize,
    /// Outbound connections to peers of our choice, below which more are dialled.
    pub band_low: usize,
    /// And at which dialling stops.
    pub band_high: usize,
}

impl Default for ConnLimits {
    fn default() -> Self {
        Self {
            total: 256,
            unknown_inbound: 64,
            per_host: 4,
            per_site: 16,
            pending_in: 64,
            pending_out: 64,
            band_low: 8,
            band_high: 16,
        }
    }
}

impl ConnLimits {
    /// Returns these limits, each lowered to that of `wish` where that is lower.
    #[must_use]
    pub fn lowered(self, wish: Self) -> Self {
        let band_high = self.band_high.min(wish.band_high);
        Self {
            total: self.total.min(wish.total),
            unknown_inbound: self.unknown_inbound.min(wish.unknown_inbound),
            per_host: self.per_host.min(wish.per_host),
            per_site: self.per_site.min(wish.per_site),
            pending_in: self.pending_in.min(wish.pending_in),
            pending_out: self.pending_out.min(wish.pending_out),
            band_low: self.band_low.min(wish.band_low).min(band_high),
            band_high,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Dialling,
    Securing,
    Hello,
    Active,
    Draining,
}

#[derive(Clone, Debug)]
struct Conn {
    state: State,
    /// Who it is; of an outbound one before the handshake, who it should be.
    peer: Option<NodeId>,
    ip: Option<IpAddr>,
    /// Since when it is in this state.
    since: Moment,
    /// When it must have left this state; of an active one its life decides.
    deadline: Moment,
    /// Which process of the peer it leads to, as far as that is known.
    instance: u64,
    life: Life,
}

/// A peer that can be spoken to.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// `None` while the other end has already closed one connection for the sake of another, which is not
    /// complete here.
    active: Option<ConnId>,
    since: Moment,
    /// How long the other connection is waited for.
    patience: Moment,
}

/// The policy. All of it is a function of its events and the seed of its dice.
#[derive(Clone, Debug)]
pub struct ConnPolicy {
    me: NodeId,
    limits: ConnLimits,
    rules: PeerRules,
    required: BTreeSet<NodeId>,
    required_hosts: BTreeSet<Subnet>,
    conns: BTreeMap<ConnId, Conn>,
    links: BTreeMap<NodeId, Link>,
    memory: BTreeMap<NodeId, Memory>,
    next_outbound: u64,
    next_nonce: u64,
    /// Whether the band is being filled, and when somebody for it is looked for again.
    filling: bool,
    fill_at: Moment,
    hosts: Throttle<Subnet>,
    sites: Throttle<Subnet>,
    all: Bucket,
    dice: Dice,
}

impl ConnPolicy {
    /// Returns a policy of node `me` without connections.
    #[must_use]
    pub fn new(now: Moment, me: NodeId, limits: ConnLimits, dice: Dice) -> Self {
        Self {
            me,
            limits: ConnLimits::default().lowered(limits),
            rules: PeerRules::default(),
            required: BTreeSet::new(),
            required_hosts: BTreeSet::new(),
            conns: BTreeMap::new(),
            links: BTreeMap::new(),
            memory: BTreeMap::new(),
            next_outbound: 0,
            next_nonce: 0,
            filling: true,
            fill_at: now,
            hosts: Throttle::new(PER_HOST, HOSTS_MAX),
            sites: Throttle::new(PER_SITE, HOSTS_MAX),
            all: Bucket::full(OF_ALL, now),
            dice,
        }
    }

    /// Takes note of `event`.
    pub fn on_event(&mut self, now: Moment, event: ConnEvent, actions: &mut Vec<ConnAction>) {
        match event {
            ConnEvent::Rules(rules) => self.on_rules(now, *rules, actions),
            ConnEvent::RequiredHosts(hosts) => {
                self.required_hosts = hosts;
                self.shed(now, actions);
            }
            ConnEvent::Accepted { number, ip } => self.on_accepted(now, number, ip, actions),
            ConnEvent::Connected { conn } => {
                if let Some(dialled) = self.conns.get_mut(&conn)
                    && dialled.state == State::Dialling
                {
                    dialled.enter(State::Securing, now, SECURE_MS);
                    actions.push(ConnAction::Secure { conn });
                }
            }
            ConnEvent::Secured { conn, peer } => self.on_secured(now, conn, peer, actions),
            ConnEvent::HelloOk { conn, instance } => {
                self.on_hello_ok(now, conn, instance, actions);
            }
            ConnEvent::HelloBad { conn, why } => self.on_hello_bad(now, conn, why, actions),
            ConnEvent::Ended { conn, how } => self.on_ended(now, conn, how, actions),
            ConnEvent::Heard { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.life.on_heard(now);
                }
            }
            ConnEvent::Pong { conn, nonce } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.life.on_pong(now, nonce);
                }
            }
            ConnEvent::Leave { conn, why } => self.close(now, conn, why, actions),
            ConnEvent::Part { peer, why } => {
                self.close_where(now, why, actions, |_, conn| conn.peer == Some(peer));
            }
            ConnEvent::PartHost { host, why } => {
                let required = self.required.clone();
                self.close_where(now, why, actions, |_, conn| {
                    conn.ip.is_some_and(|ip| Subnet::host(ip) == host)
                        && !conn.peer.is_some_and(|peer| required.contains(&peer))
                });
            }
            ConnEvent::Timer => self.on_timer(now, actions),
        }
    }

    fn on_rules(&mut self, now: Moment, rules: PeerRules, actions: &mut Vec<ConnAction>) {
        self.required = rules.required();
        self.required.remove(&self.me);
        self.rules = rules;
        let (denied, rules) = (Bye::NotAllowed, self.rules.clone());
        self.close_where(now, denied, actions, |_, conn| {
            conn.ip.is_some_and(|ip| rules.deny.denies_ip(ip))
                || conn
                    .peer
                    .is_some_and(|peer| rules.deny.denies_key(&peer) || !rules.allows(&peer))
        });
        self.shed(now, actions);
    }

    fn close_where(
        &mut self,
        now: Moment,
        why: Bye,
        actions: &mut Vec<ConnAction>,
        meant: impl Fn(&ConnId, &Conn) -> bool,
    ) {
        let meant: Vec<_> = (self.conns.iter())
            .filter(|(id, conn)| conn.state != State::Draining && meant(id, conn))
            .map(|(id, _)| *id)
            .collect();
        for id in meant {
            self.close(now, id, why, actions);
        }
    }

    /// Begins the end of a connection from this side.
    fn close(&mut self, now: Moment, id: ConnId, why: Bye, actions: &mut Vec<ConnAction>) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.state != State::Draining)
        else {
            return;
        };
        conn.enter(State::Draining, now, DRAIN_MS);
        let peer = conn.peer;
        actions.push(ConnAction::Close { conn: id, why });
        self.bound_draining(actions);
        self.detach(now, id, peer, actions);
    }

    /// Cuts the oldest of the connections that say goodbye when there are too many: who is turned away
    /// must not keep others out by leaving slowly.
    fn bound_draining(&mut self, actions: &mut Vec<ConnAction>) {
        let draining = self.conns.iter().filter(|(_, conn)| conn.state == State::Draining);
        let mut oldest: Vec<_> = draining.map(|(id, conn)| (conn.since, *id)).collect();
        oldest.sort_unstable();
        let surplus = oldest.len().saturating_sub(DRAINING_MAX);
        for (_, id) in oldest.into_iter().take(surplus) {
            self.conns.remove(&id);
            actions.push(ConnAction::Abort { conn: id });
        }
    }

    fn on_hello_ok(
        &mut self,
        now: Moment,
        id: ConnId,
        instance: u64,
        actions: &mut Vec<ConnAction>,
    ) {
        let Some((peer, ip)) = self.conns.get_mut(&id).and_then(|conn| {
            let peer = conn.peer.filter(|_| conn.state == State::Hello)?;
            conn.enter(State::Active, now, 0);
            (conn.life, conn.instance) = (Life::begin(now), instance);
            Some((peer, conn.ip))
        }) else {
            return;
        };
        match self.links.get(&peer).copied() {
            None => {
                self.links.insert(peer, Link { active: Some(id), since: now, patience: now });
                actions.push(ConnAction::Up { peer, conn: id, ip });
            }
            Some(link @ Link { active: None, .. }) => {
                self.links.insert(peer, Link { active: Some(id), ..link });
                actions.push(ConnAction::Moved { peer, conn: id, ip });
            }
            Some(link @ Link { active: Some(old), .. }) => {
                if self.survivor(now, peer, old, id) == old {
                    self.close(now, id, Bye::Duplicate, actions);
                } else {
                    self.links.insert(peer, Link { active: Some(id), ..link });
                    actions.push(ConnAction::Moved { peer, conn: id, ip });
                    self.close(now, old, Bye::Duplicate, actions);
                }
            }
        }
    }

    fn on_hello_bad(&mut self, now: Moment, id: ConnId, why: Bye, actions: &mut Vec<ConnAction>) {
        let in_hello = self.conns.get(&id).filter(|conn| conn.state == State::Hello);
        let Some(peer) = in_hello.and_then(|conn| conn.peer) else {
            return;
        };
        self.close(now, id, why, actions);
        self.remember_bye(now, peer, why, actions);
    }

    fn on_ended(&mut self, now: Moment, id: ConnId, how: Ended, actions: &mut Vec<ConnAction>) {
        let Some(conn) = self.conns.remove(&id) else {
            return;
        };
        if how == Ended::Bye(Bye::Duplicate)
            && let Some(link) = conn.peer.and_then(|peer| self.links.get_mut(&peer))
        {
            // The peer says that there is another, which may not have got as far here.
            link.patience = now.after(HELLO_MS);
        }
        self.detach(now, id, conn.peer, actions);
        let Some(peer) = conn.peer else {
            return;
        };
        match (how, conn.state) {
            // We ended it ourselves and remembered then what there was to remember.
            (_, State::Draining) | (Ended::Bye(Bye::Duplicate), _) => {}
            // That it ended is remembered already.
            (Ended::Bye(why), State::Active) => self.wait_at_least(now, peer, why, actions),
            (Ended::Bye(why), _) => self.remember_bye(now, peer, why, actions),
            (Ended::Unreachable | Ended::Broken, State::Active) => {}
            (Ended::Unreachable | Ended::Broken, _) => {
                self.on_dial_failed(now, id, peer, actions);
            }
        }
    }

    /// Takes note that `id` no longer serves `peer`, and says that the peer is down unless another
    /// connection takes over.
    fn detach(
        &mut self,
        now: Moment,
        id: ConnId,
        peer: Option<NodeId>,
        actions: &mut Vec<ConnAction>,
    ) {
        let Some((peer, link)) = peer.and_then(|peer| Some((peer, *self.links.get(&peer)?))) else {
            return;
        };
        if link.active.is_some_and(|active| active != id) {
            return;
        }
        if now < link.patience || self.successor(&peer).is_some() {
            self.links.insert(peer, Link { active: None, ..link });
        } else {
            self.part(now, peer, actions);
        }
    }

    fn part(&mut self, now: Moment, peer: NodeId, actions: &mut Vec<ConnAction>) {
        if let Some(link) = self.links.remove(&peer) {
            self.remember_end(now, peer, now.since(link.since));
            actions.push(ConnAction::Down { peer });
        }
    }

    fn successor(&self, peer: &NodeId) -> Option<ConnId> {
        let mut conns = self.conns.iter();
        let found = conns.find(|(_, conn)| conn.peer == Some(*peer) && conn.state == State::Hello);
        found.map(|(id, _)| *id)
    }

    fn on_timer(&mut self, now: Moment, actions: &mut Vec<ConnAction>) {
        let waited = |(_, link): &(&NodeId, &Link)| link.active.is_none() && link.patience <= now;
        let alone: Vec<_> = self.links.iter().filter(waited).map(|(peer, _)| *peer).collect();
        for peer in alone {
            if self.successor(&peer).is_none() {
                self.part(now, peer, actions);
            }
        }
        let ids: Vec<_> = self.conns.keys().copied().collect();
        for id in ids {
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            match conn.state {
                State::Active => match conn.life.on_timer(now, self.next_nonce) {
                    keep_alive::Care::None => {}
                    keep_alive::Care::Ping => {
                        actions.push(ConnAction::Ping { conn: id, nonce: self.next_nonce });
                        self.next_nonce = self.next_nonce.wrapping_add(1);
                    }
                    keep_alive::Care::Dead => self.close(now, id, Bye::Timeout, actions),
                },
                _ if now < conn.deadline => {}
                State::Draining => {
                    self.conns.remove(&id);
                    actions.push(ConnAction::Abort { conn: id });
                }
                State::Dialling | State::Securing | State::Hello => {
                    self.on_slow(now, id, actions);
                }
            }
        }
    }

    fn on_slow(&mut self, now: Moment, id: ConnId, actions: &mut Vec<ConnAction>) {
        let peer = self.conns.get(&id).and_then(|conn| conn.peer);
        self.close(now, id, Bye::Timeout, actions);
        if let Some(peer) = peer {
            self.on_dial_failed(now, id, peer, actions);
        }
    }

    fn on_dial_failed(
        &mut self,
        now: Moment,
        id: ConnId,
        peer: NodeId,
        actions: &mut Vec<ConnAction>,
    ) {
        // A peer that reached us meanwhile is not to be blamed for a dial that came to nothing.
        if id.direction == Direction::Outbound && !self.links.contains_key(&peer) {
            self.remember_failure(now, peer, 0);
            actions.push(ConnAction::DialFailed { peer });
        }
    }

    /// Returns when [`ConnEvent::Timer`] is due, or a dial: never in the past, and never more than an
    /// hour ahead.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Moment {
        let of_conns = self.conns.values().map(|conn| match conn.state {
            State::Active => conn.life.deadline(),
            State::Dialling | State::Securing | State::Hello | State::Draining => conn.deadline,
        });
        let of_dials = self.next_dial(now).into_iter();
        let waiting = self.links.values().filter(|link| link.active.is_none());
        // Who waits for a connection beyond its patience waits for the deadline of that one.
        let of_links = waiting.map(|link| link.patience).filter(|patience| now < *patience);
        of_conns
            .chain(of_dials)
            .chain(of_links)
            .min()
            .unwrap_or(now.after(HOUR_MS))
            .clamp(now, now.after(HOUR_MS))
    }

    /// Returns the peers that can be spoken to, and over which connection.
    pub fn up(&self) -> impl Iterator<Item = (&NodeId, Option<ConnId>)> {
        self.links.iter().map(|(peer, link)| (peer, link.active))
    }

    /// Returns over which connection `peer` is spoken to.
    #[must_use]
    pub fn conn_of(&self, peer: &NodeId) -> Option<ConnId> {
        self.links.get(peer)?.active
    }

    /// Returns who is at the other end of a connection after its secure handshake.
    #[must_use]
    pub fn peer_of(&self, conn: ConnId) -> Option<NodeId> {
        let conn = self.conns.get(&conn)?;
        conn.peer.filter(|_| conn.state >= State::Hello)
    }

    /// Returns the smoothed round trip of a connection in milliseconds; `None` before the first pong.
    #[must_use]
    pub fn rtt_ms(&self, conn: ConnId) -> Option<u64> {
        self.conns.get(&conn)?.life.rtt_ms()
    }

    /// Returns the rules that hold.
    #[must_use]
    pub fn rules(&self) -> &PeerRules {
        &self.rules
    }

    fn is_required(&self, conn: &Conn) -> bool {
        conn.peer.is_some_and(|peer| self.required.contains(&peer))
    }

    fn standing(&self, peer: &NodeId) -> Standing {
        // Beyond the limit of required peers the rest is known.
        match self.rules.standing(peer) {
            Standing::Required if !self.required.contains(peer) => Standing::Known,
            standing @ (Standing::Required | Standing::Known | Standing::Unknown) => standing,
        }
    }
}

impl Conn {
    fn enter(&mut self, state: State, now: Moment, ms: u64) {
        (self.state, self.since, self.deadline) = (state, now, now.after(ms));
    }
}

#[cfg(test)]
mod tests;
