//! Account size by effective day; asset-class selection.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::time::DAY_MS;
use proctor_types::{AssetClass, Usd, UtcMs};

use crate::rulebook::{AccountFloor, Rulebook};

/// The dated sizes of one account and the asset class its trader chose.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Terms {
    /// Sizes by the day from which they hold, oldest first.
    sizes: Vec<DatedSize>,
    /// The asset class, once chosen.
    pub asset_class: Option<AssetClass>,
}

#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
struct DatedSize {
    valid_from: UtcMs,
    size: Usd,
}

impl Terms {
    /// Records `size`, effective from the next 00:00 UTC after `at`; returns that moment. A second
    /// size for the same day replaces the first.
    pub fn record_size(&mut self, at: UtcMs, size: Usd) -> UtcMs {
        let valid_from = UtcMs(at.start_of_day().0 + DAY_MS);
        // Time does not go back, so a size of the same day can only be the last.
        self.sizes.retain(|dated| dated.valid_from < valid_from);
        // Of the sizes already in force only the newest can be asked for again.
        let superseded =
            self.sizes.iter().filter(|dated| dated.valid_from <= at.start_of_day()).count();
        self.sizes.drain(..superseded.saturating_sub(1));
        self.sizes.push(DatedSize { valid_from, size });
        valid_from
    }

    /// Returns the account size for a position opened at `at` (trading 2.5).
    #[must_use]
    pub fn size(&self, rulebook: &Rulebook, at: UtcMs) -> Usd {
        let floor = rulebook.accounts.floor.value;
        match (self.recorded_size(at), rulebook.switches.account_floor) {
            (None, _) => floor,
            (Some(size), AccountFloor::Always) if size < floor => floor,
            (Some(size), _) => size,
        }
    }

    /// Returns the size that was recorded and holds at `at`; `None` when there is none yet.
    #[must_use]
    pub fn recorded_size(&self, at: UtcMs) -> Option<Usd> {
        let day = at.start_of_day();
        let recorded = self.sizes.iter().rev().find(|dated| dated.valid_from <= day);
        recorded.map(|dated| dated.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulebook::{Switches, VANTA};

    fn usd(number: f64) -> Usd {
        Usd::new(number).expect("finite")
    }

    #[test]
    fn a_size_holds_from_the_next_day_on() {
        let rulebook = Rulebook::parse(VANTA).expect("the built-in rulebook");
        let mut terms = Terms::default();
        assert_eq!(terms.size(&rulebook, UtcMs(0)), usd(5_000.0), "nothing recorded: the floor");
        terms.record_size(UtcMs(10), usd(100_000.0));
        assert_eq!(terms.recorded_size(UtcMs(DAY_MS - 1)), None, "unknown is not the floor");
        assert_eq!(terms.recorded_size(UtcMs(DAY_MS)), Some(usd(100_000.0)));
        terms.record_size(UtcMs(20), usd(150_000.0));
        assert_eq!(terms.size(&rulebook, UtcMs(DAY_MS - 1)), usd(5_000.0));
        assert_eq!(
            terms.size(&rulebook, UtcMs(DAY_MS)),
            usd(150_000.0),
            "the day's last one counts"
        );
        terms.record_size(UtcMs(DAY_MS), usd(200_000.0));
        assert_eq!(terms.size(&rulebook, UtcMs(2 * DAY_MS - 1)), usd(150_000.0));
        assert_eq!(terms.size(&rulebook, UtcMs(2 * DAY_MS)), usd(200_000.0));
    }

    #[test]
    fn t_10_a_recorded_size_below_the_floor_is_raised_unless_parity_is_wanted() {
        let mut rulebook = Rulebook::parse(VANTA).expect("the built-in rulebook");
        let mut terms = Terms::default();
        terms.record_size(UtcMs(0), usd(0.0));
        assert_eq!(terms.size(&rulebook, UtcMs(DAY_MS)), usd(5_000.0));
        rulebook.switches = Switches::PARITY;
        assert_eq!(terms.size(&rulebook, UtcMs(DAY_MS)), usd(0.0));
    }

    #[test]
    fn superseded_sizes_do_not_pile_up() {
        let mut terms = Terms::default();
        for day in 0..1_000 {
            terms.record_size(UtcMs(day * DAY_MS), usd(1_000.0));
        }
        assert!(terms.sizes.len() <= 3, "{} sizes kept", terms.sizes.len());
    }
}
