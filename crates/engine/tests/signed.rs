//! Signed messages: whoever sends the same bytes how often, when and across which restarts, they are
//! judged once.

#![allow(clippy::unwrap_used, reason = "helpers of tests, whose values are valid by construction")]

use std::collections::{BTreeMap, BTreeSet};

use proctor_engine::input::{Payload, Roster, SignedOrder, Validity};
use proctor_engine::orders::judged::Judgement;
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Engine, Input, Rejection};
use proctor_types::{
    AssetClass, Cancel, ExecutionType, Leverage, OrderId, OrderRequest, PairName, Price, Quote,
    Side, SizeFields, SourceName, Stamp, TradePair, TraderId, UtcMs,
};
use proptest::prelude::*;

/// Monday 2025-11-03 14:00 UTC.
const T0: i64 = 1_762_178_400_000;

fn trader(name: &str) -> TraderId {
    TraderId::new(name).unwrap()
}

/// What one payload says; two that differ in anything are two messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    trader: &'static str,
    kind: Kind,
    id: u8,
    from: i64,
    until: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Buy,
    BuyNothing,
    Rest,
    CancelAll,
}

impl Message {
    fn request(&self) -> OrderRequest {
        let size = match self.kind {
            Kind::BuyNothing => SizeFields::default(),
            Kind::Buy | Kind::Rest | Kind::CancelAll => {
                SizeFields { leverage: Leverage::new(0.01).ok(), ..SizeFields::default() }
            }
        };
        let (id, pair) = (OrderId::new(&format!("o{}", self.id)), PairName::new("BTCUSD"));
        let market =
            OrderRequest::market(trader(self.trader), id.unwrap(), pair.unwrap(), Side::Long, size);
        match self.kind {
            Kind::Buy | Kind::BuyNothing => market,
            Kind::Rest => OrderRequest {
                execution: ExecutionType::Limit,
                limit_price: Price::new(40.0).ok(),
                ..market
            },
            Kind::CancelAll => OrderRequest {
                execution: ExecutionType::LimitCancel,
                cancel: Some(Cancel::All),
                ..market
            },
        }
    }

    /// `copy` is a signature of its own: a trader who signs the same bytes again sends no other message.
    fn input(&self, copy: u8) -> Input {
        Input::SignedOrder(Box::new(SignedOrder {
            request: self.request(),
            validity: Validity { from: UtcMs(T0 + self.from), until: UtcMs(T0 + self.until) },
            payload: Payload::new(format!("{self:?}").into_bytes()).unwrap(),
            signature: [copy; 64],
        }))
    }
}

fn apply(engine: &mut Engine, at: i64, inputs: Vec<Input>) -> Vec<Result<(), Rejection>> {
    let index = engine.stamp().commit + 1;
    engine.apply(&Commit { index, at: UtcMs(T0 + at), inputs }).unwrap().replies
}

fn price(at: i64) -> Input {
    let quote = |source: &str| {
        let (pair, source) = (TradePair::from_id("BTCUSD").unwrap(), SourceName::new(source));
        Quote::event(pair, source.unwrap(), UtcMs(T0 + at), Price::new(100.0).unwrap())
    };
    Input::Prices(vec![quote("first"), quote("second")])
}

/// Two traders of crypto, enrolled a second ago.
fn started() -> Engine {
    let mut engine = Engine::new();
    let roster = Roster::new(1, vec![trader("alice"), trader("bob")]);
    let class = |name| Input::AssetClass(trader(name), AssetClass::Crypto);
    let inputs =
        vec![Input::Rulebook(VANTA.into()), Input::Roster(roster), class("alice"), class("bob")];
    assert!(apply(&mut engine, -1_000, inputs).iter().all(Result::is_ok));
    apply(&mut engine, 0, vec![price(0)]);
    engine
}

fn reloaded(engine: &Engine) -> Engine {
    let mut bytes = Vec::new();
    engine.save(&mut bytes).unwrap();
    Engine::load(&bytes).unwrap()
}

fn of_alice(kind: Kind, id: u8, from: i64, until: i64) -> Message {
    Message { trader: "alice", kind, id, from, until }
}

#[test]
fn a_refused_order_and_a_cancellation_are_judged_once_and_their_copies_are_told_how() {
    let mut engine = started();
    let bought = of_alice(Kind::Buy, 1, 0, 30_000);
    let cooling = of_alice(Kind::Buy, 2, 0, 30_000);
    let cancel = of_alice(Kind::CancelAll, 3, 0, 30_000);
    let rests = of_alice(Kind::Rest, 4, 0, 30_000);
    let inputs = [&bought, &cooling, &rests, &cancel].map(|message| message.input(0)).to_vec();
    let replies = apply(&mut engine, 1_000, inputs);
    assert!(matches!(&replies[..], [Ok(()), Err(Rejection::CoolingDown(_)), Ok(()), Ok(())]));
    // Long after the cooldown, with another order to cancel: after a restart, too.
    let later = of_alice(Kind::Rest, 5, 0, 30_000);
    assert_eq!(apply(&mut engine, 20_000, vec![price(20_000), later.input(0)]), [Ok(()), Ok(())]);
    for engine in [&mut reloaded(&engine), &mut engine] {
        let copies = [&bought, &cooling, &cancel].map(|message| message.input(9)).to_vec();
        let stamp = Stamp { commit: 3, at: UtcMs(T0 + 1_000) };
        let told = |refused: Option<&str>| {
            Err(Rejection::AlreadyJudged(Judgement { stamp, refused: refused.map(Into::into) }))
        };
        let expected = [told(None), told(Some("cooling_down")), told(None)];
        assert_eq!(apply(engine, 21_000, copies), expected);
        let account = engine.account(&trader("alice")).unwrap();
        assert_eq!(account.resting.orders().len(), 1, "the order placed since still rests");
    }
}

/// The copy passes the intake while the window is open and is committed when it is over: what is
/// forgotten by the time of commits is refused by the time of commits.
#[test]
fn a_copy_that_waits_until_its_window_is_over_meets_no_memory_and_is_refused_by_the_window() {
    let mut engine = started();
    let cancel = of_alice(Kind::CancelAll, 1, 0, 30_000);
    assert_eq!(apply(&mut engine, 1_000, vec![cancel.input(0)]), [Err(Rejection::NothingToCancel)]);
    let other = of_alice(Kind::CancelAll, 2, 0, 60_000);
    // This one has the memory forget the first.
    apply(&mut engine, 30_000, vec![other.input(0)]);
    let over = Err(Rejection::WindowOver(UtcMs(T0 + 30_000)));
    assert_eq!(apply(&mut engine, 30_000, vec![cancel.input(0)]), [over]);
    let early = of_alice(Kind::CancelAll, 3, 30_001, 60_000);
    let not_yet = Err(Rejection::WindowNotOpen(UtcMs(T0 + 30_001)));
    assert_eq!(apply(&mut engine, 30_000, vec![early.input(0)]), [not_yet], "not judged");
    let judged = Err(Rejection::NothingToCancel);
    assert_eq!(apply(&mut engine, 30_001, vec![early.input(0)]), [judged]);
}

/// Keys cost nothing, so what strangers send cannot be remembered; it is not taken later either.
#[test]
fn what_a_stranger_sent_is_not_taken_once_he_has_registered() {
    let mut engine = started();
    let order =
        Message { trader: "carol", kind: Kind::CancelAll, id: 1, from: 1_000, until: 60_000 };
    let replies = apply(&mut engine, 1_000, vec![order.input(0)]);
    assert_eq!(replies, [Err(Rejection::NotRegistered)]);
    let roster = Roster::new(2, ["alice", "bob", "carol"].map(trader).to_vec());
    // In the same millisecond.
    apply(&mut engine, 1_000, vec![Input::Roster(roster)]);
    let before = Err(Rejection::SignedBeforeEnrolment(UtcMs(T0 + 1_000)));
    assert_eq!(apply(&mut engine, 1_000, vec![order.input(0)]), [before]);
    let signed_since = Message { from: 1_001, ..order };
    let judged = Err(Rejection::NothingToCancel);
    assert_eq!(apply(&mut engine, 1_001, vec![signed_since.input(0)]), [judged]);
}

#[test]
fn the_memory_of_messages_is_bounded_and_a_full_one_forgets_nothing() {
    let rules = VANTA.replace("ids_remembered = { value = 100_000", "ids_remembered = { value = 3");
    assert_ne!(rules, VANTA, "the rulebook states the number");
    let mut engine = Engine::new();
    let roster = Input::Roster(Roster::new(1, vec![trader("alice")]));
    let replies = apply(&mut engine, -1_000, vec![Input::Rulebook(rules), roster]);
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    let cancel = |id| of_alice(Kind::CancelAll, id, 0, 10_000 + i64::from(id)).input(0);
    let replies = apply(&mut engine, 1, (0..5).map(cancel).collect());
    let full = Err(Rejection::JudgedFull(3));
    assert_eq!(replies[2..], [Err(Rejection::NothingToCancel), full.clone(), full.clone()]);
    let replies = apply(&mut engine, 2, vec![cancel(0), cancel(3)]);
    assert!(matches!(replies[0], Err(Rejection::AlreadyJudged(_))), "{replies:?}");
    assert_eq!(replies[1], full);
    // One window is over, and there is room for one.
    let replies = apply(&mut engine, 10_000, vec![cancel(3), cancel(4), cancel(3)]);
    assert_eq!(replies[..2], [Err(Rejection::NothingToCancel), full]);
    assert!(matches!(replies[2], Err(Rejection::AlreadyJudged(_))), "{replies:?}");
}

/// What happens next.
#[derive(Clone, Debug)]
enum Move {
    Wait(i64),
    Send(Vec<(usize, u8)>),
    Restart,
}

fn moves() -> impl Strategy<Value = (Vec<Message>, Vec<Move>)> {
    let kind = prop::sample::select(vec![Kind::Buy, Kind::BuyNothing, Kind::Rest, Kind::CancelAll]);
    let who = prop::sample::select(vec!["alice", "bob"]);
    let message = (who, kind, 0_u8..4, 0_i64..60_000, 1_i64..60_000).prop_map(
        |(trader, kind, id, from, length)| Message { trader, kind, id, from, until: from + length },
    );
    let send = prop::collection::vec((0_usize..12, any::<u8>()), 1..5).prop_map(Move::Send);
    let next = prop_oneof![
        3 => (0_i64..8_000).prop_map(Move::Wait),
        6 => send,
        1 => Just(Move::Restart),
    ];
    (prop::collection::vec(message, 12), prop::collection::vec(next, 1..60))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a model that never forgets: a set of all messages that were ever judged.
    #[test]
    fn no_message_is_judged_twice_however_copies_waits_and_restarts_fall((messages, moves) in moves()) {
        let mut engine = started();
        let mut judged: BTreeMap<Message, (u64, Option<&str>)> = BTreeMap::new();
        let mut accepted_ids: BTreeSet<(&str, u8)> = BTreeSet::new();
        let mut now = 0;
        for next in moves {
            match next {
                Move::Wait(ms) => now += ms,
                Move::Restart => engine = reloaded(&engine),
                Move::Send(copies) => {
                    let sent: Vec<&Message> =
                        copies.iter().map(|(which, _)| &messages[*which]).collect();
                    let mut inputs = vec![price(now)];
                    inputs.extend(sent.iter().zip(&copies).map(|(m, (_, copy))| m.input(*copy)));
                    let replies = apply(&mut engine, now, inputs);
                    let commit = engine.stamp().commit;
                    for (message, reply) in sent.into_iter().zip(&replies[1..]) {
                        match reply {
                            Err(Rejection::WindowNotOpen(_)) => prop_assert!(now < message.from),
                            Err(Rejection::WindowOver(_)) => prop_assert!(now >= message.until),
                            Err(Rejection::AlreadyJudged(first)) => {
                                let known = judged.get(message).copied();
                                let told = (first.stamp.commit, first.refused.as_deref());
                                prop_assert_eq!(known, Some(told));
                            }
                            other => {
                                let code = other.as_ref().err().map(Rejection::code);
                                let before = judged.insert(message.clone(), (commit, code));
                                prop_assert_eq!(before, None, "{:?} again", message);
                                if other.is_ok() && message.kind != Kind::CancelAll {
                                    let new = accepted_ids.insert((message.trader, message.id));
                                    prop_assert!(new, "an id is taken once");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
