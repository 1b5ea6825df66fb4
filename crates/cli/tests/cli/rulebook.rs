//! Rulebooks for people: checked, shown and compared by file or built-in name.

use proctor_engine::rulebook::{Rulebook, VANTA};

use crate::common::{assert_one_line_error, run};

fn joined(page: &str) -> String {
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_says_what_a_rulebook_is_or_which_line_and_field_are_wrong() {
    let good = run(&["rulebook", "check", "vanta-parity"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    let page = joined(&good.out);
    for expected in ["name vanta-parity", "version 1", "switches as in the built-in vanta-parity"] {
        assert!(page.contains(expected), "{page}");
    }
    let vanta = run(&["rulebook", "check", "vanta"]).out;
    assert!(vanta.contains(&Rulebook::hash(VANTA).to_string()), "{vanta}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    let file_name = file.to_str().unwrap();
    std::fs::write(
        &file,
        VANTA.replacen("drawdown_max = { value = 0.1", "drawdown_max = { value = 7", 1),
    )
    .unwrap();
    let line = VANTA.lines().position(|line| line.starts_with("drawdown_max")).unwrap() + 1;
    let bad = run(&["rulebook", "check", file_name]);
    assert_eq!((bad.code, bad.err.as_str()), (Some(1), ""), "{bad:?}");
    let says = format!(
        "NOT a rulebook: {file_name}, line {line}: elimination.drawdown_max: must lie between 0 and 1\n"
    );
    assert_eq!(bad.out, says);
    let missing = run(&["rulebook", "check", "no-such.toml"]);
    assert_one_line_error(&missing, 2, "built in are vanta, vanta-parity");
}

#[test]
fn show_tells_every_constant_and_at_a_time_only_what_holds_then() {
    let all = joined(&run(&["rulebook", "show"]).out);
    for expected in [
        "cooldown 10000 10 s ms T 2.7",
        "drawdown_max 0.1 10 % fraction of peak T 8.9",
        "class.crypto.bounds.max the beginning 20.0 (x account size) T 1.3",
        "class.crypto.bounds.max 2024-07-26T18:28:03.000Z 0.5 (x account size) T 1.3",
    ] {
        assert!(all.contains(expected), "{expected:?} is not in {all}");
    }
    let then = run(&["rulebook", "show", "vanta", "--at", "2024-01-01"]);
    let then = joined(&then.out);
    assert!(then.contains("class.crypto.bounds.max the beginning 20.0"), "{then}");
    assert!(!then.contains("2024-07-26T18:28:03.000Z"), "{then}");
    assert!(then.contains("of other eras not shown"), "{then}");
    let wrong = run(&["rulebook", "show", "--at", "noon"]);
    assert_one_line_error(&wrong, 2, "\"noon\" is not a time");
}

#[test]
fn diff_tells_field_by_field_what_differs_or_that_only_the_text_does() {
    let parity = joined(&run(&["rulebook", "diff", "vanta", "vanta-parity"]).out);
    assert!(parity.contains("switches.drawdown_limit ratio percent"), "{parity}");
    let same = run(&["rulebook", "diff", "vanta", "vanta"]);
    assert!(same.out.starts_with("identical, byte for byte"), "{same:?}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    let diff = |text: String| {
        std::fs::write(&file, text).unwrap();
        let run = run(&["rulebook", "diff", "vanta", file.to_str().unwrap()]);
        assert_eq!(run.code, Some(0), "{run:?}");
        joined(&run.out)
    };
    let comment = diff(format!("# A remark.\n{VANTA}"));
    assert!(comment.contains("only comments or layout differ"), "{comment}");
    let text = VANTA.replacen("floor = { value = 5_000.0", "floor = { value = 10_000.0", 1);
    let page = diff(text.replacen("\"AUDJPY\", ", "", 1));
    assert!(page.contains("2 differences between A and B"), "{page}");
    assert!(page.contains("accounts.floor 5000.0 10000.0 USD T 2.5"), "{page}");
    assert!(page.contains("pairs.blocked only AUDJPY - T 1.2"), "{page}");
}
