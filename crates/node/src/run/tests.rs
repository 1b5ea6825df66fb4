//! Runs: resumed ones end like uninterrupted ones, others' directories are refused.

use super::*;
use crate::simulation::{Scenario, Simulation};
use crate::verify::verify;

const SMALL: Scenario = Scenario { seed: 5, traders: 25, days: 2 };

fn whole(path: &Path, scenario: Scenario) -> Result<Finished, RunError> {
    let batches = Simulation::new(scenario).map(Ok::<_, RunError>);
    run(path, WriterConfig::default(), batches, |_| {})
}

/// Runs the first `commits` commits only, as if the process had ended there.
fn beginning(path: &Path, commits: usize) {
    let batches = Simulation::new(SMALL).take(commits).map(Ok::<_, RunError>);
    run(path, WriterConfig::default(), batches, |_| {}).expect("a good beginning");
}

#[test]
fn a_resumed_run_ends_in_the_same_digest_and_the_same_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let uninterrupted = whole(&dir.path().join("whole"), SMALL).expect("runs");
    for commits in [1, 2, 700, 3_000] {
        let path = dir.path().join(commits.to_string());
        beginning(&path, commits);
        let resumed = whole(&path, SMALL).expect("goes on");
        assert_eq!(resumed.resumed, commits as u64);
        assert_eq!(resumed.view.digest, uninterrupted.view.digest);
        assert_eq!(resumed.tally.accepted, uninterrupted.tally.accepted);
        assert_eq!(resumed.tally.closed, uninterrupted.tally.closed);
        assert_eq!(verify(&path, |_| {}).expect("verifies").digest, uninterrupted.view.digest);
    }
}

#[test]
fn a_finished_run_that_is_run_again_adds_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = whole(dir.path(), SMALL).expect("runs");
    let again = whole(dir.path(), SMALL).expect("runs");
    assert_eq!(again.resumed, first.view.stamp.commit);
    assert_eq!(again.view.digest, first.view.digest);
}

#[test]
fn the_directory_of_another_run_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = whole(dir.path(), SMALL).expect("runs");
    let other = whole(dir.path(), Scenario { seed: 6, ..SMALL });
    assert!(matches!(other, Err(RunError::OtherRun(_))), "{other:?}");
    let shorter = whole(dir.path(), Scenario { days: 1, ..SMALL });
    assert!(matches!(shorter, Err(RunError::LongerRun { .. })), "{shorter:?}");
    assert_eq!(verify(dir.path(), |_| {}).expect("verifies").digest, first.view.digest);
}

#[test]
fn an_error_of_the_source_ends_the_run_and_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let broken =
        Simulation::new(SMALL).take(500).map(Ok).chain(std::iter::once(Err(RunError::OtherRun(0))));
    let mut acknowledged = 0;
    let result = run(dir.path(), WriterConfig::default(), broken, |done| {
        acknowledged = done.stamp.commit;
    });
    assert!(matches!(result, Err(RunError::OtherRun(0))));
    let proof = verify(dir.path(), |_| {}).expect("verifies");
    assert!(proof.stamp.commit >= acknowledged && acknowledged <= 500);
    assert_eq!(proof.stamp.commit, 500, "what was submitted before the error was committed");
}

#[test]
fn a_second_process_on_the_directory_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let _held = DataDir::create(dir.path()).expect("the first");
    let second = whole(dir.path(), SMALL);
    assert!(matches!(second, Err(RunError::DataDir(DataDirError::Locked(_)))), "{second:?}");
}

/// Frozen: it must be the same on every machine and in every build. A change of a rule, of the
/// rulebook or of an event's bytes changes it; say which one it was when you write the new one.
#[test]
fn the_digest_of_a_small_run_is_the_same_on_every_machine() {
    let dir = tempfile::tempdir().expect("a directory");
    let finished = whole(dir.path(), SMALL).expect("runs");
    assert_eq!(
        finished.view.digest.to_string(),
        "94d2badf12dd8fb1a3ca8b5cc0b6672f1a3b617e1b2893ca9e2347b19220121e"
    );
}
