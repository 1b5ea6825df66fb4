//! What is told of the end of an account, of one that was undone, and of what it rests on.

use serde::Serialize;

use super::*;

/// The end of an account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The commit that decided.
    pub decided: Place,
    /// Reason code.
    pub reason: &'static str,
    /// Rule id.
    pub rule: &'static str,
    /// Paragraph of the specification.
    pub paragraph: &'static str,
    /// The rule in words.
    pub rule_text: String,
    /// Who decided: `rule`, `operator` or `validator`, with the name and the words of the latter.
    pub decided_by: DecidedBy,
    /// The drawdown as the reference's files show it: per cent, or a sentinel.
    pub dd: Option<f64>,
    /// The fall that the verdict rests on; absent when it rests on none, or was taken elsewhere.
    #[serde(flatten)]
    pub fall: Option<FallStory>,
    /// What the deciding commit holds.
    pub commit_inputs: String,
    /// The prices the open positions were valued at.
    pub prices: Vec<PriceUsed>,
    /// What every source said of these pairs in the minute up to the verdict.
    pub price_window: Vec<WindowPrice>,
    /// The orders that closed what was open.
    pub flat_orders: Vec<FlatOrder>,
    /// The ledger's value after the flat orders; absent when the ledger cannot hold it (zero).
    pub value_after_flat: Option<f64>,
    /// From the order after the verdict in this commit on, every order is refused.
    pub barred_from_commit: u64,
    /// How many orders were refused for it.
    pub orders_refused_since: usize,
    /// What it costs the trader in collateral; absent when nothing.
    pub slash: Option<SlashStory>,
    /// When the node dropped positions, ledgers and details; this page is told from the log.
    pub purged: Option<Place>,
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecidedBy {
    /// `rule`, `operator` or `validator`.
    pub kind: &'static str,
    /// The operator or the validator.
    pub name: Option<String>,
    /// The operator's words.
    pub why: Option<String>,
    /// When it was decided, as the operator or the validator says.
    pub stated_at: Option<Moment>,
}

/// What is taken of a trader's collateral.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlashStory {
    /// Value / peak of the portfolio once it was flat.
    pub drawdown: f64,
    /// The share of the collateral, 0 to 1.
    pub proportion: f64,
    /// `intended`, `settled` or `withdrawn`.
    pub state: &'static str,
    /// Where it was settled or withdrawn.
    pub since: Option<Place>,
}

/// A verdict that was taken back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UndoneVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// The ledger of the epoch that it ended.
    pub ledger: Option<Ledger>,
    /// Where it was taken back.
    pub undone: Place,
    /// `operator`, or `validator` when the source of the record no longer lists it.
    pub by: &'static str,
    /// The operator or the validator.
    pub name: String,
    /// The operator's words.
    pub why: Option<String>,
    /// Where the trader goes on: `challenge` or `restored`.
    pub reentry: Option<&'static str>,
    /// The epoch that began; absent when there was no account yet.
    pub epoch: Option<u32>,
}

/// The fall that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FallStory {
    /// Fraction of the peak that may be lost.
    pub limit: f64,
    /// Where the rulebook takes the limit from.
    pub limit_source: String,
    /// The ratio at which the limit is reached.
    pub limit_ratio: f64,
    /// Switch `drawdown_limit` of the rulebook: `ratio` or `percent`.
    pub limit_switch: &'static str,
    /// The peak.
    pub peak: MarkPoint,
    /// The value at the decision.
    pub value: f64,
    /// Value in relation to peak.
    pub ratio: f64,
    /// The worst ratio of the retained cells, on which the drawdown rule decides.
    pub worst_ratio: f64,
    /// Loss from the peak in per cent, rounded to two places.
    pub drawdown_percent: f64,
    /// The value step by step.
    pub valuation: Valuation,
}

/// A price that open positions were valued at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PriceUsed {
    /// The pair.
    pub pair: String,
    /// Quote per base.
    pub price: f64,
    /// Whose price; absent when it is that of the position's own order.
    pub source: Option<String>,
    /// Last moment of the price record, or time of the order.
    pub at: Moment,
    /// Time from then to the commit.
    pub age_ms: i64,
    /// What the sources said of it when a verdict was taken; absent elsewhere.
    pub support: Option<PriceSupport>,
}

/// An order that closed a position at the end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlatOrder {
    /// Its id.
    pub id: String,
    /// The pair.
    pub pair: String,
    /// The position.
    pub position: String,
    /// Its number among the orders.
    pub number: usize,
    /// Quote per base; 0 when no source had a price and the last mark stands.
    pub price: f64,
    /// Whose price.
    pub price_source: Option<PriceSource>,
}
