//! Lines of the page: wrapped, indented, never wider than a printed page.

use proctor_node::explain::Moment;

/// The widest line.
pub(super) const COLUMNS: usize = 110;

/// Adds `label` and `text` as one entry, wrapped behind the label.
pub(super) fn entry(page: &mut String, indent: usize, label: &str, text: &str) {
    let label = format!("{:indent$}{label:<width$}", "", width = 22_usize.saturating_sub(indent));
    wrapped(page, &label, text);
}

/// Adds `first` and behind it `text`, wrapped below its own beginning.
pub(super) fn wrapped(page: &mut String, first: &str, text: &str) {
    let margin = first.chars().count();
    let mut line = first.to_owned();
    let mut is_blank = true;
    for word in text.split(' ') {
        let width = line.chars().count() + word.chars().count() + usize::from(!is_blank);
        if width > COLUMNS && !is_blank {
            page.push_str(line.trim_end());
            page.push('\n');
            line = " ".repeat(margin);
            is_blank = true;
        }
        if !is_blank {
            line.push(' ');
        }
        line.push_str(word);
        is_blank = false;
    }
    page.push_str(line.trim_end());
    page.push('\n');
}

/// Adds a title with a blank line before it.
pub(super) fn title(page: &mut String, text: &str) {
    page.push_str(&format!("\n{text}\n"));
}

/// Adds a table below an entry.
pub(super) fn table(page: &mut String, table: &impl ToString) {
    for line in table.to_string().lines() {
        page.push_str(&format!("    {line}\n"));
    }
}

/// Returns the time of day: `12:33:00.000`.
pub(super) fn clock(at: &Moment) -> &str {
    at.text.get(11..23).unwrap_or(&at.text)
}

/// Returns the date: `2026-01-05`.
pub(super) fn date(at: &Moment) -> &str {
    at.text.get(..10).unwrap_or(&at.text)
}

/// Returns how old something is: `450 ms`, `12.3 s`, `5.0 min`, `7.5 h`.
pub(super) fn age(ms: i64) -> String {
    let tenths = |unit: i64| {
        let tenths = (ms * 10 + unit / 2) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match ms {
        i64::MIN..=-1 => format!("{} ms ahead", -ms),
        0..=999 => format!("{ms} ms"),
        1_000..=119_999 => format!("{} s", tenths(1_000)),
        120_000..=7_199_999 => format!("{} min", tenths(60_000)),
        _ => format!("{} h", tenths(3_600_000)),
    }
}

/// Returns a name that may be long, cut to `width`.
pub(super) fn cut(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    name.chars().take(width - 2).chain("..".chars()).collect()
}

/// Returns `count` with the right form of a word.
pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    let number = proctor_node::report::count(u64::try_from(count).unwrap_or(u64::MAX));
    format!("{number} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_wrapped_behind_its_label() {
        let mut page = String::new();
        entry(&mut page, 2, "label", &"words ".repeat(40));
        assert!(page.lines().all(|line| line.len() <= COLUMNS));
        assert!(page.lines().skip(1).all(|line| line.starts_with(&" ".repeat(22))));
        assert_eq!(page.matches("words").count(), 40);
    }

    #[test]
    fn ages_are_in_the_unit_that_is_read_easiest() {
        let ages = [(0, "0 ms"), (1_250, "1.3 s"), (150_000, "2.5 min"), (-5, "5 ms ahead")];
        for (ms, text) in ages {
            assert_eq!(age(ms), text);
        }
    }
}
