//! Pure: the status of a node from a view and what its process knows.

use proctor_engine::View;
use proctor_rpc::v1::GetStatusResponse;
use proctor_types::UtcMs;

use super::Facts;

/// Returns the status as of `view` at the wall-clock time `now`; as of what it is, is for the caller
/// to add.
#[must_use]
pub fn status(view: &View, facts: Facts, now: UtcMs) -> GetStatusResponse {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let accounts = || view.accounts.iter();
    let mut alerts: Vec<String> = view.challenge.alerts.iter().map(ToString::to_string).collect();
    alerts.extend(facts.alerts);
    GetStatusResponse {
        as_of: None,
        chain_id: facts.chain_id,
        digest: view.digest.to_string(),
        started_ms: facts.started_ms,
        queue_depth: facts.queue_depth,
        queue_max: facts.queue_max,
        accounts: count(accounts().count()),
        accounts_alive: count(accounts().filter(|a| a.elimination.is_none()).count()),
        eliminated: count(accounts().filter(|a| a.elimination.is_some()).count()),
        open_positions: count(accounts().map(|a| a.book.open_positions().count()).sum()),
        resting_orders: count(accounts().map(|a| a.resting.orders().len()).sum()),
        rulebook: view
            .rulebook_in_force()
            .map(|adopted| format!("{} {}", adopted.rules.name, adopted.rules.version))
            .unwrap_or_default(),
        feed: facts.feed,
        network: facts.network,
        age_ms: now.since(view.stamp.at).0.max(0),
        services: facts.services,
        alerts,
        phase: facts.phase,
        // Not of the view, but of who vouches for it.
        stale: String::new(),
    }
}
