//! Published vectors of the primitives, and the bytes of a whole round, frozen.

use std::sync::Arc;

use proctor_ratchet::crypto::{Crypto, CryptoError, Shared};
use proctor_ratchet::{Agreed, Event, Freshness, InitialKeys, Limits, Moment, Secret, Session};
use proctor_ratchet_crypto::{Hybrid, Identity};

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    assert_eq!(digits.len(), 2 * N);
    std::array::from_fn(|at| {
        let pair = std::str::from_utf8(&digits[2 * at..2 * at + 2]).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hexadecimal")
    })
}

fn secret(hex: &str) -> Secret {
    Secret::take(&mut bytes(hex))
}

/// FIPS 180-2, appendix B.1.
#[test]
fn digest_is_sha_256() {
    let expected = bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(Hybrid::digest(&[b"a", b"", b"bc"]), expected);
}

/// RFC 5869, test case 1: extract, and the first block of expand.
#[test]
fn mac_makes_the_hkdf_of_rfc_5869() {
    let salt: [u8; 13] = bytes("000102030405060708090a0b0c");
    let extracted = Hybrid::mac(&salt, &[&[0x0b; 22]]);
    let expected = bytes("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    assert_eq!(extracted.expose(), &expected);
    let info: [u8; 10] = bytes("f0f1f2f3f4f5f6f7f8f9");
    let expanded = Hybrid::mac(extracted.expose(), &[&info, &[1]]);
    let expected = bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
    assert_eq!(expanded.expose(), &expected);
}

/// The GCM specification (McGrew and Viega), test case 16.
#[test]
fn seal_is_aes_256_gcm() {
    let key =
        Hybrid::key(&secret("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
    let header: [u8; 20] = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let plain: [u8; 60] = bytes(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24
         49a6b525b16aedf5aa0de657ba637b39",
    );
    let sealed: [u8; 76] = bytes(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10
         56828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
    );
    let nonce = bytes("cafebabefacedbaddecaf888");
    let mut buffer = [&[1, 2, 3][..], &plain].concat();
    Hybrid::seal(&key, nonce, &header, &mut buffer, 3);
    assert_eq!(&buffer[..3], &[1, 2, 3]);
    assert_eq!(&buffer[3..], &sealed);
    assert_eq!(Hybrid::open(&key, nonce, &header, &mut buffer[3..]), Some(&plain[..]));
    let mut altered = sealed;
    altered[0] ^= 1;
    assert_eq!(Hybrid::open(&key, nonce, &header, &mut altered), None);
}

/// As `docs/ratchet.md` has it, section 6: sixteen outputs of each secret, of which the first is the next.
#[test]
fn the_chain_of_record_keys_is_that_of_the_docs() {
    let mut secret = [0x33; 32];
    let mut chain = Hybrid::chain(&Secret::take(&mut secret.clone()));
    let mut sealed_by_all = Vec::new();
    for _ in 0..3 {
        let mut outputs = [[0; 32]; 16];
        let mut hasher = blake3::Hasher::new_keyed(&secret);
        hasher.update(b"rk1 keys").finalize_xof().fill(outputs.as_flattened_mut());
        secret = outputs[0];
        for key in &mut outputs[1..] {
            let seal = |key| {
                let mut sealed = vec![1; 8];
                Hybrid::seal(&key, [0; 12], &[], &mut sealed, 0);
                sealed
            };
            let sealed = seal(Hybrid::step(&mut chain));
            assert_eq!(sealed, seal(Hybrid::key(&Secret::take(key))));
            assert!(!sealed_by_all.contains(&sealed), "a key twice");
            sealed_by_all.push(sealed);
        }
    }
    assert_eq!(sealed_by_all.len(), 45);
}

/// RFC 8032, section 7.1, test 2.
#[test]
fn signatures_are_ed25519() {
    let seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let identity = Arc::new(Identity::from_seed(&seed).unwrap());
    let public = identity.public();
    assert_eq!(public, bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
    let mut crypto = Hybrid::new(identity, public).unwrap();
    let expected: [u8; 64] = bytes(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(crypto.sign(&[0x72]).unwrap(), expected);
    assert!(crypto.verify(&[0x72], &expected) && !crypto.verify(&[0x73], &expected));
}

#[test]
fn both_ends_of_an_agreement_get_the_same_two_secrets_and_another_share_other_ones() {
    let mut crypto = crypto(1, 2);
    let (ephemeral, share) = crypto.generate().unwrap();
    assert_eq!(share.len(), Hybrid::SHARE_BYTES);
    let (ours, answer) = crypto.answer(&share).unwrap();
    assert_eq!(answer.len(), Hybrid::ANSWER_BYTES);
    let theirs = Hybrid::complete(ephemeral, &answer).unwrap();
    assert_eq!(ours.kem.expose(), theirs.kem.expose());
    assert_eq!(ours.dh.expose(), theirs.dh.expose());
    let (other, _) = crypto.generate().unwrap();
    let wrong = Hybrid::complete(other, &answer).unwrap();
    assert_ne!(ours.kem.expose(), wrong.kem.expose());
    assert_ne!(ours.dh.expose(), wrong.dh.expose());
}

#[test]
fn shares_that_are_no_keys_are_refused() {
    let mut crypto = crypto(1, 2);
    let (_, share) = crypto.generate().unwrap();
    let mut zero_point = share.clone();
    zero_point[..32].fill(0);
    let mut unreduced = share.clone();
    unreduced[32..].fill(0xff);
    for bad in [zero_point, unreduced, share[..40].to_vec(), Vec::new()] {
        assert!(crypto.answer(&bad).is_err());
    }
}

fn identity(number: u8) -> Identity {
    Identity::from_seed(&[number; 32]).expect("any seed makes a key pair")
}

fn crypto(me: u8, peer: u8) -> Hybrid {
    Hybrid::new(Arc::new(identity(me)), identity(peer).public()).expect("a public key")
}

/// Real cryptography except for the key agreement, whose random shares are fixed.
struct Scripted(Hybrid);

fn fixed() -> Shared {
    Shared { kem: Secret::take(&mut [0x55; 32]), dh: Secret::take(&mut [0x66; 32]) }
}

impl Crypto for Scripted {
    const SUITE: u8 = Hybrid::SUITE;
    const SHARE_BYTES: usize = Hybrid::SHARE_BYTES;
    const ANSWER_BYTES: usize = Hybrid::ANSWER_BYTES;
    const SIGNATURE_BYTES: usize = Hybrid::SIGNATURE_BYTES;
    const TAG_BYTES: usize = Hybrid::TAG_BYTES;
    type Ephemeral = ();
    type Key = <Hybrid as Crypto>::Key;
    type Chain = <Hybrid as Crypto>::Chain;

    fn identity(&self) -> [u8; 32] {
        self.0.identity()
    }
    fn peer_identity(&self) -> [u8; 32] {
        self.0.peer_identity()
    }
    fn digest(parts: &[&[u8]]) -> [u8; 32] {
        Hybrid::digest(parts)
    }
    fn mac(key: &[u8], parts: &[&[u8]]) -> Secret {
        Hybrid::mac(key, parts)
    }
    fn chain(secret: &Secret) -> Self::Chain {
        Hybrid::chain(secret)
    }
    fn step(chain: &mut Self::Chain) -> Self::Key {
        Hybrid::step(chain)
    }
    fn generate(&mut self) -> Result<((), Vec<u8>), CryptoError> {
        Ok(((), vec![0x77; Self::SHARE_BYTES]))
    }
    fn answer(&mut self, _: &[u8]) -> Result<(Shared, Vec<u8>), CryptoError> {
        Ok((fixed(), vec![0x88; Self::ANSWER_BYTES]))
    }
    fn complete((): (), _: &[u8]) -> Result<Shared, CryptoError> {
        Ok(fixed())
    }
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.0.sign(message)
    }
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature)
    }
    fn seal(key: &Self::Key, nonce: [u8; 12], header: &[u8], buffer: &mut Vec<u8>, from: usize) {
        Hybrid::seal(key, nonce, header, buffer, from);
    }
    fn open<'a>(
        key: &Self::Key,
        nonce: [u8; 12],
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        Hybrid::open(key, nonce, header, sealed)
    }
}

fn session<C: Crypto>(crypto: C) -> Session<C> {
    let exporter = Secret::take(&mut [0x11; 32]);
    let keys = InitialKeys { exporter, handshake_hash: [0x22; 32], psk: None };
    Session::new(crypto, Agreed::default(), Limits::default(), keys, Moment(0)).expect("good terms")
}

/// Sends one message each way and runs a round from the first end; returns all bytes on the wire.
fn exchange<C: Crypto>(ends: &mut [Session<C>; 2]) -> Vec<Vec<u8>> {
    let mut wire = Vec::new();
    for (end, text) in ends.iter_mut().zip(["from low", "from high"]) {
        end.send(text.into()).expect("the queue is empty");
    }
    ends[0].request_rekey(Freshness::Any).expect("it is open");
    let mut quiet = 0;
    while quiet < 2 {
        for side in 0..2 {
            let mut out = Vec::new();
            let count = ends[side].poll_transmit(Moment(0), &mut out, usize::MAX);
            quiet = if count == 0 { quiet + 1 } else { 0 };
            wire.push(out.clone());
            assert_eq!(ends[1 - side].input(Moment(0), &mut out), Ok(count));
        }
    }
    for end in ends {
        assert_eq!(end.poll_event(), Some(Event::Epoch(1)));
        assert!(matches!(end.poll_event(), Some(Event::Data(data)) if data.end));
    }
    wire.retain(|bytes| !bytes.is_empty());
    wire
}

#[test]
fn a_round_has_the_bytes_of_the_docs() {
    let mut ends = [session(crypto(1, 2)), session(crypto(2, 1))];
    let wire = exchange(&mut ends);
    let lengths: Vec<usize> = wire.iter().map(Vec::len).collect();
    // INIT and data, RESP and data, FIN.
    assert_eq!(lengths, [1322 + 26 + 8, 1249 + 26 + 9, 65]);
}

/// The bytes depend on every derivation and its label. If this changes, the format has changed:
/// that needs another version.
#[test]
fn the_bytes_of_a_scripted_round_are_frozen() {
    let mut ends = [session(Scripted(crypto(1, 2))), session(Scripted(crypto(2, 1)))];
    let wire = exchange(&mut ends).concat();
    let hex: String = Hybrid::digest(&[&wire]).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "60719f3f0fca4c834b6dc5bd7f8c8d05a347bcdfee0c39f0672ac0267169aa1d");
}

/// The symbolic tests alter every byte; here a sample shows that real tags cover them too.
#[test]
fn t15_an_altered_byte_of_a_real_round_is_fatal() {
    for (record, length) in [1322, 1249, 65].into_iter().enumerate() {
        for at in (0..length).step_by(37) {
            let mut ends = [session(crypto(1, 2)), session(crypto(2, 1))];
            ends[0].request_rekey(Freshness::Any).expect("it is open");
            for number in 0..=record {
                let mut wire = Vec::new();
                let count = ends[number % 2].poll_transmit(Moment(0), &mut wire, usize::MAX);
                if number == record {
                    assert_eq!(count, length);
                    wire[at] ^= 0x40;
                    // A length that grew waits for bytes; they come.
                    wire.resize(count + 70_000, 0);
                }
                let outcome = ends[1 - number % 2].input(Moment(0), &mut wire);
                assert_eq!(outcome.is_err(), number == record, "record {record}, byte {at}");
            }
        }
    }
}

#[test]
fn every_mode_runs_on_real_cryptography_signed_or_not() {
    use proctor_ratchet::Mode;
    for mode in [Mode::Throughput, Mode::RecordFs, Mode::FreshEpoch] {
        for signed in [true, false] {
            let mut ends = [crypto(1, 2), crypto(2, 1)].map(|crypto| {
                let exporter = Secret::take(&mut [0x11; 32]);
                let keys = InitialKeys { exporter, handshake_hash: [0x22; 32], psk: None };
                let agreed = Agreed { mode, signed, ..Agreed::default() };
                Session::new(crypto, agreed, Limits::default(), keys, Moment(0))
                    .expect("good terms")
            });
            exchange(&mut ends);
        }
    }
}
