//! The true chain of a run: headers, bodies, states, certificates, snapshots.

use std::collections::BTreeMap;

use ed25519_zebra::SigningKey;
use proctor_fuzz::Rng;
use proctor_p2p::snapshot::{CHUNK_BYTES, Contents};
use proctor_p2p::{
    Certificate, Certified, ChainId, Committee, Facts, Header, Manifest, NodeId, Signature, Tip,
    Trust,
};
use proctor_types::{Digest, UtcMs};

pub(crate) const CHAIN: ChainId = ChainId(Digest([7; 32]));

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn node_id(key: &SigningKey) -> NodeId {
    NodeId(key.verification_key().into())
}

pub(crate) fn sign(key: &SigningKey, bytes: &[u8]) -> Signature {
    Signature(key.sign(bytes).to_bytes())
}

/// The state after a commit: a function of the state before and the body.
pub(crate) fn fold(state: &Digest, body: &[u8]) -> Digest {
    Digest::of(&[&state.0[..], &Digest::of(body).0].concat())
}

pub(crate) struct Truth {
    pub(crate) key: SigningKey,
    pub(crate) headers: Vec<Header>,
    pub(crate) bodies: Vec<Vec<u8>>,
    /// States after each commit; the first is that of the empty history.
    pub(crate) states: Vec<Digest>,
    tip: Tip,
    certificates: BTreeMap<u64, Certificate>,
    pub(crate) snapshot_len: usize,
}

impl Truth {
    pub(crate) fn new(key: SigningKey) -> Self {
        Self {
            key,
            headers: Vec::new(),
            bodies: Vec::new(),
            states: vec![Digest::of(b"empty")],
            tip: Tip::GENESIS,
            certificates: BTreeMap::new(),
            snapshot_len: 1_000,
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        let committee = Committee::new(0, vec![node_id(&self.key)]).unwrap();
        Trust { chain: CHAIN, committee }
    }

    pub(crate) fn height(&self) -> u64 {
        self.headers.len() as u64
    }

    pub(crate) fn extend(&mut self, rng: &mut Rng) {
        let len = match rng.below(400) {
            0 => rng.below(150_000),
            1..20 => rng.below(4_000),
            _ => rng.below(60),
        };
        let mut body = vec![rng.bits() as u8; len];
        body.extend(self.tip.height.to_be_bytes());
        self.append(body);
    }

    pub(crate) fn append(&mut self, body: Vec<u8>) {
        let state = *self.states.last().unwrap();
        let facts = Facts {
            record_before: Digest([9; 32]),
            body: Digest::of(&body),
            body_len: u32::try_from(body.len()).unwrap(),
            time: UtcMs(self.tip.time.0 + 1),
            state_before: state,
            next_committee: None,
        };
        let header = Header::after(&self.tip, facts).unwrap();
        self.tip = header.tip(&CHAIN);
        self.states.push(fold(&state, &body));
        self.headers.push(header);
        self.bodies.push(body);
    }

    pub(crate) fn header(&self, height: u64) -> &Header {
        &self.headers[usize::try_from(height).unwrap() - 1]
    }

    pub(crate) fn body(&self, height: u64) -> &Vec<u8> {
        &self.bodies[usize::try_from(height).unwrap() - 1]
    }

    pub(crate) fn state(&self, height: u64) -> Digest {
        self.states[usize::try_from(height).unwrap()]
    }

    pub(crate) fn certificate(&mut self, height: u64) -> Certificate {
        let tip = self.header(height).tip(&CHAIN);
        let key = self.key;
        let make = || Certificate::solo(&CHAIN, 0, &tip, |bytes| sign(&key, bytes));
        self.certificates.entry(height).or_insert_with(make).clone()
    }

    pub(crate) fn certified(&mut self, height: u64) -> Certified {
        Certified { certificate: self.certificate(height), header: self.header(height).clone() }
    }

    /// The bytes of the snapshot at `height`: the state, and filling.
    pub(crate) fn snapshot(&self, height: u64) -> Vec<u8> {
        let mut bytes = self.state(height).0.to_vec();
        bytes.resize(bytes.len() + self.snapshot_len, height as u8);
        bytes
    }

    pub(crate) fn manifest(&mut self, height: u64) -> Manifest {
        let bytes = self.snapshot(height);
        let chunks = bytes.chunks(CHUNK_BYTES as usize).map(Digest::of).collect();
        let (len, next) = (bytes.len() as u64, self.certified(height + 1));
        self.attest(Contents { format: 1, len, chunks }, next)
    }

    /// The manifest of these bytes, vouched for by the sequencer.
    pub(crate) fn attest(&self, contents: Contents, next: Certified) -> Manifest {
        Manifest::solo(&CHAIN, contents, next, |bytes| sign(&self.key, bytes))
    }
}
