//! Driving honest nodes: events into their cores, their actions into the world, invariants after each.

use proctor_p2p::message::INLINE_BODY_BYTES_MAX;
use proctor_p2p::server::{ServerAction, ServerEvent};
use proctor_p2p::sync::verify::Job;
use proctor_p2p::sync::{Action, Event, JobId, Marks, Offence, StoreJob};
use proctor_p2p::{Answer, Certified, Message, Moment, NodeId, Push, Request};

use super::{Ev, Peer, Wire, World, order};

impl World {
    /// What a node's own clock says: whatever it began with, and perhaps it jumped ahead.
    pub(super) fn clock(&self, at: usize) -> Moment {
        match &self.peers[at] {
            Peer::Honest(node) => Moment(self.now + node.clock_ahead_ms),
            Peer::Liar { .. } => Moment(self.now),
        }
    }

    /// Tells a node's sync core something, and does what it wants done.
    pub(super) fn tell(&mut self, at: usize, event: Event) {
        let now = self.clock(at);
        let Peer::Honest(node) = &mut self.peers[at] else { return };
        if !node.up {
            return;
        }
        let before = node.core.marks();
        let mut actions = Vec::new();
        let joined = matches!(event, Event::Stored(..));
        node.core.on_event(now, event, &mut actions);
        self.check(at, before, joined);
        self.mix(at as u64);
        self.mix(actions.len() as u64);
        let marks = self.node(at).core.marks();
        self.mix(marks.verified.wrapping_mul(31).wrapping_add(marks.stored));
        for action in actions {
            self.act(at, action);
        }
    }

    /// V2, V7, and that every request ends once.
    fn check(&self, at: usize, before: Marks, may_jump: bool) {
        let node = self.node(at);
        let (marks, held) = (node.core.marks(), node.core.held());
        assert!(marks.applied <= marks.stored && marks.stored <= marks.verified, "V2 {marks:?}");
        assert!(
            before.stored <= marks.stored
                && before.applied <= marks.applied
                && (before.verified <= marks.verified || may_jump),
            "V2 {before:?} {marks:?}"
        );
        assert!(marks.target <= self.truth.height().max(marks.verified), "R22 {marks:?}");
        assert!(held.requests <= 256 && held.ranges <= 9 && held.bodies <= 64, "V7 {held:?}");
        assert!(held.headers <= 8 * 256 + 256 && held.inline <= 16, "V7 {held:?}");
        assert!(held.jobs <= 64 + 64 + 16, "V7 {held:?}");
        assert!(held.bodies_held <= 1_024, "V7 {held:?}");
        assert!(held.body_bytes <= (32 << 20) || held.bodies_held == 1, "V7 {held:?}");
        assert_eq!(held.opened, held.ended + held.requests as u64, "each request ends once");
    }

    fn act(&mut self, at: usize, action: Action) {
        let life = self.node(at).life;
        match action {
            Action::Request { peer, id, request } => {
                self.node_mut(at).requests += 1;
                let to = self.ids[&peer];
                self.send(at, to, id.0, Message::Request(request), true);
            }
            Action::Cancel { peer, id } => {
                let to = self.ids[&peer];
                self.transmit(at, to, 20, Wire::Cancel(id.0));
            }
            Action::Verify(id, job) => {
                let name = name(&job);
                *self.node_mut(at).verifies.entry(name).or_default() += 1;
                let verdict = job.run();
                let wait = 1 + self.rng_below(4);
                self.after(wait, Ev::Verified(at, life, id, verdict));
            }
            Action::Store(id, job) => {
                let wait = 1 + self.rng_below(4) + self.store_ms;
                self.after(wait, Ev::Store(at, life, id, job));
            }
            Action::Advanced(height) => {
                self.node_mut(at).acknowledged = height;
                self.after(1, Ev::Apply(at, life));
                self.refresh(at);
            }
            Action::Joined(tip) => {
                let node = self.node_mut(at);
                node.acknowledged = tip.height;
                node.applied = (tip.height, node.disk.base_state);
                node.joins += 1;
                let state = self.truth.state(tip.height);
                assert_eq!(self.node(at).applied.1, state, "V5 after a snapshot");
                self.refresh(at);
            }
            Action::Announce(_) => self.refresh(at),
            Action::Push { peer, commit } => self.push(at, peer, commit),
            Action::Penalise { peer, offence } => self.penalise(at, peer, offence),
            Action::Behind(reason) => self.node_mut(at).reasons.extend(reason),
            Action::Alarm(_) => self.node_mut(at).alarms += 1,
            Action::Halt(halt) => self.node_mut(at).halted = Some(halt),
            Action::Ended { .. } | Action::Credit { .. } => {}
        }
    }

    pub(super) fn refresh(&mut self, at: usize) {
        let available = self.node(at).available();
        self.serve(at, ServerEvent::Available(available));
    }

    fn push(&mut self, at: usize, peer: NodeId, commit: Certified) {
        let body = self.node(at).disk.commit(commit.header.height).map(|(_, body)| body.clone());
        let body = body.filter(|body| body.len() <= INLINE_BODY_BYTES_MAX);
        let to = self.ids[&peer];
        self.outbox.insert((at, to), Message::Push(Push::Commit { commit, body }));
        self.flush(at);
    }

    pub(super) fn flush(&mut self, at: usize) {
        let free = |pair: &(usize, usize)| {
            let link = &self.links[pair];
            pair.0 == at && link.cut_until <= self.now && link.busy_until <= self.now
        };
        let free: Vec<_> = self.outbox.keys().filter(|pair| free(pair)).copied().collect();
        for pair in free {
            let message = self.outbox.remove(&pair).unwrap();
            self.send(pair.0, pair.1, 0, message, true);
        }
    }

    pub(super) fn penalise(&mut self, at: usize, peer: NodeId, offence: Offence) {
        let cost = match offence {
            lie if lie.is_a_lie() => 100,
            Offence::Unsolicited => 25,
            Offence::Flood => 10,
            _ => 5,
        };
        let other = self.ids[&peer];
        let node = self.node_mut(at);
        node.offences.push((peer, offence));
        let trust = node.trust.entry(peer).or_insert(100);
        *trust -= cost;
        if *trust <= 0 && node.banned.insert(peer) {
            let seed = self.seed;
            let reasons = &self.node(at).offences;
            assert!(!self.is_honest(&peer), "V11, seed {seed}: {at} bans {other}: {reasons:?}");
            self.after(
                0,
                Ev::Dead(at, other, self.sessions.get(&order(at, other)).copied().unwrap_or(0)),
            );
        }
    }

    /// Tells a node's server something, and does what it wants done.
    pub(super) fn serve(&mut self, at: usize, event: ServerEvent) {
        let now = self.clock(at);
        let Peer::Honest(node) = &mut self.peers[at] else { return };
        let mut actions = Vec::new();
        node.server.on_event(now, event, &mut actions);
        assert!(node.server.held().0 <= 256, "V7");
        let life = node.life;
        for action in actions {
            match action {
                ServerAction::Read(ticket, read) => {
                    let wait = 1 + self.rng_below(5);
                    self.after(wait, Ev::Read(at, life, ticket, read));
                }
                ServerAction::Submit(..) => {}
                ServerAction::Answer { peer, id, answer, last } => {
                    let to = self.ids[&peer];
                    self.send(at, to, id, Message::Answer(answer), last);
                }
                ServerAction::Penalise { peer, offence } => self.penalise(at, peer, offence),
            }
        }
    }

    /// F10: a crash before the write, or after it and before anybody hears of it.
    pub(super) fn store(&mut self, at: usize, id: JobId, job: StoreJob) {
        self.store_jobs += 1;
        let mut crash = self.rng.below(1_000) < self.crash_permille;
        let mut before = crash && self.rng.below(2) == 0;
        if let Some((_, early)) = self.crash_at.filter(|(job, _)| *job == self.store_jobs) {
            (crash, before) = (true, early);
        }
        if !before {
            let Peer::Honest(node) = &mut self.peers[at] else { return };
            let result = node.store(job, &self.truth);
            if !crash {
                return self.tell(at, Event::Stored(id, result));
            }
        }
        let down = 100 + self.rng_below(3_000);
        self.on_crash(at, down);
    }

    pub(super) fn apply(&mut self, at: usize) {
        loop {
            let Peer::Honest(node) = &mut self.peers[at] else { return };
            let next = node.applied.0 + 1;
            if next > node.acknowledged {
                return;
            }
            let Some((height, state)) = node.apply(next, &self.truth) else { return };
            self.tell(at, Event::Applied { height, state });
            if let Some(height) = self.node(at).kept() {
                self.tell(at, Event::Kept { height });
            }
        }
    }

    /// A flood: status, pushes, requests and answers to nothing, far above every limit.
    pub(super) fn spam(&mut self, at: usize) {
        self.after(200, Ev::Spam(at));
        for to in self.sessions_of(at) {
            for nth in 0..30 {
                let height = self.truth.height();
                if height > 0 {
                    let commit = self.truth.certified(1 + self.rng.below(height as usize) as u64);
                    let body = Some(vec![nth; 100]);
                    let push = Push::Commit { commit, body };
                    self.send(at, to, 0, Message::Push(push), true);
                }
                let request = Request::GetHeaders { from: 1, max: 256 };
                self.send(at, to, u64::from(nth), Message::Request(request), true);
                let answer = Answer::NoBody(u32::from(nth));
                self.send(at, to, 1, Message::Answer(answer), true);
            }
            self.send_status(at, to);
        }
    }
}

fn name(job: &Job) -> &'static str {
    match job {
        Job::Status { .. } => "status",
        Job::Tip { .. } => "tip",
        Job::Range { .. } => "range",
        Job::Bodies(_) => "bodies",
        Job::Manifest { .. } => "manifest",
        Job::Chunk { .. } => "chunk",
    }
}
