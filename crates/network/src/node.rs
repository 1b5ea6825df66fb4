//! `Node`: all state of the network, changed by one event at a time; nothing in here waits.
//!
//! The cores decide; their actions queue up in one list and are carried out in order. What needs time
//! becomes a task or a job on a blocking thread, and comes back as an event.

mod commands;
mod conns;
mod frames;
mod inline;
mod jobs;
mod keep;
mod offset;
mod own;
mod report;
mod serve;
mod sync;
mod vouched;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proctor_p2p::peers::dice::Dice;
use proctor_p2p::peers::policy::{Bye, ConnEvent, ConnId};
use proctor_p2p::peers::record::{OwnRecord, RecordRules};
use proctor_p2p::peers::rules::PeerRules;
use proctor_p2p::peers::{Peers, PeersAction, PeersEvent};
use proctor_p2p::server::{Available, ServerAction, ServerEvent};
use proctor_p2p::sync::{self as sync_core, Action, Config, Halt, Marks, TICK_MS};
use proctor_p2p::{Certified, Moment, NodeId, Server, SyncCore};
use proctor_types::Digest;
use tokio::sync::{mpsc, watch};

use crate::chain::{Chain, Told};
use crate::clock::Clock;
use crate::link::{Heard, Me};
use crate::net::Net;
use crate::sources::{Event, Sources};
use crate::status::{Counters, Status};
use crate::traffic::Totals;
pub(crate) use conns::Conn;
pub(crate) use inline::Inline;
pub(crate) use jobs::Jobs;
pub(crate) use keep::{BANS, BOOK, Keep, load, put_aside};
pub(crate) use offset::ClockOffset;
pub(crate) use own::Own;
pub(crate) use sync::Up;
pub(crate) use vouched::Vouched;

/// The least time between two looks at the timers of the peers, in milliseconds (R14).
const PEERS_TIMER_MS: u64 = 5;
/// A status is sent so often, in milliseconds, and so much earlier or later.
const STATUS_MS: (u64, u64) = (5_000, 1_000);
/// How long goodbyes may take when the node stops, in milliseconds.
const STOP_MS: u64 = 1_000;
/// A turn of the loop that takes longer is counted, in milliseconds.
const SLOW_TURN_MS: u64 = 5;

/// What a core wants done.
pub(crate) enum Todo {
    Sync(Action),
    Peers(PeersAction),
    /// With the peer whose request it is about.
    Server(Option<NodeId>, ServerAction),
    /// A request for peers that is still without an answer is refused.
    Untold(ConnId, u64),
}

pub(crate) struct Node {
    pub(crate) sources: Sources,
    pub(crate) me: Me,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) clock: Clock,
    pub(crate) now: Moment,
    pub(crate) inbox: mpsc::Sender<(ConnId, Heard)>,
    pub(crate) core: SyncCore,
    pub(crate) config: Config,
    pub(crate) server: Server,
    pub(crate) peers: Peers,
    /// What the operator decided of peers; the committee comes from the chain.
    pub(crate) rules: PeerRules,
    pub(crate) epoch: Option<u64>,
    pub(crate) records: RecordRules,
    /// What this node tells of itself.
    pub(crate) own_record: Option<OwnRecord>,
    pub(crate) own_seq: Option<u64>,
    pub(crate) todo: VecDeque<Todo>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) accepted: u64,
    pub(crate) up: BTreeMap<NodeId, Up>,
    /// Required peers that lied: they are asked for nothing until then.
    pub(crate) off: BTreeMap<NodeId, Moment>,
    pub(crate) jobs: Jobs,
    pub(crate) own: Own,
    pub(crate) keep: Keep,
    pub(crate) vouched: Vouched,
    /// The newest applied commit, until the sync core can be told of it.
    pub(crate) applied: Option<(u64, Digest)>,
    pub(crate) tip: Option<Certified>,
    pub(crate) inline: Inline,
    pub(crate) offset: ClockOffset,
    pub(crate) available: Available,
    pub(crate) sequence: u64,
    pub(crate) dice: Dice,
    pub(crate) tick_at: Moment,
    pub(crate) status_at: Moment,
    pub(crate) peers_at: Moment,
    pub(crate) peers_timer: Moment,
    pub(crate) counters: Counters,
    pub(crate) totals: Arc<Totals>,
    pub(crate) halted: Option<Halt>,
    pub(crate) status: watch::Sender<Arc<Status>>,
    pub(crate) shown: Option<(Marks, usize)>,
    pub(crate) show_due: bool,
    /// When the goodbyes must be over.
    pub(crate) stop_at: Option<Moment>,
}

impl Node {
    /// Returns when [`Event::Timer`] is due.
    pub(crate) fn deadline(&mut self) -> Moment {
        let next = self.peers.next_deadline(self.now);
        self.peers_at = next.max(self.peers_timer.after(PEERS_TIMER_MS));
        let first = self.tick_at.min(self.status_at).min(self.peers_at);
        self.stop_at.map_or(first, |stop_at| first.min(stop_at))
    }

    /// Takes note of an event and does all that follows from it.
    pub(crate) fn on_event(&mut self, event: Event) {
        self.now = self.clock.now();
        match event {
            Event::Stop => self.on_stop(),
            Event::Timer | Event::Drained => {}
            Event::Ended(name, ending) => self.on_task(name, ending),
            Event::Command(command) => self.on_command(command),
            Event::News(told) => self.on_news(told),
            Event::Heard(conn, heard) => self.on_heard(conn, heard),
            Event::Accepted(accepted) => self.on_accepted(accepted),
        }
        self.on_time();
        while let Some(todo) = self.todo.pop_front() {
            match todo {
                Todo::Sync(action) => self.on_sync_action(action),
                Todo::Peers(action) => self.on_peers_action(action),
                Todo::Server(peer, action) => self.on_server_action(peer, action),
                Todo::Untold(conn, id) => self.on_untold(conn, id),
            }
        }
        self.begin_jobs();
        self.vouched.applied(self.now, self.core.marks().applied);
        self.show();
        if self.clock.now().since(self.now) > SLOW_TURN_MS {
            self.counters.slow_turns += 1;
        }
    }

    /// Returns whether everything that must end in order has ended.
    pub(crate) fn is_over(&self) -> bool {
        let said = self.conns.is_empty() || self.stop_at.is_some_and(|at| at <= self.now);
        self.stop_at.is_some() && said && self.jobs.may_stop() && !self.keep.is_busy()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop_at.is_some()
    }

    pub(crate) fn tell_sync(&mut self, event: sync_core::Event) {
        if self.is_stopping() || self.jobs.is_restarting() {
            return;
        }
        let mut actions = Vec::new();
        self.core.on_event(self.now, event, &mut actions);
        self.todo.extend(actions.into_iter().map(Todo::Sync));
        if self.epoch != Some(self.core.trust().committee.epoch()) {
            self.set_rules();
        }
    }

    pub(crate) fn tell_peers(&mut self, event: PeersEvent) {
        let mut actions = Vec::new();
        self.peers.on_event(self.now, event, &mut actions);
        self.todo.extend(actions.into_iter().map(Todo::Peers));
    }

    pub(crate) fn tell_policy(&mut self, event: ConnEvent) {
        self.tell_peers(PeersEvent::Conn(event));
    }

    pub(crate) fn tell_server(&mut self, peer: Option<NodeId>, event: ServerEvent) {
        let mut actions = Vec::new();
        self.server.on_event(self.now, event, &mut actions);
        self.todo.extend(actions.into_iter().map(|action| Todo::Server(peer, action)));
    }

    /// Passes on the rules, with the committee of the moment.
    pub(crate) fn set_rules(&mut self) {
        let committee = &self.core.trust().committee;
        self.epoch = Some(committee.epoch());
        let mut rules = self.rules.clone();
        rules.committee = committee.keys().iter().copied().collect();
        self.tell_peers(PeersEvent::Rules(Box::new(rules)));
    }

    fn on_time(&mut self) {
        if self.now >= self.peers_at && self.now >= self.peers_timer.after(PEERS_TIMER_MS) {
            self.peers_timer = self.now;
            self.tell_peers(PeersEvent::Timer);
        }
        if self.now >= self.tick_at {
            self.tick_at = self.now.after(TICK_MS);
            self.show_due = true;
            self.tell_sync(sync_core::Event::Tick);
            self.on_own_time();
            self.end_punishments();
        }
        if self.now >= self.status_at {
            let (every, swing) = STATUS_MS;
            self.status_at = self.now.after(every - swing + self.dice.below(2 * swing + 1));
            self.send_statuses();
            self.jobs.survey_due = true;
        }
    }

    fn on_news(&mut self, told: Told) {
        // What the chain says in answer to a restart may be older than this.
        if told.lost || self.jobs.is_restarting() {
            self.jobs.restart();
            return;
        }
        for (commit, body) in told.produced {
            // The core takes the next commit only. A gap means that news were lost on the way.
            if commit.header.height > self.core.marks().stored.saturating_add(1) {
                return self.jobs.restart();
            }
            body.iter().for_each(|body| self.inline.keep(&commit.header, body));
            self.tell_sync(sync_core::Event::Produced { commit });
        }
        self.applied = told.applied.or(self.applied);
        self.tell_applied();
    }

    /// Tells the sync core what was applied, once it knows that it is stored: a follower applies while
    /// it stores, so the news of it come before the end of the store job.
    fn tell_applied(&mut self) {
        let stored = self.core.marks().stored;
        if let Some((height, state)) = self.applied.take_if(|(height, _)| *height <= stored) {
            self.tell_sync(sync_core::Event::Applied { height, state });
        }
    }

    fn on_stop(&mut self) {
        self.stop_at = Some(self.now.after(STOP_MS));
        self.sources.listener = None;
        self.tell_server(None, ServerEvent::Stop);
        let conns: Vec<_> = self.conns.keys().copied().collect();
        for conn in conns {
            self.tell_policy(ConnEvent::Leave { conn, why: Bye::Shutdown });
        }
        self.keep.mark_all();
    }
}
