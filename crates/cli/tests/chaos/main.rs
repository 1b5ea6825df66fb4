//! Kill -9 of the node and of every child, under load: nothing acknowledged is lost or changed.
//!
//! A real node with its services as processes, traders who sign and send, an operator who ends
//! accounts, a feed. Processes are killed in an order that the seed decides, and one is only stopped. A
//! kill waits for what it disturbs (answers since the kill before), never for time to pass. What
//! everybody was told is written down, and compared with the log in the end.
//!
//! Beside it: many callers at once (`stress`), nodes that follow each other over a bad network (`cluster`), one
//! that lies (`liar`), and a flood of connections (`flood`).
//!
//! `PROCTOR_CHAOS_KILLS` and `PROCTOR_CHAOS_SEED` make it longer and other; `cargo xtask chaos` sets them.

#![allow(clippy::print_stdout, reason = "a run says what it did, so that it can be repeated")]
#![allow(clippy::wildcard_enum_match_arm, clippy::cast_possible_truncation, reason = "tests")]

mod cluster;
mod flood;
mod killer;
mod liar;
mod load;
mod log;
mod node;
mod proxy;
#[path = "../../../network/tests/network/stranger.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a file of the tests of the network, which need more of it"
)]
mod stranger;
mod stress;

use std::sync::Arc;
use std::time::{Duration, Instant};

use load::{Load, Told};
use node::ChaosNode;

/// How often something is killed when nobody says otherwise: everything once.
const KILLS: u32 = 6;
const SEED: u64 = 20_260_112;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Waits until `look` finds something; `what` is told when that takes longer than `limit`.
async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {} s", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_node_and_its_children_are_killed_under_load() {
    let kills = u32::try_from(setting("PROCTOR_CHAOS_KILLS", u64::from(KILLS))).expect("kills");
    let seed = setting("PROCTOR_CHAOS_SEED", SEED);
    println!("PROCTOR_CHAOS_KILLS={kills} PROCTOR_CHAOS_SEED={seed}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(chaos(kills, seed));
}

async fn chaos(kills: u32, seed: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut node = ChaosNode::new(directory.path(), seed);
    node.start().await;
    let told = Arc::new(Told::default());
    let load = Load::start(&node, &told, seed).await;
    let report = killer::run(&mut node, &told, kills, seed).await;
    let verdicts = load.end().await;
    let (commit, digest) = node.digest().await;
    assert_eq!(verdicts, node.verdicts().await, "the replica's verdicts, and the service's");
    node.stop().await;
    node.no_process_is_left().await;
    let found = log::check(node.data(), &told, &verdicts, commit, &digest);
    let verified = node.verify();
    println!("{report:#?}\n{told}\n{found:#?}\n{verified}");
}
