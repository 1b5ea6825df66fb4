//! The scenarios of the duplex pipes again, over simulated TCP with delays that vary.

use std::cell::RefCell;
use std::time::Duration;

use proctor_ratchet::{Freshness, Limits, Mode};
use proctor_transport::{Ended, Options, SecureStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

use crate::lab::{Dice, pattern, unhurried};
use crate::simulated_tcp::{dial_with, echo, far_host_in, sink, world};

/// The longest that a message is under way, in ms.
const LATENCY_MS: u64 = 12;
/// A round trip there and back behind another one, and the ticks of the simulation.
const PATIENCE: Duration = Duration::from_millis(8 * LATENCY_MS + 20);

thread_local! {
    /// How streams ended at the far host, which has the thread of the simulation.
    static ENDED: RefCell<Vec<Ended>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn t01_and_t04_over_tcp_requests_are_served_by_the_rounds_they_need() {
    for seed in 0..20 {
        let mut sim = world(seed, LATENCY_MS);
        far_host_in(Mode::RecordFs, &mut sim, sink);
        sim.client("near", async move {
            let stream = dial_with(Mode::RecordFs, unhurried()).await;
            assert_eq!(stream.rekey().await, Ok(1));
            // While that round is under way a fresh one is asked for, often: it is one more.
            let under_way = stream.control().request_rekey(Freshness::Fresh);
            sleep(Duration::from_millis(seed % 7)).await;
            let begun = Instant::now();
            let heap: Vec<_> =
                (0..64).map(|_| stream.control().request_rekey(Freshness::Fresh)).collect();
            assert!(under_way.done().await.is_ok());
            for request in heap {
                assert!(matches!(request.done().await, Ok(2..=3)));
            }
            assert!(begun.elapsed() <= 2 * PATIENCE, "seed {seed}: {:?}", begun.elapsed());
            Ok(())
        });
        sim.run().unwrap();
    }
}

/// Asks for rounds until the end, and notes what that was.
async fn rekey_to_the_end(stream: SecureStream) {
    while stream.control().request_rekey(Freshness::Fresh).done().await.is_ok() {}
    let ended = stream.control().ended().await;
    ENDED.with_borrow_mut(|all| all.push(ended));
}

#[test]
fn t07_over_tcp_closed_at_any_moment_of_crossing_rounds_both_ends_are_told() {
    let mut sim = world(7, LATENCY_MS);
    far_host_in(Mode::RecordFs, &mut sim, rekey_to_the_end);
    sim.client("near", async {
        for at_ms in 0..60 {
            let stream = dial_with(Mode::RecordFs, unhurried()).await;
            let request = stream.control().request_rekey(Freshness::Fresh);
            sleep(Duration::from_millis(at_ms)).await;
            stream.control().close(2_000);
            assert_eq!(stream.control().ended().await, Ended::ClosedHere(2_000));
            assert!(matches!(request.done().await, Ok(_) | Err(Ended::ClosedHere(2_000))));
        }
        // The last of them is still on its way.
        sleep(PATIENCE).await;
        Ok(())
    });
    sim.run().unwrap();
    assert_eq!(ENDED.take(), [Ended::ClosedByPeer(2_000); 60]);
}

/// Sends 50 messages, each after the one before was answered, and asks for rounds now and then.
async fn converse(mut stream: SecureStream, seed: u64, rounds: bool) -> SecureStream {
    let mut dice = Dice(seed);
    for number in 0..50_u64 {
        if rounds && dice.roll(3) == 0 {
            drop(stream.control().request_rekey(Freshness::Fresh));
        }
        let begun = Instant::now();
        stream.write_all(&number.to_le_bytes()).await.unwrap();
        let mut found = [0; 8];
        stream.read_exact(&mut found).await.unwrap();
        assert_eq!(found, number.to_le_bytes());
        assert!(begun.elapsed() <= PATIENCE, "message {number}: {:?}", begun.elapsed());
    }
    stream
}

async fn answer_in_rounds(stream: SecureStream) {
    drop(converse(stream, 11, true).await);
}

async fn answer(stream: SecureStream) {
    drop(converse(stream, 11, false).await);
}

#[test]
fn t10_over_tcp_messages_arrive_in_order_and_none_is_slow_in_every_mode() {
    for seed in 0..12 {
        let mode = [Mode::Throughput, Mode::RecordFs, Mode::FreshEpoch][seed as usize % 3];
        let rounds = mode != Mode::FreshEpoch;
        let mut sim = world(seed, LATENCY_MS);
        if rounds {
            far_host_in(mode, &mut sim, answer_in_rounds);
        } else {
            far_host_in(mode, &mut sim, answer);
        }
        sim.client("near", async move {
            let stream = dial_with(mode, unhurried()).await;
            let stream = converse(stream, seed, rounds).await;
            assert_eq!(stream.status().slow, 0);
            assert!(stream.status().epoch > 10, "{:?}", stream.status());
            Ok(())
        });
        sim.run().unwrap();
    }
}

/// Asks for rounds and reads nothing.
async fn rekey_and_never_read(stream: SecureStream) {
    while stream.control().request_rekey(Freshness::Any).done().await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn t11_over_tcp_an_application_that_never_reads_stops_no_round() {
    for seed in 0..5 {
        let mut sim = world(seed, LATENCY_MS);
        far_host_in(Mode::RecordFs, &mut sim, rekey_and_never_read);
        sim.client("near", async move {
            let options = Options { stall_ms: u64::MAX, ..unhurried() };
            let mut stream = dial_with(Mode::RecordFs, options).await;
            while timeout(2 * PATIENCE, stream.write_all(&[1; 1_000])).await.is_ok() {}
            for _ in 0..20 {
                let begun = Instant::now();
                assert!(stream.rekey().await.is_ok());
                assert!(begun.elapsed() <= PATIENCE, "{:?}", begun.elapsed());
            }
            assert!(stream.status().unsent <= 384 << 10, "{:?}", stream.status());
            Ok(())
        });
        sim.run().unwrap();
    }
}

#[test]
fn t13_over_tcp_a_key_at_its_hard_limit_is_renewed_before_more_is_sent() {
    let mut sim = world(13, LATENCY_MS);
    far_host_in(Mode::RecordFs, &mut sim, echo);
    sim.client("near", async {
        let limits = Limits { records_soft: 8, records_hard: 8, ..unhurried().limits };
        let stream = dial_with(Mode::RecordFs, Options { limits, ..unhurried() }).await;
        let control = stream.control().clone();
        let (mut from, mut to) = stream.into_split();
        let sent = pattern(0, 60 << 10);
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        });
        let mut found = Vec::new();
        from.read_to_end(&mut found).await?;
        writing.await?;
        assert!(found == expected);
        // 1,024 bytes of a message in a record, eight of them in an epoch.
        assert!(control.status().epoch >= 7, "{:?}", control.status());
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn t19_over_tcp_forty_streams_that_rekey_all_the_time_wait_for_nobody() {
    let mut sim = world(19, LATENCY_MS);
    far_host_in(Mode::RecordFs, &mut sim, echo);
    sim.client("near", async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let stream = dial_with(Mode::RecordFs, unhurried()).await;
            tasks.spawn_local(async move {
                for _ in 0..20 {
                    let begun = Instant::now();
                    assert!(stream.rekey().await.is_ok());
                    assert!(begun.elapsed() <= PATIENCE, "{:?}", begun.elapsed());
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done?;
        }
        Ok(())
    });
    sim.run().unwrap();
}
