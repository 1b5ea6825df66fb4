//! The closed positions of a pair: the youngest at hand, the older ones packed in pages.
//!
//! Rules look at the last few; the others are kept for readers, scores and corrections until their
//! window has passed. Of a position in a page, what scores look at stays in memory; the rest takes a
//! third of its room, and none once a shelf has taken it.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{DurationMs, UtcMs};

use crate::positions::position::Position;

/// Positions in a page; one to as many are at hand. What is at hand of thousands of traders in some
/// pairs each is the greater part of it all, so a page is small.
const PAGE: usize = 4;

/// A place for bytes that are seldom read, outside of memory. What is on it is no record: it ends with
/// the process.
pub trait Shelf: Debug + Send + Sync {
    /// Takes `bytes`; none when there is no room for them, and they stay in memory.
    fn put(&self, bytes: &[u8]) -> Option<Arc<dyn Shelved>>;
}

/// Bytes on a shelf. There is room for others when the last owner has dropped this.
pub trait Shelved: Debug + Send + Sync {
    /// Returns the bytes.
    ///
    /// # Panics
    /// When they cannot be read, or are not those that were put there: like memory that has failed,
    /// that leaves nothing to go on with. The log has everything.
    fn read(&self) -> Vec<u8>;
}

/// The closed positions of a pair that are still kept, in the order of closing.
///
/// A clone shares everything. Its bytes are those of a plain list.
#[derive(Clone, Debug, Default)]
pub struct ClosedPositions {
    pages: Arc<Vec<Arc<Page>>>,
    /// How many of the first page's positions are forgotten.
    forgotten: usize,
    /// The youngest. Not empty unless there is no position at all.
    tail: Arc<Vec<Arc<Position>>>,
}

/// What scores look at of a closed position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outline {
    /// When the first order was filled.
    pub opened_at: UtcMs,
    /// When it was closed.
    pub closed_at: UtcMs,
    /// Its return after fees: 1 is unchanged.
    pub return_at_close: f64,
    /// How many orders it has.
    pub orders: usize,
}

/// A closed position by its outline, the rest at hand or packed.
#[derive(Clone, Copy, Debug)]
pub struct Outlined<'a> {
    /// What scores look at.
    pub outline: Outline,
    place: Place<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    AtHand(&'a Arc<Position>),
    Packed(&'a Page, usize),
}

/// As many positions as a page has, packed.
#[derive(Debug)]
struct Page {
    outlines: [Outline; PAGE],
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Here(Box<[u8]>),
    Shelved(Arc<dyn Shelved>),
}

impl ClosedPositions {
    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len() * PAGE - self.forgotten + self.tail.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// Returns the one that closed last.
    #[must_use]
    pub fn last(&self) -> Option<&Arc<Position>> {
        self.tail.last()
    }

    /// Returns all, in the order of closing. A page is unpacked when its first position is asked for.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Arc<Position>> {
        let packed = self.pages.iter().enumerate().flat_map(|(place, page)| {
            page.unpack().into_iter().skip(if place == 0 { self.forgotten } else { 0 })
        });
        packed.chain(self.tail.iter().cloned())
    }

    /// Returns the outlines of all, in the order of closing. Nothing is unpacked.
    pub fn outlines(&self) -> impl Iterator<Item = Outlined<'_>> {
        let packed = self.pages.iter().flat_map(|page| {
            let outlines = page.outlines.into_iter().enumerate();
            outlines.map(|(place, outline)| Outlined { outline, place: Place::Packed(page, place) })
        });
        let at_hand = self.tail.iter().map(|position| Outlined {
            outline: Outline::of(position),
            place: Place::AtHand(position),
        });
        packed.skip(self.forgotten).chain(at_hand)
    }

    /// Returns the last `count`, or all if there are fewer, in the order of closing.
    #[must_use]
    pub fn last_of(&self, count: usize) -> Vec<Arc<Position>> {
        let mut last: Vec<_> = self.iter().rev().take(count).collect();
        last.reverse();
        last
    }

    /// Adds the position that closed now.
    pub(super) fn push(&mut self, position: Arc<Position>) {
        let tail = Arc::make_mut(&mut self.tail);
        tail.push(position);
        // A position without canonical bytes would be a bug that the next snapshot tells of.
        if tail.len() > PAGE
            && let Ok(page) = Page::of(&tail[..PAGE])
        {
            tail.drain(..PAGE);
            Arc::make_mut(&mut self.pages).push(Arc::new(page));
        }
    }

    /// Removes the last `count`, or all if there are fewer, and returns them in the order of closing.
    pub(super) fn take_last(&mut self, count: usize) -> Vec<Arc<Position>> {
        if count == 0 {
            return Vec::new();
        }
        let tail = Arc::make_mut(&mut self.tail);
        // One more than is taken, so that the last one left is at hand.
        while tail.len() <= count
            && let Some(page) = Arc::make_mut(&mut self.pages).pop()
        {
            let forgotten =
                if self.pages.is_empty() { std::mem::take(&mut self.forgotten) } else { 0 };
            tail.splice(..0, page.unpack().into_iter().skip(forgotten));
        }
        tail.split_off(tail.len().saturating_sub(count))
    }

    /// Forgets those that ended before `cutoff`, up to the first that did not.
    pub(super) fn forget_before(&mut self, cutoff: UtcMs) {
        let is_old = |one: &Outlined<'_>| one.outline.closed_at < cutoff;
        let old = self.outlines().take_while(is_old).count();
        if old == 0 {
            return;
        }
        let old = self.forgotten + old;
        let pages = (old / PAGE).min(self.pages.len());
        if pages > 0 {
            Arc::make_mut(&mut self.pages).drain(..pages);
        }
        let rest = old - pages * PAGE;
        if self.pages.is_empty() {
            self.forgotten = 0;
            Arc::make_mut(&mut self.tail).drain(..rest);
        } else {
            self.forgotten = rest;
        }
    }

    /// Moves the pages that are in memory to `shelf`, the oldest first, until it has no room.
    pub(super) fn shelve(&mut self, shelf: &dyn Shelf) {
        let first = self.pages.partition_point(|page| page.is_shelved());
        for page in &mut Arc::make_mut(&mut self.pages)[first..] {
            let Some(shelved) = page.on(shelf) else { return };
            *page = Arc::new(shelved);
        }
    }

    /// Tells whether [`ClosedPositions::shelve`] has anything to do.
    pub(crate) fn waits_for_shelf(&self) -> bool {
        self.pages.last().is_some_and(|page| !page.is_shelved())
    }
}

impl Outline {
    fn of(position: &Position) -> Self {
        let opened_at = position.opened_at();
        Self {
            opened_at,
            closed_at: position.closed_at().unwrap_or(opened_at),
            return_at_close: position.return_at_close(),
            orders: position.orders().len(),
        }
    }

    /// Returns for how long the position was open.
    #[must_use]
    pub fn time_open(&self) -> DurationMs {
        self.closed_at.since(self.opened_at)
    }
}

impl Outlined<'_> {
    /// Returns the whole position, which may have to be unpacked.
    #[must_use]
    pub fn position(&self) -> Arc<Position> {
        match self.place {
            Place::AtHand(position) => Arc::clone(position),
            Place::Packed(page, place) => Arc::clone(&page.unpack()[place]),
        }
    }
}

impl Page {
    /// Packs as many positions as a page has.
    fn of(positions: &[Arc<Position>]) -> io::Result<Self> {
        let mut bytes = Vec::new();
        positions.iter().try_for_each(|position| position.serialize(&mut bytes))?;
        let outlines = std::array::from_fn(|place| Outline::of(&positions[place]));
        Ok(Self { outlines, bytes: Bytes::Here(bytes.into()) })
    }

    fn unpack(&self) -> Vec<Arc<Position>> {
        let positions = |mut bytes: &[u8]| -> io::Result<Vec<_>> {
            (0..PAGE).map(|_| Position::deserialize_reader(&mut bytes).map(Arc::new)).collect()
        };
        self.with_bytes(positions).expect("a page holds what was packed")
    }

    fn with_bytes<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        match &self.bytes {
            Bytes::Here(bytes) => read(bytes),
            Bytes::Shelved(shelved) => read(&shelved.read()),
        }
    }

    /// Returns the page with its bytes on `shelf`, if that has room.
    fn on(&self, shelf: &dyn Shelf) -> Option<Self> {
        let bytes = match &self.bytes {
            Bytes::Here(bytes) => shelf.put(bytes)?,
            Bytes::Shelved(shelved) => Arc::clone(shelved),
        };
        Some(Self { outlines: self.outlines, bytes: Bytes::Shelved(bytes) })
    }

    fn is_shelved(&self) -> bool {
        matches!(self.bytes, Bytes::Shelved(_))
    }
}

impl PartialEq for ClosedPositions {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl BorshSerialize for ClosedPositions {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        u32::try_from(self.len()).map_err(io::Error::other)?.serialize(writer)?;
        for (place, page) in self.pages.iter().enumerate() {
            match (place, self.forgotten) {
                // What is packed is what would be written.
                (1.., _) | (_, 0) => page.with_bytes(|bytes| writer.write_all(bytes))?,
                (0, forgotten) => {
                    let kept = page.unpack().into_iter().skip(forgotten);
                    kept.into_iter().try_for_each(|position| position.serialize(writer))?;
                }
            }
        }
        self.tail.iter().try_for_each(|position| position.serialize(writer))
    }
}

impl BorshDeserialize for ClosedPositions {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let mut closed = Self::default();
        for _ in 0..u32::deserialize_reader(reader)? {
            let position = Position::deserialize_reader(reader)?;
            if !position.is_closed() {
                let open = "an open position stands among the closed ones";
                return Err(io::Error::new(io::ErrorKind::InvalidData, open));
            }
            closed.push(Arc::new(position));
        }
        Ok(closed)
    }
}

#[cfg(test)]
pub(crate) mod tests;
