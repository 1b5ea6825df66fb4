//! `proctor node`: the node's own key, and its peers: who they are, ban, unban, dial.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use proctor_client::v1;
use proctor_daemon::Config;
use proctor_daemon::network::NodeKey;
use proctor_services::Role;
use serde_json::{Value, json};

use super::remote::{Node, Remote, as_of, as_of_line};
use super::{config, print};
use crate::Verdict;

/// Arguments of `proctor node`.
#[derive(clap::Subcommand)]
pub(crate) enum Args {
    /// Print the key by which other nodes know this one; makes it when there is none yet.
    Id(Whose),
    /// The nodes that a running node is connected to, and who is banned.
    Peers(At),
    /// Turn a node away at once, also if it is connected; a restart does not lift it.
    Ban {
        /// Its key.
        key: String,
        /// For how long, in seconds; until it is lifted when absent.
        #[arg(long, value_name = "SECONDS")]
        for_s: Option<u64>,
        /// Why, for the record.
        #[arg(long)]
        why: String,
        #[command(flatten)]
        at: At,
    },
    /// Lift a ban and forget the faults before it.
    Unban {
        /// Its key.
        key: String,
        #[command(flatten)]
        at: At,
    },
    /// Dial a node now: KEY@HOST:PORT, dialled until the process ends, or the KEY of one that is known.
    Dial {
        /// Whom.
        peer: String,
        #[command(flatten)]
        at: At,
    },
}

/// Which node is meant.
#[derive(clap::Args)]
pub(crate) struct Whose {
    #[command(flatten)]
    config: config::Source,
    /// The node's data directory; the same as --set node.data=DIR.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A running node and who asks it.
#[derive(clap::Args)]
pub(crate) struct At {
    /// Data directory of a node on this machine, for its token file.
    #[arg(long, value_name = "DIR", default_value = "data/node")]
    data: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    match args {
        Args::Id(whose) => id(whose),
        Args::Peers(at) => {
            let work = |node: Node| async move { Ok(node.client.list_peers().await?) };
            let listed = at.remote.run_as(Role::Admin, &at.data, work)?;
            let page =
                if at.remote.json { format!("{}\n", object(&listed)) } else { page(&listed) };
            Ok(print(&page))
        }
        Args::Ban { key, for_s, why, at } => {
            let for_ms = for_s.map(|seconds| seconds.saturating_mul(1_000));
            let request = v1::BanPeerRequest { key: key.clone(), for_ms, why: why.clone() };
            let until = for_s.map_or("until it is lifted".into(), |s| format!("for {s} s"));
            at.tell(&format!("{key} is banned {until}"), |node| async move {
                Ok(node.client.ban_peer(request).await?)
            })
        }
        Args::Unban { key, at } => at
            .tell(&format!("the ban of {key} is lifted"), |node| async move {
                Ok(node.client.unban_peer(key.clone()).await?)
            }),
        Args::Dial { peer, at } => {
            let (key, address) = match peer.split_once('@') {
                Some((key, address)) => (key, Some(address.to_owned())),
                None => (peer.as_str(), None),
            };
            let request = v1::DialPeerRequest { key: key.to_owned(), address };
            at.tell(&format!("{key} is being dialled"), |node| async move {
                Ok(node.client.dial_peer(request).await?)
            })
        }
    }
}

fn id(whose: &Whose) -> Result<Verdict> {
    let mut layers = whose.config.layers()?;
    if let Some(data) = &whose.data {
        layers.flag(&format!("node.data={}", data.display()))?;
    }
    let config = Config::of(&layers)?;
    std::fs::create_dir_all(&config.node.data)?;
    say!("{}", NodeKey::load_or_make(&config.node_key_file())?.id());
    Ok(Verdict::Good)
}

impl At {
    /// Has the node do something and prints that it is done.
    fn tell<F>(&self, done: &str, work: impl FnOnce(Node) -> F) -> Result<Verdict>
    where
        F: Future<Output = Result<v1::PeerResponse>>,
    {
        let answer = self.remote.run_as(Role::Admin, &self.data, work)?;
        if self.remote.json {
            say!("{}", json!({ "done": done, "as_of": as_of(answer.as_of) }));
        } else {
            say!("{done}, {}", as_of_line(answer.as_of));
        }
        Ok(Verdict::Good)
    }
}

fn object(listed: &v1::ListPeersResponse) -> Value {
    let peers: Vec<Value> = (listed.peers.iter())
        .map(|peer| {
            json!({
                "key": peer.key, "address": peer.address, "direction": peer.direction,
                "state": peer.state, "height": peer.height, "gap": peer.gap, "trust": peer.trust,
                "quality": peer.quality, "since_ms": peer.since_ms, "rtt_ms": peer.rtt_ms,
                "bytes_in": peer.bytes_in, "bytes_out": peer.bytes_out,
            })
        })
        .collect();
    let bans: Vec<Value> = (listed.bans.iter())
        .map(|ban| {
            json!({
                "key": ban.key, "left_ms": ban.left_ms, "by_operator": ban.by_operator,
                "why": ban.why,
            })
        })
        .collect();
    json!({
        "as_of": as_of(listed.as_of), "target": listed.target, "applied": listed.applied,
        "peers": peers, "bans": bans,
    })
}

fn page(listed: &v1::ListPeersResponse) -> String {
    let mut page = String::new();
    // Writing to a text cannot fail.
    let _ = writeln!(page, "at commit {} of {}", listed.applied, listed.target);
    if !listed.peers.is_empty() {
        let _ = writeln!(
            page,
            "{:<64}  {:<21}  {:<3}  {:<7}  {:>10}  {:>7}  {:>5}  {:>7}  since",
            "key", "address", "way", "state", "height", "gap", "trust", "quality"
        );
    }
    for peer in &listed.peers {
        let since = age(peer.since_ms);
        let _ = writeln!(
            page,
            "{:<64}  {:<21}  {:<3}  {:<7}  {:>10}  {:>7}  {:>5}  {:>7.2}  {since}",
            peer.key,
            peer.address,
            peer.direction,
            peer.state,
            peer.height,
            peer.gap,
            peer.trust,
            peer.quality,
        );
    }
    for ban in &listed.bans {
        let left = match ban.left_ms {
            Some(ms) => format!("for {} more", age(ms)),
            None => "until it is lifted".into(),
        };
        let why = if ban.by_operator { &ban.why } else { "its faults" };
        let _ = writeln!(page, "banned {} {left}: {why}", ban.key);
    }
    page
}

/// Returns a time in the unit that is read easiest; the node states none of more than a century.
fn age(ms: u64) -> String {
    super::text::age(i64::try_from(ms.min(1 << 50)).unwrap_or(0))
}
