//! An honest node: the cores, a disk that survives a crash, an engine that folds bodies.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_zebra::SigningKey;
use proctor_p2p::server::{Available, Loaded, Read};
use proctor_p2p::snapshot::CHUNK_BYTES;
use proctor_p2p::status::Status;
use proctor_p2p::sync::{Config, Halt, Offence, Reason, StoreFailed, StoreJob, Stored};
use proctor_p2p::{
    Canonical, Certificate, Certified, Header, Manifest, Moment, NodeId, Server, SignedStatus,
    SyncCore, Tip,
};
use proctor_types::Digest;

use crate::liar::snapshot_height;
use crate::truth::{CHAIN, Truth, fold, sign};

/// What survives a crash.
pub(crate) struct Disk {
    pub(crate) base: Tip,
    pub(crate) base_state: Digest,
    pub(crate) commits: Vec<(Header, Vec<u8>)>,
    certificates: BTreeMap<u64, Certificate>,
    staged: BTreeMap<u32, Vec<u8>>,
    staged_for: Option<Digest>,
    /// Bodies below are deleted.
    pub(crate) pruned_below: u64,
    /// No room for snapshots.
    pub(crate) full: bool,
    /// Every write fails.
    pub(crate) broken: bool,
    /// Makes no snapshots.
    pub(crate) without_snapshots: bool,
    /// The newest own snapshot that is known to be the one that the sequencer vouches for.
    attested: u64,
    /// Own snapshots have other bytes than everybody's.
    pub(crate) own_differs: bool,
    /// The last of them that was found out.
    differing: u64,
}

impl Disk {
    fn new(truth: &Truth) -> Self {
        Self {
            base: Tip::GENESIS,
            base_state: truth.state(0),
            commits: Vec::new(),
            certificates: BTreeMap::new(),
            staged: BTreeMap::new(),
            staged_for: None,
            pruned_below: 0,
            full: false,
            broken: false,
            without_snapshots: false,
            attested: 0,
            own_differs: false,
            differing: 0,
        }
    }

    pub(crate) fn tip(&self) -> Tip {
        self.commits.last().map_or(self.base, |(header, _)| header.tip(&CHAIN))
    }

    pub(crate) fn commit(&self, height: u64) -> Option<&(Header, Vec<u8>)> {
        let above = height.checked_sub(self.base.height + 1)?;
        self.commits.get(usize::try_from(above).unwrap())
    }

    pub(crate) fn certified(&self) -> Option<Certified> {
        let (height, certificate) = self.certificates.last_key_value()?;
        let header = self.commit(*height)?.0.clone();
        Some(Certified { header, certificate: certificate.clone() })
    }

    fn lowest(&self) -> u64 {
        self.pruned_below.max(self.base.height + 1)
    }

    /// Does a store job, all of it.
    fn write(&mut self, job: StoreJob, truth: &Truth) -> Result<Stored, StoreFailed> {
        if self.broken {
            return Err(StoreFailed::Disk);
        }
        match job {
            StoreJob::Commits { commits, certificates } => {
                for (header, body) in commits {
                    // V1, V3, V4: what is stored is the one true chain.
                    assert_eq!(header, *truth.header(header.height), "V1");
                    assert_eq!(header.follows(&self.tip()), Ok(()), "V3");
                    assert_eq!(Digest::of(&body), header.facts.body, "V4");
                    self.commits.push((header, body));
                }
                let ends = certificates.into_iter().map(|one| (one.height, one));
                self.certificates.extend(ends);
                Ok(Stored::Done)
            }
            StoreJob::Begin(manifest) => {
                if self.full {
                    return Err(StoreFailed::NoRoom);
                }
                let digest = Digest::of(&manifest.encode());
                if self.staged_for != Some(digest) {
                    self.staged.clear();
                    self.staged_for = Some(digest);
                }
                Ok(Stored::Begun(self.staged.keys().copied().collect()))
            }
            StoreJob::Chunk { index, bytes } => {
                self.staged.insert(index, bytes);
                Ok(Stored::Done)
            }
            StoreJob::Install(manifest) => self.install(&manifest),
            StoreJob::Attest(manifest) => {
                if self.own_differs {
                    self.differing = manifest.height;
                    return Err(StoreFailed::Differs(Box::new(manifest)));
                }
                self.attested = manifest.height;
                Ok(Stored::Done)
            }
        }
    }

    fn install(&mut self, manifest: &Manifest) -> Result<Stored, StoreFailed> {
        let bytes: Vec<u8> = self.staged.values().flatten().copied().collect();
        self.staged.clear();
        self.staged_for = None;
        let fill = bytes.get(32..).unwrap_or_default();
        let whole = fill.iter().all(|byte| *byte == manifest.height as u8);
        if bytes.get(..32) != Some(&manifest.state().0[..]) || !whole {
            return Err(StoreFailed::WrongState);
        }
        self.attested = manifest.height;
        self.base = manifest.base();
        self.base_state = manifest.state();
        self.commits.clear();
        self.certificates.clear();
        Ok(Stored::Done)
    }
}

/// An honest node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) key: SigningKey,
    pub(crate) disk: Disk,
    pub(crate) core: SyncCore,
    pub(crate) server: Server,
    /// Rises with every restart; what was under way before belongs to another life.
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) applied: (u64, Digest),
    pub(crate) config: Config,
    sequence: u64,
    pub(crate) trust: BTreeMap<NodeId, i64>,
    pub(crate) offences: Vec<(NodeId, Offence)>,
    pub(crate) banned: BTreeSet<NodeId>,
    pub(crate) halted: Option<Halt>,
    pub(crate) alarms: usize,
    pub(crate) joins: usize,
    pub(crate) reasons: BTreeSet<Reason>,
    pub(crate) verifies: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
    pub(crate) acknowledged: u64,
    /// How far its clock is ahead of the others'.
    pub(crate) clock_ahead_ms: u64,
}

impl Node {
    pub(crate) fn new(key: SigningKey, config: Config, truth: &Truth) -> Self {
        let disk = Disk::new(truth);
        let applied = (0, disk.base_state);
        let core = SyncCore::new(config, truth.trust(), disk.tip(), 0, Moment(0));
        Self {
            id: crate::truth::node_id(&key),
            key,
            disk,
            core,
            server: Server::default(),
            life: 0,
            up: true,
            applied,
            config,
            sequence: 0,
            trust: BTreeMap::new(),
            offences: Vec::new(),
            banned: BTreeSet::new(),
            halted: None,
            alarms: 0,
            joins: 0,
            reasons: BTreeSet::new(),
            verifies: BTreeMap::new(),
            requests: 0,
            acknowledged: 0,
            clock_ahead_ms: 0,
        }
    }

    /// Gives the node the chain up to `height`, as if it had followed it.
    pub(crate) fn fill(&mut self, truth: &mut Truth, height: u64) {
        let from = self.disk.tip().height + 1;
        for at in from..=height {
            self.disk.commits.push((truth.header(at).clone(), truth.body(at).clone()));
            if at % 256 == 0 || at == height {
                self.disk.certificates.insert(at, truth.certificate(at));
            }
        }
        self.disk.attested = snapshot_height(height);
        self.applied = (height, truth.state(height));
        self.acknowledged = height;
    }

    /// Starts the cores from what the disk holds.
    pub(crate) fn start(&mut self, now: Moment, truth: &Truth) {
        self.life += 1;
        self.up = true;
        self.config.generation = self.life << 32;
        let tip = self.disk.tip();
        assert!(tip.height >= self.acknowledged, "V2: what was acknowledged survives");
        // The engine folds the log again.
        let mut state = self.disk.base_state;
        for (_, body) in &self.disk.commits {
            state = fold(&state, body);
        }
        self.applied = (tip.height, state);
        assert_eq!(state, truth.state(tip.height), "V5 after a restart");
        self.core = SyncCore::new(self.config, truth.trust(), tip, tip.height, now);
        self.server = Server::default();
    }

    pub(crate) fn available(&self) -> Available {
        let tip = self.disk.certified().map_or(0, |tip| tip.header.height);
        let latest_snapshot =
            if self.disk.without_snapshots { 0 } else { self.disk.attested.min(tip) };
        let lowest_body = self.disk.lowest();
        Available { tip, lowest_body, lowest_header: self.disk.base.height + 1, latest_snapshot }
    }

    pub(crate) fn status(&mut self, binding: &Digest) -> SignedStatus {
        self.sequence += 1;
        let available = self.available();
        let status = Status {
            tip: self.disk.certified(),
            lowest_body: available.lowest_body,
            lowest_header: available.lowest_header,
            latest_snapshot: available.latest_snapshot,
            sequence: self.sequence,
            load_permille: 0,
        };
        let signature = sign(&self.key, &status.signed_bytes(&CHAIN, binding));
        SignedStatus { status, signature }
    }

    /// A snapshot of its own that is not known to be the one that is vouched for.
    pub(crate) fn kept(&self) -> Option<u64> {
        let height = snapshot_height(self.applied.0);
        let known = self.disk.attested.max(self.disk.differing);
        (height > known && !self.disk.without_snapshots).then_some(height)
    }

    pub(crate) fn store(&mut self, job: StoreJob, truth: &Truth) -> Result<Stored, StoreFailed> {
        self.disk.write(job, truth)
    }

    /// Applies a commit that is durable.
    pub(crate) fn apply(&mut self, height: u64, truth: &Truth) -> Option<(u64, Digest)> {
        if height != self.applied.0 + 1 {
            return None;
        }
        let (_, body) = self.disk.commit(height)?;
        let state = fold(&self.applied.1, body);
        assert_eq!(state, truth.state(height), "V5");
        self.applied = (height, state);
        Some(self.applied)
    }

    pub(crate) fn load(&self, read: Read, truth: &mut Truth) -> Loaded {
        match read {
            Read::Headers { from, to } => {
                let end = self.disk.certificates.range(from..=to).next_back();
                let Some((end, certificate)) = end else { return Loaded::Missing };
                let headers: Option<Vec<Header>> =
                    (from..=*end).map(|at| Some(self.disk.commit(at)?.0.clone())).collect();
                headers.map_or(Loaded::Missing, |all| Loaded::Headers(all, certificate.clone()))
            }
            Read::Bodies { bodies, bytes_max } => {
                let mut bytes = 0;
                let mut loaded = Vec::new();
                for body in bodies {
                    let found = self.disk.commit(body.height).filter(|(header, _)| {
                        header.facts.body == body.digest && body.height >= self.disk.lowest()
                    });
                    let found = found.map(|(_, body)| body.clone());
                    bytes += found.as_ref().map_or(0, |body| body.len() as u64);
                    loaded.push(found);
                    if bytes >= bytes_max {
                        break;
                    }
                }
                Loaded::Bodies(loaded)
            }
            Read::Commit(_) => Loaded::Missing,
            Read::Manifest(at_most) => {
                // Two snapshots are kept.
                let newest = self.available().latest_snapshot;
                let height = newest.min(at_most / 64 * 64);
                if height == 0 || height + 64 < newest {
                    return Loaded::Missing;
                }
                Loaded::Manifest(truth.manifest(height))
            }
            Read::Chunk { height, index } => {
                // Two snapshots are kept; an older one is gone.
                if height + 128 < self.available().latest_snapshot || height > truth.height() {
                    return Loaded::Missing;
                }
                let bytes = truth.snapshot(height);
                let chunk = bytes.chunks(CHUNK_BYTES as usize).nth(index as usize);
                chunk.map_or(Loaded::Missing, |chunk| Loaded::Chunk(chunk.to_vec()))
            }
        }
    }
}
