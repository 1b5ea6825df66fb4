//! A log of six commits in which one price ends an account, and what would have been.

use std::path::Path;

use proctor_engine::Input;
use proctor_engine::input::{RecordedFill, Roster};
use proctor_engine::rulebook::{VANTA, VANTA_PARITY};
use proctor_sequencer::Batch;
use proctor_types::{
    AssetClass, Fraction, Leverage, OrderId, OrderRequest, PairName, Price, Quote, Side,
    SizeFields, SourceName, TradePair, TraderId, Usd, UtcMs,
};

use super::*;
use crate::run::{self, RunError};

/// Tuesday 2026-01-06 12:00 UTC.
const NOON: i64 = 1_767_700_800_000;

fn trader(name: &str) -> TraderId {
    TraderId::new(name).expect("valid")
}

fn price(number: f64) -> Price {
    Price::new(number).expect("finite")
}

fn request(name: &str, id: &str, side: Side, leverage: f64) -> OrderRequest {
    OrderRequest::market(
        trader(name),
        OrderId::new(id).expect("valid"),
        PairName::new("BTCUSD").expect("valid"),
        side,
        SizeFields { leverage: Leverage::new(leverage).ok(), ..SizeFields::default() },
    )
}

fn feed(at: i64, number: f64) -> Input {
    let pair = TradePair::from_id("BTCUSD").expect("in the table");
    // Two sources agree, so that any price is believed at once.
    let quote = |source: &str| {
        let source = SourceName::new(source).expect("valid");
        Quote::event(pair, source, UtcMs(at), price(number))
    };
    Input::Prices(vec![quote("feed"), quote("feed2")])
}

/// Writes the log: alice is long half her account; a price of 40 000 in commit 4 ends it, and her
/// FLAT in commit 5 is refused. Bob's order of commit 2 was recorded with a fill.
fn log(dir: &Path) {
    let names = vec![trader("alice"), trader("bob")];
    let mut terms =
        vec![Input::Rulebook(VANTA.into()), Input::Roster(Roster::new(1, names.clone()))];
    for name in names {
        terms.push(Input::AccountSize(name.clone(), Usd::new(100_000.0).expect("finite")));
        terms.push(Input::AssetClass(name, AssetClass::Crypto));
    }
    let fill = RecordedFill {
        price: price(60_000.0),
        bid: Some(price(59_990.0)),
        ask: Some(price(60_010.0)),
        slippage: Fraction::new(0.0).ok(),
    };
    let bob = Input::RecordedOrder(request("bob", "b-1", Side::Long, 0.1), fill);
    let alice = |id, side| Input::Order(request("alice", id, side, 0.5));
    let minute = |n: i64| NOON + n * 60_000;
    let batches = [
        (NOON - 86_400_000, terms),
        (minute(0), vec![feed(minute(0), 60_000.0), alice("a-1", Side::Long), bob]),
        (minute(1), vec![feed(minute(1), 59_000.0)]),
        (minute(2), vec![feed(minute(2), 40_000.0)]),
        (minute(3), vec![feed(minute(3), 60_100.0), alice("a-2", Side::Flat)]),
        (minute(4), vec![Input::Tick]),
    ];
    let batches = batches.map(|(at, inputs)| Ok::<_, RunError>(Batch { at: UtcMs(at), inputs }));
    run::run(dir, Default::default(), batches.into_iter(), |_| {}).expect("a run");
}

fn ask(
    rulebook: Option<&str>,
    alterations: &[&str],
    trader: Option<&str>,
) -> Result<Report, String> {
    let dir = tempfile::tempdir().expect("a scratch folder");
    log(dir.path());
    let alteration = |text: &&str| match text.strip_prefix("drop ") {
        Some(order) => Alteration::drop(order),
        None => Alteration::set(text),
    };
    let alterations: Result<_, _> = alterations.iter().map(alteration).collect();
    let question = Question {
        rulebook: rulebook.map(Into::into),
        alterations: alterations.expect("valid"),
        trader: trader.map(self::trader),
        details_max: 3,
    };
    whatif(dir.path(), &question, |_| {}).map_err(|error| error.to_string())
}

fn set(text: &str) -> Report {
    ask(None, &[text], Some("alice")).expect("an answer")
}

fn verdicts(report: &Report) -> Vec<(&str, &str, Option<u64>, Option<u64>)> {
    let commit = |line: &Option<crate::report::summary::EliminationLine>| {
        line.as_ref().map(|line| line.commit)
    };
    let change = |e: &EliminationChange| (commit(&e.recorded), commit(&e.altered));
    let told = report.eliminations.iter();
    told.map(|e| (e.trader.as_str(), e.change, change(e).0, change(e).1)).collect()
}

fn limit(fraction: &str) -> String {
    let text = VANTA.replacen(
        "drawdown_max = { value = 0.1",
        &format!("drawdown_max = {{ value = {fraction}"),
        1,
    );
    assert_ne!(text, VANTA, "the limit stands in the rulebook");
    text
}

#[test]
fn the_same_rulebook_makes_no_difference_even_under_another_name() {
    let same = ask(Some(VANTA), &[], None).expect("an answer");
    assert!(same.is_same(), "{same:?}");
    assert_eq!(same.digests[0], same.digests[1]);
    let renamed = VANTA.replacen("name = \"vanta\"", "name = \"mine\"", 1);
    let renamed = ask(Some(&renamed), &[], Some("alice")).expect("an answer");
    assert!(renamed.is_same() && renamed.summary.starts_with("no difference"), "{renamed:?}");
    assert_ne!(renamed.digests[0], renamed.digests[1], "the hash of the document is an event");
    assert_eq!(renamed.detail.expect("alice was asked for").differences, 0);
}

#[test]
fn a_lower_limit_ends_the_account_at_the_earlier_commit() {
    let report = ask(Some(&limit("0.005")), &[], None).expect("an answer");
    let expected = [("alice", "moved", Some(4), Some(3)), ("bob", "new", None, Some(4))];
    assert_eq!(verdicts(&report), expected);
    assert_eq!(report.first.as_ref().map(|first| first.place.commit), Some(3));
    assert_eq!(report.first.as_ref().map(|first| first.kind.as_str()), Some("Eliminated"));
    let says = "1 more account would have ended; 1 of 1 would have come at another commit or for \
                another reason; the first difference is commit 3 ";
    assert!(report.summary.starts_with(says), "{}", report.summary);
}

#[test]
fn a_higher_limit_keeps_the_account_and_accepts_what_was_refused() {
    let report = ask(Some(&limit("0.3")), &[], None).expect("an answer");
    assert_eq!(verdicts(&report), [("alice", "gone", Some(4), None)]);
    assert_eq!(report.orders.now_accepted.get("eliminated"), Some(&1));
    let says = "1 of 1 elimination would not have happened; the first difference is commit 4";
    assert!(report.summary.starts_with(says), "{}", report.summary);
}

#[test]
fn a_corrected_price_removes_the_verdict_that_rested_on_it() {
    let report = set("BTCUSD@4=59500");
    assert_eq!(verdicts(&report), [("alice", "gone", Some(4), None)]);
    assert_eq!(report.eliminated, [1, 0]);
    let change = &report.changes[0];
    assert_eq!(
        (change.recorded.as_str(), change.altered.as_str()),
        ("feed 40000, feed2 40000", "59500")
    );
    let detail = report.detail.expect("alice was asked for");
    let [Some(before), Some(after)] = [detail.account.recorded, detail.account.altered] else {
        panic!("alice has an account on both sides")
    };
    assert_eq!((before.status, after.status), ("eliminated", "active"));
    assert!(before.value < 0.9 && after.value > 0.99 && after.distance_percent > Some(9.0));
    assert_eq!((before.refused, after.refused), (1, 0));
    let bob = report.traders.iter().find(|account| account.trader.as_str() == "bob");
    assert!(bob.is_some_and(|bob| bob.first.is_none()), "bob was marked lower, nothing else");
    let by_source = set("feed/BTCUSD@4=59500");
    assert_eq!(by_source.eliminated, [1, 0]);
}

#[test]
fn an_order_that_was_never_sent_or_sent_later_ends_no_account() {
    for text in ["drop a-1@alice", "order:alice/a-1.time=2026-01-06T12:02:30Z"] {
        let report = set(text);
        assert_eq!(verdicts(&report), [("alice", "gone", Some(4), None)], "{text}");
        assert_eq!(report.first.as_ref().map(|first| first.place.commit), Some(2), "{text}");
    }
    let moved = set("order:alice/a-1.time=2026-01-06T12:02:30Z");
    assert_eq!(moved.changes[0].altered, "2026-01-06T12:03:00.000Z (commit 5)");
}

#[test]
fn a_corrected_fill_changes_what_the_position_is_worth() {
    let report = ask(None, &["order:bob/b-1.price=50000"], Some("bob")).expect("an answer");
    let detail = report.detail.expect("bob was asked for");
    let values =
        [detail.account.recorded, detail.account.altered].map(|side| side.map(|s| s.value));
    assert!(values[0] < values[1], "{values:?}");
    assert_eq!(detail.shown[0].kind, "Filled");
    assert_eq!(report.eliminated, [1, 1]);
    let both = ["order:bob/b-1.price=50000", "order:bob/b-1.time=2026-01-06T12:01:00Z"];
    let both = ask(None, &both, Some("bob")).expect("an answer");
    let shown = both.detail.expect("bob was asked for").shown;
    assert_eq!((shown[0].place.commit, &shown[0].altered), (2, &None));
    let filled = shown.iter().find(|shown| shown.kind == "Filled" && shown.altered.is_some());
    let filled = filled.unwrap_or_else(|| panic!("the order was filled later: {shown:#?}"));
    let altered = filled.altered.as_deref().unwrap_or_default();
    assert!(filled.place.commit == 3 && altered.contains("at 50000"), "{altered}");
}

#[test]
fn details_are_bounded_and_counted() {
    let report = ask(Some(VANTA_PARITY), &["BTCUSD@3=61000", "BTCUSD@4=59500"], Some("alice"));
    let detail = report.expect("an answer").detail.expect("alice was asked for");
    assert!(detail.differences > 2, "{detail:?}");
    assert_eq!(detail.shown.len(), 3);
}

#[test]
fn what_does_not_fit_the_log_is_refused_with_what_would() {
    for (alteration, says) in [
        ("BTCUSD@7=1", "there is no commit 7: the log holds commits 1 to 6"),
        ("BTCUSD@0=1", "there is no commit 0: the log holds commits 1 to 6"),
        ("ETHUSD@4=1", "commit 4 holds no price of ETHUSD; it prices feed/BTCUSD"),
        (
            "kraken/BTCUSD@4=1",
            "commit 4 holds no price of BTCUSD from kraken; it prices feed/BTCUSD",
        ),
        (
            "BTCUSD@6=1",
            "commit 6 holds no price of BTCUSD; it holds no prices; nearest commits with one: 5",
        ),
        (
            "drop a-9@alice",
            "no order a-9 of trader alice stands in the log; this trader sent 2 orders",
        ),
        ("drop a-1@carol", "no order a-1 of trader carol stands in the log; this trader sent none"),
        ("order:alice/a-1.price=1", "order a-1 of trader alice was not recorded with a fill"),
        (
            "order:alice/a-1.time=2026-01-07",
            "no commit at or after 2026-01-07T00:00:00.000Z: the log ends at 2026-01-06T12:04:00.000Z",
        ),
    ] {
        let error = ask(None, &[alteration], None).expect_err(alteration);
        assert!(error.starts_with(says), "{alteration}: {error}");
    }
    let twice = ask(None, &["drop a-1@alice", "order:alice/a-1.time=0"], None);
    assert_eq!(twice.expect_err("refused"), "order a-1 of trader alice is given twice");
    let twice = ask(None, &["BTCUSD@4=1", "BTCUSD@4=2"], None);
    assert_eq!(twice.expect_err("refused"), "the price of BTCUSD in commit 4 is given twice");
}

#[test]
fn a_question_without_an_answer_is_refused() {
    let nothing = ask(None, &[], None).expect_err("refused");
    assert!(nothing.starts_with("nothing would differ"), "{nothing}");
    let broken = ask(Some("name = "), &[], None).expect_err("refused");
    assert!(broken.starts_with("rulebook: line 1"), "{broken}");
    let late = VANTA.replacen("effective_from_ms = 0", "effective_from_ms = 1800000000000", 1);
    let late = ask(Some(&late), &[], None).expect_err("refused");
    assert!(late.contains("effective from 2027-01-15T08:00:00.000Z, after 2026-01-05"), "{late}");
    let carol = ask(Some(VANTA), &[], Some("alicia")).expect_err("refused");
    let says = "no account of trader alicia among the 2 of this log; nearest names: alice";
    assert_eq!(carol, says);
}

#[test]
fn a_corrected_bar_has_one_price_and_keeps_its_relative_spread() {
    let pair = TradePair::from_id("BTCUSD").expect("in the table");
    let source = SourceName::new("feed").expect("valid");
    let mut bar = Quote::event(pair, source, UtcMs(0), price(100.0));
    (bar.low, bar.high) = (price(90.0), price(110.0));
    (bar.bid, bar.ask) = (Some(price(99.0)), Some(price(101.0)));
    plan::reprice(&mut bar, price(200.0));
    assert_eq!([bar.open, bar.high, bar.low, bar.close], [price(200.0); 4]);
    assert_eq!((bar.bid, bar.ask), (Some(price(198.0)), Some(price(202.0))));
}
