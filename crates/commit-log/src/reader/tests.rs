//! Segments made by hand, valid sector by sector, that no writer makes: each is refused by name.

use std::collections::BTreeMap;

use proctor_types::Digest;

use super::*;
use crate::record::encode_frame;
use crate::sector::{self, CONTENT, Kind, SECTOR};
use crate::segment::Segment;
use crate::storage::memory::MemoryStorage;
use crate::{Damage, Log, LogConfig};

/// A log of segments whose sectors are put in place one by one.
struct Forge {
    files: BTreeMap<String, Vec<u8>>,
    file: String,
    segment: u64,
}

impl Forge {
    /// A segment of `sectors` sectors, blank but for the header.
    fn new(sectors: u64) -> Self {
        let mut forge = Self { files: BTreeMap::new(), file: String::new(), segment: 0 };
        forge.segment(Head::GENESIS, sectors);
        forge
    }

    fn segment(&mut self, head: Head, sectors: u64) {
        let storage = MemoryStorage::new();
        let segment = Segment::create(&storage, &head, sectors * SECTOR_BYTES).unwrap();
        self.file.clone_from(&segment.name.file);
        self.segment = segment.name.first_index;
        self.files.extend(storage.files());
    }

    fn sector(self, number: u32, kind: Kind, batch: u32, content: &[u8]) -> Self {
        let mut bytes = Vec::new();
        sector::encode(&mut bytes, (self.segment, number), kind, batch, content);
        self.raw(number as usize * SECTOR, &bytes)
    }

    fn raw(mut self, at: usize, bytes: &[u8]) -> Self {
        let file = self.files.get_mut(&self.file).unwrap();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Opens and verifies; both must agree.
    fn read(&self) -> Result<End, LogError> {
        let storage = Arc::new(MemoryStorage::with_files(self.files.clone()));
        let verified = verify(storage.clone()).map(|verified| verified.end);
        let opened = Log::open(storage.clone(), LogConfig::default());
        assert_eq!(verified.is_ok(), opened.is_ok());
        assert!(opened.is_ok() || storage.files() == self.files, "a refused log was changed");
        verified
    }

    fn check(&self, offset: u64, index: u64, kind: DamageKind) {
        let LogError::Damaged(found) = self.read().unwrap_err() else { panic!("not damage") };
        assert_eq!(found, Damage { file: self.file.clone(), offset, index, kind });
    }
}

/// Frames of records after `head`, and the head after them.
fn frames(mut head: Head, payloads: &[&[u8]]) -> (Vec<u8>, Head) {
    let mut bytes = Vec::new();
    for payload in payloads {
        let index = head.index + 1;
        head = Head { index, hash: encode_frame(&mut bytes, index, &head.hash, payload) };
    }
    (bytes, head)
}

/// One batch of one record in sector 1.
fn one_record() -> (Forge, Head) {
    let (bytes, head) = frames(Head::GENESIS, &[b"one"]);
    (Forge::new(6).sector(1, Kind::Last, 1, &bytes), head)
}

#[test]
fn the_hand_made_log_is_valid_before_anything_is_wrong_with_it() {
    let (forge, head) = one_record();
    assert_eq!(forge.read().unwrap().head, head);
    let sealed = forge.sector(2, Kind::Seal, 2, &seal(&head)).read().unwrap();
    assert!(sealed.sealed);
}

#[test]
fn a_seal_for_another_head_is_refused() {
    let (_, head) = one_record();
    let wrong_hash = Head { hash: Digest([9; 32]), ..head };
    let kind = DamageKind::Seal { expected: 1, found: 1 };
    one_record().0.sector(2, Kind::Seal, 2, &seal(&wrong_hash)).check(1_024, 1, kind);
    let wrong_index = Head { index: 3, ..head };
    let kind = DamageKind::Seal { expected: 1, found: 3 };
    one_record().0.sector(2, Kind::Seal, 2, &seal(&wrong_index)).check(1_024, 1, kind);
    one_record().0.sector(2, Kind::Seal, 2, b"short").check(1_024, 1, DamageKind::SectorFields);
}

#[test]
fn sectors_out_of_their_batch_are_refused() {
    let full = [7; CONTENT];
    let (second, _) = frames(one_record().1, &[b"two"]);
    let check = |sectors: &[(u32, Kind, u32, &[u8])], offset, kind| {
        let mut forge = one_record().0;
        for (number, sector, batch, content) in sectors {
            forge = forge.sector(*number, *sector, *batch, content);
        }
        forge.check(offset, 2, kind);
    };
    // Of an earlier batch, of a later one, a header, a short sector in the middle, an empty last.
    check(&[(2, Kind::Last, 1, &second)], 1_024, DamageKind::SectorFields);
    check(&[(2, Kind::Last, 3, &second)], 1_024, DamageKind::SectorMissing);
    check(&[(2, Kind::Header, 2, &second)], 1_024, DamageKind::SectorFields);
    check(&[(2, Kind::More, 2, &full[1..])], 1_024, DamageKind::SectorFields);
    check(&[(2, Kind::Last, 2, b"")], 1_024, DamageKind::SectorFields);
    check(&[(2, Kind::More, 2, &full), (3, Kind::Seal, 2, &full)], 1_536, DamageKind::SectorFields);
    // Behind a gap.
    check(&[(3, Kind::Last, 3, &second)], 1_024, DamageKind::SectorMissing);
    check(&[(3, Kind::Last, 1, &second)], 1_536, DamageKind::SectorStray);
    check(&[(3, Kind::Seal, 2, &second)], 1_536, DamageKind::SectorStray);
    check(
        &[(3, Kind::Last, 2, &second), (4, Kind::Last, 2, &second)],
        2_048,
        DamageKind::SectorStray,
    );
}

#[test]
fn a_cut_sector_of_another_batch_is_refused() {
    let cut = |batch: u8| one_record().0.raw(1_536, &[0x5A, 3, 20, 0, batch, 0, 0, 0, 0xEE]);
    assert_eq!(cut(2).read().unwrap().torn.map(|torn| torn.bytes), Some(1_024));
    cut(3).check(1_536, 2, DamageKind::SectorStray);
    one_record().0.raw(1_536, &[0x5A, 9, 20, 0, 2, 0, 0, 0, 0xEE]).check(
        1_536,
        2,
        DamageKind::SectorFields,
    );
}

#[test]
fn a_file_that_ends_within_a_written_sector_is_refused() {
    let (mut forge, _) = one_record();
    let file = forge.file.clone();
    forge.files.get_mut(&file).unwrap().extend([0, 0, 1]);
    forge.check(6 * 512, 1, DamageKind::FileCut);
}

#[test]
fn an_earlier_segment_has_no_torn_tail() {
    let second = |forge: Forge, head| {
        let (first, mut forge) = (forge.file.clone(), forge);
        forge.segment(head, 3);
        forge.file = first;
        forge
    };
    let (forge, head) = one_record();
    assert_eq!(second(forge, head).read().unwrap().segments, 2);
    let full = [7; CONTENT];
    let (forge, head) = one_record();
    let forge = second(forge.sector(2, Kind::More, 2, &full), head);
    forge.check(1_536, 2, DamageKind::SectorMissing);
    let (forge, head) = one_record();
    let forge = second(forge.sector(3, Kind::More, 2, &full), head);
    forge.check(1_536, 2, DamageKind::SectorStray);
    let (forge, head) = one_record();
    second(forge.raw(1_536, &[0x5A]), head).check(1_536, 2, DamageKind::SectorStray);
}

#[test]
fn frames_that_do_not_follow_are_refused_where_they_begin() {
    let first = frames(Head::GENESIS, &[b"one"]);
    let batch = |second: Vec<u8>| {
        Forge::new(6).sector(1, Kind::Last, 1, &[first.0.clone(), second].concat())
    };
    let (good, _) = frames(first.1, &[b"two"]);
    assert_eq!(batch(good.clone()).read().unwrap().head.index, 2);
    let offset = 512 + 8 + 51;
    let (skipped, _) = frames(Head { index: 2, ..first.1 }, &[b"two"]);
    batch(skipped).check(offset, 2, DamageKind::FrameIndex { expected: 2, found: 3 });
    let (orphan, _) = frames(Head { hash: Digest([1; 32]), ..first.1 }, &[b"two"]);
    let kind = DamageKind::FrameParent { expected: first.1.hash, found: Digest([1; 32]) };
    batch(orphan).check(offset, 2, kind);
    let short = good[..50].to_vec();
    batch(short).check(offset, 2, DamageKind::FrameLength { found: 3, max: 2 });
}

#[test]
fn a_batch_longer_than_any_is_refused() {
    let sectors = MAX_SECTORS + 10;
    let mut forge = Forge::new(u64::from(sectors));
    for number in 1..sectors {
        forge = forge.sector(number, Kind::More, 1, &[7; CONTENT]);
    }
    let forge = forge.sector(sectors - 1, Kind::Last, 1, &[7; CONTENT]);
    let LogError::Damaged(damage) = forge.read().unwrap_err() else { panic!("not damage") };
    assert!(matches!(damage.kind, DamageKind::BatchTooLong { .. }));
}

/// Sectors that hold the longest batch.
const MAX_SECTORS: u32 = 67_244;

#[test]
fn a_header_that_is_none_is_refused() {
    let forge = |kind, batch| Forge::new(3).sector(0, kind, batch, &[0; 52]);
    for forge in [forge(Kind::Header, 0), forge(Kind::Last, 0), forge(Kind::Header, 1)] {
        forge.check(0, 1, DamageKind::NoHeader);
    }
    Forge::new(3).raw(0, &[0; 512]).check(0, 1, DamageKind::NoHeader);
    // The header of another segment, under this one's name.
    let mut content = [b"PROCTLOG\x01\0\0\0".as_slice(), &7u64.to_le_bytes(), &[0; 32]].concat();
    let kind = DamageKind::HeaderIndex { expected: 1, found: 7 };
    Forge::new(3).sector(0, Kind::Header, 0, &content).check(0, 1, kind);
    content.pop();
    Forge::new(3).sector(0, Kind::Header, 0, &content).check(0, 1, DamageKind::NoHeader);
}
