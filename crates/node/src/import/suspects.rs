//! The list of suspected plagiarists as the detector sends it: `{"TRADER": {"time": MS, ...}, ...}`.
//!
//! The list is whole or refused: an entry that was left out would clear its trader, and a text that
//! is no list must not become an empty one, which clears everybody (C-43).

use proctor_engine::challenge_period::PlagiarismReport;
use proctor_types::{InvalidId, TraderId, UtcMs};
use serde_json::Value;

/// Why a text is not a list of suspects.
#[derive(Debug, thiserror::Error)]
pub enum SuspectsError {
    /// Not JSON.
    #[error("the list of suspects is not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("the list of suspects is not an object of traders")]
    NotAnObject,
    /// A name that no trader can have.
    #[error("{name:?} cannot be a trader: {error}")]
    Trader {
        /// The name as it stands there.
        name: String,
        /// What is wrong with it.
        error: InvalidId,
    },
    /// An entry without a time, which says when the suspicion began.
    #[error("the entry of {0} has no time")]
    NoTime(TraderId),
    /// A time that is not one.
    #[error("the time of {trader} is {found}, not milliseconds within the years 1970 to 9999")]
    BadTime {
        /// Whose.
        trader: TraderId,
        /// What stands there.
        found: String,
    },
}

/// Returns the report that is written in `text`.
///
/// # Errors
/// [`SuspectsError`] names the entry that is wrong; the list before it stays in force.
pub fn suspects(text: &str) -> Result<PlagiarismReport, SuspectsError> {
    let Value::Object(entries) = serde_json::from_str(text)? else {
        return Err(SuspectsError::NotAnObject);
    };
    let verdicts: Result<Vec<_>, _> =
        entries.into_iter().map(|(name, entry)| verdict(name, &entry)).collect();
    Ok(PlagiarismReport::new(verdicts?))
}

fn verdict(name: String, entry: &Value) -> Result<(TraderId, UtcMs), SuspectsError> {
    let trader = TraderId::new(&name).map_err(|error| SuspectsError::Trader { name, error })?;
    let Some(time) = entry.get("time").filter(|time| !time.is_null()) else {
        return Err(SuspectsError::NoTime(trader));
    };
    match time.as_i64().map(UtcMs).filter(|at| at.is_in_range()) {
        Some(at) => Ok((trader, at)),
        None => Err(SuspectsError::BadTime { trader, found: time.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_43_a_list_is_taken_whole_or_refused_with_the_entry_that_is_wrong() {
        let list = suspects(r#"{"bob": {"time": 5, "score": 0.9}, "alice": {"time": 7}}"#);
        let list = list.expect("a list");
        let told: Vec<String> =
            list.verdicts().iter().map(|(t, at)| format!("{t} {}", at.0)).collect();
        assert_eq!(told, ["alice 7", "bob 5"]);
        assert_eq!(suspects("{}").expect("an empty list is a list").verdicts(), []);
        for (text, problem) in [
            (r#"{"bob": {"time": 5}, "alice": {}}"#, "the entry of alice has no time"),
            (r#"{"alice": {"time": null}}"#, "the entry of alice has no time"),
            (r#"{"alice": 7}"#, "the entry of alice has no time"),
            (r#"{"alice": {"time": "7"}}"#, "the time of alice is \"7\""),
            (r#"{"alice": {"time": -1}}"#, "the time of alice is -1"),
            (r#"{"alice": {"time": 1e300}}"#, "the time of alice is 1e+300"),
            (r#"{"al/ice": {"time": 1}}"#, "\"al/ice\" cannot be a trader"),
            ("[]", "not an object"),
            ("null", "not an object"),
            ("", "not JSON"),
        ] {
            let refused = suspects(text).expect_err(text).to_string();
            assert!(refused.contains(problem), "{text}: {refused}");
        }
    }
}
