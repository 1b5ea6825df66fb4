//! The reference's files of eliminated and departed traders: read, written, compared.
//!
//! Pure functions on text. A file that cannot be understood is an error that says where, never an
//! empty list: the reference forgot every elimination that way (E-7, X-15). Shapes: services 1.3.

use std::collections::BTreeMap;

use proctor_engine::View;
use proctor_engine::eliminations::{
    DrawdownNote, Elimination, EliminationRow, PriceEvidence, Reason,
};
use proctor_types::{TraderId, UtcMs};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The reference's own trader for tests in production; its rows are dropped (E-6).
const DEVELOPMENT: &str = "DEVELOPMENT";

/// Why a file of the reference cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// It is not JSON, or not of the shape.
    #[error("not a file of {what}: {error}")]
    Shape {
        /// What it should hold.
        what: &'static str,
        /// What is wrong, and where.
        error: serde_json::Error,
    },
    /// A row says something that a record cannot.
    #[error("row {row}, trader {trader}: {problem}")]
    Row {
        /// Which, from 1.
        row: usize,
        /// Whose it is.
        trader: TraderId,
        /// What is wrong.
        problem: String,
    },
}

/// A row of `eliminations.json` or `perf_ledger_eliminations.json` (E-1).
#[derive(Clone, Debug, PartialEq)]
pub struct LegacyRow {
    /// What it says of the decision.
    pub row: EliminationRow,
    /// Prices of the liquidation; free in form.
    pub price_info: Map<String, Value>,
    /// Diagnostics; free in form.
    pub return_info: Map<String, Value>,
}

/// A row as it stands in the file; the second builder of the reference leaves the maps out.
#[derive(Serialize, Deserialize)]
struct RawRow {
    hotkey: TraderId,
    dd: Option<f64>,
    reason: String,
    elimination_initiated_time_ms: UtcMs,
    #[serde(default)]
    price_info: Map<String, Value>,
    #[serde(default)]
    return_info: Map<String, Value>,
}

/// The content of `eliminations.json`.
#[derive(Serialize, Deserialize)]
struct Named {
    eliminations: Vec<RawRow>,
}

/// The content of `departed_hotkeys.json`.
#[derive(Serialize, Deserialize)]
struct Departed {
    departed_hotkeys: BTreeMap<TraderId, DepartedRow>,
}

#[derive(Serialize, Deserialize)]
struct DepartedRow {
    detected_ms: UtcMs,
}

/// The older shape, without times.
#[derive(Deserialize)]
struct DepartedNames {
    departed_hotkeys: Vec<TraderId>,
}

/// Returns the records of `text`, in the shape of either file, by trader; of several for one trader
/// the last one counts (E-6).
///
/// # Errors
/// [`LegacyError`] when it is not such a file, or a row has an unknown reason or an absurd time.
pub fn read_eliminations(text: &str) -> Result<BTreeMap<TraderId, LegacyRow>, LegacyError> {
    let shape = |error| LegacyError::Shape { what: "eliminations", error };
    let rows: Vec<RawRow> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(shape)?
    } else {
        serde_json::from_str::<Named>(text).map_err(shape)?.eliminations
    };
    let mut read = BTreeMap::new();
    for (row, raw) in (1..).zip(rows) {
        if raw.hotkey.as_str() == DEVELOPMENT {
            continue;
        }
        let bad = |problem: String| LegacyError::Row { row, trader: raw.hotkey.clone(), problem };
        let reason = Reason::parse(&raw.reason).map_err(|error| bad(error.to_string()))?;
        let drawdown = DrawdownNote::from_legacy(reason, raw.dd).map_err(|e| bad(e.to_string()))?;
        let decided_at = raw.elimination_initiated_time_ms;
        if !decided_at.is_in_range() {
            return Err(bad(format!("{} ms is no time of these centuries", decided_at.0)));
        }
        let trader = raw.hotkey.clone();
        let row = EliminationRow { trader: raw.hotkey, reason, drawdown, decided_at };
        let (price_info, return_info) = (raw.price_info, raw.return_info);
        read.insert(trader, LegacyRow { row, price_info, return_info });
    }
    Ok(read)
}

/// Returns when each trader was found to have left, as `text` says; the older shape is a list of
/// names, and says 1970 (E-8).
///
/// # Errors
/// [`LegacyError`] when it is not such a file.
pub fn read_departed(text: &str) -> Result<BTreeMap<TraderId, UtcMs>, LegacyError> {
    match serde_json::from_str::<Departed>(text) {
        Ok(file) => {
            Ok(file.departed_hotkeys.into_iter().map(|(t, row)| (t, row.detected_ms)).collect())
        }
        Err(error) => match serde_json::from_str::<DepartedNames>(text) {
            Ok(file) => Ok(file.departed_hotkeys.into_iter().map(|t| (t, UtcMs(0))).collect()),
            Err(_) => Err(LegacyError::Shape { what: "departed traders", error }),
        },
    }
}

/// Returns `eliminations.json` with `rows`, ascending by trader.
#[must_use]
pub fn write_eliminations<'a>(rows: impl IntoIterator<Item = &'a LegacyRow>) -> Value {
    let raw = |row: &LegacyRow| RawRow {
        hotkey: row.row.trader.clone(),
        dd: row.row.drawdown.legacy(row.row.reason),
        reason: row.row.reason.code().into(),
        elimination_initiated_time_ms: row.row.decided_at,
        price_info: row.price_info.clone(),
        return_info: row.return_info.clone(),
    };
    serde_json::json!(Named { eliminations: rows.into_iter().map(raw).collect() })
}

/// Returns `departed_hotkeys.json` with `departed`.
#[must_use]
pub fn write_departed(departed: &BTreeMap<TraderId, UtcMs>) -> Value {
    let row =
        |(trader, at): (&TraderId, &UtcMs)| (trader.clone(), DepartedRow { detected_ms: *at });
    serde_json::json!(Departed { departed_hotkeys: departed.iter().map(row).collect() })
}

/// Returns every record of `view`, of accounts and of names without one.
#[must_use]
pub fn eliminations_of(view: &View) -> BTreeMap<TraderId, LegacyRow> {
    let accounts = view
        .accounts
        .iter()
        .filter_map(|account| Some((&account.trader, account.elimination.as_ref()?)));
    let names = view.barred.iter().filter_map(|(name, bar)| Some((name, bar.record.as_ref()?)));
    accounts.chain(names).map(|(trader, record)| (trader.clone(), row_of(trader, record))).collect()
}

fn row_of(trader: &TraderId, record: &Elimination) -> LegacyRow {
    // The reference keys prices by the display name (E-43).
    let price =
        |evidence: &PriceEvidence| (display_name(evidence.pair.id()), evidence.price.get().into());
    LegacyRow {
        row: EliminationRow {
            trader: trader.clone(),
            reason: record.reason,
            drawdown: record.drawdown,
            decided_at: record.decided_at(),
        },
        price_info: record.prices.iter().map(price).collect(),
        return_info: Map::new(),
    }
}

/// Returns how the reference displays a pair of currencies: `BTC/USD`; others have their id.
fn display_name(id: &str) -> String {
    match id.split_at_checked(3) {
        Some((base, quote)) if quote.len() == 3 => format!("{base}/{quote}"),
        _ => id.to_owned(),
    }
}

/// Returns the differences of two maps in words, one line a trader.
#[must_use]
pub fn differences<T: PartialEq>(
    ours: &BTreeMap<TraderId, T>,
    theirs: &BTreeMap<TraderId, T>,
    told: impl Fn(&T) -> String,
) -> Vec<String> {
    let here = ours.iter().filter_map(|(trader, own)| match theirs.get(trader) {
        None => Some(format!("{trader}: {} here, nothing in the file", told(own))),
        Some(other) if other != own => {
            Some(format!("{trader}: {} here, {} in the file", told(own), told(other)))
        }
        Some(_) => None,
    });
    let there = theirs
        .iter()
        .filter(|(trader, _)| !ours.contains_key(*trader))
        .map(|(trader, other)| format!("{trader}: nothing here, {} in the file", told(other)));
    let mut lines: Vec<String> = here.chain(there).collect();
    lines.sort_unstable();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"eliminations": [
        {"hotkey": "a", "dd": 11.0, "reason": "MAX_TOTAL_DRAWDOWN",
         "elimination_initiated_time_ms": 1755014232440, "price_info": {}, "return_info": {"x": 1}},
        {"hotkey": "b", "dd": null, "reason": "ZOMBIE",
         "elimination_initiated_time_ms": 1755014232441, "price_info": {}, "return_info": {}},
        {"hotkey": "c", "dd": 0.0, "reason": "LIQUIDATED",
         "elimination_initiated_time_ms": 5, "price_info": {"BTC/USD": 90000.0}, "return_info": {}},
        {"hotkey": "d", "dd": -1.0, "reason": "PLAGIARISM",
         "elimination_initiated_time_ms": 6, "price_info": {}, "return_info": {}}]}"#;

    #[test]
    fn e_1_what_is_read_is_written_again() {
        let rows = read_eliminations(FILE).expect("valid");
        let file: Value = serde_json::from_str(FILE).expect("JSON");
        assert_eq!(write_eliminations(rows.values()), file);
        let bare = file["eliminations"].to_string();
        assert_eq!(read_eliminations(&bare).expect("E-45: a bare list"), rows);
        assert!(differences(&rows, &rows, |_| String::new()).is_empty());
    }

    #[test]
    fn e_1_maps_may_be_missing_e_6_the_last_row_of_a_trader_counts_and_development_has_none() {
        let row = |who: &str, at: i64| {
            format!(
                r#"{{"hotkey":"{who}","dd":null,"reason":"ZOMBIE","elimination_initiated_time_ms":{at}}}"#
            )
        };
        let text = format!("[{},{},{}]", row("a", 1), row("DEVELOPMENT", 2), row("a", 3));
        let rows = read_eliminations(&text).expect("valid");
        let times: Vec<_> = rows.values().map(|row| row.row.decided_at).collect();
        assert_eq!(times, [UtcMs(3)]);
    }

    #[test]
    fn e_7_x_15_a_file_that_cannot_be_understood_is_an_error_and_never_empty() {
        for text in [
            "",
            "{}",
            "{\"eliminations\": null}",
            &FILE[..300],
            &FILE.replace("ZOMBIE", "BORED"),
            &FILE.replace("\"hotkey\": \"b\", ", ""),
            &FILE.replace("\"b\"", "\"../b\""),
            &FILE.replace("1755014232441", "-1"),
        ] {
            assert!(read_eliminations(text).is_err(), "{text}");
            assert!(read_departed(text).is_err(), "{text}");
        }
        let unknown = read_eliminations(&FILE.replace("ZOMBIE", "BORED")).expect_err("refused");
        let said = unknown.to_string();
        assert!(said.starts_with("row 2, trader b") && said.contains("LIQUIDATED"), "{said}");
    }

    #[test]
    fn e_8_departed_traders_come_in_two_shapes() {
        let text = r#"{"departed_hotkeys": {"a": {"detected_ms": 7}, "b": {"detected_ms": 0}}}"#;
        let read = read_departed(text).expect("valid");
        let file: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(write_departed(&read), file);
        let list = read_departed(r#"{"departed_hotkeys": ["a", "b"]}"#).expect("valid");
        assert_eq!(list.values().copied().collect::<Vec<_>>(), [UtcMs(0), UtcMs(0)]);
        let lines = differences(&read, &list, |at| at.0.to_string());
        assert_eq!(lines, ["a: 7 here, 0 in the file"]);
    }

    #[test]
    fn e_43_pairs_are_written_as_the_reference_displays_them() {
        assert_eq!(display_name("BTCUSD"), "BTC/USD");
        assert_eq!(display_name("NVDA"), "NVDA");
        assert_eq!(display_name("SPX"), "SPX");
    }
}
