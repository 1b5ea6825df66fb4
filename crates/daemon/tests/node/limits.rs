//! A port with narrow bounds: who is silent, slow or too many is cut off, and others are served.

use std::net::SocketAddr;
use std::time::Duration;

use proctor_daemon::listener::{self, connections::Limits};
use proctor_daemon::metrics::Metrics;
use proctor_types::UtcMs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::service::Routes;
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

const WIDE: Limits =
    Limits { connections: 64, preface: Duration::from_secs(60), call: Duration::from_secs(60) };

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

/// A body that has begun and never ends.
struct Endless(bool);

impl http_body::Body for Endless {
    type Data = tonic::codegen::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Status>>> {
        if std::mem::replace(&mut self.0, true) {
            return std::task::Poll::Pending;
        }
        // A message of 100 bytes, of which 3 come.
        let begin = tonic::codegen::Bytes::from_static(&[0, 0, 0, 0, 100, 1, 2, 3]);
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(begin))))
    }
}

#[tokio::test]
async fn a_message_that_never_ends_is_given_up() {
    let port = port(Limits { call: Duration::from_millis(100), ..WIDE }).await;
    let mut channel = connect(port.address).await;
    let request = http::Request::post("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(Body::new(Endless(false)))
        .expect("a request");
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("connected");
    let answer = tokio::time::timeout(PATIENCE, channel.call(request)).await.expect("in time");
    let status = Status::from_header_map(answer.expect("an answer").headers()).expect("a status");
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    health(port.address).await.expect("others are served");
}
