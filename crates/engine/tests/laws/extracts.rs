//! Laws of extracts: what evidence of one trader rests on.

use std::collections::BTreeSet;

use proctor_engine::engine::{Attested, Fact, Undecided, attested_by};
use proctor_engine::input::Extract;
use proctor_engine::input_chain::{Leaves, Subject};
use proctor_engine::prices::conversion;
use proctor_engine::{Commit, Engine, Event, Input, Outcome};
use proctor_types::{TradePair, TraderId};
use proptest::prelude::*;

use crate::generator::{self, History, history};
use crate::{apply, cases};

/// Returns what of `commits` the account of `trader` depends on: the inputs of everybody, the
/// trader's own, and the quotes of every pair that the trader's orders name or convert by.
#[expect(clippy::wildcard_enum_match_arm, reason = "only orders name pairs")]
fn extract(commits: &[Commit], trader: &TraderId) -> Vec<Extract> {
    let orders = commits.iter().flat_map(|commit| &commit.inputs).filter_map(|input| match input {
        Input::Order(request) | Input::RecordedOrder(request, _) => Some(request),
        _ => None,
    });
    let mut wanted: BTreeSet<u64> =
        [Subject::Everyone, Subject::Trader(trader)].map(Subject::key).into();
    for request in orders.filter(|request| request.trader == *trader) {
        let Some(pair) = TradePair::from_id(request.pair.as_str()) else { continue };
        wanted.insert(Subject::Pair(pair).key());
        wanted.extend(conversion::legs(pair).into_iter().map(|leg| Subject::Pair(leg).key()));
    }
    let wanted: Vec<u64> = wanted.into_iter().collect();
    let mut leaves = Leaves::default();
    let cut = |commit: &Commit| {
        leaves.read(&commit.inputs);
        let inputs = leaves.prune(&wanted).expect("own bytes").inputs().expect("own inputs");
        Extract { index: commit.index, at: commit.at, inputs }
    };
    commits.iter().map(cut).collect()
}

/// Returns the events of `outcome` about `trader`, in canonical bytes.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other event says whom it is about")]
fn about(trader: &TraderId, outcome: &Outcome) -> Vec<Vec<u8>> {
    let concerns = |event: &&Event| match event {
        Event::RulebookAdopted { .. } => true,
        // Its number counts the decisions on all traders.
        Event::DecisionRegistered { .. } => false,
        other => other.trader() == Some(trader),
    };
    let bytes = |event| borsh::to_vec(event).expect("events have canonical bytes");
    outcome.events.iter().filter(concerns).map(bytes).collect()
}

fn attested_extracts_give_the_accounts(history: &History) -> Result<(), TestCaseError> {
    let commits = history.commits();
    for number in 0..5 {
        let trader = generator::trader(number);
        let mut whole = Engine::new();
        let (mut told, mut attested) = (Vec::new(), Vec::new());
        let bytes = |engine: &Engine| borsh::to_vec(&engine.account(&trader)).unwrap();
        for commit in &commits {
            let outcome = apply(&mut whole, commit);
            attested.extend(attested_by(&trader, commit, &outcome));
            told.push((about(&trader, &outcome), bytes(&whole)));
        }
        let mut part = Engine::for_extract(trader.clone(), Some(attested));
        for (extract, (events, account)) in extract(&commits, &trader).iter().zip(told) {
            let outcome = part.apply_extract(extract).expect("in order");
            prop_assert_eq!(events, about(&trader, &outcome), "commit {}", extract.index);
            prop_assert_eq!(account, bytes(&part), "commit {}", extract.index);
        }
        prop_assert!(part.has_come_about(u64::MAX));
    }
    Ok(())
}

#[test]
fn a_rank_is_attested_of_the_refresh_that_gave_it_not_of_the_first_in_the_commit() {
    let history = generator::found::promoted_by_the_second_refresh_of_a_commit();
    let commits = history.commits();
    let mut engine = Engine::new();
    let facts: Vec<_> = commits
        .iter()
        .flat_map(|commit| {
            let outcome = apply(&mut engine, commit);
            attested_by(&generator::trader(0), commit, &outcome)
        })
        .collect();
    let last = commits.last().expect("some").index;
    assert_eq!(facts, [Attested { commit: last, input: Some(1), fact: Fact::Promoted }]);
    attested_extracts_give_the_accounts(&history).expect("the law holds");
}

#[test]
fn a_record_of_one_trader_without_an_account_is_attested_for_it_needs_room_among_all() {
    let history = generator::found::barred_without_room();
    attested_extracts_give_the_accounts(&history).expect("the law holds");
    let (commits, trader) = (history.commits(), generator::trader(0));
    let mut part = Engine::for_extract(trader.clone(), None);
    for extract in extract(&commits, &trader) {
        part.apply_extract(&extract).expect("in order");
        let barred = extract.index == commits.last().expect("some").index;
        let by = part.undecided_by(&trader, &extract);
        assert_eq!(by, barred.then_some(Undecided::Batch), "commit {}", extract.index);
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// What evidence rests on: no account depends on what concerns only others.
    #[test]
    fn an_extract_gives_bit_for_bit_the_account_and_the_events_of_the_whole_log(
        history in history(50),
    ) {
        let commits = history.commits();
        for number in 0..5 {
            let trader = generator::trader(number);
            let (mut whole, mut part) = (Engine::new(), Engine::for_extract(trader.clone(), None));
            for (commit, extract) in commits.iter().zip(extract(&commits, &trader)) {
                let told = about(&trader, &apply(&mut whole, commit));
                let outcome = part.apply_extract(&extract).expect("in order");
                // From here on an extract decides nothing, and says so.
                let by_rank = part.undecided_by_rank(&trader).or(whole.undecided_by_rank(&trader));
                if part.undecided_by(&trader, &extract).or(by_rank).is_some() {
                    break;
                }
                prop_assert_eq!(told, about(&trader, &outcome), "commit {}", commit.index);
                let bytes = |engine: &Engine| borsh::to_vec(&engine.account(&trader)).unwrap();
                prop_assert_eq!(bytes(&whole), bytes(&part), "commit {}", commit.index);
            }
        }
    }

    /// What attested evidence rests on: with what others decided about it, an extract gives the account.
    #[test]
    fn an_extract_and_what_others_decided_give_the_account_of_the_whole_log_to_its_end(
        history in history(50),
    ) {
        attested_extracts_give_the_accounts(&history)?;
    }
}
