//! Where a file and what was recomputed from its proof part: names the field, the order, the step.

use serde_json::Value;

/// Returns the first difference between the readable part of a file and the recomputed one.
pub(super) fn first(file: &str, recomputed: &str) -> Option<String> {
    if file == recomputed {
        return None;
    }
    let (mut section, mut row) = (String::from("the beginning"), 0_usize);
    let mut ours = recomputed.lines();
    let mut theirs = file.lines();
    loop {
        let (found, right) = (theirs.next(), ours.next());
        // The recomputed line says where we are; the file's may say anything.
        match right.and_then(|line| line.strip_prefix('"')?.split_once("\": ")) {
            Some((name, _)) => (section, row) = (name.to_owned(), 0),
            None => row += 1,
        }
        if found != right {
            return Some(told(&section, row, found.unwrap_or(""), right.unwrap_or("")));
        }
        if found.is_none() {
            // Lines are equal, so the difference is in how they end.
            return Some("the lines of the file do not end as they are written".to_owned());
        }
    }
}

/// Tells how line `found` of the file differs from `right`.
fn told(section: &str, row: usize, found: &str, right: &str) -> String {
    let (was, is) = (value(found), value(right));
    let (Some(was), Some(is)) = (was, is) else {
        let place = if row == 0 { section.to_owned() } else { format!("{section}, row {row}") };
        return match (found.is_empty(), right.is_empty()) {
            (true, _) => format!("{place}: ends too early in the file"),
            (_, true) => format!("{place}: the file goes on where nothing more is recomputed"),
            _ => format!("{place}: {} in the file, {} recomputed", short(found), short(right)),
        };
    };
    let place = match (section, &is) {
        ("steps", Value::Array(cells)) => {
            format!("step {}, commit {}", text(cells.first()), text(cells.get(1)))
        }
        ("prices", Value::Array(cells)) => {
            format!("price of {} at commit {}", text(cells.get(1)), text(cells.first()))
        }
        ("orders", Value::Object(order)) => {
            format!("order {}, commit {}", text(order.get("id")), text(order.get("commit")))
        }
        ("positions", Value::Object(position)) => format!("position {}", text(position.get("id"))),
        _ if row > 0 => format!("{section}, row {row}"),
        _ => section.to_owned(),
    };
    let names: &[&str] = match section {
        "steps" => &["step", "commit", "ms", "value", "peak", "ratio"],
        "prices" => &["commit", "pair", "price", "source", "record_ms", "lag_ms"],
        _ => &[],
    };
    match deepest(&was, &is, names) {
        Some((path, was, is)) if path.is_empty() => {
            format!("{place}: {was} in the file, {is} recomputed")
        }
        Some((path, was, is)) => {
            format!("{place}: {path} {was} in the file, {is} recomputed")
        }
        None => format!("{place}: written differently in the file, with the same meaning"),
    }
}

/// Returns the value on a line: of a field, or of a row.
fn value(line: &str) -> Option<Value> {
    let line = line.strip_suffix(',').unwrap_or(line);
    let value = match line.strip_prefix('"').and_then(|rest| rest.split_once("\": ")) {
        Some((_, value)) => value,
        None => line,
    };
    serde_json::from_str(value).ok()
}

/// Returns path and texts of the first value inside that differs.
fn deepest(was: &Value, is: &Value, names: &[&str]) -> Option<(String, String, String)> {
    if was == is {
        return None;
    }
    let join = |name: &str, (path, was, is): (String, String, String)| {
        let dot = if path.is_empty() { "" } else { "." };
        (format!("{name}{dot}{path}"), was, is)
    };
    match (was, is) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            b.iter().find_map(|(name, right)| {
                deepest(a.get(name)?, right, &[]).map(|found| join(name, found))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(place, (left, right))| {
                let name = names.get(place).map_or_else(|| place.to_string(), |n| (*n).to_owned());
                deepest(left, right, &[]).map(|found| join(&name, found))
            })
        }
        _ => Some((String::new(), short(&was.to_string()), short(&is.to_string()))),
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    }
}

/// Returns the beginning of `text`, if it is long.
fn short(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_the_field_and_both_numbers_are_named() {
        let right = "{\n\"status\": \"active\",\n\"steps\": [\n[411,7178,5,1.0,1.0,1.0],\n\
                     [412,7179,6,0.9012,1.0,0.9012]\n],\n";
        for (from, to, told) in [
            (
                "0.9012,1.0",
                "0.8979,1.0",
                "step 412, commit 7179: value 0.8979 in the file, 0.9012 recomputed",
            ),
            (
                "[411,7178,5",
                "[411,7177,5",
                "step 411, commit 7178: commit 7177 in the file, 7178 recomputed",
            ),
            ("active", "ended", "status: \"ended\" in the file, \"active\" recomputed"),
            (
                "[411,7178,5,1.0,1.0,1.0],\n",
                "",
                "step 411, commit 7178: step 412 in the file, 411 recomputed",
            ),
            (
                "1.0,1.0,1.0]",
                "1.0, 1.0,1.0]",
                "step 411, commit 7178: written differently in the file, with the same meaning",
            ),
        ] {
            let file = right.replace(from, to);
            assert_ne!(file, right);
            assert_eq!(first(&file, right).as_deref(), Some(told));
        }
        assert_eq!(first(right, right), None);
    }
}
