//! How many bytes a connection and a port may hold: of requests until they are answered, of answers
//! until they are sent.
//!
//! Counts alone bound little: a thousand connections with a thousand calls each, of which every one
//! has sent nearly a whole message, are terabytes. So bytes are charged as they come and go, to the
//! connection and to its port. Who would exceed either is refused, `BUSY`, and keeps nobody waiting:
//! parts of messages that wait for room for the rest would wait for each other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body as _, Frame, SizeHint};
use proctor_rpc::{Problem, Reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Bytes, Service, http};
use tonic::transport::server::TcpConnectInfo;
use tower_layer::Layer;

/// When whoever was refused may try again.
const RETRY: Duration = Duration::from_millis(100);
/// Children of the node are bounded by the link itself, which lets nobody else in.
const LINK: &str = "/proctor.internal.v1.Sequencer/";

/// The bytes that a connection may hold, and those of its port; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    connection: Purse,
    port: Purse,
}

/// A number of bytes of which parts can be held.
#[derive(Clone, Debug)]
pub(crate) struct Purse {
    max: usize,
    free: Arc<Semaphore>,
}

/// Bytes that are held; given back when this is dropped.
#[derive(Debug, Default)]
struct Held(Option<[OwnedSemaphorePermit; 2]>);

impl Purse {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, free: Arc::new(Semaphore::new(max)) }
    }

    /// Takes `bytes`, or everything for what is larger than all: it may pass when it is alone.
    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(self.max)).ok()?;
        Arc::clone(&self.free).try_acquire_many_owned(bytes).ok()
    }
}

impl Budget {
    /// Returns the budget of a connection of at most `connection` bytes to a port with `port`.
    pub(crate) fn new(connection: usize, port: &Purse) -> Self {
        Self { connection: Purse::new(connection), port: port.clone() }
    }

    fn take(&self, bytes: usize) -> Result<Held, Status> {
        let held = self.connection.take(bytes).zip(self.port.take(bytes));
        held.map(|(connection, port)| Held(Some([connection, port]))).ok_or_else(|| {
            let text = "as many bytes as may be are held for this connection or port already";
            Problem::new(Reason::Busy, text).with_code("bytes").retry_after(RETRY).into()
        })
    }
}

impl Held {
    fn add(&mut self, more: Self) {
        match (&mut self.0, more.0) {
            (Some([connection, port]), Some([more_connection, more_port])) => {
                connection.merge(more_connection);
                port.merge(more_port);
            }
            (none @ None, more) => *none = more,
            (Some(_), None) => {}
        }
    }
}

/// What is known of the connection that a request came by.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) tcp: TcpConnectInfo,
    pub(crate) budget: Budget,
}

/// Charges requests and answers to their connection and port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charging;

impl<S> Layer<S> for Charging {
    type Service = Charged<S>;

    fn layer(&self, inner: S) -> Charged<S> {
        Charged(inner)
    }
}

/// A service whose bytes are charged.
#[derive(Clone, Debug)]
pub(crate) struct Charged<S>(S);

impl<S> Service<http::Request<Body>> for Charged<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let Some(Origin { tcp, budget }) = request.extensions().get::<Origin>().cloned() else {
            return Box::pin(self.0.call(request));
        };
        request.extensions_mut().insert(tcp);
        if request.uri().path().starts_with(LINK) {
            return Box::pin(self.0.call(request));
        }
        let held = Arc::new(Mutex::new(Held::default()));
        let incoming = Incoming { budget: budget.clone(), held: Arc::clone(&held) };
        let request = request.map(|inner| Body::new(Received { inner, incoming }));
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // What was made of the request is held until here, a stream of requests for longer.
            drop(held);
            Ok(charged(answer, budget).await)
        })
    }
}

/// Returns `answer` with its bytes charged, or a refusal when there is no room for its first message:
/// an answer that nobody reads must not wait here for ever.
async fn charged(answer: http::Response<Body>, budget: Budget) -> http::Response<Body> {
    let (parts, body) = answer.into_parts();
    let mut sent = Sent { inner: body, budget, first: None, refused: false };
    // Of an answer that is no stream the whole message is there at once.
    let first = std::future::poll_fn(|cx| match sent.next(cx) {
        Poll::Ready(Ok(part)) => Poll::Ready(Ok(Some(part))),
        Poll::Ready(Err(refused)) => Poll::Ready(Err(refused)),
        Poll::Pending => Poll::Ready(Ok(None)),
    });
    match first.await {
        Ok(first) => {
            sent.first = first;
            http::Response::from_parts(parts, Body::new(sent))
        }
        Err(refused) => refused.into_http(),
    }
}

struct Incoming {
    budget: Budget,
    held: Arc<Mutex<Held>>,
}

/// A request as it comes.
struct Received {
    inner: Body,
    incoming: Incoming,
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match self.incoming.budget.take(data.len()) {
                Ok(more) => {
                    let held = &self.incoming.held;
                    held.lock().unwrap_or_else(PoisonError::into_inner).add(more);
                }
                Err(refused) => return Poll::Ready(Some(Err(refused))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

type Part = Option<Result<Frame<Bytes>, Status>>;

/// An answer as it goes.
struct Sent {
    inner: Body,
    budget: Budget,
    /// What was looked at already.
    first: Option<Part>,
    /// Whether it ended for want of room.
    refused: bool,
}

/// Bytes that are charged until the last of them is sent.
struct Owned {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Sent {
    /// Returns the next part; an error when there is no room for it.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, Status>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(Ok(end)),
        };
        let frame = match frame.into_data() {
            Ok(bytes) => match self.budget.take(bytes.len()) {
                Ok(held) => Frame::data(Bytes::from_owner(Owned { bytes, _held: held })),
                Err(refused) => return Poll::Ready(Err(refused)),
            },
            Err(trailers) => trailers,
        };
        Poll::Ready(Ok(Some(Ok(frame))))
    }
}

/// Returns the end of a stream that has begun, with the reason: an error would break it off without.
fn last(refused: &Status) -> Part {
    let mut trailers = http::HeaderMap::new();
    Some(refused.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Part> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        if self.refused {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.next(cx)) {
            Ok(part) => part,
            Err(refused) => {
                self.refused = true;
                last(&refused)
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.refused || (self.first.is_none() && self.inner.is_end_stream())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    fn answer(bytes: usize) -> http::Response<Body> {
        http::Response::new(Body::new(Full::new(Bytes::from(vec![7; bytes]))))
    }

    /// Returns the first part of an answer, or why there is none.
    async fn begun(answer: http::Response<Body>) -> Result<Bytes, Problem> {
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Err(Problem::of(&status).expect("a problem"));
        }
        let frame = answer.into_body().frame().await.expect("a part").expect("no error");
        Ok(frame.into_data().expect("data"))
    }

    #[tokio::test]
    async fn an_answer_is_charged_until_its_last_byte_is_gone_and_one_too_many_is_refused() {
        let port = Purse::new(250);
        let (one, other) = (Budget::new(100, &port), Budget::new(200, &port));
        let first = begun(charged(answer(80), one.clone()).await).await.expect("there is room");
        // The connection's bound, then the port's.
        let refused = begun(charged(answer(30), one.clone()).await).await.expect_err("full");
        assert_eq!((refused.reason, refused.code.as_deref()), (Reason::Busy, Some("bytes")));
        let second = begun(charged(answer(170), other.clone()).await).await.expect("room");
        begun(charged(answer(20), other.clone()).await).await.expect_err("the port is full");
        let part = first.slice(10..);
        drop(first);
        begun(charged(answer(30), one.clone()).await).await.expect_err("a part is still there");
        drop(part);
        begun(charged(answer(30), one.clone()).await).await.expect("room again");
        drop(second);
        // What is larger than all may pass when it is alone.
        let large = begun(charged(answer(5_000), one.clone()).await).await.expect("alone");
        assert_eq!(large.len(), 5_000);
        begun(charged(answer(1), one).await).await.expect_err("and keeps others out");
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_ends_with_the_reason() {
        let budget = Budget::new(100, &Purse::new(1_000));
        let parts = [60, 60, 60].map(|n| Ok::<_, Status>(Frame::data(Bytes::from(vec![7; n]))));
        let body = Body::new(StreamBody::new(tokio_stream::iter(parts)));
        let mut body = charged(http::Response::new(body), budget).await.into_body();
        let first = body.frame().await.expect("a part").expect("no error");
        let end = body.frame().await.expect("an end").expect("no error");
        let status = end.trailers_ref().and_then(Status::from_header_map).expect("a status");
        assert_eq!(Problem::of(&status).expect("a problem").reason, Reason::Busy);
        assert!(body.frame().await.is_none() && body.is_end_stream());
        drop(first);
    }
}
