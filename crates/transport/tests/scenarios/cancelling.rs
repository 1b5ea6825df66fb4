//! T06: user futures that are dropped at any moment lose nothing and change nothing.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use proctor_ratchet::{Agreed, Freshness, Mode};
use proctor_transport::{Options, SecureStream};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

use crate::lab::{distant, pattern, small, unhurried};

/// Polls a future at least once and drops it if it is not ready after `ms`.
async fn patiently<F: Future>(future: F, ms: u8) -> Option<F::Output> {
    timeout(Duration::from_millis(ms.into()), future).await.ok()
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Write { side: bool, size: u16, ms: u8 },
    Read { side: bool, size: u16, ms: u8 },
    Flush { side: bool, ms: u8 },
    Rekey { side: bool, fresh: bool, ms: u8 },
    Wait { ms: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let (side, ms) = (any::<bool>(), 0_u8..9);
    prop_oneof![
        (side, 1_u16..6_000, ms.clone()).prop_map(|(side, size, ms)| Op::Write { side, size, ms }),
        (side, 1_u16..6_000, ms.clone()).prop_map(|(side, size, ms)| Op::Read { side, size, ms }),
        (side, ms.clone()).prop_map(|(side, ms)| Op::Flush { side, ms }),
        (side, any::<bool>(), ms).prop_map(|(side, fresh, ms)| Op::Rekey { side, fresh, ms }),
        (0_u8..6).prop_map(|ms| Op::Wait { ms }),
    ]
}

/// What one direction has carried so far.
#[derive(Default)]
struct Carried {
    written: usize,
    read: usize,
}

/// Does one thing, perhaps only in part, and counts what it says it did.
async fn play(ends: &mut [SecureStream; 2], carried: &mut [Carried; 2], op: Op) {
    match op {
        Op::Write { side, size, ms } => {
            let (at, way) = (usize::from(side), &mut carried[usize::from(side)]);
            let bytes = pattern(way.written, size.into());
            let end = &mut ends[at];
            let write = poll_fn(|cx| Pin::new(&mut *end).poll_write(cx, &bytes));
            if let Some(count) = patiently(write, ms).await {
                way.written += count.unwrap();
            }
        }
        Op::Read { side, size, ms } => {
            let (at, way) = (usize::from(side), &mut carried[1 - usize::from(side)]);
            let (end, mut buffer) = (&mut ends[at], vec![0; size.into()]);
            let read = poll_fn(|cx| {
                let mut buffer = ReadBuf::new(&mut buffer);
                Pin::new(&mut *end).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            });
            if let Some(count) = patiently(read, ms).await {
                let count = count.unwrap();
                assert_eq!(buffer[..count], pattern(way.read, count), "lost or twice");
                way.read += count;
            }
        }
        Op::Flush { side, ms } => {
            patiently(ends[usize::from(side)].flush(), ms).await.transpose().unwrap();
        }
        Op::Rekey { side, fresh, ms } => {
            let freshness = if fresh { Freshness::Fresh } else { Freshness::Any };
            let request = ends[usize::from(side)].control().request_rekey(freshness);
            patiently(request.done(), ms).await.transpose().unwrap();
        }
        Op::Wait { ms } => sleep(Duration::from_millis(ms.into())).await,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn t06_whatever_is_dropped_half_way_all_arrives_once_and_every_round_completes(
        ops in proptest::collection::vec(op(), 1..60),
        fresh_epoch in any::<bool>(),
    ) {
        runtime().block_on(async {
            let mode = if fresh_epoch { Mode::FreshEpoch } else { Mode::RecordFs };
            let (one, other) =
                distant(Duration::from_millis(2), small(mode), &unhurried()).await;
            let (mut ends, mut carried) = ([one, other], <[Carried; 2]>::default());
            for op in ops {
                play(&mut ends, &mut carried, op).await;
            }
            // Now to the end: each direction carries what was taken, and nothing else.
            let controls = [ends[0].control().clone(), ends[1].control().clone()];
            let mut tasks = Vec::new();
            for (side, mut end) in ends.into_iter().enumerate() {
                let (from, to) = (carried[1 - side].read, carried[1 - side].written);
                tasks.push(tokio::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(&mut end);
                    let mut rest = Vec::new();
                    let (read, shut) =
                        tokio::join!(reader.read_to_end(&mut rest), writer.shutdown());
                    read.unwrap();
                    shut.unwrap();
                    assert!(rest == pattern(from, to - from), "lost, twice or altered");
                }));
            }
            for task in tasks {
                timeout(Duration::from_secs(60), task).await.expect("a stall").unwrap();
            }
            for control in controls {
                prop_assert_eq!(control.ended().await, proctor_transport::Ended::Closed);
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn t06_a_caller_that_gives_up_a_round_changes_nothing_of_it() {
    let delay = Duration::from_millis(5);
    let (one, other) = distant(delay, Agreed::default(), &unhurried()).await;
    // The caller goes away before INIT, while RESP is under way, and after: the round completes.
    for (epoch, patience) in [(1, 0), (2, 3), (3, 7), (4, 20)] {
        let begun = Instant::now();
        let given_up = timeout(Duration::from_millis(patience), one.rekey()).await;
        assert_eq!(given_up.is_err(), patience < 10);
        sleep((begun + 4 * delay) - Instant::now()).await;
        assert_eq!((one.status().epoch, other.status().epoch), (epoch, epoch));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_in_a_select_that_loses_takes_nothing() {
    let (mut one, mut other) =
        distant(Duration::from_millis(1), Agreed::default(), &Options::default()).await;
    let writer = tokio::spawn(async move {
        for number in 0..200_u8 {
            sleep(Duration::from_micros(700)).await;
            one.write_all(&[number]).await.unwrap();
        }
        one.shutdown().await.unwrap();
    });
    let (mut found, mut buffer) = (Vec::new(), [0; 16]);
    loop {
        tokio::select! {
            biased;
            () = sleep(Duration::from_millis(1)) => {}
            count = other.read(&mut buffer) => match count.unwrap() {
                0 => break,
                count => found.extend_from_slice(&buffer[..count]),
            },
        }
    }
    assert_eq!(found, (0..200).collect::<Vec<u8>>());
    writer.await.unwrap();
}
