//! Combination: percentiles, weights, penalties, softmax, competitiveness (services 3.9).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proctor_types::{AssetClass, TraderId, float};

use super::days::Record;
use super::metrics::Metric;
use super::rules::ScoringRules;
use super::{Contestant, Scorer};
use crate::rulebook::IdleInClass;

/// How contestants rank.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores<'a> {
    /// By class that is competed in.
    pub classes: BTreeMap<AssetClass, ClassScores<'a>>,
    /// Who ranks nowhere, as a penalty is total; in the order given.
    pub excluded: Vec<&'a TraderId>,
}

/// How the contestants rank in one class, in the order given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassScores<'a> {
    /// Everyone who is not excluded.
    pub scores: Vec<Score<'a>>,
    /// Gini coefficient of the combined scores; `None` when all are zero (S-23).
    pub competitiveness: Option<f64>,
}

/// The score of one trader in one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score<'a> {
    /// Who.
    pub trader: &'a TraderId,
    /// Weighted percentiles times penalties, 0 to 1.
    pub combined: f64,
    /// Share in the class by softmax, 0 to 1; what slots are filled by.
    pub softmax: f64,
}

pub(super) fn rank<'c>(
    scorer: &Scorer<'_>,
    contestants: &[&Contestant<'c>],
    minimum_days: &BTreeMap<AssetClass, u32>,
) -> Scores<'c> {
    let mut ranked = Vec::new();
    let mut scores = Scores::default();
    for contestant in contestants {
        // Who is not penalised for want of a ledger is ranked like everyone else (S-24).
        let penalty = scorer.penalties(contestant).map_or(1.0, |penalties| penalties.product());
        if penalty == 0.0 {
            scores.excluded.push(contestant.trader);
        } else {
            ranked.push((*contestant, penalty));
        }
    }
    for class in scorer.rulebook.scoring.class.keys() {
        let minimum = minimum_days.get(class).copied();
        let in_class = class_scores(scorer, *class, minimum, &ranked);
        scores.classes.insert(*class, in_class);
    }
    scores
}

fn class_scores<'c>(
    scorer: &Scorer<'_>,
    class: AssetClass,
    minimum_days: Option<u32>,
    ranked: &[(&Contestant<'c>, f64)],
) -> ClassScores<'c> {
    let rules = &scorer.rulebook.scoring;
    let minimum_days = minimum_days.unwrap_or(rules.minimum_days.ceiling.value);
    let Some(terms) = scorer.terms(class, Some(minimum_days)) else {
        return ClassScores::default();
    };
    let untraded = Record::default();
    let mut combined = vec![0.0; ranked.len()];
    for metric in Metric::ALL {
        let weight = rules.of(metric).weight.value;
        if weight == 0.0 {
            continue;
        }
        let values: Vec<Option<f64>> = ranked
            .iter()
            .map(|(contestant, _)| {
                let record = contestant.classes.get(&class).unwrap_or(&untraded);
                let idle = record.days.count() == 0
                    && scorer.rulebook.switches.idle_in_class == IdleInClass::Last;
                (!idle).then(|| metric.value(&terms, record))
            })
            .collect();
        for (score, percentile) in combined.iter_mut().zip(percentiles(&values)) {
            *score += weight * percentile;
        }
    }
    for (score, (_, penalty)) in combined.iter_mut().zip(ranked) {
        *score *= penalty;
    }
    let softmaxed = softmax(rules, &combined);
    let rows = ranked.iter().zip(combined.iter().zip(softmaxed));
    ClassScores {
        scores: rows
            .map(|((contestant, _), (combined, softmax))| Score {
                trader: contestant.trader,
                combined: *combined,
                softmax,
            })
            .collect(),
        competitiveness: gini(&combined),
    }
}

/// Returns for each value which share of all values is strictly less, in the order given; a missing
/// value is less than any other. A single value ranks at 1, unless it is missing (S-50, S-22).
#[must_use]
pub fn percentiles(values: &[Option<f64>]) -> Vec<f64> {
    if let [only] = values {
        return vec![f64::from(u8::from(only.is_some()))];
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(order);
    let all = number(values.len());
    values
        .iter()
        .map(|value| {
            let less = sorted.partition_point(|other| order(other, value) == Ordering::Less);
            number(less) / all
        })
        .collect()
}

/// The order of percentiles: nothing before something, then by size; -0 is 0.
fn order(one: &Option<f64>, other: &Option<f64>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => (one + 0.0).total_cmp(&(other + 0.0)),
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
    }
}

/// Returns the share of each score, in the order given. A score of exactly 0 has no share and does
/// not lessen the others'; a single score has all (S-51).
#[must_use]
pub fn softmax(rules: &ScoringRules, scores: &[f64]) -> Vec<f64> {
    if scores.len() == 1 {
        return vec![1.0];
    }
    let greatest = scores.iter().copied().filter(|score| *score != 0.0).reduce(f64::max);
    let Some(greatest) = greatest else {
        return vec![0.0; scores.len()];
    };
    let share = |score: f64| {
        if score == 0.0 {
            0.0
        } else {
            float::exp((score - greatest) / rules.softmax_temperature.value)
        }
    };
    let shares: Vec<f64> = scores.iter().map(|score| share(*score)).collect();
    let sum = shares.iter().sum::<f64>() + rules.softmax_epsilon.value;
    shares.into_iter().map(|share| share / sum).collect()
}

/// Returns how unequal `scores` are, 0 (all equal) to 1; negative ones are left out. `None` when
/// there is none, or nothing but zeros (S-23).
#[must_use]
pub fn gini(scores: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = scores.iter().copied().filter(|score| *score >= 0.0).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (mut total, mut ranked) = (0.0, 0.0);
    for (index, score) in sorted.iter().enumerate() {
        total += score;
        ranked += number(index + 1) * score;
    }
    let count = number(sorted.len());
    (total > 0.0).then(|| 2.0 * ranked / (count * total) - (count + 1.0) / count)
}

/// Returns a number of contestants as a float.
pub(super) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::tests::{close, rules};

    fn all(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn s_50_test_86_percentiles_count_what_is_strictly_less() {
        assert_eq!(percentiles(&[]), []);
        assert_eq!(percentiles(&all(&[4.0, 3.0, 2.0, 1.0])), [0.75, 0.5, 0.25, 0.0]);
        assert_eq!(percentiles(&all(&[7.0; 4])), [0.0; 4], "ties are all nothing");
        assert_eq!(percentiles(&all(&[1.0, 2.0, 2.0, -0.0, 0.0])), [0.4, 0.6, 0.6, 0.0, 0.0]);
    }

    #[test]
    fn s_50_s_51_test_87_a_single_trader_ranks_at_one() {
        assert_eq!(percentiles(&all(&[-5.0])), [1.0]);
        assert_eq!(softmax(&rules().scoring, &[0.3]), [1.0]);
    }

    #[test]
    fn s_22_who_did_not_trade_a_class_ranks_below_a_loser_in_it() {
        assert_eq!(percentiles(&[Some(-5.0), None, Some(3.0), None]), [0.5, 0.0, 0.75, 0.0]);
        assert_eq!(percentiles(&[None]), [0.0]);
    }

    #[test]
    fn s_51_the_softmax_of_the_table() {
        let shares = softmax(&rules().scoring, &[0.75, 0.5, 0.25, 0.0]);
        for (share, expected) in shares.iter().zip([0.816_626_12, 0.154_240_75, 0.029_132_31, 0.0])
        {
            assert!((share - expected).abs() < 5e-9, "{share}");
        }
    }

    #[test]
    fn s_51_scores_of_zero_have_no_share_and_nobody_has_one_when_all_are() {
        assert_eq!(softmax(&rules().scoring, &[]), []);
        assert_eq!(softmax(&rules().scoring, &[0.0; 3]), [0.0; 3]);
        let with_zero = softmax(&rules().scoring, &[0.5, 0.0, 0.25]);
        let without = softmax(&rules().scoring, &[0.5, 0.25]);
        assert_eq!([with_zero[0], with_zero[2]], without[..]);
    }

    #[test]
    fn s_23_competitiveness_is_the_gini_coefficient() {
        close(gini(&[4.0, 1.0, 3.0, 2.0]).unwrap(), 0.25);
        assert_eq!(gini(&[0.5; 4]), Some(0.0));
        close(gini(&[0.0, 0.0, 10.0]).unwrap(), 2.0 / 3.0);
        assert_eq!((gini(&[]), gini(&[0.0, 0.0])), (None, None));
        assert_eq!(gini(&[-1.0, 0.5, 0.5]), Some(0.0), "negative ones are left out");
    }
}
