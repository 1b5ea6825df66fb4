//! `Net`: how the shell listens and dials; TCP, or pipes in a test.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proctor_p2p::peers::address::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long the look-up of a name may take.
const LOOKUP: Duration = Duration::from_secs(3);
/// Connections that wait to be accepted; the kernel refuses more.
const BACKLOG: u32 = 128;

/// A byte pipe to somebody.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Pipe for T {}

/// A connection before anything was said on it.
pub type Socket = Box<dyn Pipe>;
/// Something that takes time.
pub type Pending<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// How the shell listens and dials.
pub trait Net: Send + Sync + 'static {
    /// Binds `listen`.
    fn listen(&self, listen: SocketAddr) -> Pending<Box<dyn Listen>>;
    /// Connects to `endpoint`. The future may be dropped at any moment.
    fn dial(&self, endpoint: Endpoint) -> Pending<Socket>;
}

/// A bound address. Dropping it frees the address.
pub trait Listen: Send + 'static {
    /// Returns the address that is bound.
    ///
    /// # Errors
    /// When the operating system does not say.
    fn address(&self) -> io::Result<SocketAddr>;
    /// Accepts the next connection and says from where it is.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>>;
}

/// The real network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    /// A node that listens on one loopback address also speaks from it, so that several nodes of one
    /// machine are several hosts.
    pub from: Option<IpAddr>,
}

impl Net for Tcp {
    fn listen(&self, listen: SocketAddr) -> Pending<Box<dyn Listen>> {
        Box::pin(async move {
            let socket = socket_for(&listen)?;
            // A port in TIME_WAIT is free: a node that restarts gets its port back.
            socket.set_reuseaddr(true)?;
            socket.bind(listen)?;
            Ok(Box::new(socket.listen(BACKLOG)?) as Box<dyn Listen>)
        })
    }

    fn dial(&self, endpoint: Endpoint) -> Pending<Socket> {
        let from = self.from;
        Box::pin(async move {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for target in resolve(endpoint).await? {
                match connect(target, from).await {
                    Ok(stream) => return Ok(Box::new(stream) as Socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

fn socket_for(address: &SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

async fn resolve(endpoint: Endpoint) -> io::Result<Vec<SocketAddr>> {
    match endpoint {
        Endpoint::Ip(address) => Ok(vec![SocketAddr::new(address.ip, address.port)]),
        Endpoint::Name { host, port } => {
            let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, port))).await;
            Ok(found.map_err(|_| io::ErrorKind::TimedOut)??.collect())
        }
    }
}

async fn connect(target: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = socket_for(&target)?;
    let same_family = |from: &IpAddr| from.is_ipv4() == target.is_ipv4();
    let both_local = |from: &IpAddr| from.is_loopback() && target.ip().is_loopback();
    if let Some(from) = from.filter(|from| same_family(from) && both_local(from)) {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Listen for TcpListener {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        Self::poll_accept(self, cx).map_ok(|(stream, from)| {
            // Delay is a matter of speed alone.
            let _ = stream.set_nodelay(true);
            (Box::new(stream) as Socket, from)
        })
    }
}
