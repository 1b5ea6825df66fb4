//! The cores of the network between nodes: what to believe, fetch and answer; sans-IO.
//!
//! Every core is a struct with `on_event(now, event, &mut actions)`: no socket, clock, entropy, lock
//! or await, and every map is ordered and bounded, so one seed reproduces a run of whole nodes byte
//! for byte. What a peer claims changes nothing but that peer's own record until it is verified.
//! `docs/p2p.md` has the wire format, the limits and what is verified when.
//!
//! Not the concern of this crate: sockets and tasks (`transport`), what a commit means (`engine`).

#![forbid(unsafe_code)]

pub mod node_id;
pub mod peers;

pub use node_id::{BadSignature, NodeId, Signature};
