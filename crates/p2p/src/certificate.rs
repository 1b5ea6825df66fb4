//! Certificates: who vouches for a header, in an envelope that names its scheme.
//!
//! Scheme 0 is one sequencer that signs alone, scheme 4 a quorum of a committee. The numbers of the
//! schemes of known engines are reserved and refused by name, so that a node of today says what it
//! lacks instead of guessing. Which schemes can occur on a chain follows from its committee: one
//! member proves by scheme 0 alone, several by scheme 4 alone.

mod quorum;

use proctor_types::Digest;

use crate::codec::{Canonical, CodecError, Reader, write_bytes, write_len};
use crate::header::{ChainId, Header, LinkError, Tip};
use crate::node_id::{NodeId, Signature};

const VERSION: u8 = 1;
/// What a signature of scheme 0 begins with.
const DOMAIN: &[u8] = b"proctor/commit/1";
/// The longest proof of any scheme, in bytes: 128 signatures and their framing.
pub const PROOF_BYTES_MAX: usize = 12 << 10;
/// The most members of a committee.
pub const COMMITTEE_MAX: usize = 128;
/// Headers that one certificate may prove in one answer.
pub const RANGE_MAX: usize = 256;

/// How a certificate proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// One Ed25519 signature of the only member.
    Solo,
    /// Reserved: finalizations of simplex.
    Simplex,
    /// Reserved: precommits of Malachite.
    Malachite,
    /// Reserved: a threshold signature.
    Bls,
    /// Ed25519 signatures of a quorum of the committee.
    Quorum,
}

impl Scheme {
    /// All schemes, by number.
    pub const ALL: [Self; 5] =
        [Self::Solo, Self::Simplex, Self::Malachite, Self::Bls, Self::Quorum];

    fn number(self) -> u8 {
        match self {
            Self::Solo => 0,
            Self::Simplex => 1,
            Self::Malachite => 2,
            Self::Bls => 3,
            Self::Quorum => 4,
        }
    }
}

/// Who may certify, from one epoch's first commit to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    epoch: u64,
    keys: Vec<NodeId>,
}

impl Committee {
    /// Makes the committee of `epoch` with these members, in any order.
    ///
    /// # Errors
    /// [`CodecError`] for none, for more than [`COMMITTEE_MAX`], or for one twice.
    pub fn new(epoch: u64, mut keys: Vec<NodeId>) -> Result<Self, CodecError> {
        keys.sort_unstable();
        Self::of_sorted(epoch, keys)
    }

    fn of_sorted(epoch: u64, keys: Vec<NodeId>) -> Result<Self, CodecError> {
        if keys.is_empty() {
            return Err(CodecError::NotCanonical("a committee has at least one member"));
        }
        if keys.len() > COMMITTEE_MAX {
            let (found, limit) = (keys.len() as u64, COMMITTEE_MAX as u64);
            return Err(CodecError::TooLong { what: "a committee", found, limit });
        }
        if keys.iter().zip(keys.iter().skip(1)).any(|(one, next)| one >= next) {
            return Err(CodecError::NotCanonical("members of a committee ascend, none is twice"));
        }
        Ok(Self { epoch, keys })
    }

    /// Returns the epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the members, ascending.
    #[must_use]
    pub fn keys(&self) -> &[NodeId] {
        &self.keys
    }

    /// Returns how many members decide: `n - (n - 1) / 3` of `n`.
    #[must_use]
    pub fn quorum(&self) -> usize {
        quorum::of(self.keys.len())
    }
}

impl Canonical for Committee {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_be_bytes());
        write_len(out, self.keys.len());
        self.keys.iter().for_each(|key| out.extend_from_slice(&key.0));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let epoch = reader.u64("an epoch")?;
        let count = reader.count("a committee", COMMITTEE_MAX, 32)?;
        let keys = (0..count).map(|_| reader.node("a member")).collect::<Result<_, _>>()?;
        Self::of_sorted(epoch, keys)
    }
}

/// What this node takes for granted: which chain, and who certifies its next commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The chain.
    pub chain: ChainId,
    /// The committee of the next commit.
    pub committee: Committee,
}

/// A proof that the committee of an epoch decided on a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// How it proves itself.
    pub scheme: Scheme,
    /// Whose committee.
    pub epoch: u64,
    /// Height of the header.
    pub height: u64,
    /// Digest of the header.
    pub digest: Digest,
    /// The scheme's proof.
    pub proof: Vec<u8>,
}

/// Why a certificate proves nothing here. The order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is for another header.
    #[error("the certificate is for another header than {0}")]
    OtherHeader(u64),
    /// Its epoch has not begun here: its committee is not known yet.
    #[error("the certificate is of epoch {found}, the committee of epoch {ours} is known")]
    EpochAhead {
        /// The certificate's epoch.
        found: u64,
        /// The epoch of the committee that is known.
        ours: u64,
    },
    /// Its epoch is over.
    #[error("the certificate is of epoch {found}, which ended before epoch {ours}")]
    EpochOver {
        /// The certificate's epoch.
        found: u64,
        /// The epoch of the committee that is known.
        ours: u64,
    },
    /// Its scheme has a number but no verifier in this build.
    #[error("certificates of scheme {0:?} are reserved: this build cannot check them")]
    Reserved(Scheme),
    /// Scheme 0 with a committee of several.
    #[error("one signature cannot stand for a committee of {0}")]
    NotSolo(usize),
    /// Scheme 4 with a committee of one.
    #[error("a committee of one proves by its signature alone, not by a quorum")]
    OneMember,
    /// The proof does not have the form of its scheme.
    #[error("the proof of the certificate is malformed")]
    Malformed,
    /// Not exactly as many members have signed as decide.
    #[error("{found} members have signed the certificate, exactly {needed} are to sign")]
    Signers {
        /// How many the proof names.
        found: usize,
        /// How many decide.
        needed: usize,
    },
    /// The proof is no proof of the committee.
    #[error("the proof of the certificate is not the committee's")]
    Proof,
}

impl Certificate {
    /// Returns what a member signs, under scheme 0 and scheme 4.
    #[must_use]
    pub fn signed_bytes(chain: &ChainId, epoch: u64, height: u64, digest: &Digest) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&chain.0.0);
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(&height.to_be_bytes());
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// Makes a certificate of scheme 0 for the chain that ends at `tip`; `sign` holds the key.
    pub fn solo(
        chain: &ChainId,
        epoch: u64,
        tip: &Tip,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Self {
        let bytes = Self::signed_bytes(chain, epoch, tip.height, &tip.digest);
        let proof = sign(&bytes).0.to_vec();
        Self { scheme: Scheme::Solo, epoch, height: tip.height, digest: tip.digest, proof }
    }

    /// Makes a certificate of scheme 4 for the chain that ends at `tip`, of what the members of
    /// `committee` have signed of [`Certificate::signed_bytes`]; `None` if they are no quorum, or if the
    /// committee has one member. The signatures are not checked.
    #[must_use]
    pub fn quorum(
        committee: &Committee,
        tip: &Tip,
        signatures: &[(NodeId, Signature)],
    ) -> Option<Self> {
        let proof = quorum::proof(committee, signatures)?;
        let (epoch, height, digest) = (committee.epoch, tip.height, tip.digest);
        Some(Self { scheme: Scheme::Quorum, epoch, height, digest, proof })
    }

    /// Checks that the committee of `trust` vouches for the header with this height and digest.
    ///
    /// The epoch is compared before any committee is used (B2), and all before any cryptography.
    ///
    /// # Errors
    /// [`CertificateError`]: the first check that fails.
    pub fn check(&self, trust: &Trust, header: &Tip) -> Result<(), CertificateError> {
        if self.height != header.height || self.digest != header.digest {
            return Err(CertificateError::OtherHeader(header.height));
        }
        let bytes = Self::signed_bytes(&trust.chain, self.epoch, self.height, &self.digest);
        self.check_proof(trust, &bytes)
    }

    /// Checks that the committee of `trust` has signed `bytes`.
    ///
    /// # Errors
    /// [`CertificateError`]: the first check that fails.
    pub(crate) fn check_proof(&self, trust: &Trust, bytes: &[u8]) -> Result<(), CertificateError> {
        let (found, ours) = (self.epoch, trust.committee.epoch);
        if found > ours {
            return Err(CertificateError::EpochAhead { found, ours });
        }
        if found < ours {
            return Err(CertificateError::EpochOver { found, ours });
        }
        match self.scheme {
            Scheme::Solo => self.check_solo(trust, bytes),
            Scheme::Quorum => quorum::check(&trust.committee, bytes, &self.proof),
            reserved @ (Scheme::Simplex | Scheme::Malachite | Scheme::Bls) => {
                Err(CertificateError::Reserved(reserved))
            }
        }
    }

    fn check_solo(&self, trust: &Trust, bytes: &[u8]) -> Result<(), CertificateError> {
        let [key] = trust.committee.keys.as_slice() else {
            return Err(CertificateError::NotSolo(trust.committee.keys.len()));
        };
        let proof = self.proof.as_slice().try_into().map_err(|_| CertificateError::Proof)?;
        key.verify(bytes, &Signature(proof)).map_err(|_| CertificateError::Proof)
    }
}

impl Canonical for Certificate {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(self.scheme.number());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.height.to_be_bytes());
        out.extend_from_slice(&self.digest.0);
        write_bytes(out, &self.proof);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let found = reader.u8("the version of a certificate")?;
        if found != VERSION {
            return Err(CodecError::Tag { what: "version of a certificate", found });
        }
        let found = reader.u8("a scheme")?;
        let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.number() == found);
        Ok(Self {
            scheme: scheme.ok_or(CodecError::Tag { what: "scheme of a certificate", found })?,
            epoch: reader.u64("an epoch")?,
            height: reader.u64("a height")?,
            digest: reader.digest("a header's digest")?,
            proof: reader.bytes("a proof", PROOF_BYTES_MAX)?.to_vec(),
        })
    }
}

/// Why a range of headers proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It has no header, or more than [`RANGE_MAX`].
    #[error("a range has 1 to {RANGE_MAX} headers, not {0}")]
    Count(usize),
    /// A header does not follow the one before.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A header that ends an epoch is not the last.
    #[error("header {0} ends an epoch and must be the last of its range")]
    Close(u64),
    /// The committee that a header names has another epoch than the next.
    #[error("header {0} names a committee of another epoch than the next")]
    NextEpoch(u64),
    /// The certificate at the end proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Checks a range that should follow `from`: every link, and the one certificate at its end.
/// Returns the end and the trust for what comes after it.
///
/// A certificate proves all headers before its own, because each names its parent. A header that
/// ends an epoch is the last of its range, so it always has its own certificate, of the old committee.
///
/// # Errors
/// [`RangeError`]: the first check that fails.
pub fn check_range(
    trust: &Trust,
    from: &Tip,
    headers: &[Header],
    certificate: &Certificate,
) -> Result<(Vec<Tip>, Trust), RangeError> {
    let count = headers.len();
    let Some(last) = headers.last().filter(|_| count <= RANGE_MAX) else {
        return Err(RangeError::Count(count));
    };
    let mut tips = Vec::with_capacity(count);
    let mut tip = *from;
    for header in headers {
        header.follows(&tip)?;
        if header.facts.next_committee.is_some() && header.height != last.height {
            return Err(RangeError::Close(header.height));
        }
        tip = header.tip(&trust.chain);
        tips.push(tip);
    }
    certificate.check(trust, &tip)?;
    let mut after = trust.clone();
    if let Some(committee) = &last.facts.next_committee {
        if trust.committee.epoch.checked_add(1) != Some(committee.epoch) {
            return Err(RangeError::NextEpoch(last.height));
        }
        after.committee = committee.clone();
    }
    Ok((tips, after))
}
