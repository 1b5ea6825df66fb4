//! Whole nodes in one thread: virtual time, a bad network, liars and crashes; one seed, one run.

mod liar;
mod node;
mod scenarios;
mod seeds;
mod truth;
mod world;
