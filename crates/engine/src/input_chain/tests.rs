//! The input chain: what it shows, what it hides, and that neither can be exchanged.

use proctor_types::{
    AssetClass, Quote, SourceName, UtcMs,
    {OrderId, OrderRequest, PairName, Price, Side, SizeFields},
};
use proptest::prelude::*;

use super::*;
use crate::input::Roster;

fn trader(number: u8) -> TraderId {
    TraderId::new(&format!("trader-{number}")).expect("valid")
}

fn pair(row: usize) -> TradePair {
    TradePair::all().nth(row % TradePair::COUNT).expect("in the table")
}

fn order(number: u8) -> Input {
    Input::Order(OrderRequest::market(
        trader(number),
        OrderId::new(&format!("o{number}")).expect("valid"),
        PairName::new("BTCUSD").expect("valid"),
        Side::Long,
        SizeFields::default(),
    ))
}

fn quote(row: usize, price: f64) -> Quote {
    let source = SourceName::new("feed").expect("valid");
    Quote::event(pair(row), source, UtcMs(0), Price::new(price).expect("finite"))
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        (0..9_u8).prop_map(order),
        prop::collection::vec((0..6_usize, 1.0..9.0_f64), 0..5).prop_map(|quotes| Input::Prices(
            quotes.into_iter().map(|(row, price)| quote(row, price)).collect()
        )),
        (0..9_u8).prop_map(|n| Input::AssetClass(trader(n), AssetClass::Crypto)),
        Just(Input::Tick),
        Just(Input::Roster(Roster::new(1, vec![trader(1)]))),
    ]
}

fn keys(subjects: &[Subject<'_>]) -> Vec<u64> {
    let mut keys: Vec<u64> = subjects.iter().map(|subject| subject.key()).collect();
    keys.sort_unstable();
    keys
}

/// Returns what of `inputs` concerns one of the keys, batches cut down to their quotes.
fn concerning(inputs: &[Input], wanted: &[u64]) -> Vec<Placed> {
    let is_wanted =
        |placed: &Placed| placed.subject().is_some_and(|subject| wanted.contains(&subject.key()));
    let mut found: Vec<Placed> = Vec::new();
    for (ordinal, input) in (0_u32..).zip(inputs) {
        let Input::Prices(quotes) = input else {
            found.extend(Some(Placed { ordinal, input: input.clone() }).filter(is_wanted));
            continue;
        };
        if quotes.is_empty() {
            found.extend(Some(Placed { ordinal, input: input.clone() }).filter(is_wanted));
        }
        // By the place of the pair's leaf: that is the order in which quotes come back.
        let mut kept: Vec<Quote> = quotes
            .iter()
            .filter(|q| wanted.contains(&Subject::Pair(q.pair).key()))
            .cloned()
            .collect();
        kept.sort_by_key(|quote| Subject::Pair(quote.pair).key());
        if !kept.is_empty() {
            found.push(Placed { ordinal, input: Input::Prices(kept) });
        }
    }
    found
}

proptest! {
    #[test]
    fn a_pruned_tree_has_the_root_of_the_whole_and_shows_exactly_what_was_wanted(
        inputs in prop::collection::vec(any_input(), 0..40),
        who in 0..9_u8,
        rows in prop::collection::vec(0..6_usize, 0..3),
    ) {
        let trader = trader(who);
        let mut subjects = vec![Subject::Everyone, Subject::Trader(&trader)];
        subjects.extend(rows.iter().map(|row| Subject::Pair(pair(*row))));
        let wanted = keys(&subjects);
        let mut leaves = Leaves::default();
        let link = leaves.read(&inputs);
        let pruned = leaves.prune(&wanted).expect("own bytes");
        prop_assert_eq!(pruned.root(), Ok(link.root));
        prop_assert!(wanted.iter().all(|key| pruned.shows(*key)));
        let shown = pruned.inputs().expect("in order");
        prop_assert_eq!(&shown, &concerning(&inputs, &wanted));
        // A subject without a mark has nothing in the commit.
        for key in &wanted {
            if link.touches & mark(*key) == 0 {
                prop_assert!(concerning(&inputs, &[*key]).is_empty());
            }
        }
    }

    #[test]
    fn any_other_input_gives_another_root(
        inputs in prop::collection::vec(any_input(), 1..20),
        at: prop::sample::Index,
        other in any_input(),
    ) {
        let at = at.index(inputs.len());
        // An order of quotes across pairs and a batch without quotes say the same to every account.
        prop_assume!(inputs[at] != other && !matches!((&inputs[at], &other), (Input::Prices(_), Input::Prices(_))));
        let mut changed = inputs.clone();
        changed[at] = other;
        let mut leaves = Leaves::default();
        prop_assert_ne!(leaves.read(&inputs).root, leaves.read(&changed).root);
    }
}

#[test]
fn a_quote_in_a_leaf_has_the_bytes_of_a_batch_of_one() {
    let (mut leaves, one) = (Leaves::default(), Input::Prices(vec![quote(3, 2.0)]));
    leaves.read(&[Input::Tick, one.clone()]);
    let shown = leaves.prune(&keys(&[Subject::Pair(pair(3))])).expect("own bytes");
    assert_eq!(shown.inputs(), Ok(vec![Placed { ordinal: 1, input: one }]));
}

#[test]
fn a_hidden_leaf_does_not_pass_for_an_absent_one() {
    let mut leaves = Leaves::default();
    let link = leaves.read(&[order(1), order(2)]);
    let (first, second) = (trader(1), trader(2));
    let for_second = leaves.prune(&keys(&[Subject::Trader(&second)])).expect("own bytes");
    assert!(for_second.shows(Subject::Trader(&second).key()));
    // The first trader's leaf is there; a tree that does not show it does not say it is absent.
    assert!(!for_second.shows(Subject::Trader(&first).key()));
    assert!(!Pruned::Hidden(link.root).shows(Subject::Trader(&first).key()));
    // Left out, it changes the root.
    let mut alone = Leaves::default();
    assert_ne!(alone.read(&[order(2)]).root, link.root);
}

#[test]
fn leaves_of_several_subjects_and_doubled_places_are_refused() {
    let placed = |ordinal, input| Placed { ordinal, input };
    let mixed = Pruned::Shown(vec![placed(0, order(1)), placed(1, order(2))]);
    assert_eq!(mixed.root(), Err(BadTree::Mixed));
    assert_eq!(Pruned::Shown(Vec::new()).root(), Err(BadTree::Mixed));
    let batch = Input::Prices(vec![quote(1, 1.0), quote(2, 1.0)]);
    assert_eq!(Pruned::Shown(vec![placed(0, batch)]).root(), Err(BadTree::Mixed));
    let doubled = Pruned::Shown(vec![placed(4, order(1)), placed(4, order(1))]);
    assert_eq!(doubled.inputs(), Err(BadTree::SamePlace(4)));
}

#[test]
fn a_link_covers_place_time_and_marks() {
    let link = Leaves::default().read(&[Input::Tick]);
    let (before, stamp) = (Digest::of(b"before"), Stamp { commit: 3, at: UtcMs(5) });
    let after = link.after(before, stamp);
    assert_ne!(after, link.after(Digest::default(), stamp));
    assert_ne!(after, link.after(before, Stamp { commit: 4, ..stamp }));
    assert_ne!(after, link.after(before, Stamp { at: UtcMs(6), ..stamp }));
    assert_ne!(
        after,
        Link { touches: link.touches | 1 << 9 | 1 << 10, ..link }.after(before, stamp)
    );
}
