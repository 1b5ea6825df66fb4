//! `Outlet`: a bounded queue of messages to one watcher, and an end that needs no room in it.
//!
//! Whoever takes nothing for too long has a full queue, and that is just when there is something to
//! say. So the reason of the end stands beside the queue and is told after what is in it, whenever the
//! watcher reads on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use proctor_rpc::Problem;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tonic::Status;

/// Where messages to a watcher go in.
#[derive(Debug)]
pub(crate) struct Outlet<M> {
    queue: mpsc::Sender<Queued<M>>,
    end: oneshot::Sender<Status>,
}

/// A stream of messages to one watcher.
#[derive(Debug)]
pub struct Stream<M> {
    queue: mpsc::Receiver<Queued<M>>,
    end: oneshot::Receiver<Status>,
}

/// A message that waits, and the bytes that it holds of its watcher's and of the service's.
#[derive(Debug)]
pub(crate) struct Queued<M> {
    message: M,
    _held: Option<[OwnedSemaphorePermit; 2]>,
}

/// The watcher is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// Returns an outlet in which at most `size` messages wait, and the stream of what is put into it.
pub(crate) fn outlet<M>(size: usize) -> (Outlet<M>, Stream<M>) {
    let (queue, queued) = mpsc::channel(size);
    let (end, ended) = oneshot::channel();
    (Outlet { queue, end }, Stream { queue: queued, end: ended })
}

impl<M> Outlet<M> {
    /// Puts `message` in once there is room; what it holds is given back when it is taken.
    pub(crate) async fn send(
        &self,
        message: M,
        held: Option<[OwnedSemaphorePermit; 2]>,
    ) -> Result<(), Gone> {
        self.queue.send(Queued { message, _held: held }).await.map_err(|_| Gone)
    }

    /// Waits until there is room for a message.
    pub(crate) async fn room(&self) -> Result<Room<'_, M>, Gone> {
        self.queue.reserve().await.map(Room).map_err(|_| Gone)
    }

    /// Waits until the watcher is gone.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Ends the stream with `problem`, after what waits in it.
    pub(crate) fn end(self, problem: Problem) {
        // Nobody minds who is gone.
        drop(self.end.send(problem.into()));
    }
}

/// Room for one message.
pub(crate) struct Room<'a, M>(mpsc::Permit<'a, Queued<M>>);

impl<M> Room<'_, M> {
    pub(crate) fn fill(self, message: M) {
        self.0.send(Queued { message, _held: None });
    }
}

impl<M> tokio_stream::Stream for Stream<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // What is taken is held no more: ports have bounds of their own for what they send.
        Poll::Ready(match ready!(self.queue.poll_recv(cx)) {
            Some(queued) => Some(Ok(queued.message)),
            // Said before the outlet was dropped, if anything was.
            None => self.end.try_recv().ok().map(Err),
        })
    }
}
