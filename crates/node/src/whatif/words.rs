//! An event in a sentence, for somebody who compares two histories.

use proctor_engine::Event;
use proctor_engine::eliminations::Elimination;
use proctor_engine::ledgers::{Cell, drawdown};

use crate::explain::stages;

/// The longest text of an event that has no words of its own.
const PLAIN_MAX: usize = 200;

/// Returns what `event` says. One without words of its own is told by its fields.
pub(super) fn words(event: &Event) -> String {
    if let Event::Eliminated { record, .. } = event {
        return eliminated(record);
    }
    if let Event::Rejected { order, rejection, .. } = event {
        let what = order.as_ref().map_or_else(|| "input".into(), |order| format!("order {order}"));
        return format!("{what} refused, {}: {rejection}", rejection.code());
    }
    if let Event::Filled { pair, order, clamped, closes, after, .. } = event {
        let size = if *clamped { ", reduced to the limits" } else { "" };
        let then = if *closes {
            format!("closes the position at {} after fees", after.return_after_fees)
        } else {
            format!(
                "the position then {:+}x, worth {}",
                after.net_leverage, after.return_after_fees
            )
        };
        let (id, side, leverage, price) = (&order.id, order.side, order.leverage, order.price);
        let price = if price > 0.0 { price.to_string() } else { "its last mark".into() };
        return format!("order {id} filled: {side} {pair} {leverage:+}x at {price}{size}; {then}");
    }
    if let Event::NothingToClose { order, pair, .. } = event {
        return format!("order {order} accepted: no open position in {pair} to close");
    }
    if let Event::StageChanged { cause, from, to, .. } = event {
        return stages::in_words(*cause, *from, *to);
    }
    if let Event::CellClosed { pair, cell, .. } = event {
        let whose = pair.map_or_else(|| "the portfolio".into(), |pair| pair.to_string());
        return cell_closed(&whose, cell);
    }
    if let Event::QuoteRefused { pair, source, code } = event {
        return format!("the price of {pair} from {source} not taken: {code}");
    }
    if let Event::SampleRefused { problem, .. } = event {
        return format!("the ledgers could not take a sample: {problem}");
    }
    plain(event)
}

fn eliminated(record: &Elimination) -> String {
    let rule = record.reason.rule();
    let fall = record.fall.map_or_else(String::new, |fall| {
        let lost = drawdown::percent_reported(fall.ratio());
        format!(": value {}, peak {}, {lost:.2} % lost", fall.trough.value, fall.peak.value)
    });
    format!("eliminated, {} ({rule}){fall}", record.reason)
}

fn cell_closed(whose: &str, cell: &Cell) -> String {
    format!("half-day cell of {whose} closed with value {}", cell.value)
}

fn plain(event: &Event) -> String {
    let text = format!("{event:?}");
    if text.chars().count() <= PLAIN_MAX {
        return text;
    }
    text.chars().take(PLAIN_MAX).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use proctor_engine::Rejection;
    use proctor_types::{OrderId, TraderId};

    use super::*;

    #[test]
    fn a_refusal_says_its_code_and_its_reason() {
        let event = Event::Rejected {
            input: 0,
            trader: TraderId::new("alice").ok(),
            order: OrderId::new("o1").ok(),
            rejection: Rejection::DuplicateId,
        };
        let text = "order o1 refused, duplicate_id: an order with this id was already processed";
        assert_eq!(words(&event), text);
    }

    #[test]
    fn an_event_without_words_of_its_own_is_told_by_its_fields_within_bounds() {
        let trader = TraderId::new("alice").expect("valid");
        let text = words(&Event::TraderDeparted { trader });
        assert!(text.starts_with("TraderDeparted {") && text.contains("alice"), "{text}");
        let event = Event::RulebookAdopted {
            name: "x".repeat(1_000),
            version: 1,
            hash: proctor_types::Digest::default(),
        };
        assert_eq!(words(&event).chars().count(), PLAIN_MAX + 3);
    }
}
