//! Slashing: what a verdict costs in collateral, decided once and settled once (E-65 to E-67).
//!
//! The collateral itself is held elsewhere. The engine states an intent with the decision, as a share;
//! whoever holds the contract executes it, up to what it allows, and says so with an input. The intent
//! is part of the record, so there is at most one per decision, whatever restarts or repeats (I4, X-13).

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::Stamp;

use crate::ledgers::drawdown;

/// What a decision costs its trader, and how far that has come.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Slash {
    /// Value / peak of the portfolio once it was flat; 1 without a ledger, 0 when nothing is left.
    pub drawdown: f64,
    /// The share of the collateral that is forfeit, 0 to 1.
    pub proportion: f64,
    /// How far it has come.
    pub state: SlashState,
}

/// How far a slash has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SlashState {
    /// To be executed.
    Intended,
    /// Executed, as this commit was told.
    Settled(Stamp),
    /// Not to be executed any more: the record was taken back in this commit.
    Withdrawn(Stamp),
}

impl Slash {
    /// Returns the intent for a portfolio whose value / peak is `ratio`, under a limit of
    /// `drawdown_max` (E-66).
    #[must_use]
    pub fn intended(drawdown_max: f64, ratio: f64) -> Self {
        let proportion = proportion(drawdown_max, ratio);
        Self { drawdown: ratio, proportion, state: SlashState::Intended }
    }

    /// Takes the intent back, unless it was executed already.
    pub(crate) fn withdraw(&mut self, stamp: Stamp) {
        if self.state == SlashState::Intended {
            self.state = SlashState::Withdrawn(stamp);
        }
    }

    /// Records that it was executed; returns whether that is news. What was withdrawn and executed
    /// all the same is settled: it is a fact.
    pub(crate) fn settle(&mut self, stamp: Stamp) -> bool {
        match self.state {
            SlashState::Settled(_) => false,
            SlashState::Intended | SlashState::Withdrawn(_) => {
                self.state = SlashState::Settled(stamp);
                true
            }
        }
    }
}

/// Returns the share that is forfeit at `ratio`: none at the peak, all at the limit, and between
/// them in proportion to the loss (E-66).
fn proportion(drawdown_max: f64, ratio: f64) -> f64 {
    (1.0 - (ratio - drawdown::ratio_at(drawdown_max)) / drawdown_max).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_66_the_share_grows_from_nothing_at_the_peak_to_all_at_the_limit() {
        for (ratio, share) in
            [(1.2, 0.0), (1.0, 0.0), (0.98, 0.2), (0.95, 0.5), (0.9, 1.0), (0.3, 1.0), (0.0, 1.0)]
        {
            let slash = Slash::intended(0.1, ratio);
            assert!((slash.proportion - share).abs() < 1e-12, "{ratio}: {}", slash.proportion);
            assert_eq!(slash.state, SlashState::Intended);
        }
    }

    #[test]
    fn e_67_a_slash_is_settled_once_and_what_is_settled_cannot_be_withdrawn() {
        let at = |commit| Stamp { commit, ..Stamp::default() };
        let mut slash = Slash::intended(0.1, 0.9);
        assert!(slash.settle(at(5)));
        assert!(!slash.settle(at(6)));
        slash.withdraw(at(7));
        assert_eq!(slash.state, SlashState::Settled(at(5)));
        let mut taken_back = Slash::intended(0.1, 0.9);
        taken_back.withdraw(at(5));
        assert_eq!(taken_back.state, SlashState::Withdrawn(at(5)));
        assert!(taken_back.settle(at(6)), "it was executed before the word got there");
    }
}
