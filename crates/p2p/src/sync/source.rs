//! Sources: what each connected peer says it has, how fast it answers, whom to ask next.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::Digest;

use crate::moment::{Bucket, Moment};
use crate::node_id::NodeId;
use crate::status::{Certified, SignedStatus};
use crate::sync::event::JobId;

/// Sources at the same time; the connection policy allows no more.
pub const SOURCES_MAX: usize = 256;
/// Open requests to one peer.
pub const OPEN_PER_PEER_MAX: usize = 16;
/// The longest that a busy peer is left alone, in milliseconds.
const BUSY_MS_MAX: u64 = 60_000;
/// What a peer is taken to need for an answer before it has given one, in milliseconds.
const LATENCY_MS: u64 = 500;

/// Pushed commits of a peer that are looked at: in a second, and at once after a pause.
const HEARD: (u64, u64) = (20, 40);
/// Commits that are pushed to a peer. Half the burst that it takes, since they may come closer together.
const TOLD: (u64, u64) = (20, 20);
/// Statuses of a peer that are looked at.
const STATUSES: (u64, u64) = (1, 4);
/// For how long a connection may stand still before it is closed, in seconds. What was sent meanwhile
/// arrives at once, and is no attack.
const STILL_SECONDS: u64 = 30;

/// What a peer says it has: a claim about itself, used to choose whom to ask and for nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) height: u64,
    pub(crate) lowest_body: u64,
    pub(crate) lowest_header: u64,
    pub(crate) snapshot: u64,
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) binding: Digest,
    pub(crate) claim: Option<Claim>,
    pub(crate) sequence: u64,
    pub(crate) open: usize,
    pub(crate) busy_until: Moment,
    pub(crate) latency_ms: u64,
    /// Requests since the last right answer that went unanswered.
    pub(crate) failures: u32,
    /// The manifest that it offered gave another state: its snapshots are not taken any more.
    pub(crate) false_snapshot: bool,
    /// It lied: it is not asked any more.
    pub(crate) shunned: bool,
    /// The check of its last status or push that is under way.
    pub(crate) checking: Option<JobId>,
    /// What to check next: the newest, and no more than one of each.
    pub(crate) next_status: Option<SignedStatus>,
    pub(crate) next_push: Option<Certified>,
    pub(crate) status_rate: Rate,
    pub(crate) push_rate: Rate,
    /// How often a commit is pushed to it.
    pub(crate) told_rate: Bucket,
    /// It is to be pushed the newest commit.
    pub(crate) is_owed: bool,
}

/// A rate with a second one four times as high, above which it is an offence; that one holds whatever
/// an honest peer can have sent while the connection stood still.
#[derive(Debug)]
pub(crate) struct Rate {
    allowed: Bucket,
    flood: Bucket,
}

/// What a rate says of one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Allowed,
    TooFast,
    Flood,
}

impl Rate {
    fn new((per_second, burst): (u64, u64), now: Moment) -> Self {
        let held_back = per_second.saturating_mul(STILL_SECONDS).saturating_add(burst);
        let at_once = burst.saturating_mul(4).max(held_back);
        let flood = Bucket::new(per_second.saturating_mul(4), at_once, now);
        Self { allowed: Bucket::new(per_second, burst, now), flood }
    }

    pub(crate) fn pace(&mut self, now: Moment) -> Pace {
        let calm = self.flood.take(now, 1);
        match (self.allowed.take(now, 1), calm) {
            (true, _) => Pace::Allowed,
            (false, true) => Pace::TooFast,
            (false, false) => Pace::Flood,
        }
    }
}

impl Source {
    fn new(binding: Digest, now: Moment) -> Self {
        Self {
            binding,
            claim: None,
            sequence: 0,
            open: 0,
            busy_until: Moment(0),
            latency_ms: LATENCY_MS,
            failures: 0,
            false_snapshot: false,
            shunned: false,
            checking: None,
            next_status: None,
            next_push: None,
            status_rate: Rate::new(STATUSES, now),
            push_rate: Rate::new(HEARD, now),
            told_rate: Bucket::new(TOLD.0, TOLD.1, now),
            is_owed: false,
        }
    }

    /// Whether it says that it has the headers from `height` on.
    pub(crate) fn has_header(&self, height: u64) -> bool {
        self.claim.is_some_and(|claim| claim.lowest_header <= height && height <= claim.height)
    }

    /// Whether it says that it has the body at `height`.
    pub(crate) fn has_body(&self, height: u64) -> bool {
        self.claim.is_some_and(|claim| claim.lowest_body <= height && height <= claim.height)
    }

    /// Whether it says that it had the body at `height`, and has deleted it.
    pub(crate) fn has_pruned(&self, height: u64) -> bool {
        self.claim.is_none_or(|claim| height < claim.lowest_body)
    }

    /// Whether it says that it has a snapshot above `height`, and none of its was false.
    pub(crate) fn has_snapshot(&self, height: u64) -> bool {
        !self.false_snapshot && self.claim.is_some_and(|claim| claim.snapshot > height)
    }

    fn can_be_asked(&self, now: Moment) -> bool {
        !self.shunned && self.open < OPEN_PER_PEER_MAX && self.busy_until <= now
    }

    /// Leaves it alone for as long as it asked.
    pub(crate) fn rest(&mut self, now: Moment, ms: u32) {
        self.busy_until = now.after(u64::from(ms).clamp(100, BUSY_MS_MAX));
    }

    /// Notes how long a right answer took: a fifth of the difference.
    pub(crate) fn answered_in(&mut self, ms: u64) {
        self.failures = 0;
        self.latency_ms = (self.latency_ms.saturating_mul(4).saturating_add(ms)) / 5;
    }

    /// Notes that it did not answer in time.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.latency_ms = self.latency_ms.saturating_mul(2).min(10_000);
    }
}

/// All connected peers.
#[derive(Debug, Default)]
pub(crate) struct Sources(BTreeMap<NodeId, Source>);

impl Sources {
    /// Adds a peer. Says no when there is no room.
    pub(crate) fn join(&mut self, now: Moment, peer: NodeId, binding: Digest) -> bool {
        if self.0.len() >= SOURCES_MAX && !self.0.contains_key(&peer) {
            return false;
        }
        self.0.insert(peer, Source::new(binding, now));
        true
    }

    pub(crate) fn leave(&mut self, peer: &NodeId) -> bool {
        self.0.remove(peer).is_some()
    }

    pub(crate) fn get(&self, peer: &NodeId) -> Option<&Source> {
        self.0.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &NodeId) -> Option<&mut Source> {
        self.0.get_mut(peer)
    }

    /// Forgets the checks under way: their results will not be looked at.
    pub(crate) fn forget_checks(&mut self) {
        self.0.values_mut().for_each(|source| source.checking = None);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Source)> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&NodeId, &mut Source)> {
        self.0.iter_mut()
    }

    /// Returns how long the fastest peer that does not fail takes to answer, in milliseconds.
    pub(crate) fn best_latency_ms(&self) -> u64 {
        let able = self.0.values().filter(|source| !source.shunned && source.failures == 0);
        able.map(|source| source.latency_ms).min().unwrap_or(LATENCY_MS)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whom to ask for what `has` finds: who answers and fails least, has least to do, is
    /// fastest. `draw` makes one pick in twenty a random one, so that a peer without figures gets some.
    pub(crate) fn pick(
        &self,
        now: Moment,
        draw: u64,
        tried: &BTreeSet<NodeId>,
        has: impl Fn(&Source) -> bool,
    ) -> Option<NodeId> {
        let usable = |(peer, source): &(&NodeId, &Source)| {
            source.can_be_asked(now) && has(source) && !tried.contains(*peer)
        };
        let candidates = || self.0.iter().filter(usable);
        // Not of those that just failed: what is asked of them is lost time.
        let hopeful = || candidates().filter(|(_, source)| source.failures == 0);
        let count = hopeful().count() as u64;
        if draw.is_multiple_of(20) && count > 0 {
            let nth = usize::try_from((draw / 20) % count).unwrap_or(0);
            return hopeful().nth(nth).map(|(peer, _)| *peer);
        }
        let merit = |source: &Source| {
            (source.failures.min(3), source.latency_ms.saturating_mul(1 + source.open as u64))
        };
        candidates().min_by_key(|(peer, source)| (merit(source), **peer)).map(|(peer, _)| *peer)
    }
}
