//! The frame codec: what is encoded is decoded, and any bytes give a value or an error.

use proptest::prelude::*;

use crate::crypto::Crypto;
use crate::crypto::symbolic::Symbolic;
use crate::frame::{Frame, FrameError, HEADER_BYTES, Header, Init, Resp};

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn any_bytes_give_an_error_or_the_one_frame_that_encodes_to_them(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        if let Ok(frame) = Frame::decode::<Symbolic>(&bytes) {
            prop_assert_eq!(encoded(&frame), bytes);
        }
    }

    #[test]
    fn small_kinds_with_any_body_give_an_error_or_the_one_frame(
        kind in 0_u8..10,
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let bytes = [&[kind][..], &body].concat();
        if let Ok(frame) = Frame::decode::<Symbolic>(&bytes) {
            prop_assert_eq!(encoded(&frame), bytes);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(
        numbers in any::<(u64, u64, u32, u16, u8)>(),
        bytes in any::<[u8; 32]>(),
        payload in prop::collection::vec(any::<u8>(), 1..64),
        end in any::<bool>(),
    ) {
        let (epoch, psk_id, window, code, suite) = numbers;
        let (share, signature) = bytes[..16].split_at(Symbolic::SHARE_BYTES);
        for frame in [
            Frame::Data { end, payload: &payload },
            Frame::Init(Init { epoch, suite, psk_id, share, signature }),
            Frame::Resp(Resp { epoch, answer: share, confirm: bytes, signature }),
            Frame::Fin { epoch, confirm: bytes },
            Frame::Window(window.max(1)),
            Frame::Close { code, reason: &payload },
            Frame::Ping(epoch),
            Frame::Pong(psk_id),
        ] {
            let bytes = encoded(&frame);
            prop_assert_eq!(Frame::decode::<Symbolic>(&bytes), Ok(frame));
            prop_assert!(bytes.len() <= Frame::bytes_max::<Symbolic>(64));
            // No frame is the beginning of another of a fixed size.
            if !matches!(frame, Frame::Data { .. } | Frame::Close { .. }) {
                for short in 0..bytes.len() {
                    prop_assert!(Frame::decode::<Symbolic>(&bytes[..short]).is_err());
                }
            }
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written(length in 9_usize..0x00ff_ffff, epoch in any::<u32>()) {
        let header = Header { length, epoch };
        prop_assert_eq!(Header::decode(&header.encode(), 9, 0x00ff_ffff), Ok(header));
    }
}

#[test]
fn every_way_to_be_wrong_has_its_error() {
    let decode = |bytes: &[u8]| Frame::decode::<Symbolic>(bytes).unwrap_err();
    assert_eq!(decode(&[]), FrameError::Empty);
    assert_eq!(decode(&[8, 1, 2]), FrameError::Kind(8));
    assert_eq!(decode(&[0]), FrameError::FrameLength { kind: 0, length: 0 });
    assert_eq!(decode(&[0, 2]), FrameError::Flags(2));
    assert_eq!(decode(&[0, 0]), FrameError::NoContent);
    assert_eq!(decode(&[4, 0, 0, 0, 0]), FrameError::NoWindow);
    assert_eq!(decode(&[6; 10]), FrameError::FrameLength { kind: 6, length: 9 });
    let long = [&[5, 0, 0][..], &[b'x'; 65]].concat();
    assert_eq!(decode(&long), FrameError::FrameLength { kind: 5, length: 67 });
    let header = |bytes: [u8; HEADER_BYTES]| Header::decode(&bytes, 10, 20).unwrap_err();
    assert_eq!(header([15, 0, 0, 9, 0, 0, 0, 0]), FrameError::Version(9));
    for length in [0, 9, 21, 0x0001_0000] {
        let bytes = Header { length, epoch: 0 }.encode();
        assert_eq!(header(bytes), FrameError::Length { length, min: 10, max: 20 });
    }
}
