//! Ends: in order, by code, by cut, by silence, by a wrong byte. Every one has its name.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use proctor_ratchet::{Agreed, Freshness, Limits, Mode, Moment, Reason, Session};
use proctor_ratchet_crypto::Hybrid;
use proctor_transport::{Ended, Options, SecureStream, connect, handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::time::{Instant, sleep, timeout};

use crate::lab::{
    distant, flip_at, found_out, id, node, over, pair, pattern, small, terms, unhurried,
};

#[tokio::test(start_paused = true)]
async fn when_both_directions_have_ended_the_stream_is_closed() {
    let (mut one, mut other) = pair(Agreed::default(), &Options::default()).await;
    one.write_all(b"bye").await.unwrap();
    let (closed, answered) = tokio::join!(one.shutdown(), other.shutdown());
    closed.unwrap();
    answered.unwrap();
    let mut found = Vec::new();
    other.read_to_end(&mut found).await.unwrap();
    assert_eq!(found, b"bye");
    for stream in [&one, &other] {
        assert_eq!(stream.control().ended().await, Ended::Closed);
        assert_eq!(stream.rekey().await, Err(Ended::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_still_sends_what_was_written_and_then_closes() {
    let (mut one, mut other) =
        distant(Duration::from_millis(20), small(Mode::RecordFs), &Options::default()).await;
    one.write_all(&pattern(0, 100_000)).await.unwrap();
    let control = one.control().clone();
    drop(one);
    let mut found = Vec::new();
    other.read_to_end(&mut found).await.unwrap();
    assert!(found == pattern(0, 100_000));
    assert_eq!(control.ended().await, Ended::Closed);
    // Who writes to it hears that nobody is there.
    let error = loop {
        if let Err(error) = other.write_all(b"hello?").await {
            break error;
        }
        sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(other.status().ended, Some(Ended::ClosedByPeer(0)));
}

#[tokio::test(start_paused = true)]
async fn a_code_is_told_to_both_and_cuts_what_was_not_read() {
    let (mut one, mut other) = pair(Agreed::default(), &Options::default()).await;
    one.write_all(b"something").await.unwrap();
    one.flush().await.unwrap();
    one.control().close(4711);
    assert_eq!(one.control().ended().await, Ended::ClosedHere(4711));
    assert_eq!(other.control().ended().await, Ended::ClosedByPeer(4711));
    // What arrived can still be read, but it does not look like all.
    let mut found = Vec::new();
    let error = other.read_to_end(&mut found).await.unwrap_err();
    assert_eq!(
        (found.as_slice(), error.kind()),
        (b"something".as_slice(), ErrorKind::ConnectionAborted)
    );
    assert_eq!(one.write_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

/// A pipe whose middle can be held, cut and altered: gives the two ends and the two middles.
fn middle() -> ([DuplexStream; 2], [DuplexStream; 2]) {
    let (near, there) = duplex(64 << 10);
    let (here, far) = duplex(64 << 10);
    ([near, far], [there, here])
}

async fn streams_with_middle(
    options: &Options,
) -> (SecureStream, SecureStream, tokio::task::JoinHandle<[DuplexStream; 2]>) {
    let ([near, far], [mut there, mut here]) = middle();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let moving = tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut there, &mut here) => {}
            _ = stopped => {}
        }
        [there, here]
    });
    let (one, other) = over(near, far, small(Mode::RecordFs), options).await;
    drop(stop);
    (one, other, moving)
}

#[tokio::test(start_paused = true)]
async fn t17_a_cut_is_not_an_end_of_file() {
    let (mut one, mut other, moving) = streams_with_middle(&Options::default()).await;
    drop(moving.await.unwrap());
    let error = one.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(one.status().ended, Some(Ended::Session(Reason::Truncated)));
    assert!(other.read(&mut [0; 8]).await.is_err());
    assert!(one.write_all(b"x").await.is_err());
    // A ticket of a stream that is over is answered.
    assert!(one.rekey().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn t18_a_peer_that_falls_silent_is_left_after_a_minute() {
    let (one, _other, moving) = streams_with_middle(&Options::default()).await;
    let held = moving.await.unwrap();
    let begun = Instant::now();
    assert_eq!(one.control().ended().await, Ended::Session(Reason::PeerSilent));
    assert_eq!(begun.elapsed().as_secs(), 60);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn t18_a_round_that_gets_no_answer_is_reported_and_then_ends_the_stream() {
    let (one, _other, moving) = streams_with_middle(&Options::default()).await;
    let held = moving.await.unwrap();
    let request = one.control().request_rekey(Freshness::Any);
    sleep(Duration::from_millis(2_100)).await;
    assert_eq!(one.status().slow, 1);
    assert_eq!(request.done().await, Err(Ended::Session(Reason::RekeyTimeout(1))));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_connection_takes_nothing_is_left() {
    // It says nothing and reads nothing, and there is more to send than fits anywhere.
    let options = Options { stall_ms: 30_000, ..Options::default() };
    let (mut one, _other, moving) = streams_with_middle(&options).await;
    let held = moving.await.unwrap();
    let begun = Instant::now();
    let error = one.write_all(&vec![1; 2 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!((one.status().ended, begun.elapsed().as_secs()), (Some(Ended::Stalled), 32));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_everything_but_never_reads_is_left() {
    let (mut one, other) = pair(small(Mode::RecordFs), &Options::default()).await;
    let error = one.write_all(&vec![1; 2 << 20]).await.unwrap_err();
    assert_eq!(one.status().ended, Some(Ended::Stalled));
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(other.control().ended().await, Ended::ClosedByPeer(256));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_does_not_wait_for_ever_for_a_peer_that_never_reads() {
    let (mut one, _other) = pair(small(Mode::RecordFs), &Options::default()).await;
    let control = one.control().clone();
    one.write_all(&vec![1; 100_000]).await.unwrap();
    drop(one);
    let begun = Instant::now();
    assert_eq!(control.ended().await, Ended::Stalled);
    assert_eq!(begun.elapsed().as_secs(), 32);
}

#[tokio::test(start_paused = true)]
async fn t15_an_altered_byte_anywhere_in_the_stream_is_fatal_and_typed() {
    // The first record, a whole round and data, from the end that dials: 1271 + 144 bytes of
    // handshake come before.
    let before = 1271 + 144;
    let mut wrong = 0;
    for at in (0..2_146).step_by(7) {
        let ([near, far], [there, here]) = middle();
        let (from_near, to_near) = split(there);
        let (from_far, to_far) = split(here);
        let flipping = tokio::spawn(flip_at(before + at, from_near, to_far));
        tokio::spawn(flip_at(usize::MAX, from_far, to_near));
        let (mut one, mut other) = over(near, far, small(Mode::RecordFs), &unhurried()).await;
        // What follows can fail at any step; what is read must be what was written.
        drop(one.write_all(b"first").await);
        let _ = one.rekey().await;
        drop(one.write_all(&pattern(0, 700)).await);
        drop(one.shutdown().await);
        let mut found = Vec::new();
        let result = other.read_to_end(&mut found).await;
        let expected = [b"first".as_slice(), &pattern(0, 700)].concat();
        assert!(expected.starts_with(&found), "something wrong was read at {at}");
        // The end of the direction comes before the last bytes on the pipe.
        assert!(result.is_err() || found == expected, "an altered byte was taken at {at}");
        drop(other.shutdown().await);
        let ended = other.control().ended().await;
        assert!(found_out(&ended), "byte {at}: {ended:?}");
        if matches!(ended, Ended::Session(Reason::OpenFailed { .. })) {
            wrong += 1;
        }
        let is_typed =
            |error: &std::io::Error| error.get_ref().is_some_and(|error| error.is::<Ended>());
        assert!(result.as_ref().err().is_none_or(is_typed));
        drop((one, other));
        assert!(flipping.await.unwrap(), "nothing was altered at {at}");
    }
    assert!(wrong > 250, "most are found by the seal: {wrong}");
}

#[tokio::test(start_paused = true)]
async fn t07_closed_or_cut_at_any_moment_of_crossing_rounds_both_ends_end_and_nothing_panics() {
    // Every byte of a pipe takes 4 ms, so within 20 ms there is any prefix of a crossing.
    for half_ms in 0..80 {
        for drop_it in [true, false] {
            let (mut one, other) =
                distant(Duration::from_millis(4), small(Mode::RecordFs), &unhurried()).await;
            let tickets = [
                one.control().request_rekey(Freshness::Fresh),
                other.control().request_rekey(Freshness::Any),
            ];
            one.write_all(&pattern(0, 500)).await.unwrap();
            one.flush().await.unwrap();
            sleep(Duration::from_micros(500 * half_ms)).await;
            let controls = [one.control().clone(), other.control().clone()];
            let reading = tokio::spawn(async move {
                let mut other = other;
                let mut found = Vec::new();
                drop(other.read_to_end(&mut found).await);
                found
            });
            if drop_it {
                drop(one);
            } else {
                one.control().close(2_000);
            }
            let found = reading.await.unwrap();
            // All data that was sealed before the CLOSE has arrived.
            assert_eq!(found, pattern(0, 500));
            for control in &controls {
                let ended = timeout(Duration::from_secs(10), control.ended()).await.unwrap();
                assert!(
                    matches!(
                        ended,
                        Ended::Closed | Ended::ClosedHere(2_000) | Ended::ClosedByPeer(0 | 2_000)
                    ),
                    "{ended:?}"
                );
            }
            for ticket in tickets {
                let _ = timeout(Duration::from_secs(10), ticket.done()).await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t20_a_clock_that_jumps_by_an_hour_ends_no_stream_that_can_go_on() {
    let (mut one, mut other) =
        distant(Duration::from_millis(5), small(Mode::RecordFs), &unhurried()).await;
    for round in 0..4 {
        // More than the credit waits to be read, and a round is under way.
        let writing = tokio::spawn(async move {
            one.write_all(&pattern(0, 100_000)).await.unwrap();
            one
        });
        let request = other.control().request_rekey(Freshness::Fresh);
        sleep(Duration::from_millis(7 * round)).await;
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let mut found = vec![0; 100_000];
        other.read_exact(&mut found).await.unwrap();
        assert_eq!(found, pattern(0, 100_000));
        assert!(request.done().await.is_ok());
        one = writing.await.unwrap();
    }
    assert_eq!((one.status().ended, other.status().ended), (None, None));
}

#[test]
fn a_runtime_that_goes_away_takes_no_waiter_with_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let first = runtime();
    let (mut one, _other) = first.block_on(pair(Agreed::default(), &Options::default()));
    drop(first);
    runtime().block_on(async move {
        assert_eq!(one.rekey().await, Err(Ended::DriverGone));
        assert_eq!(one.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(one.write_all(b"x").await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(one.control().ended().await, Ended::DriverGone);
    });
}

/// The messages of a peer that has the keys and does not keep to what a stream is.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_one_of_a_stream_ends_it() {
    let long = [&[0][..], &[5; 5_000]].concat();
    let last = [&[1][..], &[5; 5_000]].concat();
    let bad: [(&[&[u8]], usize); 6] = [
        (&[&[2, 7]], 0),
        (&[&[0]], 0),
        (&[&[0, 7], &[0]], 1),
        (&[&long, &[0xff; 3]], 5_000),
        (&[&[1], &[0, 7]], 0),
        (&[&last, &[1]], 5_000),
    ];
    for (messages, readable) in bad {
        let (near, mut far) = duplex(64 << 10);
        let (one, other) = (node(1), node(2));
        let agreed = small(Mode::RecordFs);
        let dial = connect(near, Arc::clone(&one), id(&other), terms(agreed), unhurried());
        let answer = handshake::answer(&mut far, &other, |_| true, terms(agreed), 1_000);
        let (stream, made) = tokio::join!(dial, answer);
        let (mut stream, made) = (stream.unwrap(), made.unwrap());
        let crypto = Hybrid::new(other, made.peer.0).unwrap();
        let now = Moment(0);
        let mut peer =
            Session::new(crypto, made.agreed, Limits::default(), made.keys, now).unwrap();
        let mut bytes = Vec::new();
        for message in messages {
            peer.send(message.to_vec()).unwrap();
            peer.poll_transmit(now, &mut bytes, usize::MAX);
        }
        far.write_all(&bytes).await.unwrap();
        assert_eq!(stream.control().ended().await, Ended::BadMessage, "{messages:?}");
        let mut found = Vec::new();
        let read = stream.read_to_end(&mut found).await;
        assert!(found.len() <= readable && (read.is_err() || messages[0][0] == 1), "{messages:?}");
    }
}
