//! `cargo xtask fuzz TARGET`: one target for as long as one likes; see `docs/fuzzing.md`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cargo;

/// What can be fuzzed; each is an ordinary test of its crate, which CI runs for about a second.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Target {
    /// Headers and frames of the ratchet.
    Frame,
    /// Two sessions of the ratchet, with somebody between them or at one end.
    Session,
    /// The handshake of the stream: altered, cut, swapped and replayed messages.
    Handshake,
    /// The payload of a signed order.
    SignedOrder,
    /// The files of a commit log.
    CommitLog,
    /// The payload of a commit in the log.
    LogEntry,
    /// Evidence files, and what a forger makes who recomputes everything.
    Evidence,
    /// What a frame between nodes carries.
    PeerMessage,
    /// Certificates of a committee.
    Certificate,
}

/// What is asked for on the command line.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    target: Target,
    /// How long to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Another seed gives other inputs, the same one the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try the one input in this file, in hex, instead.
    #[arg(long)]
    input: Option<PathBuf>,
}

/// Runs a target. Returns whether it found nothing.
///
/// # Errors
/// When cargo cannot be started, or the input has no path that can be told to it.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let (package, place, filter) = match arguments.target {
        Target::Frame => ("ratchet", "--lib", "fuzz_frame"),
        Target::Session => ("ratchet", "--lib", "fuzz_session"),
        Target::Handshake => ("transport", "--lib", "fuzz_handshake"),
        Target::SignedOrder => ("keys", "--lib", "fuzz_signed_order"),
        Target::CommitLog => ("commit-log", "--test failures", "fuzz_commit_log"),
        Target::LogEntry => ("wire", "--test formats", "fuzz_log_entry"),
        Target::Evidence => ("node", "--lib", "fuzz_evidence"),
        Target::PeerMessage => ("p2p", "--test cores", "fuzz_peer_message"),
        Target::Certificate => ("p2p", "--test cores", "fuzz_certificate"),
    };
    let line = format!("test --locked --package proctor-{package} {place} {filter} -- --nocapture");
    let (seconds, seed) = (arguments.seconds.to_string(), arguments.seed.to_string());
    let mut variables =
        vec![("PROCTOR_FUZZ_SECONDS", seconds.as_str()), ("PROCTOR_FUZZ_SEED", seed.as_str())];
    let input = match &arguments.input {
        // The test runs in the folder of its crate.
        Some(file) => Some(std::path::absolute(file)?),
        None => None,
    };
    if let Some(file) = &input {
        variables.push(("PROCTOR_FUZZ_INPUT", file.to_str().context("a path in UTF-8")?));
    }
    cargo::run(&line, &variables)
}
