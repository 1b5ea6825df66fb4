//! The first epoch of a session as `docs/ratchet.md` has it in section 6, written out once more.
//!
//! Tests use it that must know every secret, or hold the keys of an end that does not behave.
#![allow(dead_code, reason = "each test uses its part of it")]

use proctor_ratchet::crypto::Crypto;
use proctor_ratchet::{Agreed, Secret};
use proctor_ratchet_crypto::Hybrid;
use proctor_transport::PeerId;

/// The first record keys of a direction, and what its nonces are made of.
pub(crate) struct Direction {
    pub(crate) iv: [u8; 12],
    pub(crate) keys: Vec<Secret>,
}

impl Direction {
    pub(crate) fn nonce(&self, number: usize) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip((number as u64).to_le_bytes()).for_each(|(to, from)| *to ^= from);
        nonce
    }
}

/// Epoch 0 of a session without a pre-shared key.
pub(crate) struct FirstEpoch {
    pub(crate) transcript: [u8; 32],
    pub(crate) dialer: Direction,
    pub(crate) listener: Direction,
}

/// Derives it, with at least `records` keys for each direction. `witness` is shown every secret.
pub(crate) fn first_epoch(
    (exporter, handshake_hash): (&Secret, &[u8; 32]),
    agreed: Agreed,
    [dialer, listener]: [PeerId; 2],
    records: usize,
    witness: &dyn Fn(&Secret),
) -> FirstEpoch {
    let (low, high) = (dialer.0.min(listener.0), dialer.0.max(listener.0));
    let terms = [&agreed.encode()[..], &[0; 8]].concat();
    let list: [&[u8]; 6] = [&[1], &[1], &low, &high, handshake_hash, &terms];
    let transcript = Hybrid::digest(&[&parts(b"rk1 th0", &list)]);
    let extracted = Hybrid::mac(&transcript, &[exporter.expose()]);
    witness(&extracted);
    let expand = |label| expand(&extracted, label, &transcript, witness);
    for label in ["next", "conf r", "conf i"] {
        drop(expand(label));
    }
    let [up, down] = ["l2h", "h2l"].map(|label| direction(&expand(label), records, witness));
    let (dialer, listener) = if dialer.0 == low { (up, down) } else { (down, up) };
    FirstEpoch { transcript, dialer, listener }
}

fn direction(traffic: &Secret, records: usize, witness: &dyn Fn(&Secret)) -> Direction {
    let iv = expand(traffic, "iv", &[], witness);
    let mut chain = expand(traffic, "chain", &[], witness);
    let mut keys = Vec::with_capacity(records + 15);
    while keys.len() < records {
        let mut outputs = [[0; 32]; 16];
        let mut hasher = blake3::Hasher::new_keyed(chain.expose());
        hasher.update(b"rk1 keys").finalize_xof().fill(outputs.as_flattened_mut());
        let [next, made @ ..] = outputs.each_mut().map(Secret::take);
        chain = next;
        witness(&chain);
        made.iter().for_each(witness);
        keys.extend(made);
    }
    Direction { iv: iv.expose()[..12].try_into().expect("twelve of 32"), keys }
}

fn expand(secret: &Secret, label: &str, context: &[u8], witness: &dyn Fn(&Secret)) -> Secret {
    let info = parts(&32_u16.to_le_bytes(), &[&[b"rk1 ", label.as_bytes()].concat(), context]);
    let expanded = Hybrid::mac(secret.expose(), &[&info, &[1]]);
    witness(&expanded);
    expanded
}

/// Concatenates `list` with the length before each part.
fn parts(tag: &[u8], list: &[&[u8]]) -> Vec<u8> {
    let mut out = tag.to_vec();
    for part in list {
        out.extend_from_slice(&u32::try_from(part.len()).expect("short").to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}
