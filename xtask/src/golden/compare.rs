//! Field by field: floats to a relative tolerance, everything else exactly.

use std::fmt;

use serde_json::Value;

/// Relative tolerance of floats; the reference sums in another order and has its own `exp`.
const TOLERANCE: f64 = 1e-9;

/// One field in which two values differ.
#[derive(Debug)]
pub(crate) struct Difference {
    path: String,
    expected: String,
    ours: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, ours {}", self.path, self.expected, self.ours)
    }
}

/// Returns the fields in which `ours` differs from `expected`.
pub(crate) fn differences(expected: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("out", expected, ours, &mut found);
    found
}

fn walk(path: &str, expected: &Value, ours: &Value, found: &mut Vec<Difference>) {
    // The reference's errors are Python exceptions: that it failed counts, not its words.
    if path.ends_with(".error") {
        if expected.is_null() != ours.is_null() {
            report(path, expected, ours, found);
        }
        return;
    }
    match (expected, ours) {
        (Value::Object(theirs), Value::Object(mine)) => {
            for (key, value) in theirs {
                let place = format!("{path}.{key}");
                match mine.get(key) {
                    Some(other) => walk(&place, value, other, found),
                    None => report(&place, value, &Value::String("(missing)".into()), found),
                }
            }
            for (key, value) in mine.iter().filter(|(key, _)| !theirs.contains_key(*key)) {
                report(&format!("{path}.{key}"), &Value::String("(missing)".into()), value, found);
            }
        }
        (Value::Array(theirs), Value::Array(mine)) => {
            if theirs.len() != mine.len() {
                let lengths = (Value::from(theirs.len()), Value::from(mine.len()));
                report(&format!("{path}.len()"), &lengths.0, &lengths.1, found);
            }
            for (index, (value, other)) in theirs.iter().zip(mine).enumerate() {
                walk(&format!("{path}[{index}]"), value, other, found);
            }
        }
        _ if equal(expected, ours) => {}
        _ => report(path, expected, ours, found),
    }
}

fn equal(expected: &Value, ours: &Value) -> bool {
    if let (Some(theirs), Some(mine)) = (expected.as_i64(), ours.as_i64()) {
        return theirs == mine;
    }
    match (number(expected), number(ours)) {
        (Some(theirs), Some(mine)) => close(theirs, mine),
        _ => expected == ours,
    }
}

/// Floats that JSON cannot say are written as strings.
fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some("nan") => Some(f64::NAN),
        Some(_) => None,
        None => value.as_f64(),
    }
}

fn close(theirs: f64, mine: f64) -> bool {
    if !(theirs.is_finite() && mine.is_finite()) {
        return theirs == mine || (theirs.is_nan() && mine.is_nan());
    }
    (theirs - mine).abs() <= TOLERANCE * theirs.abs().max(mine.abs())
}

fn report(path: &str, expected: &Value, ours: &Value, found: &mut Vec<Difference>) {
    found.push(Difference {
        path: path.into(),
        expected: expected.to_string(),
        ours: ours.to_string(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(expected: &Value, ours: &Value) -> Vec<String> {
        differences(expected, ours).into_iter().map(|d| d.path).collect()
    }

    #[test]
    fn floats_have_a_tolerance_and_integers_have_none() {
        assert!(paths(&json!({"a": 1.0}), &json!({"a": 1.0 + 5e-10})).is_empty());
        assert_eq!(paths(&json!({"a": 1.0}), &json!({"a": 1.0 + 5e-9})), ["out.a"]);
        assert_eq!(paths(&json!([100_000_000_000_i64]), &json!([100_000_000_001_i64])), ["out[0]"]);
        assert!(paths(&json!(1), &json!(1.0)).is_empty(), "the reference writes some floats as 1");
    }

    #[test]
    fn missing_and_additional_fields_and_rows_are_differences() {
        assert_eq!(paths(&json!({"a": 1}), &json!({"b": 1})), ["out.a", "out.b"]);
        assert_eq!(paths(&json!([1, 2]), &json!([1])), ["out.len()"]);
    }

    #[test]
    fn of_an_error_only_its_presence_counts() {
        assert!(paths(&json!({"error": {"msg": "x"}}), &json!({"error": "y"})).is_empty());
        assert_eq!(paths(&json!({"error": null}), &json!({"error": "y"})), ["out.error"]);
    }

    #[test]
    fn what_json_cannot_say_is_a_string() {
        assert!(paths(&json!("inf"), &json!("inf")).is_empty());
        assert_eq!(paths(&json!("inf"), &json!("-inf")), ["out"]);
    }
}
