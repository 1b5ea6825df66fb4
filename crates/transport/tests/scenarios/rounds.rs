//! Rounds: alone, crossing at any lag, asked for in heaps, by many peers, without a reader.

use std::time::Duration;

use proctor_ratchet::{Agreed, Freshness, Mode};
use proctor_transport::{Options, SecureStream};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::lab::{Dice, distant, id, node, pair, small, terms, unhurried};

const RTT: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn t01_a_round_takes_one_round_trip_and_makes_one_epoch_on_both_sides() {
    let (one, other) = distant(RTT / 2, Agreed::default(), &unhurried()).await;
    for number in 1..=100 {
        let (asks, hears) = if number % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let begun = Instant::now();
        assert_eq!(asks.rekey().await, Ok(number));
        // Timers have a resolution of a millisecond.
        assert!(begun.elapsed() <= RTT + Duration::from_millis(2), "{:?}", begun.elapsed());
        // FIN is under way to the other side.
        sleep(RTT).await;
        assert_eq!(hears.status().epoch, number);
    }
}

/// Both ends ask, the second after a lag; gives how long the slower of them waited.
async fn at_once(one: &SecureStream, other: &SecureStream, lag: Duration) -> Duration {
    let asked = |stream: &SecureStream, lag| {
        let control = stream.control().clone();
        async move {
            sleep(lag).await;
            let begun = Instant::now();
            control.request_rekey(Freshness::Any).done().await.unwrap();
            begun.elapsed()
        }
    };
    let (first, second) = tokio::join!(asked(one, Duration::ZERO), asked(other, lag));
    first.max(second)
}

#[tokio::test(start_paused = true)]
async fn t02_simultaneous_rounds_never_stall_whatever_the_lag() {
    let (one, other) = distant(RTT / 2, Agreed::default(), &unhurried()).await;
    let lags = [0, 1, 2, 5, 7, 10, 15, 100, 500].map(Duration::from_millis);
    for round in 0..450 {
        let before = one.status().epoch;
        let waited = at_once(&one, &other, lags[round % lags.len()]).await;
        assert!(waited <= 4 * RTT, "a stall of {waited:?} in round {round}");
        sleep(2 * RTT).await;
        let after = one.status().epoch;
        assert_eq!(after, other.status().epoch);
        assert!(after == before + 1 || after == before + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn t02_a_crossing_is_one_epoch() {
    let (one, other) = distant(RTT / 2, Agreed::default(), &unhurried()).await;
    for epoch in 1..=100 {
        at_once(&one, &other, Duration::ZERO).await;
        sleep(2 * RTT).await;
        assert_eq!((one.status().epoch, other.status().epoch), (epoch, epoch));
    }
}

#[tokio::test(start_paused = true)]
async fn t04_a_heap_of_requests_is_served_by_the_rounds_it_needs() {
    let (one, _other) = distant(RTT / 2, Agreed::default(), &unhurried()).await;
    // All before the first INIT: one round for them all.
    let heap: Vec<_> = (0..64).map(|_| one.control().request_rekey(Freshness::Any)).collect();
    for request in &heap {
        assert_eq!(request.done().await, Ok(1));
    }
    // In the middle of a round: any will do, or only a new one.
    let first = one.control().request_rekey(Freshness::Any);
    sleep(RTT / 2).await;
    assert!(one.status().rekeying);
    let any = one.control().request_rekey(Freshness::Any);
    let fresh: Vec<_> = (0..64).map(|_| one.control().request_rekey(Freshness::Fresh)).collect();
    assert_eq!(first.done().await, Ok(2));
    assert_eq!(any.done().await, Ok(2));
    assert!(fresh.iter().all(|request| !request.is_done()));
    for request in &fresh {
        assert_eq!(request.done().await, Ok(3));
    }
    assert_eq!(one.status().epoch, 3);
}

#[tokio::test(start_paused = true)]
async fn t11_an_application_that_never_reads_stops_no_round_and_costs_no_more_than_the_credit() {
    let agreed = small(Mode::RecordFs);
    let options = Options { stall_ms: u64::MAX, ..unhurried() };
    let (mut one, mut other) = distant(RTT / 2, agreed, &options).await;
    for stream in [&mut one, &mut other] {
        // Until its own buffers are full.
        while timeout(4 * RTT, stream.write_all(&[1; 1000])).await.is_ok() {}
    }
    for epoch in 1..=20 {
        assert_eq!(one.rekey().await, Ok(2 * epoch - 1));
        assert_eq!(other.rekey().await, Ok(2 * epoch));
        sleep(RTT).await;
    }
    for stream in [&one, &other] {
        let status = stream.status();
        assert!(status.unread <= 16 << 10, "{status:?}");
        assert!(status.unsent <= (256 << 10) + (128 << 10) + 1024, "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn t19_forty_peers_that_rekey_all_the_time_wait_for_nobody() {
    let (mut tasks, mut dice) = (JoinSet::new(), Dice(19));
    for _ in 0..40 {
        let (one, other) = distant(RTT / 2, Agreed::default(), &unhurried()).await;
        let lag = Duration::from_millis(dice.roll(100));
        tasks.spawn(async move {
            let mut worst = Duration::ZERO;
            sleep(lag).await;
            for _ in 0..10 {
                worst = worst.max(at_once(&one, &other, Duration::ZERO).await);
                sleep(Duration::from_millis(100)).await;
            }
            worst
        });
    }
    while let Some(worst) = tasks.join_next().await {
        let worst = worst.unwrap();
        assert!(worst <= 4 * RTT, "a peer waited {worst:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_come_by_themselves_with_use_and_with_age() {
    let (mut one, other) = pair(Agreed::default(), &Options::default()).await;
    one.write_all(b"x").await.unwrap();
    sleep(Duration::from_secs(140)).await;
    assert_eq!(one.status().epoch, 1, "a key in use is renewed after two minutes");
    sleep(Duration::from_secs(3_700)).await;
    assert_eq!(other.status().epoch, 2, "and any key after an hour");
    // A stream is not over because it is old.
    assert_eq!(other.status().ended, None);
}

#[tokio::test(start_paused = true)]
async fn t14_pre_shared_keys_must_be_the_same_under_the_same_name() {
    let psk = |keys: &[&[u8]]| {
        proctor_ratchet::Psk::new(5, keys.iter().map(|key| key.to_vec()).collect())
    };
    // The list ["ab", "c"] is another one than ["a", "bc"].
    for (ours, theirs, same) in [
        ([b"ab".as_slice(), b"c"], [b"ab".as_slice(), b"c"], true),
        ([b"ab".as_slice(), b"c"], [b"a".as_slice(), b"bc"], false),
    ] {
        let (near, far) = tokio::io::duplex(4096);
        let (one, other) = (node(1), node(2));
        let expected = id(&other);
        let near_terms =
            || proctor_transport::Terms { psk: psk(&ours), ..terms(Agreed::default()) };
        let far_terms =
            || proctor_transport::Terms { psk: psk(&theirs), ..terms(Agreed::default()) };
        let (dialed, answered) = tokio::join!(
            proctor_transport::connect(near, one, expected, near_terms(), Options::default()),
            proctor_transport::accept(far, other, |_| true, far_terms(), Options::default()),
        );
        let (dialed, _answered) = (dialed.unwrap(), answered.unwrap());
        assert_eq!(dialed.rekey().await.is_ok(), same);
    }
}
