//! Arbitrary bytes to every port: nothing panics, nothing grows, and the node still answers.

use std::net::SocketAddr;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use proctor_daemon::{listener, metrics};
use proctor_rpc::methods;
use proctor_services::Role;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngSeed, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service as _, http};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::common::{Node, PATIENCE, health, room};

/// How a client of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How many strings of bytes each port gets of each kind.
const CASES: usize = 48;
/// The largest message that is taken, in bytes.
const MESSAGE_MAX: usize = 4 * 1_024 * 1_024;

/// Panics of any thread of this process since [`count_panics`]; a server's task swallows its own.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
    });
}

/// Draws the same values in every run.
struct Draw(TestRunner);

impl Draw {
    fn new(seed: u64) -> Self {
        let config = ProptestConfig { rng_seed: RngSeed::Fixed(seed), ..ProptestConfig::default() };
        Self(TestRunner::new(config))
    }

    fn of<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(&mut self.0).expect("no filter").current()
    }
}

/// Sends `bytes` and nothing after them; reads until the other side closes or is quiet.
async fn send(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    // Who is refused early may find that nobody reads any more.
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(read.expect("closed in time"));
}

/// A frame of HTTP/2 whose head is well-formed and whose sense is not.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    (0_u8..12, any::<u8>(), 0_u32..8, payload).prop_map(|(kind, flags, stream, payload)| {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags];
        [&head[..], &stream.to_be_bytes(), &payload].concat()
    })
}

/// The bytes of a message that is well-formed, of whatever fields.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let varint = any::<u64>().prop_map(|number| (0, prost_varint(number)));
    let double = prop::num::f64::ANY.prop_map(|number| (1, number.to_le_bytes().to_vec()));
    let text = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        "[A-Za-z0-9]{1,48}".prop_map(String::into_bytes),
        Just(b"BTCUSD".to_vec()),
        Just(vec![b'x'; 10_000]),
    ];
    let text = text.prop_map(|text| (2, [prost_varint(text.len() as u64), text].concat()));
    let field = (1_u64..12, prop_oneof![varint, double, text]);
    let fields = prop::collection::vec(field, 0..8);
    fields.prop_map(|fields| {
        let field = |(number, (kind, bytes)): (u64, (u64, Vec<u8>))| {
            [prost_varint(number << 3 | kind), bytes].concat()
        };
        fields.into_iter().flat_map(field).collect()
    })
}

fn prost_varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Returns the end of a call of `path` with `body` as it is, as far as there is one at once.
async fn call(channel: &mut Channel, path: &str, token: &str, body: Vec<u8>) -> Option<Status> {
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::new(http_body_util::Full::new(Bytes::from(body))))
        .expect("a request");
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("connected");
    let answer = tokio::time::timeout(PATIENCE, channel.call(request)).await.expect("in time");
    Status::from_header_map(answer.ok()?.headers())
}

/// Returns `message` as a frame of gRPC.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0][..], &length, message].concat()
}

async fn still_answers(node: &Node) {
    let status = node.status().await;
    assert_eq!(status.phase, "running");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn noise_of_every_kind_at_every_port_changes_nothing() {
    count_panics();
    let node = Node::start(&[]).await;
    let mut draw = Draw::new(1);
    let noise = prop::collection::vec(any::<u8>(), 0..4_096);
    let frames = prop::collection::vec(frame(), 1..20);
    for (_, address) in &node.ports {
        for case in 0..CASES {
            let bytes = match case % 4 {
                0 => draw.of(&noise),
                1 => [PREFACE, &draw.of(&noise)].concat(),
                2 => [PREFACE, &draw.of(&frames).concat()].concat(),
                // With settings first, as a good client does.
                _ => [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &draw.of(&frames).concat()].concat(),
            };
            send(*address, &bytes).await;
        }
        health(*address).await.expect("the port still answers");
    }
    still_answers(&node).await;
    node.end().await;
}

/// What a scraper may send instead of a request, at the one port that speaks plain HTTP.
#[tokio::test]
async fn noise_at_the_port_of_metrics_changes_nothing() {
    count_panics();
    let node = Node::start(&[]).await;
    let host = "127.0.0.1".parse().expect("an address");
    let bound = listener::bind(host, 0, "metrics").await.expect("a free port");
    let (_closing, closed) = tokio::sync::watch::channel(false);
    let port = metrics::serve(bound, node.metrics.clone(), closed);
    let mut draw = Draw::new(4);
    let noise = prop::collection::vec(any::<u8>(), 0..4_096);
    let text = "(GET|POST|G T) /(metrics|[ -~]{0,40}) HTTP/[0-9.]{1,5}\r\n([ -~]{0,60}\r\n){0,20}";
    for case in 0..CASES {
        let bytes = match case % 3 {
            0 => draw.of(&noise),
            1 => [&b"GET /metrics HTTP/1.1\r\n"[..], &draw.of(&noise)].concat(),
            _ => draw.of(&text.prop_map(String::into_bytes)),
        };
        send(port.address, &bytes).await;
    }
    let mut stream = TcpStream::connect(port.address).await.expect("the port is open");
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("in time").expect("text");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("# EOF"), "{answer}");
    still_answers(&node).await;
    node.end().await;
}

/// The internal link is at the port of the node; nobody but its children is let in there.
#[tokio::test]
async fn strangers_get_nothing_into_the_internal_link() {
    count_panics();
    let node = Node::start(&[]).await;
    let token = node.secret(Role::Admin);
    let mut draw = Draw::new(5);
    let noise = prop::collection::vec(any::<u8>(), 0..20_000);
    let mut channel = node.channel("node").await;
    let before = node.status().await.as_of.expect("as of").commit;
    for method in ["Submit", "Follow"] {
        let path = format!("/proctor.internal.v1.Sequencer/{method}");
        for _ in 0..CASES {
            let status = call(&mut channel, &path, &token, framed(&draw.of(&noise))).await;
            assert_eq!(status.expect("refused").code(), Code::Unauthenticated);
        }
    }
    assert!(node.status().await.as_of.expect("as of").commit >= before);
    still_answers(&node).await;
    node.end().await;
}

#[tokio::test]
async fn every_method_takes_any_bytes_as_its_message() {
    count_panics();
    let node = Node::start(&[]).await;
    let token = node.secret(Role::Admin);
    let mut draw = Draw::new(2);
    let (noise, fields) = (prop::collection::vec(any::<u8>(), 0..300), message());
    for (name, service) in [
        ("node", "proctor.v1.Node"),
        ("prices", "proctor.v1.Prices"),
        ("positions", "proctor.v1.Positions"),
        ("orders", "proctor.v1.Orders"),
        ("eliminations", "proctor.v1.Eliminations"),
        ("challenge_period", "proctor.v1.ChallengePeriod"),
    ] {
        let mut channel = node.channel(name).await;
        let mine = methods::all().into_iter().filter(|method| method.service == service);
        let mine: Vec<_> = mine.filter(|method| method.name != "Shutdown").collect();
        assert!(!mine.is_empty(), "{service}");
        for method in mine {
            for case in 0..8 {
                let body = if case < 4 { draw.of(&noise) } else { draw.of(&fields) };
                let status = call(&mut channel, &method.path(), &token, framed(&body)).await;
                let code = status.map_or(Code::Ok, |status| status.code());
                let fault = matches!(code, Code::Unknown | Code::DataLoss);
                assert!(!fault, "{} with {body:?}: {code:?}", method.path());
            }
        }
    }
    still_answers(&node).await;
    node.end().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_a_truncated_one_too() {
    count_panics();
    let node = Node::start(&[]).await;
    let token = node.secret(Role::Admin);
    let mut channel = node.channel("orders").await;
    let path = "/proctor.v1.Orders/Submit";
    let over = framed(&vec![0; MESSAGE_MAX + 1]);
    let status = call(&mut channel, path, &token, over).await.expect("refused");
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    // The length says more than any memory holds, and nothing follows.
    let status = call(&mut channel, path, &token, vec![0, 255, 255, 255, 255]).await;
    assert_eq!(status.expect("refused").code(), Code::OutOfRange);
    for truncated in [&[][..], &[0], &[0, 0, 0], &[0, 0, 0, 0, 9], &[0, 0, 0, 0, 9, 1, 2, 3]] {
        let status = call(&mut channel, path, &token, truncated.to_vec()).await;
        let status = status.unwrap_or_else(|| panic!("{truncated:?} was answered"));
        assert_ne!(status.code(), Code::Ok, "{truncated:?}");
    }
    // Compressed, though nobody said that it would be.
    let status = call(&mut channel, path, &token, vec![1, 0, 0, 0, 1, 7]).await;
    assert_ne!(status.expect("refused").code(), Code::Ok);
    still_answers(&node).await;
    node.end().await;
}

/// Returns the memory of this process in bytes, where the system tells.
fn resident_bytes(node: &Node) -> Option<f64> {
    let text = node.metrics.text();
    let line = text.lines().find(|line| line.starts_with("proctor_resident_memory_bytes "))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn more_connections_than_a_port_takes_cost_little_and_keep_nobody_else_out() {
    count_panics();
    let node = Node::start(&[]).await;
    let before = resident_bytes(&node);
    let address = node.port("orders");
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        let mut stream = TcpStream::connect(address).await.expect("the system accepts");
        drop(stream.write_all(PREFACE).await);
        idle.push(stream);
    }
    still_answers(&node).await;
    let other = health(node.port("eliminations")).await;
    other.expect("the other ports have places of their own");
    if let (Some(before), Some(after)) = (before, resident_bytes(&node)) {
        assert!(after - before < 256e6, "{before} became {after} bytes");
    } else {
        println!("skipped: this system does not tell how much memory is in use");
    }
    drop(idle);
    room(address).await;
    node.end().await;
}
