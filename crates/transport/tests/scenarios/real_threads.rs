//! Simultaneous rekeys over loopback TCP, with real threads and real time.

use std::time::{Duration, Instant};

use proctor_ratchet::{Agreed, Freshness};
use proctor_transport::SecureStream;
use tokio::net::{TcpListener, TcpStream};

use crate::lab::{over, unhurried};

/// Longer than any scheduler lets a ready thread wait. The reference stalls for ten seconds.
const STALL: Duration = Duration::from_secs(1);

async fn loopback() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near.unwrap(), far.unwrap());
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// Both ends ask for a round at once, so often; gives how long each took until both had it.
async fn simultaneous(rounds: u64) -> Vec<Duration> {
    let (near, far) = loopback().await;
    let (one, other) = over(near, far, Agreed::default(), &unhurried()).await;
    let mut took = Vec::new();
    for epoch in 1..=rounds {
        let begun = Instant::now();
        let ask = |stream: &SecureStream| {
            let control = stream.control().clone();
            // A task of its own, so that the two ends may run on two threads.
            tokio::spawn(async move { control.request_rekey(Freshness::Any).done().await })
        };
        let (mine, theirs) = (ask(&one), ask(&other));
        let (mine, theirs) = (mine.await.unwrap(), theirs.await.unwrap());
        took.push(begun.elapsed());
        assert!(begun.elapsed() < STALL, "round {epoch}: a stall of {:?}", begun.elapsed());
        // A request that was made after the round of the other end completed is a round of its own.
        let reached = mine.unwrap().max(theirs.unwrap());
        while one.status().epoch != other.status().epoch || one.status().epoch < reached {
            assert!(begun.elapsed() < STALL, "round {epoch}: the ends differ");
            tokio::task::yield_now().await;
        }
    }
    for stream in [&one, &other] {
        let status = stream.status();
        assert!(status.epoch >= rounds && status.slow == 0 && status.ended.is_none(), "{status:?}");
    }
    took
}

fn report(mut took: Vec<Duration>) {
    took.sort_unstable();
    let count = took.len();
    let at = |part: usize| took[(count - 1) * part / 1000];
    println!(
        "{count} simultaneous rounds: p50 {:?}, p99 {:?}, p99.9 {:?}, longest {:?}",
        at(500),
        at(990),
        at(999),
        took[count - 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t02_simultaneous_rounds_on_real_threads_never_stall() {
    report(simultaneous(300).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute or more in an optimised build"]
async fn t02_large_a_hundred_thousand_rounds_on_real_threads_never_stall() {
    report(simultaneous(100_000).await);
}
