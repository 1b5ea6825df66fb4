//! The orders among the inputs of a commit.

use proctor_engine::input::Extract;
use proctor_engine::{Input, Outcome};
use proctor_types::{OrderId, OrderRequest, TraderId};

/// Returns the request at place `input` of `commit` and where it came from.
pub(super) fn request_at(commit: &Extract, input: u32) -> Option<(&OrderRequest, &'static str)> {
    let at = commit.inputs.binary_search_by_key(&input, |placed| placed.ordinal).ok()?;
    request_of(&commit.inputs.get(at)?.input)
}

pub(super) fn request_of(input: &Input) -> Option<(&OrderRequest, &'static str)> {
    match input {
        Input::Order(request) => Some((request, "trader")),
        Input::RecordedOrder(request, _) => Some((request, "recorded")),
        Input::SignedOrder(signed) => Some((&signed.request, "trader")),
        Input::Prices(_)
        | Input::Roster(_)
        | Input::AccountSize(..)
        | Input::AssetClass(..)
        | Input::Rulebook(_)
        | Input::Tick
        | Input::Plagiarism(_)
        | Input::Stages(_)
        | Input::Reasons(_)
        | Input::Reinstate(_)
        | Input::SlashSettled(..)
        | Input::Eliminations(_)
        | Input::SyncEliminations(_)
        | Input::CorrectPrice(_) => None,
    }
}

/// Returns the place of the input that was the accepted order `id`.
pub(super) fn accepted_input(
    commit: &Extract,
    outcome: &Outcome,
    trader: &TraderId,
    id: &OrderId,
) -> Option<u32> {
    commit.inputs.iter().zip(&outcome.replies).find_map(|(placed, reply)| {
        let (request, _) = request_of(&placed.input)?;
        let is_it = reply.is_ok() && request.trader == *trader && request.id == *id;
        is_it.then_some(placed.ordinal)
    })
}
