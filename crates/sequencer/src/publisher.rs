//! What readers see: the newest view, one pointer, and the last commits with what they did.
//!
//! No reader waits for the writer and the writer waits for no reader: the view is swapped in, and
//! the lock of the history is held for as long as it takes to add or copy a few pointers. Waiting
//! is level-triggered: whoever waits asks again, so no wake-up can be missed.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use event_listener::{Event as Wake, EventListener};
use proctor_engine::{Event, Outcome, Rejection, View};
use proctor_types::{Digest, Stamp, UtcMs};

/// How many commits are kept for subscribers at most.
const COMMITS_MAX: usize = 16_384;
/// How many events those commits may hold together.
const EVENTS_MAX: usize = 131_072;

/// A commit that was applied, and what it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The commit and its time.
    pub stamp: Stamp,
    /// The state digest after it.
    pub digest: Digest,
    /// One answer per input.
    pub replies: Arc<[Result<(), Rejection>]>,
    /// Everything it changed.
    pub events: Arc<Vec<Event>>,
    /// Which of the events are whose, as in [`Outcome::ends`].
    pub ends: Arc<[usize]>,
}

impl From<Outcome> for Applied {
    fn from(outcome: Outcome) -> Self {
        Self {
            stamp: outcome.stamp,
            digest: outcome.digest,
            replies: outcome.replies.into(),
            // Moved, not copied: a commit can have many events.
            events: Arc::new(outcome.events),
            ends: outcome.ends.into(),
        }
    }
}

/// What has happened since a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Since {
    /// Every commit after it, in order; none when there is nothing new.
    Commits(Vec<Arc<Applied>>),
    /// The commits right after it are no longer kept: begin again from a view.
    Gap {
        /// The first commit that is still kept.
        oldest: u64,
    },
}

/// Where readers find the newest view and the commits before it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Views(Arc<Published>);

#[derive(Debug)]
struct Published {
    view: ArcSwap<View>,
    recent: RwLock<Recent>,
    changed: Wake,
}

/// The last commits without gaps, bounded in number and in events.
#[derive(Debug, Default)]
struct Recent {
    /// The last commit before the kept ones.
    before: u64,
    commits: VecDeque<Arc<Applied>>,
    events: usize,
}

impl Views {
    pub(crate) fn new(view: View) -> Self {
        let recent = Recent { before: view.stamp.commit, ..Recent::default() };
        let view = ArcSwap::from_pointee(view);
        Self(Arc::new(Published { view, recent: RwLock::new(recent), changed: Wake::new() }))
    }

    /// Returns the newest view: the whole state as of one commit. It does not change afterwards.
    #[must_use]
    pub fn latest(&self) -> Arc<View> {
        self.0.view.load_full()
    }

    /// Returns a guard of the newest view: cheaper than [`Views::latest`], to be held briefly.
    #[must_use]
    pub fn peek(&self) -> arc_swap::Guard<Arc<View>> {
        self.0.view.load()
    }

    /// Returns the commits after `commit`, at most `max` of them.
    ///
    /// They may be newer than the view that [`Views::latest`] gave before, never older than it.
    #[must_use]
    pub fn since(&self, commit: u64, max: usize) -> Since {
        // A reader or writer that panicked left whole pointers behind.
        let recent = self.0.recent.read().unwrap_or_else(PoisonError::into_inner);
        let Some(skip) = commit.checked_sub(recent.before) else {
            return Since::Gap { oldest: recent.before + 1 };
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Since::Commits(recent.commits.iter().skip(skip).take(max).cloned().collect())
    }

    /// Returns those of the kept commits that were made at `time`: none when it is too long ago.
    #[must_use]
    pub fn at(&self, time: UtcMs) -> Vec<Arc<Applied>> {
        let recent = self.0.recent.read().unwrap_or_else(PoisonError::into_inner);
        // Stamps never go back.
        let first = recent.commits.partition_point(|applied| applied.stamp.at < time);
        let made = recent.commits.range(first..).take_while(|applied| applied.stamp.at == time);
        made.cloned().collect()
    }

    /// Returns what is notified at the next publication. Take it first, then look whether what is
    /// waited for is there already, and only then wait.
    #[must_use]
    pub fn changed(&self) -> EventListener {
        self.0.changed.listen()
    }

    /// Makes `view` the newest one, to which no commits lead from the one before.
    pub(crate) fn begin_anew(&self, view: View) {
        {
            let mut recent = self.0.recent.write().unwrap_or_else(PoisonError::into_inner);
            *recent = Recent { before: view.stamp.commit, ..Recent::default() };
        }
        self.publish(view, Vec::new());
    }

    /// Makes `view` the newest one; `commits` led to it from the one before.
    pub(crate) fn publish(&self, view: View, commits: Vec<Applied>) {
        {
            let mut recent = self.0.recent.write().unwrap_or_else(PoisonError::into_inner);
            commits.into_iter().for_each(|applied| recent.push(applied));
        }
        self.0.view.store(Arc::new(view));
        self.0.changed.notify(usize::MAX);
    }
}

impl Recent {
    fn push(&mut self, applied: Applied) {
        self.events += applied.events.len();
        self.commits.push_back(Arc::new(applied));
        // The newest commit stays however large it is.
        while self.commits.len() > 1
            && (self.commits.len() > COMMITS_MAX || self.events > EVENTS_MAX)
            && let Some(oldest) = self.commits.pop_front()
        {
            self.events -= oldest.events.len();
            self.before = oldest.stamp.commit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(commit: u64, events: usize) -> Applied {
        let stamp = Stamp { commit, at: UtcMs(0) };
        let event = Event::PlagiarismReported { suspects: 0 };
        let events = vec![event; events].into();
        Applied {
            stamp,
            digest: Digest::default(),
            replies: Arc::new([]),
            events,
            ends: Arc::new([0]),
        }
    }

    fn view(commit: u64) -> View {
        View { stamp: Stamp { commit, at: UtcMs(0) }, ..View::default() }
    }

    fn commits(since: Since) -> Vec<u64> {
        match since {
            Since::Commits(commits) => commits.iter().map(|c| c.stamp.commit).collect(),
            Since::Gap { oldest } => panic!("a gap before {oldest}"),
        }
    }

    #[test]
    fn the_commits_after_any_kept_one_come_without_gap_or_repeat() {
        let views = Views::new(view(10));
        assert_eq!(commits(views.since(10, 9)), []);
        views.publish(view(12), vec![applied(11, 1), applied(12, 1)]);
        views.publish(view(13), vec![applied(13, 0)]);
        assert_eq!(commits(views.since(10, 9)), [11, 12, 13]);
        assert_eq!(commits(views.since(12, 9)), [13]);
        assert_eq!(commits(views.since(10, 2)), [11, 12]);
        assert_eq!(commits(views.since(13, 9)), []);
        // Who knows of later commits than this node has nothing to learn here yet.
        assert_eq!(commits(views.since(99, 9)), []);
        assert_eq!(views.since(9, 9), Since::Gap { oldest: 11 });
    }

    #[test]
    fn what_is_kept_is_bounded_in_commits_and_in_events_and_the_rest_is_a_gap() {
        let views = Views::new(view(0));
        let many = COMMITS_MAX as u64 + 5;
        views.publish(view(many), (1..=many).map(|commit| applied(commit, 1)).collect());
        assert_eq!(views.since(4, 1), Since::Gap { oldest: 6 });
        assert_eq!(commits(views.since(5, 1)), [6]);
        // One commit larger than the bound drives out all others and stays.
        views.publish(view(many + 1), vec![applied(many + 1, EVENTS_MAX + 1)]);
        assert_eq!(views.since(many - 1, 1), Since::Gap { oldest: many + 1 });
        assert_eq!(commits(views.since(many, 9)), [many + 1]);
    }

    #[test]
    fn the_commits_of_a_time_are_found_as_long_as_they_are_kept() {
        let views = Views::new(view(0));
        let at = |commit: u64, ms: i64| {
            let stamp = Stamp { commit, at: UtcMs(ms) };
            Applied { stamp, ..applied(commit, 1) }
        };
        views.publish(view(5), vec![at(1, 10), at(2, 10), at(3, 11), at(4, 13), at(5, 13)]);
        for (ms, expected) in
            [(9, vec![]), (10, vec![1, 2]), (11, vec![3]), (12, vec![]), (13, vec![4, 5])]
        {
            assert_eq!(commits(Since::Commits(views.at(UtcMs(ms)))), expected, "{ms} ms");
        }
        assert_eq!(commits(Since::Commits(views.at(UtcMs(14)))), []);
    }

    #[test]
    fn a_wait_that_begins_before_the_look_misses_nothing() {
        use event_listener::Listener as _;
        let views = Views::new(view(0));
        let before = views.changed();
        views.publish(view(1), vec![applied(1, 0)]);
        assert_eq!(views.latest().stamp.commit, 1);
        assert!(before.wait_timeout(std::time::Duration::ZERO).is_some(), "it was notified");
        let quiet = views.changed();
        assert!(quiet.wait_timeout(std::time::Duration::ZERO).is_none());
    }
}
