//! Rounds in virtual time: alone, at once, asked for in every state (T01 to T06, T12, T19).

use super::pair::{Dice, Pair};
use crate::crypto::symbolic::with_unique_nonces;
use crate::key_schedule::Mode;
use crate::limit::Moment;
use crate::session::{Event, Freshness, Progress};

const INIT: u8 = 1;
const RESP: u8 = 2;
const FIN: u8 = 3;

#[test]
fn t01_a_single_round_has_three_records_and_makes_one_epoch() {
    with_unique_nonces(|| {
        let mut pair = Pair::new(Mode::Throughput, 10);
        for round in 1..=5_000_u64 {
            let side = usize::from(round % 2 == 0);
            let ticket = pair.ends[side].request_rekey(Freshness::Fresh).unwrap();
            let took = pair.until(40, |pair| pair.epochs() == [round; 2]);
            assert_eq!(took, 30, "one and a half round trips");
            assert_eq!(pair.ends[side].progress(ticket), Progress::Done);
            assert_eq!(std::mem::take(&mut pair.kinds[side]), [INIT, FIN]);
            assert_eq!(std::mem::take(&mut pair.kinds[1 - side]), [RESP]);
        }
    });
}

/// Rounds in which both sides ask, the second `lag_ms` after the first. Returns the longest.
fn at_once(delay_ms: u64, lag_ms: u64, rounds: u64, dice: &mut Dice) -> u64 {
    let mut pair = Pair::new(Mode::Throughput, delay_ms);
    let mut longest = 0;
    for round in 0..rounds {
        let before = pair.epochs()[0];
        let first = usize::try_from(dice.roll(2)).unwrap();
        let one = pair.ends[first].request_rekey(Freshness::Any).unwrap();
        pair.run(lag_ms);
        let other = pair.ends[1 - first].request_rekey(Freshness::Any).unwrap();
        let done = |pair: &Pair| {
            pair.ends[first].progress(one) == Progress::Done
                && pair.ends[1 - first].progress(other) == Progress::Done
        };
        longest = longest.max(pair.until(8 * delay_ms + 1, done));
        pair.until(8 * delay_ms + 1, |pair| {
            pair.epochs()[0] == pair.epochs()[1] && !pair.ends.iter().any(|e| e.status().rekeying)
        });
        let made = pair.epochs()[0] - before;
        // Whoever has not seen the first INIT crosses it; whoever asks in its round shares it.
        let expected = if lag_ms < 3 * delay_ms { 1..=1 } else { 1..=2 };
        assert!(expected.contains(&made), "round {round}: {made} epochs, lag {lag_ms}");
        pair.kinds.iter_mut().for_each(Vec::clear);
        pair.events.iter_mut().for_each(Vec::clear);
    }
    longest
}

fn simultaneous(rounds: u64) {
    let mut dice = Dice(2);
    for (delay_ms, lag_ms) in [
        (1, 0),
        (1, 1),
        (40, 1),
        (40, 10),
        (40, 100),
        (40, 500),
        // Multiples of the way: 0, 1/4, 1/2, 1, 3/2.
        (40, 0),
        (40, 10),
        (40, 20),
        (40, 40),
        (40, 60),
    ] {
        let longest = at_once(delay_ms, lag_ms, rounds, &mut dice);
        assert!(longest <= 4 * delay_ms, "no round waits longer than two round trips");
    }
}

#[test]
fn t02_simultaneous_rounds_never_stall_whatever_the_lag() {
    simultaneous(300);
}

#[test]
#[ignore = "a minute: cargo xtask model --large"]
fn t02_large_a_million_simultaneous_rounds_never_stall() {
    simultaneous(91_000);
}

#[test]
fn t04_requests_in_every_state_are_served_by_the_round_they_need() {
    let mut pair = Pair::new(Mode::Throughput, 10);
    let first = pair.ends[0].request_rekey(Freshness::Any).unwrap();
    pair.settle();
    // Low waits for RESP: any round will do for one, not for the other.
    let joined: Vec<_> =
        (0..64).map(|_| pair.ends[0].request_rekey(Freshness::Any).unwrap()).collect();
    let fresh: Vec<_> =
        (0..64).map(|_| pair.ends[0].request_rekey(Freshness::Fresh).unwrap()).collect();
    pair.run(10);
    // High waits for FIN.
    let from_high = pair.ends[1].request_rekey(Freshness::Fresh).unwrap();
    assert!(joined.iter().all(|ticket| *ticket == first));
    pair.until(30, |pair| pair.epochs() == [1, 1]);
    assert_eq!(pair.ends[0].progress(first), Progress::Done);
    assert!(fresh.iter().all(|ticket| pair.ends[0].progress(*ticket) == Progress::Pending));
    pair.until(60, |pair| pair.epochs() == [2, 2]);
    assert_eq!(pair.ends[1].progress(from_high), Progress::Done);
    assert!(fresh.iter().all(|ticket| pair.ends[0].progress(*ticket) == Progress::Done));
    pair.run(1000);
    assert_eq!(pair.epochs(), [2, 2], "128 requests were two rounds");
    pair.ends[0].close(pair.now, 0);
    assert!(pair.ends[0].request_rekey(Freshness::Any).is_err());
}

#[test]
fn t06_a_dropped_ticket_changes_nothing() {
    let trace = |keep: bool| {
        let mut pair = Pair::new(Mode::RecordFs, 7);
        let mut kept = Vec::new();
        for _ in 0..20 {
            pair.ends[1].send(vec![1; 3000]).unwrap();
            let ticket = pair.ends[0].request_rekey(Freshness::Fresh).unwrap();
            if keep {
                kept.push(ticket);
            }
            pair.run(9);
            for ticket in &kept {
                let _ = pair.ends[0].progress(*ticket);
                let _ = pair.ends[0].status();
            }
        }
        pair.run(100);
        (pair.kinds, pair.messages, pair.events)
    };
    assert_eq!(trace(true), trace(false));
}

#[test]
fn t12_bytes_one_by_one_and_all_at_once_mean_the_same() {
    with_unique_nonces(|| {
        let mut pair = Pair::new(Mode::RecordFs, 0);
        pair.ends[0].send(vec![5; 2500]).unwrap();
        pair.ends[0].request_rekey(Freshness::Any).unwrap();
        let mut arrived = [Vec::new(), Vec::new()];
        let mut quiet = 0;
        while quiet < 2 {
            for (side, arrived) in arrived.iter_mut().enumerate() {
                let mut out = Vec::new();
                // The least that can be asked for is one record.
                let count = pair.ends[side].poll_transmit(Moment(0), &mut out, 1);
                quiet = if count == 0 { quiet + 1 } else { 0 };
                for byte in out {
                    arrived.push(byte);
                    let used = pair.ends[1 - side].input(Moment(0), arrived).unwrap();
                    arrived.drain(..used);
                }
            }
        }
        pair.read(1);
        assert_eq!(pair.messages[1], [vec![5; 2500]]);
        assert_eq!(pair.epochs(), [1, 1]);
    });
}

#[test]
fn t19_forty_peers_that_rekey_all_the_time_wait_for_nobody() {
    let mut pairs: Vec<Pair> = (1..=40).map(|delay| Pair::new(Mode::RecordFs, delay)).collect();
    for storm in 1..=20_u64 {
        for pair in &mut pairs {
            for end in &mut pair.ends {
                end.request_rekey(Freshness::Fresh).unwrap();
            }
            let delay_ms = pair.delay_ms;
            assert_eq!(pair.until(4 * delay_ms, |pair| pair.epochs() == [storm; 2]), 3 * delay_ms);
            pair.run(100);
            assert!(pair.has_event(0, &Event::Epoch(storm)));
        }
    }
}
