//! Chains to test with: a sequencer of one key, headers over made-up bodies, ranges.

use ed25519_zebra::SigningKey;
use proctor_p2p::{Certificate, ChainId, Committee, Facts, Header, NodeId, Signature, Tip, Trust};
use proctor_types::{Digest, UtcMs};

pub(crate) const CHAIN: ChainId = ChainId(Digest([7; 32]));

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn node(key: &SigningKey) -> NodeId {
    NodeId(key.verification_key().into())
}

pub(crate) fn sign(key: &SigningKey, bytes: &[u8]) -> Signature {
    Signature(key.sign(bytes).to_bytes())
}

pub(crate) fn trust(epoch: u64, key: &SigningKey) -> Trust {
    Trust { chain: CHAIN, committee: Committee::new(epoch, vec![node(key)]).unwrap() }
}

pub(crate) fn facts(height: u64) -> Facts {
    let body = height.to_be_bytes();
    Facts {
        record_before: Digest::of(b"record"),
        body: Digest::of(&body),
        body_len: 8,
        time: UtcMs(i64::try_from(height).unwrap() * 10),
        state_before: Digest::of(&[&body[..], b"state"].concat()),
        next_committee: None,
    }
}

/// The headers after `from`, up to and including `to`.
pub(crate) fn headers(from: &Tip, to: u64) -> Vec<Header> {
    let mut tip = *from;
    let mut headers = Vec::new();
    while tip.height < to {
        let header = Header::after(&tip, facts(tip.height + 1)).unwrap();
        tip = header.tip(&CHAIN);
        headers.push(header);
    }
    headers
}

pub(crate) fn certify(key: &SigningKey, epoch: u64, header: &Header) -> Certificate {
    Certificate::solo(&CHAIN, epoch, &header.tip(&CHAIN), |bytes| sign(key, bytes))
}
