//! Peers that lie, talk nonsense, or say nothing: cut or outlived, and nobody else is harmed.

use std::net::{Ipv4Addr, SocketAddr};

use proctor_network::frame::Frame;
use proctor_p2p::message::{Answer, Part};
use proctor_p2p::peers::policy::Bye;
use proctor_p2p::{Certified, Failure, NodeId, Request};
use proctor_transport::{Terms, handshake};
use proctor_types::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::chain::{CHAIN, identity};
use crate::node::TestNode;
use crate::stranger::{Stranger, tcp_from, up_to};

/// Strangers are hosts of their own: 127.0.1.`number`.
async fn tcp(number: u8, to: SocketAddr) -> TcpStream {
    tcp_from(Ipv4Addr::new(127, 0, 1, number), to).await
}

impl Stranger {
    /// Connects and proves to be the node of this number.
    pub(crate) async fn connect(number: u8, to: SocketAddr, expected: NodeId) -> Self {
        let host = Ipv4Addr::new(127, 0, 1, number);
        Self::connect_as(identity(number), CHAIN, host, (to, expected)).await
    }

    /// Waits to be dialled, and proves to be the node of this number.
    pub(crate) async fn accept(number: u8, listener: &TcpListener) -> Self {
        let identity = identity(number);
        let (mut io, _) = listener.accept().await.unwrap();
        let terms = Terms::of_network(CHAIN.0.0);
        let made = handshake::answer(&mut io, &identity, |_| true, terms, 5_000).await.unwrap();
        Self::secured(io, identity, CHAIN, made)
    }
}

/// A sequencer with some history, a follower that has all of it, and the sequencer's newest commit.
async fn pair(commits: u64) -> (TestNode, TestNode) {
    let sequencer = TestNode::start(1, commits, &[]).await;
    let follower = TestNode::start(2, 0, &[&sequencer]).await;
    follower.until_applied(commits).await;
    (sequencer, follower)
}

async fn still_follows(sequencer: &TestNode, follower: &TestNode) {
    let height = sequencer.chain.produce(b"still here".to_vec());
    follower.until_applied(height).await;
    assert_eq!(sequencer.chain.state(), follower.chain.state());
}

fn forged(chain: &crate::chain::MemoryChain) -> Certified {
    let mut commit = chain.certified(chain.height()).unwrap();
    commit.header.height += 1_000;
    commit.certificate.height += 1_000;
    commit.certificate.digest = commit.header.digest(&CHAIN);
    commit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_peer_with_a_forged_certificate_is_banned_and_harms_nobody() {
    let (sequencer, follower) = pair(20).await;
    let mut liar = Stranger::connect(50, follower.address(), follower.id).await;
    liar.greet(up_to(Some(forged(&sequencer.chain)))).await;
    let bye = liar.read_to_end().await;
    assert!(matches!(bye, Some(Frame::Bye(Bye::Banned { .. }))), "{bye:?}");
    let status = follower.until("a ban", |status| status.bans.len() == 1).await;
    assert_eq!(status.bans[0].peer, liar.id);
    assert!(status.marks.target <= 20, "a forged tip is never a target");
    // It comes back and is turned away after it has said who it is.
    let mut again = Stranger::connect(50, follower.address(), follower.id).await;
    let bye = again.read_to_end().await;
    assert!(matches!(bye, Some(Frame::Bye(Bye::Banned { .. }))), "{bye:?}");
    still_follows(&sequencer, &follower).await;
    follower.network.stop().await;
    sequencer.network.stop().await;
}

/// Serves a request of a follower that is behind, with bodies that are not what the headers say.
async fn serve_falsely(liar: &mut Stranger, truth: &TestNode) -> Option<Frame> {
    use proctor_network::Chain as _;
    use proctor_p2p::server::{Loaded, Read};
    loop {
        match liar.read().await? {
            Frame::Request { id, request: Request::GetHeaders { from, max } } => {
                let read = Read::Headers { from, to: from + u64::from(max) - 1 };
                let answer = match truth.chain.read(read) {
                    Loaded::Headers(headers, certificate) => {
                        Answer::Headers { headers, certificate }
                    }
                    _ => Answer::Failed(Failure::NotHere),
                };
                liar.send(&Frame::Answer { id, answer, last: true }).await;
            }
            Frame::Request { id, request: Request::GetBodies(bodies) } => {
                let last = bodies.len() as u32 - 1;
                for (index, body) in (0..).zip(bodies) {
                    let read = Read::Bodies { bodies: vec![body], bytes_max: 1 };
                    let Loaded::Bodies(mut found) = truth.chain.read(read) else { panic!() };
                    let mut bytes = found.remove(0).unwrap();
                    bytes[0] ^= 1;
                    let answer = Answer::Body(Part { index, offset: 0, bytes });
                    liar.send(&Frame::Answer { id, answer, last: index == last }).await;
                }
            }
            bye @ Frame::Bye(_) => return Some(bye),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_peer_that_serves_false_bodies_is_banned_and_the_true_ones_come_from_others() {
    let sequencer = TestNode::start(1, 40, &[]).await;
    let follower = TestNode::start(2, 0, &[]).await;
    let mut liar = Stranger::connect(51, follower.address(), follower.id).await;
    liar.greet(up_to(sequencer.chain.certified(40))).await;
    let bye = serve_falsely(&mut liar, &sequencer).await;
    assert!(matches!(bye, Some(Frame::Bye(Bye::Banned { .. }))), "{bye:?}");
    let status = follower.until("a ban", |status| status.bans.len() == 1).await;
    assert_eq!((status.bans[0].peer, status.marks.stored), (liar.id, 0));
    follower.network.dial(sequencer.id, Some(sequencer.endpoint())).await.unwrap();
    follower.until_applied(40).await;
    follower.network.stop().await;
    sequencer.network.stop().await;
}

/// Every request has one end, whatever the peer does: answers nothing, answers twice, or is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_ends_once_whatever_the_peer_does() {
    let sequencer = TestNode::start(1, 3_000, &[]).await;
    let follower = TestNode::start(2, 0, &[]).await;
    let tip = sequencer.chain.certified(3_000);
    let mut silent = Stranger::connect(52, follower.address(), follower.id).await;
    silent.greet(up_to(tip.clone())).await;
    let asked = |frame: &Frame| matches!(frame, Frame::Request { request, .. } if *request != Request::GetPeers);
    silent.read_until(asked).await.unwrap();
    let mut twice = Stranger::connect(53, follower.address(), follower.id).await;
    twice.greet(up_to(tip.clone())).await;
    let Some(Frame::Request { id, .. }) = twice.read_until(asked).await else { panic!() };
    let answer = Answer::Failed(Failure::Busy(60_000));
    for _ in 0..2 {
        twice.send(&Frame::Answer { id, answer: answer.clone(), last: true }).await;
    }
    let mut gone = Stranger::connect(54, follower.address(), follower.id).await;
    gone.greet(up_to(tip)).await;
    gone.read_until(asked).await.unwrap();
    drop(gone);
    follower.network.dial(sequencer.id, Some(sequencer.endpoint())).await.unwrap();
    follower.until_applied(3_000).await;
    let status = follower.until("no open request", |status| status.held.requests == 0).await;
    let (held, counters) = (status.held, status.counters);
    assert_eq!(held.opened, held.ended, "{held:?}");
    let ends = counters.answered + counters.expired + counters.cancelled + counters.peer_gone;
    assert_eq!(held.ended, ends, "{counters:?}");
    // Of the silent peer they ran out of time, or were not needed any more.
    assert!(counters.expired + counters.cancelled > 0, "{counters:?}");
    assert!(counters.peer_gone > 0, "{counters:?}");
    follower.network.stop().await;
    sequencer.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_garbage_connections_are_closed_and_harm_nobody() {
    let (sequencer, follower) = pair(30).await;
    let mut open = Vec::new();
    for number in 1..=40 {
        let mut stream = tcp(number, follower.address()).await;
        let garbage: Vec<u8> = (0..3_000).map(|at| (at * 7 + usize::from(number)) as u8).collect();
        // Closed before it could be written is as good as after.
        let _ = stream.write_all(&garbage).await;
        open.push(stream);
    }
    still_follows(&sequencer, &follower).await;
    for mut stream in open {
        let mut rest = Vec::new();
        // An end or an error: either way the other side has closed.
        let _ = stream.read_to_end(&mut rest).await;
    }
    let gone = |status: &proctor_network::Status| {
        status.counters.accepted >= 40 && status.conns.pending_in == 0
    };
    let status = follower.until("all gone", gone).await;
    assert_eq!(status.peers.len(), 1);
    assert_eq!(status.bans.len(), 0, "who has not proved who it is cannot be banned");
    follower.network.stop().await;
    sequencer.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_within_a_secure_stream_costs_trust_and_the_third_time_a_ban() {
    let (sequencer, follower) = pair(5).await;
    for round in 0..3_u64 {
        let mut stranger = Stranger::connect(55, follower.address(), follower.id).await;
        if round == 0 {
            stranger.greet(up_to(None)).await;
        }
        // Before the hello any other frame is out of place, too.
        let bytes = if round == 0 { vec![0xff; 64] } else { Frame::Ping(1).encode() };
        stranger.send_bytes(&bytes).await;
        stranger.read_to_end().await;
        follower.until("malformed", |status| status.counters.malformed > round).await;
    }
    let status = follower.until("a ban", |status| status.bans.len() == 1).await;
    assert_eq!(status.counters.malformed, 3);
    still_follows(&sequencer, &follower).await;
    follower.network.stop().await;
    sequencer.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b28_a_hello_of_another_chain_version_or_session_is_turned_away() {
    let (sequencer, follower) = pair(5).await;
    type Edit = fn(&mut proctor_p2p::Hello);
    let table: [(Edit, Option<Bye>); 4] = [
        (|hello| hello.protocol += 1, Some(Bye::OldProto)),
        (|hello| hello.chain.0.0[0] ^= 1, Some(Bye::WrongChain)),
        (|hello| hello.binding = Digest([1; 32]), None),
        (|hello| hello.node.0[0] ^= 1, None),
    ];
    for (number, (edit, expected)) in (60..).zip(table) {
        let mut stranger = Stranger::connect(number, follower.address(), follower.id).await;
        let mut hello = stranger.hello(up_to(None));
        edit(&mut hello);
        stranger.send(&Frame::Hello(Box::new(hello))).await;
        assert_eq!(stranger.read_to_end().await, expected.map(Frame::Bye), "stranger {number}");
    }
    assert_eq!(follower.network.peers().len(), 1);
    follower.network.stop().await;
    sequencer.network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_version_says_is_answered_or_ignored_without_a_penalty() {
    let (sequencer, follower) = pair(5).await;
    let mut newer = Stranger::connect(56, follower.address(), follower.id).await;
    newer.greet(up_to(None)).await;
    newer.send(&Frame::UnknownPush).await;
    newer.send(&Frame::UnknownRequest(77)).await;
    let answer = |frame: &Frame| matches!(frame, Frame::Answer { id: 77, .. });
    let expected = Answer::Failed(Failure::BadRequest);
    let found = newer.read_until(answer).await;
    assert_eq!(found, Some(Frame::Answer { id: 77, answer: expected, last: true }));
    let status = follower.until("a row", |status| status.peers.len() == 2).await;
    let row = status.peers.iter().find(|row| row.peer == newer.id).unwrap();
    assert_eq!(row.trust, 100);
    follower.network.stop().await;
    sequencer.network.stop().await;
}
