//! Secure streams between nodes: handshake, rekeying byte streams, connections to a peer.
//!
//! [`connect`] and [`accept`] turn any reliable byte pipe into a [`SecureStream`]: an ordinary
//! `AsyncRead + AsyncWrite` between two nodes that have proven who they are, whose keys are renewed
//! while the data flows. A [`PeerConnection`] holds several of them to one peer and follows what is
//! up. `docs/ratchet.md` has the byte formats and the promises.
//!
//! Not the concern of this crate: who the peers are, how they are found, and what is said.

#![forbid(unsafe_code)]

pub mod handshake;
pub mod peer_connection;
mod peer_id;
pub mod relay;
pub mod secure_stream;

pub use handshake::{HandshakeError, Terms};
pub use peer_connection::PeerConnection;
pub use peer_id::PeerId;
pub use secure_stream::{Control, Ended, Options, SecureStream, Status, accept, connect};
