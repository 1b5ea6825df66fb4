//! Which events of one commit differ between two histories, and which belong together.
//!
//! Works on any event: what it is about is its trader and, where it has one, its order; otherwise the
//! name of its variant. A new variant is compared without a change here.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use proctor_engine::Event;
use proctor_types::{OrderId, TraderId};

/// An event of one history and what stands for it in the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair<'a> {
    /// What was recorded; absent when the altered history alone has it.
    pub(super) recorded: Option<&'a Event>,
    /// What happens in the altered history; absent when it does not.
    pub(super) altered: Option<&'a Event>,
}

impl<'a> Pair<'a> {
    /// Returns the recorded event, or the altered one where nothing was recorded.
    pub(super) fn event(&self) -> Option<&'a Event> {
        self.recorded.or(self.altered)
    }

    /// Tells whether the end of an account differs.
    pub(super) fn is_verdict(&self) -> bool {
        matches!(self.event(), Some(Event::Eliminated { .. }))
    }
}

/// What an event is about: two different events about the same are one difference.
type Subject<'a> = (Option<&'a TraderId>, Option<&'a OrderId>, String);

/// Returns what differs between the events of a commit: first what was recorded, in its order, each
/// with its counterpart, then what only the altered history has.
pub(super) fn differences<'a>(recorded: &'a [Event], altered: &'a [Event]) -> Vec<Pair<'a>> {
    // Most commits do not differ at all, and of the others most events do not.
    let equal = recorded.iter().zip(altered).take_while(|(a, b)| a == b).count();
    let (recorded, altered) = (&recorded[equal..], &altered[equal..]);
    let mut by_subject: BTreeMap<Subject<'a>, Vec<(usize, &'a Event)>> = BTreeMap::new();
    for (place, event) in altered.iter().enumerate() {
        by_subject.entry(subject(event)).or_default().push((place, event));
    }
    let mut left = Vec::new();
    for event in recorded {
        let candidates = by_subject.entry(subject(event)).or_default();
        match candidates.iter().position(|(_, other)| same(event, other)) {
            Some(place) => drop(candidates.remove(place)),
            None => left.push(event),
        }
    }
    let mut pairs: Vec<Pair<'a>> = Vec::with_capacity(left.len());
    for event in left {
        let candidates = by_subject.entry(subject(event)).or_default();
        let counterpart = (!candidates.is_empty()).then(|| candidates.remove(0).1);
        pairs.push(Pair { recorded: Some(event), altered: counterpart });
    }
    let mut rest: Vec<(usize, &Event)> = by_subject.into_values().flatten().collect();
    rest.sort_by_key(|(place, _)| *place);
    pairs.extend(rest.into_iter().map(|(_, event)| Pair { recorded: None, altered: Some(event) }));
    pairs
}

fn subject(event: &Event) -> Subject<'_> {
    match order(event) {
        Some(order) => (event.trader(), Some(order), String::new()),
        None => (event.trader(), None, kind(event)),
    }
}

/// Returns the order that `event` is the outcome of, if it is one.
pub(super) fn order(event: &Event) -> Option<&OrderId> {
    if let Event::Rejected { order, .. } = event {
        return order.as_ref();
    }
    if let Event::Filled { order, .. } = event {
        return Some(&order.id);
    }
    if let Event::NothingToClose { order, .. } = event {
        return Some(order);
    }
    None
}

/// Tells whether two events say the same of the world. The name and the hash of a rulebook do not
/// count, as it was exchanged on purpose, nor does the place of an input in its commit; of a refusal
/// the code counts, as in the state digest.
fn same(a: &Event, b: &Event) -> bool {
    if let (Event::RulebookAdopted { .. }, Event::RulebookAdopted { .. }) = (a, b) {
        return true;
    }
    if let (Event::TraderEnrolled { trader, .. }, Event::TraderEnrolled { trader: other, .. }) =
        (a, b)
    {
        return trader == other;
    }
    if let (
        Event::Rejected { trader, order, rejection, .. },
        Event::Rejected { trader: trader_b, order: order_b, rejection: rejection_b, .. },
    ) = (a, b)
    {
        return (trader, order, rejection.code()) == (trader_b, order_b, rejection_b.code());
    }
    a == b
}

/// Returns the name of the event's variant.
pub(super) fn kind(event: &Event) -> String {
    let mut name = Name(String::new());
    // Writing fails on purpose where the name ends, so that the rest is not formatted.
    let _ended = write!(name, "{event:?}");
    name.0
}

/// Takes the first word that is written to it.
struct Name(String);

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proctor_engine::Rejection;
    use proctor_types::{AssetClass, Digest, TradePair};

    use super::*;

    fn trader(name: &str) -> TraderId {
        TraderId::new(name).expect("valid")
    }

    fn refused(input: u32, order: &str, rejection: Rejection) -> Event {
        let order = Some(OrderId::new(order).expect("valid"));
        Event::Rejected { input, trader: Some(trader("alice")), order, rejection }
    }

    fn nothing(order: &str) -> Event {
        Event::NothingToClose {
            trader: trader("alice"),
            order: OrderId::new(order).expect("valid"),
            pair: TradePair::from_id("BTCUSD").expect("in the table"),
        }
    }

    #[test]
    fn an_event_is_named_by_its_variant() {
        assert_eq!(kind(&nothing("o")), "NothingToClose");
        assert_eq!(kind(&Event::TraderDeparted { trader: trader("a") }), "TraderDeparted");
    }

    #[test]
    fn outcomes_of_one_order_belong_together_whatever_they_are() {
        let recorded = [refused(0, "o1", Rejection::DuplicateId), nothing("o2")];
        let altered = [nothing("o1"), nothing("o2")];
        let pairs = differences(&recorded, &altered);
        assert_eq!(pairs, [Pair { recorded: Some(&recorded[0]), altered: Some(&altered[0]) }]);
    }

    #[test]
    fn another_place_in_the_commit_or_another_rulebook_is_no_difference() {
        let adopted = |name: &str| Event::RulebookAdopted {
            name: name.into(),
            version: 1,
            hash: Digest::of(name.as_bytes()),
        };
        let enrolled = |by: &str| Event::TraderEnrolled {
            trader: trader("alice"),
            rulebook: Digest::of(by.as_bytes()),
        };
        let recorded = [adopted("a"), enrolled("a"), refused(1, "o", Rejection::NotRegistered)];
        let altered = [adopted("b"), enrolled("b"), refused(0, "o", Rejection::NotRegistered)];
        assert_eq!(differences(&recorded, &altered), []);
    }

    #[test]
    fn what_one_history_lacks_has_no_counterpart_and_order_is_kept() {
        let chosen = |name: &str| Event::AssetClassChosen {
            trader: trader(name),
            class: AssetClass::Crypto,
        };
        let recorded = [chosen("a"), nothing("o1"), chosen("b")];
        let altered = [chosen("b"), chosen("z"), chosen("c")];
        let pairs = differences(&recorded, &altered);
        let shape: Vec<(bool, bool, Option<&TraderId>)> = pairs
            .iter()
            .map(|p| (p.recorded.is_some(), p.altered.is_some(), p.event().and_then(Event::trader)))
            .collect();
        let [a, alice, z, c] = ["a", "alice", "z", "c"].map(trader);
        let expected = [
            (true, false, Some(&a)),
            (true, false, Some(&alice)),
            (false, true, Some(&z)),
            (false, true, Some(&c)),
        ];
        assert_eq!(shape, expected);
    }
}
