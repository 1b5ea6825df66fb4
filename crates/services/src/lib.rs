//! The five services and the node's own: readers of a view, submitters of inputs.
//!
//! A service owns nothing. It answers reads from the newest published view, so an answer is always
//! of one commit; a write becomes an input, and the answer comes once it is durable and applied. In
//! which process that happens is the [`Backend`]'s business alone, so each service exists once.

#![forbid(unsafe_code)]

pub mod auth;
pub mod backend;
pub mod backoff;
pub mod challenge_period;
pub mod eliminations;
pub mod health;
pub mod link;
pub mod node;
pub mod orders;
pub mod paging;
pub mod parse;
pub mod positions;
pub mod prices;
pub mod refusal;
#[cfg(test)]
mod testing;
pub mod watch;

pub use auth::{Caller, Role, Tokens};
pub use backend::{Backend, Freshness, Submitter};
