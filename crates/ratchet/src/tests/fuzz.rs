//! Fuzz targets: frames from any bytes, and two sessions driven by a script.

mod lab;

use proctor_fuzz::{Fuzz, Script, kind};

use self::lab::Lab;
use crate::crypto::Crypto;
use crate::crypto::symbolic::{Symbolic, with_unique_nonces};
use crate::frame::{Frame, HEADER_BYTES, Header, Init, Resp};

/// Any bytes are refused with a name, or are the one encoding of what they mean.
fn frame(input: &[u8]) -> String {
    let (min, max) = (1 + Symbolic::TAG_BYTES, 1024 + 2 + Symbolic::TAG_BYTES);
    let header = input.first_chunk::<HEADER_BYTES>().map(|bytes| {
        let header = Header::decode(bytes, min, max);
        if let Ok(header) = header {
            assert_eq!(header.encode(), *bytes);
            assert!((min..=max).contains(&header.length));
        }
        header
    });
    let frame = Frame::decode::<Symbolic>(input);
    if let Ok(frame) = frame {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(bytes, input);
    }
    let whole = frame.map(|frame| (std::mem::discriminant(&frame), input.len().min(200)));
    kind(&header) + &format!("{whole:?}")
}

#[test]
fn fuzz_frame_any_bytes_are_refused_or_the_one_encoding_of_a_frame() {
    let (share, bytes) = ([3; Symbolic::SHARE_BYTES], [5; 32]);
    let signature = &[7; Symbolic::SIGNATURE_BYTES];
    let mut fuzz = Fuzz::target("frame").executions(200_000).len_max(200);
    for frame in [
        Frame::Data { end: true, payload: b"payload" },
        Frame::Data { end: true, payload: b"" },
        Frame::Init(Init { epoch: 1, suite: Symbolic::SUITE, psk_id: 2, share: &share, signature }),
        Frame::Resp(Resp { epoch: 1, answer: &share, confirm: bytes, signature }),
        Frame::Fin { epoch: u64::MAX, confirm: bytes },
        Frame::Window(1 << 20),
        Frame::Close { code: 300, reason: &[b'x'; 64] },
        Frame::Ping(1),
        Frame::Pong(2),
    ] {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        fuzz = fuzz.seed(bytes);
    }
    for length in [9, 1034, 1035] {
        fuzz = fuzz.seed(Header { length, epoch: u32::MAX }.encode());
    }
    // Each was once near a border of the format.
    fuzz.rows(&["", "00", "0001", "0000", "0002ff", "0400000000", "0400000001", "08", "ffffff01"])
        .run(frame);
}

/// Plays a script and checks every promise after every step, and those of rest at its end.
fn session(input: &[u8]) -> String {
    with_unique_nonces(|| {
        let mut script = Script::new(input);
        let mut lab = Lab::new(&mut script);
        // Each step takes at most 50 ms, so that these are over before any deadline ends a round.
        for _ in 0..400 {
            let Some(choice) = script.byte() else { break };
            lab.step(choice, &mut script);
            lab.check();
        }
        lab.rest();
        lab.outcome()
    })
}

#[test]
fn fuzz_session_no_course_of_events_breaks_a_promise() {
    let mut fuzz = Fuzz::target("session").executions(1_000).len_max(1_000);
    let mut rng = proctor_fuzz::Rng::new(11);
    for plan in 0..48_u8 {
        let script = (0..200).map(|_| rng.bits().to_le_bytes()[3]);
        fuzz = fuzz.seed([plan].into_iter().chain(script).collect::<Vec<u8>>());
    }
    fuzz.rows(&SESSIONS).run(session);
}

/// Courses of events that are hard to come by: what they are stands beside them.
const SESSIONS: [&str; 6] = [
    // Both ask at once, and everything crosses.
    "000001060c0d12130606",
    // Closed while a RESP is staged.
    "000006120d09130c",
    // A record cut in the middle, then the connection ends.
    "300212000c0b0500130e",
    // A replayed record.
    "30021200060c120612",
    // The peer of one who holds the keys: a frame of kind 1 with a body of zeros.
    "600f0a01000000000000000000060c",
    // A clock that jumps by an hour in the middle of a round.
    "00000612080408040c0d",
];
