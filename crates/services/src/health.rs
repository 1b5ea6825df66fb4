//! `HealthCheck`: what a service says of itself, whether or not it can vouch for its answers.

use std::collections::BTreeMap;

use proctor_rpc::v1::HealthCheckResponse;

use crate::backend::Backend;

/// Returns what `service` says of itself: `details` are counts by name.
#[must_use]
pub fn check(
    backend: &Backend,
    service: &str,
    details: BTreeMap<&str, usize>,
) -> HealthCheckResponse {
    let status = backend.read().err().map_or_else(|| "ok".into(), |problem| problem.message);
    let stamp = backend.views().peek().stamp;
    let now = backend.clock().now();
    let count = |(name, count): (&str, usize)| (name.to_owned(), u64::try_from(count).unwrap_or(0));
    HealthCheckResponse {
        as_of: Some(backend.at(stamp)),
        status,
        service: service.into(),
        timestamp_ms: now.0,
        age_ms: now.since(stamp.at).0,
        details: details.into_iter().map(count).collect(),
    }
}
