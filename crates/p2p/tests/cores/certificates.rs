//! What a certificate proves, and what it does not.

use proctor_p2p::certificate::{CertificateError, RangeError, Scheme, check_range};
use proctor_p2p::header::LinkError;
use proctor_p2p::{Canonical, Certificate, ChainId, CodecError, Committee, NodeId, Tip, Trust};
use proctor_types::Digest;

use crate::chain::{CHAIN, certify, headers, key, node, trust};

#[test]
fn one_certificate_at_the_end_proves_the_whole_range() {
    let key = key(1);
    let range = headers(&Tip::GENESIS, 256);
    let certificate = certify(&key, 0, range.last().unwrap());
    let (tips, after) = check_range(&trust(0, &key), &Tip::GENESIS, &range, &certificate).unwrap();
    assert_eq!(tips.last(), Some(&range[255].tip(&CHAIN)));
    assert_eq!(after, trust(0, &key));
    for at in 0..256 {
        let mut forged = range.clone();
        forged[at].facts.body.0[0] ^= 1;
        let error = check_range(&trust(0, &key), &Tip::GENESIS, &forged, &certificate).unwrap_err();
        let expected = if at == 255 {
            RangeError::Certificate(CertificateError::OtherHeader(256))
        } else {
            RangeError::Link(LinkError::Parent(at as u64 + 2))
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn a_range_has_one_to_256_headers_and_begins_where_it_should() {
    let key = key(1);
    let all = headers(&Tip::GENESIS, 257);
    let check = |range: &[_]| {
        let certificate = certify(&key, 0, range.last().unwrap_or(&all[0]));
        check_range(&trust(0, &key), &Tip::GENESIS, range, &certificate).map(|_| ())
    };
    assert_eq!(check(&[]), Err(RangeError::Count(0)));
    assert_eq!(check(&all), Err(RangeError::Count(257)));
    assert_eq!(check(&all[..1]), Ok(()));
    let expected = LinkError::Height { expected: 1, found: 2 };
    assert_eq!(check(&all[1..]), Err(RangeError::Link(expected)));
}

/// F3: forged, of another chain, of another epoch, of another scheme. B2: an epoch of 2^64-1 met a
/// lookup that panicked before the parent was compared.
#[test]
fn f3_b2_a_certificate_of_another_key_chain_epoch_or_scheme_is_refused_by_name() {
    let (ours, other) = (key(1), key(2));
    let header = headers(&Tip::GENESIS, 1).remove(0);
    let tip = header.tip(&CHAIN);
    let good = certify(&ours, 3, &header);
    let trust = trust(3, &ours);
    assert_eq!(good.check(&trust, &tip), Ok(()));
    assert_eq!(certify(&other, 3, &header).check(&trust, &tip), Err(CertificateError::Proof));
    let elsewhere = Trust { chain: ChainId(Digest([8; 32])), ..trust.clone() };
    assert_eq!(good.check(&elsewhere, &tip), Err(CertificateError::Proof));
    let found = u64::MAX;
    let far = Certificate { epoch: found, ..good.clone() };
    assert_eq!(far.check(&trust, &tip), Err(CertificateError::EpochAhead { found, ours: 3 }));
    let old = Certificate { epoch: 2, ..good.clone() };
    assert_eq!(old.check(&trust, &tip), Err(CertificateError::EpochOver { found: 2, ours: 3 }));
    for scheme in [Scheme::Simplex, Scheme::Malachite, Scheme::Bls] {
        let reserved = Certificate { scheme, ..good.clone() };
        assert_eq!(Certificate::decode(&reserved.encode()), Ok(reserved.clone()));
        assert_eq!(reserved.check(&trust, &tip), Err(CertificateError::Reserved(scheme)));
    }
    let mut bytes = good.encode();
    bytes[1] = 5;
    let unknown = CodecError::Tag { what: "scheme of a certificate", found: 5 };
    assert_eq!(Certificate::decode(&bytes), Err(unknown));
    for proof in [vec![], vec![0; 63], vec![0; 65]] {
        let cut = Certificate { proof, ..good.clone() };
        assert_eq!(cut.check(&trust, &tip), Err(CertificateError::Proof));
    }
    let two = Committee::new(3, vec![node(&ours), node(&other)]).unwrap();
    let two = Trust { committee: two, ..trust };
    assert_eq!(good.check(&two, &tip), Err(CertificateError::NotSolo(2)));
}

/// F14, as far as scheme 0 goes: the key of the sequencer is replaced.
#[test]
fn f14_the_header_that_ends_an_epoch_is_certified_by_the_old_committee_and_ends_its_range() {
    let (old, new) = (key(1), key(2));
    let next = Committee::new(1, vec![node(&new)]).unwrap();
    let mut range = headers(&Tip::GENESIS, 5);
    range[4].facts.next_committee = Some(next.clone());
    let end = certify(&old, 0, &range[4]);
    let check = |range: &[_], certificate: &Certificate| {
        check_range(&trust(0, &old), &Tip::GENESIS, range, certificate)
    };
    let (tips, after) = check(&range, &end).unwrap();
    assert_eq!(after.committee, next);
    let more = headers(&tips[4], 7);
    let certificate = certify(&new, 1, &more[1]);
    assert!(check_range(&after, &tips[4], &more, &certificate).is_ok());
    let both: Vec<_> = range.iter().chain(&more).cloned().collect();
    assert_eq!(check(&both, &certificate), Err(RangeError::Close(5)));
    let by_the_new = certify(&new, 0, &range[4]);
    let proof = RangeError::Certificate(CertificateError::Proof);
    assert_eq!(check(&range, &by_the_new), Err(proof));
    range[4].facts.next_committee = Some(Committee::new(2, vec![node(&new)]).unwrap());
    let end = certify(&old, 0, &range[4]);
    assert_eq!(check(&range, &end), Err(RangeError::NextEpoch(5)));
}

#[test]
fn a_committee_has_members_in_one_order_only() {
    let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
    assert_eq!(Committee::new(0, vec![b, a]).unwrap().keys(), [a, b]);
    assert!(Committee::new(0, vec![]).is_err());
    assert!(Committee::new(0, vec![a, a]).is_err());
    assert!(Committee::new(0, (0..129).map(|n| NodeId([n; 32])).collect()).is_err());
    let mut bytes = Committee::new(0, vec![a, b]).unwrap().encode();
    bytes[12] = 3;
    assert!(matches!(Committee::decode(&bytes), Err(CodecError::NotCanonical(_))));
}
