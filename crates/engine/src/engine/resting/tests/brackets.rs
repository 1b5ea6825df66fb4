//! L-8 and L-9: a bracket belongs to one position and follows its size.

use super::Story;

/// In the reference the old stop sells from the new position, and on a short one it *adds*.
#[test]
fn l_8_a_bracket_ends_with_its_position_and_never_touches_the_next_one() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1 sl=90 tp=110
        20_000 price BTCUSD 100
        20_000 order alice o2 BTCUSD FLAT 0
        = o1 LONG 0.1 at 100 src 0, o1-bracket rests, \
          o2 FLAT -0.1 at 100 src 0 closes, o1-bracket cancelled position_closed
        40_000 price BTCUSD 100
        40_000 order alice o3 BTCUSD SHORT 0.1
        60_000 price BTCUSD 85
        80_000 price BTCUSD 115
        = o3 SHORT -0.1 at 100 src 0
        ",
    );
}

#[test]
fn l_8_a_bracket_ends_with_a_position_that_is_full_or_lost() {
    let mut story = Story::with(&[(
        "orders_per_position_max = { value = 100",
        "orders_per_position_max = { value = 2",
    )]);
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1 sl=50
        20_000 price BTCUSD 100
        20_000 order alice o2 BTCUSD LONG 0.1
        40_000 price BTCUSD 100
        40_000 order alice o3 BTCUSD LONG 0.1
        = o1 LONG 0.1 at 100 src 0, o1-bracket rests, o2 LONG 0.1 at 100 src 0, \
          1o FLAT -0.2 at 100 src 4 closes, o3 LONG 0.1 at 100 src 0, \
          o1-bracket cancelled position_closed
        ",
    );
    let mut story = Story::new();
    story.play(
        "
        0     price EURUSD 1.1
        0     order bob o1 EURUSD LONG 5 tp=2
        2_000 price EURUSD 0.5
        = o1 LONG 5 at 1.1 src 0, o1-bracket rests, 1o FLAT -5 at 0.5 src 3 closes, \
          o1-bracket cancelled position_closed, bob eliminated
        ",
    );
}

#[test]
fn l_8_a_reducing_order_makes_a_bracket_for_the_side_of_the_position() {
    let mut story = Story::new();
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.2
        20_000 price BTCUSD 100
        20_000 order alice o2 BTCUSD SHORT 0.1 sl=90 tp=110
        = o1 LONG 0.2 at 100 src 0, o2 SHORT -0.1 at 100 src 0, o2-bracket rests
        40_000 price BTCUSD 100
        40_000 order alice o3 BTCUSD SHORT 0.05 sl=110 tp=90
        = o3 SHORT -0.05 at 100 src 0, o3 no bracket protection_side
        60_000 price BTCUSD 89
        = o2-bracket reached 90 at 89, o2-bracket FLAT -0.05 at 89 src 9 closes
        ",
    );
}

/// The reference sells what the parent bought: too little after an increase, and after a decrease
/// more than there is.
#[test]
fn l_9_a_bracket_for_the_whole_follows_the_size_of_its_position() {
    for (second, left) in [("LONG 0.2", "0.3"), ("SHORT 0.05", "0.05")] {
        let mut story = Story::new();
        story.play(&format!(
            "
            0      price BTCUSD 100
            0      order alice o1 BTCUSD LONG 0.1 sl=90
            20_000 price BTCUSD 100
            20_000 order alice o2 BTCUSD {second}
            "
        ));
        story.told();
        story.play(&format!(
            "
            60_000 price BTCUSD 89
            = o1-bracket reached 90 at 89, o1-bracket FLAT -{left} at 89 src 9 closes
            "
        ));
    }
}

#[test]
fn l_9_a_bracket_of_a_stated_size_closes_that_much_and_never_more_than_there_is() {
    // size of the bracket, size that is held when it is reached, what it does
    for (stated, held, closing) in [
        ("0.1", 0.3, "SHORT -0.1 at 89 src 9"),
        ("0.3", 0.3, "FLAT -0.3 at 89 src 9 closes"),
        ("0.4", 0.3, "FLAT -0.3 at 89 src 9 closes"),
        ("0.295", 0.3, "FLAT -0.3 at 89 src 9 closes"), // 0.005 is less than a position may be
    ] {
        let mut story = Story::new();
        story.play(&format!(
            "
            0      price BTCUSD 100
            0      order alice o1 BTCUSD LONG {held}
            0      bracket alice b1 BTCUSD LONG {stated} sl=90
            = o1 LONG {held} at 100 src 0, b1 rests
            60_000 price BTCUSD 89
            = b1 reached 90 at 89, b1 {closing}
            "
        ));
        assert_eq!(story.resting("alice"), Vec::<String>::new(), "{stated}");
    }
}

#[test]
fn l_9_a_full_position_is_closed_by_its_bracket_and_not_turned_round() {
    let mut story = Story::with(&[(
        "orders_per_position_max = { value = 100",
        "orders_per_position_max = { value = 2",
    )]);
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.2
        0      bracket alice b1 BTCUSD LONG 0.1 sl=90
        20_000 price BTCUSD 100
        20_000 order alice o2 BTCUSD LONG 0.1
        60_000 price BTCUSD 89
        = o1 LONG 0.2 at 100 src 0, b1 rests, o2 LONG 0.1 at 100 src 0, \
          b1 reached 90 at 89, b1 FLAT -0.3 at 89 src 9 closes
        ",
    );
}

#[test]
fn l_9_a_new_bracket_for_the_whole_takes_the_place_of_the_old_one() {
    let mut story = Story::with(&[("resting_max = { value = 100", "resting_max = { value = 1")]);
    story.play(
        "
        0      price BTCUSD 100
        0      order alice o1 BTCUSD LONG 0.1 sl=90
        0      bracket alice b1 BTCUSD LONG - sl=95
        0      bracket alice b2 BTCUSD LONG 0.05 sl=95 -> resting_full
        20_000 price BTCUSD 100
        20_000 order alice o2 BTCUSD LONG 0.1 sl=80
        = o1 LONG 0.1 at 100 src 0, o1-bracket rests, o1-bracket cancelled replaced, b1 rests, \
          o2 LONG 0.1 at 100 src 0, b1 cancelled replaced, o2-bracket rests
        ",
    );
}
