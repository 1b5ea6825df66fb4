//! A node that joins by another's snapshot, and one that deletes the beginning of its log.

use std::path::Path;
use std::time::{Duration, Instant};

use super::common::run;
use super::follow::{free_port, reach, status, text};
use super::node::Node;

const PATIENCE: Duration = Duration::from_secs(120);
/// Commits between two snapshots; a node that is further behind joins by one.
const EVERY: u64 = 200;

/// A sequencer that commits quickly, on a port for other nodes.
fn sequencer(data: &Path, port: u16, flags: &[&str]) -> Node {
    let peers = format!("listen.peers={port}");
    let every = format!("log.snapshot_every={EVERY}");
    let quick = ["--set", &peers, "--set", &every, "--set", "node.tick_ms=25"];
    let node = Node::start(data, &[&quick[..], flags].concat());
    reach(&node, 2 * EVERY + 30);
    node
}

/// Starts a follower of `at` that joins by a snapshot when it can.
fn follower(data: &Path, at: &str, flags: &[&str]) -> Node {
    let (gap, every) = (format!("network.snapshot_gap={}", EVERY / 2), EVERY.to_string());
    let every = format!("log.snapshot_every={every}");
    Node::start(data, &[&["--follow", at, "--set", &gap, "--set", &every], flags].concat())
}

/// Waits until `node` tells that its log begins after a snapshot; returns the snapshot's commit.
fn joined(node: &Node) -> u64 {
    let line = node.line("the log begins after a snapshot");
    let commit = line.trim().rsplit_once("commit=").expect("a commit").1;
    commit.parse().unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn stop(node: Node, data: &Path) {
    let stopped = node.run(&["operator", "--data", text(data), "shutdown"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    node.line("stopped: everything is on disk");
    assert_eq!(node.ended(), Some(0));
}

fn id_of(data: &Path) -> String {
    run(&["node", "id", "--data", text(data)]).out.trim().to_owned()
}

/// Verifies a log; returns what is said.
fn verified(data: &Path) -> String {
    let verified = run(&["verify", "--data", text(data)]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    verified.out
}

fn equal(one: &Path, other: &Path) -> String {
    let compared = run(&["diff", "--data", text(one), "--with", text(other)]);
    assert_eq!(compared.code, Some(0), "{compared:?}");
    assert!(compared.out.starts_with("equal"), "{compared:?}");
    compared.out
}

#[test]
fn f13_a_node_joins_by_a_snapshot_is_killed_and_ends_with_the_sequencers_state() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| dir.path().join(name));
    let (port, second_port) = (free_port(), free_port());
    let source = sequencer(&first, port, &[]);
    let at = format!("{}@127.0.0.1:{port}", id_of(&first));

    // It joins by the newest snapshot, and what was before is not in its log.
    let peers = format!("listen.peers={second_port}");
    let node = follower(&second, &at, &["--set", &peers]);
    let begins = joined(&node);
    assert!(begins >= EVERY && begins.is_multiple_of(EVERY), "{begins}");
    reach(&node, begins + EVERY + 20);

    // It is killed, and goes on where its log ends; now a snapshot of its own is what it starts with.
    drop(node);
    let node = follower(&second, &at, &["--set", &peers]);
    reach(&node, status(&source).0);
    for (args, part) in [
        (vec!["explain", "--trader", "sim-001", "--data"], "begins at commit"),
        (vec!["whatif", "--rulebook", "vanta", "--data"], "begins at commit"),
    ] {
        let told = run(&[&args[..], &[text(&second)]].concat());
        assert!(told.code != Some(0) && told.err.contains(part), "{told:?}");
    }

    // It shows others what it has: a third joins by it alone, once it could compare its snapshot.
    let sequencer_key = id_of(&first);
    let by_second = format!("{}@127.0.0.1:{second_port}", id_of(&second));
    let late = follower(&third, &by_second, &["--sequencer", &sequencer_key]);
    assert!(joined(&late) >= begins);
    reach(&late, status(&source).0);
    assert!(!status(&late).2.contains("joining"), "{}", status(&late).2);
    stop(late, &third);
    stop(node, &second);
    stop(source, &first);

    let told = verified(&second);
    assert!(told.contains(&format!("begins     after commit {begins},")), "{told}");
    verified(&first);
    verified(&third);
    let from = format!("from commit {}", begins + 1);
    assert!(equal(&first, &second).contains(&from));
    equal(&second, &third);
}

#[test]
fn f12_a_pruned_node_verifies_tells_what_it_has_and_a_new_one_joins_by_its_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let port = free_port();
    let retain = ["--set", "network.retain_commits=100", "--set", "network.retain_days=0"];
    let source = sequencer(&first, port, &retain);
    let line = source.line("the log begins with this commit");
    let begins: u64 = line.trim().rsplit_once("commit=").unwrap().1.parse().unwrap();
    assert!(begins > EVERY, "{line}");
    let at = format!("{}@127.0.0.1:{port}", id_of(&first));

    // Who would replay everything is told that nobody has it any more.
    let archive = Node::start(&second, &["--follow", &at, "--set", "network.snapshot_gap=0"]);
    let until = Instant::now() + PATIENCE;
    loop {
        let told = archive.run(&["status"]);
        if told.out.contains("pruned: everybody who is connected has deleted commit 1") {
            break;
        }
        assert!(Instant::now() < until, "{told:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(archive);

    // The same directory joins as soon as it may.
    let node = follower(&second, &at, &[]);
    assert!(joined(&node) >= begins - 1);
    reach(&node, status(&source).0);
    stop(node, &second);
    // A restart finds what was left.
    stop(source, &first);
    let again = sequencer(&first, port, &retain);
    stop(again, &first);
    assert!(verified(&first).contains("begins     after commit"));
    verified(&second);
    equal(&first, &second);
}

/// The services of the follower are processes of their own: they begin where its log begins, and what is
/// submitted to them goes to the sequencer.
#[test]
fn a_node_with_children_joins_by_a_snapshot_and_a_traders_order_goes_through_them() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, key] = ["first", "second", "alice.json"].map(|name| dir.path().join(name));
    let port = free_port();
    let source = sequencer(&first, port, &[]);
    let made = run(&["key", "new", "--out", text(&key)]);
    let enrol = ["enrol", made.out.trim(), "--size", "100000", "--class", "crypto"];
    let enrolled = source.run(&[&["operator", "--data", text(&first)][..], &enrol].concat());
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");
    // A snapshot that has the trader.
    reach(&source, status(&source).0 + EVERY + 20);

    let at = format!("{}@127.0.0.1:{port}", id_of(&first));
    let node = follower(&second, &at, &["--isolated"]);
    assert!(joined(&node) >= EVERY);
    node.all_ready();
    let asked = ["--key", text(&key), "--pair", "BTCUSD", "--side", "long", "--leverage", "0.1"];
    let order = [&["order", "submit"][..], &asked, &["--id", "one", "--timeout-ms", "30000"]];
    // Children that followed the log from before the join are started anew: until then nothing is taken.
    let until = Instant::now() + PATIENCE;
    let submitted = loop {
        let submitted = node.run(&order.concat());
        let waits = submitted.err.contains("was not taken by") && Instant::now() < until;
        if !waits {
            break submitted;
        }
    };
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert!(submitted.out.contains("order one: accepted by commit"), "{submitted:?}");
    // Both have it; a copy to the other node is the same order.
    let again = source.run(&order.concat());
    assert!(again.out.contains("duplicate_id"), "{again:?}");
    let account = ["account", "--trader", made.out.trim(), "--json", "--timeout-ms", "30000"];
    for node in [&source, &node] {
        let account = node.run(&account);
        assert_eq!(account.code, Some(0), "{account:?}");
        let told: serde_json::Value = serde_json::from_str(&account.out).unwrap();
        assert_eq!(told["account"]["open_positions"], 1, "{account:?}");
    }
    stop(node, &second);
    stop(source, &first);
    verified(&second);
    equal(&first, &second);
}
