//! `proctor status`: how a running node is, once or again and again.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use proctor_client::v1::GetStatusResponse;
use proctor_node::report::count;

use super::print;
use super::remote::Remote;
use crate::Verdict;

/// A node that has committed nothing for this long is not well, in ms.
const STALE_MS: i64 = 15_000;

/// Arguments of `proctor status`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Asks again every so many seconds, until interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    watch: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

/// Runs the command; the verdict is bad when the node answers but is not well.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let ask = || args.remote.run(|node| async move { Ok(node.status) });
    let Some(seconds) = args.watch else {
        let status = ask()?;
        print(&shown(&status, args.remote.json));
        return Ok(if is_well(&status) { Verdict::Good } else { Verdict::Bad });
    };
    loop {
        let page = match ask() {
            Ok(status) => shown(&status, args.remote.json),
            // Whoever watches wants to see it come back.
            Err(error) => format!("{}\n", crate::one_line(&error)),
        };
        print(&page);
        std::thread::sleep(Duration::from_secs(seconds.max(1)));
    }
}

fn is_well(status: &GetStatusResponse) -> bool {
    status.phase == "running"
        && status.age_ms < STALE_MS
        && status.stale.is_empty()
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
        "feed": status.feed, "network": status.network, "services": services, "alerts": status.alerts, "stale": status.stale,
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
    if !status.network.is_empty() {
        line("network", status.network.clone());
    }
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
