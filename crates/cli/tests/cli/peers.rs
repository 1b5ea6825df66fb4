//! The administration of peers, and a log that is fetched once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;

use super::common::{assert_one_line_error, run};
use super::follow::{PATIENCE, free_port, reach, status, text};
use super::node::Node;

/// Runs a command for the peers of `node` as its administrator.
fn administer(node: &Node, data: &str, args: &[&str]) -> String {
    let done = node.run(&[&["node"], args, &["--data", data]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    done.out
}

/// Asks for the peers of `node` until they are as wanted.
fn peers_until(node: &Node, data: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let listed = administer(node, data, &["peers", "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        if wanted(&listed) {
            return listed;
        }
        assert!(Instant::now() < until, "{listed}\n{}", node.told());
    }
}

/// Returns what Prometheus gets at `port`.
fn scrape(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn connected(listed: &Value) -> usize {
    listed["peers"].as_array().map_or(0, Vec::len)
}

#[test]
fn peers_are_listed_banned_at_once_and_over_a_restart_and_let_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let (first, second) = (text(&first), text(&second));
    let id = |data| run(&["node", "id", "--data", data]).out.trim().to_owned();
    let peers = format!("listen.peers={}", free_port());
    let metrics_port = free_port();
    let metrics = format!("listen.metrics={metrics_port}");
    let sequencer = Node::start(first.as_ref(), &["--set", &peers, "--set", &metrics]);
    let at = format!("{}@127.0.0.1:{}", id(first), peers.rsplit_once('=').unwrap().1);
    let follower = Node::start(second.as_ref(), &["--follow", &at]);
    let other = id(second);

    let listed = peers_until(&sequencer, first, |listed| connected(listed) == 1);
    let peer = &listed["peers"][0];
    assert_eq!((&peer["key"], &peer["direction"]), (&other.as_str().into(), &"in".into()));
    assert_eq!((&peer["state"], &peer["trust"]), (&"active".into(), &100.into()), "{peer}");
    let page = administer(&sequencer, first, &["peers"]);
    assert!(page.contains(&other) && page.contains("quality"), "{page}");
    let seen = peers_until(&follower, second, |listed| connected(listed) == 1);
    assert_eq!(seen["peers"][0]["direction"], "out", "{seen}");

    let metrics = scrape(metrics_port);
    for line in [
        "proctor_peer_connections{state=\"active_in\"} 1",
        "proctor_sync_gap 0",
        "proctor_sync_halted{cause=\"diverged\"} 0",
        "proctor_peer_trust_bucket{le=\"100.0\"} 1",
        "proctor_peer_offences_total{what=\"bad_body\"} 0",
    ] {
        assert!(metrics.contains(line), "no {line:?} in\n{metrics}");
    }
    let said = metrics.lines().find_map(|line| {
        line.strip_prefix("proctor_peer_traffic_bytes_total{direction=\"in\",kind=\"hello\"} ")
    });
    assert!(said.is_some_and(|bytes| bytes.parse::<u64>().unwrap() > 100), "{metrics}");
    assert!(!metrics.contains(&other), "labels are classes, never peers");

    let banned = administer(&sequencer, first, &["ban", &other, "--why", "a test"]);
    assert!(banned.contains("is banned until it is lifted"), "{banned}");
    let is_banned = |listed: &Value| {
        let ban = &listed["bans"][0];
        connected(listed) == 0 && ban["key"] == other.as_str() && ban["why"] == "a test"
    };
    let listed = peers_until(&sequencer, first, is_banned);
    assert!(listed["bans"][0]["left_ms"].is_null(), "{listed}");
    // What was decided outlives the process, however it ends.
    drop(sequencer);
    let sequencer = Node::start(first.as_ref(), &["--set", &peers]);
    peers_until(&sequencer, first, is_banned);

    administer(&sequencer, first, &["unban", &other]);
    // More than once: a dial that is under way may have been turned away before the ban was lifted.
    let listed = peers_until(&sequencer, first, |listed| {
        administer(&follower, second, &["dial", &at]);
        connected(listed) == 1
    });
    assert_eq!(listed["bans"], Value::Array(Vec::new()));
    let short = administer(&sequencer, first, &["ban", &other, "--for-s", "90", "--why", "flaps"]);
    assert!(short.contains("for 90 s"), "{short}");
    let page = administer(&sequencer, first, &["peers"]);
    assert!(page.contains("flaps") && page.contains(" s more"), "{page}");

    let nobody = sequencer.run(&["node", "ban", "abc", "--why", "x", "--data", first]);
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    assert!(nobody.err.contains("key"), "{nobody:?}");
}

#[test]
fn a_log_is_fetched_once_and_the_command_ends() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let peers = format!("listen.peers={}", free_port());
    let sequencer = Node::start(&first, &["--set", &peers]);
    reach(&sequencer, 5);
    let id = run(&["node", "id", "--data", text(&first)]).out.trim().to_owned();
    let at = format!("{id}@127.0.0.1:{}", peers.rsplit_once('=').unwrap().1);
    let sync = |patience: &str| {
        run(&["sync", "--from", &at, "--data", text(&second), "--patience-s", patience])
    };
    for _ in 0..2 {
        let (before, ..) = status(&sequencer);
        let synced = sync("60");
        assert_eq!(synced.code, Some(0), "{synced:?}");
        assert!(synced.out.contains("everything up to commit"), "{synced:?}");
        assert!(synced.err.contains("KiB verified"), "{synced:?}");
        let compared = run(&["diff", "--data", text(&first), "--with", text(&second)]);
        assert_eq!(compared.code, Some(0), "{compared:?}");
        let verified = run(&["verify", "--data", text(&second)]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
        let common = compared
            .out
            .split_whitespace()
            .find_map(|word| word.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().ok());
        assert!(common.is_some_and(|common| common >= before), "{compared:?}, {before}");
    }
    drop(sequencer);
    let alone = sync("1");
    assert_one_line_error(&alone, 2, "the node is not connected");
}
