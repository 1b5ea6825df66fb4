//! Messages in both directions while keys change: U5 to U8 in every mode, stress, slow readers
//! (T09 to T11).

use super::pair::{Dice, Pair};
use crate::crypto::symbolic::with_unique_nonces;
use crate::key_schedule::Mode;
use crate::session::{Freshness, Refused};

const MODES: [Mode; 3] = [Mode::Throughput, Mode::RecordFs, Mode::FreshEpoch];

fn message(side: usize, number: usize) -> Vec<u8> {
    format!("{number} of {side}").into_bytes()
}

/// One run: each side sends `count` messages. In `turns`, a message is sent when one has come (U5,
/// U6), else all at once (U7, U8). One side lags by up to `lag_ms` before each send.
fn contend(mode: Mode, turns: bool, lag_ms: u64, count: usize, dice: &mut Dice) {
    let mut pair = Pair::new(mode, 2);
    let slow = usize::try_from(dice.roll(2)).unwrap();
    let mut sent = [0_usize; 2];
    while pair.messages.iter().any(|messages| messages.len() < count) {
        for (side, sent) in sent.iter_mut().enumerate() {
            let may = !turns || pair.messages[side].len() >= *sent;
            if *sent < count && may {
                if side == slow && lag_ms > 0 {
                    pair.run(dice.roll(lag_ms + 1));
                }
                pair.ends[side].send(message(side, *sent)).unwrap();
                *sent += 1;
                if mode != Mode::FreshEpoch && dice.roll(4) == 0 {
                    pair.ends[side].request_rekey(Freshness::Fresh).unwrap();
                }
            }
        }
        let before = [pair.messages[0].len(), pair.messages[1].len()];
        let done = |pair: &Pair| (0..2).any(|side| pair.messages[side].len() > before[side]);
        // A round trip to change the key, one way for the message, twice: the peer may cross.
        pair.until(20, done);
    }
    for side in 0..2 {
        let expected: Vec<_> = (0..count).map(|number| message(1 - side, number)).collect();
        assert_eq!(pair.messages[side], expected);
    }
    pair.until(20, |pair| {
        pair.epochs()[0] == pair.epochs()[1] && !pair.ends.iter().any(|end| end.status().rekeying)
    });
    if mode == Mode::FreshEpoch {
        assert!(pair.epochs()[0] + 1 >= count as u64, "one message an epoch and direction");
    }
}

fn all(runs: u64, count: usize) {
    let mut dice = Dice(5);
    for mode in MODES {
        for turns in [true, false] {
            for lag_ms in [0, 1, 10, 100] {
                for _ in 0..runs {
                    with_unique_nonces(|| contend(mode, turns, lag_ms, count, &mut dice));
                }
            }
        }
    }
}

#[test]
fn t10_u5_to_u8_all_messages_arrive_in_order_in_every_mode() {
    all(2, 40);
}

#[test]
#[ignore = "minutes: cargo xtask model --large"]
fn t10_large_u5_to_u8_500_runs_in_every_mode() {
    // Eight patterns in each mode.
    all(500 / 8 + 1, 100);
}

#[test]
fn t09_messages_of_every_size_survive_any_cadence_of_rounds() {
    for every in [1, 2, 17, 1000] {
        with_unique_nonces(|| stress(every, &mut Dice(every)));
    }
}

/// Three hundred messages with a round every so many.
fn stress(every: u64, dice: &mut Dice) {
    let mut pair = Pair::new(Mode::RecordFs, 3);
    let mut expected = [Vec::new(), Vec::new()];
    for number in 0..300 {
        let side = usize::try_from(dice.roll(2)).unwrap();
        let length = 1 + usize::try_from(dice.roll(8_000)).unwrap();
        let text = vec![u8::try_from(number % 251).unwrap(); length];
        expected[1 - side].push(text.clone());
        while pair.ends[side].send(text.clone()) == Err(Refused::Full) {
            pair.run(1);
        }
        if number % every == 0 {
            pair.ends[1 - side].request_rekey(Freshness::Fresh).unwrap();
        }
        pair.run(dice.roll(3));
    }
    pair.run(10_000);
    assert_eq!(pair.messages, expected);
    assert_eq!(pair.epochs()[0], pair.epochs()[1]);
}

#[test]
fn t11_an_application_that_never_reads_stops_no_round_and_costs_no_more_than_the_credit() {
    let mut pair = Pair::new(Mode::Throughput, 5);
    pair.reads = [false; 2];
    for end in &mut pair.ends {
        while end.send(vec![7; 50_000]).is_ok() {}
    }
    for round in 1..=50 {
        pair.ends[0].request_rekey(Freshness::Fresh).unwrap();
        assert_eq!(pair.until(20, |pair| pair.epochs() == [round; 2]), 15);
        for end in &pair.ends {
            assert!(end.unread_cost() <= 64 << 10);
        }
    }
    // Once it reads, everything arrives.
    pair.reads = [true; 2];
    let queued = pair.ends[0].status().queued_bytes;
    assert!(queued > 0);
    pair.until(10_000, |pair| pair.ends.iter().all(|end| end.status().queued_bytes == 0));
}
