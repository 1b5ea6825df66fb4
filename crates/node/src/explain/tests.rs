//! Stories of accounts that end in unusual ways, told from small logs.

use std::path::Path;

use proctor_engine::Input;
use proctor_engine::input::{RecordedFill, Roster};
use proctor_engine::rulebook::VANTA;
use proctor_sequencer::Batch;
use proctor_types::{
    AssetClass, ExecutionType, Leverage, OrderId, OrderRequest, PairName, Price, Quote, Side,
    SizeFields, SourceName, TradePair, TraderId, Usd, UtcMs,
};

use super::*;
use crate::run::{self, RunError};

/// Tuesday 2026-01-06 12:00 UTC.
pub(crate) const NOON: i64 = 1_767_700_800_000;

pub(crate) fn trader() -> TraderId {
    TraderId::new("alice").expect("valid")
}

/// The beginning of every log here: rules, one trader, terms; a day before noon.
fn opening() -> Batch {
    let size = Usd::new(100_000.0).expect("finite");
    let inputs = vec![
        Input::Rulebook(VANTA.into()),
        Input::Roster(Roster::new(1, vec![trader()])),
        Input::AccountSize(trader(), size),
        Input::AssetClass(trader(), AssetClass::Crypto),
    ];
    Batch { at: UtcMs(NOON - proctor_types::time::DAY_MS), inputs }
}

/// Returns a batch `ms` after noon.
pub(crate) fn at(ms: i64, inputs: Vec<Input>) -> Batch {
    Batch { at: UtcMs(NOON + ms), inputs }
}

pub(crate) fn price(pair: &str, ms: i64, number: f64) -> Input {
    let pair = TradePair::from_id(pair).expect("in the table");
    let source = SourceName::new("feed").expect("valid");
    Input::Prices(vec![Quote::event(pair, source, UtcMs(NOON + ms), amount(number))])
}

fn amount(number: f64) -> Price {
    Price::new(number).expect("finite")
}

fn request(id: &str, pair: &str, side: Side, leverage: f64) -> OrderRequest {
    OrderRequest {
        trader: trader(),
        id: OrderId::new(id).expect("valid"),
        pair: PairName::new(pair).expect("valid"),
        side,
        execution: ExecutionType::Market,
        size: SizeFields {
            leverage: Some(Leverage::new(leverage).expect("finite")),
            ..SizeFields::default()
        },
    }
}

pub(crate) fn order(id: &str, pair: &str, side: Side, leverage: f64) -> Input {
    Input::Order(request(id, pair, side, leverage))
}

fn told(batches: Vec<Batch>) -> Story {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), batches);
    explain(dir.path(), &trader(), |_| {}).expect("a story")
}

pub(crate) fn write(dir: &Path, batches: Vec<Batch>) {
    let batches = std::iter::once(opening()).chain(batches).map(Ok::<_, RunError>);
    run::run(dir, Default::default(), batches, |_| {}).expect("a run");
}

#[test]
fn e_45_a_liquidation_shows_the_price_that_caused_it_and_why_nothing_is_left() {
    let story = told(vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Short, 0.5)]),
        at(10_000, vec![price("BTCUSD", 10_000, 190_000.0)]),
        at(
            20_000,
            vec![price("BTCUSD", 20_000, 60_000.0), order("two", "BTCUSD", Side::Long, 0.1)],
        ),
    ]);
    let verdict = story.verdict.expect("the account ended");
    assert_eq!((verdict.reason, verdict.rule, verdict.decided.commit), ("LIQUIDATED", "E-45", 3));
    assert_eq!((verdict.value, verdict.ratio), (0.0, 0.0));
    let [used] = verdict.prices.as_slice() else { panic!("{:?}", verdict.prices) };
    assert_eq!((used.price, used.source.as_deref(), used.age_ms), (190_000.0, Some("feed"), 0));
    assert!(verdict.valuation.agrees, "{:?}", verdict.valuation);
    let open = verdict.valuation.pairs[0].open.as_ref().expect("the position that was lost");
    assert!(open.unrealized_pnl_usd < -100_000.0, "more than the account: {open:?}");
    assert_eq!((open.return_before_fees, open.net_leverage), (0.0, -0.5));
    assert_eq!(verdict.value_after_flat, None, "no ledger holds a value of zero");
    assert_eq!((verdict.flat_orders.len(), verdict.orders_refused_since), (1, 1));
    assert!(story.positions[0].liquidated && story.standing.is_none());
}

#[test]
fn e_50_a_verdict_taken_at_an_order_counts_that_order_in() {
    // The mark of the second price is not sampled, so the order's own sample finds the loss.
    let story = told(vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.3)]),
        at(20_000, vec![price("BTCUSD", 20_000, 59_000.0), price("ETHUSD", 20_000, 3_000.0)]),
        at(
            20_500,
            vec![price("BTCUSD", 20_500, 30_000.0), order("two", "BTCUSD", Side::Long, 0.1)],
        ),
    ]);
    let verdict = story.verdict.expect("the account ended");
    assert_eq!((verdict.rule, verdict.decided.commit), ("E-50", 4));
    assert!(verdict.valuation.agrees, "{:?}", verdict.valuation);
    assert!(verdict.ratio <= verdict.limit_ratio);
    assert_eq!(verdict.commit_inputs, "1 price batch of 1 record, 1 order");
    assert_eq!(story.counts.by_node, 1);
}

#[test]
fn a_recorded_fill_is_told_as_recorded_and_names_no_source() {
    let fill = RecordedFill { price: amount(61_000.0), bid: None, ask: None, slippage: None };
    let story = told(vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0)]),
        at(1_000, vec![Input::RecordedOrder(request("one", "BTCUSD", Side::Long, 0.2), fill)]),
    ]);
    let [order] = story.orders.as_slice() else { panic!("{:?}", story.orders) };
    assert_eq!((order.origin, order.input), ("recorded", Some(0)));
    let OrderOutcome::Filled(fill) = &order.outcome else { panic!("{order:?}") };
    assert_eq!((fill.price, &fill.price_source, fill.effect), (61_000.0, &None, "opened"));
    assert!(fill.price_after_slippage >= fill.price, "a buyer pays slippage");
}

#[test]
fn an_id_sent_twice_in_one_commit_is_told_as_one_fill_and_one_refusal() {
    let twice = order("one", "BTCUSD", Side::Long, 0.2);
    let story = told(vec![at(0, vec![price("BTCUSD", 0, 60_000.0), twice.clone(), twice])]);
    let told: Vec<_> = story.orders.iter().map(|order| (order.input, &order.outcome)).collect();
    assert!(matches!(told[0], (Some(1), OrderOutcome::Filled(_))), "{told:?}");
    let (Some(2), OrderOutcome::Refused { code, .. }) = told[1] else { panic!("{told:?}") };
    assert_eq!((code.as_str(), told.len()), ("duplicate_id", 2));
}

#[test]
fn terms_and_departure_are_told_with_their_commits() {
    let other = TraderId::new("bob").expect("valid");
    let late = Input::AssetClass(trader(), AssetClass::Forex);
    let story = told(vec![
        at(0, vec![late, Input::AccountSize(trader(), Usd::new(50_000.0).expect("finite"))]),
        at(1_000, vec![Input::Roster(Roster::new(2, vec![other]))]),
    ]);
    assert_eq!(
        (story.status, story.account.departed.map(|place| place.commit)),
        ("departed", Some(3))
    );
    let sizes: Vec<_> =
        story.account.sizes.iter().map(|size| (size.size_usd, size.recorded.commit)).collect();
    assert_eq!(sizes, [(100_000.0, 1), (50_000.0, 2)]);
    assert_eq!(story.account.size_usd, 100_000.0, "the new size holds from the next day on");
    assert_eq!(story.account.rulebook.adopted.map(|place| place.commit), Some(1));
    assert!(story.notes[0].text.contains("asset_class_chosen"), "{:?}", story.notes);
    assert!(story.ledger.is_none() && story.standing.is_none());
}

#[test]
fn the_price_of_a_breach_is_where_the_account_really_ends() {
    let until = |last: f64| {
        told(vec![
            at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.4)]),
            at(20_000, vec![price("BTCUSD", 20_000, 60_500.0)]),
            at(40_000, vec![price("BTCUSD", 40_000, last)]),
        ])
    };
    let standing = until(60_400.0).standing.expect("alive");
    let breach = standing.breach_prices[0].breach_price;
    assert!(standing.distance_usd > 0.0 && breach < 60_400.0, "{standing:?}");
    assert_eq!(until(breach + 0.01).status, "active");
    assert_eq!(until(breach - 0.01).status, "eliminated");
}

#[test]
fn an_order_of_a_stranger_is_counted_in_the_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut stray = request("one", "BTCUSD", Side::Long, 0.1);
    stray.trader = TraderId::new("alicia").expect("valid");
    let asked = stray.trader.clone();
    write(dir.path(), vec![at(0, vec![Input::Order(stray)])]);
    let error = explain(dir.path(), &asked, |_| {}).expect_err("not on the roster").to_string();
    let expected = "no account of trader alicia among the 1 of this log; 1 order of that name was \
                    refused; nearest names: alice";
    assert_eq!(error, expected);
}

#[test]
fn edit_distance_counts_letters() {
    for (a, b, edits) in [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("kitten", "sitting", 3)]
    {
        assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
    }
}

#[test]
fn names_that_begin_with_what_was_typed_come_before_similar_ones() {
    let names = ["trend-0014", "trend-0007", "holder-0003", "tremd-000"];
    let ids = names.map(|name| TraderId::new(name).expect("valid")).to_vec();
    let found = |asked: &str| {
        nearest(asked, ids.clone()).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(found("trend")[..2], ["trend-0007", "trend-0014"]);
    assert_eq!(found("trend-0008")[0], "trend-0007");
    assert!(found("zzzzzzzzzzzz").is_empty());
}
