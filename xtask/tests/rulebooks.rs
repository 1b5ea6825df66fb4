//! The parity rulebook is the standard one with other switches, and its document tells each switch.
//!
//! `UPDATE=1 cargo test -p xtask` writes `vanta-parity.toml` anew from `vanta.toml`. A switch is a line
//! `key = "right" # or "reference" (rule ids)`; nothing else is known about it here.

use std::fs;
use std::path::{Path, PathBuf};

use proctor_engine::rulebook::{Rulebook, Switches};

/// The head of `vanta.toml` and what stands there in the parity document.
const HEAD: [&str; 2] = [
    "# The rulebook of the reference programme, with the right behaviour where the reference errs.\n",
    "# The rulebook of the reference programme, with the reference's own behaviour at every switch.\n\
     # Generated from vanta.toml by `cargo xtask update`, do not edit; docs/parity.md tells each switch.\n",
];

/// The line above the switches, likewise.
const ORDER: [&str; 2] = [
    "# Where the reference errs, the first word is right and the second reproduces the reference.\n",
    "# Where the reference errs, the first word reproduces it and the second is right.\n",
];

/// A parity switch as its line in the document states it.
struct Switch<'a> {
    key: &'a str,
    right: &'a str,
    reference: &'a str,
    rules: &'a str,
}

impl<'a> Switch<'a> {
    /// Returns the switch that `line` of the section states.
    fn of(line: &'a str) -> Self {
        Self::parts(line).unwrap_or_else(|| {
            panic!("{line:?} is not of the form `key = \"right\" # or \"reference\" (rule ids)`")
        })
    }

    fn parts(line: &'a str) -> Option<Self> {
        let (key, rest) = line.split_once(" = \"")?;
        let (right, rest) = rest.split_once('"')?;
        let (_, rest) = rest.split_once("# or \"")?;
        let (reference, rules) = rest.split_once('"')?;
        Some(Self { key, right, reference, rules: rules.trim() })
    }
}

fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&xtask).join("..")
}

fn read(file: &str) -> String {
    let text = fs::read_to_string(root().join(file));
    text.unwrap_or_else(|error| panic!("{file} is part of the repository: {error}"))
}

/// Returns the lines between `[switches]` and the next section.
fn switch_lines(document: &str) -> impl Iterator<Item = &str> {
    let lines = document.lines().skip_while(|line| *line != "[switches]").skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.trim().is_empty())
}

/// Returns the document of the parity rulebook made from that of the standard one.
fn parity(vanta: &str) -> String {
    let mut text = vanta.to_owned();
    let name = ["name = \"vanta\"\n", "name = \"vanta-parity\"\n"];
    for [from, to] in [HEAD, ORDER, name] {
        assert_eq!(text.matches(from).count(), 1, "vanta.toml holds the line {from:?} once");
        text = text.replacen(from, to, 1);
    }
    let switches: Vec<Switch<'_>> = switch_lines(vanta).map(Switch::of).collect();
    let longest = |width: fn(&Switch<'_>) -> usize| switches.iter().map(width).max().unwrap_or(0);
    let first = longest(|switch| switch.key.len() + switch.reference.len());
    let second = longest(|switch| switch.right.len());
    for (line, switch) in switch_lines(vanta).zip(&switches) {
        let Switch { key, right, reference, rules } = switch;
        let gaps = [first - key.len() - reference.len(), second - right.len()];
        let [before, after] = gaps.map(|blanks| " ".repeat(blanks));
        let swapped = format!("{key} = \"{reference}\"{before} # or \"{right}\"{after} {rules}");
        text = text.replacen(line, swapped.trim_end(), 1);
    }
    text
}

#[test]
fn the_parity_rulebook_is_generated_from_the_standard_one() {
    let file = "rulebooks/vanta-parity.toml";
    let expected = parity(&read("rulebooks/vanta.toml"));
    if std::env::var_os("UPDATE").is_some_and(|value| !value.is_empty()) {
        fs::write(root().join(file), &expected).expect("the repository is writable");
    }
    let found = fs::read_to_string(root().join(file)).unwrap_or_default();
    assert!(found == expected, "{file} is stale: run `cargo xtask update` and review the diff");
}

#[test]
fn the_parity_rulebook_differs_in_nothing_but_its_name_and_switches() {
    let vanta = Rulebook::parse(&read("rulebooks/vanta.toml")).expect("valid");
    // What it will be: the file itself may be written by the other test at this moment.
    let parity = Rulebook::parse(&parity(&read("rulebooks/vanta.toml"))).expect("valid");
    assert_eq!(parity.name, "vanta-parity");
    assert_eq!(parity.switches, Switches::PARITY);
    assert_ne!(vanta.switches, parity.switches);
    assert_eq!(Rulebook { name: vanta.name.clone(), switches: vanta.switches, ..parity }, vanta);
}

#[test]
fn every_switch_differs_from_the_reference_and_has_its_row_in_the_document() {
    let (vanta, document) = (read("rulebooks/vanta.toml"), read("docs/parity.md"));
    let mut faults = Vec::new();
    for Switch { key, right, reference, .. } in switch_lines(&vanta).map(Switch::of) {
        let row = format!("| `{key}` | `{right}` | `{reference}` |");
        if right == reference || document.matches(&row).count() != 1 {
            faults.push(format!("docs/parity.md has no single row that begins {row}"));
        }
    }
    let (rows, switches) = (document.matches("\n| `").count(), switch_lines(&vanta).count());
    if rows != switches {
        faults.push(format!("docs/parity.md has {rows} rows for {switches} switches"));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
