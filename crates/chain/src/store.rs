//! What a node of the network needs of its log: where it stands, what it serves, what it takes over.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proctor_commit_log::storage::Storage;
use proctor_commit_log::{LogError, SnapshotError, base, chain_hash};
use proctor_p2p::codec::{Canonical as _, CodecError};
use proctor_p2p::message::BodyId;
use proctor_p2p::server::{Available, Loaded, Read};
use proctor_p2p::{
    Certificate, Certified, ChainId, Committee, Header, Manifest, NodeId, Signature, Tip, Trust,
};
use proctor_sequencer::{AdoptError, BeginError, Handle};
use proctor_types::{Digest, Stamp, UtcMs};
use proctor_wire::DecodeError;

use crate::bodies::Bodies;
use crate::certificates::Certificates;
pub use crate::file::FileFailure;
use crate::headers::{Headers, Maker, facts_of};
use crate::retain::Retain;
pub use crate::snapshots::SnapshotFailed;
use crate::snapshots::{Snapshots, beginning};

/// Names of the files inside the chain's directory.
const HEADERS: &str = "headers";
const CERTIFICATES: &str = "certificates";

/// What a chain identifier is made from, before the key of the sequencer.
const CHAIN_DOMAIN: &[u8] = b"proctor/chain/1";

/// Returns the chain that the sequencer with this key founds. Who knows the key knows the chain, so
/// it is all that a follower must be told to verify everything else.
#[must_use]
pub fn chain_of(sequencer: &NodeId) -> ChainId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CHAIN_DOMAIN);
    hasher.update(&sequencer.0);
    ChainId(Digest(*hasher.finalize().as_bytes()))
}

/// Why the chain beside a log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A file of the chain cannot be read or written. It can be deleted: it is made again.
    #[error(transparent)]
    File(#[from] FileFailure),
    /// The log cannot be read.
    #[error("reading the log: {0}")]
    Log(LogError),
    /// A record of the log is no commit.
    #[error("commit {commit} cannot be decoded: {error}")]
    Decode {
        /// The commit.
        commit: u64,
        /// What is wrong with its bytes.
        error: DecodeError,
    },
    /// The log's record cannot have a header.
    #[error("commit {0} cannot have a header after the one before it")]
    Height(u64),
    /// What was certified is not what its body gives.
    #[error(
        "commit {0} is not what its certified header says: the sequencer has signed a wrong one"
    )]
    NotAsCertified(u64),
    /// A commit of another node was not taken over.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// A snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log could not be begun anew after a snapshot.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The key of the sequencer makes no committee.
    #[error("the sequencer's key cannot be used: {0}")]
    Committee(#[from] CodecError),
}

type Sign = dyn Fn(&[u8]) -> Signature + Send + Sync;

/// Signs what the sequencer has written.
pub struct Signer(Box<Sign>);

impl Signer {
    /// Returns the signer that calls `sign` with the bytes to be signed.
    pub fn new(sign: impl Fn(&[u8]) -> Signature + Send + Sync + 'static) -> Self {
        Self(Box::new(sign))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

/// What this node does for the chain.
#[derive(Debug)]
pub enum Role {
    /// It orders commits, and certifies them with its key.
    Sequencer(Signer),
    /// It takes over what the sequencer has certified.
    Follower,
}

/// The chain of a node: any thread reads, one at a time takes over.
#[derive(Debug)]
pub struct ChainStore {
    storage: Arc<dyn Storage>,
    trust: Trust,
    role: Role,
    headers: Arc<Headers>,
    bodies: Bodies,
    snapshots: Snapshots,
    handle: Handle,
    /// Held while the log is followed or commits are taken over; both come one at a time anyway.
    maker: Mutex<Maker>,
    /// Held for a look-up or an append.
    certificates: Mutex<Certificates>,
}

/// Why a snapshot was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallFailed {
    /// It is not what it should be, or cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFailed),
    /// The log or the chain has failed on the way.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Where a chain stands.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The chain and whose certificates count.
    pub trust: Trust,
    /// The last commit.
    pub tip: Tip,
}

impl ChainStore {
    /// Opens the chain of `sequencer` in `directory`, beside the log in `storage` whose writer is
    /// behind `handle`. Headers that are missing are made.
    ///
    /// # Errors
    /// [`ChainError`]; the log is not changed.
    pub fn open(
        directory: &Path,
        storage: &Arc<dyn Storage>,
        handle: Handle,
        sequencer: NodeId,
        role: Role,
    ) -> Result<Self, ChainError> {
        std::fs::create_dir_all(directory).map_err(|error| FileFailure {
            action: "create the directory",
            path: directory.to_owned(),
            error,
        })?;
        let chain = chain_of(&sequencer);
        let durable = handle.view().stamp.commit;
        let base = beginning(&**storage, &chain)?;
        let maker = Maker::open(&directory.join(HEADERS), chain, storage, base.as_ref(), durable)?;
        let certificates = Certificates::open(&directory.join(CERTIFICATES), &chain)?;
        let trust = Trust { chain, committee: Committee::new(0, vec![sequencer])? };
        Ok(Self {
            snapshots: Snapshots::new(Arc::clone(storage), directory, trust.clone()),
            storage: Arc::clone(storage),
            trust,
            role,
            headers: Arc::clone(maker.headers()),
            bodies: Bodies::new(Arc::clone(storage)),
            handle,
            maker: Mutex::new(maker),
            certificates: Mutex::new(certificates),
        })
    }

    /// Returns where the chain stands.
    #[must_use]
    pub fn stand(&self) -> Stand {
        Stand { trust: self.trust.clone(), tip: self.maker().tip() }
    }

    /// Makes the headers of what the log has gained; returns the newest commit with a certificate,
    /// which a sequencer signs for it.
    ///
    /// # Errors
    /// [`ChainError`] when the log or the file of headers cannot be read or written.
    pub fn follow(&self) -> Result<Option<Certified>, ChainError> {
        let durable = self.handle.view().stamp.commit;
        let tip = self.maker().follow(durable)?;
        self.certified(1, tip.height)
    }

    /// Returns the commits `from..=to`, each with a certificate of its own, as a sequencer tells of them;
    /// of a follower's only those that it was shown.
    ///
    /// # Errors
    /// [`ChainError`] when a header cannot be read.
    pub fn each(&self, from: u64, to: u64) -> Result<Vec<Certified>, ChainError> {
        let own = (from..=to).map(|height| self.certified(height, height));
        own.filter_map(Result::transpose).collect()
    }

    /// Returns the body of `header`, if it is here and has at most `len` bytes.
    ///
    /// # Errors
    /// [`ChainError`] when the log cannot be read.
    pub fn short_body(&self, header: &Header, len: usize) -> Result<Option<Vec<u8>>, ChainError> {
        if usize::try_from(header.facts.body_len).map_or(true, |stated| stated > len) {
            return Ok(None);
        }
        Ok(self.bodies.get(header.height, self.headers.len())?)
    }

    /// Takes over commits after the last, each with its certified header; returns the last of them
    /// when all are durable, applied and published.
    ///
    /// # Errors
    /// [`ChainError::NotAsCertified`] before anything is written, [`ChainError::Adopt`] when a commit
    /// was not made on the state that is here.
    pub fn take_over(
        &self,
        commits: Vec<(Header, Vec<u8>)>,
        certificates: &[Certificate],
    ) -> Result<Stamp, ChainError> {
        let mut maker = self.maker();
        let (mut tip, mut record) = (maker.tip(), maker.record());
        for (header, body) in &commits {
            let height = header.height;
            let facts = facts_of(height, record, body)?;
            if header.follows(&tip).is_err() || facts != header.facts {
                return Err(ChainError::NotAsCertified(height));
            }
            record = chain_hash(height, &record, body);
            tip = header.tip(&self.trust.chain);
        }
        let stamp = self.handle.adopt(commits.into_iter().map(|(_, body)| body).collect())?;
        maker.follow(stamp.commit)?;
        self.certificates().add(certificates)?;
        Ok(stamp)
    }

    /// Returns what is asked for, or that it is not here.
    ///
    /// # Errors
    /// [`ChainError`] when something cannot be read.
    pub fn read(&self, read: Read) -> Result<Loaded, ChainError> {
        let loaded = match read {
            Read::Headers { from, to } => {
                let Some(last) = self.certified(from, to)? else { return Ok(Loaded::Missing) };
                let headers = self.headers.range(from, last.header.height)?;
                // A damaged record ends the range before its certificate: then none of it is shown.
                (headers.last() == Some(&last.header))
                    .then_some(Loaded::Headers(headers, last.certificate))
            }
            Read::Bodies { bodies, bytes_max } => Some(self.read_bodies(&bodies, bytes_max)?),
            Read::Commit(height) => self.certified(height, height)?.map(Loaded::Commit),
            Read::Manifest(at_most) => {
                let newest = self.snapshots.newest(at_most);
                newest.and_then(|height| self.snapshots.manifest(height)).map(Loaded::Manifest)
            }
            Read::Chunk { height, index } => {
                self.snapshots.chunk(height, index)?.map(Loaded::Chunk)
            }
        };
        Ok(loaded.unwrap_or(Loaded::Missing))
    }

    /// Returns what can be served. Looks for new snapshots, of which a sequencer makes manifests here:
    /// each is read once as a whole.
    ///
    /// # Errors
    /// [`ChainError`] when the newest header or a snapshot cannot be read.
    pub fn available(&self) -> Result<Available, ChainError> {
        let base = beginning(&*self.storage, &self.trust.chain)?;
        let next = |height| self.certified(height, height).ok().flatten();
        match &self.role {
            Role::Sequencer(signer) => {
                self.snapshots.survey(base.as_ref(), next, Some(&*signer.0))?;
            }
            Role::Follower => self.snapshots.survey(base.as_ref(), next, None)?,
        }
        let tip = self.certified(1, self.headers.len())?;
        Ok(Available {
            tip: tip.map_or(0, |tip| tip.header.height),
            lowest_body: base.map_or(1, |base| base.height + 1),
            lowest_header: self.headers.lowest(),
            latest_snapshot: self.snapshots.newest(u64::MAX).unwrap_or(0),
        })
    }

    /// Returns the newest own snapshot of a follower that is to be compared with the sequencer's: of a
    /// commit whose number is a multiple of `every`, for of others the sequencer has none.
    ///
    /// # Errors
    /// [`ChainError`] when the snapshots cannot be listed.
    pub fn unattested(&self, every: u64) -> Result<Option<u64>, ChainError> {
        match &self.role {
            // The header after it says what its state is.
            Role::Follower => {
                Ok(self.snapshots.unattested(self.headers.len().saturating_sub(1), every)?)
            }
            Role::Sequencer(_) => Ok(None),
        }
    }

    /// Returns the own snapshots whose bytes are not what they should be; they are not served.
    #[must_use]
    pub fn differing(&self) -> Vec<u64> {
        self.snapshots.differing()
    }

    /// Compares the own snapshot at the height of a proven manifest with it; equal ones are served.
    ///
    /// # Errors
    /// [`SnapshotFailed::Differs`]; others when it cannot be compared.
    pub fn attest(&self, manifest: &Manifest) -> Result<(), SnapshotFailed> {
        self.snapshots.attest(manifest)
    }

    /// Makes room for the snapshot of a proven manifest; returns the chunks of it that are here.
    ///
    /// # Errors
    /// [`SnapshotFailed`]; the log is not touched.
    pub fn begin(&self, manifest: &Manifest) -> Result<Vec<u32>, SnapshotFailed> {
        self.snapshots.begin(manifest)
    }

    /// Stages a chunk whose digest is right.
    ///
    /// # Errors
    /// [`SnapshotFailed`]; the log is not touched.
    pub fn stage(&self, index: u32, bytes: &[u8]) -> Result<(), SnapshotFailed> {
        self.snapshots.stage(index, bytes)
    }

    /// Makes the staged snapshot the state, and begins the log and the chain anew after it.
    ///
    /// # Errors
    /// [`InstallFailed::Snapshot`], and nothing was changed; [`InstallFailed::Chain`], and the node
    /// must stop: the next start tells what there is.
    pub fn install(&self, manifest: Manifest) -> Result<Stamp, InstallFailed> {
        let mut maker = self.maker();
        let (engine, base) = self.snapshots.assemble(&manifest)?;
        let begun = self.handle.begin_after(engine, base).map_err(ChainError::from)?;
        maker.begin_after(&manifest)?;
        self.bodies.forget();
        self.snapshots.begun_after(manifest);
        Ok(begun)
    }

    /// Deletes what `retain` need not keep, in two calls: the first says that it is not served any
    /// more, the next one, some time later, deletes it. Returns the first commit that is kept.
    ///
    /// # Errors
    /// [`ChainError`] when the log or a snapshot cannot be read.
    pub fn prune(&self, retain: &Retain, now: UtcMs) -> Result<u64, ChainError> {
        base::prune(&*self.storage)?;
        let begins = base::base(&*self.storage)?.map_or(0, |base| base.head.index);
        // The one that the writer spares: any other may be gone the next moment.
        let next = self.snapshots.next_after(begins)?;
        let tip = self.headers.len();
        let Some(to) = next.filter(|to| retain.leaves_enough(to, tip, now)) else {
            return Ok(begins + 1);
        };
        let head = self.snapshots.head(to.height)?;
        base::advance(&*self.storage, &base::Base { head, proof: to.encode() })?;
        Ok(to.height + 1)
    }

    /// Returns the highest header in `from..=to` that has a certificate, with it.
    fn certified(&self, from: u64, to: u64) -> Result<Option<Certified>, ChainError> {
        let to = to.min(self.headers.len());
        if from == 0 || from > to {
            return Ok(None);
        }
        match &self.role {
            Role::Sequencer(signer) => Ok(self.headers.get(to)?.map(|header| {
                let tip = header.tip(&self.trust.chain);
                let epoch = self.trust.committee.epoch();
                let certificate =
                    Certificate::solo(&self.trust.chain, epoch, &tip, |bytes| (signer.0)(bytes));
                Certified { header, certificate }
            })),
            Role::Follower => {
                let certificate = self.certificates().last_within(from, to).cloned();
                let Some(certificate) = certificate else { return Ok(None) };
                let header = self.headers.get(certificate.height)?;
                Ok(header.map(|header| Certified { header, certificate }))
            }
        }
    }

    fn read_bodies(&self, wanted: &[BodyId], bytes_max: u64) -> Result<Loaded, ChainError> {
        let mut bodies = Vec::with_capacity(wanted.len());
        let mut bytes = 0;
        for body in wanted {
            if bytes > 0 && bytes >= bytes_max {
                break;
            }
            let known = self.headers.get(body.height)?;
            let found = match known.filter(|header| header.facts.body == body.digest) {
                Some(_) => self.bodies.get(body.height, self.headers.len())?,
                None => None,
            };
            bytes += found.as_ref().map_or(0, |body| body.len() as u64);
            bodies.push(found);
        }
        Ok(Loaded::Bodies(bodies))
    }

    fn maker(&self) -> MutexGuard<'_, Maker> {
        self.maker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn certificates(&self) -> MutexGuard<'_, Certificates> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
