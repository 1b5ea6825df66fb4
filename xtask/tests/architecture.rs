//! What the documents promise about the source tree, checked on the tree itself.
//!
//! `UPDATE=1 cargo test -p xtask` rewrites the generated part of ARCHITECTURE.md first. Not the
//! concern of this file: what the code computes.

#[path = "architecture/house.rs"]
mod house;

use std::fs;
use std::path::{Path, PathBuf};

use house::{House, purpose};

fn root() -> PathBuf {
    // Asked at run time: a target folder shared by two clones may hold the test of the other.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&xtask).join("..")
}

fn here() -> House {
    House::at(&root())
}

fn check(faults: &[String]) {
    assert!(faults.is_empty(), "{} fault(s):\n  {}", faults.len(), faults.join("\n  "));
}

#[test]
fn crate_table_matches_the_crate_graph() {
    assert!(here().rows().len() > 5, "ARCHITECTURE.md has lost its crate table");
    check(&here().crate_table_faults());
}

#[test]
fn every_crate_is_named_after_its_folder_and_takes_the_lints_of_the_workspace() {
    check(&here().manifest_faults());
}

#[test]
fn every_source_file_begins_with_its_purpose() {
    check(&here().purpose_faults());
}

#[test]
fn files_that_say_pure_are_pure() {
    check(&here().pure_file_faults());
}

#[test]
fn code_map_is_current() {
    if std::env::var_os("UPDATE").is_some_and(|value| !value.is_empty()) {
        here().update_code_map();
    }
    check(&here().code_map_faults());
}

#[test]
fn pure_crates_keep_equal_copies_of_the_clippy_bans() {
    check(&here().clippy_copy_faults());
}

#[test]
fn pure_crates_forbid_unsafe_code() {
    check(&here().unsafe_code_faults());
}

#[test]
fn nothing_is_marked_unfinished_and_no_path_belongs_to_one_machine() {
    check(&here().unfinished_faults());
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    check(&here().link_faults());
}

#[test]
fn a_purpose_is_the_text_of_the_first_line() {
    assert_eq!(purpose("//! Fees of one position.\n//!\n"), Some("Fees of one position."));
    for without in ["", "//!\n//! Late.", "//! \n", "// Fees.\n", "\n//! Fees.\n"] {
        assert_eq!(purpose(without), None, "{without:?}");
    }
}

/// Copies what the checks read into a scratch folder, so that it can be broken there.
fn copy() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a scratch folder can be made");
    for file in here().files() {
        let text = fs::read_to_string(root().join(&file)).expect("it was just listed");
        write(&scratch.path().join(&file), &text);
    }
    House::at(scratch.path()).update_code_map();
    scratch
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().expect("a file has a folder")).expect("folders can be made");
    fs::write(file, text).expect("the scratch folder is writable");
}

/// A change to one file: path, what it does to the text.
type Edit = (&'static str, fn(&str) -> String);

/// Breaks a copy of the tree by `edits` and expects a fault that contains `message`.
fn expect(message: &str, edits: &[Edit]) {
    let scratch = copy();
    let before = House::at(scratch.path()).faults();
    assert!(!before.iter().any(|fault| fault.contains(message)), "broken before: {before:#?}");
    for (file, edit) in edits {
        let path = scratch.path().join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let edited = edit(&text);
        assert_ne!(text, edited, "the edit of {file} changes nothing");
        write(&path, &edited);
    }
    let after = House::at(scratch.path()).faults();
    assert!(after.iter().any(|fault| fault.contains(message)), "{message}: not in {after:#?}");
}

#[test]
fn a_false_crate_table_is_noticed() {
    expect(
        "`engine` is pure but its manifest names `tokio`",
        &[("crates/engine/Cargo.toml", |text| {
            text.replacen("[dependencies]", "[dependencies]\ntokio = \"1\"", 1)
        })],
    );
    expect(
        "`sequencer` is sync but its manifest names `tokio-util`",
        &[("crates/sequencer/Cargo.toml", |text| {
            text.to_owned()
                + "\n[target.'cfg(unix)'.dependencies]\nfast = { package = \"tokio-util\", version = \"1\" }\n"
        })],
    );
    expect(
        "differ for `commit-log`",
        &[("crates/commit-log/Cargo.toml", |text| {
            text.replacen(
                "[dependencies]",
                "[dependencies]\nproctor-wire = { workspace = true }",
                1,
            )
        })],
    );
    expect(
        "`types` uses `engine`, which is not above it",
        &[
            ("crates/types/Cargo.toml", |text| {
                text.replacen(
                    "[dependencies]",
                    "[dependencies]\nproctor-engine = { workspace = true }",
                    1,
                )
            }),
            ("ARCHITECTURE.md", |text| {
                text.replacen("| `types` | pure | - |", "| `types` | pure | `engine` |", 1)
            }),
        ],
    );
    expect(
        "every folder of crates/ has exactly one row in ARCHITECTURE.md: `attic` has 0",
        &[("crates/attic/Cargo.toml", |_| {
            "[package]\nname = \"proctor-attic\"\n[lints]\nworkspace = true\n".to_owned()
        })],
    );
    expect(
        "crates/relay does not exist",
        &[("ARCHITECTURE.md", |text| {
            text.replacen("| `types` | pure |", "| `relay` | sync | - | - |\n| `types` | pure |", 1)
        })],
    );
    expect(
        "`wire` has the unknown kind `tidy`",
        &[("ARCHITECTURE.md", |text| text.replacen("| `wire` | pure |", "| `wire` | tidy |", 1))],
    );
    expect(
        "crates/node/Cargo.toml: name = \"proctor-node\"",
        &[("crates/node/Cargo.toml", |text| text.replacen("\"proctor-node\"", "\"node\"", 1))],
    );
    expect(
        "crates/node/Cargo.toml: add [lints] workspace = true",
        &[("crates/node/Cargo.toml", |text| text.replacen("[lints]\nworkspace = true\n", "", 1))],
    );
}

#[test]
fn a_file_that_breaks_its_promise_is_noticed() {
    expect(
        "crates/types/src/lib.rs: the first line is `//!`",
        &[("crates/types/src/lib.rs", |text| format!("\n{text}"))],
    );
    expect(
        "crates/node/src/plan.rs says `Pure:` but names `HashMap`",
        &[("crates/node/src/plan.rs", |_| {
            "//! Pure: what to start.\n// Not an Instant.\nuse std::collections::HashMap;\n"
                .to_owned()
        })],
    );
    expect(
        "the code map of ARCHITECTURE.md is stale",
        &[("crates/node/src/plan.rs", |_| "//! What to start.\n".to_owned())],
    );
    expect(
        "ARCHITECTURE.md needs the lines",
        &[("ARCHITECTURE.md", |text| text.replacen("<!-- code map: end -->", "", 1))],
    );
    expect(
        "crates/engine/clippy.toml differs from crates/types/clippy.toml",
        &[("crates/engine/clippy.toml", |text| {
            text.replacen("std::sync::Mutex", "std::sync::Once", 1)
        })],
    );
    expect(
        "crates/engine/src/lib.rs: add #![forbid(unsafe_code)]",
        &[("crates/engine/src/lib.rs", |text| {
            text.replacen("#![forbid(unsafe_code)]", "// #![forbid(unsafe_code)]", 1)
        })],
    );
    expect(
        "marks unfinished work",
        &[("crates/cli/src/later.rs", |_| ["//! Later.\nfn main() { to", "do!() }\n"].concat())],
    );
    expect(
        "is a path of one machine",
        &[("docs/where.md", |_| ["The log is in /ho", "me/alice/log.\n"].concat())],
    );
    expect(
        "docs/where.md: the link to `nowhere.md` is dead",
        &[("docs/where.md", |_| "See [there](nowhere.md).\n".to_owned())],
    );
}

#[test]
fn a_pure_crate_without_its_bans_is_noticed() {
    let scratch = copy();
    fs::remove_file(scratch.path().join("crates/wire/clippy.toml")).unwrap();
    let faults = House::at(scratch.path()).clippy_copy_faults();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("`wire` is pure and has no crates/wire/clippy.toml"), "{faults:?}");
}

#[test]
fn updating_the_code_map_settles_a_merge_conflict_inside_it() {
    let scratch = copy();
    let document = scratch.path().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&document).unwrap();
    let mark = "<!-- code map: end -->";
    let conflict = format!("<<<<<<< ours\n- `a.rs`: A.\n=======\n>>>>>>> theirs\n{mark}");
    fs::write(&document, text.replacen(mark, &conflict, 1)).unwrap();
    let house = House::at(scratch.path());
    assert!(!house.code_map_faults().is_empty());
    house.update_code_map();
    assert!(house.code_map_faults().is_empty());
    assert!(!fs::read_to_string(&document).unwrap().contains("<<<<<<<"));
}
