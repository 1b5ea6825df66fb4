//! The baseline: a script that does the same rows on Python's shared dict, when there is a Python.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const PYTHON: &str = "python3";

/// Nanoseconds per operation, by row.
pub(super) type Baseline = BTreeMap<String, f64>;

/// The script, and whether it can be run.
pub(super) struct Manager {
    script: PathBuf,
    skipped: Option<&'static str>,
}

impl Manager {
    pub(super) fn new(script: &Path) -> Self {
        let version = Command::new(PYTHON).arg("--version").stdout(Stdio::null()).status();
        let is_missing = version.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let skipped = is_missing.then_some("there is no python3");
        Self { script: script.to_owned(), skipped }
    }

    /// Why there is no baseline, when there is none.
    pub(super) fn skipped(&self) -> Option<&'static str> {
        self.skipped
    }

    /// Runs one round.
    pub(super) fn round(&self) -> Result<Baseline> {
        if self.skipped.is_some() {
            return Ok(Baseline::new());
        }
        let name = self.script.display();
        let output = Command::new(PYTHON).arg(&self.script).arg("1").output();
        let output = output.with_context(|| format!("cannot run {name}"))?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} failed: {}", words.trim());
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line)?;
                let row = value["row"].as_str().context("no row")?.to_owned();
                Ok((row, value["median_ns"].as_f64().context("no median_ns")?))
            })
            .collect::<Result<_>>()
            .with_context(|| format!("{name} printed something else than figures"))
    }
}
