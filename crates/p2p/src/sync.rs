//! The sync core: what to fetch from whom, what to believe, what to store, in which order.
//!
//! Three marks rise: VW, the last verified header; SW, the last stored commit; AW, the last applied
//! one; AW <= SW <= VW. The target is the highest *certified* header that a peer has shown: a number
//! that a peer merely says moves nothing (R22). Headers come in ranges aligned to 256, each from a
//! peer of its own; the range at the head is always admitted, so the window cannot fill up with
//! ranges that nothing connects to. Bodies follow by digest and are stored in order.
//!
//! Source: spec/p2p, sections 5.6, 5.7 and "Head-of-window rule" of 5.12b.

mod announce;
mod attest;
mod bodies;
pub mod event;
mod join;
mod requests;
mod source;
mod target;
pub mod verify;
mod window;

use std::collections::BTreeMap;

use proctor_types::Digest;

use crate::certificate::{Certificate, Trust};
use crate::header::{Header, Tip};
use crate::message::BODIES_MAX;
use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::status::Certified;
use attest::Attest;
use bodies::Bodies;
pub use event::{Action, Ending, Event, Halt, JobId, Offence, Reason, RequestId};
pub use event::{StoreFailed, StoreJob, Stored};
use join::Join;
use requests::Requests;
use source::Sources;
pub use source::{OPEN_PER_PEER_MAX, SOURCES_MAX};
use target::Target;
use verify::{Job, Verdict};
use window::Window;

/// How often the core must be told that time passes, in milliseconds.
pub const TICK_MS: u64 = 100;
/// Without progress for so long a node says why, in milliseconds.
pub const WATCHDOG_MS: u64 = 30_000;
/// Verified headers whose bodies are missing: no more are fetched beyond.
pub(crate) const HEADERS_AHEAD_MAX: u64 = 8 * 256;
/// Tips of verified headers that are remembered, to notice a fork.
const RECENT_MAX: usize = 4_096;
/// Behind by more than this a node pushes nothing.
const CATCH_UP_GAP: u64 = 1_024;
/// Verify jobs that may be under way.
const JOBS_MAX: usize = 64;

/// What can be set. Every number may be lowered, and none raised above its default.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Header ranges that are fetched or held at once.
    pub ranges: usize,
    /// Bodies that are fetched at once.
    pub bodies: usize,
    /// Bodies that are fetched or held at once: a group that is stored with one sync is made of those
    /// that have come while the one before was.
    pub bodies_held: usize,
    /// Bytes of them; one body is always admitted (B11).
    pub body_bytes: u64,
    /// Bodies in one request.
    pub bodies_per_request: usize,
    /// Bytes of one group that is stored with one sync.
    pub store_bytes: u64,
    /// Stored commits that may wait to be applied.
    pub unapplied: u64,
    /// Whether a node that is behind may begin anew after a snapshot.
    pub joins: bool,
    /// Whether it may also when it has commits: beginning anew deletes them. Without, only an empty
    /// node joins by a snapshot.
    pub drops_history: bool,
    /// A gap above which a snapshot is worth its bytes, in commits.
    pub snapshot_gap: u64,
    /// Chunks of a snapshot that are fetched at once.
    pub chunks: usize,
    /// Peers that a new commit is pushed to.
    pub push_peers: usize,
    /// Seed of what is drawn: whom to try, how long to wait.
    pub seed: u64,
    /// Number of this start of the core.
    pub generation: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ranges: 8,
            bodies: 64,
            bodies_held: 1_024,
            body_bytes: 32 << 20,
            bodies_per_request: BODIES_MAX,
            store_bytes: 4 << 20,
            unapplied: 4_096,
            joins: true,
            drops_history: true,
            snapshot_gap: 20_000,
            chunks: 8,
            push_peers: 4,
            seed: 0,
            generation: 0,
        }
    }
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The last verified header (VW).
    pub verified: u64,
    /// The last stored commit (SW).
    pub stored: u64,
    /// The last applied commit (AW).
    pub applied: u64,
    /// The highest certified header that a peer has shown.
    pub target: u64,
}

/// How much the core holds: each of these has a limit (V7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Connected peers.
    pub sources: usize,
    /// Open requests.
    pub requests: usize,
    /// Header ranges.
    pub ranges: usize,
    /// Bodies that are fetched.
    pub bodies: usize,
    /// Bodies that are fetched or held.
    pub bodies_held: usize,
    /// Their stated bytes.
    pub body_bytes: u64,
    /// Verified headers that wait for their bodies.
    pub headers: usize,
    /// Jobs under way.
    pub jobs: usize,
    /// Bodies that came with a push.
    pub inline: usize,
    /// Requests that were opened since the start.
    pub opened: u64,
    /// Requests that have ended since.
    pub ended: u64,
}

/// What peers told faster than they may: it was ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// Statuses.
    pub statuses: u64,
    /// Pushed commits.
    pub pushes: u64,
}

/// A verified header that waits for its body, and its place.
#[derive(Debug)]
pub(crate) struct Ahead {
    header: Header,
    tip: Tip,
}

/// What a job under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// A status or push of this peer.
    Claim(NodeId),
    /// The range at the head, from this peer.
    Range(NodeId),
    /// Bodies from this peer.
    Bodies(NodeId),
    /// A manifest from this peer.
    Manifest(NodeId),
    /// A chunk from this peer.
    Chunk(NodeId, u32),
    /// Commits up to this height are being stored.
    Commits(u64),
    /// Room for a snapshot is being made.
    Begin,
    /// A chunk is being staged.
    Staging(u32),
    /// The snapshot is being installed.
    Install,
    /// The manifest of this node's own snapshot, from this peer.
    Attest(NodeId),
    /// This node's own snapshot is being compared.
    Attesting,
}

/// The sync core of one node.
#[derive(Debug)]
pub struct SyncCore {
    config: Config,
    trust: Trust,
    verified: Tip,
    stored: u64,
    applied: u64,
    /// The state after `applied`, until the header that certifies it is known.
    applied_state: Option<Digest>,
    sources: Sources,
    requests: Requests,
    target: Target,
    window: Window,
    ahead: BTreeMap<u64, Ahead>,
    /// Certificates of range ends above SW.
    certificates: BTreeMap<u64, Certificate>,
    /// The newest commit that was told of, while somebody is still to be pushed it.
    owed: Option<Certified>,
    /// Digests of verified headers, to notice a fork.
    recent: BTreeMap<u64, Tip>,
    /// Certified states of commits above AW, by the height after which they hold.
    states: BTreeMap<u64, Digest>,
    bodies: Bodies,
    join: Option<Join>,
    attest: Option<Attest>,
    /// When a snapshot may be tried again.
    join_after: Moment,
    jobs: BTreeMap<JobId, Waiting>,
    jobs_given: u64,
    generation: u64,
    draws: u64,
    progress: Moment,
    reason: Option<Reason>,
    halted: bool,
    limited: Limited,
}

impl SyncCore {
    /// Starts at what is stored and applied. `trust` is that of the commit after `stored`.
    #[must_use]
    pub fn new(config: Config, trust: Trust, stored: Tip, applied: u64, now: Moment) -> Self {
        Self {
            trust,
            verified: stored,
            stored: stored.height,
            applied: applied.min(stored.height),
            applied_state: None,
            sources: Sources::default(),
            requests: Requests::default(),
            target: Target::default(),
            window: Window::default(),
            ahead: BTreeMap::new(),
            certificates: BTreeMap::new(),
            owed: None,
            recent: BTreeMap::from([(stored.height, stored)]),
            states: BTreeMap::new(),
            bodies: Bodies::default(),
            join: None,
            attest: None,
            join_after: now,
            jobs: BTreeMap::new(),
            jobs_given: 0,
            generation: config.generation,
            draws: config.seed,
            progress: now,
            reason: None,
            halted: false,
            limited: Limited::default(),
            config,
        }
    }

    /// Takes note of an event and appends what is to be done about it.
    pub fn on_event(&mut self, now: Moment, event: Event, actions: &mut Vec<Action>) {
        if self.halted {
            return;
        }
        match event {
            Event::PeerJoined { peer, binding } => self.on_joined(now, peer, binding, actions),
            Event::PeerLeft(peer) => self.on_left(now, peer, actions),
            Event::Status { peer, status } => self.on_status(now, peer, status, actions),
            Event::Pushed { peer, commit, body } => self.on_push(now, peer, commit, body, actions),
            Event::Answer { peer, id, answer, last } => {
                self.on_answer(now, peer, id, answer, last, actions);
            }
            Event::Verified(job, verdict) => self.on_verdict(now, job, verdict, actions),
            Event::Stored(job, result) => self.on_stored(now, job, result, actions),
            Event::Applied { height, state } => self.on_applied(now, height, state, actions),
            Event::Produced { commit } => self.on_produced(now, commit, actions),
            Event::Kept { height } => self.on_kept(now, height),
            Event::Tick => self.on_tick(now, actions),
        }
        self.plan(now, actions);
        debug_assert!(self.applied <= self.stored && self.stored <= self.verified.height, "V2");
    }

    /// Returns where the node is.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks {
            verified: self.verified.height,
            stored: self.stored,
            applied: self.applied,
            target: self.target.height().max(self.verified.height),
        }
    }

    /// Returns why the node is behind, if it has been for longer than [`WATCHDOG_MS`].
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Returns whether the core has stopped for good.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// Returns what the core takes for granted now.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Returns how far a snapshot is: chunks that are staged, and chunks that there are.
    #[must_use]
    pub fn join_progress(&self) -> Option<(usize, usize)> {
        self.join.as_ref().map(Join::progress)
    }

    /// Returns what was ignored for coming too fast.
    #[must_use]
    pub fn limited(&self) -> Limited {
        self.limited
    }

    /// Returns how much the core holds.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            sources: self.sources.len(),
            requests: self.requests.len(),
            ranges: self.window.len(),
            bodies: self.bodies.fetched(),
            bodies_held: self.bodies.len(),
            body_bytes: self.bodies.bytes(),
            headers: self.ahead.len(),
            jobs: self.jobs.len(),
            inline: self.bodies.inline_len(),
            opened: self.requests.opened(),
            ended: self.requests.ended(),
        }
    }

    fn plan(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.halted {
            return;
        }
        self.plan_join(now, actions);
        if self.join.is_none() {
            self.plan_headers(now, actions);
            self.plan_bodies(now, actions);
            self.plan_store(actions);
            self.plan_attest(now, actions);
        }
    }

    fn on_joined(&mut self, now: Moment, peer: NodeId, binding: Digest, actions: &mut Vec<Action>) {
        // A peer that joins twice has a new connection: what was open on the old one is gone.
        if self.sources.get(&peer).is_some() {
            self.on_left(now, peer, actions);
        }
        self.sources.join(now, peer, binding);
    }

    fn on_left(&mut self, now: Moment, peer: NodeId, actions: &mut Vec<Action>) {
        if self.sources.leave(&peer) {
            for id in self.requests.of_peer(&peer) {
                self.end_request(now, id, Ending::PeerGone, actions);
            }
        }
    }

    fn on_verdict(&mut self, now: Moment, id: JobId, verdict: Verdict, actions: &mut Vec<Action>) {
        let Some(waiting) = self.jobs.remove(&id) else { return };
        match (waiting, verdict) {
            (Waiting::Claim(peer), Verdict::Status { status, signed, tip }) => {
                self.on_status_checked(id, peer, status, signed, tip, actions);
            }
            (Waiting::Claim(peer), Verdict::Tip { commit, tip }) => {
                self.on_push_checked(id, peer, commit, tip, actions);
            }
            (Waiting::Range(peer), Verdict::Range { headers, certificate, range }) => {
                self.on_range_checked(now, peer, headers, certificate, range, actions);
            }
            (Waiting::Bodies(peer), Verdict::Bodies(bodies)) => {
                self.on_bodies_checked(now, peer, bodies, actions);
            }
            (Waiting::Manifest(peer), Verdict::Manifest { manifest, proven }) => {
                self.on_manifest_checked(now, peer, manifest, proven, actions);
            }
            (Waiting::Attest(peer), Verdict::Manifest { manifest, proven }) => {
                self.on_attest_checked(peer, manifest, proven, actions);
            }
            (Waiting::Chunk(peer, index), Verdict::Chunk { bytes, .. }) => {
                self.on_chunk_checked(now, peer, index, bytes, actions);
            }
            (_, _) => debug_assert!(false, "a job came back as another kind than it was given out"),
        }
    }

    fn on_stored(
        &mut self,
        now: Moment,
        id: JobId,
        result: Result<Stored, StoreFailed>,
        actions: &mut Vec<Action>,
    ) {
        let Some(waiting) = self.jobs.remove(&id) else { return };
        match (waiting, result) {
            // A failed sync: what the disk holds is unknown. Stop, never go on (F10).
            (_, Err(StoreFailed::Disk)) => self.halt(Halt::StoreFailed, actions),
            (Waiting::Commits(last), Ok(_)) => self.on_commits_stored(now, last, actions),
            (Waiting::Commits(_), Err(_)) => self.halt(Halt::StoreFailed, actions),
            (Waiting::Attesting, result) => self.on_attested(now, result, actions),
            (waiting, result) => self.on_staged(now, waiting, result, actions),
        }
    }

    fn on_commits_stored(&mut self, now: Moment, last: u64, actions: &mut Vec<Action>) {
        self.stored = last;
        self.progress = now;
        self.bodies.stored_to(last);
        actions.push(Action::Advanced(last));
        let mut newest = None;
        while let Some((height, ahead)) = self.ahead.pop_first() {
            if height > last {
                self.ahead.insert(height, ahead);
                break;
            }
            newest = Some(ahead);
        }
        let above = self.certificates.split_off(&last.saturating_add(1));
        let certificate = std::mem::replace(&mut self.certificates, above).pop_last();
        if let (Some(ahead), Some((height, certificate))) = (newest, certificate)
            && height == ahead.header.height
        {
            self.announce(now, Certified { header: ahead.header, certificate }, actions);
        }
    }

    fn on_applied(&mut self, now: Moment, height: u64, state: Digest, actions: &mut Vec<Action>) {
        if height <= self.applied || height > self.stored {
            return;
        }
        self.applied = height;
        self.progress = now;
        self.applied_state = Some(state);
        self.states = self.states.split_off(&height);
        self.check_state(actions);
    }

    /// Compares the applied state with the one that the next header certifies (V5).
    fn check_state(&mut self, actions: &mut Vec<Action>) {
        let height = self.applied;
        let (Some(ours), Some(certified)) = (self.applied_state, self.states.get(&height)) else {
            return;
        };
        let certified = *certified;
        if ours != certified {
            self.halt(Halt::Diverged { height, ours, certified }, actions);
        }
    }

    fn on_produced(&mut self, now: Moment, commit: Certified, actions: &mut Vec<Action>) {
        let tip = commit.header.tip(&self.trust.chain);
        if commit.header.follows(&self.verified).is_err() || self.stored != self.verified.height {
            return;
        }
        if let Some(committee) = &commit.header.facts.next_committee {
            self.trust.committee = committee.clone();
        }
        self.verified = tip;
        self.stored = tip.height;
        self.applied = tip.height;
        self.applied_state = None;
        self.remember(tip);
        self.progress = now;
        self.announce(now, commit, actions);
    }

    fn remember(&mut self, tip: Tip) {
        self.recent.insert(tip.height, tip);
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
    }

    fn on_tick(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.push_owed(now, actions);
        for id in self.requests.expired(now) {
            self.end_request(now, id, Ending::Expired, actions);
        }
        let behind = self.target.height().max(self.target.epoch_ahead()) > self.stored;
        if !behind {
            self.progress = now;
        }
        let stuck = behind && now.since(self.progress) >= WATCHDOG_MS;
        let reason = if stuck { Some(self.why_behind()) } else { None };
        if reason != self.reason {
            self.reason = reason;
            actions.push(Action::Behind(reason));
        }
    }

    fn why_behind(&self) -> Reason {
        let storing = self.jobs.values().any(|waiting| {
            matches!(
                waiting,
                Waiting::Commits(_) | Waiting::Begin | Waiting::Staging(_) | Waiting::Install
            )
        });
        let next = self.stored.saturating_add(1);
        let wants_body = self.verified.height > self.stored;
        let usable = || self.sources.iter().filter(|(_, source)| !source.shunned);
        if self.halted {
            Reason::Halted
        } else if !usable().any(|(_, source)| source.claim.is_some()) {
            Reason::NoPeers
        } else if storing || self.join_after > Moment(self.progress.0.saturating_add(WATCHDOG_MS)) {
            Reason::StoreSlow
        } else if self.stored.saturating_sub(self.applied) >= self.config.unapplied {
            Reason::ApplySlow
        } else if self.target.height() <= self.stored {
            Reason::EpochUnknown
        } else if usable().all(|(_, source)| source.has_pruned(next)) {
            Reason::Pruned
        } else if !usable().any(|(_, source)| {
            if wants_body { source.has_body(next) } else { source.has_header(next) }
        }) || self.window.head_missing()
            || self.bodies.head_missing()
        {
            Reason::NoPeerHas
        } else if self.window.last_was_false() || self.bodies.last_was_false() {
            Reason::VerifyFailed
        } else {
            Reason::AllSlow
        }
    }

    fn halt(&mut self, halt: Halt, actions: &mut Vec<Action>) {
        self.halted = true;
        self.reason = Some(Reason::Halted);
        actions.push(Action::Halt(halt));
    }

    fn penalise(&mut self, peer: NodeId, offence: Offence, actions: &mut Vec<Action>) {
        if let Some(source) = self.sources.get_mut(&peer) {
            source.shunned |= offence.is_a_lie();
        }
        actions.push(Action::Penalise { peer, offence });
    }

    /// Gives a job a number and notes what it is for.
    fn job(&mut self, waiting: Waiting) -> JobId {
        self.jobs_given = self.jobs_given.saturating_add(1);
        let id = JobId { generation: self.generation, number: self.jobs_given };
        self.jobs.insert(id, waiting);
        id
    }

    fn verify(&mut self, waiting: Waiting, job: Job, actions: &mut Vec<Action>) -> JobId {
        let id = self.job(waiting);
        actions.push(Action::Verify(id, job));
        id
    }

    fn room_for_jobs(&self) -> bool {
        self.jobs.len() < JOBS_MAX
    }

    /// Draws a number (splitmix64).
    fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.draws;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Returns how long to wait after the `attempts`-th failure: 250 ms, doubled, at most 10 s, and a
    /// fifth more or less.
    fn backoff_ms(&mut self, attempts: u32) -> u64 {
        let base = 250_u64.saturating_mul(1 << attempts.min(6)).min(10_000);
        let swing = base / 5;
        base.saturating_sub(swing).saturating_add(self.draw() % (2 * swing + 1))
    }
}
