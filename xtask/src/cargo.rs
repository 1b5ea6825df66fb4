//! Cargo as a child process: at the root of the repository, without a standard input.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Returns the root of the repository that this task was started in.
///
/// # Errors
/// When the task was not started by cargo.
pub(crate) fn root() -> Result<PathBuf> {
    // Asked at run time: a target folder shared by two clones may hold the binary of the other.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").context("start it as `cargo xtask`")?;
    PathBuf::from(xtask).parent().map(Path::to_owned).context("xtask/ lies in the repository")
}

/// Returns the cargo command `line`, split at spaces, with the variables `environment`.
///
/// # Errors
/// When the task was not started by cargo.
pub(crate) fn command(line: &str, environment: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(line.split(' ')).current_dir(root()?).stdin(Stdio::null());
    command.envs(environment.iter().copied());
    Ok(command)
}

/// Announces the cargo command `line`, runs it and returns whether it succeeded.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(line: &str, environment: &[(&str, &str)]) -> Result<bool> {
    announce(line, environment);
    let status = command(line, environment)?.status().context("cannot start cargo")?;
    Ok(status.success())
}

/// Prints the cargo command `line` as one would type it.
pub(crate) fn announce(line: &str, environment: &[(&str, &str)]) {
    let variables: String =
        environment.iter().map(|(name, value)| format!("{name}=\"{value}\" ")).collect();
    println!("\n==> {variables}cargo {line}");
}
