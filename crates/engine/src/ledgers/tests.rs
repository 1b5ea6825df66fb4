//! Behaviour of ledgers and bundles: the golden table, boundaries, and laws.

mod laws;

use proctor_types::time::{DAY_MS, HOUR_MS};

use super::*;
use crate::Rulebook;
use crate::rulebook::VANTA;

/// 2025-11-04, 00:00 UTC.
const MIDNIGHT: i64 = 1_762_214_400_000;

fn rules() -> LedgerRules {
    Rulebook::parse(VANTA).unwrap().ledger
}

fn rules_with_window(days: i64) -> LedgerRules {
    let mut rules = rules();
    rules.window.value = DurationMs(days * DAY_MS);
    rules
}

/// Returns the moment `ms` after 2025-11-04, 00:00 UTC.
fn at(ms: i64) -> UtcMs {
    UtcMs(MIDNIGHT + ms)
}

/// Returns a sample of a portfolio that trades and has had neither fees nor profit.
fn sample(ms: i64, value: f64) -> Sample {
    Sample {
        at: at(ms),
        value,
        status: MarketStatus::OpenPriceChange,
        spread_fee: 1.0,
        carry_fee: 1.0,
        realized_pnl: 0.0,
        unrealized_pnl: 0.0,
    }
}

fn ledger(samples: &[(i64, f64)]) -> Ledger {
    let mut ledger = Ledger::new(at(samples[0].0));
    for (ms, value) in samples {
        ledger.update(&rules(), &sample(*ms, *value)).unwrap();
    }
    ledger
}

fn pair(id: &str) -> TradePair {
    TradePair::from_id(id).unwrap()
}

fn pair_sample(id: &str, value: f64, status: MarketStatus) -> PairSample {
    PairSample {
        pair: pair(id),
        initialized_at: at(0),
        value,
        spread_fee: 1.0,
        carry_fee: 1.0,
        realized_pnl: 0.0,
        unrealized_pnl: 0.0,
        status,
    }
}

/// Returns the ledger of the golden table after its first `rows` rows.
fn golden(rows: usize) -> Ledger {
    let row = |ms, value, spread_fee, carry_fee, realized_pnl, unrealized_pnl, status| Sample {
        at: at(ms),
        value,
        status,
        spread_fee,
        carry_fee,
        realized_pnl,
        unrealized_pnl,
    };
    let open = MarketStatus::OpenPriceChange;
    let table = [
        row(3 * HOUR_MS, 1.0, 1.0, 1.0, 0.0, 0.0, MarketStatus::NoOpenPositions),
        row(6 * HOUR_MS, 1.02, 0.9995, 1.0, 100.0, 1_900.0, open),
        row(12 * HOUR_MS, 0.97, 0.9995, 0.9999, 100.0, -3_000.0, open),
        row(12 * HOUR_MS + 1_000, 0.99, 0.9995, 0.9999, 100.0, -1_000.0, open),
        row(49 * HOUR_MS, 0.99, 0.9995, 0.9999, 100.0, -1_000.0, MarketStatus::MarketNotOpen),
    ];
    let mut ledger = Ledger::new(at(3 * HOUR_MS));
    for sample in table.iter().take(rows + 1) {
        ledger.update(&rules(), sample).unwrap();
    }
    ledger
}

#[test]
fn the_first_cell_begins_at_its_offset_into_the_half_day_8_2() {
    let cell = *golden(0).current().unwrap();
    assert_eq!((cell.accum_ms, cell.open_ms, cell.n_updates), (10_800_000, 0, 0));
    assert_eq!((cell.value, cell.peak, cell.worst_drawdown), (1.0, 1.0, 1.0));
    assert_eq!(cell.start(), at(0));
}

#[test]
fn the_golden_table_holds_to_the_last_digit_8_3() {
    let cell = *golden(1).current().unwrap();
    assert_eq!(cell.gain, 0.019_802_627_296_179_73);
    assert_eq!(cell.spread_fee_loss, -0.000_500_125_041_682_242_9);
    assert_eq!((cell.accum_ms, cell.open_ms, cell.n_updates), (21_600_000, 10_800_000, 1));
    assert_eq!((cell.worst_drawdown, cell.peak), (1.0, 1.02));

    let cell = *golden(2).current().unwrap();
    assert_eq!(golden(2).closed().count(), 0, "the sample on the boundary belongs to the cell");
    assert_eq!((cell.accum_ms, cell.n_updates), (43_200_000, 2));
    assert_eq!(cell.loss, -0.050_261_834_780_888_31);
    assert_eq!(cell.carry_fee_loss, -0.000_100_005_000_333_347_32);
    assert_eq!(cell.worst_drawdown, 0.950_980_392_156_862_7);
    assert_eq!((cell.realized_pnl, cell.unrealized_pnl), (100.0, -3_000.0));

    let cell = *golden(3).current().unwrap();
    assert_eq!(golden(3).closed().count(), 1);
    assert_eq!((cell.accum_ms, cell.open_ms), (1_000, 1_000));
    assert_eq!(cell.gain, 0.020_408_871_631_207_033);
    assert_eq!(cell.worst_drawdown, 0.950_980_392_156_862_7, "carried from the cell before");
    assert_eq!((cell.peak, cell.unrealized_pnl), (0.99, 2_000.0));
}

#[test]
fn time_without_updates_is_filled_with_cells_in_which_nothing_happened_8_3() {
    let ledger = golden(4);
    let cells: Vec<_> = ledger.cells().copied().collect();
    let ends: Vec<_> = cells.iter().map(|cell| (cell.last_update.0 - MIDNIGHT) / HOUR_MS).collect();
    assert_eq!(ends, [12, 24, 36, 48, 49]);
    assert_eq!((cells[1].accum_ms, cells[1].open_ms), (43_200_000, 1_000));
    for void in &cells[2..4] {
        assert_eq!((void.worst_drawdown, void.peak), (0.970_588_235_294_117_6, 0.99));
        assert_eq!((void.accum_ms, void.open_ms, void.n_updates), (43_200_000, 0, 0));
    }
    assert_eq!(cells[4].accum_ms, 3_600_000);
}

#[test]
fn a_void_after_a_close_carries_value_fees_and_drawdown_unchanged_8_11() {
    let mut ledger = ledger(&[(0, 1.0), (HOUR_MS, 1.1)]);
    let closing = Sample { spread_fee: 0.999, realized_pnl: 50.0, ..sample(3 * HOUR_MS, 1.05) };
    ledger.update(&rules(), &closing).unwrap();
    let status = MarketStatus::MarketNotOpen;
    let later = Sample { at: at(49 * HOUR_MS), status, ..closing };
    assert_eq!(ledger.update(&rules(), &later).unwrap(), CellsClosed(4));
    let cells: Vec<_> = ledger.cells().collect();
    let ends: Vec<_> = cells.iter().map(|cell| (cell.last_update.0 - MIDNIGHT) / HOUR_MS).collect();
    assert_eq!(ends, [12, 24, 36, 48, 49]);
    assert_eq!(cells[0].open_ms, 10_800_000, "open for the three hours before the close");
    for void in &cells[1..] {
        assert_eq!((void.value, void.spread_fee, void.realized_pnl_total), (1.05, 0.999, 50.0));
        assert_eq!(void.worst_drawdown, 1.05 / 1.1);
        assert_eq!((void.open_ms, void.n_updates, void.gain, void.loss), (0, 0, 0.0, 0.0));
    }
}

#[test]
fn a_cell_closes_one_millisecond_after_its_boundary_and_not_on_it_8_3() {
    let mut ledger = ledger(&[(HOUR_MS, 1.0)]);
    let mut closed = |ms| ledger.update(&rules(), &sample(ms, 1.01)).unwrap();
    assert_eq!(closed(12 * HOUR_MS - 1), CellsClosed(0));
    assert_eq!(closed(12 * HOUR_MS), CellsClosed(0));
    assert_eq!(closed(12 * HOUR_MS), CellsClosed(0), "any number of samples fit the boundary");
    assert_eq!(closed(12 * HOUR_MS + 1), CellsClosed(1));
    assert_eq!(ledger.current().unwrap().accum_ms, 1);
}

#[test]
fn the_worst_fall_tells_its_beginning_and_its_end() {
    let day = 24 * HOUR_MS;
    let ledger = ledger(&[
        (0, 1.0),
        (HOUR_MS, 1.2),
        (2 * HOUR_MS, 1.14), // 5 % down
        (3 * HOUR_MS, 1.25), // a new peak
        (day, 1.1),          // 12 % down
        (day + HOUR_MS, 1.2),
        (2 * day, 1.3),
        (2 * day + HOUR_MS, 1.2), // less than 8 % down
    ]);
    let peak = Mark { at: at(3 * HOUR_MS), value: 1.25 };
    let trough = Mark { at: at(day), value: 1.1 };
    assert_eq!(ledger.worst(), Some(Drawdown { peak, trough }));
    assert_eq!(ledger.worst_drawdown(), Some(1.1 / 1.25));
    assert_eq!(ledger.peak(), Mark { at: at(2 * day), value: 1.3 });
    assert_eq!(ledger.drawdown(), 1.2 / 1.3);
}

#[test]
fn a_peak_is_forgotten_when_its_cell_leaves_the_window_p_5() {
    let rules = rules_with_window(2);
    let mut ledger = Ledger::new(at(0));
    for hour in 0..=72 {
        let value = match hour {
            6 => 1.5,
            7..=20 => 1.2,
            _ => 1.1,
        };
        ledger.update(&rules, &sample(hour * HOUR_MS, value)).unwrap();
        ledger.purge(&rules);
        match hour {
            48 => assert_eq!(ledger.peak(), Mark { at: at(6 * HOUR_MS), value: 1.5 }),
            49 => assert_eq!(ledger.peak(), Mark { at: at(12 * HOUR_MS), value: 1.2 }),
            _ => {}
        }
        assert!(ledger.len() <= 4, "two days of cells");
    }
    assert_eq!(ledger.peak().value, 1.1);
    let worst = ledger.worst().unwrap();
    assert_eq!(worst.ratio(), 1.1 / 1.5, "a cell keeps the drawdown it began with");
}

#[test]
fn what_cannot_be_in_a_ledger_is_refused_and_changes_nothing() {
    let mut ledger = golden(3);
    let before = ledger.clone();
    let last = at(12 * HOUR_MS + 1_000);
    let good = sample(13 * HOUR_MS, 1.0);
    let cases = [
        (
            Sample { at: at(12 * HOUR_MS), ..good },
            LedgerError::TimeWentBack { last, at: at(12 * HOUR_MS) },
        ),
        (Sample { value: 0.0, ..good }, LedgerError::NotPositive { what: "value", number: 0.0 }),
        (
            Sample { carry_fee: -0.5, ..good },
            LedgerError::NotPositive { what: "carry fee product", number: -0.5 },
        ),
        (
            Sample { spread_fee: f64::INFINITY, ..good },
            LedgerError::NotFinite { what: "spread fee product", number: f64::INFINITY },
        ),
        (
            Sample { realized_pnl: f64::MAX, ..good },
            LedgerError::NotFinite { what: "realized pnl", number: f64::MAX },
        ),
    ];
    for (sample, error) in cases {
        assert_eq!(ledger.update(&rules(), &sample), Err(error));
        assert_eq!(ledger, before);
    }
    let nan = Sample { unrealized_pnl: f64::NAN, ..good };
    assert!(matches!(ledger.update(&rules(), &nan), Err(LedgerError::NotFinite { .. })));
}

#[test]
fn values_at_the_ends_of_the_range_keep_a_ledger_finite() {
    let ledger = ledger(&[(0, 1.0), (1, f64::MAX), (2, f64::MIN_POSITIVE), (3, f64::MAX)]);
    let cell = ledger.current().unwrap();
    assert!(cell.gain.is_finite() && cell.loss.is_finite());
    let bytes = borsh::to_vec(&ledger).unwrap();
    assert_eq!(borsh::from_slice::<Ledger>(&bytes).unwrap(), ledger);
}

#[test]
fn a_portfolio_is_the_product_of_its_pairs_and_the_sum_of_their_profits_8_7() {
    let mut bundle = Bundle::new(at(0));
    let btc = PairSample {
        spread_fee: 0.999,
        realized_pnl: 40.0,
        ..pair_sample("BTCUSD", 1.1, MarketStatus::OpenNoPriceChange)
    };
    let eur = PairSample {
        carry_fee: 0.998,
        unrealized_pnl: -10.0,
        ..pair_sample("EURUSD", 0.9, MarketStatus::MarketNotOpen)
    };
    let outcome = bundle.sample(&rules(), at(HOUR_MS), &[btc, eur]).unwrap();
    assert_eq!((outcome.value, outcome.liquidated), (1.1 * 0.9, false));
    assert_eq!((outcome.peak.value, outcome.drawdown), (1.0, 1.1 * 0.9));
    let outcome = bundle.sample(&rules(), at(2 * HOUR_MS), &[btc, eur]).unwrap();
    assert_eq!(outcome.closed, []);
    let cell = *bundle.portfolio().current().unwrap();
    assert_eq!((cell.spread_fee, cell.carry_fee), (0.999, 0.998));
    assert_eq!((cell.realized_pnl_total, cell.unrealized_pnl_total), (40.0, -10.0));
    assert_eq!(cell.open_ms, 3_600_000, "one pair's open market is enough");
    assert_eq!(bundle.pair(pair("EURUSD")).unwrap().current().unwrap().open_ms, 0);
    assert_eq!(bundle.pair(pair("ETHUSD")), None);
}

#[test]
fn time_counts_as_open_from_the_opening_order_to_the_closing_one() {
    let mut bundle = Bundle::new(at(0));
    let (open, flat) = (MarketStatus::OpenPriceChange, MarketStatus::NoOpenPositions);
    let mut open_hours = |hour, status| {
        let pairs = [pair_sample("BTCUSD", 1.0, status)];
        bundle.sample(&rules(), at(hour * HOUR_MS), &pairs).unwrap();
        i64::from(bundle.portfolio().current().unwrap().open_ms) / HOUR_MS
    };
    assert_eq!(open_hours(1, open), 0, "opened");
    assert_eq!(open_hours(2, open), 1, "still open");
    assert_eq!(open_hours(3, flat), 2, "closed");
    assert_eq!(open_hours(9, open), 2, "opened again: the hours before were flat");
    assert_eq!(open_hours(11, flat), 4, "closed again");
}

#[test]
fn an_outcome_lists_the_closed_cells_of_the_portfolio_and_then_of_the_pairs() {
    let mut bundle = Bundle::new(at(0));
    let pairs = [
        pair_sample("BTCUSD", 1.0, MarketStatus::OpenPriceChange),
        pair_sample("EURUSD", 1.0, MarketStatus::OpenPriceChange),
    ];
    bundle.sample(&rules(), at(0), &pairs[..1]).unwrap();
    bundle.sample(&rules(), at(HOUR_MS), &pairs).unwrap();
    let outcome = bundle.sample(&rules(), at(25 * HOUR_MS), &pairs).unwrap();
    let listed: Vec<_> = outcome
        .closed
        .iter()
        .map(|closed| (closed.pair, (closed.cell.last_update.0 - MIDNIGHT) / HOUR_MS))
        .collect();
    let (btc, eur) = (Some(pair("BTCUSD")), Some(pair("EURUSD")));
    assert_eq!(listed, [(None, 12), (None, 24), (btc, 12), (btc, 24), (eur, 12), (eur, 24)]);
}

#[test]
fn the_last_digit_of_a_value_does_not_drift_while_nothing_is_open_8_7() {
    let mut bundle = Bundle::new(at(0));
    let still = MarketStatus::NoOpenPositions;
    let value = 1.1_f64;
    let drifted = f64::from_bits(value.to_bits() + 1);
    bundle.sample(&rules(), at(0), &[pair_sample("BTCUSD", value, still)]).unwrap();
    let drift = |bundle: &mut Bundle, ms, sample: PairSample| {
        bundle.sample(&rules(), at(ms), &[sample]).unwrap().value
    };
    let noise = pair_sample("BTCUSD", drifted, still);
    assert_eq!(drift(&mut bundle, 1_000, noise), value);
    assert_eq!(bundle.pair(pair("BTCUSD")).unwrap().value(), value);
    assert_eq!(bundle.portfolio().current().unwrap().n_updates, 1, "the first sample's only");

    let earned = PairSample { realized_pnl: 0.01, ..noise };
    assert_eq!(drift(&mut bundle, 2_000, earned), drifted, "something was closed in between");
    let charged = PairSample { carry_fee: 0.9, value: 1.0, ..earned };
    assert_eq!(drift(&mut bundle, 3_000, charged), 1.0);
    let open = PairSample { value: 1.2, status: MarketStatus::MarketNotOpen, ..charged };
    assert_eq!(drift(&mut bundle, 4_000, open), 1.2);
}

#[test]
fn a_portfolio_worth_nothing_is_reported_and_leaves_the_ledgers_as_they_were_8_9() {
    let mut bundle = Bundle::new(at(0));
    let open = MarketStatus::OpenPriceChange;
    bundle.sample(&rules(), at(0), &[pair_sample("BTCUSD", 1.1, open)]).unwrap();
    let before = bundle.clone();
    let lost = bundle.sample(&rules(), at(1_000), &[pair_sample("BTCUSD", 0.0, open)]).unwrap();
    assert_eq!((lost.liquidated, lost.value, lost.drawdown), (true, 0.0, 0.0));
    assert_eq!(bundle, before);
    let negative = bundle.sample(&rules(), at(1_000), &[pair_sample("BTCUSD", -1.0, open)]);
    assert_eq!(negative, Err(LedgerError::NotPositive { what: "value", number: -1.0 }));
}

#[test]
fn a_sample_names_every_pair_once_and_in_order() {
    let mut bundle = Bundle::new(at(0));
    let open = MarketStatus::OpenPriceChange;
    let (btc, eth) = (pair_sample("BTCUSD", 1.0, open), pair_sample("ETHUSD", 1.0, open));
    bundle.sample(&rules(), at(0), &[eth]).unwrap();
    let before = bundle.clone();
    let mut refused = |pairs: &[PairSample]| bundle.sample(&rules(), at(1), pairs).unwrap_err();
    assert_eq!(refused(&[eth, btc]), LedgerError::PairOrder(pair("BTCUSD")));
    assert_eq!(refused(&[eth, eth]), LedgerError::PairOrder(pair("ETHUSD")));
    assert_eq!(refused(&[btc]), LedgerError::PairMissing(pair("ETHUSD")));
    let nan = refused(&[PairSample { value: f64::NAN, ..btc }, eth]);
    assert!(matches!(nan, LedgerError::NotFinite { what: "value", .. }));
    assert_eq!(bundle, before);
    bundle.sample(&rules(), at(1), &[btc, eth]).unwrap();
    let order: Vec<_> = bundle.pairs().map(|(pair, _)| pair.id()).collect();
    assert_eq!(order, ["BTCUSD", "ETHUSD"]);
}

#[test]
fn samples_that_no_order_asks_for_keep_their_distance() {
    let mut bundle = Bundle::new(at(0));
    assert!(bundle.is_due(&rules(), at(0)), "the first one is always due");
    bundle.sample(&rules(), at(0), &[]).unwrap();
    assert!(!bundle.is_due(&rules(), at(999)));
    assert!(bundle.is_due(&rules(), at(1_000)));
}

#[test]
fn a_digest_tells_ledgers_apart_that_differ_anywhere() {
    let digests = [golden(1), golden(2), golden(3), golden(4), Ledger::new(at(0))]
        .map(|ledger| ledger.digest());
    for (index, digest) in digests.iter().enumerate() {
        assert_eq!(digests.iter().filter(|other| *other == digest).count(), 1, "ledger {index}");
    }
    assert_eq!(golden(4).digest(), golden(4).digest());
}

#[test]
fn a_ledger_keeps_the_cells_it_began_with_whatever_later_rules_say() {
    let mut shorter = rules();
    shorter.cell.value = DurationMs(6 * HOUR_MS);
    let mut ledger = ledger(&[(0, 1.0), (10 * HOUR_MS, 1.1)]);
    ledger.update(&shorter, &sample(40 * HOUR_MS, 1.1)).unwrap();
    let ends: Vec<_> =
        ledger.cells().map(|cell| (cell.last_update.0 - MIDNIGHT) / HOUR_MS).collect();
    assert_eq!(ends, [12, 24, 36, 40]);
}

#[test]
fn rules_that_do_not_fit_a_ledger_are_refused_by_name() {
    let refused = |from: &str, to: &str| {
        let text = VANTA.replacen(from, to, 1);
        assert_ne!(text, VANTA, "{from} stands in the rulebook");
        Rulebook::parse(&text).unwrap_err().to_string()
    };
    let cell = "cell = { value = 43_200_000, unit = \"ms\"";
    assert!(refused(cell, "cell = { value = 50_000_000, unit = \"ms\"").contains("divide a day"));
    assert!(refused(cell, "cell = { value = 0, unit = \"ms\"").starts_with("ledger.cell"));
    assert!(refused(cell, "cell = { value = 43_200_000, unit = \"s\"").contains("unit"));
    let window = refused("window = { value = 10_368_000_000", "window = { value = 43_200_000");
    assert!(window.starts_with("ledger.window"), "{window}");
}
