//! `proctor rulebook`: check a document, show its constants, compare two.

use anyhow::{Context, Result};
use proctor_node::moment;
use proctor_node::report::{Align, Table, count};
use proctor_node::rulebooks::{Comparison, Constant, Document, DocumentError, Row, compare};
use proctor_types::UtcMs;

use super::text::{COLUMNS, cut, entry, plural, table, title, wrapped};
use crate::Verdict;

/// How many characters of a value a table shows.
const VALUE_WIDTH: usize = 44;
/// From how many items on a list is compared item by item.
const LIST_LONG: usize = 4;

/// Arguments of `proctor rulebook`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Is it a rulebook? Prints name, version, hash and effective time, or the line that is wrong.
    Check {
        /// A file, or a built-in name (vanta, vanta-parity).
        #[arg(value_name = "FILE|NAME")]
        rulebook: String,
    },
    /// Every constant with value, unit, source and era; a unit in parentheses is that of the table
    /// around the constant.
    Show {
        /// A file, or a built-in name (vanta, vanta-parity).
        #[arg(value_name = "FILE|NAME", default_value = "vanta")]
        rulebook: String,
        /// Only what holds then: a date, a time (2026-01-05T12:30:00Z) or ms since 1970.
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    /// The constants that differ, with unit and source.
    Diff {
        /// A file, or a built-in name.
        #[arg(value_name = "A")]
        a: String,
        /// A file, or a built-in name.
        #[arg(value_name = "B")]
        b: String,
    },
}

/// Runs the command; a document that is no rulebook is the verdict of `check`, not an error of it.
pub(crate) fn run(args: &Args) -> Result<Verdict> {
    match &args.task {
        Task::Check { rulebook } => check(&Document::read(rulebook)?),
        Task::Show { rulebook, at } => {
            let at = at.as_deref().map(moment::parse).transpose().context("--at")?;
            let document = Document::read(rulebook)?;
            Ok(super::print(&show(&document, at)?))
        }
        Task::Diff { a, b } => {
            let (a, b) = (Document::read(a)?, Document::read(b)?);
            Ok(super::print(&diff(&a, &b, &compare(&a, &b)?)))
        }
    }
}

fn check(document: &Document) -> Result<Verdict> {
    let checked = match document.check() {
        Ok(checked) => checked,
        Err(error @ DocumentError::Invalid { .. }) => {
            say!("NOT a rulebook: {error}");
            return Ok(Verdict::Bad);
        }
        Err(error) => return Err(error.into()),
    };
    let mut page = String::new();
    wrapped(&mut page, "", &format!("{} is a rulebook.", checked.origin));
    entry(&mut page, 2, "name", &checked.name);
    entry(&mut page, 2, "version", &checked.version.to_string());
    entry(&mut page, 2, "hash", &checked.hash);
    entry(&mut page, 2, "effective from", &checked.effective_from.text);
    let eras = count(checked.in_eras as u64);
    let constants = format!("{}, of them {eras} for an era only", count(checked.constants as u64));
    entry(&mut page, 2, "constants", &constants);
    let switches = match checked.switches_as_in {
        Some(name) => format!("as in the built-in {name}"),
        None => "a mixture: see `proctor rulebook diff vanta FILE` and docs/parity.md".into(),
    };
    entry(&mut page, 2, "switches", &switches);
    Ok(super::print(&page))
}

fn show(document: &Document, at: Option<UtcMs>) -> Result<String, DocumentError> {
    let constants = document.constants()?;
    let mut page = String::new();
    let when = at.map_or_else(String::new, |at| format!(", what holds at {at}"));
    wrapped(&mut page, "", &format!("{}{when}", document.origin));
    let shown: Vec<&Constant> =
        constants.iter().filter(|constant| at.is_none_or(|at| constant.holds_at(at))).collect();
    for section in shown.chunk_by(|a, b| section(a) == section(b)) {
        match section.first().and_then(|first| self::section(first)) {
            Some(name) => {
                title(&mut page, &name.to_uppercase());
                section_table(&mut page, section);
            }
            None => section.iter().for_each(|constant| head(&mut page, constant)),
        }
    }
    let hidden = constants.len() - shown.len();
    if hidden > 0 {
        let text = format!("{} of other eras not shown", plural(hidden, "constant", "constants"));
        wrapped(&mut page, "", &text);
    }
    Ok(page)
}

/// Returns the first part of a constant's path: the section of the document.
fn section(constant: &Constant) -> Option<&str> {
    constant.path.split_once('.').map(|(section, _)| section)
}

/// Adds a line of the document's head.
fn head(page: &mut String, constant: &Constant) {
    let meaning = constant.meaning();
    let text = if meaning.is_empty() { &constant.value } else { &meaning };
    entry(page, 2, constant.path.trim_end_matches("_ms"), text);
}

fn section_table(page: &mut String, constants: &[&Constant]) {
    let (name, value) = (("constant", Align::Left), ("value", Align::Right));
    let rest = [("", Align::Left), ("unit", Align::Left), ("source", Align::Left)];
    let [meaning, unit, source] = rest;
    if constants.iter().any(|constant| constant.from.is_some()) {
        let from = ("holds from", Align::Left);
        let mut rows = Table::new([name, from, value, meaning, unit, source]);
        lines(constants, |[name, from, value, meaning, unit, source]| {
            rows.row([name, from, value, meaning, unit, source]);
        });
        return table(page, &rows);
    }
    let mut rows = Table::new([name, value, meaning, unit, source]);
    lines(constants, |[name, _, value, meaning, unit, source]| {
        rows.row([name, value, meaning, unit, source]);
    });
    table(page, &rows);
}

/// Gives each line of a section to `add`; a long list takes several.
fn lines(constants: &[&Constant], mut add: impl FnMut([String; 6])) {
    for constant in constants {
        let name = constant.path.split_once('.').map_or(&*constant.path, |(_, rest)| rest);
        let mut beside = [
            name.into(),
            since(constant),
            constant.meaning(),
            unit(constant),
            constant.source.clone(),
        ];
        for value in pieces(&constant.value) {
            let [name, from, meaning, unit, source] = std::mem::take(&mut beside);
            add([name, from, value, meaning, unit, source]);
        }
    }
}

/// Returns the unit; in parentheses when it is that of the table around the constant.
fn unit(constant: &Constant) -> String {
    if constant.unit_inherited && !constant.unit.is_empty() {
        return format!("({})", constant.unit);
    }
    constant.unit.clone()
}

/// Returns a long list in pieces that fit into a cell, between its items.
fn pieces(value: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for item in value.split(", ") {
        match pieces.last_mut() {
            Some(piece) if piece.len() + item.len() + 2 <= VALUE_WIDTH => {
                piece.push_str(", ");
                piece.push_str(item);
            }
            Some(piece) => {
                piece.push(',');
                pieces.push(item.into());
            }
            None => pieces.push(item.into()),
        }
    }
    pieces
}

/// Returns when the era of `constant` begins.
fn since(constant: &Constant) -> String {
    match constant.from {
        None => String::new(),
        Some(UtcMs(0)) => "the beginning".into(),
        Some(from) => from.to_string(),
    }
}

fn diff(a: &Document, b: &Document, comparison: &Comparison) -> String {
    let mut page = String::new();
    let (origin_a, origin_b) = (&a.origin, &b.origin);
    let text = match comparison {
        Comparison::Identical => "identical, byte for byte".to_owned(),
        Comparison::OnlyText => {
            "the same constants, units and sources; only comments or layout differ (and the hash)"
                .into()
        }
        Comparison::Differ { rows } => {
            format!("{} between A and B", plural(rows.len(), "difference", "differences"))
        }
    };
    wrapped(&mut page, "", &text);
    entry(&mut page, 2, "A", origin_a);
    entry(&mut page, 2, "B", origin_b);
    if let Comparison::Differ { rows } = comparison {
        page.push('\n');
        table(&mut page, &rows_table(rows));
    }
    page
}

fn rows_table(differences: &[Row]) -> Table<6> {
    let mut rows = Table::new([
        ("constant", Align::Left),
        ("holds from", Align::Left),
        ("A", Align::Right),
        ("B", Align::Right),
        ("unit", Align::Left),
        ("source", Align::Left),
    ]);
    for Row { a, b } in differences {
        let Some(either) = a.as_ref().or(b.as_ref()) else { continue };
        let [value_a, value_b] = values(a.as_ref(), b.as_ref());
        let both = |tell: fn(&Constant) -> String| match (a, b) {
            (Some(a), Some(b)) if tell(a) != tell(b) => format!("{} -> {}", tell(a), tell(b)),
            _ => tell(either),
        };
        rows.row([
            either.path.clone(),
            since(either),
            value_a,
            value_b,
            both(unit),
            both(|constant| constant.source.clone()),
        ]);
    }
    rows
}

/// Returns both values; of two long lists only the items that the other has not.
fn values(a: Option<&Constant>, b: Option<&Constant>) -> [String; 2] {
    if let (Some(a), Some(b)) = (a, b) {
        let [a, b] = [a, b].map(|constant| constant.value.split(", ").collect::<Vec<_>>());
        if a.len().min(b.len()) >= LIST_LONG {
            let only = |these: &[&str], those: &[&str]| {
                let own: Vec<&str> =
                    these.iter().copied().filter(|item| !those.contains(item)).collect();
                if own.is_empty() { "-".into() } else { format!("only {}", own.join(", ")) }
            };
            return [only(&a, &b), only(&b, &a)].map(|text| cut(&text, VALUE_WIDTH));
        }
    }
    [a, b].map(|side| side.map_or_else(|| "-".into(), said))
}

/// Returns a value with its meaning.
fn said(constant: &Constant) -> String {
    let meaning = constant.meaning();
    let text = if meaning.is_empty() {
        constant.value.clone()
    } else {
        format!("{} ({meaning})", constant.value)
    };
    cut(&text, COLUMNS / 2)
}
