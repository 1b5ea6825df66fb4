//! Scenarios of secure streams: over pipes in virtual time, over simulated TCP, over real sockets.
#![allow(clippy::cast_possible_truncation, reason = "patterns and sizes of tests fit")]

#[cfg(test)]
#[path = "../by_the_docs/mod.rs"]
mod by_the_docs;
#[cfg(test)]
mod lab;

#[cfg(test)]
mod cancelling;
#[cfg(test)]
mod contention;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod fixes;
#[cfg(test)]
mod hostile_tcp;
#[cfg(test)]
mod moments_tcp;
#[cfg(test)]
mod over_tcp;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod reading_and_writing;
#[cfg(test)]
mod real_threads;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod simulated_tcp;
