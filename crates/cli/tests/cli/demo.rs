//! A demo is a function of its seed.

use crate::common::{demo, run};

#[test]
fn the_same_seed_gives_the_same_digest_and_another_seed_another_one() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    let first = demo(&at("first"), 3, 30, 2);
    assert_eq!(demo(&at("second"), 3, 30, 2), first);
    assert_ne!(demo(&at("third"), 4, 30, 2), first);

    let verified = run(&["verify", "--data", at("first").to_str().unwrap()]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.out.contains(&format!("digest     {first}")), "{}", verified.out);
}

#[test]
fn a_demo_that_is_run_again_in_its_directory_ends_in_the_same_digest() {
    let parent = tempfile::tempdir().unwrap();
    let first = demo(parent.path(), 5, 10, 1);
    assert_eq!(demo(parent.path(), 5, 10, 1), first);
    // A longer run of the same seed goes on where the shorter one stopped.
    let longer = demo(parent.path(), 5, 10, 2);
    assert_ne!(longer, first);
    let other = tempfile::tempdir().unwrap();
    assert_eq!(demo(other.path(), 5, 10, 2), longer);
}

#[test]
fn another_run_in_the_same_directory_is_refused_and_changes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    demo(parent.path(), 5, 10, 1);
    let before = crate::common::files(parent.path());
    let dir = parent.path().to_str().unwrap();
    let other = run(&["demo", "--data", dir, "--seed", "6", "--traders", "10", "--days", "1"]);
    assert_eq!(other.code, Some(2));
    assert!(other.err.contains("holds another run"), "{}", other.err);
    assert_eq!(other.err.lines().count(), 1, "{}", other.err);
    assert_eq!(crate::common::files(parent.path()), before);
}
