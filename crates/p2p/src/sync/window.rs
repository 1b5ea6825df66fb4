//! The window of header ranges: aligned, each from one source, consumed from the head.

use std::collections::{BTreeMap, BTreeSet};

use crate::certificate::{Certificate, CertificateError, RANGE_MAX, RangeError, Trust};
use crate::header::{HEADER_BYTES, Header, Tip};
use crate::message::Request;
use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::status::Certified;
use crate::sync::event::{Action, Ending, Halt, Offence, RequestId};
use crate::sync::requests::Purpose;
use crate::sync::verify::Job;
use crate::sync::{Ahead, HEADERS_AHEAD_MAX, SyncCore, Waiting};

const RANGE: u64 = RANGE_MAX as u64;

/// A range that arrived and waits for its turn, with who sent it.
#[derive(Debug)]
struct Buffered {
    source: NodeId,
    headers: Vec<Header>,
    certificate: Certificate,
}

/// A range that is fetched or held.
#[derive(Debug, Default)]
struct Slot {
    /// The last height that belongs to it.
    last: u64,
    asked: BTreeSet<RequestId>,
    asked_at: Moment,
    tried: BTreeSet<NodeId>,
    attempts: u32,
    retry_at: Moment,
    buffered: Option<Buffered>,
    verifying: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: BTreeMap<u64, Slot>,
    /// Nobody who has the range at the head delivered it.
    head_missing: bool,
    /// The last range at the head was false.
    head_false: bool,
}

impl Window {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn head_missing(&self) -> bool {
        self.head_missing
    }

    pub(crate) fn last_was_false(&self) -> bool {
        self.head_false
    }

    pub(crate) fn ended(&mut self, start: u64, id: RequestId) {
        if let Some(slot) = self.slots.get_mut(&start) {
            slot.asked.remove(&id);
        }
    }

    pub(crate) fn tried(&mut self, start: u64, peer: NodeId) {
        if let Some(slot) = self.slots.get_mut(&start) {
            slot.tried.insert(peer);
        }
    }

    /// Empties the window and returns the requests that nobody needs any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Returns the end of the aligned block that holds `height`.
fn block_end(height: u64) -> u64 {
    height.div_ceil(RANGE).saturating_mul(RANGE)
}

impl SyncCore {
    /// Which ranges to ask for: the head first and always, then aligned blocks while there is room.
    pub(crate) fn plan_headers(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.verify_head(actions);
        let goal = self.target.height().max(self.target.epoch_ahead());
        let (verified, stored) = (self.verified.height, self.stored);
        if goal <= verified || verified.saturating_sub(stored) >= HEADERS_AHEAD_MAX {
            return;
        }
        let head = verified.saturating_add(1);
        let mut start = head;
        let mut starts = Vec::new();
        // An epoch ahead proves nothing about heights: only the head is asked for.
        let reach = self.target.height().max(head);
        while start <= reach && starts.len() < self.config.ranges.max(1) {
            starts.push(start);
            start = block_end(start).saturating_add(1);
        }
        // The head is always admitted: what does not line up any more makes room for it.
        let keep: BTreeSet<u64> = starts.iter().copied().collect();
        let gone: Vec<u64> =
            self.window.slots.keys().filter(|start| !keep.contains(start)).copied().collect();
        gone.into_iter().for_each(|start| self.drop_slot(now, start, actions));
        for start in starts {
            self.plan_range(now, start, start == head, actions);
        }
        self.verify_head(actions);
    }

    fn plan_range(&mut self, now: Moment, start: u64, head: bool, actions: &mut Vec<Action>) {
        let slot = self.window.slots.entry(start).or_default();
        slot.last = block_end(start);
        if slot.buffered.is_some() || slot.verifying || slot.retry_at > now {
            return;
        }
        let max = u32::try_from(slot.last.saturating_sub(start).saturating_add(1)).unwrap_or(1);
        let (first, asked) = (slot.asked.first().copied(), slot.asked.len());
        let (asked_at, mut tried) = (slot.asked_at, slot.tried.clone());
        let hedge = head && asked == 1 && now.since(asked_at) >= self.hedge_after_ms();
        if asked > 0 && !hedge {
            return;
        }
        let first_peer = first.and_then(|id| self.requests.get(id)).map(|open| open.peer);
        tried.extend(first_peer);
        let draw = self.draw();
        let epoch_only = self.target.height() < start;
        let has = |source: &super::source::Source| {
            source.has_header(start) && (!epoch_only || source.claim.is_some())
        };
        let Some(peer) = self.sources.pick(now, draw, &tried, has) else {
            let waiting = self.sources.iter().any(|(peer, source)| {
                !source.shunned && !tried.contains(peer) && source.has_header(start)
            });
            if !hedge && !waiting {
                self.range_is_nowhere(now, start, head);
            }
            return;
        };
        let request = Request::GetHeaders { from: start, max };
        let bytes = u64::from(max).saturating_mul(HEADER_BYTES as u64);
        let purpose = Purpose::Headers { start, max };
        let Some(id) = self.ask(now, peer, (request, purpose), bytes, actions) else { return };
        if let Some(slot) = self.window.slots.get_mut(&start) {
            slot.asked.insert(id);
            if !hedge {
                slot.asked_at = now;
            }
        }
    }

    /// Everybody who has a range was tried: again, after a while (R14).
    fn range_is_nowhere(&mut self, now: Moment, start: u64, head: bool) {
        let Some(slot) = self.window.slots.get_mut(&start) else { return };
        slot.tried.clear();
        slot.attempts = slot.attempts.saturating_add(1);
        let attempts = slot.attempts;
        self.window.head_missing |= head;
        let wait = self.backoff_ms(attempts);
        if let Some(slot) = self.window.slots.get_mut(&start) {
            slot.retry_at = now.after(wait);
        }
    }

    pub(crate) fn on_headers(
        &mut self,
        peer: NodeId,
        (start, max): (u64, u32),
        headers: Vec<Header>,
        certificate: Certificate,
        actions: &mut Vec<Action>,
    ) {
        let in_order = headers.iter().zip(start..).all(|(header, height)| header.height == height);
        let fits = !headers.is_empty() && headers.len() as u64 <= u64::from(max);
        if !fits || !in_order || headers.last().map(|last| last.height) != Some(certificate.height)
        {
            self.window.tried(start, peer);
            return self.penalise(peer, Offence::BadRange, actions);
        }
        // Gone, if the head has moved past it in the meantime.
        if let Some(slot) = self.window.slots.get_mut(&start)
            && slot.buffered.is_none()
            && !slot.verifying
        {
            slot.buffered = Some(Buffered { source: peer, headers, certificate });
        }
    }

    /// A pushed commit that proved itself and is the next: a range of one, if none has come.
    pub(crate) fn pushed_range(&mut self, peer: NodeId, commit: Certified) {
        if commit.header.follows(&self.verified).is_err() {
            return;
        }
        let height = commit.header.height;
        let slot = self.window.slots.entry(height).or_default();
        slot.last = block_end(height);
        if slot.buffered.is_none() && !slot.verifying {
            let Certified { header, certificate } = commit;
            slot.buffered = Some(Buffered { source: peer, headers: vec![header], certificate });
        }
    }

    /// Has the range at the head checked, if it is here.
    fn verify_head(&mut self, actions: &mut Vec<Action>) {
        if !self.room_for_jobs() {
            return;
        }
        let start = self.verified.height.saturating_add(1);
        let Some(slot) = self.window.slots.get_mut(&start) else { return };
        let Some(Buffered { source, headers, certificate }) = slot.buffered.take() else { return };
        slot.verifying = true;
        let (trust, from) = (self.trust.clone(), self.verified);
        let job = Job::Range { trust, from, headers, certificate };
        self.verify(Waiting::Range(source), job, actions);
    }

    pub(crate) fn on_range_checked(
        &mut self,
        now: Moment,
        peer: NodeId,
        headers: Vec<Header>,
        certificate: Certificate,
        range: Result<(Vec<Tip>, Trust), RangeError>,
        actions: &mut Vec<Action>,
    ) {
        let start = headers.first().map_or(0, |header| header.height);
        if start != self.verified.height.saturating_add(1) {
            return;
        }
        let (tips, trust) = match range {
            Ok(proven) => proven,
            Err(error) => return self.on_range_false(peer, start, error, actions),
        };
        if let Some((ours, theirs)) =
            tips.iter().find_map(|tip| self.forks(tip).map(|theirs| (*tip, theirs)))
        {
            return self.halt(Halt::Fork { ours, theirs }, actions);
        }
        let bytes = (headers.len() * HEADER_BYTES) as u64;
        actions.push(Action::Credit { peer, bytes });
        let epoch_ended = trust != self.trust;
        self.trust = trust;
        // Who has shown what is newer than it had said is asked for the bodies: else nobody is known
        // to have them until the next status.
        if let Some(source) = self.sources.get_mut(&peer)
            && let Some(claim) = &mut source.claim
        {
            claim.height = claim.height.max(certificate.height);
        }
        self.certificates.insert(certificate.height, certificate);
        for (header, tip) in headers.into_iter().zip(tips) {
            self.verified = tip;
            self.remember(tip);
            self.states.insert(tip.height.saturating_sub(1), header.facts.state_before);
            self.ahead.insert(tip.height, Ahead { header, tip });
        }
        self.states = self.states.split_off(&self.applied);
        self.target.verified_to(self.verified.height, epoch_ended);
        self.window.head_missing = false;
        self.window.head_false = false;
        let below: Vec<u64> =
            self.window.slots.range(..=self.verified.height).map(|(start, _)| *start).collect();
        below.into_iter().for_each(|start| self.drop_slot(now, start, actions));
        self.check_state(actions);
    }

    /// The range is false, and the one who sent it is charged: not who sent the next (B6).
    fn on_range_false(
        &mut self,
        peer: NodeId,
        start: u64,
        error: RangeError,
        actions: &mut Vec<Action>,
    ) {
        self.window.head_false = true;
        if let Some(slot) = self.window.slots.get_mut(&start) {
            slot.verifying = false;
            slot.tried.insert(peer);
        }
        // A scheme that this build cannot check is no lie of the peer.
        if !matches!(error, RangeError::Certificate(CertificateError::Reserved(_))) {
            self.penalise(peer, Offence::BadRange, actions);
        }
    }

    fn drop_slot(&mut self, now: Moment, start: u64, actions: &mut Vec<Action>) {
        let Some(slot) = self.window.slots.remove(&start) else { return };
        for id in slot.asked {
            self.end_request(now, id, Ending::Cancelled, actions);
        }
    }
}
