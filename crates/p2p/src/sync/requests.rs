//! Requests under way: each ends exactly once, whatever happens.

use std::collections::BTreeMap;

use crate::message::{Answer, Failure, Part, Request};
use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::sync::bodies::Fetch;
use crate::sync::event::{Action, Ending, Offence, RequestId};
use crate::sync::{OPEN_PER_PEER_MAX, SyncCore};

/// Requests under way to all peers.
pub(crate) const OPEN_MAX: usize = 256;
/// The least and the most that a peer gets for an answer, in milliseconds, beside its length.
const DEADLINE_MS: (u64, u64) = (1_000, 10_000);
/// The slowest peer that is waited for, in bytes per millisecond.
const BYTES_PER_MS: u64 = 64;

/// What a request is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// The range that begins at this height, of so many headers at most.
    Headers { start: u64, max: u32 },
    /// Bodies.
    Bodies(Fetch),
    /// The manifest of a snapshot.
    Manifest,
    /// The manifest of a height of which this node has a snapshot of its own.
    Attest,
    /// A chunk of a snapshot.
    Chunk { index: u32, len: u32, bytes: Vec<u8> },
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) peer: NodeId,
    pub(crate) sent: Moment,
    deadline: Moment,
    pub(crate) purpose: Purpose,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: BTreeMap<RequestId, Open>,
    opened: u64,
    ended: u64,
}

impl Requests {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= OPEN_MAX
    }

    pub(crate) fn get(&self, id: RequestId) -> Option<&Open> {
        self.open.get(&id)
    }

    pub(crate) fn of_peer(&self, peer: &NodeId) -> Vec<RequestId> {
        self.open.iter().filter(|(_, open)| open.peer == *peer).map(|(id, _)| *id).collect()
    }

    pub(crate) fn expired(&self, now: Moment) -> Vec<RequestId> {
        self.open.iter().filter(|(_, open)| open.deadline <= now).map(|(id, _)| *id).collect()
    }

    pub(crate) fn all(&self) -> Vec<RequestId> {
        self.open.keys().copied().collect()
    }
}

impl SyncCore {
    /// Asks a peer for something of about so many bytes. `None` if too much is open already.
    pub(crate) fn ask(
        &mut self,
        now: Moment,
        peer: NodeId,
        (request, purpose): (Request, Purpose),
        bytes: u64,
        actions: &mut Vec<Action>,
    ) -> Option<RequestId> {
        let source = self.sources.get_mut(&peer)?;
        if self.requests.is_full() || source.open >= OPEN_PER_PEER_MAX {
            return None;
        }
        source.open += 1;
        let latency = source.latency_ms.saturating_mul(2).saturating_add(1_000);
        let wait = latency.clamp(DEADLINE_MS.0, DEADLINE_MS.1).saturating_add(bytes / BYTES_PER_MS);
        self.requests.opened = self.requests.opened.saturating_add(1);
        let id = RequestId(self.requests.opened);
        let open = Open { peer, sent: now, deadline: now.after(wait), purpose };
        self.requests.open.insert(id, open);
        actions.push(Action::Request { peer, id, request });
        Some(id)
    }

    /// Ends a request: the only place where one ends.
    pub(crate) fn end_request(
        &mut self,
        now: Moment,
        id: RequestId,
        ending: Ending,
        actions: &mut Vec<Action>,
    ) {
        if ending == Ending::Expired {
            self.blame(id);
        }
        let Some(open) = self.requests.open.remove(&id) else { return };
        self.requests.ended = self.requests.ended.saturating_add(1);
        let took_ms = now.since(open.sent);
        let peer = open.peer;
        if let Some(source) = self.sources.get_mut(&peer) {
            source.open = source.open.saturating_sub(1);
            if ending == Ending::Expired {
                source.failed();
            }
        }
        if matches!(ending, Ending::Expired | Ending::Cancelled) {
            actions.push(Action::Cancel { peer, id });
        }
        actions.push(Action::Ended { peer, id, ending, took_ms });
        match open.purpose {
            Purpose::Headers { start, .. } => self.window.ended(start, id),
            Purpose::Bodies(fetch) => self.on_fetch_ended(id, peer, fetch, actions),
            Purpose::Manifest => self.on_manifest_ended(id),
            Purpose::Attest => self.attest_again(),
            Purpose::Chunk { index, len, bytes } => {
                self.on_chunk_ended(peer, index, len, bytes, actions);
            }
        }
    }

    /// Notes that the peer of a request did not deliver: what is missing is asked of others first.
    pub(crate) fn blame(&mut self, id: RequestId) {
        let Some(open) = self.requests.open.get(&id) else { return };
        match &open.purpose {
            Purpose::Headers { start, .. } => self.window.tried(*start, open.peer),
            Purpose::Bodies(fetch) => self.bodies.tried(fetch.missing(), open.peer),
            // Who was asked is not asked again before the others were.
            Purpose::Attest => {}
            Purpose::Manifest | Purpose::Chunk { .. } => {
                if let Some(join) = &mut self.join {
                    join.failed(open.peer);
                }
            }
        }
    }

    pub(crate) fn on_answer(
        &mut self,
        now: Moment,
        peer: NodeId,
        id: RequestId,
        answer: Answer,
        last: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(open) = self.requests.open.get_mut(&id).filter(|open| open.peer == peer) else {
            // An answer may cross with a cancel; one to what was never asked is an offence.
            if id.0 == 0 || id.0 > self.requests.opened {
                self.penalise(peer, Offence::Unsolicited, actions);
            }
            return;
        };
        let took_ms = now.since(open.sent);
        match (&mut open.purpose, answer) {
            (_, Answer::Failed(failure)) => self.on_failure(now, peer, id, failure, actions),
            (Purpose::Headers { start, max }, Answer::Headers { headers, certificate }) => {
                let (start, max) = (*start, *max);
                self.end_request(now, id, Ending::Answered, actions);
                self.answered(peer, took_ms);
                self.on_headers(peer, (start, max), headers, certificate, actions);
            }
            (Purpose::Bodies(fetch), Answer::Body(part)) => {
                let taken = fetch.take(&part);
                self.on_body_part(now, id, taken, last, actions);
            }
            (Purpose::Bodies(fetch), Answer::NoBody(index)) => {
                let taken = fetch.skip(index);
                self.on_broken_promise(peer, actions);
                self.on_body_part(now, id, taken, last, actions);
            }
            (Purpose::Manifest, Answer::Manifest(manifest)) => {
                self.end_request(now, id, Ending::Answered, actions);
                self.on_manifest(peer, manifest, actions);
            }
            (Purpose::Attest, Answer::Manifest(manifest)) => {
                self.end_request(now, id, Ending::Answered, actions);
                self.on_attest_manifest(peer, manifest, actions);
            }
            (Purpose::Chunk { len, bytes, .. }, Answer::Chunk(part)) => {
                let taken = take_chunk(*len, bytes, &part);
                if !taken || last {
                    if !taken || bytes.len() as u64 != u64::from(*len) {
                        self.penalise(peer, Offence::BadChunk, actions);
                        self.blame(id);
                    }
                    self.end_request(now, id, Ending::Answered, actions);
                    self.answered(peer, took_ms);
                }
            }
            (_, _) => {
                self.penalise(peer, Offence::Unsolicited, actions);
                self.blame(id);
                self.end_request(now, id, Ending::Answered, actions);
            }
        }
    }

    /// Something of a fetch arrived, or something that fits nowhere.
    fn on_body_part(
        &mut self,
        now: Moment,
        id: RequestId,
        taken: Result<(), ()>,
        last: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(open) = self.requests.get(id) else { return };
        let (peer, took_ms) = (open.peer, now.since(open.sent));
        let Purpose::Bodies(fetch) = &open.purpose else { return };
        if taken.is_err() || (last && fetch.is_cut()) {
            self.penalise(peer, Offence::BadBody, actions);
            self.blame(id);
            self.end_request(now, id, Ending::Answered, actions);
        } else if last {
            if fetch.delivered() == 0 {
                // Nothing of what it says it has.
                self.on_broken_promise(peer, actions);
                self.blame(id);
            } else {
                self.answered(peer, took_ms);
            }
            self.end_request(now, id, Ending::Answered, actions);
        }
    }

    fn on_failure(
        &mut self,
        now: Moment,
        peer: NodeId,
        id: RequestId,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) {
        match failure {
            Failure::Busy(ms) => {
                if let Some(source) = self.sources.get_mut(&peer) {
                    source.rest(now, ms);
                }
            }
            Failure::NotHere => {
                // Snapshots come and go; who offers one promises nothing.
                let open = self.requests.get(id).map(|open| &open.purpose);
                if matches!(open, Some(Purpose::Headers { .. } | Purpose::Bodies(_))) {
                    self.on_broken_promise(peer, actions);
                }
                self.blame(id);
            }
            Failure::TooLarge | Failure::BadRequest | Failure::Unknown => self.blame(id),
            Failure::WrongChain | Failure::Banned(_) | Failure::Shutdown => {
                if let Some(source) = self.sources.get_mut(&peer) {
                    source.shunned = true;
                }
                self.blame(id);
            }
        }
        self.end_request(now, id, Ending::Answered, actions);
    }

    /// A peer has not what it said it has: it is charged once, and asked for nothing before it says
    /// anew what it has. An honest peer that has just moved to a snapshot does this once.
    fn on_broken_promise(&mut self, peer: NodeId, actions: &mut Vec<Action>) {
        let claim = self.sources.get_mut(&peer).and_then(|source| source.claim.take());
        if claim.is_some() {
            self.penalise(peer, Offence::Promised, actions);
        }
    }

    fn answered(&mut self, peer: NodeId, took_ms: u64) {
        if let Some(source) = self.sources.get_mut(&peer) {
            source.answered_in(took_ms);
        }
    }

    /// Returns after how many milliseconds a second peer is asked for what the first has not given:
    /// measured by the fastest peer, or a slow one would set the pace at which it is given up.
    pub(crate) fn hedge_after_ms(&self) -> u64 {
        self.sources.best_latency_ms().saturating_mul(3).saturating_add(300)
    }
}

fn take_chunk(len: u32, bytes: &mut Vec<u8>, part: &Part) -> bool {
    let fits = bytes.len().saturating_add(part.bytes.len()) as u64 <= u64::from(len);
    let next = part.index == 0 && u64::from(part.offset) == bytes.len() as u64;
    if fits && next {
        bytes.extend_from_slice(&part.bytes);
    }
    fits && next && !part.bytes.is_empty()
}
