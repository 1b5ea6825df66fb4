//! Programmes and constants as data: unit, source, version, effective time.
//!
//! A rulebook is a TOML document. Every number in it says its unit and the paragraph it comes from,
//! and numbers that changed over time are listed by the moment from which they hold, so that an
//! old order is judged by the rules of its day. The document itself is an input of the log; an
//! account keeps the version it enrolled under.

mod switches;

use std::collections::BTreeMap;

use proctor_types::{AssetClass, Digest, DurationMs, TradePair, Usd, UtcMs};
use serde::Deserialize;

use crate::challenge_period::ChallengeRules;
use crate::eliminations::EliminationRules;
use crate::ledgers::LedgerRules;
use crate::limit_orders::LimitOrderRules;
use crate::positions::fees::FeeRules;
use crate::prices::slippage::SlippageRules;
use crate::scoring::ScoringRules;

pub use switches::*;

/// The rulebook of the reference programme, compiled in: what a node uses when told nothing else.
pub const VANTA: &str = include_str!("../../../rulebooks/vanta.toml");

/// The same rulebook with the reference's own behaviour at every parity switch: for golden vectors
/// and for comparisons with recorded history.
pub const VANTA_PARITY: &str = include_str!("../../../rulebooks/vanta-parity.toml");

/// One number of the rulebook with its unit and where it comes from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constant<T> {
    /// The number.
    pub value: T,
    /// Its unit, checked against the one the rule computes in.
    pub unit: String,
    /// The paragraph that states it.
    pub source: String,
}

/// A value that holds from a moment on, until the next era begins.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Era<T> {
    /// First moment of the era, inclusive.
    pub from_ms: UtcMs,
    /// What holds in it.
    #[serde(flatten)]
    pub value: T,
}

/// A value that changed over time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule<T> {
    /// The unit of the value.
    pub unit: String,
    /// The paragraph that states it.
    pub source: String,
    /// The eras, oldest first; nothing holds before the first.
    pub eras: Vec<Era<T>>,
}

impl<T> Schedule<T> {
    /// Returns what holds at `at`, or `None` before the first era.
    #[must_use]
    pub fn at(&self, at: UtcMs) -> Option<&T> {
        self.eras.iter().rev().find(|era| era.from_ms <= at).map(|era| &era.value)
    }
}

/// Everything the engine knows about a programme.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rulebook {
    /// The programme's name.
    pub name: String,
    /// Counts up with every change of the document.
    pub version: u32,
    /// From when on accounts enrol under the document; its constants without eras hold from then.
    pub effective_from_ms: UtcMs,
    /// The documents that its `source` fields quote.
    pub sources: String,
    /// Where the reference implementation and the right behaviour differ.
    pub switches: Switches,
    /// Order acceptance.
    pub orders: OrderRules,
    /// Limit and bracket orders.
    pub limit_orders: LimitOrderRules,
    /// Freshness and choice of prices.
    pub prices: PriceRules,
    /// Account sizes.
    pub accounts: AccountRules,
    /// Belief in the roster of registered traders.
    pub roster: RosterRules,
    /// Which pairs may be traded.
    pub pairs: PairRules,
    /// Size limits.
    pub leverage: LeverageRules,
    /// Slippage models.
    pub slippage: SlippageRules,
    /// Spread and carry fees.
    pub fees: FeeRules,
    /// Performance ledgers.
    pub ledger: LedgerRules,
    /// Eliminations.
    pub elimination: EliminationRules,
    /// Stages of the programme and how traders move between them.
    pub challenge: ChallengeRules,
    /// Scoring.
    pub scoring: ScoringRules,
}

/// Order acceptance (trading 2.6, 2.7).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRules {
    /// Time between two accepted orders of one trader on one pair.
    pub cooldown: Constant<DurationMs>,
    /// Orders in a position after which it is closed and a new one begun.
    pub orders_per_position_max: Constant<u32>,
    /// Largest leverage of one order.
    pub order_leverage_max: Constant<f64>,
    /// Smallest leverage of one order, after clamping.
    pub order_leverage_min: Constant<f64>,
    /// From when on a trader must have chosen the order's asset class.
    pub asset_class_required_from: Constant<UtcMs>,
    /// How many of a trader's order ids are remembered to refuse duplicates.
    pub ids_remembered: Constant<u32>,
}

/// Freshness and belief in prices (trading 7), corrections of orders (trading 3.11).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceRules {
    /// Age up to which a feed event may price an order. A bar is valid for its own span.
    pub event_fresh: Constant<DurationMs>,
    /// How far a record's time may lie after the commit that brings it.
    pub future_max: Constant<DurationMs>,
    /// Spread between bid and ask, as a fraction of the bid, above which a quote is discarded.
    pub spread_max: Constant<f64>,
    /// How many sources must agree for a price to be believed wherever it is.
    pub quorum: Constant<u32>,
    /// How far two sources may be apart and still agree.
    pub disagreement: BTreeMap<AssetClass, Constant<f64>>,
    /// How far a price that fewer sources tell may be from the last believed one.
    pub spike: BTreeMap<AssetClass, Constant<f64>>,
    /// The time since the last believed price after which twice that is allowed, and so on.
    pub spike_widen: Constant<DurationMs>,
    /// How long a price must be repeated to be believed without a second source, and how long a
    /// verdict waits for one that is not repeated.
    pub freeze_max: Constant<DurationMs>,
    /// For how long price records are kept.
    pub retention: Constant<DurationMs>,
    /// How many of them are kept per pair and source.
    pub records_max: Constant<u32>,
    /// Age up to which the price of an order can be corrected.
    pub correction_window: Constant<DurationMs>,
    /// How many of an account's youngest orders can be corrected.
    pub correctable_max: Constant<u32>,
}

/// Account sizes (trading 2.5).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRules {
    /// Size of an account for which none, or a smaller one, is recorded.
    pub floor: Constant<Usd>,
}

/// Belief in the roster (services E-23, E-25).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterRules {
    /// Losing more traders than this in one step may be an anomaly.
    pub anomaly_lost_over: Constant<u32>,
    /// Losing this share of the known traders, or more, may be an anomaly.
    pub anomaly_share: Constant<f64>,
    /// How many anomalous rosters in a row make the loss believed.
    pub anomaly_confirmations: Constant<u32>,
}

/// Which pairs may be traded (trading 1.2).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairRules {
    /// The paragraph that states the lists.
    pub source: String,
    /// Pairs whose orders are refused, except those that close a position (T-4).
    pub blocked: Vec<TradePair>,
    /// Pairs without price data.
    pub unsupported: Vec<TradePair>,
}

/// Least and greatest size of a position.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct LeverageBounds {
    /// Least absolute leverage of an open position.
    pub min: f64,
    /// Greatest absolute leverage; zero means that no exposure may be added.
    pub max: f64,
}

/// Bounds of an era; absent when the class could not be traded in it at all.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct LeverageEra {
    /// The bounds, or `None` when orders of the era are refused.
    pub bounds: Option<LeverageBounds>,
}

/// The total leverage that a trader may hold in an era; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct PortfolioCap {
    /// Sum of |net leverage| x multiplier.
    pub cap: Option<f64>,
}

/// Size limits (trading 1.1, 1.3).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeverageRules {
    /// Bounds per asset class by order time.
    pub class: BTreeMap<AssetClass, Schedule<LeverageEra>>,
    /// Bounds of single pairs that differ from their class.
    #[serde(default)]
    pub pair: BTreeMap<TradePair, Schedule<LeverageEra>>,
    /// Weight of a class in portfolio leverage.
    pub portfolio_multiplier: BTreeMap<AssetClass, Constant<f64>>,
    /// Greatest portfolio leverage by order time.
    pub portfolio_cap: Schedule<PortfolioCap>,
}

/// Why a document is not a rulebook.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RulebookError {
    /// Not TOML, a missing or unknown field, or a value of the wrong type.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Line of the document, counted from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A field's value breaks a rule; holds the field's path and what is wrong.
    #[error("{field}: {problem}")]
    Field {
        /// Path of the field in the document.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Rulebook {
    /// Returns the rulebook written in `text`.
    ///
    /// # Errors
    /// [`RulebookError`] names the line or the field that is wrong.
    pub fn parse(text: &str) -> Result<Self, RulebookError> {
        let rulebook: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            RulebookError::Syntax {
                line: before.matches('\n').count() + 1,
                problem: error.message().trim_end().replace('\n', ", "),
            }
        })?;
        rulebook.check()?;
        Ok(rulebook)
    }

    /// Returns the hash that identifies the document written in `text`: any changed byte counts.
    #[must_use]
    pub fn hash(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    /// Returns the bounds for a position in `pair` at `at`, or `None` when it cannot be traded then.
    #[must_use]
    pub fn leverage_bounds(&self, pair: TradePair, at: UtcMs) -> Option<LeverageBounds> {
        let schedule =
            self.leverage.pair.get(&pair).or_else(|| self.leverage.class.get(&pair.class()))?;
        schedule.at(at)?.bounds
    }

    /// Returns the weight of `pair` in portfolio leverage.
    #[must_use]
    pub fn portfolio_multiplier(&self, pair: TradePair) -> f64 {
        self.leverage.portfolio_multiplier.get(&pair.class()).map_or(1.0, |m| m.value)
    }

    /// Returns the greatest portfolio leverage at `at`, infinite when there is no limit.
    #[must_use]
    pub fn portfolio_cap(&self, at: UtcMs) -> f64 {
        self.leverage.portfolio_cap.at(at).and_then(|era| era.cap).unwrap_or(f64::INFINITY)
    }

    fn check(&self) -> Result<(), RulebookError> {
        let o = &self.orders;
        unit("orders.cooldown", &o.cooldown, "ms")?;
        at_least("orders.cooldown", o.cooldown.value.0, 0)?;
        unit("orders.orders_per_position_max", &o.orders_per_position_max, "orders")?;
        at_least("orders.orders_per_position_max", i64::from(o.orders_per_position_max.value), 2)?;
        unit("orders.order_leverage_max", &o.order_leverage_max, "x account size")?;
        positive("orders.order_leverage_max", o.order_leverage_max.value)?;
        unit("orders.order_leverage_min", &o.order_leverage_min, "x account size")?;
        positive("orders.order_leverage_min", o.order_leverage_min.value)?;
        unit(
            "orders.asset_class_required_from",
            &o.asset_class_required_from,
            "ms since 1970 UTC",
        )?;
        unit("orders.ids_remembered", &o.ids_remembered, "ids per trader")?;
        at_least("orders.ids_remembered", i64::from(o.ids_remembered.value), 1)?;
        self.prices.check()?;
        let roster = &self.roster;
        unit("roster.anomaly_lost_over", &roster.anomaly_lost_over, "traders")?;
        unit("roster.anomaly_share", &roster.anomaly_share, "fraction of known")?;
        positive("roster.anomaly_share", roster.anomaly_share.value)?;
        unit("roster.anomaly_confirmations", &roster.anomaly_confirmations, "rosters")?;
        at_least("roster.anomaly_confirmations", i64::from(roster.anomaly_confirmations.value), 1)?;
        unit("accounts.floor", &self.accounts.floor, "USD")?;
        positive("accounts.floor", self.accounts.floor.value.get())?;
        self.elimination.check()?;
        for class in AssetClass::ALL {
            let name = format!("leverage.class.{class}");
            let schedule =
                self.leverage.class.get(&class).ok_or_else(|| field(&name, "is missing"))?;
            check_bounds(&name, schedule)?;
            let name = format!("leverage.portfolio_multiplier.{class}");
            let multiplier = self
                .leverage
                .portfolio_multiplier
                .get(&class)
                .ok_or_else(|| field(&name, "is missing"))?;
            positive(&name, multiplier.value)?;
        }
        for (pair, schedule) in &self.leverage.pair {
            check_bounds(&format!("leverage.pair.{pair}"), schedule)?;
        }
        eras("leverage.portfolio_cap", &self.leverage.portfolio_cap)?;
        self.limit_orders.check(self.ledger.window.value)?;
        self.slippage.check()?;
        self.fees.check()?;
        self.ledger.check()?;
        self.scoring.check()?;
        self.challenge.check()
    }
}

fn check_bounds(name: &str, schedule: &Schedule<LeverageEra>) -> Result<(), RulebookError> {
    eras(name, schedule)?;
    for bounds in schedule.eras.iter().filter_map(|era| era.value.bounds) {
        positive(&format!("{name}.min"), bounds.min)?;
        if !(bounds.max >= 0.0 && bounds.max.is_finite()) {
            return Err(field(&format!("{name}.max"), "must be a finite number, zero or more"));
        }
    }
    Ok(())
}

/// Returns the error that `name` has `problem`.
pub(crate) fn field(name: &str, problem: &str) -> RulebookError {
    RulebookError::Field { field: name.into(), problem: problem.into() }
}

/// Tests that `constant` is stated in the unit the rule computes in.
pub(crate) fn unit<T>(
    name: &str,
    constant: &Constant<T>,
    expected: &str,
) -> Result<(), RulebookError> {
    if constant.unit == expected {
        Ok(())
    } else {
        let problem = format!("unit is {:?}, the rule computes in {expected:?}", constant.unit);
        Err(field(name, &problem))
    }
}

/// Tests that `value` is finite and above zero.
pub(crate) fn positive(name: &str, value: f64) -> Result<(), RulebookError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(field(name, &format!("{value} must be a finite number above 0")))
    }
}

/// Tests that `value` is `least` or more.
pub(crate) fn at_least(name: &str, value: i64, least: i64) -> Result<(), RulebookError> {
    if value >= least {
        Ok(())
    } else {
        Err(field(name, &format!("{value} must be {least} or more")))
    }
}

/// Tests that a schedule has eras in increasing order of time.
pub(crate) fn eras<T>(name: &str, schedule: &Schedule<T>) -> Result<(), RulebookError> {
    if schedule.eras.is_empty() {
        return Err(field(name, "has no eras"));
    }
    if schedule.eras.windows(2).all(|pair| pair[0].from_ms < pair[1].from_ms) {
        Ok(())
    } else {
        Err(field(name, "eras must be listed by increasing from_ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is wrong with the built-in rulebook after `from` was replaced by `to` in it.
    fn problem(from: &str, to: &str) -> String {
        assert!(VANTA.contains(from), "{from:?} stands in the rulebook");
        Rulebook::parse(&VANTA.replacen(from, to, 1)).expect_err("refused").to_string()
    }

    #[test]
    fn the_built_in_rulebook_is_valid_and_every_switch_is_right() {
        let rulebook = Rulebook::parse(VANTA).expect("valid");
        assert_eq!(rulebook.name, "vanta");
        assert_eq!(rulebook.switches.carry_mode, CarryMode::Calendar);
        assert_eq!(rulebook.switches.drawdown_limit, DrawdownLimit::Ratio);
    }

    #[test]
    fn a_wrong_document_is_refused_with_the_place_and_the_reason() {
        for (from, to, expected) in [
            ("cooldown = {", "cool_down = {", "unknown field `cool_down`"),
            (
                "cooldown = { value = 10_000, unit = \"ms\"",
                "cooldown = { value = 10, unit = \"s\"",
                "the rule computes in \"ms\"",
            ),
            (
                "value = 10_000, unit = \"ms\"",
                "value = -1, unit = \"ms\"",
                "orders.cooldown: -1 must be 0 or more",
            ),
            ("value = 500.0", "value = nan", "must be a finite number above 0"),
            (
                "drawdown_max = { value = 0.1",
                "drawdown_max = { value = 10",
                "must lie between 0 and 1",
            ),
            ("\"AUDJPY\"", "\"AUDJPX\"", "unknown trade pair"),
            (
                "carry_mode = \"calendar\"",
                "carry_mode = \"sometimes\"",
                "unknown variant `sometimes`",
            ),
            ("from_ms = 1727161200000, cap", "from_ms = 0, cap", "increasing from_ms"),
            ("[leverage.class.indices]", "[leverage.class.bonds]", "unknown variant `bonds`"),
        ] {
            let problem = problem(from, to);
            assert!(problem.contains(expected), "{to}: {problem}");
        }
    }

    #[test]
    fn an_error_of_syntax_names_its_line() {
        let line = VANTA.lines().position(|line| line.starts_with("cooldown")).expect("a line") + 1;
        let problem = problem("cooldown = {", "cool_down = {");
        assert!(problem.starts_with(&format!("line {line}: ")), "{problem}");
    }

    #[test]
    fn an_era_holds_from_its_first_moment_to_the_next() {
        let rulebook = Rulebook::parse(VANTA).expect("valid");
        let btc = TradePair::from_id("BTCUSD").expect("a pair");
        let max = |ms| rulebook.leverage_bounds(btc, UtcMs(ms)).map(|bounds| bounds.max);
        assert_eq!(max(1_722_018_482_999), Some(20.0));
        assert_eq!(max(1_722_018_483_000), Some(0.5));
        assert_eq!(rulebook.portfolio_cap(UtcMs(1_727_161_199_999)), f64::INFINITY);
        assert_eq!(rulebook.portfolio_cap(UtcMs(1_727_161_200_000)), 10.0);
        let spx = TradePair::from_id("SPX").expect("a pair");
        assert_eq!(rulebook.leverage_bounds(spx, UtcMs(1_722_018_483_000)), None);
    }
}
