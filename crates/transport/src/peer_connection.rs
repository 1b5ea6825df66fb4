//! `PeerConnection`: the streams to one peer, of which the best that is up is the preferred one.
//!
//! A peer may be reached in several ways at once: directly, or relayed by a third node. Each way
//! ([`Route`]) has a [`SecureStream`] of its own, and they come and go independently. A
//! [`PeerDriver`] owns them, moves their messages, and publishes which are up. What the user does
//! with what arrives is another task ([`serve`]): neither can cancel the other, and each runs to
//! its own end.
//!
//! A message is a length of four bytes and as many bytes. A message that a route has accepted may be
//! lost when that route goes down: whoever must know asks the peer.

mod driver;

use std::fmt;
use std::sync::Arc;

pub use driver::PeerDriver;
use proctor_ratchet::Freshness;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;

use crate::secure_stream::Rekey;
use crate::{Control, Ended, PeerId, SecureStream};

/// Commands, events and messages that wait at most.
const WAITING_MAX: usize = 64;

/// How a stream reaches the peer. The lesser is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// From node to node.
    Direct,
    /// Through a third node, which sees only sealed bytes.
    Relayed {
        /// The third node.
        via: PeerId,
    },
}

/// The connection is closed. An ordinary answer, at any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection to the peer is closed")]
pub struct Closed;

/// Why there is no stream to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The connection is closed, for good.
    #[error("the connection to the peer is closed")]
    Closed,
    /// No way to the peer is up at present.
    #[error("no route to the peer is up")]
    AllDown,
}

/// Why a stream was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// The connection is closed.
    #[error("the connection to the peer is closed")]
    Closed,
    /// The stream leads to another peer.
    #[error("a stream to {0} is none to this peer")]
    OtherPeer(PeerId),
    /// There are as many routes as there may be.
    #[error("{0} routes to one peer are enough")]
    TooMany(usize),
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The route is down, or going down.
    #[error("the route is down")]
    Down,
    /// The message is longer than any that is allowed.
    #[error("a message of {found} bytes, the limit is {max}")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        max: usize,
    },
}

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct PeerLimits {
    /// The longest message, in bytes.
    pub message_max: usize,
    /// How many routes there may be at once.
    pub routes_max: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { message_max: 4 << 20, routes_max: 4 }
    }
}

/// What happens on a connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A route is up.
    Up(Route),
    /// A message has arrived.
    Message(Route, Vec<u8>),
    /// A route is down, and why.
    Down(Route, RouteEnd),
    /// The connection is closed; nothing follows.
    Closed,
}

/// Why a route went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteEnd {
    /// The stream ended.
    #[error("{0}")]
    Stream(Ended),
    /// The peer shut its direction down after a whole message.
    #[error("the peer ended the stream")]
    End,
    /// The peer announced a message longer than allowed.
    #[error("the peer announced a message of {0} bytes")]
    TooLong(u64),
}

/// One route as the others see it.
#[derive(Clone)]
struct Published {
    route: Route,
    control: Control,
    outbox: mpsc::Sender<Vec<u8>>,
}

impl Published {
    fn is_up(&self) -> bool {
        self.control.status().ended.is_none() && !self.outbox.is_closed()
    }
}

/// All routes of a moment, best first; `None` when the connection is closed.
type Routes = Option<Arc<[Published]>>;

enum Command {
    Add(Route, SecureStream),
    Close,
}

/// A handle on the connection to one peer. Clones are handles on the same connection; when the last
/// is dropped, the connection closes.
#[derive(Clone)]
pub struct PeerConnection {
    peer: PeerId,
    limits: PeerLimits,
    commands: mpsc::Sender<Command>,
    routes: watch::Receiver<Routes>,
}

/// A stream to the peer that was up when it was asked for.
#[derive(Clone)]
pub struct PeerStream {
    message_max: usize,
    route: Published,
}

impl PeerConnection {
    /// Makes a connection without a route. The driver does all the work and must be spawned; the
    /// events must be read, or handed to [`serve`]: an unread one holds back what follows.
    #[must_use]
    pub fn new(peer: PeerId, limits: PeerLimits) -> (Self, PeerDriver, mpsc::Receiver<PeerEvent>) {
        let (commands, inbox) = mpsc::channel(WAITING_MAX);
        let (events, reading) = mpsc::channel(WAITING_MAX);
        let (publish, routes) = watch::channel(Some(Arc::from([])));
        let driver = PeerDriver::new(limits, inbox, events, publish);
        (Self { peer, limits, commands, routes }, driver, reading)
    }

    /// Returns the peer.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Adds a stream to the peer. A stream that is not added is dropped, and so closed.
    ///
    /// # Errors
    /// [`NotAdded`].
    pub async fn add(&self, route: Route, stream: SecureStream) -> Result<(), NotAdded> {
        if stream.peer() != self.peer {
            return Err(NotAdded::OtherPeer(stream.peer()));
        }
        let count = self.routes.borrow().as_ref().map(|routes| routes.len());
        let count = count.ok_or(NotAdded::Closed)?;
        if count >= self.limits.routes_max {
            return Err(NotAdded::TooMany(count));
        }
        let sent = self.commands.send(Command::Add(route, stream)).await;
        sent.map_err(|_| NotAdded::Closed)
    }

    /// Returns the best stream that is up now: direct before relayed. The answer holds for this
    /// moment; ask again for the next message.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn preferred_stream(&self) -> Result<PeerStream, NoRoute> {
        let routes = self.routes.borrow();
        // A driver that is gone has published nothing, but its channel is closed.
        let routes = match routes.as_ref() {
            Some(routes) if !self.commands.is_closed() => routes,
            Some(_) | None => return Err(NoRoute::Closed),
        };
        let best = routes.iter().find(|route| route.is_up()).ok_or(NoRoute::AllDown)?;
        Ok(PeerStream { message_max: self.limits.message_max, route: best.clone() })
    }

    /// Closes all routes; messages that were accepted are still sent, for a few seconds.
    ///
    /// # Errors
    /// [`Closed`], when it was closed before.
    pub async fn close(&self) -> Result<(), Closed> {
        self.commands.send(Command::Close).await.map_err(|_| Closed)
    }

    /// Waits until the connection is closed.
    pub async fn closed(&self) {
        // An error means that the driver is gone, which is as closed as can be.
        drop(self.routes.clone().wait_for(Option::is_none).await);
    }
}

impl fmt::Debug for PeerConnection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PeerConnection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl PeerStream {
    /// Returns the way it goes.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route.route
    }

    /// Returns what can be asked of the stream.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.route.control
    }

    /// Asks for new keys on this route.
    #[must_use]
    pub fn request_rekey(&self, freshness: Freshness) -> Rekey {
        self.route.control.request_rekey(freshness)
    }

    /// Hands a message to the route, waiting for room. Dropping the future hands over all or
    /// nothing.
    ///
    /// # Errors
    /// [`NotSent`].
    pub async fn send(&self, message: Vec<u8>) -> Result<(), NotSent> {
        let (found, max) = (message.len(), self.message_max);
        if found > max {
            return Err(NotSent::TooLong { found, max });
        }
        self.route.outbox.send(message).await.map_err(|_| NotSent::Down)
    }
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PeerStream").field("route", &self.route.route).finish_non_exhaustive()
    }
}

/// How a connection and its user came to their ends.
#[derive(Debug)]
pub struct Served<E> {
    /// An error means that the driver panicked or its runtime went away.
    pub protocol: Result<(), JoinError>,
    /// What the handler came to: its own error, or that it panicked.
    pub handler: Result<Result<(), E>, JoinError>,
}

/// Runs a connection and a handler of its events in two tasks, to the end of both.
///
/// A handler that ends early, by an error or a panic, ends nothing but itself: what still arrives is
/// thrown away and the connection goes on until it is closed. A connection that ends early leaves
/// the handler the time it needs: it gets every event, [`PeerEvent::Closed`] last.
pub async fn serve<E, H>(driver: PeerDriver, handler: H) -> Served<E>
where
    E: Send + 'static,
    H: Future<Output = Result<(), E>> + Send + 'static,
{
    let (protocol, handler) = (tokio::spawn(driver.run()), tokio::spawn(handler));
    let (protocol, handler) = tokio::join!(protocol, handler);
    Served { protocol, handler }
}
