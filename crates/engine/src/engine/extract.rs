//! What an extract cannot decide: outcomes that depend on accounts which it does not show.
//!
//! An extract holds every input that concerns one trader. Nearly all that can happen to an account
//! follows from them; three things do not, because they look at other accounts as well: a place in a
//! ranking, a command that is judged as a whole for several traders, and the test whether too many
//! traders are missing at once. Where one of them may have touched the account, the extract alone
//! proves nothing, and whoever folds it has to say so.

use proctor_types::TraderId;

use super::Engine;
use crate::challenge_period::Stage;
use crate::eliminations::{EliminationRow, EliminationsCommand};
use crate::input::{Extract, Input, StagesCommand};
use crate::rulebook::Unscored;
use crate::scoring;

/// Why an extract may not decide what became of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// A command of several rows names the trader: it stands or falls with the accounts of all.
    #[error("a command that names several traders is judged by all their accounts")]
    Batch,
    /// The trader could be promoted or demoted.
    #[error("the trader could be promoted or demoted, and a rank is relative to others")]
    Ranked,
    /// The trader is missing from so many rosters that the account may have ended for it.
    #[error("the trader is missing from the roster, and how many others are decides what follows")]
    Missing,
}

impl Engine {
    /// Returns why what became of the account of `trader` may depend on others, as far as `extract`,
    /// which was just applied, can have brought that about.
    #[must_use]
    pub fn undecided_by(&self, trader: &TraderId, extract: &Extract) -> Option<Undecided> {
        let mut inputs = extract.inputs.iter().map(|placed| &placed.input);
        if inputs.clone().any(|input| names(input, trader)) {
            return Some(Undecided::Batch);
        }
        let account = self.account(trader)?;
        let rules = &self.rulebook_of(account).rules;
        let absent_max = u64::from(rules.elimination.zombie_absent_rosters.value);
        let gone = self.state.roster.absent_rosters(trader) >= absent_max;
        if gone && inputs.any(|input| matches!(input, Input::Roster(_))) {
            return Some(Undecided::Missing);
        }
        // With no more traders than places nobody can be displaced.
        let places = usize::try_from(rules.challenge.funded_per_class.value).unwrap_or(usize::MAX);
        let crowded = self.state.roster.traders().is_some_and(|all| all.len() > places)
            || rules.switches.unscored == Unscored::Demoted;
        let funded = account.standing.is_some_and(|standing| standing.stage == Stage::Funded);
        (funded && crowded).then_some(Undecided::Ranked)
    }

    /// Returns whether `trader` has been in the programme long enough to have been promoted: complete
    /// days only become more while an account lives.
    #[must_use]
    pub fn undecided_by_rank(&self, trader: &TraderId) -> Option<Undecided> {
        let account = self.account(trader)?;
        let record = account.elimination.as_ref();
        let standing = account.standing.or(record.and_then(|record| record.standing));
        if standing.is_some_and(|standing| standing.stage == Stage::Funded) {
            return None;
        }
        let rules = &self.rulebook_of(account).rules;
        let days = scoring::complete_days(rules, account.ledgers.as_ref()?.portfolio());
        (days >= rules.challenge.complete_days_min.value).then_some(Undecided::Ranked)
    }
}

/// Tells whether `input` is a command of several rows with one for `trader`.
fn names(input: &Input, trader: &TraderId) -> bool {
    let row = |row: &EliminationRow| row.trader == *trader;
    match input {
        Input::Stages(StagesCommand::Set(settings)) => {
            settings.len() > 1 && settings.iter().any(|(name, _)| name == trader)
        }
        Input::Eliminations(EliminationsCommand::Add { rows, .. }) => {
            rows.len() > 1 && rows.iter().any(row)
        }
        Input::Eliminations(EliminationsCommand::Remove { traders, .. }) => {
            traders.len() > 1 && traders.contains(trader)
        }
        Input::SyncEliminations(list) => list.rows.iter().any(row),
        Input::Order(_)
        | Input::RecordedOrder(..)
        | Input::Prices(_)
        | Input::Roster(_)
        | Input::AccountSize(..)
        | Input::AssetClass(..)
        | Input::Rulebook(_)
        | Input::Tick
        | Input::Plagiarism(_)
        | Input::Stages(StagesCommand::Remove(_) | StagesCommand::Refresh)
        | Input::Reasons(_)
        | Input::Reinstate(_)
        | Input::SlashSettled(..)
        | Input::CorrectPrice(_) => false,
    }
}
