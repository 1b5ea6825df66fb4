//! Secrets, what is agreed before a session, and every derivation with its label.
//!
//! HKDF (RFC 5869) over the provider's keyed hash. Traffic secrets, the salt of the next epoch and
//! the confirmations are siblings: none of them tells anything about another. The transcript `TH`
//! covers the identities, all that was agreed, and every INIT and RESP so far.

use zeroize::Zeroize;

use crate::crypto::{Crypto, Shared};
use crate::rekey::Side;

/// Thirty-two secret bytes; not copyable, wiped when dropped. They stay in one place however often
/// the value is moved, because a move would leave a copy behind that nobody wipes.
///
/// ```compile_fail
/// fn copyable<T: Clone>() {}
/// copyable::<proctor_ratchet::Secret>();
/// ```
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub struct Secret(Box<[u8; 32]>);

impl Secret {
    /// Takes the bytes over and wipes them where they were.
    #[must_use]
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let mut secret = Self(Box::new([0; 32]));
        secret.replace(bytes);
        secret
    }

    /// Takes other bytes in place of its own, and wipes them where they were.
    pub fn replace(&mut self, bytes: &mut [u8; 32]) {
        *self.0 = *bytes;
        bytes.zeroize();
    }

    /// Lends the bytes. Whoever copies them wipes the copy.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// How often keys change; both ends agree on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A new key every 4,096 records, new secrets by rounds.
    Throughput,
    /// A new key for each record, new secrets by rounds: a stolen key opens one record.
    #[default]
    RecordFs,
    /// New secrets for each message: the next message waits for a round.
    FreshEpoch,
}

impl Mode {
    /// Returns how many records one key seals.
    #[must_use]
    pub fn records_per_key(self) -> u64 {
        match self {
            Self::Throughput => 1 << 12,
            Self::RecordFs | Self::FreshEpoch => 1,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Throughput => 0,
            Self::RecordFs => 1,
            Self::FreshEpoch => 2,
        }
    }
}

/// What both ends must hold for the same; it is part of the first transcript, so that ends which
/// differ fail at the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreed {
    /// How often keys change.
    pub mode: Mode,
    /// Whether INIT and RESP are signed by the identities.
    pub signed: bool,
    /// The longest payload of a record, in bytes; 1 to 65,536.
    pub payload_max: u32,
    /// How many bytes of data, see [`crate::Data::cost`], the peer may send ahead of the reader.
    pub credit: u32,
}

impl Default for Agreed {
    fn default() -> Self {
        Self { mode: Mode::default(), signed: true, payload_max: 16 << 10, credit: 1 << 20 }
    }
}

impl Agreed {
    /// Bytes of [`Self::encode`].
    pub const BYTES: usize = 10;

    /// Returns the terms as they stand in transcripts: mode 1, signed 1, payload 4, credit 4.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let [p0, p1, p2, p3] = self.payload_max.to_le_bytes();
        let [c0, c1, c2, c3] = self.credit.to_le_bytes();
        [self.mode.code(), u8::from(self.signed), p0, p1, p2, p3, c0, c1, c2, c3]
    }
}

/// A pre-shared key that is mixed into every round.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub struct Psk {
    id: u64,
    keys: Vec<Vec<u8>>,
}

impl Psk {
    /// Names a list of keys; both ends need the same list in the same order under the same name.
    /// Returns `None` for the name 0, which means "none" on the wire.
    #[must_use]
    pub fn new(id: u64, keys: Vec<Vec<u8>>) -> Option<Self> {
        (id != 0).then_some(Self { id, keys })
    }

    /// Returns the name.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    fn mix<C: Crypto>(&self) -> Secret {
        let id = self.id.to_le_bytes();
        let mut list: Vec<&[u8]> = vec![&id];
        list.extend(self.keys.iter().map(Vec::as_slice));
        let mut material = parts(b"rk1 psk", &list);
        let mut hash = C::digest(&[&material]);
        material.zeroize();
        Secret::take(&mut hash)
    }
}

impl Drop for Psk {
    fn drop(&mut self) {
        self.keys.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// What a handshake hands over.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub struct InitialKeys {
    /// The exporter secret of the handshake.
    pub exporter: Secret,
    /// The hash of the handshake's transcript.
    pub handshake_hash: [u8; 32],
    /// The pre-shared key of the two ends, if they have one.
    pub psk: Option<Psk>,
}

/// What stays the same through all epochs of a session.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Binding {
    session_id: [u8; 32],
    pub(crate) psk_id: u64,
    psk: Secret,
}

/// What connects an epoch to the next.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Chain {
    pub(crate) epoch: u64,
    pub(crate) transcript: [u8; 32],
    salt: Secret,
}

/// The secrets of a new epoch.
pub(crate) struct EpochKeys {
    pub(crate) chain: Chain,
    pub(crate) low_to_high: Secret,
    pub(crate) high_to_low: Secret,
    /// What the responder's and the initiator's confirmation must be.
    pub(crate) confirm_resp: [u8; 32],
    pub(crate) confirm_init: [u8; 32],
}

impl EpochKeys {
    /// Returns the traffic secret of what `side` sends, and of what it receives.
    pub(crate) fn directions(self, side: Side) -> (Chain, Secret, Secret) {
        match side {
            Side::Low => (self.chain, self.low_to_high, self.high_to_low),
            Side::High => (self.chain, self.high_to_low, self.low_to_high),
        }
    }

    fn derive<C: Crypto>(epoch: u64, extracted: &Secret, transcript: [u8; 32]) -> Self {
        let expand = |label: &str| expand::<C>(extracted, label, &transcript);
        let (resp_key, init_key) = (expand("conf r"), expand("conf i"));
        let confirm_resp = *C::mac(resp_key.expose(), &[&transcript]).expose();
        let confirm_init = *C::mac(init_key.expose(), &[&transcript, &confirm_resp]).expose();
        Self {
            low_to_high: expand("l2h"),
            high_to_low: expand("h2l"),
            chain: Chain { epoch, transcript, salt: expand("next") },
            confirm_resp,
            confirm_init,
        }
    }
}

/// Derives epoch 0 from what the handshake handed over; `low` and `high` are the identities.
pub(crate) fn first<C: Crypto>(
    keys: InitialKeys,
    agreed: &Agreed,
    low: &[u8],
    high: &[u8],
) -> (Binding, EpochKeys) {
    let psk_id = keys.psk.as_ref().map_or(0, |psk| psk.id);
    let terms = [agreed.encode().as_slice(), &psk_id.to_le_bytes()].concat();
    let transcript = C::digest(&[&parts(
        b"rk1 th0",
        &[&[crate::frame::VERSION], &[C::SUITE], low, high, &keys.handshake_hash, &terms],
    )]);
    let session_id = C::digest(&[b"rk1 sid", &transcript]);
    let extracted = C::mac(&transcript, &[keys.exporter.expose()]);
    let psk = keys.psk.as_ref().map_or_else(|| Secret::take(&mut [0; 32]), Psk::mix::<C>);
    (Binding { session_id, psk_id, psk }, EpochKeys::derive::<C>(0, &extracted, transcript))
}

/// Returns the transcript of the epoch that an INIT and a RESP (both without what follows their
/// transcript-covered part) would open.
pub(crate) fn transcript<C: Crypto>(chain: &Chain, init: &[u8], resp: &[u8]) -> [u8; 32] {
    let covered = parts(b"", &[init, resp]);
    C::digest(&[b"rk1 th".as_slice(), &chain.transcript, &covered])
}

/// Derives the epoch after `chain` from a completed agreement.
pub(crate) fn next<C: Crypto>(
    binding: &Binding,
    chain: &Chain,
    shared: &Shared,
    transcript: [u8; 32],
) -> EpochKeys {
    let mut material = parts(b"", &[shared.kem.expose(), shared.dh.expose(), binding.psk.expose()]);
    let extracted = C::mac(chain.salt.expose(), &[&material]);
    material.zeroize();
    EpochKeys::derive::<C>(chain.epoch + 1, &extracted, transcript)
}

/// Returns what the signature of an INIT covers.
pub(crate) fn signed_init(binding: &Binding, chain: &Chain, init: &[u8]) -> Vec<u8> {
    let epoch = (chain.epoch + 1).to_le_bytes();
    [b"rk1 init".as_slice(), &binding.session_id, &epoch, &chain.transcript, init].concat()
}

/// Returns what the signature of a RESP covers.
pub(crate) fn signed_resp(binding: &Binding, epoch: u64, transcript: &[u8; 32]) -> Vec<u8> {
    [b"rk1 resp".as_slice(), &binding.session_id, &epoch.to_le_bytes(), transcript].concat()
}

/// Returns the first secret of the key chain of a direction, and what its nonces are made of.
pub(crate) fn traffic<C: Crypto>(traffic: &Secret) -> (Secret, [u8; 12]) {
    let mut iv = [0; 12];
    let expanded = expand::<C>(traffic, "iv", &[]);
    iv.iter_mut().zip(expanded.expose()).for_each(|(to, from)| *to = *from);
    (expand::<C>(traffic, "chain", &[]), iv)
}

/// HKDF-Expand to 32 bytes, which is one block.
fn expand<C: Crypto>(secret: &Secret, label: &str, context: &[u8]) -> Secret {
    let label = [b"rk1 ", label.as_bytes()].concat();
    let info = parts(&32_u16.to_le_bytes(), &[&label, context]);
    C::mac(secret.expose(), &[&info, &[1]])
}

/// Concatenates with the length before each part, so that no two lists look the same.
fn parts(tag: &[u8], list: &[&[u8]]) -> Vec<u8> {
    // The exact size from the start: a vector that grows would leave secrets behind.
    let mut out =
        Vec::with_capacity(tag.len() + list.iter().map(|part| part.len() + 4).sum::<usize>());
    out.extend_from_slice(tag);
    for part in list {
        let length = u32::try_from(part.len()).expect("nothing that is hashed has 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}
