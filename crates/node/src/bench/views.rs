//! What readers cost and get: publishing a view of many accounts, and finding one of them in it.

use std::hint::black_box;
use std::time::Duration;

use proctor_types::{TraderId, UtcMs};
use serde_json::json;

use super::rounds::{Case, Plan, timed};
use super::workload::{ROUND, START, Workload, apply, check, next};
use super::{Aim, BenchError, Scale};

const BENCH: &str = "engine";
/// Orders of a commit, whose accounts lie far from each other.
const ORDERS: usize = 16;
/// How often all accounts are looked for.
const PASSES: usize = 10;

/// Commits of a few orders among many accounts, each view held until the next one as readers do,
/// and look-ups in the last view.
pub(super) fn views(scale: Scale) -> Result<Case<'static>, BenchError> {
    let accounts = scale.pick(10_000, 64);
    let commits = scale.pick(500, 4);
    let workload = Workload::new(accounts);
    let mut engine = workload.engine()?;
    // In another order than that of enrolment, as equal names but in other memory.
    let sought: Vec<TraderId> = (0..accounts)
        .map(|place| workload.trader(place * 7_919 % accounts))
        .map(|trader| TraderId::new(trader.as_str()).expect("a trader's name"))
        .collect();
    let params = json!({"accounts": accounts, "inputs_per_commit": ORDERS, "commits": commits});
    let plan = |figure, unit, aim| Plan { bench: BENCH, figure, unit, aim, params: params.clone() };
    let plans = vec![
        plan("a commit and its view among many accounts", "us", None),
        plan("the same without views", "us", None),
        plan("look-up of an account in a view", "ns", Some(Aim::AtMost(50.0))),
    ];
    let mut number = 0;
    let run = move || {
        let mut spent = [Duration::ZERO; 2];
        for (viewed, spent) in [true, false].into_iter().zip(&mut spent) {
            let mut view = None;
            let at = UtcMs(START.0 + i64::try_from(number).unwrap_or(0) * ROUND.0);
            apply(&mut engine, at, vec![workload.price(number, at)])?;
            for commit in 0..commits {
                let place = |order| (commit + order * accounts / ORDERS) % accounts;
                let orders = (0..ORDERS).map(|order| workload.order(place(order), number));
                let commit = next(&engine, at, orders.collect());
                let (elapsed, outcome) = timed(|| {
                    let outcome = engine.apply(&commit);
                    if viewed {
                        view = Some(engine.view());
                    }
                    outcome
                });
                check(&outcome?)?;
                *spent += elapsed;
            }
            number += 1;
        }
        let view = engine.view();
        let (elapsed, found) = timed(|| {
            let all = (0..PASSES).flat_map(|_| &sought);
            all.filter(|trader| view.account(black_box(trader)).is_some()).count()
        });
        if found != PASSES * accounts {
            return Err(BenchError::Workload(format!("{found} of the accounts sought are found")));
        }
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / commits as f64;
        let lookup = elapsed.as_secs_f64() * 1e9 / found as f64;
        Ok(vec![each(spent[0]), each(spent[1]), lookup])
    };
    Ok(Case { plans, run: Box::new(run) })
}
