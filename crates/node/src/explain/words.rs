//! What became of verdicts that waited and of prices that were corrected, in plain words.

use proctor_engine::Event;
use proctor_engine::frozen::{Frozen, Thaw};
use proctor_types::Stamp;

/// Tells why a verdict was held back.
pub(super) fn frozen(frozen: &Frozen) -> String {
    let claims: Vec<String> = frozen
        .claims
        .iter()
        .map(|claim| {
            format!(
                "{} at {} of {} alone, {:.0} bps from {}, the last price that was believed",
                claim.pair, claim.price, claim.source, claim.bps, claim.believed
            )
        })
        .collect();
    format!(
        "a verdict was held back: it would rest on {}. Until another source or time speaks, the \
         account keeps its last believed value and may only reduce its positions",
        claims.join("; ")
    )
}

/// Tells why a verdict that was held back was dropped.
pub(super) fn thawed(since: Stamp, why: Thaw) -> String {
    format!("the verdict held back in commit {} was dropped: {}", since.commit, why.words())
}

/// Tells what a correction changed; other events are not corrections and give nothing.
pub(super) fn corrected(event: &Event) -> String {
    if let Event::OrderCorrected { before, order, pair, source, by, why, .. } = event {
        format!(
            "the price of order {} in {pair} was corrected from {} to {} ({source}), asked for by \
             {by}: {why}. Its quantity went from {} to {}; positions and ledgers since were computed \
             anew",
            order.id, before.price, order.price, before.quantity, order.quantity
        )
    } else {
        String::new()
    }
}
