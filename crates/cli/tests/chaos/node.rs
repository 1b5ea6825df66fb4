//! The node under test: its process, its ports, its children.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proctor_client::{Addresses, Client, Random, Settings, v1};
use proctor_daemon::tokens;
use proctor_services::Role;

use crate::until;

/// How long anything may take that has to come by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The services that run as children.
pub(crate) const SERVICES: [&str; 5] =
    ["prices", "positions", "orders", "eliminations", "challenge_period"];
/// What every process of this node has in its environment, so that none is overlooked.
const MARK: &str = "CHAOS_TEST_RUN";

/// Settings of a node whose services are processes.
const ISOLATED: [&str; 8] = [
    "services.mode=process",
    "listen.peers=0",
    "services.hang_after_ms=5000",
    // Killing is no failure here: a child may be started again and again.
    "services.back_off_first_ms=50",
    "services.restarts_max=60",
    "services.restart_window_ms=5000",
    "log.snapshot_every=100",
    "node.tick_ms=200",
];

pub(crate) struct ChaosNode {
    data: PathBuf,
    log: PathBuf,
    host: IpAddr,
    ports: [u16; 6],
    settings: Vec<String>,
    mark: String,
    process: Option<Child>,
    pub(crate) starts: u32,
}

impl ChaosNode {
    /// Returns a node whose services are processes.
    pub(crate) fn new(directory: &Path, seed: u64) -> Self {
        let settings = ISOLATED.map(str::to_owned).to_vec();
        Self::of("node", directory, Ipv4Addr::LOCALHOST, &seed.to_string(), settings)
    }

    /// Returns the node `name` that listens at `host`; `mark` is that of its test.
    pub(crate) fn of(
        name: &str,
        directory: &Path,
        host: Ipv4Addr,
        mark: &str,
        settings: Vec<String>,
    ) -> Self {
        let host = IpAddr::V4(host);
        Self {
            data: directory.join(name),
            log: directory.join(format!("{name}.log")),
            host,
            ports: free_ports(host),
            settings,
            mark: format!("{}-{mark}-{name}", std::process::id()),
            process: None,
            starts: 0,
        }
    }

    pub(crate) fn ports(&self) -> [u16; 6] {
        self.ports
    }

    pub(crate) fn name(&self) -> &str {
        self.data.file_name().and_then(|name| name.to_str()).expect("a name")
    }

    /// Sets a field of the configuration from the next start on.
    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push(setting.into());
    }

    /// Returns the most memory that the process has had so far, in KiB.
    pub(crate) fn memory_kib_max(&self) -> u64 {
        let pid = self.process.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|most| most.trim().strip_suffix("kB")).expect("a line");
        most.trim().parse().expect("a number")
    }

    /// Waits until the node has a commit.
    pub(crate) async fn reach(&self, commit: u64) {
        // A follower may have to wait for its next attempt to connect.
        until(&format!("{} has commit {commit}", self.name()), 2 * PATIENCE, async || {
            (self.stand().await.0 >= commit).then_some(())
        })
        .await;
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Starts the process and waits until every service answers.
    pub(crate) async fn start(&mut self) {
        let names = ["node", "prices", "positions", "orders", "eliminations", "challenge_period"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_proctor"));
        command.args(["run", "--data"]).arg(&self.data);
        command.arg("--set").arg(format!("listen.host={}", self.host));
        for (name, port) in names.iter().zip(self.ports) {
            command.arg("--set").arg(format!("listen.{name}={port}"));
        }
        let every = ["listen.metrics=0", "feed.kind=none", "orders.rate_max=0"];
        for setting in every.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["--set", setting]);
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.expect("the log of the node");
        let errors = log.try_clone().expect("the log of the node");
        command.env(MARK, &self.mark).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.process = Some(command.spawn().expect("the node starts"));
        self.starts += 1;
        self.all_ready().await;
    }

    /// Waits until every service answers.
    pub(crate) async fn all_ready(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let ended = until("every service is ready", PATIENCE, async || {
            if let Some(status) = process.try_wait().expect("a process") {
                return Some(Some(status));
            }
            // Before there is a token file nobody is answered.
            self.data.join("tokens.toml").exists().then_some(())?;
            let status = self.client(Some(Role::Admin)).status().await.ok()?;
            let ready = status.services.iter().filter(|service| service.state == "ready").count();
            // Other alerts are the rules' own, such as that there is no roster yet.
            let held = status.services.iter().find(|service| service.state == "held");
            assert!(held.is_none(), "{held:?}\n{}", tail(&self.log));
            (ready == SERVICES.len()).then_some(None)
        });
        if let Some(status) = ended.await {
            panic!("the node has ended: {status}\n{}", tail(&self.log));
        }
        self.process = Some(process);
    }

    /// Who listens everywhere also does so here.
    fn reached_at(&self) -> IpAddr {
        if self.host.is_loopback() { self.host } else { Ipv4Addr::LOCALHOST.into() }
    }

    pub(crate) fn client(&self, role: Option<Role>) -> Client {
        let at = self.reached_at();
        let [node, prices, positions, orders, eliminations, challenge_period] =
            self.ports.map(|port| format!("{at}:{port}"));
        let addresses =
            Addresses { node, prices, positions, orders, eliminations, challenge_period };
        let file = self.data.join("tokens.toml");
        let token = role.map(|role| {
            tokens::secret_for(&file, role).expect("a token file").expect("a token of the role")
        });
        let jitter = Random::new(|| 1 << 63);
        Client::new(&addresses, token.as_deref(), Settings::default(), &jitter).expect("a client")
    }

    /// Returns the children as the node tells of them.
    pub(crate) async fn children(&self) -> BTreeMap<String, v1::ServiceStatus> {
        let client = self.client(None);
        let status =
            until("the node tells its status", PATIENCE, async || client.status().await.ok());
        status.await.services.into_iter().map(|service| (service.name.clone(), service)).collect()
    }

    pub(crate) async fn digest(&self) -> (u64, String) {
        let answer = self.client(None).digest().await.expect("a digest");
        (answer.as_of.expect("a commit").commit, answer.digest)
    }

    /// Returns the commit and digest that the node tells, whether or not they are too old to answer from.
    pub(crate) async fn stand(&self) -> (u64, String) {
        // Where reads need a token, so does this one.
        let client = self.client(Some(Role::Admin));
        let status =
            until("the node tells its status", PATIENCE, async || client.status().await.ok());
        let status = status.await;
        (status.as_of.expect("a commit").commit, status.digest)
    }

    /// Returns the peers and the bans of the node.
    pub(crate) fn peers(&self) -> serde_json::Value {
        let at = format!("{}:{}", self.reached_at(), self.ports[0]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_proctor"));
        command.args(["node", "peers", "--json", "--node", &at, "--data"]).arg(&self.data);
        let output = command.output().expect("it runs");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Returns every verdict, as the service has it.
    pub(crate) async fn verdicts(&self) -> Vec<v1::Elimination> {
        let mut all = self.client(None).eliminations().await.expect("verdicts").eliminations;
        all.sort_by(|one, other| one.trader.cmp(&other.trader));
        all
    }

    /// Kills the node at once; its children are left to themselves.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("killed");
        process.wait().expect("it has ended");
    }

    /// Ends the node as an operator does.
    pub(crate) async fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        signal("TERM", process.id());
        let status =
            until("the node ends", PATIENCE, async || process.try_wait().expect("a process"));
        let status = status.await;
        assert!(status.success(), "{status}\n{}", tail(&self.log));
    }

    /// Waits until none of the processes that were started here is left, children of killed nodes too.
    pub(crate) async fn no_process_is_left(&self) {
        let mark = format!("{MARK}={}", self.mark);
        until("every process has ended", PATIENCE, async || {
            let left = processes_with(&mark);
            left.is_empty().then_some(())
        })
        .await;
    }

    /// Returns how many processes of this node there are: the node itself and its children.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        processes_with(&format!("{MARK}={}", self.mark))
    }

    /// Returns what `proctor verify` says of the log, which must be good.
    pub(crate) fn verify(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proctor"));
        let output = command.arg("verify").arg("--data").arg(&self.data).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{errors}");
        said
    }
}

impl Drop for ChaosNode {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; one that did not has nobody left to kill.
        for pid in self.processes() {
            signal("KILL", pid);
        }
        if let Some(mut process) = self.process.take() {
            drop(process.wait());
        }
        if std::thread::panicking() {
            println!("{}", tail(&self.log));
        }
    }
}

/// Waits until all tell the same commit, which must be the same state then; returns both.
pub(crate) async fn agree(nodes: &[ChaosNode]) -> (u64, String) {
    until("all nodes have the same commit", 2 * PATIENCE, async || {
        let mut stands = Vec::new();
        for node in nodes {
            stands.push(node.stand().await);
        }
        let first = stands.first().expect("a node").clone();
        for (node, stand) in nodes.iter().zip(&stands) {
            let differs = stand.0 == first.0 && *stand != first;
            assert!(!differs, "{}: {stand:?} and not {first:?}", node.name());
        }
        stands.iter().all(|stand| *stand == first).then_some(first)
    })
    .await
}

/// Runs the binary; returns what it says when all is well.
fn proctor(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_proctor")).args(args).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{args:?}: {said}\n{output:?}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Makes a log of so many days in a directory.
pub(crate) fn demo(data: &Path, days: u32) {
    let days = days.to_string();
    proctor(&["demo", "--data", text(data), "--days", &days, "--traders", "4"]);
}

/// Returns the key of the node in a directory, which gets one if it has none.
pub(crate) fn id_of(data: &Path) -> String {
    proctor(&["node", "id", "--data", text(data)])
}

/// Asserts that two logs are the same as far as both go; returns what is said of it.
pub(crate) fn equal(one: &Path, other: &Path) -> String {
    let said = proctor(&["diff", "--data", text(one), "--with", text(other)]);
    assert!(said.starts_with("equal"), "{said}");
    said
}

/// Returns an address of `host` that nobody has.
pub(crate) fn free_address(host: Ipv4Addr) -> SocketAddr {
    let [port] = free_ports(host.into());
    SocketAddr::new(host.into(), port)
}

/// How many ports were looked at by this process.
static PORTS: AtomicU32 = AtomicU32::new(0);

/// Returns ports of `host` that nobody has, none twice. They lie below those that the system gives to
/// connections: one of these could be there when a node starts again.
fn free_ports<const COUNT: usize>(host: IpAddr) -> [u16; COUNT] {
    let next = |_: usize| loop {
        let looked = PORTS.fetch_add(1, Ordering::Relaxed);
        let place = (std::process::id() % 500 * 24 + looked) % 12_000;
        let port = 20_000 + u16::try_from(place).expect("small");
        if TcpListener::bind((host, port)).is_ok() {
            return port;
        }
    };
    std::array::from_fn(next)
}

/// Sends a signal; a process that is gone already is as good.
pub(crate) fn signal(name: &str, pid: u32) {
    let command = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).output();
    command.expect("kill is a program");
}

/// Returns the live processes whose environment has the line `mark`.
fn processes_with(mark: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // What has ended has no environment any more, even when nobody has taken note of its end.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|line| line == mark.as_bytes()) {
            found.insert(pid);
        }
    }
    found
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
