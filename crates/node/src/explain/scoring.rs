//! How an account scores: days, metrics, penalties, and its rank among the living.

use std::collections::BTreeMap;

use proctor_engine::View;
use proctor_engine::account::Account;
use proctor_engine::rulebook::Rulebook;
use proctor_engine::scoring::statistics::{ClassStatistics, PortfolioStatistics};
use proctor_engine::scoring::{Contestant, Scorer, Scores, statistics, weights};
use proctor_types::AssetClass;
use serde::Serialize;

/// What scoring says of the account as of the end of the log. It decides nothing here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scoring {
    /// Days of the portfolio with both half-days covered.
    pub complete_days: u32,
    /// Deepest fall of the portfolio by complete days, per cent of the peak before it.
    pub daily_drawdown_percent: f64,
    /// Product of the portfolio's gains and losses: 1 is unchanged.
    pub total_return: f64,
    /// What was realised in the retained cells less what open positions have lost, USD.
    pub pnl_usd: f64,
    /// Factors on the score; absent without a ledger.
    pub penalties: Option<PenaltyStory>,
    /// How many accounts were ranked against each other: the living ones under the same rulebook.
    pub field: usize,
    /// By asset class that is competed in.
    pub classes: Vec<ClassStory>,
    /// Part in the whole by the rules from before weights were paid as debt (S-53).
    pub weight: Option<f64>,
    /// Weight by rank of those rules (S-54).
    pub rank_weight: Option<f64>,
}

/// Factors on the score, 0 to 1; 1 is no penalty and 0 excludes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PenaltyStory {
    /// For the drawdown.
    pub drawdown: f64,
    /// For positions that were added to while they lost.
    pub risk_profile: f64,
    /// For a small account.
    pub collateral: f64,
    /// All of them.
    pub product: f64,
}

/// How the account does in one asset class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassStory {
    /// The class.
    pub class: String,
    /// Complete days in it.
    pub days: u32,
    /// How many make a sample.
    pub minimum_days: u32,
    /// Every metric by name.
    pub metrics: BTreeMap<&'static str, f64>,
    /// The metrics that are ranked by.
    pub ranked_by: Vec<&'static str>,
    /// Average daily log return.
    pub daily_return: f64,
    /// The same of a year, compounded, per cent.
    pub yearly_percent: f64,
    /// Yearly volatility; absent with fewer than two days.
    pub volatility: Option<f64>,
    /// Factor for returns that are small for their risk; told, not applied (S-33).
    pub risk_adjusted_penalty: f64,
    /// The place in it; absent for an account that does not take part or is excluded.
    pub place: Option<PlaceStory>,
}

/// The place of an account in a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlaceStory {
    /// Weighted percentiles times penalties, 0 to 1.
    pub score: f64,
    /// Share in the class.
    pub share: f64,
    /// Place by score, from 1; equal scores share the better one.
    pub rank: usize,
    /// How many are ranked.
    pub of: usize,
    /// How unequal the scores are (Gini); absent when all are zero.
    pub competitiveness: Option<f64>,
}

/// Returns what scoring says of `account`, or `None` before its first order.
pub(super) fn scoring(rules: &Rulebook, account: &Account, view: &View) -> Option<Scoring> {
    account.ledgers.as_ref()?;
    let scorer = Scorer::new(rules, view.stamp.at);
    let own = scorer.contestant_of(account, |_| true);
    let others = view.accounts.iter().filter(|other| {
        let living = other.elimination.is_none() && other.ledgers.is_some();
        living && other.rulebook == account.rulebook
    });
    let field: Vec<Contestant<'_>> =
        others.map(|other| scorer.contestant_of(other, |_| true)).collect();
    let field: Vec<&Contestant<'_>> = field.iter().collect();
    let minimum_days = scorer.minimum_days(&field);
    let scores = scorer.score(&field, &minimum_days);
    let overall = weights::overall(rules, &field, &scores);
    let by_rank = weights::by_rank(rules, &field, &overall);
    let of_own = |rows: &[(&_, f64)]| {
        rows.iter().find(|(trader, _)| **trader == account.trader).map(|(_, weight)| *weight)
    };
    let told = statistics(&scorer, &own, &minimum_days);
    let PortfolioStatistics { record, totals, daily_drawdown } = told.portfolio?;
    let classes = told.classes.iter().map(|(class, statistics)| ClassStory {
        minimum_days: minimum_days.get(class).copied().unwrap_or(0),
        place: place(&scores, *class, account),
        ..class_story(rules, *class, statistics)
    });
    Some(Scoring {
        complete_days: record.days.count(),
        daily_drawdown_percent: daily_drawdown * 100.0,
        total_return: totals.gain * totals.loss,
        pnl_usd: totals.pnl,
        penalties: told.penalties.map(|penalties| PenaltyStory {
            drawdown: penalties.drawdown,
            risk_profile: penalties.risk_profile,
            collateral: penalties.collateral,
            product: penalties.product(),
        }),
        field: field.len(),
        classes: classes.collect(),
        weight: of_own(&overall),
        rank_weight: of_own(&by_rank),
    })
}

fn class_story(rules: &Rulebook, class: AssetClass, told: &ClassStatistics) -> ClassStory {
    let ranked = told.metrics.keys().filter(|metric| rules.scoring.of(**metric).weight.value > 0.0);
    ClassStory {
        class: class.to_string(),
        days: told.days,
        minimum_days: 0,
        metrics: told.metrics.iter().map(|(metric, value)| (metric.name(), *value)).collect(),
        ranked_by: ranked.map(|metric| metric.name()).collect(),
        daily_return: told.returns.average,
        yearly_percent: told.returns.yearly_percent(),
        volatility: told.returns.volatility,
        risk_adjusted_penalty: told.risk_adjusted_penalty,
        place: None,
    }
}

fn place(scores: &Scores<'_>, class: AssetClass, account: &Account) -> Option<PlaceStory> {
    let in_class = scores.classes.get(&class)?;
    let own = in_class.scores.iter().find(|score| *score.trader == account.trader)?;
    let better = in_class.scores.iter().filter(|score| score.combined > own.combined).count();
    Some(PlaceStory {
        score: own.combined,
        share: own.softmax,
        rank: better + 1,
        of: in_class.scores.len(),
        competitiveness: in_class.competitiveness,
    })
}
