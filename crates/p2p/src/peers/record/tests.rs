//! Records: one spelling, signed by their node, for one chain.

use ed25519_zebra::SigningKey;
use proptest::prelude::*;

use super::*;

fn rules() -> RecordRules {
    RecordRules { chain: Digest([9; 32]), addresses: AddressRules::default() }
}

fn address(last: u8, port: u16) -> PeerAddress {
    PeerAddress { ip: [5, 6, 7, last].into(), port }
}

fn signed(seed: u8, seq: u64, addresses: Vec<PeerAddress>) -> Result<VerifiedRecord, RecordError> {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let own = OwnRecord {
        key: NodeId(key.verification_key().into()),
        roles: Roles::FOLLOWER.with(Roles::ARCHIVE),
        addresses,
    };
    own.sign(seq, &rules(), |bytes| Signature(key.sign(bytes).to_bytes()))
}

fn bytes(record: &VerifiedRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.record().encode(&mut bytes);
    bytes
}

#[test]
fn a_record_is_read_as_it_was_written_and_verified() {
    let record = signed(1, 7, vec![address(1, 80), address(2, 80)]).unwrap();
    let read = PeerRecord::decode(&bytes(&record)).unwrap();
    assert_eq!(read.clone().verify(&rules()), Ok(record.clone()));
    assert!(read.roles.contains(Roles::ARCHIVE) && !read.roles.contains(Roles::VALIDATOR));
    let mut two = [bytes(&record), vec![1, 2]].concat();
    assert_eq!(PeerRecord::decode(&two), Err(RecordError::Trailing(2)));
    let mut rest = two.as_slice();
    assert_eq!(PeerRecord::decode_prefix(&mut rest), Ok(read));
    assert_eq!(rest, [1, 2]);
    two.truncate(100);
    assert_eq!(PeerRecord::decode(&two), Err(RecordError::Short));
}

#[test]
fn the_longest_record_has_its_stated_length() {
    let addresses = (1..=4).map(|last| PeerAddress {
        ip: std::net::Ipv6Addr::new(0x2a00, 1, 0, 0, 0, 0, 0, last).into(),
        port: 1,
    });
    let record = signed(1, u64::MAX, addresses.collect()).unwrap();
    assert_eq!(bytes(&record).len(), RECORD_BYTES_MAX);
}

#[test]
fn no_byte_of_a_record_can_be_changed() {
    let record = bytes(&signed(1, 7, vec![address(1, 80)]).unwrap());
    for index in 0..record.len() {
        let mut broken = record.clone();
        broken[index] ^= 1;
        let verdict = PeerRecord::decode(&broken).and_then(|record| record.verify(&rules()));
        assert!(verdict.is_err(), "byte {index}");
    }
}

#[test]
fn a_record_of_another_chain_is_refused() {
    let record = signed(1, 7, vec![address(1, 80)]).unwrap();
    let other = RecordRules { chain: Digest([8; 32]), ..rules() };
    let verdict = record.record().clone().verify(&other);
    assert!(matches!(verdict, Err(RecordError::Signature(_))), "{verdict:?}");
}

/// B13: the reference put its own signature on what it said of others.
#[test]
fn b13_nobody_can_sign_for_another_node() {
    let (mine, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let own = OwnRecord {
        key: NodeId(other.verification_key().into()),
        roles: Roles::default(),
        addresses: vec![address(1, 80)],
    };
    let forged = own.sign(1, &rules(), |bytes| Signature(mine.sign(bytes).to_bytes()));
    assert!(matches!(forged, Err(RecordError::Signature(_))), "{forged:?}");
}

#[test]
fn a_record_names_one_to_four_different_believable_addresses() {
    assert_eq!(signed(1, 1, vec![]), Err(RecordError::AddressCount(0)));
    let five = (0..5).map(|last| address(last, 1)).collect();
    assert_eq!(signed(1, 1, five), Err(RecordError::AddressCount(5)));
    let twice = vec![address(1, 1), address(2, 1), address(1, 1)];
    assert_eq!(signed(1, 1, twice), Err(RecordError::AddressTwice(address(1, 1))));
    assert_eq!(signed(1, 1, vec![address(1, 0)]), Err(AddressRefused::PortZero.into()));
    let local = PeerAddress { ip: [127, 0, 0, 1].into(), port: 1 };
    assert_eq!(signed(1, 1, vec![local]), Err(AddressRefused::Private(local.ip).into()));
}

/// F7: a clock that goes back does not make older records.
#[test]
fn f7_the_number_of_ones_own_record_never_goes_back() {
    assert_eq!(OwnRecord::next_seq(None, 1_000), 1_000);
    assert_eq!(OwnRecord::next_seq(Some(1_000), 2_000), 2_000);
    assert_eq!(OwnRecord::next_seq(Some(5_000), 2_000), 5_001);
    assert_eq!(OwnRecord::next_seq(Some(u64::MAX), 0), u64::MAX);
}

proptest! {
    /// R12: any bytes give a record or an error, and a record gives its bytes back.
    #[test]
    fn r12_any_bytes_are_a_record_or_an_error(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0_u8..6, kind in 0_u8..8
    ) {
        // Half-way right bytes reach further than noise.
        if let Some(place) = bytes.get_mut(44) { *place = count; }
        if let Some(place) = bytes.get_mut(45) { *place = kind; }
        let mut rest = bytes.as_slice();
        if let Ok(record) = PeerRecord::decode_prefix(&mut rest) {
            let mut again = Vec::new();
            record.encode(&mut again);
            prop_assert_eq!(&again, &bytes[..bytes.len() - rest.len()]);
            prop_assert!(record.verify(&rules()).is_err());
        }
    }
}
