//! The four messages of the handshake and the keys they make: no I/O, no clock.
//!
//! SIGMA-I (Krawczyk 2003) with a key encapsulation beside the Diffie-Hellman exchange (Peikert
//! 2014, section 6). All messages have one length each, so nothing is parsed that could be longer
//! than it should be, and every byte is part of a transcript that the next message depends on.

use proctor_ratchet::crypto::{Crypto, IDENTITY_BYTES, Shared};
use proctor_ratchet::{Agreed, InitialKeys, Psk, Secret};
use proctor_ratchet_crypto::{
    Ephemeral, Hybrid, Identity, SIGNATURE_BYTES, answer, generate, is_signed_by,
};

use super::{HandshakeError, Message, Terms};
use crate::PeerId;

/// Names the protocol and its version; the first bytes of every connection.
const MAGIC: [u8; 4] = *b"PSS1";
const MAC_BYTES: usize = 32;
const PROOF_BYTES: usize = IDENTITY_BYTES + SIGNATURE_BYTES + MAC_BYTES;

/// Bytes of HELLO before its share; they are checked before any cryptography.
pub(crate) const HEAD_BYTES: usize = 4 + 1 + Agreed::BYTES + 8 + 32;
/// Bytes of HELLO.
pub(crate) const HELLO_BYTES: usize = HEAD_BYTES + Hybrid::SHARE_BYTES;
/// Bytes of FINISH: a sealed proof of identity.
pub(crate) const FINISH_BYTES: usize = PROOF_BYTES + Hybrid::TAG_BYTES;
/// Bytes of REPLY: the answer to the share and a sealed proof.
pub(crate) const REPLY_BYTES: usize = Hybrid::ANSWER_BYTES + FINISH_BYTES;
/// Bytes of VERDICT.
pub(crate) const VERDICT_BYTES: usize = 1 + Hybrid::TAG_BYTES;

const WELCOME: u8 = 0;
const REFUSED: u8 = 1;

/// Who proves its identity; a proof of one role is none of the other.
#[derive(Clone, Copy)]
enum Role {
    Initiator,
    Responder,
}

impl Role {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Initiator => b"proctor stream 1 initiator",
            Self::Responder => b"proctor stream 1 responder",
        }
    }
}

/// What both ends know after HELLO and the answer to it.
struct Keys(Secret);

impl Keys {
    fn new(shared: &Shared, transcript: &[u8; 32]) -> Self {
        Self(Hybrid::mac(transcript, &[shared.kem.expose(), shared.dh.expose()]))
    }

    /// HKDF-Expand to 32 bytes, which is one block. Labels have no zero byte.
    fn derive(&self, label: &str, transcript: &[u8; 32]) -> Secret {
        Hybrid::mac(self.0.expose(), &[b"pss1 ", label.as_bytes(), &[0], transcript, &[1]])
    }

    /// Every sealing key seals one message, so the nonce need not differ.
    fn seal(&self, label: &str, transcript: &[u8; 32], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(plain.len() + Hybrid::TAG_BYTES);
        sealed.extend_from_slice(plain);
        let key = Hybrid::key(&self.derive(label, transcript));
        Hybrid::seal(&key, [0; 12], transcript, &mut sealed, 0);
        sealed
    }

    fn open<'a>(
        &self,
        label: &str,
        transcript: &[u8; 32],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let key = Hybrid::key(&self.derive(label, transcript));
        Hybrid::open(&key, [0; 12], transcript, sealed)
    }

    /// Returns identity, signature and confirmation of `role`.
    fn prove(
        &self,
        role: Role,
        transcript: &[u8; 32],
        identity: &Identity,
    ) -> Result<Vec<u8>, HandshakeError> {
        let public = identity.public();
        let signature = identity.sign(&[role.label(), transcript, &public].concat())?;
        let mac = self.confirm(role, transcript, &public, &signature);
        Ok([public.as_slice(), &signature, mac.expose()].concat())
    }

    fn confirm(&self, role: Role, transcript: &[u8; 32], id: &[u8], signature: &[u8]) -> Secret {
        let label = match role {
            Role::Initiator => "initiator mac",
            Role::Responder => "responder mac",
        };
        Hybrid::mac(self.derive(label, transcript).expose(), &[transcript, id, signature])
    }

    /// Checks a proof of `role` and returns whose it is. `acceptable` judges the claim before the
    /// signature is looked at.
    fn check(
        &self,
        role: Role,
        transcript: &[u8; 32],
        proof: &[u8],
        acceptable: impl FnOnce(PeerId) -> Result<(), HandshakeError>,
    ) -> Result<PeerId, HandshakeError> {
        let message = match role {
            Role::Initiator => Message::Finish,
            Role::Responder => Message::Reply,
        };
        let wrong = HandshakeError::NotAuthentic(message);
        let Some((id, rest)) = proof.split_first_chunk::<IDENTITY_BYTES>() else {
            return Err(wrong);
        };
        let Some((signature, mac)) = rest.split_at_checked(SIGNATURE_BYTES) else {
            return Err(wrong);
        };
        acceptable(PeerId(*id))?;
        if !is_signed_by(id, &[role.label(), transcript, id].concat(), signature) {
            return Err(HandshakeError::BadSignature(PeerId(*id)));
        }
        // The proof was sealed under the same secret, so what is compared here is not secret to
        // whoever could time it.
        if self.confirm(role, transcript, id, signature).expose() != mac {
            return Err(wrong);
        }
        Ok(PeerId(*id))
    }

    fn initial(&self, transcript: [u8; 32], psk: Option<Psk>) -> InitialKeys {
        let exporter = self.derive("exporter", &transcript);
        InitialKeys { exporter, handshake_hash: transcript, psk }
    }
}

fn digest(label: &[u8], parts: [&[u8]; 2]) -> [u8; 32] {
    let [first, second] = parts;
    Hybrid::digest(&[label, first, second])
}

fn head(terms: &Terms) -> Vec<u8> {
    let psk = terms.psk_id().to_le_bytes();
    [&MAGIC, [Hybrid::SUITE].as_slice(), &terms.agreed.encode(), &psk, &terms.network].concat()
}

/// Compares what HELLO says with what this end would say: nothing is negotiated.
pub(crate) fn check_head(found: &[u8; HEAD_BYTES], terms: &Terms) -> Result<(), HandshakeError> {
    let ours = head(terms);
    let mut at = 0;
    let mut same = |count: usize| {
        let range = at..at + count;
        at += count;
        found.get(range.clone()) == ours.get(range)
    };
    let checks = [
        (MAGIC.len(), HandshakeError::Version),
        (1, HandshakeError::Suite),
        (Agreed::BYTES, HandshakeError::Terms),
        (8, HandshakeError::Psk),
        (32, HandshakeError::Network),
    ];
    for (count, error) in checks {
        if !same(count) {
            return Err(error);
        }
    }
    Ok(())
}

/// The end that dials, waiting for REPLY.
pub(crate) struct Dialing {
    hello: Vec<u8>,
    ephemeral: Ephemeral,
}

/// The end that dials, waiting for VERDICT.
pub(crate) struct Proven {
    keys: Keys,
    transcript: [u8; 32],
}

/// The end that listens, waiting for FINISH.
pub(crate) struct Answered {
    keys: Keys,
    transcript: [u8; 32],
}

/// The end that listens, having heard everything.
pub(crate) struct Judged {
    keys: Keys,
    transcript: [u8; 32],
}

impl Dialing {
    /// Returns HELLO.
    pub(crate) fn hello(terms: &Terms) -> Result<(Self, Vec<u8>), HandshakeError> {
        let (ephemeral, share) = generate()?;
        let hello = [head(terms), share].concat();
        Ok((Self { hello: hello.clone(), ephemeral }, hello))
    }

    /// Takes REPLY, checks that it comes from `expected`, and returns FINISH.
    pub(crate) fn on_reply(
        self,
        reply: &[u8; REPLY_BYTES],
        identity: &Identity,
        expected: PeerId,
    ) -> Result<(Proven, Vec<u8>), HandshakeError> {
        let (answer, sealed) = reply.split_at(Hybrid::ANSWER_BYTES);
        let shared = Hybrid::complete(self.ephemeral, answer)
            .map_err(|_| HandshakeError::BadShare(Message::Reply))?;
        let transcript = digest(b"pss1 reply", [&self.hello, answer]);
        let keys = Keys::new(&shared, &transcript);
        let mut opened = sealed.to_vec();
        let proof = keys
            .open("reply", &transcript, &mut opened)
            .ok_or(HandshakeError::NotAuthentic(Message::Reply))?;
        keys.check(Role::Responder, &transcript, proof, |found| {
            if found.0 == identity.public() {
                return Err(HandshakeError::SameIdentity);
            }
            let fits = found == expected;
            if fits { Ok(()) } else { Err(HandshakeError::WrongPeer { expected, found }) }
        })?;
        let transcript = digest(b"pss1 finish", [&transcript, sealed]);
        let proof = keys.prove(Role::Initiator, &transcript, identity)?;
        let finish = keys.seal("finish", &transcript, &proof);
        let transcript = digest(b"pss1 verdict", [&transcript, &finish]);
        Ok((Proven { keys, transcript }, finish))
    }
}

impl Proven {
    /// Takes VERDICT.
    pub(crate) fn on_verdict(
        self,
        verdict: &[u8; VERDICT_BYTES],
        psk: Option<Psk>,
    ) -> Result<InitialKeys, HandshakeError> {
        let mut opened = verdict.to_vec();
        match self.keys.open("verdict", &self.transcript, &mut opened) {
            Some([WELCOME]) => Ok(self.keys.initial(self.transcript, psk)),
            Some([REFUSED]) => Err(HandshakeError::Refused),
            Some(_) | None => Err(HandshakeError::NotAuthentic(Message::Verdict)),
        }
    }
}

impl Answered {
    /// Takes HELLO, checks its head before anything else, and returns REPLY.
    pub(crate) fn on_hello(
        hello: &[u8; HELLO_BYTES],
        terms: &Terms,
        identity: &Identity,
    ) -> Result<(Self, Vec<u8>), HandshakeError> {
        let (head, share) = hello
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(HandshakeError::BadShare(Message::Hello))?;
        check_head(head, terms)?;
        let (shared, answer) =
            answer(share).map_err(|_| HandshakeError::BadShare(Message::Hello))?;
        let transcript = digest(b"pss1 reply", [hello, &answer]);
        let keys = Keys::new(&shared, &transcript);
        let proof = keys.prove(Role::Responder, &transcript, identity)?;
        let sealed = keys.seal("reply", &transcript, &proof);
        let transcript = digest(b"pss1 finish", [&transcript, &sealed]);
        Ok((Self { keys, transcript }, [answer, sealed].concat()))
    }

    /// Takes FINISH and returns who it is that dials.
    pub(crate) fn on_finish(
        self,
        finish: &[u8; FINISH_BYTES],
        identity: &Identity,
    ) -> Result<(Judged, PeerId), HandshakeError> {
        let mut opened = finish.to_vec();
        let proof = self
            .keys
            .open("finish", &self.transcript, &mut opened)
            .ok_or(HandshakeError::NotAuthentic(Message::Finish))?;
        let peer = self.keys.check(Role::Initiator, &self.transcript, proof, |found| {
            let same = found.0 == identity.public();
            if same { Err(HandshakeError::SameIdentity) } else { Ok(()) }
        })?;
        let transcript = digest(b"pss1 verdict", [&self.transcript, finish]);
        Ok((Judged { keys: self.keys, transcript }, peer))
    }
}

impl Judged {
    /// Returns VERDICT.
    pub(crate) fn verdict(&self, welcome: bool) -> Vec<u8> {
        let code = if welcome { WELCOME } else { REFUSED };
        self.keys.seal("verdict", &self.transcript, &[code])
    }

    /// Returns the first keys of the session.
    pub(crate) fn initial(self, psk: Option<Psk>) -> InitialKeys {
        self.keys.initial(self.transcript, psk)
    }
}
