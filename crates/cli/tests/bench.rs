//! `proctor bench` through the binary: every figure is printed, and nothing else is.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn proctor(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proctor"))
        .current_dir(directory)
        .arg("bench")
        .args(args)
        .output()
        .expect("the binary starts")
}

/// Runs a benchmark and returns how often each figure was printed.
fn figures(directory: &Path, args: &[&str]) -> BTreeMap<String, usize> {
    let output = proctor(directory, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut counts = BTreeMap::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let figure: Value = serde_json::from_str(line).expect("a JSON object on each line");
        assert_eq!(figure["bench"], args[0]);
        assert!(figure["unit"].is_string() && figure["params"].is_object(), "{line}");
        assert!(figure["cores"].as_u64() >= Some(1), "{line}");
        let measured = figure["value"].as_f64();
        assert!(measured >= Some(0.0) || !cfg!(target_os = "linux"), "{line}");
        let name = figure["figure"].as_str().expect("a name").to_owned();
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

#[test]
fn a_quick_run_prints_every_figure_of_the_engine() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = figures(directory.path(), &["engine", "--quick"]);
    for (name, count) in [
        ("memory of accounts with full ledgers", 1),
        ("position marks", 1),
        ("marks and samples through the engine", 2),
        ("market orders", 4),
        ("91st to 100th order against 1st to 10th", 4),
        ("order 1 to 10", 4),
        ("order 91 to 100", 4),
        ("ledger of thirty days", 1),
        ("ledger of thirty days, a commit a minute", 1),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} of {counts:?}");
    }
}

#[test]
fn a_quick_run_prints_a_refresh_of_the_stages_for_each_crowd() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = figures(directory.path(), &["challenge", "--quick"]);
    let expected =
        ["refresh of all stages with scoring", "scoring"].map(|name| (name.to_owned(), 2));
    assert_eq!(counts, expected.into());
}

#[test]
fn a_quick_run_prints_every_figure_of_the_orders() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = figures(directory.path(), &["orders", "--quick"]);
    for (name, count) in [
        ("price update that reaches no resting order", 3),
        ("updates without a fill", 3),
        ("fill of a resting order", 2),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} of {counts:?}");
    }
}

#[test]
fn a_quick_run_prints_every_figure_of_the_log_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = figures(directory.path(), &["log", "--quick", "--data", "here"]);
    for (name, count) in [
        ("durable commits", 6),
        ("recovery from a snapshot", 1),
        ("recovery without a snapshot", 1),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} of {counts:?}");
    }
    let left = std::fs::read_dir(directory.path().join("here")).expect("the given directory");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_quick_run_prints_every_figure_of_evidence_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = figures(directory.path(), &["evidence", "--quick", "--data", "here"]);
    for name in ["evidence written", "evidence verified", "size of the file"] {
        // The log of orders, and one or two accounts of the demo.
        assert!(counts.get(name) >= Some(&2), "{name} of {counts:?}");
    }
    let left = std::fs::read_dir(directory.path().join("here")).expect("the given directory");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_quick_run_prints_every_figure_of_the_ratchet() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = figures(directory.path(), &["ratchet", "--quick"]);
    for (name, count) in [
        ("rounds of one pair", 2),
        ("bytes of a round", 1),
        ("crossing round, median", 1),
        ("crossing round, 99.9th percentile", 1),
        ("seal", 4),
        ("open", 4),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} of {counts:?}");
    }
}

#[test]
fn a_quick_run_prints_every_figure_of_the_network_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let counts = figures(directory.path(), &["network", "--quick", "--data", "here"]);
    for (name, count) in [
        ("headers verified", 6),
        ("catching up", 1),
        ("processor time of the follower", 1),
        ("processor time of the source", 1),
        ("written to files", 1),
        ("join by a snapshot", 1),
        ("lag of a follower, median", 1),
        ("lag of a follower, 99th percentile", 1),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} of {counts:?}");
    }
    let left = std::fs::read_dir(directory.path().join("here")).expect("the given directory");
    assert_eq!(left.count(), 0);
}

/// `head` has seen enough: the command ends there, without a word, and removes what it made.
#[test]
fn a_reader_that_goes_away_ends_a_run_quietly() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_proctor"))
        .current_dir(directory.path())
        .args(["bench", "log", "--quick", "--data", "here"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // What a shell shows of a program that SIGPIPE has ended.
    assert_eq!(output.status.code(), Some(141));
    let left = std::fs::read_dir(directory.path().join("here")).expect("the given directory");
    assert_eq!(left.count(), 0, "nothing is left behind");
}

#[test]
fn without_a_name_there_is_help_and_an_unknown_name_is_refused() {
    let here = Path::new(".");
    let help = String::from_utf8(proctor(here, &[]).stderr).expect("text");
    assert!(["engine", "log", "ratchet"].iter().all(|name| help.contains(name)), "{help}");
    let refused = proctor(here, &["egnine"]);
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8(refused.stderr).expect("text");
    assert!(message.contains("unrecognized subcommand 'egnine'"), "{message}");
    assert!(message.contains("engine"), "{message}");
}

#[test]
fn a_quick_load_sends_every_order_and_each_has_an_outcome() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = proctor(directory.path(), &["load", "--quick", "--stuck", "1", "--slow", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["orders"], 40);
    assert_eq!(last["outcomes"], serde_json::json!({ "accepted": 40 }), "{last}");
    assert_eq!(last["watchers"].as_array().map(Vec::len), Some(2), "{last}");
    let left = std::fs::read_dir(directory.path().join("data/bench")).expect("a directory");
    assert_eq!(left.count(), 0, "nothing is left behind");
}
