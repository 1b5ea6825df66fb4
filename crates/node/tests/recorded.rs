//! Real recorded orders on real bars: the main job, held to what was recorded.
//!
//! The data is not part of the repository. It is looked for beside it, or where PROCTOR_SHARED says;
//! without it these tests say that they were skipped.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};

use proctor_node::import::BadRows;
use proctor_node::recorded::comparison::Finding;
use proctor_node::recorded::{Recording, Replayed, built_in_rulebook, replay};
use proctor_node::run::Progress;
use proctor_node::verify::verify;
use proctor_sequencer::WriterConfig;
use proctor_types::Usd;

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

fn ck2025(data: &Path) -> Recording {
    let bars = data.join("bars/hyperliquid_perp_5m_BTCUSDC_2025-03_07.csv.gz");
    Recording {
        orders: vec![data.join("orders/ck2025_positions.json.gz")],
        set: None,
        bars: vec![bars.display().to_string()],
        rulebook: built_in_rulebook().into(),
        account_size: Usd::new(100_000.0).expect("finite"),
        bad_rows: BadRows::Refuse,
    }
}

fn run(recording: &Recording, path: &Path) -> Replayed {
    replay(recording, path, WriterConfig::default(), |_: Progress, _| {}).expect("replays")
}

#[test]
fn all_665_recorded_orders_are_judged_and_every_difference_has_a_cause() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let replayed = run(&ck2025(&data), dir.path());
    assert_eq!(replayed.judged.len(), 665);
    let tally = &replayed.finished.tally;
    assert_eq!(tally.accepted + tally.refused.values().sum::<u64>(), 665);
    assert_eq!(replayed.comparison.positions.len(), 74);
    // Of the positions of one opening order and one FLAT, 29 and one that closed by a SHORT, the
    // recorded return comes out to nine digits, but for two that paid slippage at the entry: the
    // recording divides by the entry price with slippage, we by the one without, which is a
    // hundred-thousandth of the gain.
    let simple: Vec<_> = replayed
        .comparison
        .positions
        .iter()
        .filter(|p| p.recorded_orders == 2 && p.finding != Finding::NotClosedInRecording)
        .collect();
    assert_eq!(simple.len(), 30);
    let same = simple.iter().filter(|position| position.finding == Finding::Same).count();
    assert_eq!(same, 28);
    for position in simple {
        let recorded = position.recorded_return.expect("recorded");
        let ours = position.our_return.expect("closed here");
        let older = position.older_basis_return.expect("closed in the recording");
        assert!((ours - recorded).abs() < 3e-9 * recorded, "{position:#?}");
        assert!((older - recorded).abs() < 1e-9 * recorded, "{position:#?}");
    }
    let unexplained = Finding::Unexplained;
    assert!(replayed.comparison.positions.iter().all(|p| p.finding != unexplained));
    let proof = verify(dir.path(), |_| {}).expect("verifies");
    assert_eq!(proof.digest, replayed.finished.view.digest);
}

#[test]
fn json_and_csv_of_the_same_orders_give_the_same_digest() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let json = ck2025(&data);
    let csv = Recording {
        orders: vec![data.join("orders/orders.csv.gz")],
        set: Some("ck2025".into()),
        ..json.clone()
    };
    let (json, csv) = (run(&json, &dir.path().join("json")), run(&csv, &dir.path().join("csv")));
    assert_eq!(json.finished.view.digest, csv.finished.view.digest);
    assert_ne!(json.input_hash, csv.input_hash, "other bytes were read");
}
