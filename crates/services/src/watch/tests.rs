//! Streams of changes: order, bounds, and how they end.

mod stuck;

use proctor_engine::Input;
use tokio_stream::StreamExt as _;

use super::*;
use crate::testing::World;

/// Tells the index of every commit: the simplest watcher there is.
struct Commits;

#[derive(Debug, PartialEq)]
enum Told {
    Reset(u64, Option<u64>),
    Commit(u64),
    Heartbeat(u64),
}

impl Changes for Commits {
    type Message = Told;

    fn reset(&mut self, view: &View, gap: Option<Gap>) -> Told {
        Told::Reset(view.stamp.commit, gap.map(|gap| gap.oldest))
    }

    fn change(&mut self, applied: &Applied, _: &View) -> Option<Told> {
        Some(Told::Commit(applied.stamp.commit))
    }

    fn heartbeat(&mut self, stamp: Stamp) -> Told {
        Told::Heartbeat(stamp.commit)
    }

    fn bytes(_: &Told) -> usize {
        1
    }
}

/// Returns the next message that is no heartbeat.
async fn next(stream: &mut Stream<Told>) -> Result<Told, Problem> {
    loop {
        let message = stream.next().await.expect("the stream goes on");
        if !matches!(message, Ok(Told::Heartbeat(_))) {
            return message.map_err(|status| Problem::of(&status).expect("a problem"));
        }
    }
}

#[tokio::test]
async fn a_watcher_gets_every_commit_once_from_where_it_was() {
    let world = World::empty().await;
    let gate = Gate::new(9);
    let mut from_nothing = stream(&world.backend, &gate, 0, Commits).expect("let in");
    assert_eq!(next(&mut from_nothing).await, Ok(Told::Reset(1, None)));
    let mut resumed = stream(&world.backend, &gate, 1, Commits).expect("let in");
    for commit in 2..5 {
        world.put(vec![Input::Tick]).await;
        assert_eq!(next(&mut from_nothing).await, Ok(Told::Commit(commit)));
    }
    for commit in 2..5 {
        assert_eq!(next(&mut resumed).await, Ok(Told::Commit(commit)));
    }
    tokio::time::pause();
    let quiet = resumed.next().await.expect("the stream goes on").expect("no error");
    assert_eq!(quiet, Told::Heartbeat(4));
}

/// Tells nothing of any commit, like a watcher of records that nobody makes.
struct Nothing;

impl Changes for Nothing {
    type Message = Told;

    fn reset(&mut self, view: &View, _: Option<Gap>) -> Told {
        Told::Reset(view.stamp.commit, None)
    }

    fn change(&mut self, _: &Applied, _: &View) -> Option<Told> {
        None
    }

    fn heartbeat(&mut self, stamp: Stamp) -> Told {
        Told::Heartbeat(stamp.commit)
    }

    fn bytes(_: &Told) -> usize {
        1
    }
}

/// Heartbeats were once counted from the last commit: on a node that ticks every second, a
/// watcher of something rare heard nothing at all and took the silence for a broken stream.
#[tokio::test]
async fn a_watcher_hears_something_though_commits_that_change_nothing_for_it_come_all_the_time() {
    let world = World::empty().await;
    let mut watcher = stream(&world.backend, &Gate::new(1), 1, Nothing).expect("let in");
    tokio::time::pause();
    // A runtime that is never idle does not move the time by itself.
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..4 {
        for _ in 0..5 {
            tokio::time::advance(HEARTBEAT / 4).await;
            world.put(vec![Input::Tick]).await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let told = tokio::time::timeout(Duration::ZERO, watcher.next()).await;
        let told = told.expect("it is there").expect("the stream goes on");
        assert!(matches!(told, Ok(Told::Heartbeat(commit)) if commit > 1), "{told:?}");
    }
    awake.abort();
}

#[tokio::test]
async fn who_asks_for_commits_that_are_gone_gets_the_state_and_is_told_of_the_gap() {
    let world = World::empty().await;
    let mut last = 1;
    while matches!(world.backend.views().since(1, 1), Since::Commits(_)) {
        world.put(vec![Input::Tick]).await;
        last += 1;
    }
    let mut late = stream(&world.backend, &Gate::new(1), 1, Commits).expect("let in");
    assert_eq!(next(&mut late).await, Ok(Told::Reset(last, Some(3))));
    world.put(vec![Input::Tick]).await;
    assert_eq!(next(&mut late).await, Ok(Told::Commit(last + 1)));
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_is_let_go_and_its_place_is_free_again() {
    let world = World::empty().await;
    let gate = Gate::new(1);
    tokio::time::pause();
    let mut stuck = stream(&world.backend, &gate, 1, Commits).expect("let in");
    let busy = stream(&world.backend, &gate, 1, Commits).expect_err("one place only");
    assert_eq!(busy.reason, Reason::Busy);
    assert_eq!((gate.watchers(), gate.too_slow()), (1, 0));
    // Heartbeats alone fill the queue in virtual time.
    tokio::time::sleep(HEARTBEAT * 80 + PATIENCE * 2).await;
    let mut told = 0;
    let end = loop {
        match stuck.next().await.expect("it ends with the reason") {
            Ok(_) => told += 1,
            Err(status) => break Problem::of(&status).expect("a problem"),
        }
    };
    assert_eq!((told, end.reason), (QUEUE, Reason::TooSlow), "the reason needs no room");
    assert!(stuck.next().await.is_none(), "it is told once");
    assert_eq!((gate.watchers(), gate.too_slow()), (0, 1));
    stream(&world.backend, &gate, 1, Commits).expect("the place is free");
}

/// Tells of every commit at a great length.
struct Long;

/// A third of what may wait for one watcher, and a little more.
const LONG: usize = WATCHER_BYTES / 3 + 1;

impl Changes for Long {
    type Message = Told;

    fn reset(&mut self, view: &View, _: Option<Gap>) -> Told {
        Told::Reset(view.stamp.commit, None)
    }

    fn change(&mut self, applied: &Applied, _: &View) -> Option<Told> {
        Some(Told::Commit(applied.stamp.commit))
    }

    fn heartbeat(&mut self, stamp: Stamp) -> Told {
        Told::Heartbeat(stamp.commit)
    }

    fn bytes(_: &Told) -> usize {
        LONG
    }
}

#[tokio::test]
async fn bytes_that_wait_for_watchers_are_bounded_for_each_and_for_all_and_given_back() {
    let world = World::empty().await;
    let gate = Gate::new(2 * SERVICE_BYTES / LONG);
    for _ in 0..5 {
        world.put(vec![Input::Tick]).await;
    }
    tokio::time::pause();
    let let_in = || stream(&world.backend, &gate, 1, Long).expect("let in");
    let mut slow = let_in();
    // Its queue has room for 64 messages, but not for the bytes of a third one.
    tokio::time::sleep(PATIENCE + HEARTBEAT).await;
    assert_eq!(gate.too_slow(), 1);
    for commit in 2..4 {
        assert_eq!(next(&mut slow).await, Ok(Told::Commit(commit)));
    }
    let end = next(&mut slow).await.expect_err("let go");
    assert_eq!(end.reason, Reason::TooSlow, "there was room to say so");
    drop(slow);
    assert_eq!(gate.0.bytes.available_permits(), SERVICE_BYTES, "nothing is held any more");

    // So many that take nothing that the service's own bound is reached.
    let stuck: Vec<_> = (0..SERVICE_BYTES / (2 * LONG) + 2).map(|_| let_in()).collect();
    tokio::time::sleep(HEARTBEAT).await;
    assert!(gate.0.bytes.available_permits() < LONG, "{}", gate.0.bytes.available_permits());
    drop(stuck);
    let mut after = let_in();
    assert_eq!(next(&mut after).await, Ok(Told::Commit(2)), "there is room again");
}

#[tokio::test]
async fn streams_end_when_the_node_stops_after_the_last_commit() {
    let world = World::empty().await;
    let mut watcher = stream(&world.backend, &Gate::new(1), 1, Commits).expect("let in");
    world.put(vec![Input::Tick]).await;
    world.close();
    assert_eq!(next(&mut watcher).await, Ok(Told::Commit(2)));
    let end = next(&mut watcher).await.expect_err("the node is stopping");
    assert_eq!((end.reason, end.code.as_deref()), (Reason::Unavailable, Some("stopping")));
    assert!(watcher.next().await.is_none());
    let refused = world.backend.submit(vec![Input::Tick]).await.expect_err("stopping");
    assert_eq!(refused.reason, Reason::Unavailable);
    assert_eq!(world.stop().stamp().commit, 2, "nothing was taken");
}
