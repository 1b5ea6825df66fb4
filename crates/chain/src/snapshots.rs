//! Snapshots as other nodes see them: which there are, with proof; their chunks; one that is put together.
//!
//! A snapshot is shown only with a manifest that the sequencer vouches for: its own it signs, after
//! it has compared the file with the certified header; a follower's is compared with what the
//! sequencer has signed. One whose bytes differ is never shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{
    Base, Head, IoFailure, SnapshotError, SnapshotFile, SnapshotStore, StagedSnapshot,
};
use proctor_engine::Engine;
use proctor_p2p::snapshot::{CHUNK_BYTES, CHUNKS_MAX, Contents};
use proctor_p2p::{Canonical as _, Certified, ChainId, Header, Manifest, Signature, Trust};
use proctor_types::Digest;
use proctor_wire::checkpoint;

use crate::file::FileFailure;

/// Of so many snapshots, the newest, manifests are made.
const SHOWN_MAX: usize = 4;
/// So much room there must be for a snapshot, in its own lengths: the staged one, one of the same
/// size that this node makes next, and as much for the log.
const ROOM: u64 = 3;
/// Name of a manifest's file, before the height.
const MANIFEST: &str = "manifest-";

/// Why a snapshot was not taken or not compared. The node is as before.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFailed {
    /// There is no room for it.
    #[error("a snapshot of {len} bytes needs {needed} bytes of room, and there are {free}")]
    NoRoom {
        /// Its length.
        len: u64,
        /// What is needed.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// Its parts cannot be written or read.
    #[error(transparent)]
    Io(#[from] SnapshotError),
    /// This build does not read its encoding.
    #[error("the snapshot has format {found}, this build reads format {ours}")]
    OtherFormat {
        /// Its format.
        found: u32,
        /// That of this build.
        ours: u32,
    },
    /// It is not the state that it should be.
    #[error("the snapshot of commit {height} gives another state than the certified one: {what}")]
    WrongState {
        /// Its commit.
        height: u64,
        /// What is wrong.
        what: String,
    },
    /// This node's own has other bytes than those that the sequencer vouches for.
    #[error(
        "this node's snapshot of commit {height} has other bytes than the one that the sequencer \
         vouches for: it is not served"
    )]
    Differs {
        /// Its commit.
        height: u64,
    },
    /// A manifest cannot be kept.
    #[error(transparent)]
    File(#[from] FileFailure),
}

/// What is known of the snapshots in the log's directory.
#[derive(Debug, Default)]
struct Known {
    manifests: BTreeMap<u64, Manifest>,
    /// Those that are not shown, because they are not what they should be.
    differing: BTreeSet<u64>,
}

/// The snapshots of a node.
#[derive(Debug)]
pub(crate) struct Snapshots {
    storage: Arc<dyn Storage>,
    files: SnapshotStore,
    /// Where manifests are kept that the sequencer has signed.
    directory: PathBuf,
    trust: Trust,
    known: Mutex<Known>,
    /// The one that is being put together.
    staged: Mutex<Option<StagedSnapshot>>,
}

type Sign<'a> = &'a dyn Fn(&[u8]) -> Signature;

impl Snapshots {
    pub(crate) fn new(storage: Arc<dyn Storage>, directory: &Path, trust: Trust) -> Self {
        Self {
            files: SnapshotStore::new(Arc::clone(&storage)),
            storage,
            directory: directory.to_owned(),
            trust,
            known: Mutex::default(),
            staged: Mutex::default(),
        }
    }

    /// Looks which snapshots there are. `next` gives the certified header of a height; with `sign`
    /// manifests are made, without those that were kept are read.
    pub(crate) fn survey(
        &self,
        base: Option<&Manifest>,
        next: impl Fn(u64) -> Option<Certified>,
        sign: Option<Sign<'_>>,
    ) -> Result<(), SnapshotError> {
        let mut heights = self.files.list()?;
        heights.truncate(SHOWN_MAX);
        self.forget_others(&heights);
        for height in heights {
            if self.is_known(height) {
                continue;
            }
            let made = match (base.filter(|base| base.height == height), sign) {
                (Some(base), _) => Some(base.clone()),
                (None, None) => self.kept(height),
                (None, Some(sign)) => match next(height + 1) {
                    Some(next) => self.make(height, next, sign)?,
                    None => continue,
                },
            };
            let mut known = self.known();
            match made {
                Some(manifest) => drop(known.manifests.insert(height, manifest)),
                None if sign.is_some() => drop(known.differing.insert(height)),
                None => {}
            }
        }
        Ok(())
    }

    fn is_known(&self, height: u64) -> bool {
        let known = self.known();
        known.manifests.contains_key(&height) || known.differing.contains(&height)
    }

    /// Forgets the manifests of snapshots that are gone.
    fn forget_others(&self, heights: &[u64]) {
        let mut known = self.known();
        known.differing.retain(|height| heights.contains(height));
        for (height, _) in known.manifests.extract_if(.., |height, _| !heights.contains(height)) {
            // It may never have been kept, and one that stays is only read for its own height.
            drop(fs::remove_file(self.manifest_file(height)));
        }
    }

    /// Makes the manifest of a snapshot, if it is what the certified header after it says.
    fn make(
        &self,
        height: u64,
        next: Certified,
        sign: Sign<'_>,
    ) -> Result<Option<Manifest>, SnapshotError> {
        let file = self.files.open(height)?;
        let Header { facts, .. } = &next.header;
        if file.head().hash != facts.record_before || file.state_digest() != facts.state_before {
            return Ok(None);
        }
        let Some(contents) = contents(&file)? else { return Ok(None) };
        Ok(Some(Manifest::solo(&self.trust.chain, contents, next, sign)))
    }

    /// Returns the newest height at or below `at_most` that can be shown.
    pub(crate) fn newest(&self, at_most: u64) -> Option<u64> {
        self.known().manifests.range(..=at_most).next_back().map(|(height, _)| *height)
    }

    pub(crate) fn manifest(&self, height: u64) -> Option<Manifest> {
        self.known().manifests.get(&height).cloned()
    }

    /// Returns the newest own snapshot up to `end`, of a multiple of `every`, that is to be compared
    /// with the sequencer's.
    pub(crate) fn unattested(&self, end: u64, every: u64) -> Result<Option<u64>, SnapshotError> {
        let may_be = |height: &u64| *height <= end && every > 0 && height.is_multiple_of(every);
        let newest = self.files.list()?.into_iter().find(may_be);
        Ok(newest.filter(|height| !self.is_known(*height)))
    }

    /// Returns the snapshots that differ from what they should be.
    pub(crate) fn differing(&self) -> Vec<u64> {
        self.known().differing.iter().copied().collect()
    }

    /// Compares this node's own snapshot with a proven manifest, and keeps the manifest.
    pub(crate) fn attest(&self, manifest: &Manifest) -> Result<(), SnapshotFailed> {
        let height = manifest.height;
        let own = contents(&self.files.open(height)?)?;
        if own.as_ref() != Some(&manifest.contents) {
            self.known().differing.insert(height);
            return Err(SnapshotFailed::Differs { height });
        }
        self.keep(manifest)?;
        self.known().manifests.insert(height, manifest.clone());
        Ok(())
    }

    /// Returns a chunk, if it is what the manifest says.
    pub(crate) fn chunk(&self, height: u64, index: u32) -> Result<Option<Vec<u8>>, SnapshotError> {
        let place = {
            let known = self.known();
            let contents = known.manifests.get(&height).map(|manifest| &manifest.contents);
            let digest = |c: &Contents| c.chunks.get(usize::try_from(index).ok()?).copied();
            contents.and_then(|c| Some((c.chunk_len(index)?, digest(c)?)))
        };
        let Some((len, digest)) = place else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let file = self.files.open(height)?;
        file.read_at(u64::from(index) * u64::from(CHUNK_BYTES), &mut bytes)?;
        if Digest::of(&bytes) == digest {
            return Ok(Some(bytes));
        }
        // The file has changed under its manifest: nobody is shown more of it.
        let mut known = self.known();
        known.manifests.remove(&height);
        known.differing.insert(height);
        Ok(None)
    }

    /// Makes room for a snapshot; returns the chunks that are staged already.
    pub(crate) fn begin(&self, manifest: &Manifest) -> Result<Vec<u32>, SnapshotFailed> {
        let (found, ours) = (manifest.contents.format, u32::from(checkpoint::VERSION));
        if found != ours {
            return Err(SnapshotFailed::OtherFormat { found, ours });
        }
        let staged = self.files.stage(manifest.height).map_err(SnapshotError::Io)?;
        let contents = &manifest.contents;
        let mut there = Vec::new();
        let mut bytes = Vec::new();
        for (digest, index) in contents.chunks.iter().zip(0_u32..) {
            bytes.resize(usize::try_from(contents.chunk_len(index).unwrap_or(0)).unwrap_or(0), 0);
            let offset = u64::from(index) * u64::from(CHUNK_BYTES);
            if staged.read_at(offset, &mut bytes).map_err(SnapshotError::Io)?
                && Digest::of(&bytes) == *digest
            {
                there.push(index);
            }
        }
        let len = contents.len;
        let needed = len.saturating_mul(ROOM);
        let free = self.storage.free_bytes().map_err(|error| room_unknown(&error))?;
        if free < needed {
            return Err(SnapshotFailed::NoRoom { len, needed, free });
        }
        *self.staged() = Some(staged);
        Ok(there)
    }

    /// Stages a chunk whose digest is right.
    pub(crate) fn stage(&self, index: u32, bytes: &[u8]) -> Result<(), SnapshotFailed> {
        let staged = self.staged();
        let staged = staged.as_ref().ok_or_else(nothing_staged)?;
        let offset = u64::from(index) * u64::from(CHUNK_BYTES);
        Ok(staged.write_at(offset, bytes).map_err(SnapshotError::Io)?)
    }

    /// Decodes what was staged, tests that it is the certified state, and makes it a whole snapshot;
    /// returns the state, and what a log begins with that begins there.
    pub(crate) fn assemble(&self, manifest: &Manifest) -> Result<(Engine, Base), SnapshotFailed> {
        let staged = self.staged().take().ok_or_else(nothing_staged)?;
        let mut state = vec![0; usize::try_from(manifest.contents.len).unwrap_or(0)];
        let whole = staged.read_at(0, &mut state).map_err(SnapshotError::Io)?;
        let engine = certified_state(manifest, whole, &state);
        let finished = engine.and_then(|engine| {
            let (hash, digest) = (manifest.record(), manifest.state());
            let head: Head = staged.finish(hash, digest, manifest.contents.len)?;
            Ok((engine, Base { head, proof: manifest.encode() }))
        });
        if finished.is_err() {
            // What a failed write or sync has left is unknown, and a wrong state is of no use.
            self.files.discard_staged().map_err(SnapshotError::Io)?;
        }
        finished
    }

    /// Takes note of the snapshot after which the log begins now.
    pub(crate) fn begun_after(&self, manifest: Manifest) {
        *self.known() = Known {
            manifests: BTreeMap::from([(manifest.height, manifest)]),
            differing: BTreeSet::new(),
        };
    }

    /// Returns the head of the log at a snapshot.
    pub(crate) fn head(&self, height: u64) -> Result<Head, SnapshotError> {
        Ok(self.files.open(height)?.head())
    }

    /// Returns the oldest snapshot above `height`, if it can be shown and is not the newest.
    pub(crate) fn next_after(&self, height: u64) -> Result<Option<Manifest>, SnapshotError> {
        let heights = self.files.list()?;
        let oldest = heights.iter().rfind(|other| **other > height);
        let oldest = oldest.filter(|oldest| heights.first() != Some(oldest));
        Ok(oldest.and_then(|oldest| self.manifest(*oldest)))
    }

    /// Reads the manifest that was kept for a height.
    fn kept(&self, height: u64) -> Option<Manifest> {
        let bytes = fs::read(self.manifest_file(height)).ok()?;
        let manifest = Manifest::decode(&bytes).ok()?;
        (manifest.height == height && manifest.check(&self.trust).is_ok()).then_some(manifest)
    }

    fn keep(&self, manifest: &Manifest) -> Result<(), FileFailure> {
        let path = self.manifest_file(manifest.height);
        let unfinished = path.with_extension("new");
        let failed = |action| {
            let path = unfinished.clone();
            move |error| FileFailure { action, path, error }
        };
        // Not synced: what a crash takes or tears is not read, and a peer tells it again.
        fs::write(&unfinished, manifest.encode()).map_err(failed("write"))?;
        fs::rename(&unfinished, path).map_err(failed("rename"))
    }

    fn manifest_file(&self, height: u64) -> PathBuf {
        self.directory.join(format!("{MANIFEST}{height:020}"))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged(&self) -> MutexGuard<'_, Option<StagedSnapshot>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the manifest after which the log in `storage` begins; `None` when it begins with commit 1.
/// The proof was made by this software and is checked all the same.
pub(crate) fn beginning(
    storage: &dyn Storage,
    chain: &ChainId,
) -> Result<Option<Manifest>, proctor_commit_log::LogError> {
    let Some(base) = proctor_commit_log::base::base(storage)? else { return Ok(None) };
    let manifest = Manifest::decode(&base.proof).ok();
    let own = |manifest: &Manifest| {
        manifest.height == base.head.index
            && manifest.record() == base.head.hash
            && manifest.next.certificate.digest == manifest.next.header.digest(chain)
    };
    let wrong = proctor_commit_log::LogError::BaseDamaged("its proof is of another chain");
    manifest.filter(own).map(Some).ok_or(wrong)
}

/// Returns what a snapshot's bytes are in short; `None` for more than a manifest can hold.
fn contents(file: &SnapshotFile) -> Result<Option<Contents>, SnapshotError> {
    let len = file.state_len();
    let (mut format, mut chunks) = (0, Vec::new());
    if len == 0 || len.div_ceil(u64::from(CHUNK_BYTES)) > CHUNKS_MAX as u64 {
        return Ok(None);
    }
    file.read_all(|piece| {
        if chunks.is_empty() {
            format = piece.first().copied().map_or(0, u32::from);
        }
        chunks.push(Digest::of(piece));
    })?;
    Ok(Some(Contents { format, len, chunks }))
}

/// Decodes a state; it must be the one of the manifest's commit, in its one encoding.
fn certified_state(
    manifest: &Manifest,
    whole: bool,
    state: &[u8],
) -> Result<Engine, SnapshotFailed> {
    let height = manifest.height;
    let wrong = |what: String| SnapshotFailed::WrongState { height, what };
    let chunks = state.chunks(usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX));
    if !whole || !chunks.map(Digest::of).eq(manifest.contents.chunks.iter().copied()) {
        return Err(wrong("not all that was staged is there".into()));
    }
    let engine = checkpoint::decode(state).map_err(|error| wrong(error.to_string()))?;
    if engine.stamp().commit != height || engine.digest() != manifest.state() {
        return Err(wrong(format!("it has digest {}", engine.digest())));
    }
    match checkpoint::encode(&engine) {
        Ok(again) if again == state => Ok(engine),
        Ok(_) | Err(_) => Err(wrong("its encoding is not the canonical one".into())),
    }
}

fn nothing_staged() -> SnapshotFailed {
    let (file, what) = ("the staged snapshot".into(), "nothing was begun");
    SnapshotFailed::Io(SnapshotError::Damaged { file, what })
}

fn room_unknown(error: &std::io::Error) -> SnapshotFailed {
    SnapshotFailed::Io(SnapshotError::Io(IoFailure {
        action: "measure the room of",
        file: ".".into(),
        source: Arc::new(std::io::Error::new(error.kind(), error.to_string())),
    }))
}
