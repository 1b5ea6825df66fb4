//! The book: what enters, what leaves, what is told, what is stored, and its caps under arbitrary events.

use std::net::Ipv4Addr;

use ed25519_zebra::SigningKey;
use proctor_types::Digest;
use proptest::prelude::*;

use super::*;
use crate::Signature;
use crate::peers::address::AddressRules;
use crate::peers::record::OwnRecord;
use crate::peers::stored::StoredError;
use crate::status::Roles;

fn rules() -> RecordRules {
    RecordRules { chain: Digest([3; 32]), addresses: AddressRules::default() }
}

fn signing_key(index: u32) -> SigningKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&index.to_be_bytes());
    SigningKey::from_bytes(&seed)
}

fn key(index: u32) -> NodeId {
    NodeId(signing_key(index).verification_key().into())
}

fn ip(provider: u32, host: u32) -> IpAddr {
    Ipv4Addr::from_bits((30 << 24) + (provider << 16) + host + 1).into()
}

fn verified(index: u32, provider: u32, seq: u64) -> VerifiedRecord {
    let signing = signing_key(index);
    let addresses = vec![PeerAddress { ip: ip(provider, index), port: 9 }];
    let own = OwnRecord { key: key(index), roles: Roles::FOLLOWER, addresses };
    own.sign(seq, &rules(), |bytes| Signature(signing.sign(bytes).to_bytes())).unwrap()
}

fn record(index: u32, provider: u32, seq: u64) -> PeerRecord {
    verified(index, provider, seq).record().clone()
}

fn book() -> PeerBook {
    PeerBook::new(key(0), rules(), BTreeSet::new(), Dice::new(5))
}

fn from(teller: u32) -> Source {
    Source::Peer { key: key(teller), provider: Subnet::provider(ip(teller, 0)) }
}

/// Tells records and verifies what the book asks for; returns how many it asked for, and who was charged.
fn tell(
    book: &mut PeerBook,
    now: Moment,
    source: Source,
    records: Vec<PeerRecord>,
) -> (usize, Vec<Source>) {
    let mut asked = Vec::new();
    book.on_event(now, BookEvent::Told { source, records }, &mut asked);
    let (count, mut charged) = (asked.len(), Vec::new());
    for action in asked {
        let BookAction::Verify { record, .. } = action else {
            panic!("nobody can be charged before a verification");
        };
        let (key, verdict, mut after) = (record.key, record.verify(&rules()), Vec::new());
        book.on_event(now, BookEvent::Checked { key, verdict: Some(verdict) }, &mut after);
        charged.extend(after.into_iter().map(|action| match action {
            BookAction::Forged { source } => source,
            BookAction::Verify { .. } => panic!("a verdict asks for nothing"),
        }));
    }
    (count, charged)
}

fn feed(book: &mut PeerBook, now: Moment, event: BookEvent) {
    let mut actions = Vec::new();
    book.on_event(now, event, &mut actions);
    assert_eq!(actions, []);
}

fn up(book: &mut PeerBook, now: Moment, peer: u32) {
    feed(book, now, BookEvent::Up { peer: key(peer), dialled: true, ip: None });
}

#[test]
fn a_record_is_new_when_told_and_tried_when_its_address_is_proven() {
    let (mut book, now) = (book(), Moment(0));
    tell(&mut book, now, from(9), vec![record(1, 1, 1), record(2, 2, 1), record(3, 3, 1)]);
    assert_eq!(book.size(), BookSize { new: 3, tried: 0 });
    up(&mut book, now, 1);
    // Who dials us proves its address if it speaks from there.
    let dialled = false;
    feed(&mut book, now, BookEvent::Up { peer: key(2), dialled, ip: Some(ip(2, 2)) });
    feed(&mut book, now, BookEvent::Up { peer: key(3), dialled, ip: Some(ip(7, 7)) });
    let table = |peer| book.find(&key(peer)).map(|(_, table)| table);
    assert_eq!([1, 2, 3].map(table), [Some(Table::Tried), Some(Table::Tried), Some(Table::New)]);
    // The same when the record comes after the connection.
    feed(&mut book, now, BookEvent::Up { peer: key(4), dialled, ip: Some(ip(4, 4)) });
    tell(&mut book, now, from(4), vec![record(4, 4, 1)]);
    assert_eq!(book.find(&key(4)).map(|(_, table)| table), Some(Table::Tried));
}

#[test]
fn only_tried_records_and_our_own_are_told_and_private_nodes_never() {
    let private = [key(2)].into();
    let mut book = PeerBook::new(key(0), rules(), private, Dice::new(5));
    let now = Moment(0);
    tell(&mut book, now, from(9), (1..8).map(|node| record(node, node, 1)).collect());
    (1..5).for_each(|node| up(&mut book, now, node));
    feed(&mut book, now, BookEvent::OtherChain { peer: key(4) });
    let told: BTreeSet<_> = book.answer(now, &key(3)).iter().map(|record| record.key).collect();
    assert_eq!(
        told,
        [key(1)].into(),
        "not the private, the asking, those of another chain, new ones"
    );
    book.set_own(Some(verified(0, 0, 1)));
    assert_eq!(book.answer(now, &key(3))[0].key, key(0));
    book.set_own(Some(verified(5, 5, 1)));
    assert!(book.answer(now, &key(3)).iter().all(|record| record.key != key(5)), "not as our own");
}

/// The greater number holds, and nothing older comes back.
#[test]
fn a_newer_record_replaces_an_older_one_and_is_new_again_when_it_moved() {
    let (mut book, now) = (book(), Moment(0));
    tell(&mut book, now, from(9), vec![record(1, 1, 5)]);
    up(&mut book, now, 1);
    feed(&mut book, now, BookEvent::Down { peer: key(1) });
    for (seq, asked) in [(4, 0), (5, 0), (6, 1)] {
        assert_eq!(tell(&mut book, now, from(9), vec![record(1, 1, seq)]).0, asked, "seq {seq}");
    }
    assert_eq!(book.find(&key(1)).map(|(_, table)| table), Some(Table::Tried));
    tell(&mut book, now, from(9), vec![record(1, 2, 7)]);
    let (found, table) = book.find(&key(1)).unwrap();
    assert_eq!((found.seq, table), (7, Table::New), "nobody reached it at the new address");
}

/// R5: the book changed while a record was verified.
#[test]
fn r5_a_verdict_that_comes_too_late_or_for_another_record_changes_nothing() {
    let (mut book, now, mut asked) = (book(), Moment(0), Vec::new());
    let told = |seq| BookEvent::Told { source: from(9), records: vec![record(1, 1, seq)] };
    book.on_event(now, told(5), &mut asked);
    book.on_event(now, told(6), &mut asked);
    assert_eq!(asked.len(), 1, "one verification of a node at a time");
    let verdict = |seq| BookEvent::Checked { key: key(1), verdict: Some(Ok(verified(1, 1, seq))) };
    feed(&mut book, now, verdict(6));
    assert_eq!(book.find(&key(1)), None, "not the record that was asked about");
    feed(&mut book, now, verdict(5));
    assert_eq!(book.find(&key(1)), None, "the question is answered already");
    book.on_event(now, told(5), &mut asked);
    feed(&mut book, now, BookEvent::Checked { key: key(1), verdict: None });
    assert_eq!(tell(&mut book, now, from(9), vec![record(1, 1, 5)]).0, 1, "it can be asked again");
}

/// R13, R22: what one peer can have verified and put in is limited, whatever it sends.
#[test]
fn r13_r22_one_source_is_verified_and_believed_within_its_budget() {
    let (mut book, mut now) = (book(), Moment(0));
    let flood = |book: &mut PeerBook, now, begin: u32| {
        let records = (begin..begin + 64).map(|node| record(node, node % 200, 1)).collect();
        tell(book, now, from(9), records).0
    };
    assert_eq!((flood(&mut book, now, 100), flood(&mut book, now, 200)), (16, 0));
    now = now.after(10 * MINUTE_MS);
    assert_eq!(flood(&mut book, now, 300), 16);
    for round in 0..10 {
        now = now.after(10 * MINUTE_MS);
        flood(&mut book, now, 400 + 64 * round);
    }
    assert_eq!(book.size(), BookSize { new: PER_SOURCE_MAX, tried: 0 });
    // A record of the teller itself is one, and always looked at.
    assert_eq!(tell(&mut book, now, from(9), vec![record(9, 9, 1)]).0, 1);
}

/// Invalid signatures are charged to who passed them on; addresses that only this node refuses are not.
#[test]
fn a_forged_record_is_charged_to_its_relayer_and_a_private_address_to_nobody() {
    let (mut book, now, mut bytes) = (book(), Moment(0), Vec::new());
    record(1, 1, 1).encode(&mut bytes);
    *bytes.last_mut().unwrap() ^= 1;
    let forged = PeerRecord::decode(&bytes).unwrap();
    assert_eq!(tell(&mut book, now, from(9), vec![forged]), (1, vec![from(9)]));
    bytes[46] = 10; // 30.1.0.2 becomes 10.1.0.2
    let private = PeerRecord::decode(&bytes).unwrap();
    assert_eq!(tell(&mut book, now, from(9), vec![private]), (0, vec![]));
    assert_eq!(book.size(), BookSize::default());
}

/// B14: the reference forgot the address of a peer whose connection broke.
#[test]
fn b14_a_lost_peer_keeps_its_record_and_five_failed_dials_cost_its_place() {
    let (mut book, now) = (book(), Moment(0));
    tell(&mut book, now, from(9), vec![record(1, 1, 1), record(2, 2, 1)]);
    up(&mut book, now, 1);
    feed(&mut book, now, BookEvent::Down { peer: key(1) });
    assert!(book.find(&key(1)).is_some());
    let fail = |book: &mut PeerBook| feed(book, now, BookEvent::DialFailed { peer: key(1) });
    // While nobody at all can be reached, nobody is blamed.
    (0..50).for_each(|_| fail(&mut book));
    assert_eq!(book.find(&key(1)).map(|(_, table)| table), Some(Table::Tried));
    up(&mut book, now, 2);
    (0..4).for_each(|_| fail(&mut book));
    assert_eq!(book.find(&key(1)).map(|(_, table)| table), Some(Table::Tried));
    fail(&mut book);
    assert_eq!(book.find(&key(1)).map(|(_, table)| table), Some(Table::New));
    (0..5).for_each(|_| fail(&mut book));
    assert_eq!(book.find(&key(1)), None);
}

/// B31 and F7: age is counted here, from what we saw, and goes on after a restart.
#[test]
fn b31_a_record_of_which_nothing_is_heard_for_seven_days_is_dropped_unless_required() {
    let mut book = book();
    feed(&mut book, Moment(0), BookEvent::Required([key(2)].into()));
    tell(&mut book, Moment(0), from(9), (1..5).map(|node| record(node, node, 1)).collect());
    up(&mut book, Moment(0), 3);
    let three_days = 3 * DAY_MS;
    tell(&mut book, Moment(three_days), from(9), vec![record(4, 4, 2), record(1, 1, 1)]);
    let stored = book.to_bytes(Moment(three_days));
    let mut book = self::book();
    book.load(Moment(50), &stored).unwrap();
    feed(&mut book, Moment(50), BookEvent::Required([key(2)].into()));
    feed(&mut book, Moment(50 + 4 * DAY_MS), BookEvent::Tick);
    assert_eq!(book.keys().count(), 4, "not older than seven days");
    feed(&mut book, Moment(51 + 4 * DAY_MS), BookEvent::Tick);
    // Node 1 was told again with the same number, which proves nothing.
    assert_eq!(book.keys().copied().collect::<BTreeSet<_>>(), [key(2), key(4)].into());
}

#[test]
fn the_stored_book_is_the_same_book_and_a_damaged_one_is_refused_whole() {
    let (mut book, now) = (book(), Moment(1_000));
    tell(&mut book, now, from(9), (1..12).map(|node| record(node, node % 4, 1)).collect());
    tell(&mut book, now, Source::Trusted, vec![record(20, 20, 1)]);
    (1..5).for_each(|node| up(&mut book, now.after(u64::from(node)), node));
    assert_eq!(book.anchors(), [key(1), key(2)]);
    let stored = book.to_bytes(now);
    let mut again = self::book();
    again.load(now, &stored).unwrap();
    assert_eq!(again.to_bytes(now), stored);
    assert_eq!((again.size(), again.anchors()), (book.size(), book.anchors()));
    for index in (0..stored.len()).step_by(7) {
        let (mut broken, mut empty) = (stored.clone(), self::book());
        broken[index] ^= 0x10;
        assert!(empty.load(now, &broken).is_err(), "byte {index}");
        assert!(empty.load(now, &stored[..index]).is_err(), "cut at {index}");
        assert_eq!(empty.size(), BookSize::default());
    }
    // Of another chain: whole bytes, but no record of ours.
    let other = RecordRules { chain: Digest([4; 32]), ..rules() };
    let mut foreign = PeerBook::new(key(0), other, BTreeSet::new(), Dice::new(1));
    assert!(matches!(foreign.load(now, &stored), Err(StoredError::Entry { entry: 0, .. })));
}

#[test]
fn dials_go_to_tried_and_new_records_alike_and_no_provider_is_likelier_for_having_many() {
    let (mut book, now) = (book(), Moment(0));
    // Fifty new ones of provider 1, one of provider 2; one tried.
    tell(&mut book, now, Source::Trusted, (1..=50).map(|node| record(node, 1, 1)).collect());
    tell(
        &mut book,
        now,
        Source::Trusted,
        vec![record(60, 2, 1), record(61, 3, 1), record(62, 4, 1)],
    );
    up(&mut book, now, 61);
    feed(&mut book, now, BookEvent::Down { peer: key(61) });
    up(&mut book, now, 62);
    let mut picks = BTreeMap::new();
    for _ in 0..2_000 {
        *picks.entry(book.pick(now, |_, _| false, |_| 1.0).unwrap()).or_insert(0) += 1;
    }
    assert!((900..1_100).contains(&picks[&key(61)]), "tried: {}", picks[&key(61)]);
    assert!((400..600).contains(&picks[&key(60)]), "alone in its provider: {}", picks[&key(60)]);
    assert!(!picks.contains_key(&key(62)), "B15: connected");
    assert_eq!(book.pick(now, |_, _| true, |_| 1.0), None);
}

#[derive(Clone, Debug)]
enum Step {
    Tell { teller: u32, nodes: Vec<(u32, u64)> },
    Up(u32, bool),
    Down(u32),
    Fail(u32),
    Require(u32),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let nodes = prop::collection::vec((1_u32..160, 1_u64..3), 1..40);
    prop_oneof![
        5 => (0_u32..12, nodes).prop_map(|(teller, nodes)| Step::Tell { teller, nodes }),
        2 => (1_u32..160, any::<bool>()).prop_map(|(node, dialled)| Step::Up(node, dialled)),
        2 => (1_u32..160).prop_map(Step::Down),
        1 => (1_u32..160).prop_map(Step::Fail),
        1 => (0_u32..150).prop_map(Step::Require),
        1 => (0_u64..20 * MINUTE_MS).prop_map(Step::Wait),
    ]
}

proptest! {
    /// R12: whatever a file holds, reading it gives a book or an error, even if its checksum is right.
    #[test]
    fn r12_any_stored_bytes_are_a_book_or_an_error(
        content in prop::collection::vec(prop_oneof![0_u8..7, any::<u8>()], 0..400)
    ) {
        let mut book = book();
        let file = crate::peers::stored::seal("proctor peer book", 1, &content);
        // No random bytes are a signed record.
        let outcome = book.load(Moment(0), &file);
        prop_assert!(outcome.is_err() || book.keys().count() == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// V7, R8, B23: no cap is exceeded whatever is told; connected and required nodes stay.
    #[test]
    fn v7_r8_b23_no_cap_of_the_book_is_exceeded_whatever_is_told(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let (mut book, mut now) = (book(), Moment(0));
        for step in steps {
            let before: BTreeSet<_> = book.keys().copied().collect();
            match step {
                Step::Tell { teller, nodes } => {
                    // Two providers only, so that their caps are met.
                    let records = nodes.iter().map(|(node, seq)| record(*node, node % 2, *seq));
                    let source = if teller == 0 { Source::Trusted } else { from(teller) };
                    tell(&mut book, now, source, records.collect());
                }
                Step::Up(node, dialled) => {
                    feed(&mut book, now, BookEvent::Up { peer: key(node), dialled, ip: None });
                }
                Step::Down(node) => feed(&mut book, now, BookEvent::Down { peer: key(node) }),
                Step::Fail(node) => feed(&mut book, now, BookEvent::DialFailed { peer: key(node) }),
                Step::Require(node) => {
                    feed(&mut book, now, BookEvent::Required((node..node + 10).map(key).collect()));
                }
                Step::Wait(ms) => {
                    now = now.after(ms);
                    feed(&mut book, now, BookEvent::Tick);
                }
            }
            let size = book.size();
            prop_assert!(size.new <= NEW_MAX && size.tried <= TRIED_MAX);
            prop_assert!(book.pending.len() <= PENDING_MAX && book.anchors.len() <= ANCHORS_MAX);
            let (mut tellers, mut providers) = (BTreeMap::new(), BTreeMap::new());
            for (key, entry) in &book.entries {
                if book.required.contains(key) {
                    continue;
                }
                if entry.table == Table::New && entry.source != Source::Trusted {
                    *tellers.entry(entry.source).or_insert(0) += 1;
                }
                entry.providers.iter().for_each(|at| *providers.entry(*at).or_insert(0) += 1);
            }
            prop_assert!(tellers.values().all(|count| *count <= PER_SOURCE_MAX), "{:?}", tellers);
            prop_assert!(providers.values().all(|count| *count <= PER_PROVIDER_MAX), "{:?}", providers);
            for key in before.iter().filter(|key| book.required.contains(key)) {
                prop_assert!(book.find(key).is_some(), "a required node was pushed out");
            }
        }
        // What is stored is what is there.
        let (stored, mut again) = (book.to_bytes(now), self::book());
        again.required = book.required.clone();
        prop_assert_eq!(again.load(now, &stored), Ok(()));
        prop_assert_eq!(again.size(), book.size());
    }
}
