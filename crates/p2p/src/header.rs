//! Headers: the chain of digests over a commit log, derived from the log alone.
//!
//! A header is a function of the header before and of what the log holds at its height, so every
//! node derives the same chain from the same log, and a log needs no new format for it. Each
//! names its parent; whoever trusts one header therefore trusts all before it.

use proctor_types::{Digest, UtcMs};

use crate::certificate::Committee;
use crate::codec::{Canonical, CodecError, Reader};

/// The version of a header's bytes, and of its digest.
const VERSION: u8 = 1;
/// What the digest of a header begins with: it is a digest of nothing else.
const DOMAIN: &[u8] = b"proctor/header/1";
/// The longest body, in bytes: the longest payload of a log's record.
pub const BODY_BYTES_MAX: u32 = 16 << 20;
/// Bytes of a header that names no next committee.
pub const HEADER_BYTES: usize = 150;

/// Which history: a digest that its founders chose. It is part of every digest and signature, so
/// nothing that holds on one chain can be shown on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainId(pub Digest);

/// The end of a chain: everything up to and including one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height of the header; 0 before the first.
    pub height: u64,
    /// Digest of the header; zeros before the first.
    pub digest: Digest,
    /// Time of the commit: none that follows is earlier.
    pub time: UtcMs,
}

impl Tip {
    /// The empty chain before the first header.
    pub const GENESIS: Self = Self { height: 0, digest: Digest([0; 32]), time: UtcMs(0) };
}

/// What the log says at one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Chain hash of the log's record before this one; zeros at height 1.
    pub record_before: Digest,
    /// BLAKE3 of the record's payload.
    pub body: Digest,
    /// Bytes of the payload.
    pub body_len: u32,
    /// The commit's time.
    pub time: UtcMs,
    /// State digest after the commit before.
    pub state_before: Digest,
    /// Who certifies from the next commit on, when that changes here.
    pub next_committee: Option<Committee>,
}

/// What stands for a commit: its place, its body's digest, and the state that it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The commit's index in the log, from 1 without gaps.
    pub height: u64,
    /// Digest of the header before; zeros at height 1.
    pub parent: Digest,
    /// What the log says here.
    pub facts: Facts,
}

/// Why a header cannot follow a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It has another height than the next.
    #[error("the header has height {found}, not {expected}")]
    Height {
        /// The height after the chain's end.
        expected: u64,
        /// The header's.
        found: u64,
    },
    /// Its parent is another header.
    #[error("header {0} does not name the header before as its parent")]
    Parent(u64),
    /// It is earlier than the header before.
    #[error("header {0} is earlier than the header before")]
    Time(u64),
    /// Its body is longer than a log's record may be.
    #[error("the body of header {height} has {len} bytes, the limit is {BODY_BYTES_MAX}")]
    BodyLength {
        /// The header's height.
        height: u64,
        /// The stated length in bytes.
        len: u32,
    },
}

impl Header {
    /// Returns the header of what the log says after `tip`, or `None` at the last height there is.
    #[must_use]
    pub fn after(tip: &Tip, facts: Facts) -> Option<Self> {
        Some(Self { height: tip.height.checked_add(1)?, parent: tip.digest, facts })
    }

    /// Returns the digest: BLAKE3 of the domain, the chain and the canonical bytes.
    #[must_use]
    pub fn digest(&self, chain: &ChainId) -> Digest {
        let mut bytes = Vec::with_capacity(DOMAIN.len() + 32 + HEADER_BYTES);
        bytes.extend_from_slice(DOMAIN);
        bytes.extend_from_slice(&chain.0.0);
        self.write(&mut bytes);
        Digest::of(&bytes)
    }

    /// Returns the chain that ends with this header.
    #[must_use]
    pub fn tip(&self, chain: &ChainId) -> Tip {
        Tip { height: self.height, digest: self.digest(chain), time: self.facts.time }
    }

    /// Checks that this header can be the next after `tip`.
    ///
    /// # Errors
    /// [`LinkError`]: the first rule that it breaks.
    pub fn follows(&self, tip: &Tip) -> Result<(), LinkError> {
        let expected = tip.height.saturating_add(1);
        if self.height != expected || tip.height == u64::MAX {
            return Err(LinkError::Height { expected, found: self.height });
        }
        if self.parent != tip.digest {
            return Err(LinkError::Parent(self.height));
        }
        if self.facts.time < tip.time {
            return Err(LinkError::Time(self.height));
        }
        let len = self.facts.body_len;
        if len > BODY_BYTES_MAX {
            return Err(LinkError::BodyLength { height: self.height, len });
        }
        Ok(())
    }
}

impl Canonical for Header {
    fn write(&self, out: &mut Vec<u8>) {
        let facts = &self.facts;
        out.push(VERSION);
        out.extend_from_slice(&self.height.to_be_bytes());
        out.extend_from_slice(&self.parent.0);
        out.extend_from_slice(&facts.record_before.0);
        out.extend_from_slice(&facts.body.0);
        out.extend_from_slice(&facts.body_len.to_be_bytes());
        out.extend_from_slice(&facts.time.0.to_be_bytes());
        out.extend_from_slice(&facts.state_before.0);
        facts.next_committee.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let version = reader.u8("the version of a header")?;
        if version != VERSION {
            return Err(CodecError::Tag { what: "version of a header", found: version });
        }
        let height = reader.u64("a height")?;
        let parent = reader.digest("a parent")?;
        let facts = Facts {
            record_before: reader.digest("a record's hash")?,
            body: reader.digest("a body's digest")?,
            body_len: reader.u32("a body's length")?,
            time: UtcMs(reader.i64("a time")?),
            state_before: reader.digest("a state")?,
            next_committee: Option::read(reader)?,
        };
        Ok(Self { height, parent, facts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(body: &[u8], time: i64) -> Facts {
        Facts {
            record_before: Digest::of(b"record"),
            body: Digest::of(body),
            body_len: u32::try_from(body.len()).unwrap(),
            time: UtcMs(time),
            state_before: Digest::of(b"state"),
            next_committee: None,
        }
    }

    const CHAIN: ChainId = ChainId(Digest([1; 32]));

    #[test]
    fn a_header_is_a_function_of_the_header_before_and_of_the_log() {
        let first = Header::after(&Tip::GENESIS, facts(b"one", 5)).unwrap();
        assert_eq!(first, Header::after(&Tip::GENESIS, facts(b"one", 5)).unwrap());
        assert_eq!(first.encode().len(), HEADER_BYTES);
        assert_eq!(Header::decode(&first.encode()), Ok(first.clone()));
        let second = Header::after(&first.tip(&CHAIN), facts(b"two", 5)).unwrap();
        assert_eq!(second.follows(&first.tip(&CHAIN)), Ok(()));
        let other = ChainId(Digest([2; 32]));
        assert_ne!(first.digest(&CHAIN), first.digest(&other));
        assert_eq!(second.follows(&first.tip(&other)), Err(LinkError::Parent(2)));
        let end = Tip { height: u64::MAX, ..Tip::GENESIS };
        assert_eq!(Header::after(&end, facts(b"", 0)), None);
    }

    /// The chain of a log must not change with the build: these bytes are frozen.
    #[test]
    fn the_bytes_and_the_digest_of_a_header_are_frozen() {
        let header = Header::after(&Tip::GENESIS, facts(b"one", 5)).unwrap();
        let text = header.digest(&CHAIN).to_string();
        assert_eq!(text, "35ca6efe434830fdd400f709f257d13b487ed9dcd26dd872c78fdc6b69b69781");
    }

    #[test]
    fn a_header_follows_only_the_chain_that_it_names() {
        let first = Header::after(&Tip::GENESIS, facts(b"one", 5)).unwrap();
        let tip = first.tip(&CHAIN);
        let next = Header::after(&tip, facts(b"two", 5)).unwrap();
        type Edit = fn(&mut Header);
        let table: [(Edit, LinkError); 5] = [
            (|h| h.height = 3, LinkError::Height { expected: 2, found: 3 }),
            (|h| h.height = u64::MAX, LinkError::Height { expected: 2, found: u64::MAX }),
            (|h| h.parent.0[3] ^= 1, LinkError::Parent(2)),
            (|h| h.facts.time = UtcMs(4), LinkError::Time(2)),
            (
                |h| h.facts.body_len = BODY_BYTES_MAX + 1,
                LinkError::BodyLength { height: 2, len: BODY_BYTES_MAX + 1 },
            ),
        ];
        for (edit, error) in table {
            let mut header = next.clone();
            edit(&mut header);
            assert_eq!(header.follows(&tip), Err(error));
        }
    }
}
