//! The server: what to answer, when to say busy; every answer is bounded and charged to who asked.
//!
//! Reading the store is a job that the core gives out, so that nothing here waits. What is not served
//! is refused before anything is read.

use std::collections::BTreeMap;

use crate::certificate::Certificate;
use crate::header::Header;
use crate::message::{Answer, BodyId, Failure, Outcome, PART_BYTES_MAX, Part, Request, Submission};
use crate::moment::{Bucket, Moment};
use crate::node_id::NodeId;
use crate::snapshot::Manifest;
use crate::status::Certified;
use crate::sync::event::Offence;

/// Requests of one peer that are answered at once.
pub const OPEN_PER_PEER_MAX: usize = 16;
/// Requests of all peers that are answered at once.
pub const OPEN_MAX: usize = 256;
/// Peers that are known at once.
pub const CLIENTS_MAX: usize = 256;
/// Bytes of bodies that one answer carries, beyond its first body.
pub const ANSWER_BYTES_MAX: u64 = 2 << 20;
/// Bytes that a peer gets in a second, and at once.
const BYTES_PER_SECOND: u64 = 16 << 20;
/// When to ask again, in milliseconds.
const BUSY_MS: u32 = 250;

/// The number of a read or submission that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What this node can serve: moved before anything is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// The last commit with a certificate.
    pub tip: u64,
    /// The first height whose body is here.
    pub lowest_body: u64,
    /// The first height whose header is here.
    pub lowest_header: u64,
    /// The newest snapshot; 0 for none.
    pub latest_snapshot: u64,
}

/// What is to be read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Headers from a height on, up to the last certified one within so many.
    Headers {
        /// The first height.
        from: u64,
        /// The last height that may be answered.
        to: u64,
    },
    /// Bodies, each if header and digest agree; the first, and more up to so many bytes.
    Bodies {
        /// Which.
        bodies: Vec<BodyId>,
        /// Bytes after which no further body is begun.
        bytes_max: u64,
    },
    /// A header with a certificate of its own.
    Commit(u64),
    /// The manifest of the newest snapshot at or below a height.
    Manifest(u64),
    /// A chunk of a snapshot.
    Chunk {
        /// Height of the snapshot.
        height: u64,
        /// Number of the chunk.
        index: u32,
    },
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Headers and the certificate of the last.
    Headers(Vec<Header>, Certificate),
    /// Bodies in the order of the request, `None` for what is not here; what would be too much is left
    /// off at the end.
    Bodies(Vec<Option<Vec<u8>>>),
    /// A certified header.
    Commit(Certified),
    /// A manifest.
    Manifest(Manifest),
    /// A chunk.
    Chunk(Vec<u8>),
    /// It is not here.
    Missing,
}

/// What the server is told.
#[allow(clippy::large_enum_variant, reason = "made, passed on once and dropped")]
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// What can be served changed.
    Available(Available),
    /// A peer asks.
    Request {
        /// Who.
        peer: NodeId,
        /// The number of its request.
        id: u64,
        /// What.
        request: Request,
    },
    /// A peer needs no answer any more.
    Cancel {
        /// Who.
        peer: NodeId,
        /// The number of its request.
        id: u64,
    },
    /// A read is done.
    Loaded(Ticket, Loaded),
    /// A submitted input has an outcome, or cannot be taken now.
    Submitted(Ticket, Result<Outcome, Failure>),
    /// The connection is gone.
    PeerLeft(NodeId),
    /// The node is stopping: nothing more is served.
    Stop,
}

/// What the server wants done.
#[allow(clippy::large_enum_variant, reason = "made, passed on once and dropped")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// Read, and report with [`ServerEvent::Loaded`].
    Read(Ticket, Read),
    /// Hand an input of a peer to the sequencer, or pass it on, and report with
    /// [`ServerEvent::Submitted`].
    Submit(Ticket, NodeId, Submission),
    /// Send a piece of an answer.
    Answer {
        /// To whom.
        peer: NodeId,
        /// To which of its requests.
        id: u64,
        /// The piece.
        answer: Answer,
        /// No more follow.
        last: bool,
    },
    /// A peer did wrong.
    Penalise {
        /// Who.
        peer: NodeId,
        /// What.
        offence: Offence,
    },
}

#[derive(Debug)]
struct Client {
    open: usize,
    bytes: Bucket,
    snapshots: Bucket,
    inputs: Bucket,
    refused: Bucket,
}

/// Requests that were refused because their peer had asked for too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// Of any kind: open requests or bytes.
    pub requests: u64,
    /// Manifests of snapshots.
    pub snapshots: u64,
    /// Inputs.
    pub inputs: u64,
}

/// The server of one node.
#[derive(Debug, Default)]
pub struct Server {
    available: Available,
    clients: BTreeMap<NodeId, Client>,
    open: BTreeMap<Ticket, (NodeId, u64)>,
    tickets: u64,
    stopped: bool,
    limited: Limited,
}

impl Server {
    /// Takes note of an event and appends what is to be done about it.
    pub fn on_event(&mut self, now: Moment, event: ServerEvent, actions: &mut Vec<ServerAction>) {
        match event {
            ServerEvent::Available(available) => self.available = available,
            ServerEvent::Request { peer, id, request } => {
                if let Err(failure) = self.admit(now, peer, id, request, actions) {
                    self.on_refused(now, peer, failure, actions);
                    actions.push(last(peer, id, Answer::Failed(failure)));
                }
            }
            ServerEvent::Cancel { peer, id } => {
                let ticket = self.open.iter().find(|(_, open)| **open == (peer, id));
                if let Some(ticket) = ticket.map(|(ticket, _)| *ticket) {
                    self.close(ticket);
                }
            }
            ServerEvent::Loaded(ticket, loaded) => {
                if let Some((peer, id)) = self.close(ticket) {
                    let bytes = answer(peer, id, loaded, actions);
                    if let Some(client) = self.clients.get_mut(&peer) {
                        client.bytes.spend(now, bytes);
                    }
                }
            }
            ServerEvent::Submitted(ticket, outcome) => {
                if let Some((peer, id)) = self.close(ticket) {
                    let answer = outcome.map_or_else(Answer::Failed, Answer::Outcome);
                    actions.push(last(peer, id, answer));
                }
            }
            ServerEvent::PeerLeft(peer) => {
                self.clients.remove(&peer);
                self.open.retain(|_, (open, _)| *open != peer);
            }
            ServerEvent::Stop => self.stopped = true,
        }
    }

    /// Returns the requests that are being answered, and the peers that are known (V7).
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.open.len(), self.clients.len())
    }

    /// Returns what was refused because a peer had asked for too much.
    #[must_use]
    pub fn limited(&self) -> Limited {
        self.limited
    }

    fn admit(
        &mut self,
        now: Moment,
        peer: NodeId,
        id: u64,
        request: Request,
        actions: &mut Vec<ServerAction>,
    ) -> Result<(), Failure> {
        if self.stopped {
            return Err(Failure::Shutdown);
        }
        if self.open.len() >= OPEN_MAX
            || (self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&peer))
        {
            return Err(Failure::Busy(BUSY_MS));
        }
        let client = self.clients.entry(peer).or_insert_with(|| Client {
            open: 0,
            bytes: Bucket::new(BYTES_PER_SECOND, BYTES_PER_SECOND, now),
            snapshots: Bucket::new(1, 4, now),
            inputs: Bucket::new(50, 200, now),
            refused: Bucket::new(64, 512, now),
        });
        if client.open >= OPEN_PER_PEER_MAX || !client.bytes.take(now, 1) {
            self.limited.requests += 1;
            return Err(Failure::Busy(BUSY_MS));
        }
        let read = match request {
            Request::SubmitInput(submission) => {
                if !client.inputs.take(now, 1) {
                    self.limited.inputs += 1;
                    return Err(Failure::Busy(BUSY_MS));
                }
                let ticket = self.open(peer, id);
                actions.push(ServerAction::Submit(ticket, peer, submission));
                return Ok(());
            }
            // Answered by the peers core, before the server sees it.
            Request::GetPeers => return Err(Failure::BadRequest),
            Request::GetSnapshot(at_most) => {
                if !client.snapshots.take(now, 1) {
                    self.limited.snapshots += 1;
                    return Err(Failure::Busy(4 * BUSY_MS));
                }
                Read::Manifest(at_most)
            }
            Request::GetHeaders { from, max } => {
                let to = from.saturating_add(u64::from(max)).saturating_sub(1);
                Read::Headers { from, to: to.min(self.available.tip) }
            }
            Request::GetBodies(bodies) => Read::Bodies { bodies, bytes_max: ANSWER_BYTES_MAX },
            Request::GetCommit(height) => Read::Commit(height),
            Request::GetChunk { height, index } => Read::Chunk { height, index },
        };
        if !self.serves(&read) {
            return Err(Failure::NotHere);
        }
        let ticket = self.open(peer, id);
        actions.push(ServerAction::Read(ticket, read));
        Ok(())
    }

    /// Whether it can be here at all.
    fn serves(&self, read: &Read) -> bool {
        let Available { tip, lowest_body, lowest_header, latest_snapshot } = self.available;
        match read {
            Read::Headers { from, to } => *from >= lowest_header.max(1) && from <= to,
            Read::Bodies { bodies, .. } => {
                bodies.iter().any(|body| lowest_body <= body.height && body.height <= tip)
            }
            Read::Commit(height) => lowest_header <= *height && *height <= tip,
            Read::Manifest(_) | Read::Chunk { .. } => latest_snapshot > 0,
        }
    }

    /// Who goes on asking while refused has to pay for it: eight refusals for each answer it may have.
    fn on_refused(
        &mut self,
        now: Moment,
        peer: NodeId,
        failure: Failure,
        actions: &mut Vec<ServerAction>,
    ) {
        if !matches!(failure, Failure::Busy(_)) {
            return;
        }
        if let Some(client) = self.clients.get_mut(&peer)
            && !client.refused.take(now, 1)
        {
            actions.push(ServerAction::Penalise { peer, offence: Offence::Flood });
        }
    }

    fn open(&mut self, peer: NodeId, id: u64) -> Ticket {
        self.tickets = self.tickets.saturating_add(1);
        let ticket = Ticket(self.tickets);
        self.open.insert(ticket, (peer, id));
        if let Some(client) = self.clients.get_mut(&peer) {
            client.open += 1;
        }
        ticket
    }

    fn close(&mut self, ticket: Ticket) -> Option<(NodeId, u64)> {
        let (peer, id) = self.open.remove(&ticket)?;
        if let Some(client) = self.clients.get_mut(&peer) {
            client.open = client.open.saturating_sub(1);
        }
        Some((peer, id))
    }
}

fn last(peer: NodeId, id: u64, answer: Answer) -> ServerAction {
    ServerAction::Answer { peer, id, answer, last: true }
}

/// Appends the pieces of an answer and returns about how many bytes they have.
fn answer(peer: NodeId, id: u64, loaded: Loaded, actions: &mut Vec<ServerAction>) -> u64 {
    let (pieces, bytes) = match loaded {
        Loaded::Headers(headers, certificate) => {
            let bytes = (headers.len() * crate::header::HEADER_BYTES) as u64;
            (vec![Answer::Headers { headers, certificate }], bytes)
        }
        Loaded::Commit(commit) => (vec![Answer::Commit(commit)], 512),
        Loaded::Manifest(manifest) => {
            let bytes = (manifest.contents.chunks.len() * 32) as u64;
            (vec![Answer::Manifest(manifest)], bytes)
        }
        Loaded::Chunk(chunk) => (parts(0, &chunk).map(Answer::Chunk).collect(), chunk.len() as u64),
        Loaded::Bodies(bodies) => {
            let bytes = bodies.iter().flatten().map(|body| body.len() as u64).sum();
            let pieces = bodies.iter().zip(0_u32..).flat_map(|(body, index)| match body {
                Some(body) => parts(index, body).map(Answer::Body).collect(),
                None => vec![Answer::NoBody(index)],
            });
            (pieces.collect(), bytes)
        }
        Loaded::Missing => (vec![Answer::Failed(Failure::NotHere)], 0),
    };
    let count = pieces.len();
    for (piece, nth) in pieces.into_iter().zip(1..) {
        actions.push(ServerAction::Answer { peer, id, answer: piece, last: nth == count });
    }
    if count == 0 {
        actions.push(last(peer, id, Answer::Failed(Failure::NotHere)));
    }
    bytes
}

/// Cuts bytes into parts; no bytes make one empty part.
fn parts(index: u32, bytes: &[u8]) -> impl Iterator<Item = Part> {
    let count = bytes.len().div_ceil(PART_BYTES_MAX).max(1);
    (0..count).map(move |nth| {
        let start = nth * PART_BYTES_MAX;
        let end = bytes.len().min(start + PART_BYTES_MAX);
        let bytes = bytes.get(start..end).unwrap_or_default().to_vec();
        Part { index, offset: u32::try_from(start).unwrap_or(u32::MAX), bytes }
    })
}
