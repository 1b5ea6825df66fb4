//! Kill -9 at any moment loses nothing that was acknowledged.
//!
//! The demo writes a line for every acknowledged commit. It is killed after a random number of
//! them, again and again, until it comes to its end. Nothing here depends on who is faster: how
//! far the demo got beyond the line that was read does not matter, only that what it did print is
//! in the log.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use proctor_commit_log::Reader;
use proctor_node::data_dir::log_of;
use proctor_node::simulation::dice::Dice;
use proctor_sequencer::Replay;

use crate::common::{demo, digest_line, proctor, run};

const TRADERS: u32 = 6;
const DAYS: u32 = 2;
/// How many kills there are at least, over as many demos as it takes.
const KILLS: u32 = 200;
/// How many acknowledged commits a killed run is let make at most.
const COMMITS_PER_LIFE: u32 = 40;

/// An acknowledged commit: its number and the beginning of its digest.
#[derive(Clone, Debug, PartialEq)]
struct Ack {
    commit: u64,
    digest: String,
}

fn ack(line: &str) -> Option<Ack> {
    let mut words = line.strip_prefix("committed ")?.split(' ');
    let commit = words.next()?.parse().ok()?;
    let digest = words.nth(2)?.trim_end().to_owned();
    // A kill may cut a line; a digest that is shorter was cut.
    (line.ends_with('\n') && digest.len() == 8).then_some(Ack { commit, digest })
}

fn start(dir: &Path, seed: u64) -> Child {
    let (seed, traders, days) = (seed.to_string(), TRADERS.to_string(), DAYS.to_string());
    proctor()
        .args(["demo", "--acks", "--data", dir.to_str().unwrap()])
        .args(["--seed", &seed, "--traders", &traders, "--days", &days])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How a life of the demo ended.
enum End {
    /// It was killed; holds the last commit that it acknowledged, if any.
    Killed(Option<Ack>),
    /// It was quicker than the kill; holds the digest it ended with.
    Finished(String),
}

/// Starts the demo and kills it once it has acknowledged commit `until`; 0 kills at once.
fn live(dir: &Path, seed: u64, until: u64) -> End {
    let mut child = start(dir, seed);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut last, mut digest, mut line) = (None, None, String::new());
    let mut killed = until == 0;
    if killed {
        child.kill().unwrap();
    }
    // After the kill the pipe is read to its end: what is in it was acknowledged too.
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(ack) = ack(&line) {
            if ack.commit >= until && !killed {
                child.kill().unwrap();
                killed = true;
            }
            last = Some(ack);
        }
        digest = digest_line(&line).or(digest);
        line.clear();
    }
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return End::Finished(digest.expect("a run that ended well printed its digest"));
    }
    assert_eq!(output.status.code(), None, "{}", String::from_utf8_lossy(&output.stderr));
    End::Killed(last)
}

/// Folds the log as it lies there, read-only; returns its last commit. Asserts on the way that
/// `ack` is in it with its digest.
fn check(dir: &Path, ack: Option<&Ack>, seen: &mut Seen) -> u64 {
    let Ok(storage) = log_of(dir) else {
        assert_eq!(ack, None, "acknowledged without a log");
        return 0;
    };
    let mut fold = Replay::from_the_first(Reader::open(storage).unwrap());
    let mut found = ack.is_none();
    while let Some((commit, outcome)) = fold.step().unwrap() {
        if let Some(ack) = ack.filter(|ack| ack.commit == commit.index) {
            assert_eq!(outcome.digest.short(), ack.digest, "digest of commit {}", ack.commit);
            found = true;
        }
    }
    let head = fold.engine().stamp().commit;
    assert!(found, "{ack:?} was acknowledged, the log ends at commit {head}");
    seen.torn += u32::from(fold.end().is_some_and(|end| end.torn.is_some()));
    head
}

/// What happened, so that the test can say that it tested something.
#[derive(Debug, Default)]
struct Seen {
    kills: u32,
    demos: u32,
    torn: u32,
    verified: u32,
    before_the_first_line: u32,
}

#[test]
fn what_was_acknowledged_survives_two_hundred_kills_and_the_end_is_the_same() {
    let mut seen = Seen::default();
    let mut dice = Dice::new(20_260_105);
    while seen.kills < KILLS {
        seen.demos += 1;
        let seed = u64::from(seen.demos);
        let whole = tempfile::tempdir().unwrap();
        let expected = demo(whole.path(), seed, TRADERS, DAYS);
        assert_eq!(killed_until_it_ends(seed, &mut dice, &mut seen), expected, "seed {seed}");
    }
    println!("{seen:?}");
    assert!(seen.kills / seen.demos >= 2, "a demo is over too soon to be killed: {seen:?}");
    assert!(seen.before_the_first_line > 0 && seen.verified > 0, "{seen:?}");
}

/// Runs a demo that is killed again and again; returns the digest it ends with.
fn killed_until_it_ends(seed: u64, dice: &mut Dice, seen: &mut Seen) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut head = 0;
    loop {
        // Some lives end at once, some while they catch up with their own past.
        let until = match dice.below(8) {
            0 => 0,
            1 => u64::from(dice.below(u32::try_from(head).unwrap() + 1)),
            _ => head + 1 + u64::from(dice.below(COMMITS_PER_LIFE)),
        };
        let last = match live(dir.path(), seed, until) {
            End::Finished(digest) => return digest,
            End::Killed(last) => last,
        };
        seen.kills += 1;
        seen.before_the_first_line += u32::from(last.is_none());
        let now = check(dir.path(), last.as_ref(), seen);
        assert!(now >= head, "the log got shorter: commit {head}, now {now}");
        head = now;
        if seen.kills.is_multiple_of(20) && head > 0 {
            let verified = run(&["verify", "--data", dir.path().to_str().unwrap()]);
            assert_eq!(verified.code, Some(0), "{verified:?}");
            seen.verified += 1;
        }
    }
}
