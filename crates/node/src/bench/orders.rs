//! `bench orders`: what a price costs while limit orders wait, and what a fill of one costs.
//!
//! A price update must cost what it reaches, not what waits: the same update is measured with few
//! and with many resting orders, and a fill by a price that reaches one order of every trader.

use std::time::Duration;

use proctor_engine::{Engine, Event, Input};
use proctor_types::{ExecutionType, Leverage, OrderRequest, Price, Side, SizeFields, UtcMs};
use serde_json::json;

use super::rounds::{Case, Plan, per_second, take_turns, timed};
use super::workload::{START, Workload, apply, check, next};
use super::{Aim, BenchError, Figure, Scale};

const BENCH: &str = "orders";
/// Orders that each trader has resting: what the rulebook allows.
const RESTING_EACH: usize = 100;
/// Simulated time between two price updates: a thousand a second.
const UPDATE_EVERY_MS: i64 = 1;
/// A limit far below every price of the workload, so that nothing reaches it.
const FAR: f64 = 1_000.0;
/// A limit just above every price of the workload after the first.
const NEAR: f64 = 59_000.0;
/// How far apart the limits of one trader are.
const APART: f64 = 0.001;
/// A price that reaches the first of each trader's near limits and no other.
const FALL: f64 = NEAR - APART / 2.0;

/// Measures price updates and fills over resting orders and tells `report` each figure.
///
/// # Errors
/// [`BenchError`] when a workload does not do what it is meant to.
pub fn orders(scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    let mut cases = Vec::new();
    for resting in scale.pick([100, 10_000, 100_000], [100, 200, 300]) {
        cases.push(updates(scale, resting)?);
    }
    for resting in scale.pick([1_000, 100_000], [100, 200]) {
        cases.push(triggers(scale, resting));
    }
    take_turns(scale.pick(7, 2), cases, report)
}

/// Price updates that reach nothing, one a commit.
fn updates(scale: Scale, resting: usize) -> Result<Case<'static>, BenchError> {
    let workload = Workload::new(resting.div_ceil(RESTING_EACH));
    let mut engine = with_resting(&workload, resting, FAR)?;
    let count = scale.pick(10_000, 20);
    let params = json!({
        "resting": resting, "traders": workload.traders(), "updates": count,
        "updates_per_simulated_second": 1_000 / UPDATE_EVERY_MS,
    });
    // A simulated second of a thousand updates must take less than a second.
    let aim = Some(Aim::AtMost(1e6));
    let plan = |figure, unit, aim| Plan { bench: BENCH, figure, unit, aim, params: params.clone() };
    let plans = vec![
        plan("price update that reaches no resting order", "ns per update", aim),
        plan("updates without a fill", "updates per second", Some(Aim::AtLeast(1_000.0))),
    ];
    let mut step = 0;
    let run = move || {
        let first = engine.stamp();
        let commits: Vec<_> = (1..=count)
            .map(|number| {
                step += 1;
                let at = UtcMs(first.at.0 + i64::try_from(number).unwrap_or(0) * UPDATE_EVERY_MS);
                let mut commit = next(&engine, at, vec![workload.price(step, at)]);
                commit.index = first.commit + u64::try_from(number).unwrap_or(0);
                commit
            })
            .collect();
        let (elapsed, result) = timed(|| {
            commits.iter().try_for_each(|commit| {
                let outcome = engine.apply(commit)?;
                check(&outcome)
            })
        });
        result?;
        if still_resting(&engine) != resting {
            return Err(BenchError::Workload("an order was filled that is out of reach".into()));
        }
        let rate = per_second(count, elapsed);
        Ok(vec![1e9 / rate, rate])
    };
    Ok(Case { plans, run: Box::new(run) })
}

/// One price that fills one order of every trader, while the others rest; the time of a fill
/// includes the position, its ledgers and the events.
fn triggers(scale: Scale, resting: usize) -> Case<'static> {
    let plan = Plan {
        bench: BENCH,
        figure: "fill of a resting order",
        unit: "ns per fill",
        aim: None,
        params: json!({"resting": resting, "fills_per_update": resting.div_ceil(RESTING_EACH)}),
    };
    let passes = scale.pick(3, 1);
    let run = move || {
        let workload = Workload::new(resting.div_ceil(RESTING_EACH));
        let (mut spent, mut fills) = (Duration::ZERO, 0);
        for _ in 0..passes {
            let mut engine = with_resting(&workload, resting, NEAR)?;
            let at = UtcMs(engine.stamp().at.0 + 1_000);
            let fall = next(&engine, at, vec![workload.price_of(FALL, at)]);
            let (elapsed, outcome) = timed(|| engine.apply(&fall));
            let filled =
                outcome?.events.iter().filter(|e| matches!(e, Event::Filled { .. })).count();
            if filled != workload.traders() {
                return Err(BenchError::Workload(format!("{filled} orders were filled")));
            }
            spent += elapsed;
            fills += filled;
        }
        Ok(vec![1e9 / per_second(fills, spent)])
    };
    Case { plans: vec![plan], run: Box::new(run) }
}

/// Returns an engine in which `resting` orders wait for the ask to fall to `limit` or a little less.
fn with_resting(workload: &Workload, resting: usize, limit: f64) -> Result<Engine, BenchError> {
    let mut engine = workload.engine()?;
    apply(&mut engine, START, vec![workload.price(0, START)])?;
    for number in 0..resting.div_ceil(workload.traders()) {
        let left = resting - number * workload.traders();
        let orders = (0..workload.traders().min(left))
            .map(|place| limit_order(workload, place, number, limit))
            .collect();
        apply(&mut engine, START, orders)?;
    }
    match still_resting(&engine) {
        found if found == resting => Ok(engine),
        found => Err(BenchError::Workload(format!("{found} orders rest, not {resting}"))),
    }
}

fn limit_order(workload: &Workload, place: usize, number: usize, limit: f64) -> Input {
    let Input::Order(order) = workload.order(place, number) else {
        unreachable!("the workload's orders are orders")
    };
    // Every order has a level of its own, as those of many traders would.
    let apart = f64::from(u32::try_from(number).unwrap_or(0)) * APART;
    Input::Order(OrderRequest {
        side: Side::Long,
        execution: ExecutionType::Limit,
        limit_price: Price::new(limit - apart).ok(),
        size: SizeFields { leverage: Leverage::new(0.02).ok(), ..SizeFields::default() },
        ..order
    })
}

fn still_resting(engine: &Engine) -> usize {
    engine.view().accounts.iter().map(|account| account.resting.orders().len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::workload::price_at;
    use super::*;

    #[test]
    fn no_price_of_the_workload_reaches_a_limit_and_the_fall_reaches_the_first() {
        assert!((0..1_000).all(|number| price_at(number) > NEAR));
        let second = std::hint::black_box(NEAR - APART);
        assert!(FALL <= NEAR && FALL > second);
    }
}
