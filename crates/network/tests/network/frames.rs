//! Frames: what is written is read, and any bytes give a frame or an error.

use proctor_fuzz::{Fuzz, kind};
use proctor_network::frame::{Frame, FrameError, HEAD_BYTES};
use proctor_p2p::message::{BodyId, Outcome, PART_BYTES_MAX, Part};
use proctor_p2p::peers::policy::Bye;
use proctor_p2p::{Answer, CodecError, Failure, Request};
use proctor_types::Digest;

fn frames() -> Vec<Frame> {
    let part = Part { index: 1, offset: 2, bytes: vec![3; PART_BYTES_MAX] };
    let body = BodyId { height: 9, digest: Digest([4; 32]) };
    let mut frames = vec![
        Frame::Request { id: 0, request: Request::GetPeers },
        Frame::Request { id: u64::MAX, request: Request::GetBodies(vec![body]) },
        Frame::Answer { id: 7, answer: Answer::Body(part), last: false },
        Frame::Answer { id: 7, answer: Answer::NoBody(3), last: true },
        Frame::Answer { id: 7, answer: Answer::Peers(Vec::new()), last: true },
        Frame::Answer {
            id: 7,
            answer: Answer::Outcome(Outcome::Refused("no".to_owned())),
            last: true,
        },
        Frame::Cancel(8),
        Frame::Ping(1),
        Frame::Pong(u64::MAX),
        Frame::UnknownRequest(5),
        Frame::UnknownPush,
    ];
    let failures = [Failure::Busy(9), Failure::NotHere, Failure::Banned(1), Failure::Shutdown];
    frames.extend(failures.map(|failure| Frame::Answer {
        id: 3,
        answer: Answer::Failed(failure),
        last: true,
    }));
    let byes = [
        Bye::Duplicate,
        Bye::Full { retry_ms: 5 },
        Bye::Banned { ms: u64::MAX },
        Bye::NotAllowed,
        Bye::WrongChain,
        Bye::OldProto,
        Bye::Myself,
        Bye::WrongPeer,
        Bye::Timeout,
        Bye::Shutdown,
    ];
    frames.extend(byes.map(Frame::Bye));
    frames
}

#[test]
fn every_frame_is_read_as_it_was_written_and_a_byte_more_or_less_is_refused() {
    for frame in frames() {
        let bytes = frame.encode();
        assert_eq!(Frame::decode(&bytes), Ok(frame.clone()));
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Frame::decode(&longer), Err(CodecError::Trailing(1).into()), "{frame:?}");
        let shorter = Frame::decode(&bytes[..bytes.len() - 1]);
        assert!(matches!(shorter, Err(FrameError::Payload(CodecError::Short(_)))), "{frame:?}");
    }
}

#[test]
fn a_length_over_the_limit_of_its_kind_is_refused_before_a_byte_of_it_is_read() {
    let head = |length: u32, kind: u8| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.resize(HEAD_BYTES, 0);
        Frame::decode(&bytes)
    };
    for (kind, limit) in [(1, 16 << 10), (2, 64 << 10), (4, 64 << 10), (5, 16), (8, 0), (10, 16)] {
        let found = u32::try_from(limit).unwrap() + 1;
        assert_eq!(head(found, kind), Err(FrameError::TooLong { kind, found, limit }));
    }
    assert_eq!(head(0, 0), Err(FrameError::Kind(0)));
    assert_eq!(head(u32::MAX, 11), Err(FrameError::Kind(11)));
}

#[test]
fn a_message_in_the_frame_of_another_kind_is_refused() {
    let mut bytes = Frame::Request { id: 1, request: Request::GetPeers }.encode();
    for kind in [1, 3, 4, 6] {
        bytes[4] = kind;
        let error = if kind == 1 || kind == 6 {
            FrameError::Numbered(kind)
        } else {
            FrameError::OtherMessage(kind)
        };
        assert_eq!(Frame::decode(&bytes), Err(error));
        let mut unnumbered = bytes.clone();
        unnumbered[5..13].fill(0);
        assert_eq!(Frame::decode(&unnumbered), Err(FrameError::OtherMessage(kind)));
    }
}

#[test]
fn fuzz_network_frame() {
    let seeds = frames().into_iter().map(|frame| frame.encode());
    let fuzz = Fuzz::target("fuzz_network_frame").executions(50_000);
    let fuzz = seeds.fold(fuzz, |fuzz, seed| fuzz.seed(seed));
    fuzz.run(|bytes| match Frame::decode(bytes) {
        Ok(Frame::UnknownRequest(_) | Frame::UnknownPush) => kind(&"unknown"),
        Ok(frame) => {
            assert_eq!(frame.encode(), bytes, "one spelling of each frame");
            kind(&std::mem::discriminant(&frame))
        }
        Err(FrameError::Payload(_)) => kind(&"payload"),
        Err(error) => kind(&std::mem::discriminant(&error)),
    });
}
