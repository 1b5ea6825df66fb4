//! What would have been: the answers, the page, the refusals, and that nothing is written.

use std::path::Path;

use proctor_engine::rulebook::VANTA;
use serde_json::Value;

use crate::common::{assert_one_line_error, demo, files, run};

fn ask(dir: &Path, args: &[&str]) -> (String, Value) {
    let data = dir.to_str().unwrap();
    let with = |more: &[&str]| run(&[&["whatif", "--data", data], args, more].concat());
    let (page, json) = (with(&[]), with(&["--json"]));
    assert_eq!((page.code, json.code), (Some(0), Some(0)), "{}{}", page.err, json.err);
    (page.out, serde_json::from_str(&json.out).unwrap())
}

/// Writes a rulebook with another drawdown limit below `dir`.
fn limit(dir: &Path, fraction: &str) -> String {
    let from = "drawdown_max = { value = 0.1,";
    assert!(VANTA.contains(from));
    let file = dir.join(format!("limit-{fraction}.toml"));
    let text = VANTA.replacen(from, &format!("drawdown_max = {{ value = {fraction},"), 1);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().into()
}

#[test]
fn the_same_rulebook_changes_nothing_and_a_lower_limit_ends_more_accounts_earlier() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    demo(&data, 2, 60, 4);
    let before = files(&data);
    let (page, json) = ask(&data, &["--rulebook", "vanta"]);
    assert!(page.starts_with("no difference: the same verdicts"), "{page}");
    assert!(json["first"].is_null() && json["traders"] == Value::Array(Vec::new()), "{json}");
    let (page, json) = ask(&data, &["--rulebook", &limit(dir.path(), "0.05")]);
    let [recorded, altered] = [0, 1].map(|side| json["eliminated"][side].as_u64().unwrap());
    assert!(recorded >= 1 && altered > recorded, "{page}");
    let changes = json["eliminations"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["change"] == "new"), "{page}");
    for change in changes {
        let [before, after] = ["recorded", "altered"].map(|side| change[side]["commit"].as_u64());
        assert!(after.is_some() && before.is_none_or(|before| after < Some(before)), "{change}");
    }
    let first = changes[0]["altered"]["commit"].as_u64().unwrap();
    assert_eq!(json["first"]["commit"].as_u64(), Some(first), "nothing differs before a verdict");
    let joined = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains(&format!("the first difference is commit {first}")), "{page}");
    let widest = page.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(widest <= 140, "a line has {widest} columns:\n{page}");
    assert_eq!(files(&data), before, "whatif only reads");
}

#[test]
fn the_price_that_ended_an_account_corrected_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    demo(dir.path(), 2, 60, 4);
    let (_, json) = ask(dir.path(), &["--rulebook", &limit(dir.path(), "0.09")]);
    let ended = json["eliminations"].as_array().unwrap();
    let ended = ended.iter().find(|change| !change["recorded"].is_null()).expect("one ends");
    let trader = ended["trader"].as_str().unwrap();
    let data = dir.path().to_str().unwrap();
    let story = run(&["explain", "--data", data, "--trader", trader, "--json"]);
    let story: Value = serde_json::from_str(&story.out).unwrap();
    let verdict = &story["verdict"];
    let commit = verdict["decided"]["commit"].as_u64().unwrap();
    // Every price of the verdict as it was at the trader's own entry: nothing is lost on it then.
    let pairs = verdict["valuation"]["pairs"].as_array().unwrap();
    let sets: Vec<String> = pairs
        .iter()
        .filter(|pair| !pair["open"].is_null())
        .map(|pair| {
            let entry = &pair["open"]["average_entry_price"];
            format!("{}@{commit}={entry}", pair["pair"].as_str().unwrap())
        })
        .collect();
    assert!(!sets.is_empty(), "{verdict}");
    let mut args: Vec<&str> = vec!["--trader", trader];
    sets.iter().for_each(|set| args.extend(["--set", set]));
    let (page, json) = ask(dir.path(), &args);
    let change = &json["eliminations"][0];
    assert_eq!(change["trader"], trader, "{page}");
    assert_ne!(change["altered"]["commit"].as_u64(), Some(commit), "{page}");
    assert_eq!(json["first"]["commit"].as_u64(), Some(commit), "{page}");
    assert_eq!(json["detail"]["trader"], trader);
    assert!(page.contains(&format!("TRADER {trader}")), "{page}");
}

#[test]
fn what_cannot_be_asked_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    demo(dir.path(), 1, 10, 1);
    let data = dir.path().to_str().unwrap();
    let refused = |args: &[&str], says: &str| {
        let args = [&["whatif", "--data", data], args].concat();
        assert_one_line_error(&run(&args), 2, says);
    };
    refused(&["--set", "BTCUSD@999999=1"], "there is no commit 999999: the log holds commits 1 to");
    refused(
        &["--set", "BTCUSD@1=1"],
        "commit 1 holds no price of BTCUSD; it holds no prices; nearest",
    );
    refused(&["--set", "BTCUSD=1"], "is none of PAIR@COMMIT=PRICE");
    refused(&["--drop", "x@trend-0000"], "no order x of trader trend-0000 stands in the log");
    refused(&["--rulebook", "vanta", "--trader", "trend-0008"], "nearest names: trend-0000");
    refused(&["--rulebook", "no-such"], "there is no file no-such, and no built-in rulebook");
    let file = dir.path().join("broken.toml");
    std::fs::write(&file, VANTA.replacen("cooldown = {", "cool_down = {", 1)).unwrap();
    refused(&["--rulebook", file.to_str().unwrap()], "unknown field `cool_down`");
    let nothing = run(&["whatif", "--data", data]);
    assert!(nothing.code == Some(2) && nothing.err.contains("--rulebook"), "{nothing:?}");
    let missing = run(&["whatif", "--data", "no-such-folder", "--rulebook", "vanta"]);
    assert_one_line_error(&missing, 2, "no-such-folder is not a data directory");
}
