//! Certificates of a committee: who must have signed, in which bytes, and what any other bytes prove.

use std::collections::BTreeSet;

use ed25519_zebra::SigningKey;
use proctor_fuzz::{Fuzz, Rng, kind};
use proctor_p2p::certificate::{
    CertificateError, PROOF_BYTES_MAX, RangeError, Scheme, check_range,
};
use proctor_p2p::{Canonical, Certificate, ChainId, Committee, NodeId, Signature, Tip, Trust};
use proctor_types::Digest;

use crate::chain::{CHAIN, certify, headers, key, node, sign};

const EPOCH: u64 = 3;

/// The members, in the order of the committee.
fn members(count: u8) -> Vec<SigningKey> {
    let mut keys: Vec<SigningKey> = (1..=count).map(key).collect();
    keys.sort_by_key(node);
    keys
}

fn committee(keys: &[SigningKey]) -> Committee {
    Committee::new(EPOCH, keys.iter().map(node).collect()).unwrap()
}

fn trust(keys: &[SigningKey]) -> Trust {
    Trust { chain: CHAIN, committee: committee(keys) }
}

fn signatures(keys: &[SigningKey], tip: &Tip) -> Vec<(NodeId, Signature)> {
    let bytes = Certificate::signed_bytes(&CHAIN, EPOCH, tip.height, &tip.digest);
    keys.iter().map(|key| (node(key), sign(key, &bytes))).collect()
}

fn tip() -> Tip {
    headers(&Tip::GENESIS, 5).pop().unwrap().tip(&CHAIN)
}

/// The certificate of exactly the members at `places`, whether or not they are a quorum.
fn of(keys: &[SigningKey], places: &[usize], tip: &Tip) -> Certificate {
    let mut proof = vec![0_u8; keys.len().div_ceil(8)];
    places.iter().for_each(|place| proof[place / 8] |= 1 << (place % 8));
    for place in places.iter().copied().collect::<BTreeSet<_>>() {
        proof.extend(signatures(&keys[place..=place], tip)[0].1.0);
    }
    let (scheme, height, digest) = (Scheme::Quorum, tip.height, tip.digest);
    Certificate { scheme, epoch: EPOCH, height, digest, proof }
}

#[test]
fn a_quorum_is_all_but_fewer_than_a_third() {
    for (count, needed) in [(1, 1), (2, 2), (3, 3), (4, 3), (7, 5), (10, 7), (100, 67), (128, 86)] {
        assert_eq!(committee(&members(count)).quorum(), needed, "{count} members");
    }
}

#[test]
fn every_quorum_proves_and_neither_more_nor_fewer_do() {
    let (keys, tip) = (members(4), tip());
    let trust = trust(&keys);
    for bits in 0..16_usize {
        let places: Vec<usize> = (0..4).filter(|place| bits >> place & 1 == 1).collect();
        let expected = match places.len() {
            3 => Ok(()),
            found => Err(CertificateError::Signers { found, needed: 3 }),
        };
        assert_eq!(of(&keys, &places, &tip).check(&trust, &tip), expected, "{places:?}");
    }
}

#[test]
fn the_made_certificate_is_of_the_first_members_and_fits_at_every_size() {
    let tip = tip();
    for count in [2, 4, 8, 9, 100, 128] {
        let keys = members(count);
        let mut all = signatures(&keys, &tip);
        all.reverse();
        all.push((node(&key(200)), Signature([0; 64])));
        let committee = committee(&keys);
        let made = Certificate::quorum(&committee, &tip, &all).unwrap();
        assert_eq!(made, of(&keys, &(0..committee.quorum()).collect::<Vec<_>>(), &tip));
        assert_eq!(made.check(&trust(&keys), &tip), Ok(()), "{count} members");
        assert!(made.proof.len() <= PROOF_BYTES_MAX);
        assert_eq!(Certificate::decode(&made.encode()), Ok(made.clone()));
        let short = &signatures(&keys, &tip)[..committee.quorum() - 1];
        assert_eq!(Certificate::quorum(&committee, &tip, short), None, "{count} members");
        // The same member twice is one.
        let twice = vec![all[0]; committee.quorum()];
        assert_eq!(Certificate::quorum(&committee, &tip, &twice), None, "{count} members");
    }
    let alone = members(1);
    assert_eq!(Certificate::quorum(&committee(&alone), &tip, &signatures(&alone, &tip)), None);
}

#[test]
fn one_member_proves_alone_and_several_prove_together() {
    let (one, four) = (members(1), members(4));
    let header = headers(&Tip::GENESIS, 5).pop().unwrap();
    let tip = header.tip(&CHAIN);
    let solo = certify(&one[0], EPOCH, &header);
    assert_eq!(solo.check(&trust(&one), &tip), Ok(()));
    assert_eq!(solo.check(&trust(&four), &tip), Err(CertificateError::NotSolo(4)));
    let alone = of(&one, &[0], &tip);
    assert_eq!(alone.check(&trust(&one), &tip), Err(CertificateError::OneMember));
    let several = of(&four, &[0, 1, 2], &tip);
    assert_eq!(several.check(&trust(&one), &tip), Err(CertificateError::OneMember));
}

#[test]
fn what_is_signed_holds_for_one_chain_epoch_height_and_committee() {
    let (keys, tip) = (members(4), tip());
    let (good, ours) = (of(&keys, &[0, 2, 3], &tip), trust(&keys));
    assert_eq!(good.check(&ours, &tip), Ok(()));
    let elsewhere = Trust { chain: ChainId(Digest([8; 32])), ..ours.clone() };
    assert_eq!(good.check(&elsewhere, &tip), Err(CertificateError::Proof));
    let next = Committee::new(EPOCH + 1, keys.iter().map(node).collect()).unwrap();
    let next = Trust { committee: next, ..ours };
    let over = CertificateError::EpochOver { found: EPOCH, ours: EPOCH + 1 };
    assert_eq!(good.check(&next, &tip), Err(over));
    let moved = Certificate { epoch: EPOCH + 1, ..good.clone() };
    assert_eq!(moved.check(&next, &tip), Err(CertificateError::Proof));
    let higher = Tip { height: tip.height + 1, ..tip };
    let moved = Certificate { height: higher.height, ..good.clone() };
    assert_eq!(moved.check(&ours, &higher), Err(CertificateError::Proof));
    let mut others = members(3);
    others.push(key(9));
    others.sort_by_key(node);
    let others = trust(&others);
    assert_eq!(good.check(&others, &tip), Err(CertificateError::Proof));
}

#[test]
fn signatures_in_another_order_or_twice_and_proofs_of_another_form_are_refused() {
    let (keys, tip) = (members(4), tip());
    let (good, trust) = (of(&keys, &[0, 1, 2], &tip), trust(&keys));
    let check = |proof: Vec<u8>| Certificate { proof, ..good.clone() }.check(&trust, &tip);
    let mut swapped = good.proof.clone();
    swapped[1..129].rotate_left(64);
    assert_eq!(check(swapped), Err(CertificateError::Proof));
    let mut twice = good.proof.clone();
    twice.copy_within(1..65, 65);
    assert_eq!(check(twice), Err(CertificateError::Proof));
    let mut beyond = good.proof.clone();
    beyond[0] = 0b1_0011;
    assert_eq!(check(beyond), Err(CertificateError::Malformed));
    assert_eq!(check(Vec::new()), Err(CertificateError::Malformed));
    assert_eq!(check(good.proof[..192].to_vec()), Err(CertificateError::Malformed));
    assert_eq!(check(good.proof[..129].to_vec()), Err(CertificateError::Malformed));
    let longer = |more: usize| [good.proof.clone(), vec![0; more]].concat();
    assert_eq!(check(longer(1)), Err(CertificateError::Malformed));
    assert_eq!(check(longer(64)), Err(CertificateError::Malformed));
}

/// Each single bit matters: of the proof, and of what stands around it.
#[test]
fn no_certificate_that_differs_in_one_bit_proves() {
    let (keys, tip) = (members(4), tip());
    let trust = trust(&keys);
    let good = of(&keys, &[0, 1, 3], &tip).encode();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = Certificate::decode(&bytes) {
            assert!(read.check(&trust, &tip).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_committee_hands_over_to_the_next_and_a_range_has_one_certificate() {
    let (old, new) = (members(4), members(7));
    let mut range = headers(&Tip::GENESIS, 256);
    let next = Committee::new(EPOCH + 1, new.iter().map(node).collect()).unwrap();
    range[255].facts.next_committee = Some(next.clone());
    let end = range[255].tip(&CHAIN);
    let by_old = of(&old, &[1, 2, 3], &end);
    let (tips, after) = check_range(&trust(&old), &Tip::GENESIS, &range, &by_old).unwrap();
    assert_eq!((tips.last(), &after.committee), (Some(&end), &next));
    let by_new = of(&new, &[0, 1, 2, 3, 4], &end);
    let error = check_range(&trust(&old), &Tip::GENESIS, &range, &by_new).unwrap_err();
    assert!(matches!(error, RangeError::Certificate(_)), "{error}");
}

#[test]
fn fuzz_certificate() {
    let (keys, tip) = (members(9), tip());
    let trust = trust(&keys);
    let mut rng = Rng::new(1);
    let mut quorum = || {
        let mut places: Vec<usize> = (0..9).collect();
        while places.len() > 7 {
            places.remove(rng.below(places.len()));
        }
        of(&keys, &places, &tip)
    };
    let seeds: Vec<Certificate> = (0..8).map(|_| quorum()).collect();
    let known: BTreeSet<Vec<u8>> =
        signatures(&keys, &tip).iter().map(|(_, s)| s.0.into()).collect();
    let fuzz = Fuzz::target("certificate").executions(2_000).len_max(1 << 10);
    let fuzz = seeds.iter().fold(fuzz, |fuzz, seed| fuzz.seed(seed.encode()));
    fuzz.run(|bytes| match Certificate::decode(bytes) {
        Ok(read) => {
            assert_eq!(read.encode(), bytes);
            let checked = read.check(&trust, &tip);
            if checked.is_ok() {
                // Nobody can sign for a member: what proves consists of the signatures that were made.
                assert_eq!((read.epoch, read.scheme), (EPOCH, Scheme::Quorum));
                let (bitmap, proof) = read.proof.split_at(2);
                let signers: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
                assert_eq!((signers, proof.len()), (7, 7 * 64));
                let mut used = BTreeSet::new();
                assert!(proof.chunks(64).all(|one| known.contains(one) && used.insert(one)));
            }
            format!("{:?}", checked.map_err(|error| kind(&error)))
        }
        Err(error) => kind(&error),
    });
}
