//! `proctor status`: how a running node is, once or again and again.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use proctor_node::report::count;
use proctor_rpc::v1::node_client::NodeClient;
use proctor_rpc::v1::{GetStatusRequest, GetStatusResponse};

use super::print;
use crate::Verdict;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A node that has committed nothing for this long is not well, in ms.
const STALE_MS: i64 = 15_000;

/// Arguments of `proctor status`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node's own address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50000")]
    node: String,
    /// Asks again every so many seconds, until interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    watch: Option<u64>,
    /// Prints JSON, one object per answer.
    #[arg(long)]
    json: bool,
}

/// Runs the command; the verdict is bad when the node answers but is not well.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Some(seconds) = args.watch else {
        let status = runtime.block_on(ask(&args.node))?;
        print(&shown(&status, args.json))?;
        return Ok(if is_well(&status) { Verdict::Good } else { Verdict::Bad });
    };
    loop {
        let page = match runtime.block_on(ask(&args.node)) {
            Ok(status) => shown(&status, args.json),
            // Whoever watches wants to see it come back.
            Err(error) => format!("{}\n", crate::one_line(&error)),
        };
        print(&page)?;
        std::thread::sleep(Duration::from_secs(seconds.max(1)));
    }
}

async fn ask(node: &str) -> Result<GetStatusResponse> {
    let endpoint = tonic::transport::Endpoint::from_shared(node.to_owned())
        .with_context(|| format!("--node {node} is not an address such as http://127.0.0.1:50000"))?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE);
    let Ok(channel) = endpoint.connect().await else {
        bail!(
            "no node answers at {node}: start one with `proctor run`, or give its --node address"
        );
    };
    let mut client = NodeClient::new(channel);
    match client.get_status(GetStatusRequest {}).await {
        Ok(status) => Ok(status.into_inner()),
        Err(error) => bail!("the node at {node} answers with an error: {}", error.message()),
    }
}

fn is_well(status: &GetStatusResponse) -> bool {
    status.phase == "running"
        && status.age_ms < STALE_MS
        && status.services.iter().all(|service| service.state == "ready")
}

fn shown(status: &GetStatusResponse, json: bool) -> String {
    if json { format!("{}\n", object(status)) } else { page(status) }
}

fn object(status: &GetStatusResponse) -> serde_json::Value {
    let as_of = status.as_of.unwrap_or_default();
    let services = status.services.iter().map(|service| {
        serde_json::json!({
            "name": service.name, "address": service.address, "state": service.state,
            "mode": service.mode, "restarts": service.restarts, "pid": service.pid,
            "generation": service.generation, "note": service.note,
        })
    });
    let services: Vec<serde_json::Value> = services.collect();
    serde_json::json!({
        "commit": as_of.commit, "as_of_ms": as_of.as_of_ms, "generation": as_of.generation,
        "chain_id": status.chain_id, "digest": status.digest, "phase": status.phase,
        "age_ms": status.age_ms, "started_ms": status.started_ms,
        "queue_depth": status.queue_depth, "queue_max": status.queue_max,
        "accounts": status.accounts, "accounts_alive": status.accounts_alive,
        "eliminated": status.eliminated, "open_positions": status.open_positions,
        "resting_orders": status.resting_orders, "rulebook": status.rulebook,
        "feed": status.feed, "services": services, "alerts": status.alerts,
        "well": is_well(status),
    })
}

fn page(status: &GetStatusResponse) -> String {
    let as_of = status.as_of.unwrap_or_default();
    let mut page = String::new();
    let mut line = |label: &str, text: String| {
        // Writing to a text cannot fail.
        let _ = writeln!(page, "{label:<12}{text}");
    };
    line("node", format!("{}, {}", status.chain_id, status.phase));
    let age = super::text::age(status.age_ms);
    line("commit", format!("{}, {age} ago", count(as_of.commit)));
    line("digest", status.digest.clone());
    line("rulebook", status.rulebook.clone());
    line("feed", status.feed.clone());
    line("queue", format!("{} of {}", count(status.queue_depth), count(status.queue_max)));
    line(
        "accounts",
        format!(
            "{}, {} alive, {} eliminated",
            status.accounts, status.accounts_alive, status.eliminated
        ),
    );
    line(
        "orders",
        format!(
            "{} positions open, {} orders resting",
            status.open_positions, status.resting_orders
        ),
    );
    for service in &status.services {
        let note = if service.note.is_empty() { "" } else { ", " };
        line(
            "service",
            format!(
                "{:<17}{:<22}{} ({}, {} restarts{note}{})",
                service.name,
                service.address,
                service.state,
                service.mode,
                service.restarts,
                service.note
            ),
        );
    }
    for alert in &status.alerts {
        line("alert", alert.clone());
    }
    page
}
