//! Scores: what costs trust and what does not, bans, limits, and whom to ask.

use proptest::prelude::*;

use super::limits::DELAY_MAX_MS;
use super::*;
use crate::moment::SECOND_MS;
use crate::peers::ban::BAN_MS;

fn key(byte: u8) -> NodeId {
    NodeId([byte; 32])
}

fn ip(last: u8) -> Option<IpAddr> {
    Some([8, 8, 8, last].into())
}

fn scorer() -> Scorer {
    Scorer::new(BanList::default(), Dice::new(3))
}

fn feed(scorer: &mut Scorer, now: Moment, event: ScoreEvent) -> Vec<ScoreAction> {
    let mut actions = Vec::new();
    scorer.on_event(now, event, &mut actions);
    actions
}

fn fault(scorer: &mut Scorer, now: Moment, peer: u8, fault: Fault) -> Vec<ScoreAction> {
    feed(scorer, now, ScoreEvent::Fault { peer: key(peer), fault })
}

/// p2p 5.4, the table of costs: how many of each in a row until the ban.
#[test]
fn each_fault_costs_what_the_table_says() {
    for (what, until_ban) in [
        (Fault::Headers, 1),
        (Fault::Body, 1),
        (Fault::Status, 1),
        (Fault::Malformed, 2),
        (Fault::Unsolicited, 4),
        (Fault::ForgedRecord, 5),
        (Fault::RateExceeded, 10),
    ] {
        let mut scorer = scorer();
        for _ in 1..until_ban {
            assert_eq!(fault(&mut scorer, Moment(0), 1, what), [], "{what:?}");
        }
        let ban = ScoreAction::Ban { peer: key(1), ms: BAN_MS };
        assert_eq!(fault(&mut scorer, Moment(0), 1, what), [ban], "{what:?}");
        assert_eq!(scorer.banned_ms(Moment(0), &key(1)), Some(BAN_MS));
        assert_eq!(scorer.banned_ms(Moment(BAN_MS), &key(1)), None);
    }
}

/// A peer that pruned between its status and our requests breaks one promise, however many requests.
#[test]
fn a_broken_promise_is_charged_once_for_each_status() {
    let mut scorer = scorer();
    for _ in 0..1_000 {
        let broken = Fault::BrokenPromise { status_seq: 7 };
        assert_eq!(fault(&mut scorer, Moment(0), 1, broken), []);
    }
    assert_eq!(scorer.trust(Moment(0), &key(1)), 95);
    let quality = scorer.quality(&key(1));
    assert!(quality < QUALITY_LOW, "but it is not asked any more: {quality}");
    for status_seq in 8..26 {
        assert_eq!(fault(&mut scorer, Moment(0), 1, Fault::BrokenPromise { status_seq }), []);
    }
    let last = fault(&mut scorer, Moment(0), 1, Fault::BrokenPromise { status_seq: 26 });
    assert!(matches!(last[..], [ScoreAction::Ban { .. }]), "who breaks twenty is a liar");
}

#[test]
fn trust_heals_by_a_point_a_minute_and_a_point_for_each_verified_mebibyte() {
    let mut scorer = scorer();
    fault(&mut scorer, Moment(0), 1, Fault::Malformed);
    assert_eq!(scorer.trust(Moment(0), &key(1)), 50);
    assert_eq!(scorer.trust(Moment(10 * MINUTE_MS), &key(1)), 60);
    let now = Moment(10 * MINUTE_MS);
    for _ in 0..16 {
        let part = ScoreEvent::Verified { peer: key(1), took_ms: 10, bytes: 1 << 19 };
        feed(&mut scorer, now, part);
    }
    assert_eq!(scorer.trust(now, &key(1)), 68);
    assert_eq!(scorer.trust(Moment(10 * HOUR), &key(1)), TRUST_MAX);
}

const HOUR: u64 = 60 * MINUTE_MS;

/// A ban must not cost a quorum: required peers lose their service of data only.
#[test]
fn a_required_peer_is_not_banned_but_no_longer_asked_for_data() {
    let mut scorer = scorer();
    let (peers, hosts) = ([key(1)].into(), [Subnet::host(ip(1).unwrap())].into());
    feed(&mut scorer, Moment(0), ScoreEvent::Required { peers, hosts });
    for peer in 1..4 {
        feed(&mut scorer, Moment(0), ScoreEvent::Up { peer: key(peer), ip: ip(1) });
    }
    let off = ScoreAction::SyncOff { peer: key(1), ms: BAN_MS };
    assert_eq!(fault(&mut scorer, Moment(0), 1, Fault::Body), [off]);
    assert_eq!(scorer.banned_ms(Moment(1), &key(1)), None);
    assert_eq!(scorer.choose(Moment(1), &[key(1)]), None);
    assert_eq!(scorer.choose(Moment(BAN_MS), &[key(1)]), Some(key(1)));
    // Nor is it shut out by what others do at its host.
    for peer in 2..4 {
        let bans = fault(&mut scorer, Moment(0), peer, Fault::Body);
        assert!(matches!(bans[..], [ScoreAction::Ban { .. }]), "{bans:?}");
    }
    assert_eq!(scorer.host_banned_ms(Moment(1), ip(1).unwrap()), None);
    // The engine's wish is treated alike; the operator's is obeyed.
    let blocked = feed(&mut scorer, Moment(0), ScoreEvent::Blocked { peer: key(1) });
    assert_eq!(blocked, [ScoreAction::SyncOff { peer: key(1), ms: BLOCK_MS }]);
    feed(
        &mut scorer,
        Moment(0),
        ScoreEvent::OperatorBans { peer: key(1), ms: 5_000, why: String::new() },
    );
    assert_eq!(scorer.banned_ms(Moment(1_000), &key(1)), Some(4_000));
    feed(&mut scorer, Moment(0), ScoreEvent::OperatorLifts { peer: key(1) });
    assert_eq!(scorer.banned_ms(Moment(1_000), &key(1)), None);
    assert_eq!(scorer.choose(Moment(1_000), &[key(1)]), Some(key(1)));
}

/// Answers that were under way when the first was found false are the same lie: to be banned for them
/// again would be to be banned for hours for coming once.
#[test]
fn what_is_found_out_of_who_is_banned_already_is_no_repetition() {
    let mut scorer = scorer();
    let ban = ScoreAction::Ban { peer: key(1), ms: BAN_MS };
    assert_eq!(fault(&mut scorer, Moment(0), 1, Fault::Body), [ban]);
    for _ in 0..3 {
        assert_eq!(fault(&mut scorer, Moment(5), 1, Fault::Body), []);
    }
    assert_eq!(scorer.banned_ms(Moment(5), &key(1)), Some(BAN_MS - 5));
    let again = ScoreAction::Ban { peer: key(1), ms: 2 * BAN_MS };
    assert_eq!(fault(&mut scorer, Moment(BAN_MS), 1, Fault::Body), [again], "it came back");
}

#[test]
fn a_host_of_two_banned_keys_is_banned_with_everybody_on_it() {
    let mut scorer = scorer();
    for (peer, host) in [(1, 1), (2, 2), (3, 1)] {
        feed(&mut scorer, Moment(0), ScoreEvent::Up { peer: key(peer), ip: ip(host) });
    }
    fault(&mut scorer, Moment(0), 1, Fault::Body);
    fault(&mut scorer, Moment(0), 2, Fault::Body);
    assert_eq!(scorer.host_banned_ms(Moment(0), ip(1).unwrap()), None);
    let actions = fault(&mut scorer, Moment(0), 3, Fault::Body);
    let host = Subnet::host(ip(1).unwrap());
    assert_eq!(actions[1], ScoreAction::BanHost { host, ms: BAN_MS });
    assert_eq!(scorer.host_banned_ms(Moment(1), ip(1).unwrap()), Some(BAN_MS - 1));
}

/// Bans are stored and double across restarts; an engine's block lasts a day.
#[test]
fn bans_go_on_after_a_restart() {
    let mut scorer = scorer();
    fault(&mut scorer, Moment(0), 1, Fault::Body);
    feed(&mut scorer, Moment(0), ScoreEvent::Blocked { peer: key(2) });
    let stored = scorer.bans().to_bytes(Moment(MINUTE_MS));
    let bans = BanList::from_bytes(Moment(0), &stored).unwrap();
    let mut again = Scorer::new(bans, Dice::new(1));
    assert_eq!(again.banned_ms(Moment(0), &key(1)), Some(BAN_MS - MINUTE_MS));
    assert_eq!(again.banned_ms(Moment(0), &key(2)), Some(BLOCK_MS - MINUTE_MS));
    let actions = fault(&mut again, Moment(BAN_MS), 1, Fault::Body);
    assert_eq!(actions, [ScoreAction::Ban { peer: key(1), ms: 2 * BAN_MS }]);
}

/// B19: in the reference a fast liar had the best score, and a slow honest peer the worst.
#[test]
fn b19_only_verified_answers_raise_quality_and_faster_ones_more() {
    let mut scorer = scorer();
    for (peer, took_ms) in [(1, 100), (2, 4_000)] {
        for _ in 0..30 {
            let answer = ScoreEvent::Verified { peer: key(peer), took_ms, bytes: 1 << 20 };
            feed(&mut scorer, Moment(0), answer);
        }
    }
    let (fast, slow) = (scorer.quality(&key(1)), scorer.quality(&key(2)));
    assert!(fast > 0.99 && (0.24..0.27).contains(&slow), "{fast} {slow}");
    for _ in 0..30 {
        feed(&mut scorer, Moment(0), ScoreEvent::TimedOut { peer: key(1) });
    }
    let failing = scorer.quality(&key(1));
    assert!(failing < 0.05, "{failing}");
    // Worse than never seen, and still asked when nobody else is there.
    let mut picks = [0; 4];
    for _ in 0..1_000 {
        let chosen = scorer.choose(Moment(0), &[key(1), key(2), key(3)]).unwrap();
        picks[usize::from(chosen.0[0])] += 1;
    }
    assert_eq!(picks[1], 0);
    assert!((20..100).contains(&picks[3]), "one in twenty explores: {picks:?}");
    assert_eq!(scorer.choose(Moment(0), &[key(1)]), Some(key(1)));
    assert_eq!(scorer.choose(Moment(0), &[]), None);
}

#[test]
fn a_busy_peer_is_left_alone_as_long_as_it_asked_and_at_most_a_minute() {
    let mut scorer = scorer();
    feed(&mut scorer, Moment(0), ScoreEvent::Busy { peer: key(1), retry_ms: 5_000 });
    assert_eq!(scorer.choose(Moment(4_999), &[key(1)]), None);
    assert_eq!(scorer.choose(Moment(5_000), &[key(1)]), Some(key(1)));
    feed(&mut scorer, Moment(0), ScoreEvent::Busy { peer: key(1), retry_ms: u64::MAX });
    assert_eq!(scorer.choose(Moment(MINUTE_MS), &[key(1)]), Some(key(1)));
    assert!((scorer.quality(&key(1)) - 0.5).abs() < 1e-9, "to be busy is no fault");
}

#[test]
fn messages_beyond_their_rate_are_ignored_and_far_beyond_it_charged() {
    for (limit, at_once, free) in [
        (Limit::Status, 4, 34),
        (Limit::GetPeers, 1, 4),
        (Limit::PushCommit, 40, 640),
        (Limit::SubmitInput, 200, 1_700),
    ] {
        let (mut scorer, mut actions, mut passed) = (scorer(), Vec::new(), 0);
        feed(&mut scorer, Moment(0), ScoreEvent::Up { peer: key(1), ip: ip(1) });
        for count in 1..=free + 10 {
            let admission = scorer.admit(Moment(0), key(1), limit, &mut actions);
            passed += u64::from(admission == Admission::Pass);
            assert_eq!(actions.is_empty(), count < free + 10, "{limit:?} {count}");
            let trust = TRUST_MAX.saturating_sub(10 * u64::saturating_sub(count, free));
            assert!(count == free + 10 || scorer.trust(Moment(0), &key(1)) == trust, "{limit:?}");
        }
        assert_eq!(passed, at_once, "{limit:?}");
        let stranger = scorer.admit(Moment(0), key(9), limit, &mut Vec::new());
        assert_eq!(stranger, Admission::Ignore);
    }
}

#[test]
fn bytes_beyond_the_rate_are_waited_for() {
    let mut scorer = scorer();
    feed(&mut scorer, Moment(0), ScoreEvent::Up { peer: key(1), ip: ip(1) });
    assert_eq!(scorer.read(Moment(0), &key(1), 16 << 20), 0);
    assert_eq!(scorer.read(Moment(0), &key(1), 8 << 20), SECOND_MS);
    assert_eq!(scorer.written(Moment(0), &key(1), 16 << 20), 0);
    assert_eq!(scorer.written(Moment(0), &key(1), 8 << 20), SECOND_MS / 2);
}

#[test]
fn r8_scores_are_bounded_and_the_bad_ones_are_remembered() {
    let mut scorer = scorer();
    let node = |index: u32| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&index.to_be_bytes());
        NodeId(key)
    };
    let bad = ScoreEvent::Fault { peer: node(0), fault: Fault::Malformed };
    feed(&mut scorer, Moment(0), bad);
    feed(&mut scorer, Moment(0), ScoreEvent::Up { peer: node(1), ip: None });
    for index in 2..3_000 {
        feed(&mut scorer, Moment(0), ScoreEvent::TimedOut { peer: node(index) });
        assert!(scorer.len() <= SCORES_MAX);
    }
    assert_eq!(scorer.trust(Moment(0), &node(0)), 50);
    assert_eq!(scorer.admit(Moment(0), node(1), Limit::Status, &mut Vec::new()), Admission::Pass);
}

#[derive(Clone, Debug)]
enum Benign {
    Verified(u64, u64),
    TimedOut,
    Busy(u64),
    NotHere,
    /// It pruned, and every request of a moment finds that out.
    Pruned(u8),
    Restarted,
    /// Messages sent at full rate since the last time arrive late, all at once.
    Burst(u64),
}

fn benign() -> impl Strategy<Value = (u64, Benign)> {
    let what = prop_oneof![
        (0_u64..60_000, 0_u64..1 << 22).prop_map(|(ms, bytes)| Benign::Verified(ms, bytes)),
        Just(Benign::TimedOut),
        any::<u64>().prop_map(Benign::Busy),
        Just(Benign::NotHere),
        (1_u8..64).prop_map(Benign::Pruned),
        Just(Benign::Restarted),
        (0_u64..=DELAY_MAX_MS).prop_map(Benign::Burst),
    ];
    (0_u64..40_000, what)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// V11: a peer that is slow, overloaded, pruned, restarted, or behind a network that delays, and keeps to
    /// the rates when it sends, loses no trust that matters and is never banned.
    #[test]
    fn v11_who_has_only_benign_faults_is_never_banned(
        steps in prop::collection::vec(benign(), 1..400)
    ) {
        let (mut scorer, mut now, mut status_seq) = (scorer(), Moment(0), 0);
        let mut sent: Vec<(Limit, crate::peers::bucket::Bucket)> = Vec::new();
        let up = ScoreEvent::Up { peer: key(1), ip: ip(1) };
        feed(&mut scorer, now, up.clone());
        let peer = key(1);
        let mut last_pruned = None;
        for (wait, what) in steps {
            now = now.after(wait);
            let mut actions = match what {
                Benign::Verified(took_ms, bytes) => {
                    feed(&mut scorer, now, ScoreEvent::Verified { peer, took_ms, bytes })
                }
                Benign::TimedOut => feed(&mut scorer, now, ScoreEvent::TimedOut { peer }),
                Benign::Busy(retry_ms) => feed(&mut scorer, now, ScoreEvent::Busy { peer, retry_ms }),
                Benign::NotHere => feed(&mut scorer, now, ScoreEvent::NotHere { peer }),
                Benign::Pruned(requests) => {
                    // An honest node prunes now and then, not in every second.
                    if last_pruned.is_none_or(|last| now.since(last) > 10 * MINUTE_MS) {
                        (last_pruned, status_seq) = (Some(now), status_seq + 1);
                    }
                    (0..requests).flat_map(|_| {
                        let fault = Fault::BrokenPromise { status_seq };
                        feed(&mut scorer, now, ScoreEvent::Fault { peer, fault })
                    }).collect()
                }
                Benign::Restarted => {
                    sent.clear();
                    feed(&mut scorer, now, ScoreEvent::Down { peer });
                    feed(&mut scorer, now, up.clone())
                }
                Benign::Burst(delay) => {
                    // Sent as fast as the rate allows up to now, from `delay` before now; arrives now.
                    let mut actions = Vec::new();
                    for limit in Limit::ALL {
                        let rate = limit.rate();
                        let begin = now.before(delay);
                        let mut bucket = sent.iter().find(|(kind, _)| *kind == limit).map_or_else(
                            || crate::peers::bucket::Bucket::full(rate, begin), |(_, bucket)| *bucket);
                        let step = (rate.per_ms / rate.count).max(1);
                        let mut at = begin;
                        while at <= now {
                            while bucket.take(rate, at, 1) {
                                let _ = scorer.admit(now, peer, limit, &mut actions);
                            }
                            at = at.after(step);
                        }
                        sent.retain(|(kind, _)| *kind != limit);
                        sent.push((limit, bucket));
                    }
                    actions
                }
            };
            actions.retain(|action| !matches!(action, ScoreAction::SyncOff { .. }));
            prop_assert_eq!(actions, Vec::new());
            prop_assert!(scorer.trust(now, &peer) >= 90);
        }
    }
}
