//! A port with narrow bounds: who is silent, slow or too many is cut off, and others are served.

use std::net::SocketAddr;
use std::time::Duration;

use proctor_daemon::listener::{self, connections::Limits};
use proctor_daemon::metrics::Metrics;
use proctor_rpc::{Problem, Reason};
use proctor_types::UtcMs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::common::{PATIENCE, connect, health, room};

/// A port that serves health and reflection, until it is dropped.
struct Port {
    address: SocketAddr,
    _closing: watch::Sender<bool>,
    _failures: mpsc::Receiver<String>,
}

async fn port(limits: Limits) -> Port {
    let host = "127.0.0.1".parse().expect("an address");
    let bound = listener::bind(host, 0, "node").await.expect("a free port").with_limits(limits);
    let ((closing, closed), (failed, failures)) = (watch::channel(false), mpsc::channel(1));
    let calls = Metrics::new(UtcMs(0), None).calls();
    let serving = bound.serve(Routes::default(), &[], calls, closed, failed);
    Port { address: serving.address, _closing: closing, _failures: failures }
}

/// Waits until the other side has closed `stream`, whatever it sends before.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    drop(end.expect("closed in time"));
}

const WIDE: Limits = Limits {
    connections: 64,
    preface: Duration::from_secs(60),
    call: Duration::from_secs(60),
    connection_bytes: 1 << 24,
    port_bytes: 1 << 28,
};

#[tokio::test]
async fn who_does_not_begin_to_speak_in_time_is_closed() {
    let port = port(Limits { preface: Duration::from_millis(100), ..WIDE }).await;
    let silent = TcpStream::connect(port.address).await.expect("open");
    let mut slow = TcpStream::connect(port.address).await.expect("open");
    slow.write_all(b"PRI * HTTP/2.0").await.expect("half of it is taken");
    for mut stream in [silent, slow] {
        closed(&mut stream).await;
    }
    health(port.address).await.expect("others are served");
}

#[tokio::test]
async fn who_has_begun_in_time_may_stay_longer_than_that() {
    let port = port(Limits { preface: Duration::from_millis(100), ..WIDE }).await;
    let mut client = HealthClient::new(connect(port.address).await);
    let watch = client.watch(HealthCheckRequest { service: String::new() }).await;
    let mut watch = watch.expect("served").into_inner();
    watch.message().await.expect("no error").expect("the state of now");
    let mut silent = TcpStream::connect(port.address).await.expect("open");
    closed(&mut silent).await;
    let check = client.check(HealthCheckRequest { service: String::new() }).await;
    check.expect("the connection that spoke is as good as before");
}

#[tokio::test]
async fn who_comes_when_there_is_no_room_is_closed_at_once_and_there_is_room_again_later() {
    let port = port(Limits { connections: 8, ..WIDE }).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(TcpStream::connect(port.address).await.expect("open"));
    }
    for _ in 0..100 {
        closed(&mut TcpStream::connect(port.address).await.expect("the system accepts")).await;
    }
    drop(held);
    room(port.address).await;
}

/// A body of this many bytes that never ends.
struct Endless(usize);

impl http_body::Body for Endless {
    type Data = tonic::codegen::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Status>>> {
        let bytes = std::mem::take(&mut self.0);
        if bytes == 0 {
            return std::task::Poll::Pending;
        }
        // Of a message of two mebibytes this many come, the mark and the length before them.
        let mut begin = vec![0; bytes];
        begin[2] = 32;
        let begin = tonic::codegen::Bytes::from(begin);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(begin))))
    }
}

/// Returns a call whose message never ends; so many bytes of it come.
fn unfinished(bytes: usize) -> http::Request<Body> {
    http::Request::post("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(Body::new(Endless(bytes)))
        .expect("a request")
}

/// Returns the end of a call of `request`.
async fn end(channel: &mut Channel, request: http::Request<Body>) -> Status {
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("connected");
    let answer = tokio::time::timeout(PATIENCE, channel.call(request)).await.expect("in time");
    Status::from_header_map(answer.expect("an answer").headers()).expect("a status")
}

/// What came of four calls is held; the fifth is too much for the connection, and others are served;
/// when two such connections hold what the port may, a third gets nothing, until they are gone.
#[tokio::test]
async fn bytes_of_unfinished_messages_are_bounded_for_a_connection_and_for_a_port() {
    // Less than a frame of HTTP/2, so that it comes as a whole.
    const PART: usize = 10_000;
    let limits = Limits { connection_bytes: 4 * PART + 99, port_bytes: 8 * PART + 999, ..WIDE };
    let port = port(limits).await;
    let mut greedy = Vec::new();
    for _ in 0..2 {
        let mut channel = connect(port.address).await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..5 {
            let mut channel = channel.clone();
            calls.spawn(async move { end(&mut channel, unfinished(PART)).await });
        }
        // Four wait for the rest of their messages, for good.
        let refused = calls.join_next().await.expect("one ends").expect("no panic");
        let problem = Problem::of(&refused).expect("a problem");
        assert_eq!((problem.reason, problem.code.as_deref()), (Reason::Busy, Some("bytes")));
        let small = end(&mut channel, unfinished(200)).await;
        assert_eq!(small.code(), Code::ResourceExhausted, "nothing more by this connection");
        greedy.push((channel, calls));
        if greedy.len() == 1 {
            health(port.address).await.expect("others are served");
        }
    }
    let mut third = connect(port.address).await;
    let refused = end(&mut third, unfinished(2_000)).await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    drop(greedy);
    room(port.address).await;
    health(port.address).await.expect("there is room again");
}

#[tokio::test]
async fn x_38_a_message_that_never_ends_is_given_up() {
    let port = port(Limits { call: Duration::from_millis(100), ..WIDE }).await;
    let mut channel = connect(port.address).await;
    let status = end(&mut channel, unfinished(8)).await;
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    health(port.address).await.expect("others are served");
}
