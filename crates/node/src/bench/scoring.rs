//! `bench challenge`, the scoring alone: full ledgers of 120 days, in one process and on one core.

use std::hint::black_box;

use proctor_engine::Rulebook;
use proctor_engine::ledgers::{Bundle, LedgerError, MarketStatus, PairSample};
use proctor_engine::rulebook::VANTA;
use proctor_engine::scoring::{Contestant, Ledgers, ScoredPosition, Scorer};
use proctor_types::time::DAY_MS;
use proctor_types::{AssetClass, TradePair, TraderId, Usd, UtcMs};
use serde_json::json;

use super::rounds::{Case, Plan, take_turns, timed};
use super::workload::START;
use super::{Aim, BenchError, Figure, Scale};

const BENCH: &str = "challenge";
const CELL_MS: i64 = DAY_MS / 2;
/// One pair of each class that is scored, in the order of the table of pairs.
const PAIRS: [&str; 2] = ["BTCUSD", "EURUSD"];

/// Measures the scoring and tells `report` each figure.
///
/// # Errors
/// [`BenchError`] when a workload does not do what it is meant to.
pub fn scoring(scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    let rulebook = Rulebook::parse(VANTA).map_err(|error| broken(&error))?;
    // One field for both figures: the few are the first of the many.
    let field = Field::new(&rulebook, scale.pick(10_000, 40), scale.pick(240, 16))?;
    let few = scale.pick(250, 20);
    let cases = vec![
        ranking(&rulebook, &field, few, Some(Aim::AtMost(5.0))),
        ranking(&rulebook, &field, field.traders.len(), Some(Aim::AtMost(200.0))),
    ];
    take_turns(scale.pick(7, 2), cases, report)
}

fn broken(error: &dyn std::error::Error) -> BenchError {
    BenchError::Workload(error.to_string())
}

/// Traders with full ledgers of the portfolio and of two pairs, no two alike.
struct Field {
    traders: Vec<(TraderId, Bundle)>,
    cells: i64,
    now: UtcMs,
}

impl Field {
    fn new(rulebook: &Rulebook, traders: usize, cells: i64) -> Result<Self, BenchError> {
        let trader = |number: usize| {
            let name = format!("trader-{number:05}");
            let trader = TraderId::new(&name).map_err(|error| broken(&error))?;
            let bundle = ledgers(rulebook, number, cells).map_err(|error| broken(&error))?;
            Ok((trader, bundle))
        };
        Ok(Self {
            traders: (0..traders).map(trader).collect::<Result<_, BenchError>>()?,
            cells,
            now: UtcMs(START.0 + cells * CELL_MS),
        })
    }
}

/// Returns the ledgers of trader `number` after this many half-days with one sample each.
fn ledgers(rulebook: &Rulebook, number: usize, cells: i64) -> Result<Bundle, LedgerError> {
    let mut bundle = Bundle::new(START);
    let mut pnl = 0.0;
    for cell in 0..=cells {
        // Small changes up and down that differ by trader and cell; any will do.
        let mixed = (number * 7_919 + usize::try_from(cell).unwrap_or(0) * 104_729) % 2_001;
        let change = f64::from(u32::try_from(mixed).unwrap_or(0)) - 1_000.0;
        pnl += change / 10.0;
        let sample = |id: &str| PairSample {
            pair: TradePair::from_id(id).expect("in the table"),
            initialized_at: START,
            value: 1.0 + change * 1e-5,
            spread_fee: 0.999,
            carry_fee: 0.998,
            realized_pnl: pnl,
            unrealized_pnl: -change,
            status: MarketStatus::OpenPriceChange,
        };
        let at = UtcMs(START.0 + cell * CELL_MS);
        bundle.sample(&rulebook.ledger, at, &PAIRS.map(sample))?;
    }
    Ok(bundle)
}

/// Reads the ledgers of the first traders, finds the minimum of days and ranks everyone.
fn ranking<'a>(
    rulebook: &'a Rulebook,
    field: &'a Field,
    traders: usize,
    aim: Option<Aim>,
) -> Case<'a> {
    let plan = Plan {
        bench: BENCH,
        figure: "scoring",
        unit: "ms",
        aim,
        params: json!({
            "traders": traders, "ledgers_each": 1 + PAIRS.len(), "cells_each": field.cells,
            "positions_each": 1,
        }),
    };
    let days = u32::try_from(field.cells / 2).unwrap_or(0);
    let run = move || {
        let (elapsed, ranked) = timed(|| {
            let scorer = Scorer::new(black_box(rulebook), field.now);
            let position = ScoredPosition {
                opened_at: START,
                is_closed: true,
                return_at_close: 1.01,
                is_flagged: false,
            };
            let contestants: Vec<Contestant<'_>> = field.traders[..traders]
                .iter()
                .map(|(trader, bundle)| {
                    let size = Usd::new(150_000.0).ok();
                    scorer.contestant(trader, &Ledgers::from(bundle), vec![position], size)
                })
                .collect();
            let contestants: Vec<_> = contestants.iter().collect();
            let minimum = scorer.minimum_days(&contestants);
            let scores = scorer.score(&contestants, &minimum);
            let complete = contestants
                .iter()
                .filter(|one| {
                    one.classes.get(&AssetClass::Crypto).map(|r| r.days.count()) == Some(days)
                })
                .count();
            (
                complete,
                black_box(scores).classes.values().map(|one| one.scores.len()).sum::<usize>(),
            )
        });
        // Everyone has every day and a place in both classes.
        if ranked != (traders, 2 * traders) {
            return Err(BenchError::Workload(format!("{ranked:?} of {traders} traders scored")));
        }
        Ok(vec![elapsed.as_secs_f64() * 1e3])
    };
    Case { plans: vec![plan], run: Box::new(run) }
}
