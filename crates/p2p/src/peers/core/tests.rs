//! What book, policy and scorer do together: bans, questions, required peers.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks at one kind of action")]

use proctor_types::Digest;

use super::*;
use crate::peers::address::{AddressRules, PeerAddress};
use crate::peers::policy::Ended;

fn key(byte: u8) -> NodeId {
    NodeId([byte; 32])
}

fn ip(host: u8) -> IpAddr {
    [9, 9, 9, host].into()
}

fn inbound(number: u64) -> ConnId {
    ConnId { direction: Direction::Inbound, number }
}

/// Peers of node 100, of which 1 is required.
fn peers(bans: BanList) -> Peers {
    let rules = RecordRules { chain: Digest([3; 32]), addresses: AddressRules::default() };
    let limits = ConnLimits::default();
    let mut peers = Peers::new(Moment(0), key(100), rules, limits, BTreeSet::new(), bans, 1);
    let mut rules = PeerRules::default();
    rules.fixed.insert(key(1), vec![Endpoint::Ip(PeerAddress { ip: ip(1), port: 1 })]);
    feed(&mut peers, Moment(0), PeersEvent::Rules(Box::new(rules)));
    peers
}

fn feed(peers: &mut Peers, now: Moment, event: PeersEvent) -> Vec<PeersAction> {
    let mut actions = Vec::new();
    peers.on_event(now, event, &mut actions);
    actions
}

fn conn(peers: &mut Peers, now: Moment, event: ConnEvent) -> Vec<PeersAction> {
    feed(peers, now, PeersEvent::Conn(event))
}

fn accept(peers: &mut Peers, now: Moment, number: u64, host: u8, peer: u8) -> Vec<PeersAction> {
    let id = inbound(number);
    let mut actions = conn(peers, now, ConnEvent::Accepted { number, ip: ip(host) });
    actions.extend(conn(peers, now, ConnEvent::Secured { conn: id, peer: key(peer) }));
    actions.extend(conn(peers, now, ConnEvent::HelloOk { conn: id, instance: 1 }));
    actions
}

fn fault(peers: &mut Peers, now: Moment, peer: u8, fault: Fault) -> Vec<PeersAction> {
    feed(peers, now, PeersEvent::Score(ScoreEvent::Fault { peer: key(peer), fault }))
}

fn closes(actions: &[PeersAction]) -> Vec<(ConnId, Bye)> {
    let close = |action: &PeersAction| match action {
        PeersAction::Conn(ConnAction::Close { conn, why }) => Some((*conn, *why)),
        _ => None,
    };
    actions.iter().filter_map(close).collect()
}

#[test]
fn a_banned_peer_is_parted_from_and_turned_away_before_hello_until_its_time_is_over() {
    let mut peers = peers(BanList::default());
    accept(&mut peers, Moment(0), 0, 50, 50);
    let actions = fault(&mut peers, Moment(0), 50, Fault::Body);
    let why = Bye::Banned { ms: 600_000 };
    assert_eq!(closes(&actions), [(inbound(0), why)]);
    assert!(actions.contains(&PeersAction::Conn(ConnAction::Down { peer: key(50) })));
    let again = accept(&mut peers, Moment(1_000), 1, 51, 50);
    assert_eq!(closes(&again), [(inbound(1), Bye::Banned { ms: 599_000 })]);
    let hello = PeersAction::Conn(ConnAction::Hello { conn: inbound(1) });
    assert!(!again.contains(&hello));
    let later = accept(&mut peers, Moment(600_000), 2, 51, 50);
    assert_eq!(closes(&later), []);
}

#[test]
fn a_banned_host_is_refused_unread_and_a_required_peer_on_it_keeps_its_connection() {
    let mut peers = peers(BanList::default());
    accept(&mut peers, Moment(0), 0, 7, 50);
    accept(&mut peers, Moment(0), 1, 7, 51);
    accept(&mut peers, Moment(0), 2, 7, 52);
    accept(&mut peers, Moment(0), 3, 7, 1);
    fault(&mut peers, Moment(0), 50, Fault::Body);
    let actions = fault(&mut peers, Moment(0), 51, Fault::Body);
    // Its neighbour goes as well, the required peer does not.
    let closed: Vec<_> = closes(&actions).into_iter().map(|(conn, _)| conn).collect();
    assert_eq!(closed, [inbound(1), inbound(2)]);
    assert_eq!(peers.policy().conn_of(&key(1)), Some(inbound(3)));
    let refused = conn(&mut peers, Moment(1), ConnEvent::Accepted { number: 4, ip: ip(7) });
    let refuse = ConnAction::Refuse { conn: inbound(4), why: Refusal::Banned };
    assert_eq!(refused, [PeersAction::Conn(refuse)]);
}

/// A ban from before, of a peer that is required now, does not keep it out; nor do new faults.
#[test]
fn a_required_peer_is_dialled_and_let_in_whatever_it_did() {
    let mut bans = BanList::default();
    bans.ban_for_faults(Moment(0), key(1), None);
    let mut peers = peers(bans);
    let dials: Vec<_> = peers.policy().up().collect();
    assert!(dials.is_empty());
    assert_eq!(closes(&accept(&mut peers, Moment(0), 0, 1, 1)), []);
    for _ in 0..20 {
        let actions = fault(&mut peers, Moment(0), 1, Fault::Headers);
        assert_eq!(closes(&actions), []);
    }
    assert_eq!(peers.policy().conn_of(&key(1)), Some(inbound(0)));
    assert_eq!(peers.scorer_mut().choose(Moment(0), &[key(1)]), None);
}

#[test]
fn a_new_peer_is_asked_once_and_only_its_answer_is_looked_at() {
    let mut peers = peers(BanList::default());
    let told = |peer| PeersEvent::Told { peer: key(peer), records: Vec::new() };
    assert_eq!(feed(&mut peers, Moment(0), told(50)), [], "a stranger");
    let actions = accept(&mut peers, Moment(0), 0, 50, 50);
    assert!(actions.contains(&PeersAction::Ask { conn: inbound(0) }));
    assert!(peers.links[&key(50)].awaited);
    feed(&mut peers, Moment(1), told(50));
    assert!(!peers.links[&key(50)].awaited, "a second answer is not looked at");
}

/// GetPeers is answered once in thirty seconds, and an attack on it is charged.
#[test]
fn questions_beyond_the_rate_are_not_answered() {
    let mut peers = peers(BanList::default());
    accept(&mut peers, Moment(0), 0, 50, 50);
    let mut ask = |at| {
        let actions = feed(&mut peers, Moment(at), PeersEvent::Asked { peer: key(50) });
        actions.iter().filter(|action| matches!(action, PeersAction::Tell { .. })).count()
    };
    assert_eq!([0, 1, 29_999, 30_000].map(&mut ask), [1, 0, 0, 1]);
    let mut banned = 0;
    for _ in 0..20 {
        let actions = feed(&mut peers, Moment(30_000), PeersEvent::Asked { peer: key(50) });
        banned += closes(&actions).len();
    }
    assert_eq!(banned, 1);
}

#[test]
fn an_operator_can_have_a_peer_dialled_at_once() {
    let mut peers = peers(BanList::default());
    let dialled = |actions: &[PeersAction]| {
        actions.iter().find_map(|action| match action {
            PeersAction::Conn(ConnAction::Dial { conn, peer, .. }) => Some((*conn, *peer)),
            _ => None,
        })
    };
    let due = feed(&mut peers, Moment(0), PeersEvent::Timer);
    assert_eq!(dialled(&due), None, "the dial began when the rules came");
    let conn_id = ConnId { direction: Direction::Outbound, number: 0 };
    let ended = ConnEvent::Ended { conn: conn_id, how: Ended::Unreachable };
    assert_eq!(dialled(&conn(&mut peers, Moment(0), ended)), None, "not before the back-off");
    let actions = feed(&mut peers, Moment(0), PeersEvent::DialNow { peer: key(1) });
    assert_eq!(dialled(&actions).map(|(_, peer)| peer), Some(key(1)));
}

/// R14: no timer is ever in the past, and an idle node is woken at most a few times a second (R14).
#[test]
fn r14_an_idle_node_is_woken_at_most_twice_a_second() {
    let mut peers = peers(BanList::default());
    let (mut now, mut turns) = (Moment(0), 0);
    while now < Moment(HOUR_MS) {
        let due = peers.next_deadline(now);
        assert!(due >= now);
        turns += 1;
        now = due.max(now.after(1));
        for action in feed(&mut peers, now, PeersEvent::Timer) {
            if let PeersAction::Conn(ConnAction::Dial { conn: id, .. }) = action {
                let how = Ended::Unreachable;
                conn(&mut peers, now, ConnEvent::Ended { conn: id, how });
            }
        }
    }
    assert!(turns <= 2 * 3_600, "{turns} turns in an hour");
}
