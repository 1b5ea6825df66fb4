//! `bench engine`: marks, orders, ledgers and memory, in one process and on one core.

use std::hint::black_box;
use std::time::Duration;

use proctor_engine::ledgers::{Bundle, MarketStatus, PairSample};
use proctor_engine::positions::position::{ForcedFlatPrice, Marked, Order, OrderSource, Position};
use proctor_engine::prices::conversion::Rates;
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Rulebook};
use proctor_types::{OrderId, PositionId, Side, TradePair, Usd, UtcMs};
use serde_json::json;

use super::memory;
use super::rounds::{Case, Plan, median, per_second, take_turns, timed};
use super::views::views;
use super::workload::{ORDERS_PER_POSITION, ROUND, START, Workload, apply, check, next, price_at};
use super::{Aim, BenchError, Figure, Scale};

const BENCH: &str = "engine";
const MINUTE_MS: i64 = 60_000;

/// Measures the engine and tells `report` each figure.
///
/// # Errors
/// [`BenchError`] when a workload does not do what it is meant to.
pub fn engine(scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    // First, while the process has not yet freed memory that this could reuse without growing.
    report(memory::accounts(scale)?);
    let crowd = Workload::new(scale.pick(1_000, 20));
    let mut cases = vec![position_marks(scale)?, engine_marks(scale, false)?];
    cases.push(engine_marks(scale, true)?);
    for (per_commit, viewed) in [(256, false), (16, false), (1, false), (16, true)] {
        cases.push(orders(&crowd, scale, per_commit, viewed));
    }
    cases.push(views(scale)?);
    cases.push(ledger_path(scale)?);
    cases.push(ledger_commits(scale));
    take_turns(scale.pick(7, 2), cases, report)
}

/// `Position::mark` and nothing else, over more positions than fit into the first-level cache.
fn position_marks(scale: Scale) -> Result<Case<'static>, BenchError> {
    let rulebook = vanta()?;
    let count = scale.pick(4_096, 64);
    let sweeps = scale.pick(500, 4);
    let mut positions = (0..count)
        .map(|number| position(&rulebook, number))
        .collect::<Result<Vec<Position>, _>>()?;
    let plan = Plan {
        bench: BENCH,
        figure: "position marks",
        unit: "marks per second",
        aim: Some(Aim::AtLeast(20e6)),
        params: json!({"positions": count, "orders_each": 5, "marks": count * sweeps}),
    };
    let mut step = 0;
    let run = move || {
        let (elapsed, valued) = timed(|| {
            let mut valued = 0;
            for _ in 0..sweeps {
                step += 1;
                let at = UtcMs(START.0 + MINUTE_MS + i64::try_from(step).unwrap_or(i64::MAX));
                let price = black_box(price_at(step));
                let flat = ForcedFlatPrice::Missing;
                for position in &mut positions {
                    let marked = position.mark(&rulebook, price, at, flat);
                    valued += usize::from(marked == Marked::Valued);
                }
            }
            valued
        });
        let all = count * sweeps;
        if valued != all {
            return Err(BenchError::Workload(format!("{valued} of {all} marks gave a value")));
        }
        Ok(vec![per_second(all, elapsed)])
    };
    Ok(Case { plans: vec![plan], run: Box::new(run) })
}

/// Marks and ledger samples of whole price commits, every account holding the pair.
///
/// With `viewed`, the view after each commit is held as the node's readers do.
fn engine_marks(scale: Scale, viewed: bool) -> Result<Case<'static>, BenchError> {
    let accounts = scale.pick(10_000, 50);
    let commits = scale.pick(20, 3);
    let workload = Workload::new(accounts);
    let mut engine = workload.engine()?;
    let mut inputs = vec![workload.price(0, START)];
    inputs.extend(workload.orders(0));
    apply(&mut engine, START, inputs)?;
    let plan = Plan {
        bench: BENCH,
        figure: "marks and samples through the engine",
        unit: "accounts per second",
        aim: None,
        params: json!({
            "accounts": accounts, "ledgers_each": 2, "commits": commits, "view_each_commit": viewed,
        }),
    };
    let mut step = 0;
    let run = move || {
        let mut view = None;
        let mut spent = Duration::ZERO;
        for _ in 0..commits {
            step += 1;
            let at = UtcMs(engine.stamp().at.0 + 1_000);
            let commit = next(&engine, at, vec![workload.price(step, at)]);
            let (elapsed, outcome) = timed(|| {
                let outcome = engine.apply(&commit);
                if viewed {
                    view = Some(engine.view());
                }
                outcome
            });
            check(&outcome?)?;
            spent += elapsed;
        }
        drop(view);
        Ok(vec![per_second(accounts * commits, spent)])
    };
    Ok(Case { plans: vec![plan], run: Box::new(run) })
}

/// Market orders, each trader's first to hundredth of one position.
fn orders(crowd: &Workload, scale: Scale, per_commit: usize, viewed: bool) -> Case<'_> {
    let params = json!({
        "traders": crowd.traders(),
        "orders": crowd.traders() * ORDERS_PER_POSITION,
        "inputs_per_commit": per_commit,
        "view_each_commit": viewed,
    });
    let plan = |figure, unit, aim| Plan { bench: BENCH, figure, unit, aim, params: params.clone() };
    let mut plans = vec![
        plan("market orders", "orders per second", Some(Aim::AtLeast(500e3))),
        plan("91st to 100th order against 1st to 10th", "ratio of time", Some(Aim::AtMost(1.1))),
    ];
    plans.extend(DECILES.iter().map(|name| plan(name, "ns per order", None)));
    let passes = scale.pick(2, 1);
    let run = move || {
        let mut runs = Vec::new();
        for _ in 0..passes {
            runs.push(hundred_orders_each(crowd, per_commit, viewed)?);
        }
        let nth = |decile| {
            let times: Vec<f64> = runs.iter().map(|times: &[f64; 10]| times[decile]).collect();
            median(&times).unwrap_or(f64::NAN)
        };
        let times: Vec<f64> = (0..10).map(nth).collect();
        let mean = times.iter().sum::<f64>() / 10.0;
        let mut values = vec![1e9 / mean, times[9] / times[0]];
        values.extend(times);
        Ok(values)
    };
    Case { plans, run: Box::new(run) }
}

const DECILES: [&str; 10] = [
    "order 1 to 10",
    "order 11 to 20",
    "order 21 to 30",
    "order 31 to 40",
    "order 41 to 50",
    "order 51 to 60",
    "order 61 to 70",
    "order 71 to 80",
    "order 81 to 90",
    "order 91 to 100",
];

/// Returns the time of an order in nanoseconds, by tenths of a position of a hundred orders.
///
/// The price commit before each round of orders is not part of the time; making the inputs neither.
fn hundred_orders_each(
    crowd: &Workload,
    per_commit: usize,
    viewed: bool,
) -> Result<[f64; 10], BenchError> {
    let mut engine = crowd.engine()?;
    let mut spent = [Duration::ZERO; 10];
    let mut view = None;
    for number in 0..ORDERS_PER_POSITION {
        let at = UtcMs(START.0 + i64::try_from(number).unwrap_or(0) * ROUND.0);
        apply(&mut engine, at, vec![crowd.price(number, at)])?;
        let first = engine.stamp().commit + 1;
        let mut inputs = crowd.orders(number).into_iter();
        let commits: Vec<Commit> = (first..)
            .map(|index| Commit { index, at, inputs: inputs.by_ref().take(per_commit).collect() })
            .take_while(|commit| !commit.inputs.is_empty())
            .collect();
        let (elapsed, result) = timed(|| {
            commits.iter().try_for_each(|commit| {
                let outcome = engine.apply(commit)?;
                if viewed {
                    view = Some(engine.view());
                }
                check(&outcome)
            })
        });
        result?;
        spent[number / 10] += elapsed;
    }
    drop(view);
    let orders = crowd.traders() * ORDERS_PER_POSITION / 10;
    Ok(spent.map(|spent| 1e9 / per_second(orders, spent)))
}

/// One position and its two ledgers over thirty days of minutes: mark, sample, judge nothing else.
fn ledger_path(scale: Scale) -> Result<Case<'static>, BenchError> {
    let rulebook = vanta()?;
    let minutes = scale.pick(43_000, 500);
    let opened = position(&rulebook, 0)?;
    let plan = thirty_days("ledger of thirty days", minutes);
    let run = move || {
        let mut position = opened.clone();
        let mut ledgers = Bundle::new(START);
        let (elapsed, result) = timed(|| {
            for minute in 1..=minutes {
                let at = UtcMs(START.0 + i64::try_from(minute).unwrap_or(0) * MINUTE_MS);
                position.mark(&rulebook, price_at(minute), at, ForcedFlatPrice::Missing);
                let sample = PairSample {
                    pair: position.pair(),
                    initialized_at: START,
                    value: position.return_at_close(),
                    spread_fee: position.spread_fee(),
                    carry_fee: position.carry_fee(),
                    realized_pnl: position.realized_pnl(),
                    unrealized_pnl: position.unrealized_pnl(),
                    status: MarketStatus::OpenPriceChange,
                };
                ledgers.sample(&rulebook.ledger, at, &[sample])?;
            }
            Ok(())
        });
        result.map_err(|error: proctor_engine::ledgers::LedgerError| {
            BenchError::Workload(error.to_string())
        })?;
        Ok(vec![elapsed.as_secs_f64() * 1e3])
    };
    Ok(Case { plans: vec![plan], run: Box::new(run) })
}

/// The same thirty days as commits of one price each, state digest and all.
fn ledger_commits(scale: Scale) -> Case<'static> {
    let minutes = scale.pick(43_000, 500);
    let plan = thirty_days("ledger of thirty days, a commit a minute", minutes);
    let run = move || {
        let workload = Workload::new(1);
        let mut engine = workload.engine()?;
        let opening = vec![workload.price(0, START), workload.order(0, 0)];
        apply(&mut engine, START, opening)?;
        let first = engine.stamp().commit;
        let commits: Vec<Commit> = (1..=minutes)
            .map(|minute| {
                let at = UtcMs(START.0 + i64::try_from(minute).unwrap_or(0) * MINUTE_MS);
                let index = first + u64::try_from(minute).unwrap_or(0);
                Commit { index, at, inputs: vec![workload.price(minute, at)] }
            })
            .collect();
        let (elapsed, result) =
            timed(|| commits.iter().try_for_each(|commit| engine.apply(commit).map(drop)));
        result?;
        let updates = engine.view().accounts[0]
            .ledgers
            .as_ref()
            .map_or(0, |ledgers| ledgers.portfolio().cells().map(|cell| cell.n_updates).sum());
        if usize::try_from(updates).unwrap_or(0) < minutes / 2 {
            return Err(BenchError::Workload(format!("only {updates} updates of the ledger")));
        }
        Ok(vec![elapsed.as_secs_f64() * 1e3])
    };
    Case { plans: vec![plan], run: Box::new(run) }
}

fn thirty_days(figure: &'static str, minutes: usize) -> Plan {
    Plan {
        bench: BENCH,
        figure,
        unit: "ms",
        aim: Some(Aim::AtMost(10.0)),
        params: json!({"updates": minutes, "ledgers": 2}),
    }
}

/// Returns an open position with five orders.
fn position(rulebook: &Rulebook, number: usize) -> Result<Position, BenchError> {
    let broken = |problem: String| BenchError::Workload(problem);
    let pair = TradePair::from_id(super::workload::PAIR).expect("in the table");
    let name = format!("p{number:05}");
    let id = PositionId::new(&name).map_err(|error| broken(error.to_string()))?;
    let size = Usd::new(100_000.0).expect("finite");
    let mut position = Position::new(id, pair, size, START);
    for step in 0..5_u32 {
        let (price, leverage) = (60_000.0, 0.05);
        let order = Order {
            id: OrderId::new(&format!("{name}-{step}"))
                .map_err(|error| broken(error.to_string()))?,
            at: UtcMs(START.0 + i64::from(step)),
            side: Side::Long,
            leverage,
            value: leverage * 100_000.0,
            quantity: leverage * 100_000.0 / price,
            price,
            bid: 0.0,
            ask: 0.0,
            slippage: 0.000_1,
            quote_usd_rate: 1.0,
            usd_base_rate: 1.0 / price,
            source: OrderSource::Organic,
        };
        let rates = Rates { quote_usd: 1.0, usd_base: 1.0 / price };
        let held = position.net_leverage().abs() * rulebook.portfolio_multiplier(pair);
        position
            .add(rulebook, order, held, ForcedFlatPrice::Found { price, rates })
            .map_err(|refusal| broken(refusal.to_string()))?;
    }
    Ok(position)
}

fn vanta() -> Result<Rulebook, BenchError> {
    Rulebook::parse(VANTA).map_err(|error| BenchError::Workload(error.to_string()))
}
