//! Telling others of new commits: few of them, those who seem not to have it, no faster than they listen.

use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::status::Certified;
use crate::sync::event::Action;
use crate::sync::source::Source;
use crate::sync::{CATCH_UP_GAP, SyncCore};

/// Whether a peer seems not to have the commit at `height`.
fn lacks(source: &Source, height: u64) -> bool {
    !source.shunned && source.claim.is_none_or(|claim| claim.height < height)
}

impl SyncCore {
    /// Tells of the newest commit, to those who seem not to have it; not while far behind.
    pub(crate) fn announce(&mut self, now: Moment, commit: Certified, actions: &mut Vec<Action>) {
        let height = commit.header.height;
        actions.push(Action::Announce(commit.clone()));
        if self.target.height().saturating_sub(height) > CATCH_UP_GAP {
            return;
        }
        let lacking = self.sources.iter().filter(|(_, source)| lacks(source, height));
        let chosen: Vec<NodeId> =
            lacking.take(self.config.push_peers).map(|(peer, _)| *peer).collect();
        for peer in &chosen {
            if let Some(source) = self.sources.get_mut(peer) {
                source.is_owed = true;
            }
        }
        if !chosen.is_empty() {
            self.owed = Some(commit);
            self.push_owed(now, actions);
        }
    }

    /// Pushes the newest commit to those who are to get it, as far as they listen by now. Who must
    /// wait gets the newest of then: of all commits of that time one push tells.
    pub(crate) fn push_owed(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(commit) = self.owed.take() else { return };
        let mut waits = false;
        for (peer, source) in self.sources.iter_mut().filter(|(_, source)| source.is_owed) {
            source.is_owed = lacks(source, commit.header.height);
            if source.is_owed && source.told_rate.take(now, 1) {
                source.is_owed = false;
                actions.push(Action::Push { peer: *peer, commit: commit.clone() });
            }
            waits |= source.is_owed;
        }
        self.owed = waits.then_some(commit);
    }
}
