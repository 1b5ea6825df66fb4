//! A node that follows another: joins late, passes orders on, is killed, comes back, ends with the same log.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use super::common::run;
use super::node::Node;

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the commit and digest that a node tells, and what it does among others.
pub(super) fn status(node: &Node) -> (u64, String, String) {
    let told = node.run(&["status", "--json"]);
    let json: serde_json::Value =
        serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    (json["commit"].as_u64().expect("a commit"), text("digest"), text("network"))
}

/// Asks until `node` has reached `commit`.
pub(super) fn reach(node: &Node, commit: u64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (at, _, network) = status(node);
        if at >= commit {
            return;
        }
        assert!(Instant::now() < until, "at {at} of {commit}: {network}");
    }
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_follower_judges_everything_itself_and_ends_with_the_sequencers_log() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let key = dir.path().join("alice.json");
    let port = free_port();
    let peers = format!("listen.peers={port}");
    let sequencer = Node::start(&first, &["--set", &peers]);
    let id = run(&["node", "id", "--data", text(&first)]).out.trim().to_owned();
    assert_eq!(id.len(), 64, "{id}");
    let alice = run(&["key", "new", "--out", text(&key)]).out.trim().to_owned();
    let enrol = ["operator", "enrol", &alice, "--size", "100000", "--class", "crypto"];
    let enrolled = sequencer.run(&[&enrol[..], &["--data", text(&first)]].concat());
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");

    // It joins a history that has begun, and what it tells is the sequencer's state.
    let at = format!("{id}@127.0.0.1:{port}");
    let follow = ["--follow", at.as_str()];
    let follower = Node::start(&second, &follow);
    reach(&follower, status(&sequencer).0);
    assert!(status(&follower).2.starts_with(&format!("follower of {id}")), "its role is told");

    // A trader may send his order to it; an operator may not.
    let patient = ["--timeout-ms", "30000"];
    let order = ["order", "submit", "--key", text(&key), "--pair", "BTCUSD", "--side", "long"];
    let submitted =
        follower.run(&[&order[..], &["--leverage", "0.1", "--id", "one"], &patient].concat());
    assert!(submitted.out.contains("order one: accepted by commit"), "{submitted:?}");
    let refused = follower.run(&[&enrol[..], &["--data", text(&second)]].concat());
    assert!(refused.err.contains("give operator commands to the sequencer"), "{refused:?}");

    // It is killed; what it misses it fetches when it is back.
    drop(follower);
    let missed =
        sequencer.run(&[&order[..], &["--leverage", "0.2", "--id", "two"], &patient].concat());
    assert!(missed.out.contains("order two:"), "{missed:?}");
    let follower = Node::start(&second, &follow);
    reach(&follower, status(&sequencer).0);

    let stop = |node: Node, data: &Path| {
        let stopped = node.run(&["operator", "--data", text(data), "shutdown"]);
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
        node.line("stopped: everything is on disk");
        assert_eq!(node.ended(), Some(0));
    };
    stop(follower, &second);
    stop(sequencer, &first);
    let compared = run(&["diff", "--data", text(&first), "--with", text(&second)]);
    assert_eq!(compared.code, Some(0), "{compared:?}");
    assert!(compared.out.starts_with("equal"), "{compared:?}");
    for data in [&first, &second] {
        let verified = run(&["verify", "--data", text(data)]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
    let story = run(&["explain", "--data", text(&second), "--trader", &alice]);
    assert!(story.out.contains("BTCUSD"), "the follower's log tells it too: {story:?}");
}

#[test]
fn a_node_that_cannot_follow_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let id = run(&["node", "id", "--data", text(&data)]).out.trim().to_owned();
    let itself = format!("{id}@127.0.0.1:1");
    let wrong: [(&[&str], &str); 3] = [
        (&["--follow", "127.0.0.1:50010"], "KEY@HOST:PORT"),
        (&["--set", "network.sequencer=abc"], "no key of 64 hexadecimal digits"),
        (
            &["--follow", &itself, "--set", "listen.peers=0", "--set", "listen.node=0"],
            "this node itself",
        ),
    ];
    for (flags, part) in wrong {
        let ports =
            ["prices", "positions", "orders", "eliminations", "challenge_period", "metrics"];
        let ports = ports.map(|port| format!("listen.{port}=0"));
        let ports = ports.iter().flat_map(|port| ["--set", port.as_str()]);
        let args: Vec<&str> = ["run", "--data", text(&data)]
            .into_iter()
            .chain(ports)
            .chain(flags.iter().copied())
            .collect();
        let refused = run(&args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains(part), "{refused:?}");
    }
}

/// Asks `node` for positions until what it says contains `part`.
fn reads(node: &Node, part: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let read = node.run(&["positions", "--timeout-ms", "2000"]);
        if read.out.contains(part) || read.err.contains(part) {
            return;
        }
        assert!(Instant::now() < until, "no {part:?} in {read:?}");
    }
}

/// Neither a sequencer that is gone nor one that cannot be reached lets a follower answer from an old
/// state, in whatever process its services are; how it is, it says all the time.
fn answers_nothing_old(mode: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let peers = format!("listen.peers={}", free_port());
    let sequencer = Node::start(&first, &["--set", &peers]);
    let id = run(&["node", "id", "--data", text(&first)]).out.trim().to_owned();
    let at = format!("{id}@127.0.0.1:{}", peers.rsplit_once('=').unwrap().1);
    let limit = ["--set", "services.stale_after_ms=2000"];
    let follow = [&["--follow", &at][..], &limit, mode].concat();
    let follower = Node::start(&second, &follow);
    follower.all_ready();
    reads(&follower, "as of commit");
    drop(sequencer);
    reads(&follower, "after 2 s it is too old to answer from");
    let told = follower.run(&["status"]);
    assert!(told.out.contains("follower of"), "{told:?}");
    assert!(told.out.contains("reads are refused"), "{told:?}");
    assert_eq!(told.code, Some(1), "{told:?}");
    // It starts with the old state: that it has been stopped meanwhile makes nothing younger.
    drop(follower);
    let follower = Node::start(&second, &follow);
    reads(&follower, "has not heard of the sequencer's state");
    let sequencer = Node::start(&first, &["--set", &peers]);
    reads(&follower, "as of commit");
    drop(sequencer);
}

#[test]
fn a_follower_answers_nothing_from_an_old_state() {
    answers_nothing_old(&[]);
}

#[test]
fn the_services_of_a_follower_as_children_answer_nothing_from_an_old_state() {
    answers_nothing_old(&["--isolated"]);
}
