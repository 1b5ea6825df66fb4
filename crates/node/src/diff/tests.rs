//! Logs that agree, end early, begin late or part, and states that were altered.

use std::sync::Arc;

use proctor_commit_log::{Log, LogConfig, SnapshotStore};
use proctor_engine::Input;
use proctor_engine::input::Roster;
use proctor_engine::rulebook::VANTA;
use proctor_sequencer::{Batch, Writer, WriterConfig};
use proctor_types::{
    AssetClass, Digest, Leverage, OrderId, OrderRequest, PairName, Price, Quote, Side, SizeFields,
    SourceName, TradePair, TraderId, Usd, UtcMs,
};

use super::*;
use crate::data_dir::DataDir;

const T0: i64 = 1_762_178_400_000;

/// A log of a rulebook and `ticks`, each so many seconds after the first commit.
fn log(ticks: &[i64]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::create(dir.path()).unwrap();
    let mut writer = Writer::open(data.storage(), WriterConfig::default()).unwrap().writer;
    let first = Batch { at: UtcMs(T0), inputs: vec![Input::Rulebook(VANTA.into())] };
    let tick = |s: &i64| Batch { at: UtcMs(T0 + s * 1_000), inputs: vec![Input::Tick] };
    let batches = std::iter::once(first).chain(ticks.iter().map(tick)).collect();
    assert!(writer.commit(batches).iter().all(Result::is_ok));
    writer.close().unwrap();
    drop(Arc::new(data));
    dir
}

fn compare(a: &[i64], b: &[i64]) -> Comparison {
    diff(log(a).path(), log(b).path()).unwrap().logs
}

#[test]
fn equal_logs_and_beginnings_are_told() {
    assert_eq!(compare(&[1, 2], &[1, 2]), Comparison::Equal { commits: 3, first: 1 });
    let prefix =
        |first_is_longer| Comparison::Prefix { common: 2, first: 1, first_is_longer, longer: 4 };
    assert_eq!(compare(&[1, 2, 3], &[1]), prefix(true));
    assert_eq!(compare(&[1], &[1, 2, 3]), prefix(false));
}

/// A log that begins after the snapshot of commit `begins` of `log(ticks)`.
fn joined(ticks: &[i64], begins: u64) -> tempfile::TempDir {
    let whole = log(ticks);
    let storage = data_dir::log_of(whole.path()).unwrap();
    let records: Vec<Record> = Reader::open(storage).unwrap().map(Result::unwrap).collect();
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::create(dir.path()).unwrap();
    let storage = data.storage();
    let (before, after) = records.split_at(usize::try_from(begins).unwrap());
    let payloads = |records: &[Record]| records.iter().map(|r| r.payload.clone()).collect();
    let before: Vec<Vec<u8>> = payloads(before);
    // The state is made here again: what counts is where the log begins.
    let replayed = proctor_commit_log::storage::memory::MemoryStorage::new();
    let replayed: Arc<dyn proctor_commit_log::Storage> = Arc::new(replayed);
    let mut writer = Writer::open(Arc::clone(&replayed), WriterConfig::default()).unwrap().writer;
    writer.adopt(&before).unwrap();
    writer.snapshot().unwrap();
    let snapshots = SnapshotStore::new;
    let found = snapshots(replayed).load(begins).unwrap();
    let staged = snapshots(Arc::clone(&storage)).stage(begins).unwrap();
    staged.write_at(0, &found.state).unwrap();
    let len = found.state.len() as u64;
    let head = staged.finish(found.head.hash, found.state_digest, len).unwrap();
    let mut writer = Writer::open(Arc::clone(&storage), WriterConfig::default()).unwrap().writer;
    let engine = proctor_sequencer::replay::restore(&found).unwrap();
    let base = proctor_commit_log::Base { head, proof: Vec::new() };
    writer.begin_after(engine, &base).unwrap();
    let after: Vec<Vec<u8>> = payloads(after);
    writer.adopt(&after).unwrap();
    dir
}

#[test]
fn a_log_that_begins_later_is_compared_from_there() {
    let whole = log(&[1, 2, 3, 4]);
    let both = |a: &tempfile::TempDir, b: &tempfile::TempDir| {
        diff(a.path(), b.path()).map(|report| report.logs)
    };
    let late = joined(&[1, 2, 3, 4], 3);
    let equal = Comparison::Equal { commits: 5, first: 4 };
    assert_eq!(both(&whole, &late).unwrap(), equal);
    let proof = crate::verify::verify(late.path(), |_| {}).unwrap();
    assert_eq!((proof.begins, proof.stamp.commit, proof.chain), (3, 5, None));
    let short = log(&[1, 2]);
    let longer = Comparison::Prefix { common: 3, first: 4, first_is_longer: true, longer: 5 };
    assert_eq!(both(&late, &short).unwrap(), longer);
    let parted = both(&late, &log(&[1, 2, 9])).unwrap();
    assert!(matches!(parted, Comparison::Parted { commit: 4, .. }), "{parted:?}");
    // Nothing in common, and another history before the beginning.
    for other in [log(&[1]), log(&[1, 9])] {
        let error = both(&other, &late).unwrap_err();
        assert!(matches!(error, DiffError::Apart { first: 4, .. }), "{error}");
    }
}

#[test]
fn the_first_difference_is_named_by_commit_and_field() {
    let Comparison::Parted { commit, field } = compare(&[1, 2, 5], &[1, 3, 5]) else {
        panic!("they part")
    };
    assert_eq!(commit, 3);
    assert!(matches!(field, Field::Time(..)), "{field}");
    assert!(diff(log(&[]).path(), Path::new("/nowhere/at/all")).is_err());
}

const SIZED: &str = "accounts of alice, terms.sizes[0].size";
const SIZE: f64 = 123_456.0;
const PRICE: f64 = 61_234.5;

/// Six commits in which somebody trades: every part of the engine that looks at one trader has
/// something of it.
fn traded() -> Vec<Batch> {
    let pair = TradePair::from_id("BTCUSD").unwrap();
    let prices = |seconds: i64, price: f64| {
        let at = UtcMs(T0 + seconds * 1_000);
        let price = Price::new(price).unwrap();
        let quote = |by| Quote::event(pair, SourceName::new(by).unwrap(), at, price);
        Input::Prices(vec![quote("one"), quote("two")])
    };
    let alice = TraderId::new("alice").unwrap();
    let leverage = Some(Leverage::new(0.25).unwrap());
    let order = OrderRequest::market(
        alice.clone(),
        OrderId::new("o1").unwrap(),
        PairName::new("BTCUSD").unwrap(),
        Side::Long,
        SizeFields { leverage, value: None, quantity: None },
    );
    let terms = vec![
        Input::AccountSize(alice.clone(), Usd::new(SIZE).unwrap()),
        Input::AssetClass(alice.clone(), AssetClass::Crypto),
    ];
    [
        (0, vec![Input::Rulebook(VANTA.into())]),
        (1, vec![Input::Roster(Roster::new(1, vec![alice]))]),
        (2, terms),
        (90_000, vec![prices(90_000, PRICE), Input::Order(order)]),
        (90_010, vec![prices(90_010, PRICE + 1.0)]),
        (90_020, vec![Input::Tick]),
    ]
    .map(|(seconds, inputs)| Batch { at: UtcMs(T0 + seconds * 1_000), inputs })
    .into()
}

/// A node that traded, with a snapshot of each commit in `snapshots`.
fn node(snapshots: &[u64]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::create(dir.path()).unwrap();
    let config = WriterConfig { snapshots_kept: 10, ..WriterConfig::default() };
    let mut writer = Writer::open(data.storage(), config).unwrap().writer;
    for (commit, batch) in (1..).zip(traded()) {
        let receipts = writer.commit(vec![batch]);
        assert!(receipts.iter().flatten().all(|r| r.replies.iter().all(Result::is_ok)));
        if snapshots.contains(&commit) {
            writer.snapshot().unwrap();
        }
    }
    writer.close().unwrap();
    // What the end of a run adds is not asked for here.
    if !snapshots.contains(&6) {
        std::fs::remove_file(dir.path().join("log").join(format!("{:020}.snap", 6))).unwrap();
    }
    dir
}

fn snapshots_of(node: &tempfile::TempDir) -> SnapshotStore {
    SnapshotStore::new(DataDir::create(node.path()).unwrap().storage())
}

/// Replaces the occurrence `place` of `old` in the state of a snapshot, which is whole again after it.
/// Returns whether there is such an occurrence.
fn doctor(node: &tempfile::TempDir, commit: u64, old: [u8; 8], new: [u8; 8], place: usize) -> bool {
    let store = snapshots_of(node);
    let mut found = store.load(commit).unwrap();
    let at = found.state.windows(8).enumerate().filter(|(_, bytes)| *bytes == old).nth(place);
    let Some((at, _)) = at else { return false };
    found.state[at..at + 8].copy_from_slice(&new);
    store.write(&found).unwrap();
    assert_eq!(store.load(commit).unwrap().state, found.state);
    true
}

/// Writes the log of `from` into another node, with its last entry altered.
fn restated(from: &tempfile::TempDir, change: impl FnOnce(&mut LogEntry)) -> tempfile::TempDir {
    let records = Reader::open(data_dir::log_of(from.path()).unwrap()).unwrap();
    let mut entries: Vec<LogEntry> =
        records.map(|record| LogEntry::decode(&record.unwrap().payload).unwrap()).collect();
    change(entries.last_mut().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let storage = DataDir::create(dir.path()).unwrap().storage();
    let (mut log, _) = Log::open(storage, LogConfig::default()).unwrap();
    for entry in entries {
        log.append(&entry.encode()).unwrap();
    }
    log.sync().unwrap();
    log.close().unwrap();
    dir
}

/// Gives `to` the snapshot of commit `commit` that `from` has, as one of its own.
fn hand_over(from: &tempfile::TempDir, to: &tempfile::TempDir, commit: u64) {
    let mut found = snapshots_of(from).load(commit).unwrap();
    let records = Reader::open(data_dir::log_of(to.path()).unwrap()).unwrap();
    let own = records.map(Result::unwrap).find(|record| record.index == commit).unwrap();
    found.head.hash = own.hash;
    snapshots_of(to).write(&found).unwrap();
}

fn both(a: &tempfile::TempDir, b: &tempfile::TempDir) -> Report {
    diff(a.path(), b.path()).unwrap()
}

/// The difference as it is told, and its values.
fn found(report: &Report) -> (u64, String, (String, String)) {
    let finding = report.states.finding.as_ref().unwrap_or_else(|| panic!("{report:?}"));
    (finding.commit, finding.difference.to_string(), (*finding.difference.values).clone())
}

#[test]
fn equal_snapshots_and_those_that_the_inputs_give_are_told() {
    let (a, b) = (node(&[3, 5]), node(&[4, 5]));
    let report = both(&a, &b);
    assert_eq!(report.logs, Comparison::Equal { commits: 6, first: 1 });
    assert_eq!((&report.states.equal[..], &report.states.finding), (&[3, 4, 5][..], &None));
    assert!(report.states.left_out.is_empty(), "{:?}", report.states.left_out);
}

#[test]
fn an_altered_field_of_a_snapshot_is_named_by_commit_part_trader_and_path() {
    let (a, b) = (node(&[3]), node(&[3, 5]));
    assert!(doctor(&b, 5, SIZE.to_le_bytes(), 99.5_f64.to_le_bytes(), 0));
    let size = (5, SIZED.to_owned());
    let report = both(&a, &b);
    let (commit, at, values) = found(&report);
    assert_eq!((commit, at), size);
    assert_eq!(values, ("123456.0".to_owned(), "99.5".to_owned()));
    let finding = report.states.finding.unwrap();
    let path = b.path().to_owned();
    assert_eq!(finding.witnesses, (Witness::Fold, Witness::Snapshot(path)));
    assert_eq!(report.states.equal, [3], "what is before it is compared too");
    // The other way round, and with a snapshot of both.
    assert_eq!(found(&both(&b, &a)).0, 5);
    let c = node(&[5]);
    assert_eq!(found(&both(&c, &b)).1, size.1);
}

#[test]
fn every_place_of_a_number_has_its_owner() {
    let report = |number: f64, place: usize| {
        let (a, b) = (node(&[]), node(&[4]));
        let bytes = (number.to_le_bytes(), (number + 0.5).to_le_bytes());
        doctor(&b, 4, bytes.0, bytes.1, place).then(|| found(&both(&a, &b)).1)
    };
    let told: Vec<String> = (0..).map_while(|place| report(PRICE, place)).collect();
    let owners: Vec<&str> = told.iter().filter_map(|at| at.split([' ', ',']).next()).collect();
    for owner in ["prices", "positions"] {
        assert!(owners.contains(&owner), "{told:#?}");
    }
    assert!(!owners.contains(&"digests"), "{told:#?}");
}

#[test]
fn each_part_that_looks_at_a_trader_is_named() {
    let a = node(&[]);
    let engine = {
        let b = node(&[5]);
        proctor_sequencer::replay::restore(&snapshots_of(&b).load(5).unwrap()).unwrap()
    };
    let account = engine.account(&TraderId::new("alice").unwrap()).unwrap();
    let portfolio = account.ledgers.as_ref().unwrap().portfolio().value().to_le_bytes();
    let since = account.standing.unwrap().since.0.to_le_bytes();
    let owners = |old: [u8; 8]| -> Vec<String> {
        let told = |place: usize| {
            let b = node(&[5]);
            let mut new = old;
            new[0] ^= 1;
            doctor(&b, 5, old, new, place).then(|| found(&both(&a, &b)).1)
        };
        (0..).map_while(told).collect()
    };
    let told = owners(portfolio);
    assert!(told.iter().any(|at| at.starts_with("ledgers of alice, ledgers.")), "{told:#?}");
    let told = owners(since);
    let standing = "challenge period of alice, standing.since".to_owned();
    assert!(told.contains(&standing), "{told:#?}");
}

#[test]
fn a_result_that_is_stated_differently_is_traced_to_the_field() {
    let a = node(&[]);
    let other = |entry: &mut LogEntry| entry.effects_before.changes = Digest([7; 32]);
    let b = restated(&a, other);
    let parted = Comparison::Parted { commit: 6, field: Field::EffectsBefore };
    // Without a snapshot there is no state to look at; who is right about the commit is told.
    let report = both(&a, &b);
    assert_eq!((&report.logs, &report.states.finding), (&parted, &None));
    let [ours, theirs] = &report.states.judged[..] else { panic!("{report:?}") };
    assert!(ours.ends_with("states of commit 5 what this build computes"), "{ours}");
    assert!(theirs.contains("states of commit 5 another result than this build"), "{theirs}");
    assert!(theirs.contains("its events or valuations"), "{theirs}");
    assert!(report.states.left_out[0].contains("neither node has a snapshot"), "{report:?}");
    // With one of the commit itself, or of a later one to which the inputs are the same.
    for commit in [5, 6] {
        let source = node(&[commit]);
        hand_over(&source, &b, commit);
        let report = both(&a, &b);
        if commit == 5 {
            assert_eq!(report.states.finding, None, "it is what the inputs give");
        }
        assert!(doctor(&b, commit, SIZE.to_le_bytes(), 1.5_f64.to_le_bytes(), 0));
        let report = both(&a, &b);
        assert_eq!(report.logs, parted);
        let (at, told, _) = found(&report);
        assert_eq!((at, told.as_str()), (commit, SIZED));
        std::fs::remove_file(b.path().join("log").join(format!("{commit:020}.snap"))).unwrap();
    }
}

#[test]
fn a_verdict_that_one_of_them_states_is_named() {
    let a = node(&[]);
    let b = restated(&a, |entry| entry.effects_before.verdicts.push(Digest([7; 32])));
    let report = both(&a, &b);
    let theirs = &report.states.judged[1];
    assert!(theirs.contains("eliminations, verdict 0: another verdict there, none"), "{theirs}");
}

#[test]
fn a_snapshot_that_cannot_be_compared_is_said_to_be_left_out() {
    let (a, b) = (node(&[]), node(&[4]));
    let file = b.path().join("log").join(format!("{:020}.snap", 4));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let report = both(&a, &b);
    assert_eq!((&report.states.finding, report.states.equal.len()), (&None, 0));
    let [why] = &report.states.left_out[..] else { panic!("{report:?}") };
    assert!(why.starts_with("the snapshot of commit 4 in ") && why.contains("damaged"), "{why}");
}

#[test]
fn the_snapshot_after_which_a_log_begins_is_compared_with_the_longer_log() {
    let ticks = [1, 2, 3, 4];
    let (whole, late) = (log(&ticks), joined(&ticks, 3));
    let report = both(&whole, &late);
    assert_eq!((report.states.equal, report.states.finding), (vec![3, 5], None));
    // The time of the last commit, in the state.
    let (old, new) = ((T0 + 2_000).to_le_bytes(), (T0 + 2_001).to_le_bytes());
    assert!(doctor(&late, 3, old, new, 0));
    let (commit, at, _) = found(&both(&whole, &late));
    assert_eq!((commit, at.as_str()), (3, "digests, stamp.at"));
    // Two that begin at the same place: nothing before it is left to fold.
    let (a, b) = (joined(&ticks, 3), joined(&ticks, 3));
    assert_eq!(both(&a, &b).states.equal, [3]);
    assert!(doctor(&b, 3, old, new, 0));
    let report = both(&a, &b);
    assert_eq!(found(&report).1, "digests, stamp.at");
    let snapshot = |node: &tempfile::TempDir| Witness::Snapshot(node.path().to_owned());
    assert_eq!(report.states.finding.unwrap().witnesses, (snapshot(&a), snapshot(&b)));
}
