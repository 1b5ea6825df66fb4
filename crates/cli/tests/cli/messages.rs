//! Exit codes and messages: 0 yes, 1 no, 2 cannot say; one line, and what to do about it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use proctor_commit_log::DirLock;

use crate::common::{assert_one_line_error, demo, files, proctor, run};

#[test]
fn a_data_directory_in_use_is_refused_by_name() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let _lock = DirLock::acquire(&dir).unwrap();
    let path = dir.to_str().unwrap();
    let args = ["demo", "--data", path, "--traders", "5", "--days", "1"];
    assert_one_line_error(&run(&args), 2, &format!("{path} is in use by another process"));
}

#[test]
fn a_second_process_waits_for_nobody_and_may_start_once_the_first_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().to_str().unwrap();
    // Nobody reads what the first one prints, so it stops when the pipe is full, and lives on.
    let mut first = proctor()
        .args(["demo", "--acks", "--data", path, "--traders", "5", "--days", "30"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, first.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("committed "), "{line}");
    let args = ["demo", "--data", path, "--traders", "5", "--days", "1"];
    assert_one_line_error(&run(&args), 2, &format!("{path} is in use by another process"));
    first.kill().unwrap();
    first.wait().unwrap();
    let longer = run(&args);
    assert!(!longer.err.contains("in use"), "the lock died with its owner: {longer:?}");
    assert_eq!(run(&["verify", "--data", path]).code, Some(0));
}

#[test]
fn a_running_node_does_not_keep_readers_out() {
    let parent = tempfile::tempdir().unwrap();
    demo(parent.path(), 1, 5, 1);
    let _lock = DirLock::acquire(parent.path()).unwrap();
    let path = parent.path().to_str().unwrap();
    assert_eq!(run(&["verify", "--data", path]).code, Some(0));
    assert_eq!(run(&["explain", "--data", path, "--trader", "trend-0000"]).code, Some(0));
}

#[test]
fn reading_a_directory_that_is_not_ours_is_an_error_of_one_line_and_leaves_it_alone() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("empty")).unwrap();
    std::fs::create_dir(at("other")).unwrap();
    std::fs::write(parent.path().join("other/letter.txt"), "dear").unwrap();
    std::fs::write(at("file"), "not a directory").unwrap();
    let before = files(parent.path());
    for name in ["missing", "empty", "other", "file"] {
        let path = at(name);
        let says = format!("{path} is not a data directory");
        assert_one_line_error(&run(&["verify", "--data", &path]), 2, &says);
        let explain = ["explain", "--data", &path, "--trader", "anyone"];
        assert_one_line_error(&run(&explain), 2, &says);
    }
    assert_eq!(files(parent.path()), before);
    assert!(!parent.path().join("missing").exists());
}

#[test]
fn a_log_folder_with_strange_content_does_not_verify_as_something() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().to_str().unwrap();
    std::fs::create_dir(parent.path().join("log")).unwrap();
    let empty = run(&["verify", "--data", path]);
    assert_eq!(empty.code, Some(0), "a log without commits proves that: {empty:?}");
    assert!(empty.out.starts_with("verified 0 commits"), "{empty:?}");
    std::fs::write(parent.path().join("log/00000000000000000001.seg"), "no segment").unwrap();
    let strange = run(&["verify", "--data", path]);
    assert_eq!(strange.code, Some(1), "{strange:?}");
    assert!(strange.out.starts_with("NOT verified: ") && strange.err.is_empty(), "{strange:?}");
}

#[test]
fn every_command_says_what_its_arguments_are() {
    let arguments: [(&[&str], &[&str]); 4] = [
        (&["--help"], &["demo", "explain", "verify", "--help", "--version"]),
        (&["demo", "--help"], &["--data <DIR>", "--seed", "--traders", "--days"]),
        (&["verify", "--help"], &["--data <DIR>"]),
        (&["explain", "--help"], &["--data <DIR>", "--trader <TRADER>", "--json", "--last <N>"]),
    ];
    for (args, expected) in arguments {
        let help = run(args);
        assert_eq!(help.code, Some(0), "{args:?}");
        for argument in expected {
            assert!(help.out.contains(argument), "{args:?} does not explain {argument}");
        }
        assert!(!help.out.contains("--acks"), "what is for tests is not in the help");
    }
}

#[test]
fn wrong_arguments_end_with_code_2() {
    for args in [
        &[][..],
        &["nonsense"],
        &["verify"],
        &["explain", "--data", "x"],
        &["demo", "--days", "-1"],
    ] {
        let wrong = run(args);
        assert_eq!((wrong.code, wrong.out.as_str()), (Some(2), ""), "{args:?}: {wrong:?}");
        assert!(wrong.err.contains("Usage: ") || wrong.err.contains("error: "), "{wrong:?}");
        assert!(!wrong.err.contains("panicked"), "{wrong:?}");
    }
}
