//! A progress bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_millis(200);

/// Shows how far a long run is.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
    line_every: Duration,
    total: u64,
}

impl Progress {
    /// Returns a display for `total` steps of `what`.
    pub(crate) fn new(total: u64, what: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3}% {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.with_style(style).with_prefix(what)
        });
        Self { bar, last_line: None, line_every: LINE_EVERY, total }
    }

    /// Returns a display that writes a line for every step, on a terminal too.
    pub(crate) fn every_step(total: u64) -> Self {
        Self { bar: None, last_line: None, line_every: Duration::ZERO, total }
    }

    /// Shows that `done` steps are done; `line` is what a plain line says.
    pub(crate) fn at(&mut self, done: u64, line: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done.min(self.total));
            return;
        }
        if self.last_line.is_none_or(|last| last.elapsed() >= self.line_every) {
            self.last_line = Some(Instant::now());
            // A closed pipe is no reason to stop a run.
            drop(writeln!(std::io::stdout().lock(), "{}", line()));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
