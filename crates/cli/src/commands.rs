//! One file per subcommand.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod replay;
pub(crate) mod verify;

/// Says which snapshots a start had to do without.
fn warn_of_skipped(finished: &proctor_node::run::Finished) {
    for snapshot in &finished.skipped {
        eprintln!(
            "warning: did without a damaged snapshot, the log has it all: {}",
            snapshot.error
        );
    }
}
