//! The first difference between two indented debug texts, with the path of field names to it.

/// What a line opened, and how many children it has had.
struct Level {
    label: String,
    is_tuple: bool,
    children: usize,
}

/// Longer values are cut off after so many characters.
const MOST: usize = 160;
/// How far the debug text of a field is indented.
const INDENT: usize = 4;

/// Returns the path to the first line that differs, with both values there.
pub(super) fn first(a: &str, b: &str) -> Option<(String, (String, String))> {
    let (mut ours, mut theirs) = (a.lines(), b.lines());
    let mut path: Vec<Level> = Vec::new();
    loop {
        let (left, right) = (ours.next(), theirs.next());
        // One text can only end before the other if they differed before.
        let (left, right) = (left?, right?);
        // Where one list ends and the other goes on, the further element says where we are.
        let line = if closes(left) { right } else { left };
        let depth = (line.len() - line.trim_start().len()) / INDENT;
        path.truncate(depth);
        if closes(line) {
            continue;
        }
        let (name, value) = split(line.trim());
        let label = match (name, path.last_mut()) {
            (Some(name), Some(_)) => format!(".{name}"),
            (_, None) => String::new(),
            (None, Some(parent)) => {
                let place = parent.children;
                parent.children += 1;
                // The one field of `Some(..)` needs no number.
                if parent.is_tuple && place == 0 { String::new() } else { format!("[{place}]") }
            }
        };
        path.push(Level { label, is_tuple: value.ends_with('('), children: 0 });
        if left != right {
            let at = path.iter().map(|level| level.label.as_str()).collect();
            return Some((at, (value_of(left), value_of(right))));
        }
    }
}

fn closes(line: &str) -> bool {
    line.trim_start().starts_with(['}', ']', ')'])
}

/// Returns the name of the field on a line, or the key, and what follows.
fn split(line: &str) -> (Option<&str>, &str) {
    match line.split_once(": ") {
        Some((name, value)) if !name.contains([' ', '"']) => (Some(name), value),
        _ => (None, line),
    }
}

fn value_of(line: &str) -> String {
    if closes(line) {
        return "nothing more".to_owned();
    }
    let value = split(line.trim()).1;
    let value = value.strip_suffix(',').unwrap_or(value);
    let ending = match value.chars().last() {
        Some('{') => "..}",
        Some('[') => "..]",
        Some('(') => "..)",
        _ => "",
    };
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}..", value.get(..end).unwrap_or(value)),
        None => format!("{value}{ending}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone, Debug)]
    #[allow(dead_code, reason = "read through its debug text only")]
    struct Outer {
        list: Vec<(u8, Option<f64>)>,
        map: BTreeMap<String, Inner>,
        last: Option<Inner>,
    }

    #[derive(Clone, Debug)]
    #[allow(dead_code, reason = "as above")]
    struct Inner {
        text: String,
    }

    fn outer() -> Outer {
        let inner = |text: &str| Inner { text: text.to_owned() };
        Outer {
            list: vec![(1, None), (2, Some(0.0))],
            map: [("k".to_owned(), inner("a: b"))].into(),
            last: Some(inner("}")),
        }
    }

    fn told(change: impl FnOnce(&mut Outer)) -> Option<(String, (String, String))> {
        let mut other = outer();
        change(&mut other);
        first(&format!("{:#?}", outer()), &format!("{other:#?}"))
    }

    #[test]
    fn the_path_leads_to_the_first_field_that_differs() {
        let is = |path: &str, left: &str, right: &str| {
            Some((path.to_owned(), (left.to_owned(), right.to_owned())))
        };
        assert_eq!(told(|_| ()), None);
        assert_eq!(told(|o| o.list[0].0 = 3), is(".list[0]", "1", "3"));
        assert_eq!(told(|o| o.list[0].1 = Some(1.0)), is(".list[0][1]", "None", "Some(..)"));
        assert_eq!(told(|o| o.list[1].1 = Some(-0.0)), is(".list[1][1]", "0.0", "-0.0"));
        assert_eq!(told(|o| o.list.truncate(1)), is(".list[1]", "(..)", "nothing more"));
        assert_eq!(told(|o| o.list.push((9, None))), is(".list[2]", "nothing more", "(..)"));
        let change = |o: &mut Outer| o.map.values_mut().for_each(|v| v.text.push('c'));
        assert_eq!(told(change).map(|found| found.1.0), Some("\"a: b\"".to_owned()));
        assert_eq!(
            told(|o| o.last.iter_mut().for_each(|v| v.text.clear())),
            is(".last.text", "\"}\"", "\"\"")
        );
    }
}
