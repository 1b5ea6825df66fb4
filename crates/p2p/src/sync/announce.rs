//! Announcing: who is told of the newest commit by a push, and how often.
//!
//! A push only saves the wait for the next status, so the newest counts and none must arrive. Whoever
//! orders hundreds of commits a second tells of some of them; the last one is told with the next tick.

use super::{Action, CATCH_UP_GAP, SyncCore};
use crate::moment::{Bucket, Moment};
use crate::status::Certified;

/// Pushes to one peer in a second: as many as it takes.
pub(crate) const PUSHES_PER_SECOND: u64 = 20;
/// Pushes at once after a pause: half of what the peer takes, since the network may bunch them.
const BURST: u64 = 20;

/// The pushes to one peer.
#[derive(Debug)]
pub(crate) struct Pushing {
    pace: Bucket,
    /// The highest commit it was told of by one.
    height: u64,
}

impl Pushing {
    pub(crate) fn new(now: Moment) -> Self {
        Self { pace: Bucket::new(PUSHES_PER_SECOND, BURST, now), height: 0 }
    }
}

impl SyncCore {
    /// Tells of the newest commit, to those who seem not to have it; not while far behind.
    pub(super) fn announce(&mut self, now: Moment, commit: Certified, actions: &mut Vec<Action>) {
        let height = commit.header.height;
        actions.push(Action::Announce(commit.clone()));
        if self.target.height().saturating_sub(height) > CATCH_UP_GAP {
            return;
        }
        self.push(now, commit, actions);
    }

    /// Tells those who could not be told so soon after the push before.
    pub(super) fn push_what_waits(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if let Some(commit) = self.unpushed.take() {
            self.push(now, commit, actions);
        }
    }

    fn push(&mut self, now: Moment, commit: Certified, actions: &mut Vec<Action>) {
        let height = commit.header.height;
        let lacking = self.sources.iter_mut().filter(|(_, source)| {
            !source.shunned && source.claim.is_none_or(|claim| claim.height < height)
        });
        let mut waits = false;
        for (peer, source) in lacking.take(self.config.push_peers) {
            let pushing = &mut source.pushing;
            if pushing.height >= height {
                continue;
            }
            if pushing.pace.take(now, 1) {
                pushing.height = height;
                actions.push(Action::Push { peer: *peer, commit: commit.clone() });
            } else {
                waits = true;
            }
        }
        self.unpushed = waits.then_some(commit);
    }
}
