//! Frames: what a peer said, and to which core that belongs.

use proctor_p2p::message::Answer;
use proctor_p2p::peers::PeersEvent;
use proctor_p2p::peers::policy::{Bye, ConnEvent, ConnId, Ended};
use proctor_p2p::peers::score::{Fault, ScoreEvent};
use proctor_p2p::server::ServerEvent;
use proctor_p2p::status::HelloError;
use proctor_p2p::sync::{Event, RequestId};
use proctor_p2p::{Failure, Hello, NodeId, Push, Request};

use super::{Conn, Node, Todo, own};
use crate::clock::wall_ms;
use crate::frame::{Frame, ReadEnd};
use crate::link::Heard;

/// When somebody whose request for peers was refused may ask again, in milliseconds.
const ASK_AGAIN_MS: u32 = 30_000;

impl Node {
    pub(super) fn on_heard(&mut self, id: ConnId, heard: Heard) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some((peer, link)) = conn.peer.zip(conn.link_mut()) else { return };
        self.counters.frames_in += 1;
        let greeted = link.hello.is_some();
        match heard {
            Heard::End(ReadEnd::Io(_)) => self.end_conn(id, Ended::Broken),
            Heard::End(ReadEnd::Malformed(error)) => {
                tracing::debug!(%peer, %error, "the peer sent what is no frame");
                self.on_malformed(id, peer);
            }
            Heard::Hello(hello, checked) => {
                if greeted {
                    return self.on_malformed(id, peer);
                }
                self.on_hello(id, peer, *hello, checked);
            }
            Heard::Frame(Frame::Bye(why)) => self.end_conn(id, Ended::Bye(why)),
            Heard::Frame(_) if !greeted => self.on_malformed(id, peer),
            Heard::Frame(frame) => {
                self.tell_policy(ConnEvent::Heard { conn: id });
                self.on_greeted(id, peer, frame);
            }
        }
    }

    fn on_greeted(&mut self, id: ConnId, peer: NodeId, frame: Frame) {
        if let Frame::Ping(nonce) = frame {
            self.send(id, &Frame::Pong(nonce));
        } else if let Frame::Pong(nonce) = frame {
            self.tell_policy(ConnEvent::Pong { conn: id, nonce });
        } else if self.up.get(&peer).is_some_and(|up| up.conn == id) {
            self.on_frame(id, peer, frame);
        }
        // Else it arrived on a connection that another one has replaced: its requests have ended, here
        // and there.
    }

    fn on_hello(
        &mut self,
        id: ConnId,
        peer: NodeId,
        hello: Hello,
        checked: Result<(), HelloError>,
    ) {
        match checked {
            Ok(()) => {
                let instance = hello.instance;
                if let Some(link) = self.conns.get_mut(&id).and_then(Conn::link_mut) {
                    link.hello = Some((hello.roles, hello.status));
                }
                self.tell_policy(ConnEvent::HelloOk { conn: id, instance });
            }
            Err(HelloError::Protocol(_)) => {
                self.tell_policy(ConnEvent::HelloBad { conn: id, why: Bye::OldProto });
            }
            Err(HelloError::Chain(_)) => {
                self.tell_policy(ConnEvent::HelloBad { conn: id, why: Bye::WrongChain });
            }
            Err(HelloError::Node(_) | HelloError::Binding | HelloError::Status(_)) => {
                self.on_malformed(id, peer);
            }
        }
    }

    /// Ends a connection on which something was said that no node says.
    pub(super) fn on_malformed(&mut self, id: ConnId, peer: NodeId) {
        self.counters.malformed += 1;
        self.score(ScoreEvent::Fault { peer, fault: Fault::Malformed });
        self.end_conn(id, Ended::Broken);
    }

    fn on_frame(&mut self, conn: ConnId, peer: NodeId, frame: Frame) {
        match frame {
            Frame::Request { id, request: Request::GetPeers } => {
                if let Some(link) = self.conns.get_mut(&conn).and_then(Conn::link_mut) {
                    let before = link.asked.replace(id);
                    before.into_iter().for_each(|before| self.refuse(conn, before));
                }
                self.tell_peers(PeersEvent::Asked { peer });
                self.todo.push_back(Todo::Untold(conn, id));
            }
            Frame::Request { id, request } => {
                self.counters.served += 1;
                self.tell_server(Some(peer), ServerEvent::Request { peer, id, request });
            }
            Frame::UnknownRequest(id) => {
                let answer = Answer::Failed(Failure::BadRequest);
                self.send(conn, &Frame::Answer { id, answer, last: true });
            }
            Frame::Cancel(id) => self.tell_server(Some(peer), ServerEvent::Cancel { peer, id }),
            Frame::Answer { id, answer, .. } if id >= own::FIRST => {
                self.on_own_answer(peer, id, answer);
            }
            Frame::Answer { id, answer, last } => {
                let id = RequestId(id);
                self.tell_sync(Event::Answer { peer, id, answer, last });
            }
            Frame::Push(Push::Status(status)) => {
                self.claimed(&peer, status.status.height());
                if let Some(up) = self.up.get_mut(&peer) {
                    up.status = status.clone();
                }
                self.tell_sync(Event::Status { peer, status });
            }
            Frame::Push(Push::Commit { commit, body }) => {
                let is_orderer = self.core.trust().committee.keys().contains(&peer);
                if is_orderer && commit.header.height > self.core.marks().verified {
                    let now = i64::try_from(wall_ms()).unwrap_or(i64::MAX);
                    self.offset.came(now, commit.header.facts.time.0);
                }
                self.tell_sync(Event::Pushed { peer, commit, body });
            }
            // A newer version may say more; the others were met before.
            Frame::UnknownPush
            | Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Bye(_) => {}
        }
    }

    pub(super) fn refuse(&mut self, conn: ConnId, id: u64) {
        let answer = Answer::Failed(Failure::Busy(ASK_AGAIN_MS));
        self.send(conn, &Frame::Answer { id, answer, last: true });
    }
}
