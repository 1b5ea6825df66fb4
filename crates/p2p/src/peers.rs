//! Peers: who there is, who may connect, whom to dial, and who is trusted.
//!
//! Three cores and what puts them together: [`book::PeerBook`] knows which nodes there are and where they
//! listen, [`policy::ConnPolicy`] which connections there may be, [`score::Scorer`] how each peer behaved;
//! [`Peers`] hands what one of them finds to the others. Limits and their reasons: `docs/p2p.md`.
//!
//! None knows the time of day or has randomness of its own, so a wrong clock changes no membership (F7) and
//! a seed reproduces every choice.

pub mod address;
pub mod ban;
pub mod book;
pub mod bucket;
mod bytes;
pub mod core;
pub mod dice;
pub mod policy;
pub mod record;
pub mod rules;
pub mod score;
mod stored;

pub use self::core::{Peers, PeersAction, PeersEvent};
pub use stored::StoredError;
