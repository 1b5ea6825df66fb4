//! Tests of the handshake: every byte matters, and who is who cannot be confused.

mod fuzz;

use std::sync::Arc;
use std::time::Duration;

use proctor_ratchet::crypto::Crypto;
use proctor_ratchet::{Agreed, Mode, Psk};
use proctor_ratchet_crypto::{Hybrid, Identity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::exchange::{
    Answered, Dialing, FINISH_BYTES, HEAD_BYTES, HELLO_BYTES, REPLY_BYTES, VERDICT_BYTES,
};
use super::{Established, HANDSHAKE_MS, HandshakeError, Message, Terms, answer, dial};
use crate::PeerId;

fn node(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32]).unwrap()
}

fn id(node: &Identity) -> PeerId {
    PeerId(node.public())
}

fn terms() -> Terms {
    Terms::of_network([7; 32])
}

/// Alters the bytes of a message.
type Alter<'a> = &'a dyn Fn(Message, &mut [u8]);

/// What one end comes to: the first secret, or why there is none.
type Outcome = Result<[u8; 32], HandshakeError>;

/// Runs the exchange of two nodes with `alter` between them; gives what each end comes to. An end
/// that hears nothing more has `None`.
fn exchange(
    dialer: &Identity,
    listener: &Identity,
    alter: Alter<'_>,
) -> (Outcome, Option<Outcome>) {
    let (dialing, mut hello) = Dialing::hello(&terms()).unwrap();
    alter(Message::Hello, &mut hello);
    let hello: [u8; HELLO_BYTES] = hello.try_into().unwrap();
    let (answered, mut reply) = match Answered::on_hello(&hello, &terms(), listener) {
        Ok(answered) => answered,
        Err(error) => return (Err(HandshakeError::Ended(Message::Reply)), Some(Err(error))),
    };
    alter(Message::Reply, &mut reply);
    let reply: [u8; REPLY_BYTES] = reply.try_into().unwrap();
    let (proven, mut finish) = match dialing.on_reply(&reply, dialer, id(listener)) {
        Ok(proven) => proven,
        Err(error) => return (Err(error), None),
    };
    alter(Message::Finish, &mut finish);
    let finish: [u8; FINISH_BYTES] = finish.try_into().unwrap();
    let judged = match answered.on_finish(&finish, listener) {
        Ok((judged, peer)) => {
            assert_eq!(peer, id(dialer));
            judged
        }
        Err(error) => return (Err(HandshakeError::Ended(Message::Verdict)), Some(Err(error))),
    };
    let mut verdict = judged.verdict(true);
    alter(Message::Verdict, &mut verdict);
    let verdict: [u8; VERDICT_BYTES] = verdict.try_into().unwrap();
    let dialed = proven.on_verdict(&verdict, None).map(|keys| *keys.exporter.expose());
    (dialed, Some(Ok(*judged.initial(None).exporter.expose())))
}

#[test]
fn both_ends_come_to_the_same_keys_and_every_handshake_to_others() {
    let (one, other) = (node(1), node(2));
    let (dialed, answered) = exchange(&one, &other, &|_, _| ());
    let first = dialed.unwrap();
    assert_eq!(first, answered.unwrap().unwrap());
    let (dialed, _) = exchange(&one, &other, &|_, _| ());
    assert_ne!(first, dialed.unwrap());
}

#[test]
fn any_altered_byte_is_fatal_and_has_a_name() {
    let (one, other) = (node(1), node(2));
    let messages = [
        (Message::Hello, HELLO_BYTES),
        (Message::Reply, REPLY_BYTES),
        (Message::Finish, FINISH_BYTES),
        (Message::Verdict, VERDICT_BYTES),
    ];
    for (message, length) in messages {
        for at in 0..length {
            let bit = 1 << (at % 8);
            let flip = |now: Message, bytes: &mut [u8]| {
                if now == message {
                    bytes[at] ^= bit;
                }
            };
            let (dialed, answered) = exchange(&one, &other, &flip);
            let error = match (dialed, answered) {
                // What the listener finds, it names; the dialer only sees it go.
                (Err(HandshakeError::Ended(_)), Some(Err(error))) => error,
                (Err(error), _) => error,
                (Ok(_), _) => panic!("{message} with byte {at} altered was taken"),
            };
            let named = match (message, at) {
                (Message::Hello, 0..4) => matches!(error, HandshakeError::Version),
                (Message::Hello, 4) => matches!(error, HandshakeError::Suite),
                (Message::Hello, 5..15) => matches!(error, HandshakeError::Terms),
                (Message::Hello, 15..23) => matches!(error, HandshakeError::Psk),
                (Message::Hello, 23..HEAD_BYTES) => matches!(error, HandshakeError::Network),
                // The share: not valid, or the answer is to another one.
                (Message::Hello, _) => matches!(
                    error,
                    HandshakeError::BadShare(Message::Hello)
                        | HandshakeError::NotAuthentic(Message::Reply)
                ),
                (Message::Reply, 0..32) => matches!(
                    error,
                    HandshakeError::BadShare(Message::Reply)
                        | HandshakeError::NotAuthentic(Message::Reply)
                ),
                (found, _) => {
                    matches!(error, HandshakeError::NotAuthentic(named) if named == found)
                }
            };
            assert!(named, "{message} with byte {at} altered: {error:?}");
        }
    }
}

#[test]
fn a_message_that_is_cut_short_or_replayed_makes_no_connection() {
    let (one, other) = (node(1), node(2));
    let (_, hello) = Dialing::hello(&terms()).unwrap();
    let hello: [u8; HELLO_BYTES] = hello.try_into().unwrap();
    // Whoever replays a HELLO gets another REPLY, and cannot finish: the FINISH of the first
    // exchange does not open in the second.
    let (dialing, own) = Dialing::hello(&terms()).unwrap();
    let own: [u8; HELLO_BYTES] = own.try_into().unwrap();
    let (_, reply) = Answered::on_hello(&own, &terms(), &other).unwrap();
    let reply: [u8; REPLY_BYTES] = reply.try_into().unwrap();
    let (_, finish) = dialing.on_reply(&reply, &one, id(&other)).unwrap();
    let finish: [u8; FINISH_BYTES] = finish.try_into().unwrap();
    for replayed in [own, hello] {
        let (answered, _) = Answered::on_hello(&replayed, &terms(), &other).unwrap();
        let error = answered.on_finish(&finish, &other).map(drop).unwrap_err();
        assert!(matches!(error, HandshakeError::NotAuthentic(Message::Finish)), "{error:?}");
    }
}

#[test]
fn a_node_does_not_connect_to_itself_nor_to_its_own_reflection() {
    let (one, other) = (node(1), node(2));
    // Dialled by its own address.
    let (dialed, _) = exchange(&one, &one, &|_, _| ());
    assert!(matches!(dialed, Err(HandshakeError::SameIdentity)));
    // Somebody hands the HELLO that was meant for another node back to a listener of this one.
    let (dialing, hello) = Dialing::hello(&terms()).unwrap();
    let hello: [u8; HELLO_BYTES] = hello.try_into().unwrap();
    let (_, reply) = Answered::on_hello(&hello, &terms(), &one).unwrap();
    let reply: [u8; REPLY_BYTES] = reply.try_into().unwrap();
    let error = dialing.on_reply(&reply, &one, id(&other)).map(drop).unwrap_err();
    assert!(matches!(error, HandshakeError::SameIdentity), "{error:?}");
}

#[test]
fn one_in_the_middle_cannot_hand_a_proof_on() {
    // The dialer dials the one in the middle, who dials the listener and wants to pass for the
    // dialer: it has the dialer's FINISH, which is sealed and signed for another exchange.
    let (dialer, middle, listener) = (node(1), node(3), node(2));
    let (dialing, hello) = Dialing::hello(&terms()).unwrap();
    let hello: [u8; HELLO_BYTES] = hello.try_into().unwrap();
    let (_, reply) = Answered::on_hello(&hello, &terms(), &middle).unwrap();
    let reply: [u8; REPLY_BYTES] = reply.try_into().unwrap();
    let (_, finish) = dialing.on_reply(&reply, &dialer, id(&middle)).unwrap();
    let finish: [u8; FINISH_BYTES] = finish.try_into().unwrap();
    let (answered, _) = Answered::on_hello(&hello, &terms(), &listener).unwrap();
    let error = answered.on_finish(&finish, &listener).map(drop).unwrap_err();
    assert!(matches!(error, HandshakeError::NotAuthentic(Message::Finish)), "{error:?}");
}

async fn both(
    expected: PeerId,
    allowed: bool,
    ours: Terms,
    theirs: Terms,
) -> (Result<Established, HandshakeError>, Result<Established, HandshakeError>) {
    let (mut near, mut far) = duplex(64);
    let one = async move { dial(&mut near, &node(1), expected, ours, HANDSHAKE_MS).await };
    let other = async move { answer(&mut far, &node(2), |_| allowed, theirs, HANDSHAKE_MS).await };
    tokio::join!(one, other)
}

#[tokio::test(start_paused = true)]
async fn each_end_learns_who_the_other_is() {
    let (dialed, answered) = both(id(&node(2)), true, terms(), terms()).await;
    assert_eq!(dialed.unwrap().peer, id(&node(2)));
    assert_eq!(answered.unwrap().peer, id(&node(1)));
}

#[tokio::test(start_paused = true)]
async fn the_node_that_was_dialled_must_answer() {
    let (dialed, answered) = both(id(&node(9)), true, terms(), terms()).await;
    let error = dialed.map(drop).unwrap_err();
    assert!(
        matches!(error, HandshakeError::WrongPeer { expected, found }
            if expected == id(&node(9)) && found == id(&node(2))),
        "{error:?}"
    );
    assert!(matches!(answered, Err(HandshakeError::Ended(Message::Finish))));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_allowed_is_told_so() {
    let (dialed, answered) = both(id(&node(2)), false, terms(), terms()).await;
    assert!(matches!(dialed, Err(HandshakeError::Refused)));
    assert!(matches!(answered, Err(HandshakeError::NotAllowed(peer)) if peer == id(&node(1))));
}

#[tokio::test(start_paused = true)]
async fn terms_that_differ_make_no_connection_and_nothing_is_negotiated() {
    type Named = fn(&HandshakeError) -> bool;
    let psk = |number| Psk::new(number, vec![vec![1; 32]]);
    let agreed = |agreed| Terms { agreed, ..terms() };
    let others: [(Terms, Named); 7] = [
        (Terms::of_network([8; 32]), |error| matches!(error, HandshakeError::Network)),
        (Terms { psk: psk(1), ..terms() }, |error| matches!(error, HandshakeError::Psk)),
        (agreed(Agreed { mode: Mode::Throughput, ..Agreed::default() }), |error| {
            matches!(error, HandshakeError::Terms)
        }),
        (agreed(Agreed { mode: Mode::FreshEpoch, ..Agreed::default() }), |error| {
            matches!(error, HandshakeError::Terms)
        }),
        (agreed(Agreed { signed: false, ..Agreed::default() }), |error| {
            matches!(error, HandshakeError::Terms)
        }),
        (agreed(Agreed { payload_max: 8 << 10, ..Agreed::default() }), |error| {
            matches!(error, HandshakeError::Terms)
        }),
        (agreed(Agreed { credit: 1 << 21, ..Agreed::default() }), |error| {
            matches!(error, HandshakeError::Terms)
        }),
    ];
    for (ours, named) in others {
        let (dialed, answered) = both(id(&node(2)), true, ours, terms()).await;
        assert!(named(&answered.map(drop).unwrap_err()));
        assert!(matches!(dialed, Err(HandshakeError::Ended(Message::Reply))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_at_any_message_is_left_at_the_deadline() {
    // It sends this much and then nothing, without going away.
    let (_, hello) = Dialing::hello(&terms()).unwrap();
    for count in [0, 1, HEAD_BYTES - 1, HEAD_BYTES, HELLO_BYTES - 1, HELLO_BYTES] {
        let (mut near, mut far) = duplex(4096);
        near.write_all(&hello[..count]).await.unwrap();
        let begun = tokio::time::Instant::now();
        let error = answer(&mut far, &node(2), |_| true, terms(), 3_000).await.map(drop);
        assert!(matches!(error, Err(HandshakeError::Timeout(3_000))), "{count}: {error:?}");
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
    // A listener that never answers, and one that does not even read.
    for room in [4096, 16] {
        let (mut near, _far) = duplex(room);
        let error = dial(&mut near, &node(1), id(&node(2)), terms(), 3_000).await.map(drop);
        assert!(matches!(error, Err(HandshakeError::Timeout(3_000))), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_hello_is_refused_by_its_first_bytes() {
    let (mut near, mut far) = duplex(4096);
    near.write_all(b"GET / HTTP/1.1\r\nHost: proctor.example\r\nAccept: text/html\r\n\r\n")
        .await
        .unwrap();
    let error = answer(&mut far, &node(2), |_| true, terms(), 3_000).await.map(drop);
    assert!(matches!(error, Err(HandshakeError::Version)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn no_byte_beyond_the_handshake_is_read() {
    let (mut near, mut far) = duplex(1 << 16);
    let (one, other) = (Arc::new(node(1)), Arc::new(node(2)));
    let expected = id(&other);
    let dialer = async {
        dial(&mut near, &one, expected, terms(), HANDSHAKE_MS).await.unwrap();
        near.write_all(b"first").await.unwrap();
        let mut bytes = [0; 5];
        near.read_exact(&mut bytes).await.unwrap();
        bytes
    };
    let listener = async {
        answer(&mut far, &other, |_| true, terms(), HANDSHAKE_MS).await.unwrap();
        far.write_all(b"reply").await.unwrap();
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).await.unwrap();
        bytes
    };
    assert_eq!(tokio::join!(dialer, listener), (*b"reply", *b"first"));
    // And the bytes are as many as the document says.
    assert_eq!((HELLO_BYTES, REPLY_BYTES, FINISH_BYTES, VERDICT_BYTES), (1271, 1264, 144, 17));
    assert_eq!(HELLO_BYTES - HEAD_BYTES, Hybrid::SHARE_BYTES);
}
