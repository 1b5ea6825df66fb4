//! `PeerRecord`: where a node can be reached, signed by that node itself.
//!
//! Canonical bytes, big-endian: key 32, sequence 8, roles 4, number of addresses 1, each address as
//! kind (4 or 6), bytes, port 2; signature 64. What is signed is `proctor/peer/1`, the chain, and
//! everything before the signature, so a record of one chain means nothing on another.

use proctor_types::Digest;

use super::address::{AddressRefused, AddressRules, PeerAddress, Subnet};
use super::bytes::{Reader, put_address};
use crate::status::Roles;
use crate::{BadSignature, NodeId, Signature};

/// Addresses in one record at most.
pub const ADDRESSES_MAX: usize = 4;
/// The shortest record, in bytes: one IPv4 address.
pub const RECORD_BYTES_MIN: usize = 32 + 8 + 4 + 1 + 7 + 64;
/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 32 + 8 + 4 + 1 + ADDRESSES_MAX * 19 + 64;
const DOMAIN: &[u8] = b"proctor/peer/1";

/// Which records are believed.
#[derive(Clone, Copy, Debug)]
pub struct RecordRules {
    /// The chain of this node.
    pub chain: Digest,
    /// Which addresses are.
    pub addresses: AddressRules,
}

/// Why a record is not believed, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end within the record.
    #[error("the record ends too early")]
    Short,
    /// More bytes follow than one record has.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
    /// No address, or more than there may be.
    #[error("a record has 1 to {ADDRESSES_MAX} addresses, not {0}")]
    AddressCount(usize),
    /// Neither IPv4 nor IPv6.
    #[error("{0} is no kind of address")]
    AddressKind(u8),
    /// The same address stands there twice.
    #[error("the record names {0} twice")]
    AddressTwice(PeerAddress),
    /// An address that is not believed here. That is no fault of who passed the record on: another
    /// node may have other rules.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// Not signed by the node that it is about.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// What a record says, well-formed but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The node it is about.
    pub key: NodeId,
    /// Of two records of a node the one with the greater number holds. Not a time.
    pub seq: u64,
    /// What the node does for others.
    pub roles: Roles,
    /// Where it listens, best first: 1 to [`ADDRESSES_MAX`], none twice.
    addresses: Vec<PeerAddress>,
    signature: Signature,
}

impl PeerRecord {
    /// Reads one record from its canonical bytes.
    ///
    /// # Errors
    /// Any of [`RecordError`] but those about addresses and the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(bytes);
        let record = Self::read(&mut reader)?;
        match reader.0.len() {
            0 => Ok(record),
            more => Err(RecordError::Trailing(more)),
        }
    }

    /// Reads one record from the front of `bytes` and leaves what follows it there.
    ///
    /// # Errors
    /// As [`PeerRecord::decode`], without [`RecordError::Trailing`].
    pub fn decode_prefix(bytes: &mut &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(bytes);
        let record = Self::read(&mut reader)?;
        *bytes = reader.0;
        Ok(record)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let key = NodeId(reader.array().ok_or(RecordError::Short)?);
        let seq = reader.u64().ok_or(RecordError::Short)?;
        let roles = Roles(reader.u32().ok_or(RecordError::Short)?);
        let count = usize::from(reader.byte().ok_or(RecordError::Short)?);
        if !(1..=ADDRESSES_MAX).contains(&count) {
            return Err(RecordError::AddressCount(count));
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let ip = reader.ip().ok_or(RecordError::Short)?.map_err(RecordError::AddressKind)?;
            let port = reader.u16().ok_or(RecordError::Short)?;
            addresses.push(PeerAddress { ip, port });
        }
        let signature = Signature(reader.array().ok_or(RecordError::Short)?);
        Self::of_parts(key, seq, roles, addresses, signature)
    }

    fn of_parts(
        key: NodeId,
        seq: u64,
        roles: Roles,
        addresses: Vec<PeerAddress>,
        signature: Signature,
    ) -> Result<Self, RecordError> {
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(RecordError::AddressCount(addresses.len()));
        }
        for (index, address) in addresses.iter().enumerate() {
            if addresses.iter().skip(index + 1).any(|other| other == address) {
                return Err(RecordError::AddressTwice(*address));
            }
        }
        Ok(Self { key, seq, roles, addresses, signature })
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_unsigned(out);
        out.extend_from_slice(&self.signature.0);
    }

    fn encode_unsigned(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.roles.0.to_be_bytes());
        out.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        self.addresses.iter().for_each(|address| put_address(out, *address));
    }

    fn signed_bytes(&self, chain: &Digest) -> Vec<u8> {
        let mut bytes = [DOMAIN, &chain.0].concat();
        self.encode_unsigned(&mut bytes);
        bytes
    }

    /// Where the node listens, best first.
    #[must_use]
    pub fn addresses(&self) -> &[PeerAddress] {
        &self.addresses
    }

    /// Checks what can be checked without cryptography: every address.
    ///
    /// # Errors
    /// [`RecordError::Address`] for the first address that is not believed.
    pub fn check_addresses(&self, rules: &RecordRules) -> Result<(), RecordError> {
        self.addresses.iter().try_for_each(|address| rules.addresses.check(*address))?;
        Ok(())
    }

    /// Checks addresses and signature. Costs one Ed25519 verification.
    ///
    /// # Errors
    /// [`RecordError::Address`] or [`RecordError::Signature`].
    pub fn verify(self, rules: &RecordRules) -> Result<VerifiedRecord, RecordError> {
        self.check_addresses(rules)?;
        self.key.verify(&self.signed_bytes(&rules.chain), &self.signature)?;
        Ok(VerifiedRecord(self))
    }
}

/// A record that its own node signed, with addresses that are believed here. There is no other way
/// to one than [`PeerRecord::verify`] and [`OwnRecord::sign`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRecord(PeerRecord);

impl VerifiedRecord {
    /// The record.
    #[must_use]
    pub fn record(&self) -> &PeerRecord {
        &self.0
    }

    /// The providers of its addresses, each once.
    pub(super) fn providers(&self) -> Vec<Subnet> {
        let mut providers: Vec<_> =
            self.0.addresses.iter().map(|address| Subnet::provider(address.ip)).collect();
        providers.sort_unstable();
        providers.dedup();
        providers
    }
}

/// What this node says of itself. Only this can be signed here: never what another node says (B13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRecord {
    /// This node.
    pub key: NodeId,
    /// What it does for others.
    pub roles: Roles,
    /// Where it listens, best first.
    pub addresses: Vec<PeerAddress>,
}

impl OwnRecord {
    /// Returns the number of the next record after that with number `last`: the time of day in
    /// milliseconds if that is greater, else the next number. So a clock that was set back, and a
    /// node that lost its last number, both make newer records.
    #[must_use]
    pub fn next_seq(last: Option<u64>, wall_ms: u64) -> u64 {
        last.map_or(wall_ms, |last| last.saturating_add(1).max(wall_ms))
    }

    /// Signs the record with number `seq`. `sign` is asked once, for a signature by [`Self::key`].
    ///
    /// # Errors
    /// [`RecordError`] if the record could not be believed by others, or the signature is not ours.
    pub fn sign(
        self,
        seq: u64,
        rules: &RecordRules,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Result<VerifiedRecord, RecordError> {
        let unsigned = Signature([0; 64]);
        let mut record = PeerRecord::of_parts(self.key, seq, self.roles, self.addresses, unsigned)?;
        record.signature = sign(&record.signed_bytes(&rules.chain));
        record.verify(rules)
    }
}

#[cfg(test)]
mod tests;
