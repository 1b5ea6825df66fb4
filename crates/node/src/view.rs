//! The state at the end of a log, read without a lock and without changing anything.

use std::path::Path;

use proctor_engine::View;
use proctor_sequencer::{Replay, ReplayError};

use crate::data_dir::{self, DataDirError};

/// Why the end of a log cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The directory is not there or is not ours.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log is damaged or states another result.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Returns the state at the end of the log in the data directory at `path`, folded from its first
/// commit, or from the snapshot after which it begins.
///
/// # Errors
/// [`ViewError`] when the log cannot be folded.
pub fn view_of(path: &Path) -> Result<View, ViewError> {
    let mut fold = Replay::from_the_beginning(&data_dir::log_of(path)?)?;
    while fold.step()?.is_some() {}
    Ok(fold.engine().view())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{self, RunError};
    use crate::simulation::{Scenario, Simulation};

    #[test]
    fn the_view_is_the_one_that_the_run_ended_with() {
        let dir = tempfile::tempdir().expect("a directory");
        let batches = Simulation::new(Scenario { seed: 3, traders: 5, days: 1 });
        let done = run::run(dir.path(), Default::default(), batches.map(Ok::<_, RunError>), |_| {})
            .expect("a run");
        let view = view_of(dir.path()).expect("a view");
        assert_eq!((view.stamp, view.digest), (done.view.stamp, done.view.digest));
        assert!(matches!(view_of(&dir.path().join("none")), Err(ViewError::DataDir(_))));
    }
}
