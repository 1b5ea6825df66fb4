//! Running the binary, and looking at what it leaves in a directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// Returns a call of the binary under test.
pub(crate) fn proctor() -> Command {
    Command::new(env!("CARGO_BIN_EXE_proctor"))
}

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the binary with `args` to its end.
pub(crate) fn run(args: &[&str]) -> Run {
    let Output { status, stdout, stderr } = proctor().args(args).output().unwrap();
    Run {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// Runs a demo in `dir` to its end and returns its digest.
pub(crate) fn demo(dir: &Path, seed: u64, traders: u32, days: u32) -> String {
    let (seed, traders, days) = (seed.to_string(), traders.to_string(), days.to_string());
    let dir = dir.to_str().unwrap();
    let args = ["demo", "--data", dir, "--seed", &seed, "--traders", &traders, "--days", &days];
    let run = run(&args);
    assert_eq!(run.code, Some(0), "{}", run.err);
    digest(&run.out)
}

/// Returns the digest at the end of a demo's output.
pub(crate) fn digest(out: &str) -> String {
    out.lines().find_map(digest_line).expect("a final digest")
}

/// Returns the digest when `line` is the one that tells it.
pub(crate) fn digest_line(line: &str) -> Option<String> {
    line.strip_prefix("digest ").map(|digest| digest.trim().to_owned())
}

/// Returns every file below `dir` with its content.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.display().to_string(), std::fs::read(&path).unwrap());
        }
    }
    files
}

/// Asserts that an error is one line for people: no panic, no backtrace.
pub(crate) fn assert_one_line_error(run: &Run, code: i32, says: &str) {
    assert_eq!(run.code, Some(code), "{run:?}");
    assert_eq!(run.out, "", "{run:?}");
    assert_eq!(run.err.lines().count(), 1, "{run:?}");
    assert!(run.err.starts_with("error: ") && run.err.contains(says), "{run:?}");
}
