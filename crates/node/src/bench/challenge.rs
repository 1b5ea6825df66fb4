//! `bench challenge`: a full refresh of the stages, scores and all, over ten weeks of ledgers.

use proctor_engine::Input;
use proctor_engine::challenge_period::Stage;
use proctor_engine::input::StagesCommand;
use proctor_types::UtcMs;
use proctor_types::time::DAY_MS;
use serde_json::json;

use super::rounds::{Case, Plan, take_turns, timed};
use super::workload::{ORDERS_PER_POSITION, START, Workload, apply, check, next};
use super::{Aim, BenchError, Figure, Scale};

/// Half-days of a position from its first order to its last; each trader begins at another of them.
const CYCLE: usize = 8;
/// Half-days that are traded: enough for a promotion, not enough for the challenge to time out.
const HALF_DAYS: usize = 140;

/// Measures a refresh and tells `report` each figure.
///
/// # Errors
/// [`BenchError`] when the workload does not do what it is meant to.
pub fn challenge(scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    let crowds = [(scale.pick(250, 30), Some(Aim::AtMost(5.0))), (scale.pick(10_000, 40), None)];
    let cases: Result<Vec<Case<'static>>, BenchError> =
        crowds.into_iter().map(|(traders, aim)| refreshes(traders, aim)).collect();
    take_turns(scale.pick(7, 2), cases?, report)
}

/// Refreshes of the same moment: each looks at everything and finds nothing left to change.
fn refreshes(traders: usize, aim: Option<Aim>) -> Result<Case<'static>, BenchError> {
    let workload = Workload::new(traders);
    let mut engine = workload.engine()?;
    for half in 0..HALF_DAYS {
        let at = UtcMs(START.0 + i64::try_from(half).unwrap_or(0) * DAY_MS / 2);
        let mut inputs = vec![workload.price(half, at)];
        inputs.extend((0..traders).filter_map(|place| cycle(&workload, place, half)));
        apply(&mut engine, at, inputs)?;
    }
    let view = engine.view();
    let funded = view.in_stage(Stage::Funded).count();
    let ranked = view.challenge.ranking.as_ref().map_or(0, |ranking| {
        ranking.classes.iter().map(|class| class.scores.len()).max().unwrap_or(0)
    });
    if funded != traders.min(25) || ranked != traders {
        let problem = format!("{funded} of {traders} traders funded, {ranked} ranked");
        return Err(BenchError::Workload(problem));
    }
    let plan = Plan {
        bench: "challenge",
        figure: "refresh of all stages with scoring",
        unit: "ms",
        aim,
        params: json!({
            "traders": traders, "cells_each": 2 * HALF_DAYS,
            "closed_positions_each": HALF_DAYS / CYCLE,
        }),
    };
    let run = move || {
        let refresh = vec![Input::Stages(StagesCommand::Refresh)];
        let commit = next(&engine, engine.stamp().at, refresh);
        let (elapsed, outcome) = timed(|| engine.apply(&commit));
        let outcome = outcome?;
        check(&outcome)?;
        if !outcome.events.is_empty() {
            return Err(BenchError::Workload(format!("a refresh did {:?}", outcome.events)));
        }
        Ok(vec![elapsed.as_secs_f64() * 1e3])
    };
    Ok(Case { plans: vec![plan], run: Box::new(run) })
}

/// Returns what the trader at `place` does in a half-day: open, add, close, and so on.
fn cycle(workload: &Workload, place: usize, half: usize) -> Option<Input> {
    let step = half + place % CYCLE;
    let first = step / CYCLE * ORDERS_PER_POSITION;
    match step % CYCLE {
        0 => Some(workload.order(place, first)),
        3 if half >= 3 => Some(workload.order(place, first + 1)),
        7 if half >= 7 => Some(workload.flat(place, first + 2)),
        _ => None,
    }
}
