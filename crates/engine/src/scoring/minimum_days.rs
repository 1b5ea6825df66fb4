//! The dynamic minimum of days: how long a record must be to say something (S-40).

use std::collections::BTreeMap;

use proctor_types::AssetClass;

use super::{Contestant, ScoringRules};

/// Returns the minimum in each class. Nobody at all is no reason to ask for little, few traders in
/// a class are.
pub(super) fn minimum_days(
    rules: &ScoringRules,
    contestants: &[&Contestant<'_>],
) -> BTreeMap<AssetClass, u32> {
    let (ceiling, floor) = (rules.minimum_days.ceiling.value, rules.minimum_days.floor.value);
    let of_class = |class: AssetClass| {
        if contestants.is_empty() {
            return ceiling;
        }
        let mut days: Vec<u32> = contestants
            .iter()
            .filter_map(|contestant| contestant.classes.get(&class))
            .map(|record| record.days.count())
            .filter(|days| *days > 0)
            .collect();
        days.sort_unstable_by(|one, other| other.cmp(one));
        let rank = usize::try_from(rules.minimum_days.rank.value).unwrap_or(usize::MAX);
        let measure = days.get(rank - 1).map_or(floor, |days_of_rank| {
            // The median rounded down: with an even number it is the mean of the two in the middle.
            let upper = days[(days.len() - 1) / 2];
            let lower = days[days.len() / 2];
            (*days_of_rank).min(lower + (upper - lower) / 2)
        });
        measure.clamp(floor, ceiling)
    };
    rules.class.keys().map(|class| (*class, of_class(*class))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::tests::{contestant_of_days, rules, trader};

    /// Returns the minimum for crypto when traders have this many complete days in it.
    fn minimum(days: &[u32]) -> u32 {
        let name = trader("alice");
        let contestants: Vec<_> =
            days.iter().map(|days| contestant_of_days(&name, *days)).collect();
        let contestants: Vec<_> = contestants.iter().collect();
        minimum_days(&rules().scoring, &contestants)[&AssetClass::Crypto]
    }

    #[test]
    fn s_40_test_83_nobody_at_all_asks_for_sixty_days_in_every_class() {
        let minimum = minimum_days(&rules().scoring, &[]);
        assert_eq!(
            minimum.into_iter().collect::<Vec<_>>(),
            [(AssetClass::Crypto, 60), (AssetClass::Forex, 60)]
        );
    }

    #[test]
    fn s_40_test_84_nineteen_traders_ask_for_seven_days() {
        assert_eq!(minimum(&[90; 19]), 7);
        let with_idle = [vec![90; 19], vec![0; 5]].concat();
        assert_eq!(minimum(&with_idle), 7, "who has no day in the class does not take part");
    }

    #[test]
    fn s_40_test_85_the_twentieth_longest_or_the_median_whichever_is_shorter() {
        let falling: Vec<u32> = (1..=30).rev().collect();
        assert_eq!(minimum(&falling), 11, "the 20th of 30, 29, ..");
        let rising: Vec<u32> = (1..=30).collect();
        assert_eq!(minimum(&rising), 11, "in any order");
        let steep = [vec![50; 20], vec![3; 41]].concat();
        assert_eq!(minimum(&steep), 7, "the median of 3, raised to the floor");
        let even = [vec![40; 20], vec![21; 20]].concat();
        assert_eq!(minimum(&even), 30, "the median 30.5, rounded down");
    }

    #[test]
    fn s_40_the_minimum_lies_between_seven_and_sixty() {
        assert_eq!(minimum(&[120; 25]), 60);
        assert_eq!(minimum(&[2; 25]), 7);
    }
}
