//! Evidence files through the binary: what is printed, what is refused, and with which exit code.

use crate::common::{assert_one_line_error, demo, run};

#[test]
fn evidence_is_written_verified_and_held_against_its_own_log_and_another() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    demo(&one, 2, 20, 2);
    demo(&two, 3, 20, 2);
    let file = dir.path().join("evidence.json");
    let (file, one, two) = (file.to_str().unwrap(), one.to_str().unwrap(), two.to_str().unwrap());

    // Every seventh trader of a demo is reckless.
    let trader = "reckless-0005";
    let written = run(&["explain", "--data", one, "--trader", trader, "--evidence", file]);
    assert_eq!(written.code, Some(0), "{}", written.err);
    assert!(
        written.out.contains("written to") && written.out.contains("chain "),
        "{}",
        written.out
    );

    let alone = run(&["verify-evidence", file]);
    assert_eq!(alone.code, Some(0), "{}{}", alone.out, alone.err);
    assert!(alone.out.starts_with(&format!("confirmed: {trader} ")), "{}", alone.out);
    assert!(alone.out.contains("compare    chain and digest"), "{}", alone.out);

    let own = run(&["verify-evidence", file, "--data", one]);
    assert_eq!(own.code, Some(0), "{}{}", own.out, own.err);
    assert!(own.out.contains("agrees     with the log in"), "{}", own.out);

    let other = run(&["verify-evidence", file, "--data", two]);
    assert_eq!(other.code, Some(1), "{}{}", other.out, other.err);
    let said = "NOT confirmed: this file is from chain ";
    assert!(other.out.starts_with(said) && other.out.contains(", you asked for "), "{}", other.out);

    let digest = alone.out.lines().find_map(|line| line.strip_prefix("  digest     ")).unwrap();
    let up_to =
        alone.out.lines().find_map(|line| line.strip_prefix("  up to      commit ")).unwrap();
    let commit = up_to.split(' ').next().unwrap();
    let right = run(&["verify-evidence", file, "--head", &format!("{commit}:{digest}")]);
    assert_eq!(right.code, Some(0), "{}{}", right.out, right.err);
    let wrong = format!("{commit}:{}", "0".repeat(64));
    let wrong = run(&["verify-evidence", file, "--head", &wrong]);
    assert_eq!(wrong.code, Some(1), "{}{}", wrong.out, wrong.err);
    let elsewhere = run(&["verify-evidence", file, "--head", &format!("1:{digest}")]);
    assert_one_line_error(&elsewhere, 2, "says nothing of the digest at 1");
    let malformed = run(&["verify-evidence", file, "--head", "somewhere"]);
    assert_eq!(malformed.code, Some(2));

    let text = std::fs::read_to_string(file).unwrap();
    let status = if text.contains("\"status\": \"active\"") { "active" } else { "eliminated" };
    let changed = text.replacen(&format!("\"status\": \"{status}"), "\"status\": \"spotless", 1);
    std::fs::write(file, changed).unwrap();
    let changed = run(&["verify-evidence", file]);
    assert_eq!(changed.code, Some(1), "{}{}", changed.out, changed.err);
    let said = format!("NOT confirmed: status: \"spotless\" in the file, \"{status}\" recomputed");
    assert!(changed.out.starts_with(&said), "{}", changed.out);

    std::fs::write(file, "something else").unwrap();
    assert_one_line_error(&run(&["verify-evidence", file]), 2, "not an evidence file");
    let missing = run(&["verify-evidence", &format!("{file}.missing")]);
    assert_one_line_error(&missing, 2, "cannot read");
    let nobody = run(&["explain", "--data", one, "--trader", "nobody", "--evidence", file]);
    assert_one_line_error(&nobody, 2, "no account of trader nobody");
}
