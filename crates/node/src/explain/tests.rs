//! Stories of accounts that end in unusual ways, told from small logs.

use std::path::Path;

use proctor_engine::Input;
use proctor_engine::input::{PriceCorrection, RecordedFill, Roster};
use proctor_engine::rulebook::VANTA;
use proctor_sequencer::Batch;
use proctor_types::{
    AssetClass, Leverage, OperatorId, OrderId, OrderRequest, PairName, Price, Quote, Remark, Side,
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
    // Two sources, so that any price is believed at once.
    let quotes = ["feed", "feed2"].map(|name| {
        let source = SourceName::new(name).expect("valid");
        Quote::event(pair, source, UtcMs(NOON + ms), amount(number))
    });
    Input::Prices(quotes.to_vec())
}

fn amount(number: f64) -> Price {
    Price::new(number).expect("finite")
}

fn request(id: &str, pair: &str, side: Side, leverage: f64) -> OrderRequest {
    OrderRequest::market(
        trader(),
        OrderId::new(id).expect("valid"),
        PairName::new(pair).expect("valid"),
        side,
        SizeFields {
            leverage: Some(Leverage::new(leverage).expect("finite")),
            ..SizeFields::default()
        },
    )
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
    let fall = verdict.fall.expect("a liquidation rests on a fall");
    assert_eq!((fall.value, fall.ratio), (0.0, 0.0));
    let [used] = verdict.prices.as_slice() else { panic!("{:?}", verdict.prices) };
    assert_eq!((used.price, used.source.as_deref(), used.age_ms), (190_000.0, Some("feed"), 0));
    assert!(fall.valuation.agrees, "{:?}", fall.valuation);
    let open = fall.valuation.pairs[0].open.as_ref().expect("the position that was lost");
    assert!(open.unrealized_pnl_usd < -100_000.0, "more than the account: {open:?}");
    assert_eq!((open.return_before_fees, open.net_leverage), (0.0, -0.5));
    assert_eq!(verdict.value_after_flat, None, "no ledger holds a value of zero");
    assert_eq!((verdict.flat_orders.len(), verdict.orders_refused_since), (1, 1));
    assert!(story.positions[0].liquidated && story.standing.is_none());
}

#[test]
fn a_living_account_is_told_its_stage_what_that_asks_for_and_how_it_came_there() {
    let story = told(vec![at(
        0,
        vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.3)],
    )]);
    let stage = story.stage.expect("in a stage");
    assert_eq!((stage.stage, stage.label, stage.before), ("challenge", "CHALLENGE", None));
    assert_eq!((stage.complete_days, stage.complete_days_min), (0, 61));
    let (ends, days) = (stage.ends.expect("limited"), stage.ends_in_days.expect("limited"));
    assert_eq!((ends.ms - stage.since.ms, days), (90 * 86_400_000, 90.0));
    let causes: Vec<&str> = story.stages.iter().map(|moved| moved.cause).collect();
    assert_eq!(causes, ["admitted", "first_order"]);
    assert!(story.stages[1].text.starts_with("first order: the challenge counts from it"));
}

#[test]
fn c_37_a_verdict_taken_at_an_order_counts_that_order_in() {
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
    assert_eq!((verdict.rule, verdict.decided.commit), ("C-37", 4));
    let fall = verdict.fall.expect("a drawdown is a fall");
    assert!(fall.valuation.agrees, "{:?}", fall.valuation);
    assert!(fall.ratio <= fall.limit_ratio);
    assert_eq!(verdict.commit_inputs, "1 price batch of 2 records, 1 order");
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

#[test]
fn s_7_the_scoring_of_an_account_counts_complete_days_and_names_its_penalties() {
    let day = proctor_types::time::DAY_MS;
    // From a minute past the noon of the 6th on. The first cell counts from its beginning, which is
    // that noon: the 7th and the 8th are complete, of the 6th and the 9th there is one half each.
    let first = vec![price("BTCUSD", 60_000, 60_000.0), order("one", "BTCUSD", Side::Long, 0.1)];
    let mut batches = vec![at(60_000, first)];
    for half in 1..=6 {
        let ms = half * day / 2 + 1_000;
        let number = 60_000.0 + 300.0 * f64::from(u32::try_from(half).expect("few"));
        batches.push(at(ms, vec![price("BTCUSD", ms, number)]));
    }
    let scoring = told(batches).scoring.expect("there is a ledger");
    assert_eq!((scoring.complete_days, scoring.field), (2, 1));
    let penalties = scoring.penalties.expect("there is a ledger");
    assert_eq!(
        (penalties.drawdown, penalties.collateral),
        (1.0, 0.01),
        "100,000 USD is too little"
    );
    assert!(penalties.risk_profile > 0.99 && penalties.product < 0.01, "{penalties:?}");
    let [crypto, forex] = scoring.classes.as_slice() else { panic!("{:?}", scoring.classes) };
    assert_eq!((crypto.class.as_str(), crypto.days, crypto.minimum_days), ("crypto", 2, 7));
    assert_eq!((forex.class.as_str(), forex.days), ("forex", 0));
    assert_eq!(crypto.ranked_by, ["pnl"]);
    assert_eq!(crypto.metrics["sharpe"], -100.0, "two days say nothing");
    assert!(crypto.daily_return > 0.0 && crypto.place.is_none(), "nobody to be ranked against");
}

#[test]
fn a_verdict_that_was_taken_back_is_told_with_who_did_it_and_the_epoch_that_began() {
    use proctor_engine::eliminations::{Reentry, Reinstatement};
    let decided = Stamp { commit: 3, at: UtcMs(NOON + 20_000) };
    let story = told(vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.5)]),
        at(20_000, vec![price("BTCUSD", 20_000, 30_000.0)]),
        at(30_000, vec![order("two", "BTCUSD", Side::Long, 0.1)]),
        at(
            40_000,
            vec![Input::Reinstate(Reinstatement {
                trader: trader(),
                by: OperatorId::new("desk").expect("valid"),
                why: Remark::new("bad tick").expect("valid"),
                decided,
                reentry: Reentry::Challenge,
            })],
        ),
        at(
            50_000,
            vec![price("BTCUSD", 50_000, 60_000.0), order("three", "BTCUSD", Side::Long, 0.1)],
        ),
        at(60_000, vec![Input::SlashSettled(trader(), decided)]),
    ]);
    assert_eq!((story.status, story.verdict.is_none()), ("active", true));
    let [undone] = story.undone.as_slice() else { panic!("{:?}", story.undone) };
    assert_eq!((undone.by, undone.name.as_str()), ("operator", "desk"));
    assert_eq!((undone.why.as_deref(), undone.epoch), (Some("bad tick"), Some(1)));
    assert_eq!(
        (undone.verdict.reason, undone.verdict.orders_refused_since),
        ("FAILED_CHALLENGE_PERIOD_DRAWDOWN", 1)
    );
    let slash = undone.verdict.slash.as_ref().expect("stated");
    assert_eq!((slash.proportion, slash.state), (1.0, "settled"));
    assert!(undone.ledger.as_ref().is_some_and(|ledger| ledger.worst.is_some()));
    assert_eq!(story.counts.filled, 2);
    assert!(story.ledger.is_some_and(|ledger| ledger.peak.value == 1.0), "a ledger of its own");
}

#[test]
fn a_record_from_outside_is_told_with_its_author_and_without_a_fall() {
    use proctor_engine::eliminations::{DrawdownNote, EliminationRow, EliminationsCommand, Reason};
    let row = |name: &str| EliminationRow {
        trader: TraderId::new(name).expect("valid"),
        reason: Reason::Plagiarism,
        drawdown: DrawdownNote::NotApplicable,
        decided_at: UtcMs(NOON - 5),
    };
    let command = EliminationsCommand::Add {
        by: OperatorId::new("desk").expect("valid"),
        why: Remark::new("copied bob").expect("valid"),
        rows: vec![row("alice"), row("mallory")],
    };
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), vec![at(0, vec![Input::Eliminations(command)])]);
    let story = explain(dir.path(), &trader(), |_| {}).expect("a story");
    let verdict = story.verdict.expect("ended");
    assert_eq!((verdict.reason, verdict.rule, verdict.dd), ("PLAGIARISM", "C-44", Some(-1.0)));
    assert_eq!(verdict.decided_by.why.as_deref(), Some("copied bob"));
    assert!(verdict.fall.is_none() && verdict.slash.is_none());
    let mallory = TraderId::new("mallory").expect("valid");
    let barred = explain(dir.path(), &mallory, |_| {}).expect_err("no account").to_string();
    assert!(barred.contains("barred: PLAGIARISM by operator desk in commit 2"), "{barred}");
}

/// A price that only one source tells.
fn alone(ms: i64, number: f64) -> Input {
    let Input::Prices(mut quotes) = price("BTCUSD", ms, number) else { unreachable!() };
    quotes.truncate(1);
    Input::Prices(quotes)
}

#[test]
fn a_verdict_that_waits_is_told_with_its_claim_and_how_it_was_dropped() {
    let opening = vec![alone(0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.5)];
    let spike = at(10_000, vec![alone(10_000, 30_000.0)]);
    let story = told(vec![at(0, opening.clone()), spike.clone()]);
    let standing = story.standing.expect("alive");
    assert_eq!(standing.frozen_since.expect("frozen").commit, 3);
    let [quality] = standing.price_quality.as_slice() else { panic!("one pair is open") };
    assert_eq!((quality.flag, quality.sources, quality.stale_ms), ("spike", 1, Some(0)));
    let claim = "BTCUSD at 30000 of feed alone, 10000 bps from 60000";
    assert!(story.notes[0].text.contains(claim), "{}", story.notes[0].text);
    let story = told(vec![at(0, opening), spike, at(20_000, vec![alone(20_000, 60_100.0)])]);
    let standing = story.standing.expect("alive");
    assert!(standing.frozen_since.is_none() && standing.ratio > 0.99);
    assert_eq!(standing.price_quality[0].flag, "single_source");
    let words = "the verdict held back in commit 3 was dropped: the price came back";
    assert_eq!(story.notes[1].text, words);
}

#[test]
fn a_verdict_shows_what_every_source_said_in_the_minute_before() {
    let story = told(vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.5)]),
        at(50_000, vec![alone(50_000, 59_000.0)]),
        at(70_000, vec![price("BTCUSD", 70_000, 30_000.0)]),
    ]);
    let verdict = story.verdict.expect("the account ended");
    let support = verdict.prices[0].support.expect("told with the record");
    assert_eq!((support.sources, support.agreeing, support.spread_bps), (2, 2, 0.0));
    let window: Vec<_> =
        verdict.price_window.iter().map(|p| (p.source.as_str(), p.at.ms - NOON, p.price)).collect();
    let all = [("feed", 50_000, 59_000.0), ("feed", 70_000, 30_000.0), ("feed2", 70_000, 30_000.0)];
    assert_eq!(window, all);
}

#[test]
fn a_corrected_order_is_told_at_its_new_price_with_a_note_of_the_old_one() {
    let correction = Input::CorrectPrice(PriceCorrection {
        trader: trader(),
        order: OrderId::new("one").expect("valid"),
        price: amount(60_600.0),
        bid: None,
        ask: None,
        source: SourceName::new("audit").expect("valid"),
        by: OperatorId::new("officer").expect("valid"),
        why: Remark::new("the feed was late").expect("valid"),
    });
    let story = told(vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.5)]),
        at(10_000, vec![price("BTCUSD", 10_000, 60_600.0)]),
        at(20_000, vec![correction.clone()]),
        at(21_000, vec![correction]),
    ]);
    let OrderOutcome::Filled(fill) = &story.orders[0].outcome else { panic!("it was filled") };
    assert_eq!((fill.price, fill.value_usd), (60_600.0, 50_000.0));
    let paid = fill.price_after_slippage;
    assert!(paid > fill.price && (story.positions[0].average_entry_price - paid).abs() < 1e-6);
    let texts: Vec<&str> = story.notes.iter().map(|note| note.text.as_str()).collect();
    let told = "from 60000 to 60600 (audit), asked for by officer: the feed was late";
    assert!(texts[0].contains(told), "{}", texts[0]);
    assert_eq!(texts[1], "refused, correction_same_price: order one has this price already");
}
