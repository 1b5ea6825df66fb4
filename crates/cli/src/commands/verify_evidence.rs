//! `proctor verify-evidence`: does an evidence file prove what it says, and is it from this log?

use std::path::PathBuf;

use anyhow::{Context, Result};
use proctor_node::evidence::{Expected, Refusal, verify};
use proctor_types::Digest;

use crate::Verdict;

/// Arguments of `proctor verify-evidence`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The evidence file.
    file: PathBuf,
    /// The chain that the file must be from, as published by the validator.
    #[arg(long, value_name = "HASH")]
    chain: Option<Digest>,
    /// A published state digest that the file's path must end in: `COMMIT:DIGEST`.
    #[arg(long, value_name = "COMMIT:DIGEST", value_parser = head)]
    head: Option<(u64, Digest)>,
    /// A data directory whose log the file must be from.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the command; a file that proves something else is a verdict, not an error of the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    let bytes = std::fs::read(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let expected = Expected { chain: args.chain, head: args.head, data: args.data.as_deref() };
    match verify(&bytes, &expected) {
        Ok(confirmed) => {
            match (confirmed.given.as_slice(), confirmed.attested_in_log) {
                ([], _) => say!("confirmed: {}", confirmed.verdict),
                (_, true) => say!("confirmed with the log: {}", confirmed.verdict),
                (_, false) => say!("confirmed, given what it attests: {}", confirmed.verdict),
            }
            for given in &confirmed.given {
                say!("  given      {given}");
            }
            say!("  recomputed {} ledger steps from the file alone", confirmed.steps);
            if confirmed.signed > 0 {
                let signed = confirmed.signed;
                say!("  signed     {signed} orders, each by its trader: every signature counts");
            }
            super::print_anchors(&confirmed.anchors);
            if confirmed.verdict_in_digest {
                say!("  verdict    stands in that digest: the validator reached the same one");
            }
            match confirmed.held_against.as_slice() {
                [] => say!(
                    "  compare    chain and digest with what the validator has published; without \
                     that the file proves only that it agrees with itself"
                ),
                held => say!("  agrees     with {}", held.join(", ")),
            }
            Ok(Verdict::Good)
        }
        Err(Refusal::Unanswerable(error)) => Err(error.into()),
        Err(refusal) => {
            say!("NOT confirmed: {refusal}");
            Ok(Verdict::Bad)
        }
    }
}

fn head(text: &str) -> Result<(u64, Digest), String> {
    let (commit, digest) = text.split_once(':').ok_or("give COMMIT:DIGEST")?;
    let commit = commit.parse().map_err(|_| format!("{commit:?} is not a commit"))?;
    Ok((
        commit,
        digest.parse().map_err(|error: proctor_types::commit::NotADigest| error.to_string())?,
    ))
}
