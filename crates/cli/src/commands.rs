//! One file per subcommand.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod replay;
pub(crate) mod verify;
