//! Comparing this node's own snapshot with what the committee vouches for, before it is shown to anybody.
//!
//! A node that replayed holds the same state as every other, in the same bytes. So it asks a peer
//! for the manifest of the height of its own snapshot, and once that is proven the store compares:
//! equal ones can be served from then on; a different one never is, and raises an alarm.

use std::collections::BTreeSet;

use crate::message::Request;
use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::snapshot::{CHUNKS_MAX, Manifest, ManifestError};
use crate::sync::event::{Action, Offence, StoreFailed, StoreJob, Stored};
use crate::sync::requests::Purpose;
use crate::sync::verify::Job;
use crate::sync::{SyncCore, Waiting};

/// How long after nobody could tell everybody is asked again, in milliseconds: as often as peers say
/// what they have.
const RETRY_MS: u64 = 5_000;

/// A snapshot of this node that nobody has vouched for so far.
#[derive(Debug)]
pub(crate) struct Attest {
    height: u64,
    /// Who was asked since all were.
    tried: BTreeSet<NodeId>,
    /// A request, check or comparison is under way.
    busy: bool,
    after: Moment,
}

impl SyncCore {
    pub(crate) fn on_kept(&mut self, now: Moment, height: u64) {
        if self.attest.as_ref().is_none_or(|attest| attest.height != height) {
            self.attest = Some(Attest { height, tried: BTreeSet::new(), busy: false, after: now });
        }
    }

    pub(crate) fn plan_attest(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let draw = self.draw();
        let Some(attest) = self.attest.as_mut().filter(|own| !own.busy && own.after <= now) else {
            return;
        };
        let height = attest.height;
        let has = |source: &super::source::Source| source.has_snapshot(height.saturating_sub(1));
        let Some(peer) = self.sources.pick(now, draw, &attest.tried, has) else {
            attest.tried.clear();
            attest.after = now.after(RETRY_MS);
            return;
        };
        attest.tried.insert(peer);
        attest.busy = true;
        let ask = (Request::GetSnapshot(height), Purpose::Attest);
        if self.ask(now, peer, ask, (CHUNKS_MAX * 32) as u64, actions).is_none() {
            self.attest_again();
        }
    }

    /// What was under way gave nothing: the next is asked.
    pub(crate) fn attest_again(&mut self) {
        if let Some(attest) = &mut self.attest {
            attest.busy = false;
        }
    }

    pub(crate) fn on_attest_manifest(
        &mut self,
        peer: NodeId,
        manifest: Manifest,
        actions: &mut Vec<Action>,
    ) {
        // Another height is an honest answer: the newest at or below.
        let Some(attest) = &mut self.attest else { return };
        if attest.height == manifest.height {
            attest.busy = true;
            let trust = self.trust.clone();
            self.verify(Waiting::Attest(peer), Job::Manifest { trust, manifest }, actions);
        }
    }

    pub(crate) fn on_attest_checked(
        &mut self,
        peer: NodeId,
        manifest: Manifest,
        proven: Result<(), ManifestError>,
        actions: &mut Vec<Action>,
    ) {
        match proven {
            Ok(()) if self.attest.as_ref().is_some_and(|own| own.height == manifest.height) => {
                let id = self.job(Waiting::Attesting);
                actions.push(Action::Store(id, StoreJob::Attest(manifest)));
            }
            Ok(()) => {}
            Err(error) => {
                self.attest_again();
                if !error.may_be_right() {
                    self.penalise(peer, Offence::BadManifest, actions);
                }
            }
        }
    }

    /// The store has compared, or could not.
    pub(crate) fn on_attested(
        &mut self,
        now: Moment,
        result: Result<Stored, StoreFailed>,
        actions: &mut Vec<Action>,
    ) {
        match result {
            Ok(_) => self.attest = None,
            Err(StoreFailed::Differs(manifest)) => {
                self.attest = None;
                actions.push(Action::Alarm(*manifest));
            }
            Err(_) => {
                self.attest_again();
                if let Some(attest) = &mut self.attest {
                    attest.after = now.after(RETRY_MS);
                }
            }
        }
    }
}
