//! Tests of output directories: what a reader sees at every step, and what is refused.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::{MANIFEST, OutputDir, OutputError, verify_output};

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

fn write(target: &Path, files: &[(&str, &str)]) -> Result<(), OutputError> {
    let mut output = OutputDir::begin(target)?;
    for (name, contents) in files {
        output.file(name, |writer| writer.write_all(contents.as_bytes()))?;
    }
    output.finish().map(|_| ())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("can be listed");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_finished_set_has_its_files_and_a_manifest_that_proves_them() {
    let folder = folder();
    let target = folder.path().join("out");
    let mut output = OutputDir::begin(&target).expect("a new directory");
    output.json("summary.json", &[1, 2]).expect("can be written");
    let rows = [["a,b".to_owned(), "1".to_owned()]];
    output.csv("cells.csv", ["name", "n"], rows).expect("can be written");
    assert!(!target.exists(), "nothing shows before the end");
    let manifest = output.finish().expect("can be moved");

    assert_eq!(names(folder.path()), ["out"], "no temporary folder is left");
    assert_eq!(names(&target), [MANIFEST, "cells.csv", "summary.json"]);
    let text = fs::read_to_string(target.join("cells.csv")).expect("is there");
    assert_eq!(text, "name,n\n\"a,b\",1\n");
    let listed = &manifest.files[0];
    assert_eq!((listed.name.as_str(), listed.bytes), ("cells.csv", 15));
    assert_eq!(listed.blake3, blake3::hash(text.as_bytes()).to_hex().as_str());
    assert_eq!(verify_output(&target).expect("whole"), manifest);
}

#[test]
fn a_set_that_is_not_finished_leaves_no_trace() {
    let folder = folder();
    let target = folder.path().join("out");
    write(&target, &[("a.txt", "old")]).expect("new");
    let mut output = OutputDir::begin(&target).expect("ours");
    output.file("a.txt", |writer| writer.write_all(b"new")).expect("can be written");
    let failed = output.file("b.txt", |_| Err(io::Error::other("disk full")));
    assert!(matches!(failed, Err(OutputError::Io { .. })));
    drop(output);
    assert_eq!(names(folder.path()), ["out"]);
    assert_eq!(fs::read_to_string(target.join("a.txt")).expect("is there"), "old");
    verify_output(&target).expect("the old set is whole");
}

#[test]
fn output_of_before_is_replaced_without_leftovers() {
    let folder = folder();
    let target = folder.path().join("out");
    fs::create_dir(&target).expect("can be made");
    write(&target, &[("a.txt", "1"), ("b.txt", "1")]).expect("empty");
    write(&target, &[("b.txt", "2"), ("c.txt", "2")]).expect("ours");
    assert_eq!(names(&target), [MANIFEST, "b.txt", "c.txt"]);
    verify_output(&target).expect("whole");
}

/// Begins the set `b.txt` and `c.txt`, takes some of the steps, and leaves as a killed process does.
fn cut_off_after(steps_taken: usize, target: &Path) -> bool {
    let mut output = OutputDir::begin(target).expect("ours or new");
    for name in ["b.txt", "c.txt"] {
        output.file(name, |writer| writer.write_all(b"new")).expect("can be written");
    }
    let (steps, _) = output.steps().expect("ours or new");
    steps.iter().take(steps_taken).for_each(|step| output.take(step).expect("can be done"));
    steps_taken < steps.len()
}

#[test]
fn a_run_that_is_cut_off_at_any_step_is_seen_and_can_be_repeated() {
    for has_old_set in [false, true] {
        let (mut steps, mut outcomes) = (0, Vec::new());
        loop {
            let folder = folder();
            let target = folder.path().join("out");
            if has_old_set {
                write(&target, &[("a.txt", "old"), ("b.txt", "old")]).expect("new");
            }
            let was_cut_off = cut_off_after(steps, &target);
            let outcome = match verify_output(&target) {
                Ok(manifest) if manifest.files.iter().any(|file| file.name == "a.txt") => "old",
                Ok(_) => "new",
                Err(OutputError::Incomplete { .. }) => "incomplete",
                Err(error) => panic!("after {steps} steps: {error}"),
            };
            if outcomes.last() != Some(&outcome) {
                outcomes.push(outcome);
            }
            write(&target, &[("d.txt", "again")]).expect("what is there is ours");
            assert_eq!(names(&target), [MANIFEST, "d.txt"], "after {steps} steps");
            if !was_cut_off {
                break;
            }
            steps += 1;
        }
        let expected: &[_] =
            if has_old_set { &["old", "incomplete", "new"] } else { &["incomplete", "new"] };
        assert_eq!(outcomes, expected);
    }
}

#[test]
fn a_directory_with_anything_else_is_refused_and_left_alone() {
    let folder = folder();
    let target = folder.path().join("out");
    fs::create_dir(&target).expect("can be made");
    fs::write(target.join("notes.txt"), "mine").expect("can be written");
    let error = write(&target, &[("a.txt", "1")]).expect_err("foreign");
    assert!(error.to_string().contains("holds \"notes.txt\", which is not output"), "{error}");
    assert_eq!(names(&target), ["notes.txt"]);

    fs::remove_file(target.join("notes.txt")).expect("is there");
    write(&target, &[("a.txt", "1")]).expect("empty");
    fs::create_dir(target.join("sub")).expect("can be made");
    let error = write(&target, &[("a.txt", "2")]).expect_err("a folder among ours");
    assert!(matches!(error, OutputError::Foreign { found, .. } if found == "sub"));
}

#[test]
fn a_manifest_is_not_believed_when_it_leads_out_of_the_directory() {
    let folder = folder();
    let (target, victim) = (folder.path().join("out"), folder.path().join("victim.txt"));
    fs::write(&victim, "mine").expect("can be written");
    write(&target, &[("a.txt", "1")]).expect("new");
    let text = fs::read_to_string(target.join(MANIFEST)).expect("is there");
    fs::write(target.join(MANIFEST), text.replace("a.txt", "../victim.txt")).expect("can be");
    let error = write(&target, &[("a.txt", "2")]).expect_err("a path in a manifest");
    assert!(matches!(error, OutputError::Foreign { .. }), "{error}");
    assert!(victim.exists());
    fs::write(target.join(MANIFEST), "{\"files\": []}").expect("can be written");
    let error = write(&target, &[("a.txt", "2")]).expect_err("not our format");
    assert!(matches!(error, OutputError::Manifest { .. }), "{error}");
}

#[test]
fn a_changed_or_missing_file_is_found() {
    let folder = folder();
    let target = folder.path().join("out");
    write(&target, &[("a.txt", "12")]).expect("new");
    fs::write(target.join("a.txt"), "13").expect("can be written");
    assert!(matches!(verify_output(&target), Err(OutputError::Changed { .. })));
    fs::remove_file(target.join("a.txt")).expect("is there");
    assert!(matches!(verify_output(&target), Err(OutputError::Io { .. })));
}

#[test]
fn names_and_places_that_cannot_be_are_refused() {
    let folder = folder();
    let mut output = OutputDir::begin(&folder.path().join("out")).expect("new");
    for name in ["", ".hidden", "../x", "a/b", "a b", "manifest.json", "INCOMPLETE.json"] {
        let refused = output.file(name, |_| Ok(()));
        assert!(matches!(refused, Err(OutputError::Name { .. })), "{name:?}");
    }
    output.file("a.txt", |_| Ok(())).expect("a good name");
    assert!(matches!(output.file("A.txt", |_| Ok(())), Err(OutputError::Repeated { .. })));

    let file = folder.path().join("file");
    fs::write(&file, "").expect("can be written");
    assert!(matches!(OutputDir::begin(&file), Err(OutputError::NotADirectory { .. })));
    for target in [folder.path().join("none/out"), "/".into(), "..".into()] {
        let error = OutputDir::begin(&target).expect_err("no place for it");
        let is_refused =
            matches!(error, OutputError::NoParent { .. } | OutputError::Foreign { .. });
        assert!(is_refused, "{error}");
    }
}

#[test]
fn two_sets_of_one_process_do_not_disturb_each_other() {
    let folder = folder();
    let target = folder.path().join("out");
    let mut first = OutputDir::begin(&target).expect("new");
    first.file("a.txt", |writer| writer.write_all(b"1")).expect("can be written");
    let second = OutputDir::begin(&target).expect("still new");
    first.finish().expect("its files are still there");
    drop(second);
    verify_output(&target).expect("whole");
}
