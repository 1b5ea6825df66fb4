//! What is due: work that the passing of time asks for, decided at commits.
//!
//! A due time is a level, not an event (`now - last >= every`): no tick has to arrive at the right
//! moment, a long silence is made up for by one run, and the time of the last run is part of the
//! state, so every node and every replay runs it at the same commit (X-25, P-9).

use std::sync::Arc;

use proctor_types::UtcMs;

use super::stages::Occasion;
use super::{Engine, Step};
use crate::state::Adopted;

impl Engine {
    /// Does what has become due by the time of the commit, before its inputs are judged: they meet
    /// the state as it should be at their time.
    pub(super) fn run_what_is_due(&mut self, step: &mut Step) {
        self.close_due_cells(step);
        if let Some(rulebook) = self.refresh_is_due(step.stamp.at) {
            self.refresh(step, &rulebook, Occasion::Due);
        }
    }

    /// Returns the rulebook in force when the stages are to be refreshed at `at`.
    fn refresh_is_due(&self, at: UtcMs) -> Option<Arc<Adopted>> {
        let (_, adopted) = self.rules_in_force(at).ok()?;
        let every = adopted.rules.challenge.refresh_every.value;
        let due = self.state.challenge.refreshed_at.is_none_or(|last| at.since(last) >= every);
        due.then(|| Arc::clone(adopted))
    }
}
