//! Connections: limits, ties, keep-alive, what is remembered of Hello, and laws over arbitrary events.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks at one kind of action")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::peers::address::{Endpoint, PeerAddress};
use crate::peers::rules::Mode;

fn key(byte: u8) -> NodeId {
    NodeId([byte; 32])
}

fn ip(site: u8, host: u8) -> IpAddr {
    [9, 9, site, host].into()
}

fn endpoint(site: u8, host: u8) -> Endpoint {
    Endpoint::Ip(PeerAddress { ip: ip(site, host), port: 1 })
}

fn inbound(number: u64) -> ConnId {
    ConnId { direction: Direction::Inbound, number }
}

/// A policy of node 100 with required peers 1 and 2, and its clock.
struct Case {
    policy: ConnPolicy,
    now: Moment,
}

impl Case {
    fn new() -> Self {
        let mut case = Self {
            policy: ConnPolicy::new(Moment(0), key(100), ConnLimits::default(), Dice::new(1)),
            now: Moment(0),
        };
        let mut rules = PeerRules::default();
        rules.fixed.insert(key(1), vec![endpoint(1, 1)]);
        rules.fixed.insert(key(2), vec![endpoint(2, 1)]);
        case.feed(ConnEvent::Rules(Box::new(rules)));
        case
    }

    fn feed(&mut self, event: ConnEvent) -> Vec<ConnAction> {
        let mut actions = Vec::new();
        self.policy.on_event(self.now, event, &mut actions);
        actions
    }

    fn wait(&mut self, ms: u64) -> Vec<ConnAction> {
        let (end, mut actions) = (self.now.after(ms), Vec::new());
        while let due = self.policy.next_deadline(self.now)
            && due <= end
        {
            // A dial that is due is the caller's business; the clock must move on.
            self.now = due.max(self.now.after(1)).min(end);
            actions.extend(self.feed(ConnEvent::Timer));
            if self.now == end {
                break;
            }
        }
        self.now = end;
        actions
    }

    fn dial(&mut self, peer: u8) -> Option<ConnId> {
        let mut actions = Vec::new();
        self.policy.dial(self.now, key(peer), &[endpoint(peer, 1)], &mut actions);
        actions.into_iter().find_map(|action| match action {
            ConnAction::Dial { conn, .. } => Some(conn),
            _ => None,
        })
    }

    /// Takes a connection through to its Hello.
    fn complete(&mut self, conn: ConnId, peer: u8, instance: u64) -> Vec<ConnAction> {
        let mut actions = self.feed(ConnEvent::Connected { conn });
        actions.extend(self.feed(ConnEvent::Secured { conn, peer: key(peer) }));
        actions.extend(self.feed(ConnEvent::HelloOk { conn, instance }));
        actions
    }

    fn accept(&mut self, number: u64, from: IpAddr, peer: u8, instance: u64) -> Vec<ConnAction> {
        let mut actions = self.feed(ConnEvent::Accepted { number, ip: from });
        actions.extend(self.complete(inbound(number), peer, instance));
        actions
    }

    fn refusal(&mut self, number: u64, from: IpAddr) -> Option<Refusal> {
        self.feed(ConnEvent::Accepted { number, ip: from }).into_iter().find_map(|action| {
            match action {
                ConnAction::Refuse { why, .. } => Some(why),
                _ => None,
            }
        })
    }
}

fn closed(actions: &[ConnAction]) -> Vec<(ConnId, Bye)> {
    let close = |action: &ConnAction| match action {
        ConnAction::Close { conn, why } => Some((*conn, *why)),
        _ => None,
    };
    actions.iter().filter_map(close).collect()
}

#[test]
fn limits_by_address_hold_before_any_cryptography() {
    let mut case = Case::new();
    for number in 0..4 {
        assert_eq!(case.refusal(number, ip(7, 1)), None);
    }
    assert_eq!(case.refusal(4, ip(7, 1)), Some(Refusal::HostFull));
    for number in 5..17 {
        let host = u8::try_from(number).unwrap();
        assert_eq!(case.refusal(number, ip(7, host)), None, "{number}");
    }
    assert_eq!(case.refusal(17, ip(7, 200)), Some(Refusal::SiteFull));
    assert_eq!(case.refusal(18, ip(8, 1)), None, "the next site has room");
    // Handshakes of a host: eight at once, then one a second, however they end.
    let mut case = Case::new();
    let mut passed = 0;
    for number in 0..20 {
        passed += u64::from(case.refusal(number, ip(7, 1)).is_none());
        case.feed(ConnEvent::Ended { conn: inbound(number), how: Ended::Broken });
    }
    assert_eq!(passed, 8);
    assert_eq!(case.refusal(20, ip(7, 1)), Some(Refusal::TooFast));
    case.now = case.now.after(1_000);
    assert_eq!(case.refusal(21, ip(7, 1)), None);
}

#[test]
fn of_too_many_handshakes_the_oldest_unknown_goes_and_required_hosts_stay() {
    let mut case = Case::new();
    case.feed(ConnEvent::RequiredHosts([Subnet::host(ip(1, 1))].into()));
    assert_eq!(case.refusal(0, ip(1, 1)), None);
    for number in 1..64 {
        case.now = case.now.after(10);
        assert_eq!(case.refusal(number, ip(u8::try_from(number).unwrap() + 20, 1)), None);
    }
    let actions = case.feed(ConnEvent::Accepted { number: 64, ip: ip(200, 1) });
    let expected =
        [ConnAction::Abort { conn: inbound(1) }, ConnAction::Secure { conn: inbound(64) }];
    assert_eq!(actions, expected);
    assert_eq!(case.policy.counts().pending_in, 64);
}

/// B8: the reference waited for ever for a handshake that never came.
#[test]
fn b8_a_handshake_that_does_not_come_ends_after_its_time() {
    let mut case = Case::new();
    case.feed(ConnEvent::Accepted { number: 0, ip: ip(7, 1) });
    assert!(closed(&case.wait(SECURE_MS - 1)).is_empty());
    assert_eq!(closed(&case.wait(1)), [(inbound(0), Bye::Timeout)]);
    let gone = case.wait(DRAIN_MS);
    assert!(gone.contains(&ConnAction::Abort { conn: inbound(0) }), "{gone:?}");
    assert_eq!(case.policy.counts().all, 0);
}

#[test]
fn modes_and_deny_lists_turn_away_by_key_and_address_and_hold_at_once() {
    let mut case = Case::new();
    case.accept(0, ip(7, 1), 50, 1);
    case.accept(1, ip(8, 1), 1, 1);
    let mut rules = case.policy.rules().clone();
    rules.mode = Mode::CommitteeOnly;
    let actions = case.feed(ConnEvent::Rules(Box::new(rules.clone())));
    assert_eq!(closed(&actions), [(inbound(0), Bye::NotAllowed)]);
    let actions = case.accept(2, ip(7, 2), 51, 1);
    assert_eq!(closed(&actions), [(inbound(2), Bye::NotAllowed)]);
    // The deny list stands above the required peers.
    rules.deny.deny_key(key(1)).unwrap();
    rules.deny.deny_subnet(Subnet::site(ip(3, 0))).unwrap();
    let actions = case.feed(ConnEvent::Rules(Box::new(rules)));
    assert_eq!(closed(&actions), [(inbound(1), Bye::NotAllowed)]);
    assert_eq!(case.refusal(3, ip(3, 77)), Some(Refusal::Denied));
    assert_eq!(case.policy.due(case.now.after(HOUR_MS)), [key(2)]);
}

/// B9 and R21: in the reference the end of any inbound connection took the outbound one along.
#[test]
fn r21_b9_the_end_of_an_old_connection_does_not_take_its_successor_along() {
    let mut case = Case::new();
    case.accept(0, ip(1, 1), 1, 7);
    // The peer was restarted and dials again.
    let actions = case.accept(1, ip(1, 1), 1, 8);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, ConnAction::Moved { conn, .. } if *conn == inbound(1)))
    );
    assert_eq!(closed(&actions), [(inbound(0), Bye::Duplicate)]);
    for how in [Ended::Broken, Ended::Bye(Bye::Shutdown)] {
        assert_eq!(case.feed(ConnEvent::Ended { conn: inbound(0), how }), []);
    }
    assert_eq!(case.policy.conn_of(&key(1)), Some(inbound(1)));
    let down = case.feed(ConnEvent::Ended { conn: inbound(1), how: Ended::Broken });
    assert_eq!(down, [ConnAction::Down { peer: key(1) }]);
}

/// Both nodes at every order of what happens to two opposite connections: each keeps the same.
#[test]
fn r21_ties_are_broken_alike_at_both_ends_in_every_order() {
    let (mine, theirs) = (ConnId { direction: Direction::Outbound, number: 3 }, inbound(9));
    for (me, peer) in [(1, 2), (2, 1)] {
        let kept = ties::simultaneous(key(me), key(peer), mine, theirs);
        assert_eq!(kept, ties::simultaneous(key(me), key(peer), theirs, mine));
        // The other end sees my dial as its inbound connection and the reverse.
        let (theirs_there, mine_there) =
            (ConnId { direction: Direction::Outbound, number: 4 }, inbound(5));
        let kept_there = ties::simultaneous(key(peer), key(me), theirs_there, mine_there);
        assert_eq!(kept == mine, kept_there == mine_there, "{me} and {peer}");
        assert_eq!(kept == mine, me > peer, "the dial of the greater key stays");
    }
    assert_eq!(ties::simultaneous(key(1), key(2), inbound(4), inbound(6)), inbound(6));
}

/// A peer that lost a connection without our seeing it dials anew: after a while that is believed.
#[test]
fn a_settled_connection_gives_way_to_a_new_dial_of_its_peer() {
    for (waited, kept) in [(SETTLED_MS - 1, "old"), (SETTLED_MS, "new")] {
        let mut case = Case::new();
        // Our key is the greater, so at first our dial stays.
        let old = case.dial(1).unwrap();
        case.complete(old, 1, 5);
        case.now = case.now.after(waited);
        case.accept(0, ip(1, 1), 1, 5);
        let expected = if kept == "old" { old } else { inbound(0) };
        assert_eq!(case.policy.conn_of(&key(1)), Some(expected), "after {waited} ms");
    }
}

/// The peer may close one connection for the sake of the other before the other is complete here.
#[test]
fn between_two_connections_of_a_tie_the_peer_is_not_down() {
    let mut case = Case::new();
    case.accept(0, ip(1, 1), 1, 5);
    case.feed(ConnEvent::Accepted { number: 1, ip: ip(1, 1) });
    case.feed(ConnEvent::Secured { conn: inbound(1), peer: key(1) });
    let ended = Ended::Bye(Bye::Duplicate);
    assert_eq!(case.feed(ConnEvent::Ended { conn: inbound(0), how: ended }), []);
    assert_eq!(case.policy.conn_of(&key(1)), None);
    let actions = case.feed(ConnEvent::HelloOk { conn: inbound(1), instance: 5 });
    let moved = ConnAction::Moved { peer: key(1), conn: inbound(1), ip: Some(ip(1, 1)) };
    assert_eq!(actions, [moved]);
    // And if the other never completes, the peer is down after all.
    case.feed(ConnEvent::Accepted { number: 2, ip: ip(1, 1) });
    case.feed(ConnEvent::Secured { conn: inbound(2), peer: key(1) });
    case.feed(ConnEvent::Ended { conn: inbound(1), how: ended });
    let actions = case.wait(HELLO_MS);
    assert!(actions.contains(&ConnAction::Down { peer: key(1) }), "{actions:?}");
}

/// A run of the simulation: the other end saw both connections first, closed one, and its word of that came
/// before the other was even secure here. The peer went down and up for a tie.
#[test]
fn after_a_duplicate_the_peer_is_waited_for_a_moment_before_it_is_down() {
    let mut case = Case::new();
    case.accept(0, ip(1, 1), 1, 5);
    let how = Ended::Bye(Bye::Duplicate);
    assert_eq!(case.feed(ConnEvent::Ended { conn: inbound(0), how }), []);
    assert!(!case.policy.may_dial(case.now, &key(1)), "another dial would make another tie");
    assert_eq!(case.wait(HELLO_MS - 1), []);
    assert_eq!(case.wait(1), [ConnAction::Down { peer: key(1) }]);
}

#[test]
fn an_idle_peer_is_pinged_and_dead_after_thirty_seconds_of_silence() {
    let mut case = Case::new();
    case.accept(0, ip(1, 1), 1, 5);
    case.feed(ConnEvent::Heard { conn: inbound(0) });
    let pings = |actions: &[ConnAction]| {
        actions.iter().filter(|action| matches!(action, ConnAction::Ping { .. })).count()
    };
    assert_eq!(pings(&case.wait(9_999)), 0);
    let actions = case.wait(1);
    assert_eq!(actions, [ConnAction::Ping { conn: inbound(0), nonce: 0 }]);
    case.now = case.now.after(40);
    case.feed(ConnEvent::Pong { conn: inbound(0), nonce: 0 });
    assert_eq!(case.policy.rtt_ms(inbound(0)), Some(40));
    // A pong that was not asked for says that somebody lives, and nothing about the round trip.
    case.feed(ConnEvent::Pong { conn: inbound(0), nonce: 77 });
    assert_eq!(case.policy.rtt_ms(inbound(0)), Some(40));
    let actions = case.wait(29_999);
    assert_eq!((pings(&actions), closed(&actions)), (2, vec![]));
    let actions = case.wait(1);
    assert_eq!(closed(&actions), [(inbound(0), Bye::Timeout)]);
    assert!(actions.contains(&ConnAction::Down { peer: key(1) }));
}

/// A process that stood still for an hour must not take all its peers for dead before it has listened.
#[test]
fn a_timer_that_comes_late_asks_before_it_judges() {
    let mut case = Case::new();
    case.accept(0, ip(1, 1), 1, 5);
    case.now = case.now.after(HOUR_MS);
    let actions = case.feed(ConnEvent::Timer);
    assert_eq!(actions, [ConnAction::Ping { conn: inbound(0), nonce: 0 }]);
    case.feed(ConnEvent::Pong { conn: inbound(0), nonce: 0 });
    assert_eq!(closed(&case.wait(19_000)), []);
}

/// Back-off of required peers: for ever, and never further apart than a minute. R14: never a hot loop.
#[test]
fn r14_required_peers_are_dialled_for_ever_with_growing_pauses_up_to_a_minute() {
    let mut case = Case::new();
    let (mut gaps, mut last) = (Vec::new(), None);
    for _ in 0..20 {
        while !case.policy.due(case.now).contains(&key(1)) {
            case.now = case.now.after(1);
        }
        gaps.extend(last.map(|last| case.now.since(last)));
        last = Some(case.now);
        let conn = case.dial(1).unwrap();
        assert!(!case.policy.due(case.now).contains(&key(1)), "a dial is under way");
        case.feed(ConnEvent::Ended { conn, how: Ended::Unreachable });
    }
    for (index, gap) in gaps.iter().enumerate() {
        let full = 500_u64.checked_shl(u32::try_from(index).unwrap()).unwrap().min(60_000);
        assert!((full / 2..=full + 1).contains(gap), "pause {index}: {gap} of {full} ms");
    }
    assert!(gaps.iter().collect::<BTreeSet<_>>().len() > 10, "no jitter: {gaps:?}");
}

/// How long each failure of Hello is remembered; a required peer is tried every minute all the same.
#[test]
fn what_a_hello_says_is_remembered_as_long_as_it_should_be() {
    let day = 24 * HOUR_MS;
    for (bye, least) in [
        (Bye::WrongChain, day),
        (Bye::OldProto, HOUR_MS),
        (Bye::NotAllowed, HOUR_MS),
        (Bye::Banned { ms: 3 * HOUR_MS }, 3 * HOUR_MS),
        (Bye::Banned { ms: u64::MAX }, day),
        (Bye::Full { retry_ms: 120_000 }, 120_000),
        (Bye::Full { retry_ms: u64::MAX }, 600_000),
        (Bye::Shutdown, 2_500),
    ] {
        for (peer, least) in [(50, least), (1, least.min(30_000))] {
            let mut case = Case::new();
            let conn = case.dial(peer).unwrap();
            case.feed(ConnEvent::Connected { conn });
            case.feed(ConnEvent::Secured { conn, peer: key(peer) });
            case.feed(ConnEvent::Ended { conn, how: Ended::Bye(bye) });
            let slack = if peer == 1 { 60_000 } else { least.max(5_000) };
            if bye != Bye::Shutdown {
                assert!(!case.policy.may_dial(case.now.after(least - 1), &key(peer)), "{bye:?}");
            }
            assert!(case.policy.may_dial(case.now.after(slack), &key(peer)), "{bye:?} {peer}");
        }
    }
}

/// Another node answers than was dialled, or we ourselves do.
#[test]
fn a_dial_that_reaches_another_node_is_closed_and_counts_as_failed() {
    for (answers, bye) in [(60, Bye::WrongPeer), (100, Bye::Myself)] {
        let mut case = Case::new();
        let conn = case.dial(50).unwrap();
        case.feed(ConnEvent::Connected { conn });
        let actions = case.feed(ConnEvent::Secured { conn, peer: key(answers) });
        assert_eq!(closed(&actions), [(conn, bye)]);
        assert!(actions.contains(&ConnAction::DialFailed { peer: key(50) }));
    }
}

/// B15: the reference dialled peers that it was connected to, until it was connected to all.
#[test]
fn b15_the_band_is_filled_to_its_upper_edge_and_again_below_its_lower_one() {
    let mut case = Case::new();
    let mut conns = Vec::new();
    for peer in 10..60 {
        case.now = case.now.after(1_000);
        for _ in 0..case.policy.wanted(case.now).min(1) {
            let conn = case.dial(peer).unwrap();
            assert!(case.dial(peer).is_none(), "twice to the same peer");
            case.complete(conn, peer, 1);
            conns.push(conn);
        }
    }
    assert_eq!((case.policy.counts().band, conns.len()), (16, 16));
    for conn in conns.drain(..8) {
        case.feed(ConnEvent::Ended { conn, how: Ended::Broken });
        case.now = case.now.after(1_000);
        assert_eq!(case.policy.wanted(case.now), 0, "within the band nothing is dialled");
    }
    case.feed(ConnEvent::Ended { conn: conns[0], how: Ended::Broken });
    case.now = case.now.after(1_000);
    assert_eq!(case.policy.wanted(case.now), 8, "below it as many at once as may be");
}

#[test]
fn a_configuration_lowers_limits_and_cannot_raise_them() {
    let wish = ConnLimits { total: 10, per_host: 99, band_high: 4, ..ConnLimits::default() };
    let limits = ConnLimits::default().lowered(wish);
    assert_eq!((limits.total, limits.per_host), (10, 4));
    assert_eq!((limits.band_low, limits.band_high), (4, 4));
}

/// One arbitrary event for a policy that has seen others.
#[derive(Clone, Debug)]
enum Step {
    Accept(u8, u8),
    Dial(u8),
    Connected(u8),
    Secured(u8, u8),
    Hello(u8, u64),
    Ended(u8, u8),
    Part(u8),
    Wait(u64),
    Require(u8),
    Mode(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4, 0_u8..4).prop_map(|(site, host)| Step::Accept(site, host)),
        3 => (0_u8..14).prop_map(Step::Dial),
        3 => any::<u8>().prop_map(Step::Connected),
        6 => (any::<u8>(), 0_u8..14).prop_map(|(conn, peer)| Step::Secured(conn, peer)),
        6 => (any::<u8>(), 0_u64..3).prop_map(|(conn, instance)| Step::Hello(conn, instance)),
        2 => (any::<u8>(), 0_u8..4).prop_map(|(conn, how)| Step::Ended(conn, how)),
        1 => (0_u8..14).prop_map(Step::Part),
        3 => (0_u64..4_000).prop_map(Step::Wait),
        1 => (0_u8..16).prop_map(Step::Require),
        1 => (0_u8..6).prop_map(Step::Mode),
    ]
}

fn apply(case: &mut Case, known: &mut Vec<ConnId>, step: &Step) -> Vec<ConnAction> {
    let pick = |index: u8| known.get(usize::from(index) % known.len().max(1)).copied();
    let event = match *step {
        Step::Accept(site, host) => {
            let number = u64::try_from(known.len()).unwrap();
            known.push(inbound(number));
            Some(ConnEvent::Accepted { number, ip: ip(site, host) })
        }
        Step::Dial(peer) => {
            known.extend(case.dial(peer));
            None
        }
        Step::Connected(conn) => pick(conn).map(|conn| ConnEvent::Connected { conn }),
        Step::Secured(conn, peer) => {
            // Mostly whom we dialled, sometimes another.
            let conn = pick(conn);
            let dialled = conn.and_then(|conn| case.policy.conns.get(&conn)?.peer);
            let peer = dialled.filter(|_| peer > 0).unwrap_or(key(peer));
            conn.map(|conn| ConnEvent::Secured { conn, peer })
        }
        Step::Hello(conn, instance) => pick(conn).map(|conn| ConnEvent::HelloOk { conn, instance }),
        Step::Ended(conn, how) => pick(conn).map(|conn| ConnEvent::Ended {
            conn,
            how: [
                Ended::Broken,
                Ended::Unreachable,
                Ended::Bye(Bye::Duplicate),
                Ended::Bye(Bye::Full { retry_ms: 5 }),
            ][usize::from(how)],
        }),
        Step::Part(peer) => Some(ConnEvent::Part { peer: key(peer), why: Bye::Shutdown }),
        Step::Wait(ms) => return case.wait(ms),
        Step::Require(bits) => {
            let mut rules = case.policy.rules().clone();
            rules.committee =
                (0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| key(bit + 5)).collect();
            Some(ConnEvent::Rules(Box::new(rules)))
        }
        Step::Mode(mode) => {
            let mut rules = case.policy.rules().clone();
            rules.mode = [Mode::Known, Mode::CommitteeOnly]
                .get(usize::from(mode))
                .copied()
                .unwrap_or(Mode::Open);
            Some(ConnEvent::Rules(Box::new(rules)))
        }
    };
    event.map_or(Vec::new(), |event| case.feed(event))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// V7 and R8: whatever happens, no limit is exceeded; peers go up and down in turn, over connections that
    /// the policy knows.
    #[test]
    fn v7_r8_no_limit_is_exceeded_whatever_happens(
        steps in prop::collection::vec(step(), 1..250)
    ) {
        let small = ConnLimits {
            total: 9, unknown_inbound: 4, per_host: 2, per_site: 4, pending_in: 4, pending_out: 3,
            band_low: 2, band_high: 4,
        };
        let mut case = Case::new();
        case.policy.limits = small;
        let (mut known, mut up) = (Vec::new(), BTreeMap::new());
        for step in &steps {
            for action in apply(&mut case, &mut known, step) {
                match action {
                    ConnAction::Up { peer, conn, .. } => prop_assert_eq!(up.insert(peer, conn), None),
                    ConnAction::Moved { peer, conn, .. } => {
                        prop_assert!(up.insert(peer, conn).is_some());
                    }
                    ConnAction::Down { peer } => prop_assert!(up.remove(&peer).is_some()),
                    _ => {}
                }
            }
            let counts = case.policy.counts();
            prop_assert!(counts.total <= small.total, "{:?}", counts);
            prop_assert!(counts.unknown_inbound <= small.unknown_inbound, "{:?}", counts);
            prop_assert!(counts.most_per_host <= small.per_host, "{:?}", counts);
            prop_assert!(counts.most_per_site <= small.per_site, "{:?}", counts);
            prop_assert!(counts.pending_in <= small.pending_in, "{:?}", counts);
            prop_assert!(counts.pending_out <= small.pending_out, "{:?}", counts);
            prop_assert!(counts.most_per_peer <= 2, "{:?}", counts);
            prop_assert!(counts.draining <= DRAINING_MAX && counts.up == up.len(), "{:?}", counts);
            for (peer, conn) in case.policy.up() {
                if let Some(conn) = conn {
                    prop_assert_eq!(up.get(peer), Some(&conn));
                    prop_assert_eq!(case.policy.conns[&conn].state, State::Active);
                } else {
                    let waits = case.now < case.policy.links[peer].patience;
                    prop_assert!(waits || case.policy.successor(peer).is_some());
                }
            }
            // Every active connection serves its peer: none is forgotten.
            for (id, conn) in &case.policy.conns {
                if conn.state == State::Active {
                    prop_assert_eq!(case.policy.conn_of(&conn.peer.unwrap()), Some(*id));
                }
            }
            prop_assert!(case.policy.next_deadline(case.now) >= case.now);
        }
    }
}
