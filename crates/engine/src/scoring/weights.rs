//! Weights of the reference from before it paid by debt: overall and for the challenge (S-53, S-54).
//!
//! They are told with the statistics and decide nothing here. Debt-based weights are not built.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proctor_types::TraderId;
use proctor_types::time::DAY_MS;

use super::combination::{Scores, number};
use super::{Contestant, complete_days};
use crate::rulebook::Rulebook;

/// Returns each contestant's part in the whole, the greatest first: his share in each class times
/// the class's, brought to a sum of 1. Empty when nobody has a share; a single contestant has all.
#[must_use]
pub fn overall<'c>(
    rulebook: &Rulebook,
    contestants: &[&Contestant<'c>],
    scores: &Scores<'c>,
) -> Vec<(&'c TraderId, f64)> {
    if let [only] = contestants {
        return vec![(only.trader, 1.0)];
    }
    let mut parts: Vec<(&TraderId, f64)> = Vec::new();
    let mut place_of = BTreeMap::new();
    for (class, in_class) in &scores.classes {
        let emission = rulebook.scoring.class.get(class).map_or(0.0, |class| class.emission.value);
        // The better first, so that equal parts stay in the order of the first class.
        let mut ordered: Vec<_> = in_class.scores.iter().collect();
        ordered.sort_by(|one, other| descending(one.combined, other.combined));
        for score in ordered {
            let place = *place_of.entry(score.trader).or_insert_with(|| {
                parts.push((score.trader, 0.0));
                parts.len() - 1
            });
            parts[place].1 += score.softmax * emission;
        }
    }
    parts.sort_by(|one, other| descending(one.1, other.1));
    parts.extend(scores.excluded.iter().map(|trader| (*trader, 0.0)));
    let sum: f64 = parts.iter().map(|(_, part)| part).sum();
    if sum == 0.0 {
        return Vec::new();
    }
    parts.into_iter().map(|(trader, part)| (trader, part / sum)).collect()
}

/// Returns weights by rank, evenly spaced from the best to the last, for `weights` that each count
/// more the longer the trader's record is; the best first.
#[must_use]
pub fn by_rank<'c>(
    rulebook: &Rulebook,
    contestants: &[&Contestant<'c>],
    weights: &[(&'c TraderId, f64)],
) -> Vec<(&'c TraderId, f64)> {
    let window = number(usize::try_from(rulebook.ledger.window.value.0 / DAY_MS).unwrap_or(0));
    let days_of: BTreeMap<&TraderId, u32> = contestants
        .iter()
        .filter_map(|one| Some((one.trader, complete_days(rulebook, one.portfolio?))))
        .collect();
    let mut ranked: Vec<(&TraderId, f64)> = weights
        .iter()
        .map(|(trader, weight)| {
            let days = f64::from(days_of.get(trader).copied().unwrap_or(0));
            (*trader, weight * (days / window).sqrt())
        })
        .collect();
    ranked.sort_by(|one, other| descending(one.1, other.1));
    let (best, worst) = (
        rulebook.scoring.weights.challenge_best.value,
        rulebook.scoring.weights.challenge_worst.value,
    );
    let steps = number(ranked.len().saturating_sub(1)).max(1.0);
    let weight = |rank: usize| best + number(rank) * ((worst - best) / steps);
    ranked.iter().enumerate().map(|(rank, (trader, _))| (*trader, weight(rank))).collect()
}

/// The greater first; equal ones stay as they are.
fn descending(one: f64, other: f64) -> Ordering {
    (other + 0.0).total_cmp(&(one + 0.0))
}

#[cfg(test)]
mod tests {
    use proctor_types::AssetClass;

    use super::*;
    use crate::scoring::combination::{ClassScores, Score};
    use crate::scoring::tests::{cells, close, contestant_of_days, ledger, rules, trader};

    #[test]
    fn s_53_the_overall_weight_is_the_share_of_each_class_times_its_emission() {
        let names = ["alice", "bob", "carol", "dave"].map(trader);
        let contestants: Vec<_> = names.iter().map(|name| contestant_of_days(name, 3)).collect();
        let contestants: Vec<_> = contestants.iter().collect();
        let class = |shares: [f64; 3]| ClassScores {
            scores: names
                .iter()
                .zip(shares)
                .map(|(trader, share)| Score { trader, combined: share, softmax: share })
                .collect(),
            competitiveness: None,
        };
        let scores = Scores {
            classes: BTreeMap::from([
                (AssetClass::Crypto, class([0.2, 0.6, 0.0])),
                (AssetClass::Forex, class([0.4, 0.4, 0.0])),
            ]),
            excluded: vec![&names[3]],
        };
        let weights = overall(&rules(), &contestants, &scores);
        let order: Vec<&str> = weights.iter().map(|(trader, _)| trader.as_str()).collect();
        assert_eq!(order, ["bob", "alice", "carol", "dave"]);
        for ((_, weight), expected) in weights.iter().zip([0.5 / 0.8, 0.3 / 0.8, 0.0, 0.0]) {
            close(*weight, expected);
        }
    }

    #[test]
    fn s_53_a_single_trader_has_everything_and_nobody_has_what_is_nothing() {
        let name = trader("alice");
        let alone = contestant_of_days(&name, 0);
        assert_eq!(overall(&rules(), &[&alone], &Scores::default()), [(&name, 1.0)]);
        assert_eq!(overall(&rules(), &[&alone, &alone], &Scores::default()), []);
    }

    #[test]
    fn s_54_test_89_weights_by_rank_run_evenly_from_the_best_to_the_worst() {
        let names = ["alice", "bob", "carol"].map(trader);
        let ledgers = [4, 16, 1].map(|days| ledger(&cells(0, &vec![(0.0, 0.0); days])));
        let contestants: Vec<_> = names
            .iter()
            .zip(&ledgers)
            .map(|(name, ledger)| {
                let mut one = contestant_of_days(name, 0);
                one.portfolio = Some(ledger);
                one
            })
            .collect();
        let contestants: Vec<_> = contestants.iter().collect();
        // Sixteen days count twice as much as four, so bob's smaller weight comes out ahead.
        let weights = [(&names[0], 0.5), (&names[1], 0.3), (&names[2], 0.2)];
        let ranked = by_rank(&rules(), &contestants, &weights);
        let order: Vec<&str> = ranked.iter().map(|(trader, _)| trader.as_str()).collect();
        assert_eq!(order, ["bob", "alice", "carol"]);
        for ((_, weight), expected) in ranked.iter().zip([2.4e-5, 1.95e-5, 1.5e-5]) {
            close(*weight, expected);
        }
        assert_eq!(by_rank(&rules(), &contestants, &weights[..1])[0].1, 2.4e-5);
    }
}
