//! Connections to a peer: direct and relayed routes, closing in any order, callbacks that fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proctor_ratchet::{Agreed, Freshness};
use proctor_transport::peer_connection::{
    NoRoute, NotAdded, NotSent, PeerDriver, PeerEvent, PeerLimits, Route, RouteEnd, serve,
};
use proctor_transport::relay::{RelayError, RelayLimits, forward};
use proctor_transport::{Options, PeerConnection, SecureStream, accept, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::lab::{Dice, delayed, id, node, pair, pattern, terms};

const DELAY: Duration = Duration::from_millis(5);
const VIA: u8 = 3;

/// One end of a connection whose driver runs in a task.
fn connection(peer: u8) -> (PeerConnection, mpsc::Receiver<PeerEvent>) {
    let (connection, driver, events) = PeerConnection::new(id(&node(peer)), PeerLimits::default());
    tokio::spawn(PeerDriver::run(driver));
    (connection, events)
}

/// A direct pair of streams between node 1 and node 2.
async fn direct() -> (SecureStream, SecureStream) {
    pair(Agreed::default(), &Options::default()).await
}

/// A pair of streams between node 1 and node 2 that run inside their streams to node 3, and a copy
/// of every byte that node 3 moves.
async fn relayed() -> (SecureStream, SecureStream, Arc<Mutex<Vec<u8>>>) {
    let (one, other, third) = (node(1), node(2), node(VIA));
    let mut hops = Vec::new();
    for near in [&one, &other] {
        let (here, there) = duplex(4096);
        let expected = id(&third);
        let (dialed, answered) = tokio::join!(
            connect(here, Arc::clone(near), expected, terms(Agreed::default()), Options::default()),
            accept(
                there,
                Arc::clone(&third),
                |_| true,
                terms(Agreed::default()),
                Options::default()
            ),
        );
        hops.push((dialed.unwrap(), answered.unwrap()));
    }
    let ((from_other, at_third_other), (from_one, at_third_one)) =
        (hops.pop().unwrap(), hops.pop().unwrap());
    // Node 3 looks at everything that it opens of its own streams.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (tap, tapped) = duplex(4096);
    tokio::spawn(forward(at_third_one, tap, RelayLimits::default()));
    let (mut from_tap, mut to_tap) = tokio::io::split(tapped);
    let (mut from_third, mut to_third) = tokio::io::split(at_third_other);
    let copy = Arc::clone(&seen);
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok(count @ 1..) = from_tap.read(&mut buffer).await {
            copy.lock().unwrap().extend_from_slice(&buffer[..count]);
            if to_third.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        drop(to_third.shutdown().await);
    });
    tokio::spawn(async move {
        drop(tokio::io::copy(&mut from_third, &mut to_tap).await);
        drop(to_tap.shutdown().await);
    });
    let expected = id(&other);
    let (dialed, answered) = tokio::join!(
        connect(from_one, one, expected, terms(Agreed::default()), Options::default()),
        accept(from_other, other, |_| true, terms(Agreed::default()), Options::default()),
    );
    (dialed.unwrap(), answered.unwrap(), seen)
}

async fn next(events: &mut mpsc::Receiver<PeerEvent>) -> PeerEvent {
    timeout(Duration::from_secs(120), events.recv()).await.expect("no event").expect("the end")
}

#[tokio::test(start_paused = true)]
async fn a_relay_sees_only_sealed_bytes_and_the_ends_prove_themselves_through_it() {
    let (mut one, mut other, seen) = relayed().await;
    assert_eq!((one.peer(), other.peer()), (id(&node(2)), id(&node(1))));
    let secret = pattern(0, 5_000);
    one.write_all(&secret).await.unwrap();
    let mut found = vec![0; secret.len()];
    other.read_exact(&mut found).await.unwrap();
    assert_eq!(found, secret);
    assert_eq!(one.rekey().await, Ok(1));
    let seen = seen.lock().unwrap();
    assert!(seen.len() > secret.len());
    assert!(!seen.windows(16).any(|window| window == &secret[100..116]));
    // Not even who they are: identities are sealed as well.
    assert!(!seen.windows(32).any(|window| window == node(1).public()));
}

#[tokio::test(start_paused = true)]
async fn the_preferred_stream_follows_what_is_up() {
    let (ours, mut our_events) = connection(2);
    let (theirs, mut their_events) = connection(1);
    assert_eq!(ours.preferred_stream().map(drop), Err(NoRoute::AllDown));
    let via = Route::Relayed { via: id(&node(VIA)) };
    // Relayed first, as after a failed dial; then direct as well.
    let (near, far, _) = relayed().await;
    ours.add(via, near).await.unwrap();
    theirs.add(via, far).await.unwrap();
    assert_eq!(next(&mut our_events).await, PeerEvent::Up(via));
    assert_eq!(next(&mut their_events).await, PeerEvent::Up(via));
    let stream = ours.preferred_stream().unwrap();
    assert_eq!(stream.route(), via);
    stream.send(b"by relay".to_vec()).await.unwrap();
    assert_eq!(next(&mut their_events).await, PeerEvent::Message(via, b"by relay".to_vec()));

    let (near, far) = direct().await;
    let direct_control = near.control().clone();
    ours.add(Route::Direct, near).await.unwrap();
    theirs.add(Route::Direct, far).await.unwrap();
    assert_eq!(next(&mut our_events).await, PeerEvent::Up(Route::Direct));
    assert_eq!(next(&mut their_events).await, PeerEvent::Up(Route::Direct));
    let preferred = ours.preferred_stream().unwrap();
    assert_eq!(preferred.route(), Route::Direct);
    preferred.send(b"directly".to_vec()).await.unwrap();
    let message = PeerEvent::Message(Route::Direct, b"directly".to_vec());
    assert_eq!(next(&mut their_events).await, message);
    assert_eq!(preferred.request_rekey(Freshness::Any).done().await, Ok(1));

    // The direct way breaks: the answer is the relayed one from this moment on.
    direct_control.close(1_024);
    direct_control.ended().await;
    assert_eq!(ours.preferred_stream().unwrap().route(), via);
    assert!(matches!(next(&mut our_events).await, PeerEvent::Down(Route::Direct, _)));
    assert_eq!(preferred.send(b"too late".to_vec()).await, Err(NotSent::Down));
    ours.preferred_stream().unwrap().send(b"by relay again".to_vec()).await.unwrap();
    assert!(matches!(next(&mut their_events).await, PeerEvent::Down(Route::Direct, _)));
    let message = PeerEvent::Message(via, b"by relay again".to_vec());
    assert_eq!(next(&mut their_events).await, message);
}

#[tokio::test(start_paused = true)]
async fn fix_3_closed_in_any_order_everything_ends_in_closed() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let (ours, our_events) = connection(2);
        let (theirs, their_events) = connection(1);
        let via = Route::Relayed { via: id(&node(VIA)) };
        let (near, far) = direct().await;
        let (near_relayed, far_relayed, _) = relayed().await;
        let mut controls = vec![near.control().clone(), far.control().clone()];
        controls.push(near_relayed.control().clone());
        ours.add(via, near_relayed).await.unwrap();
        ours.add(Route::Direct, near).await.unwrap();
        theirs.add(Route::Direct, far).await.unwrap();
        theirs.add(via, far_relayed).await.unwrap();
        sleep(DELAY).await;
        let kept = ours.preferred_stream().unwrap();
        let mut steps: Vec<u8> = (0..6).collect();
        while !steps.is_empty() {
            let at = dice.roll(steps.len() as u64) as usize;
            match steps.swap_remove(at) {
                0 => drop(ours.close().await),
                1 => drop(theirs.close().await),
                step @ 2..=4 => controls[usize::from(step) - 2].close(2_000),
                _ => {
                    let _ = kept.send(b"something".to_vec()).await;
                    drop(ours.preferred_stream());
                }
            }
            if dice.roll(2) == 0 {
                sleep(Duration::from_millis(dice.roll(10))).await;
            }
        }
        for (connection, mut events) in [(ours, our_events), (theirs, their_events)] {
            timeout(Duration::from_secs(60), connection.closed()).await.unwrap();
            assert_eq!(connection.preferred_stream().map(drop), Err(NoRoute::Closed));
            let mut last = None;
            while let Some(event) =
                timeout(Duration::from_secs(60), events.recv()).await.expect("a hang at the end")
            {
                last = Some(event);
            }
            assert_eq!(last, Some(PeerEvent::Closed));
            assert!(connection.close().await.is_err());
            let (late, _peer) = direct().await;
            let added = connection.add(Route::Direct, late).await;
            assert!(matches!(added, Err(NotAdded::Closed | NotAdded::OtherPeer(_))));
        }
        assert_eq!(kept.send(b"late".to_vec()).await, Err(NotSent::Down));
    }
}

/// `try_join!` ended the protocol with the callback and the callback with the protocol.
#[tokio::test(start_paused = true)]
async fn fix_2_a_callback_that_fails_ends_nothing_but_itself() {
    for panics in [true, false] {
        let (ours, driver, mut events) = PeerConnection::new(id(&node(2)), PeerLimits::default());
        let handler = async move {
            let _up = events.recv().await;
            assert!(!panics, "the callback panics");
            Err("the callback fails")
        };
        let serving = tokio::spawn(serve(driver, handler));
        let (near, mut far) = direct().await;
        ours.add(Route::Direct, near).await.unwrap();
        sleep(10 * DELAY).await;
        // Data goes both ways and rounds complete, long after.
        let stream = ours.preferred_stream().unwrap();
        far.write_all(&[&5_u32.to_le_bytes(), b"hello".as_slice()].concat()).await.unwrap();
        stream.send(b"still here".to_vec()).await.unwrap();
        let mut found = [0; 14];
        far.read_exact(&mut found).await.unwrap();
        assert_eq!(&found[4..], b"still here");
        assert_eq!(far.rekey().await, Ok(1));
        ours.close().await.unwrap();
        drop(far);
        let served = timeout(Duration::from_secs(60), serving).await.unwrap().unwrap();
        assert!(served.protocol.is_ok());
        match served.handler {
            Ok(result) => assert_eq!(result, Err("the callback fails")),
            Err(error) => assert!(panics && error.is_panic()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fix_2_a_connection_that_ends_first_leaves_the_callback_its_time() {
    let (ours, driver, mut events) = PeerConnection::new(id(&node(2)), PeerLimits::default());
    let handler = async move {
        let mut heard = Vec::new();
        while let Some(event) = events.recv().await {
            // Longer than everything else takes.
            sleep(Duration::from_secs(20)).await;
            heard.push(event);
        }
        assert_eq!(heard.first(), Some(&PeerEvent::Up(Route::Direct)));
        assert_eq!(heard.last(), Some(&PeerEvent::Closed));
        let count = heard.iter().filter(|event| matches!(event, PeerEvent::Message(..))).count();
        if count == 50 { Ok(()) } else { Err(count) }
    };
    let serving = tokio::spawn(serve(driver, handler));
    let (near, mut far) = direct().await;
    ours.add(Route::Direct, near).await.unwrap();
    for number in 0..50_u8 {
        far.write_all(&[1, 0, 0, 0, number]).await.unwrap();
    }
    far.shutdown().await.unwrap();
    sleep(DELAY).await;
    ours.close().await.unwrap();
    let served = serving.await.unwrap();
    assert!(served.protocol.is_ok());
    assert_eq!(served.handler.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_a_route_may_not_do_takes_it_down() {
    let (ours, mut events) = connection(2);
    let (near, mut far) = direct().await;
    ours.add(Route::Direct, near).await.unwrap();
    assert_eq!(next(&mut events).await, PeerEvent::Up(Route::Direct));
    // A length beyond the limit costs no memory.
    far.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let down = PeerEvent::Down(Route::Direct, RouteEnd::TooLong(u32::MAX.into()));
    assert_eq!(next(&mut events).await, down);
    assert_eq!(ours.preferred_stream().map(drop), Err(NoRoute::AllDown));
    // Nor may a stream to somebody else pass for one to this peer, nor may there be many.
    let (_near, stranger) = direct().await;
    let error = ours.add(Route::Direct, stranger).await.unwrap_err();
    assert_eq!(error, NotAdded::OtherPeer(id(&node(1))));
    let mut kept = Vec::new();
    for _ in 0..PeerLimits::default().routes_max {
        let (near, far) = direct().await;
        kept.push(far);
        ours.add(Route::Direct, near).await.unwrap();
        assert_eq!(next(&mut events).await, PeerEvent::Up(Route::Direct));
    }
    let (near, _far) = direct().await;
    assert_eq!(ours.add(Route::Direct, near).await, Err(NotAdded::TooMany(4)));
    let stream = ours.preferred_stream().unwrap();
    let sent = stream.send(vec![0; (4 << 20) + 1]).await;
    assert_eq!(sent, Err(NotSent::TooLong { found: (4 << 20) + 1, max: 4 << 20 }));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_stands_still_or_carries_too_much_ends() {
    let (_near, there) = duplex(64);
    let (here, _far) = duplex(64);
    let limits = RelayLimits { idle_ms: 1_000, bytes: 100 };
    assert!(matches!(forward(there, here, limits).await, Err(RelayError::Idle(1_000))));
    let (mut near, there) = duplex(64);
    let (here, far) = duplex(64);
    let (tap, tapped) = duplex(64);
    delayed(here, tap, DELAY);
    let forwarding = tokio::spawn(forward(there, tapped, limits));
    let mut far = far;
    let reading = tokio::spawn(async move { far.read_to_end(&mut Vec::new()).await });
    drop(near.write_all(&[1; 200]).await);
    assert!(matches!(forwarding.await.unwrap(), Err(RelayError::Spent(100))));
    drop(reading.await);
}
