//! The node under load: a process, its children, and what they take of the machine.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use proctor_client::v1::{self, GetStatusResponse};
use proctor_client::{Addresses, Client, Random, Settings};
use proctor_daemon::tokens;
use proctor_keys::KeyFile;
use proctor_sequencer::{Clock as _, SystemClock};
use proctor_services::Role;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::Args;
use super::orders::PAIRS;

/// How long the node may take to answer.
const START_MAX: Duration = Duration::from_secs(120);
/// How long the node may take to end.
const STOP_MAX: Duration = Duration::from_secs(60);
/// How often the state is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often prices are told: an event counts as fresh for 8 s.
const PRICES_EVERY: Duration = Duration::from_secs(1);
/// Accounts that are set up at the same time.
const AT_ONCE: usize = 64;
/// The name of each port in the configuration.
const PORTS: [&str; 7] =
    ["node", "prices", "positions", "orders", "eliminations", "challenge_period", "metrics"];

/// A node in a process of its own.
pub(super) struct LoadNode {
    pub(super) client: Client,
    addresses: Addresses,
    token: String,
    child: Child,
    data: PathBuf,
    pub(super) chain_id: String,
}

impl LoadNode {
    /// Starts a node with a new log below `directory`; every service answers when this returns.
    pub(super) async fn start(args: &Args, directory: &Path) -> Result<Self> {
        let data = directory.join("node");
        let ports = free_ports()?;
        let program = match &args.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().context("this program")?,
        };
        let mut command = Command::new(program);
        command.arg("run").arg("--data").arg(&data);
        for (name, port) in PORTS.iter().zip(ports) {
            command.arg("--set").arg(format!("listen.{name}={port}"));
        }
        for setting in
            ["feed.kind=none", "orders.rate_max=0", "telemetry.log=warn", "listen.peers=0"]
        {
            command.args(["--set", setting]);
        }
        if args.isolated {
            command.arg("--isolated");
        }
        let log = std::fs::File::create(directory.join("node.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("the node does not start")?;
        let [node, prices, positions, orders, eliminations, challenge_period, _] =
            ports.map(|port| format!("127.0.0.1:{port}"));
        let addresses =
            Addresses { node, prices, positions, orders, eliminations, challenge_period };
        let client = client(&addresses, None)?;
        let mut node =
            Self { client, addresses, token: String::new(), child, data, chain_id: String::new() };
        let status = node.ready(&directory.join("node.log")).await?;
        node.chain_id = status.chain_id;
        let token = tokens::secret_for(&node.data.join("tokens.toml"), Role::Admin)?;
        node.token = token.context("the node has made no token")?;
        node.client = node.another_client()?;
        Ok(node)
    }

    /// Waits until every service answers.
    async fn ready(&mut self, log: &Path) -> Result<GetStatusResponse> {
        let until = Instant::now() + START_MAX;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("the node has ended ({status}): {}", said.trim());
            }
            if let Ok(status) = self.client.status().await {
                let ready = |service: &v1::ServiceStatus| service.state == "ready";
                if status.services.len() == PORTS.len() - 2 && status.services.iter().all(ready) {
                    return Ok(status);
                }
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("the node is not ready after {} s", START_MAX.as_secs());
    }

    /// Returns a client with connections of its own.
    pub(super) fn another_client(&self) -> Result<Client> {
        client(&self.addresses, Some(&self.token))
    }

    /// Returns where orders are taken.
    pub(super) fn orders_address(&self) -> &str {
        &self.addresses.orders
    }

    /// Registers the traders, each with an asset class. Sizes would count from tomorrow on: these
    /// accounts trade with the least size there is.
    pub(super) async fn enrol(&self, keys: &[KeyFile]) -> Result<()> {
        let traders: Vec<String> = keys.iter().map(|key| key.address().to_string()).collect();
        self.client.set_roster(traders.clone()).await?;
        let mut choices = JoinSet::new();
        for trader in traders {
            if choices.len() >= AT_ONCE {
                choices.join_next().await.transpose()?.transpose()?;
            }
            let client = self.client.clone();
            choices.spawn(async move { client.choose_asset_class(&trader, "crypto").await });
        }
        while let Some(chosen) = choices.join_next().await {
            chosen??;
        }
        ensure!(self.client.publish(prices()).await?.refused.is_empty(), "prices are refused");
        Ok(())
    }

    /// Tells prices from now on.
    pub(super) fn feed(&self) -> JoinHandle<()> {
        let client = self.client.clone();
        tokio::spawn(async move {
            loop {
                // A price that was not taken is followed by a newer one.
                drop(client.publish(prices()).await);
                sleep(PRICES_EVERY).await;
            }
        })
    }

    /// Returns what tells the memory of the node's processes.
    pub(super) fn probe(&self) -> Probe {
        Probe { client: self.client.clone(), node: self.child.id(), log: self.data.clone() }
    }

    /// Ends the node in phases.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.client.shutdown().await?;
        let ended = tokio::time::timeout(STOP_MAX, self.child.wait()).await;
        let status = ended.context("the node does not end")??;
        ensure!(status.success(), "the node has ended with {status}");
        Ok(())
    }
}

fn client(addresses: &Addresses, token: Option<&str>) -> Result<Client> {
    let settings = Settings { deadline: Duration::from_secs(30), ..Settings::default() };
    Ok(Client::new(addresses, token, settings, &Random::new(|| 1 << 63))?)
}

/// Returns ports that nobody uses now; all are held until the last is found, so that none comes twice.
fn free_ports() -> Result<[u16; 7]> {
    let mut held = Vec::new();
    let mut ports = [0; 7];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Returns prices of now, by two sources, so that they are believed.
fn prices() -> Vec<v1::Quote> {
    let now = SystemClock.now().0;
    let mut quotes = Vec::new();
    for (pair, price) in PAIRS {
        for source in ["first", "second"] {
            quotes.push(v1::Quote {
                pair: pair.into(),
                source: source.into(),
                start_ms: now,
                open: price,
                high: price,
                low: price,
                close: price,
                ..v1::Quote::default()
            });
        }
    }
    quotes
}

/// Tells what the node's processes take.
#[derive(Clone)]
pub(super) struct Probe {
    client: Client,
    node: Option<u32>,
    log: PathBuf,
}

impl Probe {
    pub(super) async fn sample(&self) -> Value {
        let status = self.client.status().await.unwrap_or_default();
        let mut rss_kb = serde_json::Map::new();
        let of = |pid: Option<u32>| json!(pid.and_then(rss_kb_of));
        rss_kb.insert("node".into(), of(self.node));
        for service in status.services.iter().filter(|service| service.mode == "process") {
            rss_kb.insert(service.name.clone(), of(service.pid));
        }
        rss_kb.insert("generator".into(), of(Some(std::process::id())));
        let restarts: u32 = status.services.iter().map(|service| service.restarts).sum();
        json!({
            "rss_kb": rss_kb, "data_bytes": bytes_below(&self.log), "restarts": restarts,
            "queue_depth": status.queue_depth, "commit": status.as_of.map(|as_of| as_of.commit),
            "open_positions": status.open_positions,
        })
    }
}

/// Returns the memory of a process where the system tells it (Linux).
fn rss_kb_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
