//! What the rules refuse, as problems that name the field of the request.

use proctor_engine::Rejection;
use proctor_engine::challenge_period::Refusal;
use proctor_rpc::{Problem, Reason};
use proctor_types::TraderId;

/// Returns that the rules refused a command; `field` is what of the request they refused.
#[must_use]
pub fn problem(rejection: &Rejection, field: Option<String>) -> Problem {
    let reason = if matches!(rejection, Rejection::ChallengePeriod(Refusal::Unknown(_))) {
        Reason::UnknownTrader
    } else if matches!(rejection, Rejection::NoSuchElimination(_)) {
        Reason::NotFound
    } else {
        Reason::Refused
    };
    Problem { field, ..Problem::new(reason, rejection.to_string()) }.with_code(rejection.code())
}

/// Returns that the rules refused one of several rows: the one of the trader whom they name.
/// `traders` are the rows' in order; of several of one trader the last one counts.
#[must_use]
pub fn of_row(rejection: &Rejection, field: &str, traders: &[&TraderId]) -> Problem {
    let named = trader(rejection);
    let place = traders.iter().rposition(|trader| Some(*trader) == named);
    problem(rejection, Some(place.map_or(field.into(), |place| format!("{field}[{place}]"))))
}

/// Returns the trader whom a refusal of a command names.
fn trader(rejection: &Rejection) -> Option<&TraderId> {
    if let Rejection::NoSuchElimination(trader)
    | Rejection::AlreadyEliminated(trader)
    | Rejection::EliminationDate(trader)
    | Rejection::NotSlashed(trader) = rejection
    {
        return Some(trader);
    }
    let Rejection::ChallengePeriod(refusal) = rejection else { return None };
    match refusal {
        Refusal::Unknown(trader)
        | Refusal::NotRegistered(trader)
        | Refusal::Ended(trader)
        | Refusal::Repeated(trader)
        | Refusal::Calendar { trader, .. }
        | Refusal::Ahead { trader, .. }
        | Refusal::Before(trader)
        | Refusal::Percent(trader) => Some(trader),
        Refusal::NotDecided { .. } => None,
    }
}
