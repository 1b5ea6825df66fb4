//! The cores of the network between nodes: what to believe, fetch and answer; sans-IO.
//!
//! Every core is a struct with `on_event(now, event, &mut actions)`: no socket, clock, entropy, lock
//! or await, and every map is ordered and bounded, so one seed reproduces a run of whole nodes byte
//! for byte. What a peer claims changes nothing but that peer's own record until it is verified.
//! `docs/p2p.md` has the wire format, the limits and what is verified when.
//!
//! Not the concern of this crate: sockets and tasks (`transport`), what a commit means (`engine`).

#![forbid(unsafe_code)]

pub mod certificate;
pub mod codec;
pub mod header;
pub mod message;
pub mod moment;
pub mod node_id;
pub mod peers;
pub mod server;
pub mod snapshot;
pub mod status;
pub mod sync;

pub use certificate::{Certificate, Committee, Trust};
pub use codec::{Canonical, CodecError};
pub use header::{ChainId, Facts, Header, Tip};
pub use message::{Answer, Failure, Message, Push, Request};
pub use moment::Moment;
pub use node_id::{BadSignature, NodeId, Signature};
pub use server::Server;
pub use snapshot::Manifest;
pub use status::{Certified, Hello, SignedStatus, Status};
pub use sync::SyncCore;
