//! Everything CI does, in the order in which it should fail; `.ci/run` only calls this.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cargo;
use crate::golden::{self, Kind};
use crate::tally::Tally;

const FORMAT: &str = "fmt --all --check";
const LINT: &str = "clippy --workspace --all-targets --locked -- -D warnings";
const DOCUMENT: &str = "doc --workspace --no-deps --locked";
const DENY_WARNINGS: (&str, &str) = ("RUSTDOCFLAGS", "-D warnings");
const ARCHITECTURE: &str = "test --package xtask --locked --test architecture --test rulebooks";
const CHAOS: &str = "test -p proctor-cli --test chaos nothing_acknowledged -- --nocapture";
const CHAOS_RELEASE: &str =
    "test --release -p proctor-cli --test chaos nothing_acknowledged -- --nocapture";
/// One configuration after the other, each with its line.
const MODEL: &str =
    "test --package proctor-ratchet --lib --locked -- model:: --nocapture --test-threads 1";
const MODEL_LARGE: &str = "test --release --package proctor-ratchet --lib --locked -- large --ignored --nocapture --test-threads 1";
const LICENCES: &str = "deny --offline check bans licenses sources";
/// The command of the README.
const TEST: &str = "test --workspace --locked";

/// Runs what is quick: formatting, lints, documentation and the architecture test. Returns whether
/// all passed; the first that fails is the last that runs.
///
/// # Errors
/// When a command cannot be started.
pub(crate) fn check() -> Result<bool> {
    Ok(written_well()? && cargo::run(ARCHITECTURE, &[])?)
}

/// Runs everything; the tests come last, so that their summary ends the output.
///
/// # Errors
/// When a command cannot be started, or a golden file cannot be read.
pub(crate) fn run() -> Result<bool> {
    Ok(written_well()? && golden_runs()? && licences()? && tests()?)
}

/// Rewrites what is generated: parts of the documents and the parity rulebook.
///
/// # Errors
/// When a command cannot be started.
pub(crate) fn update() -> Result<bool> {
    cargo::run(ARCHITECTURE, &[("UPDATE", "1")])
}

/// Runs the model of the ratchet and what belongs to it.
///
/// # Errors
/// When a command cannot be started.
pub(crate) fn model(large: bool) -> Result<bool> {
    cargo::run(if large { MODEL_LARGE } else { MODEL }, &[])
}

/// Runs the test of chaos with more kills than CI has time for.
pub(crate) fn chaos(kills: u32, seed: u64, release: bool) -> Result<bool> {
    let (kills, seed) = (kills.to_string(), seed.to_string());
    let line = if release { CHAOS_RELEASE } else { CHAOS };
    cargo::run(line, &[("PROCTOR_CHAOS_KILLS", &kills), ("PROCTOR_CHAOS_SEED", &seed)])
}

fn written_well() -> Result<bool> {
    Ok(cargo::run(FORMAT, &[])?
        && cargo::run(LINT, &[])?
        && cargo::run(DOCUMENT, &[DENY_WARNINGS])?)
}

/// Compares every kind of golden case with its file in the shared folder, where there is one.
fn golden_runs() -> Result<bool> {
    let folder = shared()?.join("golden");
    for kind in Kind::value_variants() {
        let value = kind.to_possible_value().context("every kind has a name")?;
        let file = folder.join(format!("{}.jsonl.gz", value.get_name()));
        println!("\n==> cargo xtask golden {} {}", value.get_name(), file.display());
        if !file.exists() {
            println!("skipped: {} does not exist", file.display());
        } else if !golden::run(*kind, &[file])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns where reference data lies: `PROCTOR_SHARED`, else `shared` beside the repository.
fn shared() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("PROCTOR_SHARED") {
        return Ok(PathBuf::from(folder));
    }
    let root = cargo::root()?;
    Ok(root.parent().context("the repository lies in a folder")?.join("shared"))
}

fn licences() -> Result<bool> {
    let version = cargo::command("deny --version", &[])?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start cargo")?;
    if version.success() {
        return cargo::run(LICENCES, &[]);
    }
    cargo::announce(LICENCES, &[]);
    println!("skipped: cargo-deny is not installed");
    Ok(true)
}

/// Runs all tests, passes their output on and closes with the sum of their results.
fn tests() -> Result<bool> {
    cargo::announce(TEST, &[]);
    let data = shared()?.join("data");
    if !data.is_dir() {
        // The harness shows no output of tests that pass, so what they skip is said here.
        println!("skipped: tests on recorded data, {} does not exist", data.display());
    }
    let mut child =
        cargo::command(TEST, &[])?.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("the output is a pipe")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        // A test may print anything; what is not UTF-8 is no result line.
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        tally.add(&line);
    }
    let passed = child.wait().context("cannot wait for cargo")?.success();
    anyhow::ensure!(!(passed && tally.is_empty()), "the test run reported no results");
    if tally.ignored() > 0 {
        println!("ignored by their own attribute: {}", tally.ignored());
    }
    if !passed {
        println!("the test run failed; binaries after the first failing one did not run");
    }
    println!("{tally}");
    Ok(passed)
}
