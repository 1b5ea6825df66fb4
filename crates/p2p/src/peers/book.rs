//! `PeerBook`: which nodes there are, where they listen, and how that was learned.
//!
//! A record enters *new* when somebody told us of it, and *tried* when its address is proven: we have
//! reached the node there ourselves, or it has dialled us from that host and proved its key. (Without the
//! second way a bootnode, which everybody dials and which so has nobody to dial, could tell
//! newcomers of nobody.) Only tried records are told to others. What one source, and one provider of
//! addresses, can put into the book is capped, because keys cost nothing: see `docs/p2p.md`.
//!
//! Not the concern of the book: who may connect and when to dial (`policy`), who is good (`score`).

mod caps;
mod dials;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::{PeerAddress, Subnet};
use super::bucket::{Rate, Throttle};
use super::dice::Dice;
use super::record::{PeerRecord, RecordError, RecordRules, VerifiedRecord};
use crate::NodeId;
use crate::moment::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

/// Records of nodes that we have reached ourselves.
pub const TRIED_MAX: usize = 1024;
/// Records of nodes that we only heard of.
pub const NEW_MAX: usize = 3072;
/// New records that one source put into the book.
pub const PER_SOURCE_MAX: usize = 64;
/// New records that sources of one provider (/16, /32) put into the book: to fill it, an attacker
/// needs addresses of several providers.
pub const PER_SOURCE_PROVIDER_MAX: usize = 512;
/// Records with an address of one provider (/16, /32).
pub const PER_PROVIDER_MAX: usize = 64;
/// Records in one answer to a request for peers.
pub const ANSWER_MAX: usize = 64;
/// Nodes that are never dropped.
pub const REQUIRED_MAX: usize = 256;
/// Failed dials after which a tried record is new again, and a new one is dropped.
pub const FAILURES_MAX: u32 = 5;
/// How long a record is kept of which nothing new was heard.
pub const AGE_MAX_MS: u64 = 7 * DAY_MS;
/// How long a node that answered for another chain is left alone.
pub const OTHER_CHAIN_MS: u64 = DAY_MS;
/// Peers that are dialled first after a restart.
pub const ANCHORS_MAX: usize = 2;

const PENDING_MAX: usize = 64;
const PENDING_MS: u64 = MINUTE_MS;
const SOURCES_MAX: usize = 1024;
const NEW_PER_SOURCE: Rate = Rate { count: 16, per_ms: 10 * MINUTE_MS, burst: 16 };
const CHECKS_PER_SOURCE: Rate = Rate { count: 64, per_ms: 10 * MINUTE_MS, burst: 64 };

/// Who told us of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The configuration, or a commit of the chain.
    Trusted,
    /// A peer.
    Peer {
        /// Its key.
        key: NodeId,
        /// The provider of the address from which it spoke.
        provider: Subnet,
    },
}

/// What the book is told.
#[derive(Clone, Debug)]
pub enum BookEvent {
    /// These nodes are never dropped; at most [`REQUIRED_MAX`], the rest is not looked at.
    Required(BTreeSet<NodeId>),
    /// Somebody sent records.
    Told {
        /// Who.
        source: Source,
        /// What; of more than [`ANSWER_MAX`] the rest is not looked at.
        records: Vec<PeerRecord>,
    },
    /// The answer to [`BookAction::Verify`].
    Checked {
        /// Whose record it was.
        key: NodeId,
        /// The outcome; `None` when it was not checked for want of time.
        verdict: Option<Result<VerifiedRecord, RecordError>>,
    },
    /// A connection to `peer` is up.
    Up {
        /// The node.
        peer: NodeId,
        /// Whether we dialled it.
        dialled: bool,
        /// From where it speaks, if that is known.
        ip: Option<IpAddr>,
    },
    /// The last connection to `peer` is down.
    Down {
        /// The node.
        peer: NodeId,
    },
    /// Nobody, or somebody else, answered where `peer` should be.
    DialFailed {
        /// The node.
        peer: NodeId,
    },
    /// `peer` is on another chain.
    OtherChain {
        /// The node.
        peer: NodeId,
    },
    /// Time has passed; once a minute is often enough.
    Tick,
}

/// What the book asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookAction {
    /// Verify the record by [`PeerRecord::verify`], away from the loop (R4), and tell the verdict.
    Verify {
        /// Who sent it.
        source: Source,
        /// The record.
        record: PeerRecord,
    },
    /// `source` passed on a record with a false signature.
    Forged {
        /// Who is charged.
        source: Source,
    },
}

/// Which part of the book a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// We heard of it.
    New,
    /// We reached it.
    Tried,
}

/// How long ago something was: what was known when the process began, and the time since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Age {
    carried_ms: u64,
    at: Moment,
}

impl Age {
    fn none(now: Moment) -> Self {
        Self { carried_ms: 0, at: now }
    }

    fn ms(self, now: Moment) -> u64 {
        self.carried_ms.saturating_add(now.since(self.at))
    }
}

#[derive(Clone, Debug)]
struct Entry {
    record: VerifiedRecord,
    table: Table,
    source: Source,
    providers: Vec<Subnet>,
    /// Since the last proof that the node lives: a record with a greater number, or a connection.
    unseen: Age,
    failures: u32,
    other_chain_until: Option<Moment>,
}

impl Entry {
    fn is_usable(&self, now: Moment) -> bool {
        self.other_chain_until.is_none_or(|until| until <= now)
    }
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    source: Source,
    seq: u64,
    until: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    since: Moment,
    dialled: bool,
    ip: Option<IpAddr>,
}

impl Link {
    /// Whether this connection shows that the node is where the record says.
    fn proves(&self, record: &PeerRecord) -> bool {
        let named = |ip| record.addresses().iter().any(|address| Some(address.ip) == ip);
        self.dialled || self.ip.is_some() && named(self.ip)
    }
}

/// How many records the book holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookSize {
    /// Of nodes that we heard of.
    pub new: usize,
    /// Of nodes that we reached.
    pub tried: usize,
}

/// The book. All of it is a function of its events and the seed of its dice.
#[derive(Clone, Debug)]
pub struct PeerBook {
    me: NodeId,
    rules: RecordRules,
    own: Option<VerifiedRecord>,
    private: BTreeSet<NodeId>,
    required: BTreeSet<NodeId>,
    entries: BTreeMap<NodeId, Entry>,
    connected: BTreeMap<NodeId, Link>,
    anchors: Vec<NodeId>,
    pending: BTreeMap<NodeId, Pending>,
    new_records: Throttle<NodeId>,
    checks: Throttle<NodeId>,
    /// For choices that nobody may foresee.
    dice: Dice,
    /// For answers, which everybody may see.
    answers: Dice,
}

impl PeerBook {
    /// Returns an empty book of node `me`. `private` nodes are never told to others.
    #[must_use]
    pub fn new(me: NodeId, rules: RecordRules, private: BTreeSet<NodeId>, mut dice: Dice) -> Self {
        Self {
            me,
            rules,
            own: None,
            private,
            required: BTreeSet::new(),
            entries: BTreeMap::new(),
            connected: BTreeMap::new(),
            anchors: Vec::new(),
            pending: BTreeMap::new(),
            new_records: Throttle::new(NEW_PER_SOURCE, SOURCES_MAX),
            checks: Throttle::new(CHECKS_PER_SOURCE, SOURCES_MAX),
            answers: dice.split(),
            dice,
        }
    }

    /// Takes our own record, which every answer begins with; `None` when nobody shall dial us.
    pub fn set_own(&mut self, own: Option<VerifiedRecord>) {
        self.own = own.filter(|own| own.record().key == self.me);
    }

    /// Takes note of `event`.
    pub fn on_event(&mut self, now: Moment, event: BookEvent, actions: &mut Vec<BookAction>) {
        match event {
            BookEvent::Required(keys) => {
                let keys = keys.into_iter().take(REQUIRED_MAX).collect();
                let released = std::mem::replace(&mut self.required, keys);
                // What stood outside of the caps comes under them, and may find no room.
                for key in released.difference(&self.required.clone()) {
                    if let Some(entry) = self.entries.remove(key)
                        && self.make_room(key, &entry)
                    {
                        self.entries.insert(*key, entry);
                    }
                }
            }
            BookEvent::Told { source, records } => {
                for record in records.into_iter().take(ANSWER_MAX) {
                    self.on_record(now, source, record, actions);
                }
            }
            BookEvent::Checked { key, verdict } => self.on_checked(now, key, verdict, actions),
            BookEvent::Up { peer, dialled, ip } => {
                self.on_up(peer, Link { since: now, dialled, ip });
                self.seen(now, &peer);
            }
            BookEvent::Down { peer } => {
                self.connected.remove(&peer);
                self.seen(now, &peer);
            }
            BookEvent::DialFailed { peer } => self.on_dial_failed(&peer),
            BookEvent::OtherChain { peer } => {
                if let Some(entry) = self.entries.get_mut(&peer) {
                    entry.other_chain_until = Some(now.after(OTHER_CHAIN_MS));
                }
            }
            BookEvent::Tick => self.on_tick(now),
        }
    }

    /// Lets a record come to its verification if it could enter the book. Everything that is cheap
    /// to refuse is refused here, so that a flood costs no cryptography (R13).
    fn on_record(
        &mut self,
        now: Moment,
        source: Source,
        record: PeerRecord,
        actions: &mut Vec<BookAction>,
    ) {
        let key = record.key;
        let known = self.entries.get(&key).map(|entry| entry.record.record().seq);
        let stale = known.is_some_and(|seq| record.seq <= seq);
        if key == self.me || stale || self.pending.contains_key(&key) {
            return;
        }
        if record.check_addresses(&self.rules).is_err() || self.pending.len() >= PENDING_MAX {
            return;
        }
        if let Source::Peer { key: teller, .. } = source {
            // What a node says of itself is one record, whatever else it has told us.
            let first = known.is_none() && teller != key;
            let enough = first && !self.new_records.take(now, teller);
            if enough || !self.checks.take(now, teller) {
                return;
            }
        }
        let pending = Pending { source, seq: record.seq, until: now.after(PENDING_MS) };
        self.pending.insert(key, pending);
        actions.push(BookAction::Verify { source, record });
    }

    fn on_checked(
        &mut self,
        now: Moment,
        key: NodeId,
        verdict: Option<Result<VerifiedRecord, RecordError>>,
        actions: &mut Vec<BookAction>,
    ) {
        let Some(pending) = self.pending.remove(&key) else {
            return;
        };
        match verdict {
            Some(Ok(verified))
                if verified.record().key == key && verified.record().seq == pending.seq =>
            {
                self.insert(now, pending.source, verified);
            }
            Some(Err(RecordError::Signature(_))) => {
                actions.push(BookAction::Forged { source: pending.source });
            }
            Some(Ok(_) | Err(_)) | None => {}
        }
    }

    /// Takes a verified record in, as far as the caps allow.
    fn insert(&mut self, now: Moment, source: Source, record: VerifiedRecord) {
        let key = record.record().key;
        let before = self.entries.remove(&key);
        // The book may have changed while the record was verified (R5).
        if let Some(before) = before {
            if before.record.record().seq >= record.record().seq {
                self.entries.insert(key, before);
                return;
            }
            let proven = shares_address(before.record.record(), record.record());
            let keeps = proven || self.connected.contains_key(&key);
            let table = if keeps { before.table } else { Table::New };
            let mut after = entry(now, before.source, record);
            after.failures = if proven { before.failures } else { 0 };
            after.table = table;
            let fits = self.make_room(&key, &after);
            self.entries.insert(key, if fits { after } else { before });
            return;
        }
        let mut entry = entry(now, source, record);
        if self.connected.get(&key).is_some_and(|link| link.proves(entry.record.record())) {
            entry.table = Table::Tried;
        }
        if self.make_room(&key, &entry) {
            self.entries.insert(key, entry);
        }
    }

    fn on_up(&mut self, peer: NodeId, link: Link) {
        // A peer that changed to another connection has been there since the first.
        let since = self.connected.get(&peer).map_or(link.since, |before| before.since);
        self.connected.insert(peer, Link { since, ..link });
        if let Some(mut entry) = self.entries.remove(&peer) {
            if link.proves(entry.record.record()) {
                entry.failures = 0;
                entry.other_chain_until = None;
                let before = std::mem::replace(&mut entry.table, Table::Tried);
                if before == Table::New && !self.make_room(&peer, &entry) {
                    entry.table = before;
                }
            }
            self.entries.insert(peer, entry);
        }
        self.choose_anchors();
    }

    fn seen(&mut self, now: Moment, peer: &NodeId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.unseen = Age::none(now);
        }
    }

    fn on_dial_failed(&mut self, peer: &NodeId) {
        // While nobody at all is reached, the fault is more likely on our side.
        if self.connected.is_empty() {
            return;
        }
        let Some(entry) = self.entries.get_mut(peer) else {
            return;
        };
        entry.failures = entry.failures.saturating_add(1);
        if entry.failures < FAILURES_MAX || self.required.contains(peer) {
            return;
        }
        if entry.table == Table::Tried {
            if let Some(mut entry) = self.entries.remove(peer) {
                (entry.table, entry.failures) = (Table::New, 0);
                if self.make_room(peer, &entry) {
                    self.entries.insert(*peer, entry);
                }
            }
        } else {
            self.entries.remove(peer);
        }
    }

    fn on_tick(&mut self, now: Moment) {
        let (required, connected) = (&self.required, &self.connected);
        self.entries.retain(|key, entry| {
            entry.unseen.ms(now) <= AGE_MAX_MS
                || required.contains(key)
                || connected.contains_key(key)
        });
        self.pending.retain(|_, pending| now < pending.until);
    }

    /// The peers that we dialled and are connected to for longest come first after a restart: whoever
    /// isolates us must have held them for as long.
    fn choose_anchors(&mut self) {
        let mut links: Vec<_> = (self.connected.iter())
            .filter(|(key, link)| link.dialled && !self.required.contains(key))
            .filter(|(key, _)| self.entries.contains_key(key))
            .map(|(key, link)| (link.since, *key))
            .collect();
        links.sort_unstable();
        let held = links.into_iter().map(|(_, key)| key);
        let mut anchors: Vec<_> = held.take(ANCHORS_MAX).collect();
        for old in &self.anchors {
            if anchors.len() < ANCHORS_MAX && !anchors.contains(old) {
                anchors.push(*old);
            }
        }
        self.anchors = anchors;
    }

    /// Returns the peers to dial first after a restart, at most [`ANCHORS_MAX`].
    #[must_use]
    pub fn anchors(&self) -> &[NodeId] {
        &self.anchors
    }

    /// Returns what to answer to `asker`: our own record and tried ones, at most [`ANSWER_MAX`].
    pub fn answer(&mut self, now: Moment, asker: &NodeId) -> Vec<PeerRecord> {
        let tellable: Vec<_> = (self.entries.iter())
            .filter(|(key, entry)| {
                entry.table == Table::Tried
                    && entry.is_usable(now)
                    && *key != asker
                    && !self.private.contains(key)
            })
            .map(|(_, entry)| entry.record.record())
            .collect();
        let own = self.own.iter().map(VerifiedRecord::record);
        let room = ANSWER_MAX - own.len();
        own.chain(self.answers.sample(tellable, room)).cloned().collect()
    }

    /// Returns where `peer` listens, best first; empty when it is not in the book.
    #[must_use]
    pub fn addresses(&self, peer: &NodeId) -> &[PeerAddress] {
        self.entries.get(peer).map_or(&[], |entry| entry.record.record().addresses())
    }

    /// Returns the record of `peer` and where it stands.
    #[must_use]
    pub fn find(&self, peer: &NodeId) -> Option<(&PeerRecord, Table)> {
        self.entries.get(peer).map(|entry| (entry.record.record(), entry.table))
    }

    /// Returns the nodes in the book, by key.
    pub fn keys(&self) -> impl Iterator<Item = &NodeId> {
        self.entries.keys()
    }

    /// Returns how many records the book holds.
    #[must_use]
    pub fn size(&self) -> BookSize {
        let tried = self.entries.values().filter(|entry| entry.table == Table::Tried).count();
        BookSize { new: self.entries.len() - tried, tried }
    }
}

fn entry(now: Moment, source: Source, record: VerifiedRecord) -> Entry {
    Entry {
        providers: record.providers(),
        record,
        table: Table::New,
        source,
        unseen: Age::none(now),
        failures: 0,
        other_chain_until: None,
    }
}

fn shares_address(one: &PeerRecord, other: &PeerRecord) -> bool {
    one.addresses().iter().any(|address| other.addresses().contains(address))
}

/// Records are checked at most this long after they were told; then the book forgets that it asked.
const _: () = assert!(PENDING_MS < HOUR_MS && ANCHORS_MAX < REQUIRED_MAX && REQUIRED_MAX < NEW_MAX);

#[cfg(test)]
mod tests;
