//! Connections: what the policy wants done with them, and how their tasks end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proctor_p2p::message::Answer;
use proctor_p2p::peers::PeersAction;
use proctor_p2p::peers::PeersEvent;
use proctor_p2p::peers::address::Endpoint;
use proctor_p2p::peers::policy::{Bye, ConnAction, ConnEvent, ConnId, Direction, Ended};
use proctor_p2p::peers::score::ScoreAction;
use proctor_p2p::status::Roles;
use proctor_p2p::{NodeId, Request, SignedStatus};
use proctor_transport::HandshakeError;
use proctor_types::Digest;
use tokio::task::AbortHandle;

use super::Node;
use crate::frame::Frame;
use crate::link::{Reader, Secure, Traffic, Writer, secure};
use crate::net::Socket;
use crate::outbox::{Full, Outbox};
use crate::tasks::{Done, Name};

/// After a failure to accept (no file descriptors), how long none is accepted, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 100;

/// A connection in any state.
pub(crate) struct Conn {
    /// Who it is; of one that is dialled, who it must be.
    pub(super) peer: Option<NodeId>,
    pub(super) address: String,
    stage: Stage,
    tasks: Vec<AbortHandle>,
}

enum Stage {
    /// Nothing was said yet.
    Quiet(Socket),
    /// A task dials or shakes hands.
    Busy,
    /// The secure stream is up.
    Open(Box<Link>),
}

/// A secure stream with its tasks.
pub(super) struct Link {
    pub(super) outbox: Arc<Outbox>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) binding: Digest,
    /// What the hello said, once it was there.
    pub(super) hello: Option<(Roles, SignedStatus)>,
    /// The number of the request for peers that is to be answered.
    pub(super) asked: Option<u64>,
}

impl Conn {
    fn new(peer: Option<NodeId>, address: String, stage: Stage) -> Self {
        Self { peer, address, stage, tasks: Vec::new() }
    }

    pub(super) fn link(&self) -> Option<&Link> {
        match &self.stage {
            Stage::Open(link) => Some(link),
            Stage::Quiet(_) | Stage::Busy => None,
        }
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.stage {
            Stage::Open(link) => Some(link),
            Stage::Quiet(_) | Stage::Busy => None,
        }
    }
}

impl Node {
    pub(super) fn on_accepted(&mut self, accepted: io::Result<(Socket, SocketAddr)>) {
        match accepted {
            Ok((socket, from)) => {
                let number = self.accepted;
                self.accepted += 1;
                self.counters.accepted += 1;
                let conn = ConnId { direction: Direction::Inbound, number };
                self.conns.insert(conn, Conn::new(None, from.to_string(), Stage::Quiet(socket)));
                let ip = from.ip().to_canonical();
                self.tell_policy(ConnEvent::Accepted { number, ip });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                self.sources.accept_after = self.now.after(ACCEPT_PAUSE_MS);
            }
        }
    }

    pub(super) fn on_peers_action(&mut self, action: PeersAction) {
        match action {
            PeersAction::Conn(action) => self.on_conn_action(action),
            PeersAction::Ask { conn } => {
                let link = self.conns.get(&conn).and_then(Conn::link).is_some();
                if let Some(peer) = self.peers.policy().peer_of(conn).filter(|_| link) {
                    self.ask_for_peers(conn, peer);
                }
            }
            PeersAction::Tell { conn, records } => {
                let link = self.conns.get_mut(&conn).and_then(Conn::link_mut);
                if let Some(id) = link.and_then(|link| link.asked.take()) {
                    let answer = Answer::Peers(records);
                    self.send(conn, &Frame::Answer { id, answer, last: true });
                }
            }
            PeersAction::Verify(record) => self.check_record(record),
            PeersAction::SignOwn => self.sign_own(),
            PeersAction::Scored(scored) => {
                tracing::info!(?scored, "a peer is shut out");
                self.keep.bans_due = true;
                self.counters.bans += u64::from(matches!(scored, ScoreAction::Ban { .. }));
                if let ScoreAction::SyncOff { peer, ms } = scored {
                    self.ask_no_more(peer, ms);
                }
            }
            PeersAction::StoreBook => self.keep.book_due = true,
        }
    }

    fn on_conn_action(&mut self, action: ConnAction) {
        match action {
            ConnAction::Refuse { conn, why } => {
                tracing::debug!(?conn, ?why, "a connection was refused");
                self.counters.refused += 1;
                self.drop_conn(conn);
            }
            ConnAction::Secure { conn } => self.secure(conn),
            ConnAction::Dial { conn, peer, endpoint } => self.dial(conn, peer, endpoint),
            ConnAction::Hello { conn } => {
                let status = self.next_status();
                if let Some(link) = self.conns.get(&conn).and_then(Conn::link)
                    && link.outbox.hello(status) == Err(Full)
                {
                    self.cut(conn);
                }
            }
            ConnAction::Ping { conn, nonce } => self.send(conn, &Frame::Ping(nonce)),
            ConnAction::Close { conn, why } => self.close(conn, why),
            ConnAction::Abort { conn } => {
                self.drop_conn(conn);
            }
            ConnAction::Up { peer, conn, .. } | ConnAction::Moved { peer, conn, .. } => {
                self.on_up(peer, conn);
            }
            ConnAction::Down { peer } => self.on_down(peer),
            ConnAction::DialFailed { peer } => tracing::debug!(%peer, "a dial failed"),
            ConnAction::OtherChain { peer } => {
                tracing::warn!(%peer, "the peer belongs to another chain");
            }
        }
    }

    fn dial(&mut self, id: ConnId, peer: NodeId, endpoint: Endpoint) {
        if self.is_stopping() {
            return self.tell_policy(ConnEvent::Ended { conn: id, how: Ended::Unreachable });
        }
        self.counters.dials += 1;
        let address = match &endpoint {
            Endpoint::Ip(address) => address.to_string(),
            Endpoint::Name { host, port } => format!("{host}:{port}"),
        };
        let dial = self.net.dial(endpoint);
        let task = self.sources.tasks.spawn(Name::Dial(id), async { Done::Dialled(dial.await) });
        let mut conn = Conn::new(Some(peer), address, Stage::Busy);
        conn.tasks.push(task);
        self.conns.insert(id, conn);
    }

    pub(super) fn on_dialled(&mut self, id: ConnId, dialled: io::Result<Socket>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match dialled {
            Ok(socket) => {
                conn.stage = Stage::Quiet(socket);
                self.tell_policy(ConnEvent::Connected { conn: id });
            }
            Err(error) => {
                tracing::debug!(address = conn.address, %error, "a dial failed");
                self.counters.handshakes_failed += 1;
                self.end_conn(id, Ended::Unreachable);
            }
        }
    }

    fn secure(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Quiet(socket) = std::mem::replace(&mut conn.stage, Stage::Busy) else { return };
        // Who comes in is whoever it proves to be; who was dialled has to be the one.
        let expected = conn.peer.filter(|_| id.direction == Direction::Outbound);
        let work = secure(socket, self.me.clone(), expected);
        let task = self.sources.tasks.spawn(Name::Secure(id), async { Done::Secured(work.await) });
        conn.tasks.push(task);
    }

    pub(super) fn on_secured(&mut self, id: ConnId, secured: Result<Box<Secure>, HandshakeError>) {
        if !self.conns.contains_key(&id) {
            return;
        }
        match secured {
            Ok(secure) => {
                self.counters.handshakes += 1;
                self.open(id, *secure);
            }
            Err(error) => {
                tracing::debug!(conn = ?id, %error, "a handshake failed");
                self.counters.handshakes_failed += 1;
                let how = if matches!(error, HandshakeError::SameIdentity) {
                    Ended::Bye(Bye::Myself)
                } else if matches!(error, HandshakeError::WrongPeer { .. }) {
                    Ended::Bye(Bye::WrongPeer)
                } else {
                    Ended::Broken
                };
                self.end_conn(id, how);
            }
        }
    }

    fn open(&mut self, id: ConnId, secure: Secure) {
        let Secure { peer, binding, stream, driver } = secure;
        let (read, write) = stream.into_split();
        let outbox = Arc::new(Outbox::new(Arc::clone(&self.sources.drained)));
        let (traffic, clock) = (Arc::<Traffic>::default(), self.clock);
        let reader = Reader {
            conn: id,
            peer,
            binding,
            chain: self.me.chain,
            clock,
            traffic: Arc::clone(&traffic),
            totals: Arc::clone(&self.totals),
            inbox: self.inbox.clone(),
        };
        let writer = Writer {
            me: self.me.clone(),
            binding,
            clock,
            traffic: Arc::clone(&traffic),
            totals: Arc::clone(&self.totals),
            outbox: Arc::clone(&outbox),
        };
        let tasks = &mut self.sources.tasks;
        let handles = [
            tasks.spawn(Name::Drive(id), async {
                driver.await;
                Done::Driven
            }),
            tasks.spawn(Name::Read(id), async {
                reader.run(read).await;
                Done::Read
            }),
            tasks.spawn(Name::Write(id), async {
                Done::Written { all: writer.run(write).await.is_some() }
            }),
        ];
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.peer = Some(peer);
            conn.tasks.extend(handles);
            let link = Link { outbox, traffic, binding, hello: None, asked: None };
            conn.stage = Stage::Open(Box::new(link));
        }
        self.tell_policy(ConnEvent::Secured { conn: id, peer });
    }

    fn close(&mut self, id: ConnId, why: Bye) {
        let Some(conn) = self.conns.get(&id) else { return };
        match conn.link() {
            // The other end closes when it has read the goodbye; the policy waits so long.
            Some(link) => link.outbox.close(why),
            None => self.end_conn(id, Ended::Broken),
        }
    }

    /// Sends a frame. A peer whose outbox is full does not read, and is cut.
    pub(super) fn send(&mut self, id: ConnId, frame: &Frame) {
        if let Some(link) = self.conns.get(&id).and_then(Conn::link)
            && link.outbox.send(frame) == Err(Full)
        {
            self.cut(id);
        }
    }

    fn cut(&mut self, id: ConnId) {
        self.counters.outbox_full += 1;
        self.end_conn(id, Ended::Broken);
    }

    /// Ends a connection at once and tells the policy, which is told once of each.
    pub(super) fn end_conn(&mut self, id: ConnId, how: Ended) {
        if self.drop_conn(id) {
            self.tell_policy(ConnEvent::Ended { conn: id, how });
        }
    }

    fn drop_conn(&mut self, id: ConnId) -> bool {
        let conn = self.conns.remove(&id);
        conn.iter().flat_map(|conn| &conn.tasks).for_each(AbortHandle::abort);
        conn.is_some()
    }

    fn ask_for_peers(&mut self, conn: ConnId, peer: NodeId) {
        let id = self.own.ask_for_peers(self.now, peer);
        self.send(conn, &Frame::Request { id, request: Request::GetPeers });
    }

    /// Refuses a request for peers that the peers core chose not to answer.
    pub(super) fn on_untold(&mut self, conn: ConnId, id: u64) {
        let link = self.conns.get_mut(&conn).and_then(Conn::link_mut);
        if link.is_some_and(|link| link.asked.take_if(|asked| *asked == id).is_some()) {
            self.counters.asked_too_often += 1;
            self.refuse(conn, id);
        }
    }

    /// Tells the peers core what one of its connections' peers did.
    pub(super) fn score(&mut self, event: proctor_p2p::peers::score::ScoreEvent) {
        self.tell_peers(PeersEvent::Score(event));
    }
}
