//! Two documents constant by constant.

use std::collections::BTreeMap;

use proctor_types::UtcMs;
use serde::Serialize;

use super::{Constant, Document, DocumentError};

/// What two documents have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Comparison {
    /// Byte for byte the same text.
    Identical,
    /// Every constant is the same, with its unit and source; comments or layout differ, and with
    /// them the hash.
    OnlyText,
    /// Constants differ.
    Differ {
        /// Those that do, in the order of the first document, then what only the second has.
        rows: Vec<Row>,
    },
}

/// A constant that differs; at least one side is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// In the first document.
    pub a: Option<Constant>,
    /// In the second.
    pub b: Option<Constant>,
}

/// Compares two documents.
///
/// # Errors
/// [`DocumentError::Invalid`] when one is not a rulebook.
pub fn compare(a: &Document, b: &Document) -> Result<Comparison, DocumentError> {
    let (before, after) = (a.constants()?, b.constants()?);
    if a.text == b.text {
        return Ok(Comparison::Identical);
    }
    let rows = rows(before, after);
    Ok(if rows.is_empty() { Comparison::OnlyText } else { Comparison::Differ { rows } })
}

fn rows(before: Vec<Constant>, after: Vec<Constant>) -> Vec<Row> {
    let key = |constant: &Constant| (constant.path.clone(), constant.from);
    let order: Vec<(String, Option<UtcMs>)> = after.iter().map(key).collect();
    let mut by_key: BTreeMap<_, Constant> = after.into_iter().map(|c| (key(&c), c)).collect();
    let mut rows = Vec::new();
    for constant in before {
        let other = by_key.remove(&key(&constant));
        if !other.as_ref().is_some_and(|other| same(&constant, other)) {
            rows.push(Row { a: Some(constant), b: other });
        }
    }
    let rest = order.iter().filter_map(|key| by_key.remove(key));
    rows.extend(rest.map(|constant| Row { a: None, b: Some(constant) }));
    rows
}

/// Tells whether two constants of the same path and era say the same. When the era ends follows from
/// the next one, which is a row of its own.
fn same(a: &Constant, b: &Constant) -> bool {
    (&a.value, &a.unit, &a.source) == (&b.value, &b.unit, &b.source)
}

#[cfg(test)]
mod tests {
    use proctor_engine::rulebook::{VANTA, VANTA_PARITY};

    use super::*;

    fn document(text: &str) -> Document {
        Document { origin: "x".into(), text: text.into() }
    }

    fn against_vanta(text: &str) -> Comparison {
        compare(&document(VANTA), &document(text)).expect("both are valid")
    }

    fn told(comparison: Comparison) -> Vec<String> {
        let Comparison::Differ { rows } = comparison else { panic!("{comparison:?}") };
        let side = |c: &Option<Constant>| c.as_ref().map_or("-".to_owned(), |c| c.value.clone());
        let path = |row: &Row| row.a.as_ref().or(row.b.as_ref()).map(|c| c.path.clone());
        rows.iter()
            .map(|row| {
                format!("{} {} {}", path(row).unwrap_or_default(), side(&row.a), side(&row.b))
            })
            .collect()
    }

    #[test]
    fn the_parity_rulebook_differs_by_its_name_and_its_switches() {
        let rows = told(against_vanta(VANTA_PARITY));
        assert_eq!(rows[0], "name vanta vanta-parity");
        assert!(
            rows.len() > 1 && rows[1..].iter().all(|row| row.starts_with("switches.")),
            "{rows:?}"
        );
        assert!(rows.contains(&"switches.drawdown_limit ratio percent".to_owned()), "{rows:?}");
    }

    #[test]
    fn comments_and_the_way_a_number_is_written_are_only_text() {
        assert_eq!(against_vanta(VANTA), Comparison::Identical);
        let text = format!(
            "# A remark.\n{}",
            VANTA.replacen("10_000, unit = \"ms\"", "10000, unit = \"ms\"", 1)
        );
        assert_eq!(against_vanta(&text), Comparison::OnlyText);
    }

    #[test]
    fn a_new_era_is_a_row_of_its_own() {
        let era = "{ from_ms = 1727161200000, cap = 10.0 }";
        let text =
            VANTA.replacen(era, &format!("{era}, {{ from_ms = 1800000000000, cap = 5.0 }}"), 1);
        assert_eq!(told(against_vanta(&text)), ["leverage.portfolio_cap.cap - 5.0"]);
    }

    #[test]
    fn another_source_is_a_difference_of_the_document() {
        let text = VANTA.replacen("source = \"T 2.5\"", "source = \"T 2.6\"", 1);
        assert_eq!(told(against_vanta(&text)), ["accounts.floor 5000.0 5000.0"]);
    }
}
