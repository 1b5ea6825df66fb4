//! The index of levels equals the state after every commit of random histories.

use proptest::prelude::*;

use super::Story;
use crate::state::Index;

/// What one line of a history is about; prices in tenths, times in seconds.
#[derive(Clone, Debug)]
enum Act {
    Price { pair: usize, price: i32 },
    Market { who: usize, pair: usize, side: usize, stop: i32 },
    Limit { who: usize, pair: usize, side: usize, at: i32, stop: i32 },
    Bracket { who: usize, pair: usize, part: bool, stop: i32, take: i32 },
    Cancel { who: usize, what: usize },
    Roster { all: bool },
}

const PAIRS: [&str; 2] = ["BTCUSD", "ETHUSD"];
const TRADERS: [&str; 3] = ["alice", "carol", "zoe"];
const SIDES: [&str; 3] = ["LONG", "SHORT", "FLAT"];

fn act() -> impl Strategy<Value = Act> {
    let (who, pair, side) = (0..TRADERS.len(), 0..PAIRS.len(), 0..SIDES.len());
    let near = 940..1_060_i32;
    prop_oneof![
        10 => (pair.clone(), 950..1_050_i32).prop_map(|(pair, price)| Act::Price { pair, price }),
        4 => (who.clone(), pair.clone(), side, near.clone())
            .prop_map(|(who, pair, side, stop)| Act::Market { who, pair, side, stop }),
        6 => (who.clone(), pair.clone(), 0..2_usize, near.clone(), near.clone())
            .prop_map(|(who, pair, side, at, stop)| Act::Limit { who, pair, side, at, stop }),
        3 => (who.clone(), pair, any::<bool>(), near.clone(), near)
            .prop_map(|(who, pair, part, stop, take)| Act::Bracket { who, pair, part, stop, take }),
        2 => (who, 0..6_usize).prop_map(|(who, what)| Act::Cancel { who, what }),
        1 => prop::bool::weighted(0.7).prop_map(|all| Act::Roster { all }),
    ]
}

fn line(number: usize, seconds: i64, act: &Act) -> String {
    let at = seconds * 1_000;
    let tenths = |price: i32| f64::from(price) / 10.0;
    match *act {
        Act::Price { pair, price } => format!("{at} price {} {}", PAIRS[pair], tenths(price)),
        Act::Market { who, pair, side, stop } => {
            let (who, pair, side) = (TRADERS[who], PAIRS[pair], SIDES[side]);
            format!("{at} order {who} o{number} {pair} {side} 0.1 sl={}", tenths(stop))
        }
        Act::Limit { who, pair, side, at: limit, stop } => {
            let (who, pair, side) = (TRADERS[who], PAIRS[pair], SIDES[side]);
            let (limit, stop) = (tenths(limit), tenths(stop));
            format!("{at} limit {who} l{number} {pair} {side} 0.05 at={limit} sl={stop}")
        }
        Act::Bracket { who, pair, part, stop, take } => {
            let (who, pair, size) = (TRADERS[who], PAIRS[pair], if part { "0.03" } else { "-" });
            let (stop, take) = (tenths(stop), tenths(take));
            format!("{at} bracket {who} b{number} {pair} LONG {size} sl={stop} tp={take}")
        }
        Act::Cancel { who, what } => {
            let target = ["all", "pair", "of=l3", "of=l7", "of=b5", "of=o2-bracket"][what];
            format!("{at} cancel {} c{number} BTCUSD LONG - {target}", TRADERS[who])
        }
        Act::Roster { all } => {
            let zoe = if all { "zoe" } else { "" };
            format!("{at} roster {} alice bob carol {zoe}", number + 10)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_every_commit_the_index_is_the_one_that_the_state_gives(
        acts in prop::collection::vec((0..20_i64, act()), 1..80),
        interval in prop::sample::select(vec!["0", "5_000", "30_000"]),
    ) {
        let interval = format!("fill_interval = {{ value = {interval}");
        let mut story = Story::with(&[
            ("fill_interval = { value = 30_000", &interval),
            ("cooldown = { value = 10_000", "cooldown = { value = 0"),
            ("resting_max = { value = 100", "resting_max = { value = 6"),
        ]);
        story.play("-80_000_000 roster 2 alice bob carol zoe\n-80_000_000 class carol crypto\n-80_000_000 class zoe crypto");
        let mut seconds = 0;
        for (number, (gap, act)) in acts.iter().enumerate() {
            seconds += gap;
            story.world.run(&line(number, seconds, act));
            let engine = &story.world.engine;
            let derived = Index::of(&engine.state);
            prop_assert_eq!(&engine.index.triggers, &derived.triggers, "after {}", number);
            prop_assert_eq!(&engine.index.sleepers, &derived.sleepers, "after {}", number);
        }
    }
}
