//! The sync core's actions, and who is up: requests, statuses, pushes, penalties.

use proctor_p2p::message::Answer;
use proctor_p2p::peers::policy::ConnId;
use proctor_p2p::peers::score::{Fault, ScoreEvent};
use proctor_p2p::server::ServerEvent;
use proctor_p2p::status::Roles;
use proctor_p2p::sync::{Action, Ending, Event, Offence, RequestId, StoreJob};
use proctor_p2p::{Certified, Failure, Moment, NodeId, Push, Request, SignedStatus, Status};

use super::{Conn, Node};
use crate::frame::Frame;
use crate::tasks::Survey;

/// When the sync core may try again after a request that could not be sent, in milliseconds.
const NOT_SENT_MS: u32 = 250;

/// A peer that can be spoken to.
pub(crate) struct Up {
    pub(super) conn: ConnId,
    /// What it says it does.
    pub(super) roles: Roles,
    /// The last status that it sent; a claim.
    pub(super) status: SignedStatus,
    /// How long its last answer took, in milliseconds.
    took_ms: u64,
    /// The sync core knows it.
    pub(super) followed: bool,
    /// When the first connection with it that has not ended became usable.
    pub(super) since: Moment,
}

impl Node {
    /// A peer can be spoken to, over a connection that is its first, or takes the place of another:
    /// then all that was open on the other one has ended.
    pub(super) fn on_up(&mut self, peer: NodeId, id: ConnId) {
        let link = self.conns.get(&id).and_then(Conn::link);
        let Some((roles, status)) = link.and_then(|link| link.hello.clone()) else { return };
        tracing::info!(%peer, conn = ?id, "a peer is up");
        self.leave_requests(peer);
        self.claimed(&peer, status.status.height());
        let since = self.up.get(&peer).map_or(self.now, |up| up.since);
        self.up.insert(peer, Up { conn: id, roles, status, took_ms: 0, followed: false, since });
        self.follow(peer);
        self.show_due = true;
    }

    /// A peer says how far it is. The stream proves that it says so, and what the orderer says of
    /// itself is what there is.
    pub(super) fn claimed(&mut self, peer: &NodeId, height: u64) {
        if self.core.trust().committee.keys().contains(peer) {
            self.vouched.claimed(self.now, height);
        }
    }

    pub(super) fn on_down(&mut self, peer: NodeId) {
        tracing::info!(%peer, "a peer is down");
        if self.up.get(&peer).is_some_and(|up| up.followed) {
            self.tell_sync(Event::PeerLeft(peer));
        }
        self.leave_requests(peer);
        self.up.remove(&peer);
        self.show_due = true;
    }

    /// Ends what a peer asked and what it was asked by this node itself.
    fn leave_requests(&mut self, peer: NodeId) {
        self.tell_server(None, ServerEvent::PeerLeft(peer));
        self.jobs.leave(&peer);
        self.leave_own(&peer);
    }

    /// Lets the sync core know of a peer, unless it is to be asked for nothing.
    pub(super) fn follow(&mut self, peer: NodeId) {
        if self.off.contains_key(&peer) || self.jobs.is_restarting() {
            return;
        }
        let Some(up) = self.up.get_mut(&peer) else { return };
        let link = self.conns.get(&up.conn).and_then(Conn::link);
        let Some(binding) = link.map(|link| link.binding) else { return };
        up.followed = true;
        let status = up.status.clone();
        self.tell_sync(Event::PeerJoined { peer, binding });
        self.tell_sync(Event::Status { peer, status });
    }

    /// Asks a required peer, which lied, for nothing more for `ms` milliseconds.
    pub(super) fn ask_no_more(&mut self, peer: NodeId, ms: u64) {
        self.off.insert(peer, self.now.after(ms));
        if let Some(up) = self.up.get_mut(&peer)
            && std::mem::take(&mut up.followed)
        {
            self.tell_sync(Event::PeerLeft(peer));
        }
    }

    pub(super) fn end_punishments(&mut self) {
        let over: Vec<_> = self
            .off
            .iter()
            .filter(|(_, until)| **until <= self.now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in over {
            self.off.remove(&peer);
            self.follow(peer);
        }
    }

    pub(super) fn on_sync_action(&mut self, action: Action) {
        match action {
            Action::Request { peer, id, request } => self.request(peer, id, request),
            Action::Cancel { peer, id } => self.send_to(peer, &Frame::Cancel(id.0)),
            Action::Ended { peer, ending, took_ms, .. } => self.on_ended(peer, ending, took_ms),
            Action::Verify(id, job) => {
                self.counters.verifies += 1;
                self.jobs.verify.push((id, job));
            }
            Action::Store(id, job) => {
                if let StoreJob::Commits { commits, .. } = &job {
                    commits.iter().for_each(|(header, body)| self.inline.keep(header, body));
                }
                self.counters.stores += 1;
                self.jobs.store.push((id, job));
            }
            Action::Advanced(_) => self.tell_applied(),
            Action::Joined(tip) => {
                tracing::info!(height = tip.height, "a snapshot was installed");
                self.jobs.survey_due = true;
                self.tell_applied();
            }
            Action::Announce(commit) => self.on_announce(commit),
            Action::Push { peer, commit } => self.push(peer, commit),
            Action::Penalise { peer, offence } => self.penalise(peer, offence),
            Action::Credit { peer, bytes } => {
                self.counters.verified_bytes = self.counters.verified_bytes.saturating_add(bytes);
                let took_ms = self.up.get(&peer).map_or(0, |up| up.took_ms);
                self.score(ScoreEvent::Verified { peer, took_ms, bytes });
            }
            Action::Behind(reason) => {
                let marks = self.core.marks();
                tracing::warn!(?reason, ?marks, "the reason for being behind changed");
            }
            Action::Alarm(manifest) => {
                let height = manifest.height;
                tracing::error!(height, "a snapshot is not what it should be: it is not used");
            }
            Action::Halt(halt) => {
                tracing::error!(?halt, "the network follows no more: a person must look");
                self.halted = Some(halt);
                self.show_due = true;
            }
        }
    }

    /// Sends a request. One that cannot be sent is answered here, so that each ends.
    fn request(&mut self, peer: NodeId, id: RequestId, request: Request) {
        let conn = self.up.get(&peer).map(|up| up.conn);
        if let Some(conn) = conn.filter(|conn| self.conns.contains_key(conn)) {
            return self.send(conn, &Frame::Request { id: id.0, request });
        }
        let answer = Answer::Failed(Failure::Busy(NOT_SENT_MS));
        self.tell_sync(Event::Answer { peer, id, answer, last: true });
    }

    pub(super) fn send_to(&mut self, peer: NodeId, frame: &Frame) {
        if let Some(conn) = self.up.get(&peer).map(|up| up.conn) {
            self.send(conn, frame);
        }
    }

    fn on_ended(&mut self, peer: NodeId, ending: Ending, took_ms: u64) {
        let counter = match ending {
            Ending::Answered => &mut self.counters.answered,
            Ending::Expired => &mut self.counters.expired,
            Ending::Cancelled => &mut self.counters.cancelled,
            Ending::PeerGone => &mut self.counters.peer_gone,
        };
        *counter += 1;
        if ending == Ending::Answered {
            self.counters.fetch.add(took_ms);
        }
        if ending == Ending::Answered
            && let Some(up) = self.up.get_mut(&peer)
        {
            up.took_ms = took_ms;
        }
        if ending == Ending::Expired {
            self.score(ScoreEvent::TimedOut { peer });
        }
    }

    pub(super) fn penalise(&mut self, peer: NodeId, offence: Offence) {
        tracing::debug!(%peer, ?offence, "a peer did wrong");
        if let Some(count) = self.counters.offences.get_mut(crate::status::place(offence)) {
            *count += 1;
        }
        let fault = match offence {
            Offence::BadRange | Offence::BadManifest => Fault::Headers,
            Offence::BadBody | Offence::BadChunk => Fault::Body,
            Offence::BadStatus => Fault::Status,
            Offence::Unsolicited => Fault::Unsolicited,
            Offence::Promised => {
                let status_seq = self.up.get(&peer).map_or(0, |up| up.status.status.sequence);
                Fault::BrokenPromise { status_seq }
            }
            Offence::Flood => Fault::RateExceeded,
        };
        self.score(ScoreEvent::Fault { peer, fault });
    }

    /// A commit is durable here with its certificate: it can be served before anybody hears of it.
    fn on_announce(&mut self, commit: Certified) {
        self.available.tip = self.available.tip.max(commit.header.height);
        self.tip = Some(commit);
        self.tell_server(None, ServerEvent::Available(self.available));
    }

    /// Takes note of what the chain can serve; it may have been asked before the last commit.
    pub(super) fn on_survey(&mut self, survey: Survey) {
        let tip = survey.available.tip.max(self.available.tip);
        self.available = proctor_p2p::server::Available { tip, ..survey.available };
        let height = |tip: &Option<Certified>| tip.as_ref().map_or(0, |tip| tip.header.height);
        if height(&survey.tip) > height(&self.tip) {
            self.tip = survey.tip;
        }
        if let Some(height) = survey.unattested {
            self.tell_sync(Event::Kept { height });
        }
        self.tell_server(None, ServerEvent::Available(self.available));
    }

    fn push(&mut self, peer: NodeId, commit: Certified) {
        let conn = self.up.get(&peer).and_then(|up| self.conns.get(&up.conn));
        if let Some(link) = conn.and_then(Conn::link) {
            self.counters.pushes += 1;
            let body = self.inline.of(&commit.header);
            self.counters.pushed_bodies += u64::from(body.is_some());
            let frame = Frame::Push(Push::Commit { commit, body });
            self.counters.pushes_replaced += u64::from(link.outbox.push(&frame));
        }
    }

    /// Returns what this node has; each is newer than the one before.
    pub(super) fn next_status(&mut self) -> Status {
        self.sequence += 1;
        let open = self.server.held().0.saturating_mul(1_000);
        let load = open / proctor_p2p::server::OPEN_MAX;
        Status {
            tip: self.tip.clone(),
            lowest_body: self.available.lowest_body,
            lowest_header: self.available.lowest_header,
            latest_snapshot: self.available.latest_snapshot,
            sequence: self.sequence,
            load_permille: u32::try_from(load).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn send_statuses(&mut self) {
        // For the next one: snapshots come, and what is old goes.
        self.jobs.survey_due = true;
        let status = self.next_status();
        for up in self.up.values() {
            if let Some(link) = self.conns.get(&up.conn).and_then(Conn::link) {
                link.outbox.status(status.clone());
            }
        }
    }

    /// Begins the sync core anew, with the peers that are up.
    pub(super) fn on_restarted(&mut self, start: crate::chain::Start) {
        tracing::info!(height = start.stored.height, "the sync begins anew");
        self.counters.restarts += 1;
        self.config.generation = self.config.generation.saturating_add(1);
        let crate::chain::Start { trust, stored, applied } = start;
        let now: Moment = self.now;
        self.core = proctor_p2p::SyncCore::new(self.config, trust, stored, applied, now);
        self.set_rules();
        let peers: Vec<_> = self.up.keys().copied().collect();
        for peer in peers {
            self.follow(peer);
        }
        self.jobs.survey_due = true;
    }
}
