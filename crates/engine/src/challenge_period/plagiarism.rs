//! The list of suspected plagiarists: who is new on it, who is cleared, whose time is over.
//!
//! A report is the detector's whole list, not a change of it: whoever is under review and not on it
//! is cleared. So a report that cannot be read must never become an empty one; it is refused where
//! it comes in, and the list of before stands. Source: services 2.6.

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{DurationMs, TraderId, UtcMs};

/// Everybody whom the detector suspects, and since when: sorted by trader, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PlagiarismReport {
    verdicts: Vec<(TraderId, UtcMs)>,
}

/// What a report means for the traders there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Suspected and not under review.
    pub new: Vec<TraderId>,
    /// Under review and not suspected any more.
    pub cleared: Vec<TraderId>,
    /// Suspected for longer than a review lasts, whether it has begun or not (C-44).
    pub overdue: Vec<TraderId>,
}

impl PlagiarismReport {
    /// Returns the report of `verdicts`, sorted. Of a trader that stands in it more than once the
    /// earliest time counts: it is the one that the suspicion began at.
    #[must_use]
    pub fn new(mut verdicts: Vec<(TraderId, UtcMs)>) -> Self {
        verdicts.sort_unstable();
        verdicts.dedup_by(|later, first| later.0 == first.0);
        Self { verdicts }
    }

    /// Returns the suspected traders and since when, sorted by trader.
    #[must_use]
    pub fn verdicts(&self) -> &[(TraderId, UtcMs)] {
        &self.verdicts
    }

    /// Returns whether every trader stands in the report once, in order: bytes may say otherwise.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.verdicts.is_sorted_by(|a, b| a.0 < b.0)
    }

    /// Returns what the report means at `at`, given who is under review (sorted).
    ///
    /// A review is over strictly after `review_max`, counted from the report's own time and not
    /// from the begin of the review (C-44).
    #[must_use]
    pub fn findings(
        &self,
        under_review: &[&TraderId],
        review_max: DurationMs,
        at: UtcMs,
    ) -> Findings {
        let suspected = |trader: &TraderId| {
            self.verdicts.binary_search_by(|(other, _)| other.cmp(trader)).is_ok()
        };
        let is_reviewed = |trader: &TraderId| under_review.binary_search(&trader).is_ok();
        let named = self.verdicts.iter();
        let overdue = named.clone().filter(|(_, since)| at.since(*since) > review_max);
        Findings {
            new: named.map(|(t, _)| t).filter(|t| !is_reviewed(t)).cloned().collect(),
            cleared: under_review.iter().filter(|t| !suspected(t)).map(|&t| t.clone()).collect(),
            overdue: overdue.map(|(trader, _)| trader.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn trader(name: &str) -> TraderId {
        TraderId::new(name).expect("valid")
    }

    fn findings(report: &[(&str, i64)], reviewed: &[&str], at: i64) -> [Vec<String>; 3] {
        let report =
            PlagiarismReport::new(report.iter().map(|(t, at)| (trader(t), UtcMs(*at))).collect());
        assert!(report.is_sorted());
        let reviewed: Vec<TraderId> = reviewed.iter().map(|name| trader(name)).collect();
        let reviewed: Vec<&TraderId> = reviewed.iter().collect();
        let found = report.findings(&reviewed, DurationMs(14 * DAY), UtcMs(at));
        [found.new, found.cleared, found.overdue]
            .map(|traders| traders.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn c_43_new_is_the_list_less_the_reviewed_and_cleared_is_the_reviewed_less_the_list() {
        let [new, cleared, overdue] =
            findings(&[("carol", 0), ("alice", 0), ("alice", 9)], &["alice", "bob"], 10);
        assert_eq!((new, cleared, overdue), (vec!["carol".into()], vec!["bob".into()], vec![]));
    }

    #[test]
    fn c_44_a_review_is_over_strictly_after_fourteen_days_of_the_reports_time() {
        for (at, over) in [(14 * DAY, false), (14 * DAY + 1, true)] {
            let [_, _, overdue] = findings(&[("alice", 0)], &["alice"], at);
            assert_eq!(overdue.len(), usize::from(over), "{at}");
        }
        let [new, _, overdue] = findings(&[("alice", 0)], &[], 15 * DAY);
        assert_eq!((new.len(), overdue.len()), (1, 1), "also before the review has begun");
    }

    #[test]
    fn an_empty_report_clears_everybody() {
        let [new, cleared, overdue] = findings(&[], &["alice", "bob"], 0);
        assert_eq!((new.len(), cleared.len(), overdue.len()), (0, 2, 0));
    }
}
