//! One direction of the stream in one epoch: seal and open a record, each number used once.
//!
//! The number of a record is not on the wire: both ends count. It only grows, it is part of the
//! nonce, and the key moves on along a one-way chain, so that no key and nonce meet twice and a key
//! taken from memory opens nothing that was sealed before it.

use zeroize::Zeroize;

use crate::crypto::Crypto;
use crate::frame::{HEADER_BYTES, Header};
use crate::key_schedule::{Secret, traffic};

/// The key of one direction and one epoch, with the number of its next record.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Half<C: Crypto> {
    pub(crate) epoch: u64,
    /// Records so far, which is the number of the next one.
    pub(crate) seq: u64,
    /// Sealed bytes so far, headers not counted.
    pub(crate) bytes: u64,
    records_per_key: u64,
    iv: [u8; 12],
    chain: C::Chain,
    key: C::Key,
}

impl<C: Crypto> Half<C> {
    pub(crate) fn new(epoch: u64, secret: &Secret, records_per_key: u64) -> Box<Self> {
        let (first, iv) = traffic::<C>(secret);
        let mut chain = C::chain(&first);
        let key = C::step(&mut chain);
        Box::new(Self { epoch, seq: 0, bytes: 0, records_per_key, iv, chain, key })
    }

    /// Appends a record whose frame `write` appends.
    pub(crate) fn seal(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let at = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let from = out.len();
        write(out);
        let header =
            Header { length: out.len() - from + C::TAG_BYTES, epoch: self.wire_epoch() }.encode();
        out[at..from].copy_from_slice(&header);
        C::seal(&self.key, self.nonce(), &header, out, from);
        self.advance(out.len() - from);
    }

    /// Opens the next record in place; `None` if it is not that record, or not authentic.
    pub(crate) fn open<'a>(
        &mut self,
        header: &[u8; HEADER_BYTES],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let bytes = sealed.len();
        let frame = C::open(&self.key, self.nonce(), header, sealed)?;
        self.advance(bytes);
        Some(frame)
    }

    /// Returns what stands for the epoch in a header: its low half.
    pub(crate) fn wire_epoch(&self) -> u32 {
        let [a, b, c, d, ..] = self.epoch.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The number goes into the last eight bytes.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        let number = self.seq.to_le_bytes();
        nonce[4..].iter_mut().zip(number).for_each(|(byte, digit)| *byte ^= digit);
        nonce
    }

    fn advance(&mut self, bytes: usize) {
        // The hard limits end a key long before either can overflow.
        self.seq += 1;
        self.bytes += bytes as u64;
        if self.seq.is_multiple_of(self.records_per_key) {
            self.key = C::step(&mut self.chain);
        }
    }
}

impl<C: Crypto> Drop for Half<C> {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}
