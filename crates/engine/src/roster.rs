//! Registered traders and the anomaly test on mass departure.
//!
//! Unknown is not empty: before the first roster nobody can be judged to be unregistered. A roster
//! that lacks many traders at once is more likely an outage than an exodus; it is held until it has
//! been confirmed, and the baseline does not move meanwhile (E-23, E-25).

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{TraderId, UtcMs};

use crate::input::Roster;
use crate::rejection::Rejection;
use crate::rulebook::RosterRules;

/// The traders registered as of the last roster that was believed.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Registered {
    current: Option<Known>,
    departed: BTreeMap<TraderId, UtcMs>,
    /// How many anomalous rosters in a row were held.
    held: u32,
    /// How many rosters were believed so far.
    believed: u64,
    /// Of those who were registered once and are not now: the number of the first believed roster
    /// that lacked them.
    missing_from: BTreeMap<TraderId, u64>,
}

#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
struct Known {
    version: u64,
    traders: BTreeSet<TraderId>,
}

/// What is missing between two rosters (E-21, E-23).
#[derive(Clone, Debug, PartialEq)]
pub struct Departures {
    /// Those who are on the first and not on the second.
    pub lost: Vec<TraderId>,
    /// Whether they are so many that it is more likely an outage.
    pub is_anomalous: bool,
}

/// Returns who is registered in `previous` and not in `current`.
#[must_use]
pub fn departures(
    rules: &RosterRules,
    previous: &BTreeSet<TraderId>,
    current: &BTreeSet<TraderId>,
) -> Departures {
    let lost: Vec<TraderId> = previous.difference(current).cloned().collect();
    let is_anomalous = is_anomalous(rules, lost.len(), previous.len());
    Departures { lost, is_anomalous }
}

/// What a new roster changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RosterChange {
    /// Traders that were not registered before.
    pub joined: Vec<TraderId>,
    /// Traders that are gone and are recorded as departed.
    pub departed: Vec<TraderId>,
}

impl Registered {
    /// Replaces the registered set by `roster`.
    ///
    /// # Errors
    /// [`Rejection::StaleRoster`], or [`Rejection::AnomalousRoster`] while a mass disappearance has
    /// not been confirmed by as many rosters in a row as the rules ask for.
    pub fn replace(
        &mut self,
        rules: &RosterRules,
        at: UtcMs,
        roster: &Roster,
    ) -> Result<RosterChange, Rejection> {
        let next: BTreeSet<TraderId> = roster.registered.iter().cloned().collect();
        let Some(known) = &self.current else {
            let joined = roster.registered.clone();
            self.believed = 1;
            self.current = Some(Known { version: roster.version, traders: next });
            return Ok(RosterChange { joined, departed: Vec::new() });
        };
        if roster.version <= known.version {
            return Err(Rejection::StaleRoster { version: roster.version, current: known.version });
        }
        let Departures { lost, is_anomalous } = departures(rules, &known.traders, &next);
        if is_anomalous && self.held + 1 < rules.anomaly_confirmations.value {
            self.held += 1;
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (lost, known) = (count(lost.len()), count(known.traders.len()));
            return Err(Rejection::AnomalousRoster { lost, known });
        }
        let joined: Vec<TraderId> = next.difference(&known.traders).cloned().collect();
        self.believed += 1;
        for trader in &lost {
            self.departed.entry(trader.clone()).or_insert(at);
            self.missing_from.insert(trader.clone(), self.believed);
        }
        for trader in &joined {
            self.missing_from.remove(trader);
        }
        self.held = 0;
        self.current = Some(Known { version: roster.version, traders: next });
        Ok(RosterChange { joined, departed: lost })
    }

    /// Tests whether `trader` is registered: gate 1 of trading 2.6.
    ///
    /// # Errors
    /// [`Rejection::RosterUnknown`] or [`Rejection::NotRegistered`].
    pub fn admit(&self, trader: &TraderId) -> Result<(), Rejection> {
        let known = self.current.as_ref().ok_or(Rejection::RosterUnknown)?;
        if !known.traders.contains(trader) {
            return Err(Rejection::NotRegistered);
        }
        Ok(())
    }

    /// Returns when `trader` was found to have left, if ever.
    #[must_use]
    pub fn departed_at(&self, trader: &TraderId) -> Option<UtcMs> {
        self.departed.get(trader).copied()
    }

    /// Returns whether the last roster was held for the number of traders that it lacks.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held > 0
    }

    /// Returns everybody who was ever found to have left, with the time of the first time.
    #[must_use]
    pub fn departed(&self) -> &BTreeMap<TraderId, UtcMs> {
        &self.departed
    }

    /// Returns how many believed rosters in a row lacked `trader`, up to the last one; zero for
    /// someone who is registered or never was.
    #[must_use]
    pub fn absent_rosters(&self, trader: &TraderId) -> u64 {
        self.missing_from.get(trader).map_or(0, |first| self.believed + 1 - first)
    }

    /// Returns the version of the roster in force; `None` before the first.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.current.as_ref().map(|known| known.version)
    }

    /// Returns the registered traders, or `None` while no roster has arrived.
    #[must_use]
    pub fn traders(&self) -> Option<&BTreeSet<TraderId>> {
        self.current.as_ref().map(|known| &known.traders)
    }
}

/// Tells whether losing `lost` of `known` traders in one step is anomalous (E-23).
pub(crate) fn is_anomalous(rules: &RosterRules, lost: usize, known: usize) -> bool {
    let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    count(lost) > f64::from(rules.anomaly_lost_over.value)
        && count(lost) >= rules.anomaly_share.value * count(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rulebook::{Rulebook, VANTA};

    fn rules() -> RosterRules {
        Rulebook::parse(VANTA).expect("the built-in rulebook").roster
    }

    fn roster(version: u64, numbers: std::ops::Range<u32>) -> Roster {
        let traders = numbers.map(|n| TraderId::new(&format!("t{n:03}")).expect("valid"));
        Roster::new(version, traders.collect())
    }

    #[test]
    fn e_23_a_loss_is_anomalous_above_ten_and_from_a_quarter_on() {
        let rules = rules();
        for (lost, known, anomalous) in [
            (15, 50, true),
            (5, 50, false),
            (10, 40, false),
            (10, 41, false),
            (11, 44, true),
            (11, 45, false),
            (0, 0, false),
        ] {
            assert_eq!(is_anomalous(&rules, lost, known), anomalous, "{lost} of {known}");
        }
    }

    #[test]
    fn unknown_is_not_empty() {
        let trader = TraderId::new("t000").expect("valid");
        let mut registered = Registered::default();
        assert_eq!(registered.admit(&trader), Err(Rejection::RosterUnknown));
        registered.replace(&rules(), UtcMs(0), &roster(1, 0..0)).expect("a first roster");
        assert_eq!(registered.admit(&trader), Err(Rejection::NotRegistered));
    }

    #[test]
    fn x_16_an_empty_roster_eliminates_nobody_until_it_is_confirmed() {
        let (rules, mut registered) = (rules(), Registered::default());
        registered.replace(&rules, UtcMs(0), &roster(1, 0..50)).expect("a first roster");
        for version in 2..1 + u64::from(rules.anomaly_confirmations.value) {
            let held = registered.replace(&rules, UtcMs(1), &roster(version, 0..0));
            assert_eq!(held, Err(Rejection::AnomalousRoster { lost: 50, known: 50 }));
            assert_eq!(registered.traders().map(BTreeSet::len), Some(50));
        }
        let change = registered.replace(&rules, UtcMs(9), &roster(99, 0..0)).expect("confirmed");
        assert_eq!(change.departed.len(), 50);
    }

    #[test]
    fn x_17_departures_after_a_held_roster_are_still_recorded() {
        let (rules, mut registered) = (rules(), Registered::default());
        registered.replace(&rules, UtcMs(0), &roster(1, 0..50)).expect("a first roster");
        registered.replace(&rules, UtcMs(1), &roster(2, 0..0)).expect_err("held");
        let change = registered.replace(&rules, UtcMs(2), &roster(3, 5..50)).expect("normal");
        assert_eq!(change.departed.len(), 5, "the baseline did not move while it was held");
        let gone = TraderId::new("t003").expect("valid");
        assert_eq!(registered.departed_at(&gone), Some(UtcMs(2)));
    }

    #[test]
    fn departure_is_permanent_and_keeps_its_first_time() {
        let (rules, mut registered) = (rules(), Registered::default());
        let trader = TraderId::new("t000").expect("valid");
        registered.replace(&rules, UtcMs(0), &roster(1, 0..3)).expect("first");
        registered.replace(&rules, UtcMs(5), &roster(2, 1..3)).expect("one leaves");
        registered.replace(&rules, UtcMs(6), &roster(3, 0..3)).expect("and is back");
        registered.replace(&rules, UtcMs(7), &roster(4, 1..3)).expect("and leaves again");
        assert_eq!(registered.departed_at(&trader), Some(UtcMs(5)));
    }

    #[test]
    fn e_54_absence_is_counted_in_believed_rosters_and_ends_with_a_return() {
        let (rules, mut registered) = (rules(), Registered::default());
        let gone = TraderId::new("t000").expect("valid");
        let absent = |registered: &Registered| registered.absent_rosters(&gone);
        registered.replace(&rules, UtcMs(0), &roster(1, 0..50)).expect("first");
        assert_eq!(absent(&registered), 0);
        registered.replace(&rules, UtcMs(1), &roster(2, 1..50)).expect("leaves");
        assert_eq!(absent(&registered), 1);
        registered.replace(&rules, UtcMs(2), &roster(3, 0..0)).expect_err("held");
        assert_eq!(absent(&registered), 1, "a roster that is not believed counts for nothing");
        registered.replace(&rules, UtcMs(3), &roster(4, 1..50)).expect("still away");
        assert_eq!(absent(&registered), 2);
        registered.replace(&rules, UtcMs(4), &roster(5, 0..50)).expect("is back");
        assert_eq!(absent(&registered), 0);
        registered.replace(&rules, UtcMs(5), &roster(6, 1..50)).expect("leaves again");
        assert_eq!(absent(&registered), 1);
    }

    #[test]
    fn an_old_roster_that_arrives_late_is_refused() {
        let (rules, mut registered) = (rules(), Registered::default());
        registered.replace(&rules, UtcMs(0), &roster(7, 0..3)).expect("first");
        let stale = registered.replace(&rules, UtcMs(1), &roster(7, 0..2));
        assert_eq!(stale, Err(Rejection::StaleRoster { version: 7, current: 7 }));
    }
}
