//! Streams over simulated TCP: delays that vary, links that stand still or break, hosts that crash.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use proctor_ratchet::{Freshness, Mode, Reason};
use proctor_transport::{Ended, Options, SecureStream, accept, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

use crate::lab::{Dice, id, node, pattern, read_pattern, small, terms, unhurried, write_pattern};

pub(crate) const PORT: u16 = 9000;

/// A world in which messages take up to `latency_ms` each, by a seed.
pub(crate) fn world<'a>(seed: u64, latency_ms: u64) -> Sim<'a> {
    world_of(seed, 1..=latency_ms)
}

/// A world in which messages take at least and at most so many milliseconds each.
pub(crate) fn world_of<'a>(seed: u64, latency_ms: RangeInclusive<u64>) -> Sim<'a> {
    Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(4_000))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(*latency_ms.start()))
        .max_message_latency(Duration::from_millis(*latency_ms.end()))
        .tcp_capacity(4096)
        .build()
}

/// The host `far` takes every connection and hands its stream to `serve`.
fn far_host<F>(sim: &mut Sim<'_>, serve: impl Fn(SecureStream) -> F + Copy + 'static)
where
    F: Future<Output = ()> + 'static,
{
    far_host_in(Mode::RecordFs, sim, serve);
}

pub(crate) fn far_host_in<F>(
    mode: Mode,
    sim: &mut Sim<'_>,
    serve: impl Fn(SecureStream) -> F + Copy + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    sim.host("far", move || async move {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            let made = accept(socket, node(2), |_| true, terms(small(mode)), unhurried()).await;
            if let Ok(stream) = made {
                tokio::task::spawn_local(serve(stream));
            }
        }
    });
}

async fn dial() -> SecureStream {
    dial_with(Mode::RecordFs, unhurried()).await
}

pub(crate) async fn dial_with(mode: Mode, options: Options) -> SecureStream {
    let socket = TcpStream::connect(("far", PORT)).await.unwrap();
    connect(socket, node(1), id(&node(2)), terms(small(mode)), options).await.unwrap()
}

/// Sends back what arrives, and asks for rounds of its own all the time.
pub(crate) async fn echo(stream: SecureStream) {
    let control = stream.control().clone();
    let (mut from, mut to) = stream.into_split();
    let asking = async {
        while control.request_rekey(Freshness::Any).done().await.is_ok() {
            sleep(Duration::from_millis(3)).await;
        }
    };
    let echoing = async {
        drop(tokio::io::copy(&mut from, &mut to).await);
        drop(to.shutdown().await);
    };
    tokio::join!(asking, echoing);
}

/// Takes everything and says nothing.
pub(crate) async fn sink(mut stream: SecureStream) {
    drop(stream.read_to_end(&mut Vec::new()).await);
}

#[test]
fn t02_and_t09_over_tcp_rounds_of_both_ends_and_data_never_stall() {
    for seed in 0..40 {
        let latency_ms = 2 + 7 * (seed % 8);
        let mut sim = world(seed, latency_ms);
        far_host(&mut sim, echo);
        sim.client("near", async move {
            let stream = dial().await;
            let control = stream.control().clone();
            let (from, to) = stream.into_split();
            let writing = write_pattern(to, 400_000, 3_333);
            let reading = tokio::spawn(read_pattern(from, 400_000));
            let mut dice = Dice(seed);
            // A round trip there and back, one more if a round is under way, and what is ahead of
            // it in the pipe.
            let limit = Duration::from_millis(8 * latency_ms + 20);
            let mut rounds = 0;
            while !reading.is_finished() {
                let begun = Instant::now();
                if control.request_rekey(Freshness::Any).done().await.is_err() {
                    break;
                }
                rounds += 1;
                assert!(begun.elapsed() <= limit, "seed {seed}: {:?}", begun.elapsed());
                sleep(Duration::from_millis(dice.roll(2 * latency_ms))).await;
            }
            reading.await?;
            writing.await?;
            assert!(rounds >= 2, "seed {seed}: {rounds} rounds");
            assert_eq!(control.status().slow, 0);
            assert_eq!(control.ended().await, Ended::Closed);
            Ok(())
        });
        sim.run().unwrap();
    }
}

#[test]
fn t18_a_link_that_stands_still_for_ten_seconds_is_reported_and_forgiven() {
    for seed in 0..10 {
        let mut sim = world(seed, 20);
        far_host(&mut sim, echo);
        sim.client("near", async move {
            let mut stream = dial().await;
            sleep(Duration::from_millis(seed * 7)).await;
            turmoil::hold("near", "far");
            let request = stream.control().request_rekey(Freshness::Fresh);
            stream.write_all(b"are you there?").await?;
            sleep(Duration::from_secs(10)).await;
            assert!(!request.is_done());
            assert!(stream.status().slow > 0, "a slow round is reported after two seconds");
            turmoil::release("near", "far");
            assert!(request.done().await.is_ok());
            let mut found = [0; 14];
            stream.read_exact(&mut found).await?;
            assert_eq!(&found, b"are you there?");
            Ok(())
        });
        sim.run().unwrap();
    }
}

#[test]
fn t18_a_link_that_breaks_ends_the_stream_by_a_deadline_and_a_new_one_shares_nothing() {
    for seed in 0..10 {
        let mut sim = world(seed, 20);
        far_host(&mut sim, echo);
        sim.client("near", async move {
            let stream = dial().await;
            sleep(Duration::from_millis(seed * 5)).await;
            let request = stream.control().request_rekey(Freshness::Fresh);
            turmoil::partition("near", "far");
            let begun = Instant::now();
            let ended = request.done().await.unwrap_err();
            assert!(matches!(ended, Ended::Session(Reason::RekeyTimeout(_))), "{ended:?}");
            // Two seconds until it is slow, and 28 more.
            assert!(begun.elapsed() <= Duration::from_secs(31), "{:?}", begun.elapsed());
            turmoil::repair("near", "far");
            let mut stream = dial().await;
            assert_eq!(stream.status().ended, None);
            stream.write_all(b"again").await?;
            let mut found = [0; 5];
            stream.read_exact(&mut found).await?;
            assert_eq!(&found, b"again");
            Ok(())
        });
        sim.run().unwrap();
    }
}

#[test]
fn t18_an_idle_stream_over_a_broken_link_is_left_after_a_minute() {
    let mut sim = world(1, 20);
    far_host(&mut sim, sink);
    sim.client("near", async {
        let stream = dial().await;
        turmoil::partition("near", "far");
        let ended = timeout(Duration::from_secs(90), stream.control().ended()).await?;
        assert_eq!(ended, Ended::Session(Reason::PeerSilent));
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn t17_a_host_that_crashes_and_returns_is_dialled_again() {
    for seed in 0..20 {
        let mut sim = world(seed, 20);
        far_host(&mut sim, echo);
        let crashed = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = Arc::clone(&crashed);
        sim.client("near", async move {
            let mut stream = dial().await;
            let mut at = 0;
            // Something is always under way when it happens.
            let error = loop {
                let _asked = stream.control().request_rekey(Freshness::Any);
                if let Err(error) = stream.write_all(&pattern(at, 100)).await {
                    break error;
                }
                let mut found = [0; 100];
                match timeout(Duration::from_secs(100), stream.read_exact(&mut found)).await? {
                    Ok(_) => assert_eq!(found.as_slice(), pattern(at, 100)),
                    Err(error) => break error,
                }
                at += 100;
            };
            assert!(error.get_ref().is_some_and(|error| error.is::<Ended>()), "{error:?}");
            assert!(told.load(std::sync::atomic::Ordering::Relaxed), "nothing had happened");
            let mut stream = loop {
                if let Ok(socket) = TcpStream::connect(("far", PORT)).await {
                    let (one, other) = (node(1), id(&node(2)));
                    let options = Options::default();
                    let made =
                        connect(socket, one, other, terms(small(Mode::RecordFs)), options).await;
                    if let Ok(stream) = made {
                        break stream;
                    }
                }
                sleep(Duration::from_millis(100)).await;
            };
            stream.write_all(b"back").await?;
            let mut found = [0; 4];
            stream.read_exact(&mut found).await?;
            assert_eq!(&found, b"back");
            Ok(())
        });
        let at = Duration::from_millis(300 + 13 * seed);
        while sim.elapsed() < at {
            assert!(!sim.step().unwrap());
        }
        crashed.store(true, std::sync::atomic::Ordering::Relaxed);
        sim.crash("far");
        sim.bounce("far");
        sim.run().unwrap();
    }
}
