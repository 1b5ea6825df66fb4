//! Requests of this node that are not the sync core's: for peers, and inputs for a validator.

use std::collections::BTreeMap;

use proctor_p2p::message::{Answer, Outcome};
use proctor_p2p::peers::PeersEvent;
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
/// When to try again while too much is on its way, in milliseconds.
const BUSY_MS: u32 = 250;

type Reply = oneshot::Sender<Result<Outcome, SubmitError>>;

/// Requests that have not ended. Each ends once, in [`Waiting::end`] or by being dropped with the
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
    /// Who waits for the outcome of an input; `None` for a request for peers.
    reply: Option<Reply>,
}

impl Waiting {
    fn end(self, outcome: Result<Outcome, SubmitError>) {
        if let Some(reply) = self.reply {
            // Nobody may wait any more.
            let _ = reply.send(outcome);
        }
    }
}

impl Own {
    fn open(&mut self, now: Moment, peer: Option<NodeId>, reply: Option<Reply>) -> u64 {
        let id = FIRST | self.given;
        self.given = self.given.wrapping_add(1) % FIRST;
        self.open.insert(id, Waiting { peer, deadline: now.after(ANSWER_MS), reply });
        id
    }

    /// Notes a request for peers; the peers core asks a peer twice a minute at most.
    pub(super) fn ask_for_peers(&mut self, now: Moment, peer: NodeId) -> u64 {
        self.open(now, Some(peer), None)
    }

    fn submits(&self) -> usize {
        self.open.values().filter(|waiting| waiting.reply.is_some()).count()
    }

    fn end_where(&mut self, meant: impl Fn(&Waiting) -> bool) {
        for (_, waiting) in self.open.extract_if(.., |_, waiting| meant(waiting)) {
            waiting.end(Err(SubmitError::Unknown));
        }
    }

    /// Ends what `peer` was asked: whether it did it is not known.
    pub(super) fn leave(&mut self, peer: &NodeId) {
        self.end_where(|waiting| waiting.peer == Some(*peer));
    }
}

impl Node {
    pub(super) fn on_submit(&mut self, input: Vec<u8>, reply: Reply) {
        let refused = if self.is_stopping() {
            Some(SubmitError::Stopped)
        } else if self.own.submits() >= SUBMITS_MAX {
            Some(SubmitError::Failed(Failure::Busy(BUSY_MS)))
        } else {
            None
        };
        if let Some(error) = refused {
            let _ = reply.send(Err(error));
            return;
        }
        if self.me.roles.0 & Roles::VALIDATOR.0 != 0 {
            self.counters.submitted += 1;
            let id = self.own.open(self.now, None, Some(reply));
            return self.jobs.hand.push((Submitter::Own(id), self.me.id, input));
        }
        match self.validator() {
            Some(peer) => {
                let id = self.own.open(self.now, Some(peer), Some(reply));
                self.send_to(peer, &Frame::Request { id, request: Request::SubmitInput(input) });
            }
            None => {
                let _ = reply.send(Err(SubmitError::NoValidator));
            }
        }
    }

    /// A connected member of the committee, by turns. What a peer says of its role does not count.
    fn validator(&self) -> Option<NodeId> {
        let members = self.core.trust().committee.keys();
        let up: Vec<_> = members.iter().filter(|key| self.up.contains_key(key)).collect();
        let turn = usize::try_from(self.own.given).unwrap_or(0).checked_rem(up.len())?;
        up.get(turn).map(|key| **key)
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
        match (waiting.reply.is_some(), answer) {
            (true, Answer::Outcome(outcome)) => waiting.end(Ok(outcome)),
            (true, Answer::Failed(failure)) => waiting.end(Err(SubmitError::Failed(failure))),
            (false, Answer::Peers(records)) => {
                self.tell_peers(PeersEvent::Told { peer, records });
            }
            (false, Answer::Failed(_)) => {}
            (true | false, _) => {
                waiting.end(Err(SubmitError::Unknown));
                self.penalise(peer, Offence::Unsolicited);
            }
        }
    }

    /// The own sequencer has answered.
    pub(super) fn on_own_outcome(&mut self, id: u64, outcome: Result<Outcome, Failure>) {
        if let Some(waiting) = self.own.open.remove(&id) {
            waiting.end(outcome.map_err(SubmitError::Failed));
        }
    }

    pub(super) fn on_own_time(&mut self) {
        let now = self.now;
        self.own.end_where(|waiting| waiting.deadline <= now);
    }
}
