//! Connections as they come: bounded in number, and closed when they do not begin to speak.
//!
//! Whoever comes when there is no room is closed at once: to be told no is better than to wait
//! without an answer, and a queue of those who wait would be one more thing to bound.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::budget::{Budget, Origin, Purse};

/// How many bytes a client of HTTP/2 sends before anything else, and waits for nobody meanwhile.
const PREFACE_LEN: usize = 24;
/// How long to wait when the system gives out no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The bounds of a port.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections there may be at a time.
    pub connections: usize,
    /// How long a connection may take to begin to speak.
    pub preface: Duration,
    /// How long a call that is no stream may take, with reading its request.
    pub call: Duration,
    /// How many bytes of requests and answers a connection may hold.
    pub connection_bytes: usize,
    /// How many all connections together.
    pub port_bytes: usize,
}

/// Returns the connections that `listener` accepts, and the task that accepts them: once the stream
/// is dropped it closes the listener and ends.
pub(crate) fn accept(
    listener: TcpListener,
    name: String,
    limits: Limits,
) -> (ReceiverStream<io::Result<Connection>>, JoinHandle<()>) {
    let (sender, connections) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(limits.connections));
        let bytes = Purse::new(limits.port_bytes);
        let mut full = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors or memory: others give some back, haste does not.
                    tracing::warn!(port = name, %error, "no connection could be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let place = Arc::clone(&places).try_acquire_owned().ok();
            if place.is_none() && !full {
                let max = limits.connections;
                tracing::warn!(port = name, max, "too many connections: new ones are closed");
            }
            full = place.is_none();
            let Some(place) = place else { continue };
            // Answers are small and somebody waits for each.
            drop(stream.set_nodelay(true));
            let preface = Some(Box::pin(tokio::time::sleep(limits.preface)));
            let budget = Budget::new(limits.connection_bytes, &bytes);
            let connection = Connection { stream, preface, heard: 0, budget, _place: place };
            if sender.send(Ok(connection)).await.is_err() {
                return;
            }
        }
    });
    (ReceiverStream::new(connections), task)
}

/// A connection that has a place, and speaks before its time is over.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Until when the preface is to be there; nothing once it is.
    preface: Option<Pin<Box<Sleep>>>,
    heard: usize,
    budget: Budget,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Origin;

    fn connect_info(&self) -> Origin {
        Origin { tcp: self.stream.connect_info(), budget: self.budget.clone() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(preface) = &mut self.preface
            && preface.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.preface.is_some() {
            self.heard += buf.filled().len() - before;
            if self.heard >= PREFACE_LEN {
                self.preface = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
