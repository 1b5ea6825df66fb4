//! A running node as its users meet it: operator, trader, risk officer; in both modes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::common::{Run, assert_one_line_error, proctor, run};

/// How long a node may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that listens on ports of its own.
pub(super) struct Node {
    child: Child,
    pub(super) address: String,
    /// What it logs from here on.
    lines: mpsc::Receiver<String>,
}

impl Node {
    /// Starts `proctor run` on the directory with `flags`; it answers when this returns.
    pub(super) fn start(data: &Path, flags: &[&str]) -> Self {
        let mut command = proctor();
        command.args(["run", "--data", data.to_str().unwrap(), "--set", "feed.seed=3"]);
        for port in
            ["node", "prices", "positions", "orders", "eliminations", "challenge_period", "metrics"]
        {
            command.args(["--set", &format!("listen.{port}=0")]);
        }
        // The last word counts: a test of several nodes names a port.
        command.args(["--set", "listen.peers=0"]);
        let mut child =
            command.args(flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while log.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                // Nobody listens any more once the test is over.
                drop(sender.send(std::mem::take(&mut line)));
            }
        });
        let mut node = Self { child, address: String::new(), lines };
        let line = node.line("listening service=\"node\" address=");
        node.address = line.trim().rsplit_once("address=").unwrap().1.to_owned();
        node
    }

    /// Waits for a log line that contains `part`.
    pub(super) fn line(&self, part: &str) -> String {
        let mut seen = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push_str(&line),
                Err(error) => panic!("{error} waiting for {part:?} after:\n{seen}"),
            }
        }
    }

    /// Returns what it has logged since it was last looked at.
    pub(super) fn told(&self) -> String {
        self.lines.try_iter().collect()
    }

    /// Runs a command against the node.
    pub(super) fn run(&self, args: &[&str]) -> Run {
        let mut args = args.to_vec();
        args.extend(["--node", &self.address]);
        run(&args)
    }

    /// Asks until the node says that every service is ready.
    pub(super) fn all_ready(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.run(&["status"]);
            if status.code == Some(0) {
                return;
            }
            assert!(Instant::now() < until, "never ready: {status:?}");
        }
    }

    /// Waits for the end; returns the exit code.
    pub(super) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has ended already where the test came to its end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Everything that the README does with a running node, in one mode.
fn first_day(flags: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (data, key) = (dir.path().join("data"), dir.path().join("alice.json"));
    let (data_text, key_text) = (data.to_str().unwrap(), key.to_str().unwrap());
    let node = Node::start(&data, flags);
    node.all_ready();
    let made = run(&["key", "new", "--out", key_text]);
    let alice = made.out.trim().to_owned();
    assert_eq!(made.code, Some(0), "{made:?}");

    let operator = |args: &[&str]| {
        let mut all = vec!["operator", "--data", data_text];
        all.extend(args);
        node.run(&all)
    };
    let enrolled = operator(&["enrol", &alice, "--size", "100000", "--class", "crypto"]);
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");
    assert!(enrolled.out.contains("is registered, as of commit"), "{enrolled:?}");

    let patient = ["--timeout-ms", "30000"];
    let order = ["order", "submit", "--key", key_text, "--pair", "BTCUSD", "--side", "long"];
    let submitted =
        node.run(&[&order[..], &["--leverage", "0.1", "--id", "one"], &patient].concat());
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert!(submitted.out.contains("order one: accepted by commit"), "{submitted:?}");
    assert!(submitted.out.contains("filled LONG BTCUSD at"), "{submitted:?}");
    let again = node.run(&[&order[..], &["--leverage", "0.1", "--id", "one"], &patient].concat());
    assert!(again.out.contains("duplicate_id"), "an id is taken once: {again:?}");

    let account = node.run(&[&["account", "--trader", &alice, "--json"], &patient[..]].concat());
    let told: serde_json::Value = serde_json::from_str(&account.out).unwrap();
    assert_eq!(told["account"]["open_positions"], 1, "{account:?}");
    assert_eq!(told["account"]["bucket"], "CHALLENGE", "{account:?}");

    let reason = ["eliminate", &alice, "--reason", "PLAGIARISM", "--why", "copied"];
    assert_eq!(operator(&reason).code, Some(0));
    let eliminations = node.run(&[&["eliminations", "--trader", &alice], &patient[..]].concat());
    assert!(eliminations.out.contains("PLAGIARISM"), "{eliminations:?}");
    let late = node.run(&[&order[..], &["--leverage", "0.1", "--id", "two"], &patient].concat());
    assert!(late.out.contains("eliminated"), "{late:?}");
    let reinstated = operator(&["reinstate", &alice, "--why", "an error"]);
    assert!(reinstated.out.contains("is reinstated"), "{reinstated:?}");

    let status = node.run(&["status", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(told["phase"], "running", "{status:?}");
    assert_eq!(operator(&["shutdown"]).code, Some(0));
    node.line("stopped: everything is on disk");
    assert_eq!(node.ended(), Some(0));
    let verified = run(&["verify", "--data", data_text]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let story = run(&["explain", "--data", data_text, "--trader", &alice]);
    assert!(story.out.contains("TAKEN BACK"), "the log remembers it all: {story:?}");
}

/// A trader has a key and no token.
#[test]
fn where_reads_need_a_token_an_order_still_needs_none() {
    let dir = tempfile::tempdir().unwrap();
    let (data, key) = (dir.path().join("data"), dir.path().join("alice.json"));
    let (data_text, key_text) = (data.to_str().unwrap(), key.to_str().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = format!("listen.orders={}", free.port());
    let flags = ["--set", "auth.open_reads=false", "--set", &port];
    let node = Node::start(&data, &flags);
    let alice = run(&["key", "new", "--out", key_text]).out.trim().to_owned();
    let enrol = ["operator", "enrol", &alice, "--size", "100000", "--class", "crypto"];
    let enrolled = node.run(&[&enrol[..], &["--data", data_text]].concat());
    assert_eq!(enrolled.code, Some(0), "{enrolled:?}");
    let order = ["order", "submit", "--key", key_text, "--pair", "BTCUSD", "--side", "long"];
    let order = [&order[..], &["--leverage", "0.1", "--timeout-ms", "30000"]].concat();
    let asked = node.run(&order);
    assert!(asked.err.contains("send a token"), "its status is not for everybody: {asked:?}");
    let free = free.to_string();
    let straight = ["--chain", "proctor-local", "--orders", &free];
    let submitted = node.run(&[&order[..], &straight].concat());
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert!(submitted.out.contains("accepted by commit"), "{submitted:?}");
}

#[test]
fn the_first_day_of_a_trader_with_the_services_in_the_nodes_process() {
    first_day(&[]);
}

#[test]
fn the_first_day_of_a_trader_with_each_service_as_a_child() {
    first_day(&["--isolated"]);
}

#[test]
fn what_keeps_a_node_from_starting_is_one_line_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data_text = data.to_str().unwrap();
    let node = Node::start(&data, &[]);
    let port = node.address.rsplit_once(':').unwrap().1;
    let taken = ["--set", &format!("listen.node={port}"), "--set", "telemetry.log=error"];
    let other = dir.path().join("other");
    let other = ["run", "--data", other.to_str().unwrap()];
    let run_taken = run(&[&other[..], &taken].concat());
    assert_one_line_error(&run_taken, 2, "stop what uses it, or set listen.node");
    let free = [
        "listen.node=0",
        "listen.prices=0",
        "listen.positions=0",
        "listen.orders=0",
        "listen.eliminations=0",
        "listen.challenge_period=0",
        "listen.metrics=0",
        "listen.peers=0",
        "telemetry.log=error",
    ];
    let free: Vec<&str> = free.into_iter().flat_map(|field| ["--set", field]).collect();
    let locked = run(&[&["run", "--data", data_text], &free[..]].concat());
    assert_one_line_error(&locked, 2, data_text);
    let unknown = run(&["run", "--set", "listen.price=1"]);
    assert_one_line_error(&unknown, 2, "is listen.prices meant?");
    let nobody = run(&["status", "--node", "127.0.0.1:1", "--timeout-ms", "2000"]);
    assert_one_line_error(&nobody, 2, "is a node running there?");
    let by_hand = proctor().args(["service", "prices"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(by_hand.status.code(), Some(78), "{by_hand:?}");
    let mut said = String::new();
    by_hand.stdout.as_slice().read_to_string(&mut said).unwrap();
    assert!(said.contains("is started by `proctor run --isolated`"), "{said}");
}
