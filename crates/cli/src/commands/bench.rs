//! `proctor bench`: how fast is this machine? One JSON object per figure.

mod load;
mod network;
mod rpc;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use proctor_node::bench::{self, Figure, Scale};

use crate::Verdict;

/// Arguments of `proctor bench`.
#[derive(clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    name: Name,
    /// Measure every figure over next to nothing: checks that all of it works, the values say
    /// nothing.
    #[arg(long, global = true)]
    quick: bool,
}

/// What is measured.
#[derive(Subcommand)]
enum Name {
    /// Marks, market orders, ledgers and memory, in one process.
    Engine,
    /// A refresh of the stages with scoring, for 250 and for 10,000 traders.
    Challenge,
    /// Resting limit orders: price updates that reach none of them, and fills.
    Orders,
    /// Durable commits against the disk's own speed, and recovery.
    Log {
        /// Where to write; a directory of its own is made inside and removed afterwards.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Evidence files: how long they take to write and to verify, and how large they are.
    Evidence {
        /// Where to write; a directory of its own is made inside and removed afterwards.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// The four rows of the services by call, replica and gRPC, and orders from submit to answer.
    Rpc(rpc::Args),
    /// Signed orders at a fixed rate for a long time, with slow and stuck watchers.
    Load(load::Args),
    /// Headers and certificates; over loopback: a follower that catches up, joins by a snapshot, and
    /// follows commit by commit. A join by a snapshot without the network is in `log`.
    Network(network::Args),
    /// Key renewal and sealed records of a secure stream, beside their primitives alone.
    Ratchet,
}

/// Runs the command; only figures go to standard output.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let scale = if args.quick { Scale::Quick } else { Scale::Full };
    let mut failure = None;
    let mut report = |figure: Figure| match serde_json::to_string(&figure) {
        Ok(line) => say!("{line}"),
        Err(error) => failure = Some(error),
    };
    match &args.name {
        Name::Engine => bench::engine(scale, &mut report)?,
        Name::Challenge => {
            bench::challenge(scale, &mut report)?;
            bench::scoring(scale, &mut report)?;
        }
        Name::Orders => bench::orders(scale, &mut report)?,
        Name::Log { data } => {
            let parent = data.as_deref().unwrap_or(Path::new("data/bench"));
            bench::log(scale, parent, &mut report)?;
        }
        Name::Evidence { data } => {
            let parent = data.as_deref().unwrap_or(Path::new("data/bench"));
            bench::evidence(scale, parent, &mut report)?;
        }
        Name::Rpc(own) => rpc::run(own, args.quick)?,
        Name::Load(own) => load::run(own, args.quick)?,
        Name::Network(own) => network::run(own, scale, &mut report)?,
        Name::Ratchet => bench::ratchet(scale, &mut report)?,
    }
    match failure {
        None => Ok(Verdict::Good),
        Some(error) => Err(error.into()),
    }
}
