//! The six fixes of seed 004, Fix 7, the torn snapshot and the double loser, on streams.
//!
//! `proctor-ratchet` has the same tests on the state machine, where the exact interleaving can be
//! built. Here they are what a user of a stream would have seen.

use std::time::Duration;

use proctor_ratchet::{Agreed, Freshness};
use proctor_transport::{Ended, SecureStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::lab::{Dice, distant, pair, unhurried};

const DELAY: Duration = Duration::from_millis(5);

async fn streams() -> (SecureStream, SecureStream) {
    distant(DELAY, Agreed::default(), &unhurried()).await
}

/// The listener of the reference was registered after its message was sent; a fast round told
/// nobody. Here the answer is a level: who asks after the round gets it too, and again.
#[tokio::test(start_paused = true)]
async fn fix_1_and_t05_a_round_that_is_over_before_anybody_waits_for_it_is_still_seen() {
    let (one, _other) = streams().await;
    let request = one.control().request_rekey(Freshness::Any);
    sleep(10 * DELAY).await;
    assert!(request.is_done());
    let begun = Instant::now();
    assert_eq!(request.done().await, Ok(1));
    assert_eq!(request.done().await, Ok(1));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // A second waiter needs no slot of its own.
    let copy = request.clone();
    drop(request);
    assert_eq!(copy.done().await, Ok(1));
}

/// `try_join!` cancelled a callback, and with it the protocol in it. Here a caller that fails or
/// goes away is a caller less, and no round or byte less.
#[tokio::test(start_paused = true)]
async fn fix_2_a_caller_that_fails_cancels_neither_its_round_nor_its_data() {
    let (mut one, mut other) = streams().await;
    let control = one.control().clone();
    let callback = async {
        one.write_all(b"half a conversation").await.unwrap();
        let failed: Result<(), &str> = Err("the callback failed");
        failed
    };
    let result = tokio::try_join!(
        async { control.request_rekey(Freshness::Fresh).done().await.map_err(|_| "no round") },
        callback
    );
    assert_eq!(result, Err("the callback failed"));
    let mut found = [0; 19];
    other.read_exact(&mut found).await.unwrap();
    assert_eq!(&found, b"half a conversation");
    sleep(10 * DELAY).await;
    assert_eq!((one.status().epoch, other.status().epoch), (1, 1));
}

/// The teardown of one thing expected another to be there still, and panicked. Here everything
/// that is asked after the end has an answer, in any order of teardown.
#[tokio::test(start_paused = true)]
async fn fix_3_whatever_is_asked_after_the_end_is_answered() {
    for order in 0..4 {
        let (one, other) = streams().await;
        let controls = [one.control().clone(), other.control().clone()];
        let requests = controls.each_ref().map(|control| control.request_rekey(Freshness::Fresh));
        match order {
            0 => drop((one, other)),
            1 => drop((other, one)),
            2 => {
                controls[0].close(1_024);
                drop(other);
                drop(one);
            }
            _ => {
                controls[0].close(1_024);
                controls[1].close(1_025);
                let (read, write) = one.into_split();
                drop((write, other, read));
            }
        }
        for (control, request) in controls.iter().zip(requests) {
            let ended = control.ended().await;
            assert!(!matches!(ended, Ended::DriverGone | Ended::Session(_)), "{ended:?}");
            let _ = request.done().await;
            control.close(3_000);
            assert_eq!(control.status().ended, Some(ended));
            assert_eq!(control.request_rekey(Freshness::Any).done().await, Err(ended));
        }
    }
}

/// Fixes 5 to 7 and the double loser: messages of superseded attempts met states that could only
/// guess what they were. Here both ends ask at every lag of each other, again and again, and the
/// next round after each crossing is answered at once.
#[tokio::test(start_paused = true)]
async fn fixes_5_6_7_and_the_double_loser_a_crossing_leaves_nothing_behind_for_the_next_round() {
    let (one, other) = streams().await;
    for lag_ms in (0..25).cycle().take(200) {
        let second = other.control().clone();
        let asked = tokio::spawn(async move {
            sleep(Duration::from_millis(lag_ms)).await;
            second.request_rekey(Freshness::Any).done().await
        });
        assert!(one.control().request_rekey(Freshness::Any).done().await.is_ok());
        assert!(asked.await.unwrap().is_ok());
        // Whoever lost asks next: the reference reused what its lost attempt had left.
        for stream in [&other, &one] {
            let begun = Instant::now();
            assert!(stream.rekey().await.is_ok());
            assert!(begun.elapsed() <= 8 * DELAY, "a stall of {:?}", begun.elapsed());
        }
        sleep(4 * DELAY).await;
        assert_eq!(one.status().epoch, other.status().epoch);
    }
}

/// D1 of the dossier, found in the reference after all its fixes: a request that captured one
/// version and was sent under another was skipped as stale, and nobody answered. Here requests
/// pour in around the moments at which rounds complete, and each is answered within two rounds.
#[tokio::test(start_paused = true)]
async fn d1_a_request_around_the_completion_of_a_round_is_never_torn() {
    let (one, other) = streams().await;
    let mut dice = Dice(1);
    let mut waiting = Vec::new();
    for _ in 0..2_000 {
        let stream = if dice.roll(2) == 0 { &one } else { &other };
        let freshness = if dice.roll(2) == 0 { Freshness::Any } else { Freshness::Fresh };
        let request = stream.control().request_rekey(freshness);
        let begun = Instant::now();
        waiting.push(tokio::spawn(async move {
            assert!(request.done().await.is_ok());
            begun.elapsed()
        }));
        sleep(Duration::from_micros(dice.roll(3_000))).await;
    }
    for task in waiting {
        let waited = task.await.unwrap();
        assert!(waited <= 10 * DELAY, "a stall of {waited:?}");
    }
    assert_eq!(one.rekey().await.unwrap().abs_diff(other.status().epoch), 1);
}

/// Completion is what both ends can be seen to agree on: data after a round goes under its keys.
#[tokio::test(start_paused = true)]
async fn a_completed_round_has_been_completed_by_both() {
    let (mut one, mut other) = pair(Agreed::default(), &unhurried()).await;
    for epoch in 1..=50 {
        let (mine, theirs) = tokio::join!(
            async { one.control().request_rekey(Freshness::Any).done().await },
            async { other.control().request_rekey(Freshness::Any).done().await },
        );
        assert_eq!((mine, theirs), (Ok(epoch), Ok(epoch)));
        one.write_all(b"x").await.unwrap();
        assert_eq!(other.read(&mut [0; 8]).await.unwrap(), 1);
    }
}
