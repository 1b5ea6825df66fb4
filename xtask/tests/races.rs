//! The race register in the documents, held to the tests in the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The entries that the register has.
const ENTRIES: std::ops::RangeInclusive<u32> = 1..=38;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent").to_owned()
}

/// Returns the name of every function in the sources below `folder`.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let found = text.split("fn ").skip(1).map(|rest| {
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
            });
            names.extend(found);
        }
    }
}

/// Returns the entries that a test is for, by its name: each `x_` and a number.
fn entries(name: &str) -> BTreeSet<u32> {
    let parts: Vec<&str> = name.split('_').collect();
    let numbers = parts.windows(2).filter(|pair| pair[0] == "x");
    numbers.filter_map(|pair| pair[1].parse().ok()).collect()
}

/// Returns the rows of the table below `title`: the entry, and the rest of the row.
fn rows<'a>(page: &'a str, title: &str) -> Vec<(u32, &'a str)> {
    let section = page.split(&format!("\n## {title}\n")).nth(1).expect("the page has the section");
    let section = section.split("\n## ").next().expect("it has text");
    let row = |line: &'a str| {
        let (number, rest) = line.strip_prefix("| X-")?.split_once(" | ")?;
        Some((number.parse().ok()?, rest))
    };
    section.lines().filter_map(row).collect()
}

/// Returns where the page differs from the sources.
fn faults(page: &str, sources: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let answered = rows(page, "Answered");
    let open = rows(page, "Not built yet");
    for entry in ENTRIES {
        let times = answered.iter().filter(|(number, _)| *number == entry).count();
        if times > 1 {
            faults.push(format!("X-{entry} is answered {times} times"));
        }
        if times == 0 && !open.iter().any(|(number, _)| *number == entry) {
            faults.push(format!("X-{entry} is missing"));
        }
    }
    let mut named: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for (entry, row) in answered {
        let tests = row.rsplit_once(" | ").map_or("", |(_, tests)| tests);
        let names = tests.split('`').skip(1).step_by(2).filter(|name| !name.contains('/'));
        let names: BTreeSet<&str> = names.collect();
        if names.is_empty() {
            faults.push(format!("X-{entry} names no test"));
        }
        for name in &names {
            if !sources.contains(*name) {
                faults.push(format!("X-{entry}: there is no test {name}"));
            }
        }
        named.insert(entry, names);
    }
    for name in sources {
        for entry in entries(name) {
            if !named.get(&entry).is_some_and(|names| names.contains(name.as_str())) {
                faults.push(format!("the test {name} is not in the row of X-{entry}"));
            }
        }
    }
    faults
}

fn here() -> (String, BTreeSet<String>) {
    let page = fs::read_to_string(root().join("docs/races.md")).expect("the page");
    let mut sources = BTreeSet::new();
    functions(&root().join("crates"), &mut sources);
    (page, sources)
}

#[test]
fn every_race_stands_in_the_document_with_tests_that_exist() {
    let (page, sources) = here();
    let faults = faults(&page, &sources);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_page_that_is_not_true_any_more_is_noticed() {
    let (page, sources) = here();
    let renamed = page.replace("x_28_two_nodes", "x_28_three_nodes");
    let found = faults(&renamed, &sources);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("X-28: there is no test x_28_three_nodes"), "{found:?}");
    assert!(found[1].ends_with("is not in the row of X-28"), "{found:?}");
    let row = page.lines().find(|line| line.starts_with("| X-30 |")).expect("a row");
    let found = faults(&page.replace(row, ""), &sources);
    assert!(found.contains(&"X-30 is missing".to_owned()), "{found:?}");
}
