//! The life of a record: passes, commands, lists of other validators, slashes, purges.

#![allow(clippy::unwrap_used, reason = "helpers of tests, whose values are valid by construction")]

mod property;
mod world;

use proctor_engine::challenge_period::{Stage, Standing};
use proctor_engine::eliminations::{DrawdownNote, Origin, Reason, SlashState};
use proctor_engine::{Event, Rejection};
use proctor_types::{Stamp, UtcMs};

use world::{DAY, PASS, T0, World, add, reinstate, remove, settle, source, trader};

fn count(events: &[Event], is: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| is(event)).count()
}

fn slashes(events: &[Event]) -> usize {
    count(events, |event| matches!(event, Event::SlashIntended { .. }))
}

#[test]
fn e_53_a_trader_who_stays_away_becomes_a_zombie_flat_and_not_slashed() {
    let mut world = World::new(&["alice", "bob"]);
    world.opens("alice");
    world.rosters(2, &["bob"]);
    assert_eq!(world.reason("alice"), None, "E-54: two rosters are not enough");
    assert!(world.has_open_position("alice"));
    let events = world.rosters(1, &["bob"]);
    let record = world.record("alice").expect("a zombie");
    assert_eq!((record.reason, record.drawdown), (Reason::Zombie, DrawdownNote::NotApplicable));
    assert_eq!((record.flat_orders.len(), record.prices.len()), (1, 1));
    assert_eq!((record.slash, record.fall, slashes(&events)), (None, None, 0), "E-65");
    assert!(!world.has_open_position("alice"));
    assert_eq!(world.reason("bob"), None);
}

#[test]
fn e_22_who_returns_before_that_is_no_zombie_and_still_may_not_trade() {
    let mut world = World::new(&["alice", "bob"]);
    world.rosters(2, &["bob"]);
    world.rosters(1, &["alice", "bob"]);
    world.rosters(2, &["bob"]);
    assert_eq!(world.reason("alice"), None, "absence is counted anew");
    world.rosters(1, &["alice", "bob"]);
    let order = world.order("alice");
    assert!(matches!(world.bad(order), Rejection::Departed(_)), "departure is permanent");
}

#[test]
fn x_16_e_54_a_mass_disappearance_makes_no_zombies_and_is_reported_once() {
    let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    world.opens("t0");
    let mut events = world.rosters(6, &names[12..]);
    events.extend(world.rosters(1, &names[12..]));
    let held = |event: &Event| matches!(event, Event::ZombiesHeld { missing: 12, known: 20 });
    assert_eq!(count(&events, held), 1, "{events:?}");
    assert!(names.iter().all(|name| world.reason(name).is_none()));
    assert!(world.has_open_position("t0"));
    // The roster recovers: the alarm is over, and nobody was harmed.
    let over = world.rosters(1, &names);
    assert_eq!(count(&over, |e| matches!(e, Event::ZombiesHeld { missing: 0, known: 0 })), 1);
}

#[test]
fn e_14_a_pass_is_due_at_exactly_the_interval() {
    let mut world = World::new(&["alice", "bob"]);
    for _ in 0..3 {
        let roster = world.roster(&["bob"]);
        world.commit(1, vec![roster]);
    }
    // The first pass was made with the first commit that had rules, at T0.
    world.commit(T0 + PASS - 1 - world.at, vec![]);
    assert_eq!(world.reason("alice"), None);
    world.commit(1, vec![]);
    assert_eq!(world.reason("alice"), Some(Reason::Zombie));
}

#[test]
fn e_56_a_record_is_purged_two_days_on_when_its_trader_is_not_registered() {
    let mut world = World::new(&["alice", "bob"]);
    world.opens("alice");
    world.opens("bob");
    world.crash();
    let decided = world.record("alice").expect("ended").stamp.at;
    let roster = world.roster(&["bob"]);
    world.commit(1_000, vec![roster]);
    world.commit(decided.0 + 2 * DAY - 1 - world.at, vec![]);
    assert_eq!(world.record("alice").expect("ended").purged, None);
    let events = world.commit(PASS, vec![]).events;
    assert_eq!(count(&events, |event| matches!(event, Event::Purged { .. })), 1);
    let account = world.engine.account(&trader("alice")).expect("kept");
    assert!(account.book.pairs().is_empty() && account.ledgers.is_none());
    let record = account.elimination.as_ref().expect("P-16: the record still answers");
    assert_eq!((record.reason, record.stamp.at), (Reason::FailedChallengePeriodDrawdown, decided));
    assert!(record.fall.is_some() && record.prices.is_empty() && record.purged.is_some());
    assert_eq!(record.slash.map(|slash| slash.state), Some(SlashState::Intended));
    let bob = world.record("bob").expect("ended");
    assert_eq!((bob.purged, bob.prices.len()), (None, 1), "who is registered is kept");
    let again = world.commit(PASS, vec![]).events;
    assert_eq!(count(&again, |event| matches!(event, Event::Purged { .. })), 0, "once");
}

#[test]
fn x_13_e_65_a_verdict_states_one_slash_however_often_passes_run_and_commands_repeat() {
    let mut world = World::new(&["alice"]);
    world.opens("alice");
    let row = world.row("alice", Reason::MaxTotalDrawdown, 0);
    let price = world.price_in(20_000, 70.0);
    let again = world.price_in(20_000, 60.0);
    let mut events = world.commit(20_000, vec![price, add(vec![row]), again]).events;
    for _ in 0..3 {
        events.extend(world.commit(PASS, vec![]).events);
    }
    assert_eq!(slashes(&events), 1);
    assert_eq!(count(&events, |event| matches!(event, Event::Eliminated { .. })), 1);
    let slash = world.record("alice").unwrap().slash.expect("stated");
    assert_eq!((slash.proportion, slash.state), (1.0, SlashState::Intended), "E-66: below 0.9");
}

#[test]
fn e_67_a_slash_is_settled_once_under_its_key_and_nothing_else_is() {
    let mut world = World::new(&["alice", "bob"]);
    world.opens("alice");
    let decided = world.crash().stamp;
    let wrong = Stamp { commit: decided.commit + 1, ..decided };
    assert!(matches!(world.bad(settle("alice", wrong)), Rejection::NoSuchElimination(_)));
    assert!(matches!(world.bad(settle("bob", decided)), Rejection::NoSuchElimination(_)));
    let events = world.good(1_000, settle("alice", decided));
    assert!(matches!(events[..], [Event::SlashSettled { .. }]));
    let before = world.state();
    assert!(world.good(1_000, settle("alice", decided)).is_empty(), "told twice is told once");
    assert_eq!(world.state(), before);
    let row = world.row("bob", Reason::Plagiarism, 0);
    world.good(0, add(vec![row]));
    let stamp = world.record("bob").unwrap().stamp;
    assert!(matches!(world.bad(settle("bob", stamp)), Rejection::NotSlashed(_)));
}

#[test]
fn a_reinstatement_begins_a_new_epoch_and_undoes_exactly_one_decision() {
    let mut world = World::new(&["alice"]);
    world.opens("alice");
    let used = world.order("alice");
    let decided = world.crash().stamp;
    let other = Stamp { commit: decided.commit - 1, ..decided };
    assert!(matches!(world.bad(reinstate("alice", other)), Rejection::NoSuchElimination(_)));
    assert!(matches!(world.bad(reinstate("carol", decided)), Rejection::NoSuchElimination(_)));
    let events = world.good(1_000, reinstate("alice", decided));
    let [Event::Reinstated { epoch: Some(1), .. }, Event::StageChanged { to: Some(to), .. }] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(*to, Standing::new(Stage::Challenge, UtcMs(world.at)), "a challenge from now on");
    let account = world.engine.account(&trader("alice")).unwrap().clone();
    assert_eq!((account.epoch, account.elimination.is_none(), account.past.len()), (1, true, 1));
    assert!(account.book.pairs().is_empty() && account.ledgers.is_none());
    let state = account.past[0].record.slash.map(|slash| slash.state);
    assert!(matches!(state, Some(SlashState::Withdrawn(_))), "{state:?}");
    assert!(matches!(world.bad(reinstate("alice", decided)), Rejection::NoSuchElimination(_)));
    // The old loss does not count any more, and a new one is a new decision with its own slash.
    world.commit(PASS, vec![]);
    assert_eq!(world.reason("alice"), None);
    let price = world.price_in(20_000, 100.0);
    assert_eq!(world.commit(20_000, vec![price, used]).replies, [Ok(()), Ok(())]);
    let second = world.crash();
    assert_eq!(slashes(&second.events), 1);
    assert_ne!(world.record("alice").unwrap().stamp, decided);
    // The first slash had been executed before the word got there: that is a fact, too.
    world.good(1_000, settle("alice", decided));
    let account = world.engine.account(&trader("alice")).unwrap();
    let of_first = account.past[0].record.slash.unwrap().state;
    assert!(matches!(of_first, SlashState::Settled(_)));
    assert_eq!(account.elimination.as_ref().unwrap().slash.unwrap().state, SlashState::Intended);
}

#[test]
fn order_ids_of_an_earlier_epoch_stay_used() {
    let mut world = World::new(&["alice"]);
    let order = world.order("alice");
    let price = world.price_in(20_000, 100.0);
    world.commit(20_000, vec![price, order.clone()]);
    let decided = world.crash().stamp;
    world.good(1_000, reinstate("alice", decided));
    assert_eq!(world.bad(order), Rejection::DuplicateId);
}

#[test]
fn a_decision_of_the_same_commit_cannot_be_undone_in_it() {
    let mut world = World::new(&["alice"]);
    world.opens("alice");
    let price = world.price_in(20_000, 70.0);
    let next = world.engine.stamp().commit + 1;
    let decided = Stamp { commit: next, at: UtcMs(world.at + 20_000) };
    let inputs = vec![price, remove(&["alice"]), reinstate("alice", decided)];
    let unknown = Err(Rejection::NoSuchElimination(trader("alice")));
    assert_eq!(world.commit(20_000, inputs).replies, [Ok(()), unknown.clone(), unknown]);
}

#[test]
fn operators_add_all_or_nothing_and_never_over_a_record() {
    let mut world = World::new(&["alice", "bob", "carol"]);
    world.opens("alice");
    world.crash();
    let ended = world.record("alice");
    let batch = |world: &World, names: &[&str]| {
        add(names.iter().map(|who| world.row(who, Reason::Plagiarism, 0)).collect())
    };
    let refused = batch(&world, &["bob", "alice"]);
    assert_eq!(world.bad(refused), Rejection::AlreadyEliminated(trader("alice")));
    let mut late = world.row("carol", Reason::Zombie, 0);
    late.decided_at = UtcMs(world.at + 1);
    let refused = add(vec![world.row("bob", Reason::Zombie, 0), late]);
    assert_eq!(world.bad(refused), Rejection::EliminationDate(trader("carol")));
    world.opens("bob");
    let good = batch(&world, &["bob", "carol"]);
    let events = world.good(0, good);
    assert_eq!((slashes(&events), world.has_open_position("bob")), (0, false));
    assert!(matches!(world.record("bob").unwrap().origin, Origin::Operator { .. }));
    assert_eq!(world.record("alice"), ended, "its time did not begin anew");
    let removed = remove(&["bob", "carol", "nobody"]);
    assert_eq!(world.bad(removed), Rejection::NoSuchElimination(trader("nobody")));
    world.good(1_000, remove(&["bob", "carol"]));
    assert_eq!((world.reason("bob"), world.reason("carol")), (None, None));
    world.opens("bob");
}

#[test]
fn a_record_of_a_stranger_bars_him_from_the_moment_he_enrols() {
    let mut world = World::new(&["alice"]);
    let row = world.row("mallory", Reason::Plagiarism, 0);
    world.good(0, add(vec![row]));
    let list = world.list("peer", &["trudy"]);
    world.good(0, list);
    world.commit(3 * DAY, vec![]);
    let roster = world.roster(&["alice", "mallory", "trudy"]);
    world.good(1_000, roster);
    for who in ["mallory", "trudy"] {
        assert_eq!(world.reason(who), Some(Reason::Plagiarism), "{who}");
        let order = world.order(who);
        assert!(matches!(world.bad(order), Rejection::Eliminated(_)), "{who}");
    }
    assert!(world.engine.view().barred.is_empty(), "one owner: the account has the record now");
    world.good(1_000, remove(&["mallory"]));
    assert_eq!(world.engine.account(&trader("mallory")).unwrap().epoch, 1);
}

#[test]
fn e_70_a_list_ends_accounts_here_flat_and_without_a_slash() {
    let mut world = World::new(&["alice", "bob"]);
    world.opens("alice");
    let list = world.list("peer", &["alice", "stranger"]);
    let events = world.good(0, list.clone());
    assert_eq!((world.has_open_position("alice"), slashes(&events)), (false, 0), "E-72");
    let (added, removed) = synced(&events);
    assert_eq!((added, removed), (vec!["alice".to_owned(), "stranger".into()], vec![]));
    let before = world.state();
    assert_eq!(synced(&world.good(0, list)), (vec![], vec![]), "synced twice is synced once");
    assert_eq!(world.state(), before);
}

/// Whom the list gave a record, and from whom it took one.
fn synced(events: &[Event]) -> (Vec<String>, Vec<String>) {
    let text = |names: &[proctor_types::TraderId]| names.iter().map(ToString::to_string).collect();
    let told = events.iter().find_map(|event| {
        if let Event::EliminationsSynced { added, removed, .. } = event {
            Some((text(added), text(removed)))
        } else {
            None
        }
    });
    told.expect("a list is always reported")
}

#[test]
fn e_74_no_list_erases_or_changes_what_was_decided_here() {
    let mut world = World::new(&["alice", "bob", "carol"]);
    world.opens("alice");
    world.crash();
    let row = world.row("bob", Reason::Zombie, 0);
    world.good(0, add(vec![row]));
    let local = (world.record("alice"), world.record("bob"));
    for names in [&["alice", "carol"][..], &["carol"], &["bob"], &[]] {
        let list = world.list("peer", names);
        world.commit(1_000, vec![list]);
        assert_eq!((world.record("alice"), world.record("bob")), local, "{names:?}");
    }
}

#[test]
fn e_70_a_source_takes_back_only_what_it_brought() {
    let mut world = World::new(&["alice", "bob", "carol"]);
    for (of, names) in [("peer", &["alice", "bob"][..]), ("other", &["carol"])] {
        let list = world.list(of, names);
        world.good(1_000, list);
    }
    let list = world.list("peer", &["bob"]);
    assert_eq!(synced(&world.good(1_000, list)), (vec![], vec!["alice".to_owned()]));
    let reasons = ["alice", "bob", "carol"].map(|who| world.reason(who).is_some());
    assert_eq!(reasons, [false, true, true]);
    let empty = world.list("other", &[]);
    assert_eq!(synced(&world.good(1_000, empty)), (vec![], vec![]));
    assert!(world.reason("carol").is_some(), "an empty list is a source that lost its memory");
}

#[test]
fn e_74_a_trader_reinstated_here_is_not_ended_again_by_the_list_that_did_it() {
    let mut world = World::new(&["alice"]);
    let list = world.list("peer", &["alice", "stranger"]);
    world.good(0, list.clone());
    world.commit(1_000, vec![]);
    world.good(0, remove(&["alice", "stranger"]));
    assert_eq!(synced(&world.good(0, list)), (vec![], vec![]));
    // A decision that the other took after it is another matter.
    world.commit(60_000, vec![]);
    let list = world.list("peer", &["alice", "stranger"]);
    assert_eq!(synced(&world.good(0, list)).0.len(), 2);
}

#[test]
fn x_5_lists_that_are_old_ahead_or_out_of_proportion_are_refused_whole() {
    let names: Vec<String> = (0..30).map(|number| format!("t{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names);
    let old = world.list("peer", &names[..2]);
    world.commit(1_000, vec![]);
    let list = world.list("peer", &names[..2]);
    world.good(0, list);
    assert!(matches!(world.bad(old), Rejection::StaleSync { .. }));
    world.at += 5;
    let ahead = world.list("peer", &names[..2]);
    world.at -= 5;
    assert!(matches!(world.bad(ahead), Rejection::SyncAhead(_)));
    let many = world.list("peer", &names);
    let anomalous = Rejection::AnomalousSync { changed: 28, known: 28 };
    assert_eq!(world.bad(many), anomalous);
    for end in [12, 20] {
        let list = world.list("peer", &names[..end]);
        world.commit(1_000, vec![list]);
    }
    let truncated = world.list("peer", &names[..1]);
    assert!(matches!(world.bad(truncated), Rejection::AnomalousSync { .. }));
}

#[test]
fn a_source_that_forgets_an_expired_record_reinstates_nobody() {
    let mut world = World::new(&["alice", "bob"]);
    let list = world.list("peer", &["alice", "bob"]);
    world.good(0, list);
    let roster = world.roster(&["bob"]);
    world.good(1_000, roster);
    world.commit(2 * DAY, vec![]);
    // By E-56 the source has dropped its record of alice, who is gone; bob it has pardoned.
    let list = world.list("peer", &["stranger"]);
    assert_eq!(synced(&world.good(0, list)).1, ["bob".to_owned()]);
    assert!(world.reason("alice").is_some());
}

#[test]
fn x_2_x_14_a_state_saved_between_any_two_steps_goes_on_the_same() {
    let mut world = World::new(&["alice", "bob"]);
    world.opens("alice");
    let decided = world.crash().stamp;
    let list = world.list("peer", &["bob", "stranger"]);
    for input in [list, settle("alice", decided), remove(&["bob"]), reinstate("alice", decided)] {
        world.good(1_000, input);
        let mut bytes = Vec::new();
        world.engine.save(&mut bytes).unwrap();
        let loaded = proctor_engine::Engine::load(&bytes).expect("loads");
        let mut again = Vec::new();
        loaded.save(&mut again).unwrap();
        assert_eq!(again, bytes);
        world.engine = loaded;
    }
    assert_eq!((world.reason("alice"), world.reason("bob")), (None, None));
    assert!(world.reason("stranger").is_some());
    assert!(world.engine.view().barred.contains_key(&trader("stranger")));
    assert_eq!(world.record("stranger").unwrap().source(), Some(&source("peer")));
}
