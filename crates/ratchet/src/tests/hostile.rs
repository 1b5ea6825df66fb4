//! Hostile bytes: altered ones, and those of an adversary who holds the keys (T08, T14, T15).

use super::model::NOW;
use super::pair::{Pair, terms, unhurried};
use crate::crypto::Crypto;
use crate::crypto::symbolic::Symbolic;
use crate::frame::{Frame, FrameError, Init, Resp};
use crate::key_schedule::{InitialKeys, Mode, Psk, Secret};
use crate::reason::{Reason, Violation};
use crate::session::{Freshness, Life, Session};

/// A session in a state of a round, and the peer whose keys the adversary holds.
fn in_state(state: &str) -> (Session<Symbolic>, Session<Symbolic>) {
    let mut pair = Pair::new(Mode::Throughput, 0);
    let [mut victim, mut peer] = pair.ends.clone();
    match state {
        "idle" => {}
        "asks" => {
            victim.request_rekey(Freshness::Any).unwrap();
            let mut lost = Vec::new();
            victim.poll_transmit(NOW, &mut lost, usize::MAX);
        }
        "answered" => {
            peer.request_rekey(Freshness::Any).unwrap();
            for (from, to) in [(1, 0), (0, 1)] {
                let ends = [&mut victim, &mut peer];
                let mut bytes = Vec::new();
                ends[from].poll_transmit(NOW, &mut bytes, usize::MAX);
                if to == 0 {
                    ends[to].input(NOW, &mut bytes).unwrap();
                }
            }
        }
        _ => {
            pair.ends[0].request_rekey(Freshness::Any).unwrap();
            pair.settle();
            [victim, peer] = pair.ends;
        }
    }
    (victim, peer)
}

#[test]
fn t08_handshake_frames_of_one_who_holds_the_keys_but_not_the_identity_are_fatal_in_every_state() {
    for state in ["idle", "asks", "answered", "later"] {
        for epoch in 0..4 {
            for kind in 0..3 {
                let (mut victim, mut peer) = in_state(state);
                let mut bytes = Vec::new();
                let signature = &[0x5a; Symbolic::SIGNATURE_BYTES];
                let confirm = [0x5a; 32];
                let frame = match kind {
                    0 => Frame::Init(Init {
                        epoch,
                        suite: Symbolic::SUITE,
                        psk_id: 0,
                        share: &[1; Symbolic::SHARE_BYTES],
                        signature,
                    }),
                    1 => Frame::Resp(Resp {
                        epoch,
                        answer: &[1; Symbolic::ANSWER_BYTES],
                        confirm,
                        signature,
                    }),
                    _ => Frame::Fin { epoch, confirm },
                };
                peer.rekey.as_mut().unwrap().send.seal(&mut bytes, |out| frame.encode(out));
                let outcome = victim.input(NOW, &mut bytes);
                // Low ignores one INIT that crosses its own; it is not used for anything.
                let crosses = state == "asks" && kind == 0 && epoch == 1;
                assert_eq!(outcome.is_ok(), crosses, "{state}, kind {kind}, epoch {epoch}");
                if let Err(reason) = outcome {
                    assert_eq!(victim.status().life, Life::Dead(reason));
                    assert!(victim.rekey.is_none(), "nothing secret is left");
                }
            }
        }
    }
}

#[test]
fn t08_a_second_crossing_init_is_fatal() {
    let (mut victim, mut peer) = in_state("asks");
    peer.request_rekey(Freshness::Any).unwrap();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    peer.poll_transmit(NOW, &mut first, usize::MAX);
    let frame = first[8..first.len() - Symbolic::TAG_BYTES].to_vec();
    peer.rekey.as_mut().unwrap().send.seal(&mut second, |out| out.extend_from_slice(&frame));
    assert!(victim.input(NOW, &mut first).is_ok());
    assert_eq!(victim.input(NOW, &mut second), Err(Violation::UnexpectedInit.into()));
}

#[test]
fn t08_replayed_records_do_not_open() {
    let mut pair = Pair::new(Mode::RecordFs, 0);
    pair.ends[0].send(vec![1]).unwrap();
    let mut record = Vec::new();
    pair.ends[0].poll_transmit(NOW, &mut record, usize::MAX);
    let mut again = record.clone();
    pair.ends[1].input(NOW, &mut record).unwrap();
    assert_eq!(pair.ends[1].input(NOW, &mut again), Err(Reason::OpenFailed { epoch: 0, seq: 1 }));
}

/// The records of a round with data, closing included, and who sends each.
fn round() -> Vec<(usize, Vec<u8>)> {
    let mut pair = Pair::new(Mode::RecordFs, 0);
    let mut records = Vec::new();
    pair.ends[0].send(vec![3; 40]).unwrap();
    pair.ends[0].request_rekey(Freshness::Any).unwrap();
    let mut quiet = 0;
    while quiet < 2 {
        for side in 0..2 {
            let mut record = Vec::new();
            let count = pair.ends[side].poll_transmit(NOW, &mut record, 1);
            quiet = if count == 0 { quiet + 1 } else { 0 };
            if count > 0 {
                records.push((side, record.clone()));
                pair.ends[1 - side].input(NOW, &mut record).unwrap();
            }
        }
        if records.len() == 4 {
            pair.ends[0].close(NOW, 0);
        }
    }
    records
}

#[test]
fn t15_an_altered_byte_anywhere_in_a_round_is_fatal_and_nothing_of_it_is_used() {
    let records = round();
    assert_eq!(records.len(), 6, "INIT, DATA, RESP, FIN and two CLOSE");
    let mut altered_bytes = 0;
    for (number, (side, record)) in records.iter().enumerate() {
        for at in 0..record.len() {
            for flip in [0x01, 0x80] {
                let mut pair = Pair::new(Mode::RecordFs, 0);
                pair.ends[0].send(vec![3; 40]).unwrap();
                pair.ends[0].request_rekey(Freshness::Any).unwrap();
                replay(&mut pair, &records[..number]);
                let before = pair.ends[1 - side].status();
                let mut altered = record.clone();
                altered[at] ^= flip;
                // The length may now promise more than has come; the rest comes.
                altered.resize(record.len() + 70_000, 0);
                let outcome = pair.ends[1 - side].input(NOW, &mut altered);
                let life = pair.ends[1 - side].status().life;
                assert_eq!(life, Life::Dead(outcome.unwrap_err()), "record {number}, byte {at}");
                assert_eq!(pair.ends[1 - side].status().epoch, before.epoch);
                altered_bytes += 1;
            }
        }
    }
    assert!(altered_bytes > 400);
}

/// Brings both ends to where they have exchanged `records`.
fn replay(pair: &mut Pair, records: &[(usize, Vec<u8>)]) {
    for (number, (side, record)) in records.iter().enumerate() {
        if number == 4 {
            pair.ends[0].close(NOW, 0);
        }
        let mut sealed = Vec::new();
        pair.ends[*side].poll_transmit(NOW, &mut sealed, 1);
        assert_eq!(&sealed, record, "symbolic rounds repeat exactly");
        pair.ends[1 - side].input(NOW, &mut sealed).unwrap();
    }
    if records.len() == 4 {
        pair.ends[0].close(NOW, 0);
    }
}

#[test]
fn t15_what_the_header_claims_is_refused_before_anything_is_opened() {
    let fatal = |header: [u8; 8]| {
        let mut pair = Pair::new(Mode::Throughput, 0);
        pair.ends[1].input(NOW, &mut header.to_vec())
    };
    let max = 1024 + 2 + Symbolic::TAG_BYTES;
    let min = 1 + Symbolic::TAG_BYTES;
    let length = |length| Err(FrameError::Length { length, min, max }.into());
    assert_eq!(fatal([20, 0, 0, 2, 0, 0, 0, 0]), Err(FrameError::Version(2).into()));
    assert_eq!(fatal([0, 0, 0, 1, 0, 0, 0, 0]), length(0));
    assert_eq!(fatal([255, 255, 255, 1, 0, 0, 0, 0]), length(0x00ff_ffff));
    let other_epoch = Violation::RecordEpoch { found: 1, expected: 0 };
    assert_eq!(fatal([20, 0, 0, 1, 1, 0, 0, 0]), Err(other_epoch.into()));
    assert_eq!(fatal([20, 0, 0, 1, 0, 0, 0, 0]), Ok(0), "the rest is awaited");
}

#[test]
fn a_peer_that_overdraws_is_refused() {
    let check = |frame: Frame<'_>, reason: Reason| {
        let mut pair = Pair::new(Mode::FreshEpoch, 0);
        let mut bytes = Vec::new();
        let sender = pair.ends[0].rekey.as_mut().unwrap();
        let payload = [0; 1024];
        let data = Frame::Data { end: false, payload: &payload };
        if matches!(reason, Reason::Protocol(Violation::Credit { .. })) {
            for _ in 0..60 {
                sender.send.seal(&mut bytes, |out| data.encode(out));
            }
        }
        if reason == Violation::SecondMessage.into() {
            sender
                .send
                .seal(&mut bytes, |out| Frame::Data { end: true, payload: &[1] }.encode(out));
        }
        sender.send.seal(&mut bytes, |out| frame.encode(out));
        assert_eq!(pair.ends[1].input(NOW, &mut bytes), Err(reason));
    };
    let full = [0; 1024];
    check(Frame::Data { end: true, payload: &full }, Violation::Credit { excess: 832 }.into());
    check(Frame::Data { end: true, payload: &[1] }, Violation::SecondMessage.into());
    check(Frame::Window(1), Violation::Window { excess: 1 }.into());
    check(Frame::Pong(1), Violation::Pong.into());
}

fn with_psk(keys: [Option<Psk>; 2]) -> [Session<Symbolic>; 2] {
    let mut side = 0;
    keys.map(|psk| {
        side += 1;
        let exporter = Secret::take(&mut [7; 32]);
        let keys = InitialKeys { exporter, handshake_hash: [9; 32], psk };
        let crypto = Symbolic::new(side, 3 - side);
        Session::new(crypto, terms(Mode::Throughput), unhurried(), keys, NOW).unwrap()
    })
}

/// Runs a round and returns how it ended.
fn round_of(mut ends: [Session<Symbolic>; 2]) -> Result<(), Reason> {
    ends[0].request_rekey(Freshness::Any).unwrap();
    for side in [0, 1, 0] {
        let mut bytes = Vec::new();
        ends[side].poll_transmit(NOW, &mut bytes, usize::MAX);
        ends[1 - side].input(NOW, &mut bytes)?;
    }
    assert_eq!(ends[1].status().epoch, 1);
    Ok(())
}

#[test]
fn t14_pre_shared_keys_must_be_the_same_list_under_the_same_name() {
    let list = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>();
    let psk = |id, keys: &[&str]| Psk::new(id, list(keys));
    assert_eq!(round_of(with_psk([psk(1, &["ab", "c"]), psk(1, &["ab", "c"])])), Ok(()));
    let differ = Err(Reason::ConfirmFailed(1));
    assert_eq!(round_of(with_psk([psk(1, &["ab", "c"]), psk(1, &["a", "bc"])])), differ);
    assert_eq!(round_of(with_psk([psk(1, &["x"]), psk(1, &["y"])])), differ);
    // Another name, or none, is another transcript from the beginning.
    let closed = Err(Reason::OpenFailed { epoch: 0, seq: 0 });
    assert_eq!(round_of(with_psk([psk(1, &["x"]), psk(2, &["x"])])), closed);
    assert_eq!(round_of(with_psk([psk(1, &["x"]), None])), closed);
    assert!(psk(0, &["x"]).is_none());
}
