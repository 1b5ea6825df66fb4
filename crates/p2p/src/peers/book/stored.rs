//! The book on disk: everything that took time to learn, in canonical bytes.
//!
//! Content: number of records 4, each as table 1, source 1 (0 trusted; 4 or 6 a peer: provider, key 32),
//! age 8, failures 4, record; number of anchors 1, their keys. Ages instead of times: the file does not
//! know what the clock said.

use super::{Age, Entry, PeerBook, Source, Table};
use crate::NodeId;
use crate::moment::Moment;
use crate::peers::bytes::{Reader, put_subnet};
use crate::peers::record::PeerRecord;
use crate::peers::stored::{StoredError, open, seal};

const KIND: &str = "proctor peer book";
const VERSION: u8 = 1;
/// More than this were never written.
const RECORDS_MAX: usize = super::TRIED_MAX + super::NEW_MAX;

impl PeerBook {
    /// Returns the book as bytes, the same for the same book and moment.
    #[must_use]
    pub fn to_bytes(&self, now: Moment) -> Vec<u8> {
        let mut content = Vec::new();
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        content.extend_from_slice(&count.to_be_bytes());
        for entry in self.entries.values() {
            content.push(if entry.table == Table::Tried { 1 } else { 0 });
            match &entry.source {
                Source::Trusted => content.push(0),
                Source::Peer { key, provider } => {
                    put_subnet(&mut content, provider);
                    content.extend_from_slice(&key.0);
                }
            }
            content.extend_from_slice(&entry.unseen.ms(now).to_be_bytes());
            content.extend_from_slice(&entry.failures.to_be_bytes());
            entry.record.record().encode(&mut content);
        }
        content.push(u8::try_from(self.anchors.len()).unwrap_or(u8::MAX));
        self.anchors.iter().for_each(|anchor| content.extend_from_slice(&anchor.0));
        seal(KIND, VERSION, &content)
    }

    /// Takes in what [`PeerBook::to_bytes`] returned, into a book that is empty. Every record is verified
    /// again, and one that the caps or rules of today refuse is left out.
    ///
    /// # Errors
    /// [`StoredError`] if the bytes are not such a book; this book is then as empty as before.
    pub fn load(&mut self, now: Moment, bytes: &[u8]) -> Result<(), StoredError> {
        let mut reader = Reader(open(KIND, VERSION, bytes)?);
        let (entries, anchors) = self.read_all(now, &mut reader)?;
        if !reader.0.is_empty() {
            return Err(StoredError::Trailing { kind: KIND, bytes: reader.0.len() });
        }
        // Tried ones first: they were harder to come by.
        let (tried, new): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.table == Table::Tried);
        for entry in tried.into_iter().chain(new) {
            let key = entry.record.record().key;
            if key != self.me && !self.entries.contains_key(&key) && self.make_room(&key, &entry) {
                self.entries.insert(key, entry);
            }
        }
        self.anchors = anchors;
        self.anchors.retain(|anchor| self.entries.contains_key(anchor));
        Ok(())
    }

    fn read_all(
        &self,
        now: Moment,
        reader: &mut Reader<'_>,
    ) -> Result<(Vec<Entry>, Vec<NodeId>), StoredError> {
        let short = |entry: usize| bad(entry, "the file ends within it".to_owned());
        let count = reader.u32().ok_or_else(|| short(0))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > RECORDS_MAX {
            return Err(bad(RECORDS_MAX, format!("{count} records are more than a book holds")));
        }
        let mut entries = Vec::new();
        for index in 0..count {
            entries.extend(self.read_entry(now, index, reader)?);
        }
        let anchors = usize::from(reader.byte().ok_or_else(|| short(count))?);
        if anchors > super::ANCHORS_MAX {
            return Err(bad(count, format!("{anchors} anchors are more than a book has")));
        }
        let anchors: Option<Vec<_>> = (0..anchors).map(|_| reader.array().map(NodeId)).collect();
        Ok((entries, anchors.ok_or_else(|| short(count))?))
    }

    /// Reads one entry; `None` if its addresses are no longer believed, after the rules were changed.
    fn read_entry(
        &self,
        now: Moment,
        index: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Option<Entry>, StoredError> {
        let (table, source) = read_place(reader)
            .ok_or_else(|| bad(index, "its table or source is unknown".to_owned()))?;
        let (unseen_ms, failures) = (reader.u64().zip(reader.u32()))
            .ok_or_else(|| bad(index, "the file ends within it".to_owned()))?;
        let record = PeerRecord::decode_prefix(&mut reader.0)
            .map_err(|error| bad(index, error.to_string()))?;
        if record.check_addresses(&self.rules).is_err() {
            return Ok(None);
        }
        let record = record.verify(&self.rules).map_err(|error| bad(index, error.to_string()))?;
        let mut entry = super::entry(now, source, record);
        (entry.table, entry.failures) = (table, failures);
        entry.unseen = Age { carried_ms: unseen_ms, at: now };
        Ok(Some(entry))
    }
}

fn read_place(reader: &mut Reader<'_>) -> Option<(Table, Source)> {
    let table = match reader.byte()? {
        0 => Table::New,
        1 => Table::Tried,
        _ => return None,
    };
    if reader.0.first() == Some(&0) {
        reader.byte()?;
        return Some((table, Source::Trusted));
    }
    let provider = reader.subnet()?;
    Some((table, Source::Peer { key: NodeId(reader.array()?), provider }))
}

fn bad(entry: usize, why: String) -> StoredError {
    StoredError::Entry { kind: KIND, entry, why }
}
