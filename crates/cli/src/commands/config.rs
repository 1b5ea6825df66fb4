//! `proctor config`: is it a configuration, and what holds?

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use proctor_daemon::config::{Config, Layers};

use super::print;
use crate::Verdict;

/// Where a configuration is from; the same for every command that has one.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// A file that states what differs from the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One field, such as listen.prices=51001; prevails over the file and the environment.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    flags: Vec<String>,
}

impl Source {
    /// Returns all layers, the last one on top.
    pub(crate) fn layers(&self) -> Result<Layers> {
        let mut layers = Layers::default();
        if let Some(file) = &self.config {
            layers.file(file)?;
        }
        layers.environment(|name| std::env::var(name).ok())?;
        self.flags.iter().try_for_each(|flag| layers.flag(flag))?;
        Ok(layers)
    }
}

/// Arguments of `proctor config`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Says whether a node would start with it; changes nothing.
    Check(Source),
    /// Every field: value, where it is from, meaning and unit.
    Show(Source),
    /// The documented defaults, as a file to begin with.
    Defaults,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    match &args.task {
        Task::Check(source) => {
            Config::of(&source.layers()?)?;
            Ok(print("the configuration can be used\n"))
        }
        Task::Show(source) => {
            let layers = source.layers()?;
            // What is shown must also hold.
            Config::of(&layers)?;
            Ok(print(&page(&layers)))
        }
        Task::Defaults => Ok(print(proctor_daemon::config::DEFAULTS)),
    }
}

fn page(layers: &Layers) -> String {
    let mut page = String::new();
    for setting in layers.settings() {
        let assignment = format!("{} = {}", setting.path, setting.value);
        // Writing to a text cannot fail.
        let _ = writeln!(page, "{assignment:<44} # {}", setting.origin);
        super::text::wrapped(&mut page, "    ", &setting.meaning);
    }
    page
}
