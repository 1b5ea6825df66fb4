//! The driver of a connection: one loop that owns the routes, two tasks for each of them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::{Command, PeerEvent, PeerLimits, Published, Route, RouteEnd, Routes, WAITING_MAX};
use crate::secure_stream::{ReadHalf, SecureStream, WriteHalf};
use crate::{Control, Ended};

/// A message that is announced gets its memory in steps of this, as its bytes arrive.
const GROWTH_BYTES: usize = 64 << 10;

/// How long routes may take to end in order when the connection is closed.
const LINGER: Duration = Duration::from_secs(5);

/// Does the work of one connection, see [`PeerDriver::run`].
pub struct PeerDriver {
    limits: PeerLimits,
    inbox: mpsc::Receiver<Command>,
    events: mpsc::Sender<PeerEvent>,
    publish: watch::Sender<Routes>,
    routes: Vec<Entry>,
    /// The tasks of all routes; a reader tells whose it was.
    tasks: JoinSet<Option<Control>>,
}

/// One route. When it is dropped, its writer sends what was accepted and ends its direction.
struct Entry {
    published: Published,
    _finish: oneshot::Sender<()>,
}

impl PeerDriver {
    pub(super) fn new(
        limits: PeerLimits,
        inbox: mpsc::Receiver<Command>,
        events: mpsc::Sender<PeerEvent>,
        publish: watch::Sender<Routes>,
    ) -> Self {
        Self { limits, inbox, events, publish, routes: Vec::new(), tasks: JoinSet::new() }
    }

    /// Runs until the connection is closed: by a handle, or because all handles are dropped. A
    /// route that goes down is not an end, another may be added. This loop waits for nobody: a user
    /// who does not read events holds back the tasks that have some, and nothing else.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.tasks.join_next() => self.on_task(done.ok().flatten()),
                command = self.inbox.recv() => match command {
                    Some(Command::Add(route, stream)) => self.add(route, stream),
                    Some(Command::Close) | None => break,
                },
            }
        }
        self.close().await;
    }

    fn add(&mut self, route: Route, stream: SecureStream) {
        // Several may have been asked for at once; dropping the stream closes it.
        if self.routes.len() >= self.limits.routes_max {
            return;
        }
        let control = stream.control().clone();
        let (outbox, messages) = mpsc::channel(WAITING_MAX);
        let (finish, finished) = oneshot::channel();
        let (reader, writer) = stream.into_split();
        self.tasks.spawn(read(reader, route, self.limits.message_max, self.events.clone()));
        self.tasks.spawn(async move {
            write(writer, messages, finished).await;
            None
        });
        let at = self.routes.partition_point(|other| other.published.route <= route);
        let published = Published { route, control, outbox };
        self.routes.insert(at, Entry { published, _finish: finish });
        self.publish();
    }

    fn on_task(&mut self, done: Option<Control>) {
        if let Some(control) = done {
            self.routes.retain(|other| !other.published.control.is_same(&control));
            self.publish();
        }
    }

    /// Nobody is left waiting: not who asks for a stream, not who sends, not who reads events.
    async fn close(mut self) {
        self.publish.send_replace(None);
        self.inbox.close();
        let controls: Vec<_> = self.routes.drain(..).map(|entry| entry.published.control).collect();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LINGER, all).await.is_err() {
            controls.iter().for_each(|control| control.close(0));
            while self.tasks.join_next().await.is_some() {}
        }
        // A user who does not want to know has dropped the other end.
        drop(self.events.send(PeerEvent::Closed).await);
    }

    fn publish(&self) {
        let routes = self.routes.iter().map(|entry| entry.published.clone()).collect();
        self.publish.send_replace(Some(routes));
    }
}

/// Reads messages until the stream ends, and tells everything about the route in order.
async fn read(
    mut from: ReadHalf,
    route: Route,
    max: usize,
    events: mpsc::Sender<PeerEvent>,
) -> Option<Control> {
    let mut event = PeerEvent::Up(route);
    loop {
        let is_down = matches!(event, PeerEvent::Down(..));
        // Nobody may be there to take it; the stream is read on, so that the peer goes on.
        drop(events.send(event).await);
        if is_down {
            return Some(from.control().clone());
        }
        event = match read_message(&mut from, max).await {
            Ok(message) => PeerEvent::Message(route, message),
            Err(end) => PeerEvent::Down(route, end),
        };
    }
}

async fn read_message(from: &mut ReadHalf, max: usize) -> Result<Vec<u8>, RouteEnd> {
    let ended =
        |control: &Control| RouteEnd::Stream(control.status().ended.unwrap_or(Ended::DriverGone));
    let mut length = [0; 4];
    // The end of the direction before a message is one in order.
    match from.read(&mut length).await {
        Ok(0) => return Err(RouteEnd::End),
        Ok(count) => {
            let rest = length.get_mut(count..).unwrap_or_default();
            from.read_exact(rest).await.map_err(|_| ended(from.control()))?;
        }
        Err(_) => return Err(ended(from.control())),
    }
    let length = u64::from(u32::from_le_bytes(length));
    let count = usize::try_from(length).ok().filter(|count| *count <= max);
    let count = count.ok_or(RouteEnd::TooLong(length))?;
    let mut message = Vec::with_capacity(count.min(GROWTH_BYTES));
    let read = from.take(length).read_to_end(&mut message).await;
    if read.is_err() || message.len() < count {
        return Err(ended(from.control()));
    }
    Ok(message)
}

/// Writes messages whole, one after the other: nobody's future can cut one. When the route is
/// finished with, what was accepted is still written, and then the direction ends.
async fn write(
    mut to: WriteHalf,
    mut messages: mpsc::Receiver<Vec<u8>>,
    mut finished: oneshot::Receiver<()>,
) {
    let control = to.control().clone();
    let mut is_finished = false;
    loop {
        let next = tokio::select! {
            biased;
            message = messages.recv() => message,
            _ = control.ended() => None,
            _ = &mut finished, if !is_finished => {
                is_finished = true;
                messages.close();
                continue;
            }
        };
        let Some(message) = next else { return };
        // The length was checked against a limit far below.
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes();
        let written = async {
            to.write_all(&length).await?;
            to.write_all(&message).await
        };
        if written.await.is_err() {
            return;
        }
    }
}
