//! The story of an account says the rule, the numbers and the prices, in text and JSON alike.

use std::path::Path;

use proctor_commit_log::Reader;
use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_node::data_dir::log_of;
use proctor_node::run::{self, RunError};
use proctor_sequencer::{Batch, Replay};
use proctor_types::{
    AssetClass, Leverage, OrderId, OrderRequest, PairName, Price, Quote, Side, SizeFields,
    SourceName, TradePair, TraderId, Usd, UtcMs,
};
use serde_json::Value;

use crate::common::{assert_one_line_error, demo, run as proctor};

struct Told {
    page: String,
    story: Value,
}

fn tell(dir: &Path, trader: &str) -> Told {
    let dir = dir.to_str().unwrap();
    let page = proctor(&["explain", "--data", dir, "--trader", trader]);
    let json = proctor(&["explain", "--data", dir, "--trader", trader, "--json"]);
    assert_eq!((page.code, json.code), (Some(0), Some(0)), "{}{}", page.err, json.err);
    Told { page: page.out, story: serde_json::from_str(&json.out).unwrap() }
}

/// Returns the traders whose accounts ended, and of the others one of each style.
fn some_traders(dir: &Path) -> Vec<String> {
    let mut fold = Replay::from_the_first(Reader::open(log_of(dir).unwrap()).unwrap());
    while fold.step().unwrap().is_some() {}
    let accounts = fold.engine().view().accounts;
    let (ended, alive): (Vec<_>, Vec<_>) =
        accounts.iter().partition(|account| account.elimination.is_some());
    ended.into_iter().chain(alive.into_iter().take(7)).map(|a| a.trader.to_string()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is not a list"))
}

#[test]
fn the_story_of_an_eliminated_trader_can_be_redone_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    demo(dir.path(), 2, 60, 8);
    let mut ended = 0;
    for name in some_traders(dir.path()) {
        let told = tell(dir.path(), &name);
        check_page(&told.page);
        check_orders(&told.story);
        match text(&told.story["status"]) {
            "eliminated" => {
                check_verdict(&told);
                ended += 1;
            }
            "active" => check_standing(&told),
            other => panic!("{name} is {other}"),
        }
    }
    assert!(ended >= 3, "only {ended} accounts ended; the demo tells too little");
}

fn check_page(page: &str) {
    let widest = page.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(widest <= 110, "a line has {widest} columns:\n{page}");
    assert!(page.lines().all(|line| line.trim_end() == line), "blanks at the end of a line");
}

/// Every order the trader sent has exactly one outcome, in the order of the log.
fn check_orders(story: &Value) {
    let orders = list(&story["orders"]);
    let commits: Vec<u64> = orders.iter().map(|order| order["commit"].as_u64().unwrap()).collect();
    assert!(commits.is_sorted(), "orders stand in the order of the log");
    let of = |result: &str, origin: &str| {
        let same = |order: &&Value| order["result"] == result && order["origin"] == origin;
        u64::try_from(orders.iter().filter(same).count()).unwrap()
    };
    let counts = &story["counts"];
    let refused: u64 =
        counts["refused"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(of("filled", "trader"), counts["filled"].as_u64().unwrap());
    assert_eq!(of("refused", "trader"), refused);
    assert_eq!(of("nothing_to_close", "trader"), counts["nothing_to_close"].as_u64().unwrap());
    assert_eq!(of("filled", "node"), counts["by_node"].as_u64().unwrap());
    for order in orders.iter().filter(|order| order["result"] == "filled") {
        assert!(number(&order["price"]) > 0.0, "{order}");
        let age = order["price_source"]["age_ms"].as_i64().expect("whose price, and how old");
        assert!((0..120_000).contains(&age), "{order}");
    }
}

fn check_verdict(told: &Told) {
    let Told { page, story } = told;
    let verdict = &story["verdict"];
    assert_eq!(
        (text(&verdict["reason"]), text(&verdict["rule"])),
        ("FAILED_CHALLENGE_PERIOD_DRAWDOWN", "C-37")
    );
    assert_eq!(verdict["limit_ratio"], 0.9);
    assert!(page.contains("C-37 (services 2.5)"), "{page}");
    let moves: Vec<&str> =
        list(&story["stages"]).iter().map(|moved| text(&moved["cause"])).collect();
    assert_eq!(moves, ["admitted", "first_order", "ended"]);
    assert!(page.contains("admitted to the challenge, counting from 2026-01-04"), "{page}");
    assert!(page.contains("the account ended: left challenge"), "{page}");
    let (value, peak) = (number(&verdict["value"]), number(&verdict["peak"]["value"]));
    let ratio = number(&verdict["ratio"]);
    assert!(ratio <= 0.9 && value / peak == ratio && number(&verdict["worst_ratio"]) == ratio);
    let written = joined(page);
    assert!(written.contains(&format!("{value} / {peak} = {ratio} <= 0.9")), "{page}");
    for price in list(&verdict["prices"]) {
        let row =
            [text(&price["pair"]), &number(&price["price"]).to_string(), text(&price["source"])];
        assert!(written.contains(&row.join(" ")), "{row:?} is not on the page:\n{page}");
    }
    assert_eq!(verdict["valuation"]["agrees"], true, "{}", verdict["valuation"]);
    assert_eq!(redone(&verdict["valuation"]), value);
    assert!(written.contains("to the last bit"), "{page}");
    let flats = list(&verdict["flat_orders"]);
    assert_eq!(flats.len(), list(&verdict["prices"]).len(), "what was open was closed");
    for flat in flats {
        assert!(page.contains(text(&flat["id"])), "{page}");
    }
    let after = |order: &&Value| order["commit"].as_u64() > verdict["decided"]["commit"].as_u64();
    let later: Vec<&Value> = list(&story["orders"]).iter().filter(after).collect();
    assert!(later.iter().all(|order| order["code"] == "eliminated"));
    assert_eq!(verdict["orders_refused_since"].as_u64(), u64::try_from(later.len()).ok());
}

/// Computes a portfolio's value from fills, prices and fee factors, as a reader would.
fn redone(valuation: &Value) -> f64 {
    let mut portfolio = 1.0;
    for pair in list(&valuation["pairs"]) {
        let mut value = number(&pair["closed"]["value"]);
        let open = &pair["open"];
        if !open.is_null() {
            let field = |name: &str| number(&open[name]);
            let moved = number(&open["price"]["price"]) - field("average_entry_price");
            let units = field("net_quantity") * field("lot_size");
            let unrealized = moved * units * field("quote_usd_rate");
            assert_eq!(unrealized, field("unrealized_pnl_usd"), "{open}");
            let gain = (field("realized_pnl_usd") + unrealized) / field("account_size_usd");
            value *= (1.0 + gain) * (field("carry_fee") * field("spread_fee"));
        }
        portfolio *= value;
    }
    portfolio
}

fn check_standing(told: &Told) {
    let standing = &told.story["standing"];
    if standing.is_null() {
        assert!(list(&told.story["orders"]).iter().all(|order| order["result"] != "filled"));
        return;
    }
    let (value, peak) = (number(&standing["value"]), number(&standing["peak"]));
    assert_eq!(number(&standing["limit_value"]), peak * 0.9);
    assert!(number(&standing["distance_percent"]) > 0.0, "{standing}");
    let size = number(&told.story["account"]["size_usd"]);
    assert_eq!(number(&standing["distance_usd"]), (value - peak * 0.9) * size);
    assert!(told.page.contains("the account ends at"), "{}", told.page);
}

/// Returns the page as one line with single blanks, so that wrapping does not matter.
fn joined(page: &str) -> String {
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_unknown_trader_is_told_how_many_there_are_and_the_nearest_names() {
    let dir = tempfile::tempdir().unwrap();
    demo(dir.path(), 1, 10, 1);
    let path = dir.path().to_str().unwrap();
    let ask = |trader: &str| proctor(&["explain", "--data", path, "--trader", trader]);
    let says = "no account of trader trend-0008 among the 10 of this log; nearest names: trend-000";
    assert_one_line_error(&ask("trend-0008"), 2, says);
    assert_one_line_error(&ask("scal"), 2, "nearest names: scalper-0002, scalper-0009");
    assert_one_line_error(&ask("no such name"), 2, "is not a trader's name");
}

#[test]
fn last_limits_the_lists_of_the_page_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    demo(dir.path(), 1, 10, 1);
    let path = dir.path().to_str().unwrap();
    let whole = tell(dir.path(), "scalper-0002");
    let orders = list(&whole.story["orders"]).len();
    assert!(orders > 10, "{orders} orders");
    let short =
        proctor(&["explain", "--data", path, "--trader", "scalper-0002", "--last", "2"]).out;
    let title = format!("ORDERS, {orders} ({} earlier ones are not shown)", orders - 2);
    assert!(short.contains(&title), "{short}");
    assert!(short.lines().count() + orders - 2 <= whole.page.lines().count(), "{short}");
}

/// Writes the log of a trader who is short half of his account when the price triples.
fn liquidation(dir: &Path) {
    let noon = 1_767_700_800_000;
    let trader = TraderId::new("alice").unwrap();
    let order = Input::Order(OrderRequest::market(
        trader.clone(),
        OrderId::new("6d6e2447-8b67-4bf9-82c1-547ddc971706").unwrap(),
        PairName::new("BTCUSD").unwrap(),
        Side::Short,
        SizeFields { leverage: Some(Leverage::new(0.5).unwrap()), ..SizeFields::default() },
    ));
    let price = |at: UtcMs, number: f64| {
        let pair = TradePair::from_id("BTCUSD").unwrap();
        // Two sources, so that any price is believed at once.
        let quote = |name| {
            let source = SourceName::new(name).unwrap();
            Quote::event(pair, source, at, Price::new(number).unwrap())
        };
        Input::Prices(vec![quote("feed"), quote("feed2")])
    };
    let (yesterday, opened, ended) = (UtcMs(noon - 86_400_000), UtcMs(noon), UtcMs(noon + 60_000));
    let terms = vec![
        Input::Rulebook(VANTA.into()),
        Input::Roster(Roster::new(1, vec![trader.clone()])),
        Input::AccountSize(trader.clone(), Usd::new(100_000.0).unwrap()),
        Input::AssetClass(trader, AssetClass::Crypto),
    ];
    let batches = [
        Batch { at: yesterday, inputs: terms },
        Batch { at: opened, inputs: vec![price(opened, 60_000.0), order] },
        Batch { at: ended, inputs: vec![price(UtcMs(ended.0 - 1_500), 185_000.0)] },
    ];
    let batches = batches.into_iter().map(Ok::<_, RunError>);
    run::run(dir, Default::default(), batches, |_| {}).unwrap();
}

#[test]
fn e_45_the_page_of_a_liquidation_shows_how_the_account_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    liquidation(dir.path());
    let told = tell(dir.path(), "alice");
    check_page(&told.page);
    check_orders(&told.story);
    let page = joined(&told.page);
    for expected in [
        "Trader alice: ELIMINATED, LIQUIDATED (E-45)",
        "E-45 (trading 8.9): an account ends when its portfolio is worth nothing",
        "BTCUSD 185000 feed 2026-01-06T12:00:58.500Z 1.5 s",
        "not below 0: the account is lost: = 0",
        "every order after the verdict in commit 3 is refused",
        "to the last bit",
    ] {
        assert!(page.contains(expected), "{expected:?} is not on the page:\n{}", told.page);
    }
}
