//! `Table`: aligned plain text for people, and how amounts are written in it.

use std::fmt;

/// To which side of its column a cell is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names and words.
    Left,
    /// Numbers.
    Right,
}

/// A table of `N` columns with a title line and a rule below it.
///
/// ```
/// use proctor_node::report::{Align, Table, usd};
///
/// let mut table = Table::new([("trader", Align::Left), ("profit, USD", Align::Right)]);
/// table.row(["alice".into(), usd(1234.5)]);
/// assert_eq!(table.to_string(), "trader  profit, USD\n------  -----------\nalice      1,234.50\n");
/// ```
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    titles: [String; N],
    aligns: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Returns a table without rows.
    #[must_use]
    pub fn new(columns: [(&str, Align); N]) -> Self {
        Self {
            titles: columns.map(|(title, _)| printable(title.to_owned())),
            aligns: columns.map(|(_, align)| align),
            rows: Vec::new(),
        }
    }

    /// Adds a row below the others.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(printable));
    }

    /// Returns true when no row was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = [0; N];
        for row in self.rows.iter().chain([&self.titles]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        widths
    }

    fn line(&self, cells: &[String; N], widths: &[usize; N]) -> String {
        let mut line = String::new();
        for ((cell, align), width) in cells.iter().zip(self.aligns).zip(widths) {
            let blanks = " ".repeat(width - cell.chars().count());
            let gap = if line.is_empty() { "" } else { "  " };
            match align {
                Align::Left => line.extend([gap, cell, &blanks]),
                Align::Right => line.extend([gap, &blanks, cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Returns `text` with control characters made blanks, so that a name from outside can neither
/// break a line nor speak to the terminal.
fn printable(text: String) -> String {
    if text.chars().any(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        writeln!(f, "{}", self.line(&self.titles, &widths))?;
        writeln!(f, "{}", self.line(&widths.map(|width| "-".repeat(width)), &widths))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", self.line(row, &widths)))
    }
}

/// Returns a whole number with thousands separated: `43,199`.
#[must_use]
pub fn count(number: u64) -> String {
    separated(&number.to_string())
}

/// Returns dollars with cents and thousands separated: `-1,234.50`.
#[must_use]
pub fn usd(amount: f64) -> String {
    let text = without_negative_zero(format!("{amount:.2}"));
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    match text.split_once('.') {
        Some((whole, cents)) => format!("{sign}{}.{cents}", separated(whole)),
        // NaN and infinity have no cents.
        None => format!("{sign}{text}"),
    }
}

/// Returns a ratio as percent: `percent(0.0125, 2)` is `1.25 %`.
#[must_use]
pub fn percent(ratio: f64, decimals: usize) -> String {
    format!("{} %", without_negative_zero(format!("{:.decimals$}", ratio * 100.0)))
}

/// Returns `0.00` for `-0.00`: what rounds to nothing has no sign.
fn without_negative_zero(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        Some(_) | None => text,
    }
}

fn separated(digits: &str) -> String {
    let len = digits.chars().count();
    let mut text = String::with_capacity(len + len / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (len - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table =
            Table::new([("pair", Align::Left), ("n", Align::Right), ("note", Align::Left)]);
        assert!(table.is_empty());
        table.row(["BTCUSD".into(), count(43_199), String::new()]);
        table.row(["é".into(), count(7), "x".into()]);
        let expected = "\
pair         n  note
------  ------  ----
BTCUSD  43,199
é            7  x
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn an_empty_first_cell_keeps_its_place() {
        let mut table = Table::new([("a", Align::Left), ("b", Align::Left)]);
        table.row([String::new(), "x".into()]);
        assert_eq!(table.to_string(), "a  b\n-  -\n   x\n");
    }

    #[test]
    fn a_cell_cannot_break_the_table_or_speak_to_the_terminal() {
        let mut table = Table::new([("a", Align::Left)]);
        table.row(["x\ny\u{1b}[31m\u{9b}z".into()]);
        assert_eq!(table.to_string(), "a\n----------\nx y [31m z\n");
    }

    #[test]
    fn amounts_are_grouped_by_thousands_and_nothing_has_no_sign() {
        for (amount, text) in [
            (0.0, "0.00"),
            (-0.001, "0.00"),
            (999.999, "1,000.00"),
            (-999.99, "-999.99"),
            (-1_234_567.891, "-1,234,567.89"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(usd(amount), text);
        }
        let counts = [0, 999, 1_000, 1_234_567, u64::MAX].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn a_ratio_is_shown_as_percent() {
        assert_eq!(percent(0.0125, 2), "1.25 %");
        assert_eq!(percent(-0.05, 0), "-5 %");
        assert_eq!(percent(-0.000_001, 2), "0.00 %");
    }
}
