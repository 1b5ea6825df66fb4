//! Laws of the whole engine: what holds for every history, however absurd its inputs.

#![allow(clippy::unwrap_used, reason = "helpers of tests, whose values are valid by construction")]

mod extracts;
mod generator;
mod invariants;

use std::collections::{BTreeMap, BTreeSet};

use proctor_engine::challenge_period::{Standing, is_legal};
use proctor_engine::eliminations::{LiftedBy, Origin};
use proctor_engine::input::StagesCommand;
use proctor_engine::input_chain::Leaves;
use proctor_engine::positions::position::OrderSource;
use proctor_engine::rejection::Rejection;
use proctor_engine::state_digest::verdict_hash;
use proctor_engine::{Commit, Engine, Event, Input, Outcome};
use proctor_types::{Digest, TraderId, UtcMs};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use generator::{History, history};

/// Returns a saved state without what says which commit it is of: stamp, digest, input chain, and the
/// hashes of what the commit did.
fn without_its_commit(saved: &[u8]) -> &[u8] {
    let rest = &saved[8 + 8 + 32 + 32 + 32..];
    let (count, rest) = rest.split_first_chunk().expect("a count of verdicts");
    &rest[32 * usize::try_from(u32::from_le_bytes(*count)).unwrap()..]
}

/// So many cases; `PROPTEST_CASES=25600`, a hundred times the default, makes them a hundred times
/// as many.
fn cases(cases: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    Config { cases: cases * config.cases / 256, ..config }
}

fn apply(engine: &mut Engine, commit: &Commit) -> Outcome {
    engine.apply(commit).expect("the generator keeps commits in order")
}

/// Applies `commit`; returns the digest, the events in canonical bytes and the replies' codes.
///
/// A refusal may quote a NaN, which does not equal itself, so outcomes cannot be compared as such.
fn told(engine: &mut Engine, commit: &Commit) -> (Digest, Vec<u8>, Vec<&'static str>) {
    let outcome = apply(engine, commit);
    let events = borsh::to_vec(&outcome.events).expect("events have canonical bytes");
    let code =
        |reply: &Result<(), Rejection>| reply.as_ref().map_or_else(Rejection::code, |()| "ok");
    (outcome.digest, events, outcome.replies.iter().map(code).collect())
}

fn saved(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.save(&mut bytes).expect("a state that cannot be saved is a bug of the engine");
    bytes
}

proptest! {
    #![proptest_config(cases(400))]

    /// No panic, and the invariants of positions, ledgers and eliminations after every commit.
    #[test]
    fn every_history_keeps_the_invariants_and_every_state_can_be_saved(history in history(50)) {
        let mut engine = Engine::new();
        let mut ends = Ends::default();
        let mut standings = Standings::default();
        for commit in history.commits() {
            let outcome = apply(&mut engine, &commit);
            prop_assert_eq!(outcome.replies.len(), commit.inputs.len());
            let broken = invariants::check(&engine.view())
                .and_then(|()| ends.follow(&commit, &outcome, &engine))
                .and_then(|()| standings.follow(&outcome, &engine));
            prop_assert!(broken.is_ok(), "commit {}: {}", commit.index, broken.unwrap_err());
        }
        saved(&engine);
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_replay_gives_the_same_events_and_digests(history in history(50)) {
        let (mut live, mut replay) = (Engine::new(), Engine::new());
        for commit in history.commits() {
            prop_assert_eq!(told(&mut live, &commit), told(&mut replay, &commit));
        }
        prop_assert_eq!(saved(&live), saved(&replay));
    }

    #[test]
    fn a_state_saved_anywhere_and_loaded_goes_on_as_if_nothing_had_happened(
        history in history(40),
        places in prop::collection::btree_set(0..40_usize, 1..4),
    ) {
        let (mut live, mut restored) = (Engine::new(), Engine::new());
        for (place, commit) in history.commits().iter().enumerate() {
            if places.contains(&place) {
                let bytes = saved(&restored);
                restored = Engine::load(&bytes).expect("what was saved can be loaded");
                prop_assert_eq!(saved(&restored), bytes, "loading changed the state");
            }
            prop_assert_eq!(told(&mut live, commit), told(&mut restored, commit));
        }
        prop_assert_eq!(saved(&live), saved(&restored));
    }

    /// A held roster is counted, so that it can be confirmed (E-25); nothing else leaves a trace.
    #[test]
    fn a_refused_input_changes_nothing_but_the_stamp_and_the_digest(history in history(30)) {
        let mut engine = Engine::new();
        for commit in history.commits() {
            for input in commit.inputs {
                // What the passing of time does, and the first rulebook, it does here.
                let index = engine.stamp().commit + 1;
                apply(&mut engine, &Commit { index, at: commit.at, inputs: vec![] });
                let before = saved(&engine);
                let index = engine.stamp().commit + 1;
                let alone = Commit { index, at: commit.at, inputs: vec![input] };
                let outcome = apply(&mut engine, &alone);
                match &outcome.replies[0] {
                    Ok(()) | Err(Rejection::AnomalousRoster { .. }) => {}
                    Err(refusal) => {
                        let after = saved(&engine);
                        prop_assert!(
                            without_its_commit(&before) == without_its_commit(&after),
                            "{} changed the state", refusal
                        );
                        let only_refused = matches!(&outcome.events[..], [Event::Rejected { .. }]);
                        prop_assert!(only_refused, "{:?}", outcome.events);
                    }
                }
            }
        }
    }

    /// the plan of a picture, carried out, leaves a picture whose plan is empty.
    #[test]
    fn a_refresh_done_twice_at_one_time_is_done_once(history in history(40)) {
        let mut engine = Engine::new();
        for commit in history.commits() {
            let mut next = |inputs| {
                let index = engine.stamp().commit + 1;
                apply(&mut engine, &Commit { index, at: commit.at, inputs })
            };
            let refresh = || vec![Input::Stages(StagesCommand::Refresh)];
            next(commit.inputs.clone());
            next(refresh());
            // What stood in the way of the first may be out of it by what the first has done: who
            // was waited for has moved. It is told once.
            let again = next(refresh());
            let told = |event: &Event| matches!(event, Event::Rejected { .. });
            let cleared = |event: &Event| matches!(event, Event::ChallengeAlerts { .. });
            prop_assert!(
                again.events.iter().all(|event| told(event) || cleared(event)),
                "{:?}", again.events
            );
            let once_more = next(refresh());
            prop_assert!(once_more.events.iter().all(told), "{:?}", once_more.events);
        }
    }

    #[test]
    fn bytes_that_are_no_state_are_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        // Only the empty state is so short that random bytes could be one.
        prop_assert!(Engine::load(&bytes).is_err());
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn a_saved_state_with_a_wrong_byte_or_a_missing_end_is_loaded_or_refused_but_never_panics(
        history in history(20),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 40),
    ) {
        let mut engine = Engine::new();
        for commit in history.commits() {
            apply(&mut engine, &commit);
        }
        let bytes = saved(&engine);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            let mut damaged = bytes.clone();
            damaged[place] = byte;
            drop(Engine::load(&damaged));
            // A length that lies: the four bytes from here say that there is no end.
            let end = (place + 4).min(bytes.len());
            damaged[place..end].fill(0xff);
            drop(Engine::load(&damaged));
            prop_assert!(Engine::load(&bytes[..place]).is_err(), "cut at {}", place);
        }
    }
}

proptest! {
    #![proptest_config(cases(150))]

    /// The chain over the inputs is a function of the inputs, and the digest covers it.
    #[test]
    fn the_input_chain_is_known_without_a_fold_and_the_digest_is_made_of_it_and_the_effects(
        history in history(20),
    ) {
        let (mut engine, mut leaves, mut chain) = (Engine::new(), Leaves::default(), Digest::default());
        for commit in history.commits() {
            let before = engine.digest();
            let outcome = apply(&mut engine, &commit);
            chain = leaves.read(&commit.inputs).after(chain, outcome.stamp);
            prop_assert_eq!(engine.input_chain(), chain);
            prop_assert_eq!(engine.effects().digest(before, chain), outcome.digest);
            let verdicts: Vec<Digest> = outcome.events.iter().filter_map(verdict_hash).collect();
            prop_assert_eq!(&engine.effects().verdicts, &verdicts);
        }
    }
}

/// What is known of accounts that have ended.
#[derive(Default)]
struct Ends {
    ended: BTreeSet<TraderId>,
    /// Slashes that are stated and not settled, by trader and commit.
    slashed: BTreeSet<(TraderId, u64)>,
}

impl Ends {
    /// Checks that an account ends once, flat, and accepts nothing from then on (E-60 to E-64).
    fn follow(
        &mut self,
        commit: &Commit,
        outcome: &Outcome,
        engine: &Engine,
    ) -> Result<(), String> {
        let mut before = self.ended.clone();
        let mut flats: BTreeMap<&TraderId, Vec<_>> = BTreeMap::new();
        for event in &outcome.events {
            match event {
                Event::Filled { trader, order, .. } => {
                    if self.ended.contains(trader) {
                        return Err(format!("{trader} has ended, but {} was filled", order.id));
                    }
                    flats.entry(trader).or_default().push(&order.id);
                }
                Event::NothingToClose { trader, .. } if self.ended.contains(trader) => {
                    return Err(format!("{trader} has ended, but an order was accepted"));
                }
                Event::Eliminated { trader, record } => {
                    if !self.ended.insert(trader.clone()) {
                        return Err(format!("{trader} was eliminated twice"));
                    }
                    if record.slash.is_some()
                        != self.slashed.contains(&(trader.clone(), record.stamp.commit))
                    {
                        return Err(format!(
                            "{trader}: the slash is not stated in the commit of the record"
                        ));
                    }
                    // A trader without an account is barred until he has one.
                    if record.origin != Origin::Rule && engine.account(trader).is_none() {
                        continue;
                    }
                    let filled = flats.get(trader).map_or(&[][..], Vec::as_slice);
                    if record.flat_orders.iter().any(|id| !filled.contains(&id)) {
                        return Err(format!(
                            "{trader}: not all of {:?} were filled",
                            record.flat_orders
                        ));
                    }
                    let account = engine.account(trader).ok_or("eliminated without an account")?;
                    if record.stamp != outcome.stamp || account.elimination.as_ref() != Some(record)
                    {
                        return Err(format!("{trader}: the record is not of this commit"));
                    }
                }
                Event::SlashIntended { trader, decided, proportion, .. } => {
                    if !self.slashed.insert((trader.clone(), decided.commit)) {
                        return Err(format!("{trader}: a second slash for one decision"));
                    }
                    if !(0.0..=1.0).contains(proportion) {
                        return Err(format!("{trader}: {proportion} of the collateral"));
                    }
                }
                Event::SlashSettled { trader, decided } => {
                    if !self.slashed.remove(&(trader.clone(), decided.commit)) {
                        return Err(format!("{trader}: settled twice, or never intended"));
                    }
                }
                Event::Reinstated { trader, epoch, .. } => {
                    if !self.ended.remove(trader) {
                        return Err(format!("{trader} was reinstated, but had not ended"));
                    }
                    before.remove(trader);
                    let epochs = engine.account(trader).map(|account| account.epoch);
                    if epoch.is_some_and(|epoch| Some(epoch) > epochs) {
                        return Err(format!("{trader}: the epoch did not begin"));
                    }
                }
                Event::RulebookAdopted { .. }
                | Event::TraderEnrolled { .. }
                | Event::TraderDeparted { .. }
                | Event::AccountSizeRecorded { .. }
                | Event::AssetClassChosen { .. }
                | Event::QuoteRefused { .. }
                | Event::Rejected { .. }
                | Event::NothingToClose { .. }
                | Event::CellClosed { .. }
                | Event::SampleRefused { .. }
                | Event::StageChanged { .. }
                | Event::DecisionRegistered { .. }
                | Event::DecisionsAcknowledged { .. }
                | Event::PlagiarismReported { .. }
                | Event::ChallengeAlerts { .. }
                | Event::EliminationsSynced { .. }
                | Event::ZombiesHeld { .. }
                | Event::ReasonDropped { .. }
                | Event::Purged { .. } => {}
                Event::OrderResting { trader, .. }
                | Event::OrderReached { trader, .. }
                | Event::OrderCancelled { trader, .. }
                | Event::BracketRefused { trader, .. }
                | Event::VerdictFrozen { trader, .. }
                | Event::VerdictThawed { trader, .. }
                | Event::OrderCorrected { trader, .. } => {
                    if before.contains(trader) {
                        return Err(format!("{trader} has ended, but {event:?}"));
                    }
                }
            }
        }
        for (input, reply) in commit.inputs.iter().zip(&outcome.replies) {
            if let Input::Order(request) | Input::RecordedOrder(request, _) = input
                && before.contains(&request.trader)
                && self.ended.contains(&request.trader)
                && reply.is_ok()
            {
                return Err(format!(
                    "{} has ended, but {} was accepted",
                    request.trader, request.id
                ));
            }
        }
        Ok(())
    }
}

/// The standings as the events alone tell them.
#[derive(Default)]
struct Standings {
    now: BTreeMap<TraderId, Standing>,
}

impl Standings {
    /// Checks that every move is of the matrix, begins where the one before ended, and that nothing
    /// else moves anybody (services 2.2).
    fn follow(&mut self, outcome: &Outcome, engine: &Engine) -> Result<(), String> {
        for event in &outcome.events {
            if let Event::StageChanged { trader, cause, from, to } = event {
                if self.now.get(trader) != from.as_ref() {
                    return Err(format!("{trader} moved from {from:?}, but was elsewhere"));
                }
                if !is_legal(*cause, *from, *to) {
                    return Err(format!("{trader}: {cause:?} from {from:?} to {to:?}"));
                }
                match to {
                    Some(to) => drop(self.now.insert(trader.clone(), *to)),
                    None => drop(self.now.remove(trader)),
                }
            }
        }
        for account in &engine.view().accounts {
            if self.now.get(&account.trader) != account.standing.as_ref() {
                return Err(format!("{} moved without an event", account.trader));
            }
        }
        Ok(())
    }
}

/// Counts what happened, by name.
fn count(counts: &mut BTreeMap<String, u32>, outcome: &Outcome) {
    let mut one = |name: &str| *counts.entry(name.to_owned()).or_default() += 1;
    for event in &outcome.events {
        match event {
            Event::Filled { order, clamped, closes, .. } => {
                one("filled");
                one(if *closes { "closed" } else { "opened or changed" });
                if *clamped {
                    one("clamped");
                }
                for (source, name) in [
                    (OrderSource::MaxOrdersClose, "full position closed"),
                    (OrderSource::EliminationFlat, "flat without a price"),
                    (OrderSource::PriceFilledEliminationFlat, "flat at a price"),
                    (OrderSource::LimitFilled, "limit filled"),
                    (OrderSource::BracketFilled, "bracket filled"),
                ] {
                    if order.source == source {
                        one(name);
                    }
                }
            }
            Event::Rejected { rejection, .. } => one(&format!("rejected: {}", rejection.code())),
            Event::QuoteRefused { code, .. } => one(&format!("quote refused: {code}")),
            Event::Eliminated { record, .. } => one(record.reason.code()),
            Event::CellClosed { .. } => one("cell closed"),
            Event::NothingToClose { .. } => one("nothing to close"),
            Event::SampleRefused { .. } => one("sample refused"),
            Event::TraderDeparted { .. } => one("departed"),
            Event::TraderEnrolled { .. } => one("enrolled"),
            Event::Reinstated { by: LiftedBy::Operator { .. }, .. } => one("reinstated"),
            Event::Reinstated { by: LiftedBy::Source { .. }, .. } => one("lifted by its source"),
            Event::EliminationsSynced { added, .. } => {
                one(if added.is_empty() { "synced, nothing new" } else { "synced" });
            }
            Event::SlashSettled { .. } => one("slash settled"),
            Event::ZombiesHeld { .. } => one("zombies held"),
            Event::Purged { .. } => one("purged"),
            Event::OrderResting { order, .. } if order.is_bracket() => one("bracket rests"),
            Event::OrderResting { .. } => one("limit rests"),
            Event::OrderReached { .. } => one("reached"),
            Event::OrderCancelled { why, .. } => one(&format!("cancelled: {}", why.code())),
            Event::BracketRefused { rejection, .. } => {
                one(&format!("bracket refused: {}", rejection.code()));
            }
            Event::VerdictFrozen { .. } => one("verdict frozen"),
            Event::VerdictThawed { why, .. } => one(&format!("thawed: {}", why.code())),
            Event::OrderCorrected { .. } => one("order corrected"),
            Event::RulebookAdopted { .. }
            | Event::AccountSizeRecorded { .. }
            | Event::AssetClassChosen { .. } => {}
            Event::StageChanged { cause, .. } => one(&format!("stage: {cause:?}")),
            Event::DecisionRegistered { .. } => one("decision registered"),
            Event::DecisionsAcknowledged { .. } => one("decisions acknowledged"),
            Event::PlagiarismReported { .. } => one("plagiarism reported"),
            Event::ChallengeAlerts { .. } => one("challenge alerts"),
            Event::ReasonDropped { .. } => one("reason dropped"),
            Event::SlashIntended { .. } => one("slash intended"),
        }
    }
}

/// What the generator must reach in [`COVERAGE_HISTORIES`] histories, at least so often.
const COVERAGE: [(&str, u32); 117] = [
    ("filled", 500),
    ("closed", 100),
    ("clamped", 20),
    ("full position closed", 2),
    ("flat without a price", 1),
    ("flat at a price", 10),
    ("MAX_TOTAL_DRAWDOWN", 5),
    ("FAILED_CHALLENGE_PERIOD_DRAWDOWN", 20),
    ("FAILED_CHALLENGE_PERIOD_TIME", 20),
    ("PLAGIARISM", 10),
    ("stage: Admitted", 500),
    ("stage: FirstOrder", 100),
    ("stage: Promoted", 20),
    ("stage: Demoted", 5),
    ("stage: Suspected", 50),
    ("stage: Cleared", 10),
    ("stage: Ended", 100),
    ("stage: Departed", 20),
    ("stage: Set", 20),
    ("stage: Removed", 20),
    ("decision registered", 50),
    ("decisions acknowledged", 5),
    ("challenge alerts", 20),
    ("rejected: unknown_trader", 10),
    ("rejected: trader_eliminated", 5),
    ("rejected: stage_before", 20),
    ("rejected: time_ahead", 10),
    ("rejected: time_out_of_calendar", 20),
    ("rejected: not_decided", 20),
    ("LIQUIDATED", 2),
    ("ZOMBIE", 2),
    ("reinstated", 5),
    ("lifted by its source", 5),
    ("synced", 5),
    ("synced, nothing new", 5),
    ("slash settled", 1),
    ("purged", 1),
    ("rejected: no_such_elimination", 5),
    ("rejected: already_eliminated", 2),
    ("rejected: elimination_date", 2),
    ("rejected: not_slashed", 1),
    ("rejected: stale_sync", 2),
    ("rejected: sync_ahead", 2),
    ("rejected: no_room", 1),
    ("cell closed", 500),
    ("nothing to close", 10),
    ("sample refused", 1),
    ("departed", 5),
    ("enrolled", 500),
    ("quote refused: invalid", 20),
    ("quote refused: future", 5),
    ("quote refused: old", 20),
    ("quote refused: wide_spread", 5),
    ("rejected: no_rulebook", 1),
    ("rejected: invalid_rulebook", 5),
    ("rejected: roster_unknown", 1),
    ("rejected: stale_roster", 5),
    ("rejected: anomalous_roster", 2),
    ("rejected: not_registered", 20),
    ("rejected: eliminated", 10),
    ("rejected: departed", 1),
    ("rejected: unknown_pair", 10),
    ("rejected: duplicate_id", 2),
    ("rejected: blocked", 10),
    ("rejected: asset_class_not_chosen", 10),
    ("rejected: wrong_asset_class", 20),
    ("rejected: asset_class_chosen", 5),
    ("rejected: market_closed", 5),
    ("rejected: unsupported", 5),
    ("rejected: execution_unsupported", 5),
    ("rejected: no_price", 20),
    ("rejected: cooling_down", 5),
    ("rejected: not_later", 2),
    ("rejected: size_missing", 1),
    ("rejected: size_ambiguous", 2),
    ("rejected: size_negative", 1),
    ("rejected: below_minimum", 2),
    ("rejected: order_too_large", 1),
    ("rejected: portfolio_full", 2),
    ("rejected: account_size", 1),
    ("limit rests", 200),
    ("bracket rests", 200),
    ("limit filled", 100),
    ("bracket filled", 100),
    ("reached", 200),
    ("cancelled: by_trader", 5),
    ("cancelled: departed", 10),
    ("cancelled: eliminated", 20),
    ("cancelled: position_closed", 20),
    ("cancelled: replaced", 5),
    ("cancelled: below_minimum", 1),
    ("cancelled: order_too_small", 1),
    ("cancelled: position_full", 1),
    ("cancelled: size_not_finite", 1),
    ("bracket refused: no_position", 20),
    ("bracket refused: protection_side", 20),
    ("rejected: limit_flat", 20),
    ("rejected: limit_price_missing", 5),
    ("rejected: no_position", 20),
    ("rejected: nothing_to_cancel", 20),
    ("rejected: cancel_target_missing", 2),
    ("rejected: price_not_positive", 5),
    ("rejected: protection_missing", 5),
    ("rejected: protection_side", 20),
    ("rejected: resting_full", 1),
    ("rejected: size_zero", 1),
    ("rejected: order_too_small", 5),
    ("rejected: position_full", 5),
    ("rejected: price_unconfirmed", 5),
    ("rejected: frozen", 1),
    ("rejected: correction_unknown_order", 5),
    ("rejected: correction_too_old", 5),
    ("rejected: correction_number", 1),
    ("order corrected", 20),
    ("verdict frozen", 5),
    ("thawed: returned", 1),
    ("thawed: not_repeated", 1),
];
const COVERAGE_HISTORIES: u32 = 500;

#[test]
fn the_generator_reaches_every_outcome() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(cases(1), rng);
    let mut counts = BTreeMap::new();
    for _ in 0..COVERAGE_HISTORIES {
        let history: History = history(50).new_tree(&mut runner).expect("no filters").current();
        let mut engine = Engine::new();
        for commit in history.commits() {
            count(&mut counts, &apply(&mut engine, &commit));
        }
    }
    let reached = |name: &str| counts.get(name).copied().unwrap_or(0);
    let missing: Vec<_> = COVERAGE.iter().filter(|(name, least)| reached(name) < *least).collect();
    assert!(missing.is_empty(), "not reached often enough: {missing:?}\nreached: {counts:#?}");
}

#[test]
fn a_commit_at_an_absurd_time_is_refused_and_changes_nothing() {
    for at in [i64::MIN, -1, 253_402_300_800_000, i64::MAX] {
        let mut engine = Engine::new();
        let commit = Commit { index: 1, at: UtcMs(at), inputs: vec![Input::Tick] };
        assert!(engine.apply(&commit).is_err(), "{at}");
        assert_eq!(engine.stamp().commit, 0);
    }
}

#[test]
fn returns_beyond_every_number_leave_a_state_that_can_be_saved() {
    let mut engine = Engine::new();
    let mut at = generator::T0;
    let mut commit = |inputs: Vec<Input>| {
        at += 60_000;
        let commit = Commit { index: engine.stamp().commit + 1, at: UtcMs(at), inputs };
        let outcome = apply(&mut engine, &commit);
        assert_eq!(outcome.replies, [Ok(())], "{:?}", outcome.events);
        saved(&engine);
    };
    for input in generator::fortune() {
        commit(vec![input]);
    }
}

#[test]
fn a_clock_that_jumps_to_the_end_of_the_calendar_costs_no_more_than_a_window_of_cells() {
    let mut engine = Engine::new();
    for (place, input) in (1..).zip(generator::fortune().into_iter().take(4)) {
        let at = UtcMs(generator::T0 + place * 60_000);
        let index = engine.stamp().commit + 1;
        apply(&mut engine, &Commit { index, at, inputs: vec![input] });
    }
    assert!(engine.view().accounts[0].ledgers.is_some());
    let index = engine.stamp().commit + 1;
    let outcome = apply(&mut engine, &Commit { index, at: UtcMs::MAX, inputs: vec![] });
    assert!(outcome.events.len() < 1_000, "{} events", outcome.events.len());
    invariants::check(&engine.view()).expect("the ledgers are as after any long time");
}
