//! Scheme 4: a quorum of the committee, each member with a signature of its own.
//!
//! The proof is a bitmap of the members, bit `i` of the ascending keys in byte `i / 8` from its lowest
//! bit on, then one signature for each bit that is set, ascending. Exactly as many sign as must:
//! a committee of `n` decides with `n - (n - 1) / 3`, and with more signatures there would be many
//! proofs of one decision. Everything that costs nothing is checked before the first signature.

use super::{CertificateError, Committee};
use crate::node_id::{NodeId, SIGNATURE_BYTES, Signature};

/// Returns how many of `members` decide: all but those that may fail, of which there are fewer than
/// a third.
pub(super) fn of(members: usize) -> usize {
    members.saturating_sub(members.saturating_sub(1) / 3)
}

/// Checks that `proof` has the signatures of a quorum of `committee` over `bytes`.
pub(super) fn check(
    committee: &Committee,
    bytes: &[u8],
    proof: &[u8],
) -> Result<(), CertificateError> {
    let keys = committee.keys();
    let (members, needed) = (keys.len(), of(keys.len()));
    // One member signs under scheme 0: a decision has one kind of proof.
    if members < 2 {
        return Err(CertificateError::OneMember);
    }
    let (bitmap, signatures) =
        proof.split_at_checked(members.div_ceil(8)).ok_or(CertificateError::Malformed)?;
    let is_set =
        |place: usize| bitmap.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
    if (members..bitmap.len() * 8).any(is_set) {
        return Err(CertificateError::Malformed);
    }
    let signers: Vec<&NodeId> =
        keys.iter().enumerate().filter(|(place, _)| is_set(*place)).map(|(_, key)| key).collect();
    if signers.len() != needed {
        return Err(CertificateError::Signers { found: signers.len(), needed });
    }
    let (signatures, []) = signatures.as_chunks::<SIGNATURE_BYTES>() else {
        return Err(CertificateError::Malformed);
    };
    if signatures.len() != needed {
        return Err(CertificateError::Malformed);
    }
    for (key, signature) in signers.into_iter().zip(signatures) {
        key.verify(bytes, &Signature(*signature)).map_err(|_| CertificateError::Proof)?;
    }
    Ok(())
}

/// Returns the proof of those `signatures` that the first members of `committee` have made; `None`
/// if they are fewer than a quorum, or the committee has one member.
pub(super) fn proof(committee: &Committee, signatures: &[(NodeId, Signature)]) -> Option<Vec<u8>> {
    let keys = committee.keys();
    let mut bitmap = vec![0_u8; keys.len().div_ceil(8)];
    let mut proof = Vec::new();
    let signed = keys.iter().enumerate().filter_map(|(place, key)| {
        signatures.iter().find(|(node, _)| node == key).map(|(_, one)| (place, one))
    });
    let mut left = of(keys.len());
    for (place, signature) in signed.take(left) {
        *bitmap.get_mut(place / 8)? |= 1 << (place % 8);
        proof.extend_from_slice(&signature.0);
        left -= 1;
    }
    (left == 0 && keys.len() > 1).then(|| [bitmap, proof].concat())
}
