//! Tables of what the plan decides, and children that fail in every way over time.

use super::*;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn starting(since: u64, heartbeat: u64) -> Observed {
    Observed::Starting { since: s(since), heartbeat: s(heartbeat) }
}

fn ready(heartbeat: u64, answer: u64) -> Observed {
    Observed::Ready { heartbeat: s(heartbeat), answer: s(answer) }
}

fn stopping(since: u64, killed: bool) -> Observed {
    Observed::Stopping { since: s(since), killed }
}

fn wait(until: u64) -> Decision {
    Decision::Wait { until: s(until) }
}

fn hold(until: u64, cause: Cause) -> Decision {
    Decision::Hold { until: s(until), cause }
}

/// Returns a child that should run, with failures at these seconds.
fn failed(at: &[u64]) -> Child {
    let mut child = Child::new(Desired::Running);
    for at in at {
        child.started(s(*at));
        assert!(child.ended(s(*at), false));
    }
    child
}

#[test]
fn what_is_wanted_and_what_is_seen_say_what_to_do() {
    use Desired::{Running, Stopped};
    use Observed::Absent;
    let table = [
        // Nothing there.
        (Running, Absent, 0, Decision::Start),
        (Stopped, Absent, 0, Decision::Rest),
        // Starting: heartbeats within 10 s, ready within 300 s.
        (Running, starting(100, 100), 100, wait(110)),
        (Running, starting(100, 105), 114, wait(115)),
        (Running, starting(100, 105), 115, Decision::Kill(Fault::Silent(s(10)))),
        (Running, starting(100, 395), 399, wait(400)),
        (Running, starting(100, 399), 400, Decision::Kill(Fault::Slow(s(300)))),
        // Ready: a heartbeat and an answer within 10 s; either alone is not life.
        (Running, ready(50, 52), 55, wait(60)),
        (Running, ready(55, 50), 55, wait(60)),
        (Running, ready(50, 59), 60, Decision::Kill(Fault::Silent(s(10)))),
        (Running, ready(59, 50), 60, Decision::Kill(Fault::Deaf(s(10)))),
        (Running, ready(50, 50), 75, Decision::Kill(Fault::Silent(s(25)))),
        // No longer wanted, even during the start.
        (Stopped, starting(100, 100), 101, Decision::Stop),
        (Stopped, ready(100, 100), 101, Decision::Stop),
        (Stopped, starting(100, 100), 500, Decision::Stop),
        // Told to end: 10 s, then killed, then only its end is waited for.
        (Stopped, stopping(100, false), 109, wait(110)),
        (Stopped, stopping(100, false), 110, Decision::Kill(Fault::Obstinate(s(10)))),
        (Stopped, stopping(100, true), 900, Decision::Rest),
        // Wanted again while it ends: it ends first.
        (Running, stopping(100, false), 105, wait(110)),
        (Running, stopping(100, true), 105, Decision::Rest),
        // A clock that went back: stamps of the future are of now.
        (Running, ready(5_000, 5_000), 100, wait(110)),
        (Running, starting(5_000, 5_000), 100, wait(110)),
        (Stopped, stopping(5_000, false), 100, wait(110)),
    ];
    for (desired, observed, now, expected) in table {
        let mut child = Child { observed, ..Child::new(desired) };
        let decision = child.decide(&Policy::default(), s(now));
        assert_eq!(decision, expected, "{desired:?}, {observed:?} at {now} s");
    }
}

#[test]
fn p_8_the_wait_doubles_with_each_failure_up_to_a_minute() {
    let table: [(&[u64], u64, Decision); 10] = [
        (&[], 7, Decision::Start),
        (&[100], 100, wait(101)),
        (&[100], 101, Decision::Start),
        (&[100, 102], 102, wait(104)),
        (&[100, 102, 105], 105, wait(109)),
        (&[100, 102, 105, 110], 110, wait(118)),
        (&[100, 102, 105, 110, 120], 120, wait(136)),
        (&[100, 102, 105, 110, 120], 136, Decision::Start),
        // Failures ten minutes ago no longer count.
        (&[100, 102, 105, 110, 120, 705], 705, wait(709)),
        (&[100], 700, Decision::Start),
    ];
    for (failures, now, expected) in table {
        let decision = failed(failures).decide(&Policy::default(), s(now));
        assert_eq!(decision, expected, "failures at {failures:?}, at {now} s");
    }
    let many = Policy { restarts_max: 50, ..Policy::default() };
    assert_eq!(failed(&[0; 9]).decide(&many, s(0)), wait(60), "no wait is longer than a minute");
}

/// Lets a child fail at once after each start; returns the seconds of its starts before `end`, and
/// the holds.
fn flap(child: &mut Child, mut now: u64, end: u64) -> (Vec<u64>, Vec<Decision>) {
    let (mut starts, mut holds) = (Vec::new(), Vec::new());
    while now < end {
        match child.decide(&Policy::default(), s(now)) {
            Decision::Start => {
                starts.push(now);
                child.started(s(now));
                child.ended(s(now), false);
            }
            Decision::Wait { until } => {
                assert!(until > s(now), "a wait ends later");
                now = until.as_secs();
            }
            hold @ Decision::Hold { until, .. } => {
                assert!(until > s(now), "a hold ends later");
                holds.push(hold);
                now = until.as_secs();
            }
            other @ (Decision::Stop | Decision::Kill(_) | Decision::Rest) => {
                panic!("{other:?} for a child that is not there")
            }
        }
    }
    (starts, holds)
}

#[test]
fn p_8_five_restarts_in_ten_minutes_are_followed_by_a_hold_of_ten_and_a_new_beginning() {
    let mut child = Child::new(Desired::Running);
    let (starts, holds) = flap(&mut child, 0, 1_262);
    assert_eq!(starts, [0, 1, 3, 7, 15, 31, 631, 632, 634, 638, 646, 662]);
    assert_eq!(holds, [631, 1_262].map(|until| hold(until, Cause::Flapping(6))));
    // However often one looks, and although failures leave the window meanwhile.
    let mut child = Child::new(Desired::Running);
    flap(&mut child, 0, 31);
    assert_eq!(child.decide(&Policy::default(), s(31)), Decision::Start);
    child.started(s(31));
    child.ended(s(31), false);
    for now in 31..631 {
        let expected = hold(631, Cause::Flapping(6));
        assert_eq!(child.decide(&Policy::default(), s(now)), expected, "at {now} s");
    }
    assert_eq!(child.decide(&Policy::default(), s(631)), Decision::Start);
}

#[test]
fn a_held_child_that_is_released_is_started_at_once_and_has_all_its_restarts_again() {
    let mut child = Child::new(Desired::Running);
    flap(&mut child, 0, 32);
    assert_eq!(child.decide(&Policy::default(), s(40)), hold(631, Cause::Flapping(6)));
    child.release();
    let (starts, _) = flap(&mut child, 40, 72);
    assert_eq!(starts, [40, 41, 43, 47, 55, 71]);
}

#[test]
fn a_child_that_says_it_is_misconfigured_is_held_after_the_first_attempt() {
    let mut child = Child::new(Desired::Running);
    child.started(s(100));
    assert!(child.ended(s(101), true));
    assert_eq!(child.decide(&Policy::default(), s(101)), hold(701, Cause::Misconfigured));
    assert_eq!(child.decide(&Policy::default(), s(701)), Decision::Start);
}

#[test]
fn x_18_what_is_wanted_outlives_the_process_and_an_end_that_was_asked_for_is_no_failure() {
    let mut child = Child::new(Desired::Running);
    for start in [0, 100, 800] {
        assert_eq!(child.decide(&Policy::default(), s(start)), Decision::Start);
        child.started(s(start));
        child.ready(s(start + 1));
        assert_eq!(child.observed, ready(start + 1, start + 1));
        assert!(child.ended(s(start + 50), false), "nobody asked for it");
        assert_eq!(child.desired, Desired::Running);
    }
    // Stopped during the start, wanted again while it ends: no back-off, because nothing failed.
    let mut child = Child::new(Desired::Running);
    child.started(s(0));
    child.desired = Desired::Stopped;
    assert_eq!(child.decide(&Policy::default(), s(1)), Decision::Stop);
    child.stopping(s(1), false);
    child.ready(s(2));
    child.beat(s(2));
    child.answered(s(2));
    assert_eq!(child.observed, stopping(1, false), "a late report does not undo the stop");
    child.desired = Desired::Running;
    assert!(!child.ended(s(3), false));
    assert_eq!(child.decide(&Policy::default(), s(3)), Decision::Start);
    // A child that was killed for a fault has failed.
    child.started(s(3));
    assert_eq!(child.decide(&Policy::default(), s(13)), Decision::Kill(Fault::Silent(s(10))));
    child.stopping(s(13), true);
    assert!(child.ended(s(14), false));
    assert_eq!(child.decide(&Policy::default(), s(14)), wait(15));
}

#[test]
fn a_clock_that_goes_back_makes_nothing_wait_longer_than_its_limit() {
    let mut child = failed(&[10_000]);
    assert_eq!(child.decide(&Policy::default(), s(50)), wait(51));
    let mut child = failed(&[10_000; 6]);
    assert_eq!(child.decide(&Policy::default(), s(10_000)), hold(10_600, Cause::Flapping(6)));
    assert_eq!(child.decide(&Policy::default(), s(50)), hold(650, Cause::Flapping(6)));
    // A child that hangs is found out although its last heartbeat was in the future.
    let mut child = Child { observed: ready(10_000, 10_000), ..Child::new(Desired::Running) };
    assert_eq!(child.decide(&Policy::default(), s(50)), wait(60));
    assert_eq!(child.decide(&Policy::default(), s(60)), Decision::Kill(Fault::Silent(s(10))));
}

#[test]
fn a_child_that_fails_for_ever_is_remembered_within_bounds() {
    let patient = Policy { restarts_max: usize::MAX, ..Policy::default() };
    let mut child = failed(&[0; 1_000]);
    assert_eq!(child.failures(), FAILURES_MAX);
    assert_eq!(child.decide(&patient, s(0)), wait(60));
}
