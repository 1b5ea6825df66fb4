//! Pushes: who is told of the newest commit at once, and how often.
//!
//! A peer reads so many pushes a second and takes more for a flood. A sequencer may order many more
//! commits than that, so each peer is told at that rate of whatever is the newest by then; of those
//! between it learns with it, since a header proves all before it.

use crate::moment::Moment;
use crate::status::Certified;
use crate::sync::SyncCore;
use crate::sync::event::Action;

/// Behind by more than this a node pushes nothing.
const CATCH_UP_GAP: u64 = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Pushes {
    /// The commit that was told of last.
    newest: Option<Certified>,
    /// Some peer is still to be told of it.
    due: bool,
}

impl SyncCore {
    /// Tells of the newest commit, to those who seem not to have it; not while far behind.
    pub(crate) fn announce(&mut self, now: Moment, commit: Certified, actions: &mut Vec<Action>) {
        let height = commit.header.height;
        actions.push(Action::Announce(commit.clone()));
        if self.target.height().saturating_sub(height) > CATCH_UP_GAP {
            return;
        }
        let lacking = self.sources.iter_mut().filter(|(_, source)| source.lacks(height));
        for (peer, source) in lacking.take(self.config.push_peers) {
            if source.may_be_told(now) {
                actions.push(Action::Push { peer: *peer, commit: commit.clone() });
            } else {
                self.pushes.due = true;
            }
        }
        self.pushes.newest = Some(commit);
    }

    /// Tells of the newest commit those for whom one before came too soon.
    pub(crate) fn plan_pushes(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if !std::mem::take(&mut self.pushes.due) {
            return;
        }
        let Some(commit) = &self.pushes.newest else { return };
        for (peer, source) in self.sources.iter_mut().filter(|(_, source)| source.push_due) {
            if !source.lacks(commit.header.height) {
                source.push_due = false;
            } else if source.may_be_told(now) {
                actions.push(Action::Push { peer: *peer, commit: commit.clone() });
            } else {
                self.pushes.due = true;
            }
        }
    }
}
