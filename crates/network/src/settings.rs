//! `Settings`: where to listen, whom to dial, what this node does for others; limits can be lowered only.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use proctor_p2p::NodeId;
use proctor_p2p::peers::address::{Endpoint, HOST_BYTES_MAX, PeerAddress};
use proctor_p2p::peers::policy::ConnLimits;
use proctor_p2p::peers::rules::PeerRules;
use proctor_p2p::status::Roles;
use proctor_p2p::sync::Config;

/// What can be set. The default listens nowhere and knows nobody.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one. `None` only dials.
    pub listen: Option<SocketAddr>,
    /// Where others reach this node, told to them: at most four. Empty: nobody is told.
    pub external: Vec<PeerAddress>,
    /// What this node does for others.
    pub roles: Roles,
    /// Whom it has to do with: `fixed` peers are dialled for ever; the committee is added by the
    /// network itself.
    pub rules: PeerRules,
    /// Nodes that are never told of.
    pub private: BTreeSet<NodeId>,
    /// Whether loopback and private addresses that others tell of are believed.
    pub allow_private: bool,
    /// Limits of connections.
    pub limits: ConnLimits,
    /// Limits of the sync.
    pub sync: Config,
    /// A directory for what outlives a restart: the book of peers and the bans. `None` keeps
    /// nothing.
    pub store: Option<PathBuf>,
    /// The seed of every random choice; `None` takes one from the operating system.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: None,
            external: Vec::new(),
            roles: Roles::FOLLOWER,
            rules: PeerRules::default(),
            private: BTreeSet::new(),
            allow_private: false,
            limits: ConnLimits::default(),
            sync: Config::default(),
            store: None,
            seed: None,
        }
    }
}

/// A peer and where it listens: `KEY@HOST:PORT`, the key in 64 hexadecimal digits.
///
/// A connection is made with a key and not with an address: whoever answers has to prove the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAt {
    /// Who.
    pub peer: NodeId,
    /// Where.
    pub endpoint: Endpoint,
}

/// Why a text does not name a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerAtError {
    /// No key.
    #[error("a peer is written KEY@HOST:PORT, with the key in 64 hexadecimal digits")]
    Key,
    /// No port from 1 to 65535.
    #[error("a peer is written KEY@HOST:PORT, with a port from 1 to 65535")]
    Port,
    /// No host.
    #[error("the host of a peer is an address or a name of 1 to {HOST_BYTES_MAX} bytes")]
    Host,
}

impl FromStr for PeerAt {
    type Err = PeerAtError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, at) = text.split_once('@').ok_or(PeerAtError::Key)?;
        let peer = key.parse().map_err(|_| PeerAtError::Key)?;
        let (host, port) = at.rsplit_once(':').ok_or(PeerAtError::Port)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(PeerAtError::Port)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let endpoint = match bare.parse::<IpAddr>() {
            Ok(ip) => Endpoint::Ip(PeerAddress { ip, port }),
            Err(_) if (1..=HOST_BYTES_MAX).contains(&host.len()) && !host.contains(':') => {
                Endpoint::Name { host: host.to_owned(), port }
            }
            Err(_) => return Err(PeerAtError::Host),
        };
        Ok(Self { peer, endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_named_by_key_host_and_port() {
        let key = NodeId([0xab; 32]);
        let ip = |ip: &str, port| Endpoint::Ip(PeerAddress { ip: ip.parse().unwrap(), port });
        let name = |host: &str| Endpoint::Name { host: host.to_owned(), port: 7 };
        for (at, endpoint) in [
            ("127.0.0.1:9000", Ok(ip("127.0.0.1", 9000))),
            ("[::1]:1", Ok(ip("::1", 1))),
            ("node.example:7", Ok(name("node.example"))),
            ("node.example:0", Err(PeerAtError::Port)),
            ("node.example:65536", Err(PeerAtError::Port)),
            ("node.example", Err(PeerAtError::Port)),
            (":7", Err(PeerAtError::Host)),
            ("a:b:7", Err(PeerAtError::Host)),
        ] {
            let found = format!("{key}@{at}").parse::<PeerAt>();
            assert_eq!(found, endpoint.map(|endpoint| PeerAt { peer: key, endpoint }), "{at}");
        }
        for text in ["127.0.0.1:9000", "abc@127.0.0.1:9000", ""] {
            assert_eq!(text.parse::<PeerAt>(), Err(PeerAtError::Key), "{text}");
        }
    }
}
