//! Limits and deadlines: edges of numbers, partitions, clocks that jump (T13, T18, T20).

use super::pair::{Pair, terms, unhurried};
use crate::frame::Frame;
use crate::key_schedule::Mode;
use crate::limit::{Limits, Moment, RECORDS_PER_EPOCH_MAX};
use crate::reason::{Reason, Violation};
use crate::session::{Event, Freshness, Life, Progress, Refused, Session, Unusable};

fn pair_with(limits: &Limits) -> Pair {
    Pair::with(terms(Mode::Throughput), limits, 10)
}

/// Moves both ends to an epoch that no test could count up to.
fn at_epoch(pair: &mut Pair, epoch: u64) {
    for end in &mut pair.ends {
        let rekey = end.rekey.as_mut().unwrap();
        rekey.chain.epoch = epoch;
        rekey.send.epoch = epoch;
        rekey.recv.epoch = epoch;
    }
}

#[test]
fn t13_rounds_go_on_where_the_half_of_the_epoch_on_the_wire_wraps() {
    let mut pair = pair_with(&unhurried());
    let edge = u64::from(u32::MAX) - 1;
    at_epoch(&mut pair, edge);
    for epoch in edge + 1..edge + 5 {
        pair.ends[0].send(vec![1]).unwrap();
        pair.ends[1].request_rekey(Freshness::Any).unwrap();
        pair.until(40, |pair| pair.epochs() == [epoch; 2]);
    }
    pair.run(20);
    assert_eq!(pair.messages[1].len(), 4);
}

#[test]
fn t13_after_the_last_epoch_there_is_none() {
    let mut pair = pair_with(&Limits { epoch_max: 1, ..unhurried() });
    pair.ends[0].request_rekey(Freshness::Any).unwrap();
    pair.until(40, |pair| pair.epochs() == [1, 1]);
    pair.ends[1].request_rekey(Freshness::Any).unwrap();
    pair.settle();
    assert_eq!(pair.ends[1].status().life, Life::Dead(Reason::EpochExhausted));
}

#[test]
fn t13_a_worn_key_is_renewed_and_one_that_cannot_be_seals_no_more_data() {
    let limits = Limits { records_soft: 10, records_hard: 20, ..unhurried() };
    let mut pair = pair_with(&limits);
    for _ in 0..15 {
        pair.ends[0].send(vec![1; 10]).unwrap();
    }
    pair.run(100);
    assert_eq!(pair.messages[1].len(), 15);
    assert_eq!(pair.epochs(), [1, 1], "asked for after ten records, without a request");
    // The peer's answers are lost from here on.
    for _ in 0..40 {
        pair.ends[0].send(vec![1; 10]).unwrap();
    }
    pair.settle();
    pair.lose(0);
    pair.run(5);
    assert!(pair.events[0].iter().any(|event| matches!(event, Event::Stalled(1))));
    assert!(pair.ends[0].status().queued_bytes > 0, "the rest waits");
    let sealed = pair.ends[0].rekey.as_ref().unwrap().send.seq;
    assert!(sealed <= 21, "twenty records and the INIT: {sealed}");
}

#[test]
fn t13_a_key_at_its_hard_limit_still_ends_a_round_but_not_every_control_frame_for_ever() {
    let mut pair = pair_with(&unhurried());
    let hard = unhurried().records_hard;
    let rekey = pair.ends[0].rekey.as_mut().unwrap();
    rekey.send.seq = hard + 60;
    pair.ends[1].rekey.as_mut().unwrap().recv.seq = hard + 60;
    // What only a round may use is left: the worn key is replaced.
    pair.until(40, |pair| pair.epochs() == [1, 1]);
    let rekey = pair.ends[0].rekey.as_mut().unwrap();
    rekey.send.seq = hard + 60;
    pair.ends[1].rekey.as_mut().unwrap().recv.seq = hard + 60;
    let mut out = Vec::new();
    pair.ends[0].poll_transmit(pair.now, &mut out, 1);
    pair.ends[0].on_deadline(pair.now.after(15_000));
    pair.settle();
    assert_eq!(pair.ends[0].status().life, Life::Dead(Reason::KeyTooOld), "a ping is too much");
}

#[test]
fn t13_a_peer_that_uses_a_key_beyond_the_limit_is_refused() {
    let mut pair = pair_with(&unhurried());
    for (side, end) in pair.ends.iter_mut().enumerate() {
        let rekey = end.rekey.as_mut().unwrap();
        let half = if side == 0 { &mut rekey.send } else { &mut rekey.recv };
        half.seq = RECORDS_PER_EPOCH_MAX;
    }
    let mut out = Vec::new();
    let sender = pair.ends[0].rekey.as_mut().unwrap();
    sender.send.seal(&mut out, |out| Frame::Ping(1).encode(out));
    assert_eq!(pair.ends[1].input(Moment(0), &mut out), Err(Violation::KeyOverused.into()));
}

#[test]
fn bytes_wear_a_key_as_records_do() {
    let mut pair = pair_with(&Limits { bytes_soft: 2_000, ..unhurried() });
    pair.ends[0].send(vec![1; 3_000]).unwrap();
    pair.run(100);
    assert_eq!(pair.epochs()[0], pair.epochs()[1]);
    assert!(pair.epochs()[0] >= 1);
}

#[test]
fn keys_are_renewed_by_age_sooner_when_they_are_used() {
    let mut pair = pair_with(&Limits::default());
    pair.run(119_000);
    assert_eq!(pair.epochs(), [0, 0]);
    pair.ends[1].send(vec![1]).unwrap();
    pair.run(2_000);
    assert_eq!(pair.epochs(), [1, 1]);
    pair.run(3_500_000);
    assert_eq!(pair.epochs(), [1, 1], "idle");
    pair.run(101_000);
    assert_eq!(pair.epochs(), [2, 2]);
}

#[test]
fn t18_a_partition_is_reported_after_two_seconds_and_ends_the_session_after_thirty() {
    let mut pair = pair_with(&Limits::default());
    pair.ends[0].request_rekey(Freshness::Any).unwrap();
    pair.settle();
    pair.lose(0);
    pair.run(1_999);
    assert!(pair.events[0].is_empty());
    pair.run(1);
    assert!(pair.has_event(0, &Event::RekeySlow(1)));
    pair.run(27_999);
    assert_eq!(pair.ends[0].status().life, Life::Open);
    pair.run(1);
    assert!(pair.has_event(0, &Event::Dead(Reason::RekeyTimeout(1))));
}

#[test]
fn t18_a_silent_peer_is_asked_three_times_and_then_left() {
    let mut pair = pair_with(&Limits::default());
    for _ in 0..4 {
        pair.lose(0);
        pair.lose(1);
        let due = pair.ends[0].poll_deadline().unwrap();
        pair.ends[0].on_deadline(due);
        pair.settle();
    }
    assert_eq!(pair.ends[0].status().life, Life::Dead(Reason::PeerSilent));
    let mut pair = pair_with(&Limits::default());
    pair.run(600_000);
    assert_eq!(pair.ends[0].status().life, Life::Open, "a peer that answers is not left");
}

#[test]
fn t20_clocks_that_jump_and_timers_that_are_late_end_nothing_healthy() {
    let mut pair = pair_with(&Limits::default());
    for (round, jump) in [3_600_000_i64, -3_600_000, 10_000, 86_400_000, 0].into_iter().enumerate()
    {
        let ticket = pair.ends[0].request_rekey(Freshness::Fresh).unwrap();
        pair.settle();
        pair.now = Moment(pair.now.0.saturating_add_signed(jump));
        // Every timer of both ends is due at once, and is called more than once.
        for _ in 0..3 {
            for end in &mut pair.ends {
                end.on_deadline(pair.now);
            }
        }
        pair.run(if jump < 0 { 3_700_000 } else { 2_000 });
        assert_eq!(pair.ends[0].status().life, Life::Open, "jump {jump}");
        assert_eq!(pair.ends[0].progress(ticket), Progress::Done, "round {round}");
    }
}

#[test]
fn a_peer_that_asks_too_often_waits_for_its_answers() {
    let limits = Limits { rounds_burst: 2, rounds_per_second: 1, ..Limits::default() };
    let mut pair = pair_with(&limits);
    let mut took = Vec::new();
    for epoch in 1..=4 {
        pair.ends[0].request_rekey(Freshness::Fresh).unwrap();
        took.push(pair.until(5_000, |pair| pair.epochs() == [epoch; 2]));
    }
    assert_eq!(took[..2], [30, 30]);
    assert!(took[2..].iter().all(|ms| (900..=1_000).contains(ms)), "{took:?}");
    let never = Limits { rounds_burst: 1, rounds_per_second: 0, ..Limits::default() };
    let mut pair = pair_with(&never);
    for _ in 0..2 {
        pair.ends[0].request_rekey(Freshness::Fresh).unwrap();
        pair.run(100);
    }
    assert_eq!(pair.ends[1].status().life, Life::Dead(Reason::RateAbuse));
}

#[test]
fn a_full_queue_refuses_and_a_message_alone_may_exceed_it() {
    let limits = Limits { queue_bytes: 100, queue_messages: 3, message_max: 500, ..unhurried() };
    let mut pair = pair_with(&limits);
    let end = &mut pair.ends[0];
    assert_eq!(end.send(Vec::new()), Err(Refused::Empty));
    assert_eq!(end.send(vec![0; 501]), Err(Refused::TooLong { found: 501, max: 500 }));
    assert_eq!(end.send(vec![0; 500]), Ok(()));
    assert_eq!(end.send(vec![0; 1]), Err(Refused::Full));
    pair.run(50);
    let end = &mut pair.ends[0];
    for _ in 0..3 {
        assert_eq!(end.send(vec![0; 10]), Ok(()));
    }
    assert_eq!(end.send(vec![0; 10]), Err(Refused::Full), "the fourth message");
}

#[test]
fn terms_that_contradict_themselves_make_no_session() {
    use crate::crypto::symbolic::Symbolic;
    use crate::key_schedule::{Agreed, InitialKeys, Secret};
    let check = |me, agreed: Agreed, limits: Limits| {
        let exporter = Secret::take(&mut [1; 32]);
        let keys = InitialKeys { exporter, handshake_hash: [2; 32], psk: None };
        Session::new(Symbolic::new(me, 2), agreed, limits, keys, Moment(0)).err()
    };
    let (agreed, limits) = (Agreed::default(), Limits::default());
    assert_eq!(check(1, agreed, limits.clone()), None);
    assert_eq!(check(2, agreed, limits.clone()), Some(Unusable::SameIdentity));
    for payload_max in [0, 65_537] {
        let agreed = Agreed { payload_max, ..agreed };
        assert_eq!(check(1, agreed, limits.clone()), Some(Unusable::Payload(payload_max)));
    }
    let credit = agreed.payload_max + 63;
    let agreed = Agreed { credit, ..agreed };
    assert_eq!(check(1, agreed, limits.clone()), Some(Unusable::Credit(credit)));
    let records_hard = (1 << 23) + 1;
    let limits = Limits { records_hard, ..limits };
    assert_eq!(check(1, Agreed::default(), limits), Some(Unusable::Records(records_hard)));
}
