//! Moments over simulated TCP: every lag, waiters that leave, single bytes, clocks that jump.
//!
//! T03, T05, T06, T12 and T20 of `docs/ratchet.md`, section 14.

use std::cell::RefCell;
use std::time::Duration;

use proctor_ratchet::{Freshness, Mode};
use proctor_transport::{Ended, SecureStream, connect};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, advance, sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use crate::lab::{id, node, pattern, small, terms, unhurried};
use crate::simulated_tcp::{PORT, dial_with, far_host_in, sink, world, world_of};

/// How long a message is under way where that does not vary, in ms, which is what the simulation can
/// tell apart.
const DELAY_MS: u64 = 3;
/// A lag beyond this changes nothing: a round is over.
const LAGS_MS: u64 = 4 * DELAY_MS + 2;
/// Between two cases: all three requests, their rounds, and silence.
const CASE_MS: u64 = 120;
/// When the first case begins: after the handshake.
const BEGIN_MS: u64 = 1_000;

thread_local! {
    /// The epoch of the far end after each case.
    static FAR_EPOCHS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Sleeps until a moment of the whole simulation, which both hosts know.
async fn until(at_ms: u64) {
    let now = turmoil::sim_elapsed().expect("a host of a simulation");
    sleep(Duration::from_millis(at_ms).saturating_sub(now)).await;
}

/// The lags, against the first request of the near end, of one of the far end and of a second one of
/// the near end.
fn lags() -> impl Iterator<Item = (u64, u64, u64)> {
    let both = (0..LAGS_MS).flat_map(|far| (0..LAGS_MS).map(move |again| (far, again)));
    (BEGIN_MS..)
        .step_by(usize::try_from(CASE_MS).unwrap())
        .zip(both)
        .map(|(at_ms, (far, again))| (at_ms, far, again))
}

/// Asks when it is due and returns once the round is there, which must be soon.
async fn ask(stream: &SecureStream, at_ms: u64, freshness: Freshness) {
    until(at_ms).await;
    let begun = Instant::now();
    let done = stream.control().request_rekey(freshness).done().await;
    // The rest of a round under way and one more, each a round trip and a half, by ticks of a millisecond.
    let limit = Duration::from_millis(2 * (3 * DELAY_MS + 3));
    assert!(done.is_ok() && begun.elapsed() <= limit, "at {at_ms}: {:?}", begun.elapsed());
}

async fn ask_by_lag(stream: SecureStream) {
    for (at_ms, far, _) in lags() {
        ask(&stream, at_ms + far, Freshness::Any).await;
        until(at_ms + CASE_MS - 1).await;
        FAR_EPOCHS.with_borrow_mut(|epochs| epochs.push(stream.status().epoch));
    }
}

#[test]
fn t03_over_tcp_every_lag_of_three_requests_against_each_other_ends_in_one_epoch() {
    let mut sim = world_of(3, DELAY_MS..=DELAY_MS);
    far_host_in(Mode::RecordFs, &mut sim, ask_by_lag);
    sim.client("near", async {
        let stream = dial_with(Mode::RecordFs, unhurried()).await;
        for (case, (at_ms, _, again)) in lags().enumerate() {
            let before = stream.status().epoch;
            tokio::join!(
                ask(&stream, at_ms, Freshness::Any),
                ask(&stream, at_ms + again, Freshness::Fresh),
            );
            until(at_ms + CASE_MS - 1).await;
            let epoch = stream.status().epoch;
            // A crossing is one epoch, a fresh one comes after it, and at most one by the lag of the peer.
            assert!((before + 1..=before + 3).contains(&epoch), "{before}, {epoch} in case {case}");
            sleep(Duration::from_millis(1)).await;
            let far = FAR_EPOCHS.with_borrow(|epochs| epochs.get(case).copied());
            assert_eq!(far, Some(epoch), "case {case}");
        }
        assert_eq!((stream.status().slow, stream.status().ended), (0, None));
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn t05_over_tcp_a_round_that_is_over_before_anybody_waits_for_it_is_still_seen() {
    for seed in 0..10 {
        let mut sim = world(seed, 12);
        far_host_in(Mode::RecordFs, &mut sim, sink);
        sim.client("near", async {
            let stream = dial_with(Mode::RecordFs, unhurried()).await;
            let request = stream.control().request_rekey(Freshness::Any);
            sleep(Duration::from_millis(200)).await;
            assert!(request.is_done());
            let begun = Instant::now();
            assert_eq!(request.done().await, Ok(1));
            assert_eq!(request.done().await, Ok(1));
            // One who comes after all is over sees the same.
            let late = request.clone();
            drop(request);
            assert_eq!(late.done().await, Ok(1));
            assert_eq!(stream.control().clone().status().epoch, 1);
            assert_eq!(begun.elapsed(), Duration::ZERO);
            Ok(())
        });
        sim.run().unwrap();
    }
}

/// Sends back what arrives.
async fn mirror(stream: SecureStream) {
    let (mut from, mut to) = stream.into_split();
    drop(tokio::io::copy(&mut from, &mut to).await);
    drop(to.shutdown().await);
}

#[test]
fn t06_over_tcp_waiters_that_leave_at_any_moment_change_no_round_and_lose_no_byte() {
    let patience = Duration::from_millis;
    let mut sim = world(6, 12);
    far_host_in(Mode::RecordFs, &mut sim, mirror);
    sim.client("near", async move {
        let mut stream = dial_with(Mode::RecordFs, unhurried()).await;
        let (mut found, mut given_up) = (Vec::new(), 0);
        for moment in 0..60 {
            let round = timeout(patience(moment % 12), stream.rekey()).await;
            given_up += u64::from(round.is_err());
            stream.write_all(&pattern(500 * moment as usize, 500)).await?;
            // A flush and a read that are dropped took nothing with them.
            drop(timeout(patience(moment % 7), stream.flush()).await);
            let mut buffer = [0; 300];
            if let Ok(count) = timeout(patience(moment % 23), stream.read(&mut buffer)).await {
                found.extend_from_slice(&buffer[..count?]);
            }
            sleep(patience(100)).await;
            // As if the one who asked had waited.
            assert_eq!(stream.status().epoch, moment + 1);
        }
        assert!((10..60).contains(&given_up), "{given_up} of 60");
        stream.shutdown().await?;
        stream.read_to_end(&mut found).await?;
        assert!(found == pattern(0, 60 * 500));
        Ok(())
    });
    sim.run().unwrap();
}

/// Hands on one byte at a time, each in a segment of its own.
async fn byte_by_byte(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut byte = [0];
    while let Ok(1) = from.read(&mut byte).await {
        if to.write_all(&byte).await.is_err() {
            return;
        }
    }
    drop(to.shutdown().await);
}

#[test]
fn t12_over_tcp_a_connection_that_gives_one_byte_at_a_time_is_a_connection() {
    let mut sim = world(12, 12);
    far_host_in(Mode::RecordFs, &mut sim, mirror);
    sim.host("middle", || async {
        let (near, _) = TcpListener::bind(("0.0.0.0", PORT)).await?.accept().await?;
        let (from_near, to_near) = near.into_split();
        let (from_far, to_far) = TcpStream::connect(("far", PORT)).await?.into_split();
        tokio::join!(byte_by_byte(from_near, to_far), byte_by_byte(from_far, to_near));
        Ok(())
    });
    sim.client("near", async {
        let socket = TcpStream::connect(("middle", PORT)).await?;
        let terms = terms(small(Mode::RecordFs));
        let made = connect(socket, node(1), id(&node(2)), terms, unhurried()).await;
        let mut stream = made.unwrap();
        for round in 1..=5 {
            let request = stream.control().request_rekey(Freshness::Any);
            stream.write_all(&pattern(0, 1_500)).await?;
            let mut found = vec![0; 1_500];
            stream.read_exact(&mut found).await?;
            assert!(found == pattern(0, 1_500));
            assert_eq!(request.done().await, Ok(round));
        }
        stream.shutdown().await?;
        assert_eq!(stream.control().ended().await, Ended::Closed);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn t20_over_tcp_a_clock_of_one_host_that_jumps_by_an_hour_ends_no_stream_that_can_go_on() {
    for jump in [Duration::from_secs(10), Duration::from_secs(3_600)] {
        let mut sim = world(20, 12);
        far_host_in(Mode::RecordFs, &mut sim, mirror);
        sim.client("near", async move {
            let stream = dial_with(Mode::RecordFs, unhurried()).await;
            let control = stream.control().clone();
            let (mut from, mut to) = stream.into_split();
            // More than the credit is under way all the time, and so is a round.
            let count = 400_000;
            let writing = tokio::spawn(async move {
                to.write_all(&pattern(0, count)).await.unwrap();
                to.shutdown().await.unwrap();
            });
            let reading = tokio::spawn(async move {
                let mut found = Vec::new();
                from.read_to_end(&mut found).await.unwrap();
                found
            });
            for moment in 0..12 {
                let request = control.request_rekey(Freshness::Fresh);
                sleep(Duration::from_millis(3 * moment)).await;
                // All timers of this host are due at once, and late; the other host's clock stands.
                advance(jump).await;
                assert!(request.done().await.is_ok(), "moment {moment}");
            }
            assert!(reading.await? == pattern(0, count));
            writing.await?;
            Ok(())
        });
        sim.run().unwrap();
    }
}
