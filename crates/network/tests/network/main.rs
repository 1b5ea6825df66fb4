//! The network of whole nodes: over TCP on loopback, and over pipes in virtual time.

mod chain;
mod follow;
mod frames;
mod hostile;
mod node;
mod peers;
mod rules;
mod stranger;
