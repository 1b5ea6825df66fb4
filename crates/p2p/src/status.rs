//! Hello and status: who a peer is, and what it says it has.
//!
//! Both are bound to the session by its binding value, so nobody can show another's. What they
//! claim stays a claim about that peer until its certificate is checked.

use crate::certificate::Certificate;
use crate::codec::{Canonical, CodecError, Reader};
use crate::header::{ChainId, Header};
use crate::node_id::{BadSignature, NodeId, Signature};
use proctor_types::Digest;

/// The version of the protocol; peers of another do not understand each other.
pub const PROTOCOL: u32 = 1;
/// What a signature of a status begins with.
const DOMAIN: &[u8] = b"proctor/status/1";

/// What a peer does, as bits; unknown ones are kept and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roles(pub u32);

impl Roles {
    /// Orders commits.
    pub const VALIDATOR: Self = Self(1);
    /// Follows and verifies.
    pub const FOLLOWER: Self = Self(2);
    /// Keeps everything.
    pub const ARCHIVE: Self = Self(4);
    /// Introduces nodes to each other.
    pub const BOOTNODE: Self = Self(8);

    /// Returns whether every role of `other` is among these.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns these roles and those of `other`.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A header and its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The header.
    pub header: Header,
    /// Its certificate.
    pub certificate: Certificate,
}

impl Canonical for Certified {
    fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        self.certificate.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { header: Header::read(reader)?, certificate: Certificate::read(reader)? })
    }
}

/// What a peer says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The last commit that it has stored with its certificate; none before the first.
    pub tip: Option<Certified>,
    /// The first height whose body it has.
    pub lowest_body: u64,
    /// The first height whose header it has.
    pub lowest_header: u64,
    /// Height of its newest snapshot; 0 for none.
    pub latest_snapshot: u64,
    /// Rises with every status of a session; one that does not is old and ignored.
    pub sequence: u64,
    /// How busy it is, in thousandths.
    pub load_permille: u32,
}

impl Status {
    /// Returns what the owner of the status signs.
    #[must_use]
    pub fn signed_bytes(&self, chain: &ChainId, binding: &Digest) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend_from_slice(&chain.0.0);
        bytes.extend_from_slice(&binding.0);
        self.write(&mut bytes);
        bytes
    }

    /// Returns the height of the tip; 0 without one.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.tip.as_ref().map_or(0, |tip| tip.header.height)
    }
}

impl Canonical for Status {
    fn write(&self, out: &mut Vec<u8>) {
        self.tip.write(out);
        for number in [self.lowest_body, self.lowest_header, self.latest_snapshot, self.sequence] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.load_permille.to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            tip: Option::read(reader)?,
            lowest_body: reader.u64("the lowest body")?,
            lowest_header: reader.u64("the lowest header")?,
            latest_snapshot: reader.u64("the latest snapshot")?,
            sequence: reader.u64("a sequence")?,
            load_permille: reader.u32("a load")?,
        })
    }
}

/// A status with its owner's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatus {
    /// What is claimed.
    pub status: Status,
    /// By whom, over [`Status::signed_bytes`].
    pub signature: Signature,
}

impl SignedStatus {
    /// Checks that `peer` signed this status in the session with this binding.
    ///
    /// # Errors
    /// [`BadSignature`] if not.
    pub fn check(
        &self,
        peer: &NodeId,
        chain: &ChainId,
        binding: &Digest,
    ) -> Result<(), BadSignature> {
        peer.verify(&self.status.signed_bytes(chain, binding), &self.signature)
    }
}

impl Canonical for SignedStatus {
    fn write(&self, out: &mut Vec<u8>) {
        self.status.write(out);
        out.extend_from_slice(&self.signature.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self { status: Status::read(reader)?, signature: reader.signature()? })
    }
}

/// The first message of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the protocol.
    pub protocol: u32,
    /// The sender's chain.
    pub chain: ChainId,
    /// The sender's key: that of the session's handshake.
    pub node: NodeId,
    /// What it does.
    pub roles: Roles,
    /// The binding value of the session.
    pub binding: Digest,
    /// The longest payload of a frame that it takes, in bytes.
    pub frame_bytes_max: u32,
    /// Extensions that it knows, as bits; unknown ones are ignored.
    pub features: u64,
    /// Drawn when the process began: a peer with another one has restarted since.
    pub instance: u64,
    /// What it has.
    pub status: SignedStatus,
}

/// Why a peer cannot be talked to. The order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Another version of the protocol.
    #[error("the peer speaks version {0} of the protocol, this node version {PROTOCOL}")]
    Protocol(u32),
    /// Another chain.
    #[error("the peer is on another chain")]
    Chain(ChainId),
    /// Another key than that of the handshake.
    #[error("the hello names node {0}, which is not the other end of the session")]
    Node(NodeId),
    /// The hello of another session.
    #[error("the hello belongs to another session")]
    Binding,
    /// The status is not signed by the peer for this session.
    #[error(transparent)]
    Status(#[from] BadSignature),
}

impl Hello {
    /// Checks the hello of the other end of a session: whose key and binding the handshake proved.
    ///
    /// # Errors
    /// [`HelloError`]: the first check that fails.
    pub fn check(
        &self,
        peer: &NodeId,
        chain: &ChainId,
        binding: &Digest,
    ) -> Result<(), HelloError> {
        if self.protocol != PROTOCOL {
            return Err(HelloError::Protocol(self.protocol));
        }
        if self.chain != *chain {
            return Err(HelloError::Chain(self.chain));
        }
        if self.node != *peer {
            return Err(HelloError::Node(self.node));
        }
        if self.binding != *binding {
            return Err(HelloError::Binding);
        }
        Ok(self.status.check(peer, chain, binding)?)
    }
}

impl Canonical for Hello {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.protocol.to_be_bytes());
        out.extend_from_slice(&self.chain.0.0);
        out.extend_from_slice(&self.node.0);
        out.extend_from_slice(&self.roles.0.to_be_bytes());
        out.extend_from_slice(&self.binding.0);
        out.extend_from_slice(&self.frame_bytes_max.to_be_bytes());
        out.extend_from_slice(&self.features.to_be_bytes());
        out.extend_from_slice(&self.instance.to_be_bytes());
        self.status.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            protocol: reader.u32("a protocol")?,
            chain: ChainId(reader.digest("a chain")?),
            node: reader.node("a node")?,
            roles: Roles(reader.u32("roles")?),
            binding: reader.digest("a binding")?,
            frame_bytes_max: reader.u32("a frame's length")?,
            features: reader.u64("features")?,
            instance: reader.u64("an instance")?,
            status: SignedStatus::read(reader)?,
        })
    }
}
