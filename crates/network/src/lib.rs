//! The shell around the cores of the network between nodes: sockets, tasks, timers, one loop, one handle.
//!
//! The cores of `proctor-p2p` decide whom to connect to, what to believe, fetch and answer. This crate
//! gives them events and carries out their actions: one loop with one await, one reader and one writer
//! for each peer, jobs on blocking threads, all of it in one set that is empty when the network has
//! stopped. Every queue is bounded. The node is behind [`Chain`]; [`Network`] is the handle.
//! `docs/p2p-shell.md` has the frames, the states and the limits.
//!
//! Not the concern of this crate: what is right (`p2p`), how bytes are kept secret (`transport`), what
//! a commit means (`engine`).

#![forbid(unsafe_code)]

pub mod chain;
mod clock;
pub mod frame;
pub mod handle;
mod link;
pub mod net;
mod net_loop;
mod node;
mod outbox;
pub mod settings;
mod sources;
mod start;
pub mod status;
mod tasks;
pub mod traffic;

pub use chain::{Chain, News, NewsSender, Start};
pub use handle::{Network, NetworkError, Stopped, SubmitError};
pub use net::{Net, Tcp};
pub use settings::{PeerAt, PeerAtError, Settings};
pub use status::{BanRow, Counters, PeerRow, Status};
