//! What became of the orders, and how long it took.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proctor_client::{CallError, Submitted};
use serde_json::{Value, json};

/// Counts and times; shared by all who wait for an answer.
#[derive(Default)]
pub(super) struct Outcomes(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_code: BTreeMap<String, u64>,
    /// Microseconds from when each order was due to its answer.
    latency_us: Vec<u32>,
    /// Microseconds from when each order was due to when it was sent.
    lateness_us: Vec<u32>,
}

/// What the run came to.
pub(super) struct Summary {
    pub(super) outcomes: Value,
    pub(super) latency: Value,
    pub(super) lateness: Value,
}

impl Outcomes {
    pub(super) fn sent(&self, late: Duration) {
        self.kept().lateness_us.push(micros(late));
    }

    pub(super) fn answered(&self, answer: &Result<Submitted, CallError>, after: Duration) {
        let code = code(answer);
        let mut kept = self.kept();
        *kept.by_code.entry(code).or_insert(0) += 1;
        kept.latency_us.push(micros(after));
    }

    /// Returns how many were sent and how many were answered.
    pub(super) fn progress(&self) -> (usize, usize) {
        let kept = self.kept();
        (kept.lateness_us.len(), kept.latency_us.len())
    }

    pub(super) fn summary(&self) -> Summary {
        let mut kept = self.kept();
        kept.latency_us.sort_unstable();
        kept.lateness_us.sort_unstable();
        Summary {
            outcomes: json!(kept.by_code),
            latency: quantiles(&kept.latency_us),
            lateness: quantiles(&kept.lateness_us),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn code(answer: &Result<Submitted, CallError>) -> String {
    match answer {
        Ok(Submitted::Judged { outcome, .. }) if outcome.accepted => "accepted".into(),
        Ok(Submitted::Judged { outcome, .. }) => format!("refused: {}", outcome.code),
        Ok(Submitted::Found(_)) => "accepted, found after a lost answer".into(),
        Ok(Submitted::TakenBefore(_)) => "taken, after a lost answer".into(),
        Err(CallError::Refused(problem)) => {
            let code = problem.code.as_deref().unwrap_or_else(|| problem.reason.name());
            format!("not taken: {code}")
        }
        Err(CallError::NotTaken { .. }) => "not taken: nobody took it in time".into(),
        Err(CallError::OutcomeUnknown(_)) => "unknown".into(),
        Err(CallError::Foreign { code, .. }) => format!("foreign: {code:?}"),
        Err(CallError::NoAnswer { .. }) => "no answer".into(),
    }
}

fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// Returns quantiles in ms of times in ascending order.
fn quantiles(sorted_us: &[u32]) -> Value {
    let at = |per_mille: usize| {
        let place = (sorted_us.len() * per_mille / 1_000).min(sorted_us.len().saturating_sub(1));
        sorted_us.get(place).map(|us| f64::from(*us) / 1e3)
    };
    json!({ "p50": at(500), "p99": at(990), "p99.9": at(999), "max": at(1_000) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times_and_none_of_none() {
        let times: Vec<u32> = (1..=1_000).map(|ms| ms * 1_000).collect();
        let told = quantiles(&times);
        assert_eq!(told, json!({ "p50": 501.0, "p99": 991.0, "p99.9": 1000.0, "max": 1000.0 }));
        assert_eq!(quantiles(&[])["p50"], Value::Null);
    }
}
