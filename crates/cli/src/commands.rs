//! One file per subcommand.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod replay;
pub(crate) mod verify;
pub(crate) mod verify_evidence;

use proctor_node::evidence::Anchors;

/// Says which snapshots a start had to do without.
fn warn_of_skipped(finished: &proctor_node::run::Finished) {
    for snapshot in &finished.skipped {
        eprintln!(
            "warning: did without a damaged snapshot, the log has it all: {}",
            snapshot.error
        );
    }
}

/// Prints where the path of an evidence file begins and ends: what its reader compares with what the
/// validator has published.
fn print_anchors(anchors: &Anchors) {
    println!("  chain      {}", anchors.chain);
    println!("  up to      commit {} ({})", anchors.head.commit, anchors.head.at);
    match anchors.digest {
        Some(digest) => println!("  digest     {digest}"),
        None => {
            println!("  digest     not stated yet: the path ends at the last commit of the log");
        }
    }
}
