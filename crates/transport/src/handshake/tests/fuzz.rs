//! Fuzz target: whatever happens to the bytes of a handshake, it ends in the same keys or a name.

use proctor_fuzz::{Fuzz, Script, kind};
use tokio::runtime::Builder;

use super::*;

const MESSAGES: [(Message, usize); 4] = [
    (Message::Hello, HELLO_BYTES),
    (Message::Reply, REPLY_BYTES),
    (Message::Finish, FINISH_BYTES),
    (Message::Verdict, VERDICT_BYTES),
];

/// The four messages of an exchange of the same two nodes that took place before.
fn recorded() -> Vec<Vec<u8>> {
    let all = std::cell::RefCell::new(Vec::new());
    let (dialed, _) =
        exchange(&node(1), &node(2), &|_, bytes| all.borrow_mut().push(bytes.to_vec()));
    assert!(dialed.is_ok());
    all.into_inner()
}

/// Does to a message what the script says.
fn damage(script: &mut Script<'_>, old: &[u8], bytes: &mut [u8]) {
    let at = script.number() % bytes.len();
    match script.below(4) {
        0 => bytes[at] ^= 1 << script.below(8),
        1 => {
            let new = script.bytes();
            let count = new.len().min(bytes.len() - at);
            bytes[at..at + count].copy_from_slice(&new[..count]);
        }
        // A part of the message that was sent at this place before, or all of it.
        2 => bytes[at..].copy_from_slice(&old[at..]),
        _ => bytes[..=at].copy_from_slice(&old[..=at]),
    }
}

/// Both ends come to the same keys, and only when nothing was altered.
fn altered(script: &mut Script<'_>, old: &[Vec<u8>]) -> String {
    let plan: Vec<(usize, Script<'_>)> =
        (0..1 + script.below(3)).map(|_| (script.below(4), Script::new(script.bytes()))).collect();
    let changed = std::cell::Cell::new(false);
    let (dialed, answered) = exchange(&node(1), &node(2), &|message, bytes| {
        let place = MESSAGES.iter().position(|(known, _)| *known == message).unwrap();
        let before = bytes.to_vec();
        for (_, script) in plan.iter().filter(|(target, _)| *target == place) {
            damage(&mut script.clone(), &old[place], bytes);
        }
        changed.set(changed.get() || before != bytes);
    });
    let text =
        format!("{:?} {:?}", dialed.as_ref().err(), answered.as_ref().map(|end| end.is_ok()));
    if changed.get() {
        assert!(dialed.is_err(), "the dialer took an altered handshake");
    } else {
        let (ours, theirs) = (dialed.unwrap(), answered.unwrap().unwrap());
        assert!(ours == theirs, "the ends have other keys");
    }
    kind(&text)
}

/// One who does not know the keys gets nothing but an error, whatever he sends and wherever he stops.
fn alone(runtime: &tokio::runtime::Runtime, dials: bool, bytes: &[u8]) -> String {
    runtime.block_on(async {
        let (mut near, mut far) = duplex(8 << 10);
        near.write_all(&bytes[..bytes.len().min(4 << 10)]).await.unwrap();
        near.shutdown().await.unwrap();
        let outcome = if dials {
            dial(&mut far, &node(1), id(&node(2)), terms(), HANDSHAKE_MS).await
        } else {
            answer(&mut far, &node(2), |_| true, terms(), HANDSHAKE_MS).await
        };
        kind(&outcome.map(drop).expect_err("a connection to nobody"))
    })
}

#[test]
fn fuzz_handshake_ends_in_the_same_keys_or_in_an_error_with_a_name() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let old = recorded();
    let mut fuzz = Fuzz::target("handshake").executions(1_000);
    for (dials, messages) in [(0, [0, 2]), (1, [1, 3])] {
        let bytes: Vec<u8> = messages.iter().flat_map(|at| old[*at].clone()).collect();
        fuzz = fuzz.seed([&[dials][..], &bytes].concat());
    }
    for message in 0..4 {
        for how in 0..4 {
            fuzz = fuzz.seed([2, 0, message, 6, 40, 1, how, 2, 9, 9]);
        }
    }
    // Nothing altered; a share of zeros; a REPLY cut in two; every message replayed whole.
    let rows =
        ["02000000", "02000028370001200000000000", "01", "0202000300000201030000020203000002"];
    fuzz.rows(&rows).run(|input| {
        let mut script = Script::new(input);
        match script.byte() {
            None | Some(0) => alone(&runtime, false, script.rest()),
            Some(1) => alone(&runtime, true, script.rest()),
            Some(_) => altered(&mut script, &old),
        }
    });
}
