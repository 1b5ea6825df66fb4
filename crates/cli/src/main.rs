//! The `proctor` binary: arguments, exit codes, output.
#![forbid(unsafe_code)]

#[macro_use]
mod output;

mod commands;
mod progress;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Accounts, commits and views are many small allocations, made on one thread and freed on another;
/// the platform's allocator spends a sixth of the engine's time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "proctor", version, about = "A validator node for proprietary-trading programmes")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node: sequencer, log, engine, services, a feed; until it is told to stop.
    Run(commands::run::Args),
    /// How is the node that runs here?
    Status(commands::status::Args),
    /// One service as a child of a node; started by `proctor run --isolated`, not by hand.
    #[command(hide = true)]
    Service(commands::service::Args),
    /// Check a configuration, or show every field with value, origin, unit and meaning.
    Config(commands::config::Args),
    /// Run a simulated market and its traders through the whole node.
    Demo(commands::demo::Args),
    /// Run recorded orders and price bars through the whole node.
    Replay(commands::replay::Args),
    /// Check a data directory: hash chain, every result, every stored digest.
    Verify(commands::verify::Args),
    /// Fetch another node's log, verify and judge all of it, and end when it is here.
    Sync(commands::sync::Args),
    /// Compare two logs: the first commit in which they differ, and in what.
    Diff(commands::diff::Args),
    /// The node's own key, by which other nodes know it, and its peers: list, ban, unban, dial.
    #[command(subcommand)]
    Node(commands::node::Args),
    /// Tell the story of one account: orders, positions, ledger, and its end or how far that is.
    Explain(commands::explain::Args),
    /// Which verdicts change under another rulebook, or with one input corrected?
    Whatif(commands::whatif::Args),
    /// Check a rulebook, show its constants, or compare two.
    Rulebook(commands::rulebook::Args),
    /// Write eliminated or departed traders in the reference's file shapes, or compare with a file.
    Export(commands::export::Args),
    /// Check an evidence file: recompute its verdict from the file alone, and say what differs.
    VerifyEvidence(commands::verify_evidence::Args),
    /// Make a trader's key, show whose it is, or check who signed a message.
    #[command(subcommand)]
    Key(commands::key::Args),
    /// Commands of those who run the programme: enrol, eliminate, reinstate, correct, adopt, stop.
    Operator(commands::operator::Args),
    /// Sign an order, bracket or cancellation, send it to a node, and print what became of it.
    #[command(subcommand)]
    Order(commands::order::Args),
    /// One account of a running node: stage, value, drawdown, distance to the limits.
    Account(commands::account::Args),
    /// Positions of a running node.
    Positions(commands::positions::Args),
    /// Who is eliminated, by a running node; with --watch, from now on.
    Eliminations(commands::eliminations::Args),
    /// Measure the speed of the node on this machine; prints JSON lines.
    Bench(commands::bench::Args),
}

/// How a command ends when it did not fail.
enum Verdict {
    /// What was asked for is true or done.
    Good,
    /// The answer is no: a log that does not verify, a command with findings.
    Bad,
}

fn main() -> ExitCode {
    output::ending(run)
}

fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Service(args) => return ExitCode::from(commands::service::run(&args)),
        Command::Account(args) => commands::account::run(&args),
        Command::Eliminations(args) => commands::eliminations::run(&args),
        Command::Operator(args) => commands::operator::run(&args),
        Command::Order(args) => commands::order::run(&args),
        Command::Positions(args) => commands::positions::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Config(args) => commands::config::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Sync(args) => commands::sync::run(&args),
        Command::Diff(args) => commands::diff::run(&args),
        Command::Key(args) => commands::key::run(&args),
        Command::Node(args) => commands::node::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::VerifyEvidence(args) => commands::verify_evidence::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Whatif(args) => commands::whatif::run(&args),
        Command::Rulebook(args) => commands::rulebook::run(&args),
    };
    match outcome {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            // One line: what happened, to what, and what to do.
            note!("error: {}", one_line(&error));
            ExitCode::from(2)
        }
    }
}

/// Returns the error with its causes on one line; a cause that the text before says already is
/// left out.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    line.replace('\n', " ")
}
