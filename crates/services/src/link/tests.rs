//! A node with its internal port on loopback, and those who may not use it.

use std::net::SocketAddr;

use proctor_commit_log::storage::memory::MemoryStorage;
use proctor_engine::Input;
use proctor_engine::input::{Payload, Roster, SignedOrder, Validity};
use proctor_rpc::internal_v1::sequencer_client::SequencerClient;
use proctor_sequencer::{Clock, Sequencer as Loop, Writer, WriterConfig};
use proctor_types::UtcMs;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};

use super::*;
use crate::backend::direct::{AlwaysFresh, Direct};
use crate::testing::START;

/// A clock that stands.
#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> UtcMs {
        START
    }
}

/// A node whose internal service listens on loopback, in a runtime of its own: when that ends, its
/// sockets break as those of a killed process do.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) backend: Backend,
    pub(crate) children: Children,
    pub(crate) storage: Arc<MemoryStorage>,
    closing: watch::Sender<bool>,
    sequencer: Loop,
    runtime: Runtime,
}

pub(crate) fn secret(number: u8) -> Secret {
    Secret::new([number; 32])
}

/// Listens on `address` in a runtime of its own, with `serve` for the service.
pub(crate) async fn listen(
    address: SocketAddr,
    router: tonic::transport::server::Router,
) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (told, bound) = oneshot_address();
    runtime.spawn(async move {
        let listener = TcpListener::bind(address).await.expect("a free port");
        told.send(listener.local_addr().expect("an address")).expect("the test waits");
        router.serve_with_incoming(TcpIncoming::from(listener)).await.expect("it serves");
    });
    (runtime, bound.await.expect("it listens"))
}

fn oneshot_address()
-> (tokio::sync::oneshot::Sender<SocketAddr>, tokio::sync::oneshot::Receiver<SocketAddr>) {
    tokio::sync::oneshot::channel()
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Node {
    /// Starts a node on an empty log, on any free port.
    pub(crate) async fn start() -> Self {
        Self::on(Arc::new(MemoryStorage::new()), loopback()).await
    }

    /// Starts a node on `storage`, at `address`.
    pub(crate) async fn on(storage: Arc<MemoryStorage>, address: SocketAddr) -> Self {
        let log = Arc::<MemoryStorage>::clone(&storage);
        let writer = Writer::open(log, WriterConfig::default()).expect("a log").writer;
        let sequencer = Loop::start(writer, Standing, 1_024);
        let (closing, closed) = watch::channel(false);
        let handle = sequencer.handle();
        let backend = Backend::new(
            handle.views().clone(),
            Arc::new(Direct(handle)),
            Arc::new(AlwaysFresh),
            Arc::new(Standing),
            1,
            closed,
        );
        let children = Children::default();
        let link = Link::service(backend.clone(), children.clone());
        let router = Server::builder().add_service(link);
        let (runtime, address) = listen(address, router).await;
        Self { address, backend, children, storage, closing, sequencer, runtime }
    }

    /// Says that the node is about to stop.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Breaks all connections and ends; returns the log and the address.
    pub(crate) fn kill(self) -> (Arc<MemoryStorage>, SocketAddr) {
        let Self { address, storage, sequencer, runtime, .. } = self;
        runtime.shutdown_background();
        drop(sequencer.stop());
        (storage, address)
    }

    async fn channel(&self) -> Channel {
        let endpoint =
            Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        endpoint.connect().await.expect("it listens")
    }
}

/// Returns a request by who calls itself `service` with `secret`.
fn by<T>(message: T, service: &str, secret: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(SERVICE_HEADER, service.parse().expect("text"));
    request.metadata_mut().insert(SECRET_HEADER, secret.parse().expect("text"));
    request
}

fn follow() -> FollowRequest {
    FollowRequest { service: "prices".into() }
}

/// Opens a stream of submissions for the child with `secret`.
async fn submissions(
    node: &Node,
    secret: &Secret,
) -> (mpsc::Sender<SubmitRequest>, Streaming<SubmitReply>) {
    let (sender, requests) = mpsc::channel(8);
    let request = by(ReceiverStream::new(requests), "prices", secret.expose());
    let mut client = SequencerClient::new(node.channel().await);
    (sender, client.submit(request).await.expect("let in").into_inner())
}

#[tokio::test]
async fn only_a_child_with_the_secret_of_its_own_start_is_let_in() {
    let node = Node::start().await;
    node.children.admit("prices", &secret(1));
    node.children.admit("orders", &secret(2));
    let mut client = SequencerClient::new(node.channel().await);
    client.follow(by(follow(), "prices", secret(1).expose())).await.expect("its own secret");
    node.children.admit("orders", &secret(3));
    let strangers = [
        by(follow(), "prices", secret(9).expose()),
        by(follow(), "prices", secret(3).expose()),
        by(follow(), "orders", secret(2).expose()),
        by(follow(), "positions", secret(1).expose()),
        by(follow(), "prices", ""),
        Request::new(follow()),
    ];
    for (place, request) in strangers.into_iter().enumerate() {
        let status = client.follow(request).await.expect_err("a stranger");
        assert_eq!(status.code(), tonic::Code::Unauthenticated, "stranger {place}");
        assert!(!status.message().contains(secret(1).expose()));
    }
    node.children.dismiss("prices");
    let gone = client.follow(by(follow(), "prices", secret(1).expose())).await;
    assert_eq!(gone.expect_err("dismissed").code(), tonic::Code::Unauthenticated);
    assert!(!format!("{:?} {:?}", secret(1), node.children).contains(secret(1).expose()));
    node.kill();
}

#[tokio::test]
async fn x_33_x_20_a_child_of_before_is_refused_although_its_stream_is_open() {
    let node = Node::start().await;
    node.children.admit("prices", &secret(1));
    let (old, mut old_replies) = submissions(&node, &secret(1)).await;
    let inputs = log_entry::encode_inputs(&[Input::Tick]);
    old.send(SubmitRequest { id: 1, inputs: inputs.clone() }).await.expect("sent");
    let reply = old_replies.message().await.expect("let in").expect("a reply");
    let place = Place { commit: 1, first: 0, count: 1 };
    assert_eq!(reply.result, Some(submit_reply::Result::Place(place)));
    // The supervisor has started another process for the same service.
    node.children.admit("prices", &secret(2));
    old.send(SubmitRequest { id: 2, inputs: inputs.clone() }).await.expect("sent");
    let refused = old_replies.message().await.expect_err("no longer the child");
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let (new, mut new_replies) = submissions(&node, &secret(2)).await;
    new.send(SubmitRequest { id: 1, inputs }).await.expect("sent");
    let reply = new_replies.message().await.expect("let in").expect("a reply");
    let place = Place { commit: 2, first: 0, count: 1 };
    assert_eq!(reply.result, Some(submit_reply::Result::Place(place)), "nothing came between");
    node.kill();
}

#[tokio::test]
async fn bytes_that_are_no_inputs_are_refused_and_harm_nothing() {
    let node = Node::start().await;
    node.children.admit("prices", &secret(1));
    let (sender, mut replies) = submissions(&node, &secret(1)).await;
    let good = log_entry::encode_inputs(&[Input::Tick, Input::Tick]);
    let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    bad.push([&good[..], &[0]].concat());
    bad.push(vec![255; 1_000]);
    // A length of four thousand million inputs, without them.
    bad.push([&good[..1], &[255; 4]].concat());
    bad.push([&[good[0] + 1], &good[1..]].concat());
    for (id, inputs) in (1..).zip(bad) {
        sender.send(SubmitRequest { id, inputs }).await.expect("sent");
        let reply = replies.message().await.expect("the stream goes on").expect("a reply");
        assert_eq!(reply.id, id);
        assert!(
            matches!(&reply.result, Some(submit_reply::Result::Refused(r)) if r.code == "malformed"),
            "{reply:?}"
        );
    }
    sender.send(SubmitRequest { id: 0, inputs: good }).await.expect("sent");
    let reply = replies.message().await.expect("the stream goes on").expect("a reply");
    let place = Place { commit: 1, first: 0, count: 2 };
    assert_eq!(reply.result, Some(submit_reply::Result::Place(place)));
    // A frame beyond the limit ends the stream and nothing else.
    let inputs = vec![0; INPUT_BYTES_MAX + 2_000];
    sender.send(SubmitRequest { id: 0, inputs }).await.expect("sent");
    let end = replies.message().await;
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    let mut client = SequencerClient::new(node.channel().await);
    let told = client.follow(by(follow(), "prices", secret(1).expose())).await;
    let first = told.expect("let in").into_inner().message().await.expect("a message");
    assert_eq!(first.expect("at once").commit, 1);
    node.kill();
}

/// Numbers that look like chance and are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).expect("small")).expect("less")
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }
}

/// Inputs of several kinds, for nobody who is known here.
fn some_inputs() -> Vec<Input> {
    let request = crate::testing::market("alice", "o1", "BTCUSD", 0.5);
    let payload = Payload::new(b"{\"as\":\"signed\"}".to_vec()).expect("short");
    let validity = Validity { from: START, until: UtcMs(START.0 + 1) };
    let signed = SignedOrder { request: request.clone(), validity, payload, signature: [7; 64] };
    let roster = Roster::new(1, vec![crate::testing::trader("alice")]);
    let rulebook = Input::Rulebook("none".into());
    let signed = Input::SignedOrder(Box::new(signed));
    vec![Input::Tick, Input::Order(request), signed, Input::Roster(roster), rulebook]
}

/// Whatever a child sends, it gets an answer, and the node goes on.
#[tokio::test]
async fn any_bytes_of_a_child_are_answered_and_leave_a_node_that_takes_good_ones() {
    let node = Node::start().await;
    node.children.admit("prices", &secret(1));
    let (sender, mut replies) = submissions(&node, &secret(1)).await;
    let good = log_entry::encode_inputs(&some_inputs());
    let (mut dice, mut taken) = (Dice(3), 0);
    for id in 0..600 {
        let mut inputs = good.clone();
        match dice.below(4) {
            0 => inputs = (0..dice.below(300)).map(|_| dice.byte()).collect(),
            1 => inputs.truncate(dice.below(good.len())),
            _ => {
                for _ in 0..=dice.below(3) {
                    let place = dice.below(inputs.len());
                    inputs[place] = dice.byte();
                }
            }
        }
        sender.send(SubmitRequest { id, inputs }).await.expect("sent");
        let reply = replies.message().await.expect("the stream goes on").expect("a reply");
        assert_eq!(reply.id, id);
        match reply.result.expect("a result") {
            submit_reply::Result::Place(_) => taken += 1,
            submit_reply::Result::Refused(refused) => assert_eq!(refused.code, "malformed"),
        }
    }
    assert!(taken > 0, "some are inputs of another meaning, which the rules judge");
    sender.send(SubmitRequest { id: 0, inputs: good }).await.expect("sent");
    let reply = replies.message().await.expect("the stream goes on").expect("a reply");
    let place = Place { commit: taken + 1, first: 0, count: 5 };
    assert_eq!(reply.result, Some(submit_reply::Result::Place(place)));
    node.kill();
}

#[tokio::test]
async fn a_child_is_told_what_is_durable_at_once_on_change_and_that_the_node_stops() {
    let node = Node::start().await;
    node.children.admit("prices", &secret(1));
    let mut client = SequencerClient::new(node.channel().await);
    let request = by(follow(), "prices", secret(1).expose());
    let mut told = client.follow(request).await.expect("let in").into_inner();
    let first = told.message().await.expect("a message").expect("at once");
    assert_eq!(first, Durable { now_ms: START.0, ..Durable::default() });
    for commit in 1..4 {
        node.backend.submit(vec![Input::Tick]).await.expect("a receipt");
        let mut last = 0;
        while last < commit {
            let next = told.message().await.expect("a message").expect("it goes on").commit;
            assert!(next >= last && next <= commit);
            last = next;
        }
    }
    // Without any change it is told again, within a second or so.
    assert_eq!(told.message().await.expect("a message").expect("it goes on").commit, 3);
    node.close();
    while !told.message().await.expect("a message").expect("before the end").draining {}
    assert_eq!(told.message().await.expect("no error"), None, "the stream ends");
    node.kill();
}
