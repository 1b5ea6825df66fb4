//! Jobs: what blocks or takes time, on threads of its own; how each begins and what its end means.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proctor_p2p::peers::PeersEvent;
use proctor_p2p::peers::policy::Ended;
use proctor_p2p::peers::record::PeerRecord;
use proctor_p2p::server::{Loaded, Read, ServerEvent, Ticket};
use proctor_p2p::sync::verify::Job;
use proctor_p2p::sync::{Event, JobId, StoreFailed, StoreJob};
use proctor_p2p::{Failure, Moment, NodeId};
use tokio::sync::oneshot;

use super::{Conn, Node};
use crate::outbox::LOW_BYTES;
use crate::tasks::{Done, Ending, Lane, Name, Submitter};

const VERIFIES: usize = 2;
const LOADS: usize = 4;
const HANDS: usize = 8;
/// Inputs whose outcome is waited for.
const OUTCOMES_MAX: usize = 512;
/// Records that wait to be checked; of more none is.
const CHECKS_MAX: usize = 256;
/// While so many bytes wait to be written to all peers together, nothing is read for any.
const UNWRITTEN_BYTES_MAX: usize = 128 << 20;
/// When to submit again while the sequencer does not keep up, in milliseconds.
const BUSY_MS: u32 = 1_000;

/// What waits for a thread, and what runs.
pub(crate) struct Jobs {
    /// At most as many as the sync core gives out: 64.
    pub(super) verify: Lane<(JobId, Job)>,
    /// Likewise; one at a time, in order.
    pub(super) store: Lane<(JobId, StoreJob)>,
    /// At most as many as the server admits, and this node's own: 512.
    pub(super) hand: Lane<(Submitter, NodeId, Vec<u8>)>,
    check: Lane<PeerRecord>,
    /// At most 16 of a peer, as the server admits.
    loads: BTreeMap<NodeId, VecDeque<(Ticket, Read)>>,
    loading: BTreeSet<(NodeId, Ticket)>,
    /// Who was served last: the next in order is served next.
    served: Option<NodeId>,
    outcomes: usize,
    /// When the jobs under way were begun: at most three.
    begun: BTreeMap<JobId, Moment>,
    pub(super) survey_due: bool,
    surveying: bool,
    restart_due: bool,
    restarting: bool,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            verify: Lane::new(VERIFIES),
            store: Lane::new(1),
            hand: Lane::new(HANDS),
            check: Lane::new(1),
            loads: BTreeMap::new(),
            loading: BTreeSet::new(),
            served: None,
            outcomes: 0,
            begun: BTreeMap::new(),
            survey_due: false,
            surveying: false,
            restart_due: false,
            restarting: false,
        }
    }
}

impl Jobs {
    /// Has the sync core begun anew, from what the chain says.
    pub(super) fn restart(&mut self) {
        self.restart_due = true;
    }

    pub(super) fn is_restarting(&self) -> bool {
        self.restart_due || self.restarting
    }

    /// Returns whether nothing runs that must not be left half done.
    pub(super) fn may_stop(&self) -> bool {
        self.store.running() == 0
    }

    pub(super) fn load(&mut self, peer: NodeId, ticket: Ticket, read: Read) {
        self.loads.entry(peer).or_default().push_back((ticket, read));
    }

    fn took_ms(&mut self, id: JobId, now: Moment) -> u64 {
        self.begun.remove(&id).map_or(0, |begun| now.since(begun))
    }

    pub(super) fn leave(&mut self, peer: &NodeId) {
        self.loads.remove(peer);
    }
}

impl Node {
    /// Begins all that may begin.
    pub(super) fn begin_jobs(&mut self) {
        let tasks = &mut self.sources.tasks;
        while let Some((id, job)) = self.jobs.verify.begin() {
            self.jobs.begun.insert(id, self.now);
            tasks.spawn_blocking(Name::Verify, move || Done::Verified(id, job.run()));
        }
        self.begin_restart();
        if !self.jobs.is_restarting() && !self.is_stopping() {
            self.begin_store();
        }
        self.begin_hands();
        let tasks = &mut self.sources.tasks;
        while let Some(record) = self.jobs.check.begin() {
            let (key, rules) = (record.key, self.records);
            let check = move || Done::Checked(Box::new(record.verify(&rules)));
            tasks.spawn_blocking(Name::Check(key), check);
        }
        self.begin_loads();
        self.begin_survey();
        self.begin_keep();
    }

    fn begin_store(&mut self) {
        while let Some((id, job)) = self.jobs.store.begin() {
            self.jobs.begun.insert(id, self.now);
            let chain = Arc::clone(&self.chain);
            let store = move || Done::Stored(id, chain.store(job));
            self.sources.tasks.spawn_blocking(Name::Store(id), store);
        }
    }

    /// Asks the chain where it is, once nothing is being stored.
    fn begin_restart(&mut self) {
        if self.jobs.restart_due && !self.jobs.restarting && self.jobs.store.running() == 0 {
            (self.jobs.restart_due, self.jobs.restarting) = (false, true);
            self.jobs.store.clear();
            let chain = Arc::clone(&self.chain);
            self.sources.tasks.spawn_blocking(Name::Start, move || Done::Started(chain.start()));
        }
    }

    fn begin_hands(&mut self) {
        while let Some((submitter, from, input)) = self.jobs.hand.begin() {
            if self.jobs.outcomes >= OUTCOMES_MAX {
                self.jobs.hand.done();
                self.on_outcome(submitter, Err(Failure::Busy(BUSY_MS)));
                continue;
            }
            self.jobs.outcomes += 1;
            let (told, outcome) = oneshot::channel();
            let (chain, tasks) = (Arc::clone(&self.chain), &mut self.sources.tasks);
            tasks.spawn_blocking(Name::Hand, move || {
                // Nobody waits any more when the node stops.
                chain.submit(from, input, Box::new(move |outcome| drop(told.send(outcome))));
                Done::Handed
            });
            tasks.spawn(Name::Outcome(submitter), async {
                // Dropped without a call: as good as busy.
                Done::Outcome(outcome.await.unwrap_or(Err(Failure::Busy(BUSY_MS))))
            });
        }
    }

    fn begin_loads(&mut self) {
        let unwritten = self
            .conns
            .values()
            .filter_map(Conn::link)
            .map(|link| link.outbox.bytes())
            .sum::<usize>();
        if unwritten >= UNWRITTEN_BYTES_MAX {
            return;
        }
        while self.jobs.loading.len() < LOADS
            && let Some(peer) = self.whom_to_serve()
        {
            let queue = self.jobs.loads.get_mut(&peer);
            let Some((ticket, read)) = queue.and_then(VecDeque::pop_front) else { return };
            if self.jobs.loads.get(&peer).is_some_and(VecDeque::is_empty) {
                self.jobs.loads.remove(&peer);
            }
            self.jobs.served = Some(peer);
            self.jobs.loading.insert((peer, ticket));
            let chain = Arc::clone(&self.chain);
            let load = move || Done::Loaded(chain.read(read));
            self.sources.tasks.spawn_blocking(Name::Load(peer, ticket), load);
        }
    }

    /// The next peer, by turns, for whom something is to be read and nothing is, and which has read
    /// most of what it was sent.
    fn whom_to_serve(&self) -> Option<NodeId> {
        let ready = |peer: &NodeId| {
            let conn = self.up.get(peer).and_then(|up| self.conns.get(&up.conn));
            conn.and_then(Conn::link).is_some_and(|link| link.outbox.bytes() < LOW_BYTES)
                && !self.jobs.loading.iter().any(|(loading, _)| loading == peer)
        };
        let after = self.jobs.served;
        let peers = || self.jobs.loads.keys().filter(|peer| ready(peer));
        peers().find(|peer| Some(**peer) > after).or_else(|| peers().next()).copied()
    }

    fn begin_survey(&mut self) {
        if !self.jobs.survey_due || self.jobs.surveying || self.is_stopping() {
            return;
        }
        (self.jobs.survey_due, self.jobs.surveying) = (false, true);
        let chain = Arc::clone(&self.chain);
        let survey = move || Done::Surveyed(crate::start::survey(chain.as_ref()));
        self.sources.tasks.spawn_blocking(Name::Survey, survey);
    }

    /// Has a record checked. When too many wait it is not, and may come again.
    pub(super) fn check_record(&mut self, record: PeerRecord) {
        if self.jobs.check.len() < CHECKS_MAX {
            self.jobs.check.push(record);
        } else {
            self.tell_peers(PeersEvent::Checked { key: record.key, verdict: None });
        }
    }

    pub(super) fn on_task(&mut self, name: Name, ending: Ending) {
        match name {
            Name::Verify => self.jobs.verify.done(),
            Name::Store(_) => self.jobs.store.done(),
            Name::Hand => self.jobs.hand.done(),
            Name::Check(_) => self.jobs.check.done(),
            Name::Outcome(_) => self.jobs.outcomes = self.jobs.outcomes.saturating_sub(1),
            Name::Load(peer, ticket) => {
                self.jobs.loading.remove(&(peer, ticket));
            }
            Name::Survey => self.jobs.surveying = false,
            Name::Start => self.jobs.restarting = false,
            Name::Keep => self.keep.done(),
            Name::Dial(_) | Name::Secure(_) | Name::Read(_) | Name::Write(_) | Name::Drive(_) => {}
        }
        match ending {
            Ending::Done(done) => self.on_done(name, done),
            // Only tasks of connections are aborted, and these are gone then.
            Ending::Aborted => {}
            Ending::Panicked => self.on_panic(name),
        }
    }

    fn on_done(&mut self, name: Name, done: Done) {
        match (name, done) {
            (Name::Dial(conn), Done::Dialled(dialled)) => self.on_dialled(conn, dialled),
            (Name::Secure(conn), Done::Secured(secured)) => self.on_secured(conn, secured),
            // All was written, and the other end may close; else the stream is over.
            (Name::Write(conn), Done::Written { all: false }) => self.end_conn(conn, Ended::Broken),
            (_, Done::Verified(id, verdict)) => {
                let took_ms = self.jobs.took_ms(id, self.now);
                self.counters.verify.add(took_ms);
                self.tell_sync(Event::Verified(id, verdict));
            }
            (_, Done::Stored(id, stored)) => {
                let took_ms = self.jobs.took_ms(id, self.now);
                self.counters.store.add(took_ms);
                self.tell_sync(Event::Stored(id, stored));
            }
            (Name::Load(_, ticket), Done::Loaded(loaded)) => self.on_loaded(ticket, loaded),
            (Name::Outcome(submitter), Done::Outcome(outcome)) => {
                self.on_outcome(submitter, outcome);
            }
            (_, Done::Surveyed(survey)) => self.on_survey(survey),
            (_, Done::Started(start)) => self.on_restarted(start),
            (Name::Check(key), Done::Checked(verdict)) => {
                self.tell_peers(PeersEvent::Checked { key, verdict: Some(*verdict) });
            }
            (_, Done::Kept(Err(error))) => {
                tracing::warn!(%error, "the peer store could not be written");
            }
            _ => {}
        }
    }

    fn on_loaded(&mut self, ticket: Ticket, loaded: Loaded) {
        self.tell_server(None, ServerEvent::Loaded(ticket, loaded));
    }

    fn on_outcome(
        &mut self,
        submitter: Submitter,
        outcome: Result<proctor_p2p::message::Outcome, Failure>,
    ) {
        match submitter {
            Submitter::Peer(ticket) => {
                self.tell_server(None, ServerEvent::Submitted(ticket, outcome));
            }
            Submitter::Own(id) => self.on_own_outcome(id, outcome),
        }
    }

    /// A task panicked: a bug, that harms no more than what the task was for (R11).
    fn on_panic(&mut self, name: Name) {
        self.counters.task_panics += 1;
        tracing::error!(?name, "a task of the network panicked: this is a bug");
        match name {
            Name::Dial(conn) | Name::Secure(conn) => self.end_conn(conn, Ended::Broken),
            Name::Read(conn) | Name::Write(conn) | Name::Drive(conn) => {
                match self.conns.get(&conn).and_then(|conn| conn.peer) {
                    Some(peer) => self.on_malformed(conn, peer),
                    None => self.end_conn(conn, Ended::Broken),
                }
            }
            // The verdict is lost, and the core would wait for it for ever.
            Name::Verify => {
                self.jobs.begun.clear();
                self.jobs.restart();
            }
            // What the disk holds is unknown.
            Name::Store(id) => self.tell_sync(Event::Stored(id, Err(StoreFailed::Disk))),
            Name::Load(_, ticket) => self.on_loaded(ticket, Loaded::Missing),
            Name::Outcome(submitter) => {
                self.on_outcome(submitter, Err(Failure::Busy(BUSY_MS)));
            }
            Name::Check(key) => self.tell_peers(PeersEvent::Checked { key, verdict: None }),
            // Where the chain is cannot be had: nothing can be stored any more.
            Name::Start => {
                self.halted = Some(proctor_p2p::sync::Halt::StoreFailed);
                self.show_due = true;
            }
            Name::Hand | Name::Survey | Name::Keep => {}
        }
    }
}
