//! Everything that the loop waits for, behind one await.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proctor_p2p::Moment;
use proctor_p2p::peers::policy::ConnId;
use tokio::sync::{Notify, mpsc, watch};

use crate::chain::{NewsSender, Told};
use crate::clock::Clock;
use crate::handle::Command;
use crate::link::Heard;
use crate::net::{Listen, Socket};
use crate::tasks::{Ending, Name, Tasks};

/// The time between two connections that are accepted, in milliseconds.
const ACCEPT_MS: u64 = 1;

/// What happened.
pub(crate) enum Event {
    /// The node stops.
    Stop,
    /// The deadline has come.
    Timer,
    /// A task ended.
    Ended(Name, Ending),
    /// Somebody wants something.
    Command(Command),
    /// The node has news.
    News(Told),
    /// A peer said something.
    Heard(ConnId, Heard),
    /// An outbox is nearly empty.
    Drained,
    /// Somebody dialled.
    Accepted(io::Result<(Socket, SocketAddr)>),
}

pub(crate) struct Sources {
    pub(crate) clock: Clock,
    /// `None` once it has been heard.
    pub(crate) stop: Option<watch::Receiver<bool>>,
    /// `None` once nobody can send any more.
    pub(crate) commands: Option<mpsc::Receiver<Command>>,
    pub(crate) news: NewsSender,
    pub(crate) inbox: mpsc::Receiver<(ConnId, Heard)>,
    pub(crate) drained: Arc<Notify>,
    pub(crate) listener: Option<Box<dyn Listen>>,
    /// Nothing is accepted before this moment (R14).
    pub(crate) accept_after: Moment,
    pub(crate) tasks: Tasks,
}

impl Sources {
    /// Waits for the next event, until `deadline`. In the order of the branches: ends before
    /// beginnings, so that work under way is done before more is taken on.
    pub(crate) async fn next(&mut self, deadline: Moment) -> Event {
        let accepting = self.listener.is_some() && self.accept_after <= self.clock.now();
        let deadline = if self.listener.is_some() && !accepting {
            deadline.min(self.accept_after)
        } else {
            deadline
        };
        tokio::select! {
            biased;
            () = stopped(&mut self.stop) => Event::Stop,
            (name, ending) = self.tasks.next() => Event::Ended(name, ending),
            () = self.clock.wait_until(deadline) => Event::Timer,
            command = command(&mut self.commands) => Event::Command(command),
            told = self.news.take() => Event::News(told),
            () = self.drained.notified() => Event::Drained,
            // One in a millisecond, so that a crowd at the door does not keep those within waiting.
            accepted = accept(&mut self.listener), if accepting => {
                self.accept_after = self.clock.now().after(ACCEPT_MS);
                Event::Accepted(accepted)
            }
            Some((conn, heard)) = self.inbox.recv() => Event::Heard(conn, heard),
        }
    }
}

/// Waits until the node stops: said so, or its handle gone.
async fn stopped(stop: &mut Option<watch::Receiver<bool>>) {
    match stop {
        Some(receiver) => {
            let _ = receiver.wait_for(|stop| *stop).await;
            *stop = None;
        }
        None => std::future::pending().await,
    }
}

async fn command(commands: &mut Option<mpsc::Receiver<Command>>) -> Command {
    if let Some(receiver) = commands
        && let Some(command) = receiver.recv().await
    {
        return command;
    }
    *commands = None;
    std::future::pending().await
}

async fn accept(listener: &mut Option<Box<dyn Listen>>) -> io::Result<(Socket, SocketAddr)> {
    match listener {
        Some(listener) => poll_fn(|cx| listener.poll_accept(cx)).await,
        None => std::future::pending().await,
    }
}
