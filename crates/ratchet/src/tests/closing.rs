//! Closing at every moment, cutting, and starting anew (T07, T17).

use super::model::NOW;
use super::pair::{Pair, terms, unhurried};
use crate::key_schedule::{InitialKeys, Mode, Secret};
use crate::limit::Moment;
use crate::reason::Reason;
use crate::session::{Event, Freshness, Life, Session};

#[test]
fn t07_closed_at_any_moment_of_a_round_both_ends_close_and_what_was_sealed_arrives() {
    for closers in [&[0][..], &[1], &[0, 1]] {
        for moment in 0..60 {
            let mut pair = Pair::new(Mode::RecordFs, 10);
            for number in 0..20_u8 {
                pair.ends[usize::from(number % 2)].send(vec![number; 700]).unwrap();
            }
            for end in &mut pair.ends {
                end.request_rekey(Freshness::Fresh).unwrap();
            }
            pair.run(moment);
            for side in closers {
                pair.ends[*side].close(pair.now, 300);
            }
            pair.run(200);
            for side in 0..2 {
                let (end, peer) = (&pair.ends[side], 1 - side);
                assert_eq!(end.status().life, Life::Closed, "{closers:?} at {moment}");
                assert!(pair.has_event(side, &Event::Closed));
                let sealed = pair.kinds[side].iter().filter(|kind| **kind == 0).count();
                assert_eq!(pair.messages[peer].len(), sealed);
            }
        }
    }
}

#[test]
fn the_code_of_a_close_is_told_and_unsent_messages_come_back() {
    let mut pair = Pair::new(Mode::Throughput, 10);
    pair.ends[0].send(vec![1; 3000]).unwrap();
    pair.ends[0].send(vec![2; 10]).unwrap();
    pair.ends[0].close(NOW, 777);
    pair.run(50);
    assert!(pair.has_event(1, &Event::PeerClosing(777)));
    assert!(pair.messages[1].is_empty());
    let [low, _] = pair.ends;
    assert_eq!(low.into_unsent(), [vec![1; 3000], vec![2; 10]]);
}

#[test]
fn an_end_without_a_close_is_a_cut() {
    let mut pair = Pair::new(Mode::Throughput, 0);
    pair.ends[0].end_of_input(NOW);
    assert_eq!(pair.ends[0].status().life, Life::Dead(Reason::Truncated));
    pair.settle();
    assert!(pair.has_event(0, &Event::Dead(Reason::Truncated)));
    // The other end is told why, as far as it can be reached.
    assert!(pair.has_event(1, &Event::PeerClosing(Reason::Truncated.code())));
}

#[test]
fn a_peer_that_does_not_answer_a_close_is_left_after_a_while() {
    let mut pair = Pair::new(Mode::Throughput, 10);
    pair.ends[0].close(NOW, 0);
    pair.settle();
    pair.lose(0);
    pair.run(4_999);
    assert_eq!(pair.ends[0].status().life, Life::CloseSent);
    pair.run(1);
    assert_eq!(pair.ends[0].status().life, Life::Dead(Reason::CloseTimeout));
}

#[test]
fn t17_a_session_after_a_crash_shares_no_key_with_the_one_before() {
    let mut pair = Pair::new(Mode::Throughput, 0);
    pair.ends[0].request_rekey(Freshness::Any).unwrap();
    pair.settle();
    pair.ends[0].send(vec![1]).unwrap();
    let mut old = Vec::new();
    pair.ends[0].poll_transmit(NOW, &mut old, 1);
    let exporter = Secret::take(&mut [8; 32]);
    let keys = InitialKeys { exporter, handshake_hash: [9; 32], psk: None };
    let crypto = crate::crypto::symbolic::Symbolic::new(2, 1);
    let mut fresh =
        Session::new(crypto, terms(Mode::Throughput), unhurried(), keys, Moment(0)).unwrap();
    assert!(fresh.input(NOW, &mut old.clone()).is_err());
    let mut zeroth = old;
    zeroth[4..8].fill(0);
    let exporter = Secret::take(&mut [8; 32]);
    let keys = InitialKeys { exporter, handshake_hash: [9; 32], psk: None };
    let crypto = crate::crypto::symbolic::Symbolic::new(2, 1);
    let mut fresh =
        Session::new(crypto, terms(Mode::Throughput), unhurried(), keys, Moment(0)).unwrap();
    assert_eq!(fresh.input(NOW, &mut zeroth), Err(Reason::OpenFailed { epoch: 0, seq: 0 }));
}
