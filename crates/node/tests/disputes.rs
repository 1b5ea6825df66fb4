//! Disputed positions that were once repaired by hand: `whatif` gives the same repair.
//!
//! The data is not part of the repository. It is looked for beside it, or where PROCTOR_SHARED says;
//! without it this test says that it was skipped.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use proctor_engine::rulebook::VANTA;
use proctor_node::import::BadRows;
use proctor_node::recorded::comparison::Finding;
use proctor_node::recorded::{Recording, Replayed, replay};
use proctor_node::whatif::{Alteration, Question, Report, whatif};
use proctor_sequencer::WriterConfig;
use proctor_types::{TraderId, Usd};
use serde_json::{Value, json};

/// Returns the folder of recorded data, or says that the test is skipped.
fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("PROCTOR_SHARED").map_or_else(beside, PathBuf::from);
    let data = shared.join("data");
    if !data.is_dir() {
        eprintln!("SKIPPED: no recorded data at {}", data.display());
        return None;
    }
    Some(data)
}

/// Replays the positions in `orders` into `dir`.
fn run(data: &Path, orders: &Path, dir: &Path) -> Replayed {
    let bars = data.join("bars/hyperliquid_perp_5m_BTCUSDC_2025-03_07.csv.gz");
    let recording = Recording {
        orders: vec![orders.to_owned()],
        set: None,
        bars: vec![format!("BTCUSD:300={}", bars.display())],
        rulebook: VANTA.into(),
        account_size: Usd::new(100_000.0).expect("finite"),
        bad_rows: BadRows::Refuse,
    };
    replay(&recording, dir, WriterConfig::default(), |_, _| {}).expect("replays")
}

/// A closing order as it was repaired by hand.
struct Repair {
    trader: String,
    order: String,
    price: f64,
    at_ms: i64,
}

/// Undoes the repair of the positions whose recorded figures still tell of the late close: time and
/// price of their FLAT become those of the close that was disputed.
fn undo(positions: &mut Value) -> Vec<Repair> {
    let mut repairs = Vec::new();
    for position in positions.as_array_mut().expect("a list") {
        let number = |name: &str| position[name].as_f64().expect("a number");
        let (closed_ms, pnl) = (position["close_ms"].clone(), number("realized_pnl"));
        // The profit is in quote currency per unit: price difference times leverage.
        let leverage = position["orders"][0]["leverage"].as_f64().expect("a number");
        let disputed = number("average_entry_price") + pnl / leverage;
        let trader = position["miner_hotkey"].as_str().expect("text").to_owned();
        let flat = &mut position["orders"][1];
        let (at_ms, price) = (flat["processed_ms"].as_i64(), flat["price"].as_f64());
        let late = closed_ms.as_i64() > at_ms.map(|at| at + 86_400_000);
        if !late || flat["slippage"] != 0 {
            continue;
        }
        repairs.push(Repair {
            trader,
            order: flat["order_uuid"].as_str().expect("text").to_owned(),
            price: price.expect("a price"),
            at_ms: at_ms.expect("a time"),
        });
        flat["processed_ms"] = closed_ms;
        for field in ["price", "bid", "ask"] {
            flat[field] = json!(disputed);
        }
    }
    repairs
}

fn ask(dir: &Path, rulebook: Option<String>, repairs: &[Repair]) -> Report {
    let set = |text: String| Alteration::set(&text).expect("valid");
    let alterations = repairs
        .iter()
        .flat_map(|Repair { trader, order, price, at_ms }| {
            [
                set(format!("order:{trader}/{order}.price={price}")),
                set(format!("order:{trader}/{order}.time={at_ms}")),
            ]
        })
        .collect();
    let trader = Some(TraderId::new(&repairs[0].trader).expect("valid"));
    let question = Question { rulebook, alterations, trader, details_max: 10 };
    whatif(dir, &question, |_| {}).expect("an answer")
}

/// The value of the trader's account at the end of the altered history, and its status.
fn altered(report: &Report) -> (f64, &'static str) {
    let side = report.detail.as_ref().and_then(|detail| detail.account.altered.as_ref());
    side.map(|side| (side.value, side.status)).expect("the trader has an account")
}

#[test]
fn correcting_the_late_closes_gives_the_repaired_history_to_the_last_bit() {
    let Some(data) = data() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let repaired_file = data.join("orders/snap2025_positions.json.gz");
    let file = std::fs::File::open(&repaired_file).expect("the file is part of the data");
    let mut positions: Value = serde_json::from_reader(GzDecoder::new(file)).expect("JSON");
    let repairs = undo(&mut positions);
    assert_eq!(repairs.len(), 2, "two closes were recorded eight days late");
    let disputed_file = scratch.path().join("disputed.json");
    std::fs::write(&disputed_file, positions.to_string()).expect("the scratch folder is writable");

    let [disputed, repaired] = ["disputed", "repaired"].map(|name| scratch.path().join(name));
    let before = run(&data, &disputed_file, &disputed);
    let exact = before.comparison.positions.iter().filter(|p| p.finding == Finding::Same);
    assert_eq!(exact.count(), 3, "the late closes are as recorded: the same return to 1e-9");
    let after = run(&data, &repaired_file, &repaired);
    let trader = TraderId::new(&repairs[0].trader).expect("valid");
    let account = after.finished.view.account(&trader).expect("an account");
    let repaired_value = account.ledgers.as_ref().expect("orders were filled").portfolio().value();

    let report = ask(&disputed, None, &repairs);
    assert_eq!(altered(&report), (repaired_value, "active"));
    assert!(report.traders.len() == 1 && report.eliminations.is_empty(), "{}", report.summary);

    // Under a limit of 8 % the late closes end the account, and the right ones do not.
    let limit = "drawdown_max = { value = 0.1,";
    let strict = VANTA.replacen(limit, "drawdown_max = { value = 0.08,", 1);
    assert_ne!(strict, VANTA);
    let alone = Question { rulebook: Some(strict.clone()), ..Question::default() };
    assert_eq!(whatif(&disputed, &alone, |_| {}).expect("an answer").eliminated, [0, 1]);
    assert_eq!(ask(&disputed, Some(strict), &repairs).eliminated, [0, 0]);
}
