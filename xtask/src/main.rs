//! Repository tasks: golden runs, checks, everything CI does.
#![allow(clippy::print_stdout, reason = "a task talks to its terminal")]

mod cargo;
mod ci;
mod codegen;
mod fuzz;
mod golden;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Tasks of the Proctor repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Is my change fine? Formatting, lints, documentation and the architecture test.
    Check,
    /// Everything CI does, in the same order: `check`, golden runs, licences, all tests.
    Ci,
    /// Rewrite what is generated: the code map of ARCHITECTURE.md and the parity rulebook. The diff
    /// is the review.
    Update,
    /// Rewrite the gRPC code from `proto/`.
    Codegen,
    /// Explore every reachable state of the ratchet: all orders of what two ends and the pipes
    /// between them can do.
    Model {
        /// The large configurations instead, with a million simultaneous rounds and 500 runs of
        /// contention: optimised, an hour, a few gigabytes.
        #[arg(long)]
        large: bool,
    },
    /// Kill the node and its services under load, again and again, and compare the log with what
    /// everybody was told.
    Chaos {
        /// How often something is killed.
        #[arg(long, default_value_t = 50)]
        kills: u32,
        /// Decides who is killed when, and what is sent.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// With an optimised build.
        #[arg(long)]
        release: bool,
    },
    /// Look for an input that breaks a promise; prints it, and writes it below `target/fuzz/`.
    Fuzz(fuzz::Arguments),
    /// Run files of golden cases through the engine and compare field by field.
    Golden {
        /// Which kind of cases the files hold.
        kind: golden::Kind,
        /// JSON lines, plain or gzip.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Check => ci::check(),
        Task::Ci => ci::run(),
        Task::Update => ci::update(),
        Task::Codegen => cargo::root().and_then(|root| codegen::run(&root)),
        Task::Model { large } => ci::model(large),
        Task::Chaos { kills, seed, release } => ci::chaos(kills, seed, release),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Golden { kind, files } => golden::run(kind, &files),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
