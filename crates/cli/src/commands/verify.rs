//! `proctor verify`: does the log prove its results?

use std::path::PathBuf;

use anyhow::Result;
use proctor_node::verify::{VerifyError, verify};

use crate::Verdict;

/// Arguments of `proctor verify`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data directory of an earlier run.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs the command; damage and divergence are a verdict, not an error of the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    match verify(&args.data, |_| {}) {
        Ok(proof) => {
            let commits = proof.stamp.commit - proof.begins;
            say!("verified {commits} commits, {} inputs", proof.inputs);
            if proof.begins > 0 {
                say!(
                    "  begins     after commit {}, from the snapshot there; what was before is not \
                     here",
                    proof.begins
                );
            }
            say!("  up to      {}", proof.stamp.at);
            if let Some(chain) = proof.chain {
                say!("  chain      {chain}");
            }
            say!("  chain head {}", proof.head);
            say!("  digest     {}", proof.digest);
            say!("  compared   {} digests, {} snapshots", proof.digests, proof.snapshots.len());
            if let Some(torn) = proof.torn {
                say!(
                    "  note       {} ends with {} bytes of commit {}, cut off by a crash before it \
                     was acknowledged; the next run removes them",
                    torn.file,
                    torn.bytes,
                    torn.index
                );
            }
            Ok(Verdict::Good)
        }
        Err(VerifyError::DataDir(error)) => Err(error.into()),
        Err(error) => {
            say!("NOT verified: {error}");
            Ok(Verdict::Bad)
        }
    }
}
