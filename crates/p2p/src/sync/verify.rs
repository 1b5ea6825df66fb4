//! Verification as jobs: pure functions of what they carry, to be run on another thread.
//!
//! A job carries the trust it is checked against, so a verdict says what it was computed from, and
//! the core compares before it applies it (R5).

use proctor_types::Digest;

use crate::certificate::{Certificate, CertificateError, RangeError, Trust, check_range};
use crate::header::{ChainId, Header, Tip};
use crate::node_id::NodeId;
use crate::snapshot::{Manifest, ManifestError};
use crate::status::{Certified, SignedStatus};

/// A body that arrived, and what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Height of its header.
    pub height: u64,
    /// The digest that its header states.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// A status: its signature and, if it is news, its tip.
    Status {
        /// Who signed it.
        peer: NodeId,
        /// The chain.
        chain: ChainId,
        /// The session's binding value.
        binding: Digest,
        /// The status.
        status: SignedStatus,
        /// What to check the tip against; `None` if it need not be checked.
        trust: Option<Trust>,
    },
    /// The header and certificate of a push.
    Tip {
        /// What to check against.
        trust: Trust,
        /// The push.
        commit: Certified,
    },
    /// A range of headers after the last that is verified.
    Range {
        /// What to check against.
        trust: Trust,
        /// The end of the chain that is verified.
        from: Tip,
        /// The headers.
        headers: Vec<Header>,
        /// The certificate of the last.
        certificate: Certificate,
    },
    /// Bodies.
    Bodies(Vec<Arrived>),
    /// A manifest.
    Manifest {
        /// What to check against.
        trust: Trust,
        /// The manifest.
        manifest: Manifest,
    },
    /// A chunk of a snapshot.
    Chunk {
        /// Its number.
        index: u32,
        /// The digest that the manifest states.
        digest: Digest,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// What came of a job. Data goes in and comes back, so that it is held once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of a status: whether its signature holds, and what its tip proves.
    Status {
        /// The status.
        status: SignedStatus,
        /// Whether the signature holds.
        signed: bool,
        /// What the tip proves.
        tip: Result<(), CertificateError>,
    },
    /// Of a push.
    Tip {
        /// The push.
        commit: Certified,
        /// What it proves.
        tip: Result<(), CertificateError>,
    },
    /// Of a range: the place of every header and the trust for what follows.
    Range {
        /// The headers.
        headers: Vec<Header>,
        /// The certificate of the last.
        certificate: Certificate,
        /// The places, or what is wrong.
        range: Result<(Vec<Tip>, Trust), RangeError>,
    },
    /// Of bodies: each, and whether it is what its header says.
    Bodies(Vec<(Arrived, bool)>),
    /// Of a manifest.
    Manifest {
        /// The manifest.
        manifest: Manifest,
        /// What is wrong with it, if anything is.
        proven: Result<(), ManifestError>,
    },
    /// Of a chunk.
    Chunk {
        /// Its number.
        index: u32,
        /// The bytes, if they are what the manifest says.
        bytes: Option<Vec<u8>>,
    },
}

impl Job {
    /// Does the job. The only place of the sync core where much is hashed or a signature checked.
    #[must_use]
    pub fn run(self) -> Verdict {
        match self {
            Self::Status { peer, chain, binding, status, trust } => {
                let signed = status.check(&peer, &chain, &binding).is_ok();
                let tip = match (&status.status.tip, &trust) {
                    (Some(tip), Some(trust)) if signed => check_tip(trust, tip),
                    (Some(_) | None, Some(_) | None) => Ok(()),
                };
                Verdict::Status { status, signed, tip }
            }
            Self::Tip { trust, commit } => Verdict::Tip { tip: check_tip(&trust, &commit), commit },
            Self::Range { trust, from, headers, certificate } => {
                let range = check_range(&trust, &from, &headers, &certificate);
                Verdict::Range { headers, certificate, range }
            }
            Self::Bodies(bodies) => {
                let check = |body: Arrived| {
                    let right = Digest::of(&body.bytes) == body.digest;
                    (body, right)
                };
                Verdict::Bodies(bodies.into_iter().map(check).collect())
            }
            Self::Manifest { trust, manifest } => {
                Verdict::Manifest { proven: manifest.check(&trust), manifest }
            }
            Self::Chunk { index, digest, bytes } => {
                let bytes = Some(bytes).filter(|bytes| Digest::of(bytes) == digest);
                Verdict::Chunk { index, bytes }
            }
        }
    }
}

fn check_tip(trust: &Trust, commit: &Certified) -> Result<(), CertificateError> {
    commit.certificate.check(trust, &commit.header.tip(&trust.chain))
}
