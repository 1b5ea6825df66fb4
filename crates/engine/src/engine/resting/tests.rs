//! L-1 to L-14, X-10 and X-11: what broke the reference's limit orders, told as stories.

mod brackets;
mod index;
mod reference;

use super::*;
use crate::engine::tests::{T0, World, parsed};
use crate::rulebook::VANTA;

/// An engine and what it has told since it was last asked.
struct Story {
    world: World,
}

impl Story {
    /// Alice trades crypto, bob forex, with the built-in rulebook changed by `changes`.
    fn with(changes: &[(&str, &str)]) -> Self {
        let rulebook = changes.iter().fold(VANTA.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "the built-in rulebook no longer says {from}");
            text.replace(from, to)
        });
        let mut story = Self { world: World::with(&rulebook) };
        story.play(
            "
            -90_000_000 roster 1 alice bob
            -90_000_000 size alice 100000
            -90_000_000 size bob 100000
            -90_000_000 class alice crypto
            -90_000_000 class bob forex
            ",
        );
        story.world.events.clear();
        story
    }

    fn new() -> Self {
        Self::with(&[])
    }

    /// Plays a table of lines. One with `-> outcome` says what the reply is, the others are
    /// accepted; one that begins with `=` says what has happened since the last such line.
    fn play(&mut self, table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(expected) = line.strip_prefix('=') {
                let expected: Vec<&str> =
                    expected.split(',').map(str::trim).filter(|fact| !fact.is_empty()).collect();
                assert_eq!(self.told(), expected, "before {line}");
                continue;
            }
            let (input, expected) = line.split_once("->").unwrap_or((line, "accepted"));
            assert_eq!(self.world.run(input), expected.trim(), "{line}");
        }
    }

    /// Returns what has happened since the last call, one short sentence each.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.world.events).iter().filter_map(sentence).collect()
    }

    fn resting(&self, who: &str) -> Vec<String> {
        let account = self.world.account(who);
        account.resting.orders().iter().map(|order| order.id.to_string()).collect()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the stories speak of orders alone")]
fn sentence(event: &Event) -> Option<String> {
    let rounded = |number: f64| (number * 1e6).round() / 1e6;
    match event {
        Event::OrderResting { order, .. } => Some(format!("{} rests", order.id)),
        Event::OrderReached { order, level, market, .. } => {
            Some(format!("{order} reached {level} at {market}"))
        }
        Event::OrderCancelled { order, why, .. } => {
            Some(format!("{order} cancelled {}", why.code()))
        }
        Event::BracketRefused { parent, rejection, .. } => {
            Some(format!("{parent} no bracket {}", rejection.code()))
        }
        Event::Filled { order, closes, .. } => Some(format!(
            "{} {} {} at {} src {}{}",
            order.id,
            order.side,
            rounded(order.leverage),
            order.price,
            order.source.code(),
            if *closes { " closes" } else { "" }
        )),
        Event::Eliminated { trader, .. } => Some(format!("{trader} eliminated")),
        _ => None,
    }
}

/// The reference gives a fill the time of its price, up to 30 s ago: here the market order of 8 s
/// would have been followed by a fill of 5 s.
#[test]
fn l_1_a_fill_has_the_time_of_its_commit_and_names_the_time_of_its_price() {
    let mut story = Story::new();
    story.play(
        "
        0     price BTCUSD 100
        0     limit alice l1 BTCUSD LONG 0.1 at=95
        8_000 order alice o1 BTCUSD LONG 0.1
        = l1 rests, o1 LONG 0.1 at 100 src 0
        9_000 quote BTCUSD 94 at=5_000 from=b
        ",
    );
    let facts = story.world.events.iter().find_map(|event| {
        let Event::OrderReached { source, source_at, .. } = event else { return None };
        Some((source.as_str(), source_at.0 - T0))
    });
    assert_eq!(facts, Some(("b", 5_000)));
    let account = story.world.account("alice");
    let open = account.book.open_positions().next().expect("open");
    let times: Vec<i64> = open.orders().iter().map(|order| order.at.0 - T0).collect();
    assert_eq!(times, [8_000, 9_000]);
}

#[test]
fn l_1_of_two_orders_at_one_moment_the_second_waits_for_the_next() {
    let mut story = Story::with(&[
        ("cooldown = { value = 10_000", "cooldown = { value = 0"),
        ("fill_interval = { value = 30_000", "fill_interval = { value = 0"),
    ]);
    story.play(
        "
        0     price BTCUSD 100
        0     limit alice l1 BTCUSD LONG 0.1 at=95
        0     limit alice l2 BTCUSD LONG 0.1 at=95
        = l1 rests, l2 rests
        1_000 price BTCUSD 95
        = l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6
        1_000 quote BTCUSD 94 from=b
        =
        1_001 price BTCUSD 94
        = l2 reached 95 at 94, l2 LONG 0.1 at 94 src 6
        ",
    );
}

/// The reference takes the median of 30 s, so that an order may be filled at a price from before it
/// existed, and a new price counts only when half of the window shows it.
#[test]
fn l_2_only_prices_of_the_submission_or_later_reach_an_order_and_the_first_does() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        9_000  limit alice l1 BTCUSD LONG 0.1 at=95
        9_500  quote BTCUSD 90 at=8_500 from=b
        = l1 rests
        9_600  quote BTCUSD 96 at=9_600 from=b
        =
        9_700  quote BTCUSD 95 at=9_700 from=b
        = l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6
        ",
    );
}

/// 2025-11-08 is a Saturday. In the reference the order fills at Friday's price.
#[test]
fn l_3_an_order_sent_while_the_market_is_closed_waits_for_it_to_open() {
    let mut story = Story::new();
    story.play(
        "
        400_000_000 price EURUSD 1.0
        400_000_000 limit bob l1 EURUSD LONG 1 at=1.1
        400_001_000 price EURUSD 1.0
        = l1 rests
        400_001_000 order bob o1 EURUSD LONG 1 -> market_closed
        604_800_000 price EURUSD 1.05
        = l1 reached 1.1 at 1.05, l1 LONG 1 at 1.05 src 6
        ",
    );
}

const GAPS: &str = "
    0      price BTCUSD 100
    0      limit alice l1 BTCUSD LONG 0.1 at=95 sl=80 tp=120
    60_000 price BTCUSD 93
";

#[test]
fn l_4_a_limit_may_fill_better_than_its_price_and_a_stop_fills_where_the_market_is() {
    let mut story = Story::new();
    story.play(&format!(
        "{GAPS}
        = l1 rests, l1 reached 95 at 93, l1 LONG 0.1 at 93 src 6, l1-bracket rests
        120_000 price BTCUSD 70
        = l1-bracket reached 80 at 70, l1-bracket FLAT -0.1 at 70 src 9 closes
        "
    ));
    let mut story = Story::new();
    story.play(&format!(
        "{GAPS}
        120_000 price BTCUSD 130
        = l1 rests, l1 reached 95 at 93, l1 LONG 0.1 at 93 src 6, l1-bracket rests, \
          l1-bracket reached 120 at 130, l1-bracket FLAT -0.1 at 130 src 9 closes
        "
    ));
}

#[test]
fn l_4_the_parity_switch_fills_at_the_level_through_every_gap() {
    let changes = [("resting_fill_price = \"market\"", "resting_fill_price = \"level\"")];
    let mut story = Story::with(&changes);
    story.play(&format!(
        "{GAPS}
        = l1 rests, l1 reached 95 at 93, l1 LONG 0.1 at 95 src 6, l1-bracket rests
        120_000 price BTCUSD 70
        = l1-bracket reached 80 at 70, l1-bracket FLAT -0.1 at 80 src 9 closes
        240_000 price BTCUSD 50
        240_000 limit alice l2 BTCUSD LONG 0.1 at=60
        = l2 reached 60 at 50, l2 LONG 0.1 at 50 src 6
        "
    ));
}

/// The reference reads its files a second time after a sync and has every order twice.
#[test]
fn l_5_a_restart_has_every_order_once() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 limit alice l1 BTCUSD LONG 0.1 at=95
        ",
    );
    for _ in 0..2 {
        let mut bytes = Vec::new();
        story.world.engine.save(&mut bytes).expect("finite");
        story.world.engine = Engine::load(&bytes).expect("loads");
    }
    assert_eq!(story.resting("alice"), ["l1"]);
    story.play(
        "
        1_000  limit alice l1 BTCUSD LONG 0.1 at=95 -> duplicate_id
        = l1 rests
        1_000  price BTCUSD 95
        60_000 price BTCUSD 95
        = l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6
        ",
    );
}

/// In the reference an order may come to rest between the copy of the list and the next tick, or be
/// cancelled while it is filled. Here each of the two orders of inputs has its one outcome.
#[test]
fn l_6_an_order_a_price_and_a_cancellation_in_one_commit_have_the_outcome_of_their_order() {
    let [order, fall, cancel] = [
        "1_000 limit alice l1 BTCUSD LONG 0.1 at=95",
        "1_000 price BTCUSD 94",
        "1_000 cancel alice c1 BTCUSD LONG - of=l1",
    ];
    let run = |lines: [&str; 3]| {
        let mut story = Story::new();
        story.play("0 price BTCUSD 100");
        let inputs = lines.map(|line| parsed(line).1).to_vec();
        let replies = story.world.commit(T0 + 1_000, inputs);
        (replies.into_iter().filter_map(Result::err).collect::<Vec<_>>(), story.told())
    };
    let filled = ["l1 reached 95 at 94", "l1 LONG 0.1 at 94 src 6"];
    let (refused, told) = run([order, fall, cancel]);
    assert_eq!(refused, [Rejection::NothingToCancel]);
    assert_eq!(told, ["l1 rests", filled[0], filled[1]]);
    assert_eq!(run([order, cancel, fall]).1, ["l1 rests", "l1 cancelled by_trader"]);
    assert_eq!(run([fall, order, cancel]).1, filled, "the market is there already");
}

/// The reference answers that the order failed although it was filled, and the trader sends it again.
#[test]
fn l_7_a_fill_stands_when_its_bracket_cannot_be_made_and_the_reply_says_accepted() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1 sl=101 tp=120
        = o1 LONG 0.1 at 100 src 0, o1 no bracket protection_side
        0      order alice o1 BTCUSD LONG 0.1 -> duplicate_id
        60_000 price BTCUSD 100
        60_000 limit alice l1 BTCUSD LONG 0.1 at=95 sl=94
        90_000 price BTCUSD 93
        = l1 rests, l1 reached 95 at 93, l1 LONG 0.1 at 93 src 6, l1 no bracket protection_side
        ",
    );
    assert_eq!(story.world.account("alice").book.open_positions().count(), 1);
}

#[test]
fn l_7_what_can_be_known_before_the_fill_refuses_the_order() {
    let mut story = Story::with(&[("resting_max = { value = 100", "resting_max = { value = 1")]);
    let long = "x".repeat(57);
    story.play(&format!(
        "
        0 price BTCUSD 100
        0 order alice o1 BTCUSD LONG 0.1 sl=0          -> price_not_positive
        0 order alice {long} BTCUSD LONG 0.1 sl=90     -> bracket_id_too_long
        0 limit alice {long} BTCUSD LONG 0.1 at=95 sl=90 -> bracket_id_too_long
        0 limit alice l1 BTCUSD LONG 0.1 at=95
        0 order alice o1 BTCUSD LONG 0.1 sl=90         -> resting_full
        = l1 rests
        "
    ));
}

/// The first is too large for one order: it is cancelled, and says why; the second has its turn.
#[test]
fn l_10_a_refused_fill_ends_with_its_reason_and_does_not_use_up_the_interval() {
    let mut story = Story::new();
    story.play(
        "
        0     price BTCUSD 100
        0     limit alice l1 BTCUSD LONG 501 at=95
        0     limit alice l2 BTCUSD LONG 0.1 at=95
        1_000 price BTCUSD 95
        = l1 rests, l2 rests, l1 cancelled order_too_large, \
          l2 reached 95 at 95, l2 LONG 0.1 at 95 src 6
        ",
    );
}

#[test]
fn l_11_a_cancellation_names_one_order_whole_or_all_of_them() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 price ETHUSD 100
        0 order alice a BTCUSD LONG 0.1 sl=90
        0 order alice ab ETHUSD LONG 0.1 sl=90
        0 limit alice abc BTCUSD LONG 0.1 at=95
        0 limit alice abd ETHUSD LONG 0.1 at=95
        0 cancel alice c1 BTCUSD LONG - of=a          -> nothing_to_cancel
        0 cancel alice c1 BTCUSD LONG - of=b          -> nothing_to_cancel
        0 cancel bob   c1 BTCUSD LONG - of=a-bracket  -> nothing_to_cancel
        0 cancel alice c1 BTCUSD LONG -               -> cancel_target_missing
        0 cancel alice c1 NOPAIR LONG - pair          -> unknown_pair
        ",
    );
    story.told();
    story.play(
        "
        0 cancel alice c1 NOPAIR LONG - of=a-bracket
        = a-bracket cancelled by_trader
        0 cancel alice c1 ETHUSD LONG - pair
        = ab-bracket cancelled by_trader, abd cancelled by_trader
        0 cancel alice c1 NOPAIR LONG - all
        = abc cancelled by_trader
        0 cancel alice c1 NOPAIR LONG - all           -> nothing_to_cancel
        ",
    );
}

/// The stop sells a fifth at a price at which the rest is worth nothing: the position is lost, and its
/// last order is the flat that follows. The reference reports that one as the bracket's fill.
#[test]
fn l_12_a_fill_that_loses_the_position_is_reported_as_what_it_is() {
    let mut story = Story::new();
    story.play(
        "
        0   price EURUSD 1.1
        0   order bob o1 EURUSD LONG 5
        0   bracket bob b1 EURUSD LONG 1 sl=0.9
        500 quote EURUSD 0.8805 bid=0.8800 ask=0.8805
        = o1 LONG 5 at 1.1 src 0, b1 rests, b1 reached 0.9 at 0.88, b1 SHORT -1 at 0.88 src 9, \
          1o FLAT -5 at 0.88 src 3 closes, bob eliminated
        ",
    );
}

/// The price that ends the account reaches three of its orders too. In the reference a tick under way
/// fills them after the positions were closed.
#[test]
fn l_13_the_commit_that_ends_an_account_cancels_its_orders_and_fills_none() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      price ETHUSD 100
        0      order alice o1 BTCUSD LONG 0.5 sl=85
        0      limit alice l1 BTCUSD LONG 0.1 at=90
        0      limit alice l2 ETHUSD LONG 0.1 at=90
        ",
    );
    story.told();
    let prices = ["60_000 price BTCUSD 70", "60_000 price ETHUSD 80"];
    story.world.commit(T0 + 60_000, prices.map(|line| parsed(line).1).to_vec());
    story.play(
        "
        = o1-bracket cancelled eliminated, l1 cancelled eliminated, l2 cancelled eliminated, \
          1o FLAT -0.5 at 70 src 3 closes, alice eliminated
        60_000 limit alice l3 ETHUSD LONG 0.1 at=90  -> eliminated
        60_000 cancel alice c1 ETHUSD LONG - all     -> eliminated
        90_000 price ETHUSD 70
        =
        ",
    );
}

/// The reference forgets the last fill: after a restart every order that waits its turn is filled.
#[test]
fn l_14_the_interval_between_fills_survives_a_restart() {
    let mut story = Story::new();
    story.play(
        "
        0     price BTCUSD 100
        0     limit alice l1 BTCUSD LONG 0.1 at=95
        0     limit alice l2 BTCUSD LONG 0.1 at=95
        1_000 price BTCUSD 94
        = l1 rests, l2 rests, l1 reached 95 at 94, l1 LONG 0.1 at 94 src 6
        ",
    );
    let mut bytes = Vec::new();
    story.world.engine.save(&mut bytes).expect("finite");
    story.world.engine = Engine::load(&bytes).expect("loads");
    story.play(
        "
        2_000  price BTCUSD 94
        30_999 price BTCUSD 94
        =
        31_000 price BTCUSD 94.5
        = l2 reached 95 at 94.5, l2 LONG 0.1 at 94.5 src 6
        ",
    );
}

#[test]
fn x_10_nothing_rests_or_fills_behind_the_end_of_an_account() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 price ETHUSD 100
        0 order alice o1 BTCUSD LONG 0.5
        ",
    );
    let lines = [
        "60_000 price BTCUSD 70",
        "60_000 limit alice l1 ETHUSD LONG 0.1 at=90",
        "60_000 bracket alice b1 BTCUSD LONG - sl=60",
        "60_000 price ETHUSD 80",
    ];
    let replies = story.world.commit(T0 + 60_000, lines.map(|line| parsed(line).1).to_vec());
    let codes: Vec<_> = replies.iter().map(|r| r.as_ref().map_err(Rejection::code)).collect();
    assert_eq!(codes, [Ok(&()), Err("eliminated"), Err("eliminated"), Ok(&())]);
    assert_eq!(story.resting("alice"), Vec::<String>::new());
    assert_eq!(story.world.account("alice").book.open_positions().count(), 0);
}

#[test]
fn x_10_a_departed_traders_orders_are_cancelled_and_never_filled() {
    let mut story = Story::new();
    story.play(
        "
        0     price BTCUSD 100
        0     limit alice l1 BTCUSD LONG 0.1 at=95
        1_000 roster 2 bob
        = l1 rests, l1 cancelled departed
        2_000 price BTCUSD 90
        3_000 roster 3 alice bob
        3_000 limit alice l2 BTCUSD LONG 0.1 at=95   -> departed
        4_000 price BTCUSD 90
        =
        ",
    );
}

#[test]
fn x_11_a_limit_order_sent_twice_rests_once_and_fills_once() {
    let mut story =
        Story::with(&[("ids_remembered = { value = 100_000", "ids_remembered = { value = 1")]);
    story.play("0 price BTCUSD 100");
    let twice = vec![parsed("0 limit alice l1 BTCUSD LONG 0.1 at=95").1; 2];
    let replies = story.world.commit(T0, twice);
    assert_eq!(replies, [Ok(()), Err(Rejection::DuplicateId)]);
    // T-2: its id is known as long as it waits, however few ids are remembered.
    story.play(
        "
        0     limit alice l2 BTCUSD LONG 0.1 at=94
        0     limit alice l1 BTCUSD LONG 0.1 at=95 -> duplicate_id
        1_000 price BTCUSD 95
        = l1 rests, l2 rests, l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6
        ",
    );
}

#[test]
fn t_2_the_id_of_the_bracket_that_a_fill_will_make_is_taken_with_the_order() {
    let mut story = Story::new();
    story.play(
        "
        0     price BTCUSD 100
        0     limit alice l1 BTCUSD LONG 0.1 at=95 sl=90
        0     order alice l1-bracket BTCUSD LONG 0.1 -> duplicate_id
        0     limit alice x-bracket BTCUSD LONG 0.1 at=95
        0     order alice x BTCUSD LONG 0.1 sl=90    -> duplicate_id
        ",
    );
}

#[test]
fn t_5_the_fill_of_a_resting_order_starts_the_cooldown_and_does_not_wait_for_it() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      limit alice l1 BTCUSD LONG 0.1 at=95
        0      order alice o1 BTCUSD LONG 0.1
        1_000  price BTCUSD 95
        = l1 rests, o1 LONG 0.1 at 100 src 0, l1 reached 95 at 95, l1 LONG 0.1 at 95 src 6
        10_500 price BTCUSD 95
        10_500 order alice o2 BTCUSD LONG 0.1           -> cooling_down
        10_500 limit alice l2 BTCUSD LONG 0.1 at=99     -> cooling_down
        11_000 limit alice l2 BTCUSD LONG 0.1 at=99
        = l2 reached 99 at 95, l2 LONG 0.1 at 95 src 6
        ",
    );
}

#[test]
fn a_stop_waits_for_a_conversion_price_instead_of_being_lost() {
    let mut story = Story::new();
    story.play(
        "
        0      price EURGBP 0.87
        0      price EURUSD 1.1
        0      price GBPUSD 1.3
        0      order bob o1 EURGBP LONG 1 sl=0.86
        60_000 price EURGBP 0.85
        = o1 LONG 1 at 0.87 src 0, o1-bracket rests
        60_000 price EURUSD 1.1
        60_000 price GBPUSD 1.3
        61_000 price EURGBP 0.85
        = o1-bracket reached 0.86 at 0.85, o1-bracket FLAT -1 at 0.85 src 9 closes
        ",
    );
}

#[test]
fn a_bracket_closes_a_position_in_a_pair_that_was_blocked_meanwhile_and_a_limit_does_not() {
    let mut story = Story::new();
    story.play(
        "
        0 price BTCUSD 100
        0 order alice o1 BTCUSD LONG 0.1 sl=90
        0 limit alice l1 BTCUSD LONG 0.1 at=95
        ",
    );
    story.told();
    let blocked = VANTA.replace("blocked = [", "blocked = [\"BTCUSD\", ");
    story.world.engine.state.rulebooks[0] =
        Arc::new(state::Adopted::parse(&blocked).expect("valid"));
    story.play(
        "
        1_000 price BTCUSD 89
        = o1-bracket reached 90 at 89, o1-bracket FLAT -0.1 at 89 src 9 closes
        31_000 price BTCUSD 89
        = l1 cancelled blocked
        ",
    );
}

#[test]
fn orders_of_one_price_are_filled_in_the_order_of_submission_then_of_the_traders_names() {
    let mut story = Story::new();
    let mut inputs = vec![parsed("0 roster 2 alice bob zoe").1, parsed("0 class zoe crypto").1];
    inputs.push(parsed("0 price BTCUSD 100").1);
    inputs.push(parsed("0 limit zoe z1 BTCUSD LONG 0.1 at=95").1);
    inputs.push(parsed("0 limit alice a2 BTCUSD LONG 0.1 at=94").1);
    inputs.push(parsed("0 limit alice a1 BTCUSD LONG 0.1 at=95").1);
    story.world.commit(T0, inputs);
    story.told();
    story.play(
        "
        1_000 price BTCUSD 90
        = a2 reached 94 at 90, a2 LONG 0.1 at 90 src 6, z1 reached 95 at 90, z1 LONG 0.1 at 90 src 6
        ",
    );
}
