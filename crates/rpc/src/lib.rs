//! The gRPC contract: messages, service traits, clients, and errors with typed details.
//!
//! Everything under `generated` comes from the files in `proto/` at the root of the repository;
//! `cargo xtask codegen` writes it and a test holds it to them. This crate knows nothing of the
//! engine: it is what a client needs and no more.

#![forbid(unsafe_code)]

pub mod codec;
pub mod methods;
pub mod problem;

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    clippy::wildcard_enum_match_arm,
    clippy::semicolon_if_nothing_returned,
    rustdoc::all,
    reason = "generated"
)]
mod generated {
    pub mod internal_v1;
    pub mod v1;
}

pub use generated::{internal_v1, v1};
pub use problem::{Problem, Reason};
pub use prost::Message;

/// Returns how many bytes `message` has on the wire.
pub fn encoded_len(message: &impl Message) -> usize {
    message.encoded_len()
}

/// The public services and their messages as a `google.protobuf.FileDescriptorSet`, for server
/// reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/v1.bin");
