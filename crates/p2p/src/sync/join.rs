//! Joining by a snapshot: manifest, chunks, installation; each proven before it counts.
//!
//! A manifest is believed when the committee vouches for its bytes, and a certified header names the
//! state that they must give. If all chunks are as it says and the state is another, the committee
//! itself was wrong, or this node is: the manifest is put aside, an alarm is raised and another is
//! tried; nothing is applied, and nobody is banned on such ground.

use std::collections::{BTreeMap, BTreeSet};

use proctor_types::Digest;

use crate::codec::Canonical;
use crate::message::Request;
use crate::moment::Moment;
use crate::node_id::NodeId;
use crate::snapshot::{CHUNK_BYTES, CHUNKS_MAX, Manifest, ManifestError};
use crate::sync::event::{Action, Ending, Offence, RequestId, StoreFailed, StoreJob, Stored};
use crate::sync::requests::Purpose;
use crate::sync::verify::Job;
use crate::sync::{SyncCore, Waiting};

/// Peers that are asked for a manifest at once.
const ASKED_MAX: usize = 4;
/// Manifests that gave another state than the certified one and are not tried again.
const REFUSED_MAX: usize = 16;
/// How long after a failed attempt the next may begin, in milliseconds.
const RETRY_MS: u64 = 10_000;
/// The same when it failed for want of peers that offer one, in milliseconds.
const PAUSE_MS: u64 = 1_000;

#[derive(Debug)]
struct Chosen {
    manifest: Manifest,
    digest: Digest,
    /// Who offers it.
    offered_by: BTreeSet<NodeId>,
    begun: bool,
    installing: bool,
    /// Chunks that are fetched, checked or staged now.
    under_way: BTreeSet<u32>,
    staged: BTreeSet<u32>,
}

/// A snapshot in the making.
#[derive(Debug, Default)]
pub(crate) struct Join {
    asked: BTreeMap<RequestId, NodeId>,
    /// Peers that have answered, or failed to.
    done: BTreeSet<NodeId>,
    checking: usize,
    chosen: Option<Chosen>,
    refused: BTreeSet<Digest>,
    /// The attempt is over; after so many milliseconds there may be another.
    over: Option<u64>,
}

impl Join {
    pub(crate) fn progress(&self) -> (usize, usize) {
        let chosen = self.chosen.as_ref();
        chosen.map_or((0, 0), |chosen| (chosen.staged.len(), chosen.manifest.contents.chunks.len()))
    }

    /// A peer did not deliver: it is not asked again for this snapshot.
    pub(crate) fn failed(&mut self, peer: NodeId) {
        self.done.insert(peer);
        if let Some(chosen) = &mut self.chosen {
            chosen.offered_by.remove(&peer);
        }
    }
}

impl SyncCore {
    pub(crate) fn plan_join(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.join.is_none() && self.wants_snapshot(now) {
            let refused = self.refused_manifests();
            self.join = Some(Join { refused, ..Join::default() });
            self.abandon_fetches(now, actions);
        }
        let Some(join) = &self.join else { return };
        if let Some(retry_ms) = join.over {
            return self.leave_join(now, retry_ms, actions);
        }
        // Others may offer the same snapshot, or a better one if this is none.
        self.ask_for_manifests(now, actions);
        let Some(join) = &self.join else { return };
        match &join.chosen {
            None => {}
            Some(chosen) if chosen.installing || !chosen.begun => {}
            Some(chosen) if chosen.staged.len() == chosen.manifest.contents.chunks.len() => {
                self.install(actions);
            }
            Some(_) => self.ask_for_chunks(now, actions),
        }
    }

    fn refused_manifests(&self) -> BTreeSet<Digest> {
        self.target.refused.clone()
    }

    /// A snapshot is worth it when far behind, and the only way when nobody has the next body.
    fn wants_snapshot(&self, now: Moment) -> bool {
        let gap = self.target.height().saturating_sub(self.stored);
        let next = self.stored.saturating_add(1);
        let usable = || self.sources.iter().filter(|(_, s)| !s.shunned && s.claim.is_some());
        let offered = usable().any(|(_, source)| source.has_snapshot(self.stored));
        let storing = self.jobs.values().any(|waiting| matches!(waiting, Waiting::Commits(_)));
        let pruned = gap > 0 && usable().all(|(_, source)| !source.has_body(next));
        self.config.joins
            && (self.config.drops_history || self.stored == 0)
            && now >= self.join_after
            && offered
            && !storing
            && (pruned || gap > self.config.snapshot_gap)
    }

    /// Drops what was fetched the slow way.
    fn abandon_fetches(&mut self, now: Moment, actions: &mut Vec<Action>) {
        for id in self.requests.all() {
            self.end_request(now, id, Ending::Cancelled, actions);
        }
        self.window.clear();
    }

    fn ask_for_manifests(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let stored = self.stored;
        loop {
            let draw = self.draw();
            let Some(join) = &self.join else { return };
            let mut tried = join.done.clone();
            tried.extend(join.asked.values());
            if join.asked.len() >= ASKED_MAX {
                return;
            }
            let has = |source: &super::source::Source| source.has_snapshot(stored);
            let Some(peer) = self.sources.pick(now, draw, &tried, has) else {
                let waiting = self
                    .sources
                    .iter()
                    .any(|(peer, source)| !source.shunned && !tried.contains(peer) && has(source));
                let idle = join.asked.is_empty() && join.checking == 0 && !waiting;
                if idle && join.chosen.is_none() {
                    self.give_up_join(PAUSE_MS);
                }
                return;
            };
            let ask = (Request::GetSnapshot(u64::MAX), Purpose::Manifest);
            let Some(id) = self.ask(now, peer, ask, (CHUNKS_MAX * 32) as u64, actions) else {
                return;
            };
            if let Some(join) = &mut self.join {
                join.asked.insert(id, peer);
            }
        }
    }

    pub(crate) fn on_manifest_ended(&mut self, id: RequestId) {
        if let Some(join) = &mut self.join
            && let Some(peer) = join.asked.remove(&id)
        {
            join.done.insert(peer);
        }
    }

    pub(crate) fn on_manifest(
        &mut self,
        peer: NodeId,
        manifest: Manifest,
        actions: &mut Vec<Action>,
    ) {
        let Some(join) = &mut self.join else { return };
        join.checking += 1;
        let trust = self.trust.clone();
        self.verify(Waiting::Manifest(peer), Job::Manifest { trust, manifest }, actions);
    }

    pub(crate) fn on_manifest_checked(
        &mut self,
        _now: Moment,
        peer: NodeId,
        manifest: Manifest,
        proven: Result<(), ManifestError>,
        actions: &mut Vec<Action>,
    ) {
        let stored = self.stored;
        let Some(join) = &mut self.join else { return };
        join.checking = join.checking.saturating_sub(1);
        match proven {
            Ok(()) => {}
            Err(error) if error.may_be_right() => return,
            Err(_) => return self.penalise(peer, Offence::BadManifest, actions),
        }
        let digest = Digest::of(&manifest.encode());
        if manifest.height <= stored || join.refused.contains(&digest) {
            return;
        }
        if let Some(chosen) = &mut join.chosen {
            if chosen.digest == digest {
                chosen.offered_by.insert(peer);
            }
            return;
        }
        join.chosen = Some(Chosen {
            manifest: manifest.clone(),
            digest,
            offered_by: BTreeSet::from([peer]),
            begun: false,
            installing: false,
            under_way: BTreeSet::new(),
            staged: BTreeSet::new(),
        });
        let id = self.job(Waiting::Begin);
        actions.push(Action::Store(id, StoreJob::Begin(manifest)));
    }

    fn ask_for_chunks(&mut self, now: Moment, actions: &mut Vec<Action>) {
        loop {
            let draw = self.draw();
            let Some(join) = &self.join else { return };
            let Some(chosen) = &join.chosen else { return };
            if chosen.offered_by.is_empty() {
                // Perhaps somebody who was asked for a manifest offers the same.
                let none = join.asked.is_empty() && join.checking == 0;
                if none && chosen.under_way.is_empty() {
                    self.give_up_join(PAUSE_MS);
                }
                return;
            }
            let count = u32::try_from(chosen.manifest.contents.chunks.len()).unwrap_or(0);
            let free =
                |index: &u32| !chosen.under_way.contains(index) && !chosen.staged.contains(index);
            let Some(index) = (0..count).find(free) else { return };
            if chosen.under_way.len() >= self.config.chunks.max(1) {
                return;
            }
            let (height, len) = (chosen.manifest.height, chosen.manifest.contents.chunk_len(index));
            let others: BTreeSet<NodeId> = (self.sources.iter().map(|(peer, _)| *peer))
                .filter(|peer| !chosen.offered_by.contains(peer))
                .collect();
            let Some(peer) = self.sources.pick(now, draw, &others, |_| true) else {
                let offered_by = chosen.offered_by.clone();
                let usable = |peer: &NodeId| self.sources.get(peer).is_some_and(|s| !s.shunned);
                let gone = offered_by.into_iter().filter(|peer| !usable(peer)).collect::<Vec<_>>();
                if let Some(join) = &mut self.join {
                    gone.into_iter().for_each(|peer| join.failed(peer));
                }
                return;
            };
            let len = len.unwrap_or(0);
            let purpose = Purpose::Chunk { index, len, bytes: Vec::new() };
            let ask = (Request::GetChunk { height, index }, purpose);
            if self.ask(now, peer, ask, u64::from(CHUNK_BYTES), actions).is_none() {
                return;
            }
            if let Some(chosen) = self.chosen_mut() {
                chosen.under_way.insert(index);
            }
        }
    }

    fn chosen_mut(&mut self) -> Option<&mut Chosen> {
        self.join.as_mut()?.chosen.as_mut()
    }

    pub(crate) fn on_chunk_ended(
        &mut self,
        peer: NodeId,
        index: u32,
        len: u32,
        bytes: Vec<u8>,
        actions: &mut Vec<Action>,
    ) {
        let Some(chosen) = self.chosen_mut() else { return };
        let slot = usize::try_from(index).ok();
        let digest = slot.and_then(|index| chosen.manifest.contents.chunks.get(index)).copied();
        match digest.filter(|_| bytes.len() as u64 == u64::from(len)) {
            Some(digest) => {
                let job = Job::Chunk { index, digest, bytes };
                self.verify(Waiting::Chunk(peer, index), job, actions);
            }
            None => {
                chosen.under_way.remove(&index);
            }
        }
    }

    pub(crate) fn on_chunk_checked(
        &mut self,
        now: Moment,
        peer: NodeId,
        index: u32,
        bytes: Option<Vec<u8>>,
        actions: &mut Vec<Action>,
    ) {
        let Some(chosen) = self.chosen_mut() else { return };
        let Some(bytes) = bytes else {
            chosen.under_way.remove(&index);
            if let Some(join) = &mut self.join {
                join.failed(peer);
            }
            return self.penalise(peer, Offence::BadChunk, actions);
        };
        self.progress = now;
        actions.push(Action::Credit { peer, bytes: bytes.len() as u64 });
        let id = self.job(Waiting::Staging(index));
        actions.push(Action::Store(id, StoreJob::Chunk { index, bytes }));
    }

    fn install(&mut self, actions: &mut Vec<Action>) {
        let Some(chosen) = self.chosen_mut() else { return };
        chosen.installing = true;
        let manifest = chosen.manifest.clone();
        let id = self.job(Waiting::Install);
        actions.push(Action::Store(id, StoreJob::Install(manifest)));
    }

    /// A store job of a snapshot is done.
    pub(crate) fn on_staged(
        &mut self,
        now: Moment,
        waiting: Waiting,
        result: Result<Stored, StoreFailed>,
        actions: &mut Vec<Action>,
    ) {
        let Some(chosen) = self.chosen_mut() else { return };
        match (waiting, result) {
            (Waiting::Begin, Ok(Stored::Begun(staged))) => {
                let count = chosen.manifest.contents.chunks.len() as u64;
                chosen.staged = staged.into_iter().filter(|one| u64::from(*one) < count).collect();
                chosen.begun = true;
            }
            (Waiting::Staging(index), Ok(_)) => {
                chosen.under_way.remove(&index);
                chosen.staged.insert(index);
            }
            (Waiting::Install, Ok(_)) => self.joined(now, actions),
            (Waiting::Install, Err(StoreFailed::WrongState)) => {
                actions.push(Action::Alarm(chosen.manifest.clone()));
                self.put_aside();
            }
            (Waiting::Begin, Err(StoreFailed::OtherFormat)) => self.put_aside(),
            (_, _) => self.give_up_join(RETRY_MS),
        }
    }

    /// The chosen snapshot cannot be used, and no other of those who offer it is taken.
    fn put_aside(&mut self) {
        let Some(chosen) = self.chosen_mut() else { return };
        let (digest, offered_by) = (chosen.digest, std::mem::take(&mut chosen.offered_by));
        for peer in offered_by {
            if let Some(source) = self.sources.get_mut(&peer) {
                source.false_snapshot = true;
            }
        }
        self.target.refuse(digest, REFUSED_MAX);
        self.give_up_join(0);
    }

    fn joined(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(manifest) = self.chosen_mut().map(|chosen| chosen.manifest.clone()) else {
            return;
        };
        self.join = None;
        let base = manifest.base();
        for id in self.requests.all() {
            self.end_request(now, id, Ending::Cancelled, actions);
        }
        // What is still under way was computed for another place of the chain.
        self.jobs.clear();
        self.sources.forget_checks();
        self.generation = self.generation.saturating_add(1);
        self.verified = base;
        self.stored = base.height;
        self.applied = base.height;
        self.applied_state = None;
        self.ahead.clear();
        self.certificates.clear();
        self.recent.clear();
        self.states.clear();
        self.bodies.clear();
        self.window.clear();
        self.attest = None;
        self.remember(base);
        self.progress = now;
        actions.push(Action::Joined(base));
    }

    fn give_up_join(&mut self, retry_ms: u64) {
        if let Some(join) = &mut self.join {
            join.over = Some(retry_ms);
        }
    }

    /// Ends an attempt: nothing was applied, and what is staged may serve the next.
    fn leave_join(&mut self, now: Moment, retry_ms: u64, actions: &mut Vec<Action>) {
        self.join = None;
        self.join_after = now.after(retry_ms);
        for id in self.requests.all() {
            self.end_request(now, id, Ending::Cancelled, actions);
        }
    }
}
