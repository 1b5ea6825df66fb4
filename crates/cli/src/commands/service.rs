//! `proctor service`: one service as a child of a node; not for hands.

/// Arguments of `proctor service`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which service.
    name: String,
}

/// Runs the service; returns the exit code, which tells its supervisor whether to try again.
pub(crate) fn run(args: &Args) -> u8 {
    proctor_daemon::isolated::run_child(&args.name)
}
