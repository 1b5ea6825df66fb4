//! Histories that once broke a law, as the search had left them.

use proctor_types::{ExecutionType, Side};

use proctor_engine::eliminations::Reason;

use super::{
    Act, CancelPlan, Gap, History, Move, OrderPlan, PairPlan, Records, Rules, Shape, SizePlan, Step,
};

/// In the last commit nobody is promoted when the refresh falls due, because the rules of the time do not
/// allow it; then new rules come, and a report that asks for a second refresh, which promotes a trader.
pub(crate) fn promoted_by_the_second_refresh_of_a_commit() -> History {
    let order = |trader| {
        Act::Order(OrderPlan {
            trader,
            pair: PairPlan::Own(0),
            side: Side::Long,
            size: SizePlan::Usual(0.02),
            repeats_id: false,
            execution: ExecutionType::Market,
            limit: None,
            stop_loss: None,
            take_profit: None,
            cancel: CancelPlan::Order(0),
        })
    };
    let prices = (0..8).map(|pair| (pair, 0, Move::Drift(0), Shape::Event)).collect();
    let step = |gap, acts| Step { gap, acts };
    History {
        bare: false,
        rules: Rules::Quick,
        steps: vec![
            step(Gap::None, vec![order(0)]),
            step(Gap::None, vec![Act::Prices(prices), order(0), order(1)]),
            step(Gap::Ms(112_258_104), vec![order(0)]),
            step(Gap::Ms(10_141_896), vec![Act::Rulebook(Rules::Parity), Act::Suspects(vec![])]),
        ],
    }
}

/// A list of another validator takes the last room for traders without an account; then an operator bars one
/// more, which is refused.
pub(crate) fn barred_without_room() -> History {
    let reason = Reason::MaxTotalDrawdown;
    let list = Records::Sync { source: 0, mask: 0b110, reason, lag: 0 };
    let acts = [
        Act::Rulebook(Rules::Quick),
        Act::Eliminations(list),
        Act::Eliminations(Records::Add { mask: 1, reason, lag: 0 }),
    ];
    let steps = acts.map(|act| Step { gap: Gap::None, acts: vec![act] });
    History { bare: true, rules: Rules::Vanta, steps: steps.into() }
}
