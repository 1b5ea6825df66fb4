//! Cases of kind `challenge`: ranking, inspection and whole refreshes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use proctor_engine::Rulebook;
use proctor_engine::challenge_period::plagiarism::Findings;
use proctor_engine::challenge_period::plan::{self, Belief, Closed, Scored, Verdict};
use proctor_engine::challenge_period::ranking::{self, Contest, ScoresByClass};
use proctor_engine::challenge_period::{Entry, RefreshInput, Stage, Standing};
use proctor_engine::eliminations::Reason;
use proctor_engine::rulebook::{Switches, VANTA};
use proctor_engine::scoring::Ledgers;
use proctor_types::{AssetClass, Percent, TraderId, Usd, UtcMs};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::metrics::rows::{Bundle, BundleRows, PositionRow};

/// Thresholds that a case overrides.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(rename = "PROMOTION_THRESHOLD_RANK")]
    funded_per_class: Option<u32>,
    #[serde(rename = "DYNAMIC_MIN_DAYS_NUM_MINERS")]
    minimum_days_rank: Option<u32>,
}

/// Returns what our engine says for `input`, in the shape of the reference's output.
pub(crate) fn run(input: &Value) -> Result<Value> {
    match input.get("op").and_then(Value::as_str) {
        Some("evaluate") => evaluate(input),
        Some("inspect") => inspect(input),
        Some("refresh") => refresh(input),
        other => bail!("no such op: {other:?}"),
    }
}

fn rulebook(config: &Config) -> Result<Rulebook> {
    let mut rulebook = Rulebook::parse(VANTA)?;
    rulebook.switches = Switches::PARITY;
    if let Some(rank) = config.funded_per_class {
        rulebook.challenge.funded_per_class.value = rank;
    }
    if let Some(rank) = config.minimum_days_rank {
        rulebook.scoring.minimum_days.rank.value = rank;
    }
    Ok(rulebook)
}

#[derive(Deserialize)]
struct Evaluate {
    #[serde(default)]
    config: Config,
    asset_selections: BTreeMap<TraderId, AssetClass>,
    success_hotkeys: Vec<TraderId>,
    promotion_eligible_hotkeys: Vec<TraderId>,
    asset_softmaxed_scores: BTreeMap<AssetClass, BTreeMap<TraderId, f64>>,
}

fn evaluate(input: &Value) -> Result<Value> {
    let case = Evaluate::deserialize(input).context("not an evaluation")?;
    let rulebook = rulebook(&case.config)?;
    let contest = Contest {
        funded: case.success_hotkeys.iter().collect(),
        eligible: case.promotion_eligible_hotkeys.iter().collect(),
        classes: case.asset_selections.iter().map(|(trader, class)| (trader, *class)).collect(),
        ranked: case.asset_softmaxed_scores.keys().copied().collect(),
    };
    let scores: ScoresByClass<'_> = case
        .asset_softmaxed_scores
        .iter()
        .map(|(class, scores)| (*class, scores.iter().map(|(t, score)| (t, *score)).collect()))
        .collect();
    let verdicts = ranking::rank(&rulebook.challenge, &rulebook.switches, &contest, &scores);
    Ok(json!({ "promote": sorted(&verdicts.promote), "demote": sorted(&verdicts.demote) }))
}

fn sorted(traders: &BTreeSet<&TraderId>) -> Vec<String> {
    traders.iter().map(ToString::to_string).collect()
}

/// Bucket, its start, and both before a review.
type StandingRow = (String, i64, Option<String>, Option<i64>);

/// What inspections and refreshes have in common.
#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    config: Config,
    now_ms: i64,
    running_unit_tests: bool,
    cp_fields: Vec<String>,
    active_miners: BTreeMap<TraderId, StandingRow>,
    asset_selections: BTreeMap<TraderId, AssetClass>,
    account_sizes: BTreeMap<TraderId, Option<f64>>,
    hk_to_first_order_time: BTreeMap<TraderId, i64>,
    ledgers: BTreeMap<TraderId, BundleRows>,
    positions: BTreeMap<TraderId, Vec<PositionRow>>,
    #[serde(default)]
    metagraph: BTreeSet<TraderId>,
    #[serde(default)]
    eliminations: Vec<Ended>,
    #[serde(default)]
    elimination_reasons: BTreeMap<TraderId, Value>,
    #[serde(default)]
    plagiarism: Suspects,
}

#[derive(Deserialize)]
struct Ended {
    hotkey: TraderId,
}

/// What the reference's plagiarism service said of the list.
#[derive(Default, Deserialize)]
struct Suspects {
    new: Vec<TraderId>,
    whitelisted: Vec<TraderId>,
    eliminate: Vec<TraderId>,
}

/// A case as the engine's structures.
struct Scene {
    case: Case,
    rulebook: Rulebook,
    standings: BTreeMap<TraderId, Standing>,
    bundles: BTreeMap<TraderId, Bundle>,
}

impl Scene {
    fn new(input: &Value) -> Result<Self> {
        let case = Case::deserialize(input).context("not a case of kind challenge")?;
        let rulebook = rulebook(&case.config)?;
        let rows = case.active_miners.iter();
        let standings: Result<_> =
            rows.map(|(trader, row)| Ok((trader.clone(), standing(row)?))).collect();
        let bundle = |rows| Bundle::new(&rulebook, &case.cp_fields, rows);
        let rows = case.ledgers.iter();
        let bundles: Result<_> =
            rows.map(|(trader, rows)| Ok((trader.clone(), bundle(rows)?))).collect();
        Ok(Self { standings: standings?, bundles: bundles?, rulebook, case })
    }

    /// Traders that the case reports as newly suspected although no report can mean that: they are
    /// under review already, or cleared at once.
    fn contradictory(&self) -> BTreeSet<&TraderId> {
        let suspects = &self.case.plagiarism;
        let reviewed = |trader: &&TraderId| {
            self.standings.get(*trader).is_some_and(|standing| standing.stage == Stage::UnderReview)
        };
        let cleared = |trader: &&TraderId| suspects.whitelisted.contains(trader);
        suspects.new.iter().filter(|trader| reviewed(trader) || cleared(trader)).collect()
    }

    fn input(&self) -> Result<RefreshInput<'_>> {
        let case = &self.case;
        let contradictory = self.contradictory();
        let clear = |list: &[TraderId]| {
            list.iter().filter(|trader| !contradictory.contains(trader)).cloned().collect()
        };
        let traders: BTreeSet<&TraderId> =
            case.active_miners.keys().chain(&case.metagraph).collect();
        Ok(RefreshInput {
            at: UtcMs(case.now_ms),
            roster: Belief::Believed,
            traders: traders.into_iter().map(|t| self.entry(t)).collect::<Result<_>>()?,
            plagiarism: Findings {
                new: clear(&case.plagiarism.new),
                cleared: clear(&case.plagiarism.whitelisted),
                overdue: case.plagiarism.eliminate.clone(),
            },
            scores_due: true,
        })
    }

    fn entry<'a>(&'a self, trader: &'a TraderId) -> Result<Entry<'a>> {
        let case = &self.case;
        let ledgers = self.bundles.get(trader).map(Bundle::view).unwrap_or_default();
        // An inspection is given its positions; a refresh takes the closed ones of a minute or more.
        let least = self.rulebook.challenge.position_min.value;
        let counts = |row: &&PositionRow| {
            case.metagraph.is_empty() || row.lasted().is_some_and(|lasted| lasted >= least)
        };
        let rows = case.positions.get(trader).into_iter().flatten().filter(counts);
        let size = case.account_sizes.get(trader).copied().flatten();
        let standing = self.standings.get(trader).copied();
        let eliminated = case.eliminations.iter().any(|ended| ended.hotkey == *trader);
        let pending = standing.is_none() && case.elimination_reasons.contains_key(trader);
        Ok(Entry {
            trader,
            registered: case.metagraph.contains(trader),
            ended: eliminated || pending,
            standing,
            first_order: case.hk_to_first_order_time.get(trader).map(|ms| UtcMs(*ms)),
            foreign_ledgers: self.is_foreign(trader, &ledgers),
            ledgers,
            closed: Closed::Scored(rows.map(|row| row.scored(&self.rulebook)).collect()),
            account_size: size.map(Usd::new).transpose()?,
            class: case.asset_selections.get(trader).copied(),
            rules: &self.rulebook,
        })
    }

    /// The reference's own test of C-33, which needs a ledger's first moment.
    fn is_foreign(&self, trader: &TraderId, ledgers: &Ledgers<'_>) -> bool {
        let first = &self.case.hk_to_first_order_time;
        let cell = ledgers.portfolio.and_then(|ledger| ledger.cells().next());
        let Some(cell) = cell.filter(|_| !self.case.running_unit_tests && !first.is_empty()) else {
            return false;
        };
        first.get(trader).is_none_or(|first| cell.start().0 < *first)
    }
}

fn standing(row: &StandingRow) -> Result<Standing> {
    let (stage, since, before, before_since) = row;
    let before = match (before, before_since) {
        (Some(stage), Some(since)) => Some((Stage::parse(stage)?, UtcMs(*since))),
        _ => None,
    };
    Ok(Standing { stage: Stage::parse(stage)?, since: UtcMs(*since), before })
}

fn inspect(input: &Value) -> Result<Value> {
    let scene = Scene::new(input)?;
    let input = scene.input()?;
    let standings: Vec<Option<Standing>> =
        input.traders.iter().map(|entry| entry.standing).collect();
    let inspection = plan::inspect(&scene.rulebook, &input, &standings);
    let ended: Map<String, Value> = inspection
        .eliminate
        .iter()
        .map(|(trader, verdict)| (trader.to_string(), reason(verdict)))
        .collect();
    let scores = inspection.scores.unwrap_or_default();
    Ok(json!({
        "promote": sorted(&inspection.promote),
        "demote": sorted(&inspection.demote),
        "eliminate": ended,
        "softmax": softmax(&scores),
        "competitiveness": scores.competitiveness
            .iter()
            .map(|(class, gini)| (class.to_string(), json!(gini)))
            .collect::<Map<_, _>>(),
    }))
}

/// The reason and the drawdown as the reference writes them (E-3).
fn reason(verdict: &Verdict) -> Value {
    let code: &str = Reason::code(verdict.reason);
    json!([code, verdict.drawdown.map_or(-1.0, Percent::get)])
}

fn softmax(scores: &Scored<'_>) -> Map<String, Value> {
    let of_class = |shares: &BTreeMap<&TraderId, f64>| {
        shares.iter().map(|(t, share)| (t.to_string(), json!(share))).collect::<Map<_, _>>()
    };
    scores
        .classes
        .iter()
        .map(|(class, shares)| (class.to_string(), of_class(shares).into()))
        .collect()
}

fn refresh(input: &Value) -> Result<Value> {
    let scene = Scene::new(input)?;
    let input = scene.input()?;
    let at = input.at;
    let plan = plan::plan(&scene.rulebook, &input);
    let mut active = scene.standings.clone();
    let mut reasons = scene.case.elimination_reasons.clone();
    for trader in &plan.review {
        active.entry((*trader).clone()).and_modify(|standing| *standing = standing.reviewed(at));
    }
    for trader in &plan.restore {
        let before = active.get(*trader).and_then(|standing| standing.restored());
        active.insert((*trader).clone(), before.context("a review without a stage before")?);
    }
    for (trader, since) in plan.admit.iter().chain(&plan.restart_clock) {
        active.insert((*trader).clone(), Standing::new(Stage::Challenge, *since));
    }
    for (traders, stage) in [(&plan.promote, Stage::Funded), (&plan.demote, Stage::Probation)] {
        for trader in traders {
            active.insert((*trader).clone(), Standing::new(stage, at));
        }
    }
    for (trader, verdict) in &plan.eliminate {
        active.remove(*trader);
        reasons.insert((*trader).clone(), reason(verdict));
    }
    for trader in &plan.prune {
        active.remove(*trader);
    }
    // The reference puts them under review again, whatever the stage before was, and back.
    for trader in scene.contradictory() {
        let Some(standing) = active.get_mut(trader) else { continue };
        if standing.stage == Stage::UnderReview {
            let again = standing.reviewed(at);
            let back = scene.case.plagiarism.whitelisted.contains(trader);
            *standing = again.restored().filter(|_| back).unwrap_or(again);
        }
    }
    let row = |standing: &Standing| {
        let before = standing.before.map(|(stage, since)| (stage.label(), since.0));
        json!([
            standing.stage.label(),
            standing.since.0,
            before.map(|(stage, _)| stage),
            before.map(|(_, since)| since)
        ])
    };
    Ok(json!({
        "active_miners": active
            .iter()
            .map(|(trader, standing)| (trader.to_string(), row(standing)))
            .collect::<Map<_, _>>(),
        "elimination_reasons": reasons,
        "softmax": softmax(&plan.scores.unwrap_or_default()),
    }))
}
