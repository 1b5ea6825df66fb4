//! The bytes of log entries and checkpoints: frozen, canonical, and safe to read from anybody.

#![allow(clippy::unwrap_used, reason = "helpers of tests, whose values are valid by construction")]

mod fuzz;

use proctor_engine::challenge_period::reasons::{Published, ReasonsCommand};
use proctor_engine::challenge_period::{PlagiarismReport, Stage, Standing};
use proctor_engine::eliminations::{
    DrawdownNote, EliminationRow, EliminationsCommand, Reason, Reentry, Reinstatement,
    SyncedEliminations,
};
use proctor_engine::input::{
    Commit, PAYLOAD_LEN_MAX, Payload, PriceCorrection, RecordedFill, Roster, SignedOrder,
    StagesCommand, Validity,
};
use proctor_engine::rulebook::VANTA;
use proctor_engine::state_digest::Effects;
use proctor_engine::{Engine, Input};
use proctor_types::{
    AssetClass, Cancel, Digest, DurationMs, ExecutionType, Fraction, Leverage, OperatorId, OrderId,
    OrderRequest, PairName, Percent, Price, Quantity, Quote, Remark, Side, SizeFields, SourceName,
    Stamp, TradePair, TraderId, Usd, UtcMs, ValidatorId,
};
use proctor_wire::log_entry::{self, LogEntry};
use proctor_wire::{DecodeError, checkpoint};
use proptest::prelude::*;

const AT: i64 = 1_762_178_400_123;

fn price(number: f64) -> Price {
    Price::new(number).expect("finite")
}

fn trader(name: &str) -> TraderId {
    TraderId::new(name).expect("valid")
}

/// An order and an entry in which every field has a value of its own.
fn order() -> OrderRequest {
    OrderRequest {
        trader: trader("alice"),
        id: OrderId::new("order-1").expect("valid"),
        pair: PairName::new("BTCUSD").expect("valid"),
        side: Side::Short,
        execution: ExecutionType::Bracket,
        size: SizeFields {
            leverage: Leverage::new(-0.25).ok(),
            value: None,
            quantity: Quantity::new(1e300).ok(),
        },
        limit_price: Price::new(99.5).ok(),
        stop_loss: None,
        take_profit: Price::new(120.25).ok(),
        cancel: Some(Cancel::Order(OrderId::new("order-0").expect("valid"))),
    }
}

fn bar() -> Quote {
    Quote {
        pair: TradePair::from_id("EURUSD").expect("in the table"),
        source: SourceName::new("Polygon_ws").expect("valid"),
        start: UtcMs(AT - 60_000),
        span: DurationMs(60_000),
        open: price(1.1),
        high: price(1.3),
        low: price(1.0),
        close: price(1.2),
        bid: Some(price(1.19)),
        ask: None,
    }
}

fn stamp() -> Stamp {
    Stamp { commit: 77, at: UtcMs(AT - 5_000) }
}

fn row(name: &str, reason: Reason, drawdown: DrawdownNote) -> EliminationRow {
    EliminationRow { trader: trader(name), reason, drawdown, decided_at: UtcMs(AT - 9_000) }
}

/// Rows with every form of drawdown.
fn rows() -> Vec<EliminationRow> {
    let stated = Percent::new(10.75).ok();
    vec![
        row("alice", Reason::MaxTotalDrawdown, DrawdownNote::percent(10.25)),
        row("bob", Reason::Liquidated, DrawdownNote::TotalLoss),
        row("carol", Reason::Plagiarism, DrawdownNote::NotApplicable),
        row("dora", Reason::Zombie, DrawdownNote::AsStated(stated)),
        row("eve", Reason::Zombie, DrawdownNote::AsStated(None)),
    ]
}

/// One entry with every variant of input.
fn every_input() -> LogEntry {
    let fill = RecordedFill {
        price: price(100_000.5),
        bid: Some(price(100_000.0)),
        ask: None,
        slippage: Fraction::new(0.0002).ok(),
    };
    LogEntry {
        at: UtcMs(AT),
        digest_before: Digest([7; 32]),
        effects_before: Effects { changes: Digest([8; 32]), verdicts: vec![Digest([9; 32])] },
        inputs: vec![
            Input::Order(order()),
            Input::RecordedOrder(order(), fill),
            Input::Prices(vec![bar()]),
            Input::Roster(Roster::new(9, vec![trader("bob"), trader("alice")])),
            Input::AccountSize(trader("alice"), Usd::new(5_000.0).expect("finite")),
            Input::AssetClass(trader("alice"), AssetClass::Forex),
            Input::Rulebook("not TOML: \u{e9}".into()),
            Input::Tick,
            Input::Plagiarism(PlagiarismReport::new(vec![(trader("bob"), UtcMs(AT - 1))])),
            Input::Stages(StagesCommand::Set(vec![(trader("bob"), standing())])),
            Input::Reasons(ReasonsCommand::Update(vec![Published {
                trader: trader("bob"),
                reason: Reason::FailedChallengePeriodDrawdown,
                drawdown: DrawdownNote::percent(12.5),
            }])),
            Input::Reinstate(Reinstatement {
                trader: trader("alice"),
                by: OperatorId::new("desk").expect("valid"),
                why: Remark::new("bad tick").expect("valid"),
                decided: stamp(),
                reentry: Reentry::Restored,
            }),
            Input::SlashSettled(trader("alice"), stamp()),
            Input::Eliminations(EliminationsCommand::Add {
                by: OperatorId::new("desk").expect("valid"),
                why: Remark::new("bad tick").expect("valid"),
                rows: rows(),
            }),
            Input::Eliminations(EliminationsCommand::Remove {
                by: OperatorId::new("desk").expect("valid"),
                why: Remark::new("bad tick").expect("valid"),
                traders: vec![trader("alice")],
            }),
            Input::SyncEliminations(SyncedEliminations {
                source: ValidatorId::new("peer-1").expect("valid"),
                as_of: UtcMs(AT - 1),
                rows: rows(),
            }),
            Input::CorrectPrice(PriceCorrection {
                trader: trader("alice"),
                order: OrderId::new("o1").expect("valid"),
                price: price(99_000.0),
                bid: None,
                ask: Some(price(99_001.0)),
                source: SourceName::new("other").expect("valid"),
                by: OperatorId::new("officer").expect("valid"),
                why: Remark::new("the feed was wrong").expect("valid"),
            }),
            Input::SignedOrder(Box::new(signed())),
        ],
    }
}

fn signed() -> SignedOrder {
    SignedOrder {
        request: order(),
        validity: Validity { from: UtcMs(AT - 5_000), until: UtcMs(AT + 25_000) },
        payload: Payload::new(b"{\"what\":\"was signed\"}".to_vec()).expect("short"),
        signature: std::array::from_fn(|place| u8::try_from(place).expect("64")),
    }
}

fn standing() -> Standing {
    Standing::new(Stage::Probation, UtcMs(AT - 2)).reviewed(UtcMs(AT - 1))
}

/// The order of the variants is part of the format: this match fails to compile when one is added,
/// and its number here, in docs/formats.md and in the frozen bytes is the number that is stored.
fn number(input: &Input) -> u8 {
    match input {
        Input::Order(_) => 0,
        Input::RecordedOrder(..) => 1,
        Input::Prices(_) => 2,
        Input::Roster(_) => 3,
        Input::AccountSize(..) => 4,
        Input::AssetClass(..) => 5,
        Input::Rulebook(_) => 6,
        Input::Tick => 7,
        Input::Plagiarism(_) => 8,
        Input::Stages(_) => 9,
        Input::Reasons(_) => 10,
        Input::Reinstate(_) => 11,
        Input::SlashSettled(..) => 12,
        Input::Eliminations(_) => 13,
        Input::SyncEliminations(_) => 14,
        Input::CorrectPrice(_) => 15,
        Input::SignedOrder(_) => 16,
    }
}

#[test]
fn the_bytes_of_version_1_are_frozen() {
    let entry = every_input();
    let bytes = entry.encode();
    assert_eq!(bytes[0], 1, "the version");
    assert_eq!(bytes[1..9], AT.to_le_bytes());
    assert_eq!(bytes[9..41], [7; 32]);
    assert_eq!(bytes[41..73], [8; 32]);
    assert_eq!(bytes[73..77], 1_u32.to_le_bytes(), "one verdict");
    assert_eq!(bytes[77..109], [9; 32]);
    assert_eq!(bytes[109..113], u32::try_from(entry.inputs.len()).unwrap().to_le_bytes());
    // If this fails, stored logs can no longer be read: restore the layout, or raise the version and
    // keep a reader for version 1 (docs/formats.md).
    assert_eq!((bytes.len(), Digest::of(&bytes).to_string().as_str()), FROZEN);
    // As logs were written before orders were kept with their signatures.
    let mut before = every_input();
    before.inputs.truncate(17);
    let bytes = before.encode();
    assert_eq!((bytes.len(), Digest::of(&bytes).to_string().as_str()), FROZEN_UNSIGNED);
    assert_eq!(LogEntry::decode(&bytes).expect("it is still read"), before);
}

/// Length and hash of the entry with every kind of input.
const FROZEN: (usize, &str) =
    (1175, "d36f64601fe005f9c471e3c976261d6dbe00dfa9ba68d1e76d2224300c362303");

/// The same without the kinds from 16 on.
const FROZEN_UNSIGNED: (usize, &str) =
    (986, "add6379389f53ed94034af276ce138e4b4e7d2992ae5a3427ba1511ce4fbc609");

#[test]
fn every_variant_is_stored_under_its_number() {
    let mut numbers: Vec<u8> = every_input().inputs.iter().map(number).collect();
    numbers.dedup();
    assert_eq!(numbers, (0..=16).collect::<Vec<u8>>(), "every variant is there");
    for input in every_input().inputs {
        let entry = LogEntry { inputs: vec![input.clone()], ..every_input() };
        assert_eq!(entry.encode()[113], number(&input));
    }
}

#[test]
fn the_fields_stand_where_the_document_says() {
    let name =
        |text: &str| [&u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat();
    let some = |number: f64| [&[1][..], &number.to_le_bytes()].concat();
    let order_bytes = [
        name("alice"),
        name("order-1"),
        name("BTCUSD"),
        vec![1, 2],
        some(-0.25),
        vec![0],
        some(1e300),
        some(99.5),
        vec![0],
        some(120.25),
        vec![1, 0],
        name("order-0"),
    ]
    .concat();
    let fill = [&100_000.5_f64.to_le_bytes()[..], &some(100_000.0), &[0], &some(0.0002)].concat();
    let pair = u8::try_from(bar().pair.index()).expect("51 pairs");
    let quote = [
        vec![pair],
        name("Polygon_ws"),
        (AT - 60_000).to_le_bytes().to_vec(),
        60_000_i64.to_le_bytes().to_vec(),
        [1.1_f64, 1.3, 1.0, 1.2].map(f64::to_le_bytes).concat(),
        some(1.19),
        vec![0],
    ]
    .concat();
    let one = || 1_u32.to_le_bytes().to_vec();
    // The stage and its time, and the stage before it with its own.
    let [since, before] = [AT - 1, AT - 2].map(i64::to_le_bytes);
    let under_review = [&[3][..], &since, &[1, 2], &before].concat();
    let inputs = [
        [vec![0], order_bytes.clone()].concat(),
        [vec![1], order_bytes.clone(), fill].concat(),
        [vec![2], 1_u32.to_le_bytes().to_vec(), quote].concat(),
        [
            vec![3],
            9_u64.to_le_bytes().to_vec(),
            2_u32.to_le_bytes().to_vec(),
            name("alice"),
            name("bob"),
        ]
        .concat(),
        [vec![4], name("alice"), 5_000.0_f64.to_le_bytes().to_vec()].concat(),
        [vec![5], name("alice"), vec![FOREX]].concat(),
        [vec![6], name("not TOML: \u{e9}")].concat(),
        vec![7],
        [vec![8], one(), name("bob"), (AT - 1).to_le_bytes().to_vec()].concat(),
        [vec![9, 0], one(), name("bob"), under_review].concat(),
        [vec![10, 0], one(), name("bob"), vec![5, 0], 12.5_f64.to_le_bytes().to_vec()].concat(),
        [vec![11], name("alice"), name("desk"), name("bad tick"), stamp_bytes(), vec![1]].concat(),
        [vec![12], name("alice"), stamp_bytes()].concat(),
        [vec![13, 0], name("desk"), name("bad tick"), rows_bytes()].concat(),
        [vec![13, 1], name("desk"), name("bad tick"), 1_u32.to_le_bytes().to_vec(), name("alice")]
            .concat(),
        [vec![14], name("peer-1"), (AT - 1).to_le_bytes().to_vec(), rows_bytes()].concat(),
        [
            [vec![15], name("alice"), name("o1"), 99_000.0_f64.to_le_bytes().to_vec()].concat(),
            [vec![0], some(99_001.0)].concat(),
            [name("other"), name("officer"), name("the feed was wrong")].concat(),
        ]
        .concat(),
        [
            [vec![16], order_bytes].concat(),
            [(AT - 5_000).to_le_bytes(), (AT + 25_000).to_le_bytes()].concat(),
            name("{\"what\":\"was signed\"}"),
            (0..64).collect(),
        ]
        .concat(),
    ];
    assert_eq!(every_input().encode()[113..], inputs.concat());
}

fn stamp_bytes() -> Vec<u8> {
    [77_u64.to_le_bytes(), (AT - 5_000).to_le_bytes()].concat()
}

/// The bytes of [`rows`]: trader, reason, drawdown, time.
fn rows_bytes() -> Vec<u8> {
    let number = |kind: &[u8], number: f64| [kind, &number.to_le_bytes()].concat();
    let row = |name: &str, reason: u8, drawdown: Vec<u8>| {
        let len = u32::try_from(name.len()).unwrap().to_le_bytes();
        let at = (AT - 9_000).to_le_bytes();
        [&len[..], name.as_bytes(), &[reason], &drawdown, &at].concat()
    };
    [
        5_u32.to_le_bytes().to_vec(),
        row("alice", 0, number(&[0], 10.25)),
        row("bob", 1, vec![1]),
        row("carol", 3, vec![2]),
        row("dora", 2, number(&[3, 1], 10.75)),
        row("eve", 2, vec![3, 0]),
    ]
    .concat()
}

/// Number of the class forex among crypto, forex, indices and equities.
const FOREX: u8 = 1;

#[test]
fn unknown_versions_trailing_bytes_and_every_cut_are_refused() {
    let good = every_input().encode();
    assert_eq!(LogEntry::decode(&good).expect("round trip"), every_input());
    assert!(matches!(LogEntry::decode(&[]), Err(DecodeError::Empty)));
    for version in (0..=u8::MAX).filter(|version| *version != 1) {
        let mut bytes = good.clone();
        bytes[0] = version;
        let refused = LogEntry::decode(&bytes);
        assert!(
            matches!(refused, Err(DecodeError::Version { found, known: 1 }) if found == version)
        );
    }
    for trailing in 0..=u8::MAX {
        let bytes = [&good[..], &[trailing]].concat();
        assert!(matches!(LogEntry::decode(&bytes), Err(DecodeError::Malformed(_))));
    }
    for end in 1..good.len() {
        assert!(LogEntry::decode(&good[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn numbers_without_a_canonical_form_are_refused_wherever_they_stand() {
    let good = every_input().encode();
    for number in
        [5_000.0, 100_000.5, -0.25, 1e300, 1.1, 1.3, 1.0, 1.2, 1.19, 0.0002, 10.25, 10.75_f64]
    {
        let place =
            good.windows(8).position(|bytes| bytes == number.to_le_bytes()).expect("stored");
        let quiet = f64::from_bits(0xfff8_0000_0000_0001);
        for bad in [f64::NAN, quiet, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            let mut bytes = good.clone();
            bytes[place..place + 8].copy_from_slice(&bad.to_le_bytes());
            assert!(LogEntry::decode(&bytes).is_err(), "{bad} in the place of {number}");
        }
    }
}

#[test]
fn a_length_that_lies_is_an_error_and_reserves_no_memory_for_what_is_not_there() {
    // If it did, four thousand million inputs, quotes, names or characters would end the process.
    let head = |version: u8| {
        let mut bytes = vec![version];
        bytes.extend_from_slice(&AT.to_le_bytes());
        // Digest, effects, no verdicts.
        bytes.extend_from_slice(&[0; 32 + 32 + 4]);
        bytes
    };
    let huge = u32::MAX.to_le_bytes();
    let one = 1_u32.to_le_bytes();
    for tail in [
        huge.to_vec(),
        [&huge[..], &[7; 100]].concat(),
        [&one[..], &[2], &huge].concat(),
        [&one[..], &[3], &[0; 8], &huge].concat(),
        [&one[..], &[6], &huge].concat(),
        [&one[..], &[6], &huge, &[b'x'; 5_000]].concat(),
        [&one[..], &[4], &huge, &[b'x'; 5_000]].concat(),
    ] {
        let bytes = [head(1), tail].concat();
        assert!(matches!(LogEntry::decode(&bytes), Err(DecodeError::Malformed(_))));
    }
}

#[test]
fn a_signed_payload_has_a_longest_length_and_no_memory_is_reserved_for_a_longer_one() {
    assert!(Payload::new(vec![b'x'; PAYLOAD_LEN_MAX + 1]).is_err());
    let longest = Payload::new(vec![b'x'; PAYLOAD_LEN_MAX]).expect("as long as may be");
    let order = SignedOrder { payload: longest, ..signed() };
    let good = LogEntry { inputs: vec![Input::SignedOrder(Box::new(order))], ..every_input() };
    let good = good.encode();
    assert!(LogEntry::decode(&good).is_ok());
    let length = u32::try_from(PAYLOAD_LEN_MAX).unwrap();
    let mark = length.to_le_bytes();
    let place = good.windows(4).position(|bytes| bytes == mark).expect("stored");
    for lie in [length + 1, u32::MAX] {
        let mut bytes = good.clone();
        bytes[place..place + 4].copy_from_slice(&lie.to_le_bytes());
        assert!(matches!(LogEntry::decode(&bytes), Err(DecodeError::Malformed(_))));
    }
}

#[test]
fn names_and_tags_outside_their_range_are_refused() {
    let good = every_input().encode();
    let find =
        |text: &str| good.windows(text.len()).position(|b| b == text.as_bytes()).expect("there");
    let (id, pair_name) = (find("order-1"), find("BTCUSD"));
    let side = pair_name + 6;
    for (place, byte) in [
        (id, b'/'),
        (id, 0),
        (id, 0xff),
        (id - 4, 0),
        (id - 4, 65),
        (side, 3),
        (side + 1, 4),
        (side + 2, 2),
        (113, 17),
        (113, 18),
    ] {
        let mut bytes = good.clone();
        bytes[place] = byte;
        assert!(LogEntry::decode(&bytes).is_err(), "{byte} at {place}");
    }
}

fn finite() -> impl Strategy<Value = f64> {
    (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO)
        .prop_map(|n| n + 0.0)
}

fn a_price() -> impl Strategy<Value = Price> {
    finite().prop_map(price)
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(b"azAZ09_-".to_vec()), 1..=64)
        .prop_map(|bytes| String::from_utf8(bytes).expect("ASCII"))
}

fn any_order() -> impl Strategy<Value = OrderRequest> {
    let side = prop::sample::select(vec![Side::Long, Side::Short, Side::Flat]);
    let execution = prop::sample::select(vec![
        ExecutionType::Market,
        ExecutionType::Limit,
        ExecutionType::Bracket,
        ExecutionType::LimitCancel,
    ]);
    let size = (prop::option::of(finite()), prop::option::of(finite()), prop::option::of(finite()));
    let level = || prop::option::of(a_price());
    let cancel = prop_oneof![
        name().prop_map(|n| Cancel::Order(OrderId::new(&n).expect("valid"))),
        Just(Cancel::Pair),
        Just(Cancel::All),
    ];
    let levels = (level(), level(), level(), prop::option::of(cancel));
    (name(), name(), name(), side, execution, size, levels).prop_map(
        |(trader, id, pair, side, execution, (leverage, value, quantity), levels)| OrderRequest {
            trader: TraderId::new(&trader).expect("valid"),
            id: OrderId::new(&id).expect("valid"),
            pair: PairName::new(&pair).expect("valid"),
            side,
            execution,
            size: SizeFields {
                leverage: leverage.map(|n| Leverage::new(n).expect("finite")),
                value: value.map(|n| Usd::new(n).expect("finite")),
                quantity: quantity.map(|n| Quantity::new(n).expect("finite")),
            },
            limit_price: levels.0,
            stop_loss: levels.1,
            take_profit: levels.2,
            cancel: levels.3,
        },
    )
}

fn any_quote() -> impl Strategy<Value = Quote> {
    let prices = [a_price(), a_price(), a_price(), a_price()];
    let sides = (prop::option::of(a_price()), prop::option::of(a_price()));
    (0..TradePair::COUNT, name(), any::<i64>(), any::<i64>(), prices, sides).prop_map(
        |(row, source, start, span, [open, high, low, close], (bid, ask))| Quote {
            pair: TradePair::all().nth(row).expect("a row"),
            source: SourceName::new(&source).expect("valid"),
            start: UtcMs(start),
            span: DurationMs(span),
            open,
            high,
            low,
            close,
            bid,
            ask,
        },
    )
}

fn any_input() -> impl Strategy<Value = Input> {
    let fraction = finite().prop_map(|n| Fraction::new(n).expect("finite"));
    let fill = (
        a_price(),
        prop::option::of(a_price()),
        prop::option::of(a_price()),
        prop::option::of(fraction),
    )
        .prop_map(|(price, bid, ask, slippage)| RecordedFill { price, bid, ask, slippage });
    let traders = prop::collection::vec(name().prop_map(|n| trader(&n)), 0..5);
    prop_oneof![
        any_order().prop_map(Input::Order),
        (any_order(), fill).prop_map(|(order, fill)| Input::RecordedOrder(order, fill)),
        prop::collection::vec(any_quote(), 0..4).prop_map(Input::Prices),
        (any::<u64>(), traders).prop_map(|(v, t)| Input::Roster(Roster::new(v, t))),
        (name(), finite())
            .prop_map(|(t, n)| Input::AccountSize(trader(&t), Usd::new(n).expect("finite"))),
        (name(), prop::sample::select(AssetClass::ALL.to_vec()))
            .prop_map(|(t, class)| Input::AssetClass(trader(&t), class)),
        any::<String>().prop_map(Input::Rulebook),
        Just(Input::Tick),
        any_decision(),
        any_correction().prop_map(Input::CorrectPrice),
        any_signed(),
    ]
}

fn any_signed() -> impl Strategy<Value = Input> {
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    let signature = prop::collection::vec(any::<u8>(), 64);
    (any_order(), any::<i64>(), any::<i64>(), payload, signature).prop_map(
        |(request, from, until, payload, signature)| {
            Input::SignedOrder(Box::new(SignedOrder {
                request,
                validity: Validity { from: UtcMs(from), until: UtcMs(until) },
                payload: Payload::new(payload).expect("short"),
                signature: signature.try_into().expect("64 bytes"),
            }))
        },
    )
}

/// What the challenge period is told.
fn any_decision() -> impl Strategy<Value = Input> {
    let stage = || prop::sample::select(Stage::ALL.to_vec());
    let before = prop::option::of((stage(), any::<i64>().prop_map(UtcMs)));
    let setting = (name(), stage(), any::<i64>(), before).prop_map(|(t, stage, since, before)| {
        (trader(&t), Standing { stage, since: UtcMs(since), before })
    });
    let percent = finite().prop_map(|n| Percent::new(n).expect("finite"));
    let published = (name(), prop::sample::select(Reason::ALL.to_vec()), prop::option::of(percent))
        .prop_map(|(t, reason, drawdown)| Published {
            trader: trader(&t),
            reason,
            drawdown: DrawdownNote::AsStated(drawdown),
        });
    let suspect = (name(), any::<i64>()).prop_map(|(t, at)| (trader(&t), UtcMs(at)));
    prop_oneof![
        prop::collection::vec(suspect, 0..4)
            .prop_map(|verdicts| Input::Plagiarism(PlagiarismReport::new(verdicts))),
        prop::collection::vec(setting, 0..4)
            .prop_map(|settings| Input::Stages(StagesCommand::Set(settings))),
        name().prop_map(|t| Input::Stages(StagesCommand::Remove(trader(&t)))),
        Just(Input::Stages(StagesCommand::Refresh)),
        prop::collection::vec(published, 0..4)
            .prop_map(|batch| Input::Reasons(ReasonsCommand::Update(batch))),
        name().prop_map(|t| Input::Reasons(ReasonsCommand::Pop(trader(&t)))),
        any::<u64>().prop_map(|up_to| Input::Reasons(ReasonsCommand::Clear { up_to })),
        any_elimination_input(),
    ]
}

fn any_row() -> impl Strategy<Value = EliminationRow> {
    let drawdown = prop_oneof![
        finite().prop_map(DrawdownNote::percent),
        Just(DrawdownNote::TotalLoss),
        Just(DrawdownNote::NotApplicable),
        prop::option::of(finite())
            .prop_map(|n| DrawdownNote::AsStated(n.and_then(|n| Percent::new(n).ok()))),
    ];
    (name(), 0..Reason::ALL.len(), drawdown, any::<i64>()).prop_map(
        |(name, reason, drawdown, at)| EliminationRow {
            trader: trader(&name),
            reason: Reason::ALL[reason],
            drawdown,
            decided_at: UtcMs(at),
        },
    )
}

fn any_elimination_input() -> impl Strategy<Value = Input> {
    let by = || name().prop_map(|name| OperatorId::new(&name).expect("valid"));
    let why = || "[a-z\u{e9}]{1,40}".prop_map(|text| Remark::new(&text).expect("valid"));
    let stamp =
        || (any::<u64>(), any::<i64>()).prop_map(|(commit, at)| Stamp { commit, at: UtcMs(at) });
    let rows = || prop::collection::vec(any_row(), 0..4);
    let traders = prop::collection::vec(name().prop_map(|n| trader(&n)), 0..5);
    let reentry = prop_oneof![Just(Reentry::Challenge), Just(Reentry::Restored)];
    prop_oneof![
        (name(), by(), why(), stamp(), reentry).prop_map(|(name, by, why, decided, reentry)| {
            let trader = trader(&name);
            Input::Reinstate(Reinstatement { trader, by, why, decided, reentry })
        }),
        (name(), stamp()).prop_map(|(name, decided)| Input::SlashSettled(trader(&name), decided)),
        (by(), why(), rows())
            .prop_map(|(by, why, rows)| EliminationsCommand::Add { by, why, rows })
            .prop_map(Input::Eliminations),
        (by(), why(), traders)
            .prop_map(|(by, why, traders)| EliminationsCommand::Remove { by, why, traders })
            .prop_map(Input::Eliminations),
        (name(), any::<i64>(), rows()).prop_map(|(source, as_of, rows)| {
            let source = ValidatorId::new(&source).expect("valid");
            Input::SyncEliminations(SyncedEliminations { source, as_of: UtcMs(as_of), rows })
        }),
    ]
}

fn any_correction() -> impl Strategy<Value = PriceCorrection> {
    let quote = (a_price(), prop::option::of(a_price()), prop::option::of(a_price()));
    (name(), name(), quote, name(), name(), "[a-z\u{e9}]{1,40}").prop_map(
        |(who, order, (price, bid, ask), source, by, why)| PriceCorrection {
            trader: trader(&who),
            order: OrderId::new(&order).expect("valid"),
            price,
            bid,
            ask,
            source: SourceName::new(&source).expect("valid"),
            by: OperatorId::new(&by).expect("valid"),
            why: Remark::new(&why).expect("valid"),
        },
    )
}

fn any_entry() -> impl Strategy<Value = LogEntry> {
    (any::<i64>(), any::<[u8; 32]>(), prop::collection::vec(any_input(), 0..6)).prop_map(
        |(at, digest, inputs)| LogEntry {
            at: UtcMs(at),
            digest_before: Digest(digest),
            effects_before: Effects { changes: Digest(digest), verdicts: Vec::new() },
            inputs,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_entry_survives_a_round_trip_and_its_length_is_known_before(entry in any_entry()) {
        let bytes = entry.encode();
        prop_assert_eq!(bytes.len(), log_entry::encoded_len(&entry.inputs));
        prop_assert_eq!(LogEntry::decode(&bytes).expect("round trip"), entry);
    }

    /// One value, one encoding: bytes that decode are the bytes that the value encodes to.
    #[test]
    fn damaged_bytes_are_refused_or_are_the_encoding_of_another_value(
        entry in any_entry(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = entry.encode();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(other) = LogEntry::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(entry) = LogEntry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), &bytes[..]);
        }
        let tagged = [&[1][..], &bytes].concat();
        if let Ok(entry) = LogEntry::decode(&tagged) {
            prop_assert_eq!(entry.encode(), tagged);
        }
        prop_assert!(checkpoint::decode(&bytes).is_err());
    }
}

#[test]
fn a_checkpoint_begins_with_its_version_and_gives_the_engine_back() {
    let mut engine = Engine::new();
    let inputs = vec![
        Input::Rulebook(VANTA.into()),
        Input::Roster(Roster::new(1, vec![trader("alice")])),
        Input::Prices(vec![bar()]),
    ];
    let commit = Commit { index: 1, at: UtcMs(AT), inputs };
    let outcome = engine.apply(&commit).expect("the first commit");
    assert!(outcome.replies.iter().all(Result::is_ok));
    let bytes = checkpoint::encode(&engine).expect("finite");
    assert_eq!(bytes[0], checkpoint::VERSION, "the version");
    assert_eq!(bytes[1..9], 1_u64.to_le_bytes(), "the commit");
    assert_eq!(bytes[9..17], AT.to_le_bytes(), "its time");
    assert_eq!(bytes[17..49], outcome.digest.0, "the digest");
    let restored = checkpoint::decode(&bytes).expect("round trip");
    assert_eq!(checkpoint::encode(&restored).expect("finite"), bytes);
    assert_eq!((restored.stamp(), restored.digest()), (engine.stamp(), engine.digest()));
    for version in [0, 1, 2, 255] {
        let mut other = bytes.clone();
        other[0] = version;
        let refused = checkpoint::decode(&other).map(drop);
        assert!(
            matches!(refused, Err(DecodeError::Version { known: checkpoint::VERSION, .. })),
            "{refused:?}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(checkpoint::decode(&longer).is_err());
    assert!(matches!(checkpoint::decode(&[]).map(drop), Err(DecodeError::Empty)));
}
