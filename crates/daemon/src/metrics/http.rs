//! `GET /metrics` over plain HTTP/1.1, and nothing else.
//!
//! A scrape is one small request, so the bounds are tight: few connections, small heads, no bodies,
//! one deadline for everything.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Metrics;
use crate::feed::closed;
use crate::listener::{Bound, Serving};

/// How many connections there may be at a time; others are closed at once.
const CONNECTIONS_MAX: usize = 16;
/// The largest head of a request, in bytes: the least that hyper can be told.
const HEAD_MAX: usize = 8_192;
/// How long a connection may last, with all its requests.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// How long to wait when the system gives out no connection.
const PAUSE: Duration = Duration::from_millis(100);
/// The text format, so that Prometheus takes it as what it is.
const FORMAT: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers at `port` with `metrics` until `closing`.
#[must_use]
pub fn serve(port: Bound, metrics: Metrics, closing: watch::Receiver<bool>) -> Serving {
    let (name, listener, address) = port.into_parts();
    let task = tokio::spawn(accept(listener, metrics, closing));
    Serving::new(name, address, task)
}

async fn accept(listener: TcpListener, metrics: Metrics, mut closing: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closed(&mut closing) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            // A scrape that is cut off is missed by Prometheus itself.
            drop(tokio::time::timeout(CONNECTION_MAX, converse(stream, metrics)).await);
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, metrics: Metrics) -> Result<(), hyper::Error> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &metrics);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_MAX)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Full<Bytes>> {
    let known = method == Method::GET && path == "/metrics";
    let body = if known { metrics.text() } else { "there is only GET /metrics\n".into() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    if known {
        response.headers_mut().insert(CONTENT_TYPE, FORMAT);
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}
