//! Every message: what is written is read, and any bytes give a message or an error.

use proctor_fuzz::{Fuzz, Rng, kind};
use proctor_p2p::certificate::{PROOF_BYTES_MAX, RANGE_MAX, Scheme};
use proctor_p2p::message::{BODIES_MAX, BodyId, FRAME_BYTES_MAX, INPUT_BYTES_MAX, Outcome, Part};
use proctor_p2p::message::{INLINE_BODY_BYTES_MAX, PART_BYTES_MAX, REASON_BYTES_MAX, Submission};
use proctor_p2p::peers::address::{AddressRules, PeerAddress};
use proctor_p2p::peers::book::ANSWER_MAX;
use proctor_p2p::peers::record::{OwnRecord, PeerRecord, RecordRules};
use proctor_p2p::snapshot::{CHUNKS_MAX, Contents, ManifestError};
use proctor_p2p::status::{HelloError, PROTOCOL, Roles};
use proctor_p2p::{
    Answer, Canonical, Certificate, Certified, ChainId, CodecError, Committee, Failure, Hello,
    Manifest, Message, NodeId, Push, Request, Signature, SignedStatus, Status, Tip,
};
use proctor_types::Digest;
use proptest::prelude::*;

use crate::chain::{CHAIN, certify, headers, key, node, sign, trust};

fn certified(height: u64) -> Certified {
    let header = headers(&Tip::GENESIS, height).pop().unwrap();
    Certified { certificate: certify(&key(1), 0, &header), header }
}

fn status(tip: Option<Certified>) -> SignedStatus {
    let status = Status {
        tip,
        lowest_body: 1,
        lowest_header: 1,
        latest_snapshot: 0,
        sequence: 9,
        load_permille: 500,
    };
    let signature = sign(&key(1), &status.signed_bytes(&CHAIN, &Digest([5; 32])));
    SignedStatus { status, signature }
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        chain: CHAIN,
        node: node(&key(1)),
        roles: Roles::FOLLOWER,
        binding: Digest([5; 32]),
        frame_bytes_max: 1 << 16,
        features: 0,
        instance: 7,
        status: status(Some(certified(3))),
    }
}

fn record() -> PeerRecord {
    let rules = RecordRules { chain: CHAIN.0, addresses: AddressRules::default() };
    let address = |last| PeerAddress { ip: [0x2600, 0, 0, 0, 0, 0, 0, last].into(), port: 1 };
    let addresses = (1..=4).map(address).collect();
    let own = OwnRecord { key: node(&key(1)), roles: Roles::FOLLOWER, addresses };
    own.sign(1, &rules, |bytes| sign(&key(1), bytes)).unwrap().record().clone()
}

fn manifest() -> Manifest {
    let contents = Contents { format: 1, len: 5, chunks: vec![Digest::of(b"12345")] };
    Manifest::solo(&CHAIN, contents, certified(4), |bytes| sign(&key(1), bytes))
}

fn submission(input: Vec<u8>) -> Request {
    Request::SubmitInput(Submission { hops: 4, within_ms: u32::MAX, input })
}

/// Each message at its largest and at its smallest.
fn extremes() -> Vec<Message> {
    let committee = Committee::new(1, (0..128).map(|n| NodeId([n; 32])).collect()).unwrap();
    let mut longest = headers(&Tip::GENESIS, RANGE_MAX as u64);
    longest[RANGE_MAX - 1].facts.next_committee = Some(committee);
    let proof = vec![9; PROOF_BYTES_MAX];
    let certificate = Certificate { scheme: Scheme::Bls, proof, ..certified(1).certificate };
    let tip =
        Certified { header: longest[RANGE_MAX - 1].clone(), certificate: certificate.clone() };
    let part = |len| Part { index: u32::MAX, offset: u32::MAX, bytes: vec![1; len] };
    let body = BodyId { height: u64::MAX, digest: Digest([3; 32]) };
    let requests = [
        Request::GetHeaders { from: 0, max: 1 },
        Request::GetHeaders { from: u64::MAX, max: RANGE_MAX as u32 },
        Request::GetBodies(vec![body]),
        Request::GetBodies(vec![body; BODIES_MAX]),
        Request::GetCommit(0),
        Request::GetPeers,
        Request::GetSnapshot(u64::MAX),
        Request::GetChunk { height: 0, index: u32::MAX },
        submission(vec![]),
        submission(vec![7; INPUT_BYTES_MAX]),
    ];
    let failures = [
        Failure::Busy(u32::MAX),
        Failure::NotHere,
        Failure::TooLarge,
        Failure::BadRequest,
        Failure::WrongChain,
        Failure::Banned(0),
        Failure::Shutdown,
        Failure::Unknown,
    ];
    let answers = [
        Answer::Headers { headers: vec![], certificate: certificate.clone() },
        Answer::Headers { headers: longest, certificate },
        Answer::Body(part(0)),
        Answer::Body(part(PART_BYTES_MAX)),
        Answer::NoBody(0),
        Answer::Commit(tip.clone()),
        Answer::Manifest(manifest()),
        Answer::Manifest(Manifest {
            contents: Contents { chunks: vec![Digest([1; 32]); CHUNKS_MAX], ..manifest().contents },
            next: tip.clone(),
            attestation: tip.certificate.clone(),
            ..manifest()
        }),
        Answer::Peers(vec![]),
        Answer::Peers(vec![record(); ANSWER_MAX]),
        Answer::Chunk(part(PART_BYTES_MAX)),
        Answer::Outcome(Outcome::Committed { height: 1, ordinal: 2 }),
        Answer::Outcome(Outcome::Refused("x".repeat(REASON_BYTES_MAX))),
    ];
    let pushes = [
        Push::Status(status(None)),
        Push::Status(status(Some(tip.clone()))),
        Push::Commit { commit: certified(1), body: None },
        Push::Commit { commit: tip, body: Some(vec![1; INLINE_BODY_BYTES_MAX]) },
    ];
    let answers = answers.into_iter().chain(failures.map(Answer::Failed)).map(Message::Answer);
    let first = [Message::Hello(hello())].into_iter();
    let first = first.chain(requests.map(Message::Request)).chain(answers);
    first.chain(pushes.map(Message::Push)).collect()
}

#[test]
fn every_message_fits_a_frame_and_is_read_as_it_was_written() {
    for message in extremes() {
        let bytes = message.encode();
        assert!(bytes.len() <= FRAME_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(Message::decode(&bytes), Ok(message));
    }
}

#[test]
fn a_byte_too_many_or_too_few_is_refused() {
    for message in extremes() {
        let mut bytes = message.encode();
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 60) {
            assert!(Message::decode(&bytes[..cut]).is_err(), "{cut} bytes of {message:?}");
        }
        bytes.push(0);
        if bytes.len() <= FRAME_BYTES_MAX {
            assert_eq!(Message::decode(&bytes), Err(CodecError::Trailing(1)));
        }
    }
}

#[test]
fn what_asks_for_too_much_or_for_nothing_is_refused() {
    let body = BodyId { height: 1, digest: Digest([3; 32]) };
    for request in [
        Request::GetHeaders { from: 1, max: 0 },
        Request::GetHeaders { from: 1, max: 257 },
        Request::GetHeaders { from: 1, max: u32::MAX },
        Request::GetBodies(vec![]),
        Request::GetBodies(vec![body; BODIES_MAX + 1]),
        submission(vec![0; INPUT_BYTES_MAX + 1]),
    ] {
        assert!(Request::decode(&request.encode()).is_err(), "{request:?}");
    }
    let part = Part { index: 0, offset: 0, bytes: vec![0; PART_BYTES_MAX + 1] };
    assert!(Answer::decode(&Answer::Body(part).encode()).is_err());
    assert!(Message::decode(&vec![1; FRAME_BYTES_MAX + 1]).is_err());
}

/// B28: whether a peer is on our chain was asked by comparing a public header. R12, B1: bytes of a
/// peer reach no panic.
#[test]
fn b28_a_hello_holds_for_its_chain_its_key_and_its_session_only() {
    let (peer, binding) = (node(&key(1)), Digest([5; 32]));
    assert_eq!(hello().check(&peer, &CHAIN, &binding), Ok(()));
    let elsewhere = ChainId(Digest([9; 32]));
    assert_eq!(hello().check(&peer, &elsewhere, &binding), Err(HelloError::Chain(CHAIN)));
    assert_eq!(hello().check(&peer, &CHAIN, &Digest([6; 32])), Err(HelloError::Binding));
    let other = node(&key(2));
    assert_eq!(hello().check(&other, &CHAIN, &binding), Err(HelloError::Node(peer)));
    // Everything of another session, with its binding written over.
    let replayed = Hello { binding: Digest([6; 32]), ..hello() };
    let refused = replayed.check(&peer, &CHAIN, &Digest([6; 32]));
    assert!(matches!(refused, Err(HelloError::Status(_))), "{refused:?}");
    let old = Hello { protocol: 2, ..hello() };
    assert_eq!(old.check(&peer, &CHAIN, &binding), Err(HelloError::Protocol(2)));
    let mut unsigned = hello();
    unsigned.status.signature = Signature([0; 64]);
    assert!(unsigned.check(&peer, &CHAIN, &binding).is_err());
}

#[test]
fn f13_a_manifest_must_be_proven_by_the_header_after_it_and_its_bytes_by_an_attestation() {
    let trust = trust(0, &key(1));
    assert_eq!(manifest().check(&trust), Ok(()));
    assert_eq!(manifest().base().digest, certified(3).header.digest(&CHAIN));
    let wrong = Manifest { height: 4, ..manifest() };
    assert_eq!(wrong.check(&trust), Err(ManifestError::Height { height: 4, found: 4 }));
    for (len, chunks) in [(0, 0), (0, 1), (5, 0), (5, 2), (u64::MAX, 1)] {
        let contents = Contents { format: 1, len, chunks: vec![Digest([0; 32]); chunks] };
        let wrong = Manifest { contents, ..manifest() };
        assert_eq!(wrong.check(&trust), Err(ManifestError::Length { len, chunks }));
    }
    let mut forged = manifest();
    forged.next.header.facts.state_before.0[0] ^= 1;
    assert!(matches!(forged.check(&trust), Err(ManifestError::Certificate(_))));
    let contents = manifest().contents;
    assert_eq!((contents.chunk_len(0), contents.chunk_len(1)), (Some(5), None));
    // The bytes, their length and their encoding are vouched for, for this commit of this chain.
    type Edit = fn(&mut Manifest);
    let edits: [Edit; 4] = [
        |m| m.contents.chunks[0].0[0] ^= 1,
        |m| m.contents.len = 6,
        |m| m.contents.format = 2,
        |m| m.attestation.height = 2,
    ];
    for edit in edits {
        let mut forged = manifest();
        edit(&mut forged);
        assert_eq!(forged.check(&trust), Err(ManifestError::OtherSnapshot(3)));
    }
    let other_bytes = Contents { format: 2, ..manifest().contents };
    let forged = |chain: &ChainId, signer: u8, next: Certified| {
        let signer = key(signer);
        Manifest::solo(chain, other_bytes.clone(), next, |bytes| sign(&signer, bytes))
    };
    assert_eq!(forged(&CHAIN, 1, certified(4)).check(&trust), Ok(()));
    // Signed by another key, for another chain, or for another commit; or an ordinary certificate.
    let at_3 = Manifest { attestation: manifest().attestation, ..forged(&CHAIN, 1, certified(4)) };
    let mut moved = forged(&CHAIN, 1, certified(5));
    moved.attestation.height = 3;
    let proof = moved.attestation.proof;
    let mut as_header = forged(&CHAIN, 1, certified(4));
    as_header.attestation.proof = Certificate::solo(
        &CHAIN,
        0,
        &Tip { height: 3, digest: other_bytes.root(), time: Tip::GENESIS.time },
        |bytes| sign(&key(1), bytes),
    )
    .proof;
    let mut replayed = forged(&CHAIN, 1, certified(4));
    replayed.attestation.proof = proof;
    let foreign = forged(&ChainId(Digest([9; 32])), 1, certified(4));
    for wrong in [forged(&CHAIN, 2, certified(4)), foreign, replayed, as_header] {
        let error = wrong.check(&trust).expect_err("it is not attested");
        assert!(matches!(error, ManifestError::Attestation { height: 3, .. }), "{error}");
        assert!(!error.may_be_right());
    }
    assert_eq!(at_3.check(&trust), Err(ManifestError::OtherSnapshot(3)));
    // Of an epoch that has not begun here: perhaps right.
    let mut later = manifest();
    later.attestation.epoch = 7;
    assert!(later.check(&trust).expect_err("not known").may_be_right());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bytes_that_decode_are_the_bytes_that_the_message_encodes_to(
        seed: u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let messages = EXTREMES.with(Clone::clone);
        let mut bytes = messages[Rng::new(seed).below(messages.len())].clone();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_give_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }
}

thread_local! {
    static EXTREMES: Vec<Vec<u8>> = extremes().iter().map(Canonical::encode).collect();
}

#[test]
fn fuzz_peer_message() {
    let all = extremes();
    let short = all.iter().map(Canonical::encode).filter(|bytes| bytes.len() < 2_000);
    let fuzz = short.fold(Fuzz::target("peer-message"), Fuzz::seed);
    fuzz.len_max(2 << 10).run(|bytes| match Message::decode(bytes) {
        Ok(message) => {
            assert_eq!(message.encode(), bytes);
            kind(&message).chars().take(60).collect()
        }
        Err(error) => kind(&error),
    });
}
