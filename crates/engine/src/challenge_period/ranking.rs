//! Promotion and demotion: who is among the first of an asset class.
//!
//! Missing data moves nobody: a funded trader without a score keeps the stage, and when too many of
//! them have none, nobody is demoted. Source: services 2.5.1 (C-50 to C-55).

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::{AssetClass, TraderId};

use super::{Alert, ChallengeRules};
use crate::rulebook::{Slots, Switches, Unscored, UnselectedClass, ZeroScore};

/// Who takes part in a ranking.
#[derive(Clone, Debug, Default)]
pub struct Contest<'a> {
    /// Traders that are funded.
    pub funded: BTreeSet<&'a TraderId>,
    /// Traders of other stages that may be promoted.
    pub eligible: BTreeSet<&'a TraderId>,
    /// The asset classes that traders chose.
    pub classes: BTreeMap<&'a TraderId, AssetClass>,
    /// Every asset class that is ranked, whether it has scores or not.
    pub ranked: BTreeSet<AssetClass>,
}

/// The scores of each asset class, by trader.
pub type ScoresByClass<'a> = BTreeMap<AssetClass, BTreeMap<&'a TraderId, f64>>;

/// What a ranking says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdicts<'a> {
    /// Traders to promote.
    pub promote: BTreeSet<&'a TraderId>,
    /// Traders to demote.
    pub demote: BTreeSet<&'a TraderId>,
    /// Why fewer are demoted than the ranks say.
    pub alert: Option<Alert>,
}

/// Ranks the traders of each asset class by their scores, the highest first, ties by trader.
#[must_use]
pub fn rank<'a>(
    rules: &ChallengeRules,
    switches: &Switches,
    contest: &Contest<'a>,
    scores: &ScoresByClass<'a>,
) -> Verdicts<'a> {
    let mut first = BTreeSet::new();
    let mut scored = BTreeSet::new();
    for (class, scores) in scores {
        let own = |trader: &TraderId| chose(switches, contest, trader, *class);
        let ranked: Vec<(&TraderId, f64)> =
            scores.iter().map(|(t, score)| (*t, *score)).filter(|(t, _)| own(t)).collect();
        scored.extend(ranked.iter().map(|(trader, _)| *trader));
        first.extend(winners(rules, switches, contest, ranked));
    }
    let promote =
        first.difference(&contest.funded).filter(|t| contest.eligible.contains(*t)).copied();
    let promote = promote.collect();
    let mut demote: BTreeSet<&TraderId> = contest.funded.difference(&first).copied().collect();
    let mut alert = None;
    if switches.unscored == Unscored::Unchanged {
        alert = too_few(rules, contest, &scored);
        demote.retain(|trader| alert.is_none() && scored.contains(trader));
    }
    Verdicts { promote, demote, alert }
}

/// Tells whether `trader` competes in `class` (C-50.1).
fn chose(switches: &Switches, contest: &Contest<'_>, trader: &TraderId, class: AssetClass) -> bool {
    match switches.unselected_class {
        // The first choice that anybody makes turns the reference's filter on for everybody.
        UnselectedClass::RankedUntilFirstChoice if contest.classes.is_empty() => true,
        UnselectedClass::RankedUntilFirstChoice | UnselectedClass::Unranked => {
            contest.classes.get(trader) == Some(&class)
        }
    }
}

/// Returns who holds the places of a class (C-50, C-51).
fn winners<'a>(
    rules: &ChallengeRules,
    switches: &Switches,
    contest: &Contest<'a>,
    mut ranked: Vec<(&'a TraderId, f64)>,
) -> impl Iterator<Item = &'a TraderId> {
    ranked.retain(|(trader, score)| {
        let funded = contest.funded.contains(trader);
        let may_hold = funded || contest.eligible.contains(trader);
        // The last of a class always has the score zero. That is no merit to be promoted for, and
        // no fault to be demoted for while there are places.
        let counts = *score > 0.0 || (*score == 0.0 && funded);
        (switches.slots == Slots::AllRanked || may_hold)
            && (switches.zero_score == ZeroScore::WinsSlot || counts)
    });
    ranked.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
    ranked.truncate(usize::try_from(rules.funded_per_class.value).unwrap_or(usize::MAX));
    ranked.into_iter().filter(|(_, score)| *score >= 0.0).map(|(trader, _)| trader)
}

/// Returns the alert that too few of the funded traders were scored to demote anybody (P-6, X-27).
fn too_few(
    rules: &ChallengeRules,
    contest: &Contest<'_>,
    scored: &BTreeSet<&TraderId>,
) -> Option<Alert> {
    // Who trades a class that nobody ranks has no score by rule, not for want of data.
    let expected = contest.funded.iter().filter(|trader| {
        contest.classes.get(*trader).is_none_or(|class| contest.ranked.contains(class))
    });
    let (mut funded, mut found) = (0_u32, 0_u32);
    for trader in expected {
        funded += 1;
        found += u32::from(scored.contains(trader));
    }
    (f64::from(found) < rules.coverage_min.value * f64::from(funded))
        .then_some(Alert::Coverage { scored: found, funded })
}
