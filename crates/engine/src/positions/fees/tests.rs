//! Fees: the numbers of the rulebook and the boundaries they make.

use proctor_types::time::{DAY_MS, HOUR_MS};
use proptest::prelude::*;

use super::carry::Carry;
use super::*;
use crate::Rulebook;
use crate::rulebook::VANTA;

fn fees() -> FeeRules {
    Rulebook::parse(VANTA).expect("the compiled-in rulebook is valid").fees
}

/// Applies `change` to the fees of the rulebook and returns what the check says.
fn problem(change: impl FnOnce(&mut FeeRules)) -> String {
    let mut rules = fees();
    change(&mut rules);
    rules.check().expect_err("refused").to_string()
}

fn forex(rules: &mut FeeRules) -> &mut CarryRules {
    rules.carry.get_mut(&AssetClass::Forex).expect("there")
}

#[test]
fn the_interval_factors_are_the_published_ones() {
    for (class, factor) in [
        (AssetClass::Crypto, 0.9998940949450921),
        (AssetClass::Forex, 0.9999165535983249),
        (AssetClass::Indices, 0.9998522620320668),
        (AssetClass::Equities, 0.9998522620320668),
    ] {
        let rules = fees();
        let rules = rules.carry_of(class);
        // 1970-01-01 was a Thursday: one boundary of weight 1 lies in the first day's last hours.
        let (from, to) = (UtcMs(20 * HOUR_MS - 1), UtcMs(22 * HOUR_MS));
        let carry = Carry::default().after_order(rules, UtcMs(0), from, -1.0).until(rules, to);
        assert_eq!(carry.units(), 1.0);
        assert!((carry.factor(rules) - factor).abs() < 1e-15, "{class}");
    }
}

#[test]
fn a_fee_that_is_no_fraction_or_a_unit_that_is_another_is_refused() {
    let said = problem(|rules| forex(rules).yearly.value = 1.0);
    assert!(said.contains("fees.carry.forex.yearly"), "{said}");
    let said = problem(|rules| forex(rules).yearly.unit = "percent".into());
    assert!(said.contains("percent"), "{said}");
    let said = problem(|rules| {
        rules.carry.remove(&AssetClass::Indices);
    });
    assert!(said.contains("fees.carry.indices"), "{said}");
    let said = problem(|rules| {
        rules.spread.get_mut(&AssetClass::Crypto).expect("there").value = -0.001;
    });
    assert!(said.contains("fees.spread.crypto"), "{said}");
}

#[test]
fn boundaries_must_split_the_day_evenly() {
    for hours in [vec![], vec![4, 12], vec![4, 12, 21], vec![24], vec![12, 4, 20], vec![0; 5]] {
        let said = problem(|rules| forex(rules).boundary_hours.value = hours.clone());
        assert!(said.contains("boundary_hours"), "{hours:?}: {said}");
    }
    let said = problem(|rules| forex(rules).weekday_weights.value = [0; 7]);
    assert!(said.contains("weekday_weights"), "{said}");
}

#[test]
fn a_fee_is_never_below_zero() {
    let rules = fees();
    assert_eq!(rules.spread_factor(AssetClass::Crypto, 5_000.0), 0.0);
    assert_eq!(rules.single_factor(AssetClass::Crypto, 5_000.0), 0.0);
    assert_eq!(rules.spread_factor(AssetClass::Forex, 5_000.0), 1.0);
}

proptest! {
    #[test]
    fn one_long_question_counts_like_many_short_ones(
        from in 0..400 * DAY_MS,
        spans in prop::collection::vec(0..12 * DAY_MS, 1..12),
        leverage in 0.001_f64..5.0,
    ) {
        let rules = fees();
        for class in AssetClass::ALL {
            let rules = rules.carry_of(class);
            let opened = Carry::default().after_order(rules, UtcMs(0), UtcMs(from), leverage);
            let (mut often, mut at) = (opened, from);
            for span in &spans {
                at += span;
                often = often.until(rules, UtcMs(at));
            }
            prop_assert_eq!(often, opened.until(rules, UtcMs(at)));
        }
    }
}
