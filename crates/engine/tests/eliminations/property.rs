//! Random sequences of everything that can end or begin an account (I3, I4, I6; services 9, P-12).

use std::collections::{BTreeMap, BTreeSet};

use proctor_engine::eliminations::{Elimination, Origin};
use proctor_engine::{Event, Input, Outcome};
use proctor_types::{Stamp, TraderId};
use proptest::prelude::*;

use crate::world::{PASS, World, add, reinstate, remove, settle, trader};
use proctor_engine::eliminations::Reason;

const NAMES: [&str; 5] = ["ann", "ben", "cid", "dot", "eve"];
/// Nobody of this name ever enrols, except when a roster says so.
const STRANGER: &str = "fox";

#[derive(Clone, Debug)]
enum Act {
    Order(usize),
    Price(f64),
    Roster(u8),
    Pass,
    Days(i64),
    List(u8, u8),
    Add(u8),
    Remove(u8),
    Reinstate(usize, bool),
    Settle(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..NAMES.len();
    // One or two at a time.
    let few = || (0..6_u8, 0..6_u8).prop_map(|(a, b)| 1 << a | 1 << b);
    prop_oneof![
        6 => who().prop_map(Act::Order),
        6 => prop_oneof![5 => 95.0..105.0_f64, 1 => 50.0..160.0_f64].prop_map(Act::Price),
        2 => any::<u8>().prop_map(Act::Roster),
        2 => Just(Act::Pass),
        1 => (1..4_i64).prop_map(Act::Days),
        3 => (0..2_u8, prop_oneof![few(), Just(0), any::<u8>()]).prop_map(|(s, m)| Act::List(s, m)),
        1 => few().prop_map(Act::Add),
        1 => few().prop_map(Act::Remove),
        2 => (who(), any::<bool>()).prop_map(|(who, right)| Act::Reinstate(who, right)),
        2 => who().prop_map(Act::Settle),
    ]
}

fn named(mask: u8) -> Vec<&'static str> {
    let all = NAMES.iter().chain([&STRANGER]).enumerate();
    all.filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name).collect()
}

/// Returns the input of `act` and how long it waits.
fn input(world: &mut World, act: &Act) -> (i64, Vec<Input>) {
    let stamp = |world: &World, who: usize, right: bool| {
        let stamp = world.record(NAMES[who]).map_or_else(Stamp::default, |record| record.stamp);
        Stamp { commit: stamp.commit + u64::from(!right), ..stamp }
    };
    match act {
        Act::Order(who) => (11_000, vec![world.price_in(11_000, 100.0), world.order(NAMES[*who])]),
        Act::Price(number) => (11_000, vec![world.price_in(11_000, *number)]),
        Act::Roster(mask) => (1_000, vec![world.roster(&named(*mask))]),
        Act::Pass => (PASS, vec![]),
        Act::Days(days) => (days * 86_400_000, vec![]),
        Act::List(of, mask) => (1_000, vec![world.list(&format!("peer{of}"), &named(*mask))]),
        Act::Add(mask) => {
            let names = named(*mask);
            let rows = names.iter().map(|who| world.row(who, Reason::Plagiarism, 0));
            (1_000, vec![add(rows.collect())])
        }
        Act::Remove(mask) => (1_000, vec![remove(&named(*mask))]),
        Act::Reinstate(who, right) => {
            (1_000, vec![reinstate(NAMES[*who], stamp(world, *who, *right))])
        }
        Act::Settle(who) => (1_000, vec![settle(NAMES[*who], stamp(world, *who, true))]),
    }
}

/// What must hold of every sequence.
#[derive(Default)]
struct Laws {
    slashed: BTreeSet<(TraderId, u64)>,
    settled: BTreeSet<(TraderId, u64)>,
    recorded: BTreeSet<(TraderId, u64)>,
}

impl Laws {
    fn follow(&mut self, world: &World, outcome: &Outcome) -> Result<(), TestCaseError> {
        for event in &outcome.events {
            if let Event::SlashIntended { trader, decided, .. } = event {
                let key = (trader.clone(), decided.commit);
                prop_assert!(self.slashed.insert(key), "I4: a second slash of {}", trader);
            }
            if let Event::SlashSettled { trader, decided } = event {
                let key = (trader.clone(), decided.commit);
                prop_assert!(self.slashed.contains(&key), "{} was never to be slashed", trader);
                prop_assert!(self.settled.insert(key), "{} was settled twice", trader);
            }
            if let Event::Eliminated { trader, record } = event {
                let key = (trader.clone(), record.stamp.commit);
                prop_assert!(
                    self.recorded.insert(key.clone()),
                    "I3: a second record of {}",
                    trader
                );
                let slashes = record.origin == Origin::Rule && record.reason.slashes();
                prop_assert_eq!(slashes, self.slashed.contains(&key), "{}", trader);
            }
        }
        let view = world.engine.view();
        for account in &view.accounts {
            let flat = account.book.open_positions().next().is_none();
            prop_assert!(
                account.elimination.is_none() || flat,
                "I6: {} is not flat",
                account.trader
            );
            prop_assert!(account.past.len() >= account.epoch.min(16) as usize);
            prop_assert!(!view.barred.contains_key(&account.trader));
        }
        Ok(())
    }
}

/// The records that were decided here.
fn local(world: &World) -> BTreeMap<TraderId, Elimination> {
    let names = NAMES.iter().chain([&STRANGER]);
    let records = names.filter_map(|name| Some((trader(name), world.record(name)?)));
    records.filter(|(_, record)| record.source().is_none()).collect()
}

/// `PROPTEST_CASES=25600`, a hundred times the default, makes a hundred times as many.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    ProptestConfig { cases: 120 * config.cases / 256, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn ended_accounts_are_flat_slashed_once_recorded_once_and_local_records_survive_every_list(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut world = World::new(&NAMES);
        let mut laws = Laws::default();
        for act in acts {
            let (after, inputs) = input(&mut world, &act);
            // What the passing of time does, it does here.
            let outcome = world.commit(after, vec![]);
            laws.follow(&world, &outcome)?;
            let before = local(&world);
            let outcome = world.commit(0, inputs.clone());
            laws.follow(&world, &outcome)?;
            if let [Input::SyncEliminations(list)] = &inputs[..] {
                prop_assert_eq!(&local(&world), &before, "a list changed what was decided here");
                let state = world.state();
                let again = world.commit(0, inputs.clone());
                prop_assert_eq!(&again.replies, &outcome.replies, "{:?}", list);
                prop_assert_eq!(world.state(), state, "synced twice is not synced once");
            }
        }
    }
}
