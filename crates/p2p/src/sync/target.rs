//! The target: the highest header that a peer has shown with a valid certificate.
//!
//! A status is checked outside, one at a time for each peer, the newest replacing one that waits. A
//! number without a certificate is never a target, so a liar costs one check and is known (F3, B4).

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::Digest;

use crate::certificate::CertificateError;
use crate::header::Tip;
use crate::message::INLINE_BODY_BYTES_MAX;
use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::status::{Certified, SignedStatus, Status};
use crate::sync::event::{Action, Halt, JobId, Offence};
use crate::sync::source::{Claim, Pace};
use crate::sync::verify::Job;
use crate::sync::{SyncCore, Waiting};

/// Certified tips above VW that are remembered.
const PROVEN_MAX: usize = 64;

/// Certified tips above VW, by height.
#[derive(Debug, Default)]
pub(crate) struct Target {
    proven: BTreeMap<u64, (Tip, Certified)>,
    height: u64,
    /// The highest tip of an epoch whose committee is not known: claimed, not proven.
    epoch_ahead: u64,
    /// Manifests whose chunks gave another state than the certified one.
    pub(crate) refused: BTreeSet<Digest>,
}

impl Target {
    /// Remembers a manifest that is not to be tried again.
    pub(crate) fn refuse(&mut self, manifest: Digest, max: usize) {
        if self.refused.len() >= max {
            self.refused.clear();
        }
        self.refused.insert(manifest);
    }

    pub(crate) fn height(&self) -> u64 {
        self.height
    }

    pub(crate) fn epoch_ahead(&self) -> u64 {
        self.epoch_ahead
    }

    pub(crate) fn at(&self, height: u64) -> Option<&(Tip, Certified)> {
        self.proven.get(&height)
    }

    /// Forgets what is verified, up to `height`.
    pub(crate) fn verified_to(&mut self, height: u64, epoch_ended: bool) {
        self.proven = self.proven.split_off(&height.saturating_add(1));
        if epoch_ended || self.epoch_ahead <= height {
            self.epoch_ahead = 0;
        }
    }

    fn prove(&mut self, tip: Tip, commit: Certified) {
        self.height = self.height.max(tip.height);
        self.proven.insert(tip.height, (tip, commit));
        while self.proven.len() > PROVEN_MAX {
            self.proven.pop_first();
        }
    }
}

impl SyncCore {
    pub(crate) fn on_status(
        &mut self,
        now: Moment,
        peer: NodeId,
        status: SignedStatus,
        actions: &mut Vec<Action>,
    ) {
        let Some(source) = self.sources.get_mut(&peer).filter(|source| !source.shunned) else {
            return;
        };
        match source.status_rate.pace(now) {
            Pace::Allowed => source.next_status = Some(status),
            Pace::TooFast => self.limited.statuses += 1,
            Pace::Flood => {
                self.limited.statuses += 1;
                self.penalise(peer, Offence::Flood, actions);
            }
        }
        self.check_next(peer, actions);
    }

    pub(crate) fn on_push(
        &mut self,
        now: Moment,
        peer: NodeId,
        commit: Certified,
        body: Option<Vec<u8>>,
        actions: &mut Vec<Action>,
    ) {
        let Some(source) = self.sources.get_mut(&peer).filter(|source| !source.shunned) else {
            return;
        };
        match source.push_rate.pace(now) {
            Pace::Allowed => {}
            Pace::TooFast => {
                self.limited.pushes += 1;
                return;
            }
            Pace::Flood => {
                self.limited.pushes += 1;
                return self.penalise(peer, Offence::Flood, actions);
            }
        }
        if commit.header.height <= self.verified.height && !self.contradicts(&commit) {
            return;
        }
        if let Some(source) = self.sources.get_mut(&peer) {
            source.next_push = Some(commit.clone());
        }
        if let Some(body) = body.filter(|body| body.len() <= INLINE_BODY_BYTES_MAX) {
            self.bodies.offer(self.verified.height, commit.header.height, peer, body);
        }
        self.check_next(peer, actions);
    }

    /// Has the newest claim of a peer checked, unless one is under way.
    fn check_next(&mut self, peer: NodeId, actions: &mut Vec<Action>) {
        if !self.room_for_jobs() {
            return;
        }
        let trust = self.trust.clone();
        let Some(source) = self.sources.get_mut(&peer) else { return };
        if source.checking.is_some() || source.shunned {
            return;
        }
        let job = if let Some(status) = source.next_status.take() {
            let (binding, chain) = (source.binding, trust.chain);
            let tip = status.status.tip.clone();
            let news = tip.is_some_and(|tip| self.is_news(&tip));
            Job::Status { peer, chain, binding, status, trust: news.then_some(trust) }
        } else if let Some(commit) = source.next_push.take() {
            Job::Tip { trust, commit }
        } else {
            return;
        };
        let id = self.verify(Waiting::Claim(peer), job, actions);
        if let Some(source) = self.sources.get_mut(&peer) {
            source.checking = Some(id);
        }
    }

    /// Whether a tip must be checked: it is above VW and not proven yet, or it contradicts.
    fn is_news(&self, commit: &Certified) -> bool {
        let height = commit.header.height;
        if height <= self.verified.height {
            return self.contradicts(commit);
        }
        self.target.at(height).is_none_or(|(_, known)| known != commit)
    }

    /// Whether another header than this was verified at its height.
    fn contradicts(&self, commit: &Certified) -> bool {
        let ours = self.recent.get(&commit.header.height);
        ours.is_some_and(|ours| ours.digest != commit.header.digest(&self.trust.chain))
    }

    pub(crate) fn on_status_checked(
        &mut self,
        id: JobId,
        peer: NodeId,
        status: SignedStatus,
        signed: bool,
        tip: Result<(), CertificateError>,
        actions: &mut Vec<Action>,
    ) {
        let status = status.status;
        if !self.checked(id, peer) {
            return;
        }
        if !signed {
            return self.penalise(peer, Offence::BadStatus, actions);
        }
        let Some(source) = self.sources.get_mut(&peer) else { return };
        if status.sequence <= source.sequence {
            return self.check_next(peer, actions);
        }
        source.sequence = status.sequence;
        let believed = match &status.tip {
            Some(commit) => self.on_tip_checked(peer, commit.clone(), tip, actions),
            None => true,
        };
        if believed {
            self.note_claim(peer, &status);
        }
        self.check_next(peer, actions);
    }

    fn note_claim(&mut self, peer: NodeId, status: &Status) {
        if let Some(source) = self.sources.get_mut(&peer) {
            // It may have been written before what the peer has shown since.
            let shown = source.claim.map_or(0, |claim| claim.height);
            source.claim = Some(Claim {
                height: status.height().max(shown),
                lowest_body: status.lowest_body,
                lowest_header: status.lowest_header,
                snapshot: status.latest_snapshot,
            });
        }
    }

    pub(crate) fn on_push_checked(
        &mut self,
        id: JobId,
        peer: NodeId,
        commit: Certified,
        tip: Result<(), CertificateError>,
        actions: &mut Vec<Action>,
    ) {
        if !self.checked(id, peer) {
            return;
        }
        let height = commit.header.height;
        if self.on_tip_checked(peer, commit.clone(), tip, actions)
            && let Some(source) = self.sources.get_mut(&peer)
        {
            // Of a peer that has not said what it has, no more is known than this commit.
            let this = Claim { height, lowest_body: height, lowest_header: height, snapshot: 0 };
            let claim = source.claim.get_or_insert(this);
            claim.height = claim.height.max(height);
            self.pushed_range(peer, commit);
        }
        self.check_next(peer, actions);
    }

    /// Whether the check of a claim is the one that this peer, on this connection, waits for.
    fn checked(&mut self, id: JobId, peer: NodeId) -> bool {
        let Some(source) = self.sources.get_mut(&peer) else { return false };
        let awaited = source.checking == Some(id);
        if awaited {
            source.checking = None;
        }
        awaited
    }

    /// Takes note of what a tip proved. Returns whether the peer may be believed about itself.
    fn on_tip_checked(
        &mut self,
        peer: NodeId,
        commit: Certified,
        tip: Result<(), CertificateError>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let height = commit.header.height;
        match tip {
            // An epoch that ended while the check was under way: it vouches for nothing above its end.
            Ok(()) if self.is_outdated(&commit) => true,
            Ok(()) => {
                let tip = commit.header.tip(&self.trust.chain);
                let ours = self.recent.get(&height).copied();
                let proven = self.target.at(height).map(|(tip, _)| *tip);
                match ours.or(proven).filter(|ours| ours.digest != tip.digest) {
                    // Both are certified, or it would not be Ok: a fork (V1).
                    Some(ours) if self.was_checked(height, &commit) => {
                        self.halt(Halt::Fork { ours, theirs: commit }, actions);
                        false
                    }
                    Some(_) | None => {
                        if height > self.verified.height {
                            self.target.prove(tip, commit);
                        }
                        true
                    }
                }
            }
            // Not to be told from the truth here: the end of our epoch must come first.
            Err(CertificateError::EpochAhead { .. } | CertificateError::Reserved(_)) => {
                self.target.epoch_ahead = self.target.epoch_ahead.max(height);
                true
            }
            // Old news of an honest peer that is behind; nobody was harmed.
            Err(CertificateError::EpochOver { .. }) if height <= self.verified.height => true,
            Err(_) => {
                self.penalise(peer, Offence::BadStatus, actions);
                false
            }
        }
    }

    fn is_outdated(&self, commit: &Certified) -> bool {
        commit.header.height > self.verified.height
            && commit.certificate.epoch != self.trust.committee.epoch()
    }

    /// Whether the certificate of a tip that contradicts was checked against the trust of today. A
    /// tip that was not news when its check began has none, and is asked about again.
    fn was_checked(&self, height: u64, commit: &Certified) -> bool {
        let header = Tip { height, ..commit.header.tip(&self.trust.chain) };
        commit.certificate.check(&self.trust, &header).is_ok()
    }

    /// Keeps a proven fork from slipping through: compares a verified header with a proven tip.
    pub(crate) fn forks(&self, tip: &Tip) -> Option<Certified> {
        let (proven, commit) = self.target.at(tip.height)?;
        (proven.digest != tip.digest).then(|| commit.clone())
    }
}
