//! A wrong byte in a data directory is found, told and left as it is.

use std::path::Path;
use std::sync::Arc;

use proctor_commit_log::storage::files::FileStorage;
use proctor_commit_log::{LogConfig, SnapshotStore};
use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_node::run::{self, RunError};
use proctor_node::simulation::dice::Dice;
use proctor_node::verify::verify;
use proctor_sequencer::{Batch, Writer, WriterConfig};
use proctor_types::{TraderId, Usd, UtcMs};

use crate::common::{assert_one_line_error, demo, files, run};

/// Segments of some sectors, so that every byte of several can be flipped.
fn small() -> WriterConfig {
    let log = LogConfig { segment_bytes: 2_048, preallocate_bytes: 512 };
    WriterConfig { log, snapshot_every: 0, ..WriterConfig::default() }
}

const RUNS: i64 = 6;

/// Writes a log of several segments and snapshots: each run adds a batch, which is never split.
fn tiny_log(dir: &Path) {
    for run in 1..=RUNS {
        let batches = (0..2 * run).map(|second| {
            let trader = TraderId::new(&format!("trader-{second}")).unwrap();
            let roster = Input::Roster(Roster::new(1, vec![trader]));
            let inputs = vec![roster, Input::Tick];
            Ok::<_, RunError>(Batch { at: UtcMs(second * 1_000), inputs })
        });
        run::run(dir, small(), batches, |_| {}).unwrap();
    }
}

/// Tells whether a start notices anything: it refuses, or says which snapshot it passed over.
fn start_notices(dir: &Path) -> bool {
    // Without the lock: another test's child may for a moment hold a copy of what was locked here.
    let storage = FileStorage::create(&dir.join("log")).unwrap();
    match Writer::open(Arc::new(storage), small()) {
        Err(_) => true,
        Ok(opened) => !opened.skipped.is_empty(),
    }
}

#[test]
fn every_flipped_byte_of_a_data_directory_is_found_by_verify_and_at_start() {
    let parent = tempfile::tempdir().unwrap();
    tiny_log(parent.path());
    let sound = verify(parent.path(), |_| {}).unwrap();
    assert_eq!((sound.stamp.commit, sound.snapshots.as_slice()), (12, &[10, 12][..]));
    assert!(!start_notices(parent.path()));
    let mut flipped = 0;
    let before = files(parent.path());
    let data = before.iter().filter(|(name, _)| !name.ends_with("LOCK"));
    for (name, bytes) in data {
        for place in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[place] ^= 1 << (place % 8);
            std::fs::write(name, &wrong).unwrap();
            let verified = verify(parent.path(), |_| {});
            assert!(verified.is_err(), "verify did not find byte {place} of {name}: {verified:?}");
            // A start reads the newest snapshot; an older one is only for when that is damaged.
            if !name.ends_with("10.snap") {
                assert!(start_notices(parent.path()), "a start did not see byte {place} of {name}");
            }
            assert_eq!(std::fs::read(name).unwrap(), wrong, "a refused file was changed");
            flipped += 1;
        }
        std::fs::write(name, bytes).unwrap();
    }
    println!("{flipped} bytes flipped in {} files", before.len() - 1);
    assert!(flipped > 2_000, "{flipped} bytes are too few to say anything");
    assert_eq!(files(parent.path()), before, "no file came or went");
}

#[test]
fn the_binary_says_no_to_a_flipped_byte_and_will_not_start_on_it() {
    let parent = tempfile::tempdir().unwrap();
    demo(parent.path(), 2, 5, 1);
    let path = parent.path().to_str().unwrap();
    let segment = parent.path().join("log/00000000000000000001.seg");
    let sound = std::fs::read(&segment).unwrap();
    let written = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut dice = Dice::new(9);
    for _ in 0..12 {
        let place = usize::try_from(dice.below(u32::try_from(written).unwrap())).unwrap();
        let mut wrong = sound.clone();
        wrong[place] ^= 0x10;
        std::fs::write(&segment, &wrong).unwrap();
        let before = files(parent.path());
        let verified = run(&["verify", "--data", path]);
        assert_eq!(verified.code, Some(1), "byte {place}: {verified:?}");
        assert!(verified.out.starts_with("NOT verified: "), "{verified:?}");
        assert!(verified.out.contains("00000000000000000001.seg"), "{verified:?}");
        let args = ["demo", "--data", path, "--seed", "2", "--traders", "5", "--days", "1"];
        let started = run(&args);
        assert_eq!(started.code, Some(2), "byte {place}: {started:?}");
        assert!(started.err.starts_with("error: ") && started.err.lines().count() == 1);
        let explained = run(&["explain", "--data", path, "--trader", "trend-0000"]);
        assert_eq!(explained.code, Some(2), "byte {place}: {explained:?}");
        assert_eq!(files(parent.path()), before, "a refusal changed something");
    }
    std::fs::write(&segment, &sound).unwrap();
    assert_eq!(run(&["verify", "--data", path]).code, Some(0));
}

#[test]
fn a_start_says_which_damaged_snapshot_it_did_without() {
    let parent = tempfile::tempdir().unwrap();
    let digest = demo(parent.path(), 2, 5, 1);
    let is_snapshot = |name: &String| name.ends_with(".snap");
    let name = files(parent.path()).into_keys().find(is_snapshot).unwrap();
    let mut bytes = std::fs::read(&name).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&name, &bytes).unwrap();
    let path = parent.path().to_str().unwrap();
    let again = run(&["demo", "--data", path, "--seed", "2", "--traders", "5", "--days", "1"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(crate::common::digest(&again.out), digest, "the log alone gives the same state");
    assert!(again.err.starts_with("warning: ") && again.err.contains(".snap"), "{again:?}");
}

#[test]
fn a_missing_segment_is_not_an_empty_log() {
    let parent = tempfile::tempdir().unwrap();
    tiny_log(parent.path());
    let segments = |dir: &Path| {
        let names = files(dir).into_keys().filter(|name| name.ends_with(".seg"));
        names.collect::<Vec<_>>()
    };
    let names = segments(parent.path());
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        let bytes = std::fs::read(&name).unwrap();
        std::fs::remove_file(&name).unwrap();
        assert!(verify(parent.path(), |_| {}).is_err(), "verify did not miss {name}");
        assert!(start_notices(parent.path()), "a start did not miss {name}");
        std::fs::write(&name, bytes).unwrap();
    }
    verify(parent.path(), |_| {}).unwrap();
}

#[test]
fn diff_names_commit_part_and_field_of_a_state_that_was_altered() {
    let parent = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| parent.path().join(name));
    for dir in [&one, &other] {
        let alice = TraderId::new("alice").unwrap();
        let inputs = vec![
            Input::Rulebook(VANTA.into()),
            Input::Roster(Roster::new(1, vec![alice.clone()])),
            Input::AccountSize(alice, Usd::new(123_456.0).unwrap()),
        ];
        let batch = Batch { at: UtcMs(1_762_178_400_000), inputs };
        let batches = std::iter::once(Ok::<_, RunError>(batch));
        run::run(dir, small(), batches, |_| {}).unwrap();
    }
    let [one, other] = [&one, &other].map(|dir| dir.to_str().unwrap());
    let equal = run(&["diff", "--data", one, "--with", other]);
    assert_eq!(equal.code, Some(0), "{equal:?}");
    assert!(equal.out.contains("the states in snapshots are equal: commit 1"), "{equal:?}");

    let storage = FileStorage::create(&Path::new(other).join("log")).unwrap();
    let snapshots = SnapshotStore::new(Arc::new(storage));
    let mut snapshot = snapshots.load(1).unwrap();
    let size = 123_456.0_f64.to_le_bytes();
    let at = snapshot.state.windows(8).position(|bytes| bytes == size).unwrap();
    snapshot.state[at..at + 8].copy_from_slice(&99_000.0_f64.to_le_bytes());
    snapshots.write(&snapshot).unwrap();
    for args in [["diff", "--data", one, "--with", other], ["diff", "--data", one, "--data", other]]
    {
        let compared = run(&args);
        assert_eq!(compared.code, Some(1), "{compared:?}");
        let lines: Vec<&str> = compared.out.lines().collect();
        assert_eq!(lines[0], "equal: both have 1 commits");
        let at = "the states after commit 1 differ: accounts of alice, terms.sizes[0].size";
        assert_eq!(lines[1], at);
        assert_eq!(lines[2], "  123456.0 in what the inputs give");
        assert_eq!(lines[3], format!("  99000.0 in the snapshot of {other}"));
    }
    assert_one_line_error(&run(&["diff", "--data", one]), 2, "diff compares two nodes");
}
