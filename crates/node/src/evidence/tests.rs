//! Evidence of small logs: confirmed as it is, refused however it is changed.

mod fuzz;

use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::input_chain::{Link, Placed, Pruned};
use proctor_sequencer::Batch;
use proctor_types::{
    AssetClass, Digest, Leverage, OrderId, OrderRequest, PairName, Price, Side, SizeFields,
    TraderId, Usd, UtcMs,
};
use proctor_wire::log_path::{LogPath, PathInputs};

use super::*;
use crate::explain::tests::{NOON, at, order, price, trader, write};
use crate::run::{self, RunError};
use crate::simulation::{Scenario, Simulation};

fn bob() -> TraderId {
    TraderId::new("bob").expect("valid")
}

fn bobs(id: &str, leverage: f64) -> Input {
    Input::Order(OrderRequest::market(
        bob(),
        OrderId::new(id).expect("valid"),
        PairName::new("ETHUSD").expect("valid"),
        Side::Long,
        SizeFields {
            leverage: Some(Leverage::new(leverage).expect("finite")),
            ..SizeFields::default()
        },
    ))
}

/// Bob joins, and both trade; what Bob does is nobody's business in evidence about Alice.
fn both() -> Vec<Batch> {
    let size = Usd::new(250_000.0).expect("finite");
    let joins = vec![
        Input::Roster(Roster::new(2, vec![trader(), bob()])),
        Input::AccountSize(bob(), size),
        Input::AssetClass(bob(), AssetClass::Crypto),
    ];
    let bobs_first = vec![price("ETHUSD", 3_000, 3_000.0), bobs("bobs-first", 0.1)];
    vec![
        Batch { at: UtcMs(NOON - proctor_types::time::DAY_MS + 1), inputs: joins },
        at(
            0,
            vec![
                price("BTCUSD", 0, 60_000.0),
                price("ETHUSD", 0, 3_000.0),
                order("one", "BTCUSD", Side::Long, 0.4),
            ],
        ),
        at(3_000, bobs_first),
        at(20_000, vec![price("BTCUSD", 20_000, 61_000.0), bobs("bobs-second", 0.2)]),
        at(40_000, vec![order("refused", "NOPE", Side::Long, 0.1)]),
    ]
}

/// Alice is still active.
fn active() -> Vec<Batch> {
    let end = at(60_000, vec![Input::Tick, price("BTCUSD", 60_000, 59_500.0)]);
    both().into_iter().chain([end, at(70_000, vec![Input::Tick])]).collect()
}

/// Alice ends by drawdown, and Bob in the same commit.
fn eliminated() -> Vec<Batch> {
    let quotes = vec![price("ETHUSD", 60_000, 900.0), price("BTCUSD", 60_000, 40_000.0)];
    let later = at(80_000, vec![order("late", "BTCUSD", Side::Long, 0.1), bobs("bobs-third", 0.1)]);
    both().into_iter().chain([at(60_000, quotes), later, at(81_000, vec![Input::Tick])]).collect()
}

/// Alice loses everything.
fn liquidated() -> Vec<Batch> {
    vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Short, 0.5)]),
        at(10_000, vec![price("BTCUSD", 10_000, 190_000.0)]),
        at(20_000, vec![Input::Tick]),
    ]
}

struct Case {
    dir: tempfile::TempDir,
    evidence: Evidence,
}

impl Case {
    fn of(batches: Vec<Batch>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), batches);
        let evidence = evidence(dir.path(), &trader(), Which::Last).expect("evidence");
        Self { dir, evidence }
    }

    fn text(&self) -> &str {
        &self.evidence.text
    }

    /// Verifies `text` against the log that the case's own evidence is from.
    fn against_the_log(&self, text: &str) -> Result<Confirmed, Refusal> {
        let expected = Expected { data: Some(self.dir.path()), ..Expected::default() };
        verify(text.as_bytes(), &expected)
    }

    fn path(&self) -> LogPath {
        let parts = file::read(self.text()).expect("a file");
        file::path(&parts.proof.expect("base64")).expect("a path")
    }
}

fn alone(text: &str) -> Result<Confirmed, Refusal> {
    verify(text.as_bytes(), &Expected::default())
}

/// Returns why `text` is refused.
fn refused(text: &str) -> String {
    alone(text).expect_err("it is refused").to_string()
}

/// Returns `text` with its readable part changed and the checksum made right again.
fn reworded(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    let changed = text.replacen(from, to, 1);
    let (before, _) = changed.split_at(changed.rfind("\"checksum\"").expect("there is one"));
    format!("{before}\"checksum\": \"{}\"\n}}\n", Digest::of(before.as_bytes()))
}

/// Returns the file that a forger makes of a changed path, with everything recomputed that can be.
fn forged(path: &LogPath) -> String {
    let (extracts, anchors) = proof::check(path).expect("complete in itself");
    let told = retell::retell(path, &extracts).expect("it can be told");
    file::write(path, &path.encode(), &anchors, &told).expect("JSON")
}

/// Changes the first shown input for which `change` returns true.
fn change_input(tree: &mut Pruned, change: &mut dyn FnMut(&mut Input) -> bool) -> bool {
    match tree {
        Pruned::Shown(entries) => entries.iter_mut().any(|Placed { input, .. }| change(input)),
        Pruned::Branch(left, right) => change_input(left, change) || change_input(right, change),
        Pruned::Nothing | Pruned::Hidden(_) | Pruned::Other { .. } => false,
    }
}

fn change(path: &mut LogPath, mut change: impl FnMut(&mut Input) -> bool) {
    let changed = path.commits.iter_mut().any(|commit| match &mut commit.inputs {
        PathInputs::Shown { tree, .. } => change_input(tree, &mut change),
        PathInputs::Hidden(_) => false,
    });
    assert!(changed, "there is such an input");
}

#[test]
fn evidence_of_every_kind_of_account_is_confirmed_alone_and_against_its_log() {
    for (batches, ended, words) in [
        (active(), false, "alice is active"),
        (eliminated(), true, "alice ended at commit 7 (2026-01-06T12:01:00.000Z) by rule C-37"),
        (liquidated(), true, "alice ended at commit 3 (2026-01-06T12:00:10.000Z) by rule E-45"),
    ] {
        let case = Case::of(batches);
        let confirmed = case.against_the_log(case.text()).expect("confirmed");
        assert!(confirmed.verdict.starts_with(words), "{}", confirmed.verdict);
        assert_eq!(confirmed.verdict_in_digest, ended);
        assert!(confirmed.steps > 0 && confirmed.anchors.digest.is_some());
        assert_eq!(alone(case.text()).expect("confirmed").held_against, Vec::<String>::new());
    }
}

#[test]
fn evidence_tells_the_same_numbers_as_the_whole_log_and_nothing_of_others() {
    let case = Case::of(eliminated());
    let story = crate::explain::explain(case.dir.path(), &trader(), |_| {}).expect("a story");
    let file: serde_json::Value = serde_json::from_str(case.text()).expect("one JSON document");
    let mut verdict = serde_json::to_value(&story.verdict).expect("JSON");
    // These two tell of the whole commit, and of what came after the evidence ends.
    let mut decision = file["decision"].clone();
    for told in [&mut verdict, &mut decision] {
        told["commit_inputs"].take();
        told["orders_refused_since"].take();
    }
    assert_eq!(decision, verdict);
    assert_eq!(file["ledger"], serde_json::to_value(&story.ledger).expect("JSON"));
    assert_eq!(file["orders"][0], serde_json::to_value(&story.orders[0]).expect("JSON"));
    assert_eq!(file["orders"][0]["price_source"]["source"], "feed");
    assert!(file["rulebook"]["text"] == proctor_engine::rulebook::VANTA);
    let path = case.path().encode().rest;
    let holds = |text: &str| path.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("one") && !holds("bobs-"), "Bob's orders are hidden");
}

#[test]
fn every_changed_byte_spoils_the_checksum_or_the_layout() {
    let case = Case::of(eliminated());
    let mut bytes = case.text().as_bytes().to_vec();
    for at in 0..bytes.len() {
        let good = bytes[at];
        bytes[at] ^= 1 << (at % 7);
        // Bytes below 128 stay below, so this is always text.
        let text = std::str::from_utf8(&bytes).expect("ASCII but for the rulebook's text");
        let whole = file::read(text).is_some_and(|parts| parts.is_whole);
        assert!(!whole || !text.starts_with("{\n\"format\""), "byte {at}");
        // What verify says of such a file is looked at more thinly: it takes longer.
        if at % 499 == 0 {
            assert!(alone(text).is_err(), "byte {at}");
        }
        bytes[at] = good;
    }
    for end in (0..bytes.len()).step_by(997) {
        assert!(verify(&bytes[..end], &Expected::default()).is_err(), "cut at {end}");
    }
}

#[test]
fn a_reworded_fact_is_named_with_both_values() {
    let case = Case::of(eliminated());
    let text = case.text();
    for (from, to, said) in [
        ("\"drawdown_percent\":", "\"drawdown_percent\":1", "decision: drawdown_percent"),
        (
            "\"price\":60000.0",
            "\"price\":60001.0",
            "decision: price_window.0.price 60001.0 in the file, 60000.0 recomputed",
        ),
        (
            "\"status\": \"eliminated\"",
            "\"status\": \"active\"",
            "status: \"active\" in the file, \"eliminated\" recomputed",
        ),
        ("[1,3,", "[1,2,", "step 1, commit 3: commit 2 in the file, 3 recomputed"),
        ("drawdown_max = { value = 0.1", "drawdown_max = { value = 0.3", "rulebook: text"),
        ("\"id\":\"refused\"", "\"id\":\"refuted\"", "order refused, commit 6: id"),
    ] {
        let refusal = refused(&reworded(text, from, to));
        assert!(refusal.starts_with(said), "{refusal}");
    }
    let head = case.evidence.anchors.digest.expect("stated").to_string();
    let refusal = refused(&reworded(text, &head, &Digest::default().to_string()));
    assert!(refusal.starts_with("anchors: digest"), "{refusal}");
}

#[test]
fn a_changed_price_gives_a_verdict_that_the_log_does_not_hold() {
    let case = Case::of(eliminated());
    let mut path = case.path();
    // Of both sources: a price that one of them contradicts would not be believed.
    for _ in 0..2 {
        change(&mut path, |input| {
            if let Input::Prices(quotes) = input
                && quotes[0].close.get() == 40_000.0
            {
                let lower = Price::new(39_000.0).expect("finite");
                (quotes[0].open, quotes[0].high) = (lower, lower);
                (quotes[0].low, quotes[0].close) = (lower, lower);
                return true;
            }
            false
        });
    }
    let refusal = refused(&forged(&path));
    assert!(refusal.contains("not among those that the log's state digest covers"), "{refusal}");
    // Nor is a path through the log whose verdict is taken out.
    path.stated = None;
    assert!(matches!(
        case.against_the_log(&forged(&path)),
        Err(Refusal::Unanswerable(Unanswerable::NoDigest(7)))
    ));
}

#[test]
fn a_dropped_order_is_missed() {
    let case = Case::of(active());
    let good = case.path();
    // Commit 6 is the refused order alone, commit 3 the first order and its prices.
    let PathInputs::Shown { touches, tree } = &good.commits[5].inputs else { panic!("shown") };
    let link = Link { touches: *touches, root: tree.root().expect("a tree") };
    let mut hidden = good.clone();
    hidden.commits[5].inputs = PathInputs::Hidden(link);
    let error = proof::check(&hidden).expect_err("missed").to_string();
    assert_eq!(error, "commit 6 is left out, although it may hold inputs of alice");

    let mut pruned = good.clone();
    let root = Pruned::Hidden(link.root);
    pruned.commits[5].inputs = PathInputs::Shown { touches: *touches, tree: root };
    let error = proof::check(&pruned).expect_err("missed").to_string();
    assert!(error.starts_with("commit 6 hides "), "{error}");

    // Denying that the commit touches Alice makes it another chain, and the end another state.
    let mut denied = good;
    denied.commits[5].inputs = PathInputs::Hidden(Link { touches: 0, ..link });
    let forged = forged(&denied);
    assert!(alone(&forged).is_ok(), "it agrees with itself");
    let refusal = case.against_the_log(&forged).expect_err("and with nothing else");
    assert!(matches!(refusal, Refusal::OtherHead { commit: 7, .. }), "{refusal}");
}

#[test]
fn a_changed_time_or_rulebook_is_another_history() {
    let case = Case::of(active());
    let mut moved = case.path();
    moved.commits[5].at = UtcMs(moved.commits[5].at.0 + 1);
    let refusal = case.against_the_log(&forged(&moved)).expect_err("refused");
    assert!(matches!(refusal, Refusal::OtherHead { commit: 7, .. }), "{refusal}");

    let mut other = case.path();
    change(&mut other, |input| {
        let Input::Rulebook(text) = input else { return false };
        *text = text.replace("drawdown_max = { value = 0.1", "drawdown_max = { value = 0.3");
        true
    });
    let forged = forged(&other);
    let refusal = case.against_the_log(&forged).expect_err("refused");
    assert!(matches!(refusal, Refusal::OtherChain { .. }), "{refusal}");
    let expected = Expected { chain: Some(case.evidence.anchors.chain), ..Expected::default() };
    let refusal = verify(forged.as_bytes(), &expected).expect_err("refused");
    assert!(matches!(refusal, Refusal::OtherChain { .. }), "{refusal}");
}

#[test]
fn the_file_of_another_log_is_refused_with_both_names() {
    let (case, other) = (Case::of(active()), Case::of(liquidated()));
    // The two logs begin alike, so it is the end that tells them apart ...
    let refusal = other.against_the_log(case.text()).expect_err("refused");
    assert!(matches!(refusal, Refusal::Unanswerable(Unanswerable::ShortLog(7))), "{refusal}");
    // ... and by name where they do not.
    let asked = Digest::of(b"another log");
    let expected = Expected { chain: Some(asked), ..Expected::default() };
    let refusal = verify(case.text().as_bytes(), &expected).expect_err("refused").to_string();
    let found = case.evidence.anchors.chain;
    assert_eq!(refusal, format!("this file is from chain {found}, you asked for {asked}"));
    // A head elsewhere than at the path's end cannot be answered.
    let expected = Expected { head: Some((3, asked)), ..Expected::default() };
    let refusal = verify(case.text().as_bytes(), &expected).expect_err("refused");
    let Refusal::Unanswerable(Unanswerable::OtherEnd { file: 7, asked: 3 }) = refusal else {
        panic!("{refusal}")
    };
    let right = case.evidence.anchors.digest.expect("stated");
    let expected = Expected { head: Some((7, right)), ..Expected::default() };
    assert!(verify(case.text().as_bytes(), &expected).is_ok());
}

#[test]
fn a_verdict_in_the_last_commit_is_told_without_a_digest() {
    let mut batches = liquidated();
    batches.pop();
    let case = Case::of(batches);
    let confirmed = alone(case.text()).expect("confirmed");
    assert!(confirmed.anchors.digest.is_none() && !confirmed.verdict_in_digest);
    assert!(confirmed.verdict.contains("by rule E-45"));
}

#[test]
fn a_path_that_goes_on_after_the_verdict_is_refused() {
    let case = Case::of(liquidated());
    let mut path = case.path();
    let mut more = path.commits[2].clone();
    more.inputs = PathInputs::Hidden(Link { touches: 0, root: Digest::default() });
    path.commits.push(more);
    let (extracts, _) = proof::check(&path).expect("complete in itself");
    let told = retell::retell(&path, &extracts).map(|_| ()).expect_err("refused");
    assert!(matches!(told, CannotTell::GoesOn(3)), "{told}");
}

#[test]
fn a_trader_without_an_account_has_no_evidence() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), active());
    let nobody = TraderId::new("nobody").expect("valid");
    let refused = evidence(dir.path(), &nobody, Which::Last).expect_err("nobody");
    assert!(matches!(refused, EvidenceError::UnknownTrader(_)), "{refused}");
}

#[test]
fn a_run_that_was_cut_off_and_resumed_gives_the_same_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let scenario = Scenario { seed: 5, traders: 12, days: 1 };
    let run = |path: &Path, commits: usize| {
        let batches = Simulation::new(scenario).take(commits).map(Ok::<_, RunError>);
        run::run(path, Default::default(), batches, |_| {}).expect("runs")
    };
    let (whole, cut) = (dir.path().join("whole"), dir.path().join("cut"));
    let finished = run(&whole, usize::MAX);
    run(&cut, 700);
    run(&cut, usize::MAX);
    for account in &finished.view.accounts {
        let file = evidence(&whole, &account.trader, Which::Last).expect("evidence").text;
        assert_eq!(file, evidence(&cut, &account.trader, Which::Last).expect("evidence").text);
        let expected = Expected { data: Some(&cut), ..Expected::default() };
        let confirmed = verify(file.as_bytes(), &expected).expect("confirmed");
        assert_eq!(confirmed.verdict_in_digest, account.elimination.is_some());
    }
}

#[test]
fn a_compressed_file_is_verified_as_it_is_and_a_bomb_or_a_cut_one_is_refused() {
    let case = Case::of(eliminated());
    let packed = case.evidence.gzip().expect("memory");
    assert!(packed.len() < case.text().len());
    let confirmed = verify(&packed, &Expected::default()).expect("confirmed");
    assert_eq!(confirmed, alone(case.text()).expect("confirmed"));
    let refused =
        |bytes: &[u8]| verify(bytes, &Expected::default()).expect_err("refused").to_string();
    assert!(refused(&packed[..packed.len() / 2]).starts_with("the gzip file: it cannot"));
    let zeros = vec![b' '; 1 << 22];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::Write::write_all(&mut encoder, &zeros).expect("memory");
    let bomb = encoder.finish().expect("memory");
    assert!(refused(&bomb).contains("more than 64 times its length"), "{}", refused(&bomb));
    // Changed where it holds the text, it is another text.
    for at in (packed.len() / 10..packed.len()).step_by(packed.len() / 20) {
        let mut changed = packed.clone();
        changed[at] ^= 4;
        assert!(verify(&changed, &Expected::default()).is_err(), "byte {at}");
    }
}

/// Alice ends, is reinstated, and ends again; then nothing more.
fn twice(reinstated: bool) -> Vec<Batch> {
    use proctor_engine::eliminations::{Reentry, Reinstatement};
    use proctor_types::{OperatorId, Remark, Stamp};
    let command = Input::Reinstate(Reinstatement {
        trader: trader(),
        by: OperatorId::new("desk").expect("valid"),
        why: Remark::new("bad tick").expect("valid"),
        // A decision of another commit is not there to be undone.
        decided: Stamp { commit: if reinstated { 3 } else { 2 }, at: UtcMs(NOON + 20_000) },
        reentry: Reentry::Challenge,
    });
    let fresh = vec![price("BTCUSD", 50_000, 60_000.0), order("two", "BTCUSD", Side::Long, 0.4)];
    vec![
        at(0, vec![price("BTCUSD", 0, 60_000.0), order("one", "BTCUSD", Side::Long, 0.5)]),
        at(20_000, vec![price("BTCUSD", 20_000, 30_000.0)]),
        at(40_000, vec![command]),
        at(50_000, fresh),
        at(60_000, vec![price("BTCUSD", 60_000, 40_000.0)]),
        at(70_000, vec![Input::Tick]),
    ]
}

#[test]
fn after_a_reinstatement_evidence_covers_every_epoch_up_to_the_verdict_that_is_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), twice(true));
    let of = |which| evidence(dir.path(), &trader(), which).map(|evidence| evidence.text);
    for (which, commit, undone) in [
        (Which::Last, 6, 1),
        (Which::Number(2), 6, 1),
        (Which::Commit(6), 6, 1),
        (Which::Number(1), 3, 0),
        (Which::Commit(3), 3, 0),
    ] {
        let text = of(which).expect("evidence");
        let expected = Expected { data: Some(dir.path()), ..Expected::default() };
        let confirmed = verify(text.as_bytes(), &expected).expect("confirmed");
        assert!(confirmed.verdict_in_digest && confirmed.given.is_empty(), "{which:?}");
        assert_eq!(confirmed.anchors.head.commit, commit, "{which:?}");
        let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(file["undone"].as_array().map(Vec::len), Some(undone), "{which:?}");
        assert_eq!(file["decision"]["decided"]["commit"], commit);
    }
    for which in [Which::Number(3), Which::Number(0), Which::Commit(4)] {
        let refused = of(which).expect_err("no such verdict").to_string();
        assert!(refused.ends_with("there are those of commits 3, 6"), "{refused}");
    }
    // The path to the second verdict does not pass for one to the first.
    let mut path = file::path(
        &file::read(&of(Which::Last).expect("evidence")).expect("a file").proof.expect("base64"),
    )
    .expect("a path");
    path.commits.truncate(4);
    let forged = retell::retell(&path, &proof::check(&path).expect("complete").0).map(|_| ());
    assert!(forged.is_ok(), "alice lives after commit 4");
    path.commits.truncate(3);
    path.commits.push(path.commits[0].clone());
    assert!(retell::retell(&path, &proof::check(&path).expect("complete").0).is_err());
}

#[test]
fn a_reinstatement_that_was_refused_leaves_the_path_where_the_account_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), twice(false));
    let evidence = evidence(dir.path(), &trader(), Which::Last).expect("evidence");
    assert_eq!(evidence.anchors.head.commit, 3);
    assert!(alone(&evidence.text).expect("confirmed").verdict_in_digest);
}

#[test]
fn a_command_over_several_traders_is_attested_and_its_verdict_stands_in_the_digest() {
    use proctor_engine::eliminations::{DrawdownNote, EliminationRow, EliminationsCommand, Reason};
    use proctor_types::{OperatorId, Remark};
    let row = |trader: TraderId| EliminationRow {
        trader,
        reason: Reason::Plagiarism,
        drawdown: DrawdownNote::NotApplicable,
        decided_at: UtcMs(NOON + 1),
    };
    let command = Input::Eliminations(EliminationsCommand::Add {
        by: OperatorId::new("desk").expect("valid"),
        why: Remark::new("copied each other").expect("valid"),
        rows: vec![row(trader()), row(bob())],
    });
    let end = [at(60_000, vec![command]), at(70_000, vec![Input::Tick])];
    let case = Case::of(both().into_iter().chain(end).collect());
    let confirmed = case.against_the_log(case.text()).expect("confirmed");
    assert!(confirmed.verdict_in_digest && confirmed.attested_in_log);
    assert_eq!(
        confirmed.given,
        ["input 0 of commit 7, judged by several accounts, was carried out"]
    );
    let confirmed = alone(case.text()).expect("confirmed, given that");
    assert!(!confirmed.given.is_empty() && !confirmed.attested_in_log);
    // Without the statement nothing is decided, and a false one is refused.
    let mut path = case.path();
    let stated = path.attested.take();
    let (extracts, anchors) = proof::check(&path).expect("complete");
    let told = retell::retell(&path, &extracts).map(|_| ()).expect_err("refused");
    assert!(matches!(told, CannotTell::Undecided { commit: 7, .. }), "{told}");
    path.attested = Some(Vec::new());
    let told = retell::retell(&path, &extracts).expect("a living account");
    assert!(told.verdict.is_none(), "the command was not carried out, it says");
    let forged_text = file::write(&path, &path.encode(), &anchors, &told).expect("JSON");
    let refusal = case.against_the_log(&forged_text).expect_err("the log knows better");
    assert!(refusal.to_string().contains("attests 0 decisions of others, the log holds 1"));
    path.attested = stated;
    let Some([only]) = path.attested.as_deref_mut() else { panic!("one statement") };
    only.attested.commit = 6;
    let told = retell::retell(&path, &extracts).map(|_| ()).expect_err("refused");
    assert!(matches!(told, CannotTell::CannotBe), "{told}");
}

/// Alice and Bob are both funded, and there is one place.
fn ranked() -> Vec<Batch> {
    use proctor_engine::challenge_period::{Stage, Standing};
    use proctor_engine::input::StagesCommand;
    let text = proctor_engine::rulebook::VANTA;
    let one = text.replace("funded_per_class = { value = 25", "funded_per_class = { value = 1");
    assert_ne!(one, text);
    let set = |who: TraderId| {
        let standing = Standing::new(Stage::Funded, UtcMs(NOON + 1_000));
        Input::Stages(StagesCommand::Set(vec![(who, standing)]))
    };
    let falls = vec![price("BTCUSD", 700_000, 40_000.0), price("ETHUSD", 700_000, 900.0)];
    let mut batches = both();
    batches.truncate(3);
    let begin = UtcMs(NOON - proctor_types::time::DAY_MS);
    batches.insert(0, Batch { at: begin, inputs: vec![Input::Rulebook(one)] });
    batches.extend([
        at(4_000, vec![set(trader()), set(bob())]),
        at(400_000, vec![Input::Tick]),
        at(700_000, falls),
        at(701_000, vec![Input::Tick]),
    ]);
    batches
}

#[test]
fn a_demotion_by_rank_is_attested_with_the_scores_and_bound_by_the_verdict() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), ranked());
    let story = crate::explain::explain(dir.path(), &bob(), |_| {}).expect("a story");
    assert!(story.stages.iter().any(|step| format!("{step:?}").contains("emoted")), "{story:?}");
    let text = evidence(dir.path(), &bob(), Which::Last).expect("evidence").text;
    let confirmed = alone(&text).expect("confirmed");
    assert!(confirmed.given[0].contains("bob was demoted by rank at commit "), "{confirmed:?}");
    let expected = Expected { data: Some(dir.path()), ..Expected::default() };
    let with_log = verify(text.as_bytes(), &expected).expect("confirmed");
    assert!(with_log.attested_in_log);
    let path = || {
        let parts = file::read(&text).expect("a file");
        file::path(&parts.proof.expect("base64")).expect("a path")
    };
    // Another score is found by the log, and at once where it contradicts the rank.
    let mut other = path();
    let ranking = other.attested.as_mut().expect("some")[0].ranking.as_mut().expect("a rank");
    assert_eq!(ranking.places.len(), 2, "{ranking:?}");
    ranking.places[0].score += 0.125;
    let refusal = verify(forged(&other).as_bytes(), &expected).expect_err("refused").to_string();
    assert!(refusal.contains("is not what the log says"), "{refusal}");
    let ranking = other.attested.as_mut().expect("some")[0].ranking.as_mut().expect("a rank");
    ranking.places.reverse();
    let refusal = alone(&forged(&other)).expect_err("refused").to_string();
    assert!(refusal.contains("is not in the order of its scores"), "{refusal}");
}

#[test]
fn other_files_are_not_evidence() {
    for bytes in [&b""[..], b"{}", b"\xff\xfe", b"{\n\"format\": \"proctor.evidence/1\",\n"] {
        let refused = verify(bytes, &Expected::default()).expect_err("refused");
        assert!(matches!(refused, Refusal::Unanswerable(Unanswerable::NotEvidence)), "{refused}");
    }
}
