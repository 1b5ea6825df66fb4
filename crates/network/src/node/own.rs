//! Requests of this node that are not the sync core's: for peers, and inputs on their way to a validator.
//!
//! An input of a trader goes from node to node until one orders it, and its outcome comes back the same
//! way. It cannot go in circles for long: each node that only passes it on takes one of its hops. That it
//! is ordered once is the engine's part, whichever way and however often it comes.

use std::collections::BTreeMap;

use proctor_p2p::message::{Answer, HOPS_MAX, Outcome, Submission};
use proctor_p2p::peers::PeersEvent;
use proctor_p2p::server::{ServerEvent, Ticket};
use proctor_p2p::status::Roles;
use proctor_p2p::sync::Offence;
use proctor_p2p::{Failure, Moment, NodeId, Request};
use tokio::sync::oneshot;

use super::Node;
use crate::frame::Frame;
use crate::handle::SubmitError;
use crate::tasks::Submitter;

/// Numbers from here on are those of requests made here; those below belong to the sync core.
pub(super) const FIRST: u64 = 1 << 63;
/// Inputs on their way to a validator, or to the own sequencer.
const SUBMITS_MAX: usize = 256;
/// How long an answer may take, in milliseconds.
const ANSWER_MS: u64 = 10_000;
/// So much less time the next node has for an input, in milliseconds.
const HOP_MS: u64 = 500;
/// Nodes that are asked, one after the other, for a way that the one before did not know.
const TRIES_MAX: usize = 2;
/// When to try again while too much is on its way, in milliseconds.
const BUSY_MS: u32 = 250;

type Reply = oneshot::Sender<Result<Outcome, SubmitError>>;

/// Who waits for the outcome of an input.
#[derive(Debug)]
pub(super) enum Asker {
    /// This node.
    Here(Reply),
    /// A peer, which is never asked itself.
    Peer(Ticket, NodeId),
}

/// Requests that have not ended. Each ends once, by [`Node::answer_asker`] or by being dropped with the
/// node, which its asker notices.
#[derive(Default)]
pub(crate) struct Own {
    given: u64,
    open: BTreeMap<u64, Waiting>,
}

struct Waiting {
    /// Who was asked; `None` for the own sequencer.
    peer: Option<NodeId>,
    deadline: Moment,
    /// The input whose outcome is waited for; `None` for a request for peers.
    input: Option<Passed>,
}

/// An input that was passed on.
struct Passed {
    asker: Asker,
    submission: Submission,
    /// Who was asked and knows no way.
    tried: Vec<NodeId>,
}

impl Own {
    fn open(&mut self, waiting: Waiting) -> u64 {
        let id = FIRST | self.given;
        self.given = self.given.wrapping_add(1) % FIRST;
        self.open.insert(id, waiting);
        id
    }

    /// Notes a request for peers; the peers core asks a peer twice a minute at most.
    pub(super) fn ask_for_peers(&mut self, now: Moment, peer: NodeId) -> u64 {
        self.open(Waiting { peer: Some(peer), deadline: now.after(ANSWER_MS), input: None })
    }

    fn submits(&self) -> usize {
        self.open.values().filter(|waiting| waiting.input.is_some()).count()
    }

    /// Takes out what is `meant`; returns who waits for it.
    fn take_where(&mut self, meant: impl Fn(&Waiting) -> bool) -> Vec<Asker> {
        let taken = self.open.extract_if(.., |_, waiting| meant(waiting));
        taken.filter_map(|(_, waiting)| Some(waiting.input?.asker)).collect()
    }
}

impl Node {
    pub(super) fn on_submit(&mut self, input: Vec<u8>, reply: Reply) {
        let within_ms = u32::try_from(ANSWER_MS).unwrap_or(u32::MAX);
        self.pass_on(Asker::Here(reply), Submission { hops: HOPS_MAX, within_ms, input });
    }

    /// Has an input ordered here, or passes it on.
    pub(super) fn pass_on(&mut self, asker: Asker, submission: Submission) {
        if self.is_stopping() {
            return self.answer_asker(asker, Err(SubmitError::Stopped));
        }
        self.counters.submitted += 1;
        if !self.me.roles.contains(Roles::VALIDATOR) {
            return self.ask_next(Passed { asker, submission, tried: Vec::new() });
        }
        match asker {
            Asker::Peer(ticket, peer) => {
                self.jobs.hand.push((Submitter::Peer(ticket), peer, submission.input));
            }
            Asker::Here(_) if self.own.submits() >= SUBMITS_MAX => {
                self.answer_asker(asker, Err(SubmitError::Failed(Failure::Busy(BUSY_MS))));
            }
            Asker::Here(_) => {
                let input = submission.input.clone();
                let passed = Passed { asker, submission, tried: Vec::new() };
                let deadline = self.now.after(ANSWER_MS);
                let id = self.own.open(Waiting { peer: None, deadline, input: Some(passed) });
                self.jobs.hand.push((Submitter::Own(id), self.me.id, input));
            }
        }
    }

    /// Passes an input on to the next node on the way to the sequencer, with a little less time than
    /// there is here, so that who is further on gives up first and says so.
    fn ask_next(&mut self, passed: Passed) {
        let within_ms = u64::from(passed.submission.within_ms).min(ANSWER_MS);
        let left_ms = within_ms.saturating_sub(HOP_MS);
        let next = match self.next_hop(&passed) {
            _ if passed.tried.len() >= TRIES_MAX => Err(SubmitError::NoValidator),
            None => Err(SubmitError::NoValidator),
            Some(_) if self.own.submits() >= SUBMITS_MAX || left_ms == 0 => {
                Err(SubmitError::Failed(Failure::Busy(BUSY_MS)))
            }
            Some(next) => Ok(next),
        };
        let (peer, hops) = match next {
            Ok(next) => next,
            Err(error) => return self.answer_asker(passed.asker, Err(error)),
        };
        let submission = Submission {
            hops,
            within_ms: u32::try_from(left_ms).unwrap_or(u32::MAX),
            input: passed.submission.input.clone(),
        };
        let deadline = self.now.after(within_ms);
        let waiting = Waiting { peer: Some(peer), deadline, input: Some(passed) };
        let id = self.own.open(waiting);
        self.send_to(peer, &Frame::Request { id, request: Request::SubmitInput(submission) });
    }

    /// Returns whom to ask next, and over how many more nodes it may go from there. A connected member
    /// of the committee, by turns: what a peer says of its role does not count. Else a node that this one
    /// follows, by configuration or because it is furthest; it knows a way, or says that it does not.
    fn next_hop(&self, passed: &Passed) -> Option<(NodeId, u8)> {
        let from = match passed.asker {
            Asker::Peer(_, peer) => Some(peer),
            Asker::Here(_) => None,
        };
        let may = |peer: &NodeId| Some(*peer) != from && !passed.tried.contains(peer);
        let members = self.core.trust().committee.keys();
        let up: Vec<_> =
            members.iter().filter(|key| self.up.contains_key(key) && may(key)).collect();
        let turn = usize::try_from(self.own.given).unwrap_or(0);
        if let Some(peer) = turn.checked_rem(up.len()).and_then(|turn| up.get(turn)) {
            return Some((**peer, passed.submission.hops.min(HOPS_MAX)));
        }
        let hops = passed.submission.hops.min(HOPS_MAX).checked_sub(1)?;
        let others = self.up.iter().filter(|(peer, _)| may(peer) && !self.off.contains_key(peer));
        let furthest = others.max_by_key(|(peer, up)| {
            (self.rules.fixed.contains_key(peer), up.status.status.height(), **peer)
        });
        furthest.map(|(peer, _)| (*peer, hops))
    }

    /// Tells who asked what became of an input.
    fn answer_asker(&mut self, asker: Asker, outcome: Result<Outcome, SubmitError>) {
        match asker {
            // Nobody may wait any more.
            Asker::Here(reply) => drop(reply.send(outcome)),
            Asker::Peer(ticket, _) => {
                let outcome = outcome.map_err(|error| match error {
                    SubmitError::Failed(failure) => failure,
                    SubmitError::NoValidator => Failure::NotHere,
                    SubmitError::Unknown => Failure::Unknown,
                    SubmitError::Stopped => Failure::Shutdown,
                    SubmitError::TooLong(_) => Failure::TooLarge,
                });
                self.tell_server(None, ServerEvent::Submitted(ticket, outcome));
            }
        }
    }

    /// Ends what `peer` was asked: whether it did it is not known.
    pub(super) fn leave_own(&mut self, peer: &NodeId) {
        let askers = self.own.take_where(|waiting| waiting.peer == Some(*peer));
        askers.into_iter().for_each(|asker| self.answer_asker(asker, Err(SubmitError::Unknown)));
    }

    /// A peer that was asked has not taken an input.
    fn on_not_taken(&mut self, peer: NodeId, mut passed: Passed, failure: Failure) {
        match failure {
            // It knows no way, and nothing was taken: perhaps another one does.
            Failure::NotHere | Failure::Shutdown => {
                passed.tried.push(peer);
                self.ask_next(passed);
            }
            Failure::Unknown => self.answer_asker(passed.asker, Err(SubmitError::Unknown)),
            Failure::Busy(_)
            | Failure::TooLarge
            | Failure::BadRequest
            | Failure::WrongChain
            | Failure::Banned(_) => {
                self.answer_asker(passed.asker, Err(SubmitError::Failed(failure)));
            }
        }
    }

    pub(super) fn on_own_answer(&mut self, peer: NodeId, id: u64, answer: Answer) {
        let asked = self.own.open.get(&id).is_some_and(|waiting| waiting.peer == Some(peer));
        if !asked {
            // It may be late; one to what was never asked is an offence.
            if id - FIRST >= self.own.given {
                self.penalise(peer, Offence::Unsolicited);
            }
            return;
        }
        let Some(waiting) = self.own.open.remove(&id) else { return };
        match (waiting.input, answer) {
            (Some(passed), Answer::Outcome(outcome)) => {
                self.answer_asker(passed.asker, Ok(outcome));
            }
            (Some(passed), Answer::Failed(failure)) => self.on_not_taken(peer, passed, failure),
            (None, Answer::Peers(records)) => {
                self.tell_peers(PeersEvent::Told { peer, records });
            }
            (None, Answer::Failed(_)) => {}
            (passed, _) => {
                if let Some(passed) = passed {
                    self.answer_asker(passed.asker, Err(SubmitError::Unknown));
                }
                self.penalise(peer, Offence::Unsolicited);
            }
        }
    }

    /// The own sequencer has answered.
    pub(super) fn on_own_outcome(&mut self, id: u64, outcome: Result<Outcome, Failure>) {
        if let Some(passed) = self.own.open.remove(&id).and_then(|waiting| waiting.input) {
            self.answer_asker(passed.asker, outcome.map_err(SubmitError::Failed));
        }
    }

    pub(super) fn on_own_time(&mut self) {
        let now = self.now;
        let askers = self.own.take_where(|waiting| waiting.deadline <= now);
        askers.into_iter().for_each(|asker| self.answer_asker(asker, Err(SubmitError::Unknown)));
    }
}
