//! Scoring: how good a trader was, by asset class, and where that ranks among the others.
//!
//! A [`Scorer`] is the rulebook as of a moment. It reads each trader's ledgers once into a
//! [`Contestant`] - complete days and worst drawdown per class, flagged positions - and everything
//! after that works on those: [`Scorer::minimum_days`], [`Scorer::score`], [`Scorer::penalties`].
//! Sums run over days from the oldest, over pairs and contestants in the order given; the result
//! keeps that order, so a tie is for the caller to break. Source: services 3.
//!
//! Not concerned with what a rank leads to: promotion and demotion are the challenge period's.

pub mod averages;
pub mod combination;
pub mod days;
pub mod metrics;
pub mod minimum_days;
pub mod penalties;
pub mod risk_profile;
pub mod rules;
pub mod segmentation;
pub mod statistics;
#[cfg(test)]
mod tests;
pub mod weights;

use std::collections::BTreeMap;

use proctor_types::{AssetClass, TradePair, TraderId, Usd, UtcMs};

use self::averages::Weights;
use self::days::{Calendar, ForexDays};
use self::metrics::Terms;
use self::segmentation::class_record;
use crate::account::Account;
use crate::ledgers::{Bundle, Ledger};
use crate::positions::book::Kept;
use crate::positions::position::Position;
use crate::rulebook::Rulebook;

pub use combination::{ClassScores, Score, Scores};
pub use days::{Days, Record, complete_days, has_complete_days};
pub use metrics::Metric;
pub use penalties::Penalties;
pub use risk_profile::{Fill, RiskProfile, ScoredPosition};
pub use rules::ScoringRules;
pub use statistics::{Statistics, statistics};

/// The ledgers of one trader; pairs in the order in which they are merged.
#[derive(Clone, Debug, Default)]
pub struct Ledgers<'a> {
    /// The portfolio's, if there is one.
    pub portfolio: Option<&'a Ledger>,
    /// Those of the pairs.
    pub pairs: Vec<(TradePair, &'a Ledger)>,
}

impl<'a> From<&'a Bundle> for Ledgers<'a> {
    fn from(bundle: &'a Bundle) -> Self {
        Self { portfolio: Some(bundle.portfolio()), pairs: bundle.pairs().collect() }
    }
}

/// A trader as scoring sees him.
#[derive(Clone, Debug)]
pub struct Contestant<'a> {
    /// Who.
    pub trader: &'a TraderId,
    /// The portfolio's ledger, if there is one.
    pub portfolio: Option<&'a Ledger>,
    /// Whether there is any ledger at all.
    pub has_ledgers: bool,
    /// What the ledgers say of each class that is competed in.
    pub classes: BTreeMap<AssetClass, Record>,
    /// Positions, whether they count or not.
    pub positions: Vec<ScoredPosition>,
    /// Account size at the time of scoring, if it is known.
    pub account_size: Option<Usd>,
}

/// The rules of scoring as of a moment, with the tables that every trader shares.
#[derive(Clone, Debug)]
pub struct Scorer<'a> {
    rulebook: &'a Rulebook,
    now: UtcMs,
    forex: ForexDays,
    returns: Weights,
    profits: Weights,
}

impl<'a> Scorer<'a> {
    /// Returns the scoring of `rulebook` as of `now`.
    #[must_use]
    pub fn new(rulebook: &'a Rulebook, now: UtcMs) -> Self {
        let rules = &rulebook.scoring;
        let window = rulebook.ledger.window.value;
        let weights = |floor: f64| {
            if rules.time_weighted.value {
                Weights::decaying(rules.decay_rate.value, floor, window)
            } else {
                Weights::equal()
            }
        };
        Self {
            rulebook,
            now,
            forex: ForexDays::up_to(now, window),
            returns: weights(rules.decay_floor.value),
            profits: weights(rules.decay_floor_pnl.value),
        }
    }

    /// Returns `trader` as a contestant: reads every cell of the ledgers once.
    #[must_use]
    pub fn contestant(
        &self,
        trader: &'a TraderId,
        ledgers: &Ledgers<'a>,
        positions: Vec<ScoredPosition>,
        account_size: Option<Usd>,
    ) -> Contestant<'a> {
        let classes = self.rulebook.scoring.class.keys();
        Contestant {
            trader,
            portfolio: ledgers.portfolio,
            has_ledgers: ledgers.portfolio.is_some() || !ledgers.pairs.is_empty(),
            classes: classes
                .map(|class| {
                    let calendar = Calendar::of_class(self.rulebook, *class, &self.forex);
                    (*class, class_record(self.rulebook, calendar, *class, ledgers))
                })
                .collect(),
            positions,
            account_size,
        }
    }

    /// Returns `account` as a contestant with those of its positions that `counts`.
    #[must_use]
    pub fn contestant_of(
        &self,
        account: &'a Account,
        counts: impl Fn(&Position) -> bool,
    ) -> Contestant<'a> {
        let book = account.book.pairs().iter();
        let positions = book
            .flat_map(|pair| {
                pair.closed().iter().map(Kept::Closed).chain(pair.open.as_ref().map(Kept::Open))
            })
            .filter(|position| counts(position))
            .map(|position| ScoredPosition::of(&self.rulebook.scoring, &position))
            .collect();
        let ledgers = account.ledgers.as_ref().map(Ledgers::from).unwrap_or_default();
        let size = account.terms.size(self.rulebook, self.now);
        self.contestant(&account.trader, &ledgers, positions, Some(size))
    }

    /// Returns what metrics of `class` are computed by; no minimum of days with `None`.
    #[must_use]
    pub fn terms(&self, class: AssetClass, minimum_days: Option<u32>) -> Option<Terms<'_>> {
        let rules = self.rulebook.scoring.class.get(&class)?;
        Some(Terms {
            rulebook: self.rulebook,
            returns: &self.returns,
            profits: &self.profits,
            days_per_year: rules.days_per_year.value,
            minimum_days: minimum_days.unwrap_or(0),
        })
    }

    /// Returns the penalties of `contestant`, or `None` for one who has positions but no ledger,
    /// which the reference neither penalises nor excludes (S-24).
    #[must_use]
    pub fn penalties(&self, contestant: &Contestant<'_>) -> Option<Penalties> {
        penalties::penalties(self.rulebook, contestant, self.now)
    }

    /// Returns how many complete days make a sample in each class (S-40), given the contestants who
    /// set the measure: those on the funded stages.
    #[must_use]
    pub fn minimum_days(&self, contestants: &[&Contestant<'_>]) -> BTreeMap<AssetClass, u32> {
        minimum_days::minimum_days(&self.rulebook.scoring, contestants)
    }

    /// Ranks `contestants` against each other in every class (S-50); nothing with fewer than two.
    #[must_use]
    pub fn score<'c>(
        &self,
        contestants: &[&Contestant<'c>],
        minimum_days: &BTreeMap<AssetClass, u32>,
    ) -> Scores<'c> {
        if contestants.len() < 2 {
            return Scores::default();
        }
        self.rank(contestants, minimum_days)
    }

    /// Ranks `contestants` as [`Scorer::score`] does, also a single one, who ranks first.
    #[must_use]
    pub fn rank<'c>(
        &self,
        contestants: &[&Contestant<'c>],
        minimum_days: &BTreeMap<AssetClass, u32>,
    ) -> Scores<'c> {
        combination::rank(self, contestants, minimum_days)
    }
}
