//! The nodes that are measured: how they are configured, and one in a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use proctor_daemon::network::NodeKey;
use proctor_daemon::{Config, Layers};

/// How long a node may take to listen.
const START_MAX: Duration = Duration::from_secs(120);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What every node here has in common: nothing comes in but what is measured, every port is any that is
/// free, and no tick comes in between.
const SETTINGS: [&str; 11] = [
    "listen.node=0",
    "listen.prices=0",
    "listen.positions=0",
    "listen.orders=0",
    "listen.eliminations=0",
    "listen.challenge_period=0",
    "listen.metrics=0",
    "feed.kind=none",
    "node.tick_ms=3600000",
    "telemetry.log=warn",
    "network.snapshot_gap=0",
];

/// Returns the configuration of a node below `data`, with `more`.
pub(super) fn config(data: &Path, more: &[String]) -> Result<Config> {
    let mut layers = Layers::default();
    let data = data.to_str().context("--data: the directory's name is not UTF-8")?;
    layers.flag(&format!("node.data={data}"))?;
    for flag in SETTINGS {
        layers.flag(flag)?;
    }
    for flag in more {
        layers.flag(flag)?;
    }
    Ok(Config::of(&layers)?)
}

/// A node that others fetch from, in a process of its own.
pub(super) struct Source {
    child: Child,
    /// KEY@HOST:PORT.
    pub(super) at: String,
}

impl Source {
    /// Starts a node on the log below `data`; it listens when this returns.
    pub(super) fn start(data: &Path, more: &[String]) -> Result<Self> {
        let key = NodeKey::load_or_make(&data.join("node.key"))?.id();
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe().context("this program")?);
        command.arg("run").arg("--data").arg(data);
        let settings = SETTINGS.iter().map(|flag| (*flag).to_owned());
        for flag in settings.chain(more.iter().cloned()).chain([format!("listen.peers={port}")]) {
            command.arg("--set").arg(flag);
        }
        let said = data.with_extension("said");
        let log = std::fs::File::create(&said)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the node does not start")?;
        let mut source = Self { child, at: format!("{key}@127.0.0.1:{port}") };
        source.listens(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &said)?;
        Ok(source)
    }

    fn listens(&mut self, address: SocketAddr, said: &Path) -> Result<()> {
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let said = std::fs::read_to_string(said).unwrap_or_default();
                bail!("the node has ended ({status}): {}", said.trim());
            }
            if Instant::now() >= until {
                bail!("the node does not listen after {} s", START_MAX.as_secs());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Returns the number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Its directory goes with it, so there is nothing to end in order.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns a port that nobody uses now.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
